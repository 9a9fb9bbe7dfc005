"""Whether a packaged graph is still the model that was trained: parity, decisions, non-inferiority.

In: scores of two versions of one model on the same rows. Out: differences, and reasons to refuse. Laws: equal
scores are never refused where there are rows enough; what is not proven is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import ModelError
from roadworthy.measures.intervals import NotEnough, proportion, skewed_t
from roadworthy.measures.losses import row_losses
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Measurement
from roadworthy.records.project import Task
from roadworthy.standard import Requirement

__all__ = [
    "MAX_FLIPS",
    "MAX_LOSS_GAIN",
    "decisions",
    "flips_counted",
    "flips_estimated",
    "flips_unprovable",
    "framework_scores",
    "int8_refused",
    "parity_between",
]

MAX_FLIPS = 0.001
"""Greatest share of decisions that quantisation may change."""

MAX_LOSS_GAIN = 0.01
"""Greatest share by which quantisation may raise the mean loss."""

_CONFIDENCE = 0.95

Scores = NDArray[np.float64]


def framework_scores(path: Path, order: pl.Series) -> Scores:
    """The training framework's own predictions for the rows numbered ``order``: [N] or [N, K].

    Raises ModelError when a row has none or one that is not a number.
    """
    stored = pl.read_parquet(path, glob=False)
    columns = [name for name in stored.columns if name == "score" or name.startswith("score_")]
    joined = order.to_frame("_row").join(stored, on="_row", how="left", maintain_order="left").select(columns)
    matrix = joined.to_numpy().astype(np.float64)
    absent = int(np.count_nonzero(~np.isfinite(matrix).all(axis=1)))
    if absent:
        raise ModelError(f"{path} lacks predictions for {absent} of {len(order)} rows", next_step="roadworthy run")
    return matrix[:, 0] if matrix.shape[1] == 1 else matrix


def parity_between(packaged: Scores, framework: Scores, target_spread: float | None) -> float:
    """The greatest difference over all rows.

    Absolute for probabilities (``target_spread`` None); for regression relative to the larger of |prediction|
    and the target's standard deviation ``target_spread``. Raises ModelError when the shapes differ.
    """
    if packaged.shape != framework.shape:
        raise ModelError(f"the package gives scores {packaged.shape}, the framework {framework.shape}")
    if not packaged.size:
        return 0.0
    gaps = np.abs(packaged - framework)
    if target_spread is not None:
        gaps /= np.maximum(np.maximum(np.abs(framework), target_spread), np.finfo(np.float64).tiny)
    return float(gaps.max())


def decisions(scores: Scores, task: Task, threshold: float | None) -> NDArray[np.int64]:
    """Class indices: at the threshold (0.5 where none is set), of the highest score, or 0 for regression."""
    if task is Task.REGRESSION:
        return np.zeros(len(scores), dtype=np.int64)
    if scores.ndim == 1:
        return (scores >= (0.5 if threshold is None else threshold)).astype(np.int64)
    highest: NDArray[np.int64] = np.argmax(scores, axis=1).astype(np.int64)
    return highest


def int8_refused(before: Sample, after: Sample, threshold: float | None) -> str:
    """Why the quantised graph may not ship; empty where its right to is proven on these rows.

    The samples hold the same rows with the scores of both graphs. Paired per row: the upper 95 % bound of the
    mean rise in loss must lie within 1 % of the mean loss, and that of the share of changed decisions (Clopper
    and Pearson's, at the effective size where rows are clustered by entity) within 0.1 %.
    """
    changed = decisions(after.score, after.task, threshold) != decisions(before.score, before.task, threshold)
    if before.task is not Task.REGRESSION:
        try:
            most = proportion(changed, before.clusters, _CONFIDENCE).upper
        except NotEnough as short:
            return f"the training part cannot tell how many decisions change: {short.message}"
        if most > MAX_FLIPS:
            return (
                f"{int(changed.sum())} of {len(changed)} decisions change, so that up to {most:.2%} may; "
                f"at most {MAX_FLIPS:.1%} is allowed"
            )
    losses = row_losses(before)
    rise, base = row_losses(after) - losses, float(np.mean(losses))
    if not np.any(rise):
        return ""
    mean = float(np.mean(rise))
    try:
        bounds = skewed_t(mean, (rise - mean) / len(rise), before.clusters, _CONFIDENCE)
    except NotEnough as short:
        return f"the training part cannot tell whether it is worse: {short.message}"
    if bounds.upper > MAX_LOSS_GAIN * base:
        share = bounds.upper / base if base else math.inf
        return f"its mean loss may be up to {share:.2%} higher (95 %); at most {MAX_LOSS_GAIN:.0%} is allowed"
    return ""


def flips_counted(changed: NDArray[np.bool_]) -> Measurement:
    """``decision_flips`` of a graph that computes the same up to rounding: a count on these very rows [n]."""
    n = len(changed)
    if not n:
        return Measurement(metric="decision_flips", insufficient="the holdout has no row")
    share = float(np.mean(changed))
    method = f"counted on these {n:,} rows"
    return Measurement(metric="decision_flips", value=share, lower=share, upper=share, n=n, method=method)


def flips_estimated(
    changed: NDArray[np.bool_], clusters: NDArray[np.int64] | None, confidence: float = _CONFIDENCE
) -> Measurement:
    """``decision_flips`` of a graph that computes otherwise: a share with bounds, for rows like these [n]."""
    n = len(changed)
    try:
        bounds = proportion(changed, clusters, confidence)
    except NotEnough as short:
        return Measurement(metric="decision_flips", n=n, confidence=confidence, insufficient=short.message)
    return Measurement(
        metric="decision_flips",
        value=bounds.value,
        lower=bounds.lower,
        upper=bounds.upper,
        confidence=confidence,
        n=n,
        clusters=bounds.clusters,
        method=bounds.method,
    )


def flips_unprovable(n: int, clusters: NDArray[np.int64] | None, required: Sequence[Requirement]) -> str:
    """Why ``n`` holdout rows could not prove the bound on changed decisions even if none changed; else empty."""
    for item in required:
        if item.metric != "decision_flips":
            continue
        best = flips_estimated(np.zeros(n, dtype=np.bool_), clusters, item.confidence).upper
        if best is None or best > item.bound:
            return f"{n:,} holdout rows are too few to prove {item.line()}, were there no change at all"
    return ""
