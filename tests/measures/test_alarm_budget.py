"""One alarm budget: what it says, how it is divided, and that the parts never add up to more."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.errors import DataError
from roadworthy.measures.alarms.budget import MOST_LEVEL, WEIGHTS, Allotment, Budget, Family, allot, parse_budget

MONTH = parse_budget("1 per 30 days")
DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("text", "alarms", "per_s"),
    [
        ("1 per 30 days", 1, 30 * DAY_S),
        ("2 per week", 2, 7 * DAY_S),
        (" 0.5 per 2 weeks ", 0.5, 14 * DAY_S),
        ("1 per month", 1, 30 * DAY_S),
        ("1 per hour", 1, 3600),
        ("3 per 1 year", 3, 365 * DAY_S),
    ],
)
def test_a_budget_is_read(text: str, alarms: float, per_s: float) -> None:
    assert parse_budget(text) == Budget(false_alarms=alarms, per_s=per_s)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("many", "false alarms per time"),
        ("1 per 30", "false alarms per time"),
        ("-1 per day", "false alarms per time"),
        ("1 per fortnight", "false alarms per time"),
        (1, "false alarms per time"),
        ("0 per 30 days", "never errs never speaks"),
        ("1 per 0 days", "never errs never speaks"),
        ("2 per hour", "at most 1 per hour"),
        ("1 per 101 years", "at least 1 per 100 years"),
    ],
)
def test_nonsense_is_refused_with_what_was_expected(text: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_budget(text)


@settings(max_examples=60, deadline=None)
@given(
    members=st.dictionaries(st.sampled_from(list(Family)), st.integers(0, 300), min_size=1),
    window_s=st.floats(60, 40 * DAY_S),
    windows=st.integers(1, 3000),
    scales=st.integers(1, 10) | st.none(),
)
def test_all_looks_together_never_spend_more_than_the_time_has_earned(
    members: dict[Family, int], window_s: float, windows: int, scales: int | None
) -> None:
    if not any(members.values()):
        return
    allotment = allot(MONTH, members, window_s=window_s, scales=scales)
    assert allotment.spent(window_s, windows) <= MONTH.within(window_s * windows) * (1 + 1e-9)


def test_a_long_run_spends_nearly_all_of_it() -> None:
    allotment = allot(MONTH, {Family.SCORE: 1, Family.COLUMNS: 40, Family.MISSING: 7}, window_s=3600)
    assert allotment.scales == 10
    assert 0.98 < allotment.spent(3600, 50 * 720) / 50 <= 1


def test_more_charts_and_shorter_windows_mean_lower_levels() -> None:
    few = allot(MONTH, {Family.SCORE: 1, Family.MISSING: 4}, window_s=3600, scales=5)
    many = allot(MONTH, {Family.SCORE: 1, Family.MISSING: 40}, window_s=3600, scales=5)
    assert many.member_level(Family.MISSING, seconds=3600) == pytest.approx(
        few.member_level(Family.MISSING, seconds=3600) / 10
    )
    assert many.level(Family.SCORE, seconds=3600) == few.level(Family.SCORE, seconds=3600)
    assert few.level(Family.SCORE, seconds=1800) == pytest.approx(few.level(Family.SCORE, seconds=3600) / 2)
    assert few.level(Family.SCORE, seconds=0) == 0
    assert few.confidence(Family.MISSING, seconds=3600) == pytest.approx(
        1 - few.member_level(Family.MISSING, seconds=3600)
    )


def test_what_is_not_watched_leaves_its_share_to_the_others() -> None:
    alone = allot(MONTH, {Family.SCORE: 1, Family.COLUMNS: 0}, window_s=3600, scales=1)
    assert alone.share(Family.SCORE) == 1
    assert alone.level(Family.SCORE, seconds=3600) == pytest.approx(1 / 720)
    every = allot(MONTH, dict.fromkeys(Family, 2), window_s=3600)
    assert math.fsum(every.share(family) for family in Family) == pytest.approx(1)
    assert every.share(Family.SCORE) == WEIGHTS[Family.SCORE] / sum(WEIGHTS.values())
    assert set(WEIGHTS) == set(Family)


def test_streams_have_a_rate_and_long_windows_a_highest_level() -> None:
    watched = allot(MONTH, {Family.ERRORS: 1, Family.OPERATIONS: 4}, window_s=3600)
    assert watched.rate(Family.OPERATIONS) * 4 * MONTH.per_s == pytest.approx(0.5)
    yearly = allot(MONTH, {Family.SCORE: 1}, window_s=365 * DAY_S)
    assert yearly.level(Family.SCORE, seconds=365 * DAY_S) == MOST_LEVEL


def test_what_was_not_allotted_is_refused() -> None:
    allotment = allot(MONTH, {Family.SCORE: 1}, window_s=3600, scales=2)
    with pytest.raises(DataError, match="columns is not among"):
        allotment.level(Family.COLUMNS, seconds=3600)
    with pytest.raises(DataError, match="scale 2"):
        allotment.level(Family.SCORE, seconds=3600, scale=2)
    for wrong in ({"members": {}, "window_s": 3600.0}, {"members": {Family.SCORE: 1}, "window_s": 0.0}):
        with pytest.raises(DataError):
            allot(MONTH, **wrong)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(DataError, match="0 scales"):
        allot(MONTH, {Family.SCORE: 1}, window_s=1.0, scales=0)
    assert isinstance(allotment, Allotment)


def test_estimates_are_looked_at_window_by_window_and_keep_what_looks_back_would_cost() -> None:
    found = allot(MONTH, {Family.QUALITY: 1, Family.ESTIMATED: 1}, window_s=3600.0, scales=8)
    share = found.share(Family.ESTIMATED) * MONTH.within(3600.0)
    assert found.level(Family.ESTIMATED, seconds=3600.0) == pytest.approx(share)
    assert found.level(Family.QUALITY, seconds=3600.0) == pytest.approx(2 * share / 8)
    with pytest.raises(DataError, match="divided over 1 of them"):
        found.level(Family.ESTIMATED, seconds=7200.0, scale=1)
    assert found.spent(3600.0, 720) <= 1.0


def test_groups_whose_bounds_hold_together_have_the_level_of_all_of_them() -> None:
    found = allot(MONTH, {Family.QUALITY: 8}, window_s=3600.0, scales=4)
    level = found.level(Family.QUALITY, seconds=3600.0)
    assert 1 - found.confidence(Family.QUALITY, seconds=3600.0) == pytest.approx(level / 8)
    assert 1 - found.confidence(Family.QUALITY, seconds=3600.0, members=5) == pytest.approx(level * 5 / 8)
