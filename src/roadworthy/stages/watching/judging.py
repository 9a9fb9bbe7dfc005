"""One window, judged: every requirement with a live phase, at the confidence that people read and at the budget's.

In: what is held to (``Watched``), the rows of the window and of longer looks back, what operations showed, the levels
that the alarm budget leaves. Out: a verdict, and one signal for each rule. Pure: the same inputs give the same numbers.
Laws: each requirement with a live phase has a verdict and a signal; a check that breaks is an error of its own, which
is an alarm too, and stops no other.

The verdict holds at each requirement's own confidence. An alarm needs more: the bound is missed at the confidence that
keeps all false alarms together within the budget (``trigger = "proven"``), or the plain value misses it
(``trigger = "observed"``).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

import msgspec
import polars as pl

from roadworthy.errors import RoadworthyError
from roadworthy.measures.alarms.budget import Allotment, Family
from roadworthy.measures.alarms.thresholds import in_budget, rule_of, threshold_signal
from roadworthy.measures.quality import METRICS
from roadworthy.records.alert import Severity, Signal, Word
from roadworthy.records.evidence import Evidence, Measurement, Phase
from roadworthy.records.project import Task
from roadworthy.records.verdict import Verdict, Waiver
from roadworthy.stages.watching.quality import realised
from roadworthy.stages.watching.watched import Watched
from roadworthy.standard import Requirement, Standard, judge
from roadworthy.standard.requirement import Trigger

__all__ = ["Back", "Measure", "Sight", "excused", "guarded", "members", "requirement_signals", "shown", "told_of"]

Measure = Callable[[Sequence[Requirement]], tuple[Measurement, ...]]
"""Measurements of phase live for some requirements, each at the requirement's own confidence."""

_ESTIMATED = "estimated"
_SEEING = "measuring quality"
_FIRST_LOOK = {
    Family.QUALITY: "the rows of the window by slice, the labels of the last days, and what was released before it",
    Family.ESTIMATED: "which columns moved in the same window; labels for a hundred random rows would settle it",
    Family.OPERATIONS: "latency and errors by worker, the load, and what was released just before",
}
_URGENT = (Word.ALARM, Word.BROKEN, Word.CLEAR, Word.UNKNOWN)
_GROUP = {Family.QUALITY: "quality", Family.ESTIMATED: "quality", Family.OPERATIONS: "operations"}


@dataclass(frozen=True, slots=True)
class Back:
    """A look back at scale s: the rows that this version answered in the last 2**s windows, ``seconds`` in all."""

    scale: int
    seconds: float
    rows: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Sight:
    """What one window shows. ``backs`` begin with the window itself. ``turn``: its how many-th look with labels."""

    title: str
    at_us: int
    backs: tuple[Back, ...]
    operations: Measure
    estimate: Measure
    turn: int = 1


def guarded(measure: Measure, what: str) -> Measure:
    """The same, with an error for each requirement in place of an exception."""

    def measured(required: Sequence[Requirement]) -> tuple[Measurement, ...]:
        try:
            return measure(required)
        except Exception as error:  # noqa: BLE001 - a check that broke is evidence of its own, and stops no other
            fault = f"{what} broke: {told_of(error)}"
            return tuple(
                Measurement(
                    metric=item.metric,
                    phase=Phase.LIVE,
                    slice=f"{item.slice}=?" if item.slice else "",
                    confidence=item.confidence,
                    error=fault,
                )
                for item in required
            )

    return measured


def told_of(error: Exception) -> str:
    """What may be told of an error: of a foreign one its kind and where, since its words may quote a row."""
    if isinstance(error, RoadworthyError):
        return error.message
    frames = traceback.extract_tb(error.__traceback__)
    at = f" in {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{at}"


def members(watched: Watched) -> dict[Family, int]:
    """How many charts the live requirements make, by family: one for each, or one for each group of a slice.

    Without an estimator nothing is estimated, and the others have that share of the budget.
    """
    asked = {Family.QUALITY: 0, Family.OPERATIONS: 0}
    for item in watched.required:
        asked[_family(item)] += _groups(watched, item)
    errors = 0 if watched.contract.task is Task.REGRESSION else 1
    estimated = 0 if watched.estimator is None else asked[Family.QUALITY]
    return {**asked, Family.ESTIMATED: estimated, Family.ERRORS: errors}


def _groups(watched: Watched, item: Requirement) -> int:
    """Of how many groups a requirement speaks."""
    return max(1, len(watched.groups.get(item.slice, ()))) if item.slice else 1


def shown(
    watched: Watched, sight: Sight, *, waivers: Sequence[Waiver] = (), today: date | None = None
) -> tuple[tuple[Measurement, ...], Verdict]:
    """What people read: all measurements of the window, and the verdict on every live requirement.

    What was seen decides where it can; what was estimated, where labels are too few. ``today`` says which waivers hold.
    """
    seen = _measured(watched, sight, watched.required)
    standard = Standard(preset="none", requirements=watched.required, alarm_budget=watched.plan.alarm_budget)
    evidence = Evidence(subject=watched.subject, holdout="", measurements=_deciding(seen))
    return seen, judge(standard, evidence, phase=Phase.LIVE, waivers=waivers, today=today)


def requirement_signals(
    watched: Watched, sight: Sight, allotment: Allotment, standing: Mapping[str, int] = MappingProxyType({})
) -> tuple[Signal, ...]:
    """One signal for each requirement and what it rests on: labels, estimates, or operations.

    ``standing`` maps rules with an open alert to the scale that it was proven at: such a rule is not clear before a
    look as long was taken.
    """
    found: list[Signal] = []
    for item in watched.required:
        family = _family(item)
        if family is Family.OPERATIONS:
            found.append(_signal(watched, item, family, sight, sight.backs[0], allotment, sight.operations))
            continue
        looks = []
        for back in sight.backs:

            def measure(asked: Sequence[Requirement], rows: pl.DataFrame = back.rows) -> tuple[Measurement, ...]:
                return realised(watched, rows, asked)

            seen = guarded(measure, _SEEING)
            looks.append((back.scale, _signal(watched, item, family, sight, back, allotment, seen)))
        found.append(_together(looks, standing.get(rule_of(item), 0)))
        found.append(_signal(watched, item, Family.ESTIMATED, sight, sight.backs[0], allotment, sight.estimate))
    return tuple(found)


def excused(signals: Sequence[Signal], waived: Mapping[str, Waiver]) -> tuple[Signal, ...]:
    """The same, without alarms of requirements (by their lines) that a named person has signed for."""

    def said(signal: Signal) -> Signal:
        waiver = waived.get(str(signal.evidence.get("requirement", "")))
        if waiver is None or signal.word is not Word.ALARM:
            return signal
        words = f"{signal.sentence} Waived by {waiver.person} until {waiver.expires}."
        return msgspec.structs.replace(signal, word=Word.UNKNOWN, sentence=words)

    return tuple(map(said, signals))


def _signal(  # noqa: PLR0917 - one rule, one look, and what is known of both
    watched: Watched,
    item: Requirement,
    family: Family,
    sight: Sight,
    back: Back,
    allotment: Allotment,
    measure: Measure,
) -> Signal:
    """What one look says of a requirement, at the confidence that the budget leaves it.

    Labels come bit by bit, and each look at more of them is a chance to be wrong: look j has the part 1 / (j (j + 1))
    of the level, which adds up to 1 over however many looks.
    """
    asked = item
    if family is not Family.ESTIMATED or watched.estimator is not None:
        groups = _groups(watched, item)
        asked = in_budget(item, allotment, family, seconds=back.seconds, scale=back.scale, members=groups)
    if family is not Family.OPERATIONS and asked.trigger is Trigger.PROVEN:
        level = (1 - asked.confidence) / (sight.turn * (sight.turn + 1))
        asked = msgspec.structs.replace(asked, confidence=1 - level)
    name = rule_of(item)
    signal = threshold_signal(
        asked,
        measure([asked]),
        at_us=sight.at_us,
        source=sight.title,
        rule=f"{_ESTIMATED}:{name}" if family is Family.ESTIMATED else name,
        group=_GROUP[family],
        severity=Severity.TICKET if family is Family.ESTIMATED else Severity.PAGE,
        look_first=_FIRST_LOOK[family],
    )
    over = f" Seen over the last {2**back.scale} windows together." if back.scale else ""
    evidence = {**signal.evidence, "scale": back.scale}
    return msgspec.structs.replace(signal, sentence=signal.sentence + over, evidence=evidence)


def _together(looks: Sequence[tuple[int, Signal]], standing: int) -> Signal:
    """The word of a rule over its looks back: the shortest look that gives alarm speaks."""
    _, chosen = min(looks, key=lambda one: (_URGENT.index(one[1].word), one[0]))
    longest = max((scale for scale, signal in looks if signal.word is not Word.UNKNOWN), default=-1)
    if chosen.word is Word.CLEAR and longest < standing:
        return msgspec.structs.replace(chosen, word=Word.UNKNOWN)
    return chosen


def _family(item: Requirement) -> Family:
    return Family.QUALITY if item.metric in METRICS else Family.OPERATIONS


def _measured(watched: Watched, sight: Sight, required: Sequence[Requirement]) -> tuple[Measurement, ...]:
    quality = [item for item in required if _family(item) is Family.QUALITY]
    others = [item for item in required if _family(item) is not Family.QUALITY]
    seen = guarded(lambda asked: realised(watched, sight.backs[0].rows, asked), _SEEING)
    return (
        *(seen(quality) if quality else ()),
        *(sight.estimate(quality) if quality else ()),
        *sight.operations(others),
    )


def _deciding(found: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """Without the estimates of what was seen, and without what could not be seen where there is an estimate.

    Where no group was seen and some were estimated, the others count as what could not be estimated.
    """
    said = {_key(one) for one in found if not _is_estimate(one) and not one.insufficient}
    estimated = {_key(one) for one in found if _is_estimate(one) and not one.insufficient} - said
    no_group = {_key(one) for one in found if one.slice.endswith("=?") and not _is_estimate(one)}
    by_group = {_any_group(metric, slice_) for metric, slice_ in estimated if slice_} & no_group

    def decides(one: Measurement) -> bool:
        if _any_group(*_key(one)) in by_group:
            return _is_estimate(one)
        return _is_estimate(one) == (_key(one) in estimated)

    return tuple(filter(decides, found))


def _key(one: Measurement) -> tuple[str, str]:
    return one.metric, one.slice


def _any_group(metric: str, slice_: str) -> tuple[str, str]:
    return metric, f"{slice_.partition('=')[0]}=?"


def _is_estimate(one: Measurement) -> bool:
    return one.method.startswith(_ESTIMATED)
