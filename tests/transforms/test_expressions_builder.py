"""The graph builder: shared inputs, shared nodes, no two tensors of one name, nothing that no output needs."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto

from roadworthy.errors import ModelError
from roadworthy.records.contract import ColumnType
from roadworthy.transforms.expressions import Kind, parse, to_onnx
from roadworthy.transforms.onnx_builder import IR_VERSION, ML_OPSET, OPSET, OnnxBuilder, Pair


def test_a_column_has_two_inputs_however_often_it_is_asked_for() -> None:
    builder = OnnxBuilder()
    assert builder.input_column("x", ColumnType.NUMBER) == Pair("x", "x.missing")
    assert builder.input_column("x", ColumnType.NUMBER) == Pair("x", "x.missing")
    assert builder.input_column("past", "aggregate").value == "past"
    assert builder.inputs == ("x", "x.missing", "past", "past.missing")
    assert builder.dtype_of_input("past") == TensorProto.DOUBLE
    with pytest.raises(ModelError, match="two types"):
        builder.input_column("x", ColumnType.TEXT)


def test_equal_constants_and_nodes_are_made_once() -> None:
    builder = OnnxBuilder()
    pair = builder.input_column("x", ColumnType.NUMBER)
    assert builder.constant(1.0) == builder.constant(1.0)
    assert len({builder.constant(v) for v in (1.0, 1, True, "1", -0.0, 0.0)}) == 6
    first = builder.node("Cast", [pair.value], to=TensorProto.FLOAT)
    assert builder.node("Cast", [pair.value], to=TensorProto.FLOAT) == first
    assert builder.node("Cast", [pair.value], to=TensorProto.INT64) != first
    assert not builder.is_constant(first)
    assert builder.is_constant(builder.node("Add", [builder.constant(1.0), builder.constant(2.0)]))


def test_names_never_collide() -> None:
    builder = OnnxBuilder()
    pair = builder.input_column("score", ColumnType.NUMBER)
    with pytest.raises(ModelError, match="'score'"):
        builder.output("score", pair.value, TensorProto.DOUBLE)
    with pytest.raises(ModelError, match=r"score\.missing"):
        builder.input_column("score.missing", ColumnType.BOOLEAN)


def test_the_model_runs_and_holds_only_what_outputs_need() -> None:
    builder = OnnxBuilder()
    pair = builder.input_column("x", ColumnType.NUMBER)
    builder.node("Exp", [pair.value])
    builder.constant("unused")
    label = builder.input_column("s", ColumnType.CATEGORY)
    index = builder.node(
        "LabelEncoder",
        [label.value],
        domain="ai.onnx.ml",
        keys_strings=["a", ""],
        values_int64s=[1, 2],
        default_int64=0,
    )
    builder.output("index", index, TensorProto.INT64)
    builder.output("wide", builder.node("Concat", [pair.value, pair.value], axis=1), TensorProto.DOUBLE, width=2)
    model = builder.model()
    assert {node.op_type for node in model.graph.node} == {"LabelEncoder", "Concat", "Identity"}
    assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (
        IR_VERSION,
        [("", OPSET), ("ai.onnx.ml", ML_OPSET)],
    )
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    mask = np.zeros((2, 1), dtype=bool)
    feed = {"x": np.ones((2, 1)), "x.missing": mask, "s": np.array([[""], ["z"]], dtype=object), "s.missing": mask}
    index_value, wide = session.run(None, feed)
    assert index_value.tolist() == [[2], [0]]
    assert wide.shape == (2, 2)


def test_an_invalid_graph_is_refused() -> None:
    builder = OnnxBuilder()
    builder.output("y", builder.node("NoSuchOperator", [builder.constant(1.0)]), TensorProto.DOUBLE)
    with pytest.raises(ModelError, match="not valid ONNX"):
        builder.model()


def test_the_same_expression_twice_adds_no_node() -> None:
    builder = OnnxBuilder()
    columns = {"x": builder.input_column("x", ColumnType.INTEGER)}
    first = parse("round(ln(x) + x, 1)", {"x": Kind.NUMBER}, where="test")
    again = parse("round( ln(x)+x , 1)", {"x": Kind.NUMBER}, where="test")
    assert to_onnx(first, builder, columns) == to_onnx(again, builder, columns)
