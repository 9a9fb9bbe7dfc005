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

from roadworthy import assembly
from roadworthy.api.subjects import Scored, Subject
from roadworthy.errors import DataError, Problem, RoadworthyError, TargetError, UsageError, nearest
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task
from roadworthy.transforms.splits import class_labels, label_text

__all__ = ["Given", "clusters_of", "given_rows", "nothing_left", "outcomes", "sample_of"]


@dataclass(frozen=True, slots=True)
class Given:
    """Rows with their labels in the column ``target``, and what to call them."""

    rows: pl.DataFrame
    target: str
    shown: str


def given_rows(data: Any, y: Sequence[Any] | None, target: str) -> Given:
    """The rows of a path, frame or matrix; ``y`` are the labels where ``data`` has no column of them."""
    if isinstance(data, np.ndarray):
        data = pl.DataFrame(data, schema=[f"column_{place}" for place in range(data.shape[1])])
    source = assembly.source_of(data)
    rows = source.scan().collect()
    if y is not None:
        target = target or "target"
        rows = rows.with_columns(pl.Series(target, np.asarray(y).tolist()))
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
    return Given(rows, target, source.describe())


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
        return Sample(task=task, y=outcomes(column, task, ()), score=scores, clusters=clusters)
    classes = subject.classes or class_labels(column, task, positive)
    y = outcomes(column, task, classes)
    cut = threshold if threshold is not None else subject.threshold
    cut = 0.5 if cut is None and task is Task.BINARY else cut
    return Sample(task=task, y=y, score=scores, classes=classes, clusters=clusters, threshold=cut)


def outcomes(column: pl.Series, task: Task, classes: Sequence[str]) -> NDArray[Any]:
    """Class index of each label [N], or its value for regression; TargetError for what the model does not know."""
    if task is Task.REGRESSION:
        return _numbers(column)
    codes = {label: place for place, label in enumerate(classes)}
    labels = label_text(column)
    unknown = sorted(set(labels.unique().to_list()) - set(codes))
    if unknown:
        shown = ", ".join(unknown[:5])
        problem = Problem(f"labels {shown}", expected=", ".join(classes), where=f"column {column.name}")
        raise TargetError(f"the model does not know the labels {shown}", problems=[problem])
    return labels.replace_strict(codes, return_dtype=pl.Int64).to_numpy()


def clusters_of(rows: pl.DataFrame, entity: str) -> NDArray[np.int64] | None:
    """A number per entity; a row without one is its own. None where no entity is named."""
    if entity not in rows.columns:
        return None
    column = rows.get_column(entity)
    own = -1 - pl.int_range(len(column), eager=True)
    return column.rank("dense").cast(pl.Int64).fill_null(own).to_numpy()


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
