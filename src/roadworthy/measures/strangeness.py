"""A support plan and its application: from cells to how strange a row is, and whether it is outside.

In: a ``SupportPlan``, and rows as a table or as arrays. Out: strangeness, p-values, and for rows outside which columns
are to blame. Laws: a table and arrays of the same cells get the same answer; a row's answer does not depend on the
other rows that are asked about; no row crashes it.

``Strangeness`` is a plan with its arrays made: a live row must not wait while tables of numbers are built.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.measures.columns import number_table

__all__ = ["FAR", "OUTSIDE", "Encoding", "Matrix", "Strangeness", "SupportColumn", "SupportPlan"]

OUTSIDE = 0.01
"""A row is outside when no more than this share of the training rows is as unlike."""

FAR = 12.0
"""Beyond this an encoded cell counts no more for distances."""

_LEAST_VARIANCE = 0.005
_NEIGHBOURS = 3
_MOST_CELLS = 4_000_000
_CHUNK = 4096

Matrix = NDArray[np.float64]


class SupportColumn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One column: ``knots`` and their normal scores ``at`` (numbers), or its common ``levels`` (text).

    ``unit`` is how far beyond its ends a number counts as one step. ``shares`` are those of the levels, of all other
    levels, and of missing cells, the last alone for numbers.
    """

    name: str
    shares: tuple[float, ...]
    knots: tuple[float, ...] = ()
    at: tuple[float, ...] = ()
    unit: float = 1.0
    levels: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """How many encoded columns it becomes."""
        return 2 if self.knots else len(self.shares)


class SupportPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What turns a row into its strangeness and that into a p-value.

    D encoded columns (``Encoding``), q directions, r references. ``centre`` [D]; ``directions`` [D, q], each over the
    root of its variance; ``references`` [r, q]; ``usual`` are the three strangenesses that one in a hundred fitted rows
    exceeds; ``grid`` are calibration rows' strangenesses, rising, and ``ranks`` their places among all ``rows``.
    """

    columns: tuple[SupportColumn, ...]
    centre: tuple[float, ...]
    directions: tuple[tuple[float, ...], ...]
    references: tuple[tuple[float, ...], ...]
    usual: tuple[float, float, float]
    grid: tuple[float, ...] = ()
    ranks: tuple[int, ...] = ()
    rows: int = 0
    outside: float = OUTSIDE

    def apply(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """p-values [N] of rows that have the plan's columns; DataError names every one that is not there.

        At most ``outside``: the row is outside the support.
        """
        strange = self.strangeness(rows)
        place = np.searchsorted(np.array(self.grid), strange, side="left")
        below = np.concatenate([[-1], np.array(self.ranks)])[place]
        return np.asarray((self.rows - below) / (self.rows + 1), dtype=np.float64)

    def strangeness(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """The greatest of the three, over what is usual [N]."""
        return Strangeness(self).of_table(rows)


class Encoding:
    """Columns with the arrays of their encoding made.

    Encoded columns come in this order: the normal score of every number, whether each is missing, then of each text
    one column per common level, one for all others and one for missing. ``numbers`` and ``texts`` name the columns.
    """

    def __init__(self, columns: Sequence[SupportColumn]) -> None:
        of_numbers = [column for column in columns if column.knots]
        of_texts = [column for column in columns if not column.knots]
        self.numbers = tuple(column.name for column in of_numbers)
        self.texts = tuple(column.name for column in of_texts)
        self.width = sum(column.width for column in columns)
        self._middle = np.array([column.knots[len(column.knots) // 2] for column in of_numbers])
        self._segments(of_numbers)
        shares = np.array([column.shares[-1] for column in of_numbers])
        self._there, self._lacks = _standard(shares)
        self._places = [{level: place for place, level in enumerate(column.levels)} for column in of_texts]
        self._tables = [_flags(column.shares) for column in of_texts]
        ends = np.cumsum([2 * len(of_numbers), *(column.width for column in of_texts)]).tolist()
        self._spans = list(pairwise(ends))
        names = [*self.numbers, *self.numbers]
        names += [column.name for column in of_texts for _ in column.shares]
        self.names = tuple(names)
        missing = [False] * len(of_numbers) + [True] * len(of_numbers)
        missing += [at == len(column.shares) - 1 for column in of_texts for at in range(len(column.shares))]
        self.tells_missing = tuple(missing)

    def _segments(self, columns: Sequence[SupportColumn]) -> None:
        """Straight pieces: below the first knot, between each two, above the last. Knots are padded with infinity."""
        most = max((len(column.knots) for column in columns), default=1)
        knots_of = np.full((len(columns), most), np.inf)
        low, base, slope = (np.zeros((len(columns), most + 1)) for _ in range(3))
        for at, column in enumerate(columns):
            knots, scores = np.array(column.knots), np.array(column.at)
            count = len(knots)
            knots_of[at, :count] = knots
            low[at, : count + 1] = [knots[0], *knots]
            base[at, : count + 1] = [scores[0], *scores]
            slope[at, : count + 1] = [1 / column.unit, *(np.diff(scores) / np.diff(knots)), 1 / column.unit]
        self._low, self._base, self._slope = low.ravel(), base.ravel(), slope.ravel()
        self._knots = np.ascontiguousarray(knots_of.T)[:, None, :]
        self._starts = np.arange(len(columns)) * (most + 1)
        self.chunk = int(np.clip(_MOST_CELLS // max(self._knots.size, 1), 1, _CHUNK))

    def cells(self, numbers: Matrix, missing: NDArray[np.bool_], texts: Sequence[Sequence[str | None]]) -> Matrix:
        """The encoded cells [N, width] of numbers [N, k] with what is missing of them, and texts, None for missing."""
        count = len(self.numbers)
        encoded = np.empty((len(numbers), self.width))
        if count:
            lacks = bool(missing.any())
            known = np.where(missing, self._middle, numbers) if lacks else numbers
            passed = (known >= self._knots).view(np.int8)  # [knots, N, k]: summed plane by plane, which is quick
            piece = np.add.reduce(passed, axis=0, dtype=np.int8) + self._starts
            encoded[:, :count] = self._base.take(piece) + (known - self._low.take(piece)) * self._slope.take(piece)
            encoded[:, count : 2 * count] = np.where(missing, self._lacks, self._there) if lacks else self._there
        for values, places, table, (begin, end) in zip(texts, self._places, self._tables, self._spans, strict=True):
            others, absent = len(table) - 2, len(table) - 1
            codes = [absent if value is None else places.get(value, others) for value in values]
            encoded[:, begin:end] = table[codes]
        return encoded

    def table(self, rows: pl.DataFrame) -> Matrix:
        """The same of a table; DataError names every column that is not there."""
        lacking = [name for name in (*self.numbers, *self.texts) if name not in rows.columns]
        if lacking:
            raise DataError(f"rows lack the columns {', '.join(lacking)}", next_step="pass the columns the model reads")
        numbers = number_table(rows, self.numbers)
        texts = [rows.get_column(name).cast(pl.String).to_list() for name in self.texts]
        parts = []
        for begin in range(0, max(rows.height, 1), self.chunk):
            end = begin + self.chunk
            own = numbers[begin:end]
            parts.append(self.cells(own, np.isnan(own), [text[begin:end] for text in texts]))
        return np.concatenate(parts)


class Strangeness:
    """A plan with its arrays made. ``encoding`` says which columns it takes."""

    def __init__(self, plan: SupportPlan) -> None:
        self.encoding = Encoding(plan.columns)
        self._centre = np.array(plan.centre)
        self._directions = np.array(plan.directions).reshape(len(plan.centre), -1)
        self._lengths = np.maximum(np.linalg.norm(self._directions, axis=0), 1e-12)
        self._along = (self._directions / self._lengths).T
        references = np.array(plan.references)
        self._references = 2 * references.T
        self._squares = (references**2).sum(axis=1)
        self._usual = np.array(plan.usual)
        self._nearest = min(_NEIGHBOURS, len(references))
        beyond = plan.rows - plan.outside * (plan.rows + 1)
        limits = [strange for strange, rank in zip(plan.grid, plan.ranks, strict=True) if rank >= beyond]
        self._limit = limits[0] if limits else np.inf

    def of_table(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """The strangeness of each row [N]."""
        starts = range(0, rows.height, _CHUNK)
        found = [self.of_cells(self.encoding.table(rows[start : start + _CHUNK])) for start in starts]
        return np.concatenate(found) if found else np.zeros(0)

    def of_cells(self, encoded: Matrix) -> NDArray[np.float64]:
        """The greatest of three, each over what is usual [N], of encoded cells."""
        return np.asarray((self.parts(encoded) / self._usual).max(axis=1), dtype=np.float64)

    def parts(self, encoded: Matrix) -> Matrix:
        """Strangest cell, distance to the nearest references, what the directions leave [N, 3], of encoded cells."""
        centred = np.minimum(np.maximum(encoded, -FAR), FAR) - self._centre
        placed = centred @ self._directions
        squares = (placed * placed).sum(axis=1)[:, None] - placed @ self._references + self._squares
        if squares.shape[1] > self._nearest:
            squares = np.partition(squares, self._nearest - 1, axis=1)[:, : self._nearest]
        left = centred - (placed / self._lengths) @ self._along
        found = np.empty((len(encoded), 3))
        found[:, 0] = np.abs(encoded).max(axis=1)
        found[:, 1] = np.sqrt(np.maximum(squares, 0)).sum(axis=1) / self._nearest
        found[:, 2] = np.sqrt((left * left).sum(axis=1))
        return found

    def outside(self, encoded: Matrix) -> NDArray[np.intp]:
        """The places of the rows that are outside the support, of encoded cells."""
        return np.flatnonzero(self.of_cells(encoded) > self._limit)

    def blamed(self, cells: NDArray[Any]) -> tuple[tuple[str, bool], ...]:
        """Of one row outside: its columns whose cell alone puts it there, and whether they do so by being missing.

        Empty where no cell does, and it is how they go together that is strange.
        """
        strange = np.flatnonzero(np.abs(cells) > self._usual[0] * self._limit)
        names, missing = self.encoding.names, self.encoding.tells_missing
        found: dict[str, bool] = {}
        for place in strange.tolist():
            found[names[place]] = missing[place] and cells[place] > 0
        return tuple(found.items())


def _standard(shares: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a flag of such shares becomes where it is down, and where it is up: mean 0 and variance 1."""
    spread = np.sqrt(np.maximum(shares * (1 - shares), _LEAST_VARIANCE))
    return -shares / spread, (1 - shares) / spread


def _flags(shares: Sequence[float]) -> Matrix:
    """Row k is what flag k, up alone, becomes."""
    down, up = _standard(np.array(shares))
    return np.where(np.eye(len(shares), dtype=np.bool_), up, down)
