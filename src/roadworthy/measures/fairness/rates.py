"""What is compared between groups: shares and means within one group, with bounds at any confidence.

In: a ``Sample`` and a group's rows. Out: ``Bounds``. Laws: shares have exact bounds (Clopper–Pearson, at the effective
size where rows come by entity); means have bounds without skewness (Hall 1992); a group that is too small for either
raises ``TooSmall``, which says how many of what it has and needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.intervals import MIN_CLUSTERS, Bounds, NotEnough, cluster_count, proportion
from roadworthy.measures.losses import mean_bounds
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task

__all__ = ["ERROR", "FALSE_ALARMS", "FREQUENCY", "GAP", "LEAST", "POSITIVE", "RECALL", "Rate", "TooSmall", "error_of"]

LEAST = 10
"""A group needs this many of what is counted (rows, events, non-events), and as many entities."""

_LEAST_FOR_MEANS = 30


class TooSmall(NotEnough):
    """A group has ``has`` of what a rate counts (``noun``) and ``needs`` more of it."""

    def __init__(self, has: int, needs: int, noun: str) -> None:
        super().__init__(f"needs at least {needs} {noun}, has {has}")
        self.has, self.needs, self.noun = has, needs, noun


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rate:
    """One thing to compare: ``words`` for people; ``bounds(sample, confidence)`` of one group's sample."""

    name: str
    words: str
    bounds: Callable[[Sample, float], Bounds]

    def of(self, sample: Sample, rows: NDArray[np.bool_], confidence: float) -> Bounds:
        """The rate within a group; raises TooSmall."""
        return self.bounds(sample.take(rows), confidence)


def _share(sample: Sample, hit: NDArray[np.bool_], among: NDArray[np.bool_] | None, noun: str, level: float) -> Bounds:
    clusters = sample.clusters
    if among is not None:
        hit, clusters = hit[among], None if clusters is None else clusters[among]
    _enough(len(hit), LEAST, noun, clusters)
    return proportion(hit, clusters, level)


def _enough(has: int, needs: int, noun: str, clusters: NDArray[np.int64] | None) -> None:
    if has < needs:
        raise TooSmall(has, needs, noun)
    if clusters is not None and cluster_count(clusters) < MIN_CLUSTERS:
        raise TooSmall(cluster_count(clusters), MIN_CLUSTERS, f"entities with {noun}")


def _positive(sample: Sample, level: float) -> Bounds:
    return _share(sample, sample.decision == 1, None, "rows", level)


def _recall(sample: Sample, level: float) -> Bounds:
    return _share(sample, sample.decision == 1, sample.y == 1, "events", level)


def _false_alarms(sample: Sample, level: float) -> Bounds:
    return _share(sample, sample.decision == 1, sample.y == 0, "non-events", level)


def _gap(sample: Sample, level: float) -> Bounds:
    """Mean probability minus frequency."""
    events = int(np.count_nonzero(sample.y == 1))
    _enough(sample.n, _LEAST_FOR_MEANS, "rows", sample.clusters)
    _enough(events, LEAST, "events", None)
    _enough(sample.n - events, LEAST, "non-events", None)
    return mean_bounds(sample.score.astype(np.float64) - sample.y, sample, level, limits=(-1.0, 1.0))


def error_of(sample: Sample) -> NDArray[np.float64]:
    """The error of each row: wrong decisions, or absolute errors in regression."""
    if sample.task is Task.REGRESSION:
        return np.abs(sample.score.astype(np.float64) - sample.y.astype(np.float64))
    return np.asarray(sample.decision != sample.y, dtype=np.float64)


def _error(sample: Sample, level: float) -> Bounds:
    errors = error_of(sample)
    if sample.task is not Task.REGRESSION:
        return _share(sample, errors > 0, None, "rows", level)
    _enough(sample.n, _LEAST_FOR_MEANS, "rows", sample.clusters)
    return mean_bounds(errors, sample, level, limits=(0.0, np.inf))


def _frequency(sample: Sample, level: float) -> Bounds:
    return _share(sample, sample.y == 1, None, "rows", level)


FREQUENCY = Rate(name="frequency", words="the share of events", bounds=_frequency)
POSITIVE = Rate(name="positive_share", words="the share of positive decisions", bounds=_positive)
RECALL = Rate(name="recall", words="recall", bounds=_recall)
FALSE_ALARMS = Rate(name="false_alarm_rate", words="the share of non-events that raise an alarm", bounds=_false_alarms)
GAP = Rate(name="calibration_gap", words="mean probability minus frequency", bounds=_gap)
ERROR = Rate(name="error", words="error", bounds=_error)
