"""Charts of a regression and of any model's columns: actual against predicted, residuals, importance.

In: exhibits of those names. Out: Altair charts; None where the exhibit holds nothing to draw.
"""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from roadworthy.measures.charts.data import drawable_rows, is_number, labels, thinned
from roadworthy.measures.charts.parts import across, sized, source, upright, x_axis, y_axis
from roadworthy.measures.charts.theme import BLUE, HEIGHT, INK, MUTED, WIDTH, Reference
from roadworthy.records.evidence import Exhibit

__all__ = ["actual_predicted", "importance", "residuals"]

Chart = alt.TopLevelMixin | None
MOST_DOTS = 700
MOST_COLUMNS = 15


def actual_predicted(exhibit: Exhibit, _references: Sequence[Reference] = ()) -> Chart:
    """One dot per row (at most 700 of them): on the dashed line the estimate is right."""
    rows = thinned(drawable_rows(exhibit, ["actual", "predicted"]), MOST_DOTS)
    if not rows:
        return None
    values = [row[side] for row in rows for side in ("actual", "predicted")]
    ends = [min(values), max(values)]
    room = (ends[1] - ends[0]) * 0.03 or 1.0
    domain = [ends[0] - room, ends[1] + room]
    dots = (
        alt.Chart(source(rows))
        .mark_circle(color=BLUE, size=26, opacity=0.45)
        .encode(
            x=x_axis("predicted", "predicted", domain=domain), y=y_axis("actual", "actual", domain=domain, grid=True)
        )
    )
    line = (
        alt.Chart(source([{"x": value, "y": value} for value in domain]))
        .mark_line(color=INK, strokeWidth=1.3, strokeDash=[4, 4])
        .encode(x=alt.X("x:Q"), y=alt.Y("y:Q"))
    )
    return sized(dots, line, width=WIDTH, height=280)


def residuals(exhibit: Exhibit, references: Sequence[Reference] = ()) -> Chart:
    """Errors against the estimate, or their histogram where the exhibit holds bins."""
    binned = drawable_rows(exhibit, ["bin_left", "bin_right", "count"])
    if binned:
        shown = [{**row, "floor": 0} for row in binned]
        bars = (
            alt.Chart(source(shown))
            .mark_rect(color=BLUE, fillOpacity=0.75)
            .encode(
                x=x_axis("bin_left", "error: actual less predicted"),
                x2="bin_right:Q",
                y=y_axis("count", "rows", zero=True),
                y2="floor:Q",
            )
        )
        nought = Reference(of="residual", value=0.0, label="no error")
        return sized(bars, *upright([nought], "residual"), width=WIDTH, height=HEIGHT)
    rows = thinned(drawable_rows(exhibit, ["predicted", "residual"]), MOST_DOTS)
    if not rows:
        return None
    dots = (
        alt.Chart(source(rows))
        .mark_circle(color=BLUE, size=26, opacity=0.45)
        .encode(x=x_axis("predicted", "predicted"), y=y_axis("residual", "error: actual less predicted", grid=True))
    )
    zero = alt.Chart(source([{"at": 0}])).mark_rule(color=INK, strokeDash=[4, 4]).encode(y=alt.Y("at:Q"))
    return sized(dots, zero, *across(references, "residual"), width=WIDTH, height=HEIGHT)


def importance(exhibit: Exhibit, _references: Sequence[Reference] = ()) -> Chart:
    """How much quality is lost without each column, greatest first, with its interval; at most 15 columns."""
    rows = drawable_rows(exhibit, ["drop"])
    head = next((name for name in ("column", "feature", "name") if name in exhibit.columns), None)
    if not rows or head is None:
        return None
    rows = sorted(rows, key=lambda row: -row["drop"])[:MOST_COLUMNS]
    names = labels([row[head] for row in rows])
    shown = [{**row, "name": names[row[head]], "floor": 0} for row in rows]
    order = list(names.values())
    y = alt.Y("name:N", sort=order, title=None, axis=alt.Axis(ticks=False, grid=False, labelColor=INK))
    bars = (
        alt.Chart(source(shown))
        .mark_bar(color=BLUE, fillOpacity=0.3, height=14, cornerRadius=2)
        .encode(x=x_axis("drop", "quality lost when the column is shuffled", zero=True, grid=True), x2="floor:Q", y=y)
    )
    dots = alt.Chart(source(shown)).mark_circle(color=BLUE, size=60, opacity=1).encode(x=alt.X("drop:Q"), y=y)
    bounded = [row for row in shown if is_number(row.get("lower")) and is_number(row.get("upper"))]
    rules = (
        alt.Chart(source(bounded)).mark_rule(color=BLUE, strokeWidth=2).encode(x=alt.X("lower:Q"), x2="upper:Q", y=y)
    )
    zero = alt.Chart(source([{"at": 0}])).mark_rule(color=MUTED).encode(x=alt.X("at:Q"))
    layers = [bars, zero, *([rules] if bounded else []), dots]
    return sized(*layers, width=WIDTH - 90, height=max(60, 24 * len(order)))
