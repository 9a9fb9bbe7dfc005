"""Messages about alerts, as a person reads them woken at three in the morning.

In: notices of one kind and one group. Out: a title and a body of plain text. Laws: one message for all that happened
to a group at once; it says what, how bad, since when, what to look at first, and the command that takes it; its key
depends on nothing but what it tells, so that a message that is made again has the same. Names from the data stay within
their line, and within their word where a command is shown.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from roadworthy.lifecycle.alerts.runbook import Links, dashboard, look_first, runbook
from roadworthy.records.alert import Alert, Notice, NoticeKind, Severity, Sighting

__all__ = ["Message", "grouped", "numbers_told", "shown_time", "test_message"]

_LONGEST = 140
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_BLOCK = re.compile(r"Alert (\d+): ")
_HEADS = {
    NoticeKind.FIRED: "",
    NoticeKind.WORSE: "worse: ",
    NoticeKind.REMINDER: "still: ",
    NoticeKind.RESOLVED: "resolved: ",
}
_SHOWN = 12  # alerts of one message in full; the others by name


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent. ``key`` is the idempotency key: the receiver may drop a second message with the same one."""

    key: str
    title: str
    body: str
    alerts: tuple[int, ...] = ()


def grouped(project: str, notices: Sequence[Notice], links: Links) -> tuple[Message, ...]:
    """One message for each kind and group, in the order in which they came up."""
    groups: dict[tuple[NoticeKind, str], list[Alert]] = {}
    for notice in notices:
        groups.setdefault((notice.kind, notice.alert.group), []).append(notice.alert)
    return tuple(_message(project, kind, group, alerts, links) for (kind, group), alerts in groups.items())


def numbers_told(body: str) -> tuple[int, ...]:
    r"""The numbers of the alerts that a message tells in full: a name from the data begins no block.

    >>> numbers_told("Alert 3: drift\nAlert 4: no\n\nAlert 7: skew")
    (3, 7)
    """
    return tuple(int(found[1]) for block in body.split("\n\n") if (found := _BLOCK.match(block)))


def test_message(project: str, at_us: int) -> Message:
    """The message that ``roadworthy alerts test`` sends."""
    return Message(
        key=_key(project, "test", [str(at_us)]),
        title=f"[test] {project}: alerts reach you here",
        body=f"Sent by `roadworthy alerts test` at {shown_time(at_us)}. Nothing is wrong.",
    )


def shown_time(at_us: int) -> str:
    """Microseconds since 1970 as people read them.

    >>> shown_time(0)
    '1970-01-01 00:00 UTC'
    """
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%d %H:%M} UTC"


def _message(project: str, kind: NoticeKind, group: str, alerts: Sequence[Alert], links: Links) -> Message:
    worst = Severity.PAGE if any(alert.severity is Severity.PAGE for alert in alerts) else alerts[0].severity
    subject = alerts[0].last.sentence if len(alerts) == 1 else f"{len(alerts)} alerts ({group})"
    title = " ".join(_harmless(f"[{worst}] {project}: {_HEADS[kind]}{subject}").split())
    parts = [alert.number for alert in alerts]
    told = [f"{alert.number}.{alert.told}" for alert in alerts]
    blocks = ["\n".join(map(_harmless, _lines(alert, kind, links))) for alert in alerts[:_SHOWN]]
    if more := alerts[_SHOWN:]:
        blocks.append(
            f"and {len(more)} more: " + ", ".join(f"{alert.number} ({_harmless(alert.rule)})" for alert in more)
        )
    return Message(
        key=_key(project, kind, told),
        title=title if len(title) <= _LONGEST else f"{title[: _LONGEST - 1]}…",
        body="\n\n".join(blocks),
        alerts=tuple(parts),
    )


def _harmless(line: str) -> str:
    """One line stays one line, whatever a column or a category is called."""
    return _CONTROL.sub(" ", line)


def _key(project: str, kind: str, told: Sequence[str]) -> str:
    return "rw-" + hashlib.sha256("\0".join([project, kind, *told]).encode()).hexdigest()[:32]


def _lines(alert: Alert, kind: NoticeKind, links: Links) -> Iterator[str]:
    yield f"Alert {alert.number}: {alert.rule} ({alert.severity}, {alert.group})"
    yield alert.last.sentence
    if kind is NoticeKind.RESOLVED:
        who = f"by {alert.by}: " if alert.by else ""
        yield f"resolved {shown_time(alert.changed_us)}, {who}{alert.reason}"
    yield from (f"{name:<9}  {shown}" for name, shown in _figures(alert.last))
    yield f"{'since':<9}  {shown_time(alert.first.at_us)}, {_windows(alert.alarms)} so far"
    if alert.worst.source != alert.last.source:
        yield f"{'worst':<9}  {alert.worst.source}: {alert.worst.sentence}"
    yield f"{'look at':<9}  {look_first(alert)}"
    yield f"{'runbook':<9}  {runbook(alert, links)}"
    if place := dashboard(alert, links):
        yield f"{'dashboard':<9}  {place}"
    if kind is not NoticeKind.RESOLVED:
        yield f"{'take it':<9}  roadworthy alerts ack {alert.number}"
        yield f"{'silence':<9}  roadworthy alerts silence {shlex.quote(alert.rule)} --for '2 h' --reason '…'"


def _windows(alarms: int) -> str:
    return "1 alarm" if alarms == 1 else f"{alarms} alarms"


def _figures(sighting: Sighting) -> Iterator[tuple[str, str]]:
    evidence = sighting.evidence
    if "value" in evidence:
        ends = evidence.get("interval", [evidence.get("lower"), evidence.get("upper")])
        yield "value", _number(evidence["value"]) + _between(ends)
    for name in ("bound", "p", "effect", "rows"):
        if name in evidence:
            yield name, _number(evidence[name])
    yield "window", sighting.source


def _between(interval: Any) -> str:
    pair = isinstance(interval, list | tuple) and len(interval) == 2 and None not in interval
    return f" ({_number(interval[0])} to {_number(interval[1])})" if pair else ""


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
