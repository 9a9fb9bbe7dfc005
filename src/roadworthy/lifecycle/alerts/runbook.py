"""What to look at first, by the kind of alert, where the signal itself does not say.

In: an alert and the project's templates. Out: a sentence and two links. The sections that the default runbook names
stand in docs/monitoring.md.
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from roadworthy.lifecycle.alerts.life import BROKEN_PREFIX
from roadworthy.records.alert import Alert

__all__ = ["Links", "dashboard", "look_first", "runbook"]

_NAMES = ("rule", "group", "number")
_PAGE = "docs/monitoring.md"
_FIRST = {
    "quality": "whether the labels of that window are right, then which slice fell, then what changed in the data",
    "data": "whether whoever fills the column changed something; whether quality moves with it",
    "operations": "the server's log and /metrics: errors by code, requests in flight, memory",
    "monitor": "whether the monitor and what it reads (log, registry, lake, channels) are there: roadworthy status",
    "feedback": "the rows that people reported, and who reported them",
}
_OTHERS = "the evidence of this alert: roadworthy alerts show NUMBER"
_SECTIONS = {
    "quality": "quality-fell",
    "data": "the-data-changed",
    "operations": "the-service-suffers",
    "monitor": "the-monitor-itself",
    "feedback": "people-report-wrong-answers",
}


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """The project file's templates, empty where not given: ``{rule}``, ``{group}`` and ``{number}`` are filled in.

    ``dashboard`` may be an address without them: where the dashboard answers.
    """

    runbook: str = ""
    dashboard: str = ""


def look_first(alert: Alert) -> str:
    """The first thing to look at."""
    return alert.look_first or _FIRST.get(alert.group, _OTHERS.replace("NUMBER", str(alert.number)))


def runbook(alert: Alert, links: Links) -> str:
    """Where it says what to do: the project's own page, or the section of ours."""
    if links.runbook:
        return _filled(links.runbook, alert)
    return f"{_PAGE}#{_SECTIONS.get(alert.group, 'what-to-do-with-an-alert')}"


def dashboard(alert: Alert, links: Links) -> str:
    """Where it is drawn; empty where the project names no dashboard.

    An address without any of the names is where the dashboard answers: the alert's page is below it.
    """
    address = links.dashboard
    if not address or any(f"{{{name}}}" in address for name in _NAMES):
        return _filled(address, alert)
    return f"{address.rstrip('/')}/alerts/{alert.number}"


def _filled(template: str, alert: Alert) -> str:
    rule = alert.rule.removeprefix(BROKEN_PREFIX)
    for name, value in (("rule", rule), ("group", alert.group), ("number", str(alert.number))):
        template = template.replace(f"{{{name}}}", quote(value, safe=""))
    return template
