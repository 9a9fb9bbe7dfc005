"""``--log durable``: an answer leaves only after its rows are on the disk.

In: what any service takes. Out: the same answers, later. Law: whoever has an answer finds its rows in the log; where
they cannot be written the answer is a 503 that says so, whichever protocol asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from roadworthy.adapters.prediction_log import PredictionLog
from roadworthy.errors import Problem, StorageError
from roadworthy.serving.batching import Run
from roadworthy.serving.calls import Failure
from roadworthy.serving.chain import Chain
from roadworthy.serving.metrics import Metrics
from roadworthy.serving.rows import Row
from roadworthy.serving.service import Line, Service

__all__ = ["DurableService"]

Answered = tuple[Run, int, int]


class DurableService(Service):
    """A service whose log has the rows before the caller has the answer."""

    def __init__(self, name: str, chain: Chain, *, log: PredictionLog, metrics: Metrics) -> None:
        super().__init__(name, chain, log=log, metrics=metrics)
        self._kept = log

    def submit(self, line: Line, id_: str, rows: Sequence[Row], until: float) -> asyncio.Future[Answered]:
        """As any service; the future also raises Failure where the rows cannot be written."""
        return self._loop.create_task(self._on_disk(super().submit(line, id_, rows, until)))

    async def _on_disk(self, answer: asyncio.Future[Answered]) -> Answered:
        found = await answer
        try:
            await self._kept.flushed(found[0])
        except StorageError as error:
            raise Failure(
                503,
                "the prediction was made, but could not be written to the log, which was asked to be durable",
                problems=[Problem(error.message, where="the prediction log")],
                next_step="come again; who runs the server finds the reason in /readyz",
                headers=((b"retry-after", b"1"),),
            ) from error
        return found
