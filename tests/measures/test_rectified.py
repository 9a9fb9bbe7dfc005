"""Prediction-powered inference: the truth is held whatever the concept does, and labels with estimates tell more."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.measures.estimation import EstimatorState, estimated, fit_estimator, rectified
from roadworthy.measures.quality import measure
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.records.project import Task

Floats = NDArray[np.float64]
NAMES = ("accuracy", "precision", "recall", "f1", "brier")


def made(rng: np.random.Generator, rows: int) -> tuple[pl.DataFrame, Floats, NDArray[np.int64]]:
    x = rng.normal(size=rows)
    y = (rng.random(rows) < 1 / (1 + np.exp(-2 * x))).astype(np.int64)
    return pl.DataFrame({"x": x}), 1 / (1 + np.exp(-2.4 * x)), y


@cache
def state() -> EstimatorState:
    frame, score, y = made(np.random.default_rng(1), 2_000)
    return fit_estimator(Sample(task=Task.BINARY, y=y, score=score, threshold=0.5), frame, metrics=NAMES)


def band(one: Measurement) -> tuple[float, float, float]:
    """Value, lower, upper of a measurement that has them."""
    assert one.value is not None, one
    assert one.lower is not None
    assert one.upper is not None
    return one.value, one.lower, one.upper


def holds(one: Measurement, truth: float) -> bool:
    _, lower, upper = band(one)
    return lower <= truth <= upper


def wide(one: Measurement) -> float:
    _, lower, upper = band(one)
    return upper - lower


def real(metric: str, sample: Sample) -> float:
    return band(measure(metric, sample))[0]


def truth_of(y: NDArray[np.int64], score: Floats) -> list[float]:
    sample = Sample(task=Task.BINARY, y=y, score=score, threshold=0.5)
    return [real(name, sample) for name in NAMES]


def test_a_hundred_labels_hold_the_truth_under_concept_drift_and_the_estimate_alone_does_not() -> None:
    rng = np.random.default_rng(2)
    held, blind, narrower = [], [], []
    for turn in range(120):
        frame, score, y = made(rng, 2_000)
        turned = rng.random(2_000) < 0.25 if turn % 2 else (score > 0.3) & (rng.random(2_000) < 0.3)
        y = np.where(turned, 1 - y if turn % 2 else 0, y)
        labelled = rng.choice(2_000, 100, replace=False)
        truth = truth_of(y, score)
        joined = rectified(state(), score, labelled, y[labelled], frame=frame, metrics=NAMES, confidence=0.975)
        alone = estimated(state(), score, frame=frame, metrics=NAMES, confidence=0.975)
        held.append([holds(one, value) for one, value in zip(joined, truth, strict=True)])
        blind.append([holds(one, value) for one, value in zip(alone, truth, strict=True)])
        few = Sample(task=Task.BINARY, y=y[labelled], score=score[labelled], threshold=0.5)
        labels = [measure(name, few, confidence=0.975) for name in NAMES]
        narrower.append([wide(one) / wide(own) for one, own in zip(joined, labels, strict=True)])
    assert np.mean(held) >= 0.94
    assert np.mean(held, axis=0).min() >= 0.91
    assert np.mean(blind) < 0.2
    assert np.mean(narrower) < 0.97


def test_where_estimates_are_right_labels_need_fewer() -> None:
    """Sharp scores: the labels' own noise is mostly told by the score, so the joined band is much narrower."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=4_000) * 6
    y = (rng.random(4_000) < 1 / (1 + np.exp(-x))).astype(np.int64)
    score = 1 / (1 + np.exp(-x))
    sharp = fit_estimator(Sample(task=Task.BINARY, y=y, score=score, threshold=0.9), metrics=["accuracy"])
    labelled = rng.choice(4_000, 200, replace=False)
    one = rectified(sharp, score, labelled, y[labelled], metrics=["accuracy"], confidence=0.975)[0]
    few = Sample(task=Task.BINARY, y=y[labelled], score=score[labelled], threshold=0.9)
    own = measure("accuracy", few, confidence=0.975)
    assert wide(one) < 0.8 * wide(own)
    assert one.phase is Phase.LIVE
    assert one.method == "estimated: prediction-powered inference"
    assert one.reason.startswith("200 labels, and estimates of 4000 rows at weight 0.")


def test_known_probabilities_make_up_for_a_choice_that_is_not_even() -> None:
    rng = np.random.default_rng(4)
    errors: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(60):
        frame, score, y = made(rng, 3_000)
        y = np.where((score > 0.85) & (rng.random(3_000) < 0.6), 0, y)
        chance = np.where(score > 0.85, 0.3, 0.03)
        labelled = np.flatnonzero(rng.random(3_000) < chance)
        for told, missed in errors.items():
            one = rectified(
                state(), score, labelled, y[labelled], frame=frame, metrics=["accuracy"],
                probabilities=chance[labelled] if told else None,
            )[0]  # fmt: skip
            missed.append(band(one)[0] - truth_of(y, score)[0])
    assert abs(np.mean(errors[True])) < 0.008
    assert abs(np.mean(errors[False])) > 0.012


def test_with_all_labels_it_is_the_realised_value() -> None:
    frame, score, y = made(np.random.default_rng(5), 600)
    found = rectified(state(), score, np.ones(600, dtype=bool), y, frame=frame, metrics=NAMES)
    for one, value in zip(found, truth_of(y, score), strict=True):
        assert one.value == pytest.approx(value, abs=1e-9), one.metric


def test_amounts_and_classes() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=3_000)
    truth = x + rng.normal(size=3_000)
    numbers = fit_estimator(Sample(task=Task.REGRESSION, y=truth, score=x), pl.DataFrame({"x": x}))
    held = []
    for _ in range(60):
        x = rng.normal(size=1_000)
        truth = x + 1.5 * rng.normal(size=1_000) + 0.5
        labelled = rng.choice(1_000, 100, replace=False)
        found = rectified(
            numbers, x, labelled, truth[labelled], frame=pl.DataFrame({"x": x}), confidence=0.975,
            metrics=("mae", "rmse", "r2"),
        )  # fmt: skip
        whole = Sample(task=Task.REGRESSION, y=truth, score=x, reference=numbers.base)
        held.append([holds(one, real(one.metric, whole)) for one in found])
    assert np.mean(held) >= 0.9
    score = rng.dirichlet([1, 1, 1], 1_500)
    y = np.array([rng.choice(3, p=row) for row in score])
    many = fit_estimator(Sample(task=Task.MULTICLASS, y=y, score=score), metrics=["accuracy", "macro_f1"])
    found = rectified(many, score, np.arange(120), y[:120], metrics=["accuracy", "macro_f1"])
    assert holds(found[0], float((score.argmax(axis=1) == y).mean()))
    assert (
        found[1].insufficient == "cannot estimate: macro_f1 has no estimate from a few labels: it is no mean over rows"
    )


def test_what_cannot_be_said_and_what_does_not_fit() -> None:
    frame, score, y = made(np.random.default_rng(7), 600)
    few = rectified(state(), score, np.arange(12), y[:12], frame=frame, metrics=["accuracy"])[0]
    assert few.insufficient == "cannot estimate: needs at least 30 labels, has 12"
    none = np.flatnonzero(score < 0.5)[:60]
    sided = rectified(state(), score, none, y[none], frame=frame, metrics=["precision", "roc_auc"])
    assert sided[0].insufficient == "cannot estimate: needs at least 8 labels of rows decided as events"
    assert "it needs all ranks" in sided[1].insufficient
    with pytest.raises(DataError, match="as many of each"):
        rectified(state(), score, np.arange(40), y[:39])
    with pytest.raises(DataError, match="named twice"):
        rectified(state(), score, np.zeros(40, dtype=int), y[:40])
    with pytest.raises(DataError, match="probability zero"):
        rectified(state(), score, np.arange(40), y[:40], probabilities=np.zeros(40))
