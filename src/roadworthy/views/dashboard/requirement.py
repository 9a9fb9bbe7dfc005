"""One requirement: what came of it in each phase, how it went over windows and versions, by slice, and its alerts.

In: a ``Site``, a requirement's key (the name of its rule, ``accuracy_low``), a ``Span``. Out: a ``RequirementView``.
Laws: a bound that was changed does not end a history; what was estimated is marked; a window that was judged again as
labels came shows its first value beside its last.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from roadworthy.errors import UnknownName
from roadworthy.formats.report import RequirementRow
from roadworthy.lifecycle import watching
from roadworthy.lifecycle.alerts.rows import all_alerts, open_alerts
from roadworthy.measures.alarms.thresholds import rule_of
from roadworthy.measures.charts import Reference
from roadworthy.measures.quality import METRICS
from roadworthy.records.alert import Alert, AlertState
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.records.verdict import Outcome, RequirementVerdict
from roadworthy.records.version import Version
from roadworthy.records.window import Judged, WindowSummary
from roadworthy.standard import CATALOGUE, Requirement, Standard, format_quantity
from roadworthy.standard.judge import judge_requirement
from roadworthy.views.dashboard.overview import gravest_first, live_of
from roadworthy.views.dashboard.pictures import Picture, Point, draw_series
from roadworthy.views.dashboard.requirement_cells import (
    ESTIMATED,
    URGENCY,
    Cell,
    is_same,
    live_cell,
    release_cell,
    rollout_cell,
    row_of,
    rows_link,
    rules_of,
    standard_of,
)
from roadworthy.views.dashboard.site import Site
from roadworthy.views.dashboard.spans import Span

__all__ = ["Asked", "OfVersion", "RequirementView", "Revised", "SliceLine", "requirement_of"]

_MOST_REVISED = 48
_MOST_VERSIONS = 50
_MOST_SLICES = 60
_MOST_ALERTS = 20
_ALL_ALERTS = 1_000


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the standard that asks for this: where it was declared, how it decides, what came of it."""

    line: str
    origin: str
    trigger: str
    confidence: float
    cells: tuple[Cell, ...]


class Revised(msgspec.Struct, frozen=True, kw_only=True):
    """A window that was judged again: its first value and its last, with their outcomes."""

    number: int
    end_us: int
    revision: int
    first: float | None
    first_outcome: str
    first_estimated: bool
    last: float | None
    last_outcome: str


class OfVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The release of one version."""

    version: Version
    row: RequirementRow
    serves: bool


class SliceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One group of rows at release and in the newest window that knows it, each with its bound where there is one."""

    slice: str
    release: RequirementRow | None
    live: RequirementRow | None
    estimated: bool


class RequirementView(msgspec.Struct, frozen=True, kw_only=True):
    """The page. ``shown`` is the version in service, or the newest; ``window`` its newest window with rows.

    ``over`` is the picture of the span, ``judged`` how many of its ``windows`` had a value; ``outcomes`` counts them.
    ``rows_link`` leads to the rows of the newest window; ``of_rows`` says that the metric is one of decided rows, so
    that those that were held out can be listed.
    """

    key: str
    metric: str
    title: str
    slice: str
    shown: Version
    serves: bool
    asked: tuple[Asked, ...]
    alerts: tuple[Alert, ...]
    series: str
    window: Judged | None
    rows_link: str
    of_rows: bool
    now_us: int
    over: Picture | None
    windows: int
    judged: int
    outcomes: dict[str, int]
    revised: tuple[Revised, ...]
    versions: tuple[OfVersion, ...]
    slices: tuple[SliceLine, ...]
    more_slices: int
    looks: int
    holdout: str


def requirement_of(site: Site, key: str, span: Span) -> RequirementView:
    """A requirement's page; UnknownName names those that there are."""
    versions, champion, now_us = site.versions(), site.champion(), site.now_us()
    shown = champion or (versions[0] if versions else None)
    standard = site.standard if shown is None else standard_of(site, shown)[0]
    items = [one for one in standard.requirements if rule_of(one) == key]
    if shown is None or not items:
        known = [] if shown is None else [rule_of(one) for one in standard.requirements]
        raise UnknownName("requirement", key[:200], known, next_step="start from the overview")
    first = items[0]
    with site.reading() as connection:
        live = live_of(site, connection, champion)
        alerts = _alerts(connection, site.name, first)
        within = watching.summaries(connection, site.name, live.series, since_us=span.since_us, until_us=span.until_us)
        revised = _revised(connection, site.name, live.series, within, first)
    slices = _slices(first, shown, live.window)
    open_number = next((one.number for one in alerts if one.state in {AlertState.FIRING, AlertState.ACKNOWLEDGED}), 0)
    points = _points(within, first, {one.number: one.first for one in revised if one.first != one.last})
    return RequirementView(
        key=key,
        metric=first.metric,
        title=CATALOGUE[first.metric].title,
        slice=first.slice,
        shown=shown,
        serves=champion is not None,
        asked=tuple(
            Asked(
                line=one.line(),
                origin=_origin(site.standard, one),
                trigger=str(one.trigger),
                confidence=one.confidence,
                cells=(
                    release_cell(one, shown, now_us),
                    rollout_cell(one),
                    live_cell(one, live.window, live.own, open_number, why=live.why),
                ),
            )
            for one in items
        ),
        alerts=alerts,
        series=live.series,
        window=live.window,
        rows_link="" if live.window is None else rows_link(live.window.window),
        of_rows=first.metric in METRICS,
        now_us=now_us,
        over=_picture(points, items),
        windows=len(within),
        judged=sum(point.value is not None for point in points),
        outcomes=_outcomes(within, first),
        revised=revised,
        versions=tuple(_of_versions(versions, champion, first)),
        slices=slices[:_MOST_SLICES],
        more_slices=max(0, len(slices) - _MOST_SLICES),
        looks=shown.evidence.looks,
        holdout=shown.evidence.holdout,
    )


def _origin(standard: Standard, item: Requirement) -> str:
    """Where the project declares it, which the bundle does not keep; empty where it does no longer."""
    return next((one.origin for one in standard.requirements if one.line() == item.line()), "")


def _alerts(connection: Connection, project: str, item: Requirement) -> tuple[Alert, ...]:
    """Open ones first, then the newest of those that are over."""
    rules = rules_of(item)
    there = [one for one in open_alerts(connection, project) if one.rule in rules]
    over = [
        one
        for one in all_alerts(connection, project, _ALL_ALERTS)
        if one.rule in rules and one.state is AlertState.RESOLVED
    ]
    return (*gravest_first(there), *over)[:_MOST_ALERTS]


def _line_in(one: WindowSummary, item: Requirement, own: str) -> str:
    """The requirement's line (``own`` today) as the window's version had it; empty where it had none."""
    return own if own in one.outcomes else next((line for line in one.outcomes if is_same(line, item)), "")


def _points(within: Sequence[WindowSummary], item: Requirement, before: dict[int, float | None]) -> tuple[Point, ...]:
    rules, own = rules_of(item), item.line()
    found = []
    for one in within:
        line = _line_in(one, item, own)
        value, lower, upper = one.values.get(line, (None, None, None))
        found.append(
            Point(
                start_us=one.start_us,
                end_us=one.end_us,
                value=value,
                lower=lower,
                upper=upper,
                estimated=line in one.estimated,
                alarm=any(rule in one.alarms for rule in rules),
                before=before.get(one.number),
            )
        )
    return tuple(found)


def _picture(points: Sequence[Point], items: Sequence[Requirement]) -> Picture | None:
    metric = CATALOGUE[items[0].metric]
    unit = {"": "", "count": "", "target": ""}.get(metric.unit, f", {metric.unit}")
    bounds = [
        Reference(of="value", value=one.bound, label=_bound_words(one)) for one in items if Phase.LIVE in one.phases
    ]
    return draw_series(points, f"{metric.name.replace('_', ' ')}{unit}", references=bounds)


def _bound_words(item: Requirement) -> str:
    side = "at least" if item.at_least is not None else "at most"
    return f"{side} {format_quantity(item.bound, CATALOGUE[item.metric].unit)}"


def _outcomes(within: Sequence[WindowSummary], item: Requirement) -> dict[str, int]:
    own = item.line()
    found = [one.outcomes.get(_line_in(one, item, own), "") for one in within if one.rows]
    return {word: found.count(word) for word in dict.fromkeys(map(str, Outcome)) if word in found}


def _revised(
    connection: Connection, project: str, series: str, within: Sequence[WindowSummary], item: Requirement
) -> tuple[Revised, ...]:
    """The newest windows that were judged again, newest first."""
    own = item.line()
    again = [one for one in within if one.revision and _line_in(one, item, own)][-_MOST_REVISED:]
    found = []
    for one in reversed(again):
        line = _line_in(one, item, own)
        first = watching.judged(connection, project, series, one.number, revision=0)
        verdict = next((each for each in first.verdict.requirements if each.requirement == line), None)
        measured = None if verdict is None else verdict.measurement
        found.append(
            Revised(
                number=one.number,
                end_us=one.end_us,
                revision=one.revision,
                first=None if measured is None else measured.value,
                first_outcome="" if verdict is None else str(verdict.outcome),
                first_estimated=measured is not None and measured.method.startswith(ESTIMATED),
                last=one.values[line][0],
                last_outcome=one.outcomes[line],
            )
        )
    return tuple(found)


def _of_versions(versions: Sequence[Version], champion: Version | None, item: Requirement) -> list[OfVersion]:
    found = []
    for one in versions[:_MOST_VERSIONS]:
        verdict = next((each for each in one.verdict.requirements if is_same(each.requirement, item)), None)
        if verdict is not None:
            serves = champion is not None and champion.number == one.number
            found.append(OfVersion(version=one, row=row_of(verdict, item), serves=serves))
    return found


def _slices(item: Requirement, shown: Version, window: Judged | None) -> tuple[SliceLine, ...]:
    """Every group that the metric was measured on, worst first; what is required by slice has its bound."""
    release = _by_slice(item, shown.evidence.measurements, Phase.RELEASE)
    live = {} if window is None else _by_slice(item, window.measurements, Phase.LIVE)
    names = dict.fromkeys([*release, *live])
    found = [
        SliceLine(
            slice=name,
            release=release.get(name),
            live=live.get(name),
            estimated=name in live and _method(live[name]).startswith(ESTIMATED),
        )
        for name in names
    ]
    return tuple(sorted(found, key=_worst))


def _worst(line: SliceLine) -> int:
    return min(URGENCY.index(row.verdict.outcome) for row in (line.release, line.live) if row is not None)


def _by_slice(item: Requirement, found: Sequence[Measurement], phase: Phase) -> dict[str, RequirementRow]:
    """Groups by name; where one was both seen and estimated, what was seen."""
    rows: dict[str, RequirementRow] = {}
    for one in found:
        if one.metric != item.metric or not one.slice or one.phase is not phase or one.value is None:
            continue
        if one.slice in rows and one.method.startswith(ESTIMATED):
            continue
        rows[one.slice] = _sliced(item, one, phase)
    return rows


def _sliced(item: Requirement, one: Measurement, phase: Phase) -> RequirementRow:
    """A group's figure; judged where this requirement asks for every group of its column."""
    if item.slice and one.slice.startswith(f"{item.slice}="):
        return row_of(judge_requirement(item, (one,), phase), item)
    bare = RequirementVerdict(requirement="", metric=one.metric, phase=phase, outcome=Outcome.PASS, sentence="",
                              measurement=one)  # fmt: skip
    return RequirementRow(verdict=bare)


def _method(row: RequirementRow) -> str:
    return "" if row.verdict.measurement is None else row.verdict.measurement.method
