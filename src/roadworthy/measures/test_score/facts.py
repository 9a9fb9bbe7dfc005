"""What the 28 tests look at, and how a test says what it saw.

Owns ``TestScoreFacts``, the one input of all tests, and ``Ruling``, their one output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from roadworthy.records.evidence import Exhibit, Finding, Found, Measurement, Phase
from roadworthy.records.project import ProjectSpec
from roadworthy.records.test_score import How

__all__ = ["Check", "Ruling", "TestScoreFacts", "Tested", "bounded", "earned", "named", "refuted", "unknown"]

_NAMED = 4


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TestScoreFacts:
    """What was measured of one model, and what was carried out for it; what is left out earns nothing.

    ``found`` is all evidence so far. ``spec`` is the project as declared, None for a model from elsewhere. ``columns``
    are the model's own inputs, as its graph or training names them. ``hashed`` are the personal columns that collect
    hid; ``stages`` those that were carried out (or taken from the lake) for this model; ``replayed`` whether the
    aggregates were computed again from replayed history and came out equal. ``compared`` are the candidates (or the
    stand-ins of the inspection) that ``chosen`` was compared with, itself included, ``trials`` how many settings were
    tried for it. ``required`` are the metrics that the
    standard bounds at release. ``golden`` is how many golden rows the packaged graph has answered, ``traced`` how many
    layers of one example were shown. ``rules`` are the metrics with an alert rule in the bundle, ``reference`` the
    files there that live rows are compared with. ``drills`` maps a test (``"infra-7"``) to the evidence of a drill that
    carried it out.
    """

    __test__ = False  # it is no test of pytest's

    found: Found = field(default_factory=Found)
    spec: ProjectSpec | None = None
    columns: tuple[str, ...] = ()
    hashed: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    replayed: bool = False
    compared: tuple[str, ...] = ()
    chosen: str = ""
    trials: int = 0
    required: tuple[str, ...] = ()
    golden: int = 0
    traced: int = 0
    rules: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    drills: Mapping[str, str] = field(default_factory=dict)

    def measured(self, metric: str, *phases: Phase) -> Measurement | None:
        """A sound measurement of a metric over all rows in one of the phases (release where none is given)."""
        wanted = phases or (Phase.RELEASE,)
        for one in self.found.measurements:
            if one.metric == metric and not one.slice and one.phase in wanted and sound(one):
                return one
        return None

    def why(self, metric: str, otherwise: str) -> str:
        """Why a metric has no sound measurement: its own words where it was tried, else ``otherwise``."""
        tried = (one for one in self.found.measurements if one.metric == metric and one.phase is Phase.RELEASE)
        return next((one.error or one.insufficient for one in tried if not sound(one)), "") or otherwise

    def exhibit(self, *names: str) -> Exhibit | None:
        """The first exhibit of one of these names."""
        return next((one for name in names for one in self.found.exhibits if one.name == name), None)

    def findings(self, *kinds: str) -> tuple[Finding, ...]:
        """The findings of these kinds."""
        return tuple(one for one in self.found.findings if one.kind in kinds)


class Ruling(NamedTuple):
    """What a test saw: ``how`` without attestations, on what evidence, in words, and what would earn the point."""

    how: How
    evidence: str = ""
    sentence: str = ""
    raises: str = ""


Check = Callable[[TestScoreFacts], Ruling]
"""One test."""


class Tested(NamedTuple):
    """One of the 28: its name for people, and its check; None where only a person can tell."""

    title: str
    check: Check | None


def sound(measurement: Measurement) -> bool:
    """Whether it says anything."""
    return measurement.value is not None and not measurement.error and not measurement.insufficient


def earned(evidence: str, sentence: str) -> Ruling:
    """The full point."""
    return Ruling(How.AUTOMATIC, evidence, sentence)


def refuted(evidence: str, sentence: str, raises: str) -> Ruling:
    """No point, whatever is attested."""
    return Ruling(How.REFUTED, evidence, sentence, raises)


def unknown(sentence: str, raises: str) -> Ruling:
    """Nothing that could be computed says either way."""
    return Ruling(How.NONE, "", sentence, raises)


def bounded(
    facts: TestScoreFacts, metric: str, most: float, *, good: str, bad: str, raises: str, measure: str
) -> Ruling:
    """Earned where a metric is at most so much, refuted where it is provably more, otherwise unknown.

    ``raises`` mends what is refuted, ``measure`` says how it is measured at all.
    """
    one = facts.measured(metric)
    if one is None or one.value is None:
        return unknown(facts.why(metric, f"{metric} was not measured"), measure)
    at_most, at_least = (one.value if end is None else end for end in (one.upper, one.lower))
    if at_most <= most:
        return earned(f"measurement:{metric}", good.format(f"{one.value:.3g}"))
    if at_least > most:
        return refuted(f"measurement:{metric}", bad.format(f"{one.value:.3g}"), raises)
    return unknown(f"{metric} is {one.value:.3g}, which leaves it open", raises)


def named(columns: list[str] | tuple[str, ...]) -> str:
    """Some names for a sentence, and how many more there are."""
    shown = ", ".join(columns[:_NAMED])
    return f"{shown} and {len(columns) - _NAMED} more" if len(columns) > _NAMED else shown
