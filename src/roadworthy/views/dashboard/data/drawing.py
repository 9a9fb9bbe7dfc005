"""Pictures of the data: two sides of a column, effect and probability and missing values over windows.

In: sketches, shifts, marks. Out: ``Picture``s; None where there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar

from altair.utils.schemapi import debug_mode

from roadworthy.measures.charts import Reference
from roadworthy.measures.charts.distributions import distribution, distribution_columns, distribution_words
from roadworthy.measures.charts.probabilities import ChancePoint, chance_columns, chance_words, probabilities
from roadworthy.measures.charts.series import NARROW
from roadworthy.measures.sketches import CategorySketch, NumberSketch
from roadworthy.records.evidence import Exhibit
from roadworthy.records.shift import Shift, ShiftKind
from roadworthy.records.window import WindowSummary
from roadworthy.views.dashboard.data.trails import Mark
from roadworthy.views.dashboard.pictures import Picture, Point, draw, draw_exhibit, draw_series

__all__ = ["chance_series", "effect_series", "of_column", "of_details", "of_score", "share_series", "volume_series"]

_WIDE = 680
Trail = Sequence[tuple[WindowSummary, Mark | None]]
Sketch = NumberSketch | CategorySketch
P = ParamSpec("P")
T = TypeVar("T")


def _unchecked(make: Callable[P, T]) -> Callable[P, T]:
    """Made without checking each part against the schema: that takes ten times as long, and the renderer checks all."""

    @wraps(make)
    def made(*args: P.args, **more: P.kwargs) -> T:
        with debug_mode(arg=False):
            return make(*args, **more)

    return made


@_unchecked
def of_score(old: NumberSketch, new: NumberSketch, title: str) -> Picture | None:
    """The score on both sides, for half a page."""
    chart = distribution(old, new, "score", width=NARROW)
    if chart is None:
        return None
    return draw(
        chart,
        alt_text=distribution_words(old, new, title),
        title=title,
        note="What the model answers now, beside its answers on rows that it had not learned from.",
        columns=distribution_columns(old, new),
    )


@_unchecked
def of_column(old: Sketch, new: Sketch, name: str, *, time: bool, note: str) -> Picture | None:
    """A column on both sides, for a whole page and for a phone."""
    wide, narrow = (distribution(old, new, name, width=width, time=time) for width in (_WIDE, NARROW - 30))
    if wide is None:
        return None
    return draw(
        wide,
        alt_text=distribution_words(old, new, name, time=time),
        title="Then and now",
        note=note,
        narrow=narrow,
        columns=distribution_columns(old, new, time=time),
    )


def of_details(shift: Shift, title: str) -> Picture | None:
    """Both sides by the few cells that a record keeps: where no bundle holds the reference."""
    details = shift.details
    if not {"cells", "reference", "current"} <= set(details):
        return None
    columns = {"cell": details["cells"], "reference": details["reference"], "current": details["current"]}
    return draw_exhibit(Exhibit(name="drift_cells", title=title, columns=columns, note="Share of the rows by value."))


@_unchecked
def effect_series(trail: Trail, floor: float, what: str) -> Picture | None:
    """How far it moved in each window, with the effect from which on somebody is called."""
    points = [
        Point(
            start_us=one.start_us,
            end_us=one.end_us,
            value=None if mark is None else mark.effect,
            alarm=mark is not None and mark.alarm,
        )
        for one, mark in trail
    ]
    line = Reference(of="value", value=floor, label=f"calls somebody from {floor:.2g} on")
    return draw_series(
        points,
        "effect",
        references=[line],
        title="How far it moved",
        note=f"Effect of {what}: which share of the rows lies elsewhere than in the reference, without chance's part.",
        half=True,
    )


@_unchecked
def chance_series(trail: Trail) -> Picture | None:
    """How likely chance alone is, in each window, with the level that it had to be within."""
    points = [
        ChancePoint(start_us=one.start_us, end_us=one.end_us, p=mark.p, level=mark.level, beyond=mark.beyond)
        for one, mark in trail
        if mark is not None
    ]
    wide = probabilities(points, width=NARROW)
    if wide is None:
        return None
    return draw(
        wide,
        alt_text=chance_words(points),
        title="How likely chance alone is",
        note="The lower, the surer is the change. Below the line, which the alarm budget draws, it is proven.",
        columns=chance_columns(points),
    )


@_unchecked
def share_series(trail: Trail, kind: ShiftKind, before: float | None) -> Picture | None:
    """The share of missing or new values in each window; None where there was never one."""
    if not before and not any(mark is not None and mark.now for _, mark in trail):
        return None
    points = [
        Point(
            start_us=one.start_us,
            end_us=one.end_us,
            value=None if mark is None else mark.now,
            alarm=mark is not None and mark.alarm,
        )
        for one, mark in trail
    ]
    words = "missing" if kind is ShiftKind.MISSING else "new"
    notes = {"missing": "Share of rows without a value.", "new": "Share of values that the reference does not know."}
    lines = [] if before is None else [Reference(of="value", value=before, label="reference")]
    return draw_series(
        points,
        f"{words} share",
        references=lines,
        title=f"{words.capitalize()} values",
        note=notes[words],
        percent=True,
        half=True,
    )


@_unchecked
def volume_series(points: Sequence[Point]) -> Picture | None:
    """Rows a window."""
    return draw_series(points, "rows a window", title="Rows", note="How many rows came in each window.", half=True)
