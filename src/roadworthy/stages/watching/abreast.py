"""Other versions that answered many rows of a window: alarms of their own, within the one alarm budget.

In: a version, its rows, its part of the budget. Out: signals, whose rules end in ``@VERSION``. Pure. Laws: the budget
of a window is divided over the versions by the rows that they answered, so that they raise no more false alarms
together than one would; each is held to its own bundle; only the window itself is looked at, never several together; a
part that breaks takes no other with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import msgspec
import polars as pl

from roadworthy.measures.alarms.budget import Allotment
from roadworthy.measures.alarms.scales import Look, blocks_ending_at
from roadworthy.measures.quality import METRICS
from roadworthy.records.alert import Signal
from roadworthy.records.verdict import Waiver
from roadworthy.records.window import Window
from roadworthy.stages.watching.data import comparisons, signals_of_data
from roadworthy.stages.watching.estimates import Estimates
from roadworthy.stages.watching.judging import Back, Measure, Sight, excused, guarded, requirement_signals
from roadworthy.stages.watching.observed import scored
from roadworthy.stages.watching.skew import skew, skew_signal
from roadworthy.stages.watching.watched import Watched

__all__ = ["Abreast", "of_quality", "part_of"]

_OF_THE_WINDOW = ("requirement", "changed")
"""Evidence by which a figure is drawn from the window's own version."""


@dataclass(frozen=True, slots=True)
class Abreast:
    """A version beside the one that the window is held to.

    ``version`` has its requirements on quality alone (``of_quality``), ``own`` are the rows that it answered; ``turn``
    counts the looks at the window, ``fresh`` says that its rows were not looked at before.
    """

    version: Watched
    own: pl.DataFrame
    window: Window
    seconds: float
    allotment: Allotment
    title: str
    turn: int
    fresh: bool

    @property
    def lacking(self) -> int:
        """How many of its rows have no score where its scores are watched."""
        if not any(one.count for one in self.version.scores.scores):
            return 0
        return self.own.height - self._scored.height

    def parts(self, waivers: Sequence[Waiver], unasked: Measure) -> Mapping[str, Callable[[], tuple[Signal, ...]]]:
        """What there is to ask of its quality, seen and estimated, its columns, its scores and its skew."""
        quality = partial(self._of_quality, waivers, unasked)
        return {"quality": quality} | ({"data": self._of_data, "skew": self._of_skew} if self.fresh else {})

    @property
    def _scored(self) -> pl.DataFrame:
        return scored(self.own, self.version.contract.task)

    def _of_quality(self, waivers: Sequence[Waiver], unasked: Measure) -> tuple[Signal, ...]:
        have = self._scored
        sight = Sight(
            title=self.title,
            at_us=self.window.until.at_us,
            backs=(Back(0, self.seconds, have),),
            operations=unasked,
            estimate=guarded(Estimates(self.version, have), "estimating quality"),
            turn=self.turn,
        )
        waived = {one.requirement: one for one in waivers}
        found = excused(requirement_signals(self.version, sight, self.allotment), waived)
        return tuple(map(self._named, found))

    def _of_data(self) -> tuple[Signal, ...]:
        """Of its columns and scores, beside its own training part."""
        look = Look(block=blocks_ending_at(self.window.number, 1)[0], sketch=self.version.sketch(self.own))
        compared = comparisons(self.version, [look], {0: self.seconds})
        at_us = self.window.until.at_us
        moved = signals_of_data(compared, self.allotment, at_us=at_us, source=self.title, standing={})
        return tuple(map(self._named, moved))

    def _of_skew(self) -> tuple[Signal, ...]:
        """Of what its graph says once more of rows that have a score."""
        found = skew(self.version, self._scored)
        return (self._named(skew_signal(found, at_us=self.window.until.at_us, source=self.title)),)

    def _named(self, signal: Signal) -> Signal:
        title = self.version.title
        evidence = {name: value for name, value in signal.evidence.items() if name not in _OF_THE_WINDOW}
        return msgspec.structs.replace(
            signal,
            rule=f"{signal.rule}@{title}",
            sentence=f"{title}, which answered {self.own.height:,} rows beside another: {signal.sentence}",
            evidence={**evidence, "version": title, "answered": self.own.height},
            chart="",
        )


def part_of(allotment: Allotment, part: float) -> Allotment:
    """The same division of a part of the budget."""
    budget = msgspec.structs.replace(allotment.budget, false_alarms=allotment.budget.false_alarms * part)
    return msgspec.structs.replace(allotment, budget=budget)


def of_quality(version: Watched) -> Watched:
    """The same without requirements on operations: servers do not tell of which version they speak."""
    kept = tuple(item for item in version.required if item.metric in METRICS)
    return replace(version, plan=msgspec.structs.replace(version.plan, requirements=kept))
