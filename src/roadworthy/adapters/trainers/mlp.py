"""The neural candidate: a small multilayer perceptron with two hidden ReLU layers.

In: ``TrainingData``. Out: a network of float32 weights, trained by Adam (Kingma and Ba 2015) through scikit-learn,
one ``partial_fit`` per epoch. Instead of a falling learning rate the batch grows from epoch to epoch, which has the
same effect on the noise of the steps (Smith, Kindermans, Ying and Le 2018, "Don't decay the learning rate, increase
the batch size") and makes late epochs cheap. Training stops early on the validation rows, and the best weights stand.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier, MLPRegressor

from roadworthy.adapters.trainers.onnx_export import dense_graph
from roadworthy.adapters.trainers.parameters import settled
from roadworthy.adapters.trainers.progress import Progress, Report, target_scale
from roadworthy.adapters.trainers.threads import one_matrix_thread
from roadworthy.protocols import FittedModel, TrainingData
from roadworthy.records.project import Task

__all__ = ["NetworkTrainer"]

Weights = tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]


class NetworkModel:
    """A trained network; scores come from scikit-learn's own forward pass."""

    def __init__(self, network: Any, task: Task, *, mean: float, deviation: float, best_step: int) -> None:
        self._network = network
        self._task = task
        self._mean = mean
        self._deviation = deviation
        self.best_step = best_step

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """[rows] for binary and regression, [rows, classes] for multiclass."""
        if self._task is Task.REGRESSION:
            return np.asarray(self._network.predict(x), dtype=np.float64) * self._deviation + self._mean
        chances = np.asarray(self._network.predict_proba(x), dtype=np.float64)
        return chances[:, 1] if self._task is Task.BINARY else chances

    def to_onnx(self) -> bytes:
        """The layers as they are; the target's scale is folded into the last one."""
        layers = list(zip(self._network.coefs_, self._network.intercepts_, strict=True))
        weights, bias = layers[-1]
        if self._task is Task.REGRESSION:
            layers[-1] = (
                weights.astype(np.float64) * self._deviation,
                bias.astype(np.float64) * self._deviation + self._mean,
            )
        return dense_graph(layers, self._task)


class NetworkTrainer:
    """``mlp``: two hidden ReLU layers by default.

    Parameters: ``hidden`` (sizes of the hidden layers), ``epochs`` (at most), ``batch`` (rows per step in the first
    epoch), ``batch_growth`` (share by which the batch grows per epoch), ``learning_rate``, ``alpha`` (L2 penalty),
    ``patience`` (epochs without a better validation loss before training stops).
    """

    name = "mlp"

    def defaults(self, task: Task, rows: int) -> Mapping[str, Any]:  # noqa: ARG002  # the protocol's signature
        """Smaller layers and smaller steps for few rows, fewer epochs for many."""
        return {
            "hidden": [64, 32] if rows >= 2_000 else [32, 16],
            "epochs": int(np.clip(3_000_000 // max(rows, 1), 12, 60)),
            "batch": int(np.clip(2 ** round(np.log2(max(rows, 2) / 60)), 16, 512)),
            "batch_growth": 0.1 if rows < 50_000 else 0.25,
            "learning_rate": 0.001 if rows >= 2_000 else 0.003,
            "alpha": 1e-4 if rows >= 2_000 else 1e-2,
            "patience": 10 if rows < 2_000 else 6 if rows < 20_000 else 4,
        }

    def space(self, task: Task) -> Mapping[str, tuple[Any, ...]]:  # noqa: ARG002  # the protocol's signature
        """Sizes, step lengths and penalties worth trying."""
        return {
            "hidden": ([32, 16], [64, 32], [128, 64]),
            "learning_rate": (0.0005, 0.001, 0.003),
            "alpha": (1e-5, 1e-4, 1e-3, 1e-2),
        }

    def fit(self, data: TrainingData, parameters: Mapping[str, Any], report: Report) -> FittedModel:
        """Train until the validation loss has not fallen for ``patience`` epochs."""
        progress = Progress(self.name, data, report)
        settings = settled(self.name, self.defaults(data.task, len(data.y)), parameters)
        with one_matrix_thread():  # the same sums on a machine of any number of cores
            return _train(data, progress, **settings)


def _train(
    data: TrainingData,
    progress: Progress,
    *,
    hidden: Sequence[int],
    epochs: int,
    batch: int,
    batch_growth: float,
    learning_rate: float,
    alpha: float,
    patience: int,
) -> NetworkModel:
    regression = data.task is Task.REGRESSION
    kind = MLPRegressor if regression else MLPClassifier
    network = kind(
        hidden_layer_sizes=tuple(hidden), learning_rate_init=learning_rate, alpha=alpha, random_state=data.seed
    )
    mean, deviation = target_scale(data)
    y = ((data.y - mean) / deviation).astype(np.float32) if regression else data.y
    once: dict[str, Any] = {} if regression else {"classes": np.arange(data.classes)}
    model = NetworkModel(network, data.task, mean=mean, deviation=deviation, best_step=0)
    weights = data.weights.astype(np.float32)
    best: Weights = ([], [])
    for epoch in range(1, epochs + 1):
        rows = round(batch * (1.0 + batch_growth * (epoch - 1)))
        network.set_params(batch_size=min(rows, len(y)), random_state=data.seed + epoch - 1)
        _one_epoch(network, data.x, y, weights, once)
        if progress.step(epoch, model.predict):
            best = ([layer.copy() for layer in network.coefs_], [bias.copy() for bias in network.intercepts_])
        if progress.stale >= patience:
            break
    network.coefs_, network.intercepts_ = best
    model.best_step = progress.best_step
    return model


def _one_epoch(
    network: Any, x: NDArray[np.float32], y: NDArray[Any], weights: NDArray[np.float32], once: dict[str, Any]
) -> None:
    """One pass over the rows. scikit-learn turns Ctrl-C into a warning; here it stays an interruption."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network.partial_fit(x, y, sample_weight=weights, **once)
    for warning in caught:
        if "interrupted" in str(warning.message):
            raise KeyboardInterrupt
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
