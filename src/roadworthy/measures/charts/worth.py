"""The chart of what each feature costs, beside what it is worth.

In: exhibit "feature_cost". Out: an Altair chart; None where the exhibit holds nothing to draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from roadworthy.measures.charts.data import drawable_rows, is_number, labels
from roadworthy.measures.charts.parts import sized, source, x_axis
from roadworthy.measures.charts.theme import BLUE, INK, MUTED, PAPER, VERMILION, Reference
from roadworthy.records.evidence import Exhibit

__all__ = ["feature_cost"]

Chart = alt.TopLevelMixin | None
_MOST_FEATURES = 20
_PANEL = 132


def feature_cost(exhibit: Exhibit, _references: Sequence[Reference] = ()) -> Chart:
    """To the left each feature's share of the time, to the right its benefit with interval; the dearest 20."""
    rows = [row for row in drawable_rows(exhibit, ["time_share"]) if "column" in row]
    if not rows:
        return None
    rows = sorted(rows, key=lambda row: -row["time_share"])[:_MOST_FEATURES]
    names = labels(row["column"] for row in rows)
    shown = [{**row, "name": names[row["column"]], "floor": 0} for row in rows]
    order = list(names.values())
    height = max(60, 24 * len(order))
    bars = alt.Chart(source(shown)).mark_bar(color=VERMILION, fillOpacity=0.75, height=13, cornerRadius=2)
    cost = bars.encode(
        x=x_axis("time_share", "share of the time", zero=True, grid=True, format="%", tickCount=3),
        x2="floor:Q",
        y=_y(order, names=True),
    )
    left = sized(cost, width=_PANEL, height=height)
    worth = [row for row in shown if is_number(row.get("benefit"))]
    if not worth:
        return left
    return alt.hconcat(left, _benefits(worth, order, height), spacing=22)


def _benefits(rows: list[dict[str, Any]], order: Sequence[str], height: int) -> alt.LayerChart:
    x = x_axis("benefit", "quality lost without", zero=True, grid=True, tickCount=3)
    zero = alt.Chart(source([{"at": 0}])).mark_rule(color=MUTED).encode(x=alt.X("at:Q"))
    bounded = [row for row in rows if is_number(row.get("benefit_lower")) and is_number(row.get("benefit_upper"))]
    rules = alt.Chart(source(bounded)).mark_rule(color=BLUE, strokeWidth=2)
    known = "isValid(datum.benefit_lower) && isValid(datum.benefit_upper)"
    dots = alt.Chart(source(rows)).mark_point(stroke=BLUE, strokeWidth=2, size=52, opacity=1)
    layers = [
        zero,
        *([rules.encode(x=alt.X("benefit_lower:Q"), x2="benefit_upper:Q", y=_y(order))] if bounded else []),
        dots.encode(x=x, y=_y(order), fill=alt.condition(known, alt.value(BLUE), alt.value(PAPER))),
    ]
    return sized(*layers, width=_PANEL, height=height)


def _y(order: Sequence[str], *, names: bool = False) -> alt.Y:
    axis = (
        alt.Axis(ticks=False, grid=False, labelColor=INK)
        if names
        else alt.Axis(labels=False, ticks=False, domain=False)
    )
    return alt.Y("name:N", sort=list(order), title=None, axis=axis, scale=alt.Scale(domain=list(order)))
