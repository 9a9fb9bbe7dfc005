"""Loss and quality after each epoch or round, and when to stop.

In: training data and a way to score rows. Out: ``ProgressLine`` records through ``report``, and the step to keep.
Law: what is reported is measured with the model as it stands after that step, under the weights it trains with.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import TrainingError
from roadworthy.measures.losses import CLIP
from roadworthy.protocols import TrainingData
from roadworthy.records.model import ProgressLine
from roadworthy.records.project import Task

__all__ = ["Progress", "Report", "loss_and_quality", "target_scale", "valid_weights"]

Report = Callable[[ProgressLine], None]
Scores = NDArray[np.floating]

SHOWN_ROWS = 20_000
"""Training rows that are scored for a line; an even sample where there are more."""


def target_scale(data: TrainingData) -> tuple[float, float]:
    """Mean and standard deviation of a regression target on the rows that train; (0, 1) for classes.

    Raises TrainingError where the target does not vary there or leaves the range of numbers.
    """
    if data.task is not Task.REGRESSION:
        return 0.0, 1.0
    y = np.asarray(data.y, dtype=np.float64)
    mean, deviation = float(np.mean(y)), float(np.std(y))
    if not np.isfinite(deviation) or deviation <= 0.0:
        raise TrainingError(f"the target's standard deviation on the training rows is {deviation}")
    return mean, deviation


def valid_weights(data: TrainingData) -> NDArray[np.float64]:
    """Weights for the early-stopping rows: the mean training weight of the row's class, 1 for regression.

    So early stopping looks at the loss that training lowers, and balanced classes stay balanced.
    """
    if data.task is Task.REGRESSION:
        return np.ones(len(data.valid_y), dtype=np.float64)
    rows = np.bincount(data.y, minlength=data.classes)
    sums = np.bincount(data.y, weights=data.weights, minlength=data.classes)
    means = np.divide(sums, rows, out=np.ones(data.classes), where=rows > 0)
    return np.asarray(means[data.valid_y], dtype=np.float64)


def loss_and_quality(
    task: Task, y: NDArray[np.generic], weights: NDArray[np.float64], scores: Scores, variance: float = 1.0
) -> tuple[float, float]:
    """(log loss in nats, accuracy) for classes; (mean squared error over ``variance``, R²) for regression.

    ``scores`` as ``FittedModel.predict`` gives them. R² is against the mean of the same rows.
    """
    total = float(weights.sum())
    if task is Task.REGRESSION:
        truth = np.asarray(y, dtype=np.float64)
        squares = float(weights @ (truth - scores) ** 2)
        spread = float(weights @ (truth - (weights @ truth) / total) ** 2)
        return squares / total / variance, 1.0 - squares / spread if spread > 0 else 0.0
    codes = np.asarray(y, dtype=np.int64)
    if scores.ndim == 1:
        chance = np.where(codes == 1, scores, 1.0 - scores)
        guess = (scores >= 0.5).astype(np.int64)
    else:
        chance = scores[np.arange(len(codes)), codes]
        guess = scores.argmax(axis=1)
    loss = -float(weights @ np.log(np.maximum(chance.astype(np.float64), CLIP))) / total
    return loss, float(weights @ (guess == codes)) / total


class Progress:
    """Measures, reports and remembers the steps of one training.

    ``best_step`` is the step of the least validation loss so far (of the training loss where there are no
    validation rows); ``stale`` how many steps ago that was.
    """

    def __init__(self, candidate: str, data: TrainingData, report: Report) -> None:
        self._candidate = candidate
        self._data = data
        self._report = report
        self._variance = target_scale(data)[1] ** 2
        shown = np.unique(np.linspace(0, len(data.y) - 1, min(len(data.y), SHOWN_ROWS)).astype(np.int64))
        everything = len(shown) == len(data.y)
        self._x = data.x if everything else data.x[shown]
        self._y = data.y[shown]
        self._weights = data.weights[shown]
        self._valid_weights = valid_weights(data)
        self.best_step = 0
        self.best_loss = np.inf
        self.stale = 0

    def step(self, step: int, predict: Callable[[NDArray[np.float32]], Scores]) -> bool:
        """Measure the model after ``step`` steps and report it; True when it is the best so far."""
        data = self._data
        train = loss_and_quality(data.task, self._y, self._weights, predict(self._x), self._variance)
        valid = train
        if len(data.valid_y):
            scores = predict(data.valid_x)
            valid = loss_and_quality(data.task, data.valid_y, self._valid_weights, scores, self._variance)
        return self.record(step, train, valid)

    def record(self, step: int, train: tuple[float, float], valid: tuple[float, float]) -> bool:
        """Report (loss, quality) pairs that the framework measured itself; True when best so far.

        Raises TrainingError when a loss is not a number: training has diverged.
        """
        if not (np.isfinite(train[0]) and np.isfinite(valid[0])):
            raise TrainingError(f"the loss of {self._candidate} is not finite after step {step}")
        self._report(
            ProgressLine(
                candidate=self._candidate,
                step=step,
                train_loss=float(train[0]),
                valid_loss=float(valid[0]),
                train_quality=float(train[1]),
                valid_quality=float(valid[1]),
            )
        )
        better = valid[0] < self.best_loss
        if better:
            self.best_loss, self.best_step, self.stale = valid[0], step, 0
        else:
            self.stale += 1
        return better
