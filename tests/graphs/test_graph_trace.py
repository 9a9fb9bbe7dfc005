from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import onnx
import polars as pl
import pytest
from onnx import helper
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from roadworthy.errors import ModelError
from roadworthy.graphs.join import join
from roadworthy.graphs.optimise import optimise
from roadworthy.graphs.quantise import quantise
from roadworthy.graphs.runner import GraphModel
from roadworthy.graphs.trace import Trace, trace, with_decision

ROW = pl.DataFrame(
    {"price": [1.5], "used": [True], "device": [None], "asked": [0]}, schema_overrides={"device": pl.String}
)


def names(found: Trace) -> list[str]:
    return [layer.name for layer in found.layers]


@pytest.mark.parametrize("gemm", [True, False])
@pytest.mark.parametrize("better", [True, False])
def test_a_network_reads_layer_by_layer(front: Any, network: Any, gemm: bool, better: bool) -> None:
    content = join(front(), network(gemm=gemm)).SerializeToString()
    graph = GraphModel(optimise(content) if better else content)
    found = trace(graph.content, graph.feed(ROW))
    score = graph.score(ROW)[0]
    found = with_decision(found, score, 0.25, ("no", "yes"))
    assert names(found) == [
        "input",
        "features",
        "hidden 1 (ReLU)",
        "hidden 2 (ReLU)",
        "output (sigmoid)",
        f"decision ({score:.4f} {'≥' if score >= 0.25 else '<'} 0.2500)",
    ]
    assert found.layers[0].labels == ("price", "used", "device", "asked")
    assert found.layers[0].values == (1.5, 1.0, None, 0.0)
    assert found.layers[1].values == (1.5, 1.0, -1.0, 0.0)
    assert found.layers[2].shape == (1, 8)
    assert found.layers[3].zeros is not None
    assert math.isclose(float(found.layers[4].values[0] or 0), score, abs_tol=1e-6)
    assert found.layers[5].values == ("yes" if score >= 0.25 else "no",)


def test_the_trace_shows_the_true_inner_values(network: Any) -> None:
    model = network((3, 5, 1))
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    row = np.array([[0.3, -2.0, 1.0]], dtype=np.float32)
    hidden = np.maximum(row @ weights["W0"] + weights["b0"], 0)
    layer = trace(model.SerializeToString(), {"X": row}).layers[1]
    np.testing.assert_allclose(np.array(layer.values, dtype=float), hidden.ravel(), atol=1e-6)
    assert layer.zeros == np.mean(hidden == 0)
    summary = np.array([layer.lowest, layer.highest, layer.mean], dtype=float)
    np.testing.assert_allclose(summary, [hidden.min(), hidden.max(), hidden.mean()], atol=1e-6)
    assert layer.nodes == ("Gemm", "Relu")


def test_an_int8_graph_keeps_its_layers(network: Any) -> None:
    content = quantise(optimise(network().SerializeToString()))
    found = trace(content, {"X": np.ones((1, 4), dtype=np.float32)})
    assert names(found) == ["input", "hidden 1 (ReLU)", "hidden 2 (ReLU)", "output (sigmoid)"]


def test_a_network_without_a_last_activation(network: Any) -> None:
    found = trace(network((4, 3, 2), last="").SerializeToString(), {"X": np.ones((1, 4), dtype=np.float32)})
    assert names(found) == ["input", "hidden 1 (ReLU)", "output"]


def test_an_image_model_reads_as_convolution_pooling_output(image_model: onnx.ModelProto) -> None:
    pixels = np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)
    found = trace(image_model.SerializeToString(), {"image": pixels})
    assert names(found) == ["input", "convolution (ReLU)", "max pooling", "output (softmax)"]
    assert found.layers[1].shape == (1, 2, 8, 8)
    assert found.layers[1].count == 128
    assert len(found.layers[1].values) == 16
    decided = with_decision(found, np.array([0.1, 0.7, 0.2]), None, ("a", "b", "c"))
    assert decided.layers[-1].values == ("b",)


def test_a_linear_classifier_with_a_scaler() -> None:
    x, y = load_iris(return_X_y=True)
    x = x.astype(np.float32)
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    model = to_onnx(fitted, x[:1], options={"zipmap": False}, target_opset={"": 21, "ai.onnx.ml": 3})
    found = trace(model.SerializeToString(), {"X": x[:1]})
    assert names(found)[:2] == ["input", "features"]
    assert found.layers[-1].kind == "output"
    assert found.layers[-1].name.startswith("output: linear model")
    np.testing.assert_allclose(
        np.array(found.layers[-1].values, dtype=float), fitted.predict_proba(x[:1])[0], atol=1e-5
    )


def test_trees_are_named(front: Any) -> None:
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["X"],
        ["score"],
        domain="ai.onnx.ml",
        n_targets=1,
        post_transform="LOGISTIC",
        nodes_treeids=[0],
        nodes_nodeids=[0],
        nodes_featureids=[0],
        nodes_modes=["LEAF"],
        nodes_values=[0.0],
        nodes_truenodeids=[0],
        nodes_falsenodeids=[0],
        target_treeids=[0],
        target_nodeids=[0],
        target_ids=[0],
        target_weights=[0.0],
    )
    graph = helper.make_graph(
        [node],
        "trees",
        [helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("score", onnx.TensorProto.FLOAT, ["N", 1])],
    )
    opsets = [helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", 21)]
    joined = GraphModel(
        join(front(), helper.make_model(graph, opset_imports=opsets, ir_version=10)).SerializeToString()
    )
    found = trace(joined.content, joined.feed(ROW))
    assert names(found) == ["input", "features", "output: tree ensemble (sigmoid)"]


def test_a_graph_of_nothing_but_arithmetic_still_traces() -> None:
    graph = helper.make_graph(
        [helper.make_node("Exp", ["X"], ["score"])],
        "g",
        [helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("score", onnx.TensorProto.FLOAT, ["N", 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = trace(model.SerializeToString(), {"X": np.array([[0.0, 1000.0]], dtype=np.float32)})
    assert names(found) == ["input", "output"]
    assert found.layers[-1].values == (1.0, None)  # infinity is no number that JSON could carry
    assert b"Infinity" not in msgspec.json.encode(found)


def test_a_wrong_row_is_one_clear_error(network: Any) -> None:
    with pytest.raises(ModelError, match="cannot be traced"):
        trace(network().SerializeToString(), {"X": np.ones((1, 3), dtype=np.float32)})


def test_regression_decides_the_estimate_itself(network: Any) -> None:
    found = trace(network(last="").SerializeToString(), {"X": np.ones((1, 4), dtype=np.float32)})
    assert with_decision(found, 3.25, None, ()).layers[-1].values == (3.25,)


def test_a_skip_connection_ends_a_layer_where_two_read_it() -> None:
    nodes = [
        helper.make_node("Gemm", ["X", "W"], ["z"]),
        helper.make_node("Relu", ["z"], ["h"]),
        helper.make_node("Add", ["h", "z"], ["sum"]),
        helper.make_node("Gemm", ["sum", "V"], ["last"]),
        helper.make_node("Sigmoid", ["last"], ["score"]),
    ]
    weights = {"W": np.full((2, 3), -0.5, dtype=np.float32), "V": np.ones((3, 1), dtype=np.float32)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("score", onnx.TensorProto.FLOAT, ["N", 1])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = trace(model.SerializeToString(), {"X": np.ones((1, 2), dtype=np.float32)})
    assert names(found) == ["input", "hidden 1", "output (sigmoid)"]
    assert found.layers[1].values == (-1.0, -1.0, -1.0)
