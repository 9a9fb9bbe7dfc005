"""What is to be predicted: the task and the label that counts as the event.

In: the target's profile and its clean values. Out: task, positive label and why. Raises TargetError when there is
nothing to learn.
"""

from __future__ import annotations

import polars as pl

from roadworthy.errors import Problem, TargetError
from roadworthy.records.contract import ColumnType
from roadworthy.records.project import Task
from roadworthy.transforms.inference.columns import Profile
from roadworthy.transforms.splits import label_text

__all__ = ["task_of"]

_EVENTS = (
    "1", "true", "yes", "y", "t", "positive", "pos", "event", "fraud", "spam", "default", "churn", "churned", "late",
    "bad", "malignant", "converted", "failure", "failed", "case", "sick", "dead", "died", "attack", "anomaly",
)  # fmt: skip
_AMOUNTS = (ColumnType.INTEGER, ColumnType.NUMBER)
_MOST_CLASSES = 20
_MOST_LABELS = 50


def task_of(target: Profile, values: pl.Series, task: Task | None) -> tuple[Task, str, list[str]]:
    """The task, the positive label (binary only) and sentences.

    ``values`` are the target's clean values, typed by its contract.
    """
    counts = values.drop_nulls().rename("value").value_counts(name="count", sort=True)
    if counts.height < 2:
        found = f"only the value {counts.item(0, 0)!r}" if counts.height else "no value at all"
        raise TargetError(
            f"the target {target.name!r} has {found}",
            problems=(Problem(found, expected="a target that varies", where=f"column {target.name}"),),
            next_step="name another target: `roadworthy init DATA --target COLUMN`",
        )
    chosen, why = (task, "as asked") if task else _guess(target, counts)
    if chosen is Task.REGRESSION and target.column.type not in _AMOUNTS:
        found = f"it is of type {target.column.type.value}"
        raise TargetError(
            f"the target {target.name!r} is no number, which a regression needs",
            problems=(Problem(found, expected="integer or number", where=f"column {target.name}"),),
            next_step="leave --task out, or name a target that holds numbers",
        )
    sentences = [f"task {chosen.value}: {why}"]
    if chosen is not Task.BINARY:
        return chosen, "", sentences
    if counts.height != 2:
        raise TargetError(
            f"the target {target.name!r} has {counts.height:,} values, a binary task has two",
            next_step="name another task, or derive a target with two values",
        )
    labels = dict(zip(label_text(counts.to_series(0)).to_list(), counts.get_column("count").to_list(), strict=True))
    positive, reason = _positive(labels)
    total = sum(labels.values())
    share = labels[positive] / total
    sentences.append(f"{positive!r} is the event, {share:.1%} of {total:,} rows: {reason}")
    return chosen, positive, sentences


def _guess(target: Profile, counts: pl.DataFrame) -> tuple[Task, str]:
    distinct, rows = counts.height, int(counts.get_column("count").sum())
    kind = target.column.type
    if distinct == 2:
        return Task.BINARY, "the target has two values"
    if kind in {ColumnType.CATEGORY, ColumnType.TEXT}:
        if distinct > _MOST_LABELS or distinct > 0.2 * rows:
            raise TargetError(
                f"the target {target.name!r} is text with {distinct:,} different values in {rows:,} rows",
                problems=(Problem(f"{distinct:,} labels", expected=f"numbers, or at most {_MOST_LABELS} labels"),),
                next_step="name another target, or group its labels first",
            )
        return Task.MULTICLASS, f"the target has {distinct} labels"
    if kind is ColumnType.TIME:
        raise TargetError(
            f"the target {target.name!r} is a time",
            next_step="derive a number or a class from it, or name another target",
        )
    if kind is ColumnType.INTEGER and distinct <= _MOST_CLASSES and rows >= 10 * distinct:
        values = counts.get_column("value")
        compact = int(values.max()) - int(values.min()) < 2 * _MOST_CLASSES  # type: ignore[arg-type]  # an Int64 column
        if compact:
            why = f'the target has {distinct} different whole numbers; write task = "regression" if they are amounts'
            return Task.MULTICLASS, why
    return Task.REGRESSION, f"the target has {distinct:,} different numbers"


def _positive(labels: dict[str, int]) -> tuple[str, str]:
    spoken = [label for label in labels if label.lower().strip(".") in _EVENTS]
    if len(spoken) == 1:
        return spoken[0], "the label says so"
    rarer = min(labels, key=lambda label: (labels[label], label))
    return rarer, "it is the rarer of the two"
