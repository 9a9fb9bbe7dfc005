"""The pieces that several charts are made of: axes, reference lines, the chance line, series with dashes.

In: rows and references. Out: Altair layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from roadworthy.measures.charts.data import is_number, labels
from roadworthy.measures.charts.theme import DASHES, GREEN, INK, MUTED, PAPER, SERIES, SHAPES, Reference

__all__ = ["across", "diagonal", "noted", "palette", "sized", "source", "upright", "x_axis", "y_axis"]


def source(rows: list[dict[str, Any]]) -> alt.InlineData:
    """Rows inside the chart itself."""
    return alt.InlineData(values=rows)


def x_axis(field: str, title: str, *, domain: list[float] | None = None, zero: bool = False, **axis: Any) -> alt.X:
    """A quantitative axis along the bottom."""
    scale = alt.Scale(domain=domain, nice=False, zero=False) if domain else alt.Scale(zero=zero, nice=True)
    return alt.X(f"{field}:Q", title=title or None, scale=scale, axis=alt.Axis(**axis))


def y_axis(field: str, title: str, *, domain: list[float] | None = None, zero: bool = False, **axis: Any) -> alt.Y:
    """A quantitative axis, its title lying flat above it."""
    scale = alt.Scale(domain=domain, nice=False, zero=False) if domain else alt.Scale(zero=zero, nice=True)
    return alt.Y(f"{field}:Q", title=title or None, scale=scale, axis=alt.Axis(**axis))


def palette(names: Sequence[str]) -> dict[str, Any]:
    """Colour, dash and shape scales for named series: no series is told by colour alone."""
    turns = range(len(names))
    return {
        "color": alt.Scale(domain=list(names), range=[SERIES[i % len(SERIES)] for i in turns]),
        "dash": alt.Scale(domain=list(names), range=[DASHES[i % len(DASHES)] for i in turns]),
        "shape": alt.Scale(domain=list(names), range=[SHAPES[i % len(SHAPES)] for i in turns]),
    }


def diagonal() -> alt.Chart:
    """The line from (0, 0) to (1, 1): chance for ROC, honesty for calibration."""
    rows = [{"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 1.0}]
    line: alt.Chart = alt.Chart(source(rows)).mark_line(color=MUTED, strokeWidth=1.2, strokeDash=[4, 4])
    return line.encode(x=alt.X("x:Q"), y=alt.Y("y:Q"))


def sized(*layers: alt.Chart, width: int, height: int) -> alt.LayerChart:
    """Layers as one chart, its plotting area given in pixels."""
    return alt.LayerChart(layer=list(layers), width=width, height=height)


def noted(base: alt.Chart, *, color: str = INK, **text: Any) -> list[alt.Chart]:
    """A label that stays legible over lines: its letters, and a rim of paper beneath them."""
    rim = base.mark_text(fontSize=12, stroke=PAPER, strokeWidth=4, strokeJoin="round", fill=PAPER, **text)
    return [rim, base.mark_text(fontSize=12, color=color, **text)]


def upright(
    references: Sequence[Reference],
    of: str,
    *,
    top: bool = True,
    above: bool = False,
    quiet: bool = False,
    middle: float | None = None,
) -> list[alt.Chart]:
    """Vertical reference lines for those ``of`` that column, with their labels unless ``quiet``.

    Labels stand to the right of their line, and to its left beyond ``middle``; ``above`` puts them over the drawing,
    each a line higher than the one before.
    """
    layers: list[alt.Chart] = []
    wanted = [one for one in references if one.of == of and is_number(one.value)]
    for turn, reference in enumerate(wanted):
        base = _at(reference)
        layers.append(base.mark_rule(color=INK, strokeWidth=1.4, strokeDash=[2, 2]).encode(x=alt.X("at:Q")))
        left = middle is not None and reference.value > middle
        place: dict[str, Any] = {"align": "right" if left else "left", "dx": -6 if left else 6}
        if above:
            place |= {"baseline": "bottom", "dy": -2 - 15 * turn, "dx": -2 if left else 2}
        else:
            place |= {"baseline": "top", "dy": 1} if top else {"baseline": "bottom", "dy": -5}
        side = base.encode(x=alt.X("at:Q"), y=alt.value(0 if top else "height"), text="label:N")
        layers += [] if quiet else noted(side, **place)
    return layers


def across(references: Sequence[Reference], of: str, color: str = GREEN, *, left: bool = False) -> list[alt.Chart]:
    """Horizontal reference lines for those ``of`` that column, labelled at their right or ``left`` end."""
    layers: list[alt.Chart] = []
    for reference in references:
        if reference.of != of or not is_number(reference.value):
            continue
        base = _at(reference)
        layers.append(base.mark_rule(color=color, strokeWidth=1.4, strokeDash=[6, 3]).encode(y=alt.Y("at:Q")))
        side = base.encode(y=alt.Y("at:Q"), x=alt.value(0 if left else "width"), text="label:N")
        end: dict[str, Any] = {"align": "left", "dx": 2} if left else {"align": "right", "dx": -2}
        layers += noted(side, color=color, baseline="bottom", dy=-4, **end)
    return layers


def _at(reference: Reference) -> alt.Chart:
    return alt.Chart(source([{"at": reference.value, "label": labels([reference.label], 34)[reference.label]}]))
