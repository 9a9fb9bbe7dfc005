"""``POST /events``: what happened, for the features that look at an entity's past.

In: rows with the columns that these features read, each perhaps with an identity. Out: 200 when all of them are on the
disk and every worker sees them, or every problem that they have, and then none is taken. Laws: a row is read by the
contract of the version in service, as strictly as a row of history; a personal value leaves this module only as its
keyed hash, and is in no message; an event that comes again under its identity is taken once.

Requests that come while others are being written are written together: one reading by the plan, one sync.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import msgspec

from roadworthy.errors import Problem, StorageError
from roadworthy.serving.batching import DeadlinePassed, Overloaded
from roadworthy.serving.bodies import RowsRefused, kind_of_json, plain_rows
from roadworthy.serving.calls import Call, Failure, Reply, json_body, json_reply
from roadworthy.serving.event_rows import Asked, EventReader
from roadworthy.serving.service import Service
from roadworthy.transforms.entity_state import Arrived, Taken

__all__ = ["LONGEST_ID", "EventStore", "Events"]

LONGEST_ID = 200
"""Characters of an event's id, bytes of an ``Idempotency-Key``."""

_MOST_WAITING = 50_000
_FORM = '{"row": {…}} or {"rows": [{…}, …]}, with "id" or "ids" beside it'


class EventStore(Protocol):
    """Where events go."""

    def commit(self, arrived: Sequence[Arrived]) -> list[Taken]:
        """Takes the events of some requests, each whole or not at all; blocks until they are on the disk.

        Raises StorageError where they are not.
        """
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Entries that are kept, and bytes on the disk."""
        ...


class _Waiting(NamedTuple):
    reader: EventReader
    asked: Asked
    done: asyncio.Future[Taken]


class Events:
    """The handler of ``/events``. ``store`` gives the state of the machine, None as long as no version needs one."""

    def __init__(self, store: Callable[[], EventStore | None]) -> None:
        self._store = store
        self._reader: EventReader | None = None
        self._waiting: list[_Waiting] = []
        self._waiting_rows = 0
        self._busy = False
        self._told_at = float("-inf")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="events")

    async def __call__(self, service: Service, call: Call) -> Reply:
        """One request."""
        body = json_body(call)
        reader = self._read_by(service)
        asked = _asked(body, call)
        if self._waiting and self._waiting_rows + len(asked.rows) > _MOST_WAITING:
            raise Overloaded(1.0)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Taken] = loop.create_future()
        self._waiting.append(_Waiting(reader, asked, done))
        self._waiting_rows += len(asked.rows)
        if not self._busy:
            self._start(loop)
        left = loop.call_later(max(call.until - time.perf_counter(), 0.0), _expire, done)
        try:
            taken = await done
        finally:
            left.cancel()
        return self._told(service, taken)

    def close(self) -> None:
        """Ends its thread, after what is under way."""
        self._thread.shutdown()

    # --- together -----------------------------------------------------------------------------------------------

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Writes all that waits, in the thread; what comes meanwhile is next."""
        batch, self._waiting, self._waiting_rows, self._busy = self._waiting, [], 0, True
        work = loop.run_in_executor(self._thread, self._written, [(one.reader, one.asked) for one in batch])
        work.add_done_callback(lambda found: self._finished(loop, batch, found))

    def _finished(
        self, loop: asyncio.AbstractEventLoop, batch: list[_Waiting], work: asyncio.Future[list[Taken | Exception]]
    ) -> None:
        fault = work.exception()
        results = work.result() if fault is None else [fault] * len(batch)
        for one, found in zip(batch, results, strict=True):
            if one.done.done():
                continue
            if isinstance(found, Taken):
                one.done.set_result(found)
            else:
                one.done.set_exception(found)
        self._busy = False
        if self._waiting:
            self._start(loop)

    def _written(self, batch: Sequence[tuple[EventReader, Asked]]) -> list[Taken | Exception]:
        """What became of each request. It blocks, so it belongs in the thread."""
        results: list[Taken | Exception | None] = [None] * len(batch)
        readers = {id(reader): reader for reader, _ in batch}
        arrived: dict[int, Arrived] = {}
        for name, reader in readers.items():
            places = [place for place, (own, _) in enumerate(batch) if id(own) == name]
            for place, found in zip(places, reader.read([batch[place][1] for place in places]), strict=True):
                if isinstance(found, RowsRefused):
                    results[place] = found
                else:
                    arrived[place] = found
        store = self._store()
        try:
            taken = store.commit(list(arrived.values())) if arrived and store is not None else []
        except StorageError as error:
            refused = _not_written(error)
            return [refused if result is None else result for result in results]
        for place, one in zip(arrived, taken, strict=True):
            results[place] = one
        return [result for result in results if result is not None]

    # --- one request --------------------------------------------------------------------------------------------

    def _read_by(self, service: Service) -> EventReader:
        """The reader of the version in service; Failure 409 where that looks at no past that is kept."""
        engine = service.line.chain.first
        past = engine.reader.past
        if past is None:
            what = "this version has no feature of the past"
            if engine.predictor.aggregates:
                what = "no entity state is kept for this version; /readyz says why"
            raise Failure(409, f"events cannot be taken: {what}")
        reader = self._reader
        if reader is None or reader.predictor is not engine.predictor:
            reader = self._reader = EventReader(engine.predictor, past.layout)
        return reader

    def _told(self, service: Service, taken: Taken) -> Reply:
        if taken.clashes:
            problems = [
                Problem(
                    "came before, with another row", where=f"ids[{place}]", expected="an id of its own for each event"
                )
                for place in taken.clashes
            ]
            raise RowsRefused("an id was used for two events; none of this request was taken", problems)
        count = service.metrics.count
        count("roadworthy_events_total", taken.accepted)
        if taken.repeated:
            count("roadworthy_events_repeated_total", taken.repeated)
        if taken.too_old:
            count("roadworthy_events_too_old_total", taken.too_old)
        self._tell_size(service)
        return json_reply({"accepted": taken.accepted, "repeated": taken.repeated})

    def _tell_size(self, service: Service) -> None:
        """For the metrics, once a second."""
        now, store = time.monotonic(), self._store()
        if store is not None and now - self._told_at > 1:
            self._told_at = now
            entries, size = store.size
            service.metrics.gauge("roadworthy_state_entries", entries)
            service.metrics.gauge("roadworthy_state_bytes", size)


def _not_written(error: StorageError) -> Failure:
    return Failure(
        503,
        "the events are not on the disk",
        problems=[Problem(error.message)],
        next_step="send them again, under the same ids or the same Idempotency-Key",
        headers=((b"retry-after", b"5"),),
    )


def _expire(done: asyncio.Future[Taken]) -> None:
    if not done.done():
        done.set_exception(DeadlinePassed("the caller's time was over before the events were on the disk"))


def _asked(body: bytes, call: Call) -> Asked:
    """The rows of a body, what to call them, and their identities; raises RowsRefused or Failure for another form."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = None
    given: Any = None
    if isinstance(found, dict) and ("id" in found or "ids" in found):
        given = found.pop("ids") if "ids" in found else [found.pop("id")]
        body = msgspec.json.encode(found)
    rows, where = plain_rows(body)
    if given is None:
        key = _key(call)
        return Asked(rows, where, tuple(_digest(b"key", key, place) for place in range(len(rows))) if key else ())
    return Asked(rows, where, _ids(given, rows, where))


def _ids(given: Any, rows: Sequence[Any], where: str) -> tuple[bytes | None, ...]:
    name = "id" if where == "row" else "ids"
    if not isinstance(given, list) or len(given) != len(rows):
        what = f"{len(given)} ids for {len(rows)} rows" if isinstance(given, list) else kind_of_json(given)
        raise RowsRefused(
            "the body has another form",
            [Problem(what, expected="a text or null for each row", where="ids")],
            syntax=True,
        )
    problems = [
        Problem(
            f"{len(one):,} characters" if isinstance(one, str) else kind_of_json(one),
            where=name if name == "id" else f"ids[{place}]",
            expected=f"a text of 1 to {LONGEST_ID} characters, or null",
        )
        for place, one in enumerate(given)
        if one is not None and not (isinstance(one, str) and 0 < len(one) <= LONGEST_ID)
    ]
    if problems:
        raise RowsRefused("an id is no id", problems)
    return tuple(None if one is None else _digest(b"id", one.encode(), 0) for one in given)


def _key(call: Call) -> bytes:
    value = call.headers.get(b"idempotency-key")
    if value is None:
        return b""
    if not 0 < len(value.strip()) <= LONGEST_ID:
        wanted = Problem(f"{len(value):,} bytes", where="idempotency-key", expected=f"1 to {LONGEST_ID} bytes")
        raise Failure(400, "the Idempotency-Key is no key", problems=[wanted])
    return value.strip()


def _digest(kind: bytes, name: bytes, place: int) -> bytes:
    return hashlib.blake2b(name, digest_size=16, person=kind, salt=place.to_bytes(8, "little")).digest()
