"""The page on quality: how good the model is now, and what that rests on.

In: a ``Site``, a ``Span``, the words of a link. Out: ``Quality``. Laws: a year of windows is read as summaries and one
whole record; a part that cannot be read is a sentence in its place, and the others stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from roadworthy.formats import wording
from roadworthy.lifecycle import watching
from roadworthy.lifecycle.alerts.rows import open_alerts
from roadworthy.measures.charts.series import Point
from roadworthy.measures.charts.theme import Reference
from roadworthy.measures.quality import measure_safely
from roadworthy.records.alert import AlertState
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.records.window import Judged, WindowSummary
from roadworthy.standard import CATALOGUE, Requirement
from roadworthy.views.dashboard.pictures import Picture, draw_series
from roadworthy.views.dashboard.quality.drawing import half_series, once
from roadworthy.views.dashboard.quality.groups import GroupTable, group_tables, shown_by
from roadworthy.views.dashboard.quality.held import Held, held
from roadworthy.views.dashboard.quality.labelled import Known, known_rows
from roadworthy.views.dashboard.quality.labels import Labels, labels_of
from roadworthy.views.dashboard.quality.pairs import Pair, pairs_of
from roadworthy.views.dashboard.quality.release import release_of
from roadworthy.views.dashboard.quality.state import MetricNow, State, bound_words, state_of
from roadworthy.views.dashboard.quality.windows import (
    drawn,
    first_judgements,
    known_span,
    newest_figure,
    points_of,
)
from roadworthy.views.dashboard.site import Site
from roadworthy.views.dashboard.spans import Span

__all__ = ["Quality", "metric_now", "quality_of", "read_windows", "references_of", "trend_of"]

_MOST_TRENDS = 4
_AT_ONCE_US = 60 * 86_400_000_000


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on the page. ``version`` is empty for a project without any; ``others`` are metrics on demand."""

    version: str
    number: int
    versions: tuple[tuple[int, str], ...]
    task: str
    state: State
    windows: int
    newest_us: int
    newest_rows: int
    newest_labelled: int
    labelled_us: int
    firing: int
    metrics: tuple[MetricNow, ...]
    others: tuple[str, ...]
    by: str
    choice: tuple[str, ...]
    groups: tuple[GroupTable, ...]
    pairs: tuple[Pair, ...]
    labels: Labels
    live_n: int
    trouble: str
    release_trouble: str


def quality_of(site: Site, span: Span, *, version: str = "", by: str = "") -> Quality | None:
    """The page; None for a project without any version. UnknownName for a version that there is not."""
    series, summaries = read_windows(site, span)
    own = held(site, version, next((one.version for one in reversed(summaries) if one.rows), ""))
    if own is None:
        return None
    mine = [one for one in summaries if not version or one.version == own.version.title]
    filled = [one for one in mine if one.rows]
    newest = _newest(site, series, filled)
    known = known_rows(site, own, span)
    release = release_of(site, own)
    metrics = tuple(metric_now(own, item, mine, known, span) for item in own.required)
    metrics = _with_trends(site, series, own, metrics, mine)
    metric, choice = shown_by(own, by)
    with_labels = [one for one in filled if one.labelled]
    return Quality(
        version=own.version.title,
        number=own.version.number,
        versions=_versions(site, summaries, own),
        task=str(own.watched.contract.task),
        state=state_of(metrics, filled[-1].labelled if filled else 0),
        windows=len(mine),
        newest_us=filled[-1].end_us if filled else 0,
        newest_rows=filled[-1].rows if filled else 0,
        newest_labelled=filled[-1].labelled if filled else 0,
        labelled_us=with_labels[-1].end_us if with_labels else 0,
        firing=_firing(site),
        metrics=metrics,
        others=own.others,
        by=metric,
        choice=choice,
        groups=group_tables(own, known, release, newest, metric),
        pairs=pairs_of(own, known),
        labels=labels_of(mine, known),
        live_n=0 if known.sample is None else known.sample.n,
        trouble=known.trouble,
        release_trouble=release.trouble,
    )


def read_windows(site: Site, span: Span) -> tuple[str, Sequence[WindowSummary]]:
    """The series of windows that is looked at, and its summaries of a span, oldest first; read two months at a time."""
    found: dict[int, WindowSummary] = {}
    with site.reading() as connection:
        series = site.series(connection)
        first_us, last_us = known_span(connection, site.name, series)
        begin_us, until_us = max(span.since_us, first_us), min(span.until_us, last_us)
        while begin_us < until_us:
            end_us = min(begin_us + _AT_ONCE_US, until_us)
            part = watching.summaries(connection, site.name, series, since_us=begin_us, until_us=end_us)
            found.update((one.number, one) for one in part)
            begin_us = end_us
    return series, tuple(found.values())


def metric_now(
    own: Held, required: Requirement, summaries: Sequence[WindowSummary], known: Known, span: Span
) -> MetricNow:
    """One requirement: the newest window that says anything, all labels of the span, and the release."""
    metric, column = required.metric, required.slice
    entry = CATALOGUE[metric]
    by_labels = None
    if not column and known.sample is not None:
        by_labels = measure_safely(metric, known.sample, confidence=required.confidence)
    name = wording.metric_name(metric)
    return MetricNow(
        metric=metric,
        column=column,
        name=f"{name}, every {column}" if column else name,
        about=entry.title,
        unit=entry.unit,
        line=required.line(),
        bound=bound_words(required),
        at_least=required.at_least,
        at_most=required.at_most,
        now=newest_figure([one for one in summaries if one.version == own.version.title], metric, column),
        labels=by_labels,
        release=_at_release(own, metric, column),
        link=f"/quality/{metric}?{span.link}&version={own.version.number}"
        + (f"&slice={quote(column, safe='')}" if column else ""),
    )


def references_of(required: Requirement) -> list[Reference]:
    """The bound as a line of a chart over windows."""
    return [Reference(of="value", value=required.bound, label=bound_words(required))]


def trend_of(points: Sequence[Point], required: Requirement, *, half: bool, note: str = "") -> Picture | None:
    """A metric over windows."""
    name, references = wording.metric_name(required.metric), references_of(required)
    title = f"{name}, worst group of {required.slice}" if required.slice else name
    if half:
        return half_series(points, name, references=references, title=title)
    return once(
        ("whole", title, note, required.bound, points),
        lambda: draw_series(points, name, references=references, title=title, note=note),
    )


def _newest(site: Site, series: str, filled: Sequence[WindowSummary]) -> Judged | None:
    if not filled:
        return None
    with site.reading() as connection:
        return watching.judged(connection, site.name, series, filled[-1].number)


def _with_trends(
    site: Site, series: str, own: Held, metrics: Sequence[MetricNow], mine: Sequence[WindowSummary]
) -> tuple[MetricNow, ...]:
    """The first four that have figures get a picture; the others have theirs on their own page."""
    found, left = [], _MOST_TRENDS
    for one in metrics:
        required = own.requirement(one.metric, one.column)
        picture = None
        if left and required is not None and one.now is not None and one.now.value is not None:
            shown = drawn(mine, required)
            with site.reading() as connection:
                firsts = first_judgements(connection, site.name, series, shown)
            picture = trend_of(points_of(shown, required, firsts), required, half=True)
            left -= picture is not None
        found.append(msgspec.structs.replace(one, trend=picture))
    return tuple(found)


def _at_release(own: Held, metric: str, column: str) -> Measurement | None:
    """What the release showed; of groups the worst."""
    start = f"{column}=" if column else ""
    found = [
        one
        for one in own.version.evidence.measurements
        if one.metric == metric and one.phase is Phase.RELEASE and one.value is not None
        and (one.slice.startswith(start) if column else not one.slice)
    ]  # fmt: skip
    required = own.requirement(metric, column)
    if not column or required is None:
        return next(iter(found), None)
    worst = min if required.at_least is not None else max
    return worst(found, key=lambda one: one.value or 0.0, default=None)


def _versions(site: Site, summaries: Sequence[WindowSummary], own: Held) -> tuple[tuple[int, str], ...]:
    """Versions that answered in the span, and the one that is shown, newest first."""
    named = {one.version for one in summaries} | {own.version.title}
    return tuple((one.number, one.title) for one in site.versions() if one.title in named)


def _firing(site: Site) -> int:
    with site.reading() as connection:
        alerts = open_alerts(connection, site.name)
    return sum(one.group == "quality" and one.state is AlertState.FIRING for one in alerts)
