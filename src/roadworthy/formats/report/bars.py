"""The small drawings inside the page: one interval beside its bound, and the signs of the outcomes.

In: figures. Out: SVG text made of numbers and fixed words only, coloured by the page's own style sheet.
Law: value, interval and bounds are always all inside the drawing.
"""

from __future__ import annotations

import math

from roadworthy.formats.report.view import RequirementRow
from roadworthy.standard import CATALOGUE, format_quantity

__all__ = ["interval_bar"]

_WIDTH = 260.0
_HEIGHT = 40.0
_EDGE = 6.0
_MIDDLE = 12.0


def _finite(*values: float | None) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _domain(row: RequirementRow, points: list[float]) -> tuple[float, float]:
    """The stretch that is drawn: all points with room beside them, inside what the metric can be."""
    least, most = min(points), max(points)
    room = (most - least) * 0.16 or abs(most) * 0.1 or 1.0
    metric = CATALOGUE.get(row.verdict.metric)
    low = metric.low if metric is not None else None
    high = metric.high if metric is not None else None
    start = least - room if low is None else max(low, least - room)
    end = most + room if high is None else min(high, most + room)
    return min(start, least), max(end, most)


def interval_bar(row: RequirementRow) -> str:
    """Where value and interval lie against the bound; the permitted side is shaded.

    Empty without a value, and where the stretch between the points is wider than a number can say.

    >>> from roadworthy.records.evidence import Measurement, Phase
    >>> from roadworthy.records.verdict import Outcome, RequirementVerdict
    >>> measured = Measurement(metric="accuracy", value=0.9, lower=0.88, upper=0.92)
    >>> verdict = RequirementVerdict(requirement="accuracy >= 0.8", metric="accuracy", phase=Phase.RELEASE,
    ...     outcome=Outcome.PASS, sentence="", measurement=measured)
    >>> interval_bar(RequirementRow(verdict=verdict, at_least=0.8)).count("<svg")
    1
    """
    measured = row.verdict.measurement
    if measured is None or measured.value is None or not math.isfinite(measured.value):
        return ""
    bounds = _finite(row.at_least, row.at_most)
    points = [measured.value, *_finite(measured.lower, measured.upper), *bounds]
    start, end = _domain(row, points)
    if not math.isfinite(end - start):
        return ""

    def at(value: float) -> float:
        return _EDGE + (value - start) / (end - start) * (_WIDTH - 2 * _EDGE)

    left = at(row.at_least) if row.at_least is not None and math.isfinite(row.at_least) else _EDGE
    right = at(row.at_most) if row.at_most is not None and math.isfinite(row.at_most) else _WIDTH - _EDGE
    pieces = [f'<rect class="iv-track" x="0" y="{_MIDDLE - 5:g}" width="{_WIDTH:g}" height="10" rx="5"/>']
    if bounds and right > left:
        start_x = 0.0 if row.at_least is None else left
        end_x = _WIDTH if row.at_most is None else right
        place = f'x="{start_x:.1f}" y="{_MIDDLE - 5:g}" width="{end_x - start_x:.1f}"'
        pieces.append(f'<rect class="iv-good" {place} height="10" rx="5"/>')
    ends = _finite(measured.lower, measured.upper)
    if len(ends) == 2:
        low, high = at(ends[0]), at(ends[1])
        pieces.append(f'<path class="iv-range" d="M{low:.1f} {_MIDDLE:g}H{max(high, low + 1):.1f}"/>')
    pieces.append(f'<circle class="iv-value" cx="{at(measured.value):.1f}" cy="{_MIDDLE:g}" r="4.5"/>')
    for bound, sign in ((row.at_least, "≥"), (row.at_most, "≤")):
        if bound is not None and math.isfinite(bound):
            pieces.append(_marker(at(bound), f"{sign} {format_quantity(bound, measured.unit)}"))
    return f'<svg class="iv" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" aria-hidden="true">{"".join(pieces)}</svg>'


def _marker(x: float, words: str) -> str:
    anchor, place = ("start", x - 3) if x < 50 else ("end", x + 3) if x > _WIDTH - 50 else ("middle", x)
    return (
        f'<path class="iv-bound" d="M{x:.1f} 3V22"/>'
        f'<text class="iv-text" x="{max(0.0, min(_WIDTH, place)):.1f}" y="35" text-anchor="{anchor}">{words}</text>'
    )
