from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from roadworthy.errors import ModelError
from roadworthy.graphs.loading import load_graph, read_model
from roadworthy.graphs.runner import GraphModel


def one_sentence(error: ModelError) -> str:
    assert "\n" not in error.message
    return str(error)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_of_any_protocol_is_refused_with_the_way_out(protocol: int) -> None:
    with pytest.raises(ModelError) as caught:
        load_graph(pickle.dumps({"weights": [1.0, 2.0]}, protocol=protocol), where="model.pkl")
    text = one_sentence(caught.value)
    assert "pickle" in text
    assert "skl2onnx.to_onnx" in text


def test_a_pickle_is_never_executed(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    with pytest.raises(ModelError):
        load_graph(pickle.dumps(Bomb()))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"\x89HDF\r\n", "HDF5"),
        (b"tree\nversion=v4", "LightGBM"),
        (b'{"learner": {}}', "JSON"),
        (b"\x00" * 100, "not an ONNX model"),
        (b"not a model at all", "not an ONNX model"),
    ],
)
def test_other_kinds_of_file_are_named(content: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load_graph(content)


def test_any_truncation_is_one_clear_error(network: Any) -> None:
    content = network().SerializeToString()
    for length in range(0, len(content) - 1, 37):
        with pytest.raises(ModelError) as caught:
            GraphModel(content[:length])
        one_sentence(caught.value)


def test_an_invalid_graph_names_what_is_wrong(network: Any) -> None:
    broken = network()
    broken.graph.node[1].input[0] = "nowhere"
    with pytest.raises(ModelError, match="nowhere"):
        load_graph(broken.SerializeToString())


def test_weights_in_other_files_are_refused(network: Any) -> None:
    model = network()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    with pytest.raises(ModelError, match="other files"):
        load_graph(model.SerializeToString())


def test_operators_outside_the_standard_are_refused() -> None:
    node = helper.make_node("Magic", ["X"], ["score"], domain="example.custom")
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 1])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1])],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("example.custom", 1)]
    with pytest.raises(ModelError, match=r"example\.custom\.Magic"):
        load_graph(helper.make_model(graph, opset_imports=opsets).SerializeToString())


def test_an_unknown_operator_of_a_known_domain_is_an_error_too() -> None:
    node = helper.make_node("NoSuchOperator", ["X"], ["score"], domain="com.microsoft")
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 1])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1])],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    with pytest.raises(ModelError, match="NoSuchOperator"):
        GraphModel(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        read_model(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="is a folder"):
        read_model(tmp_path)


def test_a_valid_model_passes_unchanged(network: Any) -> None:
    model = network()
    assert load_graph(model.SerializeToString()) == model
    assert isinstance(load_graph(model.SerializeToString()), onnx.ModelProto)
    assert np.all([node.op_type for node in model.graph.node])
