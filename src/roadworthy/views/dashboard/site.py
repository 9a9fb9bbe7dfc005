"""Where views read from: one project's registry and lake, looked at again and again.

In: what the project declares and where its state lies. Out: versions, bundles, connections. Laws: nothing is created,
migrated or changed; the registry may be gone for a while, which is a RegistryError of that look; a bundle is verified
before anything of it is shown; versions are read anew only when the audit chain has grown.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import msgspec
from sqlalchemy import Connection

from roadworthy.adapters.lake import Lake
from roadworthy.errors import Problem, StorageError
from roadworthy.formats.bundle import OpenBundle, read_bundle, require_registered
from roadworthy.lifecycle import watching
from roadworthy.lifecycle.registry import CHAMPION, Registry
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.protocols import Clock
from roadworthy.records.digests import Digest
from roadworthy.records.project import ProjectSpec
from roadworthy.records.version import Version
from roadworthy.records.window import Cut
from roadworthy.settings import Settings
from roadworthy.standard import Standard

__all__ = ["Site"]

_MOST_BUNDLES = 2
R = TypeVar("R")


class Site:
    """One project, to be looked at. ``clock`` says what now is; ``file`` is the project file."""

    def __init__(self, file: Path, spec: ProjectSpec, standard: Standard, settings: Settings, clock: Clock) -> None:
        self.file, self.spec, self.standard, self.settings = file, spec, standard, settings
        self._clock = clock
        self._registry = Registry(settings.registry, clock, watched=True)
        self._transactions = Transactions(settings.registry, watched=True)
        self._lock = threading.Lock()
        self._seen: tuple[tuple[int, Digest], tuple[Version, ...], int | None] | None = None
        self._bundle: Callable[[Digest, Digest], OpenBundle] = lru_cache(maxsize=_MOST_BUNDLES)(self._read_bundle)

    @property
    def name(self) -> str:
        """The project's."""
        return self.spec.name

    @property
    def lake(self) -> Lake:
        """Where records, bundles and logs lie."""
        return Lake(self.settings.lake, looking=True)

    @property
    def registry(self) -> Registry:
        """The registry, for looking at."""
        return self._registry

    def close(self) -> None:
        """Give the connections back."""
        self._registry.close()
        self._transactions.close()

    def now_us(self) -> int:
        """Microseconds since 1970, UTC."""
        return int(self._clock.now().timestamp() * 1e6)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that reads: all of it sees one state."""
        with self._transactions.reading() as connection:
            yield connection

    def versions(self) -> tuple[Version, ...]:
        """All versions, newest first."""
        return self._look()[0]

    def version(self, number: int) -> Version:
        """One version; RegistryError where there is none."""
        found = next((one for one in self.versions() if one.number == number), None)
        return self._registry.version(self.name, number) if found is None else found

    def champion(self) -> Version | None:
        """The version in service; None where none was promoted."""
        versions, number = self._look()
        return next((one for one in versions if one.number == number), None)

    def bundle(self, version: Version) -> OpenBundle:
        """A version's verified bundle; BundleError when the lake holds another in its place."""
        return self._bundle(version.digest, version.manifest)

    def record(self, stage: str, digest: Digest, kind: type[R]) -> R | None:
        """A stage's record; None where the lake does not hold it any more, StorageError where it does not parse."""
        if not self.lake.has(stage, digest):
            return None
        file = self.lake.path(stage, digest) / "record.json"
        try:
            return msgspec.json.decode(file.read_bytes(), type=kind)
        except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
            problem = Problem(str(error), where=str(file), expected="a record as its stage wrote it")
            raise StorageError(
                f"what the stage {stage} kept cannot be read",
                problems=(problem,),
                next_step=f"put {file.parent} back from a copy of the lake",
            ) from error

    def series(self, connection: Connection) -> str:
        """The series of windows that is looked at: as the project declares it, else the one that was judged last."""
        declared = Cut.parse(self.spec.monitor.window).series
        if watching.last(connection, self.name, declared) is not None:
            return declared
        newest = watching.last(connection, self.name)
        return declared if newest is None else newest.series

    def _look(self) -> tuple[tuple[Version, ...], int | None]:
        link = self._registry.newest()
        with self._lock:
            if self._seen is not None and self._seen[0] == link:
                return self._seen[1:]
        versions = self._registry.versions(self.name)
        champion = self._registry.alias(self.name, CHAMPION)
        seen = (link, versions, None if champion is None else champion.number)
        with self._lock:
            self._seen = seen
        return seen[1:]

    def _read_bundle(self, digest: Digest, manifest: Digest) -> OpenBundle:
        version = next(one for one in self.versions() if (one.digest, one.manifest) == (digest, manifest))
        return require_registered(
            read_bundle(self.lake.path("package", digest) / "bundle", self._registry.trusted_keys()), version
        )
