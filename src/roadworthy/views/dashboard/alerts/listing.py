"""All alerts of a project: what nobody has taken first, the worst of it on top, then history page by page.

In: a ``Site``, what to search the history for, which page. Out: an ``AlertList``. Laws: worse is a page before a ticket
before a note, then what lies further beyond its bound, then what came later; at most 100 open alerts and 25 of the
history are on a page, and it says of how many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import Connection

from roadworthy.adapters.notifiers import channel_name
from roadworthy.lifecycle.alerts import channel_digest, outbox, people, rows, runbook
from roadworthy.lifecycle.alerts.store import silenced
from roadworthy.records.alert import Alert, AlertState, Severity, Silence
from roadworthy.views.dashboard.alerts.evidence import beyond, brief
from roadworthy.views.dashboard.site import Site

__all__ = ["MOST_OPEN", "AlertList", "AlertRow", "ChannelRow", "alert_list", "row_of"]

MOST_OPEN = 100
"""Open alerts on one page."""
_PAST = 25
_RANK = {Severity.PAGE: 0, Severity.TICKET: 1, Severity.NOTE: 2}
_STATES = (AlertState.FIRING, AlertState.ACKNOWLEDGED, AlertState.PENDING)
_DIGEST = slice(7, 13)  # six letters, after "scrypt:"
_GONE = "its address is no longer under [alerts] notify"


class AlertRow(msgspec.Struct, frozen=True, kw_only=True):
    """One alert in a list. ``worst`` and ``last`` are values in words; ``web`` is the runbook where it is a link.

    ``silenced_until_us`` is 0 while its messages go out.
    """

    alert: Alert
    worst: str
    last: str
    look_first: str
    runbook: str
    web: str
    silenced_until_us: int = 0


class ChannelRow(msgspec.Struct, frozen=True, kw_only=True):
    """Where messages go, without its address: how many wait, since when, and why the last try failed."""

    name: str
    waiting: int = 0
    oldest_us: int = 0
    attempts: int = 0
    problem: str = ""


class AlertList(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of the list; ``open_`` is in the order in which to look at it, ``open_total`` counts all of it.

    ``past`` is one page of what is over, ``found`` counts what the search found, ``page`` counts from 1.
    """

    sentence: str
    open_: tuple[AlertRow, ...]
    open_total: int
    past: tuple[AlertRow, ...]
    found: int
    page: int
    pages: int
    searched: str
    silences: tuple[Silence, ...]
    channels: tuple[ChannelRow, ...]
    ever: bool


def alert_list(site: Site, *, searched: str = "", page: int = 1) -> AlertList:
    """The list; ``searched`` is looked for in the rules of what is over, whatever its case."""
    now_us = site.now_us()
    with site.reading() as connection:
        now_open = rows.open_alerts(connection, site.name)
        muting = rows.silences(connection, site.name, now_us)
        found = rows.count_past(connection, site.name, searched)
        pages = max(1, -(-found // _PAST))
        page = min(max(page, 1), pages)
        past = rows.past_alerts(connection, site.name, searched, most=_PAST, skip=(page - 1) * _PAST)
        ordered = sorted(now_open, key=_order)[:MOST_OPEN]
        people.checked(connection, (*now_open, *past), muting)
        channels = _channels(site, connection)
    return AlertList(
        sentence=_sentence(now_open),
        open_=tuple(row_of(site, one, muting, now_us) for one in ordered),
        open_total=len(now_open),
        past=tuple(row_of(site, one, (), now_us) for one in past),
        found=found,
        page=page,
        pages=pages,
        searched=searched,
        silences=muting,
        channels=channels,
        ever=bool(now_open or past or searched),
    )


def row_of(site: Site, alert: Alert, silences: Iterable[Silence], now_us: int) -> AlertRow:
    """One alert with what is said beside it."""
    declared = site.spec.alerts
    place = runbook.runbook(alert, runbook.Links(runbook=declared.runbook, dashboard=declared.dashboard))
    muting = silenced(alert, silences, now_us)
    return AlertRow(
        alert=alert,
        worst=brief(alert.worst),
        last=brief(alert.last),
        look_first=runbook.look_first(alert),
        runbook=place,
        web=place if place.startswith(("https://", "http://")) else "",
        silenced_until_us=muting.ends_us if muting else 0,
    )


def _order(alert: Alert) -> tuple[int, int, float, int]:
    return _STATES.index(alert.state), _RANK[alert.severity], -beyond(alert.worst.evidence), -alert.number


def _sentence(found: Sequence[Alert]) -> str:
    firing = sorted((one for one in found if one.state is AlertState.FIRING), key=_order)
    taken = [one for one in found if one.state is AlertState.ACKNOWLEDGED]
    held = f" {_many(len(taken))} somebody already." if taken else ""
    if not firing:
        return f"Nothing fires that nobody has taken.{held}" if taken else "Nothing is wrong that an alert knows of."
    pages = sum(one.severity is Severity.PAGE for one in firing)
    urgent = f", {pages:,} of them urgent" if pages and len(firing) > 1 else ""
    count = "One alert fires" if len(firing) == 1 else f"{len(firing):,} alerts fire"
    return f"{count}{urgent}, and nobody has taken {'it' if len(firing) == 1 else 'them'} yet.{held}"


def _many(count: int) -> str:
    return "One more is with" if count == 1 else f"{count:,} more are with"


def _channels(site: Site, connection: Connection) -> tuple[ChannelRow, ...]:
    """The declared channels, and those that messages still wait for though no address leads there any more."""
    behind = {one.channel: one for one in outbox.backlog(connection, site.name)}
    found = []
    for address in site.spec.alerts.notify:
        digest = channel_digest(site.name, address)
        found.append(_channel(channel_name(address, digest), behind.pop(digest, None)))
    return (*found, *(_channel(one.channel[_DIGEST], one, _GONE) for one in behind.values()))


def _channel(name: str, behind: outbox.Backlog | None, problem: str = "") -> ChannelRow:
    if behind is None:
        return ChannelRow(name=name)
    return ChannelRow(
        name=name,
        waiting=behind.waiting,
        oldest_us=behind.oldest_us,
        attempts=behind.attempts,
        problem=problem or behind.problem,
    )
