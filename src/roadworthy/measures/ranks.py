"""Ranks, ties sharing the middle of theirs.

In: numbers. Out: ranks from 1 on, the same as ``scipy.stats.rankdata`` has. Law: by Polars, which is in memory anyway,
so that a process which ranks now and then does not hold ``scipy.stats`` (45 MB with what it brings).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["mid_ranks"]


def mid_ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Ranks of a column [n], or of each column [n, d] on its own, which hold no NaN.

    >>> mid_ranks(np.array([3.0, 1.0, 3.0, 7.0])).tolist()
    [2.5, 1.0, 2.5, 4.0]
    """
    if values.ndim == 1:
        return pl.Series(np.ascontiguousarray(values)).rank("average").to_numpy()
    ranks = np.empty(values.shape)
    for column in range(values.shape[1]):
        ranks[:, column] = mid_ranks(values[:, column])
    return ranks
