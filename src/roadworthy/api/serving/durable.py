"""``--log durable``: an answer leaves only after its rows are on the disk.

In: what any service takes. Out: the same answers, later. Law: whoever has an answer finds its rows in the log; where
they cannot be written the answer is a 503 that says so, whichever protocol asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from roadworthy.adapters.prediction_log import PredictionLog
from roadworthy.errors import Problem, RoadworthyError, StorageError
from roadworthy.serving.batching import DeadlinePassed, Given, Tell
from roadworthy.serving.calls import Failure
from roadworthy.serving.chain import Chain
from roadworthy.serving.metrics import Metrics
from roadworthy.serving.rows import Row
from roadworthy.serving.service import Line, Service

__all__ = ["DurableService"]


class DurableService(Service):
    """A service whose log has the rows before the caller has the answer."""

    def __init__(self, name: str, chain: Chain, *, log: PredictionLog, metrics: Metrics) -> None:
        super().__init__(name, chain, log=log, metrics=metrics)
        self._kept = log
        self._syncing: set[asyncio.Task[None]] = set()

    def ask(self, line: Line, rows: Sequence[Row], until: float, tell: Tell) -> None:
        """As any service; ``tell`` also hears a Failure where the rows cannot be written."""

        def later(found: Given | RoadworthyError) -> None:
            if isinstance(found, RoadworthyError):
                tell(found)
            else:
                task = self._loop.create_task(self._on_disk(found, until, tell))
                self._syncing.add(task)  # the event loop itself holds no task fast
                task.add_done_callback(self._syncing.discard)

        super().ask(line, rows, until, later)

    async def _on_disk(self, given: Given, until: float, tell: Tell) -> None:
        found: Given | RoadworthyError = given
        try:
            async with asyncio.timeout(max(until - time.perf_counter(), 0.0)):
                await self._kept.flushed(given.run)
        except TimeoutError:
            found = DeadlinePassed("the caller's time was over before the prediction was on the disk")
        except StorageError as error:
            found = Failure(
                503,
                "the prediction was made, but could not be written to the log, which was asked to be durable",
                problems=[Problem(error.message, where="the prediction log")],
                next_step="come again; who runs the server finds the reason in /readyz",
                headers=((b"retry-after", b"1"),),
            )
        tell(found)
