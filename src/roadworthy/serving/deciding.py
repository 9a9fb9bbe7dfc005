"""From scores to decisions, and to what keeps a row from one.

In: a serving contract, scores. Out: the class index of each decision; ``Doubts`` where the bundle says when a person
decides. Law: whoever asks (a live request, a frame, a fallback) gets the same decision for the same score.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.formats.bundle import ServingContract
from roadworthy.records.project import Task

__all__ = ["Doubts", "decided"]


class Doubts(NamedTuple):
    """What a bundle's refer policy says of N rows.

    ``referred`` gives the reasons of each row that a person is to decide; it is empty for most runs. ``intervals`` [N]
    are the intervals of estimates (regression with a declared confidence), None for a row that has none.
    """

    referred: dict[int, tuple[str, ...]]
    intervals: list[tuple[float, float] | None] | None


def decided(contract: ServingContract, scores: NDArray[Any]) -> NDArray[np.intp] | None:
    """The class index of each decision [N]: binary at the threshold, else the likeliest class; None for regression."""
    if contract.task is Task.REGRESSION:
        return None
    if contract.task is Task.BINARY:
        return np.asarray(scores >= (0.5 if contract.threshold is None else contract.threshold), dtype=np.intp)
    return np.asarray(scores.argmax(axis=1), dtype=np.intp)
