"""A realistic report, made up: the same shapes as a run of the clicks example."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from roadworthy.formats.report import (
    ChartView,
    CostView,
    DataView,
    MonitoringView,
    ProvenanceView,
    ReportView,
    RequirementRow,
    StageRow,
    WatchRow,
)
from roadworthy.measures.charts import Reference, candidates_exhibit, chart_for, describe, to_svg, training_exhibit
from roadworthy.records.data import FeatureInfo
from roadworthy.records.evidence import Exhibit, Finding, Measurement, Phase
from roadworthy.records.model import Candidate, Choice, GraphCost, ProgressLine
from roadworthy.records.verdict import Outcome, Readiness, RequirementVerdict, Waiver

DIGEST = "sha256:" + "3f9a1c" * 10 + "beef"


def curve(candidate: str, steps: int, low: float, best: int) -> Candidate:
    noise = np.random.default_rng(len(candidate))
    lines = []
    for step in range(1, steps + 1):
        fall = math.exp(-3.2 * step / steps)
        late = max(0.0, (step - best) / steps) * 0.05
        train = low + (0.69 - low) * fall + float(noise.uniform(-0.004, 0.004))
        valid = low + 0.012 + (0.69 - low) * fall + late + float(noise.uniform(-0.006, 0.006))
        lines.append(
            ProgressLine(
                candidate=candidate,
                step=step,
                train_loss=train,
                valid_loss=valid,
                train_quality=1.02 - train / 2.6,
                valid_quality=1.01 - valid / 2.6,
            )
        )
    return Candidate(
        name=candidate,
        parameters={"hidden": [32, 16], "rate": 0.001, "batch": 256} if candidate == "mlp" else {"C": 1.0},
        lines=tuple(lines),
        best_step=best,
        seconds=3.4,
        inputs=21,
    )


def exhibits() -> list[Exhibit]:
    grid = [i / 200 for i in range(201)]
    tpr = [1 - (1 - f) ** 6 for f in grid]
    noise = np.random.default_rng(7)
    thresholds = [i / 100 for i in range(1, 100)]
    bins = [i / 20 for i in range(21)]
    return [
        Exhibit(
            name="confusion",
            title="Decisions on the holdout",
            columns={
                "actual": ["no", "no", "yes", "yes"],
                "predicted": ["no", "yes", "no", "yes"],
                "count": [1402, 88, 121, 349],
                "share": [0.941, 0.059, 0.257, 0.743],
            },
            note="Of 470 conversions 349 were found; of 437 alarms 349 were true.",
        ),
        Exhibit(
            name="tradeoff",
            title="What another threshold would do",
            columns={
                "threshold": thresholds,
                "precision": [min(0.99, 0.28 + 0.72 * t**0.55) for t in thresholds],
                "recall": [1 - t**1.7 * 0.97 for t in thresholds],
                "accuracy": [0.9 - 1.2 * (t - 0.46) ** 2 for t in thresholds],
                "cost": [200 + 900 * (t - 0.33) ** 2 for t in thresholds],
            },
            note="The threshold was chosen by cross-validation on the training part, not on these rows.",
        ),
        Exhibit(
            name="roc",
            title="Telling events from the rest",
            columns={"false_positive_rate": grid, "true_positive_rate": tpr},
        ),
        Exhibit(
            name="pr",
            title="Precision against recall",
            columns={"recall": grid, "precision": [0.99 - 0.62 * r**5 for r in grid]},
        ),
        Exhibit(
            name="calibration",
            title="Do probabilities mean what they say?",
            columns={
                "predicted": [0.05 + i / 10 for i in range(10)],
                "observed": [0.04, 0.17, 0.24, 0.37, 0.43, 0.57, 0.63, 0.77, 0.84, 0.96],
                "lower": [0.02, 0.13, 0.18, 0.29, 0.33, 0.45, 0.51, 0.66, 0.76, 0.92],
                "upper": [0.06, 0.22, 0.31, 0.45, 0.54, 0.68, 0.74, 0.86, 0.91, 0.99],
                "n": [820, 260, 160, 120, 90, 80, 70, 90, 110, 160],
            },
        ),
        Exhibit(
            name="scores",
            title="Scores of both classes",
            columns={
                "bin_left": bins[:-1] * 2,
                "bin_right": bins[1:] * 2,
                "class": ["no"] * 20 + ["yes"] * 20,
                "count": [int(420 * math.exp(-5 * b)) + 3 for b in bins[:-1]]
                + [int(90 * math.exp(-4 * (1 - b))) + 2 for b in bins[:-1]],
            },
        ),
        Exhibit(
            name="importance",
            title="What the model leans on",
            columns={
                "column": [
                    "click_rate",
                    "time_since_last_click",
                    "device",
                    "impressions",
                    "hour",
                    "country",
                    "age_band",
                ],
                "drop": [0.141, 0.083, 0.041, 0.022, 0.012, 0.004, -0.001],
                "lower": [0.128, 0.071, 0.031, 0.014, 0.006, -0.001, -0.005],
                "upper": [0.154, 0.095, 0.051, 0.030, 0.018, 0.009, 0.003],
            },
            note="Loss of accuracy when one column is shuffled, with 95 % intervals.",
        ),
        Exhibit(
            name="per_class",
            title="Each class by itself",
            columns={
                "class": ["no", "yes"],
                "precision": [0.92, 0.80],
                "recall": [0.94, 0.74],
                "f1": [0.93, 0.77],
                "n": [1490, 470],
            },
        ),
        Exhibit(
            name="slices_by_device",
            title="Quality by device",
            columns={"device": ["mobile", "desktop", "tablet"], "accuracy": [0.88, 0.91, 0.86], "n": [1100, 700, 160]},
        ),
        Exhibit(
            name="residuals",
            title="Residuals (another model)",
            columns={
                "predicted": [float(noise.uniform(50, 250)) for _ in range(500)],
                "residual": [float(noise.normal(0, 20)) for _ in range(500)],
            },
        ),
    ]


REFERENCES = (
    Reference(of="threshold", value=0.42, label="chosen: 0.42"),
    Reference(of="precision", value=0.8, label="precision at least 0.80"),
    Reference(of="p99_ms", value=50.0, label="at most 50 ms"),
    Reference(of="quality", value=0.8, label="at least 0.80"),
)


def chart_view(exhibit: Exhibit, references: tuple[Reference, ...] = REFERENCES) -> ChartView:
    chart = chart_for(exhibit, references)
    return ChartView(
        name=exhibit.name,
        title=exhibit.title,
        svg=to_svg(chart) if chart is not None else "",
        note=exhibit.note,
        alt=describe(exhibit),
        columns=exhibit.columns,
    )


def row(
    requirement: str,
    outcome: Outcome,
    sentence: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    rows_needed: int = 0,
    waiver: Waiver | None = None,
    key: bool = False,
    **measured: Any,
) -> RequirementRow:
    metric = requirement.split(maxsplit=1)[0]
    measurement = Measurement(metric=metric, **measured) if measured else None
    verdict = RequirementVerdict(
        requirement=requirement,
        metric=metric,
        phase=Phase.RELEASE,
        outcome=outcome,
        sentence=sentence,
        measurement=measurement,
        rows_needed=rows_needed,
        waiver=waiver,
    )
    return RequirementRow(verdict=verdict, at_least=at_least, at_most=at_most, key=key)


def requirement_rows() -> tuple[RequirementRow, ...]:
    return (
        row(
            "accuracy >= 0.8",
            Outcome.PASS,
            "Accuracy is 0.893 and, with 95 % confidence, at least 0.881.",
            at_least=0.8,
            value=0.8934,
            lower=0.8811,
            upper=0.9046,
            n=1960,
            method="Clopper–Pearson",
            key=True,
        ),
        row(
            "log_loss <= 0.4",
            Outcome.PASS,
            "Log loss is 0.271 and, with 95 % confidence, at most 0.289.",
            at_most=0.4,
            value=0.271,
            lower=0.254,
            upper=0.289,
            n=1960,
            clusters=611,
            method="bootstrap clustered by user_id",
            key=True,
        ),
        row(
            "recall >= 0.7 for every device",
            Outcome.INSUFFICIENT,
            "Recall on device=tablet is 0.738; its interval reaches down to 0.642, below 0.70.",
            at_least=0.7,
            rows_needed=410,
            value=0.738,
            lower=0.642,
            upper=0.818,
            n=42,
            slice="device=tablet",
            method="Clopper–Pearson",
            key=True,
        ),
        row(
            "roc_auc >= 0.85",
            Outcome.PASS,
            "ROC AUC is 0.928 and, with 95 % confidence, at least 0.914.",
            at_least=0.85,
            value=0.928,
            lower=0.914,
            upper=0.94,
            n=1960,
            method="DeLong, logit scale",
        ),
        row(
            "calibration_error <= 0.01",
            Outcome.WAIVED,
            "The calibration error may be as high as 0.013. Waived by A. Rossi "
            "until 2026-12-31: recalibration is planned.",
            at_most=0.01,
            value=0.0087,
            lower=0.004,
            upper=0.013,
            n=1960,
            method="debiased, bootstrap",
            waiver=Waiver(
                requirement="calibration_error <= 0.01",
                person="A. Rossi",
                reason="recalibration is planned",
                expires="2026-12-31",
            ),
        ),
        row(
            "latency_p99 <= 50 ms",
            Outcome.PASS,
            "99 of 100 single-row predictions take at most 0.21 ms.",
            at_most=50.0,
            value=0.19,
            lower=0.17,
            upper=0.21,
            n=2000,
            unit="ms",
            method="order statistics",
            key=True,
        ),
        row(
            "size <= 5 MB",
            Outcome.PASS,
            "The model graph has 48.3 kB.",
            at_most=5e6,
            value=48_312.0,
            lower=48_312.0,
            upper=48_312.0,
            unit="bytes",
            method="exact",
            key=True,
        ),
        row(
            "overfit_gap <= 0.1",
            Outcome.ERROR,
            "The check broke: no predictions on training rows were kept.",
            at_most=0.1,
            error="no predictions on training rows",
        ),
    )


def sample_report(**changes: Any) -> ReportView:
    """The whole sample; ``changes`` replace fields."""
    training = (curve("logistic", 40, 0.33, 40), curve("mlp", 80, 0.26, 62), curve("gbdt", 120, 0.255, 96))
    choice = Choice(
        candidate="mlp",
        threshold=0.42,
        explanation="mlp is the cheapest candidate whose quality is not provably worse than the best (gbdt) and which "
        "meets the standard on the training part. logistic is provably worse by 0.031 in log loss.",
        threshold_explanation="0.42 finds the most events while precision stays at least 0.80 in cross-validation "
        "on the training part.",
        table=(
            {
                "candidate": "logistic",
                "quality": 0.861,
                "quality_lower": 0.853,
                "quality_upper": 0.869,
                "p50_ms": 0.03,
                "p99_ms": 0.08,
                "size_bytes": 6_120,
                "chosen": False,
            },
            {
                "candidate": "mlp",
                "quality": 0.891,
                "quality_lower": 0.884,
                "quality_upper": 0.898,
                "p50_ms": 0.05,
                "p99_ms": 0.19,
                "size_bytes": 48_312,
                "chosen": True,
            },
            {
                "candidate": "gbdt",
                "quality": 0.894,
                "quality_lower": 0.887,
                "quality_upper": 0.901,
                "p50_ms": 0.16,
                "p99_ms": 0.61,
                "size_bytes": 412_800,
                "chosen": False,
            },
        ),
    )
    drawn = [exhibits()[0], exhibits()[1], candidates_exhibit(choice), *(training_exhibit(c) for c in training)]
    drawn += exhibits()[2:]
    charts = tuple(chart_view(exhibit) for exhibit in drawn)
    fields: dict[str, Any] = {
        "project": "clicks",
        "version": "v3",
        "when": "20 November 2026, 16:40 UTC",
        "task": "binary",
        "target": "converted",
        "readiness": Readiness.NOT_READY,
        "sentence": "1 of 8 requirements could not be checked (overfit_gap), 1 is not proven yet; 5 pass, 1 is waived.",
        "next_steps": (
            "Run `roadworthy run` again: the check of overfit_gap broke.",
            "Collect about 410 more rows with device=tablet to settle recall there.",
        ),
        "stages": (
            StageRow(
                stage="collect",
                did="read data/clicks.parquet; user_id is stored hashed",
                after="10,000 × 10",
                seconds=0.21,
            ),
            StageRow(
                stage="clean",
                did="200 rows quarantined (clicks: missing)",
                before="10,000 × 10",
                after="9,800 × 10",
                seconds=0.4,
            ),
            StageRow(
                stage="features",
                did="added click_rate, time_since_last_click",
                before="9,800 × 10",
                after="9,800 × 12",
                seconds=0.62,
                reused=True,
            ),
            StageRow(
                stage="train",
                did="3 candidates, 4 folds each, split by time",
                before="9,800 × 12",
                after="7,840 × 12 to train, 1,960 × 12 to validate",
                seconds=11.3,
            ),
            StageRow(
                stage="validate",
                did="mlp at threshold 0.42: accuracy 0.893, log loss 0.271",
                before="1,960 × 12",
                after="8 requirements judged",
                seconds=1.9,
            ),
            StageRow(stage="package", did="float32 graph, 48.3 kB, p99 0.19 ms", after="12 files, signed", seconds=1.2),
            StageRow(
                stage="monitor",
                did="6 requirements watched live; alert when accuracy is proven under 0.80",
                seconds=0.1,
            ),
        ),
        "requirements": requirement_rows(),
        "findings": (
            Finding(
                kind="leak",
                subject="refund_issued",
                grade="suspects",
                sentence="refund_issued alone predicts the target almost perfectly (AUC 0.998); it is excluded.",
            ),
            Finding(
                kind="seen_before",
                subject="user_id",
                grade="notes",
                sentence="37 % of the holdout's users were never seen in training; they are reported as a slice.",
            ),
            Finding(
                kind="accuracy_paradox",
                subject="accuracy",
                grade="fails",
                sentence="Always saying “no” would already be right for 0.76 of the rows.",
            ),
        ),
        "choice": choice,
        "training": training,
        "training_failures": {"my.package:forest": "it returned scores outside 0 and 1"},
        "cost": CostView(
            before=GraphCost(size_bytes=61_900, p50_ms=0.08, p99_ms=0.31, runs=2000),
            after=GraphCost(size_bytes=48_312, p50_ms=0.05, p99_ms=0.19, runs=2000),
            variant="optimised float32",
            parity=3.1e-7,
            flips=0.0,
            notes=("The quantised graph was 12.1 kB but changed 0.4 % of the decisions, so it was not taken.",),
        ),
        "data": DataView(
            source="data/clicks.parquet",
            snapshot=DIGEST,
            rows=10_000,
            columns=10,
            quarantined=200,
            reasons={"clicks: missing": 200, "rule clicks <= impressions": 3},
            repairs={"impressions: text to number": 12},
            hashed=("user_id",),
            notes=("encoding utf-8",),
            split="By time: the newest 20 % of the rows, from 2026-10-02 on, are the holdout.",
            holdout=DIGEST,
            holdout_looks=2,
        ),
        "features": (
            FeatureInfo(name="click_rate", definition="clicks / nullif(impressions, 0)", type="number"),
            FeatureInfo(
                name="time_since_last_click",
                definition="seconds since last timestamp where clicks > 0, by user_id",
                type="number",
                aggregate=True,
            ),
        ),
        "excluded": {
            "refund_issued": "suspected leak: known only after the event",
            "user_id": "personal, entity",
            "timestamp": "time",
        },
        "monitoring": MonitoringView(
            watched=(
                WatchRow(
                    requirement="accuracy >= 0.8",
                    measured="estimated by window until labels come, then realised",
                    alert="when accuracy is proven to be under 0.80",
                ),
                WatchRow(
                    requirement="latency_p99 <= 50 ms", measured="every request", alert="burn rates 14.4, 6 and 1"
                ),
            ),
            rules=("accuracy < 0.80, proven: roll back to the version before",),
            reference="sketches of 12 columns and of the score, from 7,840 rows",
            alarm_budget="1 per 30 days",
            notify=("slack://team",),
        ),
        "provenance": ProvenanceView(
            digests={"snapshot": DIGEST, "clean rows": DIGEST, "bundle": DIGEST, "standard": DIGEST},
            standard='[standard]\naccuracy = { at_least = 0.8, phases = ["release"] }\nsize = { at_most = 5e6 }\n',
            seed=7,
            versions={"roadworthy": "0.1.0", "onnxruntime": "1.31.0", "polars": "2.1.0"},
            signature="Ed25519, key 4f2a 90c1 77de",
        ),
        "charts": charts,
    }
    return ReportView(**{**fields, **changes})


@pytest.fixture(scope="session")
def report() -> ReportView:
    return sample_report()
