"""XGBoost's trees as one ONNX graph: ``X`` double [N, columns] → ``raw`` double [N, outputs].

In: a model as XGBoost writes it in JSON. Out: the graph, NaN meaning missing as it does for XGBoost. Law: every row
takes the branches that XGBoost takes, which compares in single precision and answers in it. Source: XGBoost's
"Introduction to Model IO" and ``doc/model.schema``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from roadworthy.adapters.models.tree_graph import TreeGraph, TreeNodes
from roadworthy.errors import ModelError

__all__ = ["xgboost_graph"]

_LOGISTIC = frozenset({"binary:logistic", "reg:logistic"})
_LOG_LINK = frozenset({"count:poisson", "reg:gamma", "reg:tweedie"})


def xgboost_graph(content: bytes, rounds: int, *, margins: bool) -> onnx.ModelProto:
    """The graph of a model in JSON. ``rounds`` are used (0: all); ``margins``: before the inverse link.

    Raises ModelError for a linear booster, for trees with vectors in their leaves, and for categorical splits.
    """
    learner = json.loads(content)["learner"]
    objective = str(learner["objective"]["name"])
    booster = learner["gradient_booster"]
    trees, groups, weights = _trees(booster, rounds)
    sizes = learner["learner_model_param"]
    outputs = max(int(sizes["num_class"]), 1)
    if int(sizes.get("num_target", "1")) > 1 or any(int(tree["tree_param"]["size_leaf_vector"]) > 1 for tree in trees):
        raise ModelError("the booster predicts several targets at once", next_step="train one model for each target")
    nodes = TreeNodes()
    for number, (tree, group, weight) in enumerate(zip(trees, groups, weights, strict=True)):
        _add_tree(nodes, tree, number, group, weight)
    graph = TreeGraph()
    table = graph.node("Cast", ["X"], to=TensorProto.FLOAT)
    start = np.broadcast_to(_start(sizes["base_score"], objective), outputs).astype(np.float64)
    margin = graph.node("Cast", [graph.ensemble(nodes, table, outputs, single=True)], to=TensorProto.DOUBLE)
    margin = graph.node("Add", [margin, graph.constant(start.reshape(1, -1))])
    if not margins and objective in _LOGISTIC:
        margin = graph.node("Sigmoid", [margin])
    elif not margins and objective in _LOG_LINK:
        margin = graph.node("Exp", [margin])
    elif not margins and objective == "multi:softprob":
        margin = graph.node("Softmax", [margin], axis=1)
    return graph.model(margin, int(sizes["num_feature"]), outputs)


def _trees(booster: Mapping[str, Any], rounds: int) -> tuple[list[Any], list[int], list[float]]:
    """The trees that answer, the output of each, and its weight."""
    inner = booster.get("gbtree", booster)
    if "trees" not in inner.get("model", {}):
        raise ModelError(f"a {booster.get('name')} booster has no trees", next_step="export it to ONNX")
    model = inner["model"]
    last = model["iteration_indptr"][rounds] if rounds else len(model["trees"])
    weights = booster.get("weight_drop") or [1.0] * len(model["trees"])
    return model["trees"][:last], model["tree_info"][:last], weights[:last]


def _start(written: str, objective: str) -> NDArray[np.float64]:
    """The margin that trees add to: written as a probability, a mean, or margins, in one number or a list."""
    score = np.array(json.loads(written), dtype=np.float64).reshape(-1)
    links: dict[bool, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
        objective in _LOGISTIC: lambda p: np.log(p / (1 - p)),
        objective in _LOG_LINK: np.log,
    }
    return links[True](score) if True in links else score


def _add_tree(nodes: TreeNodes, tree: Mapping[str, Any], number: int, group: int, weight: float) -> None:
    """One tree without the nodes that pruning has cut off."""
    if any(tree["split_type"]):
        raise ModelError("the booster splits on categories, whose codes its file does not tell")
    left, right = (np.array(tree[side], dtype=np.int64) for side in ("left_children", "right_children"))
    kept = _reached(left, right)
    at = np.zeros(len(left), dtype=np.int64)
    at[kept] = np.arange(len(kept))
    leaf = left[kept] < 0
    values = np.array(tree["split_conditions"], dtype=np.float32)[kept].astype(np.float64)
    count = len(kept)
    nodes.tree.append(np.full(count, number, dtype=np.int64))
    nodes.node.append(np.arange(count, dtype=np.int64))
    nodes.feature.append(np.where(leaf, 0, np.array(tree["split_indices"], dtype=np.int64)[kept]))
    nodes.value.append(np.where(leaf, 0.0, values))
    nodes.yes.append(np.where(leaf, 0, at[left[kept]]))
    nodes.no.append(np.where(leaf, 0, at[right[kept]]))
    nodes.missing_yes.append(np.where(leaf, 0, np.array(tree["default_left"], dtype=np.int64)[kept]))
    nodes.modes += ["LEAF" if one else "BRANCH_LT" for one in leaf.tolist()]
    leaves = np.flatnonzero(leaf)
    nodes.leaf_tree.append(np.full(len(leaves), number, dtype=np.int64))
    nodes.leaf_node.append(leaves.astype(np.int64))
    nodes.leaf_target.append(np.full(len(leaves), group, dtype=np.int64))
    nodes.leaf_value.append(values[leaves] * weight)


def _reached(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """The nodes that a row can come to, the root first."""
    found, level = [0], [0]
    while level:
        level = [int(side[node]) for node in level if left[node] >= 0 for side in (left, right)]
        found += level
    return np.array(found, dtype=np.int64)
