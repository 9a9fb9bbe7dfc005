"""Quality before labels come, window by window: the estimate in its band, and beside it what labels showed later.

In: exhibits "estimated:METRIC" with columns ``window``, ``estimate``, ``lower``, ``upper``, perhaps ``realised``. Out:
an Altair chart; None where the exhibit holds nothing to draw. Law: a window without an estimate is a gap, not a line
across.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from roadworthy.measures.charts.data import drawable_rows, is_number
from roadworthy.measures.charts.parts import across, palette, sized, source, x_axis, y_axis
from roadworthy.measures.charts.theme import BLUE, WIDTH, Reference
from roadworthy.records.evidence import Exhibit

__all__ = ["estimated"]

_SERIES = ("estimated", "realised")
_HEIGHT = 170


def estimated(exhibit: Exhibit, references: Sequence[Reference] = ()) -> alt.LayerChart | None:
    """Band and dots of the estimates, squares for what was realised; what a standard bounds as a line."""
    rows = drawable_rows(exhibit, ["window"])
    told = [row for row in rows if all(is_number(row.get(key)) for key in ("estimate", "lower", "upper"))]
    seen = [row for row in rows if is_number(row.get("realised"))]
    if not told and not seen:
        return None
    title = exhibit.name.partition(":")[2].replace("_", " ") or "quality"
    ends = [row[key] for row in told for key in ("lower", "upper")] + [row["realised"] for row in seen]
    ends += [one.value for one in references if one.of == "estimate" and is_number(one.value)]
    room = 0.06 * (max(ends) - min(ends)) or 0.01
    domain = [min(ends) - room, max(ends) + room]
    places = [row["window"] for row in rows]
    x = x_axis("window", "window", domain=[min(places) - 0.5, max(places) + 0.5], format="d", tickMinStep=1)
    dots = [{"window": row["window"], "value": row["estimate"], "series": _SERIES[0]} for row in told]
    dots += [{"window": row["window"], "value": row["realised"], "series": _SERIES[1]} for row in seen]
    layers: list[Any] = [
        alt.Chart(source(run))
        .mark_area(color=BLUE, opacity=0.2)
        .encode(x=x, y=y_axis("lower", title, domain=domain), y2="upper:Q")
        for run in _runs(told)
    ]
    shown = [name for name in _SERIES if any(row["series"] == name for row in dots)]
    scales = palette(shown)
    layers.append(
        alt.Chart(source(dots))
        .mark_point(filled=True, size=46, opacity=1)
        .encode(
            x=x,
            y=y_axis("value", title, domain=domain),
            color=alt.Color("series:N", scale=scales["color"], sort=shown),
            shape=alt.Shape("series:N", scale=scales["shape"], sort=shown),
        )
    )
    return sized(*layers, *across(references, "estimate"), width=WIDTH, height=_HEIGHT)


def _runs(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Neighbouring windows together; one alone gets a little width, so that its band can be seen."""
    runs: list[list[dict[str, Any]]] = []
    for row in rows:
        if runs and row["window"] == runs[-1][-1]["window"] + 1:
            runs[-1].append(row)
        else:
            runs.append([row])
    return [
        run if len(run) > 1 else [{**run[0], "window": run[0]["window"] + shift} for shift in (-0.2, 0.2)]
        for run in runs
    ]
