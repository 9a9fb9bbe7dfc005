"""Quality as a share of rows: accuracy, top-k accuracy, precision, recall, specificity, F1.

In: a ``Sample`` with decisions. Out: ``Bounds``, exact (Clopper–Pearson), clustered by entity at the effective
sample size. Law: each metric is a share of true rows among the rows it speaks of, so all share one interval.
F1 is one too: F1 = 2 J / (1 + J) with J = TP / (TP + FP + FN), a share of the rows that are positive or were
predicted so; a bound on J is a bound on F1 (the map rises).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.measures.intervals import Bounds, NotEnough, proportion
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task

__all__ = ["accuracy", "f1", "precision", "recall", "specificity", "top_3_accuracy", "top_5_accuracy"]


def accuracy(sample: Sample, confidence: float) -> Bounds:
    """Share of rows decided rightly (multiclass: the likeliest class is the true one)."""
    return proportion(sample.decision == sample.y, sample.clusters, confidence)


def top_3_accuracy(sample: Sample, confidence: float) -> Bounds:
    """Share of rows whose true class is among the three likeliest; NotEnough with no more than three classes."""
    return _top(sample, 3, confidence)


def top_5_accuracy(sample: Sample, confidence: float) -> Bounds:
    """Share of rows whose true class is among the five likeliest; NotEnough with no more than five classes."""
    return _top(sample, 5, confidence)


def precision(sample: Sample, confidence: float) -> Bounds:
    """Share of true events among the rows predicted positive."""
    predicted = _binary(sample, "precision") == 1
    return _among(sample, predicted, sample.y == 1, confidence, "no row was predicted positive")


def recall(sample: Sample, confidence: float) -> Bounds:
    """Share of the events that were predicted positive."""
    predicted = _binary(sample, "recall") == 1
    return _among(sample, sample.y == 1, predicted, confidence, "no row is positive")


def specificity(sample: Sample, confidence: float) -> Bounds:
    """Share of the non-events that were predicted negative."""
    predicted = _binary(sample, "specificity") == 1
    return _among(sample, sample.y == 0, ~predicted, confidence, "no row is negative")


def f1(sample: Sample, confidence: float) -> Bounds:
    """Harmonic mean of precision and recall, through the share TP / (TP + FP + FN)."""
    predicted = _binary(sample, "f1") == 1
    actual = sample.y == 1
    either, both = predicted | actual, predicted & actual
    share = _among(sample, either, both, confidence, "no row is positive or was predicted positive")
    value, lower, upper = (2 * part / (1 + part) for part in share[:3])
    return share._replace(value=value, lower=lower, upper=upper)


def _top(sample: Sample, k: int, confidence: float) -> Bounds:
    """Of equally likely classes the one of the lower index goes first, as in ``Sample.decision``."""
    if sample.class_count <= k:
        raise NotEnough(
            f"needs more than {k} classes, has {sample.class_count}: the truth is always among the first {k}"
        )
    own = sample.score[np.arange(sample.n), sample.y][:, None]
    earlier = np.arange(sample.class_count) < sample.y[:, None]
    rank = ((sample.score > own) | ((sample.score == own) & earlier)).sum(axis=1)
    return proportion(rank < k, sample.clusters, confidence)


def _binary(sample: Sample, metric: str) -> NDArray[np.int64]:
    if sample.task is not Task.BINARY:
        raise DataError(f"{metric} is defined for binary tasks", next_step="ask for macro_f1 or balanced_accuracy")
    return sample.decision


def _among(sample: Sample, rows: NDArray[np.bool_], hit: NDArray[np.bool_], confidence: float, empty: str) -> Bounds:
    if not rows.any():
        raise NotEnough(empty)
    clusters = None if sample.clusters is None else sample.clusters[rows]
    return proportion(hit[rows], clusters, confidence)._replace(among=int(np.count_nonzero(rows)))
