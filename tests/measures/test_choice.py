from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from roadworthy.errors import DataError, UnknownName
from roadworthy.measures.choice import choose, paired_difference
from roadworthy.measures.losses import row_losses
from roadworthy.measures.samples import Sample
from roadworthy.records.model import GraphCost
from roadworthy.records.project import Task


def cost(p99_ms: float, size_bytes: int) -> GraphCost:
    return GraphCost(size_bytes=size_bytes, p50_ms=p99_ms / 2, p99_ms=p99_ms, runs=100)


def candidates(n: int = 3000, seed: int = 1) -> dict[str, Sample]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)

    def score(slope: float, noise: float = 0.0) -> np.ndarray:
        return 1 / (1 + np.exp(-(slope * x + noise * rng.normal(size=n))))

    y = (rng.random(n) < score(2.0)).astype(np.int64)
    best = Sample(task=Task.BINARY, y=y, score=score(2.0), folds=np.arange(n) % 4)
    return {
        "best": best,
        "near": replace(best, score=score(2.02)),
        "worse": replace(best, score=score(2.0, 1.2)),
    }


COSTS = {"best": cost(3.0, 90_000), "near": cost(0.5, 5_000), "worse": cost(0.1, 1_000)}


def test_the_cheapest_that_is_not_provably_worse() -> None:
    choice = choose(candidates(), COSTS, {})
    assert choice.candidate == "near"
    rows = {row["candidate"]: row for row in choice.table}
    assert rows["worse"]["provably_worse"]
    assert rows["worse"]["difference_lower"] > 0
    assert not rows["near"]["provably_worse"]
    assert rows["near"]["chosen"]
    assert 0 < rows["near"]["quality_lower"] < rows["near"]["quality"] < rows["near"]["quality_upper"]
    assert "by at least" in choice.explanation
    assert "near is chosen: it is the cheapest of those that are not provably worse" in choice.explanation


def test_one_that_provably_fails_the_standard_is_passed_over() -> None:
    choice = choose(candidates(), COSTS, {"near": ["recall >= 0.9"], "best": ["recall >= 0.9"]})
    assert choice.candidate == "worse"
    assert "near provably fails recall >= 0.9" in choice.explanation
    assert "best of those that do not provably fail" in choice.explanation


def test_when_all_fail_the_choice_says_so() -> None:
    choice = choose(candidates(), COSTS, dict.fromkeys(COSTS, ("accuracy >= 0.99",)))
    assert choice.candidate == "near"
    assert "Every candidate fails the standard" in choice.explanation


def test_equal_speed_is_decided_by_size() -> None:
    costs = {"best": cost(0.30, 9_000), "near": cost(0.33, 4_000), "worse": cost(9, 9)}
    assert choose(candidates(), costs, {}).candidate == "near"


def test_the_same_predictions_are_no_difference() -> None:
    best = candidates()["best"]
    choice = choose({"a": best, "b": best}, {"a": cost(1, 100), "b": cost(1, 50)}, {})
    assert choice.candidate == "b"
    assert all(row["difference"] == 0 for row in choice.table)


def test_folds_that_disagree_widen_the_difference() -> None:
    rng = np.random.default_rng(3)
    n = 2000
    folds = np.arange(n) % 4
    y = rng.integers(0, 2, n)
    sample = Sample(task=Task.BINARY, y=y, score=np.full(n, 0.5), folds=folds)
    losses = rng.normal(size=n) * 0.1 + np.array([0.3, -0.2, 0.3, -0.2])[folds] + 0.02
    best = np.zeros(n)
    with_folds = paired_difference(losses, best, sample, 0.95)
    without = paired_difference(losses, best, replace(sample, folds=None), 0.95)
    assert without.lower > 0 > with_folds.lower


def test_folds_are_few_and_prove_no_more_than_their_number_allows() -> None:
    # models of equal quality whose folds differ by luck: the bound above 0 in about 5 % of repetitions, not 10
    n = 1000
    folds = np.arange(n) % 4
    sample = Sample(task=Task.BINARY, y=np.zeros(n, dtype=np.int64), score=np.full(n, 0.5), folds=folds)
    rng = np.random.default_rng(0)
    called = sum(
        paired_difference(rng.normal(size=n) + 0.3 * rng.normal(size=4)[folds], np.zeros(n), sample, 0.95).lower > 0
        for _ in range(1500)
    )
    assert 0.03 < called / 1500 < 0.065


def test_a_real_difference_is_not_called_by_chance_too_often() -> None:
    # two models of equal quality: the bound above 0 in at most about 5 % of repetitions
    called = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, one, two = rng.normal(size=(3, 400))
        y = (rng.random(400) < 1 / (1 + np.exp(-2 * x))).astype(np.int64)
        left = Sample(task=Task.BINARY, y=y, score=1 / (1 + np.exp(-(2 * x + 0.5 * one))))
        right = replace(left, score=1 / (1 + np.exp(-(2 * x + 0.5 * two))))
        called += paired_difference(row_losses(left), row_losses(right), left, 0.95).lower > 0
    assert called <= 20


def test_other_rows_or_no_cost_are_refused() -> None:
    pool = candidates()
    with pytest.raises(DataError, match="other rows"):
        choose({"a": pool["best"], "b": pool["best"].take(np.arange(10))}, {"a": COSTS["best"], "b": COSTS["best"]}, {})
    with pytest.raises(UnknownName, match="cost of candidate"):
        choose(pool, {"best": COSTS["best"]}, {})
    with pytest.raises(DataError, match="no candidate"):
        choose({}, {}, {})
