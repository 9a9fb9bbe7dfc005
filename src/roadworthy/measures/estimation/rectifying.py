"""Prediction-powered inference: a few labels of a window, and the many estimates, in one honest figure.

In: an ``EstimatorState``, a window, and outcomes of some of its rows. Out: ``Measurement``s whose bounds hold under any
concept drift, because only the labels decide where the value lies. Laws: the labelled rows are drawn at random, or with
known probabilities; estimates that are wrong cost width, never coverage; useless estimates give the labels alone.

For a mean of f(row, outcome): λ · mean of the estimates over all rows + mean over labelled rows of (f − λ · estimate)
(Angelopoulos et al. 2023, "Prediction-powered inference", Science 382), with the λ that makes the variance least
(PPI++, Angelopoulos, Duchi and Zrnic 2023, arXiv 2311.01453), within [0, 1]. What depends on decisions is a smooth
function of two such means: how often the event came among the rows decided either way, whose numbers are known.
Bounds are skewness-corrected Student ones (Hall 1992) on what each labelled row adds; half an event and half a
non-event more in each group keep a group whose labels all agree from looking certain.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.measures.estimation.amounts import AMOUNTS
from roadworthy.measures.estimation.classes import payments
from roadworthy.measures.estimation.expected import FORMULAS, Counts, binary_payments
from roadworthy.measures.estimation.state import CBPE, CONDITIONAL, DLE, EstimatorState
from roadworthy.measures.estimation.telling import Telling
from roadworthy.measures.estimation.valuing import Told
from roadworthy.measures.intervals import NotEnough, skewed_t
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.records.project import Task
from roadworthy.standard.catalogue import metric_named

__all__ = ["MIN_LABELS", "rectified"]

Floats = NDArray[np.float64]

MIN_LABELS = 30
"""Fewer labels than this give no bound worth the name."""

_LEAST_DECIDED = 8
_PRIOR = math.sqrt(0.5)
"""Half an event and half a non-event more in each group: as roots, since influences are squared."""
_STEP = 1e-20


class _Labels(NamedTuple):
    """Which rows [m] are labelled, how many rows each stands for, and what they turned out as."""

    rows: NDArray[np.int64]
    weight: Floats
    y: NDArray[Any]


class _Mean(NamedTuple):
    """A rectified mean: its value, what each labelled row adds to its error [m], and the variance of the rest."""

    value: float
    influence: Floats
    rest: float
    power: float


def rectified(
    state: EstimatorState,
    scores: NDArray[np.floating],
    labelled: NDArray[Any],
    y: NDArray[Any],
    *,
    frame: pl.DataFrame | None = None,
    decisions: NDArray[Any] | None = None,
    metrics: Iterable[str] | None = None,
    confidence: float = 0.95,
    probabilities: NDArray[np.float64] | None = None,
) -> tuple[Measurement, ...]:
    """Quality of a window of which ``labelled`` rows (mask [n] or positions [m]) turned out as ``y`` [m].

    ``probabilities`` [m] are those with which each labelled row was chosen; None: all rows alike. Bounds hold for the
    quality behind the window, one-sided at ``confidence`` each. Rank metrics, and with several classes
    what is no mean over rows, are ``insufficient``. Raises DataError when parts do not fit.
    """
    told = Telling(state, scores, frame, decisions)
    labels = _labels(told.n, labelled, y, probabilities)
    if state.task is Task.REGRESSION:
        rows = told.told(DLE)
    else:
        rows = told.direct(CONDITIONAL if frame is not None and state.learned.trees is not None else CBPE)
    names = state.known if metrics is None else tuple(metrics)
    return tuple(_measured(metric_named(name).name, rows, labels, confidence) for name in names)


def _labels(n: int, labelled: NDArray[Any], y: NDArray[Any], probabilities: Floats | None) -> _Labels:
    rows = np.flatnonzero(labelled) if np.asarray(labelled).dtype == np.bool_ else np.asarray(labelled, dtype=np.int64)
    if len(rows) != len(y) or (probabilities is not None and len(probabilities) != len(rows)):
        raise DataError(f"{len(rows)} labelled rows, {len(y)} outcomes: expected as many of each")
    if len(rows) and (rows.min() < 0 or rows.max() >= n or len(np.unique(rows)) != len(rows)):
        raise DataError("labelled rows are not among the window's, or named twice")
    if probabilities is None:
        return _Labels(rows, np.ones(len(rows)), np.asarray(y))
    chosen = np.asarray(probabilities, dtype=np.float64)
    if not ((chosen > 0) & (chosen <= 1)).all():
        raise DataError("a labelled row cannot have been chosen with probability zero, nor with more than one")
    return _Labels(rows, 1 / chosen, np.asarray(y))


def _measured(metric: str, rows: Told, labels: _Labels, confidence: float) -> Measurement:
    catalogued = metric_named(metric)
    facts: dict[str, Any] = {
        "metric": metric,
        "confidence": confidence,
        "n": len(rows.score),
        "among": len(labels.rows),
        "unit": catalogued.unit,
        "phase": Phase.LIVE,
        "method": "estimated: prediction-powered inference",
    }
    try:
        found = _found(metric, rows, labels)
        own = float(found.influence @ found.influence)
        inflate = float(np.sqrt(1 + found.rest / own)) if own > 0 else 1.0
        band = skewed_t(found.value, found.influence, None, confidence, inflate=inflate, unseen=0.0)
    except NotEnough as reason:
        return Measurement(**facts, insufficient=f"cannot estimate: {reason}")
    except Exception as failure:  # noqa: BLE001 - whatever broke the check is evidence, and the judge must see it
        return Measurement(**facts, error=f"{metric} could not be estimated: {type(failure).__name__}: {failure}")
    low, high = catalogued.low, catalogued.high
    lower, upper = (float(np.clip(end, low, high)) if (low, high) != (None, None) else end for end in band[1:3])
    value = float(np.clip(band.value, lower, upper))
    why = f"{len(labels.rows)} labels, and estimates of {len(rows.score)} rows at weight {found.power:.2f}"
    return Measurement(**facts, value=value, lower=lower, upper=upper, reason=why)


def _found(metric: str, rows: Told, labels: _Labels) -> _Mean:
    if len(labels.rows) < MIN_LABELS:
        raise NotEnough(f"needs at least {MIN_LABELS} labels, has {len(labels.rows)}")
    return _WAYS[rows.task](metric, rows, labels)


def _mean(actual: Floats, told: Floats, told_all: Floats, weight: Floats, slope: float = 1.0) -> _Mean:
    """Rectified mean of ``actual`` [m] with ``told`` [m] beside it and over all rows [n]; weights by Hájek."""
    share = weight / weight.sum()
    size = 1 / float(share @ share)
    middle, own = float(share @ told), float(share @ actual)
    spread = float(share @ (told - middle) ** 2)
    joint = float(share @ ((told - middle) * (actual - own)))
    power = float(np.clip(joint / spread / (1 + size / len(told_all)), 0, 1)) if spread > 1e-12 else 0.0
    value = own + power * (float(told_all.mean()) - middle)
    left = actual - power * told
    influence = share * (left - float(share @ left))
    rest = power**2 * float(told_all.var()) / len(told_all)
    return _Mean(value, slope * influence, slope**2 * rest, power)


def _binary(metric: str, rows: Told, labels: _Labels) -> _Mean:
    paid = binary_payments(metric, rows.score)
    y = labels.y.astype(np.float64)
    if paid is not None:
        other, more = paid[1], paid[0] - paid[1]
        told = other + more * rows.chance
        return _mean(other[labels.rows] + more[labels.rows] * y, told[labels.rows], told, labels.weight)
    if metric not in FORMULAS:
        raise NotEnough(f"{metric} has no estimate from a few labels: it needs all ranks")
    if rows.decision is None:
        raise NotEnough("needs decisions, and the model takes none: no threshold is set")
    return _of_decisions(metric, rows.chance, rows.decision, labels)


def _of_decisions(metric: str, chance: Floats, decision: Floats, labels: _Labels) -> _Mean:
    """A function of how often the event came among rows decided either way."""
    parts, sizes = {}, {}
    for side in (1.0, 0.0):
        inside = decision[labels.rows] == side
        sizes[side] = int((decision == side).sum())
        if inside.sum() >= _LEAST_DECIDED:
            told_all = chance[decision == side]
            came, told = labels.y[inside].astype(np.float64), chance[labels.rows][inside]
            parts[side] = _mean(came, told, told_all, labels.weight[inside])
    shares = {side: min(max(part.value, 0.0), 1.0) for side, part in parts.items()}
    value, slopes = _function(metric, shares, sizes)
    influence, rest, powers = [], 0.0, []
    for side, slope in slopes.items():
        if abs(slope) * sizes[side] < 1e-12 * sum(sizes.values()):
            continue
        if side not in parts:
            noun = "rows decided as events" if side else "rows decided as non-events"
            raise NotEnough(f"needs at least {_LEAST_DECIDED} labels of {noun}")
        part, count = parts[side], len(parts[side].influence)
        pulls = slope * _PRIOR * (np.array([1.0, 0.0]) - shares[side]) / (count + 1)
        influence += [slope * part.influence, pulls]
        rest += slope**2 * part.rest
        powers.append(part.power)
    return _Mean(value, np.concatenate(influence), rest, float(np.mean(powers)))


def _function(metric: str, shares: dict[float, float], sizes: dict[float, int]) -> tuple[float, dict[float, float]]:
    """The metric, and its derivative by the share of events on each side of the decision."""

    def at(yes: complex, no: complex) -> Any:
        right = sizes[1.0] * yes
        return FORMULAS[metric](Counts(right, right + sizes[0.0] * no, float(sizes[1.0]), float(sum(sizes.values()))))

    yes, no = shares.get(1.0, 0.5), shares.get(0.0, 0.5)
    by = {1.0: float(np.imag(at(yes + 1j * _STEP, no))) / _STEP, 0.0: float(np.imag(at(yes, no + 1j * _STEP))) / _STEP}
    return float(np.real(at(yes, no))), by


def _many(metric: str, rows: Told, labels: _Labels) -> _Mean:
    pays = payments(metric, rows.score, int(np.argmax(rows.base)) if rows.base else 0)
    if pays is None:
        raise NotEnough(f"{metric} has no estimate from a few labels: it is no mean over rows")
    told = (rows.chance * pays).sum(axis=1)
    return _mean(pays[labels.rows, labels.y], told[labels.rows], told, labels.weight)


def _amount(metric: str, rows: Told, labels: _Labels) -> _Mean:
    if metric not in AMOUNTS or rows.square is None or rows.signed is None:
        raise NotEnough(f"{metric} has no estimate from a few labels: it is no mean over rows")
    error = labels.y - rows.score[labels.rows]
    if metric == "mae":
        return _mean(np.abs(error), rows.chance[labels.rows], rows.chance, labels.weight)
    squares = _mean(error**2, rows.square[labels.rows], rows.square, labels.weight)
    if metric == "rmse":
        root = float(np.sqrt(max(squares.value, 1e-300)))
        return _Mean(root, squares.influence / (2 * root), squares.rest / (4 * root**2), squares.power)
    away = rows.score - (rows.base[0] if rows.base else float(rows.score.mean()))
    base_told = away**2 + 2 * away * rows.signed + rows.square
    base = _mean((away[labels.rows] + error) ** 2, base_told[labels.rows], base_told, labels.weight)
    if base.value <= 0:
        raise NotEnough("the target is constant here, so that there is nothing to explain")
    ratio = squares.value / base.value
    actual = error**2 - ratio * (away[labels.rows] + error) ** 2
    told = rows.square - ratio * base_told
    joint = _mean(actual, told[labels.rows], told, labels.weight, -1 / base.value)
    return joint._replace(value=1 - ratio)


_WAYS = {Task.BINARY: _binary, Task.MULTICLASS: _many, Task.REGRESSION: _amount}
