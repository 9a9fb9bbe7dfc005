"""Ranks and tails that need no ``scipy.stats`` are the ones of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from roadworthy.measures.alarms.burn import Bucket, burns
from roadworthy.measures.alarms.cusum import limit_for, run_length
from roadworthy.measures.calibration import _noncentrality
from roadworthy.measures.ranks import mid_ranks

NUMBERS = st.one_of(st.integers(0, 5).map(float), st.floats(allow_nan=False), st.just(math.inf))
HOUR_US = 3_600_000_000


@settings(deadline=None)
@given(st.lists(NUMBERS, max_size=40), st.integers(1, 4))
def test_ranks_are_those_of_scipy(values: list[float], columns: int) -> None:
    table = np.array(values[: len(values) // columns * columns]).reshape(-1, columns)
    assert mid_ranks(table).tolist() == stats.rankdata(table, axis=0).tolist()
    assert mid_ranks(np.array(values)).tolist() == stats.rankdata(np.array(values)).tolist()


@settings(deadline=None)
@given(st.floats(1e-3, 1e4), st.floats(0.5, 40), st.sampled_from([0.0001, 0.025, 0.05, 0.5, 0.95, 0.975, 0.9999]))
def test_a_noncentrality_leaves_the_probability_that_is_asked_for(
    observed: float, degrees: float, share: float
) -> None:
    found = _noncentrality(observed, degrees, share)
    if found > 1e3:
        reached = stats.norm.cdf((observed - degrees - found) / math.sqrt(2 * (degrees + 2 * found)))
    else:
        reached = stats.ncx2.cdf(observed, degrees, found) if found else stats.chi2.cdf(observed, degrees)
    assert reached <= share if found == 0 else reached == pytest.approx(share, abs=1e-7)


@settings(deadline=None)
@given(st.integers(1, 5_000), st.floats(0, 1), st.floats(0.5, 0.9999))
def test_the_tail_of_a_burn_is_the_exact_binomial_one(total: int, share: float, objective: float) -> None:
    bad = round(share * total)
    found = burns([Bucket(at_us=0, bad=bad, total=total)], objective, at_us=HOUR_US, per_s=1e-6)
    expected = float(stats.binom.sf(bad - 1, total, 1 - objective))
    assert [one.p for one in found if one.long_total] == pytest.approx([expected] * 3, rel=1e-12)


@pytest.mark.parametrize("points", [336, 1_344])
def test_a_limit_keeps_its_rate_over_the_errors_of_mean_and_spread(points: int) -> None:
    limit = limit_for(1e-4, points)
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    spreads = np.sqrt(stats.chi2.ppf(stats.norm.cdf(nodes), points - 1) / (points - 1))
    rate = sum(
        by_mean * by_spread / run_length(limit, mean=node / math.sqrt(points), spread=1 / spread)
        for node, by_mean in zip(nodes, weights / weights.sum(), strict=True)
        for spread, by_spread in zip(spreads, weights / weights.sum(), strict=True)
    )
    assert rate == pytest.approx(1e-4, rel=1e-4)
