"""Protected columns as groups of rows.

In: a table's column. Out: a ``Cohort`` per group. Laws: every row is in one group of each column; numbers of more than
ten values are cut in quarters; missing is a group.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["MOST_GROUPS", "Cohort", "cohorts", "crossed"]

MOST_GROUPS = 50
"""A column with more groups than this compares nothing that a person could act on."""

_MOST_VALUES = 10


class Cohort(NamedTuple):
    """One group: its name and its rows [n]."""

    name: str
    rows: NDArray[np.bool_]


def cohorts(column: pl.Series) -> list[Cohort]:
    """The groups of a column, in the order of their names or numbers, missing ones last."""
    plain = column.fill_nan(None) if column.dtype.is_float() else column
    missing = plain.is_null().to_numpy()
    found = [cohort for cohort in (_quarters(plain) if _is_cut(plain) else _values(plain)) if cohort.rows.any()]
    return [*found, Cohort("missing", missing)] if missing.any() else found


def crossed(first: list[Cohort], second: list[Cohort]) -> list[Cohort]:
    """Every group of one column within every group of another, where there are rows."""
    both = [Cohort(f"{one.name}, {two.name}", one.rows & two.rows) for one in first for two in second]
    return [cohort for cohort in both if cohort.rows.any()]


def _is_cut(column: pl.Series) -> bool:
    ordered = column.dtype.is_numeric() or column.dtype.is_temporal()
    return ordered and column.drop_nulls().n_unique() > _MOST_VALUES


def _values(column: pl.Series) -> list[Cohort]:
    ordered = column.drop_nulls().unique().sort() if column.dtype.is_numeric() else None
    labels = column.cast(pl.String)
    names = labels.drop_nulls().unique().sort() if ordered is None else ordered.cast(pl.String)
    return [Cohort(name, (labels == name).fill_null(value=False).to_numpy()) for name in names.to_list()]


def _quarters(column: pl.Series) -> list[Cohort]:
    ordered = column.drop_nulls().sort()
    edges = list(dict.fromkeys(ordered[place * ordered.len() // 4] for place in range(4)))
    numbers = column.to_physical().cast(pl.Float64).fill_null(float("nan")).to_numpy()
    lows = pl.Series(edges, dtype=column.dtype).to_physical().cast(pl.Float64).to_numpy()
    codes = np.where(np.isnan(numbers), -1, np.maximum(np.searchsorted(lows, numbers, side="right") - 1, 0))
    return [Cohort(_between(edges, place), codes == place) for place in range(len(edges))]


def _between(edges: list[object], place: int) -> str:
    if len(edges) == 1:
        return f"{_said(edges[0])} and more"
    if place == 0:
        return f"below {_said(edges[1])}"
    if place == len(edges) - 1:
        return f"{_said(edges[place])} and more"
    return f"{_said(edges[place])} to below {_said(edges[place + 1])}"


def _said(edge: object) -> str:
    return f"{edge:.6g}" if isinstance(edge, float) else str(edge)
