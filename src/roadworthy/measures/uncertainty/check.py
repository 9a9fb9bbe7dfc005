"""The check "uncertainty": conformal sets, support and referral of one model on its labelled rows.

In: ``Examined``, ``Brief``. Out: ``Found``. Laws: what is measured was not calibrated on itself; a row of the training
set is never taken for one outside of it by construction; more rows are never looked at than the brief allows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.intervals import Bounds, NotEnough
from roadworthy.measures.uncertainty.conformal import LEVEL
from roadworthy.measures.uncertainty.crossfit import (
    Measured,
    mean_pinball,
    mean_size,
    measure_parts,
    share_covered,
    share_referred,
)
from roadworthy.measures.uncertainty.groups import conformal_exhibits
from roadworthy.measures.uncertainty.parts import Parts, parts_of, share_of
from roadworthy.measures.uncertainty.referral import doubts, referral_exhibit, referral_finding
from roadworthy.measures.uncertainty.support import fit_support
from roadworthy.records.evidence import Finding, Found, Measurement
from roadworthy.records.project import Task
from roadworthy.standard.catalogue import CATALOGUE

__all__ = ["uncertainty"]

_NAME = "uncertainty"
_LEAST_ROWS = 100
_LEAST_CALIBRATION = 50
_SUPPORT_ROWS = (6_000, 1_500)
_TOLERATED = 0.02
_MUCH_OUTSIDE = 0.05


def uncertainty(examined: Examined, brief: Brief) -> Found:
    """``coverage``, ``set_size`` or ``pinball``, ``outside_support``, ``referred``, of at most 40,000 rows."""
    rng = brief.rng(_NAME)
    most = brief.most(40_000, 8_000)
    if examined.sample.n > most:
        examined = examined.take(np.sort(rng.permutation(examined.sample.n)[:most]))
    parts = parts_of(examined, rng)
    fewest = min((len(part.calibrate) for part in parts.parts), default=0)
    if examined.sample.n < _LEAST_ROWS or fewest < _LEAST_CALIBRATION:
        reason = (
            f"needs at least {_LEAST_ROWS} rows, {_LEAST_CALIBRATION} of them to calibrate, has {examined.sample.n}"
        )
        reason += f" with {fewest} to calibrate" if examined.sample.n >= _LEAST_ROWS else ""
        return Found(measurements=tuple(_lacking(name, examined, brief, reason) for name in _metrics(examined.task)))
    measured = measure_parts(examined.sample, parts)
    try:
        outside = _outside(examined, parts, measured, brief)
        unknown = ""
    except NotEnough as reason:
        outside, unknown = None, str(reason)
    return _found(examined, brief, measured, outside, unknown)


def _found(
    examined: Examined, brief: Brief, measured: Measured, outside: NDArray[np.bool_] | None, unknown: str
) -> Found:
    sample, ways = measured.sample, measured.ways
    refers = measured.refers if outside is None else measured.refers | outside
    told: dict[str, Callable[[float], Bounds]] = {
        "coverage": lambda level: share_covered(measured, level),
        "referred": lambda level: share_referred(refers, measured, level),
    }
    if sample.task is Task.REGRESSION:
        told["pinball"] = lambda level: mean_pinball(measured, level)
    else:
        told["set_size"] = lambda level: mean_size(measured, level)
    if outside is not None:
        told["outside_support"] = lambda level: share_of(outside, ways, level)
    measurements = [_measurement(name, measured, brief, bounds) for name, bounds in told.items()]
    if outside is None:
        measurements.append(_lacking("outside_support", examined, brief, unknown))
    by_name = {one.metric: one for one in measurements}
    confidence = brief.confidence("referred")
    doubt = doubts(sample, measured.size)
    if outside is not None:  # a row unlike all others is less certain than any score of it
        doubt = np.where(outside, doubt + float(np.ptp(doubt)) + 1.0, doubt)
    findings = (
        *_coverage_finding(by_name["coverage"], measured),
        *_support_finding(by_name["outside_support"]),
        *referral_finding(sample, ways, refers, confidence),
    )
    curve = referral_exhibit(sample, ways, doubt, float(refers.mean()), confidence)
    return Found(
        measurements=tuple(measurements),
        findings=findings,
        exhibits=(*conformal_exhibits(examined, measured, brief.confidence("coverage")), curve),
    )


def _metrics(task: Task) -> tuple[str, ...]:
    own = "pinball" if task is Task.REGRESSION else "set_size"
    return ("coverage", own, "referred", "outside_support")


def _outside(examined: Examined, parts: Parts, measured: Measured, brief: Brief) -> NDArray[np.bool_]:
    """Which measured rows are outside the support of the training rows, or of the rows that calibrate theirs."""
    columns = [name for name in examined.columns if name != examined.time]
    rng, most = brief.rng(f"{_NAME} support"), brief.most(*_SUPPORT_ROWS)
    outside = np.zeros(len(measured.places), dtype=np.bool_)
    if examined.train is not None:
        train = examined.train
        drawn = np.sort(rng.permutation(train.height)[:most])
        plan = fit_support(train[drawn], [name for name in columns if name in train.columns], rng)
        return np.asarray(plan.apply(examined.rows[measured.places]) <= plan.outside)
    for number, part in enumerate(parts.parts):
        drawn = np.sort(rng.permutation(part.calibrate)[:most])
        plan = fit_support(examined.rows[drawn], columns, rng)
        own = measured.part == number
        outside[own] = plan.apply(examined.rows[measured.places[own]]) <= plan.outside
    return outside


def _measurement(metric: str, measured: Measured, brief: Brief, told: Callable[[float], Bounds]) -> Measurement:
    confidence, unit, n = brief.confidence(metric), CATALOGUE[metric].unit, len(measured.places)
    try:
        bounds = told(confidence)
    except NotEnough as reason:
        return Measurement(
            metric=metric, unit=unit, confidence=confidence, n=n, insufficient=_reason(metric, str(reason))
        )
    return Measurement(
        metric=metric,
        value=bounds.value,
        lower=bounds.lower,
        upper=bounds.upper,
        confidence=confidence,
        n=n,
        clusters=bounds.clusters,
        unit=unit,
        method=bounds.method,
    )


def _lacking(metric: str, examined: Examined, brief: Brief, reason: str) -> Measurement:
    return Measurement(
        metric=metric,
        unit=CATALOGUE[metric].unit,
        confidence=brief.confidence(metric),
        n=examined.sample.n,
        insufficient=_reason(metric, reason),
    )


def _reason(metric: str, reason: str) -> str:
    return f"{metric} {reason}" if reason.startswith("needs") else f"{metric} cannot be measured: {reason}"


def _coverage_finding(coverage: Measurement, measured: Measured) -> tuple[Finding, ...]:
    """Suspected where sets provably hold the truth in fewer than 88 % of rows."""
    if coverage.value is None or coverage.upper is None or coverage.upper >= LEVEL - _TOLERATED:
        return ()
    which = "later rows" if measured.ordered else "rows of other entities"
    sentence = (
        f"Sets that held the truth in {LEVEL:.0%} of the rows that they were calibrated on hold it in "
        f"{coverage.value:.1%} of {which} (at most {coverage.upper:.1%} with {coverage.confidence:.0%} confidence): "
        "the model is less sure of its ground there than its scores say."
    )
    details = {"coverage": coverage.value, "upper": coverage.upper, "level": LEVEL}
    return (Finding(kind="undercoverage", subject="coverage", grade="suspects", sentence=sentence, details=details),)


def _support_finding(outside: Measurement) -> tuple[Finding, ...]:
    """Suspected where provably more than a twentieth of the rows are unlike those of training."""
    if outside.value is None or outside.lower is None or outside.lower <= _MUCH_OUTSIDE:
        return ()
    sentence = (
        f"{outside.value:.1%} of the rows (at least {outside.lower:.1%} with {outside.confidence:.0%} confidence) are "
        "unlike 99 of 100 rows that the model was trained on: what it says of them is guesswork."
    )
    details = {"share": outside.value, "lower": outside.lower}
    return (Finding(kind="outside_support", subject="rows", grade="suspects", sentence=sentence, details=details),)
