"""Models leave their framework as one small ONNX graph: ``X`` float32 [N, inputs] → ``score`` float32 [N, outputs].

In: weight matrices, a LightGBM booster, or a fitted scikit-learn estimator. Out: the bytes of a checked graph with
exactly that input and that output, nodes named so that a trace can be read. Law: the graph computes what the
framework computes, within 1e-5 for probabilities and 1e-5 relative for regression; trees take the very branches
that LightGBM takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from roadworthy.errors import TrainingError
from roadworthy.graphs.join import MATRIX, SCORE
from roadworthy.records.project import Task
from roadworthy.transforms.onnx_builder import IR_VERSION, ML_OPSET, OPSET

__all__ = [
    "ML_OPSET",
    "OPSET",
    "booster_graph",
    "check_graph",
    "dense_graph",
    "estimator_graph",
    "outputs_of",
    "single_floor",
]

_ML = "ai.onnx.ml"
_ZERO = np.float32(1e-35)  # LightGBM's kZeroThreshold
_SQUASH = {Task.BINARY: "Sigmoid", Task.MULTICLASS: "Softmax"}


def outputs_of(task: Task, classes: int) -> int:
    """Columns of ``score``: the classes of a multiclass task, else 1."""
    return classes if task is Task.MULTICLASS else 1


def dense_graph(layers: Sequence[tuple[NDArray[Any], NDArray[Any]]], task: Task) -> bytes:
    """A network of dense layers: ReLU after each but the last, then sigmoid, softmax or nothing by task.

    ``layers`` are pairs of weights [in, out] and biases [out]; they are rounded to float32 here.
    """
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    flow = MATRIX
    for number, (weights, bias) in enumerate(layers, start=1):
        last = number == len(layers)
        name = "output" if last else f"hidden_{number}"
        constants += [_tensor(f"{name}_weights", weights), _tensor(f"{name}_bias", bias)]
        squash = _SQUASH.get(task) if last else "Relu"
        linear = f"{name}_linear" if squash else SCORE
        inputs = [flow, f"{name}_weights", f"{name}_bias"]
        nodes.append(helper.make_node("Gemm", inputs, [linear], name=f"{name}/linear"))
        if squash:
            flow = SCORE if last else f"{name}_{squash.lower()}"
            nodes.append(helper.make_node(squash, [linear], [flow], name=f"{name}/{squash.lower()}"))
    return _finished(nodes, constants, inputs=len(layers[0][0]), outputs=len(layers[-1][1]))


def single_floor(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The greatest single-precision number that is not above each value, as a double.

    For any single-precision ``x``: ``x <= t`` exactly when ``x <= single_floor(t)``, so that trees compared in
    single precision take the branches that they take in double precision.
    """
    with np.errstate(over="ignore"):
        rounded = np.asarray(values, dtype=np.float64).astype(np.float32)
    above = rounded.astype(np.float64) > values
    return np.where(above, np.nextafter(rounded, np.float32(-np.inf)), rounded).astype(np.float64)


def booster_graph(booster: Any, task: Task, *, inputs: int, mean: float = 0.0, deviation: float = 1.0) -> bytes:
    """A LightGBM booster as one tree ensemble and, for classes, a sigmoid or softmax.

    A regression booster was trained on ``(y - mean) / deviation``; the graph answers in ``y``'s own units.
    ``booster`` may not split on categories or missing values (inputs are numbers, never NaN).
    """
    import lightgbm  # noqa: PLC0415  # half a second, needed only where a booster is exported
    from onnxmltools.convert import convert_lightgbm  # noqa: PLC0415  # the same
    from onnxmltools.convert.common.data_types import FloatTensorType  # noqa: PLC0415  # the same

    rounded = lightgbm.Booster(model_str=_with_single_thresholds(booster.model_to_string()))
    converted = convert_lightgbm(
        rounded, initial_types=[(MATRIX, FloatTensorType([None, inputs]))], zipmap=False, target_opset=15
    )
    trees = [node for node in converted.graph.node if node.op_type.startswith("TreeEnsemble")]
    if len(trees) != 1:
        raise TrainingError(f"the converted booster has {len(trees)} tree ensembles, expected 1")
    squash = _SQUASH.get(task)
    rest: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    margin = "margin"
    if squash:
        rest.append(helper.make_node(squash, [margin], [SCORE], name=f"output/{squash.lower()}"))
    else:
        constants = [_tensor("target_deviation", np.asarray(deviation)), _tensor("target_mean", np.asarray(mean))]
        rest += [
            helper.make_node("Mul", [margin, "target_deviation"], ["scaled"], name="output/scale"),
            helper.make_node("Add", ["scaled", "target_mean"], [SCORE], name="output/shift"),
        ]
    outputs = booster.num_model_per_iteration()
    ensemble = _as_margin(trees[0], margin, outputs)
    return _finished([ensemble, *rest], constants, inputs=inputs, outputs=outputs)


def _with_single_thresholds(text: str) -> str:
    """LightGBM's model text with other thresholds; without ``tree_sizes``, which would no longer be true.

    LightGBM reads an input within ±1e-35 as 0, so a threshold in there is moved out of it, away from 0.
    """
    lines = [line for line in text.split("\n") if not line.startswith("tree_sizes=")]
    for at, line in enumerate(lines):
        if line.startswith("threshold=") and len(line) > len("threshold="):
            values = np.array(line.removeprefix("threshold=").split(" "), dtype=np.float64)
            lines[at] = "threshold=" + " ".join(repr(float(value)) for value in _outside_zero(single_floor(values)))
    return "\n".join(lines)


def _outside_zero(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    below = float(np.nextafter(-_ZERO, np.float32(-np.inf)))
    within = np.abs(thresholds) <= float(_ZERO)
    return np.where(within, np.where(thresholds < 0, below, float(_ZERO)), thresholds)


def _as_margin(node: onnx.NodeProto, output: str, outputs: int) -> onnx.NodeProto:
    """The ensemble as a plain sum of leaves: no labels, no squashing, ``output`` float32 [N, outputs]."""
    made = helper.make_node("TreeEnsembleRegressor", [MATRIX], [output], name="trees", domain=_ML)
    for attribute in node.attribute:
        renamed = onnx.AttributeProto()
        renamed.CopyFrom(attribute)
        if attribute.name.startswith("class_"):
            renamed.name = "target_" + attribute.name.removeprefix("class_")
        elif not attribute.name.startswith(("nodes_", "target_", "base_values")):
            continue
        made.attribute.append(renamed)
    made.attribute.append(helper.make_attribute("n_targets", outputs))
    made.attribute.append(helper.make_attribute("post_transform", "NONE"))
    made.attribute.append(helper.make_attribute("aggregate_function", "SUM"))
    return _once(made)


def _once(node: onnx.NodeProto) -> onnx.NodeProto:
    """The node with each attribute once: what was set last stands."""
    kept = {attribute.name: attribute for attribute in node.attribute}
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    del copy.attribute[:]
    copy.attribute.extend(kept.values())
    return copy


def estimator_graph(estimator: Any, task: Task, *, inputs: int, classes: int) -> bytes:
    """A fitted scikit-learn estimator or pipeline by way of skl2onnx.

    For classes the estimator has ``predict_proba``, and its ``classes_`` are class codes (a class that it never
    saw gets probability 0). Raises TrainingError naming what is missing or what skl2onnx cannot convert.
    """
    from skl2onnx import to_onnx  # noqa: PLC0415  # a second, needed only for the user's own estimators
    from skl2onnx.common.data_types import FloatTensorType  # noqa: PLC0415  # the same

    kind = type(estimator).__name__
    options = None if task is Task.REGRESSION else {id(estimator): {"zipmap": False}}
    try:
        converted = to_onnx(
            estimator,
            initial_types=[(MATRIX, FloatTensorType([None, inputs]))],
            options=options,
            target_opset={"": OPSET, _ML: ML_OPSET},
        )
    except Exception as error:  # the converter raises many kinds; all mean the same to the user
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TrainingError(f"{kind} cannot be exported to ONNX: {reason}") from error
    graph = converted.graph
    nodes, constants = list(graph.node), list(graph.initializer)
    if task is Task.REGRESSION:
        shape = _tensor("score_shape", np.asarray([-1, 1]), dtype=np.int64)
        nodes.append(helper.make_node("Reshape", [graph.output[0].name, shape.name], [SCORE], name="output/reshape"))
        constants.append(shape)
    else:
        seen = np.asarray(estimator.classes_, dtype=np.int64)
        picked = np.zeros((len(seen), classes), dtype=np.float32)
        picked[np.arange(len(seen)), seen] = 1.0
        if task is Task.BINARY:
            picked = picked[:, 1:]
        constants.append(_tensor("class_columns", picked))
        nodes.append(
            helper.make_node("MatMul", [graph.output[1].name, "class_columns"], [SCORE], name="output/class_columns")
        )
    nodes, constants = _reachable(nodes, constants)
    return _finished(nodes, constants, inputs=inputs, outputs=outputs_of(task, classes), imports=converted.opset_import)


def _reachable(
    nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Only what ``score`` depends on: label outputs and what made them go."""
    needed, kept = {SCORE}, []
    for node in reversed(nodes):  # nodes stand in topological order
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    return kept[::-1], [tensor for tensor in constants if tensor.name in needed]


def check_graph(content: bytes, *, inputs: int, outputs: int) -> None:
    """Whether a graph keeps the shape that the joined graph relies on; raises TrainingError saying where not."""
    try:
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and checker errors share no parent
        raise TrainingError(f"the candidate's ONNX graph is invalid: {str(error).strip()[:200]}") from error
    constants = {tensor.name for tensor in model.graph.initializer}
    for what, values, name, width in (
        ("input", [value for value in model.graph.input if value.name not in constants], MATRIX, inputs),
        ("output", list(model.graph.output), SCORE, outputs),
    ):
        found = ", ".join(_described(value) for value in values) or "none"
        wanted = f"{name} float32 [N, {width}]"
        if len(values) != 1 or values[0].name != name or not _is_matrix(values[0], width):
            raise TrainingError(f"the candidate's ONNX graph has the {what} {found}; expected {wanted}")


def _is_matrix(value: onnx.ValueInfoProto, width: int) -> bool:
    tensor = value.type.tensor_type
    sizes = tensor.shape.dim
    return tensor.elem_type == TensorProto.FLOAT and len(sizes) == 2 and sizes[1].dim_value in {0, width}


def _described(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    sizes = ", ".join(str(size.dim_value or size.dim_param or "?") for size in tensor.shape.dim)
    return f"{value.name} {TensorProto.DataType.Name(tensor.elem_type).lower()} [{sizes}]"


def _tensor(name: str, values: NDArray[Any], dtype: type[np.generic] = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(values, dtype=dtype), name)


def _finished(
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto],
    *,
    inputs: int,
    outputs: int,
    imports: Iterable[onnx.OperatorSetIdProto] = (),
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info(MATRIX, TensorProto.FLOAT, ["N", inputs])],
        [helper.make_tensor_value_info(SCORE, TensorProto.FLOAT, ["N", outputs])],
        initializer=constants,
    )
    domains = {node.domain for node in nodes}
    versions = {"": OPSET, _ML: ML_OPSET} | {entry.domain: entry.version for entry in imports}
    used = [helper.make_opsetid(domain, version) for domain, version in versions.items() if domain in domains | {""}]
    model = helper.make_model(graph, opset_imports=used, ir_version=IR_VERSION, producer_name="roadworthy")
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    check_graph(content, inputs=inputs, outputs=outputs)
    return content
