"""How many threads a model in this process may use when it is asked: one for a few rows.

In: a number of rows. Out: a context to ask the model in. Law: answers are the same; only their cost changes. Checks ask
a model about a few rows, many times, and an OpenMP team that is woken for them costs more than the rows do, most of all
on a machine that is busy. What a prediction costs (``Subject.cost``) is measured with the threads that it takes.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # ships no types

__all__ = ["FEW", "Threads"]

FEW = 5_000
"""Up to so many rows one thread answers: a boosting of 100 trees takes 12 ms for them, and more would save a part."""


class Threads:
    """The OpenMP pools of all libraries that are loaded by now; finding them takes long, limiting them does not."""

    def __init__(self) -> None:
        self._pools = ThreadpoolController()

    def for_rows(self, rows: int) -> AbstractContextManager[object]:
        """Inside, one thread for a few rows, as many as ever for more."""
        if rows > FEW:
            return nullcontext()
        limited: AbstractContextManager[object] = self._pools.limit(limits=1, user_api="openmp")
        return limited
