from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from roadworthy.measures.intervals import (
    Bounds,
    NotEnough,
    clopper_pearson,
    effective_size,
    like_proportion,
    proportion,
    skewed_t,
)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (997, 1000)])
def test_clopper_pearson_is_the_exact_interval(hits: int, n: int) -> None:
    exact = stats.binomtest(hits, n).proportion_ci(confidence_level=0.90, method="exact")
    assert clopper_pearson(hits, n, 0.95) == pytest.approx((exact.low, exact.high))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.data())
def test_more_confidence_never_narrows_and_the_value_lies_within(n: int, data: st.DataObject) -> None:
    hit = np.arange(n) < data.draw(st.integers(0, n))
    narrow, wide = proportion(hit, None, 0.8), proportion(hit, None, 0.99)
    assert 0 <= wide.lower <= narrow.lower <= narrow.value <= narrow.upper <= wide.upper <= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=12, max_size=60), st.floats(0.6, 0.999))
def test_skewed_t_holds_its_value_and_is_blind_to_order(values: list[float], confidence: float) -> None:
    x = np.array(values)

    def bounds(part: np.ndarray) -> Bounds:
        return skewed_t(float(part.mean()), (part - part.mean()) / len(part), None, confidence)

    try:
        straight, turned = bounds(x), bounds(x[::-1])
    except NotEnough:
        assert np.ptp(x) <= 1e-9 * max(1.0, abs(x).max())
        return
    assert straight.lower <= straight.value <= straight.upper
    assert np.isfinite(straight[:3]).all()
    assert straight[1:3] == pytest.approx(turned[1:3], rel=1e-6, abs=1e-6)


def test_clusters_of_one_row_change_nothing() -> None:
    rng = np.random.default_rng(1)
    x = rng.exponential(size=300)
    own = rng.permutation(300)
    influence = (x - x.mean()) / 300
    assert skewed_t(x.mean(), influence, None, 0.95)[1:3] == pytest.approx(
        skewed_t(x.mean(), influence, own, 0.95)[1:3]
    )
    assert proportion(x > 1, own, 0.95)[:3] == proportion(x > 1, None, 0.95)[:3]


def test_copied_rows_teach_nothing_when_they_share_an_entity() -> None:
    rng = np.random.default_rng(2)
    x = rng.exponential(size=400)
    copies, entity = np.repeat(x, 5), np.repeat(np.arange(400), 5)
    once = skewed_t(x.mean(), (x - x.mean()) / 400, None, 0.95)
    five = skewed_t(x.mean(), (copies - x.mean()) / 2000, entity, 0.95)
    assert five[1:3] == pytest.approx(once[1:3])
    assert effective_size(copies > 1, entity, 0.95) == pytest.approx(400, rel=0.02)


def test_the_effective_size_never_exceeds_the_rows() -> None:
    # each entity holds one hit and one miss: clustering makes the share more certain, and that is not believed
    hit, entity = np.tile([True, False], 100), np.repeat(np.arange(100), 2)
    assert effective_size(hit, entity, 0.95) == 200


def test_where_all_rows_of_all_entities_agree_each_entity_counts_once() -> None:
    bounds = proportion(np.ones(100, dtype=bool), np.arange(100) // 5, 0.95)
    assert bounds.lower == pytest.approx(0.05 ** (1 / 20))
    assert bounds.upper == 1.0


def test_too_few_entities_are_not_enough() -> None:
    with pytest.raises(NotEnough, match="needs at least 10 entities, has 3"):
        proportion(np.arange(30) % 2 == 0, np.arange(30) % 3, 0.95)
    with pytest.raises(NotEnough, match="alike"):
        skewed_t(1.0, np.zeros(50), None, 0.95)


def test_skewness_lengthens_the_tail_side() -> None:
    x = np.random.default_rng(3).exponential(size=100)
    bounds = skewed_t(x.mean(), (x - x.mean()) / 100, None, 0.95)
    assert bounds.upper - bounds.value > 1.1 * (bounds.value - bounds.lower)


def test_like_proportion_is_bent_at_the_ends() -> None:
    lower, upper = like_proportion(0.99, 100, 0.95)
    assert 0.99 - lower > upper - 0.99 > 0
    assert like_proportion(1.0, 50, 0.95)[1] == 1.0


def test_a_row_that_carries_the_value_may_be_missing_in_the_next_sample() -> None:
    x = np.concatenate([np.random.default_rng(4).normal(size=199), [4.0]])
    influence = (x - x.mean()) / 200
    reach = [
        (bounds.value - bounds.lower, bounds.upper - bounds.value)
        for bounds in (skewed_t(float(x.mean()), influence, None, 0.95, unseen=unseen) for unseen in (0.0, 1.0, 3.0))
    ]
    below, above = zip(*reach, strict=True)
    assert above[0] * 1.03 < above[1] < above[2]  # on the side that it pulls to
    assert below[0] <= below[2] < 1.1 * below[0]  # hardly on the other


def test_an_unseen_row_never_narrows() -> None:
    # with one row far beyond all others its own skewness reaches further than two such rows would
    x = np.concatenate([np.random.default_rng(4).normal(size=199), [30.0]])
    influence = (x - x.mean()) / 200
    alone, doubled = (skewed_t(float(x.mean()), influence, None, 0.95, unseen=unseen) for unseen in (0.0, 1.0))
    assert doubled.lower <= alone.lower
    assert doubled.upper >= alone.upper
