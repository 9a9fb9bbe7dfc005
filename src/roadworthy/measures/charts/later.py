"""Charts of other trainings and of later times, which may decide otherwise.

In: exhibits "trainings:seeds" and "trainings:bootstrap", "over_time", "ageing", and the bounds of a standard. Out:
Altair charts; None where the exhibit holds nothing to draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from roadworthy.measures.charts.data import drawable_rows, is_number, labels, thinned
from roadworthy.measures.charts.parts import across, palette, sized, source, x_axis, y_axis
from roadworthy.measures.charts.theme import BLUE, MUTED, WIDTH, Reference
from roadworthy.records.evidence import Exhibit

__all__ = ["ageing", "over_time", "trainings"]

Chart = alt.TopLevelMixin | None
_MOST_DOTS = 60
_MOST_PARTS = 24
_HEIGHT = 140
_DECIDING = "bootstrap"
_FINE: dict[str, Any] = {"format": ".4~g"}
_LEAST_SPAN = 0.01
"""Of an axis, so that figures that agree lie on one line and have readable ticks."""
_MODELS = {"old": "never renewed", "fresh": "trained anew"}


def trainings(exhibit: Exhibit, references: Sequence[Reference] = ()) -> Chart:
    """A dot per training and the mean of them: skill, and the share of decisions that differ from the first one's.

    What a standard bounds of churn is drawn where it is judged: on the bootstrap samples.
    """
    rows = thinned(drawable_rows(exhibit, ["training"]), _MOST_DOTS)
    decides = exhibit.name.partition(":")[2] == _DECIDING
    judged = [one for one in references if decides and one.of == "churn"]
    panels = []
    for figure, title, axis in (("skill", "skill", _FINE), ("churn", "decisions that change", {"format": "%"})):
        here = [row for row in rows if is_number(row.get(figure))]
        here = here[1:] if figure == "churn" else here  # the first does not differ from itself
        if here:
            last = figure == "churn" or all(row.get("churn") is None for row in rows)
            panels.append(_dots(here, figure, title, judged, "training" if last else "", **axis))
    return _stacked(panels)


def _dots(
    rows: list[dict[str, Any]], figure: str, title: str, references: Sequence[Reference], below: str, **axis: Any
) -> alt.LayerChart:
    mean = sum(row[figure] for row in rows) / len(rows)
    steps = sorted({row["training"] for row in rows})
    room = max(0.5, 0.04 * (steps[-1] - steps[0]))
    x = x_axis("training", below, domain=[steps[0] - room, steps[-1] + room], **_ticks(steps))
    ends = [row[figure] for row in rows] + [
        one.value for one in references if one.of == figure and is_number(one.value)
    ]
    low, high = (0.0 if figure == "churn" else min(ends)), max(ends)
    if high - low < _LEAST_SPAN:
        low, high = (low, low + _LEAST_SPAN) if figure == "churn" else (low - _LEAST_SPAN / 2, high + _LEAST_SPAN / 2)
    room = 0.06 * (high - low)
    domain = [low if figure == "churn" else low - room, high + room]
    middle = alt.Chart(source([{"at": mean}])).mark_rule(color=MUTED, strokeDash=[4, 4])
    middle = middle.encode(y=y_axis("at", title, domain=domain, **axis))
    y = y_axis(figure, title, domain=domain, **axis)
    base = alt.Chart(source(rows)).encode(x=x, y=y)
    dots = base.mark_circle(color=BLUE, size=70, opacity=1)
    return sized(middle, dots, *across(references, figure), width=WIDTH, height=_HEIGHT)


def _ticks(steps: Sequence[Any]) -> dict[str, Any]:
    return {"values": list(steps), "format": "d"} if len(steps) <= 12 else {"tickMinStep": 1, "format": "d"}


def over_time(exhibit: Exhibit, references: Sequence[Reference] = ()) -> Chart:
    """Quality in each part of the rows by time, with its interval; what a standard bounds of it as a line."""
    if "quarter" not in exhibit.columns:
        return None
    rows = drawable_rows(exhibit, [])[:_MOST_PARTS]
    figures = [("skill", "lower", "upper")]
    figures += [
        (name, f"{name}_lower", f"{name}_upper") for name in exhibit.columns if f"{name}_lower" in exhibit.columns
    ]
    panels = []
    for figure, lower, upper in figures:
        here = [row for row in rows if is_number(row.get(figure))]
        if here:
            panels.append(_parts(here, figure, (lower, upper), references))
    return _stacked(panels)


def _parts(
    rows: list[dict[str, Any]], figure: str, ends: tuple[str, str], references: Sequence[Reference]
) -> alt.LayerChart:
    names = labels([row["quarter"] for row in rows], 12)
    shown = [{**row, "name": names[row["quarter"]]} for row in rows]
    axis = alt.Axis(labelAngle=0)
    x = alt.X("name:N", sort=list(names.values()), title="quarter of the rows, by time", axis=axis)
    title = figure.replace("_", " ")
    layers = [*_rules(shown, x, title, ends)]
    layers.append(alt.Chart(source(shown)).mark_line(color=BLUE, strokeWidth=1.4).encode(x=x, y=y_axis(figure, title)))
    layers.append(
        alt.Chart(source(shown)).mark_circle(color=BLUE, size=70, opacity=1).encode(x=x, y=y_axis(figure, title))
    )
    return sized(*layers, *across(references, figure), width=WIDTH, height=_HEIGHT)


def _rules(rows: list[dict[str, Any]], x: alt.X, title: str, ends: tuple[str, str]) -> list[alt.Chart]:
    lower, upper = ends
    bounded = [row for row in rows if is_number(row.get(lower)) and is_number(row.get(upper))]
    if not bounded:
        return []
    rule = alt.Chart(source(bounded)).mark_rule(color=BLUE, strokeWidth=2, strokeOpacity=0.55)
    return [rule.encode(x=x, y=y_axis(lower, title), y2=f"{upper}:Q")]


def ageing(exhibit: Exhibit, references: Sequence[Reference] = ()) -> Chart:
    """Both models' skill by period, and beneath what the old one loses, with its interval and what is permitted."""
    rows = drawable_rows(exhibit, ["period"])
    long = [
        {"period": row["period"], "model": name, "value": row[key]}
        for key, name in _MODELS.items()
        for row in rows
        if is_number(row.get(key))
    ]
    panels = []
    if long:
        panels.append(_models(long))
    lost = [row for row in rows if is_number(row.get("difference"))]
    if lost:
        panels.append(_lost(lost, references))
    return _stacked(panels)


def _models(rows: list[dict[str, Any]]) -> alt.LayerChart:
    names = list(_MODELS.values())
    scales = palette(names)
    base = alt.Chart(source(rows)).encode(
        x=_periods(rows, ""),
        y=y_axis("value", "skill", **_FINE),
        color=alt.Color("model:N", scale=scales["color"], sort=names),
    )
    line = base.mark_line().encode(strokeDash=alt.StrokeDash("model:N", scale=scales["dash"], sort=names))
    dots = base.mark_point(filled=True, size=60, opacity=1)
    return sized(
        line, dots.encode(shape=alt.Shape("model:N", scale=scales["shape"], sort=names)), width=WIDTH, height=_HEIGHT
    )


def _lost(rows: list[dict[str, Any]], references: Sequence[Reference]) -> alt.LayerChart:
    x, title = _periods(rows, "period"), "what the old one loses"
    zero = alt.Chart(source([{"at": 0}])).mark_rule(color=MUTED).encode(y=alt.Y("at:Q"))
    dots = alt.Chart(source(rows)).mark_circle(color=BLUE, size=70, opacity=1)
    permitted = [
        Reference(of="difference", value=one.value, label=one.label) for one in references if one.of == "staleness"
    ]
    return sized(
        zero,
        *_rules(rows, x, title, ("lower", "upper")),
        dots.encode(x=x, y=y_axis("difference", title)),
        *across(permitted, "difference"),
        width=WIDTH,
        height=_HEIGHT,
    )


def _periods(rows: Sequence[dict[str, Any]], title: str) -> alt.X:
    periods = sorted({row["period"] for row in rows})
    return x_axis("period", title, domain=[periods[0] - 0.4, periods[-1] + 0.4], **_ticks(periods))


def _stacked(panels: Sequence[alt.LayerChart]) -> Chart:
    if not panels:
        return None
    return alt.vconcat(*panels, spacing=26) if len(panels) > 1 else panels[0]
