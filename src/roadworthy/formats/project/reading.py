"""Reading the project file.

In: ``roadworthy.toml``. Out: ``ReadProject``. Problems are gathered in three passes, and all of a pass are told
at once: keys and types of every table; then, when these are right, values and references between tables.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.errors import Problem, ProjectFileError, nearest
from roadworthy.formats.project.lines import key_lines
from roadworthy.formats.project.references import reference_problems
from roadworthy.formats.project.typing_rules import Fault, table_faults
from roadworthy.records.project import ProjectSpec

__all__ = ["ReadProject", "parse_project", "read_project"]

_PROJECT_KEYS = ("name", "task", "target", "positive")


class ReadProject(msgspec.Struct, frozen=True):
    """A project as read: ``lines`` maps dotted keys (``"standard.recall.slice"``) to their lines."""

    spec: ProjectSpec
    lines: dict[str, int]


def read_project(path: Path) -> ReadProject:
    """The project declared in the file at ``path``. Raises ProjectFileError with every problem and its line."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ProjectFileError(
            f"{path} cannot be read: {error.strerror}",
            problems=(Problem(str(error.strerror), where=str(path), expected="a project file"),),
            next_step="roadworthy init DATA --target COLUMN writes one",
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ProjectFileError(
            f"{path} is not UTF-8",
            problems=(Problem("a byte that is not UTF-8", where=f"{path.name}:{line}", expected="UTF-8"),),
            next_step="save the file as UTF-8",
        ) from error
    return parse_project(text, name=path.name, folder=path.parent)


def parse_project(text: str, *, name: str = "roadworthy.toml", folder: Path = Path()) -> ReadProject:
    """The project declared in ``text``; ``name`` is the file's, for messages; relative sources start in ``folder``."""
    text = text.replace("\r\n", "\n")
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(text, name, error) from error
    lines = key_lines(text)
    flat, faults = _flattened(raw)
    faults += table_faults(ProjectSpec, flat)
    if not faults:
        spec = msgspec.convert({**flat, "folder": str(folder)}, ProjectSpec)
        faults = reference_problems(spec)
        if not faults:
            return ReadProject(spec, lines)
    raise _refusal(faults, lines, name, contract="contract" in raw)


def _flattened(raw: dict[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """The tables as ``ProjectSpec`` has them: the keys of ``[project]`` stand at its top."""
    tables = [field for field in ProjectSpec.__struct_fields__ if field not in {*_PROJECT_KEYS, "folder"}]
    faults = []
    known = {}
    for key, value in raw.items():
        if key in tables:
            known[key] = value
        elif key != "project":
            faults.append(_unknown(key, ["project", *tables], f"a table: {', '.join(['project', *tables])}"))
    project = raw.get("project")
    if not isinstance(project, dict):
        faults.append(Fault("project", "no table [project]", "name, task and target"))
        return known, faults
    for key, value in project.items():
        if key in _PROJECT_KEYS:
            known[key] = value
        else:
            faults.append(_unknown(f"project.{key}", _PROJECT_KEYS, ", ".join(_PROJECT_KEYS)))
    return known, faults


def _unknown(path: str, known: Any, expected: str) -> Fault:
    key = path.rpartition(".")[2]
    close = nearest(key, known)
    hint = f"; did you mean {close!r}?" if close else ""
    return Fault(path, f"unknown key {key!r}{hint}", expected)


def _refusal(faults: list[Fault], lines: dict[str, int], name: str, *, contract: bool) -> ProjectFileError:
    placed = [(_line(fault.path, lines), fault) for fault in faults]
    placed.sort(key=lambda pair: pair[0])
    problems = [
        Problem(fault.found, where=f"{name}:{line}" if line else name, expected=fault.expected)
        for line, fault in placed
    ]
    count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
    step = f"mend {name} and run the same command again"
    if not contract:
        step = "roadworthy init DATA --target COLUMN writes a first contract from the data"
    return ProjectFileError(f"{name} has {count}", problems=problems, next_step=step)


def _line(path: str, lines: dict[str, int]) -> int:
    """The line of a key, or of the nearest table above it."""
    aliases = {"name": "project", "task": "project", "target": "project", "positive": "project"}
    if path in aliases:
        path = f"project.{path}"
    while path:
        if path in lines:
            return lines[path]
        path = path.rpartition(".")[0]
    return 0


def _not_toml(text: str, name: str, error: tomllib.TOMLDecodeError) -> ProjectFileError:
    message, _, place = str(error).partition(" (at ")
    digits = "".join(c if c.isdigit() else " " for c in place).split()
    line = digits[0] if digits else str(text.count("\n") + 1)
    column = f", column {digits[1]}" if len(digits) > 1 else ""
    return ProjectFileError(
        f"{name} is not valid TOML",
        problems=(Problem(message[:1].lower() + message[1:], where=f"{name}:{line}{column}", expected="TOML 1.0"),),
        next_step=f"mend line {line} of {name}",
    )
