"""Feedback in the lake: labels as records and as a table, and the store that a server writes to.

In: ``records.feedback.Feedback``. Out: ``<lake>/feedback/``, by the same machinery as the prediction log. Laws: ``add``
returns only when its labels are on the disk; nothing that was accepted is ever changed or dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import polars as pl

from roadworthy.adapters.prediction_log.journal import Counter, Journal, Limits
from roadworthy.adapters.prediction_log.segments import Table, by_day
from roadworthy.adapters.prediction_log.spool import Payload
from roadworthy.records.feedback import Feedback

__all__ = ["FEEDBACK", "SCHEMA", "FeedbackCodec", "FeedbackStore"]

FEEDBACK = "feedback"
"""The stream's folder in the lake."""

SCHEMA: Mapping[str, pl.DataType] = {
    "at": pl.Datetime("us"),
    "id": pl.String(),
    "row": pl.Int64(),
    "entity": pl.String(),
    "time": pl.Datetime("us"),
    "label": pl.String(),
    "value": pl.Float64(),
    "comment": pl.String(),
    "key": pl.String(),
    "place": pl.Int64(),
    "who": pl.String(),
}
"""The columns of the stream. ``id`` is empty where a label names entity and time, ``label`` for regression."""

_TIMES = ("at", "time")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Feedback]).decode


class FeedbackCodec:
    """Labels as records: one for each request."""

    def payloads(self, items: Iterable[Sequence[Feedback]]) -> Iterator[Payload]:
        """A record for each item."""
        for labels in items:
            yield Payload(_encode(list(labels)), len(labels))

    def tables(self, payloads: Iterable[memoryview]) -> Iterator[Table]:
        """The labels by day."""
        labels = [label for payload in payloads for label in _decode(payload)]
        columns: dict[str, list[object]] = {
            "at": [label.at_us for label in labels],
            "time": [label.time_us for label in labels],
            **{name: [getattr(label, name) for label in labels] for name in SCHEMA if name not in _TIMES},
        }
        made = {
            name: pl.Series(name, columns[name], dtype=pl.Int64() if name in _TIMES else kind).cast(kind)
            for name, kind in SCHEMA.items()
        }
        yield from by_day(pl.DataFrame(made))


class FeedbackStore:
    """Implements ``serving.feedback.FeedbackSink`` in the folder of a lake.

    Raises StorageError when the folder cannot be made.
    """

    def __init__(
        self, lake: Path, *, worker: str = "w0", limits: Limits | None = None, metrics: Counter | None = None
    ) -> None:
        self._journal: Journal[Sequence[Feedback]] = Journal(
            lake / FEEDBACK,
            FeedbackCodec(),
            title="feedback",
            worker=worker,
            limits=limits or Limits(rows=50_000),
            durable=True,
            metrics=metrics,
            counters=("roadworthy_feedback_total", ""),
        )

    async def add(self, labels: Sequence[Feedback]) -> None:
        """Returns when all of these labels are on the disk; StorageError when they are not."""
        await self._journal.flushed(self._journal.add(labels, len(labels)))

    def trouble(self) -> str:
        """Why labels cannot be taken; empty when they can."""
        return self._journal.trouble()

    def close(self) -> None:
        """Writes what waits. It blocks for a moment."""
        self._journal.close()
