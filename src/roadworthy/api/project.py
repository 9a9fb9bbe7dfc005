"""``init`` and ``run``: the calls that write a project and take it through its stages."""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roadworthy import assembly
from roadworthy.adapters.lake import Lake
from roadworthy.adapters.run_journal import kept_journal, runs_folder
from roadworthy.adapters.sources import frame_source
from roadworthy.adapters.whole_files import whole_file
from roadworthy.api.written_source import source_as_written
from roadworthy.errors import Problem, UnknownName, UsageError
from roadworthy.formats.project import parse_project, write_project
from roadworthy.formats.report import ReportView, render_report
from roadworthy.pipeline import RunResult, run_pipeline
from roadworthy.protocols import Reporter
from roadworthy.records.project import DataSpec, ProjectSpec, Task
from roadworthy.records.version import Version
from roadworthy.testing import SilentReporter
from roadworthy.transforms.inference import Inference, infer
from roadworthy.views import report_view, with_charts

__all__ = ["InitResult", "RunOutcome", "check_name", "init", "name_from", "remarks", "run", "write_first"]


@dataclass(frozen=True, slots=True)
class InitResult:
    """What ``init`` wrote, and everything it noticed on the way."""

    file: Path
    spec: ProjectSpec
    inference: Inference


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """A run's version and records, what people are shown of it, and where its report and bundle lie."""

    version: Version
    result: RunResult
    view: ReportView
    report: Path
    bundle: Path


def init(
    data: str | Path | Mapping[str, Any],
    *,
    target: str,
    folder: Path | str = ".",
    name: str = "",
    task: Task | str | None = None,
    force: bool = False,
) -> InitResult:
    """Write a first ``roadworthy.toml`` for some data, and make the project's keys.

    ``data`` is a path, glob, directory, URL or mapping, relative to the working directory. Raises UsageError when
    there is a project file already and ``force`` is not set, for a frame (no file can name one), for a secret in
    the source, for a name that cannot be one, and whatever reading the data raises.
    """
    home = Path(folder)
    file = home / assembly.PROJECT_FILE
    if file.exists() and not force:
        raise UsageError(
            f"{file} exists already", next_step="edit it, or let `roadworthy init … --force` write it anew"
        )
    check_name(name)
    written = source_as_written(data, home)
    source = assembly.source_of(data)
    chosen = None if task is None else _task(task)
    inference = infer(source.scan(), target=target, task=chosen, source_name=source.describe())
    spec = _first_spec(inference, written, name or name_from(written))
    write_first(file, spec, remarks(inference))
    return InitResult(file, spec, inference)


def write_first(file: Path, spec: ProjectSpec, said: Mapping[str, str]) -> None:
    """Write a project file, with what is ``said`` above its keys, and make the project's keys.

    A file that would be refused is never written.
    """
    text = write_project(spec, said)
    parse_project(text, folder=file.parent)
    with whole_file(file) as fresh:
        fresh.write_text(text, encoding="utf-8")
    assembly.project_keys(assembly.open_project(file))


def _task(task: Task | str) -> Task:
    try:
        return Task(task)
    except ValueError:
        raise UnknownName("task", str(task), Task, next_step="leave --task out to have it inferred") from None


def name_from(source: str | dict[str, Any]) -> str:
    """A name of ASCII letters, digits and dashes, after the file; "model" where there is none."""
    stem = Path(source).name.split(".")[0] if isinstance(source, str) else ""
    return _as_name(stem) or "model"


def _as_name(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-").lower()


def check_name(name: str) -> None:
    """UsageError for what cannot be a project's name; an empty one is none."""
    if name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(
            f"{name!r} cannot be a project's name",
            problems=[Problem(repr(name), expected="letters from a to z, digits, dots, dashes and underscores")],
            next_step=f"--name {_as_name(name) or 'model'}",
        )


def _first_spec(found: Inference, source: str | dict[str, Any], name: str) -> ProjectSpec:
    features = {}
    if found.time:
        quoted = '"' + found.time.replace('"', '""') + '"'
        hour = {f"{found.time}_hour": f"hour({quoted})"} if found.time_of_day else {}
        features = {**hour, f"{found.time}_weekday": f"weekday({quoted})"}
    return ProjectSpec(
        name=name,
        task=found.task,
        target=found.target,
        positive=found.positive,
        data=DataSpec(
            source=source,
            time=found.time,
            entity=found.entity,
            personal=found.personal,
            protected=found.protected,
            exclude=found.exclude,
        ),
        contract=found.contract,
        features={key: value for key, value in features.items() if key not in found.contract.columns},
        standard={"extends": "service"},
    )


_TABLE_OF_KIND = {"task": "project.task", "time": "data.time", "entity": "data.entity"}
_SAID_ONCE = 3  # columns of which the same is said


def remarks(found: Inference) -> dict[str, str]:
    """Each note above the key that it explains."""
    remarks: dict[str, list[str]] = {}
    alike: dict[str, list[str]] = {}
    for note in found.notes:
        alike.setdefault(note.sentence, []).append(note.column)
    for note in found.notes:
        if note.kind == "leak" and note.column in found.exclude:
            continue  # the reason stands beside the exclusion itself
        key = _TABLE_OF_KIND.get(note.kind, f"contract.columns.{note.column}" if note.column else "")
        same = alike[note.sentence]
        if key.startswith("contract.") and len(same) >= _SAID_ONCE:
            if note.column == same[0]:
                remarks.setdefault("contract", []).append(f"{note.sentence}: {', '.join(same)}")
            continue
        other = note.column and note.kind in {"time", "entity"} and note.column not in {found.time, found.entity}
        subject = f"{note.column}: " if other else ""
        remarks.setdefault(key, []).append(f"{subject}{note.sentence}")
    return {key: "\n".join(sentences) for key, sentences in remarks.items()}


def run(
    project: Path | str = assembly.PROJECT_FILE, *, data: Any = None, reporter: Reporter | None = None
) -> RunOutcome:
    """The seven stages, the verdict, ``report.html``, and the registration. The lake keeps its journal.

    ``data`` (a Polars or pandas frame, or an Arrow table) takes the place of the declared source.
    """
    opened = assembly.open_project(project)
    source = None if data is None else frame_source(data)
    with kept_journal(runs_folder(opened.settings.lake), opened.spec.name, reporter or SilentReporter()) as journal:
        with assembly.world(opened, journal, source=source) as world:
            result = run_pipeline(opened.spec, opened.standard, replace(world, noted=journal.stage))
        outcome = _reported(opened, result)
        journal.concluded(result.version)
    return outcome


def _reported(opened: assembly.Project, result: RunResult) -> RunOutcome:
    """The run with its report written."""
    version = result.version
    lake = Lake(opened.settings.lake)
    view = report_view(opened.spec, opened.standard, version, result.records)
    if not lake.has("report", version.report):
        with lake.writing("report", version.report) as folder:
            page = render_report(with_charts(view, result.records))
            (folder / assembly.REPORT_FILE).write_text(page, encoding="utf-8")
    report = opened.folder / assembly.REPORT_FILE
    with whole_file(report) as fresh:
        shutil.copyfile(lake.path("report", version.report) / assembly.REPORT_FILE, fresh)
    return RunOutcome(version, result, view, report, lake.path("package", version.digest) / "bundle")
