"""How raw outputs of a model that others trained become scores, as nodes of its graph.

In: a graph with one output of raw numbers. Out: the same graph with the output ``score`` in the form that our graphs
have: float32 [N, 1] (binary: of the event, which is the last class; or an estimate), or [N, classes]. Law: a reading
computes in double what ``api.subjects.links`` computes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Reading", "read_as"]

SCORE = "score"
_PREFIX = "reading/"


class Reading(StrEnum):
    """What raw outputs are."""

    ESTIMATE = "estimate"  # one number that is the answer
    PROBABILITY = "probability"  # one number in [0, 1], but for rounding
    LOGIT = "logit"  # one number, the event's log-odds
    SHARES = "shares"  # one number in [0, 1] for each class, to be divided by their sum
    LOGITS = "logits"  # one number for each class, to go through softmax


def read_as(model: onnx.ModelProto, raw: str, reading: Reading, width: int, score: str = SCORE) -> None:
    """Give the graph the one output ``score`` made of its tensor ``raw``, which holds ``width`` numbers a row."""
    made = _Nodes(model.graph)
    flow = made.node("Cast", [made.node("Flatten", [raw], axis=1)], to=TensorProto.DOUBLE)
    if reading in {Reading.PROBABILITY, Reading.SHARES}:
        flow = made.node("Clip", [flow, made.constant(np.float64(0)), made.constant(np.float64(1))])
    if reading is Reading.SHARES:
        flow = _of_their_sum(made, flow, width)
    elif reading is Reading.LOGIT:
        flow = made.node("Sigmoid", [flow])
    elif reading is Reading.LOGITS:
        flow = made.node("Softmax", [flow], axis=1)
    if width == 2:
        flow = made.node("Gather", [flow, made.constant(np.array([1], dtype=np.int64))], axis=1)
    made.node("Cast", [flow], result=score, to=TensorProto.FLOAT)
    del model.graph.output[:]
    columns = 1 if width == 2 else width
    model.graph.output.append(helper.make_tensor_value_info(score, TensorProto.FLOAT, ["N", columns]))


def _of_their_sum(made: _Nodes, shares: str, width: int) -> str:
    """Each share by the sum of its row; all alike where that is 0."""
    total = made.node("ReduceSum", [shares, made.constant(np.array([1], dtype=np.int64))], keepdims=1)
    none = made.node("Equal", [total, made.constant(np.float64(0))])
    divided = made.node("Div", [shares, made.node("Where", [none, made.constant(np.float64(1)), total])])
    return made.node("Where", [none, made.constant(np.float64(1 / width)), divided])


class _Nodes:
    """Appends to a graph under names that begin with ``reading/``."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph

    def node(self, op: str, inputs: list[str], *, result: str = "", **attributes: Any) -> str:
        name = result or f"{_PREFIX}{op.lower()}_{len(self._graph.node)}"
        self._graph.node.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: np.generic | NDArray[np.generic]) -> str:
        name = f"{_PREFIX}constant_{len(self._graph.initializer)}"
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name
