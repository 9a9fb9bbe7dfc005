"""The figure that an alert is about, over the time around it, with its bound and the windows that alarmed.

In: a ``Site``, a connection, an alert. Out: ``Figure``, and its picture as PNG for messages. Laws: the windows that are
marked are those of the alert's own history; a rule that has no figure of its own is drawn over the rows of each window,
and the words say so; a figure is read from summaries and hours that are kept, never computed anew.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import Connection

from roadworthy.formats import wording
from roadworthy.lifecycle import cursors, watching
from roadworthy.lifecycle.alerts import rows
from roadworthy.lifecycle.alerts.life import BROKEN_PREFIX
from roadworthy.measures import charts
from roadworthy.measures.charts.series import WIDE, Point, series
from roadworthy.measures.charts.theme import Reference
from roadworthy.records.alert import Alert, AlertEvent
from roadworthy.records.window import WindowSummary
from roadworthy.stages.watching.trends import Hour, Trends, hour_title
from roadworthy.views.dashboard.site import Site

__all__ = ["Figure", "alert_png", "figure_of"]

_ESTIMATED = "estimated:"
_HOURLY = {
    "volume_trend": ("rows", "rows in the hour", False),
    "latency_p99_trend": ("latency_ms", "latency p99 (ms)", False),
    "error_rate_trend": ("errors", "share of requests at fault", True),
    "reported_wrong_rise": ("wrong", "answers reported wrong", False),
}
_PLAIN_FAMILIES = {"missing": "missing", "new": "new"}
_BEFORE = 24
_MOST_WINDOWS = 2_000
_HOUR_US = 3_600_000_000


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """What is drawn: points, oldest first, what they are, and the lines to compare with."""

    points: tuple[Point, ...]
    name: str
    note: str
    references: tuple[Reference, ...] = ()
    percent: bool = False


def figure_of(site: Site, connection: Connection, alert: Alert, history: Sequence[AlertEvent]) -> Figure:
    """The figure behind an alert; without points where nothing was kept of that time."""
    rule = alert.rule.removeprefix(BROKEN_PREFIX)
    sources = {event.source.partition(".")[0] for event in history if event.what == "alarm"}
    if rule in _HOURLY:
        return _hourly(_trends(connection, site.name), rule, alert, sources)
    found = _windows(site, connection, alert)
    numbers = {source.rpartition("/")[2] for source in sources}

    def alarmed(one: WindowSummary) -> bool:
        return str(one.number) in numbers or alert.rule in one.alarms

    if alert.group == "data" and alert.worst.evidence.get("changed"):
        return _shifted(found, alert, rule, alarmed)
    if alert.worst.evidence.get("requirement"):
        return _required(found, alert, rule, alarmed)
    if rule == "late_rows":
        return _late(found, alarmed)
    return _rows(found, alarmed)


def alert_png(site: Site, number: int) -> bytes | None:
    """The picture of an alert's figure for a message; None where nothing was kept that could be drawn."""
    with site.reading() as connection:
        alert = rows.one_alert(connection, site.name, number)
        figure = figure_of(site, connection, alert, rows.events(connection, site.name, number))
    chart = series(figure.points, figure.name, references=figure.references, width=WIDE, percent=figure.percent)
    return None if chart is None else charts.to_png(chart, scale=1.5)


def _windows(site: Site, connection: Connection, alert: Alert) -> Sequence[WindowSummary]:
    """The windows of the series that alarmed, from a day's worth before it began until some after its last word."""
    own = alert.worst.source.rpartition("/")[0]
    there = watching.series(connection, site.name)
    name = own if own in there else site.series(connection)
    last = watching.last(connection, site.name, name)
    if last is None:
        return ()
    length = max(last.until.at_us - last.after.at_us, 1_000_000)
    room = max(_BEFORE * length, (alert.last.at_us - alert.first.at_us) // 2)
    until = max(alert.heard_us, alert.last.at_us) + room // 2
    since = alert.first.at_us - room
    return watching.summaries(connection, site.name, name, since_us=since, until_us=until, newest=_MOST_WINDOWS)


def _required(
    found: Sequence[WindowSummary], alert: Alert, rule: str, alarmed: Callable[[WindowSummary], bool]
) -> Figure:
    """The value that a requirement asks for, with its bound."""
    line = str(alert.worst.evidence["requirement"])
    metric = alert.chart or line.partition(" ")[0]
    points = []
    for one in found:
        value, lower, upper = one.values.get(line, (None, None, None))
        points.append(_point(one, value, alarm=alarmed(one), lower=lower, upper=upper, estimated=line in one.estimated))
    bound = _plain(alert.worst.evidence.get("bound"))
    references = () if bound is None else (Reference(of="value", value=bound, label=line),)
    over = f" where {alert.worst.evidence['slice']}" if alert.worst.evidence.get("slice") else ""
    estimated = rule.startswith(_ESTIMATED)
    note = f"Each dot is a window; the band is its interval. The line is what the standard asks for: {line}."
    note += " The alert is about what was estimated before labels came." if estimated else ""
    note += f" Drawn is the group that decided in each window; the worst alarm was{over}." if over else ""
    return Figure(points=tuple(points), name=wording.metric_name(metric), note=note, references=references)


def _shifted(
    found: Sequence[WindowSummary], alert: Alert, rule: str, alarmed: Callable[[WindowSummary], bool]
) -> Figure:
    """How far the column that changed most lies from the reference."""
    changed = alert.last.evidence.get("changed") or alert.worst.evidence["changed"]
    subject = str(changed[0]["subject"])
    kind = _PLAIN_FAMILIES.get(rule.partition(":")[0], "together" if " × " in subject else "distribution")
    key = f"{subject}:{kind}"
    points = tuple(_point(one, one.moved.get(key), alarm=alarmed(one)) for one in found)
    floor = _plain(alert.worst.evidence.get("floor"))
    references = () if floor is None else (Reference(of="value", value=floor, label="calls somebody"),)
    note = (
        f"How far `{wording.clipped(subject, 80)}` lies from the rows the model was trained on: 0 is the same, 1 could "
        "not differ more. The line is the smallest change that calls anybody; it must be beyond chance as well. "
        "A window without a dot is not among those in which this column moved most."
    )
    name = f"{wording.clipped(subject, 40)}: size of the change"
    return Figure(points=points, name=name, note=note, references=references)


def _late(found: Sequence[WindowSummary], alarmed: Callable[[WindowSummary], bool]) -> Figure:
    points = tuple(_point(one, float(one.late_rows), alarm=alarmed(one)) for one in found)
    return Figure(
        points=points, name="rows that came late", note="Rows told with each window that belong to earlier ones."
    )


def _rows(found: Sequence[WindowSummary], alarmed: Callable[[WindowSummary], bool]) -> Figure:
    points = tuple(_point(one, float(one.rows), alarm=alarmed(one)) for one in found)
    note = "This rule has no figure of its own. Drawn are the rows of each window, and the windows that alarmed."
    return Figure(points=points, name="rows in the window", note=note)


def _hourly(trends: Trends, rule: str, alert: Alert, sources: set[str]) -> Figure:
    field, name, percent = _HOURLY[rule]
    room = max(_BEFORE * _HOUR_US, (alert.last.at_us - alert.first.at_us) // 2)
    since_s = (alert.first.at_us - room) / 1e6
    until_s = (max(alert.heard_us, alert.last.at_us) + room // 2) / 1e6
    points = tuple(
        Point(
            start_us=one.at_s * 1_000_000,
            end_us=one.at_s * 1_000_000 + _HOUR_US,
            value=_of_hour(one, field),
            alarm=hour_title(one.at_s) in sources,
        )
        for one in trends.hours
        if since_s <= one.at_s <= until_s
    )
    usual = _plain(alert.last.evidence.get("usual"))
    references: tuple[Reference, ...] = ()
    if usual is not None and rule != "reported_wrong_rise":
        references = (Reference(of="value", value=usual, label="usual at the hour of the last alarm"),)
    return Figure(points=points, name=name, note="One dot an hour.", references=references, percent=percent)


def _of_hour(hour: Hour, field: str) -> float | None:
    value = getattr(hour, field)
    return None if value is None else float(value)


def _trends(connection: Connection, project: str) -> Trends:
    words = cursors.cursor(connection, project, "trends")
    return msgspec.msgpack.decode(zlib.decompress(base64.b64decode(words)), type=Trends) if words else Trends()


def _point(
    one: WindowSummary,
    value: float | None,
    *,
    alarm: bool,
    lower: float | None = None,
    upper: float | None = None,
    estimated: bool = False,
) -> Point:
    return Point(
        start_us=one.start_us,
        end_us=one.end_us,
        value=value,
        lower=lower,
        upper=upper,
        estimated=estimated,
        alarm=alarm,
    )


def _plain(value: object) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if plain else None  # type: ignore[arg-type]  # it is a number
