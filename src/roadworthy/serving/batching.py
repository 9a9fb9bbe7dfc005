"""Natural batching: what has come while the last run was busy is the next batch. No request waits for others to come.

In: clean rows, each request with the moment until which its caller waits. Out: a future for each request. Laws: a row
that makes the model fail fails alone; what is expired is dropped before it costs a run; a request that could not be
answered in time is refused at once, with the seconds after which it may come again.

A cheap model runs on the event loop itself: a run of some tens of microseconds is less than the way to a thread and
back. A dear one, or one that might hang, runs in a thread of its own, one run at a time.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from roadworthy.errors import RoadworthyError
from roadworthy.serving.engine import Cost
from roadworthy.serving.rows import Row

__all__ = ["INLINE_S", "MOST_BATCH", "Batcher", "DeadlinePassed", "Overloaded", "Run", "Ticket", "retry_after"]

INLINE_S = 0.001
"""A run of one row that takes longer than this is not done on the event loop."""

MOST_BATCH = 1_024
"""Rows of one run, unless one request alone has more."""

_PATIENCE_S = 0.02
_PATIENCE_RUNS = 3


class Overloaded(RoadworthyError):
    """The queue is as long as it may be; ``retry_after`` seconds are what it takes to work it off."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("the server has all the work that it can do in time", next_step="come again after Retry-After")
        self.retry_after = retry_after


class DeadlinePassed(RoadworthyError):
    """The caller's time was over before the model was asked, or while it ran."""


class Run(NamedTuple):
    """What one run gave for its N rows: lists, ready to be written.

    ``title`` names the version that answered, ``others`` whoever answered single rows in its place. ``decisions`` is
    None for regression. ``broken`` lists the rules that a row breaks; ``failures`` are rows that nothing could answer.
    Both are empty for nearly every run.
    """

    title: str
    scores: list[Any]
    decisions: list[str] | None
    others: dict[int, str]
    broken: dict[int, tuple[str, ...]]
    failures: dict[int, str]


class Ticket:
    """One request in the queue: its rows, until when its caller waits, and the future that tells it."""

    __slots__ = ("done", "id", "rows", "until")

    def __init__(self, id_: str, rows: Sequence[Row], until: float, done: asyncio.Future[tuple[Run, int, int]]) -> None:
        self.id = id_
        self.rows = rows
        self.until = until
        self.done = done


class Batcher:
    """The queue before one model.

    ``run`` answers rows and never raises for a single bad one; ``cost`` says what it will take. ``delivered`` is called
    once for each run, after its futures: the prediction log hangs there.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Row]], Run],
        cost: Cost,
        loop: asyncio.AbstractEventLoop,
        delivered: Callable[[Sequence[Ticket], Run], None],
    ) -> None:
        self._run, self._loop, self._delivered = run, loop, delivered
        self.cost = cost
        self._waiting: list[Ticket] = []
        self.waiting_rows = 0
        self._busy_until = 0.0
        self.inline = cost.of(1) <= INLINE_S
        self._threads = None if self.inline else ThreadPoolExecutor(1, thread_name_prefix="model")
        self._busy = False

    def submit(self, id_: str, rows: Sequence[Row], until: float) -> asyncio.Future[tuple[Run, int, int]]:
        """A future of the run and of the places of these rows in it; raises Overloaded."""
        self._admit(len(rows), until)
        done: asyncio.Future[tuple[Run, int, int]] = self._loop.create_future()
        if not self._waiting and not self._busy:
            self._loop.call_soon(self._start)
        self._waiting.append(Ticket(id_, rows, until, done))
        self.waiting_rows += len(rows)
        return done

    def close(self) -> None:
        """Lets the thread go, once its run is over."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)

    def _admit(self, rows: int, until: float) -> None:
        """Refuses what would wait too long: behind the run that is on and all runs that wait already."""
        wait = self.cost.of(self.waiting_rows) if self.waiting_rows else 0.0
        if self._busy:
            wait += max(self._busy_until - time.perf_counter(), 0.0)
        if not wait:
            return
        patience = max(_PATIENCE_S, _PATIENCE_RUNS * self.cost.of(1))
        late = time.perf_counter() + wait + self.cost.of(rows) - until
        if wait > patience or late > 0:
            raise Overloaded(max(wait - patience, late, 0.0) + self.cost.of(rows))

    def _start(self) -> None:
        if self._busy or not self._waiting:
            return
        tickets = self._taken()
        if not tickets:
            return
        rows = tickets[0].rows if len(tickets) == 1 else [row for ticket in tickets for row in ticket.rows]
        if self._threads is None:
            self._deliver(tickets, self._run(rows))
            return
        self._busy = True
        self._busy_until = time.perf_counter() + self.cost.of(len(rows))
        self._threads.submit(self._in_thread, tickets, rows)

    def _in_thread(self, tickets: list[Ticket], rows: Sequence[Row]) -> None:
        run = self._run(rows)
        self._loop.call_soon_threadsafe(self._finished, tickets, run)

    def _finished(self, tickets: list[Ticket], run: Run) -> None:
        self._busy = False
        self._deliver(tickets, run)
        self._start()

    def _taken(self) -> list[Ticket]:
        """The next batch; whoever's time is over is told so, and costs nothing."""
        now = time.perf_counter()
        taken: list[Ticket] = []
        rows = place = 0
        for ticket in self._waiting:
            if taken and rows + len(ticket.rows) > MOST_BATCH:
                break
            place += 1
            self.waiting_rows -= len(ticket.rows)
            if ticket.until < now:
                _refuse(ticket, DeadlinePassed("the caller's time was over before the model was asked"))
            elif not ticket.done.cancelled():
                taken.append(ticket)
                rows += len(ticket.rows)
        self._waiting = self._waiting[place:] if place < len(self._waiting) else []
        if self._waiting and self._threads is None:
            self._loop.call_soon(self._start)
        return taken

    def _deliver(self, tickets: list[Ticket], run: Run) -> None:
        place = 0
        for ticket in tickets:
            end = place + len(ticket.rows)
            if not ticket.done.done():
                ticket.done.set_result((run, place, end))
            place = end
        self._delivered(tickets, run)


def _refuse(ticket: Ticket, error: RoadworthyError) -> None:
    if not ticket.done.done():
        ticket.done.set_exception(error)


def retry_after(seconds: float) -> str:
    """``Retry-After``: whole seconds, at least one.

    >>> retry_after(0.2), retry_after(2.5)
    ('1', '3')
    """
    return str(max(math.ceil(seconds), 1))
