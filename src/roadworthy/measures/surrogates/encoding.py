"""Columns as the numbers that surrogates read.

In: rows. Out: ``Encoded``. Laws: means and levels come from all rows that are given, and hold no outcome; a column that
is neither numbers nor text is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.measures.columns import is_number, is_text, level_codes, number_table

__all__ = ["Encoded", "encode_rows"]

_LEVELS = 20
_MOST_LEVELS = 100
_GREATEST = 1e30
"""Sums of so many single-precision numbers as there are cells are finite."""

Matrix = NDArray[np.float32]


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoded:
    """Rows [n] as numbers, in two ways.

    ``trees`` [n, d]: numbers about their median, text as codes by how common a level is, NaN for missing cells; d names
    in ``columns``, and whether each is text in ``named``. ``wide`` [n, D]: standardised, one column per common level.
    """

    columns: tuple[str, ...]
    named: tuple[bool, ...]
    trees: Matrix

    @cached_property
    def wide(self) -> Matrix:
        """As a linear model reads them; one column of nothing where no column can be read."""
        parts = [
            part
            for column, named in zip(self.trees.T, self.named, strict=True)
            for part in (_by_level(column) if named else _standardised(column.astype(np.float64)))
        ]
        return np.column_stack(parts) if parts else np.zeros((len(self.trees), 1), dtype=np.float32)


def encode_rows(rows: pl.DataFrame, columns: Sequence[str]) -> Encoded:
    """Numbers, times, truth values and text of those columns, the 100 commonest levels of each text."""
    kinds = rows.schema
    read = [name for name in columns if is_number(kinds[name]) or is_text(kinds[name])]
    named = tuple(is_text(kinds[name]) for name in read)
    trees = np.empty((rows.height, len(read)), dtype=np.float32)
    plain = [place for place, text in enumerate(named) if not text]
    for place, values in zip(plain, number_table(rows, [read[place] for place in plain]).T, strict=True):
        trees[:, place] = _centred(values)
    for place, text in enumerate(named):
        if text:
            trees[:, place] = _codes(rows[read[place]])
    return Encoded(columns=tuple(read), named=named, trees=trees)


def _centred(values: NDArray[np.float64]) -> Matrix:
    values = np.clip(values, -_GREATEST, _GREATEST)
    known = values[~np.isnan(values)]
    return np.asarray(values - (np.median(known) if len(known) else 0.0), dtype=np.float32)


def _codes(column: pl.Series) -> Matrix:
    codes = level_codes(column, _MOST_LEVELS).astype(np.float32)
    return np.where(codes < 0, np.float32(np.nan), codes)


def _standardised(values: NDArray[np.float64]) -> list[Matrix]:
    """Cut at five deviations, missing cells in the middle; and whether it is missing, where some are."""
    missing = np.isnan(values)
    known = values[~missing]
    deviation = float(known.std()) if len(known) else 0.0
    if deviation == 0:
        scaled = np.zeros(len(values))
    else:
        scaled = np.clip((np.where(missing, known.mean(), values) - known.mean()) / deviation, -5, 5)
    columns = [scaled.astype(np.float32)]
    return [*columns, missing.astype(np.float32)] if missing.any() and len(known) else columns


def _by_level(codes: Matrix) -> list[Matrix]:
    missing = np.isnan(codes)
    common = [(codes == level).astype(np.float32) for level in np.unique(codes[~missing])[: _LEVELS + 1]]
    return [*common, missing.astype(np.float32)] if missing.any() else common
