"""One alert: what is wrong, its figure, what is known, what happened, and what may be done about it.

In: a ``Site`` and a number. Out: an ``AlertSheet``. Law: a history of any length is told by what people did and what
changed, the newest alarms and the first; the other alarms follow apart, as many as a person can read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from roadworthy.lifecycle.alerts import people, rows
from roadworthy.records.alert import AlertEvent, AlertState, Silence
from roadworthy.views.dashboard.alerts.advice import Step, steps
from roadworthy.views.dashboard.alerts.evidence import Fact, Listed, facts_of, lists_of, window_words
from roadworthy.views.dashboard.alerts.figures import figure_of
from roadworthy.views.dashboard.alerts.listing import AlertRow, row_of
from roadworthy.views.dashboard.pictures import Picture, draw_series
from roadworthy.views.dashboard.site import Site

__all__ = ["AlertSheet", "alert_sheet"]

_ALARM = "alarm"
_NEWEST, _MOST_ALARMS, _MOST_LINES = 3, 40, 60
_EARLIER = 6
_ROOM_US = 3_600_000_000


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the history; ``window`` says which window it speaks of, in words."""

    event: AlertEvent
    window: str


class AlertSheet(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one alert. ``history`` is newest first; ``alarms`` are those between the newest and the first.

    ``left_out`` counts lines that are in neither. ``earlier`` are other alerts of the same rule, newest first;
    ``silences`` those in force that hold it back.
    """

    row: AlertRow
    is_open: bool
    may_take: bool
    picture: Picture | None
    facts: tuple[Fact, ...]
    lists: tuple[Listed, ...]
    steps: tuple[Step, ...]
    history: tuple[Line, ...]
    alarms: tuple[Line, ...]
    left_out: int
    earlier: tuple[AlertRow, ...]
    silences: tuple[Silence, ...]


def alert_sheet(site: Site, number: int) -> AlertSheet:
    """One alert; UnknownName where there is none."""
    now_us = site.now_us()
    with site.reading() as connection:
        alert = rows.one_alert(connection, site.name, number)
        muting = rows.silences(connection, site.name, now_us)
        history = rows.events(connection, site.name, number)
        others = rows.of_rule(connection, site.name, alert.rule, most=_EARLIER + 1)
        people.checked(connection, [alert, *others], muting)
        figure = figure_of(site, connection, alert, history)
    picture = draw_series(
        figure.points, figure.name, references=figure.references, note=figure.note, percent=figure.percent
    )
    told, between = _split(history)
    since, until = (_iso(alert.first.at_us - 24 * _ROOM_US), _iso(max(alert.last.at_us, alert.heard_us) + _ROOM_US))
    return AlertSheet(
        row=row_of(site, alert, muting, now_us),
        is_open=alert.state is not AlertState.RESOLVED,
        may_take=alert.state in {AlertState.FIRING, AlertState.PENDING},
        picture=picture,
        facts=facts_of(alert),
        lists=lists_of(alert.last),
        steps=steps(alert, since, until),
        history=tuple(map(_line, told[:_MOST_LINES])),
        alarms=tuple(map(_line, between[:_MOST_ALARMS])),
        left_out=max(0, len(told) - _MOST_LINES) + max(0, len(between) - _MOST_ALARMS),
        earlier=tuple(row_of(site, one, (), now_us) for one in others if one.number != number)[:_EARLIER],
        silences=tuple(one for one in muting if row_of(site, alert, [one], now_us).silenced_until_us),
    )


def _split(history: Sequence[AlertEvent]) -> tuple[list[AlertEvent], list[AlertEvent]]:
    """What everybody wants to read, newest first, and the alarms between."""
    newest = list(reversed(history))
    alarms = [one for one in newest if one.what == _ALARM]
    between = alarms[_NEWEST:-1]
    apart = {one.place for one in between}
    return [one for one in newest if one.place not in apart], between


def _line(event: AlertEvent) -> Line:
    return Line(event=event, window=window_words(event.source))


def _iso(at_us: int) -> str:
    return datetime.fromtimestamp(max(at_us, 0) / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
