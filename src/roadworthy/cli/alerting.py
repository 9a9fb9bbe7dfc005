"""``alerts``: what is wrong with the live model, and what a person does about it.

In: words. Out: alerts, those that fire first, as text or JSON. The command joins those of ``cli.app`` when this module
is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from roadworthy.cli.app import _DEFAULT_PROJECT, AsJson, ProjectFile, app
from roadworthy.cli.running import told

if TYPE_CHECKING:
    from roadworthy.api.alerting import AlertLine, AlertsView, ChannelLine

__all__ = ["alerts"]


@app.command(epilog="Example: roadworthy alerts ack 12")
def alerts(
    action: Annotated[str, typer.Argument(help="list, show, ack, resolve, silence, unsilence, rules or test")] = "list",
    which: Annotated[str, typer.Argument(help="the number of an alert or silence, or the rule to silence")] = "",
    *,
    everything: Annotated[bool, typer.Option("--all", help="list resolved alerts, too")] = False,
    reason: Annotated[str, typer.Option("--reason", help="why it is resolved, silenced or taken")] = "",
    by: Annotated[str, typer.Option("--by", help="who does it; the login name by default")] = "",
    span: Annotated[str, typer.Option("--for", help='how long a silence lasts, such as "2 h"')] = "",
    out: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads this form on every supported Python
        typer.Option("--out", "-o", help="where the Prometheus rules are written"),
    ] = None,
    project: ProjectFile = _DEFAULT_PROJECT,
    as_json: AsJson = False,
) -> None:
    """List alerts, take, resolve or silence them, make Prometheus rules, test the channels."""
    from roadworthy import api  # noqa: PLC0415 - heavy, and --help must not wait for it

    view = api.alerts(action, which, everything=everything, reason=reason, by=by, span=span, out=out, project=project)
    told(view, _text(view), as_json=as_json)
    raise typer.Exit(view.exit_code)


def _text(view: AlertsView) -> str:
    if view.did == "made rules":
        return f"wrote {view.file}; check it with: promtool check rules {view.file}" if view.file else view.rules
    if view.did == "shown":
        return "\n".join(_shown(view))
    if view.did == "tested":
        return "\n".join(f"{one.name}: {one.problem or 'took the message'}" for one in view.channels)
    if view.did in {"silenced", "unsilenced"}:
        (one,) = view.silences
        rest = f", until {_time(one.ends_us)}: {one.reason}" if view.did == "silenced" else ""
        return f"silence {one.number}: {one.rule} is {view.did} by {one.by}{rest}"
    if view.did in {"acknowledged", "resolved"}:
        return "\n".join(f"alert {one.alert.number} is {view.did} by {one.alert.by}" for one in view.alerts)
    return "\n".join(_listed(view))


def _listed(view: AlertsView) -> Iterator[str]:
    states = [one.alert.state.value for one in view.alerts]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    yield f"{view.project}: {counts or 'no open alert'}"
    for line in view.alerts:
        alert = line.alert
        silent = f", silenced until {_time(line.silenced_until_us)}" if line.silenced_until_us else ""
        taken = f" by {alert.by}" if alert.by else ""
        yield f"{alert.number:>5}  {alert.severity:<6}  {alert.state}{taken}{silent}  {alert.rule}"
        yield f"       {alert.last.sentence}"
        yield f"       since {_time(alert.first.at_us)}, {alert.alarms} alarms, the last in {alert.last.source}"
    yield from (
        f"silence {one.number}: {one.rule} until {_time(one.ends_us)}, by {one.by}: {one.reason}"
        for one in view.silences
    )
    yield from (_channel(one) for one in view.channels if one.waiting)
    if not view.channels:
        yield "nobody is told: [alerts] notify is empty in the project file"
    if "firing" in states:
        number = next(one.alert.number for one in view.alerts if one.alert.state.value == "firing")
        yield f"next: roadworthy alerts show {number}"


def _channel(one: ChannelLine) -> str:
    why = f": {one.problem}" if one.problem else ""
    return f"channel {one.name}: {one.waiting} messages wait{why}"


def _shown(view: AlertsView) -> Iterator[str]:
    (line,) = view.alerts
    alert = line.alert
    yield f"alert {alert.number}: {alert.rule} ({alert.severity}, {alert.group}), {alert.state}"
    for name, one in (("first", alert.first), ("worst", alert.worst), ("last", alert.last)):
        yield f"{name:<10} {_time(one.at_us)}  {one.source}  {one.sentence}"
    yield from (f"{name:<10} {value}" for name, value in alert.last.evidence.items())
    yield f"{'newest':<10} {_time(alert.heard_us)}  the rule says: {alert.heard}"
    yield from _standing(line)
    yield "history"
    for event in view.history:
        who = f" by {event.who}" if event.who else ""
        yield f"  {_time(event.at_us)}  {event.what}{who}  {event.source}  {event.words}".rstrip()
    if not alert.by:
        yield f"next: roadworthy alerts ack {alert.number}"


def _standing(line: AlertLine) -> Iterator[str]:
    alert = line.alert
    if alert.by or alert.reason:
        yield f"{'taken':<10} {alert.by or 'by the policy'}: {alert.reason}"
    if line.silenced_until_us:
        yield f"{'silenced':<10} until {_time(line.silenced_until_us)}"
    yield f"{'look at':<10} {line.look_first}"
    yield f"{'runbook':<10} {line.runbook}"
    if line.dashboard:
        yield f"{'dashboard':<10} {line.dashboard}"


def _time(at_us: int) -> str:
    from roadworthy.lifecycle.alerts.messages import shown_time  # noqa: PLC0415 - loads SQLAlchemy; --help must not

    return shown_time(at_us)
