"""From a chart to SVG and PNG, offline.

In: an Altair chart. Out: an SVG that fits any width and either colour scheme, or PNG bytes on white. The SVG
keeps its plain colours, so it is right in any viewer; a style sheet inside replaces them in the dark.
Laws: the same chart gives the same bytes; two SVGs on one page share no identifier.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import altair as alt
import vl_convert

from roadworthy.measures.charts.theme import PAPER, config, style_sheet

__all__ = ["to_png", "to_svg"]

_OPENING = re.compile(r'<svg [^>]*?width="([\d.]+)" height="([\d.]+)" viewBox="([^"]*)"[^>]*>')
_IDENTIFIER = re.compile(r'(\bid="|url\(#|href="#)([A-Za-z][\w-]*)')
_EMPTY_PATH = re.compile(
    r'<path class="(?:fore|back)ground" aria-hidden="true" d="[^"]*"(?: pointer-events="none")?(?: display="none")?/>'
)
_NOISE = re.compile(r' (?:pointer-events="none"|class="mark-[^"]*"|role="[^"]*"|aria-[a-z]+="[^"]*"|opacity="1")')
_TAG = re.compile(r"<[^>]*>")
_LONG_NUMBER = re.compile(r"(\d+\.\d{2})\d+")
"""A coordinate; the figures that people read stand between tags and keep their digits."""


def _specification(chart: alt.TopLevelMixin) -> dict[str, Any]:
    specification: dict[str, Any] = chart.to_dict(validate=False)
    specification["config"] = config()
    return specification


def to_svg(chart: alt.TopLevelMixin) -> str:
    """One ``<svg>`` element with a view box, scaled by its container up to 1.2 times its own size.

    It is a picture: whoever shows it adds the words for people who cannot see it.
    """
    drawn = vl_convert.vegalite_to_svg(_specification(chart), allowed_base_urls=[])
    opening = _OPENING.match(drawn)
    if opening is None:
        raise ValueError(f"the renderer gave no SVG but {drawn[:80]!r}")
    width, height, box = opening.groups()
    body = drawn[opening.end() :]
    body = _NOISE.sub("", _EMPTY_PATH.sub("", body))
    body = _TAG.sub(lambda tag: _LONG_NUMBER.sub(r"\1", tag[0]), body)
    mark = "c" + hashlib.sha256(body.encode()).hexdigest()[:8]
    body = _IDENTIFIER.sub(rf"\g<1>{mark}-\g<2>", body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="rw-chart" width="{width}" height="{height}" viewBox="{box}" '
        f'style="max-width:{float(width) * 1.2:.0f}px"><style>{style_sheet()}</style>{body}'
    )


def to_png(chart: alt.TopLevelMixin, scale: float = 2.0) -> bytes:
    """PNG bytes on white, ``scale`` times the chart's own size."""
    specification = _specification(chart)
    specification["config"]["background"] = PAPER
    return bytes(vl_convert.vegalite_to_png(specification, scale=scale, allowed_base_urls=[]))
