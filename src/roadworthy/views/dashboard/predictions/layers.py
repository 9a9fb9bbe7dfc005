"""The trace of one prediction, layer by layer, as its graph computes it.

In: an ``Opened`` row. Out: ``Layers``, drawn as small bars where a layer is numbers. Laws: the values are the graph's
own, computed now from the logged row; whether its score is the logged one is said; the past that a feature saw is taken
as it was logged.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.formats import wording
from roadworthy.graphs.trace import Trace, TraceLayer, trace, with_decision
from roadworthy.views.dashboard.predictions.logged import Opened

__all__ = ["Bar", "Layer", "Layers", "layers_of"]

BAR, GAP, TALL = 12, 4, 40
"""Width, space and greatest height of a bar, in pixels."""
_TOLERANCE = 1e-3  # the log and this machine may differ by rounding, as golden rows may


class Bar(msgspec.Struct, frozen=True):
    """One number of a layer as a bar."""

    x: int
    y: float
    height: float
    below: bool


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One step: its kind in a word, its values (name, value), its figures, its bars.

    ``more`` values are not listed; ``middle`` is the height of zero among the bars.
    """

    name: str
    kind: str
    size: str
    values: tuple[tuple[str, str], ...]
    more: int
    figures: str
    nodes: str
    bars: tuple[Bar, ...]
    middle: float
    width: int


class Layers(msgspec.Struct, frozen=True, kw_only=True):
    """The trace. ``agrees``: the score that came out now is the one that was logged; ``sentence`` says so.

    ``bar`` is the width of a bar and ``tall`` the greatest height, in pixels.
    """

    layers: tuple[Layer, ...]
    agrees: bool
    sentence: str
    tall: int = TALL
    bar: int = BAR


def layers_of(opened: Opened, logged: Sequence[float]) -> Layers:
    """The trace of a row whose logged scores are ``logged``; ModelError where the graph cannot be followed."""
    found, scores = _traced(opened)
    agrees = len(logged) == len(scores) and bool(
        np.all(np.abs(np.asarray(logged) - scores) <= _TOLERANCE * np.maximum(1.0, np.abs(scores)))
    )
    hidden = set(opened.contract.personal)
    now = wording.number(float(scores.max()), 4)
    sentence = (
        f"Computed again from the logged values: the same score as was answered, {now}."
        if agrees
        else f"Computed again from the logged values, the score is {now}; the log says "
        f"{wording.number(max(logged, default=None), 4)}. Something that the answer rested on was not logged, or the "
        "graph ran on another machine."
    )
    return Layers(layers=tuple(_layer(one, hidden) for one in found.layers), agrees=agrees, sentence=sentence)


def _traced(opened: Opened) -> tuple[Trace, NDArray[np.float64]]:
    contract, graph = opened.contract, opened.graph
    traced = trace(graph.content, graph.feed(opened.table))
    scores = np.atleast_1d(np.asarray(graph.score(opened.table)[0], dtype=np.float64))
    return with_decision(traced, scores.tolist(), contract.threshold, contract.classes), scores


def _layer(layer: TraceLayer, hidden: set[str]) -> Layer:
    names = layer.labels or tuple("" for _ in layer.values)
    values = tuple(
        (name, _hash(value) if name in hidden and value is not None else _value(value))
        for name, value in zip(names, layer.values, strict=False)
    )
    numbers = [value for value in layer.values if isinstance(value, float | int)]
    drawn = len(numbers) == len(layer.values) > 1 and layer.kind != "input"
    bars, middle = _bars(numbers) if drawn else ((), 0.0)
    return Layer(
        name=layer.name,
        kind=layer.kind,
        size=" × ".join(map(str, layer.shape)) or "1",
        values=values,
        more=max(0, layer.count - len(layer.values)),
        figures=_figures(layer),
        nodes=", ".join(layer.nodes),
        bars=bars,
        middle=middle,
        width=len(bars) * (BAR + GAP),
    )


def _bars(numbers: Sequence[float]) -> tuple[tuple[Bar, ...], float]:
    top, bottom = max(0.0, *numbers), min(0.0, *numbers)
    scale = TALL / (top - bottom) if top > bottom else 0.0
    middle = round(top * scale, 2)
    made = []
    for place, value in enumerate(numbers):
        height = round(max(abs(value) * scale, 1.0), 2)
        made.append(Bar(place * (BAR + GAP), middle if value < 0 else round(middle - height, 2), height, value < 0))
    return tuple(made), middle


def _figures(layer: TraceLayer) -> str:
    if layer.lowest is None or layer.highest is None or layer.count < 2:
        return ""
    zeros = f", {wording.number(100 * layer.zeros, 2)} % zeros" if layer.zeros else ""
    return (
        f"{wording.number(layer.lowest)} to {wording.number(layer.highest)}, mean {wording.number(layer.mean)}{zeros}"
    )


def _value(value: float | str | None) -> str:
    if value is None:
        return "missing"
    return value if isinstance(value, str) else f"{value:.5g}".replace("-", "−")


def _hash(value: float | str) -> str:
    return f"#{value}"
