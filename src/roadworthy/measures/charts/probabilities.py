"""How likely chance alone is, window by window, on a scale of powers of ten.

In: ``ChancePoint``s, oldest first. Out: an Altair chart at a width, its words and table; None where there is nothing to
draw. Laws: what is less likely than 1e-30 is drawn there; proven windows are told apart by shape as well as by colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import altair as alt
import msgspec

from roadworthy.measures.charts.parts import sized, source
from roadworthy.measures.charts.theme import BLUE, GREEN, VERMILION
from roadworthy.measures.drift.words import p_words

__all__ = ["ChancePoint", "chance_columns", "chance_words", "probabilities"]

_LEAST = 1e-30
_HEIGHT = 190
_KINDS = ("within chance", "proven")
_TIME = (
    "utchours(datum.value) + utcminutes(datum.value) + utcseconds(datum.value) == 0"
    " ? utcFormat(datum.value, '%-d %b') : utcFormat(datum.value, '%H:%M')"
)


class ChancePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One window: ``p`` and the ``level`` that it had to be within; ``beyond``: it was."""

    start_us: int
    end_us: int
    p: float
    level: float
    beyond: bool


def probabilities(points: Sequence[ChancePoint], *, width: int) -> alt.LayerChart | None:
    """The chart, the level as a dashed line."""
    rows: list[dict[str, Any]] = [
        {
            "at": (one.start_us + one.end_us) / 2e3,
            "p": min(1.0, max(one.p, _LEAST)),
            "level": max(one.level, _LEAST),
            "kind": _KINDS[one.beyond],
        }
        for one in points
    ]
    if not rows:
        return None
    least = min(min(row["p"], row["level"]) for row in rows)
    ends = [rows[0]["at"], rows[-1]["at"]]
    axis = alt.Axis(labelFlush=True, tickCount=5, labelSeparation=14, labelExpr=_TIME)
    when = alt.Scale(type="utc", domain=ends, nice=False) if ends[0] != ends[1] else alt.Scale(type="utc")
    x = alt.X("at:T", title=None, scale=when, axis=axis)
    scale = alt.Scale(type="log", domain=[float(least) / 3, 2.0], nice=False)

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title="p", scale=scale, axis=alt.Axis(format="~e", tickCount=5))

    kinds = [kind for kind in _KINDS if any(row["kind"] == kind for row in rows)]
    colours = {_KINDS[0]: BLUE, _KINDS[1]: VERMILION}
    shapes = {_KINDS[0]: "circle", _KINDS[1]: "triangle-up"}
    data = source(rows)
    legend = alt.Legend() if len(kinds) > 1 else None
    dots = (
        alt.Chart(data)
        .mark_point(filled=True, size=44, opacity=1)
        .encode(
            x=x,
            y=y("p"),
            color=alt.Color("kind:N", sort=kinds, legend=legend,
                            scale=alt.Scale(domain=kinds, range=[colours[kind] for kind in kinds])),
            shape=alt.Shape("kind:N", sort=kinds, legend=legend,
                            scale=alt.Scale(domain=kinds, range=[shapes[kind] for kind in kinds])),
        )
    )  # fmt: skip
    level = alt.Chart(data).mark_line(color=GREEN, strokeDash=[6, 3], strokeWidth=1.4).encode(x=x, y=y("level"))
    return sized(level, dots, width=width, height=_HEIGHT)


def chance_columns(points: Sequence[ChancePoint]) -> dict[str, list[Any]]:
    """The table behind the chart."""
    ends = [datetime.fromtimestamp(one.end_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M") for one in points]
    return {
        "until": ends,
        "p": [p_words(one.p).removeprefix("p ").removeprefix("= ") for one in points],
        "level": [f"{one.level:.1e}" for one in points],
        "proven": [one.beyond for one in points],
    }


def chance_words(points: Sequence[ChancePoint]) -> str:
    """The chart in words.

    >>> chance_words([ChancePoint(start_us=0, end_us=1, p=0.5, level=0.01, beyond=False)])
    'Probability that chance alone does it, over 1 windows: proven in 0 of them, the last p = 0.5'
    """
    if not points:
        return "Nothing to draw"
    proven = sum(one.beyond for one in points)
    return (
        f"Probability that chance alone does it, over {len(points):,} windows: proven in {proven:,} of them, "
        f"the last {p_words(points[-1].p)}"
    )
