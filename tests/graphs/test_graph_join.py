from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import helper

from roadworthy.errors import ModelError
from roadworthy.graphs.join import join
from roadworthy.graphs.runner import GraphModel

ROWS = pl.DataFrame(
    {
        "price": [1.5, None, -3.0],
        "used": [True, False, None],
        "device": ["mobile", "fridge", None],
        "asked": [0, 86_400_000_000, None],
    },
    schema_overrides={"asked": pl.Datetime("us")},
)
MATRIX = np.array([[1.5, 1, 1, 0], [-1, 0, 0, 1], [-3, -1, -1, -1]], dtype=np.float32)


def test_the_front_alone_gives_the_matrix(front: Any) -> None:
    graph = GraphModel(front().SerializeToString())
    np.testing.assert_array_equal(graph.score_feed(graph.feed(ROWS)), MATRIX)


@pytest.mark.parametrize("gemm", [True, False])
@pytest.mark.parametrize("model_opset", [13, 17, 21])
def test_joined_equals_the_composition(front: Any, network: Any, gemm: bool, model_opset: int) -> None:
    model = network(gemm=gemm, opset=model_opset)
    joined = join(front(), model)
    composed = GraphModel(model.SerializeToString()).run({"X": MATRIX})[0][:, 0]
    np.testing.assert_array_equal(GraphModel(joined.SerializeToString()).score(ROWS), composed.astype(np.float64))
    assert [output.name for output in joined.graph.output] == ["score"]
    assert {value.name for value in joined.graph.input} == {value.name for value in front().graph.input}


def test_an_older_front_is_raised(front: Any, network: Any) -> None:
    joined = join(front(opset=17), network(opset=21))
    versions = {entry.domain: entry.version for entry in joined.opset_import}
    assert versions[""] == 21


def test_the_matrix_keeps_its_name_for_traces(front: Any, network: Any) -> None:
    joined = join(front(), network())
    assert any("X" in node.output for node in joined.graph.node)


def test_a_column_called_score_keeps_its_name_and_the_output_gives_way(front: Any, network: Any) -> None:
    joined = join(front(number="score"), network())
    graph = GraphModel(joined.SerializeToString())
    assert "score" in graph.columns
    assert len(graph.outputs) == 1
    assert graph.score(ROWS.rename({"price": "score"})).shape == (3,)


def test_a_column_called_like_the_prefix_does_not_collide(front: Any, network: Any) -> None:
    joined = join(front(number="model/W0"), network())
    assert GraphModel(joined.SerializeToString()).score(ROWS.rename({"price": "model/W0"})).shape == (3,)


def test_widths_that_do_not_meet_are_refused(front: Any, network: Any) -> None:
    with pytest.raises(ModelError, match="4 columns wide, the model expects 7"):
        join(front(), network((7, 3, 1)))


@pytest.mark.parametrize(("source", "target", "words"), [("input", "score", "'X'"), ("X", "y", "'score'")])
def test_models_with_other_ends_are_refused(front: Any, network: Any, source: str, target: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        join(front(), network(source=source, target=target))


def test_the_inputs_are_not_changed(front: Any, network: Any) -> None:
    first, second = front(opset=17), network()
    copies = first.SerializeToString(), second.SerializeToString()
    join(first, second)
    assert (first.SerializeToString(), second.SerializeToString()) == copies


def test_trees_keep_the_operator_set_they_need(front: Any) -> None:
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["X"],
        ["score"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_values=[0.0, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        target_treeids=[0, 0],
        target_nodeids=[1, 2],
        target_ids=[0, 0],
        target_weights=[1.0, 2.0],
    )
    graph = helper.make_graph(
        [node],
        "trees",
        [helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("score", onnx.TensorProto.FLOAT, ["N", 1])],
    )
    opsets = [helper.make_opsetid("ai.onnx.ml", 1), helper.make_opsetid("", 9)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    joined = join(front(), model)
    np.testing.assert_array_equal(GraphModel(joined.SerializeToString()).score(ROWS), [2.0, 1.0, 1.0])
