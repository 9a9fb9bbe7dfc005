"""The same graph with its numbers as one matrix: handing over two arrays costs less than handing over forty.

In: a graph of ours, and the order of its numeric columns. Out: a graph whose inputs are ``NUMBERS`` (double [N, k]),
``MISSING`` (bool [N, k]) and the columns that are no numbers. Law: every score is the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx
from onnx import TensorProto, helper

from roadworthy.graphs.loading import load_graph

__all__ = ["MISSING", "NUMBERS", "fused"]

NUMBERS, MISSING = "/row/numbers", "/row/missing"
_MASK = ".missing"


def fused(content: bytes, numbers: Sequence[str]) -> bytes:
    """The graph with the columns ``numbers`` as one matrix, in that order; some of them it may not ask for.

    Raises ModelError for content that is no sound graph.
    """
    model = load_graph(content)
    graph = model.graph
    types = {node.name: node.type.tensor_type.elem_type for node in graph.input}
    values = [name if name in types else f"{NUMBERS}/unused/{at}" for at, name in enumerate(numbers)]
    masks = [name + _MASK if name + _MASK in types else f"{MISSING}/unused/{at}" for at, name in enumerate(numbers)]
    before = [*_parts(NUMBERS, values, types), *_parts(MISSING, masks, {})] if numbers else []
    whole = _wholes(graph, values, masks, types)
    gone = {*values, *masks}
    nodes = [node for node in graph.node if node.output[0] not in whole]
    for node in nodes:
        for at, name in enumerate(node.input):
            node.input[at] = whole.get(name, name)
    nodes = [*_needed(before, nodes), *nodes]
    read = {name for node in nodes for name in node.input}
    matrices = {NUMBERS: TensorProto.DOUBLE, MISSING: TensorProto.BOOL}
    inputs = [
        helper.make_tensor_value_info(name, kind, ["N", len(numbers)])
        for name, kind in matrices.items()
        if name in read
    ]
    inputs += [node for node in graph.input if node.name not in gone]
    made = helper.make_graph(nodes, graph.name, inputs, list(graph.output), initializer=list(graph.initializer))
    result = helper.make_model(made, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    onnx.checker.check_model(result)
    content_made: bytes = result.SerializeToString()
    return content_made


def _parts(matrix: str, names: Sequence[str], types: dict[str, int]) -> Iterator[onnx.NodeProto]:
    """Nodes that give each column of the matrix its own name and type."""
    raw = [name if types.get(name, 0) in {0, TensorProto.DOUBLE} else f"{matrix}/{at}" for at, name in enumerate(names)]
    if len(names) == 1:
        yield helper.make_node("Identity", [matrix], raw)
    else:
        yield helper.make_node("Split", [matrix], raw, axis=1, num_outputs=len(names))
    for name, one in zip(names, raw, strict=True):
        if one != name:
            yield helper.make_node("Cast", [one], [name], to=types[name])


def _wholes(
    graph: onnx.GraphProto, numbers: Sequence[str], masks: Sequence[str], types: dict[str, int]
) -> dict[str, str]:
    """Outputs of nodes that do nothing but join the columns again in the same order: they are the matrix itself."""
    doubles = all(types.get(name) == TensorProto.DOUBLE for name in numbers)
    found: dict[str, str] = {}
    for node in graph.node:
        if node.op_type != "Concat" or node.attribute[0].i != 1 or node.output[0] in {out.name for out in graph.output}:
            continue
        if list(node.input) == list(numbers) and doubles:
            found[node.output[0]] = NUMBERS
        elif list(node.input) == list(masks):
            found[node.output[0]] = MISSING
    return found


def _needed(before: Sequence[onnx.NodeProto], nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes of ``before`` whose outputs someone reads."""
    read = {name for node in (*before, *nodes) for name in node.input}
    kept = [node for node in before if read & set(node.output)]
    return kept if len(kept) == len(before) else _needed(kept, nodes)
