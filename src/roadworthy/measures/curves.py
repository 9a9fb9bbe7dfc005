"""Exhibits: the tables behind the report's pictures of quality.

In: a ``Sample``. Out: ``Exhibit``s named as ``charts`` knows them. Laws: at most 200
points to a curve and 700 to a scatter, whatever the rows; every number is finite or null; counts add up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.calibration import confidence_pair, equal_mass_bins
from roadworthy.measures.confusion import confusion_counts
from roadworthy.measures.intervals import NotEnough, proportion
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Exhibit
from roadworthy.records.project import Task

__all__ = [
    "actual_predicted_exhibit",
    "calibration_exhibit",
    "confusion_exhibit",
    "exhibits_for",
    "per_class_exhibit",
    "pr_exhibit",
    "residuals_exhibit",
    "roc_exhibit",
    "scores_exhibit",
]

_POINTS = 200
_DOTS = 700
_SCORE_BINS = 25
_RESIDUAL_BINS = 40
_MOST_CLASSES = 50
_BINS_NOTE = "Drawn in up to ten bins; calibration_error is judged on up to 25 finer ones, with their noise taken off."


def exhibits_for(sample: Sample, *, confidence: float = 0.95) -> tuple[Exhibit, ...]:
    """All exhibits that a sample's task has and its rows allow."""
    if sample.n == 0:
        return ()
    if sample.task is Task.REGRESSION:
        return (actual_predicted_exhibit(sample), residuals_exhibit(sample))
    exhibits = []
    if sample.task is Task.MULTICLASS or sample.threshold is not None:
        exhibits += [confusion_exhibit(sample), per_class_exhibit(sample)]
    if sample.task is Task.BINARY:
        if len(np.unique(sample.y)) == 2:
            exhibits += [roc_exhibit(sample), pr_exhibit(sample)]
        exhibits.append(scores_exhibit(sample))
    return (*exhibits, calibration_exhibit(sample, confidence=confidence))


def confusion_exhibit(sample: Sample) -> Exhibit:
    """One line per pair of true and predicted class: rows, and their share of the true class."""
    counts = confusion_counts(sample)
    labels = _labels(sample)
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    columns: dict[str, list[Any]] = {
        "actual": [label for label in labels for _ in labels],
        "predicted": [label for _ in labels for label in labels],
        "count": counts.ravel().tolist(),
        "share": (counts / totals).ravel().tolist(),
    }
    note = f"{int(np.trace(counts)):,} of {sample.n:,} rows are decided rightly."
    return Exhibit(name="confusion", title="What was true and what was said", columns=columns, note=note)


def per_class_exhibit(sample: Sample) -> Exhibit:
    """Precision, recall and F1 of each class; null where a class was never predicted or never true."""
    counts = confusion_counts(sample)
    right, actual, said = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    columns: dict[str, list[Any]] = {
        "class": _labels(sample),
        "rows": actual.tolist(),
        "precision": _ratios(right, said),
        "recall": _ratios(right, actual),
        "f1": _ratios(2 * right, actual + said),
    }
    kept = np.argsort(-actual, kind="stable")[:_MOST_CLASSES]
    columns = {name: [values[place] for place in kept] for name, values in columns.items()}
    return Exhibit(name="per_class", title="Each class on its own", columns=columns)


def roc_exhibit(sample: Sample) -> Exhibit:
    """Share of events found against share of non-events called events, over thresholds."""
    threshold, tp, fp = _falling(sample)
    columns = {
        "false_positive_rate": (fp / fp[-1]).tolist(),
        "true_positive_rate": (tp / tp[-1]).tolist(),
        "threshold": threshold.tolist(),
    }
    return Exhibit(name="roc", title="Events found against false alarms", columns=columns)


def pr_exhibit(sample: Sample) -> Exhibit:
    """Precision against recall, over thresholds."""
    threshold, tp, fp = _falling(sample)
    called = tp + fp > 0
    columns = {
        "recall": (tp / tp[-1])[called].tolist(),
        "precision": (tp[called] / (tp + fp)[called]).tolist(),
        "threshold": threshold[called].tolist(),
    }
    note = f"Without any model, precision is {float(np.mean(sample.y)):.3f} at every recall."
    return Exhibit(name="pr", title="Precision against recall", columns=columns, note=note)


def calibration_exhibit(sample: Sample, *, confidence: float = 0.95) -> Exhibit:
    """Mean score and observed share in up to ten bins of equal size, with one-sided bounds on each side."""
    score, hit = confidence_pair(sample)
    bins = equal_mass_bins(score, hit, 10)
    bounds: list[tuple[float | None, float | None]] = []
    for place in range(len(bins.rows)):
        rows = bins.place == place
        clusters = None if sample.clusters is None else sample.clusters[rows]
        try:
            _, lower, upper = proportion(hit[rows], clusters, confidence)[:3]
            bounds.append((lower, upper))
        except NotEnough:
            bounds.append((None, None))
    columns: dict[str, list[Any]] = {
        "predicted": bins.score.tolist(),
        "observed": bins.share.tolist(),
        "lower": [lower for lower, _ in bounds],
        "upper": [upper for _, upper in bounds],
        "rows": bins.rows.tolist(),
    }
    title = "Whether probabilities mean what they say"
    return Exhibit(name="calibration", title=title, columns=columns, note=_BINS_NOTE)


def scores_exhibit(sample: Sample) -> Exhibit:
    """How many rows of each class got which score, in 25 bins from 0 to 1."""
    edges = np.linspace(0, 1, _SCORE_BINS + 1)
    labels = _labels(sample)
    columns: dict[str, list[Any]] = {"bin_left": [], "bin_right": [], "count": [], "class": []}
    for index, label in enumerate(labels):
        counts = np.histogram(np.clip(sample.score[sample.y == index], 0, 1), edges)[0]
        columns["bin_left"] += edges[:-1].tolist()
        columns["bin_right"] += edges[1:].tolist()
        columns["count"] += counts.tolist()
        columns["class"] += [label] * _SCORE_BINS
    return Exhibit(name="scores", title="Scores by what was true", columns=columns)


def residuals_exhibit(sample: Sample) -> Exhibit:
    """Histogram of actual less predicted, in 40 bins."""
    errors = np.asarray(sample.y - sample.score, dtype=np.float64)
    low, high = float(errors.min()), float(errors.max())
    room = max(1e-9 * max(abs(low), abs(high)) - (high - low), 0.0)  # vast errors, all alike, fill no 40 bins
    counts, edges = np.histogram(errors, _RESIDUAL_BINS, range=(low - room, high + room))
    columns = {"bin_left": edges[:-1].tolist(), "bin_right": edges[1:].tolist(), "count": counts.tolist()}
    return Exhibit(name="residuals", title="How far off the estimates are", columns=columns)


def actual_predicted_exhibit(sample: Sample) -> Exhibit:
    """Actual and predicted values of at most 700 rows, drawn at random by the sample's seed."""
    rows = np.sort(np.random.default_rng(sample.seed).permutation(sample.n)[:_DOTS])
    columns = {"actual": sample.y[rows].astype(float).tolist(), "predicted": sample.score[rows].astype(float).tolist()}
    note = f"{len(rows):,} of {sample.n:,} rows." if len(rows) < sample.n else ""
    return Exhibit(name="actual_predicted", title="Estimates against what was true", columns=columns, note=note)


def _labels(sample: Sample) -> list[str]:
    return list(sample.classes) or [str(index) for index in range(sample.class_count)]


def _ratios(top: NDArray[np.int64], bottom: NDArray[np.int64]) -> list[float | None]:
    return [float(t / b) if b else None for t, b in zip(top, bottom, strict=True)]


def _falling(sample: Sample) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Thresholds, falling from above all scores, with true and false positives at each; at most 200."""
    values, level = np.unique(-sample.score, return_inverse=True)
    level = level.reshape(-1)
    tp = np.cumsum(np.bincount(level, weights=sample.y == 1, minlength=len(values)))
    fp = np.cumsum(np.bincount(level, weights=sample.y == 0, minlength=len(values)))
    # points are spread along the curve's own length, so that steep parts keep theirs
    length = tp / max(tp[-1], 1) + fp / max(fp[-1], 1)
    places = np.unique(np.searchsorted(length, np.linspace(0, length[-1], _POINTS - 1)).clip(0, len(length) - 1))
    start = np.array([1.0 if values.size == 0 else max(1.0, float(-values[0]))])
    zero = np.zeros(1)
    return (
        np.concatenate([start, -values[places]]),
        np.concatenate([zero, tp[places]]),
        np.concatenate([zero, fp[places]]),
    )
