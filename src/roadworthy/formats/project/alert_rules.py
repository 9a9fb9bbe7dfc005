"""Whether ``[alerts]`` makes sense.

In: a typed ``ProjectSpec``. Out: ``Fault`` per value that could tell nobody, or never. Law: no address is quoted;
it may hold a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from roadworthy.formats.project.typing_rules import Fault
from roadworthy.records.project import ProjectSpec

__all__ = ["alert_faults"]

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://.|\$\{[A-Za-z_][A-Za-z0-9_]*\}$", re.IGNORECASE)
_SPAN = re.compile(r"\s*\d+(\.\d+)?\s*(s|min|minutes?|h|hours?|d|days?|w|weeks?)\s*")
_LINK = re.compile(r"https?://[^\s{}]+(\{(rule|group|number)\}[^\s{}]*)*")


def alert_faults(spec: ProjectSpec) -> Iterator[Fault]:
    """The faults of every key."""
    alerts = spec.alerts
    for place, address in enumerate(alerts.notify):
        if not _ADDRESS.match(address):
            yield Fault(f"alerts.notify.{place}", "a receiver that is no URL", 'such as "slack://…" or "mailto://…"')
    if alerts.repeat and (not _SPAN.fullmatch(alerts.repeat) or not re.search("[1-9]", alerts.repeat)):
        yield Fault("alerts.repeat", f"{alerts.repeat!r}", 'a span such as "4 h", or "" for no reminder')
    for key, number in (("resolve_after", alerts.resolve_after), ("hold", alerts.hold)):
        if number < 0:
            yield Fault(f"alerts.{key}", f"{number} windows", "0 or more")
    for key, link in (("runbook", alerts.runbook), ("dashboard", alerts.dashboard)):
        if link and not _LINK.fullmatch(link):
            expected = "a link of http or https, in which {rule}, {group} and {number} are filled in"
            yield Fault(f"alerts.{key}", f"{link!r}", expected)
