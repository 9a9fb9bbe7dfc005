"""The look of every chart: colours, type, sizes, and what they become in the dark.

In: nothing. Out: a palette of fixed hexadecimal colours, the Vega configuration, and a style sheet that maps each
of these colours to its dark counterpart. The hues are Okabe and Ito's, told apart by people with any colour
vision (https://jfly.uni-koeln.de/color/), darkened where they carry thin lines; no series is told by colour alone.
Law: every colour that a chart uses stands in ``DARK``, so no chart is unreadable in either scheme.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["DARK", "DASHES", "HEIGHT", "SERIES", "SHAPES", "WIDTH", "Reference", "config", "style_sheet"]

INK = "#1f2933"
MUTED = "#55616d"
GRID = "#e2e6ea"
PAPER = "#ffffff"
BLUE = "#0072b2"
VERMILION = "#c44e00"
GREEN = "#00825f"
PURPLE = "#a8497f"
AMBER = "#8f6400"
SKY = "#2a8fc4"

SERIES = (BLUE, VERMILION, GREEN, PURPLE, AMBER, SKY)
DASHES = ([1, 0], [7, 3], [2, 3], [9, 3, 2, 3], [4, 2], [1, 2])
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")

DARK = {
    INK: "#e8ebee",
    MUTED: "#a9b4be",
    GRID: "#323c45",
    PAPER: "#1a2127",
    BLUE: "#5ab6ec",
    VERMILION: "#ff9b5c",
    GREEN: "#45c99e",
    PURPLE: "#e39cc4",
    AMBER: "#e6bd58",
    SKY: "#8fd0f5",
}
"""Each colour in the light, and in the dark."""

WIDTH = 360
HEIGHT = 230
"""The plotting area in pixels; with axes a chart is about 420 wide, so its 13-pixel letters stay legible on a phone."""

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""Of one metric on every system, so that labels take the room that they were given."""


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """A line to compare with: a requirement's bound or the chosen threshold.

    ``of`` is the exhibit's column it belongs to (``"precision"``, ``"threshold"``, ``"p99_ms"``).
    """

    of: str
    value: float
    label: str


def config() -> dict[str, Any]:
    """The Vega-Lite configuration that all charts share."""
    return {
        "background": None,
        "font": FONT,
        "aria": False,
        "padding": {"left": 6, "right": 14, "top": 6, "bottom": 6},
        "view": {"stroke": None},
        "axis": {
            "labelFontSize": 13,
            "titleFontSize": 13,
            "titleFontWeight": "normal",
            "labelColor": MUTED,
            "titleColor": INK,
            "gridColor": GRID,
            "domainColor": MUTED,
            "tickColor": MUTED,
            "labelPadding": 5,
            "titlePadding": 8,
            "labelLimit": 180,
            "tickCount": 5,
            "labelOverlap": "greedy",
            "labelFlush": False,
        },
        "axisY": {
            "domain": False,
            "ticks": False,
            "titleAngle": 0,
            "titleAlign": "left",
            "titleAnchor": "end",
            "titleBaseline": "bottom",
            "titleX": 0,
            "titleY": -9,
        },
        "axisX": {"grid": False, "ticks": True, "tickSize": 4},
        "legend": {
            "orient": "top",
            "direction": "horizontal",
            "title": None,
            "labelFontSize": 13,
            "labelColor": INK,
            "labelLimit": 120,
            "symbolSize": 90,
            "symbolStrokeWidth": 2.2,
            "columnPadding": 12,
            "offset": 31,
            "columns": 4,
        },
        "line": {"strokeWidth": 2.2, "strokeCap": "round", "strokeJoin": "round"},
        "text": {"fontSize": 13, "color": INK},
        "range": {"category": list(SERIES)},
    }


def style_sheet() -> str:
    """Rules for inside an SVG: in the dark, every colour's counterpart."""
    dark = "".join(
        f'.rw-chart [{side}="{light}"]{{{side}:{shade}}}'
        for light, shade in DARK.items()
        for side in ("fill", "stroke")
    )
    return f"@media screen and (prefers-color-scheme:dark){{{dark}}}"
