"""Quality of an ordering: ROC AUC and the area under the precision-recall curve.

In: a ``Sample`` with binary outcomes and scores. Out: ``Bounds``. Laws: only the order of the scores counts;
perfect separation still has a bound below 1. ROC AUC: DeLong (1988), over entities in Obuchowski's (1997)
form, on the logit scale. PR AUC is average precision, on the logit scale, from each row's influence
(infinitesimal jackknife).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from roadworthy.errors import DataError
from roadworthy.measures.intervals import (
    MIN_CLUSTERS,
    Bounds,
    NotEnough,
    clopper_pearson,
    cluster_count,
    cluster_sums,
    like_proportion,
    proportion,
    skewed_t,
)
from roadworthy.measures.ranks import mid_ranks
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task

__all__ = ["MIN_RARE_ROWS", "auc_value", "average_precision", "pr_auc", "roc_auc"]

MIN_RARE_ROWS = 100
"""Rank metrics need this many rows of the rarer class."""


def roc_auc(sample: Sample, confidence: float) -> Bounds:
    """Probability that an event scores above a non-event (ties count half).

    Raises NotEnough below 100 rows of the rarer class. The bound towards 0.5 is never wider than that of m disjoint
    pairs of independent rows, of which a share AUC is in order: near perfect separation the logit has nothing to go by.
    """
    positive = _enough(sample)
    value, influence = _auc_parts(positive, sample.score)
    groups = cluster_count(sample.clusters)
    if value in {0.0, 1.0}:
        return _separated(sample, positive, value, confidence, groups)
    variance = _auc_variance(positive, influence, sample.clusters) + _unseen(positive, value - 0.5)
    degrees = groups - 1 if groups else sample.n - 1
    reach = float(special.stdtrit(degrees, confidence)) * math.sqrt(variance) / (value * (1 - value))
    lower, upper = special.expit(special.logit(value) - reach), special.expit(special.logit(value) + reach)
    method = "Obuchowski, logit" if groups else "DeLong, logit"
    pairs = _disjoint_pairs(sample, positive)
    least, most = clopper_pearson(value * pairs, pairs, confidence)
    if value > 0.5:
        return Bounds(value, max(float(lower), least), float(upper), method, groups)
    return Bounds(value, float(lower), min(float(upper), most), method, groups)


def pr_auc(sample: Sample, confidence: float) -> Bounds:
    """Average precision: precision averaged over the events, as the threshold falls past each.

    Raises NotEnough below 100 rows of the rarer class. The lower bound is never below what one threshold, the best,
    proves by itself: near perfect separation the logit has nothing to go by.
    """
    positive = _enough(sample)
    value, influence = average_precision(positive, sample.score)
    groups = cluster_count(sample.clusters)
    least = _least_precision(sample, positive, confidence)
    if value >= 1.0:
        return Bounds(1.0, least, 1.0, "one threshold, separation is perfect", groups)
    scale = value * (1 - value)
    centre = max(value - _optimism(positive, sample.score, value), 1e-9)
    sums = cluster_sums(sample.clusters, influence)
    variance = float(sums @ sums)
    inflate = math.sqrt(1 + _unseen(positive, value - float(positive.mean())) / max(variance, 1e-18))
    bounds = skewed_t(float(special.logit(centre)), influence / scale, sample.clusters, confidence, inflate=inflate)
    # near 1 the logit bends too far: a share of the same variance keeps the upper bound honest
    shared = like_proportion(value, scale / max(variance, 1e-18), confidence)[1]
    lower, upper = float(special.expit(bounds.lower)), max(float(special.expit(bounds.upper)), shared)
    return Bounds(value, min(max(lower, least), value), max(upper, value), bounds.method + ", logit", groups)


def auc_value(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """ROC AUC alone: 0.5 where one class is absent."""
    if positive.all() or not positive.any():
        return 0.5
    return _auc_parts(positive, score)[0]


def column_aucs(positive: NDArray[np.bool_], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """ROC AUC [K, d] of each column [n, d] as a score for each of K classes [n, K], over the rows that have a value.

    NaN is no value. 0.5 where a class, or all others, are absent. All columns at once, in one sort each.
    """
    known = ~np.isnan(values)
    ranks = np.where(known, mid_ranks(np.where(known, values, np.inf)), 0.0)
    events = positive.T.astype(np.float64) @ known
    others = known.sum(axis=0) - events
    pairs = events * others
    over = positive.T.astype(np.float64) @ ranks - events * (events + 1) / 2
    areas = np.divide(over, pairs, out=np.full(pairs.shape, 0.5), where=pairs > 0)
    return np.asarray(np.where(areas > 1 - 1e-15, 1.0, areas), dtype=np.float64)


def average_precision(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Average precision, ties sharing one threshold, and each row's influence on it [n]."""
    values, level = np.unique(-score, return_inverse=True)
    level = level.reshape(-1)
    events = np.bincount(level, weights=positive, minlength=len(values))
    others = np.bincount(level, weights=~positive, minlength=len(values))
    above_events, above_others = np.cumsum(events), np.cumsum(others)
    above = above_events + above_others
    total = float(above_events[-1])
    value = float((events * above_events / above).sum() / total)
    # a row moves the precision of every event at its own level and below
    gain = np.cumsum((events * above_others / above**2)[::-1])[::-1] / total
    loss = np.cumsum((events * above_events / above**2)[::-1])[::-1] / total
    own = (above_events / above - value) / total
    influence = np.where(positive, (own + gain)[level], -loss[level])
    return min(value, 1.0), influence


def _unseen(positive: NDArray[np.bool_], distance: float) -> float:
    """Variance that one row of each class adds which the sample happens to lack: one that is scored at random.

    It matters near perfect separation only, where the few rows out of order carry all of the variance and a
    sample without them would look certain. ``distance`` is the value less that of a random score.
    """
    events, others = float(positive.sum()), float((~positive).sum())
    return distance**2 * (1 / events**2 + 1 / others**2)


def _least_precision(sample: Sample, positive: NDArray[np.bool_], confidence: float) -> float:
    """Average precision that follows from the bounds of recall, false alarms and base rate at the best threshold.

    Recall r at least, false alarms f at most, base rate p: an event at recall t above the threshold has a precision of
    t / (t + f (1 - p) / p) or more, which is integrated over t from 0 to r; the events below it have that of all rows.
    """
    level = 1 - (1 - confidence) / 3
    alarmed = sample.score >= _separating(positive, sample.score)
    own, other = (sample.clusters[side] if sample.clusters is not None else None for side in (positive, ~positive))
    recall = proportion(alarmed[positive], own, level).lower
    alarms = proportion(alarmed[~positive], other, level).upper
    rate = proportion(positive, sample.clusters, level).lower
    odds = (1 - rate) / max(rate, 1e-12)
    missed = (1 - recall) * recall / (recall + odds) if recall > 0 else 0.0
    return float(recall - alarms * odds * math.log1p(recall / (alarms * odds)) + missed)


def _separating(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """The score from which on recall less false alarms is largest (Youden 1950)."""
    values, level = np.unique(-score, return_inverse=True)
    level = level.reshape(-1)
    events = np.cumsum(np.bincount(level, weights=positive, minlength=len(values))) / positive.sum()
    others = np.cumsum(np.bincount(level, weights=~positive, minlength=len(values))) / (~positive).sum()
    return -float(values[int(np.argmax(events - others))])


def _optimism(positive: NDArray[np.bool_], score: NDArray[np.float64], value: float) -> float:
    """By how much average precision exceeds its mean over samples: each event counts in its own precision.

    Without itself, the precision at an event's threshold is unbiased (the others there are events by chance).
    """
    values, level = np.unique(-score, return_inverse=True)
    events = np.bincount(level.reshape(-1), weights=positive, minlength=len(values))
    above = np.cumsum(np.bincount(level.reshape(-1), minlength=len(values)))
    rest = np.maximum(above - 1, 1)
    without = np.where(above > 1, (np.cumsum(events) - 1) / rest, value)
    return max(value - float((events * without).sum() / events.sum()), 0.0)


def _enough(sample: Sample) -> NDArray[np.bool_]:
    if sample.task is not Task.BINARY:
        raise DataError("rank metrics are defined for binary tasks", next_step="ask for macro_f1 or log_loss")
    positive = np.asarray(sample.y == 1, dtype=np.bool_)
    rarer = int(min(positive.sum(), sample.n - positive.sum()))
    if rarer < MIN_RARE_ROWS:
        raise NotEnough(f"needs at least {MIN_RARE_ROWS} rows of the rarer class, has {rarer}")
    if sample.clusters is not None:
        with_event = cluster_count(sample.clusters[positive])
        without = cluster_count(sample.clusters[~positive])
        if min(with_event, without) < MIN_CLUSTERS:
            found = f"has {min(with_event, without)}"
            raise NotEnough(f"needs at least {MIN_CLUSTERS} entities with rows of the rarer class, {found}")
    return positive


def _auc_parts(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """AUC and each row's placement minus AUC [n]: the share of the other class that it stands right to."""
    values, level = np.unique(score, return_inverse=True)
    level = level.reshape(-1)
    events = np.bincount(level, weights=positive, minlength=len(values))
    others = np.bincount(level, weights=~positive, minlength=len(values))
    below = (np.cumsum(others) - others / 2) / others.sum()
    over = 1 - (np.cumsum(events) - events / 2) / events.sum()
    placement = np.where(positive, below[level], over[level])
    value = float(placement[positive].mean())
    if value > 1 - 1e-15:
        value = 1.0
    return value, placement - value


def _auc_variance(
    positive: NDArray[np.bool_], centred: NDArray[np.float64], clusters: NDArray[np.int64] | None
) -> float:
    """DeLong's variance; with clusters Obuchowski's, whose cross term joins rows of one entity."""
    events, others = int(positive.sum()), int((~positive).sum())
    if clusters is None:
        first, second = centred[positive], centred[~positive]
        variance = float(first @ first) / (events - 1) / events + float(second @ second) / (others - 1) / others
        return max(variance, 1e-18)
    own = cluster_sums(clusters, np.where(positive, centred, 0.0))
    other = cluster_sums(clusters, np.where(positive, 0.0, centred))
    groups = len(own)
    with_event, without = cluster_count(clusters[positive]), cluster_count(clusters[~positive])
    variance = with_event / (with_event - 1) * float(own @ own) / events**2
    variance += without / (without - 1) * float(other @ other) / others**2
    variance += 2 * groups / (groups - 1) * float(own @ other) / (events * others)
    return max(variance, 1e-18)


def _disjoint_pairs(sample: Sample, positive: NDArray[np.bool_]) -> int:
    """How many pairs of an event and a non-event there are at least that share no row, nor an entity."""
    if sample.clusters is None:
        return int(min(positive.sum(), sample.n - positive.sum()))
    sides = (cluster_count(sample.clusters[positive]), cluster_count(sample.clusters[~positive]))
    return max(min(*sides, cluster_count(sample.clusters) // 2), 1)


def _separated(sample: Sample, positive: NDArray[np.bool_], value: float, confidence: float, groups: int) -> Bounds:
    bound = (1 - confidence) ** (1 / _disjoint_pairs(sample, positive))
    method = "disjoint pairs, separation is perfect"
    if value == 1.0:
        return Bounds(1.0, bound, 1.0, method, groups)
    return Bounds(0.0, 0.0, 1 - bound, method, groups)
