"""A window from rows to what is kept and told: every part of watching, asked once.

In: ``Asked``. Out: ``Found``: the ``Judged`` window, its summary, its signals. Pure. Laws: a part that breaks is an
alarm of its own, and the others go on; what is kept depends on the rows of the window alone (looks back only alarm).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import NamedTuple, TypeVar

import msgspec
import polars as pl

from roadworthy.errors import DataError
from roadworthy.measures.alarms.budget import Allotment, Family, allot, parse_budget
from roadworthy.measures.alarms.deciding import Compared
from roadworthy.measures.alarms.scales import Look
from roadworthy.measures.alarms.thresholds import rule_of
from roadworthy.measures.quality import METRICS
from roadworthy.records.alert import Severity, Signal, Word
from roadworthy.records.digests import Digest
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.records.project import Task
from roadworthy.records.shift import Shift
from roadworthy.records.verdict import Waiver
from roadworthy.records.window import Beside, Judged, Window, WindowSummary
from roadworthy.stages.watching.abreast import Abreast, of_quality, part_of
from roadworthy.stages.watching.besides import beside, shown_besides
from roadworthy.stages.watching.data import comparisons, data_members, signals_of_data
from roadworthy.stages.watching.judging import Sight, excused, members, requirement_signals, shown, told_of
from roadworthy.stages.watching.observed import answered_by, counted
from roadworthy.stages.watching.skew import skew, skew_signal
from roadworthy.stages.watching.trends import TRENDS
from roadworthy.stages.watching.watched import Watched
from roadworthy.standard import Requirement

__all__ = ["EDITION", "Asked", "Found", "Late", "allotment_for", "judged_window", "late_of", "looked_back"]

EDITION = 2
"""Counts what a window is judged by; see ``Judged.edition``. Those before 2 said of late rows that no window counts
them, which a revision does."""

_REVISED = 2
_MOVED = 12
_MOST_LATE = 0.001
_T = TypeVar("_T")


class Late(NamedTuple):
    """Rows that came too late, told with this window, among the rows of the last windows; ``known``: told or not."""

    rows: int = 0
    among: int = 0
    known: int = 0


_IN_TIME = Late()


@dataclass(frozen=True, slots=True)
class Asked:
    """Everything that a window is judged by.

    ``rows`` are all rows of the window; ``looks`` the sketches of the blocks that end with it, None where only its
    labels are news; ``seconds`` maps a scale to the time that its windows cover; ``uncounted`` says why the rows could
    not be counted, ``unread`` which other versions could not be read, and why.
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
    others: Sequence[Watched] = ()
    unread: Sequence[str] = ()
    parts: Mapping[str, str] = field(default_factory=dict)
    late: Late = _IN_TIME
    edition: int = EDITION


@dataclass(frozen=True, slots=True)
class Found:
    """What is kept of a window, and what alerts are told."""

    judged: Judged
    summary: WindowSummary
    signals: tuple[Signal, ...]


def allotment_for(watched: Watched, window_s: float, scales: int | None = None) -> Allotment:
    """The alarm budget of a version, divided over all that is watched in windows that last so long."""
    budget = parse_budget(watched.plan.alarm_budget)
    reported = watched.contract.task is not Task.REGRESSION
    charts = {**data_members(watched), **members(watched), Family.FEEDBACK: int(reported)}
    charts[Family.OPERATIONS] += len(TRENDS) + any(item.metric == "availability" for item in watched.required)
    return allot(budget, charts, window_s=window_s, scales=scales)


def judged_window(asked: Asked) -> Found:
    """Judge one revision of a window."""
    own = asked.sight.backs[0].rows
    checks: list[Signal] = [_of_scores(asked, own.height)]

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
    theirs, faults = _of_others(asked) if asked.edition >= _REVISED else ((), ())
    signals += theirs
    checks.append(_check("alarms of other versions", asked, "; ".join(faults)))
    late = _of_late_rows(asked)
    others: tuple[Beside, ...] = ()
    if asked.edition:
        measured += part("what is shown", lambda: shown_besides(asked.watched, own, asked.sight.operations))
        others = part("other versions", lambda: _others(asked, today))
    judged = Judged(
        window=asked.window,
        revision=asked.revision,
        judged_at_us=asked.judged_at_us,
        known_by_us=asked.known_by_us,
        inputs=asked.inputs,
        version=asked.watched.title,
        counts=counted(asked.rows, asked.watched.title) | _late_counts(asked.late),
        measurements=measured,
        shifts=compared[0].shifts if compared and compared[0].block.scale == 0 else (),
        verdict=verdict,
        turn=asked.sight.turn,
        notes=(*(signal.sentence for signal in checks if signal.word is Word.BROKEN), *_notes(asked)),
        others=others,
        parts=dict(asked.parts) if asked.edition else {},
        edition=asked.edition,
    )
    every = (*signals, *checks, *late)
    return Found(judged, _summary(judged, every), every)


def _of_scores(asked: Asked, have: int) -> Signal:
    """One word on rows without a score, which are left out of everything that a score is needed for."""
    rows = _own(asked)
    lacking = rows - have
    if not lacking or not any(one.count for one in asked.watched.scores.scores):
        return _check("scores", asked)
    said = (
        f"{lacking:,} of {rows:,} rows that {asked.watched.title} answered have no score (none, or no finite number). "
        "They are left out of quality, estimates and skew."
    )
    return msgspec.structs.replace(
        _check("scores", asked, "broke"), sentence=said, look_first="one of these rows with `roadworthy trace`"
    )


def late_of(judged: Judged) -> Late:
    """The late rows that were told with a window."""
    return Late(judged.counts.get("late_rows", 0), judged.counts.get("late_among", 0))


def _late_counts(late: Late) -> dict[str, int]:
    return {"late_rows": late.rows, "late_among": late.among} if late.rows else {}


def _notes(asked: Asked) -> Iterator[str]:
    """What a person should know besides checks that broke."""
    if asked.late.rows:
        yield _late_words(asked.late, asked.edition)
    absent = sorted(set(asked.watched.contract.inputs) - set(asked.rows.columns))
    if absent and asked.rows.height and asked.edition:
        yield f"The prediction log does not hold {', '.join(absent)}: nothing is known of these columns."


def _late_words(late: Late, edition: int = EDITION) -> str:
    if not late.rows:
        return "All rows came in time."
    share = f"{100 * late.rows / late.among:.2g} % of {late.among:,}"
    counted_by = "no window counts them" if edition < _REVISED else "only a later revision of these counts them"
    return f"{late.rows:,} rows came after their windows were judged ({share}); {counted_by}."


def _of_late_rows(asked: Asked) -> tuple[Signal, ...]:
    """Whether so many rows come after their window was judged that it matters; a revision is no news of that."""
    rows, among, known = asked.late
    if not among or asked.looks is None:
        return ()
    share = known / among  # a few of every window are as many as all at once
    return (
        Signal(
            rule="late_rows",
            word=Word.ALARM if rows and share > _MOST_LATE else Word.CLEAR,
            at_us=asked.sight.at_us,
            source=asked.sight.title,
            group="operations",
            sentence=_late_words(asked.late),
            evidence={"rows": rows, "known": known, "among": among, "value": share, "bound": _MOST_LATE},
            look_first="`settle_s` under [monitor]: raise it above the time that a row takes to the log; the server's "
            "clock; whether a worker's log was held up",
        ),
    )


def _others(asked: Asked, today: date) -> tuple[Beside, ...]:
    return tuple(beside(one, asked.rows, waivers=asked.waivers, today=today) for one in asked.others)


def _of_others(asked: Asked) -> tuple[tuple[Signal, ...], tuple[str, ...]]:
    """What there is to say of the other versions, and what of that broke; a part that breaks takes no other with it."""
    signals, faults = list[Signal](), [f"broke for {one}" for one in asked.unread]
    rows = _own(asked) + sum(answered_by(asked.rows, one.title).height for one in asked.others)
    for one in asked.others:
        try:
            found = _abreast(asked, of_quality(one), rows)
            lacking, parts = found.lacking, found.parts(asked.waivers, _unasked)
        except Exception as error:  # noqa: BLE001 - as in judged_window
            faults.append(f"broke for {one.title}: {told_of(error)}")
            continue
        if lacking:
            faults.append(f"broke for {one.title}: {lacking:,} of {found.own.height:,} rows have no score")
        for name, ask in parts.items():
            try:
                signals += ask()
            except Exception as error:  # noqa: BLE001 - as above
                faults.append(f"broke for {one.title}, {name}: {told_of(error)}")
    return tuple(signals), tuple(faults)


def _abreast(asked: Asked, version: Watched, rows: int) -> Abreast:
    """A version beside; of the budget it has the part that it answered of the ``rows`` of all versions."""
    own = version.own(asked.rows)
    return Abreast(
        version=version,
        own=own,
        window=asked.window,
        seconds=asked.seconds[0],
        allotment=part_of(allotment_for(version, asked.seconds[0], 1), own.height / rows),
        title=asked.sight.title,
        turn=asked.revision + 1,
        fresh=asked.looks is not None,
    )


def looked_back(asked: Asked) -> tuple[Signal, ...]:
    """What longer looks at quality say after labels came of rows before this window; nothing else is looked at."""
    window, *backs = asked.sight.backs
    nothing = replace(window, rows=window.rows.clear())
    sight = replace(asked.sight, backs=(nothing, *backs), operations=_unasked, estimate=_unasked)
    signals = requirement_signals(asked.watched, sight, asked.allotment, asked.standing)
    waived = {one.requirement: one for one in asked.waivers}
    return excused([one for one in signals if one.word in {Word.ALARM, Word.BROKEN}], waived)


def _unasked(required: Sequence[Requirement]) -> tuple[Measurement, ...]:
    """Nothing is known, since nobody asks."""
    return tuple(
        Measurement(metric=item.metric, phase=Phase.LIVE, confidence=item.confidence, insufficient="it was not asked")
        for item in required
    )


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
    watched = asked.watched
    if len(asked.sight.backs) == 1 and not asked.rows.height:
        watched = _speaking(watched, asked.standing)
    return requirement_signals(watched, asked.sight, asked.allotment, asked.standing)


def _speaking(watched: Watched, standing: Mapping[str, int]) -> Watched:
    """The same without requirements on quality that have no open alert: no row says nothing of them, to nobody."""
    rules = "\n".join(standing)
    kept = tuple(item for item in watched.required if item.metric not in METRICS or rule_of(item) in rules)
    return replace(watched, plan=msgspec.structs.replace(watched.plan, requirements=kept))


def _own(asked: Asked) -> int:
    """How many rows the version answered; where there are none, no check has shown that it works."""
    return answered_by(asked.rows, asked.watched.title).height if asked.rows.height else 0


def _check(part: str, asked: Asked, fault: str = "") -> Signal:
    """Whether a part of the monitor's own work came to its end."""
    return Signal(
        rule=f"monitor:{part}",
        word=Word.BROKEN if fault else Word.CLEAR if _own(asked) else Word.UNKNOWN,
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
        others={one.version: one.rows for one in judged.others},
        late_rows=judged.counts.get("late_rows", 0),
    )


def _ends(one: Measurement | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if one is None else (one.value, one.lower, one.upper)


def _moved(shifts: Sequence[Shift]) -> dict[str, float]:
    """The greatest effects, by subject and what moved."""
    ranked = sorted((one for one in shifts if one.p is not None), key=lambda one: -one.effect)
    return {f"{one.subject}:{one.kind}": round(one.effect, 6) for one in ranked[:_MOVED] if one.effect > 0}
