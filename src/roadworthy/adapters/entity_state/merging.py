"""New entries among the chunks of a state, inside a transaction.

In: entries of owners. Out: chunks that hold old and new ones in order. Laws: what an entry comes behind does not
matter; a chunk is taken away only as a whole, and only when no look of a row that is not yet older than the newest
entry by a window and a day could see into it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from roadworthy.adapters.entity_state.keys import chunk_key
from roadworthy.adapters.entity_state.reading import OWNER
from roadworthy.transforms.aggregates import Function, Look
from roadworthy.transforms.aggregates.chunks import NO_TIME, Before, Chunk, Entries, cut, nothing_before
from roadworthy.transforms.entity_state import Group

__all__ = ["merged"]

_SLACK_US = 86_400_000_000


def merged(cursor: Any, own: bytes, entries: Entries, group: Group, now_us: int) -> tuple[int, int]:
    """Puts entries among those of one owner: how many more entries are kept, and how many were too old.

    ``own`` is the state's prefix and the owner's key; ``now_us`` the clock, by which times to come do not count.
    """
    looks = group.looks
    keys = list(_from(cursor, own, int(entries.times[0]), int(entries.orders[0])))
    chunks = [Chunk(cursor.get(key)) for key in keys]
    before = tuple(_before(chunks[0], looks)) if chunks else nothing_before(looks)
    ahead = bool(keys) and keys[0] > chunk_key(own, int(entries.times[0]), int(entries.orders[0]))
    gone = max((one.time for one in before if one.events), default=NO_TIME) if ahead else NO_TIME
    fresh = entries if gone == NO_TIME else entries.part(entries.times > gone)
    too_old = len(entries.times) - len(fresh.times)
    if not len(fresh.times):
        return 0, too_old
    for chunk in chunks:
        fresh = fresh.together(chunk.entries(looks))
    for key in keys:
        cursor.delete() if cursor.set_key(key) else None
    for time, order, data in cut(fresh, looks, before):
        cursor.put(chunk_key(own, time, order), data)
    removed = _pruned(cursor, own, group, min(int(fresh.times[-1]), now_us)) if len(fresh.times) > 1 else 0
    return len(entries.times) - too_old - removed, too_old


def _from(cursor: Any, own: bytes, time: int, order: int) -> Iterator[bytes]:
    """The keys of an owner's chunks from the one in which an entry belongs, or from the first."""
    found = cursor.set_range(chunk_key(own, time, order))
    if not ((cursor.prev() if found else cursor.last()) and cursor.key()[:OWNER] == own) and not (
        cursor.set_range(own) and cursor.key()[:OWNER] == own
    ):
        return
    while True:
        yield bytes(cursor.key())
        if not cursor.next() or cursor.key()[:OWNER] != own:
            return


def _before(chunk: Chunk, looks: Sequence[Look]) -> Iterator[Before]:
    for at, look in enumerate(looks):
        yield Before(*chunk.held(at, instant=look.function is Function.SECONDS_SINCE_LAST)[:6])


def _pruned(cursor: Any, own: bytes, group: Group, newest: int) -> int:
    """Takes away the chunks that nobody will look into; how many entries these had."""
    window = group.window_us
    if window is None:
        return 0
    oldest = newest - 2 * window - _SLACK_US
    removed = 0
    while cursor.set_range(own):
        chunk = Chunk(cursor.value())
        size, last = chunk.size, chunk.times[chunk.size - 1]
        key = bytes(cursor.key())
        if last >= oldest or not cursor.next() or cursor.key()[:OWNER] != own:
            return removed
        cursor.set_key(key)
        cursor.delete()
        removed += size
    return removed
