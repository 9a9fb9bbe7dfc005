"""One metric on its own page: over windows with what changed, or from labels alone where no requirement asks for it.

In: a ``Site``, a metric's name, a ``Span``. Out: ``MetricPage``. Laws: an unknown metric is refused, one that is not
required is measured from the labelled rows of the span in at most 24 stretches, and the page says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from roadworthy.errors import UnknownName
from roadworthy.formats import wording
from roadworthy.measures.charts.series import Point
from roadworthy.measures.quality import METRICS, measure_safely, metrics_for
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.records.window import WindowSummary
from roadworthy.stages.watching.quality import FEWEST
from roadworthy.standard import CATALOGUE, Requirement
from roadworthy.views.dashboard.pictures import Picture, draw_series
from roadworthy.views.dashboard.quality.drawing import once
from roadworthy.views.dashboard.quality.groups import GroupTable, group_tables
from roadworthy.views.dashboard.quality.held import Held, held
from roadworthy.views.dashboard.quality.labelled import Known, known_rows
from roadworthy.views.dashboard.quality.labels import label_picture
from roadworthy.views.dashboard.quality.release import release_of
from roadworthy.views.dashboard.quality.snapshot import (
    metric_now,
    read_windows,
    trend_of,
)
from roadworthy.views.dashboard.quality.state import MetricNow, State, state_of
from roadworthy.views.dashboard.quality.windows import Revised, drawn, first_judgements, points_of, revised
from roadworthy.views.dashboard.site import Site
from roadworthy.views.dashboard.spans import Span

__all__ = ["MetricPage", "metric_page"]

_STRETCHES = 24


class MetricPage(msgspec.Struct, frozen=True, kw_only=True):
    """``now`` is None where nothing requires the metric; then ``labels`` and ``release`` are all there is.

    ``note`` says what of the windows is drawn, ``changed`` lists windows whose figure changed when labels came.
    """

    metric: str
    column: str
    title: str
    about: str
    unit: str
    better: str
    version: str
    number: int
    now: MetricNow | None
    state: State | None
    labels: Measurement | None
    release: Measurement | None
    picture: Picture | None
    counts: Picture | None
    note: str
    windows: int
    changed: tuple[Revised, ...]
    groups: tuple[GroupTable, ...]
    trouble: str


def metric_page(site: Site, span: Span, metric: str, *, column: str = "", version: str = "") -> MetricPage | None:
    """One metric; None for a project without any version.

    UnknownName for a metric that the task does not have, for a slice that nothing requires, and for an unknown version.
    """
    series, summaries = read_windows(site, span)
    own = held(site, version, next((one.version for one in reversed(summaries) if one.rows), ""))
    if own is None:
        return None
    task = own.watched.contract.task
    if metric not in METRICS or (task not in METRICS[metric][1] and own.requirement(metric, column) is None):
        raise UnknownName("metric", metric[:60], metrics_for(task))
    required = own.requirement(metric, column)
    if column and required is None:
        raise UnknownName(
            "slice", column[:60], [one.slice for one in own.required if one.metric == metric and one.slice]
        )
    mine = [one for one in summaries if not version or one.version == own.version.title]
    known = known_rows(site, own, span)
    now = None if required is None else metric_now(own, required, mine, known, span)
    picture, note, changed = _over_windows(site, series, mine, required)
    if picture is None:
        picture, more = _by_labels(known, metric) if not column else (None, "")
        note = more or note
    labels = now.labels if now else _measured(known, metric)
    release = next((one for one in own.version.evidence.measurements if _is_release(one, metric)), None)
    return MetricPage(
        metric=metric,
        column=column,
        title=wording.metric_name(metric) + (f", every {column}" if column else ""),
        about=CATALOGUE[metric].title,
        unit=CATALOGUE[metric].unit,
        better="more is better" if str(CATALOGUE[metric].direction) == "up" else "less is better",
        version=own.version.title,
        number=own.version.number,
        now=now,
        state=None if now is None else state_of([now], now.now.labelled if now.now else 0),
        labels=labels,
        release=now.release if now else release,
        picture=picture,
        counts=label_picture(mine, half=False),
        note=note,
        windows=len(mine),
        changed=changed,
        groups=_groups(site, own, known, metric, task),
        trouble=known.trouble,
    )


def _over_windows(
    site: Site, series: str, mine: Sequence[WindowSummary], required: Requirement | None
) -> tuple[Picture | None, str, tuple[Revised, ...]]:
    if required is None:
        return None, "", ()
    shown = drawn(mine, required)
    with site.reading() as connection:
        firsts = first_judgements(connection, site.name, series, shown)
    notes = []
    if len(shown) < len(mine):
        notes.append(
            f"{len(shown):,} of {len(mine):,} windows are drawn: the worst and last of each stretch, and every alarm."
        )
    changed = tuple(revised(shown, firsts, required.metric, required.slice))
    if changed:
        notes.append("A mark of its own shows what a window was judged at first, before its labels came.")
    points = points_of(shown, required, firsts)
    return trend_of(points, required, half=False, note=" ".join(notes)), "", changed


def _by_labels(known: Known, metric: str) -> tuple[Picture | None, str]:
    """The metric in stretches of equally many labels, in the order of their predictions."""
    sample = known.sample
    if sample is None or sample.n < FEWEST:
        return None, "No requirement asks for it, so windows do not measure it, and there are too few labels to draw."
    order = np.argsort(known.rows.get_column("_at").to_numpy(), kind="stable")
    at = known.rows.get_column("_at").dt.epoch("us").to_numpy()
    points = []
    for part in np.array_split(order, max(1, min(_STRETCHES, sample.n // (2 * FEWEST)))):
        found = measure_safely(metric, sample.take(part))
        start, end = int(at[part[0]]), int(at[part[-1]])
        points.append(Point(start_us=start, end_us=end, value=found.value, lower=found.lower, upper=found.upper))
    note = (
        f"No requirement asks for it, so it is measured here from {sample.n:,} labelled rows, in {len(points)} "
        "stretches of equally many."
    )
    name = wording.metric_name(metric)
    return once((name, note, points), lambda: draw_series(points, name, title=name, note=note)), ""


def _measured(known: Known, metric: str) -> Measurement | None:
    return None if known.sample is None else measure_safely(metric, known.sample)


def _is_release(one: Measurement, metric: str) -> bool:
    return one.metric == metric and not one.slice and one.phase is Phase.RELEASE


def _groups(site: Site, own: Held, known: Known, metric: str, task: object) -> tuple[GroupTable, ...]:
    if task not in METRICS[metric][1]:
        return ()
    return group_tables(own, known, release_of(site, own), None, metric)
