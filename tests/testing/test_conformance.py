"""The conformance checks: the in-memory implementations pass, and each broken law is caught."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from roadworthy.protocols import Clock, Reporter, Source, Store
from roadworthy.records.model import ProgressLine
from roadworthy.testing import (
    ConformanceError,
    FixedClock,
    MemorySource,
    MemoryStore,
    SilentReporter,
    check_source,
    check_store,
)

FRAME = pl.DataFrame({"a": [1, 2], "b": ["x", "y"]})


def test_the_in_memory_source_and_store_conform() -> None:
    check_source(lambda: MemorySource(FRAME))
    store = MemoryStore()
    check_store(lambda: store)
    store.close()
    typed: tuple[type[Source], type[Store]] = (MemorySource, MemoryStore)
    assert typed


class Restless(MemorySource):
    calls = 0

    def fingerprint(self) -> str:
        Restless.calls += 1
        return f"sha256:{Restless.calls:064d}"


class Shuffling(MemorySource):
    def scan(self) -> pl.LazyFrame:
        self.frame = self.frame.reverse()
        return super().scan()


class Nameless(MemorySource):
    def fingerprint(self) -> str:
        return "42"


@pytest.mark.parametrize(
    ("source", "law"),
    [
        (Restless(FRAME), "does not change the fingerprint"),
        (Shuffling(FRAME), "scanning twice"),
        (Nameless(FRAME), "sha256"),
        (MemorySource(FRAME.clear()), "without rows"),
        (MemorySource(FRAME, name="postgresql://u:secret-word@h"), "no secret"),
        (object(), "a source has"),
    ],
)
def test_broken_sources_are_caught(source: Source, law: str) -> None:
    with pytest.raises(ConformanceError, match=law):
        check_source(lambda: source, secrets=["secret-word"])


class Eager(MemoryStore):
    """Publishes before the writer is done."""

    @contextmanager
    def writing(self, stage: str, digest: str) -> Iterator[Path]:
        with super().writing(stage, digest) as folder:
            self._folders[stage, digest] = folder
            yield folder


class Replacing(MemoryStore):
    """Replaces what was published."""

    @contextmanager
    def writing(self, stage: str, digest: str) -> Iterator[Path]:
        with super().writing(stage, digest) as folder:
            yield folder
            self._folders.pop((stage, digest), None)


class Swallowing(MemoryStore):
    """Hides the writer's exception."""

    @contextmanager
    def writing(self, stage: str, digest: str) -> Iterator[Path]:
        try:
            with super().writing(stage, digest) as folder:
                yield folder
        except Exception:  # noqa: BLE001, S110 - the fault that the check must see
            pass


@pytest.mark.parametrize(
    ("kind", "law"),
    [(Eager, "what was not published"), (Replacing, "never replaced"), (Swallowing, "passes through")],
)
def test_broken_stores_are_caught(kind: type[MemoryStore], law: str) -> None:
    store = kind()
    with pytest.raises(ConformanceError, match=law):
        check_store(lambda: store)
    store.close()


def test_the_reporter_remembers_and_the_clock_stands_still() -> None:
    reporter, clock = SilentReporter(), FixedClock(datetime(2026, 3, 1, tzinfo=UTC))
    typed: tuple[Reporter, Clock] = (reporter, clock)
    assert typed
    reporter.begin("train", 3)
    reporter.advance("train", 2)
    line = ProgressLine(candidate="a", step=1, train_loss=1, valid_loss=1, train_quality=0, valid_quality=0)
    reporter.line(line)
    reporter.end("train", reused=True)
    assert (reporter.begun, reporter.steps, reporter.lines) == (["train"], {"train": 2}, [line])
    assert reporter.ended == [("train", "", True)]
    assert clock.now() == clock.now()
