"""Chapters: what each check of the inspection gave, in the order of reading.

In: a standard, evidence, the verdict on it. Out: one ``ChapterView`` per check that gave anything. Laws: every
measurement, finding and exhibit of the evidence stands in exactly one chapter; a check that this table does not know
gets a chapter of its own; what comes without a check's name goes where its metric belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from roadworthy.formats.report import ChapterState, ChapterView, ChartView, MeasureRow
from roadworthy.formats.wording import first_sentence, interval, number, quantity
from roadworthy.records.evidence import Evidence, Exhibit, Finding, Measurement
from roadworthy.records.verdict import Outcome, Verdict
from roadworthy.standard import CATALOGUE, Direction, Requirement, Standard
from roadworthy.standard.judge import ended, judge_requirement
from roadworthy.standard.metric import MetricKind

__all__ = ["CHAPTERS", "TOLD_IN", "Chapter", "chapters_of"]

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Chapter:
    """A check as people read it; ``leading`` are the metrics that its summary tells, the first one that is there."""

    title: str
    question: str
    leading: tuple[str, ...] = ()


CHAPTERS: dict[str, Chapter] = {
    "quality": Chapter(
        "Quality", "How good are its answers on rows that it has never seen?", ("roc_auc", "balanced_accuracy", "r2")
    ),
    "threshold": Chapter(
        "Threshold", "What would other cuts of the score give and cost?", ("recall", "precision", "f2", "f05")
    ),
    "pitfalls": Chapter(
        "Pitfalls", "Is the figure what it seems: no paradox, no memorising, no simpler model as good?", ("pitfalls",)
    ),
    "leakage": Chapter("Leakage", "Does a column or a row give the answer away?", ("leaks", "questions")),
    "labels": Chapter("Labels", "How many labels does the rest of the data contradict?", ("label_errors",)),
    "slices": Chapter("Slices", "For which rows is the model provably worse?", ("weak_slices",)),
    "fairness": Chapter(
        "Fairness",
        "Do protected groups get the same decisions and the same errors?",
        ("equalized_odds_difference", "demographic_parity_difference", "group_error_difference"),
    ),
    "robustness": Chapter(
        "Robustness", "What do faults in the input do to quality and decisions?", ("robust_flips", "robust_drop")
    ),
    "stability": Chapter(
        "Stability",
        "Would another training, or a later time, decide the same?",
        ("churn", "training_spread", "staleness"),
    ),
    "uncertainty": Chapter(
        "Uncertainty and refusal", "Does it know when it does not know?", ("coverage", "set_size", "referred")
    ),
    "explanation": Chapter("Explanation", "What drives the answers, overall and row by row?"),
    "cost": Chapter("Cost", "How fast, how large, how soon ready?", ("latency_p99", "throughput", "size")),
    "test_score": Chapter(
        "ML Test Score", "How much of what a production system should test is tested?", ("ml_test_score",)
    ),
}
"""Every check that is known, in the order of reading."""

TOLD_IN = {"feature_cost": "cost", "over_time": "stability", "ageing": "stability", "ml_test_score": "test_score"}
"""Checks that are told in another's chapter."""

_OTHER = "other"
_UNKNOWN = {_OTHER: Chapter("Other measurements", "What else was measured?")}
_BY_KIND = {
    MetricKind.QUALITY: "quality",
    MetricKind.DATA: "quality",
    MetricKind.COST: "cost",
    MetricKind.INTEGRITY: "cost",
}
_BY_METRIC = {metric: check for check, chapter in CHAPTERS.items() for metric in chapter.leading}
_BY_METRIC |= {"overfit_gap": "pitfalls", "questions": "leakage", "precision": "quality", "recall": "quality"}
_BY_METRIC |= {"f05": "quality", "f2": "quality"}
_BY_EXHIBIT = {
    **dict.fromkeys(("confusion", "tradeoff", "operating_points"), "threshold"),
    "importance": "explanation",
    "ml_test_score": "test_score",
}
_BY_KIND_OF_FINDING = {"target_leak": "leakage", "accuracy_paradox": "pitfalls", "class_imbalance": "pitfalls"}
_URGENCY = [Outcome.FAIL, Outcome.ERROR, Outcome.INSUFFICIENT, Outcome.WAIVED, Outcome.PASS]


def chapters_of(standard: Standard, evidence: Evidence, verdict: Verdict) -> tuple[ChapterView, ...]:
    """What every check gave; checks that gave nothing are left out."""
    waived = {one.requirement for one in verdict.requirements if one.outcome is Outcome.WAIVED}
    rows = [_row(measurement, standard, waived) for measurement in evidence.measurements]
    measured = _grouped(rows, lambda row: _of_measurement(row.measurement))
    found = _grouped(evidence.findings, lambda one: _home(one.check) or _BY_KIND_OF_FINDING.get(one.kind, "pitfalls"))
    shown = _grouped(evidence.exhibits, lambda one: _home(one.check) or _BY_EXHIBIT.get(_family(one), "quality"))
    given = {**measured, **found, **shown}
    order = [*(check for check in CHAPTERS if check in given), *(check for check in given if check not in CHAPTERS)]
    return tuple(
        _chapter(check, measured.get(check, ()), found.get(check, ()), shown.get(check, ())) for check in order
    )


def _grouped(items: Iterable[Item], key: Callable[[Item], str]) -> dict[str, list[Item]]:
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _home(check: str) -> str:
    return TOLD_IN.get(check, check)


def _family(exhibit: Exhibit) -> str:
    return exhibit.name.partition(":")[0]


def _of_measurement(measurement: Measurement) -> str:
    if measurement.check:
        return _home(measurement.check)
    if measurement.metric in _BY_METRIC:
        return _BY_METRIC[measurement.metric]
    metric = CATALOGUE.get(measurement.metric)
    return _BY_KIND.get(metric.kind, _OTHER) if metric is not None else _OTHER


def _row(measurement: Measurement, standard: Standard, waived: set[str]) -> MeasureRow:
    """The measurement with the worst that comes of the requirements that ask for it."""
    judged = [
        (_URGENCY.index(Outcome.WAIVED if one.line() in waived and outcome is not Outcome.PASS else outcome), one.bound)
        for one in standard.of_phase(measurement.phase)
        for outcome in [_outcome(one, measurement)]
        if outcome is not None
    ]
    if not judged:
        return MeasureRow(measurement=measurement)
    place, bound = min(judged)
    return MeasureRow(measurement=measurement, outcome=_URGENCY[place], bound=bound)


def _outcome(requirement: Requirement, measurement: Measurement) -> Outcome | None:
    """What comes of one requirement on this measurement alone; None where it asks for another."""
    if requirement.metric != measurement.metric:
        return None
    judged = judge_requirement(requirement, (measurement,), measurement.phase)
    return judged.outcome if judged.measurement is not None else None


def _chapter(
    check: str, rows: Sequence[MeasureRow], findings: Sequence[Finding], exhibits: Sequence[Exhibit]
) -> ChapterView:
    known = CHAPTERS.get(check) or _UNKNOWN.get(check) or Chapter(_spelled(check), "")
    ranked = sorted(findings, key=lambda one: _RANK.get(one.grade, len(_RANK)))
    return ChapterView(
        check=check,
        title=known.title,
        question=known.question,
        summary=_summary(known, rows, ranked, exhibits),
        state=_state(rows, findings),
        findings=tuple(ranked),
        measurements=tuple(sorted(rows, key=_place)),
        charts=tuple(ChartView(name=one.name, title=one.title, note=one.note, columns=one.columns) for one in exhibits),
    )


_RANK = {"fails": 0, "suspects": 1, "notes": 2}


def _place(row: MeasureRow) -> int:
    """What is judged first, the most urgent of it on top; the rest in the order in which it was measured."""
    return len(_URGENCY) if row.outcome is None else _URGENCY.index(row.outcome)


def _state(rows: Sequence[MeasureRow], findings: Sequence[Finding]) -> ChapterState:
    outcomes = {row.outcome for row in rows}
    grades = {one.grade for one in findings if not one.answer}
    if outcomes & {Outcome.FAIL, Outcome.ERROR} or "fails" in grades or any(row.measurement.error for row in rows):
        return ChapterState.FAILS
    if Outcome.INSUFFICIENT in outcomes or "suspects" in grades:
        return ChapterState.OPEN
    return ChapterState.PASSES if outcomes - {None} else ChapterState.NOTED


def _summary(
    known: Chapter, rows: Sequence[MeasureRow], findings: Sequence[Finding], exhibits: Sequence[Exhibit]
) -> str:
    """One sentence: the gravest finding's first, else the leading figure, else what there is to see."""
    grave = [one for one in findings if one.grade in {"fails", "suspects"} and not one.answer]
    if grave:
        more = f" And {len(grave) - 1} more." if len(grave) > 1 else ""
        return f"{ended(first_sentence(grave[0].sentence))}{more}"
    led = _led(known, rows)
    told = next((said for one in exhibits if (said := _seen(one))), "")
    if told and (led is None or led.metric in _TOLD_BY_TABLE):
        return told
    if led is not None:
        return _told(led)
    if findings:
        return ended(findings[0].sentence)
    if rows:
        return _told(rows[0].measurement)
    more = f", and {len(exhibits) - 1} more to read" if len(exhibits) > 1 else ""
    return f"{exhibits[0].title}{more}."


_TOLD_BY_TABLE = {"ml_test_score"}
"""Metrics whose table says more in a sentence than the figure alone."""


def _seen(exhibit: Exhibit) -> str:
    """What a table shows, in one sentence; empty where no words are known for it."""
    if exhibit.name == "importance":
        return _relied(exhibit)
    if exhibit.name == "operating_points":
        return _decides(exhibit)
    if exhibit.name == "over_time":
        skills = [value for value in exhibit.columns.get("skill", []) if isinstance(value, int | float)]
        return f"Skill from quarter to quarter of the rows' time: {', '.join(map(number, skills))}." if skills else ""
    return first_sentence(exhibit.note) if exhibit.name == "ml_test_score" else ""


def _decides(exhibit: Exhibit) -> str:
    """What the threshold gives that the model has now, which stands first where it has one."""
    first = {name: values[0] for name, values in exhibit.columns.items() if values}
    precision, recall = first.get("precision"), first.get("recall")
    known = isinstance(precision, float) and isinstance(recall, float)
    if not known or not str(first.get("purpose", "")).startswith("as it is"):
        return ""
    return (
        f"As it is now, {precision:.1%} of its alarms are true and {recall:.1%} of the events are found; other "
        "thresholds are compared."
    )


def _relied(importance: Exhibit) -> str:
    """What the model leans on most, from the table of importance; empty where it does not say."""
    names, drops = importance.columns.get("column", []), importance.columns.get("drop", [])
    ranked = sorted((-drop, place) for place, drop in enumerate(drops) if isinstance(drop, int | float))
    leading = [str(names[place]) for _, place in ranked[:3] if place < len(names)]
    return f"It leans most on {', '.join(leading)}." if leading else ""


def _led(known: Chapter, rows: Sequence[MeasureRow]) -> Measurement | None:
    """The worst measurement of the first leading metric that was measured; None where none was."""
    for metric in known.leading:
        there = [row.measurement for row in rows if row.measurement.metric == metric]
        valued = [one for one in there if one.value is not None and not one.error]
        if valued:
            whole = [one for one in valued if not one.slice] or valued
            up = CATALOGUE[metric].direction is Direction.UP
            return min(whole, key=lambda one: (one.value or 0.0) if up else -(one.value or 0.0))
        if there:
            return there[0]
    return None


def _told(one: Measurement) -> str:
    """One measurement as a sentence."""
    metric = CATALOGUE.get(one.metric)
    name = metric.title if metric is not None else _spelled(one.metric).lower()
    on = f" where {one.slice}" if one.slice else ""
    said = f"{name[:1].upper()}{name[1:]}{on}: "
    if one.error or one.value is None:
        return ended(said + (f"the check broke, {one.error}" if one.error else one.insufficient or "not measured"))
    if one.unit == "count" and one.value == 0:
        return f"{said}none."
    said = f"{name[:1].upper()}{name[1:]}{on} than " if name.endswith(" faster") else said
    span = interval(one.lower, one.upper, one.unit)
    inside = f" ({span})" if span and span != "exact" else ""
    return ended(f"{said}{quantity(one.value, one.unit)}{inside}")


def _spelled(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]
