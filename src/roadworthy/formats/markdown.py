"""Markdown: an inspection as a comment on a pull request or a job's summary, as GitHub renders it.

In: a ``ReportView``. Out: one text of less than 65,000 characters (GitHub takes 65,536), the most important first.
Laws: foreign text is rendered as text: it opens no tag, no table cell, no code, no link, no formula, and names no
person or issue; what does not fit is counted; equal views give equal texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from roadworthy.formats.report.view import ChapterState, ChapterView, MeasureRow, ReportView, RequirementRow
from roadworthy.formats.wording import NOTHING, against, clipped, interval, metric_name, quantity
from roadworthy.records.evidence import Finding
from roadworthy.records.verdict import Outcome, Readiness

__all__ = ["escaped", "markdown"]

MOST = 65_000
_RESERVED = 600
"""For the lines that say what was left out."""

_READINESS = {Readiness.READY: "✅ Ready", Readiness.NOT_PROVEN: "❔ Not proven", Readiness.NOT_READY: "❌ Not ready"}
_OUTCOMES = {
    Outcome.PASS: "✓ passes",
    Outcome.FAIL: "✗ **fails**",
    Outcome.ERROR: "⚠ **check broke**",
    Outcome.INSUFFICIENT: "? **not proven**",
    Outcome.WAIVED: "~ waived",
}
_STATES = {
    ChapterState.FAILS: "✗ fails",
    ChapterState.OPEN: "? to look at",
    ChapterState.PASSES: "✓ passes",
    ChapterState.NOTED: "looked at",
}
_URGENCY = [Outcome.FAIL, Outcome.ERROR, Outcome.INSUFFICIENT, Outcome.WAIVED, Outcome.PASS]
_TOP = 8

_SIGNS = {ord(sign): f"&#{ord(sign)};" for sign in "&<>|`*[]~\\$!"}
_LOOSE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_OPENING = re.compile(r"^(?:[#+=-]|\d+(?=[.)]))")
_ALIVE = re.compile(r"@(?=\w)|#(?=\d)|(?i:\bgh-)(?=\d)|://|(?i:\bwww)(?=\.)|:(?=[\w+-]+:)")


def escaped(text: str, limit: int = 200) -> str:
    r"""Foreign text that GitHub renders as the same text, on one line, at most ``limit`` characters of it.

    >>> escaped("a|b <i> `c` _d_ x_y @me #1")
    'a&#124;b &#60;i&#62; &#96;c&#96; &#95;d&#95; x_y @\u200bme #\u200b1'
    """
    shown = _LOOSE.sub("\ue000", clipped(text.strip(), limit).strip().replace("\ue000", "\ufffd"))
    apart = _OPENING.sub(lambda found: f"\u200b{found[0]}\u200b", _ALIVE.sub(lambda found: f"{found[0]}\u200b", shown))
    return apart.translate(_SIGNS).replace("\ue000", "&#95;")


def markdown(view: ReportView) -> str:
    """The whole comment."""
    page = _Page(MOST - _RESERVED)
    page.add(_head(view))
    rows = sorted(view.requirements, key=lambda row: _URGENCY.index(row.verdict.outcome))
    page.table(("", "requirement", "value", "interval", "rows"), rows, _requirement, "requirements")
    page.listed("Why", [row for row in rows if row.verdict.outcome is not Outcome.PASS], _why)
    grave = [one for grade in ("fails", "suspects") for one in view.findings if one.grade == grade and not one.answer]
    page.listed("Findings", grave, _finding)
    if view.chapters:
        page.add(["", "**Inspected**", ""])
        page.table(("", "check", "what came out"), view.chapters, _chapter, "checks")
    top = [row for chapter in view.chapters for row in _telling(chapter)]
    page.folded("Measurements", ("measured", "where", "value", "interval", "rows"), top, _measurement)
    page.listed("Not asked, and why", list(view.not_asked.items()), _not_asked)
    page.listed("Worth knowing", list(view.notes), lambda note: escaped(note, 400))
    return page.text()


class _Page:
    """Lines within a budget of UTF-16 units, which is what GitHub counts; what does not fit is counted instead."""

    def __init__(self, budget: int) -> None:
        self._lines: list[str] = []
        self._left = budget

    def _fits(self, line: str) -> bool:
        size = len(line.encode("utf-16-le", "replace")) // 2 + 1
        if size > self._left:
            return False
        self._left -= size
        self._lines.append(line)
        return True

    def add(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._fits(line)

    def table(
        self, heads: Sequence[str], rows: Sequence[object], cells: Callable[..., Sequence[str]], what: str
    ) -> None:
        """A table; the rows that do not fit are counted below it."""
        if not rows:
            return
        self.add([f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)])
        for done, row in enumerate(rows):
            if not self._fits(f"| {' | '.join(cells(row))} |"):
                self._lines += ["", f"_{len(rows) - done:,} more {what} do not fit here._"]
                break

    def listed(self, title: str, items: Sequence[object], line: Callable[..., str]) -> None:
        """A list under a title in bold; the items that do not fit are counted."""
        if not items or not self._fits(f"\n**{title}**\n"):
            return
        for done, item in enumerate(items):
            if not self._fits(f"- {line(item)}"):
                self._lines.append(f"- … and {len(items) - done:,} more")
                break

    def folded(
        self, title: str, heads: Sequence[str], rows: Sequence[object], cells: Callable[..., Sequence[str]]
    ) -> None:
        """A table behind a click."""
        if rows and self._fits(f"\n<details><summary>{title}</summary>\n"):
            self.table(heads, rows, cells, title.lower())
            self._lines.append("\n</details>")

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"


def _head(view: ReportView) -> Iterator[str]:
    on = f" on {escaped(view.rows_from, 120)}" if view.rows_from else ""
    yield f"### {_READINESS[view.readiness]}: {escaped(' '.join(filter(None, (view.project, view.version))), 120)}{on}"
    yield ""
    yield escaped(view.sentence, 1500)
    yield ""


def _requirement(row: RequirementRow) -> tuple[str, ...]:
    verdict, measured = row.verdict, row.verdict.measurement
    bound = row.at_least if row.at_least is not None else row.at_most
    value, span, count = NOTHING, "", ""
    where = ""
    if measured is not None:
        value = against(measured.value, bound, measured.unit)
        span = interval(measured.lower, measured.upper, measured.unit, bound) if measured.value is not None else ""
        count = f"{measured.n:,}" if measured.n else ""
        where = f"<br>{escaped(measured.slice, 80)}" if measured.slice else ""
    return _OUTCOMES[verdict.outcome], f"{escaped(verdict.requirement, 160)}{where}", value, span, count


def _why(row: RequirementRow) -> str:
    verdict = row.verdict
    needed = f" **About {verdict.rows_needed:,} more rows would settle it.**" if verdict.rows_needed else ""
    return f"{_OUTCOMES[verdict.outcome]} {escaped(verdict.sentence, 500)}{needed}"


def _finding(finding: Finding) -> str:
    sign = "✗ **fails**" if finding.grade == "fails" else "? **suspect**"
    subject = f" {escaped(finding.subject, 100)}:" if finding.subject else ""
    question = f" **{escaped(finding.question, 240)}**" if finding.question else ""
    return f"{sign}{subject} {escaped(finding.sentence, 400)}{question}"


def _chapter(chapter: ChapterView) -> tuple[str, ...]:
    return _STATES[chapter.state], escaped(chapter.title, 60), escaped(chapter.summary, 300)


def _telling(chapter: ChapterView) -> tuple[MeasureRow, ...]:
    """The first few measurements of a chapter: what is judged stands first in it."""
    return chapter.measurements[:_TOP]


def _measurement(row: MeasureRow) -> tuple[str, ...]:
    one = row.measurement
    valued = one.value is not None and not one.error
    value = quantity(one.value, one.unit) if valued else escaped(one.error or one.insufficient or NOTHING, 120)
    span = interval(one.lower, one.upper, one.unit) if valued else ""
    return escaped(metric_name(one.metric), 60), escaped(one.slice, 80), value, span, f"{one.n:,}" if one.n else ""


def _not_asked(item: tuple[str, str]) -> str:
    check, reason = item
    return f"**{escaped(check, 80)}**: {escaped(reason, 300)}"
