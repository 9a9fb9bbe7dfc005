"""An inspection, made up: every check gave measurements, findings and exhibits, for as many columns as wanted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from roadworthy.records.evidence import Evidence, Exhibit, Finding, Measurement
from roadworthy.records.project import Task
from roadworthy.records.verdict import Verdict, Waiver
from roadworthy.standard import CATALOGUE, Standard, judge, parse_standard

DIGEST = "sha256:" + "3f9a1c" * 10 + "beef"
FAULTS = ("absent", "missing", "noise", "unit", "unseen", "typo", "range")
REQUIRED = {
    "extends": "none",
    "roc_auc": ">= 0.85",
    "recall": [{"at_least": 0.7}, {"at_least": 0.6, "slice": "device"}],
    "calibration_error": "<= 0.01",
    "leaks": "<= 0",
    "pitfalls": "<= 0",
    "crashes": "<= 0",
    "robust_flips": {"at_most": 0.2, "slice": "fault"},
    "equal_opportunity_difference": "<= 0.1",
    "latency_p99": "<= 50 ms",
    "churn": "<= 0.05",
}
NOTES = ("12 of 10,012 rows have no score or no label and were left out",)
NOT_ASKED = {
    "fairness": "no column besides age_band is named as protected; name others with --protected",
    "stability over time": "no time column is named; name it with --time",
}


@dataclass(frozen=True)
class MadeUp:
    """What ``api.Inspection`` has."""

    model: str
    data: str
    standard: Standard
    evidence: Evidence
    verdict: Verdict
    task: Task = Task.BINARY
    target: str = "converted"
    notes: tuple[str, ...] = ()
    not_asked: dict[str, str] = field(default_factory=dict)


def made_up(columns: int = 8, text: str = "") -> MadeUp:
    """The whole; ``text``, where given, stands wherever foreign text can."""
    standard = parse_standard(REQUIRED, Task.BINARY, columns=["device"], file="standard.toml")
    names = [text or ("duration", "balance", "age", "job")[i] if i < 4 else f"column_{i:02d}" for i in range(columns)]
    evidence = Evidence(
        subject=DIGEST,
        holdout=DIGEST,
        measurements=tuple(measurements(names, text)),
        findings=tuple(findings(names, text)),
        exhibits=tuple(exhibits(names, text)),
    )
    waiver = Waiver(
        requirement="churn <= 0.05", person=text or "A. Rossi", reason=text or "planned", expires="2099-01-01"
    )
    return MadeUp(
        model=text or "loan.onnx",
        data=text or "march.parquet",
        standard=standard,
        evidence=evidence,
        verdict=judge(standard, evidence, waivers=(waiver,), today=date(2026, 11, 20)),
        notes=(text,) if text else NOTES,
        not_asked={text: text} if text else NOT_ASKED,
    )


def measured(check: str, metric: str, value: float | None, spread: float = 0.02, **more: Any) -> Measurement:
    fields: dict[str, Any] = {"n": 10_000, "method": "bootstrap", "unit": CATALOGUE[metric].unit, **more}
    if value is not None:
        fields |= {"lower": value - spread, "upper": value + spread}
    return Measurement(metric=metric, check=check, value=value, **fields)


def measurements(names: list[str], text: str) -> list[Measurement]:
    slices = [text or "phone", "desktop", "tablet"]
    return [
        measured("quality", "roc_auc", 0.921, 0.012, method="DeLong, logit scale"),
        measured("quality", "accuracy", 0.893, 0.009, method="Clopper–Pearson"),
        measured("quality", "recall", 0.741, 0.03, among=1_204, method="Clopper–Pearson"),
        *(
            measured("quality", "recall", 0.74 - 0.05 * turn, 0.04 + 0.02 * turn, among=200, slice=f"device={name}")
            for turn, name in enumerate(slices)
        ),
        measured("quality", "calibration_error", 0.0098, 0.0011, clusters=611, method="bootstrap clustered by user_id"),
        measured("threshold", "f2", 0.71),
        measured("pitfalls", "pitfalls", 1.0, 0, method="exact", reason="A simpler model is not worse."),
        measured("leakage", "leaks", 0.0, 0, method="exact"),
        measured("leakage", "questions", 1.0, 0, method="exact"),
        measured("labels", "label_errors", 0.013, 0.004),
        measured("slices", "weak_slices", 2.0, 0, method="exact"),
        measured("fairness", "equal_opportunity_difference", 0.14, 0.03),
        measured("fairness", "equal_opportunity_difference", 0.14, 0.03, slice="protected=age_band"),
        measured("fairness", "demographic_parity_ratio", 0.81, 0.05, slice="protected=age_band"),
        measured(
            "fairness",
            "group_calibration_difference",
            None,
            slice="protected=sex",
            insufficient="A group has 31 events; 100 are needed.",
        ),
        measured("robustness", "crashes", 0.0, 0, method="exact"),
        *(
            measured("robustness", metric, 0.31 / (1 + turn) + 0.01 * place, 0.01, slice=f"fault={fault}:{name}")
            for metric in ("robust_flips", "robust_drop")
            for turn, name in enumerate(names)
            for place, fault in enumerate(FAULTS)
        ),
        measured("stability", "churn", 0.06, 0.02, n=5),
        Measurement(metric="training_spread", check="stability", error="the check 'retraining' broke: ValueError"),
        measured("uncertainty", "coverage", 0.902, 0.008),
        measured("uncertainty", "referred", 0.06, 0.005),
        measured("cost", "latency_p99", 4.1, 0.4, n=2_000, method="order statistics"),
        measured("cost", "size", 48_312.0, 0, n=1, method="exact"),
        measured("cost", "cold_start", 412.0, 30.0, n=7),
        measured("ml_test_score", "ml_test_score", 2.5, 0, method="exact"),
    ]


def findings(names: list[str], text: str) -> list[Finding]:
    return [
        Finding(
            kind="simpler_model",
            subject=text or "logistic",
            grade="fails",
            sentence=text or "A logistic regression on three columns is not worse: ROC AUC 0.919 against 0.921.",
            check="pitfalls",
        ),
        Finding(
            kind="target_leak",
            subject=names[0],
            grade="suspects",
            sentence=text
            or "Without duration ROC AUC falls from 0.921 to 0.781, far more than without any other column.",
            question=text or "Is duration known when the prediction is made?",
            check="leakage",
        ),
        Finding(
            kind="target_leak",
            subject=names[1],
            grade="suspects",
            sentence=text or "balance stands out from its family.",
            question=text or "Is balance known when the prediction is made?",
            answer=text or "yes, said A. Rossi until 2027-01-01",
            check="leakage",
        ),
        Finding(
            kind="weak_slice",
            subject=text or "age < 25 and job = student",
            grade="suspects",
            sentence=text or "On 512 rows the error is 31 %, against 14 % elsewhere.",
            check="slices",
        ),
        *(
            Finding(
                kind="brittle",
                subject=name,
                grade="notes",
                sentence=text or f"Without {name} 4 % of decisions flip.",
                check="robustness",
            )
            for name in names
        ),
        Finding(kind="class_imbalance", subject="", grade="notes", sentence=text or "12 % of the rows are events."),
    ]


def dependence(name: str, place: int) -> Exhibit:
    levels = [float(i) for i in range(24)] if place % 3 else [f"level {i}" for i in range(9)]
    mean = [0.3 + 0.2 * math.sin(i / 5 + place) for i in range(len(levels))]
    columns: dict[str, list[Any]] = {
        "x": list(levels),
        "mean": list(mean),
        "lower": [value - 0.02 for value in mean],
        "upper": [value + 0.02 for value in mean],
    }
    return Exhibit(
        name=f"dependence:{name}", title=f"How the score moves with {name}", columns=columns, check="explanation"
    )


def exhibits(names: list[str], text: str) -> list[Exhibit]:
    grid = [i / 200 for i in range(201)]
    places = list(range(len(names)))
    return [
        Exhibit(
            name="roc",
            title="Events found against false alarms",
            columns={"false_positive_rate": grid, "true_positive_rate": [1 - (1 - f) ** 6 for f in grid]},
            check="quality",
        ),
        Exhibit(
            name="calibration",
            title=text or "Do probabilities mean what they say?",
            columns={
                "predicted": [0.05 + i / 10 for i in range(10)],
                "observed": [0.04 + i / 10 for i in range(10)],
                "lower": [i / 10 for i in range(10)],
                "upper": [0.09 + i / 10 for i in range(10)],
                "n": [820 - 60 * i for i in range(10)],
            },
            check="quality",
        ),
        Exhibit(
            name="operating_points",
            title="What others would choose",
            columns={
                "who": [text or "spam filter", "fraud detector", "this model"],
                "threshold": [0.91, 0.12, 0.42],
                "precision": [0.99, 0.41, 0.8],
                "precision_lower": [0.97, 0.38, 0.77],
                "precision_upper": [1.0, 0.44, 0.83],
                "recall": [0.31, 0.96, 0.74],
            },
            check="threshold",
        ),
        Exhibit(
            name="weak_slices",
            title="Groups on which the model is provably worse",
            columns={
                "slice": [text or f"age < {20 + i} and job = student" for i in range(30)],
                "rows": [500 + i for i in range(30)],
                "error": [0.31 - 0.004 * i for i in range(30)],
                "lower": [0.28 - 0.004 * i for i in range(30)],
                "upper": [0.34 - 0.004 * i for i in range(30)],
                "elsewhere": [0.14] * 30,
            },
            note=text or "Confirmed on rows that did not find them; false discoveries at most 5 %.",
            check="slices",
        ),
        Exhibit(
            name="importance",
            title="What the model relies on",
            columns={
                "column": names,
                "drop": [0.14 / (1 + i) for i in places],
                "lower": [0.13 / (1 + i) for i in places],
                "upper": [0.15 / (1 + i) for i in places],
            },
            check="explanation",
        ),
        *(dependence(name, place) for place, name in enumerate(names)),
        Exhibit(
            name="explained_rows",
            title="Three rows, each score taken apart",
            columns={
                "row": [label for label in ("surest", "in doubt", "most wrong") for _ in names[:10]],
                "column": names[:10] * 3,
                "value": [text or f"{i}.5" for i in range(len(names[:10]))] * 3,
                "effect": [(0.2 - 0.03 * i) * sign for sign in (1, -1, 1) for i in range(len(names[:10]))],
                "score": [score for score in (0.97, 0.5, 0.91) for _ in names[:10]],
                "actual": [actual for actual in ("yes", "no", "no") for _ in names[:10]],
            },
            check="explanation",
        ),
        Exhibit(
            name="robustness",
            title="What faults in the input cost",
            columns={
                "fault": [fault for fault in FAULTS for _ in names[:8]],
                "column": names[:8] * len(FAULTS),
                "change": [text or "set to missing"] * len(FAULTS) * len(names[:8]),
                "refused": [0.0] * len(FAULTS) * len(names[:8]),
                "nonfinite": [0.0] * len(FAULTS) * len(names[:8]),
                "drop": [0.3 / (1 + i) for _ in FAULTS for i in range(len(names[:8]))],
                "drop_lower": [0.28 / (1 + i) for _ in FAULTS for i in range(len(names[:8]))],
                "drop_upper": [0.32 / (1 + i) for _ in FAULTS for i in range(len(names[:8]))],
            },
            check="robustness",
        ),
        Exhibit(
            name="ml_test_score",
            title="The ML Test Score",
            columns={
                "section": ["features"] * 7 + ["model"] * 7 + ["infrastructure"] * 7 + ["monitoring"] * 7,
                "title": [text or f"Test number {i + 1} of Breck et al., said in a sentence" for i in range(28)],
                "points": [(0.0, 0.5, 1.0)[i % 3] for i in range(28)],
                "how": [("none", "manual", "automatic")[i % 3] for i in range(28)],
                "sentence": ["what was found, in a sentence of usual length with 0.921 as its figure"] * 28,
            },
            check="ml_test_score",
        ),
        Exhibit(name="fairness", title="Groups", columns={"group": ["a", "b"], "n": [100, None]}, check="fairness"),
        Exhibit(name="brand_new", title="From a check of tomorrow", columns={"a": [1, 2]}, check="tomorrow"),
    ]
