"""Quality over windows: what each was judged by, at first and now.

In: summaries of a span. Out: points of a chart, the newest figure of each metric. Laws: of more than 300 windows the
worst and the last of each stretch are drawn, and every one that alarmed; a value that changed when labels came keeps
its first one beside it; a bound that differed between versions does not part a metric's series.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, select

from roadworthy.lifecycle import schema
from roadworthy.measures.alarms.thresholds import rule_of
from roadworthy.measures.charts.series import MOST_POINTS, Point
from roadworthy.records.window import WindowSummary
from roadworthy.standard import CATALOGUE, Requirement
from roadworthy.standard.metric import Direction

__all__ = [
    "Figure",
    "Revised",
    "drawn",
    "figure_of",
    "first_judgements",
    "known_span",
    "line_of",
    "newest_figure",
    "points_of",
    "revised",
]

_BY_SLICE = " for every "
_MOST_ASKED = 500
_summary = msgspec.json.Decoder(WindowSummary).decode


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A metric in one window: value and interval where known, how it was judged, and on what."""

    value: float | None
    lower: float | None
    upper: float | None
    estimated: bool
    outcome: str
    number: int
    start_us: int
    end_us: int
    rows: int
    labelled: int


class Revised(msgspec.Struct, frozen=True, kw_only=True):
    """A window whose figure changed after it was first judged."""

    before: Figure
    now: Figure
    revision: int
    judged_at_us: int


def line_of(summary: WindowSummary, metric: str, column: str = "") -> str:
    """The requirement's line on a metric in this window, whatever the bound was; empty where there was none."""
    end = f"{_BY_SLICE}{column}" if column else ""
    for line in summary.outcomes:
        if line.startswith(f"{metric} ") and (line.endswith(end) if column else _BY_SLICE not in line):
            return line
    return ""


def figure_of(summary: WindowSummary, metric: str, column: str = "") -> Figure | None:
    """The metric in this window; None where nothing required it."""
    line = line_of(summary, metric, column)
    if not line:
        return None
    value, lower, upper = summary.values.get(line, (None, None, None))
    return Figure(
        value=value,
        lower=lower,
        upper=upper,
        estimated=line in summary.estimated,
        outcome=summary.outcomes[line],
        number=summary.number,
        start_us=summary.start_us,
        end_us=summary.end_us,
        rows=summary.rows,
        labelled=summary.labelled,
    )


def newest_figure(summaries: Sequence[WindowSummary], metric: str, column: str = "") -> Figure | None:
    """The newest figure with a value, or the newest of all where none has one."""
    newest: Figure | None = None
    for summary in reversed(summaries):
        found = figure_of(summary, metric, column)
        if found is None:
            continue
        if found.value is not None:
            return found
        newest = newest or found
    return newest


def points_of(
    summaries: Sequence[WindowSummary], required: Requirement, firsts: Mapping[int, WindowSummary]
) -> list[Point]:
    """The points of a metric's chart; ``firsts`` holds first judgements of windows that were judged again."""
    metric, column, rule = required.metric, required.slice, rule_of(required)
    points = []
    for summary in summaries:
        found = figure_of(summary, metric, column)
        if found is None:
            continue
        first = firsts.get(summary.number)
        was = None if first is None else figure_of(first, metric, column)
        points.append(
            Point(
                start_us=summary.start_us,
                end_us=summary.end_us,
                value=found.value,
                lower=found.lower,
                upper=found.upper,
                estimated=found.estimated,
                alarm=rule in summary.alarms,
                before=None if was is None or was.value == found.value else was.value,
            )
        )
    return points


def drawn(summaries: Sequence[WindowSummary], required: Requirement, most: int = MOST_POINTS) -> list[WindowSummary]:
    """The windows that are drawn: all, or of each stretch the worst and the last, and every one that alarmed."""
    if len(summaries) <= most:
        return list(summaries)
    rising = CATALOGUE[required.metric].direction is Direction.UP
    rule = rule_of(required)
    size = -(-2 * len(summaries) // most)
    kept: set[int] = {summary.number for summary in summaries if rule in summary.alarms}
    for begin in range(0, len(summaries), size):
        stretch = summaries[begin : begin + size]
        kept.add(stretch[-1].number)
        told = [(one, figure_of(one, required.metric, required.slice)) for one in stretch]
        valued = [(found.value, one.number) for one, found in told if found is not None and found.value is not None]
        if valued:
            kept.add((min if rising else max)(valued)[1])
    return [one for one in summaries if one.number in kept]


def first_judgements(
    connection: Connection, project: str, series: str, summaries: Iterable[WindowSummary]
) -> dict[int, WindowSummary]:
    """What windows that were judged more than once were at first, by number."""
    numbers = [one.number for one in summaries if one.revision]
    table, found = schema.windows, {}
    for begin in range(0, len(numbers), _MOST_ASKED):
        query = select(table.c.summary).where(
            table.c.project == project,
            table.c.series == series,
            table.c.revision == 0,
            table.c.number.in_(numbers[begin : begin + _MOST_ASKED]),
        )
        for text in connection.execute(query).scalars():
            one = _summary(text)
            found[one.number] = one
    return found


def known_span(connection: Connection, project: str, series: str) -> tuple[int, int]:
    """When the first window of a series began and the last one ended; both 0 where there is none."""
    table = schema.windows
    here = (table.c.project == project, table.c.series == series)
    ends = [
        connection.execute(select(column).where(*here).order_by(order).limit(1)).scalar()
        for column, order in ((table.c.start_us, table.c.number), (table.c.end_us, table.c.number.desc()))
    ]
    return int(ends[0] or 0), int(ends[1] or 0)


def revised(
    summaries: Sequence[WindowSummary],
    firsts: Mapping[int, WindowSummary],
    metric: str,
    column: str = "",
    most: int = 20,
) -> list[Revised]:
    """The newest windows whose figure changed since they were first judged, newest first."""
    found: list[Revised] = []
    for summary in reversed(summaries):
        first = firsts.get(summary.number)
        if first is None or len(found) == most:
            continue
        before, now = figure_of(first, metric, column), figure_of(summary, metric, column)
        if before is None or now is None or (before.value, before.estimated) == (now.value, now.estimated):
            continue
        found.append(Revised(before=before, now=now, revision=summary.revision, judged_at_us=summary.judged_at_us))
    return found
