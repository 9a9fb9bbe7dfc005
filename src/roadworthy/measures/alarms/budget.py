"""One alarm budget, divided: which level each chart has, at each look, so that everything together stays within it.

In: the budget, what is watched (members by family), the scales of the looks back. Out: an ``Allotment``, which gives
the level of any look.

Laws: the budget accrues with time, and a look spends what the time that it is charged with has earned. So over any
stretch without a change the levels of all looks add up to at most the budget's share of that stretch, however many
charts there are, however short the windows are, and however unevenly they come. The expected number of false alarms is
at most that sum (linearity of expectation; charts may depend on each other in any way). What that means:

- More charts: each has a lower level. Ten times as many columns cost a column a tenth of its level, and a detection
  at a level of 1e-5 in place of 1e-4 needs about a quarter more rows.
- Shorter windows: each has a lower level in proportion, and the looks back over several windows keep theirs.
- Windows by count that come faster: each has a lower level, since less time is between them. Empty windows and gaps
  spend nothing.
- A family that is not watched leaves its share to the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from roadworthy.errors import DataError
from roadworthy.measures.alarms.scales import looks_until, scales_for
from roadworthy.standard.alarm_budget import Budget, parse_budget

__all__ = ["MOST_LEVEL", "WEIGHTS", "Allotment", "Budget", "Family", "allot", "parse_budget"]

MOST_LEVEL = 0.05
"""The highest level of any look, however long its time was: evidence that one quiet day in twenty gives is none."""


class Family(StrEnum):
    """What is watched together. The comment says what its members are."""

    SCORE = "score"  # score columns: the distribution of what the model answers
    QUALITY = "quality"  # live quality requirements, and their slices, on rows with labels
    ESTIMATED = "estimated"  # the same before labels come
    ERRORS = "errors"  # streams of single errors
    COLUMNS = "columns"  # columns, named by Benjamini and Hochberg; one alarm for all of them
    TOGETHER = "together"  # columns with each other
    MISSING = "missing"  # columns that may miss values
    NEW = "new"  # columns that may bring unknown values
    OPERATIONS = "operations"  # series of the service: latency, errors, volume, age
    FEEDBACK = "feedback"  # what users report


WEIGHTS: Mapping[Family, float] = {
    Family.SCORE: 4.0,
    Family.QUALITY: 4.0,
    Family.ESTIMATED: 2.0,
    Family.ERRORS: 2.0,
    Family.COLUMNS: 4.0,
    Family.OPERATIONS: 2.0,
    Family.TOGETHER: 1.0,
    Family.MISSING: 1.0,
    Family.NEW: 1.0,
    Family.FEEDBACK: 1.0,
}
"""Shares of the budget. Tests on what a trained model answers find most (Rabanser, Günnemann and Lipton 2019)."""

_STREAMS = frozenset({Family.ERRORS, Family.OPERATIONS, Family.FEEDBACK})
_ONE_LOOK = _STREAMS | {Family.ESTIMATED}
"""Families that are looked at window by window alone: they keep what looks back would have cost."""


class Allotment(msgspec.Struct, frozen=True, kw_only=True):
    """The budget's division. ``members`` counts the charts of each watched family, ``scales`` the looks back.

    A look at scale s is at the last 2**s windows. Families of streams, and estimates, have one scale.
    """

    budget: Budget
    members: dict[Family, int]
    scales: int

    def share(self, family: Family) -> float:
        """The family's share of the budget, between 0 and 1. Raises DataError where it is not watched."""
        if not self.members.get(family):
            raise DataError(f"{family} is not among what the alarm budget was divided over: {', '.join(self.members)}")
        return WEIGHTS[family] / math.fsum(WEIGHTS[watched] for watched, count in self.members.items() if count)

    def looks(self, family: Family) -> int:
        """At how many scales the family is looked at."""
        return 1 if family in _ONE_LOOK else self.scales

    def level(self, family: Family, *, seconds: float, scale: int = 0) -> float:
        """The whole family's level at one look back over windows that cover so many ``seconds`` together.

        Scales share equally. Looks at scale s ≥ 1 overlap by half, so each is charged with the half of its time that
        is new.
        """
        scales = self.looks(family)
        if not 0 <= scale < scales:
            raise DataError(f"a look at scale {scale}, and the alarm budget was divided over {scales} of them")
        new = seconds if scale == 0 else seconds / 2
        return min(self.budget.within(new) * self.share(family) / scales, MOST_LEVEL)

    def member_level(self, family: Family, *, seconds: float, scale: int = 0) -> float:
        """The level of one member of the family: an equal part (Bonferroni)."""
        return self.level(family, seconds=seconds, scale=scale) / self.members[family]

    def rate(self, family: Family) -> float:
        """False alarms per second that one member of a family of streams may raise."""
        return self.budget.within(1.0) * self.share(family) / self.members[family]

    def confidence(self, family: Family, *, seconds: float, scale: int = 0, members: int = 1) -> float:
        """At which the one-sided bounds of some members have to hold together, for a missed one to be in the budget."""
        return 1 - self.member_level(family, seconds=seconds, scale=scale) * members

    def spent(self, window_s: float, windows: int) -> float:
        """The sum of the levels of all looks at windows 0 … ``windows`` - 1 of ``window_s`` each, all families."""
        total = 0.0
        for family, count in self.members.items():
            if count and family in _STREAMS:
                total += self.rate(family) * count * window_s * windows
            elif count:
                looks = ((scale, looks_until(windows, scale)) for scale in range(self.looks(family)))
                total += math.fsum(
                    many * self.level(family, seconds=window_s * 2**scale, scale=scale) for scale, many in looks
                )
        return total


def allot(budget: Budget, members: Mapping[Family, int], *, window_s: float, scales: int | None = None) -> Allotment:
    """Divide a budget over families with so many ``members`` each; those with none are not watched.

    ``window_s`` is how long a window usually lasts. Without ``scales`` the looks go back over at most the time that
    the budget speaks of, which earns one false alarm over everything.
    """
    watched = {Family(family): int(count) for family, count in members.items() if count > 0}
    if not watched:
        raise DataError("nothing is watched: an alarm budget is divided over at least one family")
    if not window_s > 0:
        raise DataError(f"a window of {window_s} s; expected more than none")
    chosen = scales_for(budget.per_s / window_s) if scales is None else scales
    if chosen < 1:
        raise DataError(f"{chosen} scales of looks back; expected at least one, the window itself")
    return Allotment(budget=budget, members=watched, scales=chosen)
