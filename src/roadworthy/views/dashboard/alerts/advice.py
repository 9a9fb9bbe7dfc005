"""What to do about an alert, by its group: the runbook in five lines, for somebody who was asleep a minute ago.

In: an alert. Out: ``Step``s with links to pages of this dashboard. The long form is docs/monitoring.md.
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from roadworthy.lifecycle.alerts.life import BROKEN_PREFIX
from roadworthy.records.alert import Alert

__all__ = ["Step", "steps"]

_QUALITY = (
    ("Are the labels right? Wrong labels look like a wrong model.", "/quality", "Quality, around then"),
    ("Did the data change at the same time? It is the commonest cause.", "/data", "Data, around then"),
    ("Is it one group of rows? One group that fell is more often a broken feed than a worn model.", "", ""),
    (
        "To stop the harm, put the version before it back in service: `roadworthy promote VERSION`.",
        "/versions",
        "Versions",
    ),
)
_DATA = (
    (
        "Ask whoever fills that column. A changed unit, default or time zone is the usual story.",
        "/data",
        "Data, around then",
    ),
    ("Does quality move with it? If not, it is news and no emergency.", "/quality", "Quality, around then"),
    ("A column that is missing altogether is an outage of its feed.", "", ""),
)
_OPERATIONS = (
    ("Look at what the server says now: errors by code, requests in flight, memory.", "/live", "Live"),
    ("What was released just before? Putting the version before it back takes seconds.", "/versions", "Versions"),
    ("Status 429 is more than the server can take, 503 that no version answers, 500 a fault.", "", ""),
)
_MONITOR = (
    ("Nothing is known of what this check looks at until it works again. That is not the same as no alarm.", "", ""),
    ("Does the monitor run, and can it read log, registry and lake? `roadworthy status` tells.", "/live", "Live"),
    ("What it wrote to standard error says where it broke.", "", ""),
)
_FEEDBACK = (
    ("Read ten of the rows that were reported before any statistics.", "/predictions", "Predictions, around then"),
    ("If the reports are right, alerts on quality follow as labels come; do not wait for them.", "/quality", "Quality"),
    ("If they are wrong, resolve this and say so.", "", ""),
)
_BY_GROUP = {"quality": _QUALITY, "data": _DATA, "operations": _OPERATIONS, "monitor": _MONITOR, "feedback": _FEEDBACK}
_BY_RULE = {"reported_wrong_rise": _FEEDBACK}
_OTHERS = (("The evidence below says what was seen.", "", ""),)
_TIMED = frozenset({"/quality", "/data", "/predictions"})


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to look at; ``link`` and ``words`` where a page shows it."""

    sentence: str
    link: str = ""
    words: str = ""


def steps(alert: Alert, since: str, until: str) -> tuple[Step, ...]:
    """What to look at, in this order; ``since`` and ``until`` (ISO 8601) are the time that pages are opened at."""
    rule = alert.rule.removeprefix(BROKEN_PREFIX)
    span = f"?since={quote(since)}&until={quote(until)}"
    return tuple(
        Step(sentence=sentence, link=link + span if link in _TIMED else link, words=words)
        for sentence, link, words in _BY_RULE.get(rule, _BY_GROUP.get(alert.group, _OTHERS))
    )
