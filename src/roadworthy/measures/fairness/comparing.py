"""The comparisons that make the metrics: which rates of which groups, and what stands in the way.

In: a ``Sample``, protected columns as groups. Out: a ``Comparison`` per metric and set of columns: the extreme over the
groups that can be measured, and the groups that cannot. Laws: a group is never dropped in silence: it is among the
``gaps``; what the other groups prove stays proven.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.fairness.cohorts import MOST_GROUPS, Cohort
from roadworthy.measures.fairness.extremes import Extreme, Group, greatest_difference, smallest_ratio
from roadworthy.measures.fairness.rates import ERROR, FALSE_ALARMS, GAP, LEAST, POSITIVE, RECALL, Rate, TooSmall
from roadworthy.measures.intervals import Bounds, NotEnough
from roadworthy.measures.samples import Sample

__all__ = ["FORMS", "RATES", "Comparison", "compare", "usable_groups"]

RATES: dict[str, tuple[Rate, ...]] = {
    "demographic_parity": (POSITIVE,),
    "equal_opportunity": (RECALL,),
    "equalized_odds": (RECALL, FALSE_ALARMS),
    "group_calibration": (GAP,),
    "group_error": (ERROR,),
}
"""What each family of metrics compares between groups."""

FORMS: dict[str, tuple[str, str]] = {
    f"{family}_{form}": (family, form)
    for family in RATES
    for form in ("difference", "ratio")
    if form == "difference" or not family.startswith("group")
}
"""Each metric's family and form."""

_NAMED = 3


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Comparison:
    """``extreme`` over the groups that can be measured, None where no two can; ``gaps`` are sentences on the others."""

    extreme: Extreme | None
    column: str = ""
    gaps: tuple[str, ...] = field(default=())


def compare(sample: Sample, columns: Mapping[str, Sequence[Cohort]], metric: str, confidence: float) -> Comparison:
    """One metric over all groups of ``columns``; groups are compared within their own column."""
    family, form = FORMS[metric]
    gaps: list[str] = []
    families: list[tuple[str, list[Group]]] = []
    for rate in RATES[family]:
        if rate is not GAP and sample.class_count == 2 and sample.threshold is None:
            gaps.append("no decision is taken: set [decision] threshold in roadworthy.toml")
            break
        for column, groups in columns.items():
            usable, lacking = usable_groups(sample, column, groups, rate)
            gaps += lacking
            if len(usable) > 1:
                families.append((column, usable))
    if not families:
        return Comparison(extreme=None, gaps=_shortened(gaps))
    parts = [groups for _, groups in families]
    extreme = greatest_difference(parts, confidence) if form == "difference" else smallest_ratio(parts, confidence)
    if extreme is None:
        return Comparison(extreme=None, gaps=(*_shortened(gaps), "no group has any, so that there is no ratio"))
    return Comparison(extreme=extreme, column=_column_of(families, extreme), gaps=_shortened(gaps))


def usable_groups(sample: Sample, column: str, groups: Sequence[Cohort], rate: Rate) -> tuple[list[Group], list[str]]:
    """The groups of a column that a rate can be measured in, and a sentence on each of the others."""
    if len(groups) > MOST_GROUPS:
        said = f"{column} has {len(groups)} groups, more than {MOST_GROUPS}: join its values in a feature"
        return [], [said]
    if len(groups) < 2:
        return [], [f"{column} has one group only, so that there is nothing to compare"]
    usable, lacking = [], []
    for cohort in groups:
        bounds = _of_group(sample, cohort.rows, rate)
        try:
            bounds(0.95)
        except TooSmall as few:
            lacking.append(_more(f"{column}={cohort.name}", few, sample.n))
        except NotEnough as reason:
            lacking.append(f"{column}={cohort.name}: {reason}")
        else:
            usable.append(Group(cohort.name, bounds))
    return usable, lacking


def _of_group(sample: Sample, rows: NDArray[np.bool_], rate: Rate) -> Callable[[float], Bounds]:
    own = sample.take(rows)
    return cache(lambda confidence: rate.bounds(own, confidence))


def _more(group: str, few: TooSmall, n: int) -> str:
    said = f"{group} has {few.has:,} {few.noun} and needs at least {few.needs}"
    if not few.has:
        return f"{said}; at least {LEAST:,} more rows of it"
    return f"{said}; about {-(-n * (few.needs - few.has) // few.has):,} more rows like these would do"


def _shortened(gaps: Sequence[str]) -> tuple[str, ...]:
    distinct = list(dict.fromkeys(gaps))
    if len(distinct) <= _NAMED:
        return tuple(distinct)
    return (*distinct[:_NAMED], f"and {len(distinct) - _NAMED} more groups are too small")


def _column_of(families: Sequence[tuple[str, list[Group]]], extreme: Extreme) -> str:
    """The column whose groups are furthest apart."""
    for column, groups in families:
        values = {group.name: group.bounds(0.95).value for group in groups}
        if values.get(extreme.high) == extreme.high_value and values.get(extreme.low) == extreme.low_value:
            return column
    return ""
