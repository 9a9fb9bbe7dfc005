"""Looks computed over a whole table at once.

Owns the way from rows to values; what the values mean stands in ``looks``. What flows in: rows in any order. What
flows out: one Float64 column per look, in the order of the rows.

Rows are sorted once per entity column by (entity, time, ``_row``); then every past is a stretch of neighbours,
found without a loop over rows. Work goes block by block, cut between entities, so that memory beyond the order
itself and the results stays small. Laws: rows added later change nothing, bit for bit; the order of the input
does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.transforms.aggregates import exact
from roadworthy.transforms.aggregates.forms import form_of
from roadworthy.transforms.aggregates.looks import Function, Look, Ratio

__all__ = ["ROW", "compute"]

ROW = "_row"
"""The column that orders rows of equal time; without it they are ordered as they come."""

_BLOCK = 1 << 16
_LOWER = np.uint64((1 << 32) - 1)
_UPPER = ~_LOWER
_EVENT = "event"
_VALUE = "value"


@dataclass(frozen=True, slots=True)
class _Order:
    """Rows by (entity, time, ``_row``), rows without entity or time left out.

    ``rows`` [m] are row numbers, ``groups`` [entities + 1] the position where each entity begins, and m.
    """

    rows: NDArray[np.int64]
    groups: NDArray[np.int64]

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """(row numbers, group starts within them) for whole entities, about ``_BLOCK`` rows at a time."""
        first = 0
        while first < len(self.groups) - 1:
            begin = self.groups[first]
            last = int(np.searchsorted(self.groups, begin + _BLOCK, side="right")) - 1
            last = max(last, first + 1)
            yield self.rows[begin : self.groups[last]], self.groups[first : last + 1] - begin
            first = last


@dataclass(frozen=True, slots=True)
class _Stretches:
    """Where each row's past lies among the events of its block: positions ``[starts, ends)`` in ``events``.

    ``times`` [rows] are microseconds.
    """

    times: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def compute(
    rows: pl.LazyFrame | pl.DataFrame,
    looks: Mapping[str, Look | Ratio],
    *,
    time: str,
    advance: Callable[[], None] | None = None,
) -> list[pl.Series]:
    """The values of every look for every row, as Float64 columns named and ordered as ``looks``.

    ``rows`` hold the columns that the looks use, ``time`` (Datetime, UTC) and, to order rows of equal time,
    ``_row``. Only those columns are read, one look at a time. About O(n log n) time for the sort and O(n) per look
    (O(n log n) for ``min`` and ``max``). ``advance`` is called after each look.
    """
    past = _Past(rows.lazy(), time)
    results = []
    for name, look in looks.items():
        if isinstance(look, Ratio):
            values = _divided(past.values(look.numerator), past.values(look.denominator))
        else:
            values = past.values(look)
        values[~np.isfinite(values)] = np.nan
        results.append(pl.Series(name, values, nan_to_null=True))
        if advance is not None:
            advance()
    return results


def _divided(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quotients; NaN over zero."""
    result = np.full(len(numerator), np.nan)
    with np.errstate(over="ignore", under="ignore"):
        np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


class _Past:
    """The rows' times, and their order per entity column, made once and kept for all looks."""

    def __init__(self, rows: pl.LazyFrame, time: str) -> None:
        self._rows = rows
        self._schema = rows.collect_schema()
        self._time = time
        instant = pl.col(time).cast(pl.Datetime("us")).to_physical()
        read = _collected(rows, instant.fill_null(0).alias(_VALUE), pl.col(time).is_not_null().alias(_EVENT))
        self._times = read[_VALUE].to_numpy()
        self._timed = read[_EVENT].to_numpy()
        self._base: NDArray[np.int64] | None = None
        self._orders: dict[str, _Order] = {}

    def values(self, look: Look) -> NDArray[np.float64]:
        """[rows] doubles, NaN where the look has no answer."""
        event, value = self._events(look)
        order = self._order(look.by)
        result = np.full(len(self._times), np.nan)
        for rows, groups in order.blocks():
            chosen = event[rows]
            stretches = _stretches(self._times[rows], groups, chosen, look.window_us)
            held = None if value is None else value[rows][chosen]
            result[rows] = _answer(look.function, stretches, held)
        return result

    def _events(self, look: Look) -> tuple[NDArray[np.bool_], NDArray[np.float64] | NDArray[np.int64] | None]:
        """Per row: whether it is an event, and its value (0 where it is none)."""
        form = form_of(look)
        if form.value is None:
            return self._read(form.event)[0], None
        events, values = self._read(form.event, form.value.fill_null(0))
        return events, values

    def _read(self, *columns: pl.Expr) -> list[NDArray[Any]]:
        """These columns in row order, one value per row even where an expression is constant."""
        read = _collected(self._rows, *(column.alias(str(place)) for place, column in enumerate(columns)))
        return [np.broadcast_to(column.to_numpy(), len(self._times)) for column in read]

    def _order(self, by: str) -> _Order:
        if by not in self._orders:
            self._orders[by] = self._sorted(by)
        return self._orders[by]

    def _sorted(self, by: str) -> _Order:
        entities = _collected(self._rows, pl.col(by).to_physical().alias(_VALUE))[_VALUE].rechunk()
        rows = self._by_time()
        valid = self._timed
        if entities.null_count():
            valid = valid & entities.is_not_null().to_numpy()
        if not valid.all():
            rows = rows[valid[rows]]
        rows, changes = _neighbours(entities, rows)
        edges = [0, *([len(rows)] if len(rows) else [])]
        return _Order(rows, np.concatenate([edges[:1], changes, edges[1:]]).astype(np.int64))

    def _by_time(self) -> NDArray[np.int64]:
        """All rows by (time, ``_row``)."""
        if self._base is None:
            base = np.arange(len(self._times))
            if ROW in self._schema:
                base = _stable(base, _collected(self._rows, pl.col(ROW))[ROW].to_numpy())
            self._base = _stable(base, self._times)
        return self._base


def _stable(rows: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """``rows`` ordered by their key, ties as they stand; free of cost where they already are."""
    ordered = keys[rows]
    if bool((ordered[1:] >= ordered[:-1]).all()):
        return rows
    return rows[np.argsort(ordered, kind="stable")]


def _collected(rows: pl.LazyFrame, *columns: pl.Expr) -> pl.DataFrame:
    """Only these columns, in row order."""
    return rows.select(*columns).collect(engine="streaming")


def _neighbours(entities: pl.Series, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``rows`` so that those of one entity stand together, otherwise in their order; and where another entity begins.

    One sort of whole numbers, 32 bits of the entity's hash above the place (a frame has fewer than 2^32 rows); entities
    themselves tell where a stretch ends. Where several share the 32 bits (some five pairs of 200,000) their rows are
    ordered by numbers of their own.
    """
    places = pl.int_range(len(rows), dtype=pl.UInt64, eager=True)
    keys = pl.Series(entities.hash().to_numpy()[rows] & _UPPER)
    ordered = (keys | places).sort().to_numpy()
    rows = rows[(ordered & _LOWER).astype(np.int64)]
    changes = _changes(entities, rows)
    hashes = ordered & _UPPER
    mixed = np.unique(hashes[changes[hashes[changes] == hashes[changes - 1]]])
    if len(mixed):
        begins, ends = np.searchsorted(hashes, mixed, side="left"), np.searchsorted(hashes, mixed, side="right")
        here = np.concatenate([np.arange(begin, end) for begin, end in zip(begins, ends, strict=True)])
        numbers = entities.gather(rows[here]).rank("dense").to_numpy()
        rows[here] = rows[here[np.lexsort((numbers, hashes[here]))]]
        changes = _changes(entities, rows)
    return rows, changes


def _changes(entities: pl.Series, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The positions at which a row's entity is not that of the row before."""
    ordered = entities.gather(rows)
    return np.flatnonzero((ordered[1:] != ordered[:-1]).to_numpy()) + 1


def _stretches(
    times: NDArray[np.int64], groups: NDArray[np.int64], event: NDArray[np.bool_], window_us: int | None
) -> _Stretches:
    """The past of each row of a block that is sorted by (entity, time), in positions among its events."""
    here = np.arange(len(times))
    group = np.repeat(groups[:-1], np.diff(groups))
    fresh = np.ones(len(times), dtype=bool)
    fresh[1:] = times[1:] != times[:-1]
    fresh[groups[:-1]] = True
    ends = np.maximum.accumulate(np.where(fresh, here, 0))
    starts = group if window_us is None else _first_at_or_after(times, times - window_us, group, ends)
    before = np.zeros(len(times) + 1, dtype=np.int64)
    np.cumsum(event, out=before[1:])
    return _Stretches(times, before[starts], before[ends])


def _first_at_or_after(
    times: NDArray[np.int64], wanted: NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Binary search in every stretch ``[low, high)`` at once: the first position with a time ≥ ``wanted``."""
    low, high = low.copy(), high.copy()
    while bool((low < high).any()):
        middle = (low + high) >> 1
        early = (low < high) & (times[middle] < wanted)
        high = np.where(early | (low >= high), high, middle)
        low = np.where(early, middle + 1, low)
    return low


def _answer(
    function: Function, past: _Stretches, values: NDArray[np.float64] | NDArray[np.int64] | None
) -> NDArray[np.float64]:
    """One double per row of the block, NaN without events (0 for a count). ``values`` are those of the events."""
    count = (past.ends - past.starts).astype(np.float64)
    if function is Function.COUNT or values is None:
        return count
    empty = past.ends == past.starts
    result = np.full(len(count), np.nan)
    if not len(values):
        return result
    if function in (Function.MIN, Function.MAX):
        doubles = values.astype(np.float64, copy=False)
        return exact.extremes(doubles, past.starts, past.ends, greatest=function is Function.MAX)
    if function is Function.LAST:
        return np.where(empty, np.nan, values[np.maximum(past.ends - 1, 0)])
    if function is Function.SECONDS_SINCE_LAST:
        last = values[np.maximum(past.ends - 1, 0)].astype(np.int64, copy=False)
        return np.where(empty, np.nan, (past.times - last) / 1e6)
    result = exact.sums(values.astype(np.float64, copy=False), past.starts, past.ends)
    if function is Function.MEAN:
        result = np.divide(result, count, out=result, where=~empty)
    result[empty] = np.nan
    return result
