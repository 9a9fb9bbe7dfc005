"""Charts of training and of the choice: loss and quality by epoch; quality against latency and against size.

In: progress lines and a choice, first turned into exhibits of their own so that the table behind each picture
is kept. Out: Altair charts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from roadworthy.measures.charts.data import drawable_rows, is_number, labels, thinned
from roadworthy.measures.charts.parts import across, noted, palette, sized, source, upright, x_axis, y_axis
from roadworthy.measures.charts.theme import BLUE, PAPER, WIDTH, Reference
from roadworthy.records.evidence import Exhibit
from roadworthy.records.model import Candidate, Choice

__all__ = ["candidates", "candidates_exhibit", "training", "training_exhibit"]

Chart = alt.TopLevelMixin | None
_SIDES: dict[str, dict[str, Any]] = {
    "right": {"align": "left", "dx": 10, "dy": -9},
    "left": {"align": "right", "dx": -10, "dy": -9},
    "below": {"align": "left", "dx": 4, "dy": 17},
}
_PARTS = ("training rows", "validation rows")


def training_exhibit(candidate: Candidate) -> Exhibit:
    """The candidate's progress lines as a table; its name is ``training:`` and the candidate's."""
    lines = candidate.lines
    return Exhibit(
        name=f"training:{candidate.name}",
        title=f"How {candidate.name} learned",
        columns={
            "step": [line.step for line in lines],
            "train_loss": [line.train_loss for line in lines],
            "valid_loss": [line.valid_loss for line in lines],
            "train_quality": [line.train_quality for line in lines],
            "valid_quality": [line.valid_quality for line in lines],
            "best": [line.step == candidate.best_step for line in lines],
        },
        note=f"The model that stands is from step {candidate.best_step}." if candidate.best_step else "",
    )


def candidates_exhibit(choice: Choice) -> Exhibit:
    """The choice's table, one row per candidate; keys that only some candidates have are null for the others."""
    keys = list(dict.fromkeys(key for row in choice.table for key in row))
    columns: dict[str, list[Any]] = {key: [row.get(key) for row in choice.table] for key in keys}
    return Exhibit(
        name="candidates",
        title="Quality against latency and size",
        columns=columns,
        note="Up and to the left is better. The vertical lines are intervals; the filled mark is the choice.",
    )


def training(exhibit: Exhibit, references: Sequence[Reference] = ()) -> Chart:
    """Loss above, quality below, on training and on validation rows."""
    every = drawable_rows(exhibit, ["step"])
    rows = thinned(every)
    if not rows:
        return None
    best = [Reference(of="step", value=row["step"], label="best") for row in every if row.get("best") is True][:1]
    panels = []
    for kind in ("loss", "quality"):
        long = [
            {"step": row["step"], "part": part, "value": row.get(f"{side}_{kind}")}
            for side, part in zip(("train", "valid"), _PARTS, strict=True)
            for row in rows
            if is_number(row.get(f"{side}_{kind}"))
        ]
        if long:
            panels.append(_panel(long, kind, [*best, *references]))
    if not panels:
        return None
    return alt.vconcat(*panels, spacing=26) if len(panels) > 1 else panels[0]


def _panel(rows: list[dict[str, Any]], kind: str, references: Sequence[Reference]) -> alt.LayerChart:
    scales = palette(_PARTS)
    steps = sorted({row["step"] for row in rows})
    lone = len(steps) == 1
    middle = steps[0] + 0.6 * (steps[-1] - steps[0])
    ticks: dict[str, Any] = {"values": steps} if len(steps) <= 6 else {"tickMinStep": 1}
    base = alt.Chart(source(rows)).encode(
        x=x_axis("step", "epoch or round" if kind == "quality" else "", format="d", **ticks),
        y=y_axis("value", kind),
        color=alt.Color("part:N", scale=scales["color"], sort=list(_PARTS)),
    )
    dash = alt.StrokeDash("part:N", scale=scales["dash"], sort=list(_PARTS))
    marks = base.mark_point(filled=True, size=80) if lone else base.mark_line().encode(strokeDash=dash)
    layers = [
        marks,
        *upright(references, "step", quiet=kind != "loss", middle=middle),
        *across(references, f"valid_{kind}"),
    ]
    return sized(*layers, width=WIDTH, height=140)


def candidates(exhibit: Exhibit, references: Sequence[Reference] = ()) -> Chart:
    """Quality with its interval against p99 latency above, and against size below."""
    rows = drawable_rows(exhibit, ["quality"])
    if not rows or "candidate" not in rows[0]:
        return None
    names = labels([row["candidate"] for row in rows], 18)
    shown = [{**row, "name": names[row["candidate"]], "chosen": bool(row.get("chosen"))} for row in rows]
    for row in shown:
        row["size_kb"] = row["size_bytes"] / 1000 if is_number(row.get("size_bytes")) else None
    axes = (("p99_ms", "p99 latency of one row, ms", references), ("size_kb", "size, kB", _in_kilobytes(references)))
    panels = [_candidates_panel(shown, field, title, bounds) for field, title, bounds in axes if _any(shown, field)]
    if not panels:
        return None
    return alt.vconcat(*panels, spacing=26) if len(panels) > 1 else panels[0]


def _side(row: dict[str, Any], rows: Sequence[dict[str, Any]], field: str, most: float) -> str:
    """To the right of its mark; elsewhere where the name would lie on another mark."""
    height = max(other["quality"] for other in rows) - min(other["quality"] for other in rows)
    near = [other for other in rows if abs(other["quality"] - row["quality"]) <= height / 4]
    if not any(0 < other[field] - row[field] <= most / 4 for other in near):
        return "right"
    return "left" if row[field] > most / 4 else "below"


def _any(rows: list[dict[str, Any]], field: str) -> bool:
    return any(is_number(row.get(field)) for row in rows)


def _in_kilobytes(references: Sequence[Reference]) -> list[Reference]:
    scaled = [Reference(of="size_kb", value=r.value / 1000, label=r.label) for r in references if r.of == "size_bytes"]
    return [*scaled, *(reference for reference in references if reference.of != "size_bytes")]


def _candidates_panel(
    rows: list[dict[str, Any]], field: str, title: str, references: Sequence[Reference]
) -> alt.LayerChart:
    here = [row for row in rows if is_number(row.get(field))]
    most = max(row[field] for row in here)
    x = x_axis(field, title, domain=[0.0, most * 1.25 or 1.0])
    near = [r for r in references if r.of != field or r.value <= most * 1.25]
    base = alt.Chart(source(here))
    layers: list[alt.Chart] = []
    bounded = [row for row in here if is_number(row.get("quality_lower")) and is_number(row.get("quality_upper"))]
    if bounded:
        layers.append(
            alt.Chart(source(bounded))
            .mark_rule(color=BLUE, strokeWidth=2, strokeOpacity=0.55)
            .encode(x=x, y=y_axis("quality_lower", "quality"), y2="quality_upper:Q")
        )
    fill = alt.Fill("chosen:N", scale=alt.Scale(domain=[False, True], range=[PAPER, BLUE]), legend=None)
    layers.append(
        base.mark_point(stroke=BLUE, strokeWidth=2, size=110, opacity=1).encode(
            x=x, y=y_axis("quality", "quality"), fill=fill
        )
    )
    for side, place in _SIDES.items():
        named = [row for row in here if _side(row, here, field, most) == side]
        words = alt.Chart(source(named)).encode(x=x, y=alt.Y("quality:Q"), text="name:N")
        layers += noted(words, **place) if named else []
    layers += [*across(near, "quality"), *upright(near, field, top=False, middle=most * 0.7)]
    return sized(*layers, width=WIDTH, height=150)
