"""Whether the reference can speak for a window: how many of its rows are like the window's.

In: codes of a window's rows and the reference's counts by code. Out: the effective number of reference rows, and the
share of rows that the reference has nothing like. Law: a window drawn from the reference keeps all of it, on average.

For each column the reference is weighted to the window's shares; weights w leave (Σ w)² / Σ w² of its rows (Kish 1965).
The least over columns and scores counts: columns together can only leave less. What chance alone makes of the window's
shares is taken off.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.estimation.binning import Binning
from roadworthy.measures.estimation.trees import Codes

__all__ = ["MOST_BEYOND", "Support", "effective_rows", "supported"]

MOST_BEYOND = 0.2
"""With a greater share of rows whose value of some column the reference has never had nothing is estimated."""


class Support(NamedTuple):
    """Effective reference rows and the column that leaves so few; the greatest share of rows beyond the reference.

    ``strange`` is the column whose values these are.
    """

    rows: float
    column: str
    beyond: float
    strange: str = "score"


def supported(binning: Binning, seen: Codes, beyond: dict[str, float], *, columns: bool = True) -> Support:
    """Of codes [s, n] and shares beyond by column; without ``columns`` by the scores alone."""
    parts = (*binning.scores, *(binning.columns if columns else ()))
    left = [
        effective_rows(np.array(bins.counts, dtype=np.float64), line) for bins, line in zip(parts, seen, strict=False)
    ]
    least = int(np.argmin(left))
    strange = max(beyond, key=lambda name: beyond[name])
    return Support(max(left[least], 1.0), parts[least].name, beyond[strange], strange)


def effective_rows(
    counts: NDArray[np.float64], line: NDArray[np.uint8], weight: NDArray[np.float64] | None = None
) -> float:
    """Reference rows left when their shares ``counts`` become those of ``line`` [n], each for ``weight`` rows."""
    total, n = float(counts.sum()), float(len(line) if weight is None else weight.sum())
    here = np.bincount(line, weights=weight, minlength=len(counts))[: len(counts)] / max(n, 1)
    shares = np.maximum(counts, 0.5) / total
    chance = here * (1 - here) / max(n - 1, 1)
    return total / max(float(((here**2 - chance) / shares).sum()), 1.0)
