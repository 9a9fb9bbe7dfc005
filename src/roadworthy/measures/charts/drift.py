"""Charts of what differs from the reference: how much each column moved, and where.

In: exhibits "drift" and "drift_cells". Out: Altair charts; None where the exhibit holds nothing to draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from roadworthy.measures.charts.data import drawable_rows
from roadworthy.measures.charts.parts import palette, sized, source, x_axis
from roadworthy.measures.charts.spans import MOST_NAMES, broken_over_lines, line_height, named_axis
from roadworthy.measures.charts.theme import WIDTH, Reference
from roadworthy.records.evidence import Exhibit

__all__ = ["drift", "drift_cells"]

Chart = alt.TopLevelMixin | None
WORDS = ("changed", "changed a little", "no change shown")
SIDES = ("reference", "current")


def drift(exhibit: Exhibit, _references: Sequence[Reference] = ()) -> Chart:
    """The effect of each comparison, told apart by what it means; the 20 greatest."""
    rows = [row for row in drawable_rows(exhibit, ["effect"], shares=True) if row.get("word") in WORDS][:MOST_NAMES]
    if not rows:
        return None
    names = broken_over_lines(row["what"] for row in rows)
    shown = [{"name": names[row["what"]], "effect": row["effect"], "word": row["word"]} for row in rows]
    series = [word for word in WORDS if any(row["word"] == word for row in shown)]
    look = palette(series)
    order = list(dict.fromkeys(row["name"] for row in shown))
    most = max(0.1, *(row["effect"] for row in shown))
    y = alt.Y("name:N", sort=order, title=None, axis=named_axis())
    base = alt.Chart(source(shown))
    tint = alt.Color("word:N", scale=look["color"], sort=series)
    stems = base.mark_rule(strokeWidth=2).encode(x=alt.X("effect:Q"), x2=alt.datum(0), y=y, color=tint)
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        x=x_axis("effect", "share of the rows that moved", domain=[0.0, min(1.0, most * 1.06)], grid=True),
        y=y,
        color=tint,
        shape=alt.Shape("word:N", scale=look["shape"], sort=series),
    )
    return sized(stems, dots, width=WIDTH - 90, height=max(48, line_height(order) * len(order)))


def drift_cells(exhibit: Exhibit, _references: Sequence[Reference] = ()) -> Chart:
    """One column: the share of rows in each of its cells, in the reference and now."""
    rows = drawable_rows(exhibit, list(SIDES), shares=True)[:MOST_NAMES]
    if not rows or "cell" not in exhibit.columns:
        return None
    names = broken_over_lines(row["cell"] for row in rows)
    shown: list[dict[str, Any]] = [
        {"name": names[row["cell"]], "share": row[side], "side": side} for row in rows for side in SIDES
    ]
    order = list(dict.fromkeys(row["name"] for row in shown))
    look = palette(SIDES)
    most = max(row["share"] for row in shown)
    dots = (
        alt.Chart(source(shown))
        .mark_point(filled=True, size=80, opacity=1)
        .encode(
            x=x_axis("share", exhibit.title, domain=[0.0, min(1.0, most * 1.06 or 0.1)], grid=True, format="%"),
            y=alt.Y("name:N", sort=order, title=None, axis=named_axis()),
            color=alt.Color("side:N", scale=look["color"], sort=list(SIDES)),
            shape=alt.Shape("side:N", scale=look["shape"], sort=list(SIDES)),
        )
    )
    return sized(dots, width=WIDTH - 90, height=max(48, line_height(order) * len(order)))
