"""A table's column as numbers or as levels: how every check reads one.

In: a column, or many at once. Out: arrays with one entry per row. Laws: no outcome takes part; a missing cell is told
apart from every value; equal columns give equal arrays; sums, squares and differences of what is read are finite.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["GREATEST", "bounded", "is_number", "is_text", "level_codes", "levels", "number_table", "numbers"]

GREATEST = 1e150
"""Squares of what is greater, and sums of them, are not finite: such numbers all count as this one."""

_LEAST = 1e-290
"""Quotients by differences of what is smaller are not finite: such numbers all count as zero."""


def is_number(kind: pl.DataType) -> bool:
    """Whether values lie on a line: numbers, times and truth values."""
    return kind.is_numeric() or kind.is_temporal() or kind == pl.Boolean


def is_text(kind: pl.DataType) -> bool:
    """Whether values are names."""
    return kind == pl.String or isinstance(kind, pl.Categorical | pl.Enum)


def numbers(column: pl.Series) -> NDArray[np.float64]:
    """As floats [n], times in their own unit; what is missing, no number or not finite is NaN.

    What is beyond ±1e150 is that, and what is nearer to zero than 1e-290 is zero (``bounded``).

    >>> numbers(pl.Series([1.5, None, float("inf"), 1e308])).tolist()
    [1.5, nan, nan, 1e+150]
    """
    values = column.to_physical().cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    return bounded(np.where(np.isfinite(values), values, np.nan))


def number_table(rows: pl.DataFrame, names: Sequence[str]) -> NDArray[np.float64]:
    """``numbers`` of several columns at once [n, d]: of a wide table in a fraction of the time.

    >>> number_table(pl.DataFrame({"a": [1, None], "b": [True, False]}), ["b", "a"]).tolist()
    [[1.0, 1.0], [0.0, nan]]
    """
    if not len(names):
        return np.empty((rows.height, 0))
    known = {column.name: column for column in rows.iter_columns()}
    read = pl.all().to_physical().cast(pl.Float64, strict=False).fill_null(np.nan)
    values = pl.DataFrame([known[name] for name in names]).select(read).to_numpy()
    return bounded(np.where(np.isfinite(values), values, np.nan))


def bounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same numbers with those beyond ±1e150, infinite ones too, as ±1e150, and next to nothing as zero.

    >>> bounded(np.array([-np.inf, 5e-324, 2.0])).tolist()
    [-1e+150, 0.0, 2.0]
    """
    held = np.clip(values, -GREATEST, GREATEST)
    return np.asarray(np.where(np.abs(held) < _LEAST, 0.0, held), dtype=np.float64)


def levels(column: pl.Series) -> pl.DataFrame:
    """Each ``level`` as text with its ``count`` of rows, the commonest first, by name where as common.

    >>> levels(pl.Series(["b", "a", None, "b"])).rows()
    [('b', 2), ('a', 1)]
    """
    counted = column.cast(pl.String).drop_nulls().alias("level").value_counts()
    return counted.sort("count", "level", descending=[True, False])


def level_codes(column: pl.Series, most: int) -> NDArray[np.int64]:
    """0 for the commonest of ``levels`` [n], then the next; one code for all beyond ``most``, −1 for missing cells.

    >>> level_codes(pl.Series(["b", "a", None, "b", "c"]), most=2).tolist()
    [0, 1, -1, 0, 2]
    """
    text = column.cast(pl.String).alias("level")
    order = levels(text).head(most).select("level", code=pl.int_range(pl.len(), dtype=pl.Int64))
    found = text.to_frame().join(order, on="level", how="left", maintain_order="left")["code"].fill_null(order.height)
    return np.asarray(np.where(text.is_null().to_numpy(), -1, found.to_numpy()), dtype=np.int64)
