"""Prove groups on rows that did not find them, under control of false discoveries.

In: the losses of rows, which of them are in a group, their entities. Out: p-values, which of several hold, and the
differences with their bounds. Laws: a p-value at most alpha has probability at most alpha where the group is no worse
(exact for decisions of independent rows); Benjamini and Hochberg (1995) keeps the expected share of false discoveries.

Wrong decisions of independent rows are compared by Fisher's exact test, one-sided. Anything else (absolute errors, rows
of one entity) by the Student statistic of the difference of means, clustered by entity, with its skewness taken out
(Hall 1992).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from roadworthy.measures.intervals import MIN_CLUSTERS, cluster_count, cluster_sums

__all__ = ["discoveries", "worse_p"]

_ENOUGH = 7.0

_Floats = NDArray[np.float64]
_Set = NDArray[np.bool_]


def worse_p(loss: _Floats, group: _Set, clusters: NDArray[np.int64] | None) -> float:
    """P-value of "the mean loss [n] inside the group is not greater than outside"; 1 where too few rows could say."""
    within, n = int(group.sum()), len(loss)
    if within in {0, n}:
        return 1.0
    if clusters is None and _decisions(loss):
        wrong = int(loss.sum())
        return float(stats.hypergeom.sf(int(loss[group].sum()) - 1, n, wrong, within))
    if clusters is not None and cluster_count(clusters[group]) < MIN_CLUSTERS:
        return 1.0
    return _student_p(loss, group, clusters)


def discoveries(p_values: Sequence[float], scores: Sequence[float], rate: float) -> list[bool]:
    """Which of the hypotheses are rejected at that false discovery rate.

    Benjamini and Hochberg (1995) with weights (Genovese, Roeder and Wasserman 2006): those with the greater ``scores``
    on other rows are believed more. Weights are exp(score), one on average; they must not rest on the rows that prove.
    Scores above 7 are alike: whatever stands out so far needs no more weight, and must not take it from others.

    >>> discoveries([0.5, 0.001, 0.02], [1.0, 1.0, 1.0], 0.05)
    [False, True, True]
    >>> discoveries([0.03, 0.5], [6.0, 3.0], 0.05)
    [True, False]
    """
    if not p_values:
        return []
    weights = np.exp(np.minimum(scores, _ENOUGH) - _ENOUGH)
    weighed = np.asarray(p_values) / (weights / weights.mean())
    ordered = np.sort(weighed)
    low = ordered <= rate * np.arange(1, len(ordered) + 1) / len(ordered)
    bar = float(ordered[low].max()) if low.any() else -1.0
    return [bool(p <= bar) for p in weighed]


def _decisions(loss: _Floats) -> bool:
    return bool(np.isin(loss, (0.0, 1.0)).all())


def _student_p(loss: _Floats, group: _Set, clusters: NDArray[np.int64] | None) -> float:
    within, outside = loss[group], loss[~group]
    difference = float(within.mean() - outside.mean())
    influence = np.where(group, (loss - within.mean()) / len(within), -(loss - outside.mean()) / len(outside))
    sums = cluster_sums(clusters, influence)
    independent = _independent(group, clusters)
    spread = float(np.sqrt(np.mean(sums**2)))
    if independent < MIN_CLUSTERS or spread <= 0:
        return 1.0
    error = spread * len(sums) / math.sqrt(len(sums) - 1) * math.sqrt(independent / (independent - 1))
    student = difference / error
    skewness = float(np.mean((sums / spread) ** 3)) / math.sqrt(len(sums))
    cubic = student + skewness * student**2 / 3 + skewness**2 * student**3 / 27 + skewness / 6
    return float(special.stdtr(independent - 1, -cubic))


def _independent(group: _Set, clusters: NDArray[np.int64] | None) -> int:
    """Rows or entities on the smaller side."""
    if clusters is None:
        return int(min(group.sum(), (~group).sum()))
    return min(cluster_count(clusters[group]), cluster_count(clusters[~group]))
