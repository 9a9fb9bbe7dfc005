"""Charts of uncertainty: coverage by group, and what remains when rows are referred.

In: exhibits of those names. Out: Altair charts; None where the exhibit holds nothing to draw.
"""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from roadworthy.measures.charts.data import drawable_rows, is_number, thinned
from roadworthy.measures.charts.parts import sized, source, upright, x_axis, y_axis
from roadworthy.measures.charts.spans import broken_over_lines, line_height, named_axis
from roadworthy.measures.charts.theme import BLUE, HEIGHT, WIDTH, Reference
from roadworthy.records.evidence import Exhibit

__all__ = ["conformal", "referral"]

Chart = alt.TopLevelMixin | None
MOST_GROUPS = 20
LEVEL = 0.9


def conformal(exhibit: Exhibit, _references: Sequence[Reference] = ()) -> Chart:
    """Coverage of each group with its bounds, beside the share that was promised; at most 20 groups, as they come."""
    rows = drawable_rows(exhibit, ["coverage", "rows"], shares=False)
    if not rows or "group" not in exhibit.columns:
        return None
    rows = thinned(rows, MOST_GROUPS)
    names = broken_over_lines(row["group"] for row in rows)
    shown = [{**row, "name": names[row["group"]]} for row in rows]
    order = list(names.values())
    ends = [row[side] for row in shown for side in ("coverage", "lower", "upper") if is_number(row.get(side))]
    domain = [max(min([*ends, LEVEL]) - 0.02, 0.0), min(max([*ends, LEVEL]) + 0.02, 1.0)]
    y = alt.Y("name:N", sort=order, title=None, axis=named_axis())
    title = "share of rows whose truth is in the set (dotted: 90 %)"
    across = x_axis("coverage", title, domain=domain, grid=True, format="%")
    dots = alt.Chart(source(shown)).mark_circle(color=BLUE, size=60, opacity=1).encode(x=across, y=y)
    bounded = [row for row in shown if is_number(row.get("lower")) and is_number(row.get("upper"))]
    low = alt.X("lower:Q", scale=alt.Scale(domain=domain, nice=False))
    rules = alt.Chart(source(bounded)).mark_rule(color=BLUE, strokeWidth=2).encode(x=low, x2="upper:Q", y=y)
    wanted = Reference(of="coverage", value=LEVEL, label="90 %")
    lines = upright([wanted], "coverage", quiet=True)
    return sized(
        *([rules] if bounded else []), dots, *lines, width=WIDTH - 90, height=max(48, line_height(order) * len(order))
    )


def referral(exhibit: Exhibit, _references: Sequence[Reference] = ()) -> Chart:
    """Quality of the rows that are kept, with its bounds, by the share that is referred."""
    rows = drawable_rows(exhibit, ["referred", "quality", "lower", "upper"])
    if len(rows) < 2:
        return None
    what = "mean absolute error of the rest" if "absolute error" in exhibit.title else "accuracy of the rest"
    axis = y_axis("quality", what, grid=True)
    x = x_axis("referred", "share of rows referred to a person, least certain first", format="%")
    band = alt.Chart(source(rows)).mark_area(color=BLUE, opacity=0.18).encode(x=x, y=alt.Y("lower:Q"), y2="upper:Q")
    line = alt.Chart(source(rows)).mark_line(color=BLUE, strokeWidth=2).encode(x=x, y=axis)
    dots = alt.Chart(source(rows)).mark_circle(color=BLUE, size=26, opacity=1).encode(x=x, y=alt.Y("quality:Q"))
    return sized(band, line, dots, width=WIDTH, height=HEIGHT)
