"""Conformal sets measured on rows that did not calibrate them.

In: a sample and its parts. Out: ``Measured``, row by row. Law: each row is measured once, by a plan of other rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from roadworthy.measures.intervals import Bounds
from roadworthy.measures.samples import Sample
from roadworthy.measures.uncertainty.conformal import LEVEL, ConformalPlan, fit_conformal
from roadworthy.measures.uncertainty.parts import Parts, Ways, mean_of, share_of
from roadworthy.records.project import Task

__all__ = [
    "Measured",
    "holds",
    "mean_pinball",
    "mean_size",
    "measure_parts",
    "pinball_losses",
    "share_covered",
    "share_referred",
]

_OF_ONE, _OF_MANY = 0.4, 1.3


class Measured(NamedTuple):
    """The rows that were measured, each by plans of other rows; all parts have m rows.

    ``sample`` and ``ways``: those rows. ``part``: which of the parts measured each, in their order. ``covered``,
    ``size``, ``refers`` [m]: by one threshold; ``covered_by_class``, ``size_by_class`` [m]: by a threshold per class.
    ``ends`` [m, 2]: the interval's, where there is one. ``wobble``: standard errors of the mean size, of the share
    referred and of coverage that come from the plan, as far as rows do not show them; 0 where parts follow time.
    """

    places: NDArray[np.int64]
    sample: Sample
    ways: Ways
    part: NDArray[np.int64]
    ordered: bool
    covered: NDArray[np.bool_]
    size: NDArray[np.float64]
    refers: NDArray[np.bool_]
    covered_by_class: NDArray[np.bool_]
    size_by_class: NDArray[np.float64]
    ends: NDArray[np.float64]
    wobble: tuple[float, float, float]


def measure_parts(sample: Sample, parts: Parts) -> Measured:
    """Every part measured by the plan of the rows that calibrate it."""
    found, plans = [], []
    for number, part in enumerate(parts.parts):
        plan, own = fit_conformal(sample.take(part.calibrate)), sample.take(part.measure)
        plans.append(plan)
        score, m = own.score.astype(np.float64), own.n
        applied, size, refers = plan.apply(score), plan.sizes(score), plan.refers(score)
        covered = holds(applied, own)
        if sample.task is Task.REGRESSION:
            each, each_size, ends = covered, size, applied
        else:
            by_class = plan.apply(score, by_class=True)
            each, each_size = by_class[np.arange(m), own.y], by_class.sum(axis=1).astype(np.float64)
            ends = np.zeros((m, 2))
        found.append((part.measure, np.full(m, number), covered, size, refers, each, each_size, ends))
    places, numbers, covered, size, refers, each, each_size, ends = (
        np.concatenate(one) for one in zip(*found, strict=True)
    )
    return Measured(
        places=places,
        sample=sample.take(places),
        ways=parts.ways.take(places),
        part=numbers,
        ordered=parts.ordered,
        covered=covered,
        size=size,
        refers=refers,
        covered_by_class=each,
        size_by_class=each_size,
        ends=ends,
        wobble=(0.0, 0.0, 0.0) if parts.ordered else _wobble(plans, sample),
    )


def pinball_losses(sample: Sample, ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean pinball loss of the two ends, as quantiles of 5 % and 95 % (Koenker and Bassett 1978) [m]."""
    tail = (1 - LEVEL) / 2
    short, long = sample.y - ends[:, 0], sample.y - ends[:, 1]
    low = np.maximum(tail * short, (tail - 1) * short)
    high = np.maximum((1 - tail) * long, -tail * long)
    return np.asarray((low + high) / 2, dtype=np.float64)


def holds(applied: NDArray[Any], sample: Sample) -> NDArray[np.bool_]:
    """Whether each row's set, or interval, holds its truth [n]; ``applied`` as ``ConformalPlan.apply`` gives it."""
    if sample.task is Task.REGRESSION:
        return np.asarray((applied[:, 0] <= sample.y) & (sample.y <= applied[:, 1]))
    return np.asarray(applied[np.arange(sample.n), sample.y])


def share_covered(measured: Measured, confidence: float) -> Bounds:
    """Share of the measured rows whose set holds the truth."""
    return _widened(share_of(measured.covered, measured.ways, confidence), measured.wobble[2], confidence, (0.0, 1.0))


def mean_pinball(measured: Measured, confidence: float) -> Bounds:
    """Mean pinball loss; the wider bounds of the mean and of its logarithm, since losses have a long tail."""
    losses = pinball_losses(measured.sample, measured.ends)
    plain, value = mean_of(losses, measured.ways, confidence), float(losses.mean())
    relative = mean_of(losses / value, measured.ways, confidence)  # their errors are those of the logarithm
    lower, upper = value * math.exp(relative.lower - 1), value * math.exp(min(relative.upper - 1, 50.0))
    return plain._replace(lower=min(plain.lower, lower), upper=max(plain.upper, upper))


def mean_size(measured: Measured, confidence: float) -> Bounds:
    """Mean labels per set; of two classes, or where every set is one label, from the share of larger sets."""
    size, most = measured.size, measured.sample.class_count
    larger = share_of(size > 1, measured.ways, confidence)
    if most == 2 or larger.value == 0:
        bounds = larger._replace(value=1 + larger.value, lower=1 + larger.lower, upper=1 + (most - 1) * larger.upper)
    else:
        bounds = mean_of(size, measured.ways, confidence)
    return _widened(bounds, measured.wobble[0], confidence, (1.0, float(most)))


def share_referred(refers: NDArray[np.bool_], measured: Measured, confidence: float) -> Bounds:
    """Share of the measured rows that are referred."""
    return _widened(share_of(refers, measured.ways, confidence), measured.wobble[1], confidence, (0.0, 1.0))


def _wobble(plans: Sequence[ConformalPlan], sample: Sample) -> tuple[float, float, float]:
    """Grouped jackknife (Shao and Wu 1989) over plans that each lack one part, all applied to the same rows.

    Coverage and sets of labels hang on one threshold, whose error shows in the rows too: it counts 0.4 times. Which
    intervals are wide hangs on many figures: it counts in full, as a Student quantile of few plans does. Both by
    benchmarks/conformal.py.
    """
    score = sample.score.astype(np.float64)
    figures = [
        (plan.sizes(score).mean(), plan.refers(score).mean(), holds(plan.apply(score), sample).mean()) for plan in plans
    ]
    size, refers, covered = np.sqrt((len(plans) - 1) * np.var(figures, axis=0))
    weight = _OF_MANY if sample.task is Task.REGRESSION else _OF_ONE
    return weight * float(size), weight * float(refers), _OF_ONE * float(covered)


def _widened(bounds: Bounds, wobble: float, confidence: float, limits: tuple[float, float]) -> Bounds:
    """Bounds with the plan's own uncertainty added in squares: another calibration would make another plan."""
    far = float(special.ndtri(confidence)) * wobble
    lower = bounds.value - math.hypot(bounds.value - bounds.lower, far)
    upper = bounds.value + math.hypot(bounds.upper - bounds.value, far)
    return bounds._replace(lower=max(lower, limits[0]), upper=min(upper, limits[1]))
