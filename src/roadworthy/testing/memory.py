"""In-memory implementations of the protocols, for tests and for learning what they ask."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from roadworthy.errors import Problem, StorageError
from roadworthy.records.digests import Digest, digest_bytes
from roadworthy.records.model import ProgressLine

__all__ = ["FixedClock", "MemorySource", "MemoryStore", "SilentReporter"]


class MemorySource:
    """A Polars frame as a ``Source``."""

    def __init__(self, frame: pl.DataFrame, name: str = "memory") -> None:
        self.frame = frame
        self._name = name

    def describe(self) -> str:
        """Its name."""
        return self._name

    def fingerprint(self) -> Digest:
        """Digest of the frame in Arrow's form."""
        buffer = io.BytesIO()
        self.frame.rechunk().write_ipc(buffer)
        return digest_bytes(buffer.getvalue())

    def scan(self) -> pl.LazyFrame:
        """The frame."""
        return self.frame.lazy()

    def notes(self) -> tuple[str, ...]:
        """None."""
        return ()


class MemoryStore:
    """A ``Store`` in a temporary folder that goes with the object."""

    def __init__(self) -> None:
        self._root = tempfile.TemporaryDirectory(prefix="roadworthy-store-")
        self._folders: dict[tuple[str, Digest], Path] = {}

    def close(self) -> None:
        """Remove the folder; the object is not used after it."""
        self._root.cleanup()

    def has(self, stage: str, digest: Digest) -> bool:
        """Whether the folder was published."""
        return (stage, digest) in self._folders

    def path(self, stage: str, digest: Digest) -> Path:
        """The published folder; StorageError when there is none."""
        if not self.has(stage, digest):
            raise StorageError(
                f"the store holds no {stage} result of that digest",
                problems=(Problem("nothing published", where=f"{stage}/{digest}", expected="a published folder"),),
                next_step="roadworthy run",
            )
        return self._folders[stage, digest]

    @contextmanager
    def writing(self, stage: str, digest: Digest) -> Iterator[Path]:
        """A fresh folder, published on a clean exit."""
        folder = Path(tempfile.mkdtemp(dir=self._root.name))
        try:
            yield folder
            self._folders.setdefault((stage, digest), folder)
        finally:
            if self._folders.get((stage, digest)) != folder:
                shutil.rmtree(folder)


class SilentReporter:
    """A ``Reporter`` that shows nothing and remembers everything: ``ended`` tasks, ``lines``."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[tuple[str, str, bool]] = []
        self.lines: list[ProgressLine] = []
        self.steps: dict[str, int] = {}

    def begin(self, task: str, total: int | None = None) -> None:  # noqa: ARG002 - the protocol's signature
        """Remember the task."""
        self.begun.append(task)

    def advance(self, task: str, steps: int = 1) -> None:
        """Count its steps."""
        self.steps[task] = self.steps.get(task, 0) + steps

    def end(self, task: str, summary: str = "", *, reused: bool = False) -> None:
        """Remember how it ended."""
        self.ended.append((task, summary, reused))

    def line(self, line: ProgressLine) -> None:
        """Remember the line."""
        self.lines.append(line)


class FixedClock:
    """A ``Clock`` that stands still until it is set.

    >>> FixedClock().now().isoformat()
    '2026-01-01T00:00:00+00:00'
    """

    def __init__(self, moment: datetime | None = None) -> None:
        self.moment = moment or datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """The moment."""
        return self.moment
