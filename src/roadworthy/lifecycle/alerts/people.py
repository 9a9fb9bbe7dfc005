"""What people do to alerts: acknowledge, resolve, silence; each with its link in the audit chain.

In: a connection inside a transaction, who and why. Out: the alert or silence as it is now. Laws: a link is appended in
the transaction of the change; an alert that a person took or ended, and a silence, are read only as the chain says.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from sqlalchemy import Connection

from roadworthy.errors import Problem, UnknownName, UsageError
from roadworthy.lifecycle import chain, schema
from roadworthy.lifecycle.alerts import life, rows
from roadworthy.lifecycle.alerts.store import AlertStore
from roadworthy.records.alert import Alert, AlertState, Policy, Silence
from roadworthy.records.digests import digest_data

__all__ = ["acknowledge", "checked", "resolve", "silence", "unsilence"]

_ACKNOWLEDGE, _RESOLVE, _SILENCE, _UNSILENCE = "alert ack", "alert resolve", "alert silence", "alert unsilence"
_LONGEST = {"by": 120, "reason": 2_000, "rule": 1_000}
_MOST_US = 90 * 86_400_000_000


def acknowledge(connection: Connection, project: str, number: int, *, by: str, reason: str = "", now_us: int) -> Alert:
    """Somebody is looking at it: reminders end. Once is enough. UnknownName, or UsageError where it is over."""
    _check({"by": by} | ({"reason": reason} if reason else {}))
    alert = rows.one_alert(connection, project, number)
    if alert.state is AlertState.ACKNOWLEDGED and (alert.by, alert.reason) == (by, reason):
        return alert
    after = rows.put(connection, life.acknowledged(alert, by, reason, now_us))
    rows.add_event(connection, after, "acknowledged", now_us, who=by, words=reason)
    _link(connection, _ACKNOWLEDGE, _subject(after), {"by": by, "reason": reason}, now_us)
    return after


def resolve(
    connection: Connection, store: AlertStore, number: int, *, by: str, reason: str, policy: Policy, now_us: int
) -> Alert:
    """It is over; whoever was told of it is told. UnknownName, or UsageError where it is over already."""
    _check({"by": by, "reason": reason})
    alert = rows.one_alert(connection, store.project, number)
    after, notices = life.resolved(alert, by, reason, now_us)
    after = rows.put(connection, after)
    rows.add_event(connection, after, "resolved", now_us, who=by, words=reason)
    store.tell(connection, notices, policy, now_us)
    _link(connection, _RESOLVE, _subject(after), {"by": by, "reason": reason}, now_us)
    return rows.one_alert(connection, store.project, number)


def silence(
    connection: Connection, project: str, rule: str, *, span_us: int, by: str, reason: str, now_us: int
) -> Silence:
    """Nobody is told of alerts that match, from now on for so long, at most 90 days."""
    _check({"rule": rule, "by": by, "reason": reason})
    if not 0 < span_us <= _MOST_US:
        raise UsageError(
            "this silence cannot be made",
            problems=[
                Problem("no such span", where="--for", expected="up to 90 days: what is silent for good is gone")
            ],
            next_step="roadworthy alerts silence RULE --for '2 h' --reason '…'",
        )
    draft = Silence(
        project=project, number=0, rule=rule, starts_us=now_us, ends_us=now_us + span_us, by=by, reason=reason
    )
    made = rows.add_silence(connection, draft)
    details = {"record": digest_data(msgspec.to_builtins(made)), "rule": rule, "by": by, "reason": reason}
    _link(connection, _SILENCE, _silence_subject(made), details, now_us)
    return made


def unsilence(connection: Connection, project: str, number: int, *, by: str, now_us: int) -> Silence:
    """A silence ends now. UnknownName for one that is over or was never made."""
    _check({"by": by})
    known = {one.number: one for one in rows.silences(connection, project, now_us)}
    if number not in known:
        raise UnknownName("silence", str(number), map(str, known), next_step="roadworthy alerts   # lists them")
    ended = msgspec.structs.replace(known[number], ends_us=now_us)
    table = schema.silences
    here = (table.c.project == project, table.c.number == number)
    connection.execute(table.update().where(*here).values(ends_us=now_us))
    details = {"record": digest_data(msgspec.to_builtins(ended)), "by": by}
    _link(connection, _UNSILENCE, _silence_subject(ended), details, now_us)
    return ended


def checked(connection: Connection, alerts: Sequence[Alert], silences: Sequence[Silence]) -> None:
    """RegistryError unless the audit chain tells the same of what people did to these."""
    ended: dict[str, tuple[str, str, str]] = {}
    records: dict[str, str] = {}
    for link in chain.links(connection):
        if link.action in {_ACKNOWLEDGE, _RESOLVE}:
            ended[link.subject] = (link.action, str(link.details["by"]), str(link.details["reason"]))
        elif link.action in {_SILENCE, _UNSILENCE}:
            records[link.subject] = str(link.details["record"])
    for alert in alerts:
        action, by, reason = ended.get(_subject(alert), ("", "", ""))
        taken = alert.state is AlertState.ACKNOWLEDGED or (alert.state is AlertState.RESOLVED and bool(alert.by))
        said = _RESOLVE if alert.state is AlertState.RESOLVED else _ACKNOWLEDGE
        if (taken and (action, by, reason) != (said, alert.by, alert.reason)) or (
            action == _RESOLVE and alert.state is not AlertState.RESOLVED
        ):
            raise chain.broken(f"alert {alert.number} of {alert.project} is not as people left it: its row was edited")
    for one in silences:
        if records.get(_silence_subject(one)) != digest_data(msgspec.to_builtins(one)):
            raise chain.broken(f"silence {one.number} of {one.project} was added or changed behind the registry's back")


def _subject(alert: Alert) -> str:
    return f"{alert.project} alert {alert.number}"


def _silence_subject(one: Silence) -> str:
    return f"{one.project} silence {one.number}"


def _link(connection: Connection, action: str, subject: str, details: dict[str, str], now_us: int) -> None:
    at = datetime.fromtimestamp(now_us / 1e6, UTC).isoformat(timespec="seconds")
    chain.append(connection, chain.links(connection), action, subject, dict(details), at=at)


def _check(words: dict[str, str]) -> None:
    problems = [
        Problem(f"{len(text)} characters" if text else "nothing", where=f"--{name}" if name != "rule" else "RULE",
                expected=f"1 to {_LONGEST[name]:,} printable characters on one line")
        for name, text in words.items()
        if not 0 < len(text) <= _LONGEST[name] or not text.isprintable()
    ]  # fmt: skip
    if problems:
        raise UsageError(
            "this needs words that people can read later",
            problems=problems,
            next_step="roadworthy alerts --help",
        )
