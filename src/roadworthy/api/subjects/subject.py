"""``Subject``: a model under inspection, whatever it is. ``Scored``: labelled rows with what it says of them.

Laws: ``scored`` and ``answer`` tell the same score of the same row; ``answer`` never raises for a score that is not
finite, ``scored`` does; what slices and clusters are read from holds no clear value of a personal column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.graphs.foreign import Export
from roadworthy.graphs.fresh_process import FreshCost
from roadworthy.graphs.readings import Reading
from roadworthy.graphs.runner import Feed, GraphModel
from roadworthy.measures.examined import Answer, Refit
from roadworthy.records.digests import Digest
from roadworthy.records.evidence import Measurement
from roadworthy.records.project import Task
from roadworthy.standard import Standard
from roadworthy.standard.requirement import Requirement

__all__ = ["Cost", "Scored", "Subject"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """N rows with what a model says of them.

    ``rows`` is what slices and entities are read from, ``labels`` the target [N] as the model's contract reads it,
    ``scores`` [N] or [N, classes], ``sound`` [N] whether the row has an answer, ``meets`` [N] whether it and its
    label meet the contract; ``misread`` counts labels that do not, by reason.
    """

    rows: pl.DataFrame
    labels: pl.Series
    scores: NDArray[np.float64]
    sound: NDArray[np.bool_]
    meets: NDArray[np.bool_]
    misread: dict[str, int] = field(default_factory=dict)


class Cost(Protocol):
    """Measures what a model costs, on some of the rows (their input columns are enough)."""

    def __call__(
        self, rows: pl.DataFrame, /, *, quick: bool = False, required: Sequence[Requirement] = ()
    ) -> FreshCost:
        """About 5 s, ``quick`` 2 s; longer where what is ``required`` needs more runs of a slow model."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model under inspection: its task, labels and scores, and how to ask it again.

    ``scored`` takes the rows and the name of the column with the labels. ``answer`` takes rows with the ``columns``
    that the model reads (raw, or as ``Scored.rows`` has them). ``time``, ``entity`` and ``protected`` name columns and
    are empty where nothing tells. ``refit`` trains such a model anew, None where that is not known. ``contract``: rows
    are refused by a contract. ``folder_or_file`` is where the model stands on disk. ``cost`` measures what it costs,
    None where that cannot be told. ``notes`` say how its answers were read. ``signed`` are the measurements of a
    bundle's evidence that rows cannot make anew. ``kept`` are columns that the model takes as they were given, though
    their text may hold numbers. ``export`` gives the model as a graph whose raw outputs are to be read as ``reading``
    says; None for a model that lives elsewhere, or is code.
    """

    name: str
    digest: Digest
    scored: Callable[[pl.DataFrame, str], Scored]
    answer: Answer
    columns: tuple[str, ...]
    task: Task | None = None
    classes: tuple[str, ...] = ()
    threshold: float | None = None
    entity: str = ""
    time: str = ""
    protected: tuple[str, ...] = ()
    standard: Standard | None = None
    contract: bool = False
    refit: Refit | None = None
    cost: Cost | None = None
    folder_or_file: Path | None = None
    notes: tuple[str, ...] = ()
    graph: GraphModel | None = None
    feed: Callable[[pl.DataFrame], Feed] | None = None
    signed: tuple[Measurement, ...] = ()
    kept: frozenset[str] = frozenset()
    export: Callable[[], Export] | None = None
    reading: Reading | None = None
