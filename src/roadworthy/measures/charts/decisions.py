"""Charts of a classifier: confusion, ROC, precision and recall, calibration, threshold trade-off, scores, classes.

In: exhibits of those names, and references. Out: Altair charts; None where the exhibit holds nothing to draw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from roadworthy.measures.charts.data import drawable_rows, is_number, is_share, labels, thinned
from roadworthy.measures.charts.parts import across, diagonal, palette, sized, source, upright, x_axis, y_axis
from roadworthy.measures.charts.theme import BLUE, HEIGHT, INK, PAPER, SERIES, WIDTH, Reference
from roadworthy.records.evidence import Exhibit

__all__ = ["calibration", "confusion", "per_class", "precision_recall", "roc", "scores", "tradeoff"]

Chart = alt.TopLevelMixin | None
MOST_CLASSES = 16
_UNIT = [0.0, 1.0]


def confusion(exhibit: Exhibit, _references: Sequence[Reference] = ()) -> Chart:
    """Rows are what was true, columns what was said; shade is the share of the true class.

    With more than 16 classes only the 16 commonest true ones are drawn.
    """
    rows = [row for row in drawable_rows(exhibit, ["count"]) if row["count"] >= 0]
    if not rows or not {"actual", "predicted"} <= rows[0].keys():
        return None
    totals: dict[Any, float] = {}
    for row in rows:
        totals[row["actual"]] = totals.get(row["actual"], 0) + row["count"]
        totals.setdefault(row["predicted"], 0)
    order = list(totals)
    if len(order) > MOST_CLASSES:
        order = sorted(order, key=lambda label: -totals[label])[:MOST_CLASSES]
    names = labels(order, 14)
    cells = []
    for row in rows:
        if row["actual"] in names and row["predicted"] in names:
            share = row["count"] / totals[row["actual"]] if totals[row["actual"]] else 0.0
            text = f"{row['count']:,.0f}"
            cells.append(
                {
                    "actual": names[row["actual"]],
                    "predicted": names[row["predicted"]],
                    "share": share,
                    "count": text if len(order) <= 8 else "",
                    "percent": f"{share * 100:.1f} % of row" if len(order) <= 3 else "",
                    "deep": share > 0.55,
                }
            )
    return _confusion_layers(cells, list(names.values()))


def _confusion_layers(cells: list[dict[str, Any]], names: list[str]) -> Chart:
    side = max(26, min(118, 330 // len(names)))
    across_top = alt.X(
        "predicted:N",
        sort=names,
        title="predicted",
        axis=alt.Axis(orient="top", domain=False, ticks=False, labelAngle=0 if len(names) <= 4 else -45),
    )
    down = alt.Y(
        "actual:N",
        sort=names,
        title="actual",
        axis=alt.Axis(domain=False, ticks=False, titleY=-6, titleX=-8, titleAlign="right", titleAnchor="end"),
    )
    base = alt.Chart(source(cells)).encode(x=across_top, y=down)
    shade = base.mark_rect(cornerRadius=4, color=BLUE, stroke=PAPER, strokeWidth=3).encode(
        fillOpacity=alt.FillOpacity("share:Q", scale=alt.Scale(domain=_UNIT, range=[0.06, 1.0]), legend=None)
    )
    colour = alt.Color("deep:N", scale=alt.Scale(domain=[False, True], range=[INK, PAPER]), legend=None)
    big = base.mark_text(fontSize=17, fontWeight="bold", dy=-8 if len(names) <= 3 else 0)
    small = base.mark_text(fontSize=12, dy=12)
    layers = [shade, big.encode(text="count:N", color=colour), small.encode(text="percent:N", color=colour)]
    return sized(*layers, width=side * len(names), height=min(side, 84) * len(names))


def roc(exhibit: Exhibit, references: Sequence[Reference] = ()) -> Chart:
    """True positives against false positives; the dashed diagonal is guessing."""
    rows = thinned(drawable_rows(exhibit, ["false_positive_rate", "true_positive_rate"], shares=True))
    if not rows:
        return None
    line = (
        alt.Chart(source(rows))
        .mark_line(color=BLUE, interpolate="step-after")
        .encode(
            x=x_axis("false_positive_rate", "false positives, share of the non-events", domain=_UNIT),
            y=y_axis("true_positive_rate", "events found, share", domain=_UNIT),
            order=alt.Order("false_positive_rate:Q"),
        )
    )
    layers = [line, diagonal(), *across(references, "true_positive_rate")]
    return sized(*layers, width=WIDTH, height=HEIGHT)


def precision_recall(exhibit: Exhibit, references: Sequence[Reference] = ()) -> Chart:
    """Precision against recall over all thresholds."""
    rows = thinned(drawable_rows(exhibit, ["recall", "precision"], shares=True))
    if not rows:
        return None
    line = (
        alt.Chart(source(rows))
        .mark_line(color=BLUE)
        .encode(
            x=x_axis("recall", "recall: share of the events that are found", domain=_UNIT),
            y=y_axis("precision", "precision: share of the alarms that are true", domain=_UNIT),
            order=alt.Order("recall:Q"),
        )
    )
    layers = [line, *across(references, "precision"), *upright(references, "recall", top=False, middle=0.6)]
    return sized(*layers, width=WIDTH, height=HEIGHT)


def calibration(exhibit: Exhibit, _references: Sequence[Reference] = ()) -> Chart:
    """What was observed where the model said so; on the dashed line it means what it says."""
    rows = drawable_rows(exhibit, ["predicted", "observed"], shares=True)
    if not rows:
        return None
    base = alt.Chart(source(rows)).encode(
        x=x_axis("predicted", "predicted probability", domain=_UNIT),
        y=y_axis("observed", "observed share", domain=_UNIT),
    )
    layers: list[alt.Chart] = [diagonal()]
    bounded = [row for row in rows if is_share(row.get("lower")) and is_share(row.get("upper"))]
    if bounded:
        layers.append(
            alt.Chart(source(bounded))
            .mark_rule(color=BLUE, strokeWidth=2, strokeOpacity=0.55)
            .encode(x=alt.X("predicted:Q"), y=alt.Y("lower:Q"), y2="upper:Q")
        )
    layers.append(base.mark_line(color=BLUE, strokeWidth=1.4))
    layers.append(base.mark_point(color=BLUE, fill=BLUE, size=46, opacity=1))
    return sized(*layers, width=WIDTH, height=HEIGHT)


def tradeoff(exhibit: Exhibit, references: Sequence[Reference] = ()) -> Chart:
    """Precision, recall and accuracy at every threshold, the chosen one marked; cost below where it is declared."""
    rows = thinned(drawable_rows(exhibit, ["threshold"], shares=True))
    metrics = [name for name in ("precision", "recall", "accuracy", "f1") if rows and name in rows[0]]
    if not metrics:
        return None
    long = [
        {"threshold": row["threshold"], "metric": name, "value": row[name]}
        for name in metrics
        for row in rows
        if is_share(row[name])
    ]
    if not long:
        return None
    scales = palette(metrics)
    lines = (
        alt.Chart(source(long))
        .mark_line()
        .encode(
            x=x_axis("threshold", "threshold", domain=_UNIT),
            y=y_axis("value", "", domain=_UNIT),
            color=alt.Color("metric:N", scale=scales["color"], sort=metrics),
            strokeDash=alt.StrokeDash("metric:N", scale=scales["dash"], sort=metrics),
        )
    )
    bounds = [
        layer
        for place, name in enumerate(metrics)
        for layer in across(references, name, SERIES[place], left=place % 2 == 1)
    ]
    chosen = upright(references, "threshold", top=False, middle=0.6)
    top = sized(lines, *bounds, *chosen, width=WIDTH, height=HEIGHT)
    costs = [row for row in rows if is_number(row.get("cost"))]
    return top if not costs else alt.vconcat(top, _cost(costs, references))


def _cost(rows: list[dict[str, Any]], references: Sequence[Reference]) -> alt.LayerChart:
    line = (
        alt.Chart(source(rows))
        .mark_line(color=SERIES[3])
        .encode(x=x_axis("threshold", "threshold", domain=_UNIT), y=y_axis("cost", "cost", zero=True))
    )
    return sized(line, *upright(references, "threshold", quiet=True), width=WIDTH, height=110)


def scores(exhibit: Exhibit, references: Sequence[Reference] = ()) -> Chart:
    """How many rows of each class got which score."""
    rows = drawable_rows(exhibit, ["bin_left", "bin_right", "count"])
    if not rows or "class" not in rows[0]:
        return None
    names = labels([row["class"] for row in rows][:2000], 18)
    if len(names) > len(SERIES):
        return None
    shown = [{**row, "class": names[row["class"]], "floor": 0} for row in rows]
    classes = list(names.values())
    base = alt.Chart(source(shown)).encode(color=alt.Color("class:N", scale=palette(classes)["color"], sort=classes))
    bars = base.mark_rect(fillOpacity=0.34).encode(
        x=x_axis("bin_left", "score", domain=_UNIT if _within_unit(rows) else None),
        x2="bin_right:Q",
        y=y_axis("count", "rows", zero=True),
        y2="floor:Q",
    )
    tops = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("bin_left:Q"),
        x2="bin_right:Q",
        y=alt.Y("count:Q"),
        strokeDash=alt.StrokeDash("class:N", scale=palette(classes)["dash"], sort=classes),
    )
    return sized(bars, tops, *upright(references, "threshold", middle=0.6), width=WIDTH, height=HEIGHT)


def _within_unit(rows: list[dict[str, Any]]) -> bool:
    return all(row["bin_left"] >= -1e-9 and row["bin_right"] <= 1 + 1e-9 for row in rows)


def per_class(exhibit: Exhibit, _references: Sequence[Reference] = ()) -> Chart:
    """Every share that is known of each class, as dots on one scale; the 20 first classes are drawn."""
    head = next((name for name in ("class", "label", "actual") if name in exhibit.columns), None)
    shares = [name for name, values in exhibit.columns.items() if name != head and _is_share(name, values)]
    if head is None or not shares or not exhibit.columns[head]:
        return None
    names = labels(exhibit.columns[head][:20])
    long = [
        {"class": names[label], "metric": share, "value": exhibit.columns[share][place]}
        for share in shares
        for place, label in enumerate(exhibit.columns[head][:20])
        if is_number(exhibit.columns[share][place])
    ]
    scales = palette(shares)
    floor = min(row["value"] for row in long)
    domain = [math.floor(max(0.0, floor - 0.02) * 10) / 10, 1.0]
    points = (
        alt.Chart(source(long))
        .mark_point(filled=True, size=90, opacity=0.95)
        .encode(
            x=x_axis("value", "", domain=domain, grid=True),
            y=alt.Y("class:N", sort=list(names.values()), title=None, axis=alt.Axis(grid=True, ticks=False)),
            color=alt.Color("metric:N", scale=scales["color"], sort=shares),
            shape=alt.Shape("metric:N", scale=scales["shape"], sort=shares),
        )
    )
    return sized(points, width=WIDTH - 40, height=max(60, 30 * len(names)))


def _is_share(name: str, values: list[Any]) -> bool:
    if name in {"n", "count", "support", "rows", "lower", "upper"} or name.endswith(("_lower", "_upper")):
        return False
    given = [value for value in values if value is not None and value == value]  # noqa: PLR0124 - leaves NaN out
    return bool(given) and all(is_share(value) for value in given)
