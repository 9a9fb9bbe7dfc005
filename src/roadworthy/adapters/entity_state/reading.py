"""A state as whoever answers requests sees it.

In: owners and a time. Out: the values of the aggregates at that moment. Laws: a look sees everything that was
acknowledged before it, by whichever process; it waits for no writer; it changes nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from roadworthy.adapters.entity_state.keys import chunk_key, live_key, state_prefix
from roadworthy.errors import StorageError
from roadworthy.transforms.aggregates.chunks import Chunk
from roadworthy.transforms.aggregates.lookback import Position
from roadworthy.transforms.entity_state import StateLayout

__all__ = ["OWNER", "Cursor", "KeptState"]

OWNER = 20
"""Bytes of the state's prefix and the owner's key."""


class KeptState:
    """One state of an open store. Any thread may ask it."""

    def __init__(self, env: Any, meta: Any, chunks: Any, number: int, layout: StateLayout) -> None:
        self._env, self._meta, self._chunks = env, meta, chunks
        self.number, self.layout = number, layout
        self._live, self._prefix = live_key(number), state_prefix(number)

    def values(self, owners: Sequence[bytes | None], time: int) -> list[float | None]:
        """Every aggregate for a row at ``time`` (microseconds), in declared order; ``owners`` as the layout's groups.

        Raises TooOld, and StorageError where the state is kept no more.
        """
        with self._env.begin(buffers=True) as txn:
            if txn.get(self._live, db=self._meta) is None:
                raise StorageError("the entity state of this version is kept no more", next_step="restart the server")
            cursor = Cursor(txn.cursor(self._chunks), self._prefix)
            return self.layout.values(owners, time, cursor.find, cursor.between)


class Cursor:
    """Positions among the chunks of one state, inside a transaction."""

    __slots__ = ("_cursor", "_prefix")

    def __init__(self, cursor: Any, prefix: bytes) -> None:
        self._cursor, self._prefix = cursor, prefix

    def find(self, owner: bytes, time: int) -> Position | None:
        """Where the entries of an owner that come before ``time`` end; None where there never were any."""
        cursor, own = self._cursor, self._prefix + owner
        later = cursor.set_range(chunk_key(own, time))
        if later:
            here = cursor.key()[:OWNER] == own
            if cursor.prev() and cursor.key()[:OWNER] == own:
                return self._position(time)
            if not here:
                return None
            cursor.set_range(own)
            return Position(Chunk(cursor.value()), 0, bytes(cursor.key()), time)
        return self._position(time) if cursor.last() and cursor.key()[:OWNER] == own else None

    def between(self, start: Position, end: Position) -> list[Chunk]:
        """The chunks between those of two positions."""
        found: list[Chunk] = []
        cursor = self._cursor
        cursor.set_key(start.key)
        while cursor.next() and cursor.key() != end.key:
            found.append(Chunk(cursor.value()))
        return found

    def _position(self, time: int) -> Position:
        chunk = Chunk(self._cursor.value())
        return Position(chunk, bisect_left(chunk.times, time), bytes(self._cursor.key()), time)
