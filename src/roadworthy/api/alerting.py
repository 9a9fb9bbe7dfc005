"""``alerts``: what is wrong with the live model, since when, who has it; and what a person does about it.

In: words from a person. Out: an ``AlertsView``. Laws: whoever acknowledges, resolves or silences is named, in the
registry and in the audit chain; nothing is resolved or silenced without a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from sqlalchemy import Connection

from roadworthy import assembly
from roadworthy.adapters.whole_files import whole_file
from roadworthy.api.alert_channels import alert_policy, alert_store, channels_of
from roadworthy.api.person import login
from roadworthy.errors import UnknownName, UsageError
from roadworthy.formats.prometheus_rules import prometheus_rules
from roadworthy.lifecycle.alerts import outbox, people, rows, runbook
from roadworthy.lifecycle.alerts.delivery import tried
from roadworthy.lifecycle.alerts.messages import test_message
from roadworthy.lifecycle.alerts.store import AlertStore, silenced
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.records.alert import Alert, AlertEvent, AlertState, Silence
from roadworthy.serving.metrics import SECONDS
from roadworthy.transforms.durations import microseconds

__all__ = ["AlertLine", "AlertsView", "ChannelLine", "alerts"]

_NEEDS = {"show": "the alert's number", "ack": "the alert's number", "resolve": "the alert's number",
          "silence": "a rule, such as accuracy_low, or drift:*", "unsilence": "the silence's number"}  # fmt: skip
_ACTIONS = ("list", *_NEEDS, "rules", "test")
_ORDER = (AlertState.FIRING, AlertState.ACKNOWLEDGED, AlertState.PENDING, AlertState.RESOLVED)
_MOST = 1_000


class AlertLine(msgspec.Struct, frozen=True, kw_only=True):
    """One alert as people see it; ``silenced_until_us`` is 0 while its messages go out."""

    alert: Alert
    look_first: str
    runbook: str
    dashboard: str
    silenced_until_us: int = 0


class ChannelLine(msgspec.Struct, frozen=True, kw_only=True):
    """Where messages go, without its address. ``problem`` says why the last attempt failed, empty where none did."""

    name: str
    waiting: int = 0
    problem: str = ""


class AlertsView(msgspec.Struct, frozen=True, kw_only=True):
    """What a call did (``did``), and what it did it to."""

    project: str
    did: str
    alerts: tuple[AlertLine, ...] = ()
    silences: tuple[Silence, ...] = ()
    channels: tuple[ChannelLine, ...] = ()
    history: tuple[AlertEvent, ...] = ()
    rules: str = ""
    file: str = ""

    @property
    def exit_code(self) -> int:
        """1 where an alert fires that nobody has taken or silenced, or a test reached not every channel; else 0."""
        firing = [one for one in self.alerts if one.alert.state is AlertState.FIRING and not one.silenced_until_us]
        untold = self.did == "tested" and any(channel.problem for channel in self.channels)
        return 1 if (self.did == "listed" and firing) or untold else 0


def alerts(
    action: str = "list",
    which: str = "",
    *,
    everything: bool = False,
    reason: str = "",
    by: str = "",
    span: str = "",
    out: Path | str | None = None,
    project: Path | str = assembly.PROJECT_FILE,
) -> AlertsView:
    """``list`` alerts, ``show``, ``ack`` or ``resolve`` one by number, ``silence`` a rule, or ``unsilence``.

    ``rules`` makes Prometheus rules of the standard (``out``: a file for them), ``test`` sends a message through every
    channel. ``everything`` lists resolved alerts, too. ``by`` is the login name by default. ``span`` is how long a
    silence lasts (``"2 h"``). Raises UnknownName for another action and for a number that nothing has, UsageError for
    words that are missing.
    """
    _check(action, which)
    opened = assembly.open_project(project)
    if action == "rules":
        return _rules(opened, out)
    if action == "test":
        return _tested(opened)
    transactions = Transactions(opened.settings.registry)
    try:
        if action in {"list", "show"}:
            with transactions.reading() as connection:
                return _listed(opened, connection, _number(which) if action == "show" else 0, everything=everything)
        with transactions.changing() as connection:
            return _changed(opened, connection, action, which, by=by.strip() or login(), reason=reason, span=span)
    finally:
        transactions.close()


def _check(action: str, which: str) -> None:
    if action not in _ACTIONS:
        raise UnknownName("action", action, _ACTIONS, next_step="roadworthy alerts --help")
    if (action in _NEEDS) != bool(which):
        wanted = _NEEDS.get(action, "")
        found = f"alerts {action} needs {wanted}" if wanted else f"alerts {action} takes nothing more"
        raise UsageError(found, next_step="roadworthy alerts   # lists them")


def _number(which: str) -> int:
    if not which.isdecimal():
        raise UsageError(f"{which!r} is no number", next_step="roadworthy alerts   # lists them with their numbers")
    return int(which)


def _listed(opened: assembly.Project, connection: Connection, number: int, *, everything: bool) -> AlertsView:
    name, now_us = opened.spec.name, _now()
    if number:
        found: Sequence[Alert] = [rows.one_alert(connection, name, number)]
    elif everything:
        found = rows.all_alerts(connection, name, _MOST)
    else:
        found = rows.open_alerts(connection, name)
    silences = rows.silences(connection, name, now_us)
    people.checked(connection, found, silences)
    lines = [_line(opened, alert, silences, now_us) for alert in found]
    return AlertsView(
        project=name,
        did="shown" if number else "listed",
        alerts=tuple(sorted(lines, key=lambda line: (_ORDER.index(line.alert.state), -line.alert.number))),
        silences=silences,
        channels=_channels(opened, connection),
        history=rows.events(connection, name, number) if number else (),
    )


def _changed(
    opened: assembly.Project, connection: Connection, action: str, which: str, *, by: str, reason: str, span: str
) -> AlertsView:
    name, now_us, store = opened.spec.name, _now(), alert_store(opened)
    words = " ".join(reason.split())
    if action == "silence":
        made = people.silence(connection, name, which, span_us=_span(span), by=by, reason=words, now_us=now_us)
        return AlertsView(project=name, did="silenced", silences=(made,))
    if action == "unsilence":
        ended = people.unsilence(connection, name, _number(which), by=by, now_us=now_us)
        return AlertsView(project=name, did="unsilenced", silences=(ended,))
    alert = _taken(opened, connection, store, action, _number(which), by=by, reason=words, now_us=now_us)
    did = "acknowledged" if action == "ack" else "resolved"
    return AlertsView(project=name, did=did, alerts=(_line(opened, alert, (), now_us),))


def _taken(
    opened: assembly.Project,
    connection: Connection,
    store: AlertStore,
    action: str,
    number: int,
    *,
    by: str,
    reason: str,
    now_us: int,
) -> Alert:
    if action == "ack":
        return people.acknowledge(connection, store.project, number, by=by, reason=reason, now_us=now_us)
    policy = alert_policy(opened)
    return people.resolve(connection, store, number, by=by, reason=reason, policy=policy, now_us=now_us)


def _span(span: str) -> int:
    if not span:
        raise UsageError("a silence needs an end", next_step="roadworthy alerts silence RULE --for '2 h' --reason '…'")
    return microseconds(span, where="--for")


def _line(opened: assembly.Project, alert: Alert, silences: Sequence[Silence], now_us: int) -> AlertLine:
    declared = opened.spec.alerts
    links = runbook.Links(runbook=declared.runbook, dashboard=declared.dashboard)
    muting = silenced(alert, silences, now_us)
    return AlertLine(
        alert=alert,
        look_first=runbook.look_first(alert),
        runbook=runbook.runbook(alert, links),
        dashboard=runbook.dashboard(alert, links),
        silenced_until_us=muting.ends_us if muting else 0,
    )


def _channels(opened: assembly.Project, connection: Connection) -> tuple[ChannelLine, ...]:
    """The declared channels, and those that messages still wait for though no address leads there any more."""
    behind = {one.channel: one for one in outbox.backlog(connection, opened.spec.name)}
    lines = []
    for digest, channel in channels_of(opened).items():
        one = behind.pop(digest, None)
        lines.append(
            ChannelLine(name=channel.name, waiting=one.waiting if one else 0, problem=one.problem if one else "")
        )
    gone = "its address is no longer under [alerts] notify"
    lines += [ChannelLine(name=one.channel[7:13], waiting=one.waiting, problem=gone) for one in behind.values()]
    return tuple(lines)


def _tested(opened: assembly.Project) -> AlertsView:
    channels = channels_of(opened)
    if not channels:
        raise UsageError(
            "nobody would be told: the project names no channel",
            next_step='add to the project file: [alerts] notify = ["slack://…"]   # or "mailto://…", "jsons://…"',
        )
    message = test_message(opened.spec.name, _now())
    lines = tuple(
        ChannelLine(name=channel.name, problem=tried(channel.notifier, message)) for channel in channels.values()
    )
    return AlertsView(project=opened.spec.name, did="tested", channels=lines)


def _rules(opened: assembly.Project, out: Path | str | None) -> AlertsView:
    text = prometheus_rules(
        opened.spec.name,
        opened.standard.requirements,
        buckets_s=SECONDS,
        runbook=opened.spec.alerts.runbook,
    )
    if out is not None:
        with whole_file(Path(out)) as fresh:
            fresh.write_text(text, encoding="utf-8")
    return AlertsView(project=opened.spec.name, did="made rules", rules=text, file="" if out is None else str(out))


def _now() -> int:
    return int(assembly.SystemClock().now().timestamp() * 1e6)
