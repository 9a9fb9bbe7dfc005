"""One run in progress: the world it works in, its records, and how a stage is done or taken from the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import polars as pl

from roadworthy.adapters.keys import Keys
from roadworthy.adapters.lake import RECORD
from roadworthy.errors import Problem, RoadworthyError, StorageError
from roadworthy.lifecycle.registry import Registry
from roadworthy.protocols import Reporter, Source, Store, Trainer
from roadworthy.records.data import CleanRows, FeatureTable, Snapshot, Split
from roadworthy.records.digests import Digest, digest_data
from roadworthy.records.model import Bundle, TrainedModel, Validation
from roadworthy.records.verdict import Verdict
from roadworthy.records.version import StageRow, Version
from roadworthy.stages.monitor import MonitorPlan

__all__ = ["Records", "Run", "RunResult", "Told", "World"]

R = TypeVar("R", bound=msgspec.Struct)


Work = Callable[[Path, Digest], R]
"""What a stage does: fills a folder and gives the record that bears the digest."""

Told = tuple[str, str, str]
"""Shape before, shape after, what happened."""


@dataclass(frozen=True)
class World:
    """What a run needs of the outside, as protocol objects."""

    source: Source
    store: Store
    registry: Registry
    trainers: Mapping[str, Trainer]
    keys: Keys
    reporter: Reporter
    noted: Callable[[StageRow], None] | None = None
    """Told of each stage's line of the table, once it is done."""


@dataclass(frozen=True)
class Records:
    """Every stage's record, for views."""

    snapshot: Snapshot
    clean: CleanRows
    table: FeatureTable
    split: Split
    trained: TrainedModel
    validation: Validation
    bundle: Bundle
    monitor: MonitorPlan


@dataclass(frozen=True)
class RunResult:
    """What a run leaves: the version as registered and the records behind it."""

    version: Version
    verdict: Verdict
    records: Records


@dataclass
class Run:
    """One run in progress: does a stage or takes its earlier result, and notes a row for the table."""

    world: World
    rows: list[StageRow] = field(default_factory=list)
    unseen: dict[str, Digest] = field(default_factory=dict)

    def stage(
        self,
        name: str,
        digest: Digest,
        kind: type[R],
        work: Work[R],
        describe: Callable[[R], Told],
        *,
        steps: int | None = None,
    ) -> R:
        """The stage's record: from the store when a sound one is there, otherwise from ``work`` in a fresh folder.

        The run begins and ends a stage for the reporter; the stage itself advances ``steps`` times.
        """
        reporter = self.world.reporter
        started = time.perf_counter()
        reporter.begin(name, steps)
        key, reused = self._kept(name, digest, kind)
        record = self._record(name, key, kind) if reused else self._made(name, key, kind, work)
        before, after, summary = describe(record)
        seconds = time.perf_counter() - started
        row = StageRow(
            stage=name, before=before, after=after, summary=summary, seconds=seconds, reused=reused, digest=key
        )
        self.rows.append(row)
        if self.world.noted is not None:
            self.world.noted(row)
        reporter.end(name, summary=_line(before, after, summary), reused=reused)
        return record

    def quietly(self, name: str, digest: Digest, kind: type[R], work: Work[R]) -> R:
        """As ``stage``, for work that belongs to the next stage's line."""
        key, reused = self._kept(name, digest, kind)
        self.unseen[name] = key
        return self._record(name, key, kind) if reused else self._made(name, key, kind, work)

    def _kept(self, name: str, digest: Digest, kind: type[R]) -> tuple[Digest, bool]:
        """Where the stage's result is or will be, and whether it is there.

        What holds a failed candidate or a check that broke is not taken again: the cause may be gone. Published
        folders are never changed, so each further attempt has a digest of its own, made from the first.
        """
        key, attempt = digest, 0
        while self.world.store.has(name, key):
            if _sound(self._record(name, key, kind)):
                return key, True
            attempt += 1
            key = digest_data([digest, attempt])
        return key, False

    def _made(self, name: str, key: Digest, kind: type[R], work: Work[R]) -> R:
        """Do the work and publish it; what another run published meanwhile counts, so the record is read back."""
        with self.world.store.writing(name, key) as folder:
            record = self._done(work, folder, key)
            (folder / RECORD).write_bytes(msgspec.json.encode(record))
        return self._record(name, key, kind)

    def _record(self, name: str, key: Digest, kind: type[R]) -> R:
        return _read_record(self.world.store.path(name, key), kind)

    def _done(self, work: Work[R], folder: Path, key: Digest) -> R:
        """What ``work`` gives; when it breaks on a damaged result of an earlier stage, StorageError names that one."""
        try:
            return work(folder, key)
        except RoadworthyError:
            raise
        except Exception as error:
            for name, digest in self.lineage.items():
                _refuse_damaged(self.world.store.path(name, digest), error)
            raise

    @property
    def lineage(self) -> dict[str, Digest]:
        """Every stage's digest."""
        return {**{row.stage: row.digest for row in self.rows}, **self.unseen}

    def path(self, name: str, digest: Digest) -> Path:
        """The published folder of a stage."""
        return self.world.store.path(name, digest)


def _sound(record: msgspec.Struct) -> bool:
    """Whether a stored result may be taken again."""
    if isinstance(record, TrainedModel):
        return not record.failures
    if isinstance(record, Validation | Bundle):
        return not any(measurement.error for measurement in record.evidence.measurements)
    return True


def _line(before: str, after: str, summary: str) -> str:
    shapes = f"{before} → {after}" if before else after
    return f"{shapes}  {summary}".strip()


def _refuse_damaged(folder: Path, cause: Exception) -> None:
    """StorageError when a table or record of a published folder cannot be read to its end."""
    for file in sorted(folder.rglob("*")):
        try:
            if file.suffix == ".parquet":
                pl.scan_parquet(file, glob=False).select(pl.all().hash().max()).collect(engine="streaming")
            elif file.suffix == ".json":
                msgspec.json.decode(file.read_bytes())
        except (OSError, pl.exceptions.PolarsError, msgspec.MsgspecError) as error:
            raise StorageError(
                f"the stored result {folder} is damaged",
                problems=(Problem(str(error).splitlines()[0], where=str(file), expected="the file as it was written"),),
                next_step=f"remove {folder} and run again",
            ) from cause


def _read_record(folder: Path, kind: type[R]) -> R:
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=kind)
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise StorageError(
            f"the stored result {folder} cannot be read: {error}", next_step=f"remove {folder} and run again"
        ) from error
