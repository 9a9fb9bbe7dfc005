"""What a person can do now, most urgent first.

In: a verdict and the evidence behind it. Out: sentences. Law: whatever keeps a version from being ready is in one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from roadworthy.records.evidence import Evidence, Finding
from roadworthy.records.verdict import Outcome, Readiness, RequirementVerdict, Verdict
from roadworthy.views.chapters import CHAPTERS

__all__ = ["next_steps"]


def next_steps(verdict: Verdict, evidence: Evidence, *, when_ready: str = "") -> tuple[str, ...]:
    """The steps; of what is ready ``when_ready``, after a look at what the standard does not judge."""
    if verdict.readiness is Readiness.READY:
        return (*_open(evidence.findings), when_ready) if when_ready else ()
    return tuple(_steps(verdict.requirements, evidence.findings))


def _open(findings: Sequence[Finding]) -> Iterator[str]:
    left = [one for one in findings if one.grade == "suspects" and not one.answer]
    asked = sum(bool(one.question) for one in left)
    if left:
        questions = f", {asked} of them with a question to answer" if asked else ""
        yield f"look at {len(left)} suspicions that the standard does not judge{questions}"


def _steps(verdicts: Sequence[RequirementVerdict], findings: Sequence[Finding]) -> Iterator[str]:
    by_outcome = {outcome: [v for v in verdicts if v.outcome is outcome] for outcome in Outcome}
    for broken in by_outcome[Outcome.ERROR]:
        yield f"repair the check of {broken.requirement}: it broke"
    yield from _failing(by_outcome[Outcome.FAIL])
    yield from _doubts([finding for finding in findings if finding.grade != "notes"])
    yield from _rows(by_outcome[Outcome.INSUFFICIENT])


def _failing(failing: Sequence[RequirementVerdict]) -> Iterator[str]:
    """Quality asks for features and rows; what another check measured is explained by its chapter."""
    chapters: dict[str, list[str]] = {}
    for verdict in failing:
        check = verdict.measurement.check if verdict.measurement is not None else ""
        title = CHAPTERS[check].title if check in CHAPTERS and check != "quality" else ""
        chapters.setdefault(title, []).append(verdict.requirement)
    for title, requirements in chapters.items():
        where = (
            f"the chapter {title} of the report says why" if title else "more telling features, more or cleaner rows"
        )
        yield f"look at what fails ({', '.join(requirements)}): {where}"


def _doubts(doubted: Sequence[Finding]) -> Iterator[str]:
    asked: dict[str, list[str]] = {}
    for finding in doubted:
        question = finding.question or ("known when the prediction is made?" if finding.kind == "target_leak" else "")
        if question and not finding.answer:
            asked.setdefault(question, []).append(finding.subject)
    for question, subjects in asked.items():
        yield f"answer for {', '.join(dict.fromkeys(subjects))}: {question}"
    if len(doubted) > sum(map(len, asked.values())):
        yield "read what the report finds suspicious beside the requirements"


def _rows(open_: Sequence[RequirementVerdict]) -> Iterator[str]:
    counted = [verdict for verdict in open_ if verdict.rows_needed]
    if counted:
        most = max(verdict.rows_needed for verdict in counted)
        named = ", ".join(verdict.requirement for verdict in counted)
        yield f"collect about {most:,} more labelled rows for the holdout: that would settle {named}"
    unmeasured = [verdict.requirement for verdict in open_ if verdict.measurement is None]
    if unmeasured:
        yield f"have {', '.join(unmeasured)} measured: nothing was, and the report says what was not asked and why"
    others = [one.requirement for one in open_ if not one.rows_needed and one.measurement is not None]
    if others:
        yield f"collect more labelled rows: {', '.join(others)} cannot be proven yet"
