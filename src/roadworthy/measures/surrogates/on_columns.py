"""Boosted trees on any choice of columns: what quality would be without one.

In: rows, their outcome. Out: out-of-fold quality. Laws: a row is scored only by trees that did not see it, nor its
entity; the same seed gives the same figures.

For numbers the trees learn the outcome's normal scores (the ranks, spread like a normal distribution), so that a few
huge values decide nothing. Skill is 1 − loss / loss of a constant, on log loss or squared error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from roadworthy.measures.ranking import auc_value
from roadworthy.measures.samples import folds_of
from roadworthy.measures.surrogates.boosting import ROUNDS, boosted
from roadworthy.measures.surrogates.encoding import encode_rows
from roadworthy.records.project import Task

__all__ = ["Quality", "Surrogate"]

Floats = NDArray[np.float64]

_FLOOR = 1e-4
_NEAR_COPY = 0.95
_RANKED = 2_000


@dataclass(frozen=True, slots=True, eq=False)
class Quality:
    """Out-of-fold quality: ``power`` as of a column, ``skill``, each row's loss [n], and each column's gain."""

    power: float
    skill: float
    losses: Floats
    gains: Floats


class Surrogate:
    """Rows that trees are trained on, fold by fold, on any choice of columns.

    ``groups`` [n] are codes of entities, which no fold parts; None where rows are independent. Columns that are
    neither numbers nor text are not read.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        y: NDArray[Any],
        task: Task,
        rng: np.random.Generator,
        *,
        groups: NDArray[np.int64] | None = None,
        folds: int = 3,
        trees: int = ROUNDS,
    ) -> None:
        encoded = encode_rows(frame, frame.columns)
        self.columns = list(encoded.columns)
        self._x, self._named = encoded.trees, encoded.named
        self._task, self._trees = task, trees
        self._y = _learned(np.asarray(y), task)
        self._classes = int(self._y.max()) + 1 if task is not Task.REGRESSION and len(self._y) else 0
        self._fold = folds_of(frame.height, folds, rng, groups)
        self._seed = int(rng.integers(2**31))
        self._known: dict[frozenset[str], Quality] = {}

    def quality(self, columns: Sequence[str], *, y: NDArray[Any] | None = None) -> Quality:
        """Of trees on these columns only; of another outcome ``y`` [n] where one is given."""
        if y is not None:
            return self._measured(columns, y)
        asked = frozenset(columns)
        if asked not in self._known:
            self._known[asked] = self._measured(columns, None)
        return self._known[asked]

    def _measured(self, columns: Sequence[str], y: NDArray[Any] | None) -> Quality:
        places = [place for place, name in enumerate(self.columns) if name in set(columns)]
        wanted = self._y if y is None else _learned(np.asarray(y), self._task)
        score = np.zeros((len(wanted), max(self._classes, 1) if self._task is Task.MULTICLASS else 1))
        gains = np.zeros(len(self.columns))
        base = np.zeros(len(wanted))
        for fold in np.unique(self._fold):
            held = self._fold == fold
            score[held], gained = self._fitted(places, wanted, held)
            gains[places] += gained
            base[held] = _constant_losses(wanted[~held], wanted[held], self._task, self._classes)
        losses = _losses(score, wanted, self._task)
        skill = 1 - float(losses.mean()) / max(float(base.mean()), 1e-12)
        return Quality(_power(score, wanted, self._task), skill, losses, gains)

    def near_copies(self, column: str) -> list[str]:
        """Other columns that rise and fall with this one: rank correlation of at least 0.95 either way."""
        place = self.columns.index(column)
        if self._named[place]:
            return []
        ranks = self._ranked()
        with np.errstate(invalid="ignore", divide="ignore"):
            moves = np.abs(ranks.T @ ranks[:, place]) / (
                np.linalg.norm(ranks, axis=0) * np.linalg.norm(ranks[:, place])
            )
        return [
            name
            for at, name in enumerate(self.columns)
            if at != place and not self._named[at] and moves[at] >= _NEAR_COPY
        ]

    def _ranked(self) -> Floats:
        """Centred ranks of a few rows; what is missing lies in the middle."""
        ranks = stats.rankdata(self._x[:_RANKED], axis=0, nan_policy="omit")
        known = np.maximum((~np.isnan(ranks)).sum(axis=0), 1)
        return np.asarray(np.nan_to_num(ranks - np.nansum(ranks, axis=0) / known, nan=0.0), dtype=np.float64)

    def _fitted(self, places: list[int], y: NDArray[Any], held: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        if not places or (self._task is not Task.REGRESSION and len(np.unique(y[~held])) < 2):
            return np.tile(_constant(y[~held], self._task, self._classes), (int(held.sum()), 1)), np.zeros(len(places))
        named = [at for at, place in enumerate(places) if self._named[place]]
        x, classes = self._x[:, places], 0 if self._task is Task.REGRESSION else self._classes
        # as sharp as the rows allow: what a column gives away may be known of few of them
        leaf = min(max(int((~held).sum()) // 200, 5), 40)
        score, gains = boosted(
            x[~held],
            y[~held],
            classes,
            x[held],
            named=named,
            leaf=leaf,
            shrinkage=0.0,
            seed=self._seed,
            rounds=self._trees,
        )
        if self._task is Task.MULTICLASS and score.ndim == 1:
            return np.column_stack([1 - score, score]), gains
        return score.reshape(int(held.sum()), -1), gains


def _learned(y: NDArray[Any], task: Task) -> NDArray[Any]:
    if task is not Task.REGRESSION:
        return y.astype(np.int64)
    return np.asarray(stats.norm.ppf((stats.rankdata(y) - 0.5) / max(len(y), 1)), dtype=np.float64)


def _constant(y: NDArray[Any], task: Task, classes: int) -> Floats:
    if task is Task.REGRESSION:
        return np.array([float(y.mean())])
    shares = np.bincount(y, minlength=classes) / len(y)
    return np.asarray(shares if task is Task.MULTICLASS else shares[1:2], dtype=np.float64)


def _constant_losses(learned: NDArray[Any], asked: NDArray[Any], task: Task, classes: int) -> Floats:
    return _losses(np.tile(_constant(learned, task, classes), (len(asked), 1)), asked, task)


def _losses(score: Floats, y: NDArray[Any], task: Task) -> Floats:
    if task is Task.REGRESSION:
        return np.asarray((y - score[:, 0]) ** 2, dtype=np.float64)
    told = np.where(y == 1, score[:, 0], 1 - score[:, 0]) if task is Task.BINARY else score[np.arange(len(y)), y]
    return np.asarray(-np.log(np.clip(told, _FLOOR, 1)), dtype=np.float64)


def _power(score: Floats, y: NDArray[Any], task: Task) -> float:
    if task is Task.REGRESSION:
        if np.ptp(score) == 0 or np.ptp(y) == 0:
            return 0.5
        return 0.5 + max(float(np.corrcoef(score[:, 0], y)[0, 1]), 0.0) / 2
    if task is Task.BINARY:
        return auc_value(y == 1, score[:, 0])
    counted = [index for index, rows in enumerate(np.bincount(y)) if rows >= 10]
    areas = [auc_value(y == index, score[:, index]) for index in counted]
    return float(np.mean(areas)) if areas else 0.5
