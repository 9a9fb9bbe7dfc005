"""Trees as one ONNX graph: what LightGBM's and XGBoost's have in common.

In: the nodes of all trees as arrays. Out: a checked graph ``X`` double [N, columns] → ``raw`` [N, outputs]. Law: a
``TreeEnsembleRegressor`` compares in the type of the table that it is given, double or single.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from roadworthy.transforms.onnx_builder import IR_VERSION, ML_OPSET, OPSET

__all__ = ["TreeGraph", "TreeNodes"]


@dataclass(slots=True)
class TreeNodes:
    """The nodes of all trees, as ``TreeEnsembleRegressor`` lists them, one array for each tree.

    ``yes`` and ``no`` are where a row goes for which the comparison holds, and does not; ``missing_yes`` is 1 where NaN
    goes with the former.
    """

    tree: list[NDArray[np.int64]] = field(default_factory=list)
    node: list[NDArray[np.int64]] = field(default_factory=list)
    feature: list[NDArray[np.int64]] = field(default_factory=list)
    value: list[NDArray[np.float64]] = field(default_factory=list)
    yes: list[NDArray[np.int64]] = field(default_factory=list)
    no: list[NDArray[np.int64]] = field(default_factory=list)
    missing_yes: list[NDArray[np.int64]] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    leaf_tree: list[NDArray[np.int64]] = field(default_factory=list)
    leaf_node: list[NDArray[np.int64]] = field(default_factory=list)
    leaf_target: list[NDArray[np.int64]] = field(default_factory=list)
    leaf_value: list[NDArray[np.float64]] = field(default_factory=list)


class TreeGraph:
    """Collects nodes and constants of the graph around the trees."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def node(self, op: str, inputs: Sequence[str], *, result: str = "", domain: str = "", **attributes: Any) -> str:
        """The result of an operator."""
        name = result or f"{op.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def constant(self, value: np.generic | NDArray[np.generic]) -> str:
        """The name of a constant."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def ensemble(self, nodes: TreeNodes, table: str, outputs: int, *, single: bool = False) -> str:
        """The trees over ``table``, double or ``single``: the sums of their leaves, single [N, outputs]."""
        joined = {
            "nodes_treeids": nodes.tree,
            "nodes_nodeids": nodes.node,
            "nodes_featureids": nodes.feature,
            "nodes_truenodeids": nodes.yes,
            "nodes_falsenodeids": nodes.no,
            "nodes_missing_value_tracks_true": nodes.missing_yes,
            "target_treeids": nodes.leaf_tree,
            "target_nodeids": nodes.leaf_node,
            "target_ids": nodes.leaf_target,
        }
        values, leaves = np.concatenate(nodes.value), np.concatenate(nodes.leaf_value)
        numbers: dict[str, Any] = {
            "nodes_values_as_tensor": numpy_helper.from_array(values, "values"),
            "target_weights_as_tensor": numpy_helper.from_array(leaves, "leaves"),
        }
        if single:
            numbers = {"nodes_values": values.tolist(), "target_weights": leaves.tolist()}
        return self.node(
            "TreeEnsembleRegressor",
            [table],
            domain="ai.onnx.ml",
            n_targets=outputs,
            aggregate_function="SUM",
            post_transform="NONE",
            nodes_modes=nodes.modes,
            **numbers,
            **{name: np.concatenate(parts).tolist() for name, parts in joined.items()},
        )

    def model(self, raw: str, width: int, outputs: int) -> onnx.ModelProto:
        """The checked graph from a table of so many columns to ``raw``, double."""
        self.node("Identity", [raw], result="raw")
        graph = helper.make_graph(
            self._nodes,
            "trees",
            [helper.make_tensor_value_info("X", TensorProto.DOUBLE, ["N", width])],
            [helper.make_tensor_value_info("raw", TensorProto.DOUBLE, ["N", outputs])],
            initializer=self._constants,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="roadworthy")
        onnx.checker.check_model(made)
        return made
