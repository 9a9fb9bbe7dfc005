"""Expected quality with several classes: from the chance of each class, row by row.

In: chances [n, K], scores [n, K]. Out: ``Moments``. Laws: as in ``expected``; two classes give what that gives.

The expected confusion matrix has the sum of chances of class j over the rows decided as k. A metric is a function of
it; a row's outcome j moves it by the derivative at (j, k), so that its spread is that of independent draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.estimation.expected import Moments
from roadworthy.measures.intervals import NotEnough
from roadworthy.measures.losses import CLIP

__all__ = ["CLASSES", "ClassChances", "expected_classes", "payments"]

Floats = NDArray[np.float64]
_STEP = 1e-20
_STEEPEST = 1e6
_NOTHING = 1e-300
_LEAST = 5.0


class ClassChances(NamedTuple):
    """Scores and chances [n, K]."""

    score: Floats
    chance: Floats


class _Margins(NamedTuple):
    right: NDArray[Any]
    actual: NDArray[Any]
    said: NDArray[Any]


_Formula = Callable[[_Margins], Any]


def _balanced(m: _Margins) -> Any:
    return (m.right / (m.actual + _NOTHING)).mean()


def _macro_f1(m: _Margins) -> Any:
    return (2 * m.right / (m.actual + m.said + _NOTHING)).mean()


def _mcc(m: _Margins) -> Any:
    total, right = m.actual.sum(), m.right.sum()
    spread = (total**2 - (m.said**2).sum()) * (total**2 - (m.actual**2).sum())
    return (right * total - (m.actual * m.said).sum()) / np.sqrt(spread + _NOTHING)


_FORMULAS: dict[str, _Formula] = {
    "balanced_accuracy": _balanced,
    "macro_f1": _macro_f1,
    "mcc": _mcc,
}


def expected_classes(metric: str, rows: ClassChances, majority: int = 0) -> Moments:
    """One of CLASSES on rows. Raises NotEnough where a class is expected too seldom."""
    pays = payments(metric, rows.score, majority)
    return _of_matrix(metric, rows) if pays is None else _paid(rows, pays)


def payments(metric: str, score: Floats, majority: int = 0) -> Floats | None:
    """What each row pays by the class that comes [n, K], for metrics that are the mean of that; None for others."""
    n, k = score.shape
    if metric == "log_loss":
        return np.asarray(-np.log(np.clip(score, CLIP, 1 - CLIP)))
    if metric == "brier":
        return np.asarray((np.square(score).sum(axis=1, keepdims=True) - 2 * score + 1) / 2)
    if metric in {"accuracy", "lift"}:
        said = np.eye(k)[score.argmax(axis=1)]
        return np.asarray(said if metric == "accuracy" else said - np.eye(k)[np.full(n, majority)])
    most = {"top_3_accuracy": 3, "top_5_accuracy": 5}.get(metric)
    if most is None:
        return None
    if k <= most:
        raise NotEnough(f"needs more than {most} classes, has {k}")
    order = np.argsort(np.argsort(-score, axis=1, kind="stable"), axis=1, kind="stable")
    return (order < most).astype(np.float64)


def _paid(rows: ClassChances, pays: Floats) -> Moments:
    """Mean of what each row pays [n, K], by the class that comes."""
    return _summed(rows.chance, pays / len(pays), float((rows.chance * pays).sum() / len(pays)))


def _summed(chance: Floats, slopes: Floats, value: float) -> Moments:
    mean = (chance * slopes).sum(axis=1, keepdims=True)
    away = slopes - mean
    return Moments(value, float((chance * away**2).sum()), float((chance * away**3).sum()))


def _of_matrix(metric: str, rows: ClassChances) -> Moments:
    n, k = rows.chance.shape
    decision = rows.score.argmax(axis=1)
    matrix = np.zeros((k, k))
    np.add.at(matrix.T, decision, rows.chance)
    margins = _Margins(np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0))
    if margins.actual.min() < _LEAST:
        raise NotEnough(f"needs at least {_LEAST:.0f} expected rows of every class, has {margins.actual.min():.1f}")
    formula = _FORMULAS[metric]

    def slope(name: str) -> Floats:
        part = getattr(margins, name)
        stepped = (margins._replace(**{name: part + 1j * _STEP * row}) for row in np.eye(k))
        return np.array([float(np.imag(formula(one))) / _STEP for one in stepped])

    slopes = slope("actual")[None, :].repeat(n, axis=0)
    slopes[np.arange(n), decision] += slope("right")[decision]
    if not (np.abs(slopes) <= _STEEPEST).all():
        raise NotEnough("all decisions fall on too few classes: a single row would turn the figure round")
    return _summed(rows.chance, slopes, float(np.real(formula(margins))))


CLASSES = ("accuracy", *_FORMULAS, "log_loss", "brier", "lift", "top_3_accuracy", "top_5_accuracy")
"""Metrics that can be expected of a model of several classes."""
