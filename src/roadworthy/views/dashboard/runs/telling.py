"""One run: its seven stages, what was dropped and why, how candidates learned, and what it said when it broke.

In: a run's journal, or the version that is left of it, and the records that the lake still holds. Out: ``Run``. Law:
nothing is guessed of a stage that was not reached.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

import msgspec

from roadworthy.adapters.run_journal import (
    Advanced,
    Began,
    Ended,
    Epoch,
    Failed,
    Journal,
    StageDone,
    read_journal,
    run_ids,
)
from roadworthy.errors import UnknownName
from roadworthy.measures.charts import training_exhibit
from roadworthy.records.data import CleanRows, Snapshot
from roadworthy.records.model import Candidate, ProgressLine, TrainedModel
from roadworthy.records.version import StageRow, Version
from roadworthy.views.dashboard.pictures import Picture, draw_exhibit
from roadworthy.views.dashboard.runs.listing import OF_VERSION, RunRow, RunState, folder_of, line_of, row_of_version
from roadworthy.views.dashboard.site import Site

__all__ = ["STAGES", "Failure", "Part", "Run", "Stage", "StageState", "run"]

R = TypeVar("R", bound=msgspec.Struct)

STAGES = {
    "collect": "reads the rows as they come",
    "clean": "sets aside rows that break the contract",
    "features": "adds the declared features",
    "train": "trains every candidate",
    "validate": "chooses one and inspects it on rows that it never saw",
    "package": "makes one signed bundle of it",
    "monitor": "opens the bundle as a server would",
}
"""The seven stages in their order, and what each does."""

_MOST_PICTURES = 6
_MOST_REASONS = 200


class StageState(StrEnum):
    """How a stage is."""

    DONE = "done"
    REUSED = "reused"
    RUNNING = "running"
    BROKE = "broke"
    WAITING = "waiting"


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of work inside a stage; ``seconds`` is None and ``share`` of it done while it goes on."""

    name: str
    summary: str = ""
    seconds: float | None = None
    share: float | None = None


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One of the seven. ``before`` and ``after`` are shapes in words; ``share`` of it is done, where that is known."""

    name: str
    about: str
    state: StageState
    before: str = ""
    after: str = ""
    summary: str = ""
    seconds: float | None = None
    share: float | None = None
    parts: tuple[Part, ...] = ()


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What a person is told of a run that broke; ``account`` holds the frames behind it."""

    message: str
    problems: tuple[str, ...]
    next_step: str
    account: str
    task: str


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run. ``rows_in`` and ``dropped`` count rows, ``reasons`` and ``repairs`` say why and what was mended.

    ``pictures`` are of trainings, ``failures`` candidates that could not be trained. ``seen_us`` is the last sign of
    life. ``kept`` is false for a run of which only the version is left.
    """

    row: RunRow
    stages: tuple[Stage, ...]
    rows_in: int | None = None
    dropped: int | None = None
    reasons: dict[str, int] = {}
    repairs: dict[str, int] = {}
    notes: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    failures: dict[str, str] = {}
    failure: Failure | None = None
    seen_us: int = 0
    kept: bool = True


def run(site: Site, name: str) -> Run:
    """One run, by the id of its journal or ``version-3``; UnknownName where there is none."""
    journal = read_journal(folder_of(site), name)
    if journal is not None and journal.started is not None:
        return _told(site, journal)
    number = name.removeprefix(OF_VERSION)
    if name.startswith(OF_VERSION) and number.isdecimal() and len(number) < 10:
        version = next((one for one in site.versions() if one.number == int(number)), None)
        if version is not None:
            return _from_version(site, version)
    raise UnknownName("run", name[:60], run_ids(folder_of(site))[:10], next_step="choose one on the page Runs")


def _told(site: Site, journal: Journal) -> Run:
    """A run as its journal has it."""
    line = line_of(journal, site.now_us())
    done = {event.row.stage: event.row for event in journal.events if isinstance(event, StageDone)}
    last = journal.events[-1]
    failure = None
    if isinstance(last, Failed):
        failure = Failure(
            message=last.message,
            problems=last.problems,
            next_step=last.next_step,
            account=last.account,
            task=last.task,
        )
    stages = _stages(journal, done, line, site.now_us())
    lines: dict[str, list[ProgressLine]] = {}
    for event in journal.events:
        if isinstance(event, Epoch):
            lines.setdefault(event.line.candidate, []).append(event.line)
    return _with_records(site, Run(row=line, stages=stages, failure=failure, seen_us=journal.seen_us), done, lines)


def _stages(journal: Journal, done: dict[str, StageRow], line: RunRow, now_us: int) -> tuple[Stage, ...]:
    """The seven, each as far as it came."""
    works = _works(journal)
    found = []
    for name, about in STAGES.items():
        began_us, share, parts = works.get(name, (0, None, ()))
        if name in done:
            found.append(_done(done[name], about, parts))
        elif not began_us:
            found.append(Stage(name=name, about=about, state=StageState.WAITING))
        else:
            running = line.state is RunState.RUNNING
            until_us = now_us if running else max(journal.events[-1].at_us, began_us)
            found.append(
                Stage(
                    name=name,
                    about=about,
                    state=StageState.RUNNING if running else StageState.BROKE,
                    seconds=max(0.0, (until_us - began_us) / 1e6),
                    share=share if running else None,
                    parts=parts,
                )
            )
    return tuple(found)


def _done(row: StageRow, about: str, parts: tuple[Part, ...] = ()) -> Stage:
    return Stage(
        name=row.stage,
        about=about,
        state=StageState.REUSED if row.reused else StageState.DONE,
        before=row.before,
        after=row.after,
        summary=row.summary,
        seconds=row.seconds,
        parts=parts,
    )


class _Work:
    """A piece of work on its way."""

    def __init__(self, began: Began) -> None:
        self.name, self.total, self.began_us = began.task, began.total, began.at_us
        self.done = 0
        self.parts: list[_Work] = []
        self.ended: Ended | None = None

    @property
    def share(self) -> float | None:
        """What is done of it; None where that is not known."""
        return min(1.0, self.done / self.total) if self.total else None

    def part(self) -> Part:
        """As a view has it."""
        over = self.ended
        return Part(
            name=self.name,
            summary="" if over is None else over.summary,
            seconds=None if over is None else (over.at_us - self.began_us) / 1e6,
            share=self.share if over is None else None,
        )


def _works(journal: Journal) -> dict[str, tuple[int, float | None, tuple[Part, ...]]]:
    """Of each stage that began: when, how far it is, and the work inside it."""
    stages: dict[str, _Work] = {}
    open_works: dict[str, _Work] = {}
    current: _Work | None = None
    for event in journal.events:
        if isinstance(event, Began):
            work = open_works[event.task] = _Work(event)
            if not event.inside:
                current = stages[event.task] = work
            elif current is not None:
                current.parts.append(work)
        elif isinstance(event, Advanced) and event.task in open_works:
            open_works[event.task].done = event.done
        elif isinstance(event, Ended) and event.task in open_works:
            open_works.pop(event.task).ended = event
    return {name: (work.began_us, work.share, tuple(one.part() for one in work.parts)) for name, work in stages.items()}


def _from_version(site: Site, version: Version) -> Run:
    """A run of which only its version is left."""
    done = {row.stage: row for row in version.stages}
    stages = tuple(
        _done(done[name], about) if name in done else Stage(name=name, about=about, state=StageState.WAITING)
        for name, about in STAGES.items()
    )
    return _with_records(site, Run(row=row_of_version(version), stages=stages, kept=False), done, {})


def _with_records(site: Site, told: Run, done: dict[str, StageRow], lines: dict[str, list[ProgressLine]]) -> Run:
    """With what the lake still holds of its stages: why rows were dropped, how candidates learned."""
    cleaned = _record(site, done.get("clean"), CleanRows)
    snapshot = _record(site, done.get("collect"), Snapshot)
    trained = _record(site, done.get("train"), TrainedModel)
    learned = {name: tuple(found) for name, found in lines.items()}
    best: dict[str, int] = {}
    if trained is not None:
        learned = {one.name: one.lines for one in trained.candidates}
        best = {one.name: one.best_step for one in trained.candidates}
    if cleaned is not None:
        most = sorted(cleaned.reasons.items(), key=lambda pair: -pair[1])[:_MOST_REASONS]
        told = msgspec.structs.replace(
            told,
            rows_in=cleaned.rows_in,
            dropped=cleaned.quarantined,
            reasons=dict(most),
            repairs=dict(sorted(cleaned.repairs.items(), key=lambda pair: -pair[1])[:_MOST_REASONS]),
        )
    return msgspec.structs.replace(
        told,
        notes=() if snapshot is None else snapshot.notes,
        pictures=_pictures(learned, best),
        failures={} if trained is None else trained.failures,
    )


def _pictures(learned: dict[str, tuple[ProgressLine, ...]], best: dict[str, int]) -> tuple[Picture, ...]:
    """How each candidate learns; the ones that trained last, where they are many."""
    found = []
    for name, lines in list(learned.items())[-_MOST_PICTURES:]:
        candidate = Candidate(name=name, parameters={}, lines=lines, best_step=best.get(name, 0), seconds=0.0, inputs=0)
        drawn = draw_exhibit(training_exhibit(candidate))
        if drawn is not None:
            found.append(drawn)
    return tuple(found)


def _record(site: Site, row: StageRow | None, kind: type[R]) -> R | None:
    """A stage's record; None where the lake does not hold it any more."""
    return None if row is None else site.record(row.stage, row.digest, kind)
