"""A graph that others made becomes one graph in our form: the contract's columns in, ``score`` out.

In: an ``Export``, what the contract says of each column that it takes, how its outputs are read. Out: the bytes of a
checked graph (docs/architecture.md, "The graph"). Laws: the model itself is not touched, only fed and read; a missing
value enters as NaN where the column may be missing, and as a stand-in that the model knows elsewhere: no sound row has
one there, but made-up rows do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper, version_converter

from roadworthy.errors import ModelError, Problem
from roadworthy.graphs.foreign import Export
from roadworthy.graphs.join import SCORE
from roadworthy.graphs.loading import load_graph
from roadworthy.graphs.readings import Reading, read_as
from roadworthy.records.contract import ColumnType
from roadworthy.transforms.onnx_builder import OPSET, OnnxBuilder, Pair, input_dtype

__all__ = ["FLOATS", "Fed", "adopted", "feeds"]

FLOATS = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16})
_MASK = ".missing"
_OLDEST = 13  # since then the operators that feed and read a model mean the same


@dataclass(frozen=True, slots=True)
class Fed:
    """A column as the contract has it; ``missing``: it may be missing, and the model takes that as NaN.

    ``stand_in`` is what the model gets in place of a missing value that it has no word for; None: 0 or "".
    """

    name: str
    type: ColumnType
    missing: bool
    stand_in: str | float | None = None


@dataclass(frozen=True, slots=True)
class _Input:
    """One input of the model: its element type, and its sizes beyond the rows."""

    name: str
    kind: int
    sizes: tuple[int, ...]


def feeds(export: Export) -> dict[str, int]:
    """The element type (``TensorProto``) that each column enters the model as; text columns with levels are strings.

    Raises ModelError for a model that takes only so many rows at a time.
    """
    inputs = _inputs(export)
    if export.named:
        kinds = {one.name: one.kind for one in inputs}
        return {name: kinds[name] for name in export.columns}
    return {name: TensorProto.STRING if name in export.levels else inputs[0].kind for name in export.columns}


def adopted(export: Export, columns: Sequence[Fed], reading: Reading) -> bytes:
    """The graph; ``columns`` are those of ``export``, in any order.

    Raises ModelError where the model cannot be joined with what feeds it.
    """
    inputs = _inputs(export)
    fed = {one.name: one for one in columns}
    front, given = _front(export, [fed[name] for name in export.columns], inputs)
    taken = {name for one in columns for name in (one.name, one.name + _MASK)}
    prefix = "model/"
    while any(name.startswith(prefix) for name in taken):
        prefix = "model" + prefix
    inner = compose.add_prefix(_recent(export.model), prefix)
    into = {one.name: _shaped(inner.graph, prefix + one.name, one) for one in inputs}
    _align(front, inner)
    try:
        whole = compose.merge_models(
            front, inner, io_map=[(own, into[name]) for own, name in given], producer_name="roadworthy"
        )
        score = prefix + SCORE if SCORE in taken else SCORE
        read_as(whole, prefix + export.output, reading, export.width, score)
        onnx.checker.check_model(whole)
    except (ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"the model's graph cannot be joined with its columns: {_first(error)}") from error
    content: bytes = whole.SerializeToString(deterministic=True)
    load_graph(content, where="the packaged graph")
    return content


def _inputs(export: Export) -> list[_Input]:
    graph = export.model.graph
    weights = {tensor.name for tensor in graph.initializer}
    found, problems = [], []
    for value in graph.input:
        if value.name in weights:
            continue
        shape = value.type.tensor_type.shape.dim
        if shape and shape[0].dim_value > 0:
            problems.append(Problem(f"{shape[0].dim_value} rows at a time", where=f"input {value.name}"))
        sizes = tuple(int(size.dim_value) for size in shape[1:])
        found.append(_Input(value.name, int(value.type.tensor_type.elem_type), sizes))
    if problems:
        raise ModelError(
            "the model takes a fixed number of rows, and a server is asked for any number",
            problems=problems,
            next_step="export it again with a batch size that is left open (a dynamic axis)",
        )
    return found


def _front(
    export: Export, columns: Sequence[Fed], inputs: Sequence[_Input]
) -> tuple[onnx.ModelProto, list[tuple[str, str]]]:
    """The graph from columns to what the model takes, and which of its outputs goes into which input."""
    builder = OnnxBuilder()
    given = []
    if export.named:
        masks = {one.name for one in inputs if one.name.removesuffix(_MASK) in export.columns} - set(export.columns)
        by_name = {one.name: one for one in columns}
        for place, one in enumerate(inputs):
            column = by_name[one.name.removesuffix(_MASK) if one.name in masks else one.name]
            flow = _named(builder, column, one, mask=one.name in masks)
            builder.output(f"/fed/{place}", flow, one.kind)
            given.append((f"/fed/{place}", one.name))
    else:
        kind = inputs[0].kind
        builder.output("/fed/0", _matrix(builder, export, columns, kind), kind, width=len(columns))
        given.append(("/fed/0", inputs[0].name))
    return builder.model(), given


def _named(builder: OnnxBuilder, column: Fed, one: _Input, *, mask: bool) -> str:
    pair = builder.input_column(column.name, column.type)
    if mask:
        return pair.missing
    flow = _filled(builder, column, pair)
    if input_dtype(column.type) != one.kind:
        flow = builder.node("Cast", [flow], to=one.kind)
    if one.kind in FLOATS and column.missing:
        flow = builder.node("Where", [pair.missing, builder.constant(float("nan"), dtype=one.kind), flow])
    return flow


def _matrix(builder: OnnxBuilder, export: Export, columns: Sequence[Fed], kind: int) -> str:
    """All columns as one matrix of ``kind``, put together in double; contract integers are exact in it."""
    values, masks = [], []
    for column in columns:
        pair = builder.input_column(column.name, column.type)
        masks.append(pair.missing)
        flow = _filled(builder, column, pair)
        if column.name in export.levels:
            flow = _codes(builder, flow, export.levels[column.name])
        elif input_dtype(column.type) != TensorProto.DOUBLE:
            flow = builder.node("Cast", [flow], to=TensorProto.DOUBLE)
        values.append(flow)
    matrix = values[0] if len(values) == 1 else builder.node("Concat", values, axis=1)
    allowed = np.array([[column.missing for column in columns]])
    if allowed.any():
        mask = masks[0] if len(masks) == 1 else builder.node("Concat", masks, axis=1)
        if not allowed.all():
            mask = builder.node("And", [mask, builder.constant(allowed)])
        matrix = builder.node("Where", [mask, builder.constant(float("nan")), matrix])
    return matrix if kind == TensorProto.DOUBLE else builder.node("Cast", [matrix], to=kind)


def _filled(builder: OnnxBuilder, column: Fed, pair: Pair) -> str:
    """The value, and the stand-in where it is missing."""
    if column.missing or column.stand_in is None:
        return pair.value
    text = isinstance(column.stand_in, str)
    known = builder.constant(column.stand_in, dtype=None if text else input_dtype(column.type))
    return builder.node("Where", [pair.missing, known, pair.value])


def _codes(builder: OnnxBuilder, text: str, levels: Sequence[str]) -> str:
    """Double [N, 1]: the place of the text among the levels, NaN for another."""
    code = builder.node(
        "LabelEncoder",
        [text],
        domain="ai.onnx.ml",
        keys_strings=list(levels),
        values_floats=[float(place) for place in range(len(levels))],
        default_float=math.nan,
    )
    return builder.node("Cast", [code], to=TensorProto.DOUBLE)


def _recent(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model at operator set 13 or newer. Raises ModelError where it cannot be raised."""
    version = _opset(model)
    if version >= _OLDEST:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except RuntimeError as error:
        raise ModelError(
            f"the model is written for operator set {version}, and cannot be raised to {OPSET}: {_first(error)}",
            next_step=f"export it again for operator set {_OLDEST} or newer",
        ) from error


def _opset(model: onnx.ModelProto) -> int:
    return max((one.version for one in model.opset_import if one.domain in {"", "ai.onnx"}), default=OPSET)


def _align(front: onnx.ModelProto, model: onnx.ModelProto) -> None:
    """What feeds a model is declared for its operator sets; it means the same in each of them."""
    imports = {("" if one.domain == "ai.onnx" else one.domain): one.version for one in model.opset_import}
    for part in (front, model):
        del part.opset_import[:]
        part.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in imports.items())
        part.ir_version = max(front.ir_version, model.ir_version)


def _shaped(graph: onnx.GraphProto, name: str, one: _Input) -> str:
    """The name under which an input takes [N, k], whatever its own shape is."""
    if len(one.sizes) == 1:
        return name
    value = next(value for value in graph.input if value.name == name)
    width = math.prod(one.sizes)
    value.CopyFrom(helper.make_tensor_value_info(f"{name}/flat", one.kind, ["N", width or None]))
    shape = numpy_helper.from_array(np.array([-1, *one.sizes], dtype=np.int64), f"{name}/shape")
    graph.initializer.append(shape)
    graph.node.insert(0, helper.make_node("Reshape", [f"{name}/flat", shape.name], [name], name=f"{name}/reshape"))
    return f"{name}/flat"


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
