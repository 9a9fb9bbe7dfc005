"""The prediction log of one worker.

In: runs, from the event loop. Out: ``<lake>/predictions/``. What it promises stands in ``journal``, what a row holds in
``predictions``.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

from roadworthy.adapters.prediction_log.journal import Counter, Journal, Limits
from roadworthy.adapters.prediction_log.predictions import LoggedRun, PredictionCodec
from roadworthy.transforms.kept import HashOne

__all__ = ["PREDICTIONS", "PredictionLog"]

PREDICTIONS = "predictions"
"""The stream's folder in the lake."""

_RECENT = 4_096
_ROW_BYTES, _VALUE_BYTES = 200, 32
"""What a row and a value of it take as objects: a tuple, its score, its share of an identity; a float, a pointer."""


class PredictionLog:
    """Implements ``serving.service.PredictionSink`` in the folder of a lake.

    ``worker`` tells writers apart for people; names are unique without it. ``hash_personal`` is the project's keyed
    hash; without it personal values are not kept. Raises StorageError when the folder cannot be made.
    """

    def __init__(
        self,
        lake: Path,
        *,
        worker: str = "w0",
        hash_personal: HashOne | None = None,
        limits: Limits | None = None,
        durable: bool = False,
        metrics: Counter | None = None,
    ) -> None:
        self.durable = durable
        self._recent: deque[tuple[object, int | None]] = deque(maxlen=_RECENT)
        self._journal: Journal[LoggedRun] = Journal(
            lake / PREDICTIONS,
            PredictionCodec(hash_personal),
            title="the prediction log",
            worker=worker,
            limits=limits or Limits(),
            durable=durable,
            metrics=metrics,
            counters=("roadworthy_log_rows_total", "roadworthy_log_lost_rows_total"),
        )

    def add(self, logged: LoggedRun) -> None:
        """Takes a run, or counts its rows as lost."""
        rows = logged.rows
        size = len(rows) * (_ROW_BYTES + _VALUE_BYTES * len(rows[0])) if rows else 0
        number = self._journal.add(logged, len(rows), size)
        if self.durable:
            self._recent.append((logged.run, number))

    async def flushed(self, run: object = None) -> None:
        """Returns when this run, or all that was added so far, is on the disk. Many callers share one sync.

        Raises StorageError when it is not and will not be. To ask for one run the log has to be ``durable``; ask soon,
        since only some thousand runs are remembered.
        """
        if run is None:
            await self._journal.flushed(self._journal.last)
            return
        found = next((one for one in reversed(self._recent) if one[0] is run), None)
        await self._journal.flushed(None if found is None else found[1])

    def trouble(self) -> str:
        """Why predictions are being lost, or may be; empty when all is well."""
        return self._journal.trouble()

    def close(self) -> None:
        """Writes what waits. It blocks for a moment: call it in a thread when the loop has other work."""
        self._journal.close()
