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

__all__ = ["MOST_NAMES", "broken_over_lines", "named_rows", "spans"]

MOST_NAMES = 20
LETTERS = 24
"""Of one line of a name; names of up to three lines."""
_LINE, _SERIES_LINE = 17, 15
_LEAST_ROOM = 14


def broken_over_lines(values: Iterable[Any]) -> dict[Any, str]:
    r"""A label per value, over as many lines as it takes and at most three; two values never share one.

    >>> broken_over_lines(["a fraud detector that counts costs"])
    {'a fraud detector that counts costs': 'a fraud detector that\ncounts costs'}
    """
    short = labels(values, 3 * LETTERS - 6)
    return {value: "\n".join(textwrap.wrap(text, LETTERS)[:3]) or text for value, text in short.items()}


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
    tint: Any = _tinted(alt.Color, series, legend=True) if series else alt.value(BLUE)
    rim: Any = _tinted(alt.Stroke, series, legend=False) if series else alt.value(BLUE)
    known = alt.Chart(source([row for row in rows if row["low"] is not None]))
    rules = known.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q", color=tint, **place)
    if series:
        place["shape"] = alt.Shape("series:N", scale=palette(series)["shape"], sort=list(series))
    dots = alt.Chart(source(rows)).mark_point(size=58, opacity=1, strokeWidth=2)
    layers = [rules, dots.encode(x=x, fill=_filled(series), stroke=rim, **place)]
    layers += _beside(rows, place)
    lines = [Reference(of="value", value=one.value, label=one.label) for one in references]
    layers += upright(lines, "value", middle=(domain[0] + domain[1]) / 2)
    deep = max(_LINE * max(name.count("\n") + 1 for name in order), _SERIES_LINE * len(series)) + 8
    return sized(*layers, width=WIDTH - 90, height=max(60, deep * len(order) + _LEAST_ROOM * bool(lines)))


def _names(order: Sequence[str]) -> alt.Y:
    axis = alt.Axis(ticks=False, grid=False, labelColor=INK, labelExpr="split(datum.value, '\\n')")
    return alt.Y("name:N", sort=list(order), title=None, axis=axis)


def _tinted(channel: Any, series: Sequence[str], *, legend: bool) -> Any:
    shown = {} if legend else {"legend": None}
    return channel("series:N", scale=palette(series)["color"], sort=list(series), **shown)


def _filled(series: Sequence[str]) -> Any:
    """Filled where the interval is known, hollow where it is not."""
    full = _tinted(alt.Fill, series, legend=False) if series else alt.value(BLUE)
    return alt.condition("isValid(datum.low)", full, alt.value(PAPER))


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
