"""Series by the hour: whether volume, latency or errors have moved a little and stay there, and what users report.

In: one ``Hour`` after the other. Out: ``Trends`` (all that is remembered) and signals. Pure. Laws: the same hours give
the same charts, whether they come one by one or all at once; until two weeks of hours are known a chart is learning,
and says so; what lasts for two weeks is what is usual from then on.

A CUSUM (``measures.alarms.cusum``) takes out the hour of the week. What is usual is learnt anew every week while a
chart is quiet, without the hours in which it alarmed. Beyond its limit it calls only where the change since the sum
left 0 is large enough to matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from roadworthy.errors import DataError
from roadworthy.measures.alarms.cusum import LEAST_POINTS, Baseline, Cusum, calibrated, started, stepped, usual_at
from roadworthy.records.alert import Signal, Word

__all__ = ["HOURS_KEPT", "TRENDS", "Chart", "Hour", "Trends", "hour_title", "stepped_on", "told_of_charts"]

HOURS_KEPT = 12 * 168
"""Twelve weeks."""

_HOUR_S, _WEEK_S = 3_600, 604_800
_LEAST = 1e-3
_BEGAN_S = 86_400
"""The sum may leave 0 for a few hours before something begins that lasts."""


class Hour(msgspec.Struct, frozen=True, array_like=True):
    """One hour from ``at_s`` on (seconds since 1970, UTC).

    ``rows`` in the log, ``decided`` among them; labels that came in it, ``wrong`` or ``right`` by the decision;
    ``latency_ms`` (99 of 100 requests took no longer) and ``errors`` (share of requests that were the server's fault),
    None where no server told. ``out`` names the charts that alarmed.
    """

    at_s: int
    rows: int = 0
    decided: int = 0
    wrong: int = 0
    right: int = 0
    latency_ms: float | None = None
    errors: float | None = None
    out: tuple[str, ...] = ()


class Chart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One chart. ``learning`` says why it has no word yet; ``learnt_s`` is when what is usual was learnt.

    Where something lasted so long that it became usual, that is since ``from_s``, and what alarmed up to ``accepted_s``
    counts as usual.

    ``since_s``, ``moved`` and ``hours``: when the sum left 0, and by how much the values went beyond what was usual in
    the hours since, added up.
    """

    baseline: Baseline | None = None
    state: Cusum | None = None
    learnt_s: int = 0
    from_s: int = 0
    accepted_s: int = 0
    since_s: int = 0
    moved: float = 0.0
    hours: int = 0
    learning: str = ""


class Trends(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is remembered: the last twelve weeks of hours, and a chart by its rule."""

    hours: tuple[Hour, ...] = ()
    charts: dict[str, Chart] = {}


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a series is charted: on which scale, on which sides, and from which change on somebody is called.

    ``ratio``: by logarithms, of values plus ``offset``, so that none and one are nearly the same.
    """

    field: str
    what: str
    unit: str
    sides: int
    ratio: bool
    floor: float
    look_first: str
    offset: float = 0.0


_KINDS: Final[Mapping[str, _Kind]] = {
    "volume_trend": _Kind(
        "rows", "The number of rows", "rows", 2, ratio=True, floor=math.log(1.1),
        look_first="who asks: callers that stopped, came twice, or came anew; then the log, if rows are missing",
        offset=10.0,
    ),
    "latency_p99_trend": _Kind(
        "latency_ms", "The latency (p99)", "ms", 1, ratio=True, floor=math.log(1.1),
        look_first="what was released when it began; `roadworthy trace ROW` shows which layer takes the time",
    ),
    "error_rate_trend": _Kind(
        "errors", "The share of faults", "", 1, ratio=False, floor=0.001,
        look_first="the server's standard error, and what was released when it began",
    ),
}  # fmt: skip

TRENDS = tuple(_KINDS)
"""The rules of the charts; each has a part of operations' share of the alarm budget."""


def stepped_on(trends: Trends, hour: Hour, *, per_hour: float) -> tuple[Trends, tuple[Signal, ...]]:
    """Take in the next hour; ``per_hour`` is each chart's rate of false alarms. DataError for an hour of the past."""
    if trends.hours and hour.at_s <= trends.hours[-1].at_s:
        raise DataError(f"the hour from {hour.at_s} s on after that from {trends.hours[-1].at_s} s on")
    charts: dict[str, Chart] = {}
    signals: list[Signal] = []
    for rule, kind in _KINDS.items():
        chart = _learnt(trends, rule, kind, hour.at_s, per_hour)
        charts[rule] = chart = _taken(chart, kind, hour)
        signals.append(_signal(rule, kind, chart, hour))
    out = tuple(rule for rule, chart in charts.items() if chart.state is not None and chart.state.alarming)
    hours = (*trends.hours, msgspec.structs.replace(hour, out=out))[-HOURS_KEPT:]
    return Trends(hours=hours, charts=charts), tuple(signals)


def _learnt(trends: Trends, rule: str, kind: _Kind, at_s: int, per_hour: float) -> Chart:
    """The chart as this hour finds it: learnt anew where that is due."""
    chart = trends.charts.get(rule, Chart())
    alarming = chart.state is not None and bool(chart.state.alarming)
    lasts = alarming and at_s - chart.since_s >= LEAST_POINTS * _HOUR_S + _BEGAN_S
    if chart.baseline is not None and not lasts and (alarming or at_s - chart.learnt_s < _WEEK_S):
        return chart
    if chart.learning and _value(kind, trends.hours[-1]) is None:
        return chart  # nothing more is known
    from_s, accepted_s = (chart.since_s + _BEGAN_S, at_s) if lasts else (chart.from_s, chart.accepted_s)
    known = [
        (one.at_s, value)
        for one in trends.hours
        if one.at_s >= from_s
        and (rule not in one.out or one.at_s < accepted_s)
        and (value := _value(kind, one)) is not None
    ]
    if len(known) < LEAST_POINTS:
        if chart.baseline is not None:
            return chart
        return Chart(learning=f"{len(known)} of {LEAST_POINTS} hours are known")
    times, values = np.array(known, dtype=np.float64).T
    baseline = calibrated(times, values, flat=True)
    state = started(baseline, per_point=per_hour, sides=kind.sides)
    if chart.state is None or lasts:
        return Chart(baseline=baseline, state=state, learnt_s=at_s, from_s=from_s, accepted_s=accepted_s)
    old = chart.state
    state = msgspec.structs.replace(
        state,
        upper=min(old.upper, state.limit),
        lower=min(old.lower, state.limit),
        residual=old.residual,
        at_s=old.at_s,
    )
    return msgspec.structs.replace(chart, baseline=baseline, state=state, learnt_s=at_s)


def _taken(chart: Chart, kind: _Kind, hour: Hour) -> Chart:
    value = _value(kind, hour)
    if chart.baseline is None or chart.state is None or value is None:
        return chart
    state = stepped(chart.baseline, chart.state, float(hour.at_s), value, sides=kind.sides)
    near = [usual_at(chart.baseline, float(hour.at_s + shift)) for shift in (-_HOUR_S, 0, _HOUR_S)]
    beyond = value - min(max(value, min(near)), max(near))  # when clocks are changed, an hour is as the next one was
    if state.upper == 0 and state.lower == 0:
        return msgspec.structs.replace(chart, state=state, since_s=0, moved=0.0, hours=0)
    return msgspec.structs.replace(
        chart, state=state, since_s=chart.since_s or hour.at_s, moved=chart.moved + beyond, hours=chart.hours + 1
    )


def _signal(rule: str, kind: _Kind, chart: Chart, hour: Hour) -> Signal:
    shown = getattr(hour, kind.field)
    state, mean = chart.state, chart.moved / chart.hours if chart.hours else 0.0
    evidence: dict[str, object] = {"value": shown}
    if chart.baseline is None or state is None:
        word, sentence = Word.UNKNOWN, f"{kind.what}: learning what is usual; {chart.learning}."
    elif shown is None:
        word, sentence = Word.UNKNOWN, f"{kind.what} was not measured in this hour."
    else:
        usual = _plain(kind, usual_at(chart.baseline, float(hour.at_s)))
        evidence |= {
            "usual": usual, "upper": state.upper, "lower": state.lower, "limit": state.limit, "hours": chart.hours,
            "moved": mean,
        }  # fmt: skip
        now = f"now {_told(kind, shown)}, usually {_told(kind, usual)} at this hour of the week"
        if not state.alarming:
            word, sentence = Word.CLEAR, f"{kind.what} is as usual: {now}."
        else:
            large = abs(mean) >= kind.floor and (mean > 0) == (state.alarming == "up")
            way = "higher" if state.alarming == "up" else "lower"
            percent, of = (math.expm1(mean), "%") if kind.ratio else (mean, "percentage points")
            by = f"{100 * abs(percent):.3g} {of} {way}"
            word = Word.ALARM if large else Word.CLEAR
            sentence = f"{kind.what} has been {by} than usual over {chart.hours} hours; {now}."
            if not large:
                sentence = f"More than chance, too little to call anybody: {sentence}"
    return Signal(
        rule=rule, word=word, at_us=(hour.at_s + _HOUR_S) * 1_000_000, source=hour_title(hour.at_s),
        group="operations", sentence=sentence, evidence=evidence, look_first=kind.look_first, chart=rule,
    )  # fmt: skip


def _value(kind: _Kind, hour: Hour) -> float | None:
    """On the chart's own scale: logarithms where ratios matter; an hour without rows is one with none, never a gap."""
    found = getattr(hour, kind.field)
    if found is None:
        return None
    return math.log(max(found + kind.offset, _LEAST)) if kind.ratio else float(found)


def _plain(kind: _Kind, value: float) -> float:
    return math.exp(value) - kind.offset if kind.ratio else value


def _told(kind: _Kind, value: float) -> str:
    if not kind.ratio:
        return f"{100 * max(value, 0.0):.2g} %"
    return f"{max(value, 0.0):,.0f} {kind.unit}" if kind.unit == "rows" else f"{max(value, 0.0):.3g} {kind.unit}"


def told_of_charts(trends: Trends) -> dict[str, str]:
    """How each chart is, in words, by its rule."""
    return {rule: _said(chart) for rule, chart in trends.charts.items()}


def _said(chart: Chart) -> str:
    if chart.state is None:
        return f"learning what is usual; {chart.learning}"
    if not chart.state.alarming:
        return "as usual"
    return f"{'higher' if chart.state.alarming == 'up' else 'lower'} than usual over {chart.hours} hours"


def hour_title(at_s: int) -> str:
    """The name of an hour, for signals.

    >>> hour_title(1_772_409_600)
    'hour/492336'
    """
    return f"hour/{at_s // _HOUR_S}"
