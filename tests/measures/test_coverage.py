"""Seeded simulations: bounds that are said to hold in 95 % of repetitions do so. The long table is a benchmark."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from roadworthy.measures.quality import measure, metrics_for
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task

HOLDOUTS = 200
LEAST = 0.90  # 95 % less 3.2 standard errors of 200 repetitions


def coverage(draw: Callable[[], Sample], truth: dict[str, float], holdouts: int = HOLDOUTS) -> dict[str, float]:
    """The worse side's coverage per metric, over the holdouts that answered at all."""
    tally = {metric: np.zeros(3) for metric in truth}
    for _ in range(holdouts):
        sample = draw()
        for metric, true in truth.items():
            got = measure(metric, sample)
            assert not got.error
            if got.lower is not None and got.upper is not None:
                tally[metric] += (1, got.lower <= true, got.upper >= true)
    return {m: float(min(low, high) / count) for m, (count, low, high) in tally.items() if count > holdouts / 2}


def binary(rng: np.random.Generator, n: int, offset: float, entity: float) -> Sample:
    """Logistic events, over-confident scores; rows of one entity share a shift that the model misses."""
    clusters = np.arange(n) // 4 if entity else None
    shift = np.zeros(n) if clusters is None else (entity * rng.normal(size=n // 4 + 1))[clusters]
    x = rng.normal(size=n)
    y = (rng.random(n) < 1 / (1 + np.exp(-(offset + 2 * x + shift)))).astype(np.int64)
    score = 1 / (1 + np.exp(-(offset + 2.4 * x)))
    return Sample(task=Task.BINARY, y=y, score=score, threshold=0.4, clusters=clusters, reference=(0.6, 0.4))


@pytest.mark.parametrize(
    ("rows", "offset", "entity"), [(220, -0.3, 0.0), (220, -0.3, 1.5), (1500, -3.3, 0.0), (1500, -3.3, 1.5)]
)
def test_bounds_hold_for_simulated_classifiers(rows: int, offset: float, entity: float) -> None:
    rng = np.random.default_rng(11)
    big = binary(rng, 400_000, offset, entity)
    truth = {metric: measure(metric, big).value or 0.0 for metric in metrics_for(Task.BINARY)}
    held = coverage(lambda: binary(rng, rows, offset, entity), truth)
    assert len(held) >= len(truth) - 2  # rank metrics may have too few rows of the rarer class
    assert {metric: share for metric, share in held.items() if share < LEAST} == {}


@pytest.mark.parametrize("entity", [False, True])
def test_bounds_hold_for_three_classes_of_which_one_is_rare(entity: bool) -> None:
    # 200 rows of which about 17 are of the rarest class: bounds that must be there in all but a few holdouts
    rng = np.random.default_rng(15)

    def draw(n: int) -> Sample:
        clusters = np.arange(n) // 4 if entity else None
        x = rng.normal(size=(n, 3))
        shift = 0.0 if clusters is None else rng.normal(size=(n // 4 + 1, 3))[clusters]
        logits = np.array([0.0, 0.0, -1.9]) + 1.8 * x
        y = (logits + shift + rng.gumbel(size=(n, 3))).argmax(axis=1)
        score = np.exp(1.3 * logits)
        return Sample(
            task=Task.MULTICLASS,
            y=y,
            score=score / score.sum(axis=1, keepdims=True),
            clusters=clusters,
            reference=(0.45, 0.45, 0.1),
        )

    names = ("balanced_accuracy", "macro_f1", "mcc", "lift", "accuracy")
    truth = {metric: measure(metric, draw(400_000)).value or 0.0 for metric in names}
    held = coverage(lambda: draw(200), truth, 300)
    assert set(held) == set(truth)
    assert {metric: share for metric, share in held.items() if share < LEAST} == {}


def test_bounds_hold_where_few_rows_carry_the_error() -> None:
    rng = np.random.default_rng(16)

    def draw(n: int) -> Sample:
        error = rng.gamma(0.7, size=n) * rng.choice([-1, 1], n)
        return Sample(task=Task.REGRESSION, y=error + rng.normal(size=n), score=np.zeros(n), reference=(0.0,))

    truth = {metric: measure(metric, draw(2_000_000)).value or 0.0 for metric in ("mae", "rmse")}
    held = coverage(lambda: draw(200), truth, 600)
    assert {metric: share for metric, share in held.items() if share < LEAST} == {}


@pytest.mark.parametrize("entity", [0.0, 1.0])
def test_bounds_hold_for_simulated_estimates(entity: float) -> None:
    rng = np.random.default_rng(12)

    def draw(n: int) -> Sample:
        clusters = np.arange(n) // 5
        x = rng.normal(size=n)
        error = rng.normal(size=n) * np.exp(0.2 * x) + entity * rng.normal(size=n // 5 + 1)[clusters]
        return Sample(task=Task.REGRESSION, y=x + error, score=x, clusters=clusters, reference=(0.0,))

    truth = {metric: measure(metric, draw(400_000)).value or 0.0 for metric in metrics_for(Task.REGRESSION)}
    held = coverage(lambda: draw(400), truth)
    assert {metric: share for metric, share in held.items() if share < LEAST} == {}


def test_without_the_entities_the_same_bounds_would_miss() -> None:
    # the simulation is able to fail: forgetting who the rows belong to breaks the promise
    rng = np.random.default_rng(13)

    def forgetful(n: int) -> Sample:
        clusters = np.arange(n) // 20
        error = rng.normal(size=n) + 1.5 * rng.normal(size=n // 20 + 1)[clusters]
        return Sample(task=Task.REGRESSION, y=error, score=np.zeros(n))

    truth = {"mae": measure("mae", forgetful(400_000)).value or 0.0}
    assert coverage(lambda: forgetful(800), truth)["mae"] < LEAST


def pools() -> dict[str, Sample]:
    """Real tables: models fitted once, their out-of-fold rows taken as the population."""
    x, y = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    tumour = cross_val_predict(model, x, y, cv=5, method="predict_proba")[:, 1]
    digits, number = load_digits(return_X_y=True)
    share = cross_val_predict(model, digits / 16.0, number, cv=3, method="predict_proba")
    body, progress = load_diabetes(return_X_y=True)
    return {
        "tumours": Sample(task=Task.BINARY, y=y, score=tumour, threshold=0.5, reference=(0.37, 0.63)),
        "digits": Sample(task=Task.MULTICLASS, y=number, score=share, reference=(0.1,) * 10),
        "diabetes": Sample(
            task=Task.REGRESSION, y=progress, score=cross_val_predict(Ridge(0.1), body, progress), reference=(150.0,)
        ),
    }


def test_bounds_hold_over_draws_from_real_tables() -> None:
    rng = np.random.default_rng(14)
    below: dict[str, float] = {}
    for name, pool in pools().items():
        # the pool's own labels are its truth; its calibration would be that of single rows, so it is left out
        metrics = [metric for metric in metrics_for(pool.task) if metric != "calibration_error"]
        truth = {metric: measure(metric, pool).value or 0.0 for metric in metrics}
        held = coverage(lambda pool=pool: pool.take(rng.integers(0, pool.n, 350)), truth)  # type: ignore[misc]  # bound at once
        below |= {f"{name} {metric}": share for metric, share in held.items() if share < LEAST}
    assert below == {}
