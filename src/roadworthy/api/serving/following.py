"""The version in service follows the registry: what changed there is loaded beside, then put in service at once.

In: the registry and the lake, looked at every second or so from a thread of its own. Out: chains and key rings for
the event loop; warnings for ``/readyz``. Laws: nothing that fails here takes a version out of service; a version is
put in service only after it was verified, warmed and has scored its golden rows as when it was packaged; at most two
engines stay; taking a key away never lets anybody in.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from roadworthy import assembly
from roadworthy.adapters.whole_files import whole_file
from roadworthy.api.serving.aside import Aside, NoAnswerYet
from roadworthy.api.serving.entity_states import states_of
from roadworthy.api.serving.memory import give_back
from roadworthy.errors import BundleError, RegistryError, RoadworthyError, StorageError, UsageError
from roadworthy.lifecycle.registry import Registry
from roadworthy.records.version import Version
from roadworthy.serving.chain import Chain
from roadworthy.serving.engine import Engine
from roadworthy.serving.keys import ApiKey, KeyRing

__all__ = ["Follower", "News", "NobodyRing", "ring_of"]

_AGAIN_S = 10.0
_ANSWER_S = 3.0
"""How long a look waits for a registry; whoever ends meanwhile waits no longer, either."""


class NobodyRing(KeyRing):
    """Asks everyone for a key, and accepts none."""

    def __bool__(self) -> bool:
        return True


def ring_of(known: assembly.Seen, *, local: bool) -> KeyRing:
    """The keys that are accepted. Without any key ever, this machine may ask; nobody else, and nobody after that."""
    ring = KeyRing(ApiKey(id=one.id, name=one.name, digest=one.digest) for one in known.keys if not one.revoked_at)
    return ring if ring or (local and not known.keys) else NobodyRing()


class News(msgspec.Struct, frozen=True):
    """What a look found: a ring where keys may have changed, a chain where another version is to serve."""

    ring: KeyRing | None = None
    chain: Chain | None = None


class Follower:
    """Looks at the registry for one worker.

    ``memory`` is a file in which the workers of one server keep what the registry said last, for one that starts while
    it is gone; None where there is one worker.
    """

    def __init__(
        self,
        project: assembly.Project,
        wanted: str,
        *,
        local: bool,
        memory: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._project, self._wanted, self._local, self._memory, self._clock = project, wanted, local, memory, clock
        self._known: assembly.Seen | None = None
        self._registry: Registry | None = None
        self._chain: Chain | None = None
        self._news = Aside(self._heard)
        self._pending = False
        self._again_at = 0.0
        self._lost, self._unready, self._lame = "", "", ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not as it should be, for people."""
        return tuple(text for text in (self._lost, self._unready, self._lame) if text)

    @property
    def serving(self) -> str:
        """The title of the version in service; empty before the start."""
        return self._chain.first.title if self._chain is not None else ""

    def start(self) -> tuple[Chain, KeyRing]:
        """The first chain, and who may ask. Raises where there is nothing to serve, or nobody could be let in."""
        known = self._first()
        if not self._local and not any(not one.revoked_at for one in known.keys):
            raise UsageError(
                "a server that other machines can reach needs an API key, and the registry has none",
                next_step="roadworthy key create NAME   # then start the server again",
            )
        self._known = known
        first = self._opened(known, known.version)
        self._chain = Chain([first, *self._fallback(known, first)])
        self._settle()
        return self._chain, ring_of(known, local=self._local)

    def look(self) -> News:
        """One look at the registry; never raises. Blocks, so it belongs in a thread."""
        try:
            return self._look()
        except Exception as error:  # noqa: BLE001 - whatever it is, serving goes on and people are told
            self._lost = f"following the registry failed: {_brief(error)}"
            return News()

    def _look(self) -> News:
        was = self._known
        try:
            known = self._news.ask(_ANSWER_S)
            self._lost = ""
        except NoAnswerYet:
            self._lost = self._lost or f"the registry has not answered since {_clock_time()}, serving goes on"
            return News()
        except (RegistryError, StorageError) as error:
            if not self._lost:
                self._lost = f"the registry cannot be read since {_clock_time()}, serving goes on: {_brief(error)}"
            return News()
        if known is None or (known is was and not (self._pending and self._clock() >= self._again_at)):
            return News()
        self._known = known
        if known is not was:
            self._remember(known)
        return News(ring_of(known, local=self._local), self._next(known))

    def _heard(self) -> assembly.Seen | None:
        """What the registry says now; what it said before where nothing has changed."""
        was = self._known
        if self._registry is None:
            self._registry = assembly.watched_registry(self._project)
        if was is not None and self._registry.newest() == was.link:
            return was
        return assembly.seen(self._project, self._registry, self._wanted)

    def _next(self, known: assembly.Seen) -> Chain | None:
        """The chain with another version in front; None where the one that serves is the one."""
        chain = self._chain
        assert chain is not None  # noqa: S101 - start came first
        if known.version.manifest == chain.first.digest:
            self._pending, self._unready = False, ""
            return None
        try:
            engine = self._engine(known, chain)
        except (RoadworthyError, OSError, MemoryError) as error:
            self._pending, self._again_at = True, self._clock() + _AGAIN_S
            self._unready = (
                f"{known.version.title} cannot be put in service, {chain.first.title} goes on: {_brief(error)}"
            )
            return None
        self._pending, self._unready, self._lame = False, "", ""
        self._chain = Chain([engine, chain.first])
        self._settle()
        return self._chain

    def _engine(self, known: assembly.Seen, chain: Chain) -> Engine:
        """The engine of the version: the warm one if it still is as it was, else from the lake."""
        for warm in chain.engines:
            if warm.digest == known.version.manifest and warm.sound():
                return warm
        return self._opened(known, known.version)

    def _opened(self, known: assembly.Seen, version: Version) -> Engine:
        """A version's engine, which finds the past of its entities where it looks at any."""
        engine = assembly.engine(self._project, known, version)
        states_of(self._project).attach(engine, version)
        return engine

    def _fallback(self, known: assembly.Seen, first: Engine) -> list[Engine]:
        """The champion before, where there is one and it still opens."""
        earlier: Version | None = known.fallback
        if earlier is None or earlier.manifest == first.digest:
            return []
        try:
            return [self._opened(known, earlier)]
        except (RoadworthyError, OSError, MemoryError) as error:
            self._lame = f"{earlier.title} cannot stand by as the fallback: {_brief(error)}"
            return []

    def _first(self) -> assembly.Seen:
        """What the registry says at the start; where it is gone, what the other workers heard last."""
        try:
            with assembly.opened_registry(self._project, watched=self._remembered()) as registry:
                known = assembly.seen(self._project, registry, self._wanted)
        except (RegistryError, StorageError) as error:
            if not self._remembered():
                raise
            self._lost = f"the registry cannot be read since {_clock_time()}, serving goes on: {_brief(error)}"
            return self._recalled()
        self._remember(known)
        return known

    def _remembered(self) -> bool:
        return self._memory is not None and self._memory.exists()

    def _recalled(self) -> assembly.Seen:
        assert self._memory is not None  # noqa: S101 - asked before
        try:
            return msgspec.json.decode(self._memory.read_bytes(), type=assembly.Seen)
        except msgspec.MsgspecError as error:
            raise BundleError("what the workers remember of the registry is damaged") from error

    def _remember(self, known: assembly.Seen) -> None:
        """What is heard is kept for workers to come; a disk that is full only costs those."""
        if self._memory is None:
            return
        try:
            with whole_file(self._memory) as fresh:
                fresh.write_bytes(msgspec.json.encode(known))
                fresh.chmod(0o600)
        except (OSError, RoadworthyError) as error:
            self._lame = f"what the registry said cannot be kept for new workers: {_brief(error)}"

    @staticmethod
    def _settle() -> None:
        """What was loaded stays: the collector need not look at it again, and the rest goes back to the system."""
        gc.collect()
        gc.freeze()
        give_back()


def _clock_time() -> str:
    return datetime.now(UTC).strftime("%H:%M:%S UTC")


def _brief(error: Exception) -> str:
    """One line; of a foreign exception only its kind, since its words may quote a row."""
    return error.message if isinstance(error, RoadworthyError) else type(error).__name__
