from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from roadworthy.errors import ModelError
from roadworthy.graphs.join import join
from roadworthy.graphs.runner import GraphModel


@pytest.fixture(scope="module")
def ours(front: Any, network: Any) -> GraphModel:
    return GraphModel(join(front(), network()).SerializeToString())


def frame(rows: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    holes = [rng.random(rows) < 0.2 for _ in range(4)]
    return pl.DataFrame(
        {
            "price": rng.normal(size=rows),
            "used": rng.random(rows) < 0.5,
            "device": rng.choice(["mobile", "desktop", "fridge"], rows),
            "asked": pl.Series(rng.integers(0, 10**15, rows)).cast(pl.Datetime("us")),
        }
    ).with_columns(
        pl.when(pl.Series(hole)).then(None).otherwise(pl.col(name)).alias(name)
        for name, hole in zip(("price", "used", "device", "asked"), holes, strict=True)
    )


def test_columns_are_the_inputs_without_masks(ours: GraphModel) -> None:
    assert ours.columns == ("price", "used", "device", "asked")
    assert ours.outputs == ("score",)


def test_nulls_become_masks_over_neutral_values(ours: GraphModel) -> None:
    rows = pl.DataFrame(
        {"price": [None, 2.0], "used": [None, True], "device": [None, "mobile"], "asked": [None, 5]},
        schema_overrides={"asked": pl.Int64},
    )
    feed = ours.feed(rows)
    for name, neutral in (("price", 0.0), ("used", False), ("device", ""), ("asked", 0)):
        assert feed[name].shape == (2, 1)
        assert feed[name][0, 0] == neutral
        assert feed[f"{name}.missing"].ravel().tolist() == [True, False]


def test_an_all_null_column_of_no_type_is_all_missing(ours: GraphModel) -> None:
    rows = pl.DataFrame({"price": [None], "used": [None], "device": [None], "asked": [None]})
    assert ours.score(rows).shape == (1,)


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_times_are_microseconds_since_1970(ours: GraphModel, unit: Any) -> None:
    asked = pl.Series("asked", [datetime(1970, 1, 2, tzinfo=UTC)]).dt.replace_time_zone(None).cast(pl.Datetime(unit))
    rows = frame(1).with_columns(asked)
    assert ours.feed(rows)["asked"].tolist() == [[86_400_000_000]]


def test_categoricals_are_fed_as_their_text(ours: GraphModel) -> None:
    rows = frame(50)
    np.testing.assert_array_equal(
        ours.score(rows), ours.score(rows.with_columns(pl.col("device").cast(pl.Categorical)))
    )


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 70), batch=st.integers(1, 40), seed=st.integers(0, 5))
def test_a_score_does_not_depend_on_the_batch(ours: GraphModel, rows: int, batch: int, seed: int) -> None:
    table = frame(rows, seed)
    whole = ours.score(table)
    np.testing.assert_allclose(ours.score(table, batch=batch), whole, rtol=0, atol=1e-7)
    single = [ours.score(table.slice(row, 1))[0] for row in range(min(rows, 5))]
    np.testing.assert_allclose(single, whole[:5], rtol=0, atol=1e-7)


def test_no_rows_give_no_scores(ours: GraphModel) -> None:
    assert ours.score(frame(3).head(0)).shape == (0,)


def test_all_faults_of_a_frame_are_named_at_once(ours: GraphModel) -> None:
    rows = frame(2).drop("device").with_columns(price=pl.lit("dear"), used=pl.lit("yes"))
    with pytest.raises(ModelError) as caught:
        ours.feed(rows)
    places = {problem.where for problem in caught.value.problems}
    assert places == {"column device", "column price", "column used"}
    assert "dear" not in str(caught.value)


def test_a_score_that_is_not_a_number_is_an_error(network: Any) -> None:
    model = network((2, 1), last="Log")
    for tensor in model.graph.initializer:
        array = np.ones((2, 1)) if tensor.name == "W0" else np.zeros(1)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float32), tensor.name))
    graph = GraphModel(model.SerializeToString())
    with pytest.raises(ModelError, match="not a number, first of row 1"):
        graph.score(pl.DataFrame({"a": [1.0, -1.0], "b": [1.0, -1.0]}))


def test_plain_models_take_columns_in_order(network: Any) -> None:
    graph = GraphModel(network((3, 4, 2), last="Softmax").SerializeToString())
    rows = pl.DataFrame({"_row": [7, 8], "a": [1, 2], "b": [True, False], "c": [0.5, -0.5]})
    expected = graph.run({"X": np.array([[1, 1, 0.5], [2, 0, -0.5]], dtype=np.float32)})[0]
    np.testing.assert_array_equal(graph.score(rows), expected.astype(np.float64))
    assert graph.columns == ()
    named = GraphModel(graph.content, columns=("c", "b", "a"))
    assert named.feed(rows)["X"].tolist() == [[0.5, 1, 1], [-0.5, 0, 2]]


def test_a_plain_model_refuses_text_and_other_widths(network: Any) -> None:
    graph = GraphModel(network((3, 4, 1)).SerializeToString())
    with pytest.raises(ModelError, match="takes 3 numbers per row, the rows have 2"):
        graph.feed(pl.DataFrame({"a": [1.0], "b": [2.0]}))
    with pytest.raises(ModelError, match="hold none: b"):
        graph.feed(pl.DataFrame({"a": [1.0], "b": ["x"], "c": [1.0]}))
    with pytest.raises(ModelError, match="lack the columns z"):
        GraphModel(graph.content, columns=("a", "z")).feed(pl.DataFrame({"a": [1.0]}))


def test_images_are_filled_row_by_row(image_model: onnx.ModelProto) -> None:
    graph = GraphModel(image_model.SerializeToString())
    pixels = np.arange(128, dtype=np.float32).reshape(2, 64)
    feed = graph.feed(pl.DataFrame(pixels))
    np.testing.assert_array_equal(feed["image"], pixels.reshape(2, 1, 8, 8))
    assert graph.score(pl.DataFrame(pixels)).shape == (2, 3)


def test_a_graph_of_one_fixed_row_scores_many(network: Any) -> None:
    model = network((3, 2))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    rows = pl.DataFrame(np.random.default_rng(0).normal(size=(5, 3)))
    np.testing.assert_allclose(
        GraphModel(model.SerializeToString()).score(rows),
        GraphModel(network((3, 2)).SerializeToString()).score(rows),
        atol=1e-7,
    )


def test_probabilities_as_maps_are_read() -> None:
    node = helper.make_node("ZipMap", ["p"], ["probabilities"], domain="ai.onnx.ml", classlabels_strings=["b", "a"])
    soft = helper.make_node("Softmax", ["X"], ["p"], axis=1)
    key_type = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    output = onnx.helper.make_value_info("probabilities", helper.make_sequence_type_proto(key_type))
    graph = helper.make_graph(
        [soft, node], "g", [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 2])], [output]
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    scores = GraphModel(model.SerializeToString()).score(pl.DataFrame({"x": [0.0], "y": [np.log(3.0)]}))
    np.testing.assert_allclose(scores, [[0.75, 0.25]], atol=1e-6)


def test_labels_alone_are_no_scores() -> None:
    graph = helper.make_graph(
        [helper.make_node("ArgMax", ["X"], ["label"], axis=1)],
        "g",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["N", 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ModelError, match="gives no scores"):
        GraphModel(model.SerializeToString())


def test_unknown_input_types_are_named() -> None:
    graph = helper.make_graph(
        [helper.make_node("Cast", ["X"], ["score"], to=TensorProto.FLOAT)],
        "g",
        [helper.make_tensor_value_info("X", TensorProto.UINT16, ["N", 1])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ModelError, match="uint16"):
        GraphModel(model.SerializeToString())
