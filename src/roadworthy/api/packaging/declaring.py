"""The project that a packaged model belongs to: the one that is there, or a first one made of the rows.

In: what the model takes, its labels, the rows, the words of the call. Out: ``Declared``: a ``ProjectSpec`` whose
contract holds every column that the model takes, as it takes it. Laws: an existing project is never changed, and what
does not fit it is refused, all at once; a first contract changes no value that the model takes (no sentinel, no unit
is taken out), because the model was trained on the values as they stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from onnx import TensorProto

from roadworthy import assembly
from roadworthy.api.inspection.required import standard_table
from roadworthy.api.inspection.rows import Given
from roadworthy.api.project import check_name, name_from, remarks
from roadworthy.api.written_source import source_as_written
from roadworthy.errors import DataError, Problem, UnknownName, UsageError
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.project import DataSpec, DecisionSpec, ProjectSpec, Task
from roadworthy.transforms.inference import Inference, infer

__all__ = ["Declared", "Words", "declared"]

_NUMBERS = (ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.BOOLEAN, ColumnType.TIME)
_TEXTS = (ColumnType.CATEGORY, ColumnType.TEXT)
_FROM_PYTHON = "rows.parquet"
_DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a call of ``package`` says beside model and rows; ``data`` is what it named as rows."""

    project: Path
    data: Any
    name: str = ""
    standard: Mapping[str, Any] | Path | str | None = None
    positive: str = ""
    threshold: float | None = None
    time: str = ""
    entity: str = ""
    protected: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """The project as declared. ``first``: it is not written yet; ``said`` are its remarks by key of the file."""

    file: Path
    spec: ProjectSpec
    first: bool
    threshold: float | None
    said: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def declared(  # noqa: PLR0917 - what the model is, and what the call says of it
    words: Words, given: Given, model: str, takes: Mapping[str, int], task: Task, classes: Sequence[str]
) -> Declared:
    """The project of ``model``, as people call it.

    ``takes`` is the element type (``TensorProto``) that each of the model's columns enters it as.

    Raises UsageError for words that contradict an existing project, DataError for a contract that does not hold what
    the model takes.
    """
    if assembly.is_project(words.project):
        return _existing(words, given, takes, task, classes)
    return _first(words, given, model, takes, task, classes)


def _existing(words: Words, given: Given, takes: Mapping[str, int], task: Task, classes: Sequence[str]) -> Declared:
    opened = assembly.open_project(words.project)
    spec = opened.spec
    asked = {
        "--target": (given.target, spec.target),
        "--name": (words.name, spec.name),
        "--time": (words.time, spec.data.time),
        "--entity": (words.entity, spec.data.entity),
        "--positive": (words.positive, spec.positive),
        "--protected": (", ".join(words.protected), ", ".join(spec.data.protected)),
        "--standard": ("" if words.standard is None else "another standard", ""),
    }
    problems = [
        Problem(f"{option} {said}", expected=own or "nothing: the project says it", where=opened.file.name)
        for option, (said, own) in asked.items()
        if said and said != own
    ]
    if task is not spec.task:
        problems.append(Problem(f"a model for a {task} task", expected=str(spec.task), where=opened.file.name))
    if task is Task.BINARY and spec.positive and classes[1] != spec.positive:
        problems.append(Problem(f"the model's event is {classes[1]!r}", expected=spec.positive, where=opened.file.name))
    if problems:
        raise UsageError(
            f"the model does not belong to the project {spec.name}",
            problems=problems,
            next_step="package it in a folder of its own, or change the project file",
        )
    _require_columns(spec, takes)
    declared_cut = spec.decision.threshold if isinstance(spec.decision.threshold, int | float) else None
    return Declared(
        file=opened.file,
        spec=msgspec.structs.replace(spec, features={}),
        first=False,
        threshold=_threshold(words, task, declared_cut),
    )


def _require_columns(spec: ProjectSpec, takes: Mapping[str, int]) -> None:
    """DataError naming every column that the contract lacks, hides, or reads as another kind than the model takes."""
    problems = []
    for name, kind in takes.items():
        where = f"column {name}"
        if name not in spec.contract.columns:
            made = "a declared feature, and the model takes columns" if name in spec.features else "not in the contract"
            problems.append(Problem(made, where=where, expected=f"[contract.columns.{name}]"))
            continue
        column = spec.contract.columns[name]
        wanted = _TEXTS if kind == TensorProto.STRING else _NUMBERS
        if name in spec.data.personal:
            problems.append(Problem("personal: the model would get its hash", where=where, expected="a plain column"))
        elif column.type not in wanted:
            expected = " or ".join(one.value for one in wanted)
            problems.append(Problem(f"type {column.type.value}", where=where, expected=expected))
    if problems:
        raise DataError(
            "the project's contract does not fit the columns that the model takes",
            problems=problems,
            next_step="change the contract, or package the model in a folder of its own",
        )


def _first(  # noqa: PLR0917 - as above
    words: Words, given: Given, model: str, takes: Mapping[str, int], task: Task, classes: Sequence[str]
) -> Declared:
    for name in filter(None, (words.time, words.entity, *words.protected)):
        if name not in given.rows.columns:
            raise UnknownName("column", name, given.rows.columns)
    found = infer(given.rows, target=given.target, task=task, source_name=given.shown, leaks=False)
    check_name(words.name)
    file = _new_file(words.project)
    columns = {
        name: _as_taken(found.contract.columns.get(name), given.rows.schema[name], kind) for name, kind in takes.items()
    }
    time = words.time or _inferred_time(found, columns)
    entity = words.entity or found.entity
    protected = tuple(words.protected) or found.protected
    for name in dict.fromkeys((*filter(None, (time, entity)), *protected)):
        columns.setdefault(name, found.contract.columns[name])
    if time:
        columns[time] = _as_time(columns[time])
    columns[given.target] = _plain_label(found.contract.columns[given.target])
    threshold = _threshold(words, task, None)
    source, said = _source(words, file)
    spec = ProjectSpec(
        name=words.name or name_from(model),
        task=task,
        target=given.target,
        positive=classes[1] if task is Task.BINARY else "",
        data=DataSpec(
            source=source,
            time=time,
            entity=entity,
            personal=tuple(name for name in found.personal if name in columns and name not in takes),
            protected=protected,
        ),
        contract=Contract(columns=columns),
        decision=DecisionSpec() if threshold is None else DecisionSpec(threshold=threshold),
        standard=_standard(words),
    )
    kept = msgspec.structs.replace(found, contract=spec.contract, notes=_notes_of(found, columns, takes))
    return Declared(
        file=file, spec=spec, first=True, threshold=threshold, said={**remarks(kept), **said}, notes=_told(spec, words)
    )


def _new_file(place: Path) -> Path:
    """Where a first project file goes; UsageError where there is no folder for it."""
    file = place if place.suffix == ".toml" else place / assembly.PROJECT_FILE
    if not file.parent.is_dir():
        raise UsageError(f"there is no folder {file.parent} for a project", next_step=f"mkdir -p {file.parent}")
    return file


def _as_taken(column: ColumnContract | None, dtype: pl.DataType, kind: int) -> ColumnContract:
    """An inferred column as the model takes it: its values as they stand."""
    if kind == TensorProto.STRING:
        if column is None or column.type not in _TEXTS:
            return ColumnContract(type=ColumnType.CATEGORY)
        allowed = () if column.sentinels or column.strip_suffix else column.allowed
        return msgspec.structs.replace(column, sentinels=(), strip_suffix="", allowed=allowed)
    if dtype.is_temporal():
        return ColumnContract(type=ColumnType.TIME)
    if column is None or column.type not in _NUMBERS or column.type is ColumnType.TIME:
        return ColumnContract(type=ColumnType.INTEGER if dtype.is_integer() else ColumnType.NUMBER)
    bounds = (None, None) if column.sentinels or column.unit else (column.min, column.max)
    return ColumnContract(type=column.type, min=bounds[0], max=bounds[1])


def _inferred_time(found: Inference, columns: Mapping[str, ColumnContract]) -> str:
    """The inferred time, unless the model takes that column as something else."""
    taken = columns.get(found.time)
    return "" if taken is not None and taken.type is not ColumnType.TIME else found.time


def _as_time(column: ColumnContract) -> ColumnContract:
    return column if column.type is ColumnType.TIME else ColumnContract(type=ColumnType.TIME)


def _plain_label(column: ColumnContract) -> ColumnContract:
    """Labels as the model's own: nothing is taken out of them."""
    if column.sentinels or column.strip_suffix or column.unit:
        return ColumnContract(type=column.type)
    return column


def _threshold(words: Words, task: Task, own: float | None) -> float | None:
    """Where a binary model decides: as the call says, as the project says, else where its own framework does."""
    if task is not Task.BINARY:
        return None
    chosen = words.threshold if words.threshold is not None else own
    cut = _DEFAULT_THRESHOLD if chosen is None else float(chosen)
    if not 0 <= cut <= 1:
        raise UsageError(f"--threshold {cut:g} is no probability", next_step="--threshold 0.5")
    return cut


def _standard(words: Words) -> dict[str, Any]:
    if words.standard is None:
        return {"extends": "service"}
    return dict(words.standard) if isinstance(words.standard, Mapping) else standard_table(Path(words.standard))


def _source(words: Words, file: Path) -> tuple[str | dict[str, Any], dict[str, str]]:
    if isinstance(words.data, str | Path | Mapping):
        return source_as_written(words.data, file.parent), {}
    said = "The rows came from Python and are in no file: name one here before `roadworthy run`."
    return _FROM_PYTHON, {"data.source": said}


def _notes_of(found: Inference, columns: Mapping[str, Any], takes: Mapping[str, int]) -> tuple[Any, ...]:
    """What was noticed of columns that stand in the contract as they were inferred."""
    return tuple(
        note for note in found.notes if note.column in columns and note.column not in takes and note.kind != "task"
    )


def _told(spec: ProjectSpec, words: Words) -> tuple[str, ...]:
    """What was guessed for the first project file."""
    data = spec.data
    guessed = [
        (data.time and not words.time, f"{data.time} is taken for the time of the rows (--time names another)"),
        (data.entity and not words.entity, f"{data.entity} looks like an entity (--entity names another)"),
        (data.protected and not words.protected, f"{', '.join(data.protected)}: looks protected by its name"),
    ]
    return tuple(sentence for told, sentence in guessed if told)
