"""From a ``ReportView`` to one HTML text.

Owns what the page derives from the view (which figures stand on top, which picture belongs to which part) and the
template beside it. Law: the page refers to nothing outside itself.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from roadworthy.formats.report.chapters import shown_chapter, worth_reading
from roadworthy.formats.report.rendering import GRADES, OUTCOME, STATUS, environment
from roadworthy.formats.report.view import ChartView, ReportView, RequirementRow
from roadworthy.records.evidence import Finding
from roadworthy.records.verdict import Outcome
from roadworthy.standard import CATALOGUE
from roadworthy.standard.metric import MetricKind

if TYPE_CHECKING:
    import jinja2

__all__ = ["render_report"]

MOST_KEY_FIGURES = 6

_TALLY = {
    Outcome.PASS: ("passes", "pass"),
    Outcome.FAIL: ("fails", "fail"),
    Outcome.ERROR: ("check broke", "checks broke"),
    Outcome.INSUFFICIENT: ("not proven", "not proven"),
    Outcome.WAIVED: ("waived", "waived"),
}
_PARTS = {
    "candidates": "choice",
    "training": "training",
    "confusion": "decision",
    "tradeoff": "decision",
    "scores": "decision",
}
_RANK = {grade: place for place, grade in enumerate(GRADES)}
_URGENCY = [Outcome.FAIL, Outcome.ERROR, Outcome.INSUFFICIENT, Outcome.WAIVED, Outcome.PASS]


def render_report(view: ReportView) -> str:
    """The whole page. It needs no network, no script and no other file; equal views give equal pages.

    A picture that holds anything but a drawing raises ValueError.
    """
    charts: dict[str, list[ChartView]] = {"choice": [], "training": [], "decision": [], "evidence": []}
    for chart in view.charts:
        charts[_PARTS.get(chart.name.partition(":")[0], "evidence")].append(chart)
    key, more = _key_figures(view.requirements)
    chapters = [shown_chapter(chapter, place) for place, chapter in enumerate(view.chapters, 1)]
    return _template().render(
        view=view,
        status=STATUS[view.readiness],
        key_figures=key,
        more_figures=more,
        by_urgency=sorted(view.requirements, key=lambda row: _URGENCY.index(row.verdict.outcome)),
        findings=_findings(view),
        chapters=chapters,
        anchors=_anchors(chapters, view),
        links={finding.check: chapter for chapter in chapters for finding in chapter["view"].findings},
        tally=_tally(view.requirements),
        charts=charts,
    )


def _anchors(chapters: list[dict[str, Any]], view: ReportView) -> dict[str, str]:
    """Where on the page evidence stands: ``"exhibit:importance"`` to the anchor of its chapter."""
    found: dict[str, str] = {f"stage:{row.stage}": "h-stages" for row in view.stages}
    for chapter in chapters:
        shown = chapter["view"]
        names = [f"exhibit:{chart.name}" for chart in shown.charts]
        names += [f"measurement:{row.measurement.metric}" for row in shown.measurements]
        names += [f"finding:{one.kind}" for one in shown.findings]
        found |= dict.fromkeys((name for name in names if name not in found), chapter["id"])
    return found


def _key_figures(rows: tuple[RequirementRow, ...]) -> tuple[list[RequirementRow], int]:
    """The figures on top: what is unmet, the key ones, then quality; and how many requirements stand further down."""
    measured = [
        row for row in rows if row.verdict.measurement is not None and row.verdict.measurement.value is not None
    ]
    unmet = [row for row in measured if row.verdict.outcome in _URGENCY[:3]]
    ranked = sorted(measured, key=lambda row: (not row.key, not _is_quality(row)))
    chosen = [*unmet, *(row for row in ranked if row not in unmet)][:MOST_KEY_FIGURES]
    return chosen, len(rows) - len(chosen)


def _is_quality(row: RequirementRow) -> bool:
    metric = CATALOGUE.get(row.verdict.metric)
    return metric is not None and metric.kind is MetricKind.QUALITY


def _findings(view: ReportView) -> list[Finding]:
    """The gravest first; where chapters hold the notes, only what fails or asks a person."""
    if view.chapters:
        return worth_reading(view.findings)
    return sorted(view.findings, key=lambda finding: _RANK.get(finding.grade, len(_RANK)))


def _tally(rows: tuple[RequirementRow, ...]) -> list[tuple[str, str, str]]:
    counts = {outcome: sum(row.verdict.outcome is outcome for row in rows) for outcome in _URGENCY}
    return [
        (*OUTCOME[outcome][:2], f"{number} {_TALLY[outcome][number > 1]}")
        for outcome, number in counts.items()
        if number
    ]


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    return environment(["report.html.j2", "report.css"]).get_template("report.html.j2")
