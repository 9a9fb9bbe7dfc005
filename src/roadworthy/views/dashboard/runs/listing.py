"""The list of runs, newest first.

In: the journals of runs, and the versions of the registry. Out: ``Runs``. Laws: a run whose process is gone and that
said nothing at its end is told as such; a version whose run has no journal any more is a line of its own; of a run that
is over its line is remembered, and of a long journal only both ends are read.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

import msgspec

from roadworthy.adapters.run_journal import (
    Began,
    Concluded,
    Failed,
    Journal,
    Stopped,
    read_journal,
    run_ids,
    runs_folder,
)
from roadworthy.records.version import Version
from roadworthy.views.dashboard.site import Site

__all__ = ["OF_VERSION", "RunRow", "RunState", "Runs", "folder_of", "line_of", "row_of_version", "runs"]

OF_VERSION = "version-"
"""What the id of a run begins with of which only the version is left."""

_PAGE = 25


class RunState(StrEnum):
    """How a run is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    DEAD = "dead"


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the list. ``stage`` is under way, or was when it ended early; ``title`` names its version.

    ``seconds`` is None where its end is not known. ``readiness`` is empty where no verdict was reached.
    """

    id: str
    state: RunState
    started_us: int
    seconds: float | None
    stage: str = ""
    number: int = 0
    title: str = ""
    readiness: str = ""
    sentence: str = ""


class Runs(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the list, newest first."""

    rows: tuple[RunRow, ...]
    page: int
    pages: int
    running: bool


def runs(site: Site, page: int = 1) -> Runs:
    """The list, ``page`` by ``page`` from 1."""
    folder = folder_of(site)
    now_us = site.now_us()
    kept = [row for name in run_ids(folder) if (row := _row(folder, name, now_us)) is not None]
    told = {row.number for row in kept}
    rows = [*kept, *(row_of_version(one) for one in site.versions() if one.number not in told)]
    rows.sort(key=lambda row: row.started_us, reverse=True)
    pages = max(1, -(-len(rows) // _PAGE))
    page = min(max(page, 1), pages)
    running = any(row.state is RunState.RUNNING for row in rows)
    return Runs(rows=tuple(rows[(page - 1) * _PAGE : page * _PAGE]), page=page, pages=pages, running=running)


def folder_of(site: Site) -> Path:
    """Where the journals of a site's runs lie."""
    return runs_folder(site.settings.lake)


def _row(folder: Path, name: str, now_us: int) -> RunRow | None:
    """A run's line; of one that is over it is remembered."""
    file = folder / name / "journal.jsonl"
    try:
        stamp = file.stat()
    except FileNotFoundError:
        return None  # let go meanwhile, or not begun yet
    return _known(folder, name, stamp.st_size, stamp.st_mtime_ns) or _summary(folder, name, now_us)


@lru_cache(maxsize=1_000)
def _known(folder: Path, name: str, _size: int, _written_ns: int) -> RunRow | None:
    """The line of a run that said how it ended; None for any other."""
    found = _summary(folder, name, 0)
    return found if found is not None and found.state not in {RunState.RUNNING, RunState.DEAD} else None


def _summary(folder: Path, name: str, now_us: int) -> RunRow | None:
    journal = read_journal(folder, name, brief=True)
    return None if journal is None or journal.started is None else line_of(journal, now_us)


def line_of(journal: Journal, now_us: int) -> RunRow:
    """A run's line of the list, by a journal that began."""
    began_us = journal.events[0].at_us
    last = journal.events[-1]
    stage = ""
    for event in journal.events:
        if isinstance(event, Began) and not event.inside:
            stage = event.task
    seconds: float | None = (last.at_us - began_us) / 1e6
    if isinstance(last, Concluded):
        return RunRow(
            id=journal.id,
            state=RunState.DONE,
            started_us=began_us,
            seconds=seconds,
            number=last.number,
            title=last.title,
            readiness=last.readiness,
            sentence=last.sentence,
        )
    if isinstance(last, Failed):
        state, sentence = RunState.FAILED, ": ".join([last.message, *last.problems[:1]])
    elif isinstance(last, Stopped):
        state, sentence = RunState.STOPPED, "A person stopped it."
    elif journal.alive:
        state, sentence, seconds = RunState.RUNNING, "", max(0.0, (now_us - began_us) / 1e6)
    else:
        seconds = max(0.0, (journal.seen_us - began_us) / 1e6)
        state, sentence = RunState.DEAD, "It ended without a word: its process was killed, or the machine went down."
    return RunRow(id=journal.id, state=state, started_us=began_us, seconds=seconds, stage=stage, sentence=sentence)


def row_of_version(version: Version) -> RunRow:
    """The line of a run of which only the version is left."""
    return RunRow(
        id=f"{OF_VERSION}{version.number}",
        state=RunState.DONE,
        started_us=int(datetime.fromisoformat(version.created_at).timestamp() * 1e6),
        seconds=sum(row.seconds for row in version.stages),
        number=version.number,
        title=version.title,
        readiness=version.verdict.readiness.value,
        sentence=version.verdict.sentence,
    )
