"""The boosting candidate: gradient-boosted decision trees (Friedman 2001) by LightGBM (Ke et al. 2017).

In: ``TrainingData``. Out: a booster cut at its best round. A line of loss and quality is left after every round, and
training stops early on the validation rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.adapters.trainers.onnx_export import booster_graph
from roadworthy.adapters.trainers.parameters import settled
from roadworthy.adapters.trainers.progress import Progress, Report, target_scale, valid_weights
from roadworthy.adapters.trainers.threads import boosting_threads
from roadworthy.errors import MissingExtra, Problem
from roadworthy.protocols import FittedModel, TrainingData
from roadworthy.records.project import Task

try:
    import lightgbm
except OSError as failure:  # LightGBM's own library is there, but the OpenMP library that it links to is not
    raise MissingExtra(
        "the candidate gbdt needs the OpenMP library of the system, which LightGBM cannot load",
        problems=[Problem(str(failure).strip(), expected="libgomp", where="[training] candidates")],
        next_step="apt-get install libgomp1 (dnf install libgomp, brew install libomp), or name other candidates",
    ) from failure

__all__ = ["BoostingTrainer"]

_OBJECTIVES = {Task.BINARY: "binary", Task.MULTICLASS: "multiclass", Task.REGRESSION: "regression"}
_METRICS = {
    Task.BINARY: ["binary_logloss", "binary_error"],
    Task.MULTICLASS: ["multi_logloss", "multi_error"],
    Task.REGRESSION: ["l2"],
}
_FURTHER = (
    "bagging_fraction",
    "bagging_freq",
    "extra_trees",
    "feature_fraction",
    "feature_fraction_bynode",
    "lambda_l1",
    "max_bin",
    "max_depth",
    "min_gain_to_split",
    "min_sum_hessian_in_leaf",
    "path_smooth",
)


class BoostedModel:
    """A booster; a regression one answers in units of the target's deviation until it is scaled back."""

    def __init__(self, booster: lightgbm.Booster, data: TrainingData, best_step: int) -> None:
        self._booster = booster
        self._task = data.task
        self._inputs = data.x.shape[1]
        self._mean, self._deviation = target_scale(data)
        self.best_step = best_step

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """LightGBM's own prediction: [rows] for binary and regression, [rows, classes] for multiclass."""
        scores = np.asarray(self._booster.predict(x), dtype=np.float64)
        return scores * self._deviation + self._mean if self._task is Task.REGRESSION else scores

    def to_onnx(self) -> bytes:
        """One tree ensemble, its thresholds rounded so that float32 rows take the same branches."""
        return booster_graph(self._booster, self._task, inputs=self._inputs, mean=self._mean, deviation=self._deviation)


class BoostingTrainer:
    """``gbdt``: LightGBM, deterministic.

    Parameters: ``rounds`` (at most), ``patience`` (rounds without a better validation loss), and LightGBM's own by
    their names: ``learning_rate``, ``num_leaves``, ``min_data_in_leaf``, ``lambda_l2`` and those of ``_FURTHER``.
    Others are refused, because LightGBM would ignore a misspelt one in silence, and some cannot leave it.
    """

    name = "gbdt"

    def defaults(self, task: Task, rows: int) -> Mapping[str, Any]:  # noqa: ARG002  # the protocol's signature
        """Smaller trees for few rows."""
        return {
            "rounds": 400 if rows >= 2_000 else 150,  # few stopping rows may go on looking better by luck
            "patience": 20,
            "learning_rate": 0.1 if rows >= 20_000 else 0.05,
            "num_leaves": 31 if rows >= 5_000 else 15,
            "min_data_in_leaf": int(np.clip(rows // 100, 5, 20)),
            "lambda_l2": 1.0,
        }

    def space(self, task: Task) -> Mapping[str, tuple[Any, ...]]:  # noqa: ARG002  # the protocol's signature
        """Tree sizes, step lengths and penalties worth trying."""
        return {
            "learning_rate": (0.03, 0.05, 0.1),
            "num_leaves": (7, 15, 31, 63),
            "min_data_in_leaf": (5, 20, 50, 100),
            "lambda_l2": (0.1, 1.0, 10.0),
            "feature_fraction": (0.6, 0.8, 1.0),
        }

    def fit(self, data: TrainingData, parameters: Mapping[str, Any], report: Report) -> FittedModel:
        """Boost until the validation loss has not fallen for ``patience`` rounds."""
        progress = Progress(self.name, data, report)
        own = settled(self.name, self.defaults(data.task, len(data.y)), parameters, also=_FURTHER)
        rounds, patience = int(own.pop("rounds")), int(own.pop("patience"))
        settings = own | {
            "objective": _OBJECTIVES[data.task],
            "metric": _METRICS[data.task],
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": boosting_threads(data.x.size),
            "seed": data.seed,
            "verbosity": -1,
        }
        if data.task is Task.MULTICLASS:
            settings["num_class"] = data.classes
        mean, deviation = target_scale(data)
        regression = data.task is Task.REGRESSION
        y = (data.y - mean) / deviation if regression else data.y
        train = lightgbm.Dataset(data.x, label=y, weight=data.weights, params={"verbosity": -1})
        watched, names = [train], ["train"]
        if len(data.valid_y):
            valid_y = (data.valid_y - mean) / deviation if regression else data.valid_y
            watched.append(train.create_valid(data.valid_x, label=valid_y, weight=valid_weights(data)))
            names.append("valid")
        booster = lightgbm.train(
            settings,
            train,
            num_boost_round=rounds,
            valid_sets=watched,
            valid_names=names,
            callbacks=[_Watch(progress, data.task, patience, [_spread(item) for item in watched])],
        )
        best = lightgbm.Booster(model_str=booster.model_to_string(num_iteration=progress.best_step))
        return BoostedModel(best, data, progress.best_step)


def _spread(rows: lightgbm.Dataset) -> float:
    """The weighted variance of the labels, by which a squared error becomes R²."""
    y = np.asarray(rows.label, dtype=np.float64)
    weights = np.asarray(rows.weight, dtype=np.float64) if rows.weight is not None else np.ones(len(y))
    return float(np.average((y - np.average(y, weights=weights)) ** 2, weights=weights))


class _Watch:
    """Called by LightGBM after each round with the metrics that it measured."""

    order = 30
    before_iteration = False

    def __init__(self, progress: Progress, task: Task, patience: int, spreads: list[float]) -> None:
        self._progress = progress
        self._task = task
        self._patience = patience
        self._spreads = spreads

    def __call__(self, env: lightgbm.callback.CallbackEnv) -> None:
        found = {(name, metric): value for name, metric, value, *_ in env.evaluation_result_list or ()}
        train = self._pair(found, "train", self._spreads[0])
        valid = self._pair(found, "valid", self._spreads[1]) if len(self._spreads) > 1 else train
        self._progress.record(env.iteration + 1, train, valid)
        if self._progress.stale >= self._patience:
            raise lightgbm.callback.EarlyStopException(env.iteration, [])

    def _pair(self, found: dict[tuple[str, str], float], rows: str, spread: float) -> tuple[float, float]:
        """(loss, quality) from LightGBM's metrics."""
        first, *rest = (found[rows, metric] for metric in _METRICS[self._task])
        if self._task is Task.REGRESSION:
            return first, 1.0 - first / spread if spread > 0 else 0.0
        return first, 1.0 - rest[0]
