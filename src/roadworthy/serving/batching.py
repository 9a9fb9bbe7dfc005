"""Natural batching: what has come while the last run was busy is the next batch. No request waits for others to come.

In: clean rows, each request with the moment until which its caller waits. Out: each request is told its part of a
run. Laws: a row that makes the model fail fails alone; what is expired is dropped before it costs a run; a request that
could not be answered in time is refused at once, with the seconds after which it may come again.

A cheap model runs on the event loop itself: a run of some tens of microseconds is less than the way to a thread and
back. A dear one runs in a thread of its own, one run at a time; one that does not come back is left behind after a
while, its rows go to whoever is next in the chain, and after several such runs it is not asked any more.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from traceback import format_tb
from typing import Any, NamedTuple

from roadworthy.errors import ModelError, RoadworthyError
from roadworthy.serving.deciding import Doubts
from roadworthy.serving.engine import Cost
from roadworthy.serving.rows import Row

__all__ = [
    "INLINE_S",
    "MOST_BATCH",
    "Batcher",
    "DeadlinePassed",
    "Given",
    "Overloaded",
    "Run",
    "Tell",
    "Ticket",
    "retry_after",
]

INLINE_S = 0.001
"""A model whose run of one row takes longer than this, or may take any time, is not asked on the event loop."""

_INLINE_BATCH_S = 0.02
"""Nor is a batch that takes longer than this, however cheap a row is."""

MOST_BATCH = 1_024
"""Rows of one run, unless one request alone has more."""

_LOG = logging.getLogger(__name__)
_PATIENCE_S = 0.01
_PATIENCE_RUNS = 2
_HANG_S, _HANG_RUNS = 1.0, 20
_MOST_LEFT_BEHIND = 3
_INLINE_PATIENCE_S = 0.008
_ENOUGH = 48
"""Rows behind which a run of a cheap model costs next to nothing a row: nothing more is read before it."""

_LEAST_INLINE = 64
"""Requests that one turn of the event loop always takes in, whatever they cost."""

_BURST = 512
"""Requests that a turn takes in after one that was not full: what a pause of the machine has left standing."""

_LEARNS, _MOST_SLOWER = 0.2, 1_000.0
"""How fast the cost of a dear run is learnt anew, and by how much at most: machines and rows change."""

_LATE = "the caller's time was over while the model ran"  # for this request, or for those before it


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
    Both are empty for nearly every run. ``doubts``: the rows that a person is to decide, whose decision is the empty
    text; None where the bundle leaves no row to a person.
    """

    title: str
    scores: list[Any]
    decisions: list[str] | None
    others: dict[int, str]
    broken: dict[int, tuple[str, ...]]
    failures: dict[int, str]
    doubts: Doubts | None


class Given(NamedTuple):
    """One request's part of a run: rows ``start`` to ``end``. ``id`` is its identity in the log and for feedback."""

    id: str
    run: Run
    start: int
    end: int


Tell = Callable[[Given | RoadworthyError], None]
"""Hears once what came of a request. It must not raise."""


class Ticket:
    """One request in the queue: its rows, until when its caller waits, and whom to tell."""

    __slots__ = ("id", "rows", "tell", "told", "until")

    def __init__(self, id_: str, rows: Sequence[Row], until: float, tell: Tell) -> None:
        self.id, self.rows, self.until, self.tell = id_, rows, until, tell
        self.told = False

    def refuse(self, error: RoadworthyError) -> None:
        """The request gets no answer, unless it has one."""
        if not self.told:
            self.told = True
            self.tell(error)


class Batcher:
    """The queue before one model.

    ``run`` answers rows and never raises for a single bad one; ``cost`` says what it will take. ``delivered`` is called
    once for each run, after its requests were told: the prediction log hangs there. ``hung`` is told of a run that does
    not come back, and whether the model may be asked again; after that ``run`` must not ask it.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Row]], Run],
        cost: Cost,
        loop: asyncio.AbstractEventLoop,
        delivered: Callable[[Sequence[Ticket], Run], None],
        *,
        hung: Callable[[bool], None] | None = None,
    ) -> None:
        self._run, self._loop, self._delivered, self._hung = run, loop, delivered, hung
        self.cost = cost
        self._waiting: list[Ticket] = []
        self.waiting_rows = 0
        self._busy_until = 0.0
        self.inline = cost.steady and cost.of(1) <= INLINE_S
        self._busy = False
        self._unhurried = (_PATIENCE_S - cost.per_run) / max(cost.per_row, 1e-9)
        self._seen = 0
        self._crowd = False
        self._number = 0
        self._left_behind: set[int] = set()
        self._since = self._begun = 0.0
        self._slower = 1.0
        self._request_s = 0.0001
        self._most = _BURST

    def submit(self, id_: str, rows: Sequence[Row], until: float, tell: Tell) -> None:
        """Puts rows in the queue; raises Overloaded. ``tell`` is told later, and never before this returns."""
        if self._busy or self.waiting_rows > self._unhurried:
            self._admit(len(rows), until)
        if not self._waiting and not self._busy:
            self._loop.call_soon(self._gather)
            self._since = time.perf_counter()
        ticket = Ticket(id_, rows, until, tell)
        self._waiting.append(ticket)
        self.waiting_rows += len(rows)
        if not self.inline:
            self._tell_in_time(ticket)

    def refuse_crowd(self) -> None:
        """Raises Overloaded where any request would wait too long: before its body costs anything."""
        if self.crowded():
            raise Overloaded(self.wait() + self._takes(1))

    def crowded(self) -> bool:
        """Whether any request would wait too long now.

        Before a cheap model requests wait for the event loop more than for the model: what one turn of it takes in is
        bounded by what a request costs in all, as the last turns showed. What a flood brings beyond that is refused
        while it is read, so that it never stands in the way of what was taken in.
        """
        if not self._busy:
            return len(self._waiting) >= self._most or self.waiting_rows > self._unhurried
        return self.wait() > self._patience()

    def wait(self) -> float:
        """Seconds until everything that is here is done."""
        return self._ahead() if self._busy else len(self._waiting) * self._request_s

    def _ahead(self) -> float:
        """Seconds of the model until all that waits is done, and the run that is on before it."""
        wait = self._takes(self.waiting_rows) if self.waiting_rows else 0.0
        return wait + max(self._busy_until - time.perf_counter(), 0.0) if self._busy else wait

    def _patience(self) -> float:
        return max(_PATIENCE_S, _PATIENCE_RUNS * self._takes(1))

    def _takes(self, rows: int) -> float:
        """Seconds of a run, as it was measured at the start and as runs have gone since."""
        return self.cost.of(rows) * self._slower

    def _learn(self, requests: int) -> None:
        """What a request of this turn cost, from the first that was read until the last was answered."""
        if requests >= _LEAST_INLINE // 4:
            took = (time.perf_counter() - self._since) / requests
            self._request_s += 0.1 * (min(took, 0.01) - self._request_s)
        most = max(_LEAST_INLINE, int(_INLINE_PATIENCE_S / self._request_s))
        self._most = most if requests >= self._most else _BURST

    def _admit(self, rows: int, until: float) -> None:
        """Refuses what would wait too long: behind the run that is on and all runs that wait already."""
        wait, patience = self._ahead(), self._patience()
        late = time.perf_counter() + wait + self._takes(rows) - until
        if wait > patience or late > 0:
            raise Overloaded(max(wait - patience, late, 0.0) + self._takes(rows))

    def _gather(self) -> None:
        """Reads on while there is more to read: the event loop is busy, so nobody waits for nothing."""
        if self.inline and self._seen < self.waiting_rows < _ENOUGH and (self._crowd or self.waiting_rows > 1):
            self._seen = self.waiting_rows
            self._loop.call_soon(self._gather)
            return
        self._crowd = self.waiting_rows > 1
        self._seen = 0
        self._start()

    def _start(self) -> None:
        if self._busy or not self._waiting:
            return
        tickets = self._taken()
        if not tickets:
            return
        rows = tickets[0].rows if len(tickets) == 1 else [row for ticket in tickets for row in ticket.rows]
        if self.inline and self.cost.of(len(rows)) <= _INLINE_BATCH_S:
            self._deliver(tickets, self._ran(rows))
            self._learn(len(tickets))
            return
        if self.inline:
            for ticket in tickets:
                self._tell_in_time(ticket)
        self._send(tickets, rows)

    def _tell_in_time(self, ticket: Ticket) -> None:
        """Its caller hears when his time is over, whatever the model does until then."""
        self._loop.call_later(max(ticket.until - time.perf_counter(), 0.0), ticket.refuse, DeadlinePassed(_LATE))

    def _send(self, tickets: list[Ticket], rows: Sequence[Row]) -> None:
        """Runs rows in a thread, watched; a daemon, so that a run that never comes back keeps no process alive."""
        self._busy = True
        self._number += 1
        expected = self._takes(len(rows))
        self._begun = time.perf_counter()
        self._busy_until = self._begun + expected
        watch = self._loop.call_later(max(_HANG_S, _HANG_RUNS * expected), self._leave, self._number, tickets, rows)
        words = (self._number, watch, tickets, rows)
        threading.Thread(target=self._in_thread, args=words, name="model", daemon=True).start()

    def _in_thread(self, number: int, watch: asyncio.TimerHandle, tickets: list[Ticket], rows: Sequence[Row]) -> None:
        run = self._ran(rows)
        if not self._loop.is_closed():  # a run that was left behind may outlive the server
            self._loop.call_soon_threadsafe(self._finished, number, watch, tickets, run)

    def _finished(self, number: int, watch: asyncio.TimerHandle, tickets: list[Ticket], run: Run | None) -> None:
        watch.cancel()
        if number in self._left_behind:
            self._left_behind.discard(number)
            return
        self._busy = False
        rows = sum(len(ticket.rows) for ticket in tickets)
        times = (time.perf_counter() - self._begun) / max(self.cost.of(rows), 1e-6)
        self._slower += _LEARNS * (min(max(times, 0.5), _MOST_SLOWER) - self._slower)
        self._deliver(tickets, run)
        self._start()

    def _leave(self, number: int, tickets: list[Ticket], rows: Sequence[Row]) -> None:
        """Leaves a run behind that does not come back: its rows go to the next in the chain, in a fresh thread."""
        if self._hung is None:
            return
        self._left_behind.add(number)
        self._hung(len(self._left_behind) < _MOST_LEFT_BEHIND)
        self._send(tickets, rows)

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
                ticket.refuse(DeadlinePassed("the caller's time was over before the model was asked"))
            else:
                taken.append(ticket)
                rows += len(ticket.rows)
        self._waiting = self._waiting[place:] if place < len(self._waiting) else []
        if self._waiting and self.inline:
            self._loop.call_soon(self._start)
        return taken

    def _ran(self, rows: Sequence[Row]) -> Run | None:
        """The run; None where it raised, so that a fault of ours is an answer too and nobody waits for ever."""
        try:
            return self._run(rows)
        except Exception as error:  # noqa: BLE001 - whatever it is, its words may quote a row
            _LOG.error("a run failed: %s\n%s", type(error).__name__, "".join(format_tb(error.__traceback__)))
            return None

    def _deliver(self, tickets: list[Ticket], run: Run | None) -> None:
        if run is None:
            for ticket in tickets:
                ticket.refuse(ModelError("the model could not be asked"))
            return
        place = 0
        for ticket in tickets:
            end = place + len(ticket.rows)
            if not ticket.told:
                ticket.told = True
                try:
                    ticket.tell(Given(ticket.id, run, place, end))
                except Exception as error:  # noqa: BLE001 - one that cannot be told must not keep the others from it
                    _LOG.error("a request could not be told: %s", type(error).__name__)
            place = end
        self._delivered(tickets, run)


def retry_after(seconds: float) -> str:
    """``Retry-After``: whole seconds, at least one.

    >>> retry_after(0.2), retry_after(2.5)
    ('1', '3')
    """
    return str(max(math.ceil(seconds), 1))
