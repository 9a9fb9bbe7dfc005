"""Frames from Python: Polars, pandas and Arrow tables as a source.

In: a frame. Out: a ``Source`` over it, fingerprinted by its values. The frame is never changed.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Any

import polars as pl
import pyarrow as pa

from roadworthy.adapters.sources.row_digest import digest_rows
from roadworthy.errors import Problem, SourceError
from roadworthy.records.digests import Digest

__all__ = ["FrameSource", "frame_source"]


class FrameSource:
    """Rows of a Polars frame."""

    def __init__(self, rows: pl.LazyFrame, shown: str, notes: tuple[str, ...] = ()) -> None:
        self._rows = rows
        self._shown = shown
        self._notes = notes

    def describe(self) -> str:
        """The kind of frame and its size."""
        return self._shown

    @cached_property
    def _fingerprint(self) -> Digest:
        return digest_rows(self._rows)

    def fingerprint(self) -> Digest:
        """Digest of names, types and values."""
        return self._fingerprint

    def scan(self) -> pl.LazyFrame:
        """The rows."""
        return self._rows

    def notes(self) -> tuple[str, ...]:
        """What was left behind, such as a pandas index."""
        return self._notes


def frame_source(frame: Any) -> FrameSource:
    """A source over a Polars DataFrame or LazyFrame, a pandas DataFrame or a pyarrow Table.

    Raises SourceError for another kind of object, for no rows, and for column names that are not text or repeat.
    """
    if isinstance(frame, pl.LazyFrame):
        _require_rows(frame.select(pl.len()).collect().item(), "LazyFrame")
        return FrameSource(frame, "LazyFrame from Python")
    notes: tuple[str, ...] = ()
    if isinstance(frame, pl.DataFrame):
        rows, kind = frame, "Polars DataFrame"
    elif isinstance(frame, pa.Table):
        _require_names(list(frame.column_names), "pyarrow Table")
        rows, kind = pl.DataFrame(pl.from_arrow(frame)), "pyarrow Table"
    elif _is_pandas(frame):
        kind = "pandas DataFrame"
        _require_names(list(frame.columns), kind)
        if frame.index.names != [None]:
            notes = (f"the index {', '.join(map(str, frame.index.names))} is no column and was left out",)
        rows = _from_pandas(frame)
    else:
        raise SourceError(
            f"rows cannot be read from a {type(frame).__module__}.{type(frame).__qualname__}",
            problems=(
                Problem(type(frame).__name__, expected="a Polars or pandas DataFrame, a LazyFrame or a pyarrow Table"),
            ),
            next_step="pass such a frame, or a path",
        )
    _require_rows(len(rows), kind)
    return FrameSource(rows.lazy(), f"{kind} from Python ({rows.height:,} rows × {rows.width} columns)", notes)


def _from_pandas(frame: Any) -> pl.DataFrame:
    try:
        return pl.DataFrame(pl.from_pandas(frame, nan_to_null=True))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError, ValueError) as error:
        mixed = [str(name) for name in frame.columns if str(frame[name].dtype) == "object"]
        raise SourceError(
            "the pandas DataFrame has columns that mix kinds of values",
            problems=[
                Problem("object column", where=f"column {name}", expected="values of one kind") for name in mixed
            ],
            next_step="convert each of them, for example with frame[column].astype(str)",
        ) from error


def _is_pandas(frame: Any) -> bool:
    kind = type(frame)
    return kind.__module__.partition(".")[0] == "pandas" and kind.__name__ == "DataFrame"


def _require_names(names: list[Any], kind: str) -> None:
    problems = [Problem(f"column name {name!r}", expected="text") for name in names if not isinstance(name, str)]
    problems += [
        Problem(f"column {name!r} stands {times} times", expected="every name once")
        for name, times in Counter(names).items()
        if times > 1
    ]
    if problems:
        raise SourceError(
            f"the {kind} has column names that cannot be used",
            problems=problems,
            next_step="rename the columns",
        )


def _require_rows(rows: int, kind: str) -> None:
    if rows == 0:
        raise SourceError(
            f"the {kind} has no rows", problems=(Problem("0 rows", expected="at least one row"),), next_step="pass rows"
        )
