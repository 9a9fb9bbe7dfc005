"""One prediction, layer by layer, from the graph itself.

In: any ONNX graph as bytes and the feed of one row. Out: a ``Trace``: the input, the features, each layer with
its activation, the output, each with a bounded view of its values. Laws: the last layer's values are the graph's
own output; nothing about the graph has to be known beforehand; a trace's size does not grow with the graph's
weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from roadworthy.errors import ModelError
from roadworthy.graphs.layers import Layer, layers_of
from roadworthy.graphs.loading import load_graph
from roadworthy.graphs.runner import RUN_ERRORS, open_session

__all__ = ["Trace", "TraceLayer", "trace", "with_decision"]

_SHOWN = 16


class TraceLayer(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the prediction.

    ``kind`` is input, features, dense, convolution, pooling, trees, linear, transform, output or decision.
    ``shape`` is the array's own; ``values`` are its first 16 numbers or texts (null: missing), with ``labels``
    where they have names. ``lowest``, ``mean``, ``highest`` and ``zeros`` (share of exact zeros) are over all
    ``count`` of them, None for texts. ``nodes`` are the operators inside, in order.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    count: int
    values: tuple[float | str | None, ...]
    labels: tuple[str, ...] = ()
    lowest: float | None = None
    mean: float | None = None
    highest: float | None = None
    zeros: float | None = None
    nodes: tuple[str, ...] = ()


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """The layers of one prediction, input first."""

    layers: tuple[TraceLayer, ...]


def trace(content: bytes, feed: Mapping[str, NDArray[Any]]) -> Trace:
    """Run one row and show every layer. Raises ModelError when the graph or the feed is invalid.

    ``feed`` maps the graph's inputs to arrays of one row, as ``GraphModel.feed`` makes them. The graph runs
    unoptimised with the inner results as outputs; its arithmetic is the same.
    """
    model = load_graph(content)
    plan = layers_of(model)
    wanted = list(dict.fromkeys(tensor for layer in plan for tensor in layer.tensors))
    own = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in wanted if tensor not in own)
    session = open_session(model.SerializeToString(), optimise=False)
    try:
        found = dict(zip(wanted, session.run(wanted, dict(feed)), strict=True))
    except RUN_ERRORS as error:
        raise ModelError(f"the graph cannot be traced on this row: {str(error).splitlines()[0]}") from error
    shown = [_shown(layer, [found[tensor] for tensor in layer.tensors]) for layer in plan]
    return Trace(layers=(_input_layer(feed), *shown))


def with_decision(
    trace: Trace, score: float | Sequence[float] | NDArray[np.float64], threshold: float | None, classes: Sequence[str]
) -> Trace:
    """The trace with the decision as its last layer.

    Binary: ``score`` is the probability of the positive class ``classes[1]``, positive from ``threshold`` on.
    Multiclass (``threshold`` None, several scores): the class of the highest. Regression (no classes): the score.
    """
    answer: float | str
    scores = [float(value) for value in np.atleast_1d(np.asarray(score, dtype=np.float64))]
    if not classes:
        name = "decision (the estimate itself)"
        answer = scores[0]
    elif threshold is not None and len(scores) == 1:
        positive = scores[0] >= threshold
        relation = "≥" if positive else "<"
        answer = classes[1] if positive else classes[0]
        name = f"decision ({scores[0]:.4f} {relation} {threshold:.4f})"
    else:
        answer = classes[int(np.argmax(scores))]
        name = "decision (highest score)"
    layer = TraceLayer(name=name, kind="decision", shape=(1,), count=1, values=(answer,))
    return Trace(layers=(*trace.layers, layer))


def _input_layer(feed: Mapping[str, NDArray[Any]]) -> TraceLayer:
    """The row as fed: by column where there are many inputs, as it is where there is one tensor."""
    if len(feed) == 1:
        name, array = next(iter(feed.items()))
        if array.size > 1:
            return _summary(TraceLayer(name="input", kind="input", shape=array.shape, count=0, values=()), array)
        return TraceLayer(
            name="input", kind="input", shape=array.shape, count=1, values=_cells([array]), labels=(name,)
        )
    columns = [name for name in feed if not (name.endswith(".missing") and name[: -len(".missing")] in feed)]
    values: list[float | str | None] = []
    for name in columns[:_SHOWN]:
        mask = feed.get(f"{name}.missing")
        absent = mask is not None and bool(np.asarray(mask).flat[0])
        values.append(None if absent else _cells([feed[name]])[0])
    return TraceLayer(
        name="input",
        kind="input",
        shape=(len(columns),),
        count=len(columns),
        values=tuple(values),
        labels=tuple(columns[:_SHOWN]),
    )


def _shown(layer: Layer, found: Sequence[Any]) -> TraceLayer:
    bare = TraceLayer(name=layer.name, kind=layer.kind, shape=(), count=0, values=(), nodes=layer.operators)
    value = found[-1]
    if isinstance(value, list):  # a sequence of maps: label → probability
        pairs = sorted(value[0].items()) if value and isinstance(value[0], dict) else []
        array = np.array([pair[1] for pair in pairs])
        labelled = msgspec.structs.replace(bare, labels=tuple(str(pair[0]) for pair in pairs[:_SHOWN]))
        return _summary(labelled, array)
    return _summary(bare, np.asarray(value))


def _summary(layer: TraceLayer, array: NDArray[Any]) -> TraceLayer:
    """The layer with a bounded view of an array's values."""
    filled = msgspec.structs.replace(
        layer, shape=tuple(int(size) for size in array.shape), count=int(array.size), values=_cells([array.ravel()])
    )
    if array.dtype.kind not in "fiub" or array.size == 0:
        return filled
    numbers = array.astype(np.float64).ravel()
    return msgspec.structs.replace(
        filled,
        lowest=_finite(numbers.min()),
        mean=_finite(numbers.mean()),
        highest=_finite(numbers.max()),
        zeros=float(np.mean(numbers == 0)),
    )


def _cells(arrays: Sequence[NDArray[Any]]) -> tuple[float | str | None, ...]:
    return tuple(_cell(value) for array in arrays for value in array.ravel()[:_SHOWN])


def _cell(value: Any) -> float | str | None:
    if isinstance(value, str | bytes):
        return value if isinstance(value, str) else value.decode(errors="replace")
    return _finite(float(value))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
