"""CUSUM on series of the service: a shift that is small and stays, in latency, volume or errors by the hour.

In: past values with their times to calibrate on, then one value after the other. Out: whether the sum is over its
limit. After Page (1954); the sum S ← max(0, S + z - k) alarms over h, where z is the value without its pattern, in
standard deviations, and k = 0.5 is best for shifts by one of them.

What makes the run length true: the hour-of-week pattern and the dependence between neighbouring hours (AR(1)) are taken
out; what is left becomes a normal score by its rank among the calibration's, so heavy tails make no alarms; and h is
chosen for the rate of false alarms averaged over what the calibration may have got wrong (Jones, Champ and Rigdon 2004
show how much it matters), by Siegmund's (1985) approximation of the run length.

Laws: pure and restartable; an alarm lasts until the sum is back at 0, so that one excursion is one alarm; a missing
value changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import special

from roadworthy.errors import DataError
from roadworthy.records.alert import Signal, Word

__all__ = [
    "LEAST_POINTS",
    "Baseline",
    "Cusum",
    "calibrated",
    "cusum_signal",
    "limit_for",
    "run_length",
    "started",
    "stepped",
    "usual_at",
]

Floats = NDArray[np.float64]
SLACK = 0.5
LEAST_POINTS = 336
"""Two weeks of hours: fewer do not tell a Monday from a change."""
_FULL_WEEKS = 8
_LEAST_PAIRS = 48
"""Neighbouring hours below which nothing is known of their dependence."""
_OVERSHOOT = 1.166
_HOUR_S, _WEEK_HOURS = 3600.0, 168
_KEPT = 1024
_DIGITS = 9  # what lies beyond is rounding, no deviation


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """What is usual. ``pattern`` [168] by the hour of the week (UTC, from Thursday on, as time since 1970 has it).

    ``dependence`` is the share of the last residual that the next one keeps; ``scores`` are the calibration's
    innovations, sorted, at most 1,024 of them; ``points`` how many there were; ``logs`` whether values are logarithms.
    """

    pattern: tuple[float, ...]
    dependence: float
    scores: tuple[float, ...]
    points: int
    logs: bool = False


class Cusum(msgspec.Struct, frozen=True, kw_only=True):
    """The state: both sums, what is alarming, the last residual and its time."""

    limit: float
    upper: float = 0.0
    lower: float = 0.0
    alarming: str = ""
    residual: float = 0.0
    at_s: float = -math.inf


def calibrated(at_s: Floats, values: Floats, *, logs: bool = False, flat: bool = False) -> Baseline:
    """Learn pattern and spread from past values [N] at times [N] (seconds since 1970, rising), hourly.

    The pattern is an effect of each hour of the day and of each day; from eight weeks on, of each hour of the week.
    ``flat``: a past that never varied beyond its pattern is learnt too; whatever differs is then as far out as so many
    values can show. Raises DataError for fewer than two weeks, and without ``flat`` for such a past.
    """
    times, series = np.asarray(at_s, dtype=np.float64), _transformed(np.asarray(values, dtype=np.float64), logs=logs)
    there = np.isfinite(series)
    times, series = times[there], series[there]
    if len(series) < LEAST_POINTS:
        raise DataError(
            f"{len(series)} values to learn what is usual from; expected {LEAST_POINTS}, two weeks of hours"
        )
    design = _design(np.arange(_WEEK_HOURS), full=len(series) >= _FULL_WEEKS * _WEEK_HOURS)
    used = design[_slots(times)]
    middle = float(series.mean())  # of an hour that was never there the mean is expected, not 0
    effects, *_ = np.linalg.lstsq(used, series - middle, rcond=None)
    residuals = np.round(series - middle - used @ effects, _DIGITS)
    next_to = np.isclose(np.diff(times), _HOUR_S)
    before, after = residuals[:-1], residuals[1:]
    power = float(before[next_to] @ before[next_to]) if next_to.sum() >= _LEAST_PAIRS else 0.0
    dependence = float(np.clip(before[next_to] @ after[next_to] / power, 0.0, 0.95)) if power else 0.0
    alone = after * math.sqrt(1 - dependence**2)  # after a gap, as ``stepped`` has it
    free = np.linalg.matrix_rank(used) / len(series)
    innovations = np.where(next_to, after - dependence * before, alone) * math.sqrt((1 + free) / (1 - free))
    if not len(innovations) or (float(np.ptp(innovations)) == 0.0 and not flat):
        raise DataError("the past values do not vary beyond their pattern, so nothing says what a deviation is")
    ranked = np.sort(innovations)
    if len(ranked) > _KEPT:
        ranked = np.quantile(ranked, np.linspace(0, 1, _KEPT))
    return Baseline(
        pattern=tuple((middle + design @ effects).tolist()),
        dependence=dependence,
        scores=tuple(ranked.tolist()),
        points=len(innovations),
        logs=logs,
    )


def started(baseline: Baseline, *, per_point: float, sides: int = 1) -> Cusum:
    """A chart that raises ``per_point`` false alarms a value; ``sides`` are 2 where a fall alarms as well."""
    return Cusum(limit=limit_for(per_point / sides, baseline.points))


def stepped(baseline: Baseline, state: Cusum, at_s: float, value: float | None, *, sides: int = 1) -> Cusum:
    """Take in the next value; None, or one that is not finite, changes nothing. Times must rise."""
    if at_s <= state.at_s:
        raise DataError(f"a value at {at_s} s after one at {state.at_s} s: values are taken in as time goes")
    seen = float(_transformed(np.array([np.nan if value is None else value]), logs=baseline.logs)[0])
    if not math.isfinite(seen):
        return state
    residual = round(seen - usual_at(baseline, at_s), _DIGITS)
    known = math.isclose(at_s - state.at_s, _HOUR_S)
    expected = baseline.dependence * state.residual if known else 0.0
    shrunk = 1.0 if known else math.sqrt(1 - baseline.dependence**2)
    z = _normal_score(baseline, (residual - expected) * shrunk)
    most = 2 * state.limit
    upper = min(max(0.0, state.upper + z - SLACK), most)
    lower = min(max(0.0, state.lower - z - SLACK), most) if sides == 2 else 0.0
    return Cusum(
        limit=state.limit, upper=upper, lower=lower, residual=residual, at_s=at_s,
        alarming=_side(state.alarming, upper, lower, state.limit),
    )  # fmt: skip


def usual_at(baseline: Baseline, at_s: float) -> float:
    """What is usual at an instant, on the baseline's own scale (the logarithm where values are logarithms)."""
    return baseline.pattern[int(_slots(np.array([at_s]))[0])]


def cusum_signal(
    state: Cusum,
    value: float | None,
    *,
    rule: str,
    at_us: int,
    source: str,
    what: str,
    group: str = "operations",
    look_first: str = "",
) -> Signal:
    """The word after ``stepped`` took in ``value``; ``what`` names the series in the sentence."""
    way = {"up": "higher", "down": "lower", "": ""}[state.alarming]
    if value is None or not math.isfinite(value):
        word, sentence = Word.UNKNOWN, f"{what} was not measured this hour."
    elif way:
        word, sentence = Word.ALARM, f"{what} is {way} than usual at this hour, for hours in a row; now {value:.4g}."
    else:
        word, sentence = Word.CLEAR, f"{what} is as usual at this hour: {value:.4g}."
    evidence = {"value": value, "upper": state.upper, "lower": state.lower, "limit": state.limit}
    return Signal(
        rule=rule, word=word, at_us=at_us, source=source, group=group, sentence=sentence, evidence=evidence,
        look_first=look_first, chart=rule,
    )  # fmt: skip


def run_length(limit: float, *, mean: float = 0.0, spread: float = 1.0) -> float:
    """Values until a one-sided chart alarms, on average, when they come from a normal law (Siegmund 1985).

    >>> round(run_length(5.0)), round(run_length(8.0))
    (938, 19112)
    """
    drift = (mean - SLACK) / spread
    height = limit / spread + _OVERSHOOT
    if abs(drift) < 1e-9:
        return height**2
    return (math.exp(min(-2 * drift * height, 700.0)) + 2 * drift * height - 1) / (2 * drift**2)


def limit_for(per_point: float, points: int) -> float:
    """The limit of a one-sided chart with a rate of ``per_point`` false alarms a value, calibrated on ``points``.

    The rate is averaged over the errors of the estimated mean and spread; raises DataError where it is no rate.
    """
    if not 0 < per_point < 0.5:
        raise DataError(f"{per_point} false alarms per value; expected more than 0 and less than 0.5")
    from scipy.optimize import brentq  # noqa: PLC0415 - 20 MB, and only who sets a limit needs it

    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    weights = weights / weights.sum()
    means = nodes / math.sqrt(points)
    spreads = np.sqrt(np.maximum(2 * special.gammaincinv((points - 1) / 2, special.ndtr(nodes)) / (points - 1), 1e-3))

    def rate(limit: float) -> float:
        return float(
            sum(
                by_mean * by_spread / run_length(limit, mean=float(mean), spread=float(1 / spread))
                for mean, by_mean in zip(means, weights, strict=True)
                for spread, by_spread in zip(spreads, weights, strict=True)
            )
        )

    excess: Callable[[float], float] = lambda limit: math.log(rate(limit) / per_point)  # noqa: E731 - one use
    return float(brentq(excess, 0.01, 200.0, xtol=1e-4)) if excess(0.01) > 0 else 0.01


def _side(alarming: str, upper: float, lower: float, limit: float) -> str:
    if upper > limit or (alarming == "up" and upper > 0):
        return "up"
    if lower > limit or (alarming == "down" and lower > 0):
        return "down"
    return ""


def _transformed(values: Floats, *, logs: bool) -> Floats:
    if not logs:
        return values
    return np.log(np.where(values > 0, values, np.nan))


def _slots(at_s: Floats) -> NDArray[np.int64]:
    return np.asarray((at_s // _HOUR_S) % _WEEK_HOURS, dtype=np.int64)


def _design(slots: NDArray[np.int64], *, full: bool) -> Floats:
    """Indicators [168, effects]."""
    if full:
        return np.eye(_WEEK_HOURS)
    return np.hstack([np.eye(24)[slots % 24], np.eye(7)[slots // 24]])


def _normal_score(baseline: Baseline, innovation: float) -> float:
    """By rank among the calibration's, so at most what so many values can show."""
    ranked = np.array(baseline.scores)
    low, high = np.searchsorted(ranked, innovation, side="left"), np.searchsorted(ranked, innovation, side="right")
    place = float(np.clip((low + high) / 2, 0.5, len(ranked) - 0.5)) / len(ranked)
    return float(special.ndtri(place))
