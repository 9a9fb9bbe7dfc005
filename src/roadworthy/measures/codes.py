"""Every value as the number of the cell it falls in: how sketches count fast, and columns are compared with each other.

In: a clean column, and the edges or labels that a sketch has fixed. Out: one small whole number per row. Laws: the
cell of a value follows from the value and the frame alone; missing values have none.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["as_texts", "filled", "is_number", "label_codes", "number_codes", "present_numbers"]

Codes = NDArray[np.integer]
NONE = -1
"""Where a value is missing."""
_BATCH = 1 << 16  # values compared at a time: they stay in the processor's cache


def is_number(column: pl.Series) -> bool:
    """Whether a column is counted between edges; otherwise by label."""
    return column.dtype.is_numeric() or column.dtype.is_temporal()


def present_numbers(column: pl.Series) -> NDArray[np.float64]:
    """The values that are there, as double; times in seconds."""
    present = column.drop_nulls()
    if present.dtype.is_temporal():
        return present.cast(pl.Datetime("us")).to_physical().cast(pl.Float64).to_numpy() / 1e6
    return present.cast(pl.Float64).to_numpy()


def number_codes(edges: tuple[float, ...], values: NDArray[np.float64]) -> Codes:
    """How many edges lie at or below each value: 0 is below them all, ``len(edges)`` from the last one on.

    One pass per edge over values in the cache is five times as fast as a binary search per value.
    """
    if len(edges) > 100:
        return np.searchsorted(np.array(edges), values, side="right")
    codes = np.zeros(len(values), np.uint8)
    reached = np.empty(min(_BATCH, len(values)), np.bool_)
    for start in range(0, len(values), _BATCH):
        part, counted = values[start : start + _BATCH], codes[start : start + _BATCH]
        flags = reached[: len(part)]
        for edge in edges:
            np.greater_equal(part, edge, out=flags)
            np.add(counted, flags.view(np.uint8), out=counted)
    return codes


def label_codes(labels: tuple[str, ...], column: pl.Series) -> Codes:
    """The place of each row's label in ``labels``, ``len(labels)`` for any other, −1 where it is missing."""
    if not labels:
        return np.where(column.is_null().to_numpy(), NONE, 0)
    listed = as_texts(column).cast(pl.Enum(labels), strict=False).to_physical().cast(pl.Int16)
    if listed.null_count():
        listed = listed.fill_null(len(labels))
    codes: Codes = listed.to_numpy()
    if column.null_count():
        codes = np.where(column.is_null().to_numpy(), NONE, codes)
    return codes


def filled(codes: Codes, column: pl.Series) -> Codes:
    """Codes of the present values, put back where they stand in the column; −1 elsewhere."""
    if not column.null_count():
        return codes
    whole = np.full(len(column), NONE, np.int16)
    whole[column.is_not_null().to_numpy()] = codes
    return whole


def as_texts(column: pl.Series) -> pl.Series:
    """Labels as texts; true and false become "true" and "false"."""
    return column.cast(pl.String)
