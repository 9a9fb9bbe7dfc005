"""The table of versions: when, how judged, which serves, and the figures that one looks for.

In: a ``Site``, which page. Out: a ``VersionList``, newest first, 50 on a page.
"""

from __future__ import annotations

import msgspec

from roadworthy.records.evidence import Measurement
from roadworthy.records.project import Task
from roadworthy.records.verdict import Readiness
from roadworthy.records.version import Version
from roadworthy.views.dashboard.site import Site

__all__ = ["KEY_METRICS", "VersionList", "VersionRow", "figure", "row_of", "serving", "version_list"]

KEY_METRICS = {
    Task.BINARY: ("accuracy", "recall", "roc_auc", "log_loss"),
    Task.MULTICLASS: ("accuracy", "balanced_accuracy", "log_loss"),
    Task.REGRESSION: ("r2", "mae", "rmse"),
}
"""What a table of versions shows of quality."""
_PAGE = 50


class VersionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One version. ``figures`` are measurements on all held-out rows by metric; ``rows`` is how many it was made from.

    ``mark`` is "in service", "before" (the one that was in service before) or empty.
    """

    number: int
    title: str
    at: str
    readiness: Readiness
    sentence: str
    mark: str
    figures: dict[str, Measurement]
    latency_ms: float | None
    size: float | None
    rows: str


class VersionList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the versions; ``metrics`` are the columns on quality; ``numbers`` are all versions, newest first."""

    sentence: str
    rows: tuple[VersionRow, ...]
    metrics: tuple[str, ...]
    numbers: tuple[int, ...]
    champion: int
    page: int
    pages: int


def version_list(site: Site, page: int = 1) -> VersionList:
    """The table; ``page`` counts from 1."""
    versions = site.versions()
    champion, before = serving(site)
    pages = max(1, -(-len(versions) // _PAGE))
    page = min(max(page, 1), pages)
    shown = versions[(page - 1) * _PAGE : page * _PAGE]
    wanted = KEY_METRICS[site.spec.task]
    rows = tuple(row_of(one, wanted, champion, before) for one in shown)
    return VersionList(
        sentence=_sentence(versions, champion),
        rows=rows,
        metrics=tuple(metric for metric in wanted if any(metric in row.figures for row in rows)),
        numbers=tuple(one.number for one in versions),
        champion=champion,
        page=page,
        pages=pages,
    )


def serving(site: Site) -> tuple[int, int]:
    """The number of the version in service and of the one before it; 0 for none."""
    champion = site.champion()
    before = None if champion is None else site.registry.before(site.name)
    return (0 if champion is None else champion.number), (0 if before is None else before.number)


def row_of(version: Version, metrics: tuple[str, ...], champion: int, before: int) -> VersionRow:
    """One line of the table."""
    found = {metric: one for metric in metrics if (one := figure(version, metric)) is not None}
    latency, size = figure(version, "latency_p99"), figure(version, "size")
    collected = next((row.after for row in version.stages if row.stage == "collect"), "")
    return VersionRow(
        number=version.number,
        title=version.title,
        at=version.created_at.replace("T", " ").replace("+00:00", " UTC"),
        readiness=version.verdict.readiness,
        sentence=version.verdict.sentence,
        mark={champion: "in service", before: "before"}.get(version.number, ""),
        figures=found,
        latency_ms=None if latency is None else latency.value,
        size=None if size is None else size.value,
        rows=collected.partition(" ")[0],
    )


def figure(version: Version, metric: str) -> Measurement | None:
    """What was measured of a metric on all rows at release; None where nothing was."""
    found = [one for one in version.evidence.measurements if one.metric == metric and not one.slice]
    return next((one for one in found if one.value is not None), None)


def _sentence(versions: tuple[Version, ...], champion: int) -> str:
    if not versions:
        return "No version was made yet."
    newest = versions[0]
    how = f"The newest, {newest.title}, is {newest.verdict.readiness}."
    if not champion:
        return f"No version is in service. {how}"
    if champion == newest.number:
        return f"{newest.title} is in service; it is the newest, and {newest.verdict.readiness}."
    return f"{newest.name}-{champion} is in service. {how}"
