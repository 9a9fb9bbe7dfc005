"""Where messages point to is there, and the example message is one that is sent."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from roadworthy.lifecycle.alerts import messages, runbook
from roadworthy.records.alert import Alert, AlertState, Notice, NoticeKind, Severity, Sighting

PAGE = "docs/monitoring.md"
ROOT = Path(__file__).parent.parent.parent
Pages = Callable[[str], Any]


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in heads}


def alert(group: str) -> Alert:
    hour = 3_600_000_000
    until = 1_763_600_400_000_000 + 365 * 24 * hour
    first, worst, last = (
        Sighting(
            source=f"1h/{number}",
            at_us=until + (number - 419) * hour,
            sentence=f"accuracy is {value}, provably below 0.80",
            evidence={"value": value, "interval": [low, high], "bound": 0.8, "rows": 12_000},
        )
        for number, value, low, high in ((419, 0.73, 0.7, 0.76), (420, 0.66, 0.6, 0.7), (421, 0.712, 0.684, 0.739))
    )
    return Alert(
        project="clicks",
        number=12,
        rule="accuracy_low",
        group=group,
        severity=Severity.PAGE,
        state=AlertState.FIRING,
        first=first,
        worst=worst,
        last=last,
        opened_us=0,
        changed_us=0,
        heard_us=0,
        known_us=0,
        alarms=3,
    )


def test_every_group_has_its_section(page: Pages) -> None:
    known = anchors(page(PAGE).text)
    for group in ("quality", "data", "operations", "monitor", "feedback", "other"):
        place, _, anchor = runbook.runbook(alert(group), runbook.Links()).partition("#")
        assert place == PAGE
        assert anchor in known


def test_the_example_is_a_message_as_it_is_sent(page: Pages) -> None:
    links = runbook.Links(runbook="https://wiki.example/rw/{rule}")
    (message,) = messages.grouped("clicks", [Notice(kind=NoticeKind.FIRED, alert=alert("quality"))], links)
    assert f"{message.title}\n\n{message.body}" in page(PAGE).text


def test_every_state_is_explained(page: Pages) -> None:
    section = page(PAGE).section("What to do with an alert")
    assert [row[0] for row in section.table("state")] == [state.value for state in AlertState]
