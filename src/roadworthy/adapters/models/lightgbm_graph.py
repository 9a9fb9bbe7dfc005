"""LightGBM's trees as one ONNX graph: ``X`` double [N, columns] → ``raw`` double [N, outputs].

In: the text of a model file that ``lightgbm_faults`` found sound. Out: the graph, NaN meaning missing as it does for
LightGBM. Law: every row takes the branches that LightGBM takes, at any double; only the sum of leaves is rounded to
single precision, because the operator answers in it. Source: ``Tree::NumericalDecision`` and
``Tree::CategoricalDecision`` in LightGBM's ``include/LightGBM/tree.h``.

A split on categories asks whether a code is in a set, which trees in ONNX cannot: so each such split gets a column of
its own beside ``X``, 1 where the code is in its set. One table look-up per categorical column makes all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from roadworthy.adapters.models.lightgbm_audit import header_of
from roadworthy.adapters.models.tree_graph import TreeGraph, TreeNodes
from roadworthy.errors import ModelError

__all__ = ["lightgbm_graph"]

_ZERO = float(np.float32(1e-35))  # LightGBM's kZeroThreshold
_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of decision_type; the two above tell what counts as missing
_NONE, _AS_ZERO, _AS_NAN = 0, 1, 2


@dataclass(slots=True)
class _Sets:
    """The splits on categories: of each column the sets of codes that go left, and the columns where zero is missing.

    ``first`` is the number of the first column beside ``X``; ``of`` lists (column, set) in the order of those columns.
    """

    first: int
    of: list[tuple[int, frozenset[int]]] = field(default_factory=list)
    zero_is_missing: set[int] = field(default_factory=set)

    def column(self, feature: int, codes: frozenset[int]) -> int:
        """The column that is 1 where ``feature`` is one of ``codes``."""
        self.of.append((feature, codes))
        return self.first + len(self.of) - 1


def lightgbm_graph(text: str) -> onnx.ModelProto:
    """The graph of a model file's text. ModelError for linear trees, which no operator of ONNX computes."""
    header = header_of(text)
    outputs = int(header.get("num_tree_per_iteration", "1"))
    width = int(header["max_feature_idx"]) + 1
    nodes, sets = TreeNodes(), _Sets(width)
    trees = text.partition("\nend of trees")[0].split("\nTree=")[1:]
    for number, block in enumerate(trees):
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if fields.get("is_linear", "0") != "0":
            raise ModelError(
                "the trees have linear models in their leaves, which ONNX has no operator for",
                next_step="train with linear_tree=false",
            )
        _add_tree(nodes, sets, fields, number, number % outputs)
    graph = TreeGraph()
    table = _columns(graph, sets)
    margin = graph.node("Cast", [graph.ensemble(nodes, table, outputs)], to=TensorProto.DOUBLE)
    if "\naverage_output\n" in text.partition("\nTree=")[0] + "\n":
        margin = graph.node("Div", [margin, graph.constant(np.float64(max(len(trees) // outputs, 1)))])
    return graph.model(_answer(graph, margin, header.get("objective", "")), width, outputs)


def _add_tree(nodes: TreeNodes, sets: _Sets, fields: Mapping[str, str], number: int, target: int) -> None:
    """One tree: its splits keep their numbers, its leaves come after them."""
    leaves = int(fields["num_leaves"])
    splits = leaves - 1
    if splits:
        _add_splits(nodes, sets, fields, splits)
    values = _floats(fields["leaf_value"])
    count = splits + leaves
    nodes.tree.append(np.full(count, number, dtype=np.int64))
    nodes.node.append(np.arange(count, dtype=np.int64))
    for column in (nodes.feature, nodes.yes, nodes.no, nodes.missing_yes):
        column.append(np.zeros(leaves, dtype=np.int64))
    nodes.value.append(np.zeros(leaves))
    nodes.modes += ["LEAF"] * leaves
    nodes.leaf_tree.append(np.full(leaves, number, dtype=np.int64))
    nodes.leaf_node.append(np.arange(splits, count, dtype=np.int64))
    nodes.leaf_target.append(np.full(leaves, target, dtype=np.int64))
    nodes.leaf_value.append(values)


def _add_splits(nodes: TreeNodes, sets: _Sets, fields: Mapping[str, str], splits: int) -> None:
    feature, threshold = _whole(fields["split_feature"]), _floats(fields["threshold"])
    kind = _whole(fields["decision_type"])
    children = [np.where(side < 0, splits + ~side, side) for side in map(_whole, _sides(fields))]
    missing = (kind >> 2) & 3
    sets.zero_is_missing |= set(feature[(missing == _AS_ZERO) & ((kind & _CATEGORICAL) == 0)].tolist())
    default_left = (kind & _DEFAULT_LEFT) > 0
    missing_left = np.where(missing == _NONE, threshold >= 0, default_left)
    # LightGBM reads what lies within ±1e-35 as zero, so that its bound itself is on the right of a threshold there
    threshold = np.where(threshold == -_ZERO, np.nextafter(-_ZERO, -np.inf), threshold)
    bounds, words = _whole(fields.get("cat_boundaries", "")), _whole(fields.get("cat_threshold", ""))
    for place in np.flatnonzero(kind & _CATEGORICAL).tolist():
        at = int(threshold[place])
        codes = _members(words[bounds[at] : bounds[at + 1]])
        feature[place], threshold[place] = sets.column(int(feature[place]), codes), 0.5
        children[0][place], children[1][place] = children[1][place], children[0][place]
    nodes.feature.append(feature)
    nodes.value.append(threshold)
    nodes.yes.append(children[0])
    nodes.no.append(children[1])
    nodes.missing_yes.append(missing_left.astype(np.int64))
    nodes.modes += ["BRANCH_LEQ"] * splits


def _sides(fields: Mapping[str, str]) -> tuple[str, str]:
    return fields["left_child"], fields["right_child"]


def _members(words: NDArray[np.int64]) -> frozenset[int]:
    """The codes of a bit set of 32-bit words."""
    return frozenset(32 * at + bit for at, word in enumerate(words.tolist()) for bit in range(32) if word >> bit & 1)


def _whole(text: str) -> NDArray[np.int64]:
    return np.array(text.split(), dtype=np.int64)


def _floats(text: str) -> NDArray[np.float64]:
    return np.array(text.split(), dtype=np.float64)


def _columns(graph: TreeGraph, sets: _Sets) -> str:
    """``X`` as the trees read it: zero as missing where it means that, and a column beside it for each set."""
    table = "X"
    if sets.zero_is_missing:
        which = np.zeros((1, sets.first), dtype=np.bool_)
        which[0, sorted(sets.zero_is_missing)] = True
        none = graph.node("LessOrEqual", [graph.node("Abs", ["X"]), graph.constant(np.float64(_ZERO))])
        none = graph.node("And", [none, graph.constant(which)])
        table = graph.node("Where", [none, graph.constant(np.float64(np.nan)), "X"])
    if not sets.of:
        return table
    order = sorted({feature for feature, _ in sets.of})
    found = [_membership(graph, feature, [codes for one, codes in sets.of if one == feature]) for feature in order]
    flags = found[0] if len(found) == 1 else graph.node("Concat", found, axis=1)
    made = [place for feature in order for place, (one, _) in enumerate(sets.of) if one == feature]
    if made != sorted(made):
        flags = graph.node("Gather", [flags, graph.constant(np.argsort(made).astype(np.int64))], axis=1)
    return graph.node("Concat", [table, flags], axis=1)


def _answer(graph: TreeGraph, margin: str, objective: str) -> str:
    """The answers as LightGBM answers: margins through the inverse link of the objective."""
    name, *settings = objective.split() or [""]
    given = dict(one.partition(":")[::2] for one in settings)
    if name in {"binary", "multiclassova"}:
        margin = graph.node("Mul", [margin, graph.constant(np.float64(given.get("sigmoid", "1")))])
    if name in {"binary", "multiclassova", "cross_entropy", "xentropy"}:
        margin = graph.node("Sigmoid", [margin])
    elif name in {"cross_entropy_lambda", "xentlambda"}:
        margin = graph.node("Log", [graph.node("Add", [graph.node("Exp", [margin]), graph.constant(np.float64(1))])])
    elif name == "multiclass":
        margin = graph.node("Softmax", [margin], axis=1)
    elif name in {"poisson", "gamma", "tweedie"}:
        margin = graph.node("Exp", [margin])
    elif "sqrt" in given:
        margin = graph.node("Mul", [margin, graph.node("Abs", [margin])])
    return margin


def _membership(graph: TreeGraph, feature: int, sets: Sequence[frozenset[int]]) -> str:
    """Double [N, sets]: 1 where the code in column ``feature`` is in the set."""
    codes = sorted(frozenset[int]().union(*sets))
    rows = np.zeros((len(codes) + 1, len(sets)))
    for at, members in enumerate(sets):
        rows[[place for place, code in enumerate(codes) if code in members], at] = 1.0
    column = graph.node("Gather", ["X", graph.constant(np.int64(feature))], axis=1)
    known = graph.node("Where", [graph.node("IsNaN", [column]), graph.constant(np.float64(-1)), column])
    row = graph.node(
        "LabelEncoder",
        [graph.node("Cast", [known], to=TensorProto.INT64)],
        domain="ai.onnx.ml",
        keys_int64s=codes,
        values_int64s=list(range(len(codes))),
        default_int64=len(codes),
    )
    return graph.node("Gather", [graph.constant(rows), row], axis=0)
