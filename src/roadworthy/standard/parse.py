"""The ``[standard]`` table into typed requirements, all problems at once.

In: the raw table, the task, the known slice columns and the line of each key. Out: a ``Standard``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from roadworthy.errors import Problem, ProjectFileError, UnknownName, nearest
from roadworthy.records.evidence import Phase
from roadworthy.records.project import Task
from roadworthy.standard.alarm_budget import parse_budget
from roadworthy.standard.catalogue import CATALOGUE
from roadworthy.standard.metric import Direction, Metric, MetricKind
from roadworthy.standard.presets import PRESETS, preset_requirements
from roadworthy.standard.requirement import Requirement, Standard, Trigger
from roadworthy.standard.units import format_quantity, parse_quantity

__all__ = ["parse_standard"]

_COMPARISON = re.compile(r"^\s*(>=|<=|>|<|==|=)\s*(.+)$")
_SETTINGS = ("extends", "alarm_budget", "confidence")
_KEYS = ("at_least", "at_most", "slice", "phases", "trigger", "confidence")
_DEFAULT_PRESET = "service"


def parse_standard(
    table: Mapping[str, Any],
    task: Task,
    *,
    columns: Iterable[str] = (),
    target: str = "",
    lines: Mapping[str, int] | None = None,
    file: str = "roadworthy.toml",
) -> Standard:
    """The standard that a table declares; ProjectFileError lists everything wrong in it.

    ``columns`` are those that a slice may name, besides ``target``; none given: any.

    >>> parse_standard({"extends": "prototype", "accuracy": ">= 0.8"}, Task.BINARY).requirements[0].line()
    'accuracy >= 0.8'
    """
    reader = _Reader(task, tuple(columns), target, lines or {}, file)
    preset = reader.preset(table.get("extends", _DEFAULT_PRESET))
    confidence = reader.confidence(table.get("confidence", 0.95), "confidence")
    budget = reader.budget(table.get("alarm_budget", "1 per 30 days"))
    declared = [
        requirement
        for key, value in table.items()
        if key not in _SETTINGS
        for requirement in reader.requirements(key, value, confidence)
    ]
    if reader.problems:
        raise ProjectFileError(
            f"{file}: the standard has {len(reader.problems)} problem(s)",
            problems=reader.problems,
            next_step=f"edit {file} and run the command again",
        )
    replaced = {(requirement.metric, requirement.slice) for requirement in declared}
    standing = preset_requirements(preset, task, confidence)
    kept = [requirement for requirement in standing if (requirement.metric, requirement.slice) not in replaced]
    return Standard(preset=preset, requirements=(*declared, *kept), alarm_budget=budget)


class _Reader:
    """Collects problems while it reads."""

    def __init__(self, task: Task, columns: tuple[str, ...], target: str, lines: Mapping[str, int], file: str) -> None:
        self.task = task
        self.columns = (*columns, target) if columns and target else columns
        self.target = target
        self.lines = lines
        self.file = file
        self.problems: list[Problem] = []

    def preset(self, name: object) -> str:
        if isinstance(name, str) and name in PRESETS:
            return name
        self._problem("extends", f"unknown preset {name!r}", f"one of {', '.join(PRESETS)}")
        return _DEFAULT_PRESET

    def budget(self, text: object) -> str:
        try:
            parse_budget(text)
        except ValueError as error:
            self._problem("alarm_budget", str(error), "")
            return "1 per 30 days"
        return str(text)

    def confidence(self, value: object, key: str) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0.5 <= value < 1:
            return float(value)
        self._problem(key, f"confidence {value!r}", "a number from 0.5 to below 1")
        return 0.95

    def requirements(self, key: str, value: object, confidence: float) -> list[Requirement]:
        metric = CATALOGUE.get(key)
        if metric is None:
            close = nearest(key, [*CATALOGUE, *_SETTINGS])
            hint = f"; did you mean {close!r}?" if close else ""
            self._problem(key, f"unknown metric {key!r}{hint}", f"one of {', '.join(sorted(CATALOGUE))}")
            return []
        if self.task not in metric.tasks:
            fitting = sorted(name for name, entry in CATALOGUE.items() if self.task in entry.tasks)
            self._problem(key, f"{key} does not apply to a {self.task} task", f"one of {', '.join(fitting)}")
            return []
        entries = value if isinstance(value, list) else [value]
        read = [self._one(metric, entry, confidence) for entry in entries]
        return [requirement for requirement in read if requirement is not None]

    def _one(self, metric: Metric, entry: object, confidence: float) -> Requirement | None:
        before = len(self.problems)
        if isinstance(entry, str):
            entry = self._comparison(metric, entry)
        elif not isinstance(entry, Mapping):
            self._problem(metric.name, f"{entry!r}", f"a bound such as {_example(metric)!r}")
        fields = dict(entry) if isinstance(entry, Mapping) else {}
        for unknown in sorted(set(fields) - set(_KEYS)):
            close = nearest(unknown, _KEYS)
            hint = f"; did you mean {close!r}?" if close else ""
            self._problem(metric.name, f"unknown key {unknown!r}{hint}", f"one of {', '.join(_KEYS)}")
        at_least = self._bound(metric, fields.get("at_least"), Direction.UP)
        at_most = self._bound(metric, fields.get("at_most"), Direction.DOWN)
        if at_least is None and at_most is None and len(self.problems) == before:
            self._problem(metric.name, "no bound", f"a bound such as {_example(metric)!r}")
        phases = self._phases(metric, fields.get("phases"))
        sliced = self._slice(metric, fields.get("slice", ""))
        self._class_of(metric, sliced)
        trigger = fields.get("trigger", "proven")
        if trigger not in tuple(Trigger):
            self._problem(metric.name, f"trigger {trigger!r}", 'one of "proven", "observed"')
        level = self.confidence(fields["confidence"], metric.name) if "confidence" in fields else confidence
        if len(self.problems) > before:
            return None
        return Requirement(
            metric=metric.name,
            at_least=at_least,
            at_most=at_most,
            slice=sliced,
            phases=phases,
            trigger=Trigger(trigger),
            confidence=level,
            origin=self._where(metric.name),
        )

    def _comparison(self, metric: Metric, text: str) -> dict[str, Any]:
        match = _COMPARISON.match(text)
        if match is None or match[1] not in {">=", "<="}:
            self._problem(metric.name, f"{text!r}", f"'>=' or '<=' and a bound, as {_example(metric)!r}")
            return {}
        return {"at_least" if match[1] == ">=" else "at_most": match[2].strip()}

    def _bound(self, metric: Metric, value: object, side: Direction) -> float | None:
        if value is None:
            return None
        if not isinstance(value, str | int | float):
            self._problem(metric.name, f"bound {value!r}", f"a number or text such as {_example(metric)!r}")
            return None
        if side is not metric.direction:
            better = "higher" if metric.direction is Direction.UP else "lower"
            self._problem(metric.name, f"a bound on the good side: {metric.name} is better when it is {better}",
                          f"a bound such as {_example(metric)!r}")  # fmt: skip
            return None
        try:
            bound = parse_quantity(value, metric.unit)
        except ValueError as error:
            self._problem(metric.name, str(error), "")
            return None
        low, high = metric.low, metric.high
        if (low is not None and bound < low) or (high is not None and bound > high):
            span = f"from {low if low is not None else '−∞'} to {high if high is not None else '∞'}"
            self._problem(metric.name, f"bound {format_quantity(bound, metric.unit)}", f"a value {span}")
            return None
        return bound

    def _phases(self, metric: Metric, value: object) -> tuple[Phase, ...]:
        if value is None:
            return metric.phases
        named = [str(name) for name in (value if isinstance(value, list | tuple) else [value])]
        wrong = [name for name in named if name not in tuple(Phase)]
        if wrong or not named:
            self._problem(metric.name, f"phases {value!r}", f"a list of {', '.join(Phase)}")
            return metric.phases
        outside = [name for name in named if Phase(name) not in metric.phases]
        if outside:
            self._problem(
                metric.name,
                f"{metric.name} is not measured in phase {', '.join(outside)}",
                f"phases among {', '.join(metric.phases)}",
            )
        return tuple(Phase(name) for name in named)

    def _slice(self, metric: Metric, value: object) -> str:
        if value == "":
            return ""
        if metric.cut and value == metric.cut:
            return metric.cut
        if metric.kind is not MetricKind.QUALITY:
            known = f"no slice, or slice = {metric.cut!r}" if metric.cut else "no slice"
            self._problem(metric.name, f"{metric.name} is not measured by {value!r}", known)
            return ""
        if not isinstance(value, str) or (self.columns and value not in self.columns):
            unknown = UnknownName("column", str(value), self.columns)
            self._problem(metric.name, f"slice: {unknown.message}", "a column of the contract or a feature")
            return ""
        return value

    def _class_of(self, metric: Metric, sliced: str) -> None:
        """With more than two classes, "the" recall is that of none of them: it is required by class."""
        if not metric.per_class or self.task is not Task.MULTICLASS:
            return
        target = self.target or "<target column>"
        if not sliced or (self.target and sliced != self.target):
            found = f"slice {sliced!r}" if sliced else "no class"
            self._problem(
                metric.name,
                f"{metric.name} speaks of one class, and of several it has {found}",
                f'{metric.name} = {{ at_least = 0.8, slice = "{target}" }} for every class, or macro_f1 or '
                "balanced_accuracy for all of them together",
            )

    def _where(self, key: str) -> str:
        line = self.lines.get(f"standard.{key}")
        return f"{self.file}:{line}" if line else f"{self.file} [standard] {key}"

    def _problem(self, key: str, found: str, expected: str) -> None:
        self.problems.append(Problem(found, expected=expected, where=self._where(key)))


def _example(metric: Metric) -> str:
    sign = ">=" if metric.direction is Direction.UP else "<="
    return f"{sign} {({'ms': '50 ms', 'bytes': '5 MB', 'count': '0', 'target': '10'}).get(metric.unit, '0.80')}"
