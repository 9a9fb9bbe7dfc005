"""The overview: is the model ready, and why.

In: a ``Site``. Out: an ``Overview``: the state in a sentence, every requirement in three phases, the newest windows,
the ML Test Score. Laws: of live traffic only windows of the version in service count for its requirements; a look
costs the same however many windows there are, unless the newest ones have no rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from roadworthy.lifecycle import watching
from roadworthy.lifecycle.alerts.rows import open_alerts
from roadworthy.measures.alarms.thresholds import rule_of
from roadworthy.measures.heartbeat import Health
from roadworthy.records.alert import Alert, AlertState, Severity
from roadworthy.records.evidence import Phase
from roadworthy.records.verdict import Outcome, Readiness
from roadworthy.records.version import Version
from roadworthy.records.window import Cut, Judged, WindowKind, WindowSummary
from roadworthy.standard import CATALOGUE, Requirement, Standard
from roadworthy.views.dashboard.banner import banner_of
from roadworthy.views.dashboard.overview_state import Facts, State, no_champion, no_version, state_of
from roadworthy.views.dashboard.requirement_cells import (
    URGENCY,
    Cell,
    live_cell,
    release_cell,
    rollout_cell,
    rows_link,
    rules_of,
    standard_of,
)
from roadworthy.views.dashboard.site import Site
from roadworthy.views.dashboard.test_score import Score, score_in

__all__ = ["NEWEST", "Line", "Live", "Mark", "Overview", "gravest_first", "live_of", "overview_of"]

NEWEST = 48
"""Windows of the strip."""
_FARTHER = 1_000
_MOST_ALERTS = 3
_STATES = (AlertState.FIRING, AlertState.ACKNOWLEDGED, AlertState.PENDING)
_SEVERITIES = tuple(Severity)


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """One window of the strip: requirements by outcome, rules that alarmed, the version that answered most rows."""

    number: int
    start_us: int
    end_us: int
    rows: int
    labelled: int
    readiness: str
    version: str
    missed: int
    unproven: int
    waived: int
    proven: int
    alarms: int
    revision: int

    @property
    def judged(self) -> int:
        """The requirements that were judged."""
        return self.missed + self.unproven + self.waived + self.proven


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One requirement. ``key`` leads to its page; ``past`` has its outcome in each window of the strip ("": none)."""

    key: str
    line: str
    metric: str
    title: str
    slice: str
    cells: tuple[Cell, ...]
    past: tuple[str, ...] = ()

    @property
    def urgency(self) -> int:
        """0 for the most urgent."""
        grave = [0 for cell in self.cells if cell.alert]
        return min([*grave, *(1 + URGENCY.index(cell.outcome) for cell in self.cells if cell.outcome is not None)],
                   default=len(URGENCY))  # fmt: skip


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """Live traffic. ``newest`` are the last windows, oldest first; ``own`` those of the champion with rows.

    ``window`` is the newest of these; ``why`` says why there is none.
    """

    series: str
    newest: tuple[WindowSummary, ...]
    own: tuple[WindowSummary, ...]
    window: Judged | None
    why: str


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The page. ``champion`` is the version in service; without one ``shown`` is the newest, whose release is shown.

    ``rows_link`` are the words that lead to the newest window's rows; ``watched``: the monitor runs.
    """

    state: State
    now_us: int
    champion: Version | None = None
    shown: Version | None = None
    alerts: tuple[Alert, ...] = ()
    more_alerts: int = 0
    watching: str = ""
    watched: bool = False
    rows_link: str = ""
    lines: tuple[Line, ...] = ()
    live: Live | None = None
    strip: tuple[Mark, ...] = ()
    score: Score | None = None
    notes: tuple[str, ...] = ()


def overview_of(site: Site) -> Overview:
    """The overview as of now."""
    versions, champion, now_us = site.versions(), site.champion(), site.now_us()
    if not versions:
        return Overview(state=no_version(), now_us=now_us)
    shown = champion or versions[0]
    standard, fault = standard_of(site, shown)
    with site.reading() as connection:
        live = live_of(site, connection, champion)
        alerts = gravest_first(open_alerts(connection, site.name))
    lines = _lines(standard, shown, live, alerts, now_us)
    banner = banner_of(site)
    state = no_champion(versions)
    if champion is not None:
        state = state_of(
            Facts(
                champion=champion,
                readiness=_readiness(lines),
                window=live.window,
                alerts=alerts,
                pulse=banner.pulse,
                watching=banner.watching,
                now_us=now_us,
                length_s=_length_s(live.series),
                fault=fault,
            )
        )
    told = [one for one in alerts if one.state is not AlertState.PENDING]
    return Overview(
        state=state,
        now_us=now_us,
        champion=champion,
        shown=shown,
        alerts=tuple(told[:_MOST_ALERTS]),
        more_alerts=max(0, len(told) - _MOST_ALERTS),
        watching=banner.watching,
        watched=banner.pulse in {Health.WELL, Health.LATE},
        rows_link=rows_link(live.window.window) if live.window is not None else "",
        lines=lines,
        live=live,
        strip=tuple(map(_mark, live.newest)),
        score=score_in(shown, standard),
        notes=tuple(_notes(site, versions, shown, standard)),
    )


def live_of(site: Site, connection: Connection, champion: Version | None) -> Live:
    """The newest windows, and the newest with rows of the version in service."""
    series = site.series(connection)
    newest = tuple(watching.summaries(connection, site.name, series, newest=NEWEST))
    title = "" if champion is None else champion.title
    own = _with_rows(newest, title)
    for most in (_FARTHER, None):
        if not own and title and len(newest) == NEWEST:
            own = _with_rows(watching.summaries(connection, site.name, series, newest=most), title)[-NEWEST:]
    window = watching.judged(connection, site.name, series, own[-1].number) if own else None
    why = "no live traffic yet" if not newest else f"no live traffic of {title} yet" if title else "not in service"
    return Live(series=series, newest=newest, own=own, window=window, why=why)


def gravest_first(alerts: Sequence[Alert]) -> tuple[Alert, ...]:
    """Firing before taken before pending, the more severe and then the newer before the others."""
    return tuple(
        sorted(alerts, key=lambda one: (_STATES.index(one.state), _SEVERITIES.index(one.severity), -one.number))
    )


def _with_rows(windows: Sequence[WindowSummary], version: str) -> tuple[WindowSummary, ...]:
    return tuple(one for one in windows if one.rows and one.version == version)


def _lines(standard: Standard, shown: Version, live: Live, alerts: Sequence[Alert], now_us: int) -> tuple[Line, ...]:
    """Worst first, otherwise in the standard's order."""
    by_rule = {one.rule: one.number for one in reversed(alerts) if one.state is not AlertState.PENDING}
    found = [_line(one, shown, live, by_rule, now_us) for one in standard.requirements]
    return tuple(sorted(found, key=lambda line: line.urgency))


def _line(item: Requirement, shown: Version, live: Live, by_rule: dict[str, int], now_us: int) -> Line:
    line = item.line()
    alert = next((by_rule[rule] for rule in rules_of(item) if rule in by_rule), 0) if Phase.LIVE in item.phases else 0
    past = tuple(one.outcomes.get(line, "") if one.version == shown.title else "" for one in live.newest)
    return Line(
        key=rule_of(item),
        line=line,
        metric=item.metric,
        title=CATALOGUE[item.metric].title,
        slice=item.slice,
        cells=(
            release_cell(item, shown, now_us),
            rollout_cell(item),
            live_cell(item, live.window, live.own, alert, why=live.why),
        ),
        past=past if any(past) else (),
    )


def _readiness(lines: Sequence[Line]) -> Readiness:
    """What the release amounts to today, since a waiver may have ended."""
    outcomes = {cell.outcome for line in lines for cell in line.cells if cell.phase is Phase.RELEASE}
    if outcomes & {Outcome.FAIL, Outcome.ERROR}:
        return Readiness.NOT_READY
    return Readiness.NOT_PROVEN if Outcome.INSUFFICIENT in outcomes else Readiness.READY


def _mark(one: WindowSummary) -> Mark:
    outcomes = [Outcome(word) for word in one.outcomes.values()]
    return Mark(
        number=one.number,
        start_us=one.start_us,
        end_us=one.end_us,
        rows=one.rows,
        labelled=one.labelled,
        readiness=one.readiness,
        version=one.version,
        missed=sum(word in {Outcome.FAIL, Outcome.ERROR} for word in outcomes),
        unproven=outcomes.count(Outcome.INSUFFICIENT),
        waived=outcomes.count(Outcome.WAIVED),
        proven=outcomes.count(Outcome.PASS),
        alarms=len(one.alarms),
        revision=one.revision,
    )


def _length_s(series: str) -> int:
    cut = Cut.parse(series)
    return cut.size if cut.kind is WindowKind.TIME else 0


def _notes(site: Site, versions: Sequence[Version], shown: Version, standard: Standard) -> list[str]:
    notes = []
    newer = [one for one in versions if one.number > shown.number and one.verdict.readiness is Readiness.READY]
    if newer:
        notes.append(f"{newer[0].title} is newer and ready: `roadworthy promote {newer[0].number}` puts it in service.")
    if standard.digest() != site.standard.digest():
        notes.append(
            f"`roadworthy.toml` declares another standard by now than the one that {shown.title} is held to; "
            "the next `roadworthy run` judges by it."
        )
    return notes
