"""Columns as axes to cut by: fine bins of numbers, levels of categories, missing values.

In: a table. Out: one ``Axis`` per column that can be cut, whose codes say in which bin or level a row lies. Laws:
outcomes take no part in making an axis; every row has one code; a condition is a set of codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.measures.columns import levels, numbers

__all__ = ["Axis", "axes_of", "cell_edges", "number_said"]

_FINE = 100
_COARSE = 12
_MOST_LEVELS = 30

_Codes = NDArray[np.int64]
_Set = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Axis:
    """One column: ``codes`` [n] are fine cells 0…``size`` − 1.

    Of ``ordered`` axes the first ``len(edges)`` cells are bins that start at ``edges``; other axes have ``labels``,
    one per cell. ``missing`` is the cell of missing values, −1 where there are none. ``coarse`` [size] gives the coarse
    cell of each fine one; ``atoms`` [atoms, coarse cells] are the sets of coarse cells that a pair may combine.
    """

    name: str
    codes: _Codes
    size: int
    ordered: bool
    edges: NDArray[np.float64]
    labels: tuple[str, ...]
    missing: int
    coarse: _Codes
    atoms: NDArray[np.float64]
    temporal: bool = False

    def take(self, places: NDArray[np.int64]) -> _Codes:
        """The codes of some rows."""
        return self.codes[places]

    def fine(self, atom: int) -> _Set:
        """[size] the fine cells of an atom."""
        return np.asarray(self.atoms[atom, self.coarse] > 0)

    def said(self, cells: _Set) -> str:
        """A set of fine cells as a condition: ``hour in [0, 6)``, ``device=ios``, ``income is missing``."""
        if self.missing >= 0 and cells[self.missing]:
            others = cells.copy()
            others[self.missing] = False
            if not others.any():
                return f"{self.name} is missing"
            return f"{self._present(others)} or missing"
        return self._present(cells)

    def _present(self, cells: _Set) -> str:
        if not self.ordered:
            named = [self.labels[place] for place in np.flatnonzero(cells)]
            return f"{self.name}={named[0]}" if len(named) == 1 else f"{self.name} in {{{', '.join(named)}}}"
        places = np.flatnonzero(cells)
        first, last, bins = int(places[0]), int(places[-1]), len(self.edges)
        if first == last and self.labels:
            return f"{self.name}={self.labels[first]}"
        if first == 0 and last == bins - 1:
            return f"{self.name} is there"
        if first == 0:
            return f"{self.name} < {self._edge(last + 1)}"
        if last == bins - 1:
            return f"{self.name} >= {self._edge(first)}"
        return f"{self.name} in [{self._edge(first)}, {self._edge(last + 1)})"

    def _edge(self, place: int) -> str:
        value = float(self.edges[place])
        return _moment(value) if self.temporal else number_said(value)


def axes_of(table: pl.DataFrame, columns: Sequence[str], least: int) -> tuple[Axis, ...]:
    """The axes of those columns that have two cells or more; levels with fewer than ``least`` rows are one level."""
    made = (_axis(table[name], least) for name in columns)
    return tuple(axis for axis in made if axis is not None)


def cell_edges(values: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """The lower edges of at most ``most`` bins of about equal mass; every value has its own where they are few."""
    ordered = np.sort(values)
    distinct = ordered[np.r_[True, ordered[1:] != ordered[:-1]]] if len(ordered) else ordered
    if len(distinct) <= most:
        return distinct
    return np.asarray(np.unique(ordered[(np.arange(most) * len(ordered)) // most]), dtype=np.float64)


def number_said(value: float) -> str:
    """A number as short as it can be said.

    >>> number_said(1200000.0), number_said(0.12345678)
    ('1200000', '0.1235')
    """
    if value == round(value) and abs(value) < 1e15:
        return str(round(value))
    return f"{value:.4g}"


def _axis(column: pl.Series, least: int) -> Axis | None:
    if column.dtype.is_numeric() or column.dtype.is_temporal():
        return _ordered(column)
    if column.dtype.is_nested() or column.dtype in {pl.Null, pl.Binary, pl.Object}:
        return None
    return _levels(column.cast(pl.String), least)


def _ordered(column: pl.Series) -> Axis | None:
    temporal = column.dtype.is_temporal()
    if column.dtype in {pl.Datetime, pl.Date}:
        column = column.cast(pl.Datetime("us"))
    values = numbers(column)
    there = np.isfinite(values)
    edges = cell_edges(values[there], _FINE)
    bins, lacking = len(edges), not there.all()
    if bins + lacking < 2:
        return None
    codes = np.where(there, np.searchsorted(edges, np.where(there, values, 0.0), side="right") - 1, bins)
    few = not temporal and np.count_nonzero(np.diff(np.sort(values[there])) > 0) + 1 == bins
    coarse = _grouped(codes[there], bins)
    ranges = [(low, high) for low in range(coarse[-1] + 1) for high in range(low, coarse[-1] + 1)]
    atoms = np.zeros((len(ranges) + lacking, int(coarse[-1]) + 1 + lacking))
    for place, (low, high) in enumerate(ranges):
        atoms[place, low : high + 1] = 1.0
    if lacking:
        atoms[-1, -1] = 1.0
        coarse = np.append(coarse, coarse[-1] + 1)
    else:
        atoms = atoms[[high - low < coarse[-1] for low, high in ranges]]  # all rows are no condition
    return Axis(
        name=column.name,
        codes=codes.astype(np.int64),
        size=bins + lacking,
        ordered=True,
        edges=edges,
        labels=tuple(number_said(edge) for edge in edges) if few else (),
        missing=bins if lacking else -1,
        coarse=coarse,
        atoms=atoms,
        temporal=temporal,
    )


def _grouped(codes: _Codes, bins: int) -> _Codes:
    """The coarse cell of each of ``bins`` fine ones: neighbours joined to about equal mass."""
    if bins <= _COARSE:
        return np.arange(bins)
    mass = np.bincount(codes, minlength=bins).astype(np.float64)
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    return np.unique(np.minimum((middle * _COARSE).astype(np.int64), _COARSE - 1), return_inverse=True)[1]


def _levels(column: pl.Series, least: int) -> Axis | None:
    counts = levels(column)
    common = counts.filter(pl.col("count") >= least)["level"].head(_MOST_LEVELS).to_list()
    labels = list(common)
    lacking, rest = column.null_count() > 0, len(common) < counts.height
    if len(common) + lacking + rest < 2:
        return None
    if rest:
        labels.append("any other value")
    missing = len(labels) if lacking else -1
    if lacking:
        labels.append("missing")
    known = pl.DataFrame({"level": common, "code": range(len(common))}, schema={"level": pl.String, "code": pl.Int64})
    looked = pl.DataFrame({"level": column}).join(known, on="level", how="left", maintain_order="left")["code"]
    codes = looked.fill_null(len(common)).to_numpy()
    if lacking:
        codes = np.where(column.is_null().to_numpy(), missing, codes)
    return Axis(
        name=column.name,
        codes=codes.astype(np.int64),
        size=len(labels),
        ordered=False,
        edges=np.zeros(0),
        labels=tuple(labels),
        missing=missing,
        coarse=np.arange(len(labels)),
        atoms=np.eye(len(labels)),
    )


def _moment(microseconds: float) -> str:
    moment = datetime.fromtimestamp(microseconds / 1e6, tz=UTC)
    return f"{moment:%Y-%m-%d}" if moment.time().isoformat() == "00:00:00" else f"{moment:%Y-%m-%d %H:%M}"
