"""Quality from the whole confusion matrix: balanced accuracy, Matthews correlation, macro F1, F-beta, lift.

In: a ``Sample`` with decisions. Out: ``Bounds``. Law: each value is a function of the confusion matrix alone, so its
bounds do not know the order of the rows.

The matrix is taken to be drawn from a multinomial law, and the bounds are quantiles of the value under the posterior
of that law (Dirichlet), drawn at random with the sample's seed. The prior is Jeffreys's half row for "decided rightly"
and for "decided wrongly", of each class, shrunk as 2 / K so that K classes together do not pull (for two classes it is
Jeffreys's own). What the value's curvature adds on average is taken off, once for the posterior and once for the
sample. Where rows come by entity, the matrix counts as few rows as the clusters leave it. Unlike the delta method this
keeps its coverage with five rows of a class (decision 0026).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy import special

from roadworthy.errors import DataError
from roadworthy.measures.intervals import MIN_CLUSTERS, Bounds, NotEnough, cluster_count, cluster_sums
from roadworthy.measures.losses import base_shares
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task

__all__ = ["MIN_CLASS_ROWS", "balanced_accuracy", "confusion_counts", "f05", "f2", "lift", "macro_f1", "mcc"]

MIN_CLASS_ROWS = 5
"""Measures of the whole matrix need this many rows of the rarest class: below it their bounds miss too often."""

_LOW, _HIGH = (0.25, 0.5), (0.5, 0.25)
"""Prior rows per class, decided rightly and wrongly, for the lower and for the upper bound."""
_DRAWS = 2_000
_MOST_DRAWS = 400_000
_MOST_NUMBERS = 4_000_000
_AT_ONCE = 1_000_000
_TAIL = 20
"""Draws beyond the confidence asked for, as long as that takes no more than _MOST_DRAWS."""
_STEP = 1e-20
_NOTHING = 1e-300


class _Margins(NamedTuple):
    """What a value needs of matrices [..., K, K]: the diagonal and the sums by truth and by prediction, [..., K]."""

    right: NDArray[Any]
    actual: NDArray[Any]
    said: NDArray[Any]


_Formula = Callable[[_Margins], NDArray[Any]]
"""Margins [..., K] → values [...]: a ratio, so that the matrix's size plays no part. Analytic (see ``_slopes``)."""


def confusion_counts(sample: Sample) -> NDArray[np.int64]:
    """Rows by true class (first axis) and predicted class (second)."""
    k = sample.class_count
    return np.bincount(sample.y * k + sample.decision, minlength=k * k).reshape(k, k)


def balanced_accuracy(sample: Sample, confidence: float) -> Bounds:
    """Mean over classes of the share of their rows decided rightly."""
    return _from_matrix(sample, confidence, _balanced)


def mcc(sample: Sample, confidence: float) -> Bounds:
    """Matthews correlation of prediction and truth (Gorodkin's R_K for more classes); 0 where one is constant."""
    return _from_matrix(sample, confidence, _mcc, low=-1.0)


def macro_f1(sample: Sample, confidence: float) -> Bounds:
    """Mean over classes of F1."""
    return _from_matrix(sample, confidence, _macro_f1)


def f05(sample: Sample, confidence: float) -> Bounds:
    """F-beta with beta 1/2: a harmonic mean that weighs precision twice."""
    return _f_beta(sample, confidence, 0.5)


def f2(sample: Sample, confidence: float) -> Bounds:
    """F-beta with beta 2: a harmonic mean that weighs recall twice."""
    return _f_beta(sample, confidence, 2.0)


def lift(sample: Sample, confidence: float) -> Bounds:
    """Accuracy minus that of always saying the most frequent class, on the same rows (paired)."""
    if sample.task is Task.REGRESSION:
        raise DataError("lift is defined for classification", next_step="ask for mae, rmse or r2")
    majority = int(np.argmax(base_shares(sample)))

    def formula(m: _Margins) -> NDArray[Any]:
        return np.asarray((m.right.sum(axis=-1) - m.actual[..., majority]) / m.actual.sum(axis=-1))

    return _from_matrix(sample, confidence, formula, low=-1.0, rarest=0)


def _f_beta(sample: Sample, confidence: float, beta: float) -> Bounds:
    if sample.task is not Task.BINARY:
        raise DataError("F-beta is defined for binary tasks", next_step="ask for macro_f1")
    if not (sample.y == 1).any() and not sample.decision.any():
        raise NotEnough("no row is positive or was predicted positive")
    weight = beta**2

    def formula(m: _Margins) -> NDArray[Any]:
        right, actual, said = m.right[..., 1], m.actual[..., 1], m.said[..., 1]
        return np.asarray((1 + weight) * right / (weight * actual + said + _NOTHING))

    return _from_matrix(sample, confidence, formula)


def _from_matrix(
    sample: Sample, confidence: float, formula: _Formula, *, low: float = 0.0, rarest: int = MIN_CLASS_ROWS
) -> Bounds:
    """Bounds of a value in [``low``, 1] from the posterior of the confusion matrix.

    Raises NotEnough with fewer than ``rarest`` rows of the rarest class.
    """
    fewest = int(sample.class_counts().min())
    if sample.class_count < 2:
        raise NotEnough(f"needs at least 2 classes, has {sample.class_count}")
    if fewest < rarest:
        raise NotEnough(f"needs at least {rarest} rows of the rarest class, has {fewest}")
    counts = confusion_counts(sample).astype(np.float64)
    value = float(np.clip(formula(_margins(counts)).real, low, 1.0))
    believed = counts / _lost(sample, counts, formula, confidence)
    draws = int(min(max(_DRAWS, _TAIL / (1 - confidence)), _MOST_DRAWS))
    ends = []
    for probability, masses in ((1 - confidence, _LOW), (confidence, _HIGH)):
        prior = _prior(len(counts), *masses)
        margins = _drawn(believed.tobytes(), prior.tobytes(), draws, sample.seed)
        drawn = formula(margins).astype(np.float64)
        # around the mean of the draws, not of the posterior: the luck of the draw then cancels to first order
        middle = float(formula(_Margins(*(part.mean(axis=0) for part in margins))).real)
        luck = middle - float(formula(_margins(believed + prior)).real)
        bend = float(drawn.mean()) - middle
        ends.append(float(np.clip(np.quantile(drawn, probability) - 2 * bend - luck, low, 1.0)))
    lower, upper = ends
    groups = cluster_count(sample.clusters)
    method = "Dirichlet posterior of the confusion matrix" + (", clustered by entity" if groups else "")
    return Bounds(value, min(lower, value), max(upper, value), method, groups)


def _margins(counts: NDArray[Any]) -> _Margins:
    return _Margins(np.diag(counts), counts.sum(axis=1), counts.sum(axis=0))


def _prior(k: int, right: float = 0.5, wrong: float = 0.5) -> NDArray[np.float64]:
    """So much of a row on each class's diagonal and beside it, times 2 / K [K, K]."""
    return np.asarray(2 / k * (right * np.eye(k) + wrong * (1 - np.eye(k)) / (k - 1)), dtype=np.float64)


@lru_cache(maxsize=2)
def _drawn(cells: bytes, masses: bytes, draws: int, seed: int) -> _Margins:
    """Margins of matrices drawn from the posterior [D, K]; empty cells of a row are drawn as one and spread evenly.

    ``cells`` and ``masses`` are the bytes of the matrix and of the prior, so that the metrics of one sample share their
    draws; other samples get others, so that what is left of their luck is no bias. Very large matrices get fewer draws,
    but 1,000 at least.
    """
    believed, prior = np.frombuffer(cells), np.frombuffer(masses)
    k = math.isqrt(len(believed))
    believed, prior, rng = believed.reshape(k, k), prior.reshape(k, k), np.random.default_rng([seed, crc32(cells)])
    kept = (believed > 0) | np.eye(k, dtype=bool)
    truth, said = np.nonzero(kept)
    empty = ~kept
    shapes = np.concatenate([(believed + prior)[kept], np.where(empty, prior, 0.0).sum(axis=1)])
    draws = min(draws, max(_MOST_NUMBERS // len(shapes), 1_000))
    by_truth = np.vstack([np.eye(k)[truth], np.eye(k)])
    by_said = np.vstack([np.eye(k)[said], empty / np.maximum(empty.sum(axis=1, keepdims=True), 1)])
    on_diagonal = np.vstack([np.eye(k)[truth] * (truth == said)[:, None], np.zeros((k, k))])
    parts = []
    for begin in range(0, draws, max(_AT_ONCE // len(shapes), 1)):
        size = min(max(_AT_ONCE // len(shapes), 1), draws - begin)
        drawn = rng.standard_gamma(shapes, size=(size, len(shapes)))
        parts.append((drawn @ on_diagonal, drawn @ by_truth, drawn @ by_said))
    return _Margins(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _lost(sample: Sample, counts: NDArray[np.float64], formula: _Formula, confidence: float) -> float:
    """By how much entities shrink the sample: cluster-robust over simple variance of the value, at least 1.

    Squared Student over normal quantiles allow for the number of entities. Raises NotEnough below MIN_CLUSTERS.
    """
    groups = cluster_count(sample.clusters)
    if sample.clusters is None or groups == sample.n:
        return 1.0
    if groups < MIN_CLUSTERS:
        raise NotEnough(f"needs at least {MIN_CLUSTERS} entities, has {groups}")
    influence = _slopes(formula, counts + _prior(len(counts)))[sample.y, sample.decision]
    influence = influence - influence.mean()
    simple = float(influence @ influence)
    sums = cluster_sums(sample.clusters, influence)
    effect = groups / (groups - 1) * float(sums @ sums) / simple if simple > 0 else sample.n / groups
    return max(1.0, effect) * float(special.stdtrit(groups - 1, confidence) / special.ndtri(confidence)) ** 2


def _slopes(formula: _Formula, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Derivative of the value by each cell [K, K], exact: the imaginary part of a step along the imaginary axis.

    Squire and Trapp 1998; it holds for analytic functions, which every formula here is.
    """
    k = len(counts)
    margins = _Margins(*(np.broadcast_to(part, (k, k)) for part in _margins(counts)))
    step = 1j * _STEP * np.eye(k)
    by_right, by_actual, by_said = (
        formula(margins._replace(**{name: getattr(margins, name) + step})).imag / _STEP for name in _Margins._fields
    )
    return np.asarray(np.diag(by_right) + by_actual[:, None] + by_said[None, :], dtype=np.float64)


def _balanced(m: _Margins) -> NDArray[Any]:
    return np.asarray((m.right / m.actual).mean(axis=-1))


def _macro_f1(m: _Margins) -> NDArray[Any]:
    return np.asarray((2 * m.right / (m.actual + m.said)).mean(axis=-1))


def _mcc(m: _Margins) -> NDArray[Any]:
    total, right = m.actual.sum(axis=-1), m.right.sum(axis=-1)
    of_said = total**2 - (m.said**2).sum(axis=-1)
    of_true = total**2 - (m.actual**2).sum(axis=-1)
    return np.asarray((right * total - (m.actual * m.said).sum(axis=-1)) / np.sqrt(of_said * of_true + _NOTHING))
