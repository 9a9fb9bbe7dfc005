"""What is learnt of the reference: from a score, and from a row, to the chance of each outcome (or the error).

In: a scored ``Sample`` and the rows behind it. Out: ``Learned``: calibrators, bins and trees, plain data. Laws: no row
of the data is kept; chances lie within [0, 1], those of several classes add to one; the same rows and seed give the
same bytes.

Two ways to a chance. *CBPE*: isotonic calibration of the score alone. *Conditional*: small boosted trees on score and
columns that begin from the calibrated score and add what the columns say beyond it; where only the mix of rows changes,
P(outcome | row) stays what it was, so that this needs no density ratio and works one row at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.measures.calibrators import Calibrator, fit_calibrators
from roadworthy.measures.estimation.binning import Binning, fit_binning
from roadworthy.measures.estimation.trees import Codes, Trees, grow
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task

__all__ = ["MOST_TREE_CLASSES", "ROUNDS", "Learned", "learn", "normalised"]

Floats = NDArray[np.float64]

MOST_TREE_CLASSES = 10
"""With more classes the score alone is calibrated: trees for each would not fit into a bundle."""

ROUNDS = (15, 30, 60, 120)
"""How many rounds of trees are tried: few where rows are few."""

_LEAST_ROWS = 750


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """Calibrators (one for the event, or one per class), bins, and trees: of chances, or of a regression's errors."""

    task: Task
    rows: int
    calibrators: tuple[Calibrator, ...] = ()
    binning: Binning
    trees: Trees | None = None
    errors: tuple[Trees, ...] = ()
    scale: float = 1.0

    def calibrated(self, scores: Floats) -> Floats:
        """Chances from scores alone: [n] for one event, [n, K] for classes."""
        if self.task is Task.BINARY:
            return self.calibrators[0].apply(scores)
        return normalised(np.column_stack([one.apply(scores[:, k]) for k, one in enumerate(self.calibrators)]))

    def conditional(self, scores: Floats, codes: Codes) -> Floats:
        """Chances from scores and columns: as ``calibrated``, moved by what the trees add."""
        start = self._raw(self.calibrated(scores))
        if self.trees is None:
            return self.calibrated(scores)
        raw = start + self.trees.predict(codes)
        if self.task is Task.BINARY:
            return np.asarray(1 / (1 + np.exp(-raw[:, 0])), dtype=np.float64)
        raw = np.exp(raw - raw.max(axis=1, keepdims=True))
        return np.asarray(raw / raw.sum(axis=1, keepdims=True), dtype=np.float64)

    def shortened(self, rounds: int) -> Learned:
        """The same with the trees of the first so many rounds alone."""
        if self.trees is None:
            return self
        return msgspec.structs.replace(self, trees=self.trees.first(rounds * self.trees.outputs))

    def expected_errors(self, codes: Codes) -> tuple[Floats, Floats, Floats]:
        """Of a regression: expected absolute, squared and signed error [n] each."""
        absolute, square, signed = (one.predict(codes)[:, 0] for one in self.errors)
        first = np.maximum(absolute, 0.0) * self.scale
        return first, np.maximum(square * self.scale**2, first**2), signed * self.scale

    def _raw(self, chance: Floats) -> Floats:
        """Log odds [n, 1], or logarithms [n, K]; no chance is nearer to 0 or 1 than half a reference row."""
        least = 0.5 / (self.rows + 1)
        held = np.clip(chance, least, 1 - least)
        if self.task is Task.BINARY:
            return np.asarray(np.log(held / (1 - held))[:, None], dtype=np.float64)
        return np.asarray(np.log(held), dtype=np.float64)


def learn(sample: Sample, frame: pl.DataFrame | None, columns: Sequence[str]) -> Learned:
    """Learn from reference rows. Trees need 750 rows, columns and at most 10 classes."""
    score = np.asarray(sample.score, dtype=np.float64)
    if sample.task is Task.REGRESSION:
        return _learn_errors(sample, frame, columns)
    calibrators = fit_calibrators(score, sample.y)
    bare = Learned(task=sample.task, rows=sample.n, calibrators=calibrators, binning=Binning(rows=sample.n, scores=()))
    chance = bare.calibrated(score)
    came = sample.y if sample.task is Task.BINARY else sample.y == sample.decision
    said = chance if sample.task is Task.BINARY else chance[np.arange(sample.n), sample.decision]
    learned = msgspec.structs.replace(bare, binning=fit_binning(score, came - said, frame, columns))
    enough = sample.n >= _LEAST_ROWS and sample.class_count <= MOST_TREE_CLASSES and len(np.unique(sample.y)) > 1
    if not learned.binning.columns or not enough:
        return learned
    codes, _ = learned.binning.codes(score, frame)
    many = sample.class_count if sample.task is Task.MULTICLASS else 1
    trees = grow(
        codes,
        sample.y,
        objective="multiclass" if many > 1 else "binary",
        start=learned._raw(chance),  # noqa: SLF001 - the same class's own arithmetic
        rounds=ROUNDS[-1] if many == 1 else max(ROUNDS[-1] // many, ROUNDS[0]),
        classes=many,
        seed=sample.seed,
    )
    return msgspec.structs.replace(learned, trees=trees)


def _learn_errors(sample: Sample, frame: pl.DataFrame | None, columns: Sequence[str]) -> Learned:
    """Trees of absolute, squared and signed error, in units of the root mean square."""
    estimate = np.asarray(sample.score, dtype=np.float64)
    error = np.asarray(sample.y, dtype=np.float64) - estimate
    scale = float(np.sqrt(np.mean(error**2))) or 1.0
    binning = fit_binning(estimate, error / scale, frame, columns)
    codes, _ = binning.codes(estimate, frame)
    leaf = int(np.clip(sample.n // 100, 5, 50))
    grown = tuple(
        _from_mean(codes, target, leaf, sample.seed)
        for target in (np.abs(error) / scale, (error / scale) ** 2, error / scale)
    )
    return Learned(task=sample.task, rows=sample.n, binning=binning, errors=grown, scale=scale)


def _from_mean(codes: Codes, target: Floats, leaf_rows: int, seed: int) -> Trees:
    """Trees of what is above the mean, and the mean as one more tree of a single leaf."""
    mean = float(target.mean())
    grown = grow(codes, target - mean, objective="regression", rounds=60, rate=0.08, leaf_rows=leaf_rows, seed=seed)
    return msgspec.structs.replace(
        grown, sizes=(*grown.sizes, 1), leaves=grown.leaves + np.array([mean], dtype="<f4").tobytes()
    )


def normalised(chances: Floats) -> Floats:
    """Chances [n, K] that add to one; equal ones where all are zero."""
    total = chances.sum(axis=1, keepdims=True)
    shared = np.where(total > 0, chances / np.maximum(total, 1e-300), 1 / chances.shape[1])
    return np.asarray(shared, dtype=np.float64)
