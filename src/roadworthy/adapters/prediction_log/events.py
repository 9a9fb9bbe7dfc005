"""Events in the lake: the rows that ``POST /events`` took, for later trainings and for states that are made anew.

In: frames of clean rows with their order. Out: ``<lake>/events/``, by the same machinery as the prediction log. Laws:
``append`` returns only when its rows are on the disk; nothing that was accepted is ever changed or dropped; each event
is read once, also one that was sent again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from roadworthy.adapters.prediction_log.journal import Counter, Journal, Limits
from roadworthy.adapters.prediction_log.reading import stream
from roadworthy.adapters.prediction_log.segments import Table, by_day
from roadworthy.adapters.prediction_log.spool import Payload

__all__ = ["AT", "EVENTS", "EventLog", "read_events"]

EVENTS = "events"
"""The stream's folder in the lake."""

AT, ORDER, IDENTITY = "at", "_row", "_id"
"""When an event came, its place among those of equal time, and its identity; beside the contract's columns."""

_AGAIN_US = 7 * 86_400_000_000


class Record(msgspec.Struct, array_like=True, gc=False):
    """Some rows: their columns by name and kind, and the values of each; times are microseconds."""

    columns: tuple[tuple[str, str], ...]
    values: list[list[Any]]


_KINDS: Mapping[str, pl.DataType] = {
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
    "text": pl.String(),
    "time": pl.Datetime("us"),
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


class EventCodec:
    """Frames as records: one for each commit."""

    def payloads(self, items: Iterable[pl.DataFrame]) -> Iterator[Payload]:
        """A record for each item."""
        for rows in items:
            columns = tuple((column.name, _NAMES[column.dtype]) for column in rows)
            yield Payload(_encode(Record(columns, [column.to_physical().to_list() for column in rows])), rows.height)

    def tables(self, payloads: Iterable[memoryview]) -> Iterator[Table]:
        """The rows by schema, in the order in which schemas came, and by day."""
        found: dict[tuple[tuple[str, str], ...], list[list[Any]]] = {}
        for payload in payloads:
            record = _decode(payload)
            known = found.setdefault(record.columns, [[] for _ in record.columns])
            for values, more in zip(known, record.values, strict=True):
                values.extend(more)
        for columns, many in found.items():
            yield from by_day(
                pl.DataFrame([_series(name, kind, values) for (name, kind), values in zip(columns, many, strict=True)])
            )


def _series(name: str, kind: str, values: list[Any]) -> pl.Series:
    if kind == "time":
        return pl.Series(name, values, dtype=pl.Int64()).cast(_KINDS[kind])
    return pl.Series(name, values, dtype=_KINDS[kind])


class EventLog:
    """Implements ``adapters.entity_state.EventSink`` in the folder of a lake, for one thread at a time.

    Raises StorageError when the folder cannot be made.
    """

    def __init__(self, lake: Path, *, worker: str = "w0", metrics: Counter | None = None, counter: str = "") -> None:
        self._journal: Journal[pl.DataFrame] = Journal(
            lake / EVENTS,
            EventCodec(),
            title="the event log",
            worker=worker,
            limits=Limits(rows=200_000),
            durable=True,
            metrics=metrics,
            counters=(counter, ""),
        )
        self._loop = asyncio.new_event_loop()  # of whichever thread appends: it waits there, and nowhere else

    def append(self, rows: pl.DataFrame) -> None:
        """Returns when all of these rows are on the disk; StorageError when they are not."""
        at = pl.lit(time.time_ns() // 1000, dtype=pl.Int64).cast(pl.Datetime("us")).alias(AT)
        rows = rows.rename({AT: f"input.{AT}"}) if AT in rows.columns else rows
        number = self._journal.add(rows.with_columns(at), rows.height)
        self._loop.run_until_complete(self._journal.flushed(number))

    def trouble(self) -> str:
        """Why events cannot be taken; empty when they can."""
        return self._journal.trouble()

    def close(self) -> None:
        """Makes Parquet of what is there. It blocks for a moment."""
        self._journal.close()
        self._loop.close()


def read_events(lake: Path) -> pl.DataFrame:
    """All events in their order, each once.

    Columns: ``at`` (when it came, UTC), ``_row`` (its order), ``_id`` and the contract's (one called ``at`` stands as
    ``input.at``). Of an event that stands there twice under one identity within a week the later one is given.
    """
    rows = stream(
        lake / EVENTS, EventCodec(), {AT: pl.Datetime("us"), ORDER: pl.Int64(), IDENTITY: pl.String()}, None, None
    )
    made = rows.collect().sort(ORDER, maintain_order=True)
    if not made.height:
        return made
    again = pl.col(IDENTITY).is_not_null() & (pl.col(ORDER).shift(-1).over(IDENTITY) - pl.col(ORDER) < _AGAIN_US)
    return made.filter(~again.fill_null(value=False))
