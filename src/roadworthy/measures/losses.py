"""Quality as a mean of per-row losses: log loss, Brier score, absolute and squared errors, and shares of them.

In: a ``Sample``. Out: ``Bounds``, and the losses themselves for paired comparisons. Laws: every loss is finite
(probabilities are kept 1e-7 from 0 and 1, half a step of float32); bounds respect a loss's own limits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from roadworthy.errors import DataError
from roadworthy.measures.intervals import Bounds, NotEnough, cluster_count, effective_size, skewed_t
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task

__all__ = [
    "CLIP",
    "base_loss",
    "base_shares",
    "brier",
    "log_loss",
    "mae",
    "mean_bounds",
    "median_absolute_error",
    "r2",
    "rmse",
    "row_losses",
    "skill",
]

CLIP = 1e-7
_WORST_LOG_LOSS = -math.log(CLIP)
_UNSEEN_SQUARES = 2.5
_UNSEEN_RATIO = 2.0
"""Squared errors have longer tails than other losses: so many rows like the worst may be missing (``skewed_t``)."""


def row_losses(sample: Sample) -> NDArray[np.float64]:
    """The loss that candidates are compared by [n]: log loss in nats, or squared error."""
    if sample.task is Task.REGRESSION:
        return np.square(_errors(sample))
    chosen = sample.probabilities[np.arange(sample.n), sample.y]
    return np.asarray(-np.log(np.clip(chosen, CLIP, 1 - CLIP)), dtype=np.float64)


def log_loss(sample: Sample, confidence: float) -> Bounds:
    """Mean negative log probability of what happened, in nats."""
    _classes(sample, "log_loss")
    return mean_bounds(row_losses(sample), sample, confidence, limits=(0.0, _WORST_LOG_LOSS))


def brier(sample: Sample, confidence: float) -> Bounds:
    """Mean squared error of the probabilities; halved sum over classes, so 0 to 1 for any number of classes."""
    _classes(sample, "brier")
    happened = np.zeros((sample.n, sample.class_count))
    happened[np.arange(sample.n), sample.y] = 1.0
    losses = np.square(sample.probabilities - happened).sum(axis=1) / 2
    return mean_bounds(losses, sample, confidence, limits=(0.0, 1.0))


def mae(sample: Sample, confidence: float) -> Bounds:
    """Mean absolute error, in the target's unit."""
    return mean_bounds(np.abs(_errors(sample)), sample, confidence, limits=(0.0, math.inf))


def rmse(sample: Sample, confidence: float) -> Bounds:
    """Root of the mean squared error, in the target's unit."""
    squared = mean_bounds(
        np.square(_errors(sample)), sample, confidence, limits=(0.0, math.inf), unseen=_UNSEEN_SQUARES
    )
    return squared._replace(
        value=math.sqrt(squared.value), lower=math.sqrt(squared.lower), upper=math.sqrt(squared.upper)
    )


def median_absolute_error(sample: Sample, confidence: float) -> Bounds:
    """Median absolute error with order-statistic bounds (Woodruff 1952), at the effective size for entities."""
    errors = np.sort(np.abs(_errors(sample)))
    n = len(errors)
    if n == 0:
        raise NotEnough("no row to measure")
    value = float(np.median(errors))
    unsorted = np.abs(_errors(sample))
    size = int(effective_size(unsorted <= value, sample.clusters, confidence))
    # the greatest k with P(Binomial(size, 1/2) < k) <= 1 - confidence: the k-th smallest is a lower bound
    counts = np.arange(size + 1)
    k = int(np.count_nonzero(special.bdtr(counts, size, 0.5) <= 1 - confidence))
    if k == 0:
        raise NotEnough(f"needs more rows for a bound on the median, has {n}")
    lower = errors[max(math.floor(k * n / size), 1) - 1]
    upper = errors[min(math.ceil((size - k + 1) * n / size), n) - 1]
    method = "order statistics" + ("" if size == n else " at the effective size")
    return Bounds(value, float(min(lower, value)), float(max(upper, value)), method, cluster_count(sample.clusters))


def r2(sample: Sample, confidence: float) -> Bounds:
    """Share of the squared error of the training mean that the model removes (1 is perfect, 0 no better)."""
    errors = _errors(sample)
    mean = float(np.mean(sample.y)) if sample.reference is None else sample.reference[0]
    losses, base = np.square(errors), np.square(sample.y - mean)
    total = float(base.sum())
    if total <= 0:
        raise NotEnough("the target is constant here, so that there is nothing to explain")
    ratio = float(losses.sum()) / total
    if ratio <= 0:
        raise NotEnough("every row is explained exactly, so that nothing is known of the spread")
    # what is left of the loss is a ratio of two means: its logarithm is nearer to a plain mean than it is itself
    influence = (losses - ratio * base) / (ratio * total)
    left = skewed_t(math.log(ratio), influence, sample.clusters, confidence, unseen=_UNSEEN_RATIO)
    lower, upper = 1 - math.exp(min(left.upper, 50.0)), 1 - math.exp(left.lower)
    return left._replace(value=1 - ratio, lower=min(lower, 1 - ratio), upper=max(upper, 1 - ratio))


def skill(sample: Sample, confidence: float) -> Bounds:
    """Share of the base rate's loss that the model removes: 1 − log loss / base log loss; R² for regression."""
    if sample.task is Task.REGRESSION:
        return r2(sample, confidence)
    shares = base_shares(sample)
    base = -np.log(np.clip(shares, CLIP, 1 - CLIP))[sample.y]
    return _removed(row_losses(sample), base, sample, confidence)


def mean_bounds(
    values: NDArray[np.float64],
    sample: Sample,
    confidence: float,
    *,
    limits: tuple[float, float],
    unseen: float = 1.0,
) -> Bounds:
    """Mean of per-row ``values`` [n] over the sample's rows, clustered as they are, kept within ``limits``.

    ``unseen`` rows like the most extreme one may be missing (``skewed_t``).

    Where all rows are alike and the limits are finite: the mean of rows unlike these has probability above
    1 − confidence^… of showing up among n rows, which bounds their share (the rule of three).
    """
    n = len(values)
    if n == 0:
        raise NotEnough("no row to measure")
    value = float(np.mean(values))
    low, high = limits
    if np.ptp(values) == 0:
        return _alike(value, low, high, sample, confidence)
    bounds = skewed_t(value, (values - value) / n, sample.clusters, confidence, unseen=unseen)
    return bounds._replace(lower=max(bounds.lower, low), upper=min(bounds.upper, high))


def _alike(value: float, low: float, high: float, sample: Sample, confidence: float) -> Bounds:
    independent = cluster_count(sample.clusters) or sample.n
    if not math.isfinite(high - low):
        raise NotEnough(f"all {sample.n} rows have the same loss, so that nothing is known of the spread")
    share = 1 - (1 - confidence) ** (1 / independent)
    lower, upper = value - share * (value - low), value + share * (high - value)
    return Bounds(value, lower, upper, "rule of three, all rows alike", cluster_count(sample.clusters))


def base_loss(sample: Sample) -> float:
    """Mean loss of the base rate on the sample's own rows: entropy of the class shares, or the variance."""
    if sample.n == 0:
        return 0.0
    if sample.task is Task.REGRESSION:
        return float(np.var(sample.y))
    shares = sample.class_counts() / sample.n
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())


def _removed(losses: NDArray[np.float64], base: NDArray[np.float64], sample: Sample, confidence: float) -> Bounds:
    """1 − Σ losses / Σ base, from the linearised ratio; an own base rate adds nothing (it minimises the base)."""
    total = float(base.sum())
    if total <= 0:
        raise NotEnough("the target is constant here, so that there is nothing to explain")
    ratio = float(losses.sum()) / total
    influence = -(losses - ratio * base) / total
    bounds = skewed_t(1 - ratio, influence, sample.clusters, confidence)
    return bounds._replace(upper=min(bounds.upper, 1.0))


def base_shares(sample: Sample) -> NDArray[np.float64]:
    """Class shares that are known without the model [K]: the training part's, or the sample's own."""
    if sample.reference is not None:
        return np.asarray(sample.reference, dtype=np.float64)
    return sample.class_counts() / max(sample.n, 1)


def _errors(sample: Sample) -> NDArray[np.float64]:
    if sample.task is not Task.REGRESSION:
        raise DataError("errors in the target's unit are defined for regression", next_step="ask for log_loss or brier")
    return sample.score.astype(np.float64) - sample.y.astype(np.float64)


def _classes(sample: Sample, metric: str) -> None:
    if sample.task is Task.REGRESSION:
        raise DataError(f"{metric} is defined for classification", next_step="ask for mae, rmse or r2")
