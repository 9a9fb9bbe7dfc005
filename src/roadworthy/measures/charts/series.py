"""A figure over windows of time: its band, what labels showed, the bounds of the standard, and where it alarmed.

In: ``Point``s, oldest first. Out: an Altair chart at a width; None where there is nothing to draw. Laws: a window
without a value is a gap, not a line across; of more points than an eye can tell apart the last of each stretch is
drawn, and every one that alarmed; told apart by shape as well as by colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import altair as alt
import msgspec

from roadworthy.measures.charts.data import is_number
from roadworthy.measures.charts.parts import across, sized, source
from roadworthy.measures.charts.theme import BLUE, PAPER, PURPLE, VERMILION, Reference

__all__ = ["MOST_POINTS", "NARROW", "WIDE", "Point", "series", "series_columns", "series_words"]

WIDE, NARROW = 760, 330
"""Plotting width in pixels: for a whole page, and for a phone or half a page."""
MOST_POINTS = 300
_HEIGHT = 190
_TIME = (
    "utchours(datum.value) + utcminutes(datum.value) + utcseconds(datum.value) == 0"
    " ? utcFormat(datum.value, '%-d %b') : utcFormat(datum.value, '%H:%M')"
)
"""A day where it begins, else the time of day."""
_REALISED, _ESTIMATED, _ALARM = "measured", "estimated", "alarm"
_COLOURS = {_REALISED: BLUE, _ESTIMATED: PURPLE, _ALARM: VERMILION}
_SHAPES = {_REALISED: "circle", _ESTIMATED: "square", _ALARM: "triangle-up"}


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One window: from ``start_us`` to ``end_us`` (microseconds since 1970, UTC), value and interval where known.

    ``estimated``: before labels came. ``alarm``: the rule alarmed here. ``before`` is the value of its first judgement,
    where a later revision says otherwise: a hollow mark.
    """

    start_us: int
    end_us: int
    value: float | None = None
    lower: float | None = None
    upper: float | None = None
    estimated: bool = False
    alarm: bool = False
    before: float | None = None


def series(
    points: Sequence[Point],
    title: str,
    *,
    references: Sequence[Reference] = (),
    width: int = WIDE,
    height: int = _HEIGHT,
    percent: bool = False,
) -> alt.LayerChart | None:
    """The chart of a figure over time; ``references`` are ``of="value"``; ``title`` names the figure."""
    rows = [_row(one) for one in _thinned(points)]
    told = [row for row in rows if is_number(row["value"])]
    if not told:
        return None
    y = _y(told, references, title, percent=percent)
    x = _x(rows)
    layers: list[Any] = []
    for run in _runs(rows, "lower", "upper"):
        band = alt.Chart(source(run)).mark_area(color=BLUE, opacity=0.16, interpolate="monotone")
        layers.append(band.encode(x=x, y=y("lower"), y2="upper:Q"))
    for run in _runs(rows, "value"):
        line = alt.Chart(source(run)).mark_line(color=BLUE, strokeWidth=1.3, opacity=0.55)
        layers.append(line.encode(x=x, y=y("value")))
    layers.append(_dots(told, x, y, few=len(told) <= 80))
    first = [row for row in told if row["before"] is not None]
    if first:
        hollow = alt.Chart(source(first)).mark_point(fill=PAPER, stroke=BLUE, strokeWidth=1.6, size=44, shape="diamond")
        layers.append(hollow.encode(x=x, y=y("before")))
    return sized(*layers, *across(references, "value"), width=width, height=height)


def series_columns(points: Sequence[Point]) -> dict[str, list[Any]]:
    """The table behind the chart: end of the window, value, interval, how it was known, whether it alarmed."""
    shown = _thinned(points)
    ends = [datetime.fromtimestamp(one.end_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M") for one in shown]
    columns: dict[str, list[Any]] = {
        "until": ends,
        "value": [one.value for one in shown],
        "lower": [one.lower for one in shown],
        "upper": [one.upper for one in shown],
        "known": [_ESTIMATED if one.estimated else _REALISED for one in shown],
    }
    if any(one.before is not None for one in shown):
        columns["judged at first"] = [one.before for one in shown]
    if any(one.alarm for one in shown):
        columns["alarm"] = [one.alarm for one in shown]
    return columns


def series_words(points: Sequence[Point], title: str) -> str:
    """The chart in words.

    >>> series_words([Point(start_us=0, end_us=1, value=0.5), Point(start_us=1, end_us=2, value=0.7)], "accuracy")
    'accuracy over 2 windows: 0.5 to 0.7, the last 0.7'
    """
    values = [one.value for one in points if one.value is not None and is_number(one.value)]
    if not values:
        return f"{title}: nothing to draw"
    alarms = sum(one.alarm for one in points)
    words = f"{title} over {len(points):,} windows: {min(values):.4g} to {max(values):.4g}, the last {values[-1]:.4g}"
    return words + (f"; alarms in {alarms:,} of them" if alarms else "")


def _thinned(points: Sequence[Point]) -> list[Point]:
    if len(points) <= MOST_POINTS:
        return list(points)
    step = len(points) / MOST_POINTS
    kept = {min(len(points) - 1, round((place + 1) * step) - 1) for place in range(MOST_POINTS)}
    return [one for place, one in enumerate(points) if place in kept or one.alarm]


def _row(point: Point) -> dict[str, Any]:
    kind = _ALARM if point.alarm else _ESTIMATED if point.estimated else _REALISED
    figures = {"value": point.value, "lower": point.lower, "upper": point.upper, "before": point.before}
    plain = {name: value if is_number(value) else None for name, value in figures.items()}
    return {"at": (point.start_us + point.end_us) / 2e3, "kind": kind, **plain}


def _x(rows: Sequence[dict[str, Any]]) -> alt.X:
    """Time, in UTC."""
    ends = [rows[0]["at"], rows[-1]["at"]]
    scale = alt.Scale(type="utc", domain=ends, nice=False) if ends[0] < ends[1] else alt.Scale(type="utc")
    axis = alt.Axis(labelFlush=True, tickCount=6, labelSeparation=14, labelExpr=_TIME)
    return alt.X("at:T", title=None, scale=scale, axis=axis)


def _y(told: Sequence[dict[str, Any]], references: Sequence[Reference], title: str, *, percent: bool) -> Any:
    ends = [row[name] for row in told for name in ("value", "lower", "upper", "before") if row[name] is not None]
    ends += [one.value for one in references if one.of == "value" and is_number(one.value)]
    room = 0.08 * (max(ends) - min(ends)) or 0.05 * abs(max(ends)) or 0.01
    low, high = min(ends) - room, max(ends) + room
    low = 0.0 if low < 0 <= min(ends) else low  # what is never below nought has no axis there
    high = 1.0 if percent and max(ends) <= 1 < high else high
    scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    axis = alt.Axis(format="~%" if percent else ".4~g")

    def channel(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title=title, scale=scale, axis=axis)

    return channel


def _dots(told: Sequence[dict[str, Any]], x: alt.X, y: Any, *, few: bool) -> alt.Chart:
    shown = [row for row in told if few or row["kind"] == _ALARM] or list(told[-1:])
    kinds = [kind for kind in _COLOURS if any(row["kind"] == kind for row in shown)]
    legend = alt.Legend() if len(kinds) > 1 else None
    colour = alt.Scale(domain=kinds, range=[_COLOURS[kind] for kind in kinds])
    shape = alt.Scale(domain=kinds, range=[_SHAPES[kind] for kind in kinds])
    dots: alt.Chart = alt.Chart(source(list(shown))).mark_point(filled=True, size=44, opacity=1)
    return dots.encode(
        x=x,
        y=y("value"),
        color=alt.Color("kind:N", scale=colour, sort=kinds, legend=legend),
        shape=alt.Shape("kind:N", scale=shape, sort=kinds, legend=legend),
    )


def _runs(rows: Sequence[dict[str, Any]], *needed: str) -> list[list[dict[str, Any]]]:
    """Neighbours that all have what is needed."""
    runs: list[list[dict[str, Any]]] = [[]]
    for row in rows:
        if all(row[name] is not None for name in needed):
            runs[-1].append(row)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if len(run) > 1]
