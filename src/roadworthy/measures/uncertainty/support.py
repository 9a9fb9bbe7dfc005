"""How unlike the training rows a row is, with a p-value: the share of training rows that are at least as unlike.

In: rows that trained a model (or that stand for them) and the columns that it reads. Out: a frozen ``SupportPlan`` of
some kilobytes, numbers and names alone. Laws: on rows like those it was fitted on, a p-value of at most a comes up with
probability of at most a (Bates et al. 2023, conformal p-values for outliers); a missing cell is a value of its own; no
row crashes it, and no row's p-value depends on the other rows that are asked about.

Numbers become normal scores of their rank, straight on beyond the range that was seen; text becomes one column per
common level and one for all the rest; a missing cell is a column too. A row's strangeness is the greatest of three,
each in units of what is usual: its strangest cell, its distance to the nearest of 256 training rows along the main
directions, and what those directions cannot explain of it (which is what a broken relation between columns looks like).
Half of the rows fit all this, the other half says what is usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import linalg, special

from roadworthy.errors import DataError
from roadworthy.measures.columns import is_number, is_text, levels, number_table
from roadworthy.measures.intervals import NotEnough

__all__ = ["OUTSIDE", "SupportColumn", "SupportPlan", "fit_support"]

OUTSIDE = 0.01
"""A row is outside when no more than this share of the training rows is as unlike."""

_LEAST_ROWS = 200
_KNOTS = 33
_FEWEST_KNOTS = 5
_LEVELS = 12
_COMMON = 0.01
_LEAST_VARIANCE = 0.005
_MOST_DIRECTIONS = 24
_MOST_NUMBERS = 6_000
_NEIGHBOURS = 3
_REFERENCES = 256
_FLOOR = 0.05
_LEAST_UNIT = 1e-150
_MANY_COLUMNS = 256
_NOISE = 1e-9
_FAR = 12.0
_GRID = 200
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

    def encode_numbers(self, found: NDArray[np.float64]) -> Matrix:
        """[N, 2] from ``numbers`` [N]: normal score, and whether it is missing."""
        missing = np.isnan(found)
        filled = np.where(missing, self.knots[len(self.knots) // 2], found)
        knots, at = np.array(self.knots), np.array(self.at)
        inside = np.interp(filled, knots, at)
        beyond = np.maximum(filled - knots[-1], 0) - np.maximum(knots[0] - filled, 0)
        return np.column_stack([inside + beyond / self.unit, _standard(missing, self.shares[-1])])

    def encode_text(self, values: pl.Series) -> Matrix:
        """[N, levels + 2]: one column per level, one for all others, one for missing."""
        text = values.cast(pl.String)
        missing = text.is_null().to_numpy()
        held = [(text == level).fill_null(value=False).to_numpy() for level in self.levels]
        known = np.any(held, axis=0) if held else np.zeros(len(text), dtype=np.bool_)
        flags = [*held, ~known & ~missing, missing]
        return np.column_stack([_standard(one, share) for one, share in zip(flags, self.shares, strict=True)])


class SupportPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What turns a row into its strangeness and that into a p-value.

    D encoded columns, q directions, r references. ``centre`` [D]; ``directions`` [D, q], each over the root of its
    variance; ``references`` [r, q]; ``usual`` are the three strangenesses that one in a hundred fitted rows exceeds;
    ``grid`` are calibration rows' strangenesses, rising, and ``ranks`` their places among all ``rows``.
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
        lacking = [column.name for column in self.columns if column.name not in rows.columns]
        if lacking:
            raise DataError(f"rows lack the columns {', '.join(lacking)}", next_step="pass the columns the model reads")
        strange = self.strangeness(rows)
        place = np.searchsorted(np.array(self.grid), strange, side="left")
        below = np.concatenate([[-1], np.array(self.ranks)])[place]
        return np.asarray((self.rows - below) / (self.rows + 1), dtype=np.float64)

    def strangeness(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """The greatest of the three, over what is usual [N]."""
        starts = range(0, rows.height, _CHUNK)
        parts = [self._parts(_encoded(self.columns, rows[start : start + _CHUNK])) for start in starts]
        scaled = np.concatenate(parts or [np.zeros((0, 3))]) / np.array(self.usual)
        return np.asarray(scaled.max(axis=1, initial=0.0), dtype=np.float64)

    def _parts(self, encoded: Matrix) -> Matrix:
        """Strangest cell, distance to the nearest references, what the directions leave [N, 3], of encoded rows."""
        strangest = np.abs(encoded).max(axis=1)
        centred = np.clip(encoded, -_FAR, _FAR) - np.array(self.centre)
        directions, references = np.array(self.directions), np.array(self.references)
        placed = centred @ directions
        squares = (placed**2).sum(axis=1)[:, None] - 2 * placed @ references.T + (references**2).sum(axis=1)
        nearest = np.partition(squares, min(_NEIGHBOURS, squares.shape[1]) - 1, axis=1)[:, :_NEIGHBOURS]
        along = directions / np.maximum(np.linalg.norm(directions, axis=0), 1e-12)
        left = centred - (centred @ along) @ along.T
        return np.column_stack([strangest, np.sqrt(np.maximum(nearest, 0)).mean(axis=1), np.linalg.norm(left, axis=1)])


def fit_support(rows: pl.DataFrame, columns: Sequence[str], rng: np.random.Generator) -> SupportPlan:
    """Fit on one random half of the rows and calibrate on the other.

    Columns that are neither number, time, truth value nor text are left out. Raises NotEnough for fewer than 200 rows
    or no column that can be looked at.
    """
    if rows.height < _LEAST_ROWS:
        raise NotEnough(f"needs at least {_LEAST_ROWS} rows that the model may have learned from, has {rows.height}")
    order = rng.permutation(rows.height)
    half = rows.height // 2
    fitted, other = rows[np.sort(order[:half])], rows[np.sort(order[half:])]
    kinds = fitted.schema
    named = [name for name in columns if is_number(kinds[name]) or is_text(kinds[name])]
    knots = int(np.clip(_MOST_NUMBERS // max(len(named), 1), _FEWEST_KNOTS, _KNOTS))
    described = _described(fitted, named, knots)
    if not described:
        raise NotEnough("no column that is a number, a time, a truth value or text")
    whole = _encoded(described, fitted)
    encoded = np.clip(whole, -_FAR, _FAR)
    centre = encoded.mean(axis=0)
    directions = _directions(encoded - centre)
    drawn = np.sort(rng.permutation(half)[:_REFERENCES])
    rest = np.setdiff1d(np.arange(half), drawn)
    plan = SupportPlan(
        columns=described,
        centre=_short(centre),
        directions=tuple(_short(row) for row in directions),
        references=tuple(_short(row) for row in (encoded[drawn] - centre) @ directions),
        usual=(1.0, 1.0, 1.0),
    )
    usual = np.quantile(plan._parts(whole[rest if len(rest) > 100 else drawn]), 1 - OUTSIDE, axis=0)  # noqa: SLF001
    first, second, third = (float(f"{max(one, 1e-6):.5g}") for one in usual)
    plan = msgspec.structs.replace(plan, usual=(first, second, third))
    strange = np.sort(plan.strangeness(other))
    last = len(strange) - 1
    ranks = np.unique([*np.linspace(0, last, _GRID).astype(int), *range(max(last + 1 - _GRID, 0), last + 1)])
    return msgspec.structs.replace(
        plan, grid=tuple(strange[ranks].tolist()), ranks=tuple(ranks.tolist()), rows=len(strange)
    )


def _described(fitted: pl.DataFrame, named: Sequence[str], most: int) -> tuple[SupportColumn, ...]:
    """The columns, numbers by at most so many knots."""
    kinds = fitted.schema
    table = iter(number_table(fitted, [name for name in named if is_number(kinds[name])]).T)
    return tuple(
        _of_numbers(name, next(table), most) if is_number(kinds[name]) else _of_text(fitted[name]) for name in named
    )


def _of_numbers(name: str, found: NDArray[np.float64], most: int) -> SupportColumn:
    known = found[~np.isnan(found)]
    missing = 1 - len(known) / max(len(found), 1)
    knots, at, unit = _ranked(known if len(known) else np.zeros(1), most)
    return SupportColumn(name=name, shares=(missing,), knots=knots, at=at, unit=unit)


def _of_text(values: pl.Series) -> SupportColumn:
    missing = values.null_count() / max(len(values), 1)
    common = levels(values).filter(pl.col("count") >= _COMMON * len(values)).head(_LEVELS).sort("count", "level")
    shares = [count / len(values) for count in common["count"].to_list()]
    rest = max(1 - missing - sum(shares), 0.0)
    return SupportColumn(name=values.name, shares=(*shares, rest, missing), levels=tuple(common["level"].to_list()))


def _ranked(known: NDArray[np.float64], most: int) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Knots of the normal scores, and the unit beyond them: the greater of robust deviation and a thin tail's reach."""
    chances = (np.arange(most) + 0.5) / most
    values = np.quantile(known, chances, method="inverted_cdf")
    knots, place = np.unique(values, return_inverse=True)
    at = np.bincount(place, weights=special.ndtri(chances)) / np.bincount(place)
    low, high = np.quantile(known, [0.25, 0.75])
    spread = max(float(high - low) / 1.35, float(knots[-1] - knots[0]) / 4)
    unit = max(spread, _LEAST_UNIT) if spread > 0 else 0.1 * max(abs(float(knots[0])), 1.0)
    return tuple(knots.tolist()), _short(at), unit


def _directions(centred: Matrix) -> Matrix:
    """The main directions [D, q], each over the root of its variance.

    Of more than 256 columns those that never vary have no part in them. With fewer rows than columns they come from
    the products of rows, whose eigenvalues are the same: the work grows with the smaller number.
    """
    n, width = centred.shape
    most = int(min(_MOST_DIRECTIONS, max(_MOST_NUMBERS // width, 4), max(width - 1, 1)))
    told = np.flatnonzero(np.ptp(centred, axis=0) > 0) if width > _MANY_COLUMNS else np.arange(width)
    part = centred[:, told]
    few = n < len(told)
    products = (part @ part.T if few else part.T @ part) / n
    if width > _MANY_COLUMNS and len(products):
        last = len(products) - 1
        variances, vectors = linalg.eigh(products, subset_by_index=[max(last - most + 1, 0), last])
    else:
        variances, vectors = np.linalg.eigh(products)
    kept = np.argsort(-variances)[:most]
    if few:
        kept = kept[variances[kept] > _NOISE * variances.max()]
        vectors = part.T @ vectors / np.sqrt(n * np.maximum(variances, _NOISE))
    directions = np.zeros((width, len(kept)))
    directions[told] = vectors[:, kept] / np.sqrt(np.maximum(variances[kept], 0) + _FLOOR)
    return directions


def _encoded(columns: Sequence[SupportColumn], rows: pl.DataFrame) -> Matrix:
    table = iter(number_table(rows, [column.name for column in columns if column.knots]).T)
    encoded = np.empty((rows.height, sum(column.width for column in columns)))
    place = 0
    for column in columns:
        part = column.encode_numbers(next(table)) if column.knots else column.encode_text(rows[column.name])
        encoded[:, place : place + column.width] = part
        place += column.width
    return encoded


def _standard(flag: NDArray[np.bool_], share: float) -> NDArray[np.float64]:
    return np.asarray((flag - share) / np.sqrt(max(share * (1 - share), _LEAST_VARIANCE)), dtype=np.float64)


def _short(values: NDArray[Any]) -> tuple[float, ...]:
    """Five digits each: what is applied is what is written down."""
    return tuple(float(f"{value:.5g}") for value in values)
