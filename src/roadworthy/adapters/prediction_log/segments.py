"""From spools to Parquet: segments that appear whole, once, under the day of their rows.

In: the tables of one spool. Out: ``<stream>/<day>/<spool>.<k>.parquet``. Law: which segments a spool becomes depends on
its records alone, so that whoever repeats the work after a kill writes none twice; a reader that sees a spool leaves
out the segments of its name, so that a row is there once at any moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from roadworthy.adapters.prediction_log.spool import sync_file

__all__ = ["Table", "by_day", "owner", "publish", "segments_in"]

_FORMAT = {"roadworthy.stream": "1"}
_DAY = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_STATISTICS = {"min": True, "max": True, "distinct_count": False, "null_count": False}
_DAY_US = 86_400_000_000


class Table(NamedTuple):
    """Rows of one day (``2026-01-31``, UTC) and of one schema, in time order."""

    day: str
    rows: pl.DataFrame


def by_day(rows: pl.DataFrame) -> Iterable[Table]:
    """The rows by the day of ``at``, each day in time order; equal times stay in the order in which they came."""
    at = rows.get_column("at")
    if not at.is_sorted():
        rows = rows.sort("at", maintain_order=True)
        at = rows.get_column("at")
    days = at.to_physical() // _DAY_US
    first, last = days[0], days[-1]
    for day in range(first, last + 1) if last - first < 400 else sorted(set(days.to_list())):
        part = rows if first == last else rows.filter(days == day)
        if part.height:
            yield Table(datetime.fromtimestamp(day * 86_400, UTC).date().isoformat(), part)


def publish(root: Path, name: str, tables: Iterable[Table]) -> None:
    """Writes the segments of the spool ``name`` that are not there yet; they are on the disk when this returns."""
    for place, (day, rows) in enumerate(tables):
        folder = root / day
        target = folder / f"{name}.{place}.parquet"
        if target.exists():
            continue
        if not folder.is_dir():
            folder.mkdir(exist_ok=True)
            sync_file(root)
        fresh = folder / f".{target.name}.new"
        try:
            rows.write_parquet(fresh, compression="zstd", compression_level=1, statistics=_STATISTICS, metadata=_FORMAT)
            sync_file(fresh)
            fresh.rename(target)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        sync_file(folder)


def segments_in(root: Path) -> list[Path]:
    """All segments of a stream, by day and name."""
    return sorted(root.glob(f"{_DAY}/[!.]*.parquet"))


def owner(segment: Path) -> str:
    """The name of the spool that a segment was made of."""
    return segment.name.rsplit(".", 2)[0]
