"""What the workers of one server know of each other: a page of shared memory for each.

In: what a worker says of itself, as a small JSON document. Out: what all of them say. Laws: a worker writes its own
page only; a page that is being written is never read by half; nothing is on disk, so that a full one changes nothing.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib

import msgspec

__all__ = ["Board", "Said"]

_PAGE = 16_384  # more than a document of this many texts of this length takes, however they are escaped
_HEAD = struct.Struct("<II")
_LONGEST = 300
_MOST = 6
_TRIES = 5


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says of itself."""

    pid: int
    state: str
    version: str
    warnings: tuple[str, ...] = ()


class Board:
    """Pages of ``workers`` workers in the file that ``handle`` is open on."""

    def __init__(self, handle: int, workers: int) -> None:
        self._workers = workers
        size = _PAGE * workers
        if os.fstat(handle).st_size < size:
            os.ftruncate(handle, size)
        self._map = mmap.mmap(handle, size)

    def tell(self, worker: int, said: Said | None) -> None:
        """Replaces what a worker says; None: it is not there."""
        if said is not None:
            short = tuple(text[:_LONGEST] for text in said.warnings[:_MOST])
            body = msgspec.json.encode(msgspec.structs.replace(said, warnings=short, version=said.version[:_LONGEST]))
        else:
            body = b""
        at = worker * _PAGE
        self._map[at : at + _HEAD.size + len(body)] = _HEAD.pack(len(body), zlib.crc32(body)) + body

    def all(self) -> list[Said | None]:
        """What each says, by number; None for one that is not there."""
        return [self._read(worker * _PAGE) for worker in range(self._workers)]

    def _read(self, at: int) -> Said | None:
        for _ in range(_TRIES):
            length, check = _HEAD.unpack_from(self._map, at)
            if not length:
                return None
            body = self._map[at + _HEAD.size : at + _HEAD.size + min(length, _PAGE - _HEAD.size)]
            if zlib.crc32(body) == check:
                return msgspec.json.decode(body, type=Said)
        return None
