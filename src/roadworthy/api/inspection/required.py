"""What ``inspect`` requires: the given standard, the model's own, or the default, as far as this inspection can tell.

In: a table, a TOML file or None; which metrics are measured here. Out: a ``Standard``, and what was left out of it.
Law: what the caller asks for by name stays, measured or not, so that nothing passes by being left out.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.errors import Problem, UsageError
from roadworthy.records.evidence import Phase
from roadworthy.records.project import Task
from roadworthy.standard import Standard, parse_standard

__all__ = ["Asked", "asked_standard", "standard_table"]


class Asked(msgspec.Struct, frozen=True):
    """A standard, and the metrics that the caller named."""

    standard: Standard
    named: tuple[str, ...]

    def measurable(self, measured: Collection[str]) -> tuple[Standard, list[str]]:
        """What stays when only ``measured`` metrics can be judged, and the metrics of the release that go."""
        release = dict.fromkeys(one.metric for one in self.standard.of_phase(Phase.RELEASE))
        gone = [metric for metric in release if metric not in self.named and metric not in measured]
        known = tuple(one for one in self.standard.requirements if one.metric not in gone)
        return msgspec.structs.replace(self.standard, requirements=known), gone


def asked_standard(
    given: Mapping[str, Any] | Path | str | None, task: Task, own: Standard | None, columns: Sequence[str], target: str
) -> Asked:
    """The standard of a call: ``given``, else the model's ``own``, else the preset "service"."""
    if isinstance(given, Mapping):
        table, file = dict(given), "the given standard"
    elif given is not None:
        table, file = standard_table(Path(given)), Path(given).name
    else:
        return Asked(own or parse_standard({}, task), ())
    return Asked(parse_standard(table, task, columns=columns, target=target, file=file), tuple(table))


def standard_table(path: Path) -> dict[str, Any]:
    """The table [standard] of a TOML file, or the whole file; UsageError where there is none."""
    expected = "a TOML file with a table [standard]"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        found = str(error.strerror) if isinstance(error, OSError) else f"not TOML in UTF-8: {error}"
        raise UsageError(
            f"the standard {path} cannot be read",
            problems=[Problem(found, where=str(path), expected=expected)],
            next_step="mend it, or leave --standard out to judge by the model's own",
        ) from error
    standard = table.get("standard", table)
    if not isinstance(standard, dict) or not standard:
        raise UsageError(
            f"{path} holds no standard",
            problems=[Problem("no requirement", where=str(path), expected=expected)],
            next_step='write, for example: [standard] and below it accuracy = ">= 0.80"',
        )
    return standard
