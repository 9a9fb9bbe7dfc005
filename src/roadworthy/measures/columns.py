"""A table's column as numbers or as levels: how every check reads one.

In: a column. Out: arrays with one entry per row. Laws: no outcome takes part; a missing cell is told apart from every
value; equal columns give equal arrays.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["is_number", "is_text", "level_codes", "levels", "numbers"]


def is_number(kind: pl.DataType) -> bool:
    """Whether values lie on a line: numbers, times and truth values."""
    return kind.is_numeric() or kind.is_temporal() or kind == pl.Boolean


def is_text(kind: pl.DataType) -> bool:
    """Whether values are names."""
    return kind in {pl.String, pl.Categorical, pl.Enum}


def numbers(column: pl.Series) -> NDArray[np.float64]:
    """As floats [n], times in their own unit; what is missing, no number or not finite is NaN.

    >>> numbers(pl.Series([1.5, None, float("inf")])).tolist()
    [1.5, nan, nan]
    """
    values = column.to_physical().cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    return np.asarray(np.where(np.isfinite(values), values, np.nan), dtype=np.float64)


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
