"""Whether the values of a project make sense and its tables agree with each other.

In: a typed ``ProjectSpec``. Out: ``Fault`` per column that the contract does not have, per number outside its
range, per pair of keys that contradict each other. Metrics and units of ``[standard]`` are the standard's
affair, expressions are the features'.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import pairwise

from roadworthy.errors import nearest
from roadworthy.formats.project.alert_rules import alert_faults
from roadworthy.formats.project.monitor_rules import monitor_faults
from roadworthy.formats.project.serving_rules import serving_faults
from roadworthy.formats.project.typing_rules import Fault
from roadworthy.records.contract import ColumnContract
from roadworthy.records.project import Aggregate, ProjectSpec, Task
from roadworthy.standard import CATALOGUE

__all__ = ["reference_problems"]

_FUNCTIONS = ("count", "sum", "mean", "min", "max", "last", "seconds_since_last", "ratio")


def reference_problems(spec: ProjectSpec) -> list[Fault]:
    """All faults, in the order of the file."""
    return [
        *_project_faults(spec),
        *_data_faults(spec),
        *_contract_faults(spec),
        *_feature_faults(spec),
        *_mask_faults(spec),
        *_training_faults(spec),
        *_decision_faults(spec),
        *serving_faults(spec),
        *_rollout_faults(spec),
        *monitor_faults(spec),
        *alert_faults(spec),
    ]


def _column(spec: ProjectSpec, name: str, path: str) -> Iterator[Fault]:
    """A fault unless the contract has the column."""
    if name not in spec.contract.columns:
        close = nearest(name, spec.contract.columns)
        hint = f"; did you mean {close!r}?" if close else ""
        yield Fault(path, f"no column {name!r} in the contract{hint}", "a column of [contract.columns]")


def _project_faults(spec: ProjectSpec) -> Iterator[Fault]:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", spec.name):
        yield Fault("name", f"{spec.name!r}", "a name of letters, digits, dots, dashes and underscores")
    yield from _column(spec, spec.target, "target")
    if spec.positive and spec.task is not Task.BINARY:
        yield Fault("positive", f"a positive label in a {spec.task} task", "no positive label, or task = 'binary'")


def _data_faults(spec: ProjectSpec) -> Iterator[Fault]:
    data = spec.data
    for key, name in (("time", data.time), ("entity", data.entity)):
        if name:
            yield from _column(spec, name, f"data.{key}")
            if name == spec.target:
                yield Fault(f"data.{key}", f"{name!r} is the target", "another column")
    for key, names in (("personal", data.personal), ("protected", data.protected)):
        for place, name in enumerate(names):
            yield from _column(spec, name, f"data.{key}.{place}")
            if key == "personal" and name in {spec.target, data.time}:
                role = "target" if name == spec.target else "time column"
                yield Fault(f"data.personal.{place}", f"{name!r} is the {role}, which hashing would destroy", "others")
    for name in data.exclude:
        yield from _column(spec, name, f"data.exclude.{name}")
        if name == spec.target:
            yield Fault(f"data.exclude.{name}", f"the target {name!r} is excluded", "a target that is kept")
    if data.entity_disjoint and not data.entity:
        yield Fault("data.entity_disjoint", "entity_disjoint without an entity", "entity = a column")


def _contract_faults(spec: ProjectSpec) -> Iterator[Fault]:
    if not spec.contract.columns:
        yield Fault("contract.columns", "no columns", "one table for each column")
    if spec.contract.duplicates not in {"keep", "drop"}:
        yield Fault("contract.duplicates", repr(spec.contract.duplicates), "keep or drop")
    for name, column in spec.contract.columns.items():
        yield from _column_faults(column, f"contract.columns.{name}")


def _column_faults(column: ColumnContract, path: str) -> Iterator[Fault]:
    if column.min is not None and column.max is not None and column.min > column.max:
        yield Fault(f"{path}.min", f"min {column.min} above max {column.max}", "min at most max")
    if len(column.decimal) != 1 or len(column.thousands) > 1 or column.decimal == column.thousands:
        marks = f"decimal {column.decimal!r}, thousands {column.thousands!r}"
        yield Fault(f"{path}.decimal", marks, "two different single characters (thousands may be empty)")
    try:
        re.compile(column.pattern)
    except re.error as error:
        yield Fault(f"{path}.pattern", f"no regular expression: {error.msg}", "a regular expression")


def _feature_faults(spec: ProjectSpec) -> Iterator[Fault]:
    for name, feature in spec.features.items():
        path = f"features.{name}"
        if name in spec.contract.columns:
            yield Fault(path, f"feature {name!r} has the name of a column", "a name of its own")
        if isinstance(feature, Aggregate):
            yield from _aggregate_faults(spec, feature, path)
        elif not feature.strip():
            yield Fault(path, "an empty expression", "a SQL expression over the columns")


def _mask_faults(spec: ProjectSpec) -> Iterator[Fault]:
    """Two inputs of one name: the graph has ``age.missing`` beside ``age``."""
    aside = {spec.target, *spec.data.personal, *spec.data.exclude}
    columns = {name: f"contract.columns.{name}" for name in spec.contract.columns if name not in aside}
    pasts = {name: f"features.{name}" for name, form in spec.features.items() if isinstance(form, Aggregate)}
    inputs = {**columns, **pasts}
    for name, path in inputs.items():
        column = name.removesuffix(".missing")
        if column != name and column in inputs:
            found = f"{name!r} is what the model graph calls the mask of {column!r}"
            yield Fault(path, found, "another name, or the column under [data.exclude]")


def _aggregate_faults(spec: ProjectSpec, aggregate: Aggregate, path: str, outer_by: str = "") -> Iterator[Fault]:
    used = [name for name in _FUNCTIONS if getattr(aggregate, name)]
    if len(used) != 1:
        found = f"{len(used)} functions ({', '.join(used)})" if used else "no function"
        yield Fault(path, found, f"exactly one of {', '.join(_FUNCTIONS)}")
    by = aggregate.by or outer_by
    if aggregate.by:
        yield from _column(spec, aggregate.by, f"{path}.by")
    elif not by and not spec.data.entity and aggregate.ratio is None:
        yield Fault(path, "an aggregate without an entity", "by = a column here, or entity in [data]")
    if not spec.data.time:
        yield Fault(path, "an aggregate over the past in data without a time column", "time in [data]")
    for place, part in enumerate(aggregate.ratio or ()):
        yield from _aggregate_faults(spec, part, f"{path}.ratio.{place}", by)


def _training_faults(spec: ProjectSpec) -> Iterator[Fault]:
    training = spec.training
    if not training.candidates:
        yield Fault("training.candidates", "no candidates", "at least one, such as logistic")
    if len(set(training.candidates)) != len(training.candidates):
        yield Fault("training.candidates", "a candidate is named twice", "every candidate once")
    if training.folds < 2:
        yield Fault("training.folds", f"{training.folds} folds", "2 or more")
    if not 0 < training.holdout < 1:
        yield Fault("training.holdout", f"a holdout of {training.holdout}", "a share between 0 and 1")
    if training.seed < 0:
        yield Fault("training.seed", f"seed {training.seed}", "0 or more")
    for name in training.parameters:
        if name not in training.candidates:
            close = nearest(name, training.candidates)
            hint = f"; did you mean {close!r}?" if close else ""
            yield Fault(f"training.parameters.{name}", f"no candidate {name!r}{hint}", ", ".join(training.candidates))


def _decision_faults(spec: ProjectSpec) -> Iterator[Fault]:
    path, threshold = "decision.threshold", spec.decision.threshold
    if isinstance(threshold, (int, float)):
        if not 0 <= threshold <= 1:
            yield Fault(path, f"a threshold of {threshold}", "a number from 0 to 1")
        return
    known = {
        "maximize": ("maximize", "subject_to", "beta"),
        "minimize": ("minimize", "false_positive", "false_negative", "subject_to"),
    }
    goals = [key for key in known if key in threshold]
    if len(goals) != 1:
        yield Fault(path, " and ".join(goals) or "no goal", "either maximize or minimize")
        return
    for key, value in threshold.items():
        place = f"{path}.{key}"
        if key not in known[goals[0]]:
            close = nearest(key, known[goals[0]])
            hint = f"; did you mean {close!r}?" if close else ""
            yield Fault(place, f"unknown key {key!r}{hint}", f"one of {', '.join(known[goals[0]])}")
        elif key.startswith("false_"):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                yield Fault(place, f"a cost of {value!r}", "a number of 0 or more")
        elif not isinstance(value, str) and key != "beta":
            yield Fault(place, f"{value!r}", "a text")


def _rollout_faults(spec: ProjectSpec) -> Iterator[Fault]:
    steps = spec.rollout.steps
    rising = all(low < high for low, high in pairwise(steps))
    if not steps or not rising or not all(0 < step <= 100 for step in steps):
        yield Fault("rollout.steps", f"{list(steps)}", "rising percentages above 0 and at most 100")
    for metric, margin in spec.rollout.margin.items():
        if not 0 <= margin < math.inf:
            yield Fault(f"rollout.margin.{metric}", f"a margin of {margin}", "0 or more")
        if metric not in CATALOGUE:
            close = nearest(metric, CATALOGUE)
            hint = f"; did you mean {close!r}?" if close else ""
            yield Fault(f"rollout.margin.{metric}", f"unknown metric {metric!r}{hint}", "a metric of the standard")
