"""PAPE: calibration on reference rows that are weighted to look like the window.

In: codes of reference rows and of a window's, the reference's scores and outcomes. Out: chances for the window, and how
many reference rows the weights leave. Laws: weights are finite and not negative; the same rows and seed give the same.

Białek et al. 2024 (arXiv 2401.08348): a classifier that tells window from reference gives the density ratio
P(window | row) / P(reference | row); an isotonic calibrator fitted with these weights replaces that of CBPE.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.measures.estimation.learning import normalised
from roadworthy.measures.estimation.trees import Codes, grow
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task

__all__ = ["ReferenceRows", "Weighted", "density_ratio", "weighted_chances"]

Floats = NDArray[np.float64]

_MOST = 8_000
"""Rows of either side that the classifier is shown."""
_ROUNDS = 40


class ReferenceRows(NamedTuple):
    """Reference rows themselves, where whoever asks has them: scored, with outcomes, and their columns."""

    sample: Sample
    frame: pl.DataFrame


class Weighted(NamedTuple):
    """Chances of the window's rows, and the reference rows that the weights leave (Kish 1965)."""

    chance: Floats
    effective: float


def density_ratio(reference: Codes, window: Codes, seed: int = 7) -> Floats:
    """How many times likelier each reference row [n] would be in the window: mean about 1."""
    rng = np.random.default_rng(seed)
    left, right = (
        part if part.shape[1] <= _MOST else part[:, np.sort(rng.choice(part.shape[1], _MOST, replace=False))]
        for part in (reference, window)
    )
    both = np.concatenate([left, right], axis=1)
    side = np.repeat([0, 1], [left.shape[1], right.shape[1]])
    prior = float(np.log(right.shape[1] / left.shape[1]))
    trees = grow(
        both, side, objective="binary", start=np.full(len(side), prior), rounds=_ROUNDS, leaf_rows=20, seed=seed
    )
    return np.asarray(np.exp(np.clip(trees.predict(reference)[:, 0], -12, 12)), dtype=np.float64)


def weighted_chances(sample: Sample, weights: Floats, scores: Floats) -> Weighted:
    """Calibrated with ``weights`` [n] on ``sample`` (classification), for the scores of a window."""
    effective = float(weights.sum() ** 2 / max(float((weights**2).sum()), 1e-300))
    if sample.task is Task.BINARY:
        return Weighted(_isotonic(sample.score, sample.y == 1, weights, scores), effective)
    per_class = [_isotonic(sample.score[:, k], sample.y == k, weights, scores[:, k]) for k in range(sample.class_count)]
    return Weighted(normalised(np.column_stack(per_class)), effective)


def _isotonic(scores: Floats, came: NDArray[np.bool_], weights: Floats, asked: Floats) -> Floats:
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415 - 150 MB; who looks needs none

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    fitted.fit(scores, came.astype(np.float64), sample_weight=weights)
    return np.asarray(fitted.predict(asked), dtype=np.float64)
