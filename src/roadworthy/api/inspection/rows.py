"""Labelled rows as they come to ``inspect``, and the sample that they make with a model's scores.

In: a path, a frame or a matrix, and where the labels stand. Out: rows with their labels; a ``Sample``. Raises what a
person can mend: no target, a target that is not there, labels that the model does not know or that are no numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars import selectors as cs

from roadworthy import assembly
from roadworthy.api.subjects import Scored, Subject
from roadworthy.errors import DataError, Problem, RoadworthyError, TargetError, UnknownName, UsageError, nearest
from roadworthy.measures.samples import Sample, entity_codes
from roadworthy.records.project import Task
from roadworthy.transforms.splits import class_labels, label_text

__all__ = ["Given", "clusters_of", "given_rows", "nothing_left", "outcomes", "sample_of", "typed_alike"]


_VAST = 1e150
"""Squares of what is greater, and sums of them, are not finite."""


@dataclass(frozen=True, slots=True)
class Given:
    """Rows with their labels in the column ``target``, and what to call them."""

    rows: pl.DataFrame
    target: str
    shown: str


def given_rows(data: Any, y: Sequence[Any] | None, target: str) -> Given:
    """The rows of a path, frame or matrix; ``y`` are the labels where ``data`` has no column of them."""
    if isinstance(data, np.ndarray):
        data = _frame_of(data)
    source = assembly.source_of(data)
    rows = source.scan().collect()
    if y is not None:
        target = target or "target"
        rows = rows.with_columns(_labels_beside(y, rows, target))
    if not target:
        raise UsageError("no target is named", next_step="--target COLUMN")
    if target not in rows.columns:
        close = nearest(target, rows.columns)
        hint = f"; did you mean {close!r}?" if close else ""
        raise TargetError(
            f"{source.describe()} has no column {target!r}{hint}",
            problems=[Problem(f"columns: {', '.join(rows.columns)}")],
            next_step=f"--target {close or 'COLUMN'}",
        )
    rows = rows.with_columns(cs.by_dtype(pl.Int128, pl.UInt128, pl.Decimal).cast(pl.Float64))
    return Given(rows.with_columns(_known_labels(rows.get_column(target))), target, source.describe())


def _frame_of(matrix: NDArray[Any]) -> pl.DataFrame:
    if matrix.ndim != 2:
        found = f"an array of shape {matrix.shape}"
        raise UsageError("the rows are no table", problems=[Problem(found, expected="two dimensions: rows, columns")])
    return pl.DataFrame(matrix, schema=[f"column_{place}" for place in range(matrix.shape[1])])


def _labels_beside(y: Any, rows: pl.DataFrame, target: str) -> pl.Series:
    """The labels ``y`` as a column; UsageError where they are not one for each row."""
    if target in rows.columns:
        raise UsageError(
            f"the rows have a column {target!r}, and labels are given beside them",
            next_step="leave y out, or call the labels by another name: target=",
        )
    try:
        values = y if isinstance(y, pl.Series) else np.asarray(y)
        values = values.ravel() if isinstance(values, np.ndarray) and values.shape[1:] == (1,) else values
        if values.shape != (rows.height,):
            found = Problem(f"labels of shape {values.shape}", expected=f"{rows.height:,}, one for each row")
            raise UsageError("the labels do not belong to the rows", problems=[found])
        return pl.Series(target, values if isinstance(values, pl.Series) else values.tolist())
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        found = Problem(type(y).__name__, where="y", expected="a list, Series or array of labels of one kind")
        raise UsageError("the labels cannot be read", problems=[found]) from error


def _known_labels(labels: pl.Series) -> pl.Series:
    """Labels that are blank or NaN are missing; TargetError for a column of what can be no label."""
    kind = labels.dtype
    if kind.is_nested() or kind in {pl.Binary, pl.Object}:
        raise TargetError(
            f"column {labels.name} holds no labels",
            problems=[Problem(f"type {kind}", where=f"column {labels.name}", expected="numbers, texts or booleans")],
        )
    if kind == pl.String:
        return labels.set(labels.str.strip_chars() == "", None)
    return labels.fill_nan(None) if kind.is_float() else labels


def typed_alike(rows: pl.DataFrame, like: pl.DataFrame) -> pl.DataFrame:
    """Rows with text read as numbers where others hold numbers; DataError naming columns of another kind."""
    read, problems = [], []
    for column in rows.iter_columns():
        wanted = _kind(like.schema.get(column.name, column.dtype))
        found, where = column, f"column {column.name} of the training rows"
        if column.dtype == pl.String and wanted == "numbers":
            text = column.str.strip_chars().replace("", None)
            found = text.cast(pl.Float64, strict=False)
            if wrong := found.null_count() - text.null_count():
                problems.append(Problem(f"{wrong:,} values that are no numbers", where=where, expected="numbers"))
        elif "" not in {wanted, _kind(column.dtype)} and (_kind(column.dtype), wanted) not in _FIT:
            problems.append(Problem(_kind(column.dtype), where=where, expected=wanted))
        read.append(found)
    if problems:
        raise DataError(
            "the training rows are not of the same kinds as the inspected ones",
            problems=problems,
            next_step="read both in the same way",
        )
    return rows.with_columns(read)


_FIT = {("text", "text"), ("numbers", "numbers"), ("times", "times"), ("text", "times")}
"""What rows hold, and what others hold there: text may yet be read as times."""


def _kind(kind: pl.DataType) -> str:
    if kind in {pl.String, pl.Categorical} or isinstance(kind, pl.Enum):
        return "text"
    if kind.is_numeric() or kind == pl.Boolean:
        return "numbers"
    return "times" if kind.is_temporal() else ""


def nothing_left(scored: Scored, given: Given) -> RoadworthyError:
    """Why no row can be inspected."""
    if not scored.misread:
        return DataError(f"no row of {given.shown} has both a score and a label", next_step="check the target's name")
    return TargetError(
        f"no row of {given.shown} has both a score and a label that meets the contract",
        problems=[
            Problem(f"{count:,} labels: {reason}", where=f"column {given.target}")
            for reason, count in scored.misread.items()
        ],
        next_step="see that --target names the column with the labels, written as in training",
    )


def sample_of(  # noqa: PLR0917 - everything that a sample is made of
    column: pl.Series,
    scores: NDArray[np.float64],
    task: Task,
    subject: Subject,
    positive: str,
    threshold: float | None,
    clusters: NDArray[np.int64] | None,
) -> Sample:
    """The sample of labels and scores [N]; ``clusters`` [N] tell whose rows they are."""
    if task is Task.REGRESSION:
        if positive:
            raise _other_event(positive, task, ())
        y = outcomes(column, task, ())
        if vast := int(((np.abs(y) > _VAST) | (np.abs(scores) > _VAST)).sum()):
            raise DataError(
                f"{vast:,} rows have labels or estimates too great to be measured",
                problems=[Problem(f"{vast:,} rows beyond {_VAST:g}", expected="numbers whose squares are finite")],
                next_step="leave those rows out, or write the target in a greater unit",
            )
        return Sample(task=task, y=y, score=scores, clusters=clusters)
    classes = subject.classes or _classes_of(column, task, positive)
    if positive and (task is not Task.BINARY or _label_of(positive, classes) != classes[1]):
        raise _other_event(positive, task, classes)
    y = outcomes(column, task, classes)
    cut = threshold if threshold is not None else subject.threshold
    cut = 0.5 if cut is None and task is Task.BINARY else cut
    return Sample(task=task, y=y, score=scores, classes=classes, clusters=clusters, threshold=cut)


def _label_of(word: object, labels: Sequence[str]) -> str:
    """A label as a person may write it: 1.0 for 1; the word itself where no label is meant."""
    text = str(word)
    short = text.removesuffix(".0")
    return short if text not in labels and short in labels else text


def _classes_of(column: pl.Series, task: Task, positive: str) -> tuple[str, ...]:
    labels = sorted(label_text(column).drop_nulls().unique().to_list())
    wanted = _label_of(positive, labels) if positive and task is Task.BINARY else ""
    if wanted and wanted not in labels:
        raise UnknownName("label", wanted, labels, where="--positive")
    return class_labels(column, task, wanted)


def _other_event(positive: str, task: Task, classes: Sequence[str]) -> RoadworthyError:
    if task is not Task.BINARY:
        return UsageError(f"a {task.value} task has no event", next_step="leave --positive out")
    if _label_of(positive, classes) not in classes:
        return UnknownName("label", positive, classes, where="--positive")
    return UsageError(
        f"the model's own event is {classes[1]!r}, not {positive!r}",
        problems=[Problem(f"labels in the model's order: {', '.join(classes)}", expected=f"{positive} as the last")],
        next_step="leave --positive out",
    )


def outcomes(column: pl.Series, task: Task, classes: Sequence[str]) -> NDArray[Any]:
    """Class index of each label [N], or its value for regression; TargetError for what the model does not know."""
    if task is Task.REGRESSION:
        return _numbers(column)
    codes = {label: place for place, label in enumerate(classes)}
    labels = label_text(column)
    if not set(labels.unique().to_list()) <= set(codes):  # text files may have blanks around labels
        labels, codes = labels.str.strip_chars(), {label.strip(): place for place, label in enumerate(classes)}
    unknown = sorted(set(labels.unique().to_list()) - set(codes))
    if unknown or len(codes) < len(classes):
        shown = ", ".join(map(repr, unknown[:5]))
        known = ", ".join(map(repr, classes[:12]))
        raise TargetError(
            f"the model does not know the labels {shown}",
            problems=[Problem(f"labels {shown}", expected=known, where=f"column {column.name}")],
            next_step="write the labels as the model was trained on them, or see that --target names their column",
        )
    return labels.replace_strict(codes, return_dtype=pl.Int64).to_numpy()


def clusters_of(rows: pl.DataFrame, entity: str) -> NDArray[np.int64] | None:
    """A number per entity; a row without one is its own. None where no entity is named."""
    if entity not in rows.columns:
        return None
    return entity_codes(rows.get_column(entity))


def _numbers(column: pl.Series) -> NDArray[np.float64]:
    """The labels of a regression; TargetError where some are no numbers."""
    values = column.cast(pl.Float64, strict=False)
    wrong = int((~values.is_finite()).fill_null(value=True).sum())
    if wrong:
        raise TargetError(
            f"{wrong:,} of {len(column):,} labels are no numbers",
            problems=[
                Problem(f"{wrong:,} values that are no numbers", where=f"column {column.name}", expected="numbers")
            ],
            next_step="leave those rows out, or write a label that is not known as an empty cell",
        )
    return values.to_numpy()
