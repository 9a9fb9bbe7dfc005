"""One window of live traffic: what became of its rows, every requirement, what moved, and what labels changed later.

In: a ``Site``, a series, a number. Out: a ``WindowView``. Laws: all revisions stand side by side, and none is left out;
of many comparisons the surest and the greatest come first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from roadworthy.errors import UnknownName
from roadworthy.formats.report import MeasureRow, RequirementRow
from roadworthy.lifecycle import watching
from roadworthy.lifecycle.alerts.rows import newest_of
from roadworthy.measures.alarms.thresholds import rule_of
from roadworthy.records.shift import Shift
from roadworthy.records.verdict import Outcome, RequirementVerdict
from roadworthy.records.window import Beside, Judged, WindowSummary
from roadworthy.standard import CATALOGUE, Requirement
from roadworthy.views.dashboard.requirement_cells import URGENCY, bound_in, is_estimate, rows_link
from roadworthy.views.dashboard.site import Site

__all__ = ["CHANCE", "Alarm", "Count", "JudgedLine", "RevisedLine", "Revision", "WindowView", "window_of"]

CHANCE = 0.01
"""A p above this is called no change."""
_MOST_SHIFTS = 200
_NAMED = 5
_LISTS = "roadworthy windows   # lists them"
_SHOWN = "shown"
_COUNTS = {
    "rows": ("rows", "all that were asked in this window"),
    "labelled": ("labelled", "their outcome is known"),
    "unlabelled": ("waiting for a label", "their outcome is not known yet"),
    "other_versions": ("answered by other versions", "not judged here; see below"),
    "referred": ("left to a person", "the model did not decide"),
    "late_rows": ("came too late", "rows of earlier windows, told here"),
}


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows became of what, and what that means."""

    words: str
    rows: int
    note: str = ""


class JudgedLine(msgspec.Struct, frozen=True, kw_only=True):
    """One requirement in this window; ``key`` leads to its page, empty where the standard has it no more."""

    key: str
    row: RequirementRow
    estimated: bool


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """One judgement of the window: when, by how many labels, and what it came to."""

    number: int
    judged_at_us: int
    known_by_us: int
    labelled: int
    readiness: str


class RevisedLine(msgspec.Struct, frozen=True, kw_only=True):
    """One requirement over all revisions: outcome, row, whether estimated; ``changed``: not all say the same."""

    line: str
    rows: tuple[JudgedLine | None, ...]
    changed: bool


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that alarmed in this window, with its newest alert; 0 where there is none."""

    rule: str
    alert: int


class WindowView(msgspec.Struct, frozen=True, kw_only=True):
    """The page. ``before`` and ``after`` are numbers of the windows beside it, -1 where there is none.

    ``moved`` are comparisons that chance hardly explains (p at most ``CHANCE``), ``still`` the others, ``silent`` those
    that could not be made.
    """

    series: str
    number: int
    start_us: int
    end_us: int
    version: str
    readiness: str
    sentence: str
    rows_link: str
    before: int
    after: int
    counts: tuple[Count, ...]
    lines: tuple[JudgedLine, ...]
    alarms: tuple[Alarm, ...]
    moved: tuple[Shift, ...]
    still: tuple[Shift, ...]
    left_out: int
    silent: tuple[Shift, ...]
    notes: tuple[str, ...]
    shown: tuple[MeasureRow, ...]
    others: tuple[Beside, ...]
    revisions: tuple[Revision, ...]
    revised: tuple[RevisedLine, ...]
    judged_at_us: int


def window_of(site: Site, series: str, number: int) -> WindowView:
    """A window's page; UnknownName where no such window was judged."""
    with site.reading() as connection:
        if series not in watching.series(connection, site.name):
            known = watching.series(connection, site.name)
            raise UnknownName("series of windows", series[:60], known, next_step="start from the overview")
        if not watching.summaries(connection, site.name, series, numbers=[number]):
            newest = watching.summaries(connection, site.name, series, newest=_NAMED)
            raise UnknownName("window", str(number), [str(one.number) for one in newest], next_step=_LISTS)
        judged_last = watching.judged(connection, site.name, series, number)
        every = watching.revisions(connection, site.name, series, number)
        near = watching.summaries(connection, site.name, series, numbers=[number - 1, number, number + 1])
        alarms = _alarms(connection, site.name, near, number)
    there = {one.number for one in near}
    compared = sorted((one for one in judged_last.shifts if one.p is not None), key=_surest)
    moved = [one for one in compared if one.p is not None and one.p <= CHANCE]
    return WindowView(
        series=series,
        number=number,
        start_us=judged_last.window.after.at_us,
        end_us=judged_last.window.until.at_us,
        version=judged_last.version,
        readiness=str(judged_last.verdict.readiness),
        sentence=_sentence(judged_last),
        rows_link=rows_link(judged_last.window),
        before=number - 1 if number - 1 in there else -1,
        after=number + 1 if number + 1 in there else -1,
        counts=_counts(judged_last),
        lines=tuple(sorted(map(_line, judged_last.verdict.requirements), key=lambda one: _place(one.row.verdict))),
        alarms=alarms,
        moved=tuple(moved[:_MOST_SHIFTS]),
        still=tuple(compared[len(moved) :][:_MOST_SHIFTS]),
        left_out=max(0, len(moved) - _MOST_SHIFTS) + max(0, len(compared) - len(moved) - _MOST_SHIFTS),
        silent=tuple(one for one in judged_last.shifts if one.p is None),
        notes=judged_last.notes,
        shown=tuple(MeasureRow(measurement=one) for one in judged_last.measurements if one.check == _SHOWN),
        others=judged_last.others,
        revisions=tuple(map(_revision, every)),
        revised=_revised(every),
        judged_at_us=judged_last.judged_at_us,
    )


def _sentence(judged: Judged) -> str:
    """What the window amounts to, worst first."""
    verdicts = judged.verdict.requirements
    if not judged.counts["rows"]:
        return "Nobody asked anything in this window."
    by_outcome = {outcome: [one.requirement for one in verdicts if one.outcome is outcome] for outcome in URGENCY}
    parts = []
    if missed := by_outcome[Outcome.FAIL]:
        parts.append(f"it misses {', '.join(missed)}")
    if broken := by_outcome[Outcome.ERROR]:
        parts.append(f"the check of {', '.join(broken)} broke")
    if not parts:
        parts.append("nothing is missed")
    if waived := by_outcome[Outcome.WAIVED]:
        parts.append(f"{len(waived)} {'is' if len(waived) == 1 else 'are'} waived")
    parts.append(f"{len(by_outcome[Outcome.PASS])} of {len(verdicts)} requirements are proven")
    if open_ := by_outcome[Outcome.INSUFFICIENT]:
        parts.append(f"for {len(open_)} its rows or labels are too few")
    said = "; ".join(parts)
    return f"{said[:1].upper()}{said[1:]}."


def _counts(judged: Judged) -> tuple[Count, ...]:
    """Known names in their order, then whatever else was counted; what is 0 only where it says something."""
    told = [
        Count(words=words, rows=judged.counts[name], note=note)
        for name, (words, note) in _COUNTS.items()
        if name in judged.counts and (judged.counts[name] or name in {"rows", "labelled"})
    ]
    others = [
        Count(words=name.replace("_", " "), rows=rows)
        for name, rows in judged.counts.items()
        if name not in _COUNTS and name != "late_among" and rows
    ]
    return (*told, *others)


def _line(verdict: RequirementVerdict) -> JudgedLine:
    head, _, by = verdict.requirement.partition(" for every ")
    low, bound, key = ">=" in head, None, ""
    if verdict.metric in CATALOGUE:
        bound = bound_in(verdict.requirement, verdict.metric)
        key = rule_of(
            Requirement(
                metric=verdict.metric, slice=by, at_least=bound if low else None, at_most=None if low else bound
            )
        )
    row = RequirementRow(verdict=verdict, at_least=bound if low else None, at_most=None if low else bound)
    return JudgedLine(key=key, row=row, estimated=is_estimate(verdict))


def _place(verdict: RequirementVerdict) -> int:
    return URGENCY.index(verdict.outcome)


def _surest(one: Shift) -> tuple[float, float, str]:
    """What is surest first; among equals (a p of 0 cannot be told from another) what is greatest."""
    p = one.p if one.p is not None else 1.0
    return math.log10(max(p, 1e-300)), -one.effect, one.subject


def _alarms(connection: Connection, project: str, near: Sequence[WindowSummary], number: int) -> tuple[Alarm, ...]:
    rules = next((one.alarms for one in near if one.number == number), ())
    alerts = newest_of(connection, project, rules)
    return tuple(Alarm(rule=rule, alert=alerts[rule].number if rule in alerts else 0) for rule in rules)


def _revision(one: Judged) -> Revision:
    return Revision(
        number=one.revision,
        judged_at_us=one.judged_at_us,
        known_by_us=one.known_by_us,
        labelled=one.counts["labelled"],
        readiness=str(one.verdict.readiness),
    )


def _revised(every: Sequence[Judged]) -> tuple[RevisedLine, ...]:
    """Requirements over all revisions, those that changed first; empty where the window was judged once."""
    if len(every) < 2:
        return ()
    by_revision = [{one.requirement: _line(one) for one in judged.verdict.requirements} for judged in every]
    lines = dict.fromkeys(line for found in by_revision for line in found)
    found = []
    for line in lines:
        rows = tuple(one.get(line) for one in by_revision)
        outcomes = {None if row is None else row.row.verdict.outcome for row in rows}
        values = {None if row is None else _value(row) for row in rows}
        found.append(RevisedLine(line=line, rows=rows, changed=len(outcomes) > 1 or len(values) > 1))
    return tuple(sorted(found, key=lambda one: not one.changed))


def _value(line: JudgedLine) -> float | None:
    measured = line.row.verdict.measurement
    return None if measured is None else measured.value
