"""Quality before labels come: from a window's scores to ``Measurement``s, or to why it cannot be told.

In: an ``EstimatorState`` and a window: scores, perhaps decisions, the rows behind them, reference rows. Out: one
``Measurement`` per metric, phase live, ``method`` beginning with "estimated: ". Laws: labels of the window play no
part; a check that broke is an error, never a number; more confidence never narrows; the same window gives the same
figures.

Where nothing can be said: too few rows; too many rows with a value that the reference has never had; too few reference
rows that are like the window's; a metric whose estimates were no better than a constant in the back-test. Concept
drift (the outcome depends on the row otherwise than before) cannot be seen without labels: ``rectifying`` adds some.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError, UsageError
from roadworthy.measures.estimation.bands import bounds
from roadworthy.measures.estimation.state import EstimatorState
from roadworthy.measures.estimation.support import MOST_BEYOND, Support
from roadworthy.measures.estimation.telling import Telling
from roadworthy.measures.estimation.valuing import valued
from roadworthy.measures.estimation.weighting import ReferenceRows
from roadworthy.measures.intervals import NotEnough
from roadworthy.measures.quality import MOST_SLICES
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.standard.catalogue import metric_named

__all__ = ["MIN_ROWS", "MIN_SUPPORT", "estimated", "estimated_of", "estimated_slices"]

MIN_ROWS = 50
"""Windows of fewer rows are not estimated: their realised value could be anything."""

MIN_SUPPORT = 100
"""With fewer reference rows' worth like the window's nothing is estimated."""


def estimated(
    state: EstimatorState,
    scores: NDArray[np.floating],
    *,
    frame: pl.DataFrame | None = None,
    decisions: NDArray[Any] | None = None,
    metrics: Iterable[str] | None = None,
    confidence: float = 0.95,
    reference: ReferenceRows | None = None,
) -> tuple[Measurement, ...]:
    """Estimate each of ``metrics`` (default: all that can be) on a window without labels.

    ``scores`` [n] or [n, K]; ``decisions`` [n] (binary; default: by the state's threshold); ``frame`` the rows behind
    them, without which the score alone speaks; ``reference`` rows let PAPE be used where the back-test chose it.
    ``lower`` and ``upper`` each hold for the realised value at ``confidence``: 0.975 gives a band of 95 %. Raises
    UnknownName for a metric that is not in the catalogue, DataError when the window does not fit the state.
    """
    return estimated_of(Telling(state, scores, frame, decisions, reference), metrics, confidence=confidence)


def estimated_of(
    told: Telling, metrics: Iterable[str] | None = None, *, confidence: float = 0.95
) -> tuple[Measurement, ...]:
    """As ``estimated``, of rows that are asked more than once: what they have in common is worked out once."""
    _confident(confidence)
    names = told.state.known if metrics is None else tuple(metrics)
    return tuple(_measured(told, metric_named(name).name, confidence) for name in names)


def estimated_slices(
    state: EstimatorState,
    scores: NDArray[np.floating],
    groups: NDArray[Any],
    column: str,
    metric: str,
    *,
    frame: pl.DataFrame | None = None,
    decisions: NDArray[Any] | None = None,
    expected: Iterable[str] = (),
    confidence: float = 0.95,
    reference: ReferenceRows | None = None,
) -> tuple[Measurement, ...]:
    """One metric within each group of ``groups`` [n], bounds at 1 − (1 − confidence) / k over k groups.

    As ``quality.slice_measure``: together the bounds hold at ``confidence``; a group that is ``expected`` and has no
    row says so. Raises DataError for more than 50 groups.
    """
    _confident(confidence)
    labels = np.array(["missing" if label is None else str(label) for label in groups], dtype=object)
    if len(labels) != len(scores):
        raise DataError(f"{len(labels)} group labels for {len(scores)} rows")
    names = sorted({*labels, *expected})
    if len(names) > MOST_SLICES:
        raise DataError(f"column {column} has {len(names)} values, more than the {MOST_SLICES} that can be slices")
    each = 1 - (1 - confidence) / max(len(names), 1)
    whole, name = Telling(state, scores, frame, decisions, reference), metric_named(metric).name
    return tuple(
        msgspec.structs.replace(_measured(whole.take(labels == group), name, each), slice=f"{column}={group}")
        for group in names
    )


def _confident(confidence: float) -> None:
    if not 0.5 < confidence < 1:
        raise UsageError(f"confidence {confidence} is out of range: a number above 0.5 and below 1 is expected")


def _measured(told: Telling, metric: str, confidence: float) -> Measurement:
    facts: dict[str, Any] = {"metric": metric, "confidence": confidence, "n": told.n, "phase": Phase.LIVE}
    facts["unit"] = metric_named(metric).unit
    try:
        return _told(told, metric, confidence, facts)
    except NotEnough as reason:
        sentence = str(reason)
        why = sentence if sentence.startswith("cannot estimate") else f"cannot estimate: {sentence}"
        return Measurement(**facts, method="estimated", insufficient=why)
    except Exception as failure:  # noqa: BLE001 - whatever broke the check is evidence, and the judge must see it
        sentence = f"{metric} could not be estimated: {type(failure).__name__}: {failure}"
        return Measurement(**facts, method="estimated", error=sentence)


def _told(told: Telling, metric: str, confidence: float, facts: dict[str, Any]) -> Measurement:
    plan = told.state.plans.get(metric)
    if plan is None:
        raise NotEnough("nothing is known of this metric without labels")
    if not plan.method:
        raise NotEnough(plan.why)
    if told.n < MIN_ROWS:
        raise NotEnough(f"needs at least {MIN_ROWS} rows, has {told.n}")
    method = told.usable(plan.method)
    support = told.support(method)
    _refuse(support)
    moments = valued(metric, told.told(method))
    catalogued = metric_named(metric)
    lower, upper = bounds(
        moments,
        confidence,
        rows=told.n,
        support=support.rows,
        between=plan.between[method],
        design=told.state.design,
        limits=(catalogued.low, catalogued.high),
    )
    if not np.isfinite([moments.value, lower, upper]).all():
        raise DataError(f"the estimate came out as {moments.value}")
    why = plan.why if method == plan.method else f"{plan.why}; here without columns or reference rows, so {method}"
    return Measurement(
        **facts, value=moments.value, lower=lower, upper=upper, method=f"estimated: {method}", reason=why
    )


def _refuse(support: Support) -> None:
    if support.beyond > MOST_BEYOND:
        raise NotEnough(
            f"{support.beyond:.0%} of the rows have a {support.strange} that the reference has never had "
            f"(at most {MOST_BEYOND:.0%} may)"
        )
    if support.rows < MIN_SUPPORT:
        raise NotEnough(
            f"the reference has only {support.rows:.0f} rows' worth like these by {support.column}, "
            f"at least {MIN_SUPPORT} are needed"
        )
