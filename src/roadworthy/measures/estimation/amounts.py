"""Expected quality of a regression: from the error to be expected of each row.

In: estimates, and of each row's error what ``Errors`` says. Out: ``Moments``. This is direct loss estimation (DLE:
a model of the loss given columns and estimate, learnt on the reference).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.estimation.expected import Moments
from roadworthy.measures.intervals import NotEnough

__all__ = ["AMOUNTS", "Errors", "expected_amounts"]

Floats = NDArray[np.float64]

AMOUNTS = ("mae", "rmse", "r2")
"""Metrics that can be expected of a regression."""


class Errors(NamedTuple):
    """Per row [n]: the estimate; the expected absolute, squared and signed error (truth less estimate).

    ``tail`` is the mean of squared-error deviations over the mean of squares (4 for normal errors: kurtosis + 1),
    ``lean`` the skewness of absolute errors, ``mean`` the target's mean in the training part.
    """

    estimate: Floats
    absolute: Floats
    square: Floats
    signed: Floats
    tail: float
    lean: float
    mean: float


def expected_amounts(metric: str, rows: Errors) -> Moments:
    """One of AMOUNTS."""
    n = len(rows.estimate)
    squares = float(rows.square.mean())
    spread = (rows.tail - 1) * float(np.square(rows.square).sum()) / n**2
    if metric == "mae":
        variance = np.maximum(rows.square - rows.absolute**2, 0.0)
        return Moments(
            float(rows.absolute.mean()), float(variance.sum()) / n**2, rows.lean * float((variance**1.5).sum()) / n**3
        )
    if metric == "rmse":
        root = math.sqrt(max(squares, 1e-300))
        return Moments(root, spread / (4 * root**2), 0.0)
    away = rows.estimate - rows.mean
    base = float((away**2 + 2 * away * rows.signed + rows.square).mean())
    if base <= 0:
        raise NotEnough("the target is expected to be constant here, so that there is nothing to explain")
    ratio = squares / base
    # the error moves loss and base alike; what it moves the base by through the estimate comes on top
    own = float((((1 - ratio) ** 2) * (rows.tail - 1) * rows.square**2 + (2 * ratio * away) ** 2 * rows.square).sum())
    return Moments(1 - ratio, own / (n * base) ** 2, 0.0)
