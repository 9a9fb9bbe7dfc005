"""Simple thresholds: a requirement judged on one window, as a signal.

In: a live requirement and the measurements that may answer it. Out: a ``Signal``. ``standard.judge`` decides, as in
every other phase: with ``trigger = "observed"`` the plain value does, with ``"proven"`` the interval, which has to
hold at the confidence that the alarm budget gives (``Allotment.confidence``). Laws: a value on the wrong side never
gives a clear word; too few rows and no measurement never do either.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from roadworthy.measures.alarms.budget import Allotment, Family
from roadworthy.records.alert import Severity, Signal, Word
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.records.verdict import Outcome, RequirementVerdict
from roadworthy.standard.judge import judge_requirement
from roadworthy.standard.requirement import Requirement, Trigger

__all__ = ["in_budget", "rule_of", "threshold_signal"]

_LOOK_FIRST = "The rows behind it, by slice: whether all are worse, or one kind of row is."


def rule_of(requirement: Requirement) -> str:
    """The rule's name: ``accuracy_low``, ``latency_p99_high``, ``recall:device_low``.

    >>> rule_of(Requirement(metric="accuracy", at_least=0.8))
    'accuracy_low'
    """
    name = f"{requirement.metric}:{requirement.slice}" if requirement.slice else requirement.metric
    return f"{name}_{'low' if requirement.at_least is not None else 'high'}"


def in_budget(
    requirement: Requirement, allotment: Allotment, family: Family, *, seconds: float, scale: int = 0, members: int = 1
) -> Requirement:
    """The requirement at the confidence that a look in the budget needs; one that is observed stays as it is.

    Never below the declared confidence. A requirement by slice counts as so many ``members`` as there are groups, and
    the bounds of its groups hold together at its confidence.
    """
    if requirement.trigger is Trigger.OBSERVED:
        return requirement
    needed = max(requirement.confidence, allotment.confidence(family, seconds=seconds, scale=scale, members=members))
    return Requirement(
        metric=requirement.metric,
        at_least=requirement.at_least,
        at_most=requirement.at_most,
        slice=requirement.slice,
        phases=requirement.phases,
        trigger=requirement.trigger,
        confidence=needed,
        origin=requirement.origin,
    )


def threshold_signal(
    requirement: Requirement,
    measurements: Iterable[Measurement],
    *,
    at_us: int,
    source: str,
    rule: str = "",
    group: str = "quality",
    severity: Severity = Severity.TICKET,
    look_first: str = _LOOK_FIRST,
) -> Signal:
    """One window's word on one requirement.

    A bound that is neither proven nor refuted is clear where the plain value meets it, and unknown where it does not:
    a value on the wrong side opens no alert without proof, and closes none.
    """
    verdict = judge_requirement(requirement, measurements, Phase.LIVE)
    return Signal(
        rule=rule or rule_of(requirement),
        word=_word(requirement, verdict),
        at_us=at_us,
        source=source,
        group=group,
        severity=severity,
        sentence=verdict.sentence,
        evidence=_evidence(requirement, verdict.measurement),
        look_first=look_first,
        chart=requirement.metric,
    )


def _word(requirement: Requirement, verdict: RequirementVerdict) -> Word:
    if verdict.outcome is Outcome.INSUFFICIENT:
        found = verdict.measurement
        if found is None or found.value is None or found.insufficient or found.lower is None or found.upper is None:
            return Word.UNKNOWN
        return Word.CLEAR if _meets(requirement, found.value) else Word.UNKNOWN
    return {Outcome.FAIL: Word.ALARM, Outcome.ERROR: Word.BROKEN, Outcome.PASS: Word.CLEAR}[verdict.outcome]


def _meets(requirement: Requirement, value: float) -> bool:
    return value >= requirement.bound if requirement.at_least is not None else value <= requirement.bound


def _evidence(requirement: Requirement, found: Measurement | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"requirement": requirement.line(), "bound": requirement.bound}
    if found is None:
        return shown
    return shown | {
        "value": found.value,
        "lower": found.lower,
        "upper": found.upper,
        "confidence": found.confidence,
        "rows": found.n,
        "slice": found.slice,
        "trigger": str(requirement.trigger),
    }
