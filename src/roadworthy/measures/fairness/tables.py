"""The exhibits: every group with its figures and their bounds, and every crossing of two protected columns.

In: a ``Sample``, groups. Out: ``Exhibit``s ``fairness`` and ``fairness_crossed``. Law: a figure that a group is too
small for is null, and the group is there all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from roadworthy.measures.fairness.cohorts import MOST_GROUPS, Cohort, crossed
from roadworthy.measures.fairness.rates import ERROR, FALSE_ALARMS, FREQUENCY, POSITIVE, RECALL, Rate, error_of
from roadworthy.measures.intervals import Bounds, NotEnough
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Exhibit
from roadworthy.records.project import Task

__all__ = ["tables"]

_CONFIDENCE = 0.95
_NOTE = "Each bound is one-sided at 95 % for its group alone; a figure that a group has too few rows for is empty."


def tables(sample: Sample, groups: Mapping[str, Sequence[Cohort]]) -> tuple[Exhibit, ...]:
    """One row per column and group; where two columns or more are protected, one per pair of groups too."""
    shown = {column: own for column, own in groups.items() if len(own) <= MOST_GROUPS}
    made = [Exhibit(name="fairness", title="Protected groups", columns=_columns(sample, shown), note=_NOTE)]
    pairs = {
        f"{first}, {second}": both
        for first, second in combinations(shown, 2)
        if len(both := crossed(list(shown[first]), list(shown[second]))) <= MOST_GROUPS
    }
    if pairs:
        title = "Crossings of two protected columns"
        made.append(Exhibit(name="fairness_crossed", title=title, columns=_columns(sample, pairs), note=_NOTE))
    return tuple(made)


def _columns(sample: Sample, groups: Mapping[str, Sequence[Cohort]]) -> dict[str, list[Any]]:
    rows = [_row(sample, column, cohort) for column, own in groups.items() for cohort in own]
    names = list(_row(sample, "", Cohort("", np.zeros(sample.n, dtype=bool))))
    return {name: [row[name] for row in rows] for name in names}


def _row(sample: Sample, column: str, cohort: Cohort) -> dict[str, Any]:
    own = sample.take(cohort.rows)
    row: dict[str, Any] = {"column": column, "group": cohort.name, "rows": own.n}
    if sample.task is not Task.BINARY:
        return row | {"error": float(error_of(own).mean()) if own.n else None} | _bounded("error", own, ERROR)
    row["events"] = int(np.count_nonzero(own.y == 1))
    decided = (POSITIVE, RECALL, FALSE_ALARMS, ERROR) if sample.threshold is not None else ()
    for rate in (*decided, FREQUENCY):
        row |= _bounded(rate.name, own, rate)
    return row | {"mean_score": float(own.score.mean()) if own.n else None}


def _bounded(name: str, own: Sample, rate: Rate) -> dict[str, float | None]:
    bounds = _bounds(own, rate)
    if bounds is None:
        return {name: None, f"{name}_lower": None, f"{name}_upper": None}
    return {name: bounds.value, f"{name}_lower": bounds.lower, f"{name}_upper": bounds.upper}


def _bounds(own: Sample, rate: Rate) -> Bounds | None:
    try:
        return rate.bounds(own, _CONFIDENCE)
    except NotEnough:
        return None
