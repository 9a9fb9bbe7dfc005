"""At which confidence a live requirement has to be missed before anybody is called."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import polars as pl
import pytest

from roadworthy.measures.alarms.budget import Family, allot, parse_budget
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.records.project import Task
from roadworthy.stages.watching.judging import Back, Sight, members, requirement_signals
from roadworthy.stages.watching.watched import Watched
from roadworthy.standard import Requirement

HOUR = 3600.0
SLICED = Requirement(metric="accuracy", at_least=0.7, slice="device", phases=(Phase.LIVE,))
WHOLE = Requirement(metric="accuracy", at_least=0.8, phases=(Phase.LIVE,))


def watching(*required: Requirement, estimator: bool) -> Watched:
    """A version with five groups of devices; of its bundle only what levels are made of."""
    contract = SimpleNamespace(task=Task.BINARY)
    return cast(
        "Watched",
        SimpleNamespace(
            required=required,
            contract=contract,
            groups={"device": ("a", "b", "c", "d", "e")},
            estimator=object() if estimator else None,
        ),
    )


def asked(watched: Watched) -> float:
    """The confidence that estimates of a requirement are asked at."""
    found: list[float] = []

    def estimate(items: Sequence[Requirement]) -> tuple[Measurement, ...]:
        found.extend(item.confidence for item in items)
        return tuple(
            Measurement(metric=item.metric, phase=Phase.LIVE, confidence=item.confidence, insufficient="no")
            for item in items
        )

    charts: dict[Family, Any] = members(watched)
    allotment = allot(parse_budget("1 per 30 days"), charts, window_s=HOUR)
    sight = Sight(title="1h/1", at_us=0, backs=(Back(0, HOUR, pl.DataFrame()),), operations=estimate, estimate=estimate)
    requirement_signals(watched, sight, allotment)
    return found[0]


def test_groups_count_once_each_and_their_bounds_share_the_level_of_all() -> None:
    watched = watching(SLICED, WHOLE, estimator=True)
    charts = members(watched)
    assert charts == {Family.QUALITY: 6, Family.OPERATIONS: 0, Family.ESTIMATED: 6, Family.ERRORS: 1}
    level = allot(parse_budget("1 per 30 days"), charts, window_s=HOUR).level(Family.ESTIMATED, seconds=HOUR)
    # the first of its looks at a window has half of the level
    assert 1 - asked(watched) == pytest.approx(level * 5 / 6 / 2)
    assert 1 - asked(watching(WHOLE, SLICED, estimator=True)) == pytest.approx(level / 6 / 2)


def test_what_cannot_be_estimated_has_no_share_of_the_budget() -> None:
    without = members(watching(WHOLE, estimator=False))
    assert without[Family.ESTIMATED] == 0
    found = [allot(parse_budget("1 per 30 days"), one, window_s=HOUR).level(Family.QUALITY, seconds=HOUR)
             for one in (without, members(watching(WHOLE, estimator=True)))]  # fmt: skip
    assert found[0] > found[1]
    assert asked(watching(WHOLE, estimator=False)) < 1.0  # it is asked, and says why it cannot tell
