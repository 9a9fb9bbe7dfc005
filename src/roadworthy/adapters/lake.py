"""The lake: a folder in which results appear whole or not at all.

In: a stage's name, a digest, and a caller who fills a folder. Out: ``<root>/<stage>/<16 hex>/``, published by
one atomic rename after every file is on disk. Laws: what is published is complete and is never changed;
a writer that fails or is killed at any instruction publishes nothing; its leftovers are removed by the next
``Lake`` on the same root, and never those of a writer that lives (it holds a lock on its folder).
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from roadworthy.errors import Problem, RoadworthyError, StorageError
from roadworthy.records.digests import Digest

__all__ = ["RECORD", "Lake", "storage_reason"]

RECORD = "record.json"
"""What a stage gave, in its folder."""

_STAGE = re.compile(r"[a-z0-9][a-z0-9_-]*")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_TEMPORARY = re.compile(r"\.tmp-(\d+)-[0-9a-f]+")
_NAME_LENGTH = 16
_CREATING = threading.Lock()  # between making a temporary folder and locking it, no one of this process cleans

_STORAGE_ERRNOS = {
    errno.ENOSPC,
    errno.EFBIG,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENOTDIR,
}
_STORAGE_TEXTS = (  # what libraries make of the same errors
    "No space left on device",
    "File too large",
    "Disk quota exceeded",
    "Read-only file system",
    "Permission denied",
    "Input/output error",
)


class Lake:
    """Implements ``protocols.Store`` in a local directory, which is made on first use.

    ``looking``: it is only read, and what dead writers left behind stays. Raises StorageError for a disk that is full,
    read-only or forbidden, with the space left and the next step.
    """

    def __init__(self, root: Path, *, looking: bool = False) -> None:
        self.root = root
        if root.is_dir() and not looking:
            self._clean()

    def has(self, stage: str, digest: Digest) -> bool:
        """Whether the folder was published."""
        return self._folder(stage, digest).is_dir()

    def path(self, stage: str, digest: Digest) -> Path:
        """The published folder; StorageError when there is none."""
        folder = self._folder(stage, digest)
        if not folder.is_dir():
            raise StorageError(
                f"the lake holds no {stage} result of that digest",
                problems=(Problem("no such folder", where=str(folder), expected="a published result"),),
                next_step="roadworthy run",
            )
        return folder

    @contextmanager
    def writing(self, stage: str, digest: Digest) -> Iterator[Path]:
        """A fresh folder to fill; published on a clean exit, removed on any other.

        What is there already stays as it is, and the fresh folder is dropped. Every error that means a full or
        forbidden disk, also when a library reports it as text, becomes a StorageError.
        """
        final = self._folder(stage, digest)
        temporary = final.parent / f".tmp-{os.getpid()}-{secrets.token_hex(6)}"
        lock: int | None = None
        try:
            lock = _make_locked(temporary)
            yield temporary
            _publish(temporary, final)
        except Exception as error:
            if (translated := self._translated(error, temporary)) is not None:
                raise translated from error
            raise
        finally:
            _remove(temporary)
            if lock is not None:
                os.close(lock)

    def _folder(self, stage: str, digest: Digest) -> Path:
        match = _DIGEST.fullmatch(digest)
        if match is None or not _STAGE.fullmatch(stage):
            raise ValueError(f"not a stage and a digest: {stage!r}, {digest!r}")
        return self.root / stage / match[1][:_NAME_LENGTH]

    def _clean(self) -> None:
        """Remove what dead writers left behind."""
        for leftover in sorted(self.root.glob("*/.tmp-*")):
            match = _TEMPORARY.fullmatch(leftover.name)
            if match is None:
                continue
            pid = int(match[1])
            if pid == os.getpid():
                with _CREATING:
                    _remove_unlocked(leftover)
            elif not _alive(pid):
                _remove_unlocked(leftover)

    def _translated(self, error: Exception, temporary: Path) -> StorageError | None:
        reason = None if isinstance(error, RoadworthyError) else storage_reason(error)
        if reason is None:
            return None
        return StorageError(
            f"{self.root} cannot be written: {reason}; nothing half-written was kept",
            problems=(Problem(reason, where=str(temporary.parent), expected=f"a writable disk ({self._free()})"),),
            next_step="free some space, or set another folder for the lake, and run the same command again: "
            "finished stages are not repeated",
        )

    def _free(self) -> str:
        existing = next(folder for folder in (self.root, *self.root.absolute().parents) if folder.exists())
        return f"{shutil.disk_usage(existing).free / 1e6:,.0f} MB free"


def _make_locked(temporary: Path) -> int:
    """Make the folder and lock it until its writer closes it or dies."""
    with _CREATING:
        temporary.mkdir(parents=True)
        handle = os.open(temporary, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle


def _publish(temporary: Path, final: Path) -> None:
    """Everything to disk, then one rename; what is published already stays."""
    for folder, _, names in os.walk(temporary, topdown=False):
        for name in names:
            _sync(Path(folder, name))
        _sync(Path(folder))
    try:
        temporary.rename(final)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
    else:
        _sync(final.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)


def _remove_unlocked(folder: Path) -> None:
    """Remove a leftover unless its writer, perhaps in another container on the same disk, still holds it."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return  # another process cleaned it first
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        shutil.rmtree(folder, ignore_errors=True)  # a second cleaner may be at it, and nothing reads a leftover
    finally:
        os.close(handle)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def storage_reason(error: BaseException | None) -> str | None:
    """Why the disk refused, looked for along the chain of causes; None when the disk is not at fault."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in _STORAGE_ERRNOS:
            return os.strerror(error.errno)
        for text in _STORAGE_TEXTS:
            if text in str(error):
                return text
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None
