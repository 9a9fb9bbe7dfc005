"""A window from rows to what is kept and told: every part of watching, asked once.

In: ``Asked``. Out: ``Found``: the ``Judged`` window, its summary, its signals. Pure. Laws: a part that breaks is an
alarm of its own, and the others go on; what is kept depends on the rows of the window alone (looks back only alarm).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import polars as pl

from roadworthy.errors import DataError
from roadworthy.measures.alarms.budget import Allotment, allot, parse_budget
from roadworthy.measures.alarms.deciding import Compared
from roadworthy.measures.alarms.scales import Look
from roadworthy.records.alert import Severity, Signal, Word
from roadworthy.records.digests import Digest
from roadworthy.records.evidence import Measurement
from roadworthy.records.shift import Shift
from roadworthy.records.verdict import Waiver
from roadworthy.records.window import Judged, Window, WindowSummary
from roadworthy.stages.watching.data import comparisons, data_members, signals_of_data
from roadworthy.stages.watching.judging import Sight, excused, members, requirement_signals, shown, told_of
from roadworthy.stages.watching.observed import counted
from roadworthy.stages.watching.skew import skew, skew_signal
from roadworthy.stages.watching.watched import Watched

__all__ = ["Asked", "Found", "allotment_for", "judged_window"]

_MOVED = 12
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Asked:
    """Everything that a window is judged by.

    ``rows`` are all rows of the window; ``looks`` the sketches of the blocks that end with it, None where only its
    labels are news; ``seconds`` maps a scale to the time that its windows cover; ``uncounted`` says why the rows could
    not be counted.
    """

    watched: Watched
    window: Window
    revision: int
    judged_at_us: int
    known_by_us: int
    inputs: Digest
    rows: pl.DataFrame
    sight: Sight
    allotment: Allotment
    looks: Sequence[Look] | None
    seconds: Mapping[int, float]
    uncounted: str = ""
    standing: Mapping[str, int] = field(default_factory=dict)
    waivers: Sequence[Waiver] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What is kept of a window, and what alerts are told."""

    judged: Judged
    summary: WindowSummary
    signals: tuple[Signal, ...]


def allotment_for(watched: Watched, window_s: float, scales: int | None = None) -> Allotment:
    """The alarm budget of a version, divided over all that is watched in windows that last so long."""
    budget = parse_budget(watched.plan.alarm_budget)
    return allot(budget, {**data_members(watched), **members(watched)}, window_s=window_s, scales=scales)


def judged_window(asked: Asked) -> Found:
    """Judge one revision of a window."""
    own = asked.watched.own(asked.rows)
    checks: list[Signal] = []

    def part(name: str, ask: Callable[[], tuple[_T, ...]]) -> tuple[_T, ...]:
        try:
            found = ask()
        except Exception as error:  # noqa: BLE001 - whatever breaks in one part is an alarm, and the others go on
            checks.append(_check(name, asked, f"broke: {told_of(error)}"))
            return ()
        checks.append(_check(name, asked))
        return found

    compared: tuple[Compared, ...] = ()
    signals: tuple[Signal, ...] = ()
    if asked.looks is not None:
        looks = asked.looks
        compared = part("data", lambda: _comparisons(asked, looks))
        signals += part("data alarms", lambda: _of_data(asked, compared))
        signals += part("skew", lambda: _of_skew(asked, own))
    today = datetime.fromtimestamp(asked.judged_at_us / 1e6, UTC).date()
    measured, verdict = shown(asked.watched, asked.sight, waivers=asked.waivers, today=today)
    waived = {one.requirement: one.waiver for one in verdict.requirements if one.waiver is not None}
    signals += part("requirements", lambda: excused(_of_requirements(asked), waived))
    judged = Judged(
        window=asked.window,
        revision=asked.revision,
        judged_at_us=asked.judged_at_us,
        known_by_us=asked.known_by_us,
        inputs=asked.inputs,
        version=asked.watched.title,
        counts=counted(asked.rows, asked.watched.title),
        measurements=measured,
        shifts=compared[0].shifts if compared and compared[0].block.scale == 0 else (),
        verdict=verdict,
        turn=asked.sight.turn,
        notes=tuple(signal.sentence for signal in checks if signal.word is Word.BROKEN),
    )
    every = (*signals, *checks)
    return Found(judged, _summary(judged, every), every)


def _comparisons(asked: Asked, looks: Sequence[Look]) -> tuple[Compared, ...]:
    if asked.uncounted:
        raise DataError(asked.uncounted)
    return comparisons(asked.watched, looks, asked.seconds)


def _of_data(asked: Asked, compared: Sequence[Compared]) -> tuple[Signal, ...]:
    source, at_us = asked.sight.title, asked.sight.at_us
    return signals_of_data(compared, asked.allotment, at_us=at_us, source=source, standing=asked.standing)


def _of_skew(asked: Asked, own: pl.DataFrame) -> tuple[Signal, ...]:
    return (skew_signal(skew(asked.watched, own), at_us=asked.sight.at_us, source=asked.sight.title),)


def _of_requirements(asked: Asked) -> tuple[Signal, ...]:
    return requirement_signals(asked.watched, asked.sight, asked.allotment, asked.standing)


def _check(part: str, asked: Asked, fault: str = "") -> Signal:
    """Whether a part of the monitor's own work came to its end."""
    return Signal(
        rule=f"monitor:{part}",
        word=Word.BROKEN if fault else Word.CLEAR,
        at_us=asked.sight.at_us,
        source=asked.sight.title,
        group="monitor",
        sentence=f"The check of {part} {fault}"[:500] if fault else f"The check of {part} works.",
        severity=Severity.PAGE,
        look_first="what the monitor wrote to standard error; until it is mended nothing is known of this",
    )


def _summary(judged: Judged, signals: Sequence[Signal]) -> WindowSummary:
    answers = {verdict.requirement: (verdict.outcome, verdict.measurement) for verdict in judged.verdict.requirements}
    return WindowSummary(
        number=judged.window.number,
        revision=judged.revision,
        start_us=judged.window.after.at_us,
        end_us=judged.window.until.at_us,
        until=judged.window.until,
        judged_at_us=judged.judged_at_us,
        version=judged.version,
        readiness=str(judged.verdict.readiness),
        rows=judged.counts["rows"],
        labelled=judged.counts["labelled"],
        values={line: _ends(one) for line, (_, one) in answers.items()},
        outcomes={line: str(outcome) for line, (outcome, _) in answers.items()},
        estimated=tuple(line for line, (_, one) in answers.items() if one and one.method.startswith("estimated")),
        moved=_moved(judged.shifts),
        alarms=tuple(signal.rule for signal in signals if signal.word in {Word.ALARM, Word.BROKEN}),
    )


def _ends(one: Measurement | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if one is None else (one.value, one.lower, one.upper)


def _moved(shifts: Sequence[Shift]) -> dict[str, float]:
    """The greatest effects, by subject and what moved."""
    ranked = sorted((one for one in shifts if one.p is not None), key=lambda one: -one.effect)
    return {f"{one.subject}:{one.kind}": round(one.effect, 6) for one in ranked[:_MOVED] if one.effect > 0}
