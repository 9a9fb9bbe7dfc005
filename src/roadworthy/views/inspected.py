"""An inspection as people are shown it.

In: an inspection (whatever has its facts; ``api.Inspection`` does). Out: the ``ReportView`` that the page, the
terminal, JUnit and Markdown are made from. What only a run has (stages, candidates, package, monitoring) stays empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version as library_version
from typing import Protocol

from roadworthy.formats.report import ProvenanceView, ReportView, RequirementRow
from roadworthy.records.evidence import Evidence, Phase
from roadworthy.records.project import Task
from roadworthy.records.verdict import Verdict
from roadworthy.standard import Standard
from roadworthy.views.chapters import chapters_of
from roadworthy.views.steps import next_steps

__all__ = ["Inspected", "inspection_view"]

_LIBRARIES = ("numpy", "onnxruntime", "polars", "roadworthy", "scikit-learn", "scipy")


class Inspected(Protocol):
    """What an inspection is made of."""

    @property
    def model(self) -> str:
        """What was inspected, as people call it."""

    @property
    def data(self) -> str:
        """The rows that it was inspected on, as people call them."""

    @property
    def task(self) -> Task:
        """What is predicted."""

    @property
    def target(self) -> str:
        """The column with the labels."""

    @property
    def standard(self) -> Standard:
        """What was required."""

    @property
    def evidence(self) -> Evidence:
        """What was measured and found."""

    @property
    def verdict(self) -> Verdict:
        """What that means under the standard."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of rows that were left out and of roles that were inferred."""

    @property
    def not_asked(self) -> dict[str, str]:
        """The title of each check that could not be asked, with the reason."""


def inspection_view(inspection: Inspected, *, when: str = "") -> ReportView:
    """Everything that people are shown of an inspection, apart from its pictures (``with_pictures`` draws them).

    ``when`` is a time for people.
    """
    standard, evidence, verdict = inspection.standard, inspection.evidence, inspection.verdict
    return ReportView(
        project=inspection.model,
        version="",
        when=when,
        task=inspection.task.value,
        target=inspection.target,
        readiness=verdict.readiness,
        sentence=verdict.sentence,
        next_steps=next_steps(verdict, evidence),
        requirements=requirement_rows(standard, verdict),
        findings=evidence.findings,
        chapters=chapters_of(standard, evidence, verdict),
        not_asked=inspection.not_asked,
        notes=(*inspection.notes, *_looks(evidence.looks)),
        rows_from=inspection.data,
        provenance=ProvenanceView(
            digests={"model": evidence.subject, "rows": evidence.holdout, "standard": verdict.standard},
            standard=standard.to_toml(),
            versions={name: library_version(name) for name in _LIBRARIES},
        ),
    )


def _looks(looks: int) -> Iterator[str]:
    if looks > 1:
        yield f"these rows were looked at {looks:,} times: each look makes the verdict a little less independent"


def requirement_rows(
    standard: Standard, verdict: Verdict, key: frozenset[str] = frozenset()
) -> tuple[RequirementRow, ...]:
    """Every requirement with its bounds; those on all rows and a metric of ``key`` are key figures."""
    by_line = {requirement.line(): requirement for requirement in standard.of_phase(Phase.RELEASE)}
    return tuple(
        RequirementRow(
            verdict=one,
            at_least=by_line[one.requirement].at_least,
            at_most=by_line[one.requirement].at_most,
            key=one.metric in key and not by_line[one.requirement].slice,
        )
        for one in verdict.requirements
    )
