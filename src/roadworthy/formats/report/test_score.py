"""The ML Test Score as the page shows it: four sections, each with its points and its tests.

In: the exhibit ``ml_test_score`` as a ``ChartView``. Out: plain values for the template. Law: a table of another shape
is left to be shown as a table.
"""

from __future__ import annotations

from typing import Any

from roadworthy.formats import wording
from roadworthy.formats.report.view import ChartView

__all__ = ["is_test_score", "test_score_sections"]

_NAME = "ml_test_score"
_NEEDED = ("section", "test", "title", "points", "how", "sentence", "evidence", "raises")
_SIGNS = {
    "automatic": ("ready", "✓", "1 point"),
    "attested": ("waived", "~", "0.5 points"),
    "refuted": ("bad", "✕", "0 points"),
}
_NONE = ("quiet", "–", "0 points")


def is_test_score(chart: ChartView) -> bool:
    """Whether the table is the score's, with every column that the page needs."""
    return chart.name == _NAME and set(_NEEDED) <= set(chart.columns)


def test_score_sections(chart: ChartView) -> dict[str, Any]:
    """Title, note, and the sections in their order, each with its points and its tests.

    The note goes without its first sentence, which is the chapter's summary.
    """
    lines = zip(*(chart.columns[name] for name in _NEEDED), strict=True)
    sections: dict[str, dict[str, Any]] = {}
    for line in lines:
        test = dict(zip(_NEEDED, line, strict=True))
        section = sections.setdefault(str(test["section"]), {"points": 0.0, "tests": []})
        section["points"] += float(test["points"] or 0)
        anchors = [part.strip() for part in str(test["evidence"] or "").split(",") if part.strip()]
        section["tests"].append({**test, "badge": _SIGNS.get(str(test["how"]), _NONE), "anchors": anchors})
    note = chart.note.removeprefix(wording.first_sentence(chart.note)).strip()
    return {"title": chart.title, "note": note, "sections": sections}


test_score_sections.__test__ = False  # type: ignore[attr-defined]  # it is no test of pytest's
