"""The service: one alias in service, its queue, its log and its counts; protocols stand in front of it.

In: clean rows and until when the caller waits. Out: a ``Run`` and the places of the rows in it. Laws: an answer is
counted and logged once, under the identity that the caller gets; another version is put in service between two runs,
so that no request sees half of each; requests that wait in the old queue are answered by the version that read them.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from roadworthy.serving.batching import Batcher, Run, Tell, Ticket
from roadworthy.serving.bodies import Broken
from roadworthy.serving.chain import Chain
from roadworthy.serving.metrics import Metrics
from roadworthy.serving.rows import Row, RowReader

__all__ = ["Line", "Logged", "NoLog", "PredictionSink", "Service", "State"]


class State(StrEnum):
    """What ``/readyz`` tells."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Logged(NamedTuple):
    """One run on its way into the prediction log. ``requests`` pairs the identity of each with how many rows it has.

    ``at`` is in seconds since 1970. The lists are never changed after they came here.
    """

    at: float
    reader: RowReader
    requests: Sequence[tuple[str, int]]
    rows: Sequence[Row]
    run: Run


class PredictionSink(Protocol):
    """Where predictions go. ``add`` must return at once and never raise."""

    def add(self, logged: Logged) -> None:
        """Takes a run, or counts it as lost."""
        ...

    def trouble(self) -> str:
        """Why predictions are being lost, for ``/readyz``; empty when none are."""
        ...


class NoLog:
    """Predictions are not kept, because whoever started the server said so."""

    def add(self, logged: Logged) -> None:
        """Drops it."""

    def trouble(self) -> str:
        """Nothing is promised, so nothing is lost."""
        return ""


class Line(NamedTuple):
    """One version in service: how its rows are read, and its queue."""

    chain: Chain
    reader: RowReader
    batcher: Batcher


class Service:
    """What all protocols of a worker share. ``name`` is the model's. Make it inside the running event loop."""

    def __init__(self, name: str, chain: Chain, *, log: PredictionSink, metrics: Metrics) -> None:
        self.name = name
        self.log = log
        self.metrics = metrics
        self.state = State.STARTING
        self.in_flight = 0
        self._loop = asyncio.get_running_loop()
        self._prefix = os.urandom(8).hex()
        self._numbers = itertools.count()
        self.line = self._line(chain)
        metrics.gauge("roadworthy_started_seconds", time.time())

    def use(self, chain: Chain) -> Chain:
        """Puts another chain in service, and gives back the one that was. Rows that were read go to their own."""
        old, self.line = self.line, self._line(chain)
        self.metrics.count("roadworthy_swaps_total")
        return old.chain

    def new_id(self) -> str:
        """The identity of a request: unique over workers and restarts."""
        return f"{self._prefix}{next(self._numbers):010x}"

    def ask(self, line: Line, rows: Sequence[Row], until: float, tell: Tell) -> None:
        """``tell`` hears what the line says of the rows of one request; raises Overloaded, and then tells nothing."""
        line.batcher.submit(self.new_id(), rows, until, tell)

    def refused(self, broken: Broken) -> None:
        """Rows were read that break the contract: their request is refused."""
        if broken.rows:
            self.metrics.refused(broken.rows, broken.columns)

    def _line(self, chain: Chain) -> Line:
        def delivered(tickets: Sequence[Ticket], run: Run) -> None:
            self._keep(chain.reader, tickets, run)

        return Line(chain, chain.reader, Batcher(chain.run, chain.first.cost, self._loop, delivered, hung=chain.hung))

    def _keep(self, reader: RowReader, tickets: Sequence[Ticket], run: Run) -> None:
        count = self.metrics.count
        count("roadworthy_runs_total")
        count("roadworthy_rows_total", len(run.scores) - len(run.failures))
        if run.others:
            count("roadworthy_fallback_rows_total", len(run.others))
        if run.failures:
            count("roadworthy_failed_rows_total", len(run.failures))
        if run.broken:
            self.refused(reader.broken_in(run.broken.values()))
        if run.doubts is not None and run.doubts.referred:
            count("roadworthy_referred_rows_total", len(run.doubts.referred))
        rows = tickets[0].rows if len(tickets) == 1 else [row for ticket in tickets for row in ticket.rows]
        self.log.add(Logged(time.time(), reader, [(one.id, len(one.rows)) for one in tickets], rows, run))
