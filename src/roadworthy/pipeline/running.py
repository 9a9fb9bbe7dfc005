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
from roadworthy.errors import Problem, RoadworthyError, StorageError
from roadworthy.lifecycle.registry import Registry
from roadworthy.protocols import Reporter, Source, Store, Trainer
from roadworthy.records.data import CleanRows, FeatureTable, Snapshot, Split
from roadworthy.records.digests import Digest
from roadworthy.records.model import Bundle, TrainedModel, Validation
from roadworthy.records.verdict import Verdict
from roadworthy.records.version import StageRow, Version
from roadworthy.stages.monitor import MonitorPlan

__all__ = ["Records", "Run", "RunResult", "Told", "World"]

R = TypeVar("R", bound=msgspec.Struct)

RECORD = "record.json"

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
        work: Callable[[Path], R],
        describe: Callable[[R], Told],
        *,
        steps: int | None = None,
    ) -> R:
        """The stage's record: from the store when it is there, otherwise from ``work`` in a fresh folder.

        The run begins and ends a stage for the reporter; the stage itself advances ``steps`` times.
        """
        store, reporter = self.world.store, self.world.reporter
        started = time.perf_counter()
        reporter.begin(name, steps)
        reused = store.has(name, digest)
        if reused:
            record = _read_record(store.path(name, digest), kind)
        else:
            with store.writing(name, digest) as folder:
                record = self._done(work, folder)
                (folder / RECORD).write_bytes(msgspec.json.encode(record))
        before, after, summary = describe(record)
        seconds = time.perf_counter() - started
        self.rows.append(
            StageRow(
                stage=name, before=before, after=after, summary=summary, seconds=seconds, reused=reused, digest=digest
            )
        )
        reporter.end(name, summary=_line(before, after, summary), reused=reused)
        return record

    def quietly(self, name: str, digest: Digest, kind: type[R], work: Callable[[Path], R]) -> R:
        """As ``stage``, for work that belongs to the next stage's line."""
        if not self.world.store.has(name, digest):
            with self.world.store.writing(name, digest) as folder:
                (folder / RECORD).write_bytes(msgspec.json.encode(self._done(work, folder)))
        self.unseen[name] = digest
        return _read_record(self.world.store.path(name, digest), kind)

    def _done(self, work: Callable[[Path], R], folder: Path) -> R:
        """What ``work`` gives; when it breaks on a damaged result of an earlier stage, StorageError names that one."""
        try:
            return work(folder)
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
    except (OSError, msgspec.MsgspecError) as error:
        raise StorageError(
            f"the stored result {folder} cannot be read: {error}", next_step=f"remove {folder} and run again"
        ) from error
