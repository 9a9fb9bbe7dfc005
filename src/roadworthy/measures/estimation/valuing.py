"""One way to a metric's moments for every task: from rows and the chance (or error) of each.

In: a ``Scored`` part of a window, and chances. Out: ``Moments``. Law: with outcomes in place of chances the value is
the realised metric.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.estimation.amounts import AMOUNTS, Errors, expected_amounts
from roadworthy.measures.estimation.classes import CLASSES, ClassChances, expected_classes
from roadworthy.measures.estimation.expected import BINARY, DECIDED, Chances, Moments, expected
from roadworthy.records.project import Task

__all__ = ["Told", "estimable", "valued"]

Floats = NDArray[np.float64]


class Told(NamedTuple):
    """Rows as far as their outcome is told: scores, decisions (binary), chances or errors, and the task's facts.

    ``base`` are the class shares, or ``(mean,)``, of the training part. ``weight`` [n] are rows of the window that each
    stands for; ``exact`` is false where rows stand for rows about their score.
    """

    task: Task
    score: Floats
    chance: Floats
    base: tuple[float, ...]
    decision: Floats | None = None
    weight: Floats | None = None
    exact: bool = True
    square: Floats | None = None
    signed: Floats | None = None
    tail: float = 4.0
    lean: float = 1.0


def estimable(task: Task, *, decided: bool = True) -> tuple[str, ...]:
    """Metrics that can be estimated for a task; ``decided`` is false where a binary model takes no decisions."""
    if task is Task.REGRESSION:
        return AMOUNTS
    if task is Task.MULTICLASS:
        return CLASSES
    return tuple(name for name in BINARY if decided or name not in DECIDED)


def valued(metric: str, rows: Told) -> Moments:
    """Moments of an estimable metric. Raises NotEnough where the rows cannot tell."""
    majority = int(np.argmax(rows.base)) if rows.base else 0
    if rows.task is Task.BINARY:
        weight = np.ones(len(rows.score)) if rows.weight is None else rows.weight
        return expected(metric, Chances(rows.score, rows.decision, rows.chance, weight, rows.exact), majority)
    if rows.task is Task.MULTICLASS:
        return expected_classes(metric, ClassChances(rows.score, rows.chance), majority)
    square = rows.chance**2 if rows.square is None else rows.square
    signed = np.zeros(len(rows.score)) if rows.signed is None else rows.signed
    mean = rows.base[0] if rows.base else float(np.mean(rows.score))
    return expected_amounts(metric, Errors(rows.score, rows.chance, square, signed, rows.tail, rows.lean, mean))
