"""Who answers a row: the version in service, else the one before it, else a declared constant.

In: engines in the order in which they are asked, perhaps a constant. Out: a ``Run`` for any batch. Laws: a model that
raises, or whose score is not a finite number, never answers; rows that make it fail do not fail their neighbours; a
model that is broken itself is left alone for a while (its breaker is open) and tried again; every row names who
answered it; a row that a person is to decide has no decision. Whether there are such rows is said by the version in
service, how sure a row is by whoever answers it, and the constant is never referred.

Whether the model is broken or only a row is bad is told by the golden rows: a model that still scores those as it did
when it was packaged has met a bad row.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from roadworthy.errors import ModelError, RoadworthyError
from roadworthy.formats.bundle import Constant
from roadworthy.serving.batching import Run
from roadworthy.serving.deciding import Doubts
from roadworthy.serving.engine import Engine, Scored
from roadworthy.serving.rows import Row, RowReader, RowsRefused

__all__ = ["CONSTANT", "Breaker", "BreakerState", "Chain", "Constant"]

CONSTANT = "constant"
"""The title of an answer that no model gave."""

_FAILURES = 3
_FIRST_REST_S, _LONGEST_REST_S = 1.0, 60.0

Clock = Callable[[], float]


class BreakerState(StrEnum):
    """Whether a model is asked."""

    CLOSED = "closed"  # it is
    OPEN = "open"  # it is not, until its rest is over
    HALF_OPEN = "half_open"  # one run is tried


class Breaker:
    """Opens after three failed runs in a row, for one second, then twice as long each time, up to a minute."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._failed = 0
        self._rest = _FIRST_REST_S
        self._until = 0.0
        self.state = BreakerState.CLOSED

    def allows(self) -> bool:
        """Whether the model may be asked now."""
        if self.state is BreakerState.OPEN and self._clock() >= self._until:
            self.state = BreakerState.HALF_OPEN
        return self.state is not BreakerState.OPEN

    def succeeded(self) -> None:
        """A run that answered closes it, unless it is open: that run was left behind, and answers nobody."""
        if self.state is not BreakerState.OPEN and (self._failed or self.state is BreakerState.HALF_OPEN):
            self._failed, self._rest, self.state = 0, _FIRST_REST_S, BreakerState.CLOSED

    def hung(self, *, again: bool) -> None:
        """A run that did not come back opens it at once; for good, where the model may not be asked again."""
        self.state = BreakerState.OPEN
        self._until = self._clock() + self._rest if again else math.inf
        self._rest = min(self._rest * 2, _LONGEST_REST_S)

    def failed(self) -> None:
        """A run that the model is to blame for."""
        self._failed += 1
        if self.state is BreakerState.HALF_OPEN:
            self._rest = min(self._rest * 2, _LONGEST_REST_S)
        if self.state is BreakerState.HALF_OPEN or self._failed >= _FAILURES:
            self.state, self._until = BreakerState.OPEN, self._clock() + self._rest


class Chain:
    """The engines of one alias, the first in service. ``reader`` is that of the first: rows come in its order.

    An engine whose scores mean something else (another target, task or classes) is left out. Without a ``constant`` it
    is the one that the first engine's bundle declares.
    """

    def __init__(
        self, engines: Sequence[Engine], *, constant: Constant | None = None, clock: Clock = time.monotonic
    ) -> None:
        self.first = engines[0]
        self.engines = tuple(engine for engine in engines if _same_question(engine, self.first))
        self.breakers = tuple(Breaker(clock) for _ in self.engines)
        self.constant = constant if constant is not None else self.first.constant
        self._asking = 0  # whose turn it was last: a run that does not come back is stuck there
        self.reader: RowReader = self.first.reader

    def run(self, rows: Sequence[Row]) -> Run:
        """Answers for a batch, whoever can give them."""
        engine, breaker = self.first, self.breakers[0]
        self._asking = 0
        if breaker.allows():
            try:
                scored = engine.score(rows)
            except ModelError:
                pass
            else:
                breaker.succeeded()
                decisions = engine.decisions(scored.scores)
                if scored.doubts is not None and decisions is not None:
                    for place in scored.doubts.referred:
                        decisions[place] = ""
                return Run(engine.title, scored.scores.tolist(), decisions, {}, scored.broken, {}, scored.doubts)
        return self._run_by_turns(rows)

    def hung(self, again: bool) -> None:  # noqa: FBT001 - called back by the queue, which knows nothing of chains
        """The engine that was asked last did not come back from a run."""
        self.breakers[self._asking].hung(again=again)

    def states(self) -> Mapping[str, BreakerState]:
        """The state of each breaker, by version."""
        return {engine.title: breaker.state for engine, breaker in zip(self.engines, self.breakers, strict=True)}

    def _run_by_turns(self, rows: Sequence[Row]) -> Run:
        """Row by row whoever answers; only after a failure, or while a breaker is open."""
        doubts = Doubts({}, [None] * len(rows) if self.first.intervals else None) if self.first.refers else None
        run = Run(self.first.title, [None] * len(rows), self._no_decisions(len(rows)), {}, {}, {}, doubts)
        pending = list(range(len(rows)))
        for at, (engine, breaker) in enumerate(zip(self.engines, self.breakers, strict=True)):
            if pending and breaker.allows():
                self._asking = at
                pending = self._asked(engine, breaker, rows, pending, run)
        for place in pending:
            self._answer_constant(place, run)
        return run

    def _asked(self, engine: Engine, breaker: Breaker, rows: Sequence[Row], places: list[int], run: Run) -> list[int]:
        """Fills in what the engine answers, and gives back the places that it does not."""
        known = self._as_read_by(engine, rows, places)
        left = [place for place in places if place not in known]
        if not known:
            return left
        failed = _halved(engine, known, run, self.first.title)
        if len(failed) < len(known) or engine.sound():
            breaker.succeeded()
        else:
            breaker.failed()
        return sorted([*left, *failed])

    def _as_read_by(self, engine: Engine, rows: Sequence[Row], places: list[int]) -> dict[int, Row]:
        """The rows in the order of another engine's reader; those that do not meet its contract are left out."""
        if engine.reader is self.reader:
            return {place: rows[place] for place in places}
        known: dict[int, Row] = {}
        for place in places:
            plain = self.reader.named_for(rows[place], engine.reader)
            try:
                known[place] = engine.reader.take([plain], hidden=True)[0]
            except RowsRefused:
                continue
        return known

    def _answer_constant(self, place: int, run: Run) -> None:
        if self.constant is None:
            run.failures[place] = "no model could answer this row, and no constant answer is declared"
            return
        run.scores[place] = self.constant.score
        run.others[place] = CONSTANT
        if run.decisions is not None:
            run.decisions[place] = self.constant.decision

    def _no_decisions(self, rows: int) -> list[str] | None:
        return [""] * rows if self.first.classes else None


def _same_question(engine: Engine, first: Engine) -> bool:
    own, wanted = engine.contract, first.contract
    return (own.target, own.task, own.classes) == (wanted.target, wanted.task, wanted.classes)


def _halved(engine: Engine, rows: Mapping[int, Row], run: Run, first: str) -> list[int]:
    """Scores rows, in halves where that fails, until the bad ones stand alone; gives back their places."""
    if not rows:
        return []
    places = list(rows)
    try:
        scored = engine.score([rows[place] for place in places])
    except RoadworthyError:
        if len(places) == 1:
            return places
        middle = len(places) // 2
        halves: list[dict[int, Any]] = [{at: rows[at] for at in part} for part in (places[:middle], places[middle:])]
        return [place for half in halves for place in _halved(engine, half, run, first)]
    decisions = engine.decisions(scored.scores)
    for at, (place, score) in enumerate(zip(places, scored.scores.tolist(), strict=True)):
        run.scores[place] = score
        if decisions is not None and run.decisions is not None:
            run.decisions[place] = decisions[at]
        if engine.title != first:
            run.others[place] = engine.title
        if at in scored.broken:
            run.broken[place] = scored.broken[at]
        _doubt(scored, at, run, place)
    return []


def _doubt(scored: Scored, at: int, run: Run, place: int) -> None:
    """What an engine doubts of its row ``at``, in the run's row ``place``; nothing where the first refers no row."""
    if scored.doubts is None or run.doubts is None:
        return
    if scored.doubts.intervals is not None and run.doubts.intervals is not None:
        run.doubts.intervals[place] = scored.doubts.intervals[at]
    if at in scored.doubts.referred:
        run.doubts.referred[place] = scored.doubts.referred[at]
        if run.decisions is not None:
            run.decisions[place] = ""
