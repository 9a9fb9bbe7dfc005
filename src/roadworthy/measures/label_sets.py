"""Label sets and intervals as a plan: some numbers that turn a score into what holds the truth that often.

In: scores. Out: sets, intervals, who is referred. How a plan is calibrated, and why so, is ``uncertainty.conformal``'s;
this stands by itself so that a server that applies a plan loads nothing that only fits one. Laws: a set is never empty;
more level never makes a set smaller.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.records.project import Task

__all__ = ["LEVEL", "ConformalPlan"]

LEVEL = 0.9
"""The share of truths that a set is to hold."""


class ConformalPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What turns scores into sets, calibrated on ``rows`` rows.

    Classification: a label belongs to the set when 1 − its probability is at most ``threshold`` (``by_class``: the
    label's own threshold). Regression: the interval is the estimate ± ``threshold`` × the usual error, which is
    ``scales`` at the estimates ``knots``, linear between them and constant outside; ``usual_width`` is that of the
    interval which holds ``level`` of all outcomes without any model.
    """

    task: Task
    threshold: float
    rows: int
    level: float = LEVEL
    by_class: tuple[float, ...] = ()
    knots: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    usual_width: float = 0.0

    def apply(self, score: NDArray[Any], *, by_class: bool = False) -> NDArray[Any]:
        """Which labels are in each row's set [N, K] (bool), or each row's interval [N, 2] in the target's unit.

        ``score`` is [N], or [N, K] for more than two classes, as in ``Sample``. With ``by_class`` each label has its
        own threshold. Raises DataError for a score of another shape.
        """
        if self.task is Task.REGRESSION:
            half = self.threshold * self._usual_error(score)
            return np.column_stack([score - half, score + half])
        given = _probabilities(self.task, score)
        if given.shape[1] != len(self.by_class):
            raise DataError(
                f"scores of {given.shape[1]} classes, and the plan was calibrated on {len(self.by_class)}",
                next_step="apply the plan to the model that it was calibrated for",
            )
        most = np.array(self.by_class) if by_class else self.threshold
        held = 1.0 - given <= most
        held[np.arange(len(given)), np.argmax(given, axis=1)] = True
        return held

    def sizes(self, score: NDArray[Any]) -> NDArray[np.float64]:
        """How many labels are in each row's set, or how wide its interval is [N]."""
        applied = self.apply(score)
        size = applied[:, 1] - applied[:, 0] if self.task is Task.REGRESSION else applied.sum(axis=1)
        return np.asarray(size, dtype=np.float64)

    def refers(self, score: NDArray[Any]) -> NDArray[np.bool_]:
        """Rows [N] that a person should decide.

        More than one label is possible; or the interval is wider than the one that would do without the model.
        """
        most = self.usual_width if self.task is Task.REGRESSION else 1.0
        return np.asarray(self.sizes(score) > most)

    def _usual_error(self, score: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(np.interp(score, np.array(self.knots), np.array(self.scales)), dtype=np.float64)


def _probabilities(task: Task, score: NDArray[Any]) -> NDArray[np.float64]:
    if score.ndim != (1 if task is Task.BINARY else 2):
        raise DataError(f"scores of {score.ndim} dimensions for a {task.value} task", next_step="pass Sample.score")
    return np.asarray(np.column_stack([1.0 - score, score]) if task is Task.BINARY else score, dtype=np.float64)
