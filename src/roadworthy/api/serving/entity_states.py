"""The entity states of this machine, for the versions that a worker serves.

In: engines that look at the past. Out: engines whose rows find it. Laws: a state begins with the clean rows of the
version's own run and every event in the lake; it is made once for a version, by whichever worker comes first; a version
that looks at the past is put in service only with its state, or with a warning that says what it lacks.
"""

from __future__ import annotations

import os
import platform
import re
import threading
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from roadworthy import assembly
from roadworthy.adapters.entity_state import IDENTITY, EntityStore
from roadworthy.adapters.lake import Lake
from roadworthy.adapters.prediction_log import EventLog, read_events
from roadworthy.records.digests import Digest
from roadworthy.records.version import Version
from roadworthy.serving.engine import Engine
from roadworthy.transforms.aggregates import ROW
from roadworthy.transforms.entity_state import StateLayout

__all__ = ["EntityStates", "states_of"]

_AT, _CLEAN = "at", "clean"


class EntityStates:
    """The states of one project in this process. Workers are threads of nobody here: call it from one at a time."""

    def __init__(self, project: assembly.Project) -> None:
        self._project = project
        self._lake = project.settings.lake
        self._lock = threading.Lock()
        self._log: EventLog | None = None
        self._notes: dict[Digest, str] = {}
        self.store: EntityStore | None = None

    def attach(self, engine: Engine, version: Version) -> None:
        """Lets the rows of a version look back. Blocks while its state is made; raises StorageError where it cannot be.

        An engine that looks at no past is left alone.
        """
        if not engine.predictor.aggregates:
            return
        layout = StateLayout.build(engine.predictor.declared)
        if layout.lacking:
            self._notes[engine.digest] = f"{version.title} keeps no entity state: {'; '.join(layout.lacking)}"
            return
        snapshot = self._snapshot(version)
        if snapshot is None:
            self._notes[engine.digest] = (
                f"{version.title} began without history: the lake has no clean rows of its run, only events count"
            )
        history = "nothing" if snapshot is None else snapshot[0]
        rows = None if snapshot is None else snapshot[1]
        with self._lock:
            store = self._opened()
            state = store.kept(layout, history) or store.filled(layout, history, lambda: self._past(layout, rows))
        hasher = assembly.hasher_of(self._project)
        engine.reader.look_back(state, None if hasher is None else hasher.hash_one)

    def trouble(self, engines: Sequence[Engine]) -> str:
        """What the states of these engines lack, or why events cannot be taken; empty when all is well."""
        lacking = [self._notes[one.digest] for one in engines if one.digest in self._notes]
        trouble = self._log.trouble() if self._log is not None else ""
        return "; ".join([*lacking, *([trouble] if trouble else [])])

    def close(self) -> None:
        """Lets go of everything; a later call of ``states_of`` opens it anew."""
        _OPEN.pop(_folder(self._project), None)
        if self.store is not None:
            self.store.close()
        if self._log is not None:
            self._log.close()

    def _opened(self) -> EntityStore:
        if self.store is None:
            log = EventLog(self._lake, worker=f"p{os.getpid()}")
            try:
                self.store = EntityStore(_folder(self._project), log)
            except BaseException:
                log.close()
                raise
            self._log = log
        return self.store

    def _snapshot(self, version: Version) -> tuple[Digest, Path] | None:
        """The clean rows of the run that a version comes from: their digest and file; None where the lake has none."""
        lake, digest = Lake(self._lake), version.lineage.get(_CLEAN, "")
        return (digest, lake.path(_CLEAN, digest) / "rows.parquet") if digest and lake.has(_CLEAN, digest) else None

    def _past(self, layout: StateLayout, snapshot: Path | None) -> pl.DataFrame:
        """History, then the events of the lake; an event that history has already is left out."""
        names = sorted(layout.columns)
        events = _events(self._lake, names)
        if snapshot is None:
            return events
        rows = pl.scan_parquet(snapshot).select(ROW, *names).collect()
        if not events.height:
            return rows
        events = events.cast(rows.schema, strict=False).join(rows.select(names), on=names, how="anti", nulls_equal=True)
        return pl.concat([rows, events.select(rows.columns)])


def states_of(project: assembly.Project) -> EntityStates:
    """The states of a project; one object in a process, since a database may be opened only once there."""
    with _OPENING:
        return _OPEN.setdefault(_folder(project), EntityStates(project))


_OPEN: dict[Path, EntityStates] = {}
_OPENING = threading.Lock()


def _folder(project: assembly.Project) -> Path:
    """Where the states of this machine stand. Another machine has its own, also where the folder is shared."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", platform.node()) or "localhost"
    return project.settings.state / host


def _events(lake: Path, names: list[str]) -> pl.DataFrame:
    """The events of the lake that have all of these columns, in their order."""
    rows = read_events(lake)
    rows = rows.drop(_AT, IDENTITY, strict=False)
    rows = rows.rename({f"input.{_AT}": _AT}) if f"input.{_AT}" in rows.columns else rows
    if not rows.height or not set(names) <= set(rows.columns):
        return pl.DataFrame({ROW: []}, schema={ROW: pl.Int64()})
    return rows.select(ROW, *names)
