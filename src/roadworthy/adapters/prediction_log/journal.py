"""One append-only stream of a worker, kept by a thread of its own: memory, then spool, then Parquet.

In: items from the event loop, which never waits for a disk. Out: files under ``root``: ``spool/`` and one folder for
each day. Laws: ``add`` returns at once and never raises; what is not yet on the disk is bounded, and what goes beyond
is counted as lost; every item is on the disk or counted, never both; a disk that refuses is asked again every moment,
so that the stream goes on by itself when the disk is back.

How it shares the interpreter: it encodes a few hundred rows at a time and sleeps in between, so that a request waits
for it no longer than one such slice. Compression and disk do not hold the interpreter at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

import msgspec
import polars as pl

from roadworthy.adapters.lake import storage_reason
from roadworthy.adapters.prediction_log.segments import Table, publish
from roadworthy.adapters.prediction_log.spool import Payload, Spool, left_behind
from roadworthy.errors import StorageError, UsageError

__all__ = ["Codec", "Counter", "Journal", "Limits"]

_WORKER = re.compile(r"[A-Za-z0-9_-]{1,40}")
_EVERY_S = 0.2
_BREATH_S = 0.0003
_BREATH_EVERY = 4
_AGAIN_S = 5.0
_CLOSE_S = 10.0

Item = TypeVar("Item")
Taken_contra = TypeVar("Taken_contra", contravariant=True)


class Counter(Protocol):
    """Where a worker counts what becomes of its rows."""

    def count(self, name: str, by: float = 1) -> None:
        """Adds to a counter."""
        ...


class Codec(Protocol[Taken_contra]):
    """How a stream's items become records, and its records tables."""

    def payloads(self, items: Iterable[Taken_contra]) -> Iterable[Payload]:
        """The records of some items, one by one, each made in a fraction of a millisecond.

        One without data stands for rows that cannot be encoded. Rows that were never an answer are in none.
        """
        ...

    def tables(self, payloads: Iterable[memoryview]) -> Iterable[Table]:
        """The tables of a spool's records; the same ones in the same order whenever it is asked."""
        ...


class Limits(NamedTuple):
    """``rows`` and ``bytes`` that wait for the disk; a spool becomes Parquet at ``segment_bytes`` or ``segment_s``.

    ``items`` are the bytes of what has not even become a record, as whoever adds it reckons.
    """

    rows: int = 100_000
    bytes: int = 16 << 20
    items: int = 32 << 20
    segment_bytes: int = 4 << 20
    segment_s: float = 600.0


class _Waiting(NamedTuple):
    """A caller who waits until everything up to ``number`` is on the disk."""

    number: int
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class Journal(Generic[Item]):
    """A stream, which its own thread writes.

    ``durable``: every item at once, all that came meanwhile with one sync; nothing that failed is kept for later,
    because its caller was told. Otherwise five times a second, and what failed waits for the disk. ``counters`` are the
    names in ``metrics`` for rows kept and lost, empty for what is not counted. Raises StorageError when ``root`` cannot
    be made.
    """

    def __init__(
        self,
        root: Path,
        codec: Codec[Item],
        *,
        title: str,
        worker: str,
        limits: Limits,
        durable: bool,
        metrics: Counter | None,
        counters: tuple[str, str],
    ) -> None:
        if not _WORKER.fullmatch(worker):
            raise UsageError(f"a worker's name is made of letters, digits, - and _, not {worker!r}")
        self._root, self._folder, self._codec = root, root / "spool", codec
        self._title, self._worker, self._limits, self._durable = title, worker, limits, durable
        self._metrics, self._counters = metrics, counters
        self._queue: deque[tuple[int, int, int, Item]] = deque()
        self._waiting: deque[_Waiting] = deque()
        self._added = self._rows_in = self._size_in = self._refused = 0  # written by the event loop alone
        self._done = self._rows_out = self._size_out = self._lost = self._kept = 0  # written by the thread alone
        self._taken = 0
        self._failed: deque[tuple[int, int]] = deque(maxlen=1_000)  # after which item, and to which, one was not kept
        self._told_lost = self._told_kept = 0
        self._held: list[Payload] = []
        self._held_bytes = 0
        self._spool: Spool | None = None
        self._sealed: list[Spool] = []
        self._again = 0.0
        self._adopted = float("-inf")
        self._disk_trouble = self._segment_trouble = self._fault = ""
        self._closing = False
        self._wake = threading.Event()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{title} cannot be kept in {root}: {error.strerror}",
                next_step="name a folder that can be written, or switch it off",
            ) from error
        self._thread = threading.Thread(target=self._work, name=title, daemon=True)
        self._thread.start()

    # --- on the event loop --------------------------------------------------------------------------------------

    def add(self, item: Item, rows: int, size: int = 0) -> int | None:
        """Takes an item and gives it a number, from 1; or counts its rows as lost, and gives None.

        ``size``: about how many bytes it keeps in memory.
        """
        waiting, kept = self._rows_in - self._rows_out, self._size_in - self._size_out
        if waiting + rows > self._limits.rows or (kept and kept + size > self._limits.items) or self._closing:
            self._refused += rows
            return None
        self._added += 1
        self._rows_in += rows
        self._size_in += size
        self._queue.append((self._added, rows, size, item))
        if self._durable or waiting > self._limits.rows // 4 or kept > self._limits.items // 4:
            self._wake.set()
        return self._added

    async def flushed(self, number: int | None) -> None:
        """Returns when the item of that number, and all before it, are on the disk. Many callers share one sync.

        Raises StorageError where it is not and will not be: for None, and where the disk refused the item, or another
        of those that were written together with it.
        """
        if number is None:
            raise self._storage_error("more waits for the disk than may")
        if self._done < number:
            loop = asyncio.get_running_loop()
            waiting = _Waiting(number, loop, loop.create_future())
            self._waiting.append(waiting)
            self._wake.set()
            await waiting.done
        elif self._in_failed(number):
            raise self._storage_error()

    @property
    def last(self) -> int:
        """The number of the last item that was taken."""
        return self._added

    def trouble(self) -> str:
        """Why rows are being lost, or may soon be; empty when all is well."""
        waiting = self._rows_in - self._rows_out
        lost = self._refused + self._lost
        if self._disk_trouble:
            state = f"{waiting:,} rows wait for it, {lost:,} were lost so far"
            return f"{self._title} cannot be written: {self._disk_trouble}; {state}"
        much = waiting > self._limits.rows // 2 or self._size_in - self._size_out > self._limits.items // 2
        if much and self._refused:
            return f"{self._title} falls behind: {waiting:,} rows wait, {lost:,} were lost so far"
        if self._segment_trouble:
            return f"{self._title} stays in its spool: {self._segment_trouble}"
        return self._fault

    def close(self) -> None:
        """Writes what waits, makes Parquet of it and ends the thread. It blocks; what comes afterwards is lost.

        A disk that hangs keeps no process from ending: after ten seconds the thread is left to itself.
        """
        self._closing = True
        self._wake.set()
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            return
        while self._queue:  # came between the last look and the end
            self._refused += self._queue.popleft()[1]
        self._tell()

    # --- in the thread ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        closing = False
        while not closing:
            self._wake.wait(_EVERY_S)
            self._wake.clear()
            closing = self._closing
            try:
                self._turn(closing=closing)
            except Exception as error:  # noqa: BLE001 - a fault in one turn must not end the log; /readyz tells it
                # by its kind alone: its words may quote a row
                self._fault = f"{self._title} met a fault of its own: {type(error).__name__}"
                self._answer(whole=False)
            self._tell()

    def _turn(self, *, closing: bool) -> None:
        whole = self._encode()
        if not self._write() and (self._durable or closing):
            self._lose(sum(payload.rows for payload in self._held))
            self._held, self._held_bytes = [], 0
            whole = False
        if not self._held:
            self._answer(whole=whole)
        if closing or time.monotonic() >= self._again:
            self._to_segments(closing=closing)

    def _encode(self) -> bool:
        """Makes records of all that waits, a slice at a time; False when a row had to be left out."""
        rows, size, encoded, lost = 0, 0, 0, self._lost

        def items() -> Iterator[Item]:
            nonlocal rows, size
            for _ in range(len(self._queue)):  # what comes meanwhile is for the next time
                self._size_out += size  # of the last one, which is a record by now, or soon
                self._taken, count, size, item = self._queue.popleft()
                rows += count
                yield item

        try:
            for payload in self._codec.payloads(items()):
                self._hold(payload)
                encoded += payload.rows
                if not (self._durable or self._closing):
                    time.sleep(_BREATH_S)
        except Exception:
            self._lost += rows - encoded
            raise
        finally:
            self._size_out += size
            self._rows_out += rows - encoded  # rows that were never an answer
        return self._lost == lost

    def _hold(self, payload: Payload) -> None:
        if not payload.data or (self._held and self._held_bytes + len(payload.data) > self._limits.bytes):
            self._lose(payload.rows)
            return
        self._held.append(payload)
        self._held_bytes += len(payload.data)

    def _write(self) -> bool:
        """Puts what is held on the disk; False when the disk refuses."""
        if not self._held and not self._disk_trouble:
            return True
        try:
            if self._spool is not None and not self._spool.stands():
                self._spool.close()
                self._spool = None
            if self._spool is None:
                self._spool = Spool.create(self._folder, self._worker)
            if self._held:
                self._spool.append(self._held)
        except OSError as error:
            self._disk_trouble = error.strerror or str(error)
            return False
        rows = sum(payload.rows for payload in self._held)
        self._kept += rows
        self._rows_out += rows
        self._held, self._held_bytes = [], 0
        self._disk_trouble = ""
        return True

    def _lose(self, rows: int) -> None:
        self._lost += rows
        self._rows_out += rows

    def _answer(self, *, whole: bool) -> None:
        """Tells those who wait for what was taken, that it is on the disk, or that not all of it is."""
        if not whole:
            self._failed.append((self._done, self._taken))
        self._done = self._taken
        later: list[_Waiting] = []
        while self._waiting:
            waiting = self._waiting.popleft()
            if waiting.number > self._done:
                later.append(waiting)
                continue
            error = self._storage_error() if self._in_failed(waiting.number) else None
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                waiting.loop.call_soon_threadsafe(_settle, waiting.done, error)
        self._waiting.extendleft(reversed(later))

    def _in_failed(self, number: int) -> bool:
        return any(after < number <= to for after, to in tuple(self._failed))

    def _to_segments(self, *, closing: bool) -> None:
        """Makes Parquet of what is large or old enough, of all when closing, and of what dead writers left."""
        now, spool = time.monotonic(), self._spool
        due = spool is not None and (
            closing or spool.size >= self._limits.segment_bytes or now - spool.begun >= self._limits.segment_s
        )
        try:
            if spool is not None and due:
                spool.settle()
                self._sealed.append(spool)
                self._spool = None
            if now - self._adopted >= self._limits.segment_s:
                self._adopt()
                self._adopted = now
            while self._sealed:
                self._convert(self._sealed[0])
                self._sealed.pop(0)
        except OSError as error:
            self._segment_trouble = error.strerror or str(error)
            self._again = time.monotonic() + _AGAIN_S
        else:
            self._segment_trouble = ""
        if closing:
            for left in [*self._sealed, *([self._spool] if self._spool else [])]:
                left.close()

    def _adopt(self) -> None:
        """Takes over what dead writers left; what a kill had torn off is counted."""
        for spool in left_behind(self._folder):
            self._lost += spool.read().torn_rows
            self._sealed.append(spool)

    def _convert(self, spool: Spool) -> None:
        """Parquet instead of a spool. One that cannot be read stays, under another name, for a person to look at."""
        content = spool.read()
        damaged = content.damaged
        try:
            publish(
                self._root,
                spool.name,
                self._codec.tables(self._unhurried(content.payloads)) if content.payloads else (),
            )
        except (msgspec.MsgspecError, pl.exceptions.PolarsError, ValueError, TypeError) as error:
            if reason := storage_reason(error):
                raise OSError(errno.EIO, reason) from error
            damaged = True
        if damaged:
            self._fault = f"{self._title}: {spool.name}.spool is damaged and was set aside in {self._folder}"
            spool.set_aside()
        else:
            spool.remove()

    def _unhurried(self, payloads: Sequence[memoryview]) -> Iterator[memoryview]:
        """The records, with a breath after every few, in which requests are answered."""
        for place, payload in enumerate(payloads, 1):
            yield payload
            if place % _BREATH_EVERY == 0 and not self._closing:
                time.sleep(_BREATH_S)

    def _tell(self) -> None:
        """Counts for the metrics, from this thread alone."""
        if self._metrics is None:
            return
        kept, lost = self._kept, self._lost + self._refused
        if kept != self._told_kept:
            self._metrics.count(self._counters[0], kept - self._told_kept)
            self._told_kept = kept
        if lost != self._told_lost and self._counters[1]:
            self._metrics.count(self._counters[1], lost - self._told_lost)
            self._told_lost = lost

    def _storage_error(self, reason: str = "") -> StorageError:
        reason = reason or self._disk_trouble or self._fault or "the disk refused it"
        return StorageError(f"{self._title} was not written: {reason}", next_step="send it again when the disk is back")


def _settle(done: asyncio.Future[None], error: StorageError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
