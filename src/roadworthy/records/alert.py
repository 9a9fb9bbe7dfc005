"""Signals and alerts: what a check says now, and what a person is told until it is resolved.

A ``Signal`` is one rule's word on one window; ``lifecycle.alerts`` turns signals into alerts. Times are microseconds
since 1970, UTC.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

__all__ = [
    "Alert",
    "AlertEvent",
    "AlertState",
    "Notice",
    "NoticeKind",
    "Policy",
    "Severity",
    "Sighting",
    "Signal",
    "Silence",
    "Word",
]

_HOUR = 3_600_000_000


class Word(StrEnum):
    """What a rule says of a window."""

    ALARM = "alarm"  # the evidence proves that the bound is missed, or the plain value does where that decides
    CLEAR = "clear"  # it was looked at, and there is no alarm
    UNKNOWN = "unknown"  # too few rows, no data: it says nothing, and resolves nothing
    BROKEN = "broken"  # the check itself broke: an alarm of its own


class Severity(StrEnum):
    """How soon somebody must look."""

    PAGE = "page"  # now
    TICKET = "ticket"  # in working hours
    NOTE = "note"  # when it suits; nobody is told


class Signal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One rule's word.

    ``rule`` is its identity over time (``"accuracy_low"``, ``"drift:score"``, ``"latency_p99_high"``), ``group`` what
    it is shown with (``"quality"``, ``"data"``, ``"operations"``, ``"monitor"``). ``source`` names the window
    (``"1h/420"``, with its revision ``"1h/420.1"``) or the instant that it speaks of, and makes the signal unique
    together with ``rule``; ``at_us`` is when that ended. ``evidence`` is plain data: value, bound, interval, p, effect,
    rows. ``look_first`` is the first thing to look at, ``chart`` the series to draw.
    """

    rule: str
    word: Word
    at_us: int
    source: str
    group: str
    sentence: str
    severity: Severity = Severity.TICKET
    evidence: dict[str, Any] = {}
    look_first: str = ""
    chart: str = ""


class AlertState(StrEnum):
    """How an alert lives. It goes down this list, and back from ``ACKNOWLEDGED`` to ``FIRING`` only.

    Silenced is no state: a ``Silence`` says who is told, not what is wrong.
    """

    PENDING = "pending"  # the rule alarms, but not yet in as many windows in a row as the policy asks; nobody was told
    FIRING = "firing"  # the rule has alarmed, whatever it said since; nobody has taken it; reminders are due
    ACKNOWLEDGED = "acknowledged"  # somebody is looking; no reminders; a greater severity makes it fire again
    RESOLVED = "resolved"  # over, by a person or by so many clear windows; the next alarm is another alert


class Sighting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One alarm of an alert's rule, as its signal told it."""

    source: str
    at_us: int
    sentence: str
    evidence: dict[str, Any] = {}


class Alert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What people are told of until it is resolved; latched: it keeps its ``first``, ``worst`` and ``last`` alarm.

    ``number`` counts from 1 in a project. ``alarms`` is the number of signals that alarmed, ``alarms_in_row`` and
    ``clear_in_row`` of windows since the rule last said otherwise. ``heard_us`` is the end of the newest window that
    the rule spoke of, ``heard`` its word; ``known_us`` that of the newest that it had a value for; ``source`` is of the
    alarm that came last, of whichever window. ``told`` counts the messages about it, ``told_us`` is the time of
    the last; ``muted``: one was held back by a silence. ``by`` and ``reason`` are of whoever acknowledged or resolved
    it; ``by`` is empty where the policy did.
    """

    project: str
    number: int
    rule: str
    group: str
    severity: Severity
    state: AlertState
    first: Sighting
    worst: Sighting
    last: Sighting
    opened_us: int
    changed_us: int
    heard_us: int
    known_us: int
    heard: Word = Word.ALARM
    source: str = ""
    alarms: int = 1
    alarms_in_row: int = 1
    clear_in_row: int = 0
    fired_us: int = 0
    told: int = 0
    told_us: int = 0
    muted: bool = False
    look_first: str = ""
    chart: str = ""
    by: str = ""
    reason: str = ""


class AlertEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an alert's history: ``what`` is alarm, fired, worse, told, muted, acknowledged or resolved."""

    number: int
    place: int
    at_us: int
    what: str
    who: str
    words: str
    source: str


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """From ``starts_us`` to ``ends_us`` nobody is told of alerts whose rule matches ``rule``; ``*`` is anything."""

    project: str
    number: int
    rule: str
    starts_us: int
    ends_us: int
    by: str
    reason: str


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How alerts live.

    ``hold``: so many windows must alarm after the first, none of them clear, before an alert fires. ``resolve_after``:
    so many clear windows since its last alarm resolve it, 0: only a person does; windows without data do not count.
    ``repeat_us``: a reminder after so long while it fires and nobody has acknowledged it, 0: none. ``least``: of lesser
    severity nobody is told.
    """

    hold: int = 0
    resolve_after: int = 0
    repeat_us: int = 4 * _HOUR
    least: Severity = Severity.TICKET


class NoticeKind(StrEnum):
    """Why people are told of an alert."""

    FIRED = "fired"  # it began to fire
    WORSE = "worse"  # its severity rose
    REMINDER = "reminder"  # it still fires, and nobody has acknowledged it
    RESOLVED = "resolved"  # it is over


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """That people are to be told of an alert as it stands now."""

    kind: NoticeKind
    alert: Alert
