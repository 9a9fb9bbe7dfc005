"""The figures of a column on both sides, and where its live rows break the contract.

In: sketches, the contract's column. Out: rows of words. Law: of a hidden column only counts are told.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from roadworthy.formats.wording import NOTHING, count
from roadworthy.measures.drift.words import figure, share
from roadworthy.measures.sketched import missing_share, quantile, rows_of, spread
from roadworthy.measures.sketches import CategorySketch, NumberSketch
from roadworthy.records.contract import ColumnContract, MissingPolicy

__all__ = ["Figure", "breaches", "figures_of"]

Sketch = NumberSketch | CategorySketch
_QUANTILES = {0.05: "5 % lie below", 0.25: "a quarter lies below", 0.5: "half lies below (median)"}
_QUANTILES |= {0.75: "three quarters lie below", 0.95: "95 % lie below"}


class Figure(msgspec.Struct, frozen=True):
    """One line: what it is, in the reference, and now."""

    words: str
    old: str
    new: str


def figures_of(old: Sketch | None, new: Sketch | None, *, time: bool) -> tuple[Figure, ...]:
    """All lines that either side has."""
    if old is None and new is None:
        return ()
    sides = [{} if side is None else dict(_figures(side, time=time)) for side in (old, new)]
    names = dict.fromkeys([*sides[0], *sides[1]])
    return tuple(Figure(name, sides[0].get(name, NOTHING), sides[1].get(name, NOTHING)) for name in names)


def breaches(column: ColumnContract, new: Sketch) -> tuple[str, ...]:
    """Where rows that were answered break the contract of a column, as far as their sketch tells."""
    return tuple(_breaches(column, new))


def _figures(side: Sketch, *, time: bool) -> Iterator[tuple[str, str]]:
    yield "rows", count(rows_of(side))
    yield "missing", share(missing_share(side))
    if isinstance(side, CategorySketch):
        yield from _of_labels(side)
        return

    def told(value: float | None) -> str:
        return NOTHING if value is None else figure(value, time=time)

    yield "lowest", told(side.lowest)
    for level, words in _QUANTILES.items():
        yield words, told(quantile(side, level))
    yield "highest", told(side.highest)
    yield "mean", told(side.mean if side.count else None)
    if not time:
        yield "standard deviation", told(spread(side))


def _of_labels(side: CategorySketch) -> Iterator[tuple[str, str]]:
    if not side.labels:
        return
    rows = max(rows_of(side), 1)
    yield "labels of the reference that came", count(sum(1 for one in side.counts if one))
    if any(side.counts):
        place = max(range(len(side.counts)), key=lambda index: side.counts[index])
        yield "most frequent", f"{side.labels[place]} ({share(side.counts[place] / rows)})"
    yield "labels that the reference does not list", share(side.other / rows)


def _breaches(column: ColumnContract, new: Sketch) -> Iterator[str]:
    if column.missing is MissingPolicy.REJECT and new.missing:
        yield f"{count(new.missing)} rows have no value"
    if isinstance(new, NumberSketch):
        if column.min is not None and new.lowest is not None and new.lowest < column.min:
            yield f"the lowest value is {figure(new.lowest)}, below {figure(column.min)}"
        if column.max is not None and new.highest is not None and new.highest > column.max:
            yield f"the highest value is {figure(new.highest)}, above {figure(column.max)}"
    elif column.allowed and new.labels:
        known = zip(new.labels, new.counts, strict=True)
        others = sum(rows for label, rows in known if label not in column.allowed) + new.other
        if others and not set(column.allowed) - set(new.labels):
            yield f"{count(others)} rows have a label that is not allowed"
