"""The laws of ``protocols.Trainer``, as a check that any implementation can be put through."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.protocols import FittedModel, Trainer, TrainingData
from roadworthy.records.model import ProgressLine
from roadworthy.records.project import Task
from roadworthy.testing.failure import require

__all__ = ["check_trainer"]

_PARITY = 1e-5
_ROWS = 400
_CLASSES = {Task.BINARY: 2, Task.MULTICLASS: 3, Task.REGRESSION: 1}


def check_trainer(
    make: Callable[[], Trainer],
    *,
    tasks: Sequence[Task] = tuple(Task),
    parameters: Mapping[str, Any] | None = None,
) -> None:
    """Check a trainer on small seeded data of each task; ``parameters`` override its defaults.

    Laws: float32 in, float64 scores out of the promised shape, probabilities in [0, 1] that add up to 1; the
    same data, parameters and seed give the same scores; the inputs are left as they were; every round reports a
    line with finite losses and rising steps, and the best step is among them; the ONNX graph takes ``X`` float32
    [N, inputs], gives ``score`` float32 [N, 1 or classes], and agrees with the framework within 1e-5 (absolute
    for probabilities, relative for estimates). Raises ConformanceError.
    """
    require(isinstance(make(), Trainer), "a trainer has a name, defaults, space and fit")
    for task in tasks:
        _check_task(make, task, dict(parameters or {}))


def _check_task(make: Callable[[], Trainer], task: Task, overrides: dict[str, Any]) -> None:
    data = _data(task)
    before = (data.x.copy(), data.y.copy())
    trainer = make()
    chosen = {**trainer.defaults(task, _ROWS), **overrides}
    for name, values in trainer.space(task).items():
        require(len(values) > 0, f"{trainer.name}: the space of {name} has values")
    lines: list[ProgressLine] = []
    model = trainer.fit(data, chosen, lines.append)
    other = make().fit(data, chosen, lambda _: None)
    require(np.array_equal(before[0], data.x) and np.array_equal(before[1], data.y), "fitting leaves the data alone")
    _check_lines(lines, model, f"{trainer.name}, {task}")
    scores = model.predict(data.valid_x)
    _check_scores(scores, task, f"{trainer.name}, {task}")
    require(np.array_equal(scores, other.predict(data.valid_x)), f"{trainer.name}, {task}: same seed, same model")
    _check_graph(model, data.valid_x, scores, task, f"{trainer.name}, {task}")


def _data(task: Task) -> TrainingData:
    """Seeded data with signal: 8 inputs, the last one constant."""
    source = np.random.default_rng(11)
    x = source.normal(size=(_ROWS + 100, 8)).astype(np.float32)
    x[:, 7] = 1.0
    signal = 1.5 * x[:, 0] - x[:, 1] + 0.5 * x[:, 2] * x[:, 3] + source.normal(scale=0.5, size=len(x))
    y: NDArray[Any]
    if task is Task.REGRESSION:
        y = 100.0 + 10.0 * signal.astype(np.float64)
    else:
        cuts = [0.0] if task is Task.BINARY else [-0.8, 0.8]
        y = np.digitize(signal, cuts).astype(np.int64)
    return TrainingData(
        task=task,
        x=x[:_ROWS],
        y=y[:_ROWS],
        weights=np.ones(_ROWS),
        valid_x=x[_ROWS:],
        valid_y=y[_ROWS:],
        classes=_CLASSES[task],
        names=tuple(f"input_{place}" for place in range(8)),
        seed=7,
    )


def _check_lines(lines: list[ProgressLine], model: FittedModel, who: str) -> None:
    require(len(lines) > 0, f"{who}: every round reports a line")
    steps = [line.step for line in lines]
    require(all(low < high for low, high in pairwise(steps)), f"{who}: steps rise")
    losses = [loss for line in lines for loss in (line.train_loss, line.valid_loss)]
    require(all(map(math.isfinite, losses)), f"{who}: losses are finite")
    require(steps[0] <= model.best_step <= steps[-1], f"{who}: the best step was reported")


def _check_scores(scores: NDArray[np.float64], task: Task, who: str) -> None:
    shape = (100, 3) if task is Task.MULTICLASS else (100,)
    require(scores.shape == shape, f"{who}: scores have shape {shape}, found {scores.shape}")
    require(bool(np.isfinite(scores).all()), f"{who}: scores are finite")
    if task is not Task.REGRESSION:
        require(bool(((scores >= 0) & (scores <= 1)).all()), f"{who}: probabilities lie in [0, 1]")
    if task is Task.MULTICLASS:
        require(bool(np.allclose(scores.sum(axis=1), 1, atol=1e-6)), f"{who}: probabilities add up to 1")


def _check_graph(model: FittedModel, x: NDArray[np.float32], scores: NDArray[np.float64], task: Task, who: str) -> None:
    import onnxruntime as ort  # noqa: PLC0415 - only this check needs a runtime

    session = ort.InferenceSession(model.to_onnx(), providers=["CPUExecutionProvider"])
    inputs, outputs = session.get_inputs(), session.get_outputs()
    require([i.name for i in inputs] == ["X"] and inputs[0].type == "tensor(float)", f"{who}: one input X, float32")
    require([o.name for o in outputs] == ["score"] and outputs[0].type == "tensor(float)", f"{who}: one output score")
    for rows in (1, len(x)):
        (found,) = session.run(None, {"X": x[:rows]})
        width = scores.shape[1] if scores.ndim == 2 else 1
        require(found.shape == (rows, width), f"{who}: the graph's score has shape {(rows, width)}")
        wanted = scores[:rows].reshape(rows, width)
        scale = np.maximum(np.abs(wanted), 1.0) if task is Task.REGRESSION else 1.0
        gap = float(np.max(np.abs(found - wanted) / scale))
        require(gap <= _PARITY, f"{who}: graph and framework differ by {gap:.2e}, more than {_PARITY:g}")
