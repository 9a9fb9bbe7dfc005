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

from roadworthy.measures.columns import is_number, is_text, levels, number_table
from roadworthy.measures.intervals import NotEnough
from roadworthy.measures.strangeness import (
    FAR,
    OUTSIDE,
    Encoding,
    Matrix,
    Strangeness,
    SupportColumn,
    SupportPlan,
)

__all__ = ["OUTSIDE", "SupportColumn", "SupportPlan", "fit_support"]

_LEAST_ROWS = 200
_KNOTS = 33
_FEWEST_KNOTS = 5
_LEVELS = 12
_COMMON = 0.01
_MOST_DIRECTIONS = 24
_MOST_NUMBERS = 6_000
_REFERENCES = 256
_FLOOR = 0.05
_LEAST_UNIT = 1e-150
_MANY_COLUMNS = 256
_NOISE = 1e-9
_GRID = 200
_GROUPS = 64
_LEAST_GROUP = 10
_ROUNDS = 12


def fit_support(
    rows: pl.DataFrame, columns: Sequence[str], rng: np.random.Generator, *, grouped: bool = False
) -> SupportPlan:
    """Fit on one random half of the rows and calibrate on the other.

    ``grouped``: references are means of ten rows or more, so that the plan holds no row of the data. Columns that are
    neither number, time, truth value nor text are left out. Raises NotEnough for fewer than 200 rows or no column that
    can be looked at.
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
    whole = Encoding(described).table(fitted)
    encoded = np.clip(whole, -FAR, FAR)
    centre = encoded.mean(axis=0)
    directions = _directions(encoded - centre)
    placed = (encoded - centre) @ directions
    drawn = np.sort(rng.permutation(half)[:_REFERENCES])
    rest = np.setdiff1d(np.arange(half), drawn)
    plan = SupportPlan(
        columns=described,
        centre=_short(centre),
        directions=tuple(_short(row) for row in directions),
        references=tuple(_short(row) for row in (_grouped(placed, rng) if grouped else placed[drawn])),
        usual=(1.0, 1.0, 1.0),
    )
    others = whole if grouped else whole[rest if len(rest) > 100 else drawn]
    usual = np.quantile(Strangeness(plan).parts(others), 1 - OUTSIDE, axis=0)
    first, second, third = (float(f"{max(one, 1e-6):.5g}") for one in usual)
    plan = msgspec.structs.replace(plan, usual=(first, second, third))
    strange = np.sort(plan.strangeness(other))
    last = len(strange) - 1
    ranks = np.unique([*np.linspace(0, last, _GRID).astype(int), *range(max(last + 1 - _GRID, 0), last + 1)])
    return msgspec.structs.replace(
        plan, grid=tuple(strange[ranks].tolist()), ranks=tuple(ranks.tolist()), rows=len(strange)
    )


def _grouped(placed: Matrix, rng: np.random.Generator) -> Matrix:
    """Means of groups of near rows [r, q], each of ten rows or more; the mean of all where there are no such groups."""
    count = int(np.clip(len(placed) // (2 * _LEAST_GROUP), 1, _GROUPS))
    means = placed[np.sort(rng.permutation(len(placed))[:count])]
    sizes = np.zeros(count, dtype=np.int64)
    for _ in range(_ROUNDS):
        own = np.argmin((means**2).sum(axis=1) - 2 * placed @ means.T, axis=1)
        sizes = np.bincount(own, minlength=len(means))
        sums = np.zeros_like(means)
        np.add.at(sums, own, placed)
        means = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], means)
    kept = means[sizes >= _LEAST_GROUP]
    return kept if len(kept) else placed.mean(axis=0, keepdims=True)


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
    if low == high:  # most cells are the same: those that are not tell how far the others lie
        spread = max(spread, float(known.max() - known.min()) / 4)
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


def _short(values: NDArray[Any]) -> tuple[float, ...]:
    """Five digits each: what is applied is what is written down."""
    return tuple(float(f"{value:.5g}") for value in values)
