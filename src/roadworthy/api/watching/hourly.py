"""Hours that are over, taken in once each: volume, latency, errors and reports, as charts in the registry.

In: traffic, readings of servers, the time. Out: ``Trends`` and signals, in one transaction for up to a day of hours.
Laws: an hour is taken in once, by whichever monitor; looked at every hour or all at once after a pause, the charts and
their alerts are the same; an hour for which nobody read a server has no latency, and no hour is left out.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Mapping

import msgspec
import polars as pl
from sqlalchemy import Connection

from roadworthy.api.watching.asking import Watch
from roadworthy.api.watching.revising import of_the_monitor
from roadworthy.api.watching.servers import readings_of
from roadworthy.api.watching.traffic import Traffic
from roadworthy.api.watching.versions import Answerers
from roadworthy.lifecycle import cursors
from roadworthy.lifecycle.alerts.store import AlertStore
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.measures.alarms.budget import Allotment, Family
from roadworthy.measures.intervals import NotEnough
from roadworthy.measures.operations.latency import latency_quantile
from roadworthy.measures.operations.measuring import FAULTS
from roadworthy.measures.operations.traffic import Traffic as Counted
from roadworthy.measures.operations.traffic import traffic_of
from roadworthy.records.alert import Signal
from roadworthy.records.project import Task
from roadworthy.records.reading import Reading
from roadworthy.records.window import Place
from roadworthy.stages.watching.reporting import reports_signal
from roadworthy.stages.watching.trends import HOURS_KEPT, Hour, Trends, hour_title, stepped_on
from roadworthy.stages.watching.whole import allotment_for

__all__ = ["Hourly", "going", "trends_of"]

_HOUR_S, _HOUR_US = 3_600, 3_600_000_000
_CURSOR = "trends"
_CONFIDENCE = 0.95
_AT_ONCE = 24
"""Hours of which rows, labels and readings are in memory together."""


class Hourly:
    """Takes in the hours of one project."""

    def __init__(
        self, watch: Watch, traffic: Traffic, versions: Answerers, transactions: Transactions, alerts: AlertStore
    ) -> None:
        self._project, self._policy = watch.project, watch.policy
        self._traffic, self._versions = traffic, versions
        self._transactions, self._alerts = transactions, alerts
        self._last_s: int | None = None

    def look(self, now_us: int, watermark_us: int) -> int:
        """Take in the hours that are over by the watermark; how many there were."""
        until_s = self._traffic.told_until(watermark_us) // _HOUR_US * _HOUR_S
        if self._last_s is not None and until_s <= self._last_s + _HOUR_S:
            return 0
        with self._transactions.reading() as connection:
            trends = trends_of(connection, self._project)
            first_s = self._first(trends, until_s)
            if first_s is None or first_s >= until_s:
                self._last_s = trends.hours[-1].at_s if trends.hours else None
                return 0
        for begin_s in range(first_s, until_s, _AT_ONCE * _HOUR_S):
            self._day(begin_s, min(begin_s + _AT_ONCE * _HOUR_S, until_s), now_us)
        return (until_s - first_s) // _HOUR_S

    def _day(self, first_s: int, end_s: int, now_us: int) -> None:
        """Take in the hours up to ``end_s``. Alerts hear each of them, so that clear ones count as they would have."""
        with self._transactions.reading() as connection:
            trends = trends_of(connection, self._project)
            readings = readings_of(connection, self._project, first_s * 1_000_000, end_s * 1_000_000)
        if trends.hours and trends.hours[-1].at_s >= first_s:  # another monitor was first
            return
        watched = self._versions.in_service()
        allotment = allotment_for(watched, float(_HOUR_S))
        reported = watched.contract.task is not Task.REGRESSION
        taken, signals = trends, list[Signal]()
        for hour in self._hours(first_s, end_s, readings):
            taken, said = stepped_on(taken, hour, per_hour=_rate(allotment, Family.OPERATIONS))
            if reported:
                said += (reports_signal(taken.hours, per_hour=_rate(allotment, Family.FEEDBACK)),)
            signals += said
        with self._transactions.changing() as connection:
            if trends_of(connection, self._project) == trends:  # else another monitor was first
                _keep(connection, self._project, taken)
                self._alerts.apply(connection, (*signals, going(end_s)), self._policy, now_us)
        self._last_s = taken.hours[-1].at_s

    def _first(self, trends: Trends, until_s: int) -> int | None:
        """The first hour that was not taken in; None where there was no row yet."""
        earliest_s = until_s - HOURS_KEPT * _HOUR_S
        if trends.hours:
            return max(trends.hours[-1].at_s + _HOUR_S, earliest_s)
        places = self._traffic.places(Place(earliest_s * 1_000_000), until_s * 1_000_000, 1)
        return places[0].at_us // _HOUR_US * _HOUR_S if places else None

    def _hours(self, first_s: int, until_s: int, readings: tuple[Reading, ...]) -> Iterator[Hour]:
        first_us, until_us = first_s * 1_000_000, until_s * 1_000_000
        rows = {int(at): (rows, decided) for at, rows, decided in self._traffic.hours(first_us, until_us).iter_rows()}
        seen = _seen(readings, first_s, until_s)
        for at_s in range(first_s, until_s, _HOUR_S):
            number = at_s // _HOUR_S
            # hour by hour: a label that is said otherwise later counts in both hours, whenever they are taken in
            told = _told(self._traffic.labelled_since(number * _HOUR_US, (number + 1) * _HOUR_US))
            wrong, right = told.get(number, (0, 0))
            count, decided = rows.get(number, (0, 0))
            latency, errors = seen.get(at_s, (None, None))
            yield Hour(at_s, count, decided, wrong, right, latency, errors)


def going(end_s: int, fault: str = "") -> Signal:
    """Whether the charts by the hour get on."""
    return of_the_monitor("monitor:hours", fault, end_s * 1_000_000, hour_title(end_s))


def trends_of(connection: Connection, project: str) -> Trends:
    """The hours and charts of a project as they are kept; none before the first hour."""
    words = cursors.cursor(connection, project, _CURSOR)
    return msgspec.msgpack.decode(zlib.decompress(base64.b64decode(words)), type=Trends) if words else Trends()


def _keep(connection: Connection, project: str, trends: Trends) -> None:
    words = base64.b64encode(zlib.compress(msgspec.msgpack.encode(trends), 1)).decode()
    cursors.set_cursor(connection, project, _CURSOR, words)


def _rate(allotment: Allotment, family: Family) -> float:
    """False alarms an hour of one chart."""
    return allotment.rate(family) * _HOUR_S


def _told(labels: pl.DataFrame) -> Mapping[int, tuple[int, int]]:
    """By hour: how many labels that came contradict the decision, and how many confirm it."""
    wrong = pl.col("_decision") != pl.col("_label")
    counts = (
        labels.filter(pl.col("_decision").is_not_null(), pl.col("_label").is_not_null(), pl.col("_label") != "")
        .group_by((pl.col("_labelled_at").dt.epoch("us") // _HOUR_US).alias("hour"))
        .agg(wrong.sum().alias("wrong"), (~wrong).sum().alias("right"))
    )
    return {hour: (wrong, right) for hour, wrong, right in counts.iter_rows()}


def _seen(readings: tuple[Reading, ...], first_s: int, until_s: int) -> dict[int, tuple[float | None, float | None]]:
    """By hour: the latency that 99 of 100 requests did not exceed, and the share that was the server's fault."""
    if not readings:
        return {}
    every = traffic_of(readings, after_us=first_s * 1_000_000, until_us=until_s * 1_000_000)
    hours: dict[int, list[int]] = {}
    for place, block in enumerate(every.blocks):
        hours.setdefault((block.until_us - 1) // _HOUR_US * _HOUR_S, []).append(place)
    return {
        at_s: _figures(Counted(at_s * 1_000_000, (at_s + _HOUR_S) * 1_000_000, tuple(every.blocks[i] for i in own), ()))
        for at_s, own in hours.items()
    }


def _figures(counted: Counted) -> tuple[float | None, float | None]:
    if not counted.requests:
        return None, None
    try:
        latency: float | None = latency_quantile(counted, 0.99, _CONFIDENCE).value
    except NotEnough:
        latency = None
    return latency, counted.coded(FAULTS) / counted.requests
