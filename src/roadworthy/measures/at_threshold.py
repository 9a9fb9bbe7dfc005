"""What a yes/no model gives at one threshold: how many of its alarms are true, what it finds, what its errors cost.

In: a binary ``Sample`` with a threshold, the cost of a false alarm and of a missed event. Out: ``Measurement``s with
one-sided bounds on each side, among them ``positive_share``, ``false_alarm_share``, ``missed_share`` (of all rows) and
``cost`` (per row), which no standard names. Law: what the rows cannot answer says why, as in ``quality.measure``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.measures.intervals import Bounds, NotEnough, cluster_count, proportion
from roadworthy.measures.losses import mean_bounds
from roadworthy.measures.quality import measure_safely
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Measurement
from roadworthy.records.project import Task

__all__ = ["AT_THRESHOLD", "figures_at"]

AT_THRESHOLD = ("precision", "recall", "positive_share", "false_alarm_share", "missed_share", "cost")
"""What ``figures_at`` measures, in its order."""


def figures_at(sample: Sample, costs: tuple[float, float], *, confidence: float = 0.95) -> tuple[Measurement, ...]:
    """The figures of ``AT_THRESHOLD``; ``costs`` are those of a false alarm and of a missed event.

    Raises DataError for a sample that is not binary or has no threshold.
    """
    if sample.task is not Task.BINARY:
        raise DataError("a threshold is for yes/no models", next_step="look at the classes one by one instead")
    said, event = sample.decision == 1, sample.y == 1
    false, missed = said & ~event, ~said & event
    paid = costs[0] * false + costs[1] * missed
    limits = (0.0, max(*costs, 1e-12))
    return (
        measure_safely("precision", sample, confidence=confidence),
        measure_safely("recall", sample, confidence=confidence),
        _bounded("positive_share", sample, confidence, lambda: _share(said, sample, confidence)),
        _bounded("false_alarm_share", sample, confidence, lambda: _share(false, sample, confidence)),
        _bounded("missed_share", sample, confidence, lambda: _share(missed, sample, confidence)),
        _bounded("cost", sample, confidence, lambda: mean_bounds(paid, sample, confidence, limits=limits)),
    )


def _share(hit: NDArray[np.bool_], sample: Sample, confidence: float) -> Bounds:
    return proportion(hit, sample.clusters, confidence)


def _bounded(name: str, sample: Sample, confidence: float, bounds_of: Callable[[], Bounds]) -> Measurement:
    facts: dict[str, Any] = {"metric": name, "confidence": confidence, "n": sample.n}
    try:
        found = bounds_of()
    except NotEnough as reason:
        return Measurement(**facts, clusters=cluster_count(sample.clusters), insufficient=str(reason))
    return Measurement(
        **facts,
        value=found.value,
        lower=found.lower,
        upper=found.upper,
        clusters=found.clusters,
        method=found.method,
    )
