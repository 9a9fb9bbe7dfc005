"""One-sided bounds: the arithmetic that every measurement's interval comes from.

In: counts, or a value with the influence of each row on it, and the entity of each row. Out: ``Bounds``, a
lower and an upper bound, each one-sided at the confidence asked for. Laws: lower <= value <= upper; more
confidence never narrows; clusters of one row each change nothing; nothing that is not finite comes out.

Methods: Clopper and Pearson (1934) for counts; Korn and Graubard (1998) effective sample size for counts in
clusters; Hall (1992), removal of skewness by transformation, with Student quantiles and cluster-robust
standard errors, for anything that is a smooth function of means; a Dirichlet posterior for functions of the
confusion matrix (``confusion``). Hall's form matches the studentised
bootstrap's coverage (benchmarks/intervals_coverage.py) without replicates: it is exact to repeat, takes
milliseconds at any size, and reaches any confidence.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from roadworthy.errors import DataError

__all__ = [
    "MIN_CLUSTERS",
    "Bounds",
    "NotEnough",
    "clopper_pearson",
    "cluster_count",
    "cluster_sums",
    "effective_size",
    "like_proportion",
    "proportion",
    "skewed_t",
]

MIN_CLUSTERS = 10
"""Fewer entities than this give no trustworthy standard error."""

_TINY = 1e-300


class NotEnough(DataError):
    """The sample cannot answer: the message is the sentence that ``insufficient`` carries."""


class Bounds(NamedTuple):
    """A value with a one-sided lower and a one-sided upper bound, the method's name, and the clusters used.

    ``among``: the rows that a share is counted over where they are not all rows of the sample, else 0.
    """

    value: float
    lower: float
    upper: float
    method: str
    clusters: int = 0
    among: int = 0


def clopper_pearson(hits: float, n: float, confidence: float) -> tuple[float, float]:
    """Exact one-sided bounds of a proportion from ``hits`` of ``n`` (fractional counts are allowed).

    Clopper and Pearson 1934. Raises NotEnough when n is 0.

    >>> [round(bound, 4) for bound in clopper_pearson(20, 20, 0.95)]
    [0.8609, 1.0]
    """
    if n <= 0:
        raise NotEnough("no row to count")
    alpha = 1.0 - confidence
    lower = 0.0 if hits <= 0 else float(special.betaincinv(hits, n - hits + 1, alpha))
    upper = 1.0 if hits >= n else float(special.betaincinv(hits + 1, n - hits, confidence))
    return lower, upper


def like_proportion(value: float, size: float, confidence: float) -> tuple[float, float]:
    """Jeffreys bounds (Brown, Cai and DasGupta 2001) of a value in [0, 1] that varies like a share of ``size`` rows."""
    hits, misses = max(value * size, 0.0), max((1 - value) * size, 0.0)
    lower = 0.0 if hits <= 0 else float(special.betaincinv(hits + 0.5, misses + 0.5, 1 - confidence))
    upper = 1.0 if misses <= 0 else float(special.betaincinv(hits + 0.5, misses + 0.5, confidence))
    return min(lower, value), max(upper, value)


def cluster_sums(clusters: NDArray[np.int64] | None, values: NDArray[Any]) -> NDArray[np.float64]:
    """Sum of ``values`` [n] per cluster that occurs [G]; the values themselves where rows are independent."""
    if clusters is None:
        return np.asarray(values, dtype=np.float64)
    occurs = np.bincount(clusters) > 0
    return np.bincount(clusters, weights=values)[occurs].astype(np.float64)


def cluster_count(clusters: NDArray[np.int64] | None) -> int:
    """Entities that occur; 0 where rows are independent."""
    return 0 if clusters is None else int(np.count_nonzero(np.bincount(clusters)))


def effective_size(hit: NDArray[np.bool_], clusters: NDArray[np.int64] | None, confidence: float) -> float:
    """How many independent rows carry as much information on a proportion as these clustered ones.

    n divided by the design effect (cluster-robust over simple variance) and scaled by squared Student
    quantiles, Korn and Graubard 1998; never more than n. Where every row agrees the design effect is unknown
    and each cluster counts once. Raises NotEnough below MIN_CLUSTERS clusters.
    """
    n = len(hit)
    if clusters is None:
        return float(n)
    groups = cluster_count(clusters)
    if groups == n:
        return float(n)
    if groups < MIN_CLUSTERS:
        raise NotEnough(f"needs at least {MIN_CLUSTERS} entities, has {groups}")
    share = float(hit.mean())
    if share in {0.0, 1.0}:
        return float(groups)
    deviations = cluster_sums(clusters, hit - share)
    robust = groups / (groups - 1) * float(deviations @ deviations) / n**2
    simple = share * (1 - share) / n
    quantiles = special.stdtrit(n - 1, confidence) / special.stdtrit(groups - 1, confidence)
    return float(min(n, n / max(robust / simple, _TINY) * quantiles**2))


def proportion(hit: NDArray[np.bool_], clusters: NDArray[np.int64] | None, confidence: float) -> Bounds:
    """Share of true rows in ``hit`` [n] with exact bounds, at the effective size where rows are clustered."""
    n = len(hit)
    if n == 0:
        raise NotEnough("no row to count")
    size = effective_size(hit, clusters, confidence)
    share = float(np.count_nonzero(hit) / n)
    lower, upper = clopper_pearson(share * size, size, confidence)
    groups = cluster_count(clusters)
    method = "Clopper-Pearson" if size == n else "Clopper-Pearson at the Korn-Graubard effective size"
    return Bounds(share, min(lower, share), max(upper, share), method, groups)


def skewed_t(
    value: float,
    influence: NDArray[np.float64],
    clusters: NDArray[np.int64] | None,
    confidence: float,
    *,
    inflate: float = 1.0,
    unseen: float = 1.0,
) -> Bounds:
    """Bounds of a smooth function of means, from each row's influence on it.

    ``influence`` [n]: derivative of the value by the row's weight, so that the value's error is their sum
    (for a mean: (x − mean) / n). Sums per cluster give the standard error (G/(G−1) corrected) and the
    skewness; Hall's (1992) cubic transformation of the Student statistic takes the skewness out. For each side the
    row (cluster) that pulls hardest that way counts ``unseen`` times more in both, where that makes the bound wider:
    if a few rows carry the value, a sample that happens to lack one would look certain. ``inflate`` multiplies the
    standard error (1 where nothing is known to be missing from it). Raises NotEnough below MIN_CLUSTERS clusters or
    rows, and where no row differs from another.
    """
    sums = cluster_sums(clusters, influence)
    groups = len(sums)
    noun = "rows" if clusters is None else "entities"
    if groups < MIN_CLUSTERS:
        raise NotEnough(f"needs at least {MIN_CLUSTERS} {noun}, has {groups}")
    spread = float(np.sqrt(np.mean(sums**2)))
    if not math.isfinite(spread) or spread <= 1e-13 * max(abs(value), _TINY) / groups:
        raise NotEnough(f"all {groups} {noun} are alike, so that nothing is known of the spread")
    student = float(special.stdtrit(groups - 1, confidence))
    scaled = sums / spread
    low, high = min(float(scaled.min()), 0.0), max(float(scaled.max()), 0.0)
    below = max(_reach(scaled, low, more, student) for more in (0.0, unseen))
    above = max(-_reach(scaled, high, more, -student) for more in (0.0, unseen))
    lower, upper = value - inflate * spread * below, value + inflate * spread * above
    method = "skewness-corrected t" + ("" if clusters is None else ", clustered by entity")
    return Bounds(value, min(lower, value), max(upper, value), method, 0 if clusters is None else groups)


def _reach(scaled: NDArray[np.float64], tail: float, unseen: float, quantile: float) -> float:
    """How far a bound lies from the value, in root mean squares of the sums, with ``unseen`` more like ``tail``."""
    groups = len(scaled)
    square = (float(scaled @ scaled) + unseen * tail**2) / groups
    skewness = (float(np.sum(scaled**3)) + unseen * tail**3) / groups / square**1.5
    return math.sqrt(square) * groups / math.sqrt(groups - 1) * _unskewed(quantile, skewness, groups)


def _unskewed(quantile: float, skewness: float, groups: int) -> float:
    """Quantile of the Student statistic under ``skewness``: the inverse of Hall's monotone cubic g.

    With T unscaled, g(T) = T + s T²/3 + s² T³/27 + s/(6 G), so g⁻¹(x) = 3 (∛(1 + s (x − s/(6 G))) − 1) / s.
    """
    root = math.sqrt(groups)
    if abs(skewness) < 1e-9:
        return quantile
    slope = skewness / (3.0 * root)
    inner = 1.0 + 3.0 * slope * (quantile - skewness / (6.0 * root))
    return float((np.cbrt(inner) - 1.0) / slope)
