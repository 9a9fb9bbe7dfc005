"""Charts of what the inspection probes: faults in the input, dependence on a column, rows taken apart.

In: exhibits "robustness", "dependence:<column>" (each a small picture, to stand beside others) and "explained_rows".
Out: Altair charts; None where the exhibit holds nothing to draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from roadworthy.measures.charts.data import drawable_rows, is_number, labels
from roadworthy.measures.charts.parts import noted, palette, sized, source, x_axis, y_axis
from roadworthy.measures.charts.theme import BLUE, INK, MUTED, VERMILION, WIDTH, Reference
from roadworthy.records.evidence import Exhibit

__all__ = ["dependence", "explained_rows", "robustness"]

Chart = alt.TopLevelMixin | None
_MOST_FAULTS = 20
_MOST_BARS = 12
_MOST_ROWS = 4
_MOST_CLASSES = 3
_LEAST_COST, _MOST_COST = -0.2, 1.5


def robustness(exhibit: Exhibit, _references: Sequence[Reference] = ()) -> Chart:
    """What the worst fault of each kind costs, with its interval; refusals and breaks are written out.

    Costs above 1.5 are drawn as that, and written out.
    """
    if not {"fault", "column", "drop"} <= set(exhibit.columns):
        return None
    rows = drawable_rows(exhibit, [])
    worst: dict[Any, dict[str, Any]] = {}
    for row in rows:
        fault = row["fault"].replace("_", " ") if isinstance(row["fault"], str) else row["fault"]
        if fault not in worst or _severity(row) > _severity(worst[fault]):
            worst[fault] = row
    if not worst:
        return None
    kept = list(worst)[:_MOST_FAULTS]
    names = labels(kept, 18)
    shown = [_fault_row(worst[fault], names[fault]) for fault in kept]
    order = [row["name"] for row in shown]
    y = alt.Y("name:N", sort=order, title=None, axis=alt.Axis(ticks=False, grid=False, labelColor=INK))
    costs = [row[key] for row in shown for key in ("cost", "low", "high") if row[key] is not None]
    ends = [min([0.0, *costs]), max([0.1, *costs])]
    x = x_axis("cost", "share of quality lost", domain=[ends[0], ends[1] + 0.35 * (ends[1] - ends[0])], grid=True)
    known = [row for row in shown if row["cost"] is not None]
    bars = alt.Chart(source(known)).mark_bar(color=BLUE, fillOpacity=0.3, height=13, cornerRadius=2)
    bounded = [row for row in known if row["low"] is not None and row["high"] is not None]
    rules = alt.Chart(source(bounded)).mark_rule(color=BLUE, strokeWidth=2)
    words = alt.Chart(source(shown)).encode(x=alt.X("edge:Q"), y=y, text="words:N")
    layers = [
        *([bars.encode(x=x, x2="floor:Q", y=y)] if known else []),
        *([rules.encode(x=alt.X("low:Q"), x2="high:Q", y=y)] if bounded else []),
        *(layer.encode(x=x if not known else alt.X("edge:Q")) for layer in noted(words, align="left", dx=6)),
    ]
    return sized(*layers, width=WIDTH - 90, height=max(60, 24 * len(order)))


def _severity(row: dict[str, Any]) -> tuple[bool, float]:
    cost = _within(row.get("drop"))
    return _breaks(row), _LEAST_COST - 1 if cost is None else cost


def _breaks(row: dict[str, Any]) -> bool:
    return _share(row.get("nonfinite")) > 0


def _share(value: Any) -> float:
    return float(value) if value is not None and is_number(value) else 0.0


def _fault_row(row: dict[str, Any], name: str) -> dict[str, Any]:
    cost, low, high = (_within(row.get(key)) for key in ("drop", "drop_lower", "drop_upper"))
    column = labels([row.get("column")], 16)[row.get("column")]
    if _breaks(row):
        words = f"breaks: {column}"
    elif _share(row.get("refused")) >= 1:
        words = "refused"
    else:
        words = column if cost is None or cost < _MOST_COST else f"{column}: {row['drop']:.3g}"
    edge = max([0.0, *(value for value in (cost, high) if value is not None)])
    return {"name": name, "cost": cost, "low": low, "high": high, "words": words, "edge": edge, "floor": 0}


def _within(value: Any) -> float | None:
    return min(max(float(value), _LEAST_COST), _MOST_COST) if is_number(value) else None


def dependence(exhibit: Exhibit, _references: Sequence[Reference] = ()) -> Chart:
    """The mean score over a number's values, with its band; categories as a dot each; classes as lines of their own."""
    rows = drawable_rows(exhibit, ["mean"])
    if not rows or "x" not in exhibit.columns:
        return None
    column = labels([exhibit.name.partition(":")[2] or "value"], 30).popitem()[1]
    if any(not is_number(row["x"]) for row in rows):
        return _over_categories(rows)
    classes = labels(dict.fromkeys(row.get("class") for row in rows)) if "class" in exhibit.columns else {}
    if classes:
        kept = list(classes)[:_MOST_CLASSES]
        shown = [{**row, "class": classes[row.get("class")]} for row in rows if row.get("class") in kept]
        scales = palette([classes[name] for name in kept])
        base = alt.Chart(source(shown)).encode(x=x_axis("x", column), y=y_axis("mean", "mean score"))
        lines = base.mark_line().encode(
            color=alt.Color("class:N", scale=scales["color"]),
            strokeDash=alt.StrokeDash("class:N", scale=scales["dash"]),
        )
        return sized(lines, width=WIDTH, height=150)
    bounded = [row for row in rows if is_number(row.get("lower")) and is_number(row.get("upper"))]
    x, y = x_axis("x", column), y_axis("mean", "mean score")
    band = alt.Chart(source(bounded)).mark_area(color=BLUE, fillOpacity=0.18)
    line = alt.Chart(source(rows)).mark_line(color=BLUE).encode(x=x, y=y)
    dots = alt.Chart(source(rows)).mark_circle(color=BLUE, size=34, opacity=1).encode(x=x, y=y)
    under = [band.encode(x=x, y=y_axis("lower", "mean score"), y2="upper:Q")] if bounded else []
    return sized(*under, line, dots, width=WIDTH, height=150)


def _over_categories(rows: list[dict[str, Any]]) -> alt.LayerChart:
    rows = rows[:_MOST_BARS]
    several = len({row.get("class") for row in rows}) > 1
    named = [(f"{row['x']}: {row['class']}" if several else row["x"]) for row in rows]
    names = labels(named)
    shown = [{**row, "name": names[name]} for row, name in zip(rows, named, strict=True)]
    order = list(names.values())
    y = alt.Y("name:N", sort=order, title=None, axis=alt.Axis(ticks=False, grid=False, labelColor=INK))
    x = x_axis("mean", "mean score", grid=True)
    bounded = [row for row in shown if is_number(row.get("lower")) and is_number(row.get("upper"))]
    rules = alt.Chart(source(bounded)).mark_rule(color=BLUE, strokeWidth=2, strokeOpacity=0.55)
    dots = alt.Chart(source(shown)).mark_circle(color=BLUE, size=60, opacity=1).encode(x=x, y=y)
    under = [rules.encode(x=x_axis("lower", "mean score", grid=True), x2="upper:Q", y=y)] if bounded else []
    return sized(*under, dots, width=WIDTH - 90, height=max(60, 24 * len(order)))


def explained_rows(exhibit: Exhibit, _references: Sequence[Reference] = ()) -> Chart:
    """One panel a row: what each column adds to the score or takes from it."""
    rows = drawable_rows(exhibit, ["effect"])
    if not rows or not {"row", "column"} <= set(exhibit.columns):
        return None
    shown = list(dict.fromkeys(row["row"] for row in rows))[:_MOST_ROWS]
    panels = [_row_panel([row for row in rows if row["row"] == label][:_MOST_BARS], label) for label in shown]
    return alt.vconcat(*panels, spacing=22) if len(panels) > 1 else panels[0]


def _row_panel(rows: list[dict[str, Any]], label: Any) -> alt.LayerChart:
    named = [row["column"] if row.get("value") is None else f"{row['column']} = {row['value']}" for row in rows]
    names = labels(named, 26)
    shown = [{**row, "name": names[name], "floor": 0} for row, name in zip(rows, named, strict=True)]
    y = alt.Y("name:N", sort=list(names.values()), title=None, axis=alt.Axis(ticks=False, grid=False, labelColor=INK))
    x = x_axis("effect", "effect on the score", zero=True, grid=True)
    color = alt.condition("datum.effect < 0", alt.value(VERMILION), alt.value(BLUE))
    bars = alt.Chart(source(shown)).mark_bar(height=13, cornerRadius=2).encode(x=x, x2="floor:Q", y=y, color=color)
    zero = alt.Chart(source([{"at": 0}])).mark_rule(color=MUTED).encode(x=alt.X("at:Q"))
    words = labels([label], 30)[label]
    if is_number(rows[0].get("score")):
        words += f": score {rows[0]['score']:.3g}"
    if rows[0].get("actual") is not None:
        words += f", was {labels([rows[0]['actual']], 16)[rows[0]['actual']]}"
    chart = sized(bars, zero, width=WIDTH - 120, height=max(50, 22 * len(names)))
    return chart.properties(
        title=alt.TitleParams(text=words, anchor="start", fontSize=13, fontWeight="normal", color=INK)
    )
