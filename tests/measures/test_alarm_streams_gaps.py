"""Charts of hours of which many are not known: every other hour, or no weekend."""

from __future__ import annotations

import numpy as np
import pytest

from roadworthy.measures.alarms.cusum import calibrated, started, usual_at
from roadworthy.records.alert import Word
from roadworthy.stages.watching.trends import Hour, Trends, stepped_on

HOUR_S = 3_600


@pytest.mark.parametrize("every", [2, 3])
def test_a_service_that_is_asked_every_few_hours_is_learnt_too(every: int) -> None:
    rng = np.random.default_rng(1)
    trends = Trends()
    for number in range(336 * every + 48):
        there = number % every == 0
        latency = float(20 * np.exp(0.05 * rng.standard_normal())) if there else None
        trends, said = stepped_on(
            trends, Hour(number * HOUR_S, 9 * there, 9 * there, latency_ms=latency), per_hour=3e-5
        )
    assert trends.charts["latency_p99_trend"].state is not None
    assert not any(one.word is Word.ALARM for one in said)


def test_few_neighbours_say_nothing_of_dependence() -> None:
    at_s = np.arange(400.0) * 2 * HOUR_S
    at_s[-1] = at_s[-2] + HOUR_S
    baseline = calibrated(at_s, np.random.default_rng(2).normal(5, 1, 400))
    assert (baseline.dependence, baseline.points) == (0.0, 399)
    assert started(baseline, per_point=1e-5).limit > 5


@pytest.mark.parametrize("weeks", [4, 12])
def test_the_first_weekend_that_anybody_asks_on_is_no_alarm(weeks: int) -> None:
    rng = np.random.default_rng(3)
    trends, words = Trends(), []
    for number in range(weeks * 168 + 96, (2 * weeks + 1) * 168 + 96):  # from a Monday on
        day, last = (number // 24 - 4) % 7, number >= 2 * weeks * 168 + 96
        latency = float(20 * np.exp(0.05 * rng.standard_normal())) if day < 5 or last else None
        trends, said = stepped_on(trends, Hour(number * HOUR_S, 50, 50, latency_ms=latency), per_hour=3e-5)
        words += [one for one in said if one.rule == "latency_p99_trend" and one.word is Word.ALARM]
    assert words == []
    baseline = trends.charts["latency_p99_trend"].baseline
    assert baseline is not None
    assert usual_at(baseline, 2 * 86_400.0) == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize("seed", [0, 1])
def test_when_clocks_are_changed_every_hour_is_as_the_next_one_was_and_nobody_is_called(seed: int) -> None:
    rng = np.random.default_rng(seed)
    times, shape = [0, 5, 6, 7, 8, 9, 12, 17, 18, 20, 24], [60, 40, 80, 300, 800, 1000, 950, 900, 600, 300, 60]
    trends, words = Trends(), []
    for number in range(9 * 168 + 48):
        hour = (number + (number >= 9 * 168)) % 24
        usual = np.interp(hour, times, shape) * (0.5 if number // 24 % 7 in {2, 3} else 1)
        rows = int(rng.poisson(usual * rng.gamma(100, 1 / 100)))
        trends, said = stepped_on(trends, Hour(number * HOUR_S, rows, rows), per_hour=3e-5)
        words += [one.sentence for one in said if one.word is Word.ALARM]
    assert words == []
