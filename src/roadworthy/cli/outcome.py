"""The result of a run in the terminal: stage table, requirements, verdict, where things lie.

In: a ``ReportView`` and paths. Out: what a Rich console prints, readable at 80 columns and without colour.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from roadworthy.cli.signs import Signs, plain, sign_of, style_of, word_of
from roadworthy.formats.report.view import ReportView, RequirementRow, StageRow
from roadworthy.formats.wording import against, duration, interval
from roadworthy.records.verdict import Outcome

__all__ = ["requirements_table", "show_requirements", "show_run", "stages_table", "verdict_panel"]

WIDE = 120
_URGENCY = [Outcome.FAIL, Outcome.ERROR, Outcome.INSUFFICIENT, Outcome.WAIVED, Outcome.PASS]


def show_run(
    console: Console, view: ReportView, *, places: Mapping[str, Path | str] | None = None, stages: bool = True
) -> None:
    """Print the whole result; ``places`` maps what ("report", "bundle") to where it lies.

    Without ``stages`` for a reader who has just seen them go by.
    """
    signs = Signs.of(console.encoding)
    if view.stages and stages:
        console.print(stages_table(view.stages, signs))
        console.print()
    if view.requirements:
        show_requirements(console, view.requirements)
        console.print()
    console.print(verdict_panel(view, signs))
    for what, where in (places or {}).items():
        label = Text(f"  {plain(what, signs, 20):<8}", style="dim")
        console.print(label.append(plain(str(where), signs, 1000), style="not dim"), soft_wrap=True)


def show_requirements(console: Console, rows: tuple[RequirementRow, ...]) -> None:
    """Print every requirement; why the unmet ones are unmet stands in the table where there is room, else below it."""
    signs = Signs.of(console.encoding)
    wide = console.width >= WIDE
    console.print(requirements_table(rows, signs, reasons=wide))
    for reason in [] if wide else _reasons(rows, signs):
        console.print(reason)


def stages_table(stages: tuple[StageRow, ...], signs: Signs) -> Table:
    """The seven stages: what happened, the shapes before and after, the time."""
    table = Table(box=_box(signs), header_style="dim", pad_edge=False, expand=False)
    table.add_column("stage", style="bold", no_wrap=True)
    table.add_column("what happened", overflow="fold", ratio=3)
    table.add_column(plain("rows × columns", signs), overflow="fold", ratio=2, min_width=20)
    table.add_column("time", justify="right", no_wrap=True)
    for row in stages:
        shapes = f"{row.before} → {row.after}" if row.before and row.after else row.after or row.before
        took = Text("reused", style="italic dim") if row.reused else Text(duration(row.seconds), style="dim")
        texts = (Text(plain(part, signs, 300)) for part in (row.stage, row.did, shapes))
        table.add_row(*texts, took)
    return table


def requirements_table(rows: tuple[RequirementRow, ...], signs: Signs, *, reasons: bool = True) -> Table:
    """Every requirement, unmet ones first: outcome, value, interval and, with ``reasons``, why in a sentence."""
    table = Table(box=_box(signs), header_style="dim", pad_edge=False, expand=False)
    table.add_column("outcome", no_wrap=True)
    table.add_column("requirement", overflow="fold", min_width=18)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("interval", no_wrap=True)
    if reasons:
        table.add_column("why", overflow="fold", ratio=1, min_width=30)
    for row in _by_urgency(rows):
        cells = _cells(row, signs)
        table.add_row(*cells, *([Text(_why(row, signs))] if reasons else []))
    return table


def _by_urgency(rows: tuple[RequirementRow, ...]) -> list[RequirementRow]:
    return sorted(rows, key=lambda row: _URGENCY.index(row.verdict.outcome))


def _reasons(rows: tuple[RequirementRow, ...], signs: Signs) -> list[RenderableType]:
    """Why each unmet requirement is unmet, for places too narrow for a column of sentences."""
    said: list[RenderableType] = []
    for row in _by_urgency(rows):
        outcome = row.verdict.outcome
        if outcome is not Outcome.PASS:
            line = Table.grid(padding=(0, 1))
            line.add_row(Text(f" {sign_of(outcome, signs)}", style=style_of(outcome)), Text(_why(row, signs)))
            said.append(line)
    return said


def _why(row: RequirementRow, signs: Signs) -> str:
    verdict = row.verdict
    needed = f" About {verdict.rows_needed:,} more rows would settle it." if verdict.rows_needed else ""
    return plain(verdict.sentence + needed, signs, 400)


def _cells(row: RequirementRow, signs: Signs) -> tuple[RenderableType, ...]:
    verdict = row.verdict
    measured = verdict.measurement
    outcome = Text(f"{sign_of(verdict.outcome, signs)} {word_of(verdict.outcome)}", style=style_of(verdict.outcome))
    near = row.at_least if row.at_least is not None else row.at_most
    value = against(measured.value, near, measured.unit) if measured is not None else "–"
    span = ""
    if measured is not None and measured.value is not None:
        span = interval(measured.lower, measured.upper, measured.unit, near)
    requirement = Text(plain(verdict.requirement, signs, 120))
    if measured is not None and measured.slice:
        requirement.append(f"\n{plain(measured.slice, signs, 60)}", style="dim")
    return outcome, requirement, Text(plain(value, signs)), Text(plain(span, signs))


def verdict_panel(view: ReportView, signs: Signs) -> Panel:
    """The verdict in one sentence, and what to do next."""
    style = style_of(view.readiness)
    title = Text(f" {sign_of(view.readiness, signs)} {view.readiness.value.upper()} ", style=f"bold {style}")
    parts: list[RenderableType] = [Text(plain(view.sentence, signs, 600))]
    steps = [
        Text(f"{place}. {plain(step.replace('`', ''), signs, 400)}") for place, step in enumerate(view.next_steps, 1)
    ]
    if steps:
        parts.append(Padding(Group(Text("next", style="dim"), *steps), (1, 0, 0, 0)))
    subject = Text(f" {plain(view.project, signs, 40)} {plain(view.version, signs, 40)} ")
    return Panel(
        Group(*parts),
        title=title,
        title_align="left",
        subtitle=subject,
        subtitle_align="right",
        border_style=style,
        box=box.ROUNDED if signs.unicode else box.ASCII,
        padding=(0, 1),
    )


def _box(signs: Signs) -> box.Box:
    return box.SIMPLE_HEAD if signs.unicode else box.ASCII
