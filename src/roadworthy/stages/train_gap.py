"""The gap between a random split and the honest one: one cheap candidate, trained both ways on the training part.

In: the rows of a split by time or by entity, and a way to train and predict. Out: a ``SplitGap``.

Laws: no row of the holdout is touched; both ways train on the same number of rows, drawn from the same pool, with
the same parameters, and are asked about the same rows; the outcome depends on the rows and the seed alone.

The pool is the training part, or a part of it where that is large: whole stretches of consecutive time, or whole
entities, so that a row keeps as many of its neighbours as it has in the full table (rows drawn one by one would
lose them, and with them what a random split gives away). By time, the latest folds are predicted by models of
earlier rows; by entity, folds are predicted by models of other entities; at random, the same rows are predicted by
models that trained on anything else of the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import RoadworthyError
from roadworthy.measures.samples import Sample
from roadworthy.measures.split_gap import split_gap, unmeasured_gap
from roadworthy.records.data import SplitKind
from roadworthy.records.model import SplitGap
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.stages.train_folds import Fitting, Rows, TrainingPart
from roadworthy.transforms.splits import learnable

__all__ = ["HONEST_KINDS", "MOST_ROWS", "TRAININGS", "Comparison", "cheapest", "most_rows"]

HONEST_KINDS = ("time", "entity")
"""Kinds of split that differ from a random one."""

MOST_ROWS = 20_000
"""Most rows of the training part that are looked at, both ways together."""

_LEAST_POOL = 2_000
_MOST_VALUES = {"logistic": 4_000_000}
_MOST_VALUES_OTHERS = 300_000

_HONEST_FOLDS = 2
_RANDOM_FOLDS = 3
TRAININGS = _HONEST_FOLDS + _RANDOM_FOLDS
"""How often the candidate is trained again, at most."""

_LEAST_TRAINING = 30
_STRETCHES = 40
_LARGEST_ENTITY = 0.1
_CHEAP = ("logistic", "gbdt")
_WAYS = (False, True)


def cheapest(names: list[str]) -> str:
    """The candidate to compare splits with: logistic, else gbdt, else the first.

    >>> cheapest(["mlp", "gbdt"])
    'gbdt'
    """
    return next((name for name in _CHEAP if name in names), names[0])


def most_rows(candidate: str, inputs: int) -> int:
    """How many rows to look at, so that it takes seconds: fewer where each row is wide or training is dear.

    >>> most_rows("logistic", 133), most_rows("gbdt", 133), most_rows("gbdt", 20)
    (20000, 2255, 15000)
    """
    values = _MOST_VALUES.get(candidate, _MOST_VALUES_OTHERS)
    return min(MOST_ROWS, max(values // max(inputs, 1), _LEAST_POOL))


@dataclass(frozen=True, slots=True)
class _Arm:
    """One training: ``train`` [m] rows of the pool, ``asked`` the rows that its model predicts."""

    train: NDArray[np.int64]
    asked: NDArray[np.int64]
    at_random: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """One candidate to be trained both ways.

    ``inputs`` is how many inputs its encoding has on the whole training part; ``predict`` trains on a fitting and
    scores its rows; ``advance`` is called after each training.
    """

    rows: Rows
    kind: SplitKind
    spec: ProjectSpec
    candidate: str
    inputs: int
    predict: Callable[[Fitting], NDArray[np.float64]]
    advance: Callable[[], None]

    def gap(self) -> SplitGap:
        """Train and compare. A training that breaks, or rows that cannot answer, leave a gap that says why."""
        kind, task, seed = self.kind, self.spec.task, self.spec.training.seed
        try:
            part = _pool(self.rows.training_part(), kind, seed, most_rows(self.candidate, self.inputs))
            arms = list(_arms(part, kind, seed))
            reason = _lacking(part, arms, task)
            if reason:
                return unmeasured_gap(kind, self.candidate, task, reason)
            honest, random = (self._scored(part, [arm for arm in arms if arm.at_random == way]) for way in _WAYS)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a trainer raises is told; training goes on
            words = error.message if isinstance(error, RoadworthyError) else f"{type(error).__name__}: {error}"
            return unmeasured_gap(kind, self.candidate, task, words)
        return split_gap(honest, random, kind=kind, candidate=self.candidate, trained_rows=len(arms[0].train))

    def _scored(self, part: TrainingPart, arms: list[_Arm]) -> Sample:
        """All asked rows, in the pool's order, scored one way."""
        scores, outcomes = [], []
        for arm in arms:
            fitting = self.rows.fitting(part.at[arm.train], part.at[arm.asked], at_random=arm.at_random)
            scores.append(self.predict(fitting))
            outcomes.append(fitting.y)
            self.advance()
        asked = np.concatenate([arm.asked for arm in arms])
        order = np.argsort(asked, kind="stable")
        return Sample(
            task=self.spec.task,
            y=np.concatenate(outcomes)[order],
            score=np.concatenate(scores)[order],
            clusters=None if part.groups is None else part.groups[asked[order]],
        )


def _pool(part: TrainingPart, kind: SplitKind, seed: int, most: int) -> TrainingPart:
    """The whole part, or about ``most`` rows of it: stretches of time, or entities, that stay whole."""
    count = len(part.at)
    if count <= most:
        return part
    kept = _stretches(count, most) if kind == "time" or part.groups is None else _entities(part.groups, seed, most)
    groups = None if part.groups is None else part.groups[kept]
    return TrainingPart(part.at[kept], part.fold[kept], part.codes[kept], groups, part.new[kept])


def _stretches(count: int, most: int) -> NDArray[np.int64]:
    """Evenly spread stretches of consecutive rows."""
    length = most // _STRETCHES
    starts = np.linspace(0, count - length, _STRETCHES).astype(np.int64)
    return np.unique(starts[:, None] + np.arange(length))


def _entities(groups: NDArray[np.int64], seed: int, most: int) -> NDArray[np.int64]:
    """Whole entities in a seeded order; one that is larger than a tenth of the pool gives that many rows."""
    shuffled = np.random.default_rng([seed, 1]).permutation(int(groups.max()) + 1)
    place = np.empty_like(shuffled)
    place[shuffled] = np.arange(len(shuffled))
    order = np.argsort(place[groups], kind="stable")
    sizes = np.bincount(place[groups])
    within = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    allowed = order[within < most * _LARGEST_ENTITY]
    taken = np.cumsum(np.bincount(place[groups][allowed]))
    whole = np.searchsorted(taken, most, side="right")
    return np.sort(allowed[place[groups][allowed] < whole])


def _arms(part: TrainingPart, kind: SplitKind, seed: int) -> Iterator[_Arm]:
    """The trainings of both ways, as positions in the pool, all on the same number of rows."""
    rng = np.random.default_rng([seed, 2])
    numbers = np.unique(part.fold[(part.fold >= 0) & part.new])[-_HONEST_FOLDS:]
    asked = np.isin(part.fold, numbers) & part.new
    label = rng.permutation(len(part.at)) % _RANDOM_FOLDS  # not stratified: the honest folds are not either
    ways = [
        (part.fold < number if kind == "time" else part.fold != number, asked & (part.fold == number))
        for number in numbers
    ]
    honest = len(ways)
    ways += [(label != number, asked & (label == number)) for number in range(_RANDOM_FOLDS)]
    wanted = min((int(train.sum()) for train, _ in ways), default=0)
    for place, (train, ahead) in enumerate(ways):
        drawn = np.sort(rng.choice(np.flatnonzero(train), wanted, replace=False))
        if not ahead.any():
            continue
        yield _Arm(drawn, np.flatnonzero(ahead), at_random=place >= honest)


def _lacking(part: TrainingPart, arms: list[_Arm], task: Task) -> str:
    """Why these rows cannot answer; empty where they can."""
    if not arms:
        return "every entity of the folds has been seen before them"
    fewest = min(len(arm.train) for arm in arms)
    if fewest < _LEAST_TRAINING:
        return f"only {fewest} rows could train each way, and {_LEAST_TRAINING} are needed"
    if not all(learnable(part.codes[arm.train], task) for arm in arms):
        return "one of the trainings would have seen rows of one class only"
    return ""
