"""The points of the 28 tests, and the score: the least of the four sections.

In: facts, attestations, a day. Out: ``TestScore``; its ``Found``. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from roadworthy.measures.test_score.data import DATA
from roadworthy.measures.test_score.facts import Ruling, Tested, TestScoreFacts
from roadworthy.measures.test_score.infra import INFRA
from roadworthy.measures.test_score.model import MODEL
from roadworthy.measures.test_score.monitor import MONITOR
from roadworthy.records.attestation import Attestation, Topic, TopicKind, attestation_for
from roadworthy.records.evidence import Exhibit, Found, Measurement
from roadworthy.records.test_score import How, Section, TestPoint, TestScore

__all__ = ["score", "test_score_found"]

_TESTS: Mapping[Section, tuple[Tested, ...]] = {
    Section.DATA: DATA,
    Section.MODEL: MODEL,
    Section.INFRA: INFRA,
    Section.MONITOR: MONITOR,
}
_POINTS = {How.AUTOMATIC: 1.0, How.ATTESTED: 0.5, How.REFUTED: 0.0, How.NONE: 0.0}
_MEANINGS = (
    (0.0, "more of a research project than a system in production"),
    (1.0, "not wholly untested, but expect serious holes in its reliability"),
    (2.0, "a first pass at production; more has to be invested"),
    (3.0, "reasonably tested; more of the tests could be automatic"),
    (5.0, "strong testing and monitoring, fit for systems that matter most"),
    (7.0, "exceptional testing and monitoring"),
)
_NAME = "ml_test_score"


def score(facts: TestScoreFacts, attestations: Sequence[Attestation], today: date) -> TestScore:
    """Every test's points: 1 where evidence earns it, 0.5 where an attestation in force says so, otherwise 0.

    An attestation adds nothing to what is automatic, and does not outweigh evidence that says the opposite.
    """
    points = tuple(
        _point(f"{section}-{number}", tested, facts, attestations, today)
        for section, tests in _TESTS.items()
        for number, tested in enumerate(tests, start=1)
    )
    sections = {
        section.value: sum((one.points for one in points if one.section is section), 0.0) for section in Section
    }
    least = min(sections.values())
    return TestScore(points=points, sections=sections, score=least, meaning=_meaning(least))


def test_score_found(found: TestScore) -> Found:
    """The measurement ``ml_test_score`` (exact) and the exhibit of that name, one row per test."""
    least = found.least
    shown = ", ".join(f"{Section(name).words} {points:g}" for name, points in found.sections.items())
    measured = Measurement(
        metric=_NAME,
        value=found.score,
        lower=found.score,
        upper=found.score,
        method="counted",
        reason=f"The least section is {least.words} ({shown}): {found.meaning}.",
        check=_NAME,
    )
    columns: dict[str, list[Any]] = {
        "section": [one.section.words for one in found.points],
        "test": [one.test for one in found.points],
        "title": [one.title for one in found.points],
        "points": [one.points for one in found.points],
        "how": [one.how.value for one in found.points],
        "sentence": [one.sentence for one in found.points],
        "evidence": [one.evidence for one in found.points],
        "raises": [one.raises for one in found.points],
    }
    note = (
        f"The score is {found.score:g} of 7, the least of the four sections ({shown}): {found.meaning}. A test has 1 "
        "point where evidence of this model earns it, 0.5 where a named person has signed for it."
    )
    exhibit = Exhibit(name=_NAME, title="The ML Test Score", columns=columns, note=note, check=_NAME)
    return Found(measurements=(measured,), exhibits=(exhibit,))


test_score_found.__test__ = False  # type: ignore[attr-defined]  # it is no test of pytest's


def _point(
    test: str, tested: Tested, facts: TestScoreFacts, attestations: Sequence[Attestation], today: date
) -> TestPoint:
    ruling = tested.check(facts) if tested.check else Ruling(How.NONE, sentence="only a person can tell")
    if ruling.how is How.NONE and test in facts.drills:
        ruling = Ruling(How.AUTOMATIC, facts.drills[test], "a drill carried it out")
    attested = attestation_for(Topic(TopicKind.TEST, test), attestations, today)
    if ruling.how is How.NONE and attested is not None:
        sentence = f"{attested.person}, until {attested.expires}: {attested.statement}"
        ruling = Ruling(How.ATTESTED, f"attestation:{attested.topic}", sentence, ruling.raises)
    return TestPoint(
        section=Section(test.partition("-")[0]),
        test=test,
        title=tested.title,
        points=_POINTS[ruling.how],
        how=ruling.how,
        evidence=ruling.evidence,
        sentence=ruling.sentence,
        raises=_raises(test, ruling),
    )


def _raises(test: str, ruling: Ruling) -> str:
    if ruling.how is not How.NONE:
        return ruling.raises
    by_hand = f'roadworthy attest {TopicKind.TEST}:{test} "STATEMENT" --by NAME --expires DATE'
    return f"1 point: {ruling.raises}; 0.5 points: {by_hand}" if ruling.raises else f"0.5 points: {by_hand}"


def _meaning(points: float) -> str:
    """The paper's reading of a score: 0, up to 1, 2, 3, 5, and beyond."""
    return next(words for most, words in _MEANINGS if points <= most)
