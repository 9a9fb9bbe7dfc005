"""The file that a stream is appended to until it becomes Parquet: one for each writer, record after record.

In: payloads with how many rows each holds. Out: the whole ones, in order. Laws: what ``append`` returned for is on the
disk; a record that was torn by a kill is seen as torn, and never as another record; a failed ``append`` leaves what
stood there before, and the next one goes on behind that; a living writer holds a lock on its file, so that nobody else
takes it for one that was left behind.

The form: eight bytes that name format 1, then for each record its length, its rows and a CRC-32 over rows and payload
(three little-endian unsigned 32-bit numbers), then the payload.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

__all__ = ["Payload", "Spool", "SpoolContent", "left_behind", "read_spool", "spools_in", "sync_file"]

_MAGIC = b"RWSPOOL1"
_HEAD = struct.Struct("<III")
_ROWS = struct.Struct("<I")
_SUFFIX = ".spool"
_UNBORN_S = 60.0


class Payload(NamedTuple):
    """The bytes of one record, and how many rows they hold."""

    data: bytes
    rows: int


@dataclass(frozen=True, slots=True)
class SpoolContent:
    """What a spool holds: its whole records, the rows that its torn end would have had, and whether it is damaged.

    ``torn_rows`` is 0 where even the head of the torn record is not there. ``damaged``: a record inside is not what was
    written, so that what follows it cannot be trusted.
    """

    payloads: list[memoryview]
    torn: bool
    torn_rows: int
    damaged: bool


class Spool:
    """A file of one's own in ``folder``, locked until ``close``. ``size`` is how many bytes of it are on the disk.

    Raises OSError wherever the disk does.
    """

    def __init__(self, path: Path, handle: int, size: int) -> None:
        self.path, self._handle, self.size = path, handle, size
        self.begun = time.monotonic()
        self._dirty = False

    @classmethod
    def create(cls, folder: Path, worker: str) -> Spool:
        """A fresh spool. It gets its name only when it is locked, so that nobody takes it in between."""
        name = f"{worker}-{time.time_ns() // 1000:x}-{secrets.token_hex(3)}"
        hidden = folder / f".{name}.new"
        handle = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write(handle, _MAGIC, 0)
            os.fsync(handle)
            hidden.rename(folder / (name + _SUFFIX))
            sync_file(folder)
        except OSError:
            os.close(handle)
            hidden.unlink(missing_ok=True)
            raise
        return cls(folder / (name + _SUFFIX), handle, len(_MAGIC))

    @property
    def name(self) -> str:
        """What its segments are called after."""
        return self.path.stem

    def append(self, payloads: Sequence[Payload]) -> None:
        """Puts records behind the others, and returns when they are on the disk."""
        if self._dirty:
            os.ftruncate(self._handle, self.size)
            self._dirty = False
        data = b"".join(_framed(payload) for payload in payloads)
        self._dirty = True
        _write(self._handle, data, self.size)
        os.fsync(self._handle)
        self._dirty = False
        self.size += len(data)

    def stands(self) -> bool:
        """Whether the file is still where it was made; OSError where not even its folder is."""
        try:
            return self.path.stat().st_ino == os.fstat(self._handle).st_ino
        except FileNotFoundError:
            if not self.path.parent.is_dir():
                raise
            return False

    def settle(self) -> None:
        """Cuts off what a failed ``append`` may have left, so that it is never read as a record."""
        if self._dirty:
            os.ftruncate(self._handle, self.size)
            os.fsync(self._handle)
            self._dirty = False

    def read(self) -> SpoolContent:
        """What it holds."""
        return read_spool(self.path)

    def remove(self) -> None:
        """Ends it: its rows are elsewhere, on the disk."""
        self.path.unlink(missing_ok=True)
        self.close()

    def set_aside(self) -> None:
        """Ends a damaged one, but keeps its bytes for whoever wants to look."""
        self.path.rename(self.path.with_suffix(".damaged"))
        self.close()

    def close(self) -> None:
        """Lets go of the file, and of its lock."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def read_spool(path: Path) -> SpoolContent:
    """The whole records of a spool, also of one that is being written; FileNotFoundError when it is gone."""
    data = path.read_bytes()
    if data[: len(_MAGIC)] != _MAGIC:
        return SpoolContent([], torn=bool(data), torn_rows=0, damaged=len(data) > len(_MAGIC))
    at = len(_MAGIC)
    payloads: list[memoryview] = []
    view = memoryview(data)
    while at < len(data):
        if at + _HEAD.size > len(data):
            return SpoolContent(payloads, torn=True, torn_rows=0, damaged=False)
        length, rows, checksum = _HEAD.unpack_from(data, at)
        begin, end = at + _HEAD.size, at + _HEAD.size + length
        if not length or end > len(data) or _checksum(rows, view[begin:end]) != checksum:
            known = rows if length >= rows and end >= len(data) else 0  # a row takes a byte at least
            return SpoolContent(payloads, torn=True, torn_rows=known, damaged=bool(length) and end < len(data))
        payloads.append(view[begin:end])
        at = end
    return SpoolContent(payloads, torn=False, torn_rows=0, damaged=False)


def spools_in(folder: Path) -> list[Path]:
    """The spools of a folder, oldest name first; none where there is no folder."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def left_behind(folder: Path) -> Iterator[Spool]:
    """The spools whose writers are gone, locked for the caller, who ends each."""
    for unborn in folder.glob(".*.new"):  # killed before it had a name; a minute is more than that takes
        with contextlib.suppress(FileNotFoundError):
            if time.time() - unborn.stat().st_mtime > _UNBORN_S:
                unborn.unlink()
    for path in spools_in(folder):
        try:
            handle = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue  # another one has just finished it
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        spool = Spool(path, handle, os.fstat(handle).st_size)
        if spool.stands():
            yield spool
        else:
            spool.close()


def sync_file(path: Path) -> None:
    """What a file holds, or which names a folder does, is on the disk when this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _framed(payload: Payload) -> bytes:
    data, rows = payload
    return _HEAD.pack(len(data), rows, _checksum(rows, data)) + data


def _checksum(rows: int, data: bytes | memoryview) -> int:
    return zlib.crc32(data, zlib.crc32(_ROWS.pack(rows)))


def _write(handle: int, data: bytes, at: int) -> None:
    """All of it, from a place on; a disk that takes only a part is full."""
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, at)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view, at = view[written:], at + written
