"""Calibration: whether rows scored 0.3 happen three times in ten.

In: a ``Sample`` with probabilities. Out: ``Bounds`` of the mean squared calibration gap, and the bins
behind it. Law: a model without any gap is not charged for the noise of its bins: the squared error is debiased
(Kumar, Liang and Ma 2019) and its bounds come from inverting the noncentral chi-square that it follows.

For more than two classes the gap is that of the likeliest class: its probability against how often it is right.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from roadworthy.errors import DataError
from roadworthy.measures.intervals import MIN_CLUSTERS, Bounds, NotEnough, cluster_count
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task

__all__ = ["MIN_ROWS", "Bins", "bin_count", "calibration_error", "confidence_pair", "equal_mass_bins", "telling_bins"]

MIN_ROWS = 100
_MOST_BINS = 25
_ROWS_PER_BIN = 40
_FEW_GROUPS = 50
_FAR = 1e3  # from here on the normal limit is exact enough


class Bins(NamedTuple):
    """Rows grouped by score: bin of each row [n]; rows, mean score and share of hits per bin."""

    place: NDArray[np.int64]
    rows: NDArray[np.int64]
    score: NDArray[np.float64]
    share: NDArray[np.float64]


def confidence_pair(sample: Sample) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The probability that is checked and whether it came true, per row."""
    if sample.task is Task.REGRESSION:
        raise DataError("calibration_error is defined for classification", next_step="ask for mae or rmse")
    if sample.task is Task.BINARY:
        return sample.score.astype(np.float64), sample.y == 1
    top = np.argmax(sample.score, axis=1)
    return sample.score[np.arange(sample.n), top].astype(np.float64), top == sample.y


def bin_count(rows: int) -> int:
    """How many bins so many rows are put into: one per 40, at least 5 and at most 25."""
    return int(np.clip(rows // _ROWS_PER_BIN, 5, _MOST_BINS))


def telling_bins(score: NDArray[np.float64], hit: NDArray[np.bool_], bins: int) -> Bins:
    """At most ``bins`` groups by score that are expected to tell equally much: equal sums of s (1 − s).

    Where events are rare this puts finer bins where they are. Equal scores are never parted.
    """
    order = np.sort(score)
    told = np.cumsum(order * (1 - order) + 1e-4)
    places = np.searchsorted(told, told[-1] * np.arange(1, bins) / bins)
    return _binned(score, hit, np.unique(order[np.minimum(places + 1, len(order) - 1)]))


def equal_mass_bins(score: NDArray[np.float64], hit: NDArray[np.bool_], bins: int) -> Bins:
    """At most ``bins`` groups of about equal size by score; equal scores are never parted."""
    return _binned(score, hit, np.unique(np.quantile(score, np.linspace(0, 1, bins + 1)[1:-1])))


def _binned(score: NDArray[np.float64], hit: NDArray[np.bool_], edges: NDArray[np.float64]) -> Bins:
    index = np.searchsorted(edges, score, side="right")
    rows = np.bincount(index, minlength=len(edges) + 1)
    kept = rows > 0
    index = (np.cumsum(kept) - 1)[index]
    rows = rows[kept]
    return Bins(index, rows, np.bincount(index, weights=score) / rows, np.bincount(index, weights=hit) / rows)


def calibration_error(sample: Sample, confidence: float) -> Bounds:
    """Mean squared gap between score and frequency over up to 25 bins of the score, debiased.

    Its root is in probability units: 0.0009 means that probabilities are typically off by three points. The
    value is below 0 where the gaps are smaller than noise alone makes them on average.
    """
    if sample.n < MIN_ROWS:
        raise NotEnough(f"needs at least {MIN_ROWS} rows, has {sample.n}")
    score, hit = confidence_pair(sample)
    bins = telling_bins(score, hit, bin_count(sample.n))
    gap = bins.share - bins.score
    weights = bins.rows / sample.n
    covariance = _covariance(sample, bins, hit - score)
    observed = float(weights @ gap**2)
    # under no gap the sum has these two moments; a scaled chi-square with the same ones (Satterthwaite)
    product = covariance * weights
    noise = float(np.trace(product))
    scale = float((product * product.T).sum()) / noise
    # where the gaps lie in the noisiest bins the sum varies more than that: weigh the noise by the gaps
    scale = max(scale, float((weights * gap) @ covariance @ (weights * gap)) / observed if observed > 0 else 0.0)
    value = observed - noise
    groups = cluster_count(sample.clusters)
    lower = scale * _noncentrality(observed / scale, noise / scale, confidence)
    scale += _unseen_direction(product, scale, groups)
    upper = scale * _noncentrality(observed / scale, noise / scale, 1 - confidence)
    method = "debiased, noncentral chi-square" + (", clustered by entity" if groups else "")
    return Bounds(value, min(lower, value), min(max(upper, value), 1.0), method, groups)


def _unseen_direction(product: NDArray[np.float64], scale: float, groups: int) -> float:
    """What the scale lacks towards the noisiest direction, a quarter of it, where rows share entities.

    What entities share pulls many bins at once, and the observed gaps tell that direction badly. With few entities the
    row of prior variance in each bin covers it already; by simulation, in ``benchmarks/guarantees.py``.
    """
    if groups <= _FEW_GROUPS:
        return 0.0
    widest = float(np.linalg.eigvals(product).real.max())
    return max(widest - scale, 0.0) / 4 * (1 - _FEW_GROUPS / groups)


def _covariance(sample: Sample, bins: Bins, residual: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance [B, B] of the bins' gaps; one row (one entity) of the score's own variance is added to each bin."""
    count = len(bins.rows)
    centred = residual - (bins.share - bins.score)[bins.place]
    prior = bins.score * (1 - bins.score) + 1e-6
    if sample.clusters is None:
        squares = np.bincount(bins.place, weights=centred**2, minlength=count)
        return np.asarray(np.diag((squares + prior) / np.square(bins.rows.astype(np.float64))))
    groups = cluster_count(sample.clusters)
    if groups < MIN_CLUSTERS:
        raise NotEnough(f"needs at least {MIN_CLUSTERS} entities, has {groups}")
    size = int(sample.clusters.max()) + 1
    cells = np.bincount(
        sample.clusters * count + bins.place, weights=centred / bins.rows[bins.place], minlength=size * count
    ).reshape(size, count)
    unseen = prior * (sample.n / groups) / np.square(bins.rows)
    return np.asarray(groups / (groups - 1) * cells.T @ cells + np.diag(unseen))


def _noncentrality(observed: float, degrees: float, probability: float) -> float:
    """The noncentrality under which the statistic lies below ``observed`` with this probability; 0 if none."""
    if special.chndtr(observed, degrees, 0.0) <= probability:
        return 0.0
    far = _by_normal(observed, degrees, float(special.ndtri(probability)))
    return far if far > _FAR else float(special.chndtrinc(observed, degrees, probability))


def _by_normal(observed: float, degrees: float, deviations: float) -> float:
    """The same by the normal limit, whose mean is ``degrees`` + n and whose variance 2 (``degrees`` + 2 n)."""
    middle = observed - degrees + 2 * deviations**2
    reach = math.sqrt(max(middle**2 - (observed - degrees) ** 2 + 2 * degrees * deviations**2, 0.0))
    return middle - math.copysign(reach, deviations)
