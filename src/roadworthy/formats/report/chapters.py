"""What the page derives from a chapter: its sign, its measurements as rows of texts, its pictures in families.

In: a ``ChapterView``. Out: plain values for the template. Law: what does not stand open waits behind a click, and is
counted there.
"""

from __future__ import annotations

from typing import Any

from roadworthy.formats import wording
from roadworthy.formats.report.tables import MOST_OPEN, MOST_ROWS
from roadworthy.formats.report.test_score import is_test_score, test_score_sections
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
MOST_NOTES = 5
MOST_OF_A_FAMILY = 4
_MANY = 6
"""A family of at most so many pictures stands open whole; of tables two do."""


def shown_chapter(chapter: ChapterView, place: int) -> dict[str, Any]:
    """A chapter as the template takes it; ``place`` makes its anchor."""
    grave = len(worth_reading(chapter.findings))
    rows = _merged([_measured(row) for row in chapter.measurements[:MOST_ROWS]])
    open_rows, waiting = _laid_open(rows)
    first, families = _families([chart for chart in chapter.charts if not is_test_score(chart)])
    return {
        "id": f"chapter-{place}",
        "view": chapter,
        "state": STATES[chapter.state],
        "lead": "" if _told_already(chapter) else chapter.summary,
        "findings": chapter.findings[: min(grave, MOST_FINDINGS)],
        "more_findings": chapter.findings[MOST_FINDINGS:grave],
        "notes": chapter.findings[grave:][:MOST_NOTES],
        "more_notes": chapter.findings[grave:][MOST_NOTES:],
        "test_score": next((test_score_sections(chart) for chart in chapter.charts if is_test_score(chart)), None),
        "measured": {
            "open": open_rows,
            "more": waiting,
            "total": len(chapter.measurements),
            "left_out": max(0, len(chapter.measurements) - MOST_ROWS),
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
    """Whether the summary is what a finding says, which stands below it anyway."""
    return any(
        chapter.summary.startswith(wording.first_sentence(one.sentence)) for one in chapter.findings if one.sentence
    )


def _measured(row: MeasureRow) -> dict[str, Any]:
    one = row.measurement
    valued = one.value is not None and not one.error
    span = wording.interval(one.lower, one.upper, one.unit, row.bound) if valued else ""
    return {
        "metric": one.metric,
        "slices": [one.slice],
        "value": wording.against(one.value, row.bound, one.unit) if valued else wording.NOTHING,
        "interval": span,
        "n": one.n,
        "among": one.among,
        "clusters": one.clusters,
        "method": "" if one.method == "exact" else one.method,
        "outcome": row.outcome,
        "why": f"the check broke: {one.error}" if one.error else one.insufficient or one.reason,
    }


def _merged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of one metric that say the same of several slices (all rows, and the only protected column) as one."""
    merged: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        key = tuple(str(value) for name, value in row.items() if name != "slices")
        if key in merged:
            merged[key]["slices"] += row["slices"]
        else:
            merged[key] = row
    return list(merged.values())


def _laid_open(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What is judged or counts for all rows stands open; slices that nobody asked for wait, unless they are all."""
    first = [row for row in rows if row["outcome"] is not None or "" in row["slices"]] or rows
    open_ = first[:MOST_OPEN]
    return open_, [row for row in rows if row not in open_]


def _families(charts: list[ChartView]) -> tuple[list[ChartView], list[dict[str, Any]]]:
    """What stands open; and of families of many members (``dependence:age``) those that wait, family by family.

    Of pictures of one and the same name the last stands open: it was made for this chapter.
    """
    members: dict[str, list[ChartView]] = {}
    for chart in charts:
        members.setdefault(chart.name.partition(":")[0], []).append(chart)
    first: list[ChartView] = []
    waiting = []
    for family, those in members.items():
        drawn = any(chart.svg for chart in those)
        if drawn and len({chart.name for chart in those}) == 1:
            first.append(those[-1])
            waiting += [{"name": those[0].title, "charts": those[:-1]}] if len(those) > 1 else []
            continue
        few = those if len(those) <= (_MANY if drawn else 2) else those[: MOST_OF_A_FAMILY if drawn else 2]
        first += few
        if len(those) > len(few):
            waiting.append({"name": family.replace("_", " "), "charts": those[len(few) :]})
    return first, waiting
