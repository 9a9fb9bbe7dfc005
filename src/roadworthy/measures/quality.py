"""Quality metrics by name: the one way from a scored sample to a ``Measurement``.

In: a metric's name and a ``Sample``. Out: a ``Measurement`` with one-sided bounds, or with ``insufficient``
(the sample may not answer, and why) or ``error`` (the check broke). Laws: an unknown name raises; lower <=
value <= upper; no number that is not finite comes out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import DataError, UnknownName, UsageError
from roadworthy.measures import confusion, losses, proportions, ranking
from roadworthy.measures.calibration import calibration_error
from roadworthy.measures.intervals import Bounds, NotEnough, cluster_count
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Measurement
from roadworthy.records.project import Task
from roadworthy.standard.catalogue import CATALOGUE

__all__ = [
    "METRICS",
    "MOST_SLICES",
    "PER_CLASS",
    "class_measure",
    "measure",
    "measure_safely",
    "metrics_for",
    "slice_measure",
]

MOST_SLICES = 50
"""A column with more values than this is no column to slice by."""

_Metric = Callable[[Sample, float], Bounds]
_CLASSES = (Task.BINARY, Task.MULTICLASS)

METRICS: dict[str, tuple[_Metric, tuple[Task, ...]]] = {
    "accuracy": (proportions.accuracy, _CLASSES),
    "balanced_accuracy": (confusion.balanced_accuracy, _CLASSES),
    "precision": (proportions.precision, (Task.BINARY,)),
    "recall": (proportions.recall, (Task.BINARY,)),
    "specificity": (proportions.specificity, (Task.BINARY,)),
    "f1": (proportions.f1, (Task.BINARY,)),
    "f05": (confusion.f05, (Task.BINARY,)),
    "f2": (confusion.f2, (Task.BINARY,)),
    "top_3_accuracy": (proportions.top_3_accuracy, (Task.MULTICLASS,)),
    "top_5_accuracy": (proportions.top_5_accuracy, (Task.MULTICLASS,)),
    "macro_f1": (confusion.macro_f1, _CLASSES),
    "mcc": (confusion.mcc, _CLASSES),
    "roc_auc": (ranking.roc_auc, (Task.BINARY,)),
    "pr_auc": (ranking.pr_auc, (Task.BINARY,)),
    "log_loss": (losses.log_loss, _CLASSES),
    "brier": (losses.brier, _CLASSES),
    "calibration_error": (calibration_error, _CLASSES),
    "lift": (confusion.lift, _CLASSES),
    "skill": (losses.skill, _CLASSES),
    "mae": (losses.mae, (Task.REGRESSION,)),
    "rmse": (losses.rmse, (Task.REGRESSION,)),
    "r2": (losses.r2, (Task.REGRESSION,)),
    "median_absolute_error": (losses.median_absolute_error, (Task.REGRESSION,)),
}


PER_CLASS = tuple(name for name, entry in CATALOGUE.items() if entry.per_class)
"""Metrics that speak of one class against all others: ``class_measure`` takes each class in turn."""


def metrics_for(task: Task) -> tuple[str, ...]:
    """Names of the metrics that are defined for a task."""
    return tuple(name for name, (_, tasks) in METRICS.items() if task in tasks)


def measure(metric: str, sample: Sample, *, confidence: float = 0.95, slice: str = "") -> Measurement:  # noqa: A002 - the field's own name in Measurement
    """One metric on one sample, with a one-sided bound on each side at ``confidence``.

    Too few rows give ``insufficient``. Raises UnknownName for a name that is not in METRICS, DataError for
    one that the task does not have, UsageError for a confidence outside (0.5, 1).
    """
    if metric not in METRICS:
        raise UnknownName("metric", metric, METRICS)
    compute, tasks = METRICS[metric]
    if sample.task not in tasks:
        known = ", ".join(metrics_for(sample.task))
        raise DataError(f"{metric} is not defined for a {sample.task.value} task", next_step=f"use one of: {known}")
    if not 0.5 < confidence < 1:
        raise UsageError(f"confidence {confidence} is out of range: a number above 0.5 and below 1 is expected")
    facts: dict[str, Any] = {"metric": metric, "confidence": confidence, "n": sample.n, "slice": slice}
    facts["unit"] = CATALOGUE[metric].unit
    if sample.n == 0:
        return Measurement(**facts, insufficient="no row to measure")
    try:
        bounds = compute(sample, confidence)
    except NotEnough as reason:
        clusters = cluster_count(sample.clusters)
        return Measurement(**facts, clusters=clusters, insufficient=f"{metric} {_after(str(reason))}")
    if not all(math.isfinite(number) for number in bounds[:3]):
        return Measurement(**facts, error=f"{metric} came out as {bounds.value}, which is not a finite number")
    return Measurement(
        **facts,
        value=bounds.value,
        lower=bounds.lower,
        upper=bounds.upper,
        clusters=bounds.clusters,
        among=bounds.among,
        method=bounds.method,
    )


def measure_safely(metric: str, sample: Sample, *, confidence: float = 0.95, slice: str = "") -> Measurement:  # noqa: A002 - as above
    """Like ``measure``, but a check that breaks leaves a Measurement with ``error`` set; nothing is raised."""
    try:
        return measure(metric, sample, confidence=confidence, slice=slice)
    except Exception as failure:  # noqa: BLE001 - whatever broke the check is evidence, and the judge must see it
        sentence = f"{metric} could not be measured: {type(failure).__name__}: {failure}"
        return Measurement(metric=metric, confidence=confidence, n=sample.n, slice=slice, error=sentence)


def slice_measure(
    metric: str,
    sample: Sample,
    groups: NDArray[Any],
    column: str,
    *,
    expected: Iterable[str] = (),
    confidence: float = 0.95,
) -> tuple[Measurement, ...]:
    """The metric within each group of ``groups`` [n], bounds at 1 − (1 − confidence) / k over k groups.

    ``expected`` names groups that there ought to be: one without a row is measured too, and says that it has none,
    so that no group passes by being absent. Together the bounds of all groups hold at ``confidence`` (Bonferroni).
    A missing label is a group of its own, "missing". Raises DataError for more than 50 groups.
    """
    labels = np.array(["missing" if label is None else str(label) for label in groups], dtype=object)
    if len(labels) != sample.n:
        raise DataError(f"{len(labels)} group labels for {sample.n} rows", next_step="slice the rows of the sample")
    names = sorted({*labels, *expected})
    if len(names) > MOST_SLICES:
        raise DataError(
            f"column {column} has {len(names)} values, more than the {MOST_SLICES} that can be slices",
            next_step=f"group the values of {column} in a feature and slice by that",
        )
    each = 1 - (1 - confidence) / max(len(names), 1)
    return tuple(
        measure_safely(metric, sample.take(labels == name), confidence=each, slice=f"{column}={name}") for name in names
    )


def class_measure(metric: str, sample: Sample, column: str, *, confidence: float = 0.95) -> tuple[Measurement, ...]:
    """One of PER_CLASS for each class against all others, sliced as ``column``=class (``column`` names the target).

    A class counts as predicted where it is the decision. Bounds at 1 − (1 − confidence) / K over K classes hold
    together at ``confidence``; a class without a row in the sample is measured too, and says so. Raises UnknownName for
    another metric, DataError for more than 50 classes, or for regression.
    """
    if metric not in PER_CLASS:
        raise UnknownName("metric of one class", metric, PER_CLASS)
    if not 0 < sample.class_count <= MOST_SLICES:
        found = f"{sample.class_count} classes" if sample.class_count else "no classes"
        raise DataError(f"{metric} by class: {found}, expected 1 to {MOST_SLICES}", next_step="ask for macro_f1")
    each = 1 - (1 - confidence) / sample.class_count
    labels = sample.classes or tuple(str(index) for index in range(sample.class_count))
    decision = sample.decision
    return tuple(
        measure_safely(
            metric,
            Sample(
                task=Task.BINARY,
                y=(sample.y == index).astype(np.int64),
                score=(decision == index).astype(np.float64),
                threshold=0.5,
                clusters=sample.clusters,
                seed=sample.seed,
            ),
            confidence=each,
            slice=f"{column}={label}",
        )
        for index, label in enumerate(labels)
    )


def _after(reason: str) -> str:
    return reason if reason.startswith("needs") else f"cannot be measured: {reason}"
