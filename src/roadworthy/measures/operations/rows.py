"""What the logged rows say of operations: how old, how many, how full, and when their labels come.

In: rows of the prediction log, with their labels where they have some; its own columns as the log calls them (``at``)
or as the monitor does (``_at``). Out: ``Bounds``, and series by the hour. Laws: a
row counts once; an hour without rows is an hour with zero rows, never a gap; ages are never negative.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import special

from roadworthy.measures.intervals import Bounds, NotEnough, clopper_pearson

__all__ = ["Volume", "age_ms", "known_as", "label_delay_ms", "label_share", "missing_share", "volume"]

_HOUR_US = 3_600_000_000


class Volume(NamedTuple):
    """Rows by hour [H]: when each hour begins (seconds since 1970, UTC), and how many rows came in it."""

    at_s: NDArray[np.float64]
    rows: NDArray[np.float64]


def known_as(rows: pl.LazyFrame | pl.DataFrame, name: str) -> str:
    """What a frame calls one of the log's own columns."""
    return f"_{name}" if f"_{name}" in rows.collect_schema() else name


def volume(rows: pl.LazyFrame | pl.DataFrame, *, after_us: int, until_us: int) -> Volume:
    """Rows by whole hour between two instants: the series that ``alarms.cusum`` compares with the weeks before.

    Hours that are not wholly inside are left out.
    """
    first, last = -(-after_us // _HOUR_US), until_us // _HOUR_US
    hours = np.arange(first, max(last, first))
    at = pl.col(known_as(rows, "at")).cast(pl.Datetime("us")).to_physical()
    counted = (
        rows.lazy()
        .select((at // _HOUR_US).alias("hour"))
        .filter(pl.col("hour").is_between(first, last - 1))
        .group_by("hour")
        .len()
        .collect()
    )
    found = np.zeros(len(hours))
    found[counted.get_column("hour").to_numpy() - first] = counted.get_column("len").to_numpy()
    return Volume(np.asarray(hours * (_HOUR_US / 1e6), dtype=np.float64), found)


def age_ms(newest_us: int | None, now_us: int) -> float:
    """Milliseconds since something last came. NotEnough where nothing ever did."""
    if newest_us is None:
        raise NotEnough("nothing has come yet")
    return max(now_us - newest_us, 0) / 1000.0


def missing_share(rows: pl.DataFrame, column: str, confidence: float) -> Bounds:
    """The share of rows without a value in a column. NotEnough without rows or without the column."""
    if column not in rows.columns:
        raise NotEnough(f"the prediction log has no column {column!r}")
    return _part(rows.get_column(column).null_count(), rows.height, confidence)


def label_share(rows: pl.DataFrame, confidence: float) -> Bounds:
    """The share of predictions whose label is known."""
    return _part(rows.get_column(known_as(rows, "labelled_at")).count(), rows.height, confidence)


def label_delay_ms(rows: pl.DataFrame, confidence: float) -> Bounds:
    """How long half of the labels that came took, from the prediction to the label, in ms.

    Bounds are order statistics of the binomial (David and Nagaraja 2003, 7.1). Labels that are still to come are not
    in it: read it beside ``label_share``. NotEnough below as many labels as bounds need (6 at 95 %).
    """
    came, at = pl.col(known_as(rows, "labelled_at")), pl.col(known_as(rows, "at"))
    gaps = rows.filter(came.is_not_null()).select((came - at).dt.total_microseconds() / 1000.0).to_series()
    delays = np.sort(np.maximum(gaps.to_numpy().astype(np.float64), 0.0))
    n = len(delays)
    rank = int(special.bdtrik(1.0 - confidence, n, 0.5)) if n and 0.5**n <= 1.0 - confidence else -1
    if rank < 0:
        raise NotEnough(f"{n} labels are too few to say how late they come")
    return Bounds(float(np.median(delays)), float(delays[rank]), float(delays[n - 1 - rank]), "binomial ranks")


def _part(hits: int, n: int, confidence: float) -> Bounds:
    if n == 0:
        raise NotEnough("no row came")
    lower, upper = clopper_pearson(hits, n, confidence)
    return Bounds(hits / n, min(lower, hits / n), max(upper, hits / n), "Clopper-Pearson")
