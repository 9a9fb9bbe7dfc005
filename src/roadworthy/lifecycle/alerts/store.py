"""Alerts in the registry's database: signals in, alerts and messages out, in the caller's one transaction.

In: a connection that is open, signals, a policy, the time. Out: ``Applied``. Laws: whatever is written is written
with the window that it tells of, or not at all; the same signals again change nothing; a silence holds messages back
and changes no alert.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import Connection

from roadworthy.lifecycle.alerts import outbox, rows
from roadworthy.lifecycle.alerts.life import heard_as, reminder, step, worth_telling
from roadworthy.lifecycle.alerts.messages import grouped
from roadworthy.lifecycle.alerts.runbook import Links
from roadworthy.records.alert import Alert, AlertState, Notice, NoticeKind, Policy, Signal, Silence, Word

__all__ = ["AlertStore", "Applied", "silenced"]


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What came of signals: alerts that changed, as they are now; notices that people are told; messages queued."""

    alerts: tuple[Alert, ...] = ()
    notices: tuple[Notice, ...] = ()
    queued: int = 0


class AlertStore:
    """The alerts of one project; ``channels`` are the digests of where messages go, ``links`` what they point to."""

    def __init__(self, project: str, *, channels: Sequence[str] = (), links: Links | None = None) -> None:
        self.project = project
        self.channels = tuple(channels)
        self.links = links or Links()

    def apply(self, connection: Connection, signals: Iterable[Signal], policy: Policy, now_us: int) -> Applied:
        """Let every signal do to its rule's alert what it does, in the order given."""
        said = [one for signal in signals for one in heard_as(signal)]
        newest = {alert.rule: alert for alert in rows.open_alerts(connection, self.project)}
        alarms = [signal for signal in said if signal.word is Word.ALARM]
        lacking = {signal.rule for signal in alarms} - set(newest)
        newest |= rows.newest_of(connection, self.project, lacking)
        known = rows.known_signals(connection, self.project, map(rows.signal_key, alarms))
        changed: dict[int, Alert] = {}
        notices: list[Notice] = []
        for signal in said:
            before, key = newest.get(signal.rule), rows.signal_key(signal)
            if signal.word is Word.ALARM and key in known:
                continue
            after, due = step(before, signal, policy, now_us, project=self.project)
            if after is None or after == before:
                continue
            after = rows.put(connection, after)
            if signal.word is Word.ALARM:
                known.add(key)
                self._event(connection, after, "alarm", now_us, signal.sentence, source=signal.source, signal=key)
            for notice in due:
                self._event(connection, after, notice.kind.value, now_us, after.reason, source=signal.source)
                notices.append(Notice(kind=notice.kind, alert=after))
            newest[signal.rule] = changed[after.number] = after
        return self.tell(connection, notices, policy, now_us, changed=changed)

    def remind(self, connection: Connection, policy: Policy, now_us: int) -> Applied:
        """Queue what time alone makes due: reminders, and messages that a silence held back."""
        muting = rows.silences(connection, self.project, now_us)
        alerts = [one for one in rows.open_alerts(connection, self.project) if not silenced(one, muting, now_us)]
        return self.tell(connection, [due for one in alerts for due in reminder(one, policy, now_us)], policy, now_us)

    def tell(
        self,
        connection: Connection,
        notices: Sequence[Notice],
        policy: Policy,
        now_us: int,
        *,
        changed: dict[int, Alert] | None = None,
    ) -> Applied:
        """Queue messages for notices, except those that nobody is told of or that a silence holds back."""
        changed = dict(changed or {})
        muting = rows.silences(connection, self.project, now_us) if notices else ()
        told = []
        for notice in notices:
            alert = changed.get(notice.alert.number, notice.alert)
            if not worth_telling(alert, policy):
                continue
            held = notice.kind is not NoticeKind.RESOLVED and silenced(alert, muting, now_us)
            after = _held(alert) if held else _told(alert, now_us)
            changed[alert.number] = rows.put(connection, after)
            self._event(connection, after, "muted" if held else "told", now_us, notice.kind.value)
            if not held:
                told.append(Notice(kind=notice.kind, alert=after))
        messages = grouped(self.project, told, self.links)
        count = outbox.queue(connection, self.project, messages, self.channels, now_us)
        return Applied(alerts=tuple(changed.values()), notices=tuple(told), queued=count)

    @staticmethod
    def _event(
        connection: Connection,
        alert: Alert,
        what: str,
        now_us: int,
        words: str,
        *,
        source: str = "",
        signal: str | None = None,
    ) -> None:
        rows.add_event(connection, alert, what, now_us, words=words, source=source, signal=signal)


def silenced(alert: Alert, silences: Iterable[Silence], now_us: int) -> Silence | None:
    """The silence that holds an alert's messages back now; the one that lasts longest."""
    if alert.state is AlertState.RESOLVED:
        return None
    matching = [one for one in silences if one.starts_us <= now_us < one.ends_us and _matches(one.rule, alert.rule)]
    return max(matching, key=lambda one: one.ends_us, default=None)


def _matches(pattern: str, rule: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), rule, re.DOTALL) is not None


def _held(alert: Alert) -> Alert:
    return msgspec.structs.replace(alert, muted=True)


def _told(alert: Alert, now_us: int) -> Alert:
    return msgspec.structs.replace(alert, told=alert.told + 1, told_us=now_us, muted=False)
