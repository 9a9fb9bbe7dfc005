"""The entity state of a machine: one LMDB database that all workers of all servers of a project share.

In: layouts with their history, and events. Out: ``KeptState`` for whoever answers. Laws: what ``commit`` returned for
is on the disk, in the lake and in every state that is kept; a process that is killed at any instruction leaves either
all of a commit in the states or nothing; a state is there whole or not at all; it names what it holds, and another
layout or another history is another state; an event that comes again under its identity changes nothing.

Writers of all processes take turns. An event goes to the lake first, then to the states, while the writer has its turn:
the lake never lacks what a state has.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import lmdb
import msgspec
import polars as pl

from roadworthy.adapters.entity_state import keys
from roadworthy.adapters.entity_state.merging import merged
from roadworthy.adapters.entity_state.reading import KeptState
from roadworthy.errors import StorageError
from roadworthy.records.digests import Digest
from roadworthy.transforms.aggregates import ROW
from roadworthy.transforms.entity_state import Arrived, StateLayout, Taken

__all__ = ["IDENTITY", "EntityStore", "EventSink"]

IDENTITY = "_id"
"""The column of an event's identity in the lake: hexadecimal, null where it has none."""

_MOST_BYTES = 1 << 36
_READERS = 2_048
_MOST_STATES = 4
_ID_DAYS_US = 7 * 86_400_000_000
_FORGET = 64


class EventSink(Protocol):
    """Where events are kept for later trainings."""

    def append(self, rows: pl.DataFrame) -> None:
        """Returns when the rows are on the disk; raises StorageError when they are not."""
        ...


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """A state that is kept: its layout, whose history it began with, where that came from, and how many rows it had."""

    number: int
    layout: bytes
    digest: Digest
    history: str
    rows: int
    used_us: int


_decode = msgspec.msgpack.Decoder(list[_Known]).decode
_encode = msgspec.msgpack.Encoder().encode


class EntityStore:
    """The store in ``folder``. ``sink`` gets every event first.

    Open it once in a process. Raises StorageError where the folder cannot be used, or holds another format.
    """

    def __init__(self, folder: Path, sink: EventSink, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._sink, self._clock = folder, sink, clock
        self._layouts: dict[int, StateLayout] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._env = lmdb.open(
                str(folder), map_size=_MOST_BYTES, max_dbs=4, max_readers=_READERS, mode=0o600, max_spare_txns=4
            )
            self._env.reader_check()
            tables = (keys.META, keys.CHUNKS, keys.IDS, keys.ID_TIMES)
            self._meta, self._chunks, self._ids, self._id_times = (self._env.open_db(name) for name in tables)
            with self._env.begin(write=True) as txn:
                found = txn.get(b"format", db=self._meta)
                if found is None:
                    txn.put(b"format", keys.FORMAT, db=self._meta)
        except (lmdb.Error, OSError) as error:
            step = (
                "containers that share it must share a PID namespace (docs/deploying.md)"
                if isinstance(error, lmdb.LockError)
                else "make room, or set ROADWORTHY_STATE to a folder that can be written"
            )
            raise StorageError(f"the entity state cannot be opened in {folder}: {error}", next_step=step) from error
        if found not in (None, keys.FORMAT):
            self.close()
            raise StorageError(
                f"the entity state in {folder} has format {found.decode()}, this version reads {keys.FORMAT.decode()}",
                next_step=f"remove {folder}; it is made anew from the lake",
            )

    def close(self) -> None:
        """Lets go of the database."""
        self._env.close()

    @property
    def size(self) -> tuple[int, int]:
        """Entries that all states hold, and bytes on the disk."""
        with self._env.begin() as txn:
            counts = [self._count(txn, one.number) for one in self._known(txn)]
        path = self._folder / "data.mdb"
        return sum(counts), path.stat().st_blocks * 512

    # --- states -------------------------------------------------------------------------------------------------

    def kept(self, layout: StateLayout, history: str) -> KeptState | None:
        """The state of a layout that began with this history; None where it is not kept."""
        with self._env.begin() as txn:
            found = self._find(self._known(txn), layout, history)
        return None if found is None else self._state(found.number, layout)

    def filled(self, layout: StateLayout, history: str, rows: Callable[[], pl.DataFrame]) -> KeptState:
        """The same, made of ``rows`` where it is not kept: clean rows with ``_row``, the past that it begins with.

        Events of other processes wait meanwhile. The states that were longest not asked for make room.
        """
        with self._writing() as txn:
            known = self._known(txn)
            found = self._find(known, layout, history)
            now = self._now()
            if found is None:
                number = 1 + max((one.number for one in known), default=0)
                past = rows()
                self._put(txn, number, layout, past)
                found = _Known(
                    number=number,
                    layout=layout.definition,
                    digest=layout.digest,
                    history=history,
                    rows=past.height,
                    used_us=now,
                )
                txn.put(keys.live_key(number), b"1", db=self._meta)
            known = [msgspec.structs.replace(found, used_us=now), *(one for one in known if one.number != found.number)]
            for old in known[_MOST_STATES:]:
                self._drop(txn, old.number)
            txn.put(keys.LAYOUTS, _encode(known[:_MOST_STATES]), db=self._meta)
        return self._state(found.number, layout)

    # --- events -------------------------------------------------------------------------------------------------

    def commit(self, arrived: Sequence[Arrived]) -> list[Taken]:
        """Takes the events of some requests, each whole or not at all. Blocks until they are on the disk.

        Raises StorageError where they are not; then nothing of it is in any state.
        """
        with self._writing() as txn:
            sequence = int.from_bytes(txn.get(keys.SEQUENCE, b"\0", db=self._meta), "big")
            taken: list[Taken] = []
            fresh: list[pl.DataFrame] = []
            spans: list[tuple[int, int]] = []
            for one in arrived:
                new, clashes = self._new(txn, one, max(sequence + 1, self._now()))
                taken.append(Taken(len(new), len(one.ids) - len(new) if not clashes else 0, clashes=clashes))
                if not new:
                    continue
                first = max(sequence + 1, self._now())
                sequence = first + len(one.ids)
                spans.append((len(taken) - 1, len(new)))
                fresh.append(_numbered(one, new, first))
            if fresh:
                self._take(txn, fresh, spans, taken)
                txn.put(keys.SEQUENCE, sequence.to_bytes(8, "big"), db=self._meta)
            self._forget_ids(txn)
        return taken

    def _take(self, txn: Any, fresh: list[pl.DataFrame], spans: list[tuple[int, int]], taken: list[Taken]) -> None:
        rows = pl.concat(fresh, how="diagonal_relaxed") if len(fresh) > 1 else fresh[0]
        self._sink.append(rows)
        for one in self._known(txn):
            layout = self._layout(one)
            old = self._put(txn, one.number, layout, rows.drop(IDENTITY))
            if old and len(spans) == 1:
                place = spans[0][0]
                taken[place] = taken[place]._replace(too_old=max(taken[place].too_old, old))

    def _new(self, txn: Any, arrived: Arrived, first: int) -> tuple[list[int], tuple[int, ...]]:
        """Which events of a request did not come before; and the places of those that did, but otherwise.

        The identities of new ones are noted, unless there is a clash.
        """
        new: list[int] = []
        clashes: list[int] = []
        seen: dict[bytes, bytes] = {}
        for place, (id_, mark) in enumerate(zip(arrived.ids, arrived.marks, strict=True)):
            if id_ is None:
                new.append(place)
                continue
            known = seen.get(id_) or txn.get(id_, db=self._ids)
            if known is None:
                new.append(place)
                seen[id_] = mark
            elif known[: len(mark)] != mark:
                clashes.append(place)
        if clashes:
            return [], tuple(clashes)
        stamp = first.to_bytes(8, "big")
        for id_, mark in seen.items():
            txn.put(id_, mark + stamp, db=self._ids)
            txn.put(stamp + id_, b"", db=self._id_times)
        return new, ()

    def _forget_ids(self, txn: Any) -> None:
        """Identities are known for a week."""
        cursor = txn.cursor(self._id_times)
        old = (self._now() - _ID_DAYS_US).to_bytes(8, "big", signed=False)
        for _ in range(_FORGET):
            if not cursor.first() or cursor.key()[:8] >= old:
                return
            txn.delete(bytes(cursor.key()[8:]), db=self._ids)
            cursor.delete()

    # --- inside a transaction -----------------------------------------------------------------------------------

    def _put(self, txn: Any, number: int, layout: StateLayout, rows: pl.DataFrame) -> int:
        """Puts clean rows into a state; how many entries were too old for it."""
        prefix, now = keys.state_prefix(number), self._now()
        kept = too_old = 0
        if layout.columns <= set(rows.columns):
            cursor = txn.cursor(self._chunks)
            for group, owned in layout.entries(rows):
                for owner, entries in owned:
                    more, old = merged(cursor, prefix + owner, entries, layout.groups[group], now)
                    kept, too_old = kept + more, too_old + old
        count = self._count(txn, number) + kept
        txn.put(keys.entries_key(number), count.to_bytes(8, "big"), db=self._meta)
        return too_old

    def _drop(self, txn: Any, number: int) -> None:
        prefix = keys.state_prefix(number)
        cursor = txn.cursor(self._chunks)
        while cursor.set_range(prefix) and cursor.key()[: len(prefix)] == prefix:
            cursor.delete()
        for key in (keys.live_key(number), keys.entries_key(number)):
            txn.delete(key, db=self._meta)

    def _known(self, txn: Any) -> list[_Known]:
        return _decode(txn.get(keys.LAYOUTS, _encode([]), db=self._meta))

    def _count(self, txn: Any, number: int) -> int:
        return int.from_bytes(txn.get(keys.entries_key(number), b"\0", db=self._meta), "big")

    def _layout(self, known: _Known) -> StateLayout:
        """The layout of a state, also of a version that this process does not serve."""
        layout = self._layouts.get(known.number)
        if layout is None or layout.definition != known.layout:
            layout = self._layouts[known.number] = StateLayout.restored(known.layout)
        return layout

    def _state(self, number: int, layout: StateLayout) -> KeptState:
        return KeptState(self._env, self._meta, self._chunks, number, layout)

    @staticmethod
    def _find(known: Sequence[_Known], layout: StateLayout, history: str) -> _Known | None:
        return next((one for one in known if (one.digest, one.history) == (layout.digest, history)), None)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Any]:
        """This writer's turn; everything or nothing of it is on the disk at its end."""
        try:
            with self._env.begin(write=True) as txn:
                yield txn
        except lmdb.MapFullError as error:
            raise StorageError(f"the entity state in {self._folder} is as large as it may be") from error
        except (lmdb.Error, OSError) as error:
            raise StorageError(f"the entity state in {self._folder} cannot be written: {error}") from error

    def _now(self) -> int:
        return int(self._clock() * 1e6)


def _numbered(arrived: Arrived, new: list[int], first: int) -> pl.DataFrame:
    """The new rows of a request, with their order and their identity."""
    ids = pl.Series(IDENTITY, [None if one is None else one.hex() for one in arrived.ids], dtype=pl.String)
    order = pl.int_range(first, first + len(arrived.ids), dtype=pl.Int64).alias(ROW)
    rows = arrived.rows.with_columns(order, ids)
    return rows if len(new) == rows.height else rows[new]
