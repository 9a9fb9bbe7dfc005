"""Whether a packaged graph is still the model that was trained: parity, decisions, non-inferiority.

In: scores of two versions of one model on the same rows. Out: differences, and reasons to refuse. Laws: equal
scores are never refused where there are rows enough; what is not proven is refused.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import ModelError
from roadworthy.measures.intervals import NotEnough, clopper_pearson, skewed_t
from roadworthy.measures.losses import row_losses
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task

__all__ = [
    "MAX_FLIPS",
    "MAX_LOSS_GAIN",
    "decisions",
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
    mean rise in loss must lie within 1 % of the mean loss, and the upper Clopper–Pearson bound of changed
    decisions within 0.1 %.
    """
    changed = decisions(after.score, after.task, threshold) != decisions(before.score, before.task, threshold)
    if before.task is not Task.REGRESSION:
        _, most = clopper_pearson(float(changed.sum()), float(len(changed)), _CONFIDENCE)
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
