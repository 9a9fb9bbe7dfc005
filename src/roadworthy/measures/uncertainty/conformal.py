"""Conformal sets: the labels, or the interval, that hold the truth in nine of ten rows, whatever the model is.

In: scores and outcomes of rows that did not train the model. Out: a frozen ``ConformalPlan``, some numbers that turn
a score into a set. Laws: on rows exchangeable with those that calibrated it, the truth lies in the set with
probability of at least ``level`` (Vovk, Gammerman and Shafer 2005; Lei et al. 2018); a set is never empty; more level
never makes a set smaller.

Classification uses the least ambiguous sets (LAC; Sadinle, Lei and Wasserman 2019): every label whose probability
reaches one threshold, and always the likeliest one. They are the smallest sets of their coverage, and the same row
always gets the same set. Adaptive sets (APS, RAPS) spend labels on rows that are easy anyway, and reach their level
only with a random draw per row, which an answer in service must not depend on. Where a class is rare, sets of one
threshold may never hold it: ``by_class`` calibrates a threshold per class (Mondrian).

Regression uses absolute errors, each divided by the error that is usual at that estimate (Papadopoulos et al. 2002),
so that intervals are wide where the model errs widely.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.intervals import NotEnough
from roadworthy.measures.label_sets import LEVEL, ConformalPlan
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task

__all__ = ["LEVEL", "ConformalPlan", "fit_conformal"]

_BINS = 10
_SCALE_FOLDS = 10
_ROWS_PER_BIN = 40
_PRIOR_ROWS = 10.0
_LEAST_SCALE = 0.05


def fit_conformal(sample: Sample, level: float = LEVEL) -> ConformalPlan:
    """Calibrate on the rows of a sample, none of which may have trained the model.

    Raises NotEnough when there are too few rows for the level (9 for 90 %; 20 for intervals).
    """
    if sample.task is Task.REGRESSION:
        return _intervals(sample, level)
    strange = 1.0 - sample.probabilities[np.arange(sample.n), sample.y]
    each = [strange[sample.y == index] for index in range(sample.class_count)]
    return ConformalPlan(
        task=sample.task,
        threshold=_threshold(strange, level),
        rows=sample.n,
        level=level,
        by_class=tuple(_threshold(own, level) if len(own) >= _fewest(level) else 1.0 for own in each),
    )


def _intervals(sample: Sample, level: float) -> ConformalPlan:
    """Errors over usual errors; each tenth of the rows is scaled by the others, so that no row scales itself."""
    score, errors = sample.score.astype(np.float64), np.abs(sample.score - sample.y).astype(np.float64)
    if sample.n < max(_fewest(level), 2 * _SCALE_FOLDS):
        raise NotEnough(f"needs at least {max(_fewest(level), 2 * _SCALE_FOLDS)} rows to calibrate, has {sample.n}")
    fold, scaled = np.arange(sample.n) % _SCALE_FOLDS, np.empty(sample.n)
    for number in range(_SCALE_FOLDS):
        own = fold == number
        knots, scales = _scale(score[~own], errors[~own])
        scaled[own] = errors[own] / np.interp(score[own], knots, scales)
    knots, scales = _scale(score, errors)
    tail = (1 - level) / 2
    low, high = np.quantile(sample.y, [tail, 1 - tail])
    return ConformalPlan(
        task=sample.task,
        threshold=_threshold(scaled, level),
        rows=sample.n,
        level=level,
        knots=tuple(knots.tolist()),
        scales=tuple(scales.tolist()),
        usual_width=float(high - low),
    )


def _scale(score: NDArray[np.float64], errors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean error in up to 10 groups of the estimate, each drawn to the overall mean by ten rows."""
    centre = float(errors.mean())
    if centre == 0:
        return np.array([float(score.mean())]), np.array([1.0])
    bins = int(np.clip(len(score) // _ROWS_PER_BIN, 1, _BINS))
    place = np.searchsorted(np.unique(np.quantile(score, np.linspace(0, 1, bins + 1)[1:-1])), score, side="right")
    rows = np.bincount(place).astype(np.float64)
    kept = rows > 0
    knots = np.bincount(place, weights=score)[kept] / rows[kept]
    means = (np.bincount(place, weights=errors)[kept] + _PRIOR_ROWS * centre) / (rows[kept] + _PRIOR_ROWS)
    return knots, np.maximum(means, _LEAST_SCALE * centre)


def _threshold(strange: NDArray[np.float64], level: float) -> float:
    """The ⌈(n + 1) level⌉-th smallest of n: the next row is no stranger with probability of at least ``level``."""
    n = len(strange)
    place = math.ceil((n + 1) * level - 1e-9)
    if place > n:
        raise NotEnough(f"needs at least {_fewest(level)} rows to calibrate, has {n}")
    return float(np.partition(strange, place - 1)[place - 1])


def _fewest(level: float) -> int:
    return math.ceil(level / (1 - level) - 1e-9)
