"""The laws of ``protocols.Store``, as a check that any implementation can be put through."""

from __future__ import annotations

from collections.abc import Callable

from roadworthy.errors import StorageError
from roadworthy.protocols import Store
from roadworthy.records.digests import Digest, digest_data
from roadworthy.testing.failure import ConformanceError, require

__all__ = ["check_store"]


class _InterruptionError(Exception):
    """What a writer that fails raises here."""


def check_store(make: Callable[[], Store]) -> None:
    """Check a store: ``make()`` gives one that holds nothing yet of the digests used here.

    Laws: what was never written is not there; while it is written it is not there yet; a writer that fails
    publishes nothing and leaves a clean place; what was published is there whole, is never replaced, and is
    told apart by stage and by digest. Raises ConformanceError.
    """
    store = make()
    one, other = digest_data("conformance: one"), digest_data("conformance: other")
    require(isinstance(store, Store), "a store has has, path and writing")
    _absent(store, "clean", one)
    try:
        _write_and_fail(store, one)
    except _InterruptionError:
        _absent(store, "clean", one)
    else:
        raise ConformanceError("a writer's own exception passes through unchanged")
    with store.writing("clean", one) as folder:
        require(folder.is_dir() and not any(folder.iterdir()), "a writer starts with an empty folder")
        require(not store.has("clean", one), "nothing is published while it is written")
        (folder / "rows").write_bytes(b"first")
        (folder / "inner").mkdir()
        (folder / "inner" / "deep").write_bytes(b"deep")
    require(store.has("clean", one), "a clean exit publishes")
    published = store.path("clean", one)
    require((published / "inner" / "deep").read_bytes() == b"deep", "folders inside are published with it")
    with store.writing("clean", one) as folder:
        (folder / "rows").write_bytes(b"second")
    require((store.path("clean", one) / "rows").read_bytes() == b"first", "what is published is never replaced")
    _absent(store, "clean", other)
    _absent(store, "features", one)


def _write_and_fail(store: Store, digest: Digest) -> None:
    with store.writing("clean", digest) as folder:
        (folder / "half").write_bytes(b"half")
        raise _InterruptionError


def _absent(store: Store, stage: str, digest: Digest) -> None:
    require(not store.has(stage, digest), "what was not published is not there")
    try:
        store.path(stage, digest)
    except StorageError:
        return
    raise ConformanceError("path raises StorageError for what was not published")
