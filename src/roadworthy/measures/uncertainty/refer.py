"""When a person decides in place of the model: a plan that is fitted once and applied to every live row.

In: rows that the model was not trained on with their scores, and rows that it was trained on. Out: a ``ReferPlan``,
numbers and names alone. Laws: of the rows that are answered, the share that is answered wrongly is at most
1 − ``confidence``, on rows exchangeable with those that calibrated it; a row is answered only where its conformal set
is the one label that is decided (regression: where its interval is narrower than one that needs no model); no row of
the data is in a plan.

Conformal sets of one level hold the truth of all rows that often, which says little of the rows with a single label:
they may well be the worse half. So the level is raised until the rows that would be answered are right often enough
themselves: the lowest level at which (wrong + 1) / answered is at most 1 − ``confidence``, which is the rule of
conformal selection (Jin and Candès 2023).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.measures.intervals import NotEnough
from roadworthy.measures.label_sets import ConformalPlan
from roadworthy.measures.refer_plan import ReferPlan, answered
from roadworthy.measures.samples import Sample
from roadworthy.measures.uncertainty.conformal import fit_conformal
from roadworthy.measures.uncertainty.support import fit_support
from roadworthy.records.project import ReferSpec

__all__ = ["fit_refer"]

_LEVELS = 100
_SUPPORT_ROWS = 6_000


def fit_refer(
    declared: ReferSpec,
    sample: Sample,
    decided: NDArray[np.intp] | None,
    *,
    rows: pl.DataFrame,
    columns: Sequence[str],
    rng: np.random.Generator,
) -> ReferPlan:
    """The plan of a declaration.

    ``sample`` are scored rows that the model was not trained on, ``decided`` the class index of each decision (None for
    regression); ``rows`` are training rows, ``columns`` those of them that the model reads. Raises NotEnough.
    """
    plan = ReferPlan(confidence=declared.confidence)
    if declared.confidence is not None:
        plan = _calibrated(declared.confidence, sample, decided)
    if not declared.outside_support:
        return plan
    drawn = rows[np.sort(rng.permutation(rows.height)[:_SUPPORT_ROWS])]
    return msgspec.structs.replace(plan, support=fit_support(drawn, columns, rng, grouped=True))


def _calibrated(confidence: float, sample: Sample, decided: NDArray[np.intp] | None) -> ReferPlan:
    """The lowest level of sets at which answered rows are right often enough; where there is none, nothing is sure."""
    first = plan = fit_conformal(sample, confidence)
    for level in np.linspace(confidence, 1, _LEVELS, endpoint=False).tolist():
        try:
            plan = fit_conformal(sample, level)
        except NotEnough:
            break
        plan = msgspec.structs.replace(plan, usual_width=first.usual_width)
        sure, wrong = _held(plan, sample, decided)
        if not sure or wrong + 1 <= (1 - confidence) * sure + 1e-9:
            return _plan(confidence, plan, sample, decided)
    never = msgspec.structs.replace(plan, threshold=1.0) if decided is not None else plan
    return _plan(confidence, msgspec.structs.replace(never, usual_width=-1.0), sample, decided)


def _held(plan: ConformalPlan, sample: Sample, decided: NDArray[np.intp] | None) -> tuple[int, int]:
    """How many rows are answered, and how many of those wrongly."""
    sure, applied = answered(plan, sample.score, decided)
    missed = (sample.y < applied[:, 0]) | (sample.y > applied[:, 1]) if decided is None else decided != sample.y
    return int(sure.sum()), int((sure & missed).sum())


def _plan(confidence: float, plan: ConformalPlan, sample: Sample, decided: NDArray[np.intp] | None) -> ReferPlan:
    sure, wrong = _held(plan, sample, decided)
    return ReferPlan(
        confidence=confidence,
        conformal=plan,
        referred=1 - sure / sample.n,
        wrong=wrong / sure if sure else 0.0,
    )
