"""The rows of a training as matrices: one fitting per cross-validation fold, and the final one.

In: the feature table, the split, the project. Out: ``Fitting`` objects, each with its own encoder, what the trainer
gets, and the rows to predict afterwards.

Laws: an encoder is fitted on rows that train only; rows that stop training early come out of the training rows,
never out of the rows that are predicted; by time, a fold trains on rows of earlier folds only; where entities are to
be disjoint, neither the rows that stop training nor those that are predicted are of an entity that trains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.measures.samples import entity_codes
from roadworthy.protocols import TrainingData
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.transforms.encoding import Encoder
from roadworthy.transforms.expressions import Kind
from roadworthy.transforms.newcomers import newcomers
from roadworthy.transforms.splits import HOLDOUT, carve, class_labels, label_text, learnable

__all__ = [
    "FOLD_TRAIN_ROWS",
    "FOLD_VALID_ROWS",
    "STOPPING_SHARE",
    "Fitting",
    "Rows",
    "TrainingPart",
    "class_weights",
]

FOLD_TRAIN_ROWS = 60_000
"""Most rows that a cross-validation fold trains on: the latest ones by time, else a seeded sample."""

FOLD_VALID_ROWS = 100_000
"""Most rows of a fold that are predicted: an even sample."""

STOPPING_SHARE = 0.1
"""Share of the training rows that stop training early."""


@dataclass(frozen=True, slots=True)
class Fitting:
    """One training to be done: ``data`` for the trainer, then ``x`` to be predicted.

    ``rows`` [n] are the ``_row`` numbers of the predicted rows and ``y`` [n] their class codes or values;
    ``fold`` is None for the final fitting, whose predicted rows are the holdout, and for those of the split gap.
    """

    fold: int | None
    encoder: Encoder
    data: TrainingData
    rows: NDArray[np.int64]
    x: NDArray[np.float32]
    y: NDArray[Any]


@dataclass(frozen=True, slots=True)
class TrainingPart:
    """The rows that may train, in the order of ``Rows``.

    ``at`` [n]: positions in ``Rows``; ``fold`` [n]: the honest fold, −1 where a row is never validated; ``codes``
    [n]: class codes, 0 for regression; ``groups`` [n]: entity codes, a row without entity being its own, or None
    where no entity is declared; ``new`` [n]: rows that may be predicted, all of them unless entities are to be
    disjoint.
    """

    at: NDArray[np.int64]
    fold: NDArray[np.int64]
    codes: NDArray[np.int64]
    groups: NDArray[np.int64] | None
    new: NDArray[np.bool_]


class Rows:
    """The labelled rows of a split, in order of time (or of ``_row``), ready to be cut into fittings.

    ``classes`` are the labels in score order. ``notes`` say what a person should know of the fittings made so far.
    """

    def __init__(
        self, rows: Path, parts: Path, spec: ProjectSpec, columns: Mapping[str, Kind], *, by_time: bool
    ) -> None:
        named = [spec.target, spec.data.time, spec.data.entity]
        needed = ["_row", *dict.fromkeys([*columns, *(name for name in named if name)])]
        frame = pl.read_parquet(rows, columns=needed, glob=False).join(
            pl.read_parquet(parts, glob=False), on="_row", how="inner"
        )
        self._frame = frame.sort([spec.data.time, "_row"] if by_time else ["_row"])
        self._columns = columns
        self._spec = spec
        self._by_time = by_time
        self._disjoint = bool(by_time and spec.data.entity and spec.data.entity_disjoint)
        self.classes = class_labels(self._frame[spec.target], spec.task, spec.positive)
        self._y = _outcomes(self._frame[spec.target], spec.task, self.classes)
        self._holds = (self._frame["part"] == HOLDOUT).to_numpy()
        self._fold = self._frame["fold"].fill_null(-1).to_numpy()
        self._new = self._newcomers()
        self.notes: list[str] = []

    def folds(self) -> Iterator[Fitting]:
        """One fitting per fold, in order; a fold that cannot learn or has no row to predict is left out."""
        numbers = np.unique(self._fold[self._fold >= 0])
        for number in numbers:
            earlier = self._fold < number if self._by_time else self._fold != number
            train = np.flatnonzero(earlier & ~self._holds)
            valid = np.flatnonzero((self._fold == number) & self._new)
            if not len(valid):
                self._note(f"fold {number} was left out: its entities have all been seen before")
                continue
            if not learnable(self._codes(train), self._spec.task):
                self._note(f"fold {number} was left out: its training rows are all of one class")
                continue
            if len(train) > FOLD_TRAIN_ROWS:
                train = self._sampled(train, int(number))
                kept = "latest" if self._by_time else "sampled"
                self._note(f"cross-validation trains on at most {FOLD_TRAIN_ROWS:,} {kept} rows per fold")
            if len(valid) > FOLD_VALID_ROWS:
                valid = valid[np.linspace(0, len(valid) - 1, FOLD_VALID_ROWS).astype(np.int64)]
                self._note(f"cross-validation predicts at most {FOLD_VALID_ROWS:,} rows per fold, evenly chosen")
            yield self._fitting(train, valid, int(number))

    def final(self) -> Fitting:
        """The whole training part, with the holdout to be predicted."""
        return self._fitting(np.flatnonzero(~self._holds), np.flatnonzero(self._holds), None)

    def training_part(self) -> TrainingPart:
        """Positions of the rows that may train, with what a split of them by another rule needs to know."""
        at = np.flatnonzero(~self._holds)
        entity = self._spec.data.entity
        groups = entity_codes(self._frame[entity][at]) if entity else None
        return TrainingPart(at, self._fold[at], self._codes(at), groups, self._new[at])

    def fitting(self, train: NDArray[np.int64], predicted: NDArray[np.int64], *, at_random: bool) -> Fitting:
        """One fitting of one's own choice, by positions; ``at_random``: the rows that stop training are too.

        Raises DataError when a row of the holdout is among them.
        """
        if self._holds[train].any() or self._holds[predicted].any():
            raise DataError("a row of the holdout may neither train nor be predicted before it judges")
        return self._fitting(train, predicted, None, at_random=at_random)

    def _sampled(self, train: NDArray[np.int64], number: int) -> NDArray[np.int64]:
        if self._by_time:
            latest = train[-FOLD_TRAIN_ROWS:]
            if learnable(self._codes(latest), self._spec.task):
                return latest
        rng = np.random.default_rng([self._spec.training.seed, number])
        return np.sort(rng.choice(train, FOLD_TRAIN_ROWS, replace=False))

    def _fitting(
        self,
        train: NDArray[np.int64],
        predicted: NDArray[np.int64],
        fold: int | None,
        *,
        at_random: bool = False,
    ) -> Fitting:
        spec = self._spec
        stops = self._stopping(train, at_random=at_random)
        fit, stop = train[~stops], train[stops]
        encoder = Encoder.fit(self._frame[fit], self._columns)
        data = TrainingData(
            task=spec.task,
            x=encoder.encode(self._frame[fit]),
            y=self._y[fit],
            weights=class_weights(self._y[fit], len(self.classes), balance=spec.training.balance),
            valid_x=encoder.encode(self._frame[stop]),
            valid_y=self._y[stop],
            classes=len(self.classes),
            names=encoder.names,
            seed=spec.training.seed,
        )
        ahead = self._frame[predicted]
        return Fitting(fold, encoder, data, ahead["_row"].to_numpy(), encoder.encode(ahead), self._y[predicted])

    def _stopping(self, train: NDArray[np.int64], *, at_random: bool) -> NDArray[np.bool_]:
        """Which of the training rows stop training early."""
        data, rows = self._spec.data, self._frame[train]
        by_time = self._by_time and not at_random
        by_entity = data.entity and (self._disjoint or not self._by_time) and not at_random
        return carve(
            self._codes(train),
            task=self._spec.task,
            seed=self._spec.training.seed,
            times=rows[data.time].to_physical().to_numpy() if by_time else None,
            entities=rows[data.entity] if by_entity else None,
            share=STOPPING_SHARE,
        )

    def _newcomers(self) -> NDArray[np.bool_]:
        """Rows that may be predicted: all of them, or those whose entity no earlier fold has."""
        new = np.ones(self._frame.height, dtype=np.bool_)
        if self._disjoint:
            train = np.flatnonzero(~self._holds)
            new[train] = newcomers(self._frame[self._spec.data.entity][train], self._fold[train])
        return new

    def _codes(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Class codes; all zero for regression, where nothing is stratified."""
        if self._spec.task is Task.REGRESSION:
            return np.zeros(len(rows), dtype=np.int64)
        return np.asarray(self._y[rows], dtype=np.int64)

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)


def _outcomes(target: pl.Series, task: Task, classes: tuple[str, ...]) -> NDArray[Any]:
    """Class codes int64, or values float64."""
    if task is Task.REGRESSION:
        return target.cast(pl.Float64).to_numpy()
    codes = label_text(target).replace_strict(list(classes), list(range(len(classes))), return_dtype=pl.Int64)
    return codes.to_numpy()


def class_weights(y: NDArray[Any], classes: int, *, balance: bool) -> NDArray[np.float64]:
    """1 for every row, or the inverse frequency of its class; the mean is 1 either way."""
    if not balance or classes == 0:
        return np.ones(len(y), dtype=np.float64)
    counts = np.bincount(y, minlength=classes)
    per_class = len(y) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.asarray(per_class[y], dtype=np.float64)
