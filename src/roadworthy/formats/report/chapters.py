"""What the page derives from a chapter: its sign, its measurements as rows of texts, its pictures in families.

In: a ``ChapterView``. Out: plain values for the template. Law: what does not stand open waits behind a click, and is
counted there.
"""

from __future__ import annotations

from typing import Any

from roadworthy.formats import wording
from roadworthy.formats.report.tables import MOST_OPEN, MOST_ROWS
from roadworthy.formats.report.view import ChapterState, ChapterView, ChartView, MeasureRow
from roadworthy.records.evidence import Finding

__all__ = ["STATES", "shown_chapter", "worth_reading"]

STATES = {
    ChapterState.FAILS: ("bad", "✕", "fails"),
    ChapterState.OPEN: ("open", "?", "to look at"),
    ChapterState.PASSES: ("ready", "✓", "passes"),
    ChapterState.NOTED: ("quiet", "i", "looked at"),
}
MOST_FINDINGS = 8
MOST_NOTES = 4
MOST_OF_A_FAMILY = 4
_MANY = 6
"""A family of at most so many pictures stands open whole; of tables two do."""


def shown_chapter(chapter: ChapterView, place: int) -> dict[str, Any]:
    """A chapter as the template takes it; ``place`` makes its anchor."""
    grave = len(worth_reading(chapter.findings))
    open_ = min(MOST_FINDINGS, max(grave, MOST_NOTES))
    rows = [_measured(row) for row in chapter.measurements[:MOST_ROWS]]
    first, families = _families(chapter.charts)
    return {
        "id": f"chapter-{place}",
        "view": chapter,
        "state": STATES[chapter.state],
        "lead": "" if _told_already(chapter) else chapter.summary,
        "findings": chapter.findings[:open_],
        "more_findings": chapter.findings[open_:],
        "measured": {
            "open": rows[:MOST_OPEN],
            "more": rows[MOST_OPEN:],
            "total": len(chapter.measurements),
            "sliced": any(row.measurement.slice for row in chapter.measurements),
            "judged": any(row.outcome is not None for row in chapter.measurements),
        },
        "charts": first,
        "families": families,
    }


def worth_reading(findings: tuple[Finding, ...]) -> list[Finding]:
    """What fails or asks a person, the gravest first."""
    ranks = {"fails": 0, "suspects": 1}
    return sorted((one for one in findings if one.grade in ranks), key=lambda one: ranks[one.grade])


def _told_already(chapter: ChapterView) -> bool:
    """Whether the summary is the sentence of a finding, which stands below it anyway."""
    return any(chapter.summary.startswith(one.sentence) for one in chapter.findings if one.sentence)


def _measured(row: MeasureRow) -> dict[str, Any]:
    one = row.measurement
    valued = one.value is not None and not one.error
    span = wording.interval(one.lower, one.upper, one.unit, row.bound) if valued else ""
    return {
        "metric": one.metric,
        "slice": one.slice,
        "value": wording.against(one.value, row.bound, one.unit) if valued else wording.NOTHING,
        "interval": span,
        "n": one.n,
        "among": one.among,
        "clusters": one.clusters,
        "method": "" if one.method == "exact" else one.method,
        "outcome": row.outcome,
        "why": f"the check broke: {one.error}" if one.error else one.insufficient or one.reason,
    }


def _families(charts: tuple[ChartView, ...]) -> tuple[list[ChartView], list[dict[str, Any]]]:
    """What stands open; and of families of many members (``dependence:age``) those that wait, family by family."""
    members: dict[str, list[ChartView]] = {}
    for chart in charts:
        members.setdefault(chart.name.partition(":")[0], []).append(chart)
    first: list[ChartView] = []
    waiting = []
    for family, those in members.items():
        drawn = any(chart.svg for chart in those)
        few = those if len(those) <= (_MANY if drawn else 2) else those[: MOST_OF_A_FAMILY if drawn else 2]
        first += few
        if len(those) > len(few):
            waiting.append({"name": family.replace("_", " "), "charts": those[len(few) :]})
    return first, waiting
