"""Every extension point, one to four methods each.

What stands here is all that a stage knows of the outside world. ``assembly`` picks the objects; ``testing``
holds the conformance checks that any implementation must pass and an in-memory one of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from roadworthy.records.digests import Digest
from roadworthy.records.model import ProgressLine
from roadworthy.records.project import Task

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

__all__ = [
    "Clock",
    "FittedModel",
    "Notifier",
    "Predictor",
    "Reporter",
    "Source",
    "Store",
    "Trainer",
    "TrainingData",
    "Versioned",
]


@runtime_checkable
class Source(Protocol):
    """Rows from somewhere. Reading never changes the source."""

    def describe(self) -> str:
        """What a person may read about it: path or URL without credentials."""
        ...

    def fingerprint(self) -> Digest:
        """Digest of the bytes (or of the rows, for a query) together with the read options."""
        ...

    def scan(self) -> pl.LazyFrame:
        """The raw rows: text columns for text formats, the source's own types otherwise."""
        ...

    def notes(self) -> tuple[str, ...]:
        """What was found while reading that a person should know: the encoding taken, the delimiter."""
        ...


@runtime_checkable
class Store(Protocol):
    """Folders that appear whole or not at all, named by stage and digest."""

    def has(self, stage: str, digest: Digest) -> bool:
        """Whether the folder was published."""
        ...

    def path(self, stage: str, digest: Digest) -> Path:
        """A local path of a published folder; raises StorageError when there is none."""
        ...

    def writing(self, stage: str, digest: Digest) -> AbstractContextManager[Path]:
        """A fresh folder to fill; published atomically on a clean exit, removed on any other.

        A full disk raises StorageError; publishing what already exists keeps the existing one.
        """
        ...


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a trainer gets: the model graph's own float32 inputs.

    ``x`` [rows, inputs] float32 and ``valid_x`` hold no NaN; ``y`` is int64 class indices (classification) or
    float64 (regression); ``weights`` [rows] float64 averages 1. ``valid_*`` rows are for early stopping only.
    ``names`` are the input names.
    """

    task: Task
    x: NDArray[np.float32]
    y: NDArray[Any]
    weights: NDArray[np.float64]
    valid_x: NDArray[np.float32]
    valid_y: NDArray[Any]
    classes: int
    names: tuple[str, ...]
    seed: int


class FittedModel(Protocol):
    """A trained model, able to leave its framework."""

    best_step: int

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores from the framework itself: [rows] for binary and regression, [rows, classes] for multiclass."""
        ...

    def to_onnx(self) -> bytes:
        """A graph with one input ``X`` float32 [N, inputs] and one output ``score`` float32 [N, 1 or classes]."""
        ...


@runtime_checkable
class Trainer(Protocol):
    """One kind of candidate."""

    name: str

    def defaults(self, task: Task, rows: int) -> Mapping[str, Any]:
        """Parameters for data of this size."""
        ...

    def space(self, task: Task) -> Mapping[str, tuple[Any, ...]]:
        """Values worth trying per parameter, for tuning; empty when there is nothing to tune."""
        ...

    def fit(
        self, data: TrainingData, parameters: Mapping[str, Any], report: Callable[[ProgressLine], None]
    ) -> FittedModel:
        """Train; call ``report`` once per epoch or round. Same data, parameters and seed: same model."""
        ...


@runtime_checkable
class Versioned(Protocol):
    """What a trainer of one's own adds: its code's digest, so that an edited function is trained again."""

    @property
    def source_digest(self) -> Digest:
        """Digest of the code that ``fit`` runs; empty where it cannot be told."""
        ...


class Predictor(Protocol):
    """Cleaned, typed columns in; scores out. A bundle, a graph, an estimator or an endpoint."""

    def predict(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """[rows] for binary and regression, [rows, classes] for multiclass."""
        ...


class Reporter(Protocol):
    """Shows long work to a person. Never on standard output."""

    def begin(self, task: str, total: int | None = None) -> None:
        """A piece of work starts; ``total`` steps when known."""
        ...

    def advance(self, task: str, steps: int = 1) -> None:
        """Steps of it are done."""
        ...

    def end(self, task: str, summary: str = "", *, reused: bool = False) -> None:
        """It is done; ``reused`` when an earlier run's result stands."""
        ...

    def line(self, line: ProgressLine) -> None:
        """One epoch or boosting round."""
        ...


class Notifier(Protocol):
    """Delivers an alert, at least once."""

    def notify(self, key: str, title: str, body: str) -> None:
        """``key`` is the idempotency key: the receiver may drop a second message with the same one."""
        ...


class Clock(Protocol):
    """The time, so that tests can hold it still."""

    def now(self) -> datetime:
        """Aware, in UTC."""
        ...
