"""One column on two sides: how its rows lay in the reference, and how they lie now.

In: two sketches of a column on one frame. Out: Altair charts at a width, their words, the table behind them; None where
there is nothing to draw. Laws: both sides are shares of all rows, so missing values and what lies outside of the
reference are bars of their own; the sides are told apart by form as well as by colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import altair as alt
import numpy as np

from roadworthy.measures.charts.parts import sized, source
from roadworthy.measures.charts.spans import broken_over_lines, line_height, named_axis
from roadworthy.measures.charts.theme import BLUE, INK, VERMILION
from roadworthy.measures.drift.words import figure, share
from roadworthy.measures.sketched import Histograms, histograms, label_shares
from roadworthy.measures.sketches import CategorySketch, NumberSketch

__all__ = ["SIDES", "distribution", "distribution_columns", "distribution_words"]

Sketch = NumberSketch | CategorySketch
SIDES = ("reference", "now")
_COLOURS = {SIDES[0]: BLUE, SIDES[1]: VERMILION}
_HEIGHT = 170
_LABELS = 172
"""Pixels that names take beside bars."""
_BAR = 15
_LEAST = 0.01
"""A share of what lies outside of the bins below which it is told in the table alone."""
_NOTHING = 1e-9
_FULL = 0.2
"""The share that fills the room for bars at least, so that one in a hundred never looks like all of them."""
_DRAWABLE_S = 2e11


def distribution(
    old: Sketch, new: Sketch, title: str, *, width: int, time: bool = False, sides: tuple[str, str] = SIDES
) -> alt.TopLevelMixin | None:
    """The chart: histograms of common bins for numbers, pairs of bars for labels.

    ``title`` names the column, ``time``: its numbers are seconds since 1970. Without a value on either side there is
    nothing to draw. DataError for sketches of other frames.
    """
    if isinstance(old, CategorySketch) or isinstance(new, CategorySketch):
        rows = _label_rows(old, new)
        return _bars(rows, width, sides) if rows else None
    found = histograms(old, new)
    if found is None:
        return None
    beside = [row for row in _outside(found, old, time=time) if max(row[1:]) >= _LEAST]
    picture = _steps(found, title, width, sides, time=time)
    if not beside:
        return picture
    return alt.VConcatChart(vconcat=[picture, _bars(beside, width, sides, legend=False)], spacing=14)


def distribution_columns(old: Sketch, new: Sketch, *, time: bool = False) -> dict[str, list[Any]]:
    """The table behind the chart: each bin or label, and its share of the rows on either side."""
    if isinstance(old, CategorySketch) or isinstance(new, CategorySketch):
        rows = _label_rows(old, new)
    else:
        found = histograms(old, new)
        if found is None:
            return {}
        names = _bin_names(found, time=time)
        rows = [*zip(names, found.old, found.new, strict=True), *_outside(found, old, time=time)]
    return {
        "value": [name for name, _, _ in rows],
        "share in the reference": [round(before, 5) for _, before, _ in rows],
        "share now": [round(now, 5) for _, _, now in rows],
    }


def distribution_words(old: Sketch, new: Sketch, title: str, *, time: bool = False) -> str:
    """The chart in words: where most changed."""
    columns = distribution_columns(old, new, time=time)
    if not columns:
        return f"{title}: nothing to draw"
    rows = sorted(zip(*columns.values(), strict=True), key=lambda row: -abs(row[2] - row[1]))[:3]
    told = "; ".join(f"{name}: {share(before)} in the reference, {share(now)} now" for name, before, now in rows)
    return f"{title}, reference and current rows. {told}."


_Row = tuple[str, float, float]


def _label_rows(old: Sketch, new: Sketch) -> list[_Row]:
    if not isinstance(old, CategorySketch) or not isinstance(new, CategorySketch):
        return []
    found = label_shares(old, new)
    rows = list(zip((_quoted(one) for one in found.labels), found.old, found.new, strict=True))
    if found.more:
        rows.append((f"({found.more} more labels)", *found.rest))
    hidden = not old.labels
    if hidden or max(found.unlisted) > 0:
        rows.append(("(there, never shown by value)" if hidden else "(not in the reference)", *found.unlisted))
    if hidden or max(found.missing) > 0:
        rows.append(("(missing)", *found.missing))
    return rows


def _quoted(label: str) -> str:
    """A label that cannot be taken for one of ours."""
    return f'"{label}"' if not label.strip() or label.startswith("(") else label


def _outside(found: Histograms, like: NumberSketch, *, time: bool) -> list[_Row]:
    """What the bins do not show: rows beyond them, and those without a value."""
    low, high = found.bounds[0], found.bounds[-1]
    beyond = high >= like.edges[-1] or found.whole
    names = (
        f"(below {_figure(low, time=time)})",
        f"({'above' if beyond else 'at or above'} {_figure(high - 1 if found.whole else high, time=time)})",
        "(missing)",
    )
    rows = [(name, *pair) for name, pair in zip(names, (found.below, found.above, found.missing), strict=True)]
    return [row for row in rows if max(row[1:]) > _NOTHING]


def _bin_names(found: Histograms, *, time: bool) -> list[str]:
    names = []
    for low, high in zip(found.bounds[:-1], found.bounds[1:], strict=True):
        last = high - 1 if found.whole else high
        ends = [_figure(low, time=time), _figure(last, time=time)]
        names.append(ends[0] if ends[0] == ends[1] else " to ".join(ends))
    return names


def _figure(value: float, *, time: bool) -> str:
    if time and abs(value) < _DRAWABLE_S:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M")
    return figure(value)


def _steps(found: Histograms, title: str, width: int, sides: tuple[str, str], *, time: bool) -> alt.LayerChart:
    """The reference as a filled outline, the current rows as a line over it."""
    dated = time and max(map(abs, found.bounds)) < _DRAWABLE_S
    scale_by = 1000.0 if dated else 1.0
    half = (found.bounds[1] - found.bounds[0]) / 2 if found.whole and not dated else 0.0
    at = (np.array(found.bounds) - half) * scale_by
    rows = [
        {"at": float(place), "share": value, "side": side}
        for side, shares in zip(sides, (found.old, found.new), strict=True)
        for place, value in zip(at, [*shares, shares[-1]], strict=True)
    ]
    low, high = float(at[0]), float(at[-1])
    most = max(*found.old, *found.new, 1e-6) * 1.08
    axis = alt.Axis(grid=False, labelFlush=True, tickCount=max(4, width // 80), format=alt.Undefined)
    if dated:
        x = alt.X("at:T", title=title, scale=alt.Scale(type="utc", domain=[low, high], nice=False), axis=axis)
    else:
        x = alt.X("at:Q", title=title, scale=alt.Scale(domain=[low, high], nice=False, zero=False), axis=axis)
    y = alt.Y(
        "share:Q",
        title="share of the rows",
        stack=None,
        scale=alt.Scale(domain=[0.0, most], nice=False),
        axis=alt.Axis(format="~%", grid=True, tickCount=4),
    )
    colour = alt.Color(
        "side:N",
        sort=list(sides),
        scale=alt.Scale(domain=list(sides), range=list(_COLOURS.values())),
        legend=alt.Legend(symbolType="stroke", symbolStrokeWidth=3),
    )
    dash = alt.StrokeDash(
        "side:N", sort=list(sides), scale=alt.Scale(domain=list(sides), range=[[1, 0], [6, 2]]), legend=alt.Legend()
    )
    filled = alt.Chart(source([row for row in rows if row["side"] == sides[0]]))
    area = filled.mark_area(interpolate="step-after", color=BLUE, opacity=0.2).encode(x=x, y=y)
    line = alt.Chart(source(rows)).mark_line(interpolate="step-after", strokeWidth=2)
    return sized(area, line.encode(x=x, y=y, color=colour, strokeDash=dash), width=width, height=_HEIGHT)


def _bars(rows: Sequence[_Row], width: int, sides: tuple[str, str], *, legend: bool = True) -> alt.LayerChart:
    """Two bars for each name, the upper one of the reference, the lower one of now, each with its share."""
    names = broken_over_lines(row[0] for row in rows)
    shown: list[dict[str, Any]] = [
        {"name": names[name], "side": side, "share": value, "label": share(value)}
        for name, old, new in rows
        for side, value in zip(sides, (old, new), strict=True)
    ]
    order = list(dict.fromkeys(row["name"] for row in shown))
    most = max(_FULL, *(float(row["share"]) for row in shown))
    y = alt.Y("name:N", sort=order, title=None, axis=named_axis(), scale=alt.Scale(paddingInner=0.3, paddingOuter=0.1))
    place = alt.YOffset("side:N", sort=list(sides))
    x = alt.X("share:Q", title=None, axis=None, scale=alt.Scale(domain=[0.0, most * 1.02], nice=False))
    colour = alt.Color(
        "side:N",
        sort=list(sides),
        scale=alt.Scale(domain=list(sides), range=list(_COLOURS.values())),
        legend=alt.Legend(symbolType="square") if legend else None,
    )
    base = alt.Chart(source(shown))
    ours, now = (alt.Chart(source([row for row in shown if row["side"] == side])) for side in sides)
    layers = [
        ours.mark_bar(fillOpacity=0.45, strokeWidth=1.2).encode(x=x, y=y, yOffset=place, color=colour, stroke=colour),
        now.mark_bar(strokeWidth=1.2).encode(x=x, y=y, yOffset=place, color=colour, stroke=colour),
        base.mark_text(align="left", dx=5, fontSize=12, color=INK).encode(x=x, y=y, yOffset=place, text="label:N"),
    ]
    deep = max(line_height(order), 2 * _BAR + 10)
    return sized(*layers, width=max(120, width - _LABELS - 44), height=deep * len(order))
