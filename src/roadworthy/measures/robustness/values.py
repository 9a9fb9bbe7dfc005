"""How values become wrong, within a column's own type.

In: a column and, where chance is needed, a generator. Out: a column of the same length; of the same type but for
``as_text``. Laws: missing stays missing; integers stay integers; nothing overflows: what a type cannot hold becomes
the greatest that it can.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import polars as pl

__all__ = ["as_text", "changed", "drawn", "is_number", "is_text", "noisy", "typed_wrongly", "within"]

_FLOATS: dict[type[pl.DataType], float] = {pl.Float32: 3.4e38, pl.Float64: 1.7e308}
_WHOLE = 2.0**62


def is_number(dtype: pl.DataType) -> bool:
    """Whether faults of numbers apply: integers and floats, not booleans or decimals."""
    return dtype.is_integer() or dtype.is_float()


def is_text(dtype: pl.DataType) -> bool:
    """Whether faults of text apply: a column that can hold any word."""
    return isinstance(dtype, pl.String | pl.Categorical)


def within(dtype: pl.DataType) -> tuple[float, float]:
    """The least and the greatest number that faults put into a column of this type."""
    if dtype.is_float():
        most = _FLOATS.get(type(dtype), 6e4)
        return -most, most
    limits = np.iinfo(pl.Series([], dtype=dtype).to_numpy().dtype)
    return max(float(limits.min), -_WHOLE), min(float(limits.max), _WHOLE)


def changed(column: pl.Series, how: Callable[[pl.Expr], pl.Expr]) -> pl.Series:
    """A numeric column with ``how`` done to its values, computed in double, rounded and kept within its type."""
    low, high = within(column.dtype)
    value = how(pl.col(column.name).cast(pl.Float64)).clip(low, high)
    rounded = value.round() if column.dtype.is_integer() else value
    return pl.select(column).select(rounded.cast(column.dtype).alias(column.name)).to_series()


def noisy(column: pl.Series, scale: float, rng: np.random.Generator) -> pl.Series:
    """Normal noise of standard deviation ``scale`` on every value."""
    noise = pl.Series("noise", rng.normal(0.0, scale, column.len()))
    return changed(column, lambda value: value + pl.lit(noise))


def drawn(rng: np.random.Generator, rows: int, share: float) -> pl.Series:
    """A mask of ``rows`` rows: so many of them, at least one, chosen at random."""
    mask = np.zeros(rows, dtype=np.bool_)
    mask[rng.permutation(rows)[: max(1, math.ceil(rows * share))]] = True
    return pl.Series("drawn", mask)


def typed_wrongly(word: str, rng: np.random.Generator) -> str:
    """A word as a hurried person types it: letters swapped, dropped or doubled, other case, a stray space."""
    kinds = ["doubled", "case", "space"] if len(word) < 2 else ["swapped", "dropped", "doubled", "case", "space"]
    kind = kinds[int(rng.integers(len(kinds)))]
    place = int(rng.integers(max(len(word) - 1, 1)))
    if kind == "swapped":
        return f"{word[:place]}{word[place + 1]}{word[place]}{word[place + 2 :]}"
    if kind == "dropped":
        return word[:place] + word[place + 1 :]
    if kind == "doubled":
        return word[: place + 1] + word[place:]
    if kind == "case":
        return word.swapcase()
    return f" {word}" if rng.random() < 0.5 else f"{word} "


def as_text(column: pl.Series) -> pl.Series:
    """The values as another program may hand them over: "12,5", "yes", "20.11.2026 19:10"."""
    name, dtype = column.name, column.dtype
    if dtype == pl.Boolean:
        words = (
            pl.when(pl.col(name)).then(pl.lit("yes")).when(pl.col(name).is_null()).then(None).otherwise(pl.lit("no"))
        )
    elif dtype.is_temporal():
        words = pl.col(name).dt.strftime("%d.%m.%Y %H:%M" if dtype != pl.Date else "%d.%m.%Y")
    else:
        decimal = pl.col(name).cast(pl.Float64).cast(pl.String).str.replace(".", ",", literal=True)
        words = decimal if dtype.is_float() else pl.col(name).cast(pl.String) + pl.lit(",0")
    return pl.select(column).select(words.alias(name)).to_series()
