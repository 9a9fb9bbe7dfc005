"""The linear candidate: the simple model that a more complex one has to beat.

In: ``TrainingData``. Out: a model with one weight per input and class. Classification is L2-regularised logistic
regression by L-BFGS (Liu and Nocedal 1989, through scikit-learn); regression is ridge regression, solved exactly.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from roadworthy.adapters.trainers.onnx_export import dense_graph
from roadworthy.adapters.trainers.parameters import settled
from roadworthy.adapters.trainers.progress import Progress, Report, target_scale
from roadworthy.adapters.trainers.threads import one_matrix_thread
from roadworthy.protocols import FittedModel, TrainingData
from roadworthy.records.project import Task

__all__ = ["LinearTrainer"]


class LinearModel:
    """Weights [inputs, outputs] and bias [outputs], squashed by task."""

    def __init__(self, weights: NDArray[np.float64], bias: NDArray[np.float64], task: Task, best_step: int) -> None:
        self.weights = weights
        self.bias = bias
        self.task = task
        self.best_step = best_step

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores in double precision: [rows] for binary and regression, [rows, classes] for multiclass."""
        margin = x @ self.weights + self.bias
        if self.task is Task.REGRESSION:
            return np.asarray(margin[:, 0])
        if self.task is Task.BINARY:
            return np.asarray(0.5 * (1.0 + np.tanh(0.5 * margin[:, 0])))  # a sigmoid that cannot overflow
        powers = np.exp(margin - margin.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def to_onnx(self) -> bytes:
        """One matrix product and a sigmoid, a softmax, or nothing."""
        return dense_graph([(self.weights, self.bias)], self.task)


class LinearTrainer:
    """``logistic``: logistic regression for classes and, under the same name, ridge regression for numbers.

    Parameters: ``C`` (classification; inverse strength of the L2 penalty), ``iterations`` (at most so many L-BFGS
    iterations), ``alpha`` (regression; strength of the penalty). A line is left after 1, 2, 4, 8… iterations.
    """

    name = "logistic"

    def defaults(self, task: Task, rows: int) -> Mapping[str, Any]:  # noqa: ARG002  # the protocol's signature
        """Parameters for data of this size."""
        return {"alpha": 1.0} if task is Task.REGRESSION else {"C": 1.0, "iterations": 500}

    def space(self, task: Task) -> Mapping[str, tuple[Any, ...]]:
        """Strengths of the penalty worth trying."""
        strengths = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
        return {"alpha" if task is Task.REGRESSION else "C": strengths}

    def fit(self, data: TrainingData, parameters: Mapping[str, Any], report: Report) -> FittedModel:
        """Train to convergence; the early-stopping rows are only measured, never waited for."""
        progress = Progress(self.name, data, report)
        settings = settled(self.name, self.defaults(data.task, len(data.y)), parameters)
        with one_matrix_thread():  # the same sums on a machine of any number of cores
            if data.task is Task.REGRESSION:
                return _ridge(data, progress, **settings)
            return _logistic(data, progress, **settings)


def _ridge(data: TrainingData, progress: Progress, *, alpha: float) -> LinearModel:
    mean, deviation = target_scale(data)
    solved = Ridge(alpha=alpha, solver="cholesky")
    solved.fit(data.x.astype(np.float64), (data.y - mean) / deviation, sample_weight=data.weights)
    weights = np.asarray(solved.coef_, dtype=np.float64).reshape(-1, 1) * deviation
    bias = np.asarray([solved.intercept_ * deviation + mean], dtype=np.float64)
    model = LinearModel(weights, bias, data.task, 1)
    progress.step(1, model.predict)
    return model


def _logistic(data: TrainingData, progress: Progress, *, C: float, iterations: int) -> LinearModel:  # noqa: N803  # scikit-learn's name
    estimator = LogisticRegression(C=C, warm_start=True, tol=1e-4)
    done, block = 0, 1
    while True:
        estimator.set_params(max_iter=min(block, iterations - done))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a block is meant to end before convergence
            estimator.fit(data.x, data.y, sample_weight=data.weights)
        used = int(np.max(estimator.n_iter_))
        done += max(used, 1)
        model = _linear_model(estimator, data, done)
        progress.step(done, model.predict)
        if used < min(block, iterations - done + max(used, 1)) or done >= iterations:
            return model
        block *= 2


def _linear_model(estimator: LogisticRegression, data: TrainingData, step: int) -> LinearModel:
    """Weights for all classes; one that the training rows lack gets a probability of practically 0."""
    weights = np.asarray(estimator.coef_, dtype=np.float64).T
    bias = np.asarray(estimator.intercept_, dtype=np.float64)
    if data.task is Task.BINARY:
        return LinearModel(weights, bias, data.task, step)
    if len(estimator.classes_) == 2:  # two of several classes: scikit-learn keeps one column of log odds
        weights, bias = np.hstack([-weights / 2, weights / 2]), np.concatenate([-bias / 2, bias / 2])
    full = np.zeros((data.x.shape[1], data.classes))
    offsets = np.full(data.classes, -1e4)
    full[:, estimator.classes_] = weights
    offsets[estimator.classes_] = bias
    return LinearModel(full, offsets, data.task, step)
