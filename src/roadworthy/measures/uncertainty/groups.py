"""The exhibits "conformal": where the sets hold the truth less often than overall.

In: the rows that were measured. Out: a table by stretch of time where rows have one, and by class, or by fourth of the
estimate for numbers. Law: the bounds of a row of the table are that row's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.examined import Examined
from roadworthy.measures.intervals import NotEnough
from roadworthy.measures.uncertainty.conformal import LEVEL
from roadworthy.measures.uncertainty.crossfit import Measured
from roadworthy.measures.uncertainty.parts import share_of
from roadworthy.records.evidence import Exhibit
from roadworthy.records.project import Task

__all__ = ["conformal_exhibits"]

_MOST_CLASSES = 50
_FOURTHS = ("lowest fourth", "second fourth", "third fourth", "highest fourth")

Group = tuple[str, NDArray[np.int64]]


def conformal_exhibits(examined: Examined, measured: Measured, confidence: float) -> tuple[Exhibit, ...]:
    """One exhibit by time where rows were measured in its order, named "conformal", and one by class or estimate."""
    found = []
    if measured.ordered:
        groups = _by_time(examined, measured)
        found.append(("conformal", "Coverage of the 90 % sets, from one stretch of time to the next", groups))
    number = measured.sample.task is Task.REGRESSION
    groups = _by_estimate(measured) if number else _by_class(measured)
    by = "estimate" if number else "class"
    found.append((f"conformal:{by}" if found else "conformal", f"Coverage of the 90 % sets by {by}", groups))
    return tuple(_exhibit(name, title, groups, measured, confidence) for name, title, groups in found)


def _by_time(examined: Examined, measured: Measured) -> list[Group]:
    """The parts in their order, each named by its first and last moment."""
    moments = examined.rows[examined.time]
    groups: list[Group] = []
    for number in np.unique(measured.part):
        rows = np.flatnonzero(measured.part == number)
        own = moments[measured.places[rows]]
        groups.append((f"{_moment(own.min())} to {_moment(own.max())}", rows))
    return groups


def _moment(value: Any) -> str:
    """A day, or the number itself."""
    return f"{value:.6g}" if isinstance(value, int | float) else str(value)[:10]


def _by_class(measured: Measured) -> list[Group]:
    """The classes, or the fifty with the most rows."""
    sample = measured.sample
    names = sample.classes or tuple(map(str, range(sample.class_count)))
    most = np.sort(np.argsort(-sample.class_counts(), kind="stable")[:_MOST_CLASSES])
    return [(names[index], np.flatnonzero(sample.y == index)) for index in most]


def _by_estimate(measured: Measured) -> list[Group]:
    place = np.argsort(np.argsort(measured.sample.score, kind="stable"), kind="stable") * 4 // measured.sample.n
    return [(name, np.flatnonzero(place == number)) for number, name in enumerate(_FOURTHS)]


def _exhibit(name: str, title: str, groups: list[Group], measured: Measured, confidence: float) -> Exhibit:
    columns: dict[str, list[Any]] = {"group": [], "rows": [], "coverage": [], "lower": [], "upper": [], "size": []}
    by_class = measured.sample.task is not Task.REGRESSION
    if by_class:
        columns |= {"coverage_by_class": [], "size_by_class": []}
    for group, rows in groups:
        if not len(rows):
            continue
        bounds = _bounds(measured, rows, confidence)
        size = float(measured.size[rows].mean())
        point = [group, len(rows), *bounds, size]
        if by_class:
            point += [float(measured.covered_by_class[rows].mean()), float(measured.size_by_class[rows].mean())]
        for column, value in zip(columns.values(), point, strict=True):
            column.append(value)
    what = "mean number of labels" if by_class else "mean width, in the target's unit"
    note = (
        f"Each set was calibrated on other rows{' that came before' if measured.ordered else ''} to hold the truth in "
        f"{LEVEL:.0%}; size is the {what}; one-sided {confidence:.0%} bounds for each group by itself."
    )
    if by_class:
        note += " The last two columns: with a threshold per class (Mondrian)."
    return Exhibit(name=name, title=title, columns=columns, note=note)


def _bounds(measured: Measured, rows: NDArray[np.int64], confidence: float) -> tuple[float, float | None, float | None]:
    """Coverage of some rows and its bounds; without bounds where there are too few entities for any."""
    hit = measured.covered[rows]
    try:
        bounds = share_of(hit, measured.ways.take(rows), confidence)
    except NotEnough:
        return float(hit.mean()), None, None
    return bounds.value, bounds.lower, bounds.upper
