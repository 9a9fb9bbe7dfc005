"""Named figures with their intervals, one line each: what charts of groups, purposes and trainings are made of.

In: rows ``{"name", "value", "low", "high"}``, where wanted ``"series"`` and ``"beside"`` (a figure to compare with).
Out: an Altair chart. Laws: an interval is drawn wherever both ends are known; where they are not, the figure is drawn
hollow, so that nobody takes it for a sure one; interval, figure and bound are always all inside the drawing.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import altair as alt

from roadworthy.measures.charts.data import is_number, labels
from roadworthy.measures.charts.parts import palette, sized, source, upright, x_axis
from roadworthy.measures.charts.theme import BLUE, INK, PAPER, VERMILION, WIDTH, Reference

__all__ = ["MOST_NAMES", "broken_over_lines", "line_height", "named_axis", "named_rows", "spans"]

MOST_NAMES = 20
LETTERS = 24
"""Of one line of a name."""
_MOST_LINES = 4
_LINE, _SERIES_LINE = 17, 15


def broken_over_lines(values: Iterable[Any]) -> dict[Any, str]:
    r"""A label per value, over as many lines as it takes and at most four; two values never share one.

    >>> broken_over_lines(["a fraud detector that counts costs"])
    {'a fraud detector that counts costs': 'a fraud detector that\ncounts costs'}
    """
    short = labels(values, _MOST_LINES * LETTERS - 12)
    return {value: "\n".join(textwrap.wrap(text, LETTERS)[:_MOST_LINES]) or text for value, text in short.items()}


def named_rows(
    rows: Iterable[dict[str, Any]], names: dict[Any, str], head: str, figure: str, ends: tuple[str, str]
) -> list[dict[str, Any]]:
    """Rows as ``spans`` takes them; those without a figure are left out, and an end that is no number is unknown."""
    return [
        {"name": names[row[head]], "value": row[figure], **_ends(row, ends)}
        for row in rows
        if is_number(row.get(figure)) and row.get(head) in names
    ]


def _ends(row: dict[str, Any], ends: tuple[str, str]) -> dict[str, Any]:
    low, high = (row.get(end) for end in ends)
    known = is_number(low) and is_number(high)
    return {"low": low if known else None, "high": high if known else None}


def spans(
    rows: list[dict[str, Any]],
    title: str,
    *,
    series: Sequence[str] = (),
    limits: tuple[float, float] | None = None,
    references: Sequence[Reference] = (),
    **axis: Any,
) -> alt.LayerChart:
    """One line per name, and per series beneath each other within a name, told apart by colour and shape.

    ``limits`` are the least and the greatest that the figure can be; ``references`` become upright lines, whatever they
    are of.
    """
    order = list(dict.fromkeys(row["name"] for row in rows))
    domain = _domain(rows, references, limits)
    x = x_axis("value", title, domain=domain, grid=True, **axis)
    place: dict[str, Any] = {"y": _names(order)}
    if series:
        place["yOffset"] = alt.YOffset("series:N", sort=list(series))
    tint: Any = alt.Color("series:N", scale=palette(series)["color"], sort=list(series)) if series else alt.value(BLUE)
    sure, unsure = ([row for row in rows if (row["low"] is not None) is known] for known in (True, False))
    rules = alt.Chart(source(sure)).mark_rule(strokeWidth=2)
    layers = [rules.encode(x=alt.X("low:Q"), x2="high:Q", color=tint, **place)]
    if series:
        place["shape"] = alt.Shape("series:N", scale=palette(series)["shape"], sort=list(series))
    full = alt.Chart(source(sure)).mark_point(filled=True, size=80, opacity=1)
    hollow = alt.Chart(source(unsure)).mark_point(fill=PAPER, size=58, opacity=1, strokeWidth=2)
    layers += [dots.encode(x=x, color=tint, **place) for dots in (full, hollow)]
    layers += _beside(rows, place)
    lines = [Reference(of="value", value=one.value, label=one.label) for one in references]
    layers += upright(lines, "value", above=True, middle=(domain[0] + domain[1]) / 2)
    deep = max(line_height(order), _SERIES_LINE * len(series) + 8)
    return sized(*layers, width=WIDTH - 90, height=max(48, deep * len(order)))


def named_axis() -> alt.Axis:
    """An axis whose labels keep their lines."""
    return alt.Axis(ticks=False, grid=False, labelPadding=10, labelColor=INK, labelExpr="split(datum.value, '\\n')")


def line_height(names: Sequence[str]) -> int:
    """Pixels that each name takes, so that the longest has room."""
    return _LINE * max(name.count("\n") + 1 for name in names) + 8


def _names(order: Sequence[str]) -> alt.Y:
    return alt.Y("name:N", sort=list(order), title=None, axis=named_axis())


def _beside(rows: Sequence[dict[str, Any]], place: dict[str, Any]) -> list[alt.Chart]:
    """The figure to compare with, as a tick."""
    there = [row for row in rows if is_number(row.get("beside"))]
    if not there:
        return []
    tick = alt.Chart(source(there)).mark_tick(color=VERMILION, thickness=3, size=15)
    return [tick.encode(x=alt.X("beside:Q"), y=place["y"])]


def _domain(
    rows: Sequence[dict[str, Any]], references: Sequence[Reference], limits: tuple[float, float] | None
) -> list[float]:
    """All points with a little room beside them, inside what the figure can be."""
    points = [row[key] for row in rows for key in ("value", "low", "high", "beside") if is_number(row.get(key))]
    points += [one.value for one in references if is_number(one.value)]
    least, most = min(points), max(points)
    room = (most - least) * 0.06 or abs(most) * 0.1 or 0.1
    start, end = least - room, most + room
    if limits is not None:
        start, end = max(start, limits[0]), min(end, limits[1])
    return [min(start, least), max(end, most)]
