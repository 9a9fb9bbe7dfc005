"""Makes a graph smaller and faster without leaving standard operators.

In: a graph as bytes. Out: a graph as bytes that computes the same, plus whether anything was gained. Only
ONNX Runtime's *basic* rewrites are taken (constants folded, identities and double casts removed, MatMul with Add
joined to Gemm, convolution with batch normalisation joined), because the higher levels leave operators that only
one runtime on one kind of processor knows. Laws: the same input gives the same bytes; inputs and outputs keep
their names and types; no operator enters that was not standard.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnxruntime as ort

from roadworthy.errors import ModelError
from roadworthy.graphs.loading import load_graph
from roadworthy.graphs.runner import RUN_ERRORS

__all__ = ["optimise", "stripped"]

_STANDARD = frozenset({"", "ai.onnx", "ai.onnx.ml"})


def optimise(content: bytes) -> bytes:
    """The same computation with fewer nodes and without what only documents it.

    Source: ONNX Runtime "Graph Optimizations", level basic, saved offline. Raises ModelError when the result
    would not be portable or would change the graph's inputs or outputs.
    """
    before = load_graph(content)
    after = stripped(_rewritten(content))
    if _interface(before) != _interface(after):
        raise ModelError("optimising changed the graph's inputs or outputs")
    foreign = _domains(after) - _STANDARD - _domains(before)
    if foreign:
        raise ModelError(f"optimising left operators outside the standard: {', '.join(sorted(foreign))}")
    result: bytes = after.SerializeToString(deterministic=True)
    load_graph(result, where="the optimised graph")
    return result


def stripped(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without documentation, node names, inferred shapes, unused weights and unused operator sets."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.doc_string = ""
    copy.producer_name, copy.producer_version = "roadworthy", ""
    del copy.metadata_props[:]
    graph = copy.graph
    graph.name, graph.doc_string = "roadworthy", ""
    del graph.value_info[:]
    del graph.metadata_props[:]
    for node in graph.node:
        node.doc_string, node.name = "", ""
        del node.metadata_props[:]
    used = _names_read(graph) | {output.name for output in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(sorted(kept, key=lambda tensor: str(tensor.name)))
    domains = _domains(copy)
    opsets = sorted(
        {(entry.domain, entry.version) for entry in copy.opset_import if _canonical(entry.domain) in domains}
    )
    del copy.opset_import[:]
    copy.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in opsets)
    return copy


def _rewritten(content: bytes) -> onnx.ModelProto:
    """The graph as ONNX Runtime's basic level leaves it, through a file, the only way it gives one out."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(target)
        try:
            ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except RUN_ERRORS as error:
            raise ModelError(f"the runtime refuses the graph: {str(error).splitlines()[0]}") from error
        return onnx.load_from_string(target.read_bytes())


def _interface(model: onnx.ModelProto) -> list[tuple[str, str, int]]:
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [("in", value.name, value.type.tensor_type.elem_type) for value in model.graph.input]
    outputs = [("out", value.name, value.type.tensor_type.elem_type) for value in model.graph.output]
    return [entry for entry in inputs if entry[1] not in constants] + outputs


def _canonical(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _domains(model: onnx.ModelProto) -> set[str]:
    return {_canonical(domain) for domain in _domains_of(model.graph)}


def _inner(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    return [
        inner
        for node in graph.node
        for attribute in node.attribute
        for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs)
    ]


def _domains_of(graph: onnx.GraphProto) -> set[str]:
    found = {node.domain for node in graph.node}
    for inner in _inner(graph):
        found |= _domains_of(inner)
    return found


def _names_read(graph: onnx.GraphProto) -> set[str]:
    """Names that nodes read, those inside branches and loop bodies included."""
    read = {name for node in graph.node for name in node.input}
    for inner in _inner(graph):
        read |= _names_read(inner) | {output.name for output in inner.output}
    return read
