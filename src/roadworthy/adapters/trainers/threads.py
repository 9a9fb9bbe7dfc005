"""How many threads a training may use.

Law: a model does not depend on how many cores the machine has. Matrix products add up in an order that depends on
the number of threads, so they run on one (the small ones of a small network are no slower for it); LightGBM's
deterministic mode gives the same trees on any number.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types; comes with scikit-learn

__all__ = ["boosting_threads", "one_matrix_thread"]

_CELLS_WORTH_SHARING = 20_000_000
_MOST = 4


def boosting_threads(cells: int) -> int:
    """Threads for a boosting on so many rows times inputs.

    Threads wait for each other at every node of every tree. Below 20 million cells the waiting costs more than it
    gains, and on a machine that is busy with something else it costs twenty times as much.
    """
    return 1 if cells < _CELLS_WORTH_SHARING else min(_MOST, os.cpu_count() or 1)


def one_matrix_thread() -> AbstractContextManager[object]:
    """Inside, matrix products run on one thread."""
    limited: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limited
