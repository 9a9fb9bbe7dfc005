"""``judge``: the one function through which every measurement goes, in every phase.

In: requirements, evidence, waivers, a date. Out: a ``Verdict``. Pure.

Laws: absence of evidence never passes; a broken check never passes and cannot be waived; evidence that is better
in a metric's own direction never gets a worse outcome.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import date

from roadworthy.records.evidence import Evidence, Measurement, Phase
from roadworthy.records.verdict import Outcome, Readiness, RequirementVerdict, Verdict, Waiver
from roadworthy.standard.catalogue import CATALOGUE
from roadworthy.standard.metric import MetricKind
from roadworthy.standard.requirement import Requirement, Standard, Trigger
from roadworthy.standard.units import quantity_beside

__all__ = ["ended", "judge", "judge_requirement"]

_WORST_FIRST = (Outcome.ERROR, Outcome.FAIL, Outcome.INSUFFICIENT, Outcome.WAIVED, Outcome.PASS)
_MOST_ROWS = 10**9


def judge(
    standard: Standard,
    evidence: Evidence,
    *,
    phase: Phase = Phase.RELEASE,
    waivers: Sequence[Waiver] = (),
    today: date | None = None,
) -> Verdict:
    """Judge evidence against the standard's requirements of one phase.

    ``today`` decides whether a waiver still holds; without it none does.
    """
    required = standard.of_phase(phase)
    verdicts = tuple(
        _waived(judge_requirement(requirement, evidence.measurements, phase), waivers, today)
        for requirement in required
    )
    return Verdict(
        subject=evidence.subject,
        standard=standard.digest(),
        readiness=_readiness(verdicts),
        requirements=verdicts,
        sentence=_summary(verdicts, phase),
    )


def judge_requirement(
    requirement: Requirement, measurements: Iterable[Measurement], phase: Phase = Phase.RELEASE
) -> RequirementVerdict:
    """Judge one requirement. Where several measurements answer it, the worst decides."""
    answering = [m for m in measurements if m.phase is phase and _answers(requirement, m)]
    if not answering:
        sentence = f"{_subject(requirement)} was not measured; without evidence nothing passes."
        return _verdict(requirement, phase, Outcome.INSUFFICIENT, sentence)
    judged = [_judge_one(requirement, measurement, phase) for measurement in answering]
    worst = min(judged, key=lambda verdict: (_WORST_FIRST.index(verdict.outcome), -verdict.rows_needed))
    if len(judged) > 1:
        return _with_count(worst, judged)
    return worst


def _answers(requirement: Requirement, measurement: Measurement) -> bool:
    if measurement.metric != requirement.metric:
        return False
    if not requirement.slice:
        return measurement.slice == ""
    return measurement.slice.startswith(f"{requirement.slice}=")


def _judge_one(requirement: Requirement, m: Measurement, phase: Phase) -> RequirementVerdict:
    if m.error:
        sentence = ended(f"The check of {_subject(requirement)} broke: {m.error}")
        return _verdict(requirement, phase, Outcome.ERROR, sentence, m)
    if m.insufficient:
        sentence = ended(f"{_measured(requirement, m)} {m.insufficient}")
        return _verdict(requirement, phase, Outcome.INSUFFICIENT, sentence, m)
    if m.value is None or not math.isfinite(m.value):
        sentence = f"The check of {_subject(requirement)} gave no finite value."
        return _verdict(requirement, phase, Outcome.ERROR, sentence, m)
    near, far = _ends(requirement, m)
    if requirement.trigger is Trigger.PROVEN:
        if near is None or far is None or not (math.isfinite(near) and math.isfinite(far)):
            sentence = f"{_measured(requirement, m)} It has no interval."
            return _verdict(requirement, phase, Outcome.INSUFFICIENT, sentence, m)
        if not _exact(m) and m.confidence < requirement.confidence - 1e-12:
            held, asked = (f"{100 * level:.6g} %" for level in (m.confidence, requirement.confidence))
            sentence = f"{_measured(requirement, m)} Its interval holds at {held}, required are {asked}."
            return _verdict(requirement, phase, Outcome.INSUFFICIENT, sentence, m)
    else:
        near = far = m.value
    return _decide(requirement, m, phase, near, far)


def _decide(requirement: Requirement, m: Measurement, phase: Phase, near: float, far: float) -> RequirementVerdict:
    shown = _measured(requirement, m)
    if _meets(requirement, near):
        return _verdict(requirement, phase, Outcome.PASS, f"{shown} {_edge(requirement, m, 'proves')}", m)
    if not _meets(requirement, far):
        return _verdict(requirement, phase, Outcome.FAIL, f"{shown} {_edge(requirement, m, 'misses')}", m)
    rows = _rows_needed(m, near, far, requirement.bound)
    sentence = f"{shown} {_edge(requirement, m, 'leaves open')}"
    return _verdict(requirement, phase, Outcome.INSUFFICIENT, sentence, m, rows=rows)


def _exact(m: Measurement) -> bool:
    """Whether nothing was sampled: such a figure holds at any confidence."""
    return m.lower == m.value == m.upper


def _ends(requirement: Requirement, m: Measurement) -> tuple[float | None, float | None]:
    """The interval's near end (which must clear the bound) and its far end."""
    return (m.lower, m.upper) if requirement.at_least is not None else (m.upper, m.lower)


def _meets(requirement: Requirement, value: float) -> bool:
    return value <= requirement.bound if requirement.at_least is None else value >= requirement.bound


def _rows_needed(m: Measurement, near: float, far: float, bound: float) -> int:
    """Rows beyond ``n`` until the deciding end reaches the bound, its distance shrinking as 1/√n."""
    if m.value is None or m.n <= 0 or m.value == bound:
        return 0
    meets = (m.value > bound) == (near < m.value)
    reach = abs(m.value - near) if meets else abs(far - m.value)
    distance = abs(m.value - bound)
    if reach == 0 or distance * math.sqrt(_MOST_ROWS / m.n) < reach:
        return 0
    return max(1, math.ceil(m.n * (reach / distance) ** 2) - m.n)


_COUNTED = {MetricKind.COST: "calls", MetricKind.CONDUCT: "requests"}
_AMONG = {"recall": "events", "precision": "alarms", "specificity": "non-events", "f1": "events and alarms"}


def _subject(requirement: Requirement) -> str:
    by = f" for every {requirement.slice}" if requirement.slice else ""
    return f"{requirement.metric}{by}"


def _measured(requirement: Requirement, m: Measurement) -> str:
    on = f" on {m.slice}" if m.slice else ""
    if m.value is None:
        return f"{m.metric}{on}:"
    said = f"{m.metric}{on} is {quantity_beside(m.value, requirement.bound, m.unit)}{_over(m)}."
    return ended(f"{said} {m.reason}") if m.reason else said


def _over(m: Measurement) -> str:
    rows = _COUNTED.get(CATALOGUE[m.metric].kind, "rows")
    if m.among:
        return f" over {m.among:,} {_AMONG.get(m.metric, rows)} in {m.n:,} {rows}"
    return f" over {m.n:,} {rows}" if m.n > 1 else ""


def _edge(requirement: Requirement, m: Measurement, verb: str) -> str:
    wanted = requirement.line().removeprefix(requirement.metric).strip()
    if requirement.trigger is Trigger.OBSERVED or m.lower == m.upper:
        return {"proves": f"That meets {wanted}.", "misses": f"That does not meet {wanted}."}[verb]
    up = requirement.at_least is not None
    end = {"proves": m.lower if up else m.upper, "misses": m.upper if up else m.lower}.get(verb)
    if end is None:
        low, high = (quantity_beside(bound or 0.0, requirement.bound, m.unit) for bound in (m.lower, m.upper))
        span = f"{low} to {high}"
        return f"It may lie anywhere from {span}, so {wanted} is neither proven nor refuted."
    side = "at least" if (verb == "proves") == up else "at most"
    meaning = "which proves" if verb == "proves" else "which rules out"
    shown = quantity_beside(end, requirement.bound, m.unit)
    return f"With {_sure(m.confidence)} confidence it is {side} {shown}, {meaning} {wanted}."


def _sure(confidence: float) -> str:
    """A confidence for people; one below certainty never reads as 100 %.

    >>> _sure(0.95), _sure(0.9999997)
    ('95 %', 'more than 99.99 %')
    """
    shown = f"{100 * confidence:.4g} %"
    return "more than 99.99 %" if shown == "100 %" and confidence < 1 else shown


def _verdict(
    requirement: Requirement,
    phase: Phase,
    outcome: Outcome,
    sentence: str,
    m: Measurement | None = None,
    *,
    rows: int = 0,
) -> RequirementVerdict:
    return RequirementVerdict(
        requirement=requirement.line(),
        metric=requirement.metric,
        phase=phase,
        outcome=outcome,
        sentence=sentence,
        measurement=m,
        rows_needed=rows,
    )


def _with_count(worst: RequirementVerdict, judged: Sequence[RequirementVerdict]) -> RequirementVerdict:
    same = sum(1 for verdict in judged if verdict.outcome is worst.outcome)
    sentence = f"{worst.sentence} ({same} of {len(judged)} slices: {worst.outcome}.)"
    return RequirementVerdict(
        requirement=worst.requirement,
        metric=worst.metric,
        phase=worst.phase,
        outcome=worst.outcome,
        sentence=sentence,
        measurement=worst.measurement,
        rows_needed=worst.rows_needed,
    )


def _waived(verdict: RequirementVerdict, waivers: Sequence[Waiver], today: date | None) -> RequirementVerdict:
    if today is None or verdict.outcome not in {Outcome.FAIL, Outcome.INSUFFICIENT}:
        return verdict
    for waiver in waivers:
        if waiver.requirement == verdict.requirement and date.fromisoformat(waiver.expires) >= today:
            return RequirementVerdict(
                requirement=verdict.requirement,
                metric=verdict.metric,
                phase=verdict.phase,
                outcome=Outcome.WAIVED,
                sentence=ended(f"{verdict.sentence} Waived by {waiver.person} until {waiver.expires}: {waiver.reason}"),
                measurement=verdict.measurement,
                rows_needed=verdict.rows_needed,
                waiver=waiver,
            )
    return verdict


def ended(sentence: str) -> str:
    """A sentence with its full stop, since what others wrote comes with or without one and more may follow.

    >>> ended("too few rows"), ended("Is it known?")
    ('too few rows.', 'Is it known?')
    """
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def _readiness(verdicts: Sequence[RequirementVerdict]) -> Readiness:
    outcomes = {verdict.outcome for verdict in verdicts}
    if outcomes & {Outcome.FAIL, Outcome.ERROR}:
        return Readiness.NOT_READY
    if not outcomes or Outcome.INSUFFICIENT in outcomes:
        return Readiness.NOT_PROVEN
    return Readiness.READY


def _summary(verdicts: Sequence[RequirementVerdict], phase: Phase) -> str:
    if not verdicts:
        return f"Not proven: the standard requires nothing in phase {phase}."
    counts = {outcome: [v for v in verdicts if v.outcome is outcome] for outcome in Outcome}
    met = len(counts[Outcome.PASS])
    readiness = _readiness(verdicts)
    parts = [f"{met} of {len(verdicts)} requirements are proven"]
    for outcome, word in (
        (Outcome.FAIL, "fails"),
        (Outcome.ERROR, "could not be checked"),
        (Outcome.INSUFFICIENT, "needs more evidence"),
        (Outcome.WAIVED, "is waived"),
    ):
        named = [verdict.requirement for verdict in counts[outcome]]
        if named:
            parts.append(f"{', '.join(named)} {word}" if len(named) == 1 else f"{word}: {', '.join(named)}")
    return f"{readiness.capitalize()}: {'; '.join(parts)}."
