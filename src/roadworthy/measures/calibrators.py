"""Isotonic calibrators: from a score to the frequency that it stood for, as two plain arrays.

In: out-of-fold scores of the training part and their outcomes. Out: ``Calibrator`` structs that a bundle carries
as JSON, for estimates of quality before labels come. Laws: a calibrator is monotone, stays within [0, 1] and, up
to 1,000 points, keeps the mean of the outcomes that it was fitted on.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import DataError

__all__ = ["Calibrator", "fit_calibrators"]

_POINTS = 1000


class Calibrator(msgspec.Struct, frozen=True, kw_only=True):
    """A monotone, piecewise linear map: ``x`` rises strictly, ``y`` never falls; constant outside."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    rows: int

    def apply(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities of scores [N]."""
        calibrated: NDArray[np.float64] = np.interp(scores, np.array(self.x), np.array(self.y))
        return calibrated


def fit_calibrators(scores: NDArray[np.float64], outcomes: NDArray[np.int64]) -> tuple[Calibrator, ...]:
    """One calibrator for the event (scores [N]), or one per class against the rest (scores [N, K]).

    ``outcomes`` [N] are class indices. Isotonic least squares by pool-adjacent-violators (Zadrozny and Elkan
    2002, "Transforming Classifier Scores into Accurate Multiclass Probability Estimates"). Raises DataError when
    lengths differ or there are no rows.
    """
    matrix = np.asarray(scores, dtype=np.float64).reshape(len(scores), -1)
    if len(matrix) != len(outcomes) or not len(matrix):
        raise DataError(f"{len(matrix)} scores and {len(outcomes)} outcomes do not make a calibrator")
    events = [outcomes == 1] if matrix.shape[1] == 1 else [outcomes == index for index in range(matrix.shape[1])]
    return tuple(_fitted(matrix[:, index], event) for index, event in enumerate(events))


def _fitted(scores: NDArray[np.float64], event: NDArray[np.bool_]) -> Calibrator:
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415 - 150 MB; who looks needs none

    isotonic = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    isotonic.fit(scores, event.astype(np.float64))
    x, y = np.asarray(isotonic.X_thresholds_), np.asarray(isotonic.y_thresholds_)
    if len(x) > _POINTS:
        kept = np.unique(np.linspace(0, len(x) - 1, _POINTS).round().astype(int))
        x, y = x[kept], y[kept]
    return Calibrator(x=tuple(map(float, x)), y=tuple(map(float, y)), rows=len(scores))
