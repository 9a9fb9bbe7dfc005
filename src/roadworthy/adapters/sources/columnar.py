"""Parquet and Arrow IPC (Feather) files: typed columns, read by Polars as they stand.

In: a path. Out: a ``Part``. What cannot be opened (cut short, another format) is refused before any row is read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import polars as pl

from roadworthy.errors import Problem, SourceError

__all__ = ["ColumnarPart"]

_SCANS: dict[str, Callable[[Path], pl.LazyFrame]] = {
    "parquet": lambda path: pl.scan_parquet(path, glob=False, hive_partitioning=False),
    "arrow": lambda path: pl.scan_ipc(path, glob=False),
}


class ColumnarPart:
    """One Parquet or Arrow IPC file; ``kind`` is ``parquet`` or ``arrow``."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path = path
        self._kind = kind

    @cached_property
    def _opened(self) -> tuple[pl.LazyFrame, dict[str, pl.DataType]]:
        if self.path.stat().st_size == 0:
            raise SourceError(
                f"{self.path} is empty",
                problems=(Problem("0 bytes", where=str(self.path), expected=f"a {self._kind} file"),),
                next_step="export the data again, or name another file in [data] source",
            )
        try:
            rows = _SCANS[self._kind](self.path)
            schema = dict(rows.collect_schema())
            count = rows.select(pl.len()).collect().item()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise SourceError(
                f"{self.path} is no readable {self._kind} file",
                problems=(
                    Problem("its index cannot be read", where=str(self.path), expected=f"a whole {self._kind} file"),
                ),
                next_step="it may be cut short or of another format: copy or export it again",
            ) from error
        if count == 0:
            raise SourceError(
                f"{self.path} has {len(schema)} columns and no rows",
                problems=(Problem("0 rows", where=str(self.path), expected="at least one row"),),
                next_step="export the data again",
            )
        return rows, schema

    def schema(self) -> dict[str, pl.DataType]:
        """Columns as the file types them."""
        return self._opened[1]

    def scan(self) -> pl.LazyFrame:
        """The rows."""
        return self._opened[0]

    def notes(self) -> tuple[str, ...]:
        """Nothing is taken: the format says it all."""
        return ()
