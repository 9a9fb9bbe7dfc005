"""The one audit of an ONNX graph, whoever brings it: a person's file or a signed bundle.

In: a parsed ``onnx.ModelProto``. Out: its faults, as problems for people. Laws: a graph without a fault keeps
nothing in other files, is made of standard operators only, and is valid; every graph and tensor is looked at, those
inside nodes, local functions and training steps too; nothing is executed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import onnx
from onnx.external_data_helper import uses_external_data

from roadworthy.errors import Problem

__all__ = ["DOMAINS", "graph_fault"]

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operator domains that a graph may use; ``com.microsoft`` is what dynamic quantisation may add."""


def graph_fault(model: onnx.ModelProto) -> Problem | None:
    """The first kind of fault in a model; None when it has none. ``expected`` is the way out.

    In this order: tensors kept in other files, operators outside ``DOMAINS``, what the ONNX checker refuses.
    """
    outside = sorted({tensor.name for tensor in _tensors(model) if uses_external_data(tensor)})
    if outside:
        return Problem(
            f"keeps {len(outside)} tensors in other files ({', '.join(outside[:3])}); a model is one file",
            expected="save it with onnx.save(model, path, save_as_external_data=False)",
        )
    local = {(function.domain, function.name) for function in model.functions}
    foreign = sorted(
        {
            f"{node.domain}.{node.op_type}"
            for node in _nodes(model)
            if node.domain not in DOMAINS and (node.domain, node.op_type) not in local
        }
    )
    if foreign:
        return Problem(
            f"uses operators that are not standard: {', '.join(foreign)}",
            expected="export the model with standard ONNX operators only",
        )
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().splitlines()[0]
        return Problem(f"holds an invalid graph: {reason}", expected="export the model again with a newer exporter")
    return None


def _graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """Every graph of a model: its own, those of training steps, and those inside nodes (branches, loop bodies)."""
    yield from _with_inner(model.graph)
    for step in model.training_info:
        yield from _with_inner(step.initialization)
        yield from _with_inner(step.algorithm)
    for function in model.functions:
        for attribute in _attributes(function):
            yield from _inner(attribute)


def _with_inner(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            yield from _inner(attribute)


def _inner(attribute: onnx.AttributeProto) -> Iterator[onnx.GraphProto]:
    for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
        yield from _with_inner(graph)


def _attributes(function: onnx.FunctionProto) -> Iterator[onnx.AttributeProto]:
    yield from function.attribute_proto
    for node in function.node:
        yield from node.attribute


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for part in chain(_graphs(model), model.functions):
        yield from part.node


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for graph in _graphs(model):
        yield from graph.initializer
        yield from _dense(graph.sparse_initializer)
    defaults = (attribute for function in model.functions for attribute in function.attribute_proto)
    for attribute in chain(defaults, (attribute for node in _nodes(model) for attribute in node.attribute)):
        yield from [attribute.t] if attribute.HasField("t") else []
        yield from attribute.tensors
        yield from _dense([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else [])
        yield from _dense(attribute.sparse_tensors)


def _dense(sparse: Iterator[onnx.SparseTensorProto] | list[onnx.SparseTensorProto]) -> Iterator[onnx.TensorProto]:
    for tensor in sparse:
        yield tensor.values
        yield tensor.indices
