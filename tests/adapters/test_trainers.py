"""Every built-in trainer on every task: it learns, repeats itself byte for byte, and its graph agrees with it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier

from roadworthy.adapters.trainers import TRAINERS, trainer_named
from roadworthy.errors import MissingExtra, TrainingError, UnknownName
from roadworthy.protocols import FittedModel, Trainer, TrainingData
from roadworthy.records.model import ProgressLine
from roadworthy.records.project import Task

NAMES = sorted(TRAINERS)
SHORT: dict[str, dict[str, Any]] = {"logistic": {}, "mlp": {"epochs": 8}, "gbdt": {"rounds": 30}}


def made_data(task: Task, *, rows: int = 900, inputs: int = 6, seed: int = 3) -> TrainingData:
    """Rows whose outcome depends on three inputs, one of them by a product."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, inputs)).astype(np.float32)
    signal = 1.5 * x[:, 0] + x[:, 1] * x[:, 2] + 0.5 * rng.logistic(size=rows)
    y: NDArray[Any] = {
        Task.BINARY: (signal > 0).astype(np.int64),
        Task.MULTICLASS: np.digitize(signal, [-1.0, 1.0]).astype(np.int64),
        Task.REGRESSION: 250.0 * signal.astype(np.float64) + 4000.0,
    }[task]
    cut = rows - rows // 5
    return TrainingData(
        task=task,
        x=x[:cut],
        y=y[:cut],
        weights=np.ones(cut),
        valid_x=x[cut:],
        valid_y=y[cut:],
        classes={Task.BINARY: 2, Task.MULTICLASS: 3, Task.REGRESSION: 0}[task],
        names=tuple(f"x{at}" for at in range(inputs)),
        seed=7,
    )


def fitted(trainer: Trainer, data: TrainingData, **parameters: Any) -> tuple[FittedModel, list[ProgressLine]]:
    lines: list[ProgressLine] = []
    return trainer.fit(data, parameters, lines.append), lines


def answered(content: bytes, x: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    scores: NDArray[np.float32] = session.run(["score"], {"X": x})[0]
    return scores


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("name", NAMES)
def test_a_trainer_learns_and_its_graph_agrees(name: str, task: Task, capfd: pytest.CaptureFixture[str]) -> None:
    data = made_data(task)
    trainer = trainer_named(name)
    model, lines = fitted(trainer, data)
    content = model.to_onnx()

    assert lines[-1].valid_quality > {Task.BINARY: 0.7, Task.MULTICLASS: 0.5, Task.REGRESSION: 0.45}[task]
    assert model.best_step == min(lines, key=lambda line: line.valid_loss).step or name == "logistic"
    assert [line.step for line in lines] == sorted({line.step for line in lines})
    assert all(line.candidate == name for line in lines)
    json.loads(msgspec.json.encode(lines))

    x = np.concatenate([data.x, data.valid_x, np.full((1, 6), 1e6, np.float32), np.full((1, 6), -1e6, np.float32)])
    scores, own = answered(content, x), model.predict(x)
    assert scores.dtype == np.float32
    assert own.dtype == np.float64
    assert scores.shape == (len(x), 3 if task is Task.MULTICLASS else 1)
    assert own.shape == ((len(x), 3) if task is Task.MULTICLASS else (len(x),))
    scale = np.maximum(np.abs(own), float(np.std(data.y))) if task is Task.REGRESSION else 1.0
    assert float(np.max(np.abs(scores.reshape(own.shape) - own) / scale)) <= 1e-5
    assert capfd.readouterr() == ("", "")

    graph = onnx.load_from_string(content).graph
    assert [value.name for value in graph.input] == ["X"]
    assert [value.name for value in graph.output] == ["score"]


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("name", NAMES)
def test_the_same_data_parameters_and_seed_give_the_same_bytes(name: str, task: Task) -> None:
    data = made_data(task, rows=400)
    first, _ = fitted(trainer_named(name), data, **SHORT[name])
    second, _ = fitted(trainer_named(name), data, **SHORT[name])
    assert first.to_onnx() == second.to_onnx()


def test_the_network_depends_on_the_seed() -> None:
    data = made_data(Task.BINARY, rows=200)
    first, _ = fitted(trainer_named("mlp"), data, epochs=3)
    other, _ = fitted(trainer_named("mlp"), replace(data, seed=8), epochs=3)
    assert first.to_onnx() != other.to_onnx()


def test_the_network_has_two_named_hidden_layers() -> None:
    model, _ = fitted(trainer_named("mlp"), made_data(Task.BINARY, rows=300), epochs=2)
    nodes = [(node.name, node.op_type) for node in onnx.load_from_string(model.to_onnx()).graph.node]
    assert nodes == [
        ("hidden_1/linear", "Gemm"),
        ("hidden_1/relu", "Relu"),
        ("hidden_2/linear", "Gemm"),
        ("hidden_2/relu", "Relu"),
        ("output/linear", "Gemm"),
        ("output/sigmoid", "Sigmoid"),
    ]


def test_the_network_converges_and_its_best_weights_stand() -> None:
    data = made_data(Task.BINARY, rows=3000)
    model, lines = fitted(trainer_named("mlp"), data)
    losses = [line.train_loss for line in lines]
    rises = [after - before for before, after in pairwise(losses) if after > before]
    assert losses[-1] < 0.8 * losses[0]
    assert sum(rises) < 0.05 * (losses[0] - losses[-1])
    best = min(lines, key=lambda line: line.valid_loss)
    chance = model.predict(data.valid_x)
    own = -np.log(np.where(data.valid_y == 1, chance, 1 - chance)).mean()
    assert model.best_step == best.step
    assert own == pytest.approx(best.valid_loss, abs=1e-6)


def test_boosting_stops_early_and_is_cut_at_its_best_round() -> None:
    data = made_data(Task.BINARY, rows=1500)
    model, lines = fitted(trainer_named("gbdt"), data, patience=5)
    assert len(lines) == model.best_step + 5
    chance = np.clip(model.predict(data.valid_x), 1e-7, 1 - 1e-7)
    own = -np.log(np.where(data.valid_y == 1, chance, 1 - chance)).mean()
    assert own == pytest.approx(lines[model.best_step - 1].valid_loss, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_weights_move_the_probabilities(name: str) -> None:
    data = made_data(Task.BINARY, rows=600)
    heavy = replace(data, weights=np.where(data.y == 1, 1.8, 0.2))
    plain, _ = fitted(trainer_named(name), data)
    weighted, _ = fitted(trainer_named(name), heavy)
    assert weighted.predict(data.x).mean() > plain.predict(data.x).mean() + 0.1


@pytest.mark.parametrize("name", NAMES)
def test_a_class_absent_from_the_training_rows_keeps_its_place(name: str) -> None:
    data = made_data(Task.MULTICLASS)
    rows = data.y != 1
    model, _ = fitted(trainer_named(name), replace(data, x=data.x[rows], y=data.y[rows], weights=data.weights[rows]))
    scores = answered(model.to_onnx(), data.valid_x)
    assert scores.shape == (len(data.valid_x), 3)
    assert scores[:, 1].mean() < 0.15
    np.testing.assert_allclose(scores, model.predict(data.valid_x), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_that_say_nothing_still_train_and_export(name: str) -> None:
    data = made_data(Task.BINARY, rows=200)
    flat = replace(data, x=np.zeros_like(data.x), valid_x=np.zeros_like(data.valid_x))
    model, _ = fitted(trainer_named(name), flat)
    scores = answered(model.to_onnx(), flat.valid_x)
    np.testing.assert_allclose(scores[:, 0], model.predict(flat.valid_x), atol=1e-5)
    assert 0.2 < scores.mean() < 0.8


@pytest.mark.parametrize(("name", "wrong"), [("logistic", "alpah"), ("mlp", "epoch"), ("gbdt", "num_leafs")])
def test_an_unknown_parameter_is_refused_with_the_nearest(name: str, wrong: str) -> None:
    with pytest.raises(UnknownName, match=f"unknown parameter '{wrong}'; did you mean"):
        trainer_named(name).fit(made_data(Task.REGRESSION, rows=100), {wrong: 1.0}, lambda _: None)


def test_ctrl_c_stops_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MLPClassifier, "_backprop", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fitted(trainer_named("mlp"), made_data(Task.BINARY, rows=100))


def test_a_target_that_does_not_vary_among_the_training_rows_is_refused() -> None:
    data = made_data(Task.REGRESSION, rows=100)
    for name in NAMES:
        with pytest.raises(TrainingError, match="standard deviation"):
            fitted(trainer_named(name), replace(data, y=np.full_like(data.y, 2.0)))


def test_an_unknown_candidate_is_refused_by_name() -> None:
    with pytest.raises(UnknownName, match="did you mean 'logistic'"):
        trainer_named("logistc")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("task", list(Task))
def test_every_value_of_the_space_is_a_parameter(name: str, task: Task) -> None:
    trainer = trainer_named(name)
    data = made_data(task, rows=150)
    for parameter, values in trainer.space(task).items():
        short = {"mlp": {"epochs": 1}, "gbdt": {"rounds": 2}}.get(name, {})
        model, _ = fitted(trainer, data, **{**short, parameter: values[0]})
        assert np.isfinite(model.predict(data.valid_x)).all()


def test_without_openmp_the_boosting_candidate_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "libgomp.so.1: cannot open shared object file: No such file or directory"
    (tmp_path / "lightgbm.py").write_text(f"raise OSError({words!r})\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("lightgbm", "roadworthy.adapters.trainers.gbdt"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(MissingExtra, match=r"libgomp\.so\.1(?s:.*)next: apt-get install libgomp1") as caught:
        trainer_named("gbdt")
    assert caught.value.exit_code == 2
