"""Charts of groups and purposes: weak slices, protected groups, operating points.

In: exhibits "weak_slices", "fairness", "fairness_crossed", "operating_points", and the bounds of a standard. Out:
Altair charts; None where the exhibit holds nothing to draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import altair as alt

from roadworthy.measures.charts.data import drawable_rows, is_number
from roadworthy.measures.charts.spans import MOST_NAMES, broken_over_lines, named_rows, spans
from roadworthy.measures.charts.theme import Reference
from roadworthy.records.evidence import Exhibit

__all__ = ["fairness", "operating_points", "weak_slices"]

Chart = alt.TopLevelMixin | None
_RATES = {
    "positive_share": "share decided as the event",
    "recall": "recall: share of the events that are found",
    "false_alarm_rate": "share of the non-events that raise an alarm",
    "error": "error",
}
_COMPARED = {"positive_share": ("demographic_parity",), "recall": ("equal_opportunity", "equalized_odds")}
_COMPARED |= {"false_alarm_rate": ("equalized_odds",), "error": ("group_error",)}
_SHARES = (0.0, 1.0)


def weak_slices(exhibit: Exhibit, _references: Sequence[Reference] = ()) -> Chart:
    """The error in each group with its interval, and elsewhere as an upright tick; at most 20 groups."""
    rows = [row for row in drawable_rows(exhibit, ["error"]) if "slice" in row][:MOST_NAMES]
    if not rows:
        return None
    names = broken_over_lines(row["slice"] for row in rows)
    shown = named_rows(rows, names, "slice", "error", ("lower", "upper"))
    for line, row in zip(shown, rows, strict=True):
        line["beside"] = row.get("elsewhere")
    least = 0.0 if all(row["error"] >= 0 for row in rows) else min(row["error"] for row in rows)
    return spans(shown, "error in the group (dot) and elsewhere (tick)", limits=(least, 1e15))


def fairness(exhibit: Exhibit, references: Sequence[Reference] = ()) -> Chart:
    """A panel per rate, a line per group with its interval; at most 20 groups.

    Where one column is compared and a difference or a ratio is bounded, the line is as far from the highest group (for
    errors: the lowest) as the standard permits.
    """
    every = drawable_rows(exhibit, [])
    if not {"column", "group"} <= set(exhibit.columns):
        return None
    alone = len({row["column"] for row in every}) == 1
    rows = [{**row, "who": row["group"] if alone else f"{row['column']}: {row['group']}"} for row in every[:MOST_NAMES]]
    names = broken_over_lines(row["who"] for row in rows)
    panels: list[alt.LayerChart] = []
    for rate, title in _RATES.items():
        if panels and rate == "error":
            break  # where decisions are compared, these say which way each group's errors go
        shown = named_rows(rows, names, "who", rate, (f"{rate}_lower", f"{rate}_upper"))
        if shown:
            lines = list(_permitted(rate, [row["value"] for row in shown], references)) if alone else []
            panels.append(_panel(shown, title, lines))
    if not panels:
        return None
    return alt.vconcat(*panels, spacing=22) if len(panels) > 1 else panels[0]


def _panel(shown: list[dict[str, Any]], title: str, lines: Sequence[Reference]) -> alt.LayerChart:
    shares = all(0 <= row["value"] <= 1 for row in shown)
    return spans(shown, title, limits=_SHARES if shares else None, references=lines)


def _permitted(rate: str, values: Sequence[float], references: Iterable[Reference]) -> Iterable[Reference]:
    """Where a group may lie at most, given the group at the other end; a ratio and a difference at most once each."""
    highest, lowest = max(values), min(values)
    for one in references:
        if not is_number(one.value):
            continue
        for stem in _COMPARED.get(rate, ()):
            if one.of == f"{stem}_difference" and rate == "error":
                yield Reference(of=rate, value=lowest + one.value, label=f"{one.value:g} above the lowest")
            elif one.of == f"{stem}_difference":
                yield Reference(of=rate, value=highest - one.value, label=f"{one.value:g} below the highest")
            elif one.of == f"{stem}_ratio":
                yield Reference(of=rate, value=highest * one.value, label=f"{one.value:g} of the highest")


def operating_points(exhibit: Exhibit, references: Sequence[Reference] = ()) -> Chart:
    """Precision and recall of each purpose's threshold with their intervals, beside the present one."""
    rows = drawable_rows(exhibit, [])
    if "purpose" not in exhibit.columns:
        return None
    names = broken_over_lines(row["purpose"] for row in rows[:MOST_NAMES])
    series = ("precision", "recall")
    shown = [
        {**line, "series": metric}
        for metric in series
        for line in named_rows(rows, names, "purpose", metric, (f"{metric}_lower", f"{metric}_upper"))
        if 0 <= line["value"] <= 1
    ]
    if not shown:
        return None
    order = list(names.values())
    shown.sort(key=lambda line: order.index(line["name"]))
    lines = [one for one in references if one.of in series and is_number(one.value) and 0 <= one.value <= 1]
    return spans(shown, "precision and recall", series=series, limits=_SHARES, references=lines)
