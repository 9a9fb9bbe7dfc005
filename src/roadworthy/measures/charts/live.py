"""Figures of live servers over time: several lines in one small picture, with what the standard bounds.

In: ``Line``s over the same instants. Out: an Altair chart; None where there is nothing to draw. Laws: where nothing is
known there is a gap; lines are told apart by dash and shape of their ends as well as by colour; nought is on the axis
unless it is a logarithmic one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import altair as alt
import msgspec

from roadworthy.measures.charts.data import is_number
from roadworthy.measures.charts.parts import across, palette, sized, source
from roadworthy.measures.charts.theme import WIDTH, Reference

__all__ = ["Line", "timeline", "timeline_columns", "timeline_words"]

_HEIGHT = 150
_FAR = 8.0
"""A bound that is this many times above all that was seen is told in the note: drawn, it would press the lines flat."""
_MIDNIGHT = "utchours(datum.value) + utcminutes(datum.value) == 0"
_TIME = f"{_MIDNIGHT} ? utcFormat(datum.value, '%-d %b') : utcFormat(datum.value, '%H:%M')"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One figure at each instant; None where it is not known."""

    name: str
    values: tuple[float | None, ...]


def timeline(
    at_us: Sequence[int],
    lines: Sequence[Line],
    title: str,
    *,
    references: Sequence[Reference] = (),
    form: str = ".3~g",
    logarithmic: bool = False,
) -> alt.LayerChart | None:
    """The chart of lines over instants ``at_us`` (microseconds since 1970, UTC), which are equally far apart.

    ``references`` are of ``value``; ``form`` is how the axis writes its figures.
    """
    drawn = [line for line in lines if any(_drawable(value, logarithmic) for value in line.values)]
    if not drawn:
        return None
    rows = [row for line in drawn for row in _rows(at_us, line, logarithmic=logarithmic)]
    names = [line.name for line in drawn]
    scales = palette(names)
    legend = alt.Legend(symbolType="stroke") if len(names) > 1 else None
    most = max(row["value"] for row in rows)
    near = [one for one in references if logarithmic or one.value <= _FAR * most or most == 0]
    base = alt.Chart(source(rows)).encode(
        x=_x(at_us),
        y=_y(rows, near, title, form, logarithmic=logarithmic),
        color=alt.Color("line:N", scale=scales["color"], sort=names, legend=legend),
        detail="run:N",
    )
    dash = alt.StrokeDash("line:N", scale=scales["dash"], sort=names, legend=legend)
    alone = [row for row in rows if row["alone"]]
    layers: list[Any] = [base.mark_line(strokeWidth=1.8, interpolate="monotone").encode(strokeDash=dash)]
    if alone:
        layers.append(base.properties(data=source(alone)).mark_circle(size=36, opacity=1))
    return sized(*layers, *across(near, "value", left=True), width=WIDTH, height=_HEIGHT)


def timeline_columns(at_us: Sequence[int], lines: Sequence[Line]) -> dict[str, list[Any]]:
    """The table behind the chart, newest first; instants of which nothing is known are left out."""
    places = [place for place in range(len(at_us)) if any(line.values[place] is not None for line in lines)][::-1]
    words = [datetime.fromtimestamp(at_us[place] / 1e6, UTC).strftime("%Y-%m-%d %H:%M") for place in places]
    return {"until (UTC)": words} | {line.name: [line.values[place] for place in places] for line in lines}


def timeline_words(lines: Sequence[Line], title: str) -> str:
    """The chart in words.

    >>> timeline_words([Line(name="all", values=(1.0, None, 3.0))], "requests a second")
    'requests a second: all from 1 to 3, the last 3'
    """
    told = []
    for line in lines:
        values = [value for value in line.values if value is not None]
        if values:
            told.append(f"{line.name} from {min(values):.3g} to {max(values):.3g}, the last {values[-1]:.3g}")
    return f"{title}: {'; '.join(told)}" if told else f"{title}: nothing is known"


def _drawable(value: float | None, logarithmic: bool) -> bool:  # noqa: FBT001 - of this module's own
    return is_number(value) and (not logarithmic or float(value or 0.0) > 0)


def _rows(at_us: Sequence[int], line: Line, *, logarithmic: bool) -> list[dict[str, Any]]:
    """Points by run: neighbours of which something is known."""
    rows: list[dict[str, Any]] = []
    known = [_drawable(value, logarithmic) for value in line.values]
    run = 0
    for place, value in enumerate(line.values):
        if not known[place]:
            run += 1
            continue
        beside = any(known[other] for other in (place - 1, place + 1) if 0 <= other < len(known))
        rows.append(
            {
                "at": at_us[place] / 1e3,
                "value": value,
                "line": line.name,
                "run": f"{line.name}/{run}",
                "alone": not beside,
            }
        )
    return rows


def _tenfold(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis: 1, 10, 100, and what lies between where these are fewer than three.

    >>> _tenfold(0.4, 70)
    [1.0, 10.0]
    >>> _tenfold(0.4, 7)
    [0.5, 1.0, 2.0, 5.0]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    between = (1.0,) if math.log10(high / low) > 2 else (1.0, 2.0, 5.0)
    ticks = [float(f"{step}e{power}") for power in powers for step in between]
    return [tick for tick in ticks if low <= tick <= high]


def _x(at_us: Sequence[int]) -> alt.X:
    """Time, in UTC."""
    ends = [at_us[0] / 1e3, at_us[-1] / 1e3]
    scale = alt.Scale(type="utc", domain=ends, nice=False) if ends[0] < ends[1] else alt.Scale(type="utc")
    return alt.X("at:T", title=None, scale=scale, axis=alt.Axis(tickCount=5, labelSeparation=12, labelExpr=_TIME))


def _y(
    rows: Sequence[dict[str, Any]], references: Sequence[Reference], title: str, form: str, *, logarithmic: bool
) -> alt.Y:
    ends = [row["value"] for row in rows] + [one.value for one in references if is_number(one.value)]
    axis = alt.Axis(format=form)
    if logarithmic:
        domain = [0.8 * min(ends), 1.4 * max(ends)]
        scale = alt.Scale(type="log", domain=domain, nice=False)
        return alt.Y("value:Q", title=title, scale=scale, axis=alt.Axis(format=form, values=_tenfold(*domain)))
    most = max(ends)
    return alt.Y("value:Q", title=title, scale=alt.Scale(domain=[0, 1.12 * most or 1], nice=False), axis=axis)
