"""A scored sample: rows whose outcome is known, beside what a model said of them.

In: class indices or target values, scores, the decision threshold, entity codes. Out: one frozen ``Sample``
that every measure takes, checked once. Laws: shapes agree; every number is finite; probabilities lie in
[0, 1]; ``take`` keeps rows aligned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError, Problem
from roadworthy.records.project import Task

__all__ = ["Sample", "dense_codes", "entity_codes", "folds_of"]

_SUM_TOLERANCE = 1e-3


def dense_codes(values: NDArray[Any]) -> NDArray[np.int64]:
    """Integer codes 0…k−1 for any array of entity values, equal values sharing a code.

    >>> dense_codes(np.array([40, 7, 40])).tolist()
    [1, 0, 1]
    """
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)


def entity_codes(column: pl.Series) -> NDArray[np.int64]:
    """Codes 0…k−1 for a column of entities, in their order; each row without one is its own, after all others.

    >>> entity_codes(pl.Series(["b", None, "a", "b", None])).tolist()
    [1, 2, 0, 1, 3]
    """
    missing = column.is_null().to_numpy()
    codes = np.empty(len(column), dtype=np.int64)
    codes[~missing] = column.drop_nulls().rank("dense").to_numpy().astype(np.int64) - 1
    first = int(codes[~missing].max(initial=-1)) + 1
    codes[missing] = np.arange(first, first + int(missing.sum()))
    return codes


def folds_of(
    count: int, number: int, rng: np.random.Generator, clusters: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """A fold 0…number−1 for each of ``count`` rows by chance, whole entities in one where rows are clustered."""
    if clusters is None:
        return rng.permutation(count) % number
    return np.asarray((rng.permutation(int(clusters.max(initial=0)) + 1) % number)[clusters])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sample:
    """Rows with a known outcome and a score.

    ``y`` [n]: class index (int; binary: 1 is the event) or target value (float). ``score`` [n]: probability of
    the event (binary) or the estimate (regression); [n, K]: class probabilities (multiclass). ``threshold``:
    a binary row counts as predicted positive when ``score >= threshold``; None where no decision is taken.
    ``classes``: the labels, by index. ``clusters`` [n]: entity codes, or None where rows are independent.
    ``reference``: what is known of the target without the model, from the training part: class shares
    (classification) or ``(mean,)`` (regression); None takes this sample's own. ``folds`` [n]: the fold of
    out-of-fold rows. ``seed`` makes any random choice repeatable.

    Raises DataError, naming every fault, when the parts do not fit together.
    """

    task: Task
    y: NDArray[Any]
    score: NDArray[Any]
    threshold: float | None = None
    classes: tuple[str, ...] = ()
    clusters: NDArray[np.int64] | None = None
    reference: tuple[float, ...] | None = None
    folds: NDArray[np.int64] | None = None
    seed: int = 7

    def __post_init__(self) -> None:
        """Check once, so that no measure has to."""
        problems = _shape_problems(self) or _value_problems(self)
        if problems:
            raise DataError("a scored sample does not fit together", problems=problems)
        if self.clusters is not None and not _countable(self.clusters):
            object.__setattr__(self, "clusters", dense_codes(np.asarray(self.clusters)))

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.y)

    @property
    def class_count(self) -> int:
        """Number of classes; 0 for regression."""
        if self.task is Task.REGRESSION:
            return 0
        return 2 if self.task is Task.BINARY else int(self.score.shape[1])

    @property
    def decision(self) -> NDArray[np.int64]:
        """Predicted class index per row; raises DataError for a binary sample without threshold."""
        if self.task is Task.MULTICLASS:
            return np.asarray(np.argmax(self.score, axis=1), dtype=np.int64)
        if self.task is Task.REGRESSION:
            raise DataError("a regression sample has no decisions", next_step="ask for mae, rmse or r2")
        if self.threshold is None:
            raise DataError("a decision needs a threshold", next_step="set [decision] threshold in roadworthy.toml")
        return np.asarray(self.score >= self.threshold, dtype=np.int64)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Class probabilities [n, K], for binary too."""
        if self.task is Task.BINARY:
            return np.column_stack([1.0 - self.score, self.score]).astype(np.float64)
        return self.score.astype(np.float64)

    def class_counts(self) -> NDArray[np.int64]:
        """Rows per class index."""
        return np.bincount(self.y, minlength=self.class_count)

    def take(self, rows: NDArray[Any]) -> Sample:
        """The same sample on some rows (mask or positions), in their order."""
        return replace(
            self,
            y=self.y[rows],
            score=self.score[rows],
            clusters=None if self.clusters is None else self.clusters[rows],
            folds=None if self.folds is None else self.folds[rows],
        )

    def scored(self, score: NDArray[Any]) -> Sample:
        """The same rows with another model's scores, probabilities kept within [0, 1]; they belong to no folds."""
        return replace(self, score=_bounded(score, self.task), folds=None)

    def at(self, threshold: float) -> Sample:
        """The same rows decided at another threshold."""
        return replace(self, threshold=float(threshold))


def _bounded(score: NDArray[Any], task: Task) -> NDArray[Any]:
    return score if task is Task.REGRESSION else np.clip(score, 0.0, 1.0)


def _countable(codes: NDArray[Any]) -> bool:
    """Whether codes can be counted as they are: integers from 0, not many more than there are rows."""
    if not np.issubdtype(codes.dtype, np.integer) or len(codes) == 0:
        return False
    return bool(codes.min() >= 0 and codes.max() <= 2 * len(codes))


def _shape_problems(sample: Sample) -> list[Problem]:
    n = len(sample.y)
    problems = []
    dimensions = 2 if sample.task is Task.MULTICLASS else 1
    if sample.y.ndim != 1:
        problems.append(Problem(f"y has {sample.y.ndim} dimensions", expected="1", where="y"))
    if sample.score.ndim != dimensions:
        problems.append(Problem(f"score has {sample.score.ndim} dimensions", expected=f"{dimensions}", where="score"))
    for name, part in (("score", sample.score), ("clusters", sample.clusters), ("folds", sample.folds)):
        if part is not None and len(part) != n:
            problems.append(Problem(f"{len(part)} rows", expected=f"{n}, as in y", where=name))
    return problems


def _value_problems(sample: Sample) -> list[Problem]:
    problems = []
    if not np.isfinite(sample.score).all():
        problems.append(Problem(f"{int((~np.isfinite(sample.score)).sum())} values are not finite", where="score"))
    if sample.task is Task.REGRESSION:
        if not np.isfinite(sample.y).all():
            problems.append(Problem(f"{int((~np.isfinite(sample.y)).sum())} values are not finite", where="y"))
        return problems
    if not np.issubdtype(sample.y.dtype, np.integer):
        problems.append(Problem(f"type {sample.y.dtype}", expected="integer class indices", where="y"))
    elif sample.n and (sample.y.min() < 0 or sample.y.max() >= sample.class_count):
        found = f"class indices from {sample.y.min()} to {sample.y.max()}"
        problems.append(Problem(found, expected=f"0 to {sample.class_count - 1}", where="y"))
    if sample.n and not problems and (sample.score.min() < -1e-6 or sample.score.max() > 1 + 1e-6):
        found = f"values from {sample.score.min():.4g} to {sample.score.max():.4g}"
        problems.append(Problem(found, expected="probabilities in [0, 1]", where="score"))
    if sample.task is Task.MULTICLASS and sample.n and not problems:
        worst = float(np.abs(sample.score.sum(axis=1) - 1).max())
        if worst > _SUM_TOLERANCE:
            problems.append(Problem(f"rows sum to 1 ± {worst:.3g}", expected="class probabilities", where="score"))
    return problems
