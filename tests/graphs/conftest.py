"""Small graphs made on the spot: a feature graph, networks, trees, an image model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Network = Callable[..., onnx.ModelProto]


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: dict[str, np.ndarray],
    *,
    opset: int = 21,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "g", inputs, outputs, [numpy_helper.from_array(array, name) for name, array in weights.items()]
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def make_network(
    sizes: Sequence[int] = (4, 8, 5, 1),
    *,
    last: str = "Sigmoid",
    seed: int = 0,
    gemm: bool = True,
    source: str = "X",
    target: str = "score",
    opset: int = 21,
) -> onnx.ModelProto:
    rng = np.random.default_rng(seed)
    nodes, weights, current = [], {}, source
    for index, (width, height) in enumerate(itertools.pairwise(sizes)):
        weights[f"W{index}"] = (rng.normal(size=(width, height)) / np.sqrt(width)).astype(np.float32)
        weights[f"b{index}"] = rng.normal(size=height).astype(np.float32)
        final = index == len(sizes) - 2
        linear = target if final and not last else f"z{index}"
        if gemm:
            nodes.append(helper.make_node("Gemm", [current, f"W{index}", f"b{index}"], [linear]))
        else:
            nodes.append(helper.make_node("MatMul", [current, f"W{index}"], [f"p{index}"]))
            nodes.append(helper.make_node("Add", [f"p{index}", f"b{index}"], [linear]))
        current = linear
        if not final or last:
            activation = last if final else "Relu"
            current = target if final else f"h{index}"
            nodes.append(helper.make_node(activation, [linear], [current]))
    return build(
        nodes,
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, ["N", sizes[0]])],
        [helper.make_tensor_value_info(target, TensorProto.FLOAT, ["N", sizes[-1]])],
        weights,
        opset=opset,
    )


def make_front(*, matrix: str = "X", number: str = "price", opset: int = 21) -> onnx.ModelProto:
    """price (double), used (bool), device (string) and asked (int64 time), each with a mask → [N, 4] float32."""
    columns = {
        number: TensorProto.DOUBLE,
        "used": TensorProto.BOOL,
        "device": TensorProto.STRING,
        "asked": TensorProto.INT64,
    }
    inputs, parts, nodes = [], [], []
    for name, kind in columns.items():
        inputs.append(helper.make_tensor_value_info(name, kind, ["N", 1]))
        inputs.append(helper.make_tensor_value_info(f"{name}.missing", TensorProto.BOOL, ["N", 1]))
        value = name
        if name == "device":
            value = "/code"
            nodes.append(
                helper.make_node(
                    "LabelEncoder",
                    [name],
                    [value],
                    domain="ai.onnx.ml",
                    keys_strings=["mobile", "desktop"],
                    values_int64s=[1, 2],
                    default_int64=0,
                )
            )
        nodes.append(helper.make_node("Cast", [value], [f"/cast/{name}"], to=TensorProto.DOUBLE))
        if name == "asked":
            nodes.append(helper.make_node("Div", [f"/cast/{name}", "/day"], ["/days"]))
        source = "/days" if name == "asked" else f"/cast/{name}"
        nodes.append(helper.make_node("Where", [f"{name}.missing", "/minus", source], [f"/filled/{name}"]))
        parts.append(f"/filled/{name}")
    nodes.append(helper.make_node("Concat", parts, ["/wide"], axis=1))
    nodes.append(helper.make_node("Cast", ["/wide"], ["/single"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Identity", ["/single"], [matrix]))
    return build(
        nodes,
        inputs,
        [helper.make_tensor_value_info(matrix, TensorProto.FLOAT, ["N", 4])],
        {"/minus": np.array(-1.0), "/day": np.array(86_400e6)},
        opset=opset,
    )


def make_image_model() -> onnx.ModelProto:
    """[N, 1, 8, 8] → convolution, ReLU, max pooling, dense, softmax over 3."""
    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("Conv", ["image", "K", "k"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "W", "b"], ["z"]),
        helper.make_node("Softmax", ["z"], ["probabilities"], axis=1),
    ]
    return build(
        nodes,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3])],
        {
            "K": rng.normal(size=(2, 1, 3, 3)).astype(np.float32),
            "k": np.zeros(2, dtype=np.float32),
            "W": rng.normal(size=(32, 3)).astype(np.float32),
            "b": np.zeros(3, dtype=np.float32),
        },
    )


@pytest.fixture(scope="session")
def network() -> Network:
    return make_network


@pytest.fixture(scope="session")
def front() -> Network:
    return make_front


@pytest.fixture(scope="session")
def image_model() -> onnx.ModelProto:
    return make_image_model()
