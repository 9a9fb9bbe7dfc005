"""One column: what changed, then and now, over the windows, its contract, its features.

In: a ``Site``, a column's name, which window. Out: ``ColumnPage``. Laws: what changed stands first, in words; a hidden
column is told by counts alone; what cannot be shown says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection

from roadworthy.errors import UnknownName
from roadworthy.lifecycle import watching
from roadworthy.lifecycle.alerts.rows import open_alerts
from roadworthy.measures.alarms.budget import Family
from roadworthy.measures.alarms.deciding import Ruling
from roadworthy.measures.drift.words import p_words
from roadworthy.measures.sketches import CategorySketch
from roadworthy.records.alert import Alert
from roadworthy.records.shift import Shift, ShiftKind
from roadworthy.records.window import WindowSummary
from roadworthy.views.dashboard.data.drawing import (
    chance_series,
    effect_series,
    of_column,
    of_details,
    share_series,
)
from roadworthy.views.dashboard.data.facts import ColumnFacts, facts_of
from roadworthy.views.dashboard.data.figures import Figure, breaches, figures_of
from roadworthy.views.dashboard.data.looking import Held, Looked, in_service, look
from roadworthy.views.dashboard.data.refused import Refused, refused_in
from roadworthy.views.dashboard.data.sides import Sides, reference_side, sides_of_span, sides_of_window
from roadworthy.views.dashboard.data.standing import (
    CHANGED,
    Change,
    ColumnRow,
    Standing,
    alerts_by_subject,
    change_of,
    row_of,
    without_p,
    worst_first,
)
from roadworthy.views.dashboard.data.trails import MOST, Mark, chosen, marks_of
from roadworthy.views.dashboard.data.unlisted import Label, unlisted_labels
from roadworthy.views.dashboard.data.windows import Shown, shown_window
from roadworthy.views.dashboard.pictures import Picture
from roadworthy.views.dashboard.site import Site
from roadworthy.views.dashboard.spans import Span

__all__ = ["ColumnPage", "column_page"]


class ColumnPage(msgspec.Struct, frozen=True, kw_only=True):
    """A column as it stands.

    ``told`` are the sentences of what changed, worst first; ``broken`` counts the rows that were refused, None where
    nothing live was judged; ``merged`` says what several windows together show, where
    ``windows`` of them were put together. ``trail`` counts the windows behind the pictures over time, of ``within``.
    """

    name: str
    version: str
    facts: ColumnFacts
    window: Shown | None = None
    row: ColumnRow | None = None
    told: tuple[str, ...] = ()
    tone: str = "quiet"
    alert: Alert | None = None
    then_and_now: Picture | None = None
    no_picture: str = ""
    windows: int = 1
    rows: int = 0
    comparisons: tuple[Change, ...] = ()
    merged: tuple[Change, ...] = ()
    figures: tuple[Figure, ...] = ()
    breaches: tuple[str, ...] = ()
    broken: Refused | None = None
    unlisted: tuple[Label, ...] = ()
    over_time: tuple[Picture, ...] = ()
    trail: int = 0
    within: int = 0
    predictions: str = ""


def column_page(site: Site, name: str, span: Span, *, window: str = "", together: bool = False) -> ColumnPage:
    """One column. ``together``: the windows of the span, put together, beside the reference.

    UnknownName for a column that neither the version nor the window knows.
    """
    with site.reading() as connection:
        looked = look(site, connection, window)
        if looked is None:
            return _without_windows(site, name)
        return _of_window(site, connection, looked, name, span, together=together)


def _without_windows(site: Site, name: str) -> ColumnPage:
    held = in_service(site)
    facts = _facts(site, held, name, ())
    side = None if held is None else reference_side(held, name)
    return ColumnPage(
        name=name,
        version="" if held is None else held.version.title,
        facts=facts,
        told=("No live traffic has been judged yet.",),
        figures=figures_of(side, None, time=facts.time),
        no_picture="The reference is known; there is nothing beside it yet.",
    )


def _facts(site: Site, held: Held | None, name: str, compared: Sequence[Ruling]) -> ColumnFacts:
    known = {} if held is None else facts_of(site, held).columns
    if name in known:
        return known[name]
    if compared:
        return ColumnFacts(name=name, kind="score" if compared[0].family is Family.SCORE else "column")
    raise UnknownName("column", name[:200], list(known), next_step="the list of columns is on the data page")


def _of_window(
    site: Site, connection: Connection, looked: Looked, name: str, span: Span, *, together: bool
) -> ColumnPage:
    found = [one for one in looked.rulings if one.shift.subject == name and one.family is not Family.TOGETHER]
    facts = _facts(site, looked.held, name, found)
    shown = shown_window(site, connection, looked)
    alert = alerts_by_subject(open_alerts(connection, site.name)).get(name)
    broken = refused_in(site, connection, looked)
    row = row_of(facts, found, alert if shown.newest else None, broken)
    within = watching.summaries(
        connection, site.name, looked.window.series, since_us=span.since_us, until_us=span.until_us
    )
    sides = sides_of_window(site, connection, looked, name)
    merged = sides_of_span(site, connection, looked, name, within) if together else None
    drawn = merged if merged is not None else sides
    told, tone = _told(row, facts, alert)
    trail = _trail(site, connection, looked, name, within)
    return ColumnPage(
        name=name,
        version=looked.judged.version,
        facts=facts,
        window=shown,
        row=row,
        told=told,
        tone=tone,
        alert=alert,
        then_and_now=_then_and_now(drawn, facts, found, name),
        no_picture=_no_picture(facts, looked),
        windows=1 if merged is None else merged.windows,
        rows=shown.rows if drawn is None else drawn.rows,
        comparisons=tuple(sorted(map(change_of, found), key=worst_first)),
        merged=() if merged is None else _changes_of(merged.shifts, row),
        figures=_figures(drawn, looked, name, facts),
        breaches=_breaches(looked, name, sides),
        broken=broken,
        unlisted=_unlisted(site, looked, facts, sides),
        over_time=_over_time(trail, row),
        trail=len(trail),
        within=sum(1 for one in within if one.rows),
        predictions=_predictions(shown),
    )


def _told(row: ColumnRow, facts: ColumnFacts, alert: Alert | None) -> tuple[tuple[str, ...], str]:
    """What changed in this window, worst first."""
    changes = [one for one in (row.main, *row.others) if one is not None and one.standing in CHANGED]
    if changes:
        tone = "bad" if row.standing in {Standing.ALARM, Standing.BROKEN} else "open"
        return tuple(f"{_capital(one.words, facts.name)}." for one in changes), tone
    if row.main is None:
        return (f"Live rows are not compared by it: {facts.apart or 'the window did not hold it'}.",), "quiet"
    if row.main.standing is Standing.UNKNOWN:
        return (f"{_capital(row.main.words, facts.name)}.",), "open"
    said = f"No change is shown in this window ({row.main.n:,} rows beside {row.main.reference_n:,} of the reference)."
    if alert is not None:
        return (said, "An alert of an earlier window is still open."), "open"
    return (said,), "ready"


def _capital(words: str, name: str) -> str:
    """A sentence's beginning, unless it is the column's own name."""
    return words if words.startswith(name) else words[:1].upper() + words[1:]


def _then_and_now(drawn: Sides | None, facts: ColumnFacts, found: Sequence[Ruling], name: str) -> Picture | None:
    if drawn is None:
        shift = next((one.shift for one in found if one.shift.kind is ShiftKind.DISTRIBUTION), None)
        return None if shift is None else of_details(shift, name)
    many = f"{drawn.windows} windows together" if drawn.windows > 1 else "this window"
    note = f"Share of the rows by value: the reference, and {drawn.rows:,} rows of {many}."
    return of_column(drawn.old, drawn.new, name, time=facts.time, note=note)


def _no_picture(facts: ColumnFacts, looked: Looked) -> str:
    if facts.apart:
        return f"Nothing is drawn: {facts.apart}."
    if not looked.judged.counts["rows"]:
        return "No row came in this window."
    return "The window's counts do not hold this column."


def _changes_of(shifts: Sequence[Shift], row: ColumnRow) -> tuple[Change, ...]:
    """What windows together show; nobody judged them, so no level stands beside them."""
    floors = {one.kind: one.floor for one in (row.main, *row.others, row.missing, row.new) if one is not None}
    return tuple(
        Change(
            kind=one.kind,
            standing=Standing.UNKNOWN if one.p is None else Standing.QUIET,
            words=without_p(one.sentence),
            effect=None if one.p is None else one.effect,
            floor=floors.get(one.kind, 0.0),
            p=one.p,
            level=0.0,
            chance="" if one.p is None else p_words(one.p),
            n=one.n,
            reference_n=one.reference_n,
        )
        for one in shifts
    )


def _figures(drawn: Sides | None, looked: Looked, name: str, facts: ColumnFacts) -> tuple[Figure, ...]:
    if drawn is not None:
        return figures_of(drawn.old, drawn.new, time=facts.time)
    side = None if looked.held is None else reference_side(looked.held, name)
    return figures_of(side, None, time=facts.time)


def _breaches(looked: Looked, name: str, sides: Sides | None) -> tuple[str, ...]:
    if looked.held is None or sides is None:
        return ()
    declared = looked.held.watched.contract.contract.columns.get(name)
    return () if declared is None else breaches(declared, sides.new)


def _unlisted(site: Site, looked: Looked, facts: ColumnFacts, sides: Sides | None) -> tuple[Label, ...]:
    if sides is None or facts.hidden or not isinstance(sides.new, CategorySketch):
        return ()
    return unlisted_labels(site, looked, facts.name, sides.new)


def _trail(
    site: Site, connection: Connection, looked: Looked, name: str, within: Sequence[WindowSummary]
) -> list[tuple[WindowSummary, Mapping[ShiftKind, Mark]]]:
    """The column's marks in at most sixty windows of the span."""
    trail: list[tuple[WindowSummary, Mapping[ShiftKind, Mark]]] = []
    for summary in chosen(within, name, MOST):
        marks = marks_of(site, connection, looked.window.series, summary)
        own = {kind: mark for kind in ShiftKind if (mark := marks.get(name, kind)) is not None}
        trail.append((summary, own))
    return trail


def _over_time(trail: Sequence[tuple[WindowSummary, Mapping[ShiftKind, Mark]]], row: ColumnRow) -> tuple[Picture, ...]:
    if len(trail) < 2:
        return ()
    main = ShiftKind.DISTRIBUTION if any(ShiftKind.DISTRIBUTION in own for _, own in trail) else ShiftKind.MISSING
    of = {kind: [(summary, own.get(kind)) for summary, own in trail] for kind in ShiftKind}
    changes = {one.kind: one for one in (row.main, *row.others, row.missing, row.new) if one is not None}
    floor = changes[main].floor if main in changes else 0.0
    missing = changes.get(ShiftKind.MISSING)
    pictures = [
        effect_series(of[main], floor, "the values" if main is ShiftKind.DISTRIBUTION else "missing values"),
        chance_series(of[main]),
        share_series(of[ShiftKind.MISSING], ShiftKind.MISSING, None if missing is None else missing.before),
    ]
    if any(mark is not None and mark.now for _, mark in of[ShiftKind.NEW]):
        pictures.append(share_series(of[ShiftKind.NEW], ShiftKind.NEW, None))
    return tuple(one for one in pictures if one is not None)


def _predictions(shown: Shown) -> str:
    """The words that lead to the window's predictions."""
    return Span(since_us=shown.start_us, until_us=shown.end_us).link
