"""Ask a model and tell apart what it did: answered, refused, or broke.

In: an ``Answer`` and rows. Out: a ``Reply``. Law: nothing that the model raises gets past here, nor its words, which
may quote cells; only the name of what it raised is kept.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import RoadworthyError
from roadworthy.measures.examined import Answer
from roadworthy.records.project import Task

__all__ = ["Reply", "ask"]

_OUTSIDE = 1e-6
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """What came back for N rows.

    ``score`` [N] or [N, K] is NaN where there is none. ``sound`` [N]: answered with finite numbers that the task
    allows. ``refused`` [N]: no answer, and said so. ``broken`` [N]: an answer that is none (not finite, or outside of
    what a score may be). ``raised``: the name of an exception that no row survived, and ``clean`` whether it counts as
    a refusal of all rows.
    """

    score: NDArray[np.float64]
    refused: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    raised: str = ""
    clean: bool = False

    @property
    def sound(self) -> NDArray[np.bool_]:
        """[N] rows with an answer that is one."""
        return ~self.refused & ~self.broken

    @property
    def crashed(self) -> bool:
        """Whether the model raised what is no refusal, or some answer is none."""
        return bool(self.raised and not self.clean) or bool(self.broken.any())


def ask(answer: Answer, rows: pl.DataFrame, task: Task, *, malformed: bool = False, classes: int = 0) -> Reply:
    """The model's reply to ``rows`` [N].

    A RoadworthyError refuses all rows: it names the problem and answers nothing. Any other exception does so only
    where the rows are ``malformed`` (a column absent, of another type, or missing where training had no missing
    value): no model needs to read those, and it did not pretend to. ``classes`` is K of a multiclass score.
    """
    shape = (rows.height, classes) if task is Task.MULTICLASS else (rows.height,)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            answered = answer(rows)
        score = np.asarray(answered.score, dtype=np.float64)
        refused = np.asarray(answered.refused, dtype=np.bool_)
    except RoadworthyError as failure:
        return _none(shape, type(failure).__name__, clean=True)
    except Exception as failure:  # noqa: BLE001 - whatever a model raises on a fault is what this check looks for
        return _none(shape, type(failure).__name__, clean=malformed)
    if score.shape != shape or refused.shape != shape[:1]:
        return _none(shape, "answers of another shape", clean=False)
    return Reply(score, refused, ~_allowed(score, task) & ~refused)


def _none(shape: tuple[int, ...], raised: str, *, clean: bool) -> Reply:
    every = np.ones(shape[0], dtype=np.bool_)
    return Reply(np.full(shape, np.nan), every & clean, every & (not clean), raised, clean)


def _allowed(score: NDArray[np.float64], task: Task) -> NDArray[np.bool_]:
    finite = np.isfinite(score)
    if task is Task.REGRESSION:
        return finite
    within = finite & (np.abs(np.where(finite, score, 0.5) - 0.5) <= 0.5 + _OUTSIDE)
    if task is Task.BINARY:
        return within
    sums = np.where(finite, score, 0.0).sum(axis=1)
    return np.asarray(within.all(axis=1) & (np.abs(sums - 1) <= _SUM_TOLERANCE), dtype=np.bool_)
