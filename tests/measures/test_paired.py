"""Two models on the same rows: values are those of the measures, intervals those of a bootstrap, sides change signs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from roadworthy.errors import DataError
from roadworthy.measures.paired import deciding_metric, paired_differences
from roadworthy.measures.quality import measure
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task


def two(seed: int, n: int = 600, *, entities: int = 0, gain: float = 0.0, noise: float = 0.4) -> tuple[Sample, Sample]:
    """Scores of two models for the same rows; the second knows ``gain`` more of the truth."""
    rng = np.random.default_rng(seed)
    clusters = rng.integers(0, entities, n) if entities else None
    truth = rng.normal(size=n) + (0 if clusters is None else rng.normal(size=entities)[clusters])
    y = (rng.random(n) < special.expit(truth)).astype(np.int64)
    shared = rng.normal(scale=noise, size=n)
    scores = [special.expit(k * truth + shared + rng.normal(scale=noise, size=n)) for k in (0.7, 0.7 + gain)]
    made = [
        Sample(task=Task.BINARY, y=y, score=score, threshold=0.5, classes=("0", "1"), clusters=clusters)
        for score in scores
    ]
    return made[0], made[1]


def test_values_are_those_of_the_measures() -> None:
    first, second = two(1, gain=0.3)
    for one in paired_differences(first, second):
        assert one.first == pytest.approx(measure(one.metric, first).value, rel=1e-12)
        assert one.second == pytest.approx(measure(one.metric, second).value, rel=1e-12)


@pytest.mark.parametrize("entities", [0, 80])
def test_intervals_are_those_of_a_paired_bootstrap(entities: int) -> None:
    first, second = two(3, entities=entities, gain=0.2)
    codes = np.arange(first.n) if first.clusters is None else first.clusters
    groups = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    rng = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {}
    for _ in range(100):
        rows = np.concatenate([groups[place] for place in rng.integers(0, len(groups), len(groups))])
        taken = [Sample(task=one.task, y=one.y[rows], score=one.score[rows], threshold=0.5, classes=one.classes)
                 for one in (first, second)]  # fmt: skip
        for one in paired_differences(*taken):
            drawn.setdefault(one.metric, []).append(one.value)
    for one in paired_differences(first, second):
        assert one.lower is not None
        assert one.upper is not None
        reach = {0.95: 1.96, 0.99: 2.576}[round(one.confidence, 2)]
        assert (one.upper - one.lower) / 2 == pytest.approx(reach * np.std(drawn[one.metric]), rel=0.3), one.metric


def test_pairing_is_what_makes_it_sharp() -> None:
    first, second = two(5, 1_000, gain=0.05, noise=0.05)
    lead = paired_differences(first, second)[0]
    alone = measure("log_loss", first, confidence=0.975)
    assert lead.metric == deciding_metric(Task.BINARY) == "log_loss"
    assert None not in {lead.lower, lead.upper, alone.lower, alone.upper}
    assert (lead.upper or 0) - (lead.lower or 0) < 0.5 * ((alone.upper or 0) - (alone.lower or 0))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), gain=st.floats(-0.5, 0.5))
def test_turned_round_it_says_the_opposite(seed: int, gain: float) -> None:
    first, second = two(seed, 120, gain=gain)
    there, back = paired_differences(first, second), paired_differences(second, first)
    for one, other in zip(there, back, strict=True):
        assert other.value == pytest.approx(-one.value, abs=1e-12)
        assert {0: 0, 1: 2, 2: 1}[one.better] == other.better
        if one.lower is not None and other.upper is not None:
            assert other.upper == pytest.approx(-one.lower, abs=1e-9)


def test_no_difference_is_called_proven_too_often() -> None:
    called = sum(paired_differences(*two(seed, 150, entities=40))[0].better != 0 for seed in range(120))
    assert called <= 14  # 6 expected; the 99.8 % point of a binomial


def test_the_same_answers_differ_by_nothing() -> None:
    first, _ = two(2)
    for one in paired_differences(first, first):
        assert (one.value, one.lower, one.upper, one.better) == (0.0, 0.0, 0.0, 0)


def test_other_rows_are_refused_and_few_rows_say_so() -> None:
    first, second = two(2)
    with pytest.raises(DataError, match="not the same rows"):
        paired_differences(first, second.take(np.arange(100)))
    few = [one.take(np.arange(5)) for one in (first, second)]
    assert "needs at least" in paired_differences(*few)[0].insufficient


def test_amounts_and_classes() -> None:
    rng = np.random.default_rng(4)
    y = rng.normal(size=300)
    near, far = (Sample(task=Task.REGRESSION, y=y, score=y + rng.normal(scale=s, size=300)) for s in (0.2, 0.6))
    assert [one.better for one in paired_differences(far, near)] == [2, 2]
    classes = rng.integers(0, 3, 300)
    sure = np.full((300, 3), 0.1) + 0.7 * np.eye(3)[classes]
    unsure = np.full((300, 3), 1 / 3) + 0.0 * sure
    sharp, dull = (Sample(task=Task.MULTICLASS, y=classes, score=s, classes=("a", "b", "c")) for s in (sure, unsure))
    assert paired_differences(dull, sharp)[0].better in {0, 2}
    assert {one.metric for one in paired_differences(dull, sharp)} == {"log_loss", "accuracy", "brier"}
