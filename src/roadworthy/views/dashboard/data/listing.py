"""The list of columns: what has changed since the release, worst first, and how the score and the rows are.

In: a ``Site``, what was chosen. Out: ``DataList``. Laws: every column of the contract and every feature is in it, also
those that live rows are not compared by; a silent stretch is said before anything of the rows before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from sqlalchemy import Connection

from roadworthy.lifecycle import watching
from roadworthy.lifecycle.alerts.rows import open_alerts
from roadworthy.measures.alarms.budget import Family
from roadworthy.measures.alarms.deciding import Ruling
from roadworthy.records.alert import Alert
from roadworthy.records.evidence import Measurement
from roadworthy.records.shift import ShiftKind
from roadworthy.records.window import WindowSummary
from roadworthy.views.dashboard.data.drawing import of_details, of_score, volume_series
from roadworthy.views.dashboard.data.facts import ColumnFacts, Facts, facts_of
from roadworthy.views.dashboard.data.looking import Held, Looked, in_service, look
from roadworthy.views.dashboard.data.refused import Refused, refused_in
from roadworthy.views.dashboard.data.standing import (
    CHANGED,
    Change,
    ColumnRow,
    Standing,
    alerts_by_subject,
    change_of,
    row_of,
    worst_first,
)
from roadworthy.views.dashboard.data.telling import lead
from roadworthy.views.dashboard.data.trails import Marks, marks_of
from roadworthy.views.dashboard.data.windows import Shown, shown_window
from roadworthy.views.dashboard.pictures import Picture, Point
from roadworthy.views.dashboard.site import Site
from roadworthy.views.dashboard.spans import Span

__all__ = ["PER_PAGE", "SHOWS", "Choice", "DataList", "data_list"]

PER_PAGE = 50
SHOWS = {"all": "all columns", "changed": "changed", "alarmed": "alarmed", "refused": "with refused rows"}
_ALARMED = frozenset({Standing.BROKEN, Standing.ALARM, Standing.OPEN})
_TREND = 24
_WORST = 5
_BREAKERS = 3
_WIDE, _HIGH = 72.0, 20.0
_TREND_LEAST = 0.25


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for: part of a name, which columns, which page from 1 on, which window (SERIES/NUMBER)."""

    q: str = ""
    show: str = "all"
    page: int = 1
    window: str = ""


class DataList(msgspec.Struct, frozen=True, kw_only=True):
    """The list and what stands above it.

    ``version`` is held to, empty where there is none; ``window`` None where none was judged. ``refused`` is the share
    of requests that broke the contract, ``broken`` counts their rows by column, ``breakers`` are the columns of the
    list with the most of them. ``counts`` are columns by what can be shown, ``worst`` the first that changed, whatever
    is looked for. ``usual`` are the quartiles of rows over the windows of the span.
    """

    version: str = ""
    window: Shown | None = None
    lead: str = ""
    tone: str = "quiet"
    scores: tuple[Change, ...] = ()
    together: Change | None = None
    score_picture: Picture | None = None
    volume_picture: Picture | None = None
    usual: tuple[int, int] | None = None
    refused: Measurement | None = None
    broken: Refused | None = None
    breakers: tuple[str, ...] = ()
    facts: Facts | None = None
    worst: tuple[ColumnRow, ...] = ()
    rows: tuple[ColumnRow, ...] = ()
    counts: Mapping[str, int] = {}
    found: int = 0
    page: int = 1
    pages: int = 1
    trend_windows: int = 0
    registered: bool = True


def data_list(site: Site, span: Span, choice: Choice) -> DataList:
    """The list as it stands. UsageError and UnknownName for a window that is none."""
    with site.reading() as connection:
        looked = look(site, connection, choice.window)
        if looked is None:
            return _without_windows(site, choice)
        return _of_window(site, connection, looked, span, choice)


def _without_windows(site: Site, choice: Choice) -> DataList:
    """The contract alone: nothing live was judged yet."""
    held = in_service(site)
    if held is None:
        return DataList()
    facts = facts_of(site, held)
    rows = sorted((row_of(one, (), None) for one in facts.columns.values()), key=lambda row: row.order)
    return _paged(DataList(version=held.version.title, facts=facts), rows, choice)


def _of_window(site: Site, connection: Connection, looked: Looked, span: Span, choice: Choice) -> DataList:
    series = looked.window.series
    within = watching.summaries(connection, site.name, series, since_us=span.since_us, until_us=span.until_us)
    window = shown_window(site, connection, looked)
    named = alerts_by_subject(open_alerts(connection, site.name)) if window.newest else {}
    broken = refused_in(site, connection, looked)
    rows = sorted(_rows(site, looked, named, broken), key=lambda row: row.order)
    answers = [one for one in looked.rulings if one.family is Family.SCORE and _is_distribution(one)]
    scores = sorted(map(change_of, answers), key=worst_first)
    together = [change_of(one) for one in looked.rulings if one.family is Family.TOGETHER]
    refused = [one for one in looked.judged.measurements if one.metric == "quarantined_share" and not one.slice]
    sentence, tone = lead(window, rows, scores, together, looked)
    known = {row.facts.name for row in rows}
    listed = _paged(
        DataList(
            version=looked.judged.version,
            window=window,
            lead=sentence,
            tone=tone,
            scores=tuple(scores),
            together=together[0] if together else None,
            score_picture=_score_picture(site, connection, looked),
            volume_picture=_volume(within),
            usual=_usual(within),
            refused=refused[0] if refused else None,
            broken=broken,
            breakers=tuple(name for name in broken.worst if name in known)[:_BREAKERS],
            facts=None if looked.held is None else facts_of(site, looked.held),
            worst=tuple(row for row in rows if row.standing in CHANGED)[:_WORST],
            registered=looked.held is not None,
        ),
        rows,
        choice,
    )
    return _with_trends(site, connection, listed, looked)


def _is_distribution(ruling: Ruling) -> bool:
    return ruling.shift.kind is ShiftKind.DISTRIBUTION


def _rows(site: Site, looked: Looked, named: Mapping[str, Alert], broken: Refused) -> list[ColumnRow]:
    """All columns: those that the version declares, then whatever else was compared."""
    by_subject: dict[str, list[Ruling]] = {}
    for ruling in looked.rulings:
        if ruling.family not in {Family.SCORE, Family.TOGETHER} and not _of_score(ruling, looked.held):
            by_subject.setdefault(ruling.shift.subject, []).append(ruling)
    declared = {} if looked.held is None else facts_of(site, looked.held).columns
    others = {name: ColumnFacts(name=name, kind="column") for name in by_subject if name not in declared}
    facts = {**declared, **others}
    return [row_of(one, by_subject.get(name, ()), named.get(name), broken) for name, one in facts.items()]


def _of_score(ruling: Ruling, held: Held | None) -> bool:
    """Missing and new values of the score, which is no column (a column may be called so as well)."""
    subject = ruling.shift.subject
    if subject != "score" and not subject.startswith("score."):
        return False
    return held is None or subject not in {*held.watched.columns.numbers, *held.watched.columns.categories}


def _paged(listed: DataList, rows: Sequence[ColumnRow], choice: Choice) -> DataList:
    wanted = choice.q.casefold().strip()
    named = [row for row in rows if wanted in row.facts.name.casefold()]
    shown = {
        "all": named,
        "changed": [row for row in named if row.standing in CHANGED],
        "alarmed": [row for row in named if row.standing in _ALARMED],
        "refused": [row for row in named if row.refused.rows or row.refused_since.rows],
    }
    counts = {name: len(of_it) for name, of_it in shown.items()}
    chosen = shown[choice.show]
    pages = max(1, -(-len(chosen) // PER_PAGE))
    page = min(choice.page, pages)
    here = tuple(chosen[(page - 1) * PER_PAGE : page * PER_PAGE])
    return msgspec.structs.replace(listed, rows=here, counts=counts, found=len(chosen), page=page, pages=pages)


def _with_trends(site: Site, connection: Connection, listed: DataList, looked: Looked) -> DataList:
    """The same with the effects of the windows up to this one; of few enough columns and windows to be cheap."""
    series, number = looked.window.series, looked.window.number
    numbers = list(range(max(0, number - _TREND + 1), number + 1))
    summaries = [
        one for one in watching.summaries(connection, site.name, series, numbers=numbers) if one.number in set(numbers)
    ]
    marks = [marks_of(site, connection, series, one) if one.rows else Marks() for one in summaries]
    rows = [(row, _trend(row, marks)) for row in listed.rows]
    top = max([_TREND_LEAST, *(effect for _, trend in rows for effect in trend if effect is not None)])
    return msgspec.structs.replace(
        listed,
        rows=tuple(
            msgspec.structs.replace(row, trend=trend, trend_points=_drawn(trend, top) if len(marks) > 1 else "")
            for row, trend in rows
        ),
        trend_windows=len(marks),
    )


def _trend(row: ColumnRow, marks: Sequence[Marks]) -> tuple[float | None, ...]:
    kind = row.main.kind if row.main is not None else ShiftKind.DISTRIBUTION
    found = [one.get(row.facts.name, kind) for one in marks]
    return tuple(None if mark is None else mark.effect for mark in found)


def _drawn(trend: Sequence[float | None], top: float) -> str:
    """Points of a line in a box of 72 by 20; empty where nothing was compared."""
    step = _WIDE / max(1, len(trend) - 1)
    known = [(place * step, value / top) for place, value in enumerate(trend) if value is not None]
    return " ".join(f"{x:.1f},{_HIGH - 1 - (_HIGH - 2) * y:.1f}" for x, y in known) if len(known) > 1 else ""


def _volume(within: Sequence[WindowSummary]) -> Picture | None:
    """Rows a window over the span."""
    points = [Point(start_us=one.start_us, end_us=one.end_us, value=float(one.rows)) for one in within]
    if len(points) < 2:
        return None
    return volume_series(points)


def _usual(within: Sequence[WindowSummary]) -> tuple[int, int] | None:
    """The middle half of rows a window; None of fewer than eight windows."""
    rows = [one.rows for one in within if one.rows]
    if len(rows) < 8:
        return None
    low, high = np.quantile(rows, [0.25, 0.75], method="inverted_cdf")
    return int(low), int(high)


def _score_picture(site: Site, connection: Connection, looked: Looked) -> Picture | None:
    """What the model answers, beside what it answered on rows that it had not learned from."""
    window = looked.window
    found = [one.shift for one in looked.rulings if one.family is Family.SCORE and _is_distribution(one)]
    if not found:
        return None
    most = max(range(len(found)), key=lambda place: found[place].effect)
    title = "Score" if len(found) == 1 else f"Score of {found[most].subject.partition('.')[2]}"
    if looked.held is None:
        return of_details(found[most], title)
    sketch = watching.sketch(connection, site.name, window.series, window.number)
    reference = looked.held.watched.reference
    if sketch is None or len(sketch.scores) != len(reference.scores) or most >= len(sketch.scores):
        return None
    return of_score(reference.scores[most], sketch.scores[most], title)
