"""Writing a project file that a person likes to read and edit.

In: a ``ProjectSpec`` and remarks by dotted key. Out: TOML text in the order in which one thinks: what is
predicted, from what, what a row looks like, features, training, decision, and the standard that all is held to.
Defaults are left out, except those that one is likely to change.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Any

import msgspec
import tomlkit
from tomlkit.items import Array, InlineTable, Table

from roadworthy.records.contract import ColumnContract
from roadworthy.records.project import Aggregate, DecisionSpec, ProjectSpec

__all__ = ["write_project"]

_WIDTH = 110
_EXCLUDED = "Never a model input, and why. Take a line out where the column is known when the prediction is made."
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")  # may not stand in a TOML comment
_ABOUT = {
    "project": "",
    "data": "Where the rows come from, and which columns are special.",
    "contract": "What a row must look like. Rows that do not are set aside with the reason, never silently mended.",
    "features": "SQL expressions, one definition for history and for live rows.",
    "training": "Candidates compete; the cheapest that is not provably worse than the best is chosen.",
    "decision": "How a probability becomes a decision.",
    "serving": "What is answered where no version can answer, and which rows go to a person.",
    "standard": "What a version must prove before release, in rollout and on live traffic.",
    "rollout": "Steps of traffic in percent, and how much worse still counts as good.",
    "monitor": "How live traffic is cut into windows.",
    "alerts": "Where alerts go.",
}


def write_project(spec: ProjectSpec, notes: Mapping[str, str]) -> str:
    """The text of ``roadworthy.toml``.

    ``notes`` are remarks by dotted key (``"contract.columns.age"``, ``"data.time"``; ``""`` for the top of the
    file); each is set as a comment above its key. ``spec.folder`` is where the file will stand and is not in it.
    """
    pieces = [_commented(notes.get("", ""))] if notes.get("") else []
    pieces.append(_piece("project", _table(_project(spec), "project", notes), notes))
    for name, content in _tables(spec).items():
        make = _MAKERS.get(name)
        pieces.append(_piece(name, make(content, notes) if make else _table(content, name, notes), notes))
    return "\n".join(pieces)


def _piece(name: str, table: Table, notes: Mapping[str, str]) -> str:
    """One table with what it is about above it."""
    document = tomlkit.document()
    document.add(name, table)
    about = "\n".join(text for text in (_ABOUT[name], notes.get(name, "")) if text)
    return _commented(about) + tomlkit.dumps(document)


def _project(spec: ProjectSpec) -> dict[str, Any]:
    project = {"name": spec.name, "task": spec.task.value, "target": spec.target}
    return project | ({"positive": spec.positive} if spec.positive else {})


def _tables(spec: ProjectSpec) -> dict[str, dict[str, Any]]:
    """The tables after ``[project]`` that are worth writing, as plain data."""
    training = spec.training
    tables: dict[str, dict[str, Any]] = {
        "data": msgspec.to_builtins(spec.data),
        "contract": msgspec.to_builtins(spec.contract),
        "features": {name: _feature(feature) for name, feature in spec.features.items()},
        "training": {"candidates": list(training.candidates), "seed": training.seed, **msgspec.to_builtins(training)},
        "decision": {} if spec.decision == DecisionSpec() else msgspec.to_builtins(spec.decision),
        "serving": msgspec.to_builtins(spec.serving),
        "standard": spec.standard,
        "rollout": msgspec.to_builtins(spec.rollout),
        "monitor": msgspec.to_builtins(spec.monitor),
        "alerts": msgspec.to_builtins(spec.alerts),
    }
    return {name: content for name, content in tables.items() if content}


def _feature(feature: str | Aggregate) -> Any:
    return feature if isinstance(feature, str) else msgspec.to_builtins(feature)


def _table(content: Mapping[str, Any], path: str, notes: Mapping[str, str]) -> Table:
    table = tomlkit.table()
    for key, value in content.items():
        _comment(table, notes.get(f"{path}.{key}", ""))
        table.add(key, _value(value))
    return table


def _data(content: dict[str, Any], notes: Mapping[str, str]) -> Table:
    """``[data]``, then ``[data.exclude]`` with one line for each column."""
    table = _table({key: value for key, value in content.items() if key != "exclude"}, "data", notes)
    if content.get("exclude"):
        excluded = tomlkit.table()
        _comment(excluded, _EXCLUDED)
        _comment(excluded, notes.get("data.exclude", ""))
        for name, reason in content["exclude"].items():
            excluded.add(name, _value(reason))
        table.add("exclude", excluded)
    return table


def _contract(content: dict[str, Any], notes: Mapping[str, str]) -> Table:
    """``[contract]``, then ``[contract.columns]`` with one line for each column."""
    plain = {key: value for key, value in content.items() if key != "columns"}
    table = _table(plain, "contract", notes)
    columns = tomlkit.table()
    for name, column in content["columns"].items():
        path = f"contract.columns.{name}"
        _comment(columns, notes.get(path, ""))
        fields = _ordered(column)
        for key in fields:
            _comment(columns, notes.get(f"{path}.{key}", ""))
        columns.add(name, _value(fields, before=len(name) + 4))
    table.add("columns", columns)
    return table


def _ordered(column: dict[str, Any]) -> dict[str, Any]:
    fields = {name: column[name] for name in ColumnContract.__struct_fields__ if name in column}
    whole = {name: int(value) for name, value in fields.items() if isinstance(value, float) and _is_whole(value)}
    return fields | whole


def _is_whole(number: float) -> bool:
    """Whether a bound reads better without its ".0" and means the same."""
    return number.is_integer() and abs(number) < 2**53


def _value(value: Any, before: int = 24) -> Any:
    """A value as a person would write it; ``before`` is how much of the line is taken already."""
    if isinstance(value, Mapping):
        inline: InlineTable = tomlkit.inline_table()
        for key, one in value.items():
            inline.add(key, _value(one, before + len(inline.as_string()) + len(key)))
        return tomlkit.value(f"{{ {inline.as_string()[1:-1]} }}") if value else inline
    if isinstance(value, (list, tuple)):
        return _array([_value(one) for one in value], before)
    if isinstance(value, str) and '"' in value and "'" not in value and value.isprintable():
        return tomlkit.string(value, literal=True)
    return tomlkit.item(value)


def _array(items: list[Any], before: int) -> Array:
    """On one line where it fits, else as many elements to a line as do."""
    array = tomlkit.array()
    for item in items:
        array.append(item)
    if before + len(array.as_string()) <= _WIDTH or len(items) < 2:
        return array
    array = tomlkit.array()
    line: list[Any] = []
    for item in items:
        if line and sum(len(one.as_string()) + 2 for one in [*line, item]) > _WIDTH - 4:
            array.add_line(*line)
            line = []
        line.append(item)
    array.add_line(*line)
    array.add_line(indent="")
    return array


def _comment(table: Table, text: str) -> None:
    for line in _wrapped(text):
        table.add(tomlkit.comment(line))


def _commented(text: str) -> str:
    return "".join(f"# {line}\n" for line in _wrapped(text))


def _wrapped(text: str) -> list[str]:
    return [
        line
        for paragraph in _CONTROL.sub(" ", text).splitlines()
        for line in textwrap.wrap(paragraph, _WIDTH, break_long_words=False, break_on_hyphens=False)
    ]


_MAKERS = {"data": _data, "contract": _contract}
