"""Single files that appear whole or not at all.

In: a path and a caller who fills a file beside it. Out: the file in its place after one atomic rename, its bytes on
the disk before and the rename after. A disk that is full or forbidden becomes a StorageError and leaves what stood
there before.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from roadworthy.adapters.lake import storage_reason
from roadworthy.errors import Problem, RoadworthyError, StorageError

__all__ = ["whole_file"]


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A fresh path beside ``target`` to fill; it takes the target's place on a clean exit and is removed on any other.

    Raises StorageError for a disk that is full, read-only or forbidden.
    """
    fresh = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(3)}")
    _make(target, fresh)
    try:
        yield fresh
        _sync(fresh)
        fresh.replace(target)
        _sync(target.parent)
    except Exception as error:
        reason = None if isinstance(error, RoadworthyError) else storage_reason(error)
        if reason is None:
            raise
        raise StorageError(
            f"{target} cannot be written: {reason}; what stood there before is untouched",
            next_step=f"free some space ({_free(target.parent)}) or write elsewhere, and run the same command again",
        ) from error
    finally:
        fresh.unlink(missing_ok=True)


def _make(target: Path, fresh: Path) -> None:
    """The folder and an empty file in it, so that a place that cannot be written is told before any work."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh.touch()
    except OSError as error:
        raise StorageError(
            f"{target} cannot be written: {error.strerror}",
            problems=(Problem(str(error.strerror), where=str(target.parent), expected="a folder that can be written"),),
            next_step="name another place, and run the same command again",
        ) from error
    if target.is_dir():
        fresh.unlink()
        raise StorageError(
            f"{target} cannot be written: a folder of that name is there",
            problems=(Problem("a folder", where=str(target), expected="a file's name"),),
            next_step="name another place, or move the folder away",
        )


def _sync(path: Path) -> None:
    """A file's or a folder's content is on the disk when this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _free(folder: Path) -> str:
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return f"{shutil.disk_usage(existing).free / 1e6:,.0f} MB free"
