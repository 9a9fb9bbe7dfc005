"""Models without a contract: ONNX graphs, boosters, endpoints, estimators, functions.

In: a function from a frame to raw outputs, and what the model says of itself. Out: a ``Subject``. Law: outputs are
read (``links``) from the inspected rows once; rows with text where the model takes numbers are refused, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.api.subjects.links import Link, link_of
from roadworthy.api.subjects.reading import numbers_of
from roadworthy.api.subjects.subject import Cost, Scored, Subject
from roadworthy.errors import ModelError, Problem
from roadworthy.graphs.foreign import Export
from roadworthy.measures.examined import Answered
from roadworthy.records.digests import Digest
from roadworthy.records.project import Task

__all__ = ["Plain", "Raw", "all_answered", "plain_subject"]

Raw = Callable[[pl.DataFrame], Answered]
"""A frame of the model's columns in, outputs [N] or [N, K] out, finite or not, before they are read as scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """What is known of such a model before it is asked.

    ``texts`` are columns that it takes as text; ``as_given``: it takes columns of any type, and sees to them itself.
    ``known`` are its labels in the order of its outputs, ``task`` what it says that it predicts. ``export`` gives it as
    a graph, of a model whose raw outputs are so many numbers a row.
    """

    name: str
    digest: Digest
    raw: Raw
    columns: tuple[str, ...]
    texts: frozenset[str] = frozenset()
    as_given: bool = False
    known: Sequence[str] = ()
    task: Task | None = None
    cost: Cost | None = None
    file: Path | None = None
    notes: tuple[str, ...] = ()
    export: Callable[[int], Export] | None = None


def plain_subject(model: Plain, rows: pl.DataFrame, target: str) -> Subject:
    """The subject, its outputs read as they come on these rows. Raises ModelError where the model fails on them."""
    labels = rows.get_column(target)
    raw = model.raw(_fed(rows, model))
    link = link_of(raw.score[~raw.refused], labels, known=model.known, model=model.name, task=model.task)
    export, width = model.export, 1 if raw.score.ndim == 1 else raw.score.shape[1]

    def scored(asked: pl.DataFrame, label: str) -> Scored:
        found = raw if asked is rows else model.raw(_fed(asked, model))
        answered = ~found.refused
        _refuse_infinite(found.score, answered, model.name)
        return Scored(
            rows=asked,
            labels=asked.get_column(label),
            scores=link.apply(found.score),
            sound=answered,
            meets=answered,
        )

    return Subject(
        name=model.name,
        digest=model.digest,
        scored=scored,
        answer=lambda frame: _answered(model, link, frame),
        columns=model.columns,
        task=link.task,
        classes=link.classes,
        cost=model.cost,
        folder_or_file=model.file,
        notes=(*model.notes, *link.notes),
        kept=model.texts,
        export=None if export is None else lambda: export(width),
        reading=link.reading,
    )


def all_answered(outputs: NDArray[np.float64]) -> Answered:
    """Outputs of a model that refuses no row."""
    return Answered(outputs, np.zeros(len(outputs), dtype=np.bool_))


def _answered(model: Plain, link: Link, frame: pl.DataFrame) -> Answered:
    taken = frame.select(model.columns)
    if model.as_given:
        found = model.raw(taken)
        return Answered(link.apply(found.score), found.refused)
    numbers, refused = numbers_of(taken, model.texts)
    found = model.raw(numbers)
    return Answered(link.apply(found.score), refused | found.refused)


def _fed(rows: pl.DataFrame, model: Plain) -> pl.DataFrame:
    """The model's columns as numbers; ModelError naming every column that holds text instead."""
    taken = rows.select(model.columns)
    if model.as_given:
        return taken
    numbers, refused = numbers_of(taken, model.texts)
    if not refused.any():
        return numbers
    wrong = {
        column.name: count
        for column in taken.drop(model.texts).iter_columns()
        if (count := int(numbers_of(column.to_frame())[1].sum()))
    }
    raise ModelError(
        f"{model.name} takes numbers, but these columns hold none: {', '.join(wrong)}",
        problems=[
            Problem(f"{count:,} of {rows.height:,} values are no numbers", where=f"column {name}")
            for name, count in wrong.items()
        ],
        next_step="leave those columns out, or encode them as the model was trained",
    )


def _refuse_infinite(outputs: NDArray[np.float64], answered: NDArray[np.bool_], model: str) -> None:
    broken = answered & ~np.isfinite(outputs if outputs.ndim == 2 else outputs[:, None]).all(axis=1)
    if broken.any():
        raise ModelError(
            f"the score of {int(broken.sum()):,} of {len(outputs):,} rows is not a number, first of row "
            f"{int(np.argmax(broken))}",
            problems=[Problem(f"{model} answers NaN or infinity", expected="finite scores")],
            next_step="look at that row: empty cells become NaN, which the model may not take",
        )
