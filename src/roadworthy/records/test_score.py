"""The ML Test Score: 28 tests in four sections, the points of each, and what they rest on.

Owns the nouns; ``measures.test_score`` gives the points. After Breck, Cai, Nielsen, Salib and Sculley (2017), "The ML
Test Score: A Rubric for ML Production Readiness and Technical Debt Reduction". Law: the score is the least of the four
sections, so that no section makes up for another.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["ML_TESTS", "TESTS_PER_SECTION", "How", "Section", "TestPoint", "TestScore"]

TESTS_PER_SECTION = 7


class Section(StrEnum):
    """The four sections; the value is how their tests' names begin."""

    DATA = "data"  # features and data
    MODEL = "model"  # model development
    INFRA = "infra"  # infrastructure
    MONITOR = "monitor"  # monitoring

    @property
    def words(self) -> str:
        """The section's name for people."""
        return {
            Section.DATA: "features and data",
            Section.MODEL: "model development",
            Section.INFRA: "infrastructure",
            Section.MONITOR: "monitoring",
        }[self]


ML_TESTS: tuple[str, ...] = tuple(
    f"{section}-{number}" for section in Section for number in range(1, TESTS_PER_SECTION + 1)
)
"""Names of all 28 tests: ``data-1`` … ``monitor-7``, in the paper's order."""


class How(StrEnum):
    """Why a test has its points."""

    AUTOMATIC = "automatic"  # computed from evidence: 1
    ATTESTED = "attested"  # a named person signed for it, until a date: 0.5
    REFUTED = "refuted"  # the evidence says the opposite, which no signature outweighs: 0
    NONE = "none"  # nothing is known: 0


class TestPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One test. ``evidence`` names what the points rest on, or what refutes them.

    Its form is ``measurement:parity``, ``finding:KIND:SUBJECT``, ``exhibit:importance``, ``stage:collect``,
    ``file:monitor.json`` or ``attestation:ml-test-score:data-6``, several with commas between; empty where there is
    none. ``sentence`` says it for people. ``raises`` says what would earn more points; empty where there is no more.
    """

    __test__ = False  # it is no test of pytest's

    section: Section
    test: str
    title: str
    points: float
    how: How
    evidence: str = ""
    sentence: str = ""
    raises: str = ""


class TestScore(msgspec.Struct, frozen=True, kw_only=True):
    """All 28 tests in order. ``score`` is the least section's sum, 0 to 7; ``meaning`` says how it reads."""

    __test__ = False  # as above

    points: tuple[TestPoint, ...]
    sections: dict[str, float]
    score: float
    meaning: str

    @property
    def least(self) -> Section:
        """The section that decides; the first of several."""
        return min(Section, key=lambda section: self.sections[section])
