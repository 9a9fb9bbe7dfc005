"""Two frames as they come, made comparable column by column.

In: any two frames. Out: frames of the same columns in the clean form (numbers finite, times without zone in UTC,
missing is null), and a ``Shift`` with an error for each column that cannot be compared. Law: whatever the two frames
hold, nothing raises and no column of the first is dropped in silence.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from roadworthy.records.shift import Shift, ShiftKind

__all__ = ["Aligned", "aligned"]

_GREATEST = sys.float_info.max


class Aligned(NamedTuple):
    """``reference`` and ``current`` have the same columns, of the same kinds; ``times`` of them hold times."""

    reference: pl.DataFrame
    current: pl.DataFrame
    times: frozenset[str]
    broken: tuple[Shift, ...]


def aligned(reference: pl.DataFrame, current: pl.DataFrame, columns: Sequence[str]) -> Aligned:
    """These columns of both frames; what one lacks, or holds in another kind, becomes a Shift with an error."""
    kept: dict[str, tuple[pl.Series, pl.Series]] = {}
    times: set[str] = set()
    broken: list[Shift] = []
    for name in columns:
        absent = next((who for who, one in (("reference", reference), ("current", current)) if name not in one), "")
        if absent:
            broken.append(_broken(name, f"the {absent} rows have no such column"))
            continue
        sides = [_plain(frame.get_column(name)) for frame in (reference, current)]
        kinds = [_kind(side) for side in sides]
        kind = next((one for one in kinds if one != "nothing"), "labels")
        if "other" in kinds:
            broken.append(_broken(name, f"values of type {sides[kinds.index('other')].dtype} are not compared"))
        elif any(one not in {kind, "nothing"} for one in kinds):
            broken.append(_broken(name, f"the reference holds {kinds[0]}, the current rows {kinds[1]}"))
        else:
            first, second = (_typed(side, kind) for side in sides)
            kept[name] = (first, second)
            times |= {name} if kind == "times" else set()
    return Aligned(
        pl.DataFrame([pair[0] for pair in kept.values()]),
        pl.DataFrame([pair[1] for pair in kept.values()]),
        frozenset(times),
        tuple(broken),
    )


def _kind(column: pl.Series) -> str:
    dtype = column.dtype
    if dtype == pl.Null or column.null_count() == len(column):
        return "nothing"
    if dtype.is_numeric():
        return "numbers"
    if dtype.is_temporal():
        return "times"
    return "labels" if dtype in {pl.String, pl.Boolean} else "other"


def _plain(column: pl.Series) -> pl.Series:
    """Types that mean the same as one type."""
    dtype = column.dtype
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return column.cast(pl.String)
    if dtype == pl.Duration:
        return column.dt.total_microseconds().cast(pl.Float64) / 1e6
    if dtype == pl.Time:
        return column.to_physical().cast(pl.Float64) / 1e9
    if dtype == pl.Boolean:
        return column.cast(pl.String)
    return column.cast(pl.Float64) if dtype.is_decimal() or dtype in {pl.Int128, pl.UInt128} else column


def _typed(column: pl.Series, kind: str) -> pl.Series:
    if kind == "labels":
        return column.cast(pl.String)
    if kind == "times":
        if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone:
            column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return column.cast(pl.Datetime("us"))
    numbers = column.cast(pl.Float64)
    return numbers.fill_nan(None).clip(-_GREATEST, _GREATEST)


def _broken(name: str, why: str) -> Shift:
    sentence = f"{name} cannot be compared: {why}"
    return Shift(subject=name, kind=ShiftKind.DISTRIBUTION, error=why, sentence=sentence)
