"""An inspection in the terminal: requirements, findings, what each check came to, what was not asked, the verdict.

In: a ``ReportView`` of an inspection and the paths that were written. Out: what a Rich console prints, readable at 80
columns and without colour. Law: what fails or asks a person is never left out, whatever else is only counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from roadworthy.cli.outcome import show_requirements
from roadworthy.cli.signs import Signs, plain, sign_of, style_of
from roadworthy.formats.report.view import ChapterState, ChapterView, ReportView
from roadworthy.formats.wording import first_sentence
from roadworthy.records.evidence import Finding

__all__ = ["show_inspected"]

_GRAVE = {"fails": "red", "suspects": "yellow"}
_STATES = {
    ChapterState.FAILS: ("fails", "red"),
    ChapterState.OPEN: ("to look at", "yellow"),
    ChapterState.PASSES: ("passes", "green"),
    ChapterState.NOTED: ("looked at", "dim"),
}


def show_inspected(console: Console, view: ReportView, places: Mapping[str, Path | str] | None = None) -> None:
    """Print the whole; ``places`` maps what ("report", "junit") to where it was written."""
    signs = Signs.of(console.encoding)
    if view.requirements:
        show_requirements(console, view.requirements)
        console.print()
    for part in (_findings(view, signs), _chapters(view.chapters, signs), _asides(view, signs)):
        if part is not None:
            console.print(part)
            console.print()
    verdict = Text(f"{sign_of(view.readiness, signs)} ", style=f"bold {style_of(view.readiness)}")
    sentence = f"{view.project} on {view.rows_from}: {view.sentence}"
    console.print(verdict.append(plain(sentence, signs, 1000), style="not bold default"), soft_wrap=True)
    for place, step in enumerate(view.next_steps, 1):
        console.print(_row(f"{place}.", plain(step.replace("`", ""), signs, 400)))
    for what, where in (places or {}).items():
        label = Text(f"  {plain(what, signs, 20):<9}", style="dim")
        console.print(label.append(plain(str(where), signs, 1000), style="not dim"), soft_wrap=True)


def _row(head: str, text: str | Text, style: str = "dim", width: int = 0) -> Table:
    """A short head and a text that wraps beside it, not below it."""
    line = Table.grid(padding=(0, 1))
    line.add_column(no_wrap=True, min_width=width)
    line.add_column(overflow="fold")
    line.add_row(Text(f"  {head}", style=style), text if isinstance(text, Text) else Text(text))
    return line


def _findings(view: ReportView, signs: Signs) -> Table | None:
    """By grade, the gravest first: what fails whole, of suspicions the first sentence; notes are counted."""
    by_grade = {grade: [one for one in view.findings if one.grade == grade] for grade in (*_GRAVE, "notes")}
    lines = [_finding(one, grade, signs) for grade in _GRAVE for one in by_grade[grade]]
    notes = by_grade["notes"]
    if notes:
        words = f"{len(notes)} {'note' if len(notes) == 1 else 'notes'}, in the report and with --json"
        lines.append(("", "dim", Text(words, style="dim")))
    return _grid("findings", lines, 10)


def _finding(one: Finding, grade: str, signs: Signs) -> tuple[str, str, Text]:
    text = Text(_said(one, signs))
    if one.answer:
        text.append(f"\nanswered: {plain(one.answer, signs, 200)}", style="dim")
    elif one.question:
        text.append(f"\n{plain('→', signs)} {plain(one.question, signs, 300)}", style="bold")
    return f"{signs.bad if grade == 'fails' else signs.open} {grade}", _GRAVE[grade], text


def _said(one: Finding, signs: Signs) -> str:
    subject = f"{plain(one.subject, signs, 60)}: " if one.subject else ""
    sentence = one.sentence if one.grade == "fails" else first_sentence(one.sentence)
    return f"{subject}{plain(sentence, signs, 500)}"


def _chapters(chapters: Iterable[ChapterView], signs: Signs) -> Table | None:
    """One line per check: what it amounts to, its name, what came out."""
    lines = []
    for chapter in chapters:
        word, style = _STATES[chapter.state]
        text = Text(plain(chapter.title, signs, 40), style="bold")
        lines.append((word, style, text.append(f"  {plain(_short(chapter), signs, 240)}", style="not bold")))
    return _grid("inspected", lines, 10)


def _short(chapter: ChapterView) -> str:
    """What came out; where findings say it, only how many there are, since they have just been told."""
    told = [
        one for one in chapter.findings if one.sentence and chapter.summary.startswith(first_sentence(one.sentence))
    ]
    if not told:
        return chapter.summary
    grades = [one.grade for one in chapter.findings if not one.answer]
    words = {"fails": ("fails", "fail"), "suspects": ("suspect", "suspects"), "notes": ("note", "notes")}
    counts = [
        f"{grades.count(grade)} {word[grades.count(grade) > 1]}" for grade, word in words.items() if grade in grades
    ]
    return f"{', '.join(counts)}, as said above"


def _asides(view: ReportView, signs: Signs) -> Table | None:
    return _grid("not asked" if view.not_asked else "worth knowing", list(_aside_lines(view, signs)), 10)


def _aside_lines(view: ReportView, signs: Signs) -> Iterator[tuple[str, str, Text]]:
    for check, reason in view.not_asked.items():
        yield "", "dim", Text(f"{plain(check, signs, 60)}: {plain(reason, signs, 300)}")
    for note in view.notes:
        yield "note", "dim", Text(plain(note, signs, 600))


def _grid(title: str, lines: list[tuple[str, str, Text]], width: int) -> Table | None:
    if not lines:
        return None
    table = Table.grid(padding=(0, 1))
    table.title = Text(f"  {title}", style="dim")
    table.title_justify = "left"
    table.add_column(no_wrap=True, min_width=width + 2)
    table.add_column(overflow="fold")
    for head, style, text in lines:
        table.add_row(Text(f"  {head}", style=style), text)
    return table
