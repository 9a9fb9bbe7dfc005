"""Joins the feature graph and the model graph into one graph from the cleaned row to the score.

In: two checked graphs, the first ending in the matrix ``X``, the second starting from it. Out: one graph whose
inputs are the first one's and whose output is the second one's. Law: the joined graph computes exactly the
composition of the two.
"""

from __future__ import annotations

import onnx
from onnx import compose, version_converter

from roadworthy.errors import ModelError

__all__ = ["MATRIX", "SCORE", "join"]

MATRIX = "X"
"""The matrix that the model starts from: float32 [N, inputs]."""

SCORE = "score"
"""The one output: float32 [N, 1 or classes]. Where a column holds this name already, ``model/score``."""

_ML = "ai.onnx.ml"
_DEPRECATED_FROM_ML5 = frozenset({"TreeEnsembleClassifier", "TreeEnsembleRegressor"})


def join(front: onnx.ModelProto, model: onnx.ModelProto) -> onnx.ModelProto:
    """One graph, raw columns → ``score``.

    ``front`` has one output, the matrix float32 [N, d]; ``model`` one input ``X`` and an output ``score``. Names
    inside ``model`` get a prefix that no name of ``front`` starts with; the matrix keeps its name so that a trace
    can show it. Operator sets are raised to the newer of the two. Raises ModelError when the two do not meet.
    """
    matrix = _matrix(front, model)
    front, model = _aligned(front, model)
    prefix = _free_prefix(front)
    named = compose.add_prefix(model, prefix)
    try:
        joined = compose.merge_models(
            front,
            named,
            io_map=[(matrix, prefix + MATRIX)],
            outputs=[prefix + SCORE],
            producer_name="roadworthy",
        )
    except (ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"the feature graph and the model graph do not join: {error}") from error
    _rename_output(joined, prefix + SCORE)
    try:
        joined = onnx.shape_inference.infer_shapes(joined, check_type=True, strict_mode=False)
        onnx.checker.check_model(joined)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the joined graph is invalid: {str(error).strip().splitlines()[0]}") from error
    return joined


def _matrix(front: onnx.ModelProto, model: onnx.ModelProto) -> str:
    """The name of the feature graph's matrix, after checking that the two graphs meet there."""
    if len(front.graph.output) != 1:
        names = [output.name for output in front.graph.output]
        raise ModelError(f"the feature graph has outputs {names}, expected one, the matrix")
    constants = {tensor.name for tensor in model.graph.initializer}
    wanted = {value.name: value for value in model.graph.input if value.name not in constants}
    if set(wanted) != {MATRIX}:
        raise ModelError(f"the model graph has inputs {sorted(wanted)}, expected only {MATRIX!r}")
    if SCORE not in {output.name for output in model.graph.output}:
        raise ModelError(f"the model graph has no output {SCORE!r}")
    width, expected = _width(front.graph.output[0]), _width(wanted[MATRIX])
    if width and expected and width != expected:
        raise ModelError(f"the features are {width} columns wide, the model expects {expected}")
    return str(front.graph.output[0].name)


def _width(value: onnx.ValueInfoProto) -> int:
    """The number of columns of a matrix, 0 when the graph leaves it open."""
    sizes = value.type.tensor_type.shape.dim
    return int(sizes[1].dim_value) if len(sizes) == 2 else 0


def _aligned(front: onnx.ModelProto, model: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Both graphs at the same operator sets and the same IR version."""
    version = max(_opset(front, ""), _opset(model, ""))
    front, model = _raised(front, version), _raised(model, version)
    ml = max(_opset(front, _ML), _opset(model, _ML))
    for part in (front, model):
        _set_ml(part, ml)
        part.ir_version = max(front.ir_version, model.ir_version)
    return front, model


def _opset(model: onnx.ModelProto, domain: str) -> int:
    names = {"", "ai.onnx"} if domain == "" else {domain}
    return max((entry.version for entry in model.opset_import if entry.domain in names), default=0)


def _raised(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if _opset(model, "") in {0, version}:
        return copy
    try:
        return version_converter.convert_version(copy, version)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"a graph cannot be raised to operator set {version}: {reason}") from error


def _set_ml(model: onnx.ModelProto, version: int) -> None:
    """Declare the machine-learning operator set, where raising it changes no operator in use."""
    own = _opset(model, _ML)
    used = {node.op_type for node in model.graph.node if node.domain == _ML}
    if own and own != version:
        if own < 2 <= version and "LabelEncoder" in used:
            raise ModelError(f"a graph uses LabelEncoder of {_ML} {own}, which changed before {version}")
        if version >= 5 and used & _DEPRECATED_FROM_ML5:
            raise ModelError(
                f"a graph uses {', '.join(sorted(used & _DEPRECATED_FROM_ML5))}, gone from {_ML} {version}"
            )
        for entry in model.opset_import:
            if entry.domain == _ML:
                entry.version = version


def _free_prefix(front: onnx.ModelProto) -> str:
    names = {name for node in front.graph.node for name in (*node.input, *node.output, node.name)}
    names |= {value.name for value in front.graph.input} | {tensor.name for tensor in front.graph.initializer}
    prefix = "model/"
    while any(name.startswith(prefix) for name in names):
        prefix = "model" + prefix
    return prefix


def _rename_output(model: onnx.ModelProto, old: str) -> None:
    """Give the output its public name; an inner tensor of that name gives way, a column does not."""
    if SCORE in {value.name for value in model.graph.input}:
        return
    _rename(model.graph, SCORE, SCORE + "/inner")
    _rename(model.graph, old, SCORE)


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
    for value in (*graph.output, *graph.value_info, *graph.initializer):
        if value.name == old:
            value.name = new
