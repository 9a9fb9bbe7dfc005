"""One version: how it was judged, what it came from, how it learned.

In: a ``Site`` and a number. Out: a ``VersionSheet``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from roadworthy.formats.report import RequirementRow
from roadworthy.measures.charts import candidates_exhibit, training_exhibit
from roadworthy.records.model import Bundle, Candidate, TrainedModel, Validation
from roadworthy.records.project import Task
from roadworthy.records.verdict import Outcome
from roadworthy.records.version import Version
from roadworthy.standard import Standard
from roadworthy.views.dashboard.pictures import Picture, draw_exhibit
from roadworthy.views.dashboard.requirement_cells import standard_of
from roadworthy.views.dashboard.site import Site
from roadworthy.views.dashboard.versions.kept import record_of
from roadworthy.views.dashboard.versions.lineage import Link, lineage_of
from roadworthy.views.dashboard.versions.listing import KEY_METRICS, VersionRow, row_of, serving

__all__ = ["VersionSheet", "requirements_of", "version_sheet"]

_MOST_CURVES = 4
_WORST = (Outcome.FAIL, Outcome.ERROR, Outcome.INSUFFICIENT, Outcome.WAIVED, Outcome.PASS)


class VersionSheet(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one version. ``requirements`` have the worst first; ``missing`` says what the lake lost.

    ``chosen`` is the candidate, ``explanation`` why; ``curves`` the chosen candidate's first; ``before`` and ``after``
    are the numbers of the neighbours, 0 for none; ``compare`` is the version to set it beside.
    """

    version: Version
    row: VersionRow
    metrics: tuple[str, ...]
    requirements: tuple[RequirementRow, ...]
    lineage: tuple[Link, ...]
    chosen: str
    explanation: str
    table: tuple[dict[str, Any], ...]
    choice: Picture | None
    curves: tuple[Picture, ...]
    more_curves: int
    packaged: tuple[str, ...]
    missing: str
    has_report: bool
    before: int
    after: int
    compare: int


def version_sheet(site: Site, number: int) -> VersionSheet:
    """One version; RegistryError where there is none."""
    version = site.version(number)
    versions = site.versions()
    champion, earlier = serving(site)
    standard, damaged = standard_of(site, version)
    trained = record_of(site, version, "train", TrainedModel)
    validation = record_of(site, version, "validate", Validation)
    bundle = record_of(site, version, "package", Bundle)
    chosen = "" if validation is None else validation.choice.candidate
    curves, more = _curves(trained, chosen)
    numbers = [one.number for one in versions]
    place = numbers.index(number) if number in numbers else 0
    wanted = KEY_METRICS[site.spec.task]
    return VersionSheet(
        version=version,
        row=row_of(version, wanted, champion, earlier),
        metrics=wanted,
        requirements=requirements_of(standard, version, site.spec.task),
        lineage=lineage_of(version, versions),
        chosen=chosen,
        explanation="" if validation is None else _explained(validation),
        table=() if validation is None else validation.choice.table,
        choice=_choice(validation),
        curves=curves,
        more_curves=more,
        packaged=() if bundle is None else bundle.notes,
        missing=_missing(damaged, trained, validation),
        has_report=bool(version.report) and site.lake.has("report", version.report),
        before=numbers[place + 1] if place + 1 < len(numbers) else 0,
        after=numbers[place - 1] if place else 0,
        compare=_compare(number, champion, earlier, numbers),
    )


def requirements_of(standard: Standard, version: Version, task: Task) -> tuple[RequirementRow, ...]:
    """Every requirement as it was judged, the worst first; without its bounds where the standard no longer has it."""
    by_line = {one.line(): one for one in standard.requirements}
    rows = []
    for verdict in version.verdict.requirements:
        asked = by_line.get(verdict.requirement)
        rows.append(
            RequirementRow(
                verdict=verdict,
                at_least=None if asked is None else asked.at_least,
                at_most=None if asked is None else asked.at_most,
                key=verdict.metric in KEY_METRICS[task],
            )
        )
    return tuple(sorted(rows, key=lambda row: _WORST.index(row.verdict.outcome)))


def _curves(trained: TrainedModel | None, chosen: str) -> tuple[tuple[Picture, ...], int]:
    """How candidates learned, the chosen one first, and how many more there are."""
    if trained is None:
        return (), 0
    learned = [one for one in trained.candidates if one.lines]
    ordered = sorted(learned, key=lambda one: (one.name != chosen, one.name))
    pictures = [_curve(one) for one in ordered[:_MOST_CURVES]]
    return tuple(one for one in pictures if one is not None), max(0, len(ordered) - _MOST_CURVES)


def _curve(candidate: Candidate) -> Picture | None:
    return draw_exhibit(training_exhibit(candidate))


def _choice(validation: Validation | None) -> Picture | None:
    if validation is None or len(validation.choice.table) < 2:
        return None
    return draw_exhibit(candidates_exhibit(validation.choice))


def _explained(validation: Validation) -> str:
    return " ".join(one for one in (validation.choice.explanation, validation.choice.threshold_explanation) if one)


def _missing(damaged: str, trained: TrainedModel | None, validation: Validation | None) -> str:
    lost = [name for name, one in (("training", trained), ("validation", validation)) if one is None]
    words = [damaged] if damaged else []
    if lost:
        words.append(f"The lake holds no record of its {' and '.join(lost)}, so that how it learned is not shown.")
    return " ".join(words)


def _compare(number: int, champion: int, earlier: int, numbers: list[int]) -> int:
    """The version that one would set beside this one: the champion, else the one before, else any other."""
    wanted = [champion, earlier, *numbers]
    return next((one for one in wanted if one and one != number), 0)
