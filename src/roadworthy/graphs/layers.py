"""Which nodes of a graph make up a layer, and what a person calls it.

In: an ONNX graph. Out: its layers in order, each with its nodes and the tensor that it ends in. A layer is one
operator that computes (a matrix product, a convolution, a tree ensemble) with what follows on its result alone:
bias, scaling, activation, change of type or shape. What stands before the first is "features".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import onnx

__all__ = ["Layer", "layers_of"]

_DENSE = frozenset({"Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "QGemm", "MatMulIntegerToFloat"})
_CONVOLUTION = frozenset({"Conv", "ConvInteger", "QLinearConv", "ConvTranspose"})
_POOLING = {
    "MaxPool": "max pooling",
    "AveragePool": "average pooling",
    "GlobalAveragePool": "global average pooling",
    "GlobalMaxPool": "global max pooling",
    "LpPool": "pooling",
}
_RECURRENT = {"LSTM": "LSTM", "GRU": "GRU", "RNN": "recurrent"}
_NAMED = {
    "TreeEnsembleClassifier": ("trees", "tree ensemble"),
    "TreeEnsembleRegressor": ("trees", "tree ensemble"),
    "TreeEnsemble": ("trees", "tree ensemble"),
    "LinearClassifier": ("linear", "linear model"),
    "LinearRegressor": ("linear", "linear model"),
    "SVMClassifier": ("kernel", "support vectors"),
    "SVMRegressor": ("kernel", "support vectors"),
    "BatchNormalization": ("normalisation", "batch normalisation"),
    "LayerNormalization": ("normalisation", "layer normalisation"),
    "Attention": ("attention", "attention"),
}
_ACTIVATIONS = {
    "Relu": "ReLU",
    "LeakyRelu": "leaky ReLU",
    "PRelu": "PReLU",
    "Elu": "ELU",
    "Selu": "SELU",
    "Gelu": "GELU",
    "Celu": "CELU",
    "Sigmoid": "sigmoid",
    "HardSigmoid": "hard sigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Softmax": "softmax",
    "LogSoftmax": "log-softmax",
    "Clip": "clipped",
}
_POST_TRANSFORMS = {"LOGISTIC": "sigmoid", "SOFTMAX": "softmax", "SOFTMAX_ZERO": "softmax", "PROBIT": "probit"}
_FOLLOWERS = frozenset({"Add", "Sub", "Mul", "Div", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})
_PREPARERS = frozenset({"DynamicQuantizeLinear", "QuantizeLinear", "DequantizeLinear"})


@dataclass(slots=True)
class Layer:
    """A layer: its name, kind, operators in order, and the tensors shown (the last one is its result)."""

    name: str
    kind: str
    operators: tuple[str, ...] = ()
    tensors: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Group:
    """A computing node with what belongs to it; ``end`` is the tensor that it ends in."""

    core: onnx.NodeProto
    nodes: list[onnx.NodeProto]
    end: str
    activation: str = ""


def layers_of(model: onnx.ModelProto) -> list[Layer]:
    """The layers after the input, in order; the last one ends in the graph's score output."""
    graph = model.graph
    output = _main_output(graph)
    needed = _needed(graph, output)
    constants = _constants(graph)
    groups = _groups([node for node in needed if not set(node.output) <= constants], graph, constants)
    if not groups:
        operators = tuple(node.op_type for node in needed)
        return [Layer("output", "output", operators, [output])]
    layers = _before(groups[0], needed, graph, constants)
    layers += _named(groups)
    return _ended(layers, groups, needed, output, constants)


def _main_output(graph: onnx.GraphProto) -> str:
    names = [value.name for value in graph.output]
    if "score" in names:
        return "score"
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE}
    numeric = [value.name for value in graph.output if value.type.tensor_type.elem_type in floats]
    return str((numeric or names)[-1])


def _needed(graph: onnx.GraphProto, output: str) -> list[onnx.NodeProto]:
    """Nodes that the output depends on, in graph order."""
    wanted, kept = {output}, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]


def _constants(graph: onnx.GraphProto) -> set[str]:
    """Tensors that do not depend on the row: weights and what is computed from weights alone."""
    inputs = {value.name for value in graph.input}
    known = {tensor.name for tensor in graph.initializer} | {""}
    inputs -= known
    for node in graph.node:
        if set(node.input) <= known and not (set(node.input) & inputs):
            known |= set(node.output)
    return known


def _is_core(node: onnx.NodeProto) -> bool:
    kind = node.op_type
    return kind in _DENSE or kind in _CONVOLUTION or kind in _POOLING or kind in _RECURRENT or kind in _NAMED


def _groups(nodes: list[onnx.NodeProto], graph: onnx.GraphProto, constants: set[str]) -> list[_Group]:
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in graph.output}
    groups, taken = [], set[int]()
    for node in nodes:
        if _is_core(node) and id(node) not in taken:
            group = _grown(node, readers, outputs, constants)
            taken |= {id(member) for member in group.nodes}
            groups.append(group)
    return groups


def _grown(
    core: onnx.NodeProto, readers: dict[str, list[onnx.NodeProto]], outputs: set[str], constants: set[str]
) -> _Group:
    """Follow the result as long as one node alone reads it, and stop after the activation."""
    scores = core.op_type.endswith("Classifier") and len(core.output) > 1
    group = _Group(core, [core], core.output[1] if scores else core.output[0], _built_in_activation(core))
    while group.end not in outputs and not group.activation:
        following = readers.get(group.end, [])
        if len(following) != 1 or not _belongs(following[0], group.end, constants):
            break
        node = following[0]
        group.nodes.append(node)
        group.end = node.output[0]
        group.activation = _ACTIVATIONS.get(node.op_type, "")
    return group


def _belongs(node: onnx.NodeProto, tensor: str, constants: set[str]) -> bool:
    """An activation, or a simple operator on this tensor and constants (or, after int8, a scale)."""
    if node.op_type in _ACTIVATIONS:
        return True
    others = {name for name in node.input if name != tensor} - constants
    return node.op_type in _FOLLOWERS and all("scale" in name for name in others)


def _built_in_activation(node: onnx.NodeProto) -> str:
    for attribute in node.attribute:
        if attribute.name == "post_transform":
            return _POST_TRANSFORMS.get(attribute.s.decode(), "")
        if attribute.name == "activation":
            return _ACTIVATIONS.get(attribute.s.decode(), "")
    return ""


def _before(first: _Group, needed: list[onnx.NodeProto], graph: onnx.GraphProto, constants: set[str]) -> list[Layer]:
    """What is computed before the first layer: "features", where there is anything."""
    makers = {name: node for node in needed for name in node.output}
    start = next((name for name in first.core.input if name not in constants), "")
    while start in makers and makers[start].op_type in _PREPARERS:
        start = makers[start].input[0]
    if start not in makers or start in {value.name for value in graph.input}:
        return []
    operators = tuple(node.op_type for node in _needed(graph, start) if not set(node.output) <= constants)
    return [Layer("features", "features", operators, [start])] if operators else []


def _named(groups: list[_Group]) -> list[Layer]:
    """Names by kind: the last group is the output, dense ones before it are hidden layers, counted."""
    counts: dict[str, int] = {}
    layers = []
    for group in groups:
        kind, noun = _kind(group.core)
        last = group is groups[-1]
        counts[noun] = counts.get(noun, 0) + 1
        if last and kind in {"dense", "trees", "linear", "kernel"}:
            name, kind = ("output" if noun == "hidden" else f"output: {noun}"), "output"
        else:
            several = noun == "hidden" or sum(_kind(other.core)[1] == noun for other in groups) > 1
            name = f"{noun} {counts[noun]}" if several else noun
        if group.activation:
            name += f" ({group.activation})"
        layers.append(Layer(name, kind, tuple(node.op_type for node in group.nodes), [group.end]))
    return layers


def _kind(node: onnx.NodeProto) -> tuple[str, str]:
    if node.op_type in _DENSE:
        return "dense", "hidden"
    if node.op_type in _CONVOLUTION:
        return "convolution", "convolution"
    if node.op_type in _POOLING:
        return "pooling", _POOLING[node.op_type]
    if node.op_type in _RECURRENT:
        return "recurrent", _RECURRENT[node.op_type]
    return _NAMED[node.op_type]


def _ended(
    layers: list[Layer], groups: list[_Group], needed: list[onnx.NodeProto], output: str, constants: set[str]
) -> list[Layer]:
    """Fold what follows the last layer into the output, so that the trace ends in the graph's own score."""
    grouped = {id(node) for group in groups for node in group.nodes}
    after = list(_after(groups[-1].end, needed, constants, grouped))
    if layers[-1].tensors[-1] == output and not after:
        return layers
    operators = tuple(node.op_type for node in after)
    activation = next((_ACTIVATIONS[name] for name in reversed(operators) if name in _ACTIVATIONS), "")
    if layers[-1].kind == "output":
        layers[-1].operators += operators
        layers[-1].tensors.append(output)
        if activation and "(" not in layers[-1].name:
            layers[-1].name += f" ({activation})"
        return layers
    return [*layers, Layer(f"output ({activation})" if activation else "output", "output", operators, [output])]


def _after(
    start: str, needed: list[onnx.NodeProto], constants: set[str], grouped: set[int]
) -> Iterator[onnx.NodeProto]:
    """Nodes downstream of a tensor that belong to no layer yet."""
    reached = {start}
    for node in needed:
        if id(node) not in grouped and reached & set(node.input) and not set(node.output) <= constants:
            reached |= set(node.output)
            yield node
