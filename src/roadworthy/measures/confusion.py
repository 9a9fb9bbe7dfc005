"""Quality from the whole confusion matrix: balanced accuracy, Matthews correlation, macro F1.

In: a ``Sample`` with decisions. Out: ``Bounds``. Law: each value is a function of the confusion matrix alone.
Each value lies in [0, 1] once mapped, so its bounds are those of a share with the same variance: they bend as
they should near 1, where a normal interval would not. A little is added to the matrix for the variance alone, so
that an empty cell is not taken for certainty.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

from roadworthy.measures.intervals import (
    Bounds,
    NotEnough,
    cluster_count,
    cluster_sums,
    like_proportion,
    skewed_t,
)
from roadworthy.measures.samples import Sample

__all__ = ["MIN_CLASS_ROWS", "balanced_accuracy", "confusion_counts", "macro_f1", "mcc"]

MIN_CLASS_ROWS = 20
"""Measures that weigh classes alike need this many rows of the rarest: below it their bounds miss too often."""


_FEWEST_RIGHT = 5
_SMALL_CLASS = 200
_Formula = Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]
"""A confusion matrix → a value in [0, 1] and its derivative by each cell."""


def confusion_counts(sample: Sample) -> NDArray[np.int64]:
    """Rows by true class (first axis) and predicted class (second)."""
    k = sample.class_count
    return np.bincount(sample.y * k + sample.decision, minlength=k * k).reshape(k, k)


def balanced_accuracy(sample: Sample, confidence: float) -> Bounds:
    """Mean over classes of the share of their rows decided rightly."""
    _enough(sample)
    return _from_matrix(sample, confidence, _balanced)


def mcc(sample: Sample, confidence: float) -> Bounds:
    """Matthews correlation of prediction and truth (Gorodkin's R_K for more than two classes)."""
    _enough(sample)
    halved = _from_matrix(sample, confidence, _halved_mcc)
    return halved._replace(value=2 * halved.value - 1, lower=2 * halved.lower - 1, upper=2 * halved.upper - 1)


def macro_f1(sample: Sample, confidence: float) -> Bounds:
    """Mean over classes of F1.

    Raises NotEnough where a small class has fewer than 5 rows decided rightly: its F1 then hangs on single rows.
    """
    _enough(sample)
    counts = confusion_counts(sample)
    small = counts.sum(axis=1) + counts.sum(axis=0) < _SMALL_CLASS
    fewest = int(np.diag(counts)[small].min(initial=_FEWEST_RIGHT))
    if fewest < _FEWEST_RIGHT:
        raise NotEnough(f"needs at least {_FEWEST_RIGHT} rows decided rightly of each class, has {fewest}")
    return _from_matrix(sample, confidence, _macro_f1)


def _enough(sample: Sample) -> None:
    rarest = int(sample.class_counts().min())
    if rarest < MIN_CLASS_ROWS:
        raise NotEnough(f"needs at least {MIN_CLASS_ROWS} rows of the rarest class, has {rarest}")


def _from_matrix(sample: Sample, confidence: float, formula: _Formula) -> Bounds:
    """Bounds of a value in [0, 1], as of a share of as many rows as give it the same variance.

    The variance comes from each cell's influence on the value (delta method), at a matrix to which two rows
    are added as if prediction and truth were independent.
    """
    counts = confusion_counts(sample).astype(np.float64)
    value, slope = formula(counts)
    smooth = counts + 2 * np.outer(counts.sum(axis=1), counts.sum(axis=0) + 0.5) / sample.n**2
    centre, gradient = formula(smooth)
    shares = smooth / smooth.sum()
    mean = float((shares * gradient).sum())
    variance = float((shares * (gradient - mean) ** 2).sum()) * sample.n * _design_effect(sample, gradient)
    groups = cluster_count(sample.clusters)
    size = centre * (1 - centre) / variance
    if groups:
        student = special.stdtrit(groups - 1, confidence) / special.ndtri(confidence)
        size /= float(student) ** 2
    lower, upper = like_proportion(value, size, confidence)
    influence = slope[sample.y, sample.decision]
    try:  # where a rare cell decides, the value is skewed beyond what a share would be: take the wider bound
        skewed = skewed_t(value, influence - influence.mean(), sample.clusters, confidence)
        lower, upper = max(0.0, min(lower, skewed.lower)), min(1.0, max(upper, skewed.upper))
    except NotEnough:  # every row has the same influence: a perfect matrix, which the share's bounds are made for
        pass
    method = "delta method, Jeffreys at its effective size" + (", clustered by entity" if groups else "")
    return Bounds(value, lower, upper, method, groups)


def _design_effect(sample: Sample, gradient: NDArray[np.float64]) -> float:
    """Cluster-robust over simple variance of the summed influence; at least 1."""
    if sample.clusters is None:
        return 1.0
    groups = cluster_count(sample.clusters)
    if groups < 10:
        raise NotEnough(f"needs at least 10 entities, has {groups}")
    influence = gradient[sample.y, sample.decision]
    influence = influence - influence.mean()
    simple = float(influence @ influence)
    sums = cluster_sums(sample.clusters, influence)
    return max(1.0, groups / (groups - 1) * float(sums @ sums) / simple) if simple > 0 else sample.n / groups


def _balanced(counts: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Mean recall, and its derivative by each cell."""
    k = len(counts)
    actual = np.maximum(counts.sum(axis=1), 1e-300)
    recall = np.diag(counts) / actual
    gradient = np.diag(1 / actual) - (recall / actual)[:, None]
    return float(recall.mean()), np.asarray(gradient / k)


def _macro_f1(counts: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Mean F1, and its derivative by each cell."""
    k = len(counts)
    both = np.maximum(counts.sum(axis=1) + counts.sum(axis=0), 1e-300)
    f1 = 2 * np.diag(counts) / both
    gradient = np.diag(2 / both) - (f1 / both)[:, None] - (f1 / both)[None, :]
    return float(f1.mean()), np.asarray(gradient / k)


def _halved_mcc(counts: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """(1 + R_K) / 2, and its derivative by each cell; 0.5 where one side is constant."""
    total, right = float(counts.sum()), float(np.trace(counts))
    actual, predicted = counts.sum(axis=1), counts.sum(axis=0)
    of_said, of_true = total**2 - float(predicted @ predicted), total**2 - float(actual @ actual)
    if of_said <= 0 or of_true <= 0:
        return 0.5, np.zeros_like(counts)
    spread = math.sqrt(of_said * of_true)
    value = (right * total - float(actual @ predicted)) / spread
    rise = np.eye(len(counts)) * total + right - predicted[:, None] - actual[None, :]
    widen = ((total - predicted)[None, :] * of_true + of_said * (total - actual)[:, None]) / spread
    return (1 + value) / 2, np.asarray((rise - value * widen) / spread / 2)
