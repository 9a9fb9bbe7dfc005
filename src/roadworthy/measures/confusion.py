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
)
from roadworthy.measures.samples import Sample

__all__ = ["MIN_CLASS_ROWS", "balanced_accuracy", "confusion_counts", "macro_f1", "mcc"]

MIN_CLASS_ROWS = 20
"""Measures that weigh classes alike need this many rows of the rarest: below it their bounds miss too often."""


def confusion_counts(sample: Sample) -> NDArray[np.int64]:
    """Rows by true class (first axis) and predicted class (second)."""
    k = sample.class_count
    return np.bincount(sample.y * k + sample.decision, minlength=k * k).reshape(k, k)


def balanced_accuracy(sample: Sample, confidence: float) -> Bounds:
    """Mean over classes of the share of their rows decided rightly."""
    _enough(sample)
    return _from_matrix(sample, confidence, _balanced_value)


def mcc(sample: Sample, confidence: float) -> Bounds:
    """Matthews correlation of prediction and truth (Gorodkin's R_K for more than two classes)."""
    _enough(sample)
    halved = _from_matrix(sample, confidence, lambda counts: (1 + _mcc_value(counts)) / 2)
    return halved._replace(value=2 * halved.value - 1, lower=2 * halved.lower - 1, upper=2 * halved.upper - 1)


def macro_f1(sample: Sample, confidence: float) -> Bounds:
    """Mean over classes of F1."""
    _enough(sample)
    return _from_matrix(sample, confidence, _macro_f1_value)


def _enough(sample: Sample) -> None:
    rarest = int(sample.class_counts().min())
    if rarest < MIN_CLASS_ROWS:
        raise NotEnough(f"needs at least {MIN_CLASS_ROWS} rows of the rarest class, has {rarest}")


def _from_matrix(sample: Sample, confidence: float, value_of: Callable[[NDArray[np.float64]], float]) -> Bounds:
    """Bounds of a value in [0, 1], as of a share of as many rows as give it the same variance.

    The variance comes from each cell's influence on the value (delta method), at a matrix to which two rows
    are added as if prediction and truth were independent.
    """
    counts = confusion_counts(sample).astype(np.float64)
    value = value_of(counts)
    smooth = counts + 2 * np.outer(counts.sum(axis=1), counts.sum(axis=0) + 0.5) / sample.n**2
    centre, gradient = value_of(smooth), _gradient(value_of, smooth)
    shares = smooth / smooth.sum()
    mean = float((shares * gradient).sum())
    variance = float((shares * (gradient - mean) ** 2).sum()) * sample.n * _design_effect(sample, gradient)
    groups = cluster_count(sample.clusters)
    size = centre * (1 - centre) / variance
    if groups:
        student = special.stdtrit(groups - 1, confidence) / special.ndtri(confidence)
        size /= float(student) ** 2
    lower, upper = like_proportion(value, size, confidence)
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
    influence -= influence.mean()
    simple = float(influence @ influence)
    sums = cluster_sums(sample.clusters, influence)
    return max(1.0, groups / (groups - 1) * float(sums @ sums) / simple) if simple > 0 else sample.n / groups


def _gradient(value_of: Callable[[NDArray[np.float64]], float], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Central differences of the value by each cell of the matrix."""
    gradient = np.zeros_like(counts)
    for cell in np.ndindex(counts.shape):
        step = 1e-4 * counts[cell]
        up, down = counts.copy(), counts.copy()
        up[cell] += step
        down[cell] -= step
        gradient[cell] = (value_of(up) - value_of(down)) / (2 * step)
    return gradient


def _balanced_value(counts: NDArray[np.float64]) -> float:
    return float(np.mean(np.diag(counts) / np.maximum(counts.sum(axis=1), 1e-300)))


def _mcc_value(counts: NDArray[np.float64]) -> float:
    total, right = counts.sum(), np.trace(counts)
    actual, predicted = counts.sum(axis=1), counts.sum(axis=0)
    spread = (total**2 - predicted @ predicted) * (total**2 - actual @ actual)
    return float((right * total - actual @ predicted) / math.sqrt(spread)) if spread > 0 else 0.0


def _macro_f1_value(counts: NDArray[np.float64]) -> float:
    both = counts.sum(axis=1) + counts.sum(axis=0)
    return float(np.mean(2 * np.diag(counts) / np.maximum(both, 1e-300)))
