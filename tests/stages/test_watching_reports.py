"""Reports of wrong answers where hardly any came before: one person is no alarm, many hours of reports are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from roadworthy.records.alert import Signal, Word
from roadworthy.stages.watching.reporting import reports_signal
from roadworthy.stages.watching.trends import Hour

PER_HOUR = 1 / (30 * 24) / 22
"""About what reports have of one false alarm in 30 days."""


def words(count: int, reports: Mapping[int, int], since: int = 0) -> list[Signal]:
    """What is said in each hour from ``since`` on, of 100 decisions an hour and so many reports in some."""
    hours = [Hour(number * 3_600, 100, 100, reports.get(number, 0)) for number in range(count)]
    return [reports_signal(hours[: end + 1], per_hour=PER_HOUR) for end in range(since, count)]


@pytest.mark.parametrize("before", [60, 300, 700])
@pytest.mark.parametrize("burst", [{0: 6}, {0: 60}, {0: 40, 1: 20}])
def test_the_first_reports_in_one_or_two_hours_may_be_one_person(before: int, burst: Mapping[int, int]) -> None:
    found = words(before + 24, {before + hour: many for hour, many in burst.items()}, since=before)
    assert Word.ALARM not in {one.word for one in found}
    assert found[0].word is Word.UNKNOWN
    assert "that may be one person" in found[0].sentence
    assert "as many wrong answers as before" not in found[0].sentence


@pytest.mark.parametrize(("before", "most"), [(60, 8), (300, 4), (700, 4)])
def test_the_first_reports_that_go_on_are_an_alarm(before: int, most: int) -> None:
    found = words(before + 8, dict.fromkeys(range(before, before + 8), 4), since=before)
    first = next(place for place, one in enumerate(found, 1) if one.word is Word.ALARM)
    assert 3 <= first <= most
    assert found[first - 1].sentence.startswith("Users report more wrong answers")
    assert "none before" in found[first - 1].sentence


def test_single_angry_persons_now_and_then_are_no_alarm_and_later_are_what_is_usual() -> None:
    random = np.random.default_rng(3)
    angry = {int(hour): int(random.integers(5, 15)) for hour in np.cumsum(random.integers(20, 80, 40))}
    found = words(2_000, angry, since=48)
    assert sum(one.word is Word.ALARM for one in found) == 0


def test_a_few_single_reports_before_say_nothing_of_how_one_person_reports() -> None:
    few = dict.fromkeys(range(20, 300, 35), 1)
    assert words(301, {**few, 300: 30}, since=300)[0].word is Word.UNKNOWN


def test_where_reports_are_usual_one_hour_of_many_is_enough() -> None:
    usual = dict.fromkeys(range(0, 300, 5), 1)
    assert words(301, {**usual, 300: 60}, since=300)[0].word is Word.ALARM
