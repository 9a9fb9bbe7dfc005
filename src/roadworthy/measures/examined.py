"""What a check of the inspection gets: the model on labelled rows, and what is asked of the check.

In: a scored sample, the rows behind it, a way to ask the model again. Out: ``Examined``, which every check takes, and
``Brief``, which says how much is asked. A check is a function ``(Examined, Brief) -> Found``: it draws its random
numbers from ``Brief.rng``, looks at no more rows than ``Brief.rows`` allows, and raises nothing for what the model
does wrong; ``stages.inspection`` runs them all and turns a check that breaks into an error that blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError, Problem
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task
from roadworthy.standard.requirement import Requirement

__all__ = ["Answer", "Answered", "Brief", "Examined", "Refit"]


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """What the model said of N rows.

    ``score`` is [N] (binary: probability of the event; regression: the estimate) or [N, K]; it may hold anything, NaN
    included. ``refused`` [N] marks rows that were refused by a contract, whose scores mean nothing.
    """

    score: NDArray[np.float64]
    refused: NDArray[np.bool_]

    @property
    def sound(self) -> NDArray[np.bool_]:
        """[N] rows that were answered with finite numbers."""
        finite = np.isfinite(self.score)
        return (finite if finite.ndim == 1 else finite.all(axis=1)) & ~self.refused


Answer = Callable[[pl.DataFrame], Answered]
"""Rows with the model's input columns in, answers out; whatever it raises is the model's own fault."""

Refit = Callable[[pl.DataFrame, NDArray[Any], int], Answer]
"""The same kind of model trained anew: rows [n] with the input columns, their ``y`` [n] as in ``Sample``, a seed."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Examined:
    """A model and the labelled rows that it is inspected on.

    ``sample``: N rows with outcome and score, decided at its threshold, clustered by entity where there is one.
    ``rows`` [N]: those rows, with the ``columns`` that the model reads and any others. ``answer`` asks the model again.
    ``time``, ``entity`` and ``protected`` name columns of ``rows``, and are empty where there are none. ``train`` holds
    rows that the model learned from (with ``columns``, and ``time`` and ``entity`` if there), ``train_y`` their outcome
    as in ``Sample.y``; None where they are not known. ``refit`` trains such a model anew, None where nobody can.
    ``contract`` tells that rows are refused by a contract before the model sees them. ``groups_apart`` tells whether
    the split was to keep each entity on one side; None where nobody said so: then a split by time may share them.

    Raises DataError, naming every fault, when the parts do not fit together.
    """

    sample: Sample
    rows: pl.DataFrame
    columns: tuple[str, ...]
    answer: Answer
    target: str = "target"
    time: str = ""
    entity: str = ""
    protected: tuple[str, ...] = ()
    train: pl.DataFrame | None = None
    train_y: NDArray[Any] | None = None
    refit: Refit | None = None
    contract: bool = False
    groups_apart: bool | None = None

    def __post_init__(self) -> None:
        """Check once, so that no check has to."""
        named = (*self.columns, *self.protected, *filter(None, (self.time, self.entity)))
        problems = [Problem(f"no column {name!r}", where="the rows") for name in named if name not in self.rows.columns]
        if self.rows.height != self.sample.n:
            problems.append(Problem(f"{self.rows.height} rows", expected=f"{self.sample.n}, as in the sample"))
        if self.train is not None and (self.train_y is None or len(self.train_y) != self.train.height):
            problems.append(Problem("the training rows come without an outcome each"))
        if problems:
            raise DataError("what is to be inspected does not fit together", problems=problems)

    @property
    def task(self) -> Task:
        """What is predicted."""
        return self.sample.task

    @property
    def inputs(self) -> pl.DataFrame:
        """[N] the columns that the model reads."""
        return self.rows.select(self.columns)

    def take(self, places: NDArray[Any]) -> Examined:
        """The same model on some of its rows (mask or positions), in their order."""
        picked = np.flatnonzero(places) if places.dtype == np.bool_ else places
        return replace(self, sample=self.sample.take(picked), rows=self.rows[picked])


def _nothing(_steps: int = 1) -> None:
    """No one watches."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Brief:
    """How much is asked of a check.

    ``required`` are the requirements of the phase. ``quick`` asks for an answer in about a second at 100,000 rows × 20
    columns; otherwise a check may take up to about ten. ``retrainings`` is how many trainings stability may take (0:
    none). ``advance`` tells a watcher that so many steps are done.
    """

    required: Sequence[Requirement] = ()
    quick: bool = False
    seed: int = 7
    retrainings: int = 0
    advance: Callable[[int], None] = field(default=_nothing)

    def confidence(self, metric: str, cut: str = "") -> float:
        """The greatest confidence that a requirement on this metric and slice asks for; 0.95 where none does."""
        asked = [item.confidence for item in self.required if item.metric == metric and item.slice == cut]
        return max(asked, default=0.95)

    def asks(self, *metrics: str) -> bool:
        """Whether a requirement names one of these metrics."""
        return any(item.metric in metrics for item in self.required)

    def rng(self, check: str) -> np.random.Generator:
        """Random numbers of a check's own: the same for the same seed, whatever other checks draw."""
        return np.random.default_rng([self.seed, *check.encode()])

    def most(self, full: int, quick: int) -> int:
        """How many rows (or whatever is counted) a check may look at."""
        return quick if self.quick else full
