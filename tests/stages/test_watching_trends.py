"""Charts by the hour: they learn, they find what stays, they are the same however they are fed; and reports."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from roadworthy.errors import DataError
from roadworthy.records.alert import Signal, Word
from roadworthy.stages.watching.reporting import RULE, reports_signal
from roadworthy.stages.watching.trends import TRENDS, Hour, Trends, stepped_on, told_of_charts

HOUR_S, WEEK = 3_600, 168
BEGINS = 2 * WEEK + 60
ENDS = BEGINS + 30
PER_HOUR = 1 / (30 * 24) / 40
"""About what one of a project's charts has of one false alarm in 30 days."""

Change = Callable[[Hour], Hour]


def made(count: int, change: Change | None = None, since: int = BEGINS, seed: int = 1) -> list[Hour]:
    """The first hours of a service with a course by day and week, of which something changes later."""
    rng = np.random.default_rng(seed)
    hours = []
    for number in range(count):
        course = 800 * (1 + 0.6 * np.sin(number / 24 * 2 * np.pi)) * (0.6 if number // 24 % 7 > 4 else 1.0)
        rows = int(rng.poisson(course * rng.gamma(50, 1 / 50)))
        latency = float(40 * (1 + 0.2 * np.sin(number / 24 * 2 * np.pi)) * np.exp(0.05 * rng.standard_t(4)))
        one = Hour(
            number * HOUR_S,
            rows,
            rows,
            int(rng.binomial(rows, 0.004)),
            0,
            latency,
            float(rng.binomial(rows, 5e-4) / rows),
        )
        hours.append(change(one) if change and number >= since else one)
    return hours


def fed(hours: list[Hour], trends: Trends | None = None) -> tuple[Trends, list[tuple[Signal, ...]]]:
    """The charts after these hours, and every word on the way."""
    words, trends = [], trends or Trends()
    for hour in hours:
        trends, said = stepped_on(trends, hour, per_hour=PER_HOUR)
        words.append((*said, reports_signal(trends.hours, per_hour=PER_HOUR)))
    return trends, words


def alarms(words: list[tuple[Signal, ...]]) -> dict[str, int]:
    """When each rule first gave alarm."""
    found: dict[str, int] = {}
    for number, said in enumerate(words):
        for signal in said:
            if signal.word is Word.ALARM:
                found.setdefault(signal.rule, number)
    return found


CHANGES: dict[str, Change] = {
    "volume_trend": lambda one: msgspec.structs.replace(one, rows=int(one.rows * 0.75)),
    "latency_p99_trend": lambda one: msgspec.structs.replace(one, latency_ms=(one.latency_ms or 0) * 1.2),
    "error_rate_trend": lambda one: msgspec.structs.replace(one, errors=0.005),
    RULE: lambda one: msgspec.structs.replace(one, wrong=round(one.rows * 0.015)),
}


@pytest.mark.parametrize("rule", CHANGES)
def test_what_moves_a_little_and_stays_is_found_within_a_day_and_nothing_else(rule: str) -> None:
    found = alarms(fed(made(ENDS, CHANGES[rule]))[1])
    assert set(found) == {rule}
    assert 0 <= found[rule] - BEGINS < 24


def test_until_two_weeks_are_known_a_chart_learns_and_says_so() -> None:
    trends, words = fed(made(2 * WEEK))
    assert {signal.word for said in words for signal in said if signal.rule in TRENDS} == {Word.UNKNOWN}
    assert "learning what is usual; 335 of 336 hours are known" in words[-1][0].sentence
    assert told_of_charts(trends)["volume_trend"] == "learning what is usual; 335 of 336 hours are known"
    trends, words = fed(made(2 * WEEK + 1)[-1:], trends)
    assert set(told_of_charts(trends).values()) == {"as usual"}
    assert [signal.word for signal in words[-1]] == [Word.CLEAR] * 4
    nothing = [msgspec.structs.replace(one, latency_ms=None, errors=None) for one in made(2 * WEEK + 1)]
    _, words = fed(nothing)
    assert [signal.word for signal in words[-1][:3]] == [Word.CLEAR, Word.UNKNOWN, Word.UNKNOWN]


def test_an_outage_is_hours_without_rows_and_what_lasts_becomes_usual() -> None:
    gone: Change = lambda one: Hour(one.at_s)  # noqa: E731 - one use
    _, words = fed(made(BEGINS + 4 * WEEK, gone))
    volume = [said[0] for said in words]
    assert 0 <= next(i for i, one in enumerate(volume) if one.word is Word.ALARM) - BEGINS < 8
    assert "lower than usual" in next(one for one in volume if one.word is Word.ALARM).sentence
    assert {one.word for one in volume[BEGINS + 2 * WEEK + 36 :]} == {Word.CLEAR}  # after two weeks it is what is usual


def test_a_share_that_was_always_nothing_is_learnt_too() -> None:
    none: Change = lambda one: msgspec.structs.replace(one, errors=0.0)  # noqa: E731 - one use
    quiet = made(BEGINS, none, since=0)
    trends, words = fed(quiet)
    assert not alarms(words)
    bad = [msgspec.structs.replace(one, errors=0.01) for one in made(BEGINS + 12)[BEGINS:]]
    assert 0 <= alarms(fed(bad, trends)[1])["error_rate_trend"] < 8
    little = [msgspec.structs.replace(one, errors=0.0002) for one in made(BEGINS + 12)[BEGINS:]]
    _, words = fed(little, trends)
    assert not alarms(words)
    assert "too little to call anybody" in words[-1][2].sentence


def test_charts_go_on_from_what_is_kept_and_take_no_hour_twice() -> None:
    hours = made(BEGINS)
    whole, _ = fed(hours)
    half, _ = fed(hours[:350])
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(half), type=Trends)
    assert fed(hours[350:], kept)[0] == whole
    with pytest.raises(DataError, match="the hour from"):
        stepped_on(whole, hours[-1], per_hour=PER_HOUR)


def test_labels_that_mostly_confirm_are_outcomes_and_no_reports() -> None:
    delivered = [
        msgspec.structs.replace(one, wrong=one.rows // 8, right=one.rows - one.rows // 8) if number == 100 else one
        for number, one in enumerate(made(110))
    ]
    assert RULE not in alarms(fed(delivered)[1])
    complained = [
        msgspec.structs.replace(one, wrong=one.rows // 8) if number == 100 else one
        for number, one in enumerate(made(110))
    ]
    assert alarms(fed(complained)[1])[RULE] == 100


def test_reports_at_night_of_what_was_decided_by_day_are_no_alarm() -> None:
    rng = np.random.default_rng(4)
    hours = []
    for number in range(WEEK):
        day = 8 <= number % 24 < 20
        rows = int(rng.poisson(300)) if day else 0
        hours.append(Hour(number * HOUR_S, rows, rows, int(rng.poisson(0 if day else 3.0))))
    found = alarms([(reports_signal(hours[:end], per_hour=PER_HOUR),) for end in range(1, len(hours) + 1)])
    assert found == {}
