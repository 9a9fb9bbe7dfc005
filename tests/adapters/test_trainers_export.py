"""Trees in single precision: the graph takes the very branches that LightGBM takes, on adversarial rows too."""

from __future__ import annotations

import re

import lightgbm
import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from roadworthy.adapters.trainers.onnx_export import booster_graph, check_graph, single_floor
from roadworthy.errors import TrainingError
from roadworthy.records.project import Task


@settings(max_examples=200, deadline=None)
@given(
    threshold=st.floats(-(2.0**126), 2.0**126, allow_subnormal=False),
    x=st.floats(-(2.0**126), 2.0**126, width=32, allow_subnormal=False),
)
def test_a_rounded_threshold_splits_single_precision_numbers_alike(threshold: float, x: float) -> None:
    rounded = float(single_floor(np.array([threshold]))[0])
    assert rounded == float(np.float32(rounded))
    beside = [np.nextafter(np.float32(rounded), np.float32(way)) for way in (-np.inf, np.inf)]
    for value in (np.float32(x), np.float32(rounded), *beside):
        assert (float(value) <= threshold) == (value <= np.float32(rounded))


def grown(task: Task) -> tuple[lightgbm.Booster, NDArray[np.float32]]:
    """Trees on doubles whose thresholds lie between neighbouring single-precision numbers."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2000, 4))  # doubles: thresholds fall between representable singles
    signal = np.sin(3 * x[:, 0]) + np.where(x[:, 1] > 0.1, 1.0, -1.0) * x[:, 2]
    y = {
        Task.BINARY: signal > 0,
        Task.MULTICLASS: np.digitize(signal, [-1, 0, 1]),
        Task.REGRESSION: signal,
    }[task]
    settings = {
        "objective": {Task.BINARY: "binary", Task.MULTICLASS: "multiclass", Task.REGRESSION: "regression"}[task],
        "verbosity": -1,
        "num_threads": 1,
        "min_data_in_leaf": 1,
        "num_leaves": 63,
        "max_bin": 2000,
    } | ({"num_class": 4} if task is Task.MULTICLASS else {})
    booster = lightgbm.train(settings, lightgbm.Dataset(x, label=y), num_boost_round=15)
    return booster, adversarial(booster)


def adversarial(booster: lightgbm.Booster) -> NDArray[np.float32]:
    """Rows at, just under and just over the thresholds, in single precision."""
    found = re.findall(r"^threshold=(.+)$", booster.model_to_string(), re.MULTILINE)
    thresholds = np.array([float(word) for line in found for word in line.split(" ")])
    near = thresholds.astype(np.float32)
    values = np.concatenate([near, *(np.nextafter(near, np.float32(way)) for way in (-np.inf, np.inf)), [0.0, -0.0]])
    rng = np.random.default_rng(2)
    return np.stack([rng.permutation(values) for _ in range(4)], axis=1).astype(np.float32)


@pytest.mark.parametrize("task", list(Task))
def test_rows_on_the_thresholds_take_the_same_branches(task: Task) -> None:
    booster, rows = grown(task)
    content = booster_graph(booster, task, inputs=4)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    scores = session.run(None, {"X": rows})[0]
    own = np.asarray(booster.predict(rows.astype(np.float64)))
    assert scores.shape == (len(rows), 4 if task is Task.MULTICLASS else 1)
    np.testing.assert_allclose(scores.reshape(own.shape), own, atol=1e-5, rtol=0)


def test_a_booster_of_one_leaf_is_a_constant() -> None:
    x = np.zeros((50, 2))
    booster = lightgbm.train(
        {"objective": "binary", "verbosity": -1}, lightgbm.Dataset(x, label=np.arange(50) % 2), num_boost_round=3
    )
    content = booster_graph(booster, Task.BINARY, inputs=2)
    scores = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(
        None, {"X": np.ones((3, 2), np.float32)}
    )[0]
    np.testing.assert_allclose(scores, 0.5, atol=1e-6)


def test_a_graph_of_another_shape_is_refused_with_what_it_has() -> None:
    wide = helper.make_tensor_value_info("X", TensorProto.DOUBLE, ["N", 3])
    out = helper.make_tensor_value_info("score", TensorProto.DOUBLE, ["N", 3])
    graph = helper.make_graph([helper.make_node("Identity", ["X"], ["score"])], "g", [wide], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    with pytest.raises(TrainingError, match=r"input X double \[N, 3\]; expected X float32 \[N, 3\]"):
        check_graph(model.SerializeToString(), inputs=3, outputs=3)
    with pytest.raises(TrainingError, match="invalid"):
        check_graph(b"not a graph", inputs=3, outputs=1)
