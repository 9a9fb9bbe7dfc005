"""How many rows of each window have a label by now: bars beneath a figure over time.

In: ``LabelCount``s, oldest first. Out: an Altair chart at a width; None where no window has rows. Law: of more windows
than an eye can tell apart, neighbours are added up, so that no row is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import msgspec

from roadworthy.measures.charts.parts import sized, source
from roadworthy.measures.charts.theme import BLUE, MUTED

__all__ = ["LabelCount", "label_bars", "summed_counts"]

_MOST_BARS = 100
_HEIGHT = 84
_WITH, _WITHOUT = "with a label", "without"
_TIME = (
    "utchours(datum.value) + utcminutes(datum.value) + utcseconds(datum.value) == 0"
    " ? utcFormat(datum.value, '%-d %b') : utcFormat(datum.value, '%H:%M')"
)


class LabelCount(msgspec.Struct, frozen=True, kw_only=True):
    """A window (microseconds since 1970, UTC), its rows, and how many of them have a label."""

    start_us: int
    end_us: int
    rows: int
    labelled: int


def summed_counts(counts: Sequence[LabelCount]) -> list[LabelCount]:
    """At most 100 of them: neighbours together.

    >>> one = LabelCount(start_us=0, end_us=1, rows=3, labelled=1)
    >>> [(each.rows, each.labelled) for each in summed_counts([one] * 150)][:2]
    [(6, 2), (6, 2)]
    """
    size = -(-len(counts) // _MOST_BARS) or 1
    parts = [counts[begin : begin + size] for begin in range(0, len(counts), size)]
    return [
        LabelCount(
            start_us=part[0].start_us,
            end_us=part[-1].end_us,
            rows=sum(one.rows for one in part),
            labelled=sum(one.labelled for one in part),
        )
        for part in parts
    ]


def label_bars(counts: Sequence[LabelCount], *, width: int, height: int = _HEIGHT) -> alt.LayerChart | None:
    """Bars of rows, those with a label first."""
    shown = [one for one in summed_counts(counts) if one.rows]
    if not shown:
        return None
    rows: list[dict[str, Any]] = []
    for one in shown:
        known = min(one.labelled, one.rows)
        ends = {"start": one.start_us / 1e3, "end": one.end_us / 1e3}
        rows += [{**ends, "low": 0, "high": known, "kind": _WITH}] if known else []
        rows += [{**ends, "low": known, "high": one.rows, "kind": _WITHOUT}] if one.rows > known else []
    kinds = [kind for kind in (_WITH, _WITHOUT) if any(row["kind"] == kind for row in rows)]
    scale = alt.Scale(type="utc", domain=[rows[0]["start"], rows[-1]["end"]], nice=False)
    axis = alt.Axis(labelFlush=True, tickCount=6, labelSeparation=14, labelExpr=_TIME)
    colours = alt.Scale(domain=[_WITH, _WITHOUT], range=[BLUE, MUTED])
    opacity = alt.Scale(domain=[_WITH, _WITHOUT], range=[0.9, 0.35])
    legend = alt.Legend() if len(kinds) > 1 else None
    bars: alt.Chart = (
        alt.Chart(source(rows))
        .mark_rect()
        .encode(
            x=alt.X("start:T", title=None, scale=scale, axis=axis),
            x2="end:T",
            y=alt.Y("low:Q", title="rows", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=3, format="~s")),
            y2="high:Q",
            color=alt.Color("kind:N", scale=colours, sort=kinds, legend=legend),
            fillOpacity=alt.FillOpacity("kind:N", scale=opacity, sort=kinds, legend=None),
        )
    )
    return sized(bars, width=width, height=height)
