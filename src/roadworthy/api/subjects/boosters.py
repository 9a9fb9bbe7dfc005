"""Boosters in LightGBM's and XGBoost's own files, under inspection."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.adapters.models.booster import OpenBooster
from roadworthy.api.subjects.costing import batch_of
from roadworthy.api.subjects.plain import Plain, all_answered, plain_subject
from roadworthy.api.subjects.reading import chosen_columns, numbers_of, numbers_read
from roadworthy.api.subjects.subject import Subject
from roadworthy.graphs.foreign import Export
from roadworthy.graphs.fresh_process import FreshCost, fresh_cost
from roadworthy.graphs.loading import FileKind
from roadworthy.standard.requirement import Requirement

__all__ = ["booster_subject"]

_OPENERS = {
    FileKind.LIGHTGBM: ("roadworthy.adapters.models.lightgbm_file", "open_lightgbm"),
    FileKind.XGBOOST: ("roadworthy.adapters.models.xgboost_file", "open_xgboost"),
}


def booster_subject(path: Path, kind: FileKind, rows: pl.DataFrame, target: str) -> Subject:
    """The subject of a booster's file; its library is imported here, MissingExtra says which extra brings it.

    Columns come by the names that it was fitted on, or in their order where it has none.
    """
    module, opener = _OPENERS[kind]
    booster: OpenBooster = getattr(importlib.import_module(module), opener)(path)
    chosen = chosen_columns(rows.drop(target), booster.width, booster.names, path.name)

    def matrix(frame: pl.DataFrame) -> NDArray[np.float64]:
        taken = frame.select(chosen.columns)
        return booster.matrix(numbers_read(taken) if booster.takes_text else numbers_of(taken)[0])

    plain = Plain(
        name=path.name,
        digest=booster.digest,
        raw=lambda frame: all_answered(booster.predict(matrix(frame))),
        columns=chosen.columns,
        as_given=booster.takes_text,
        task=booster.task,
        cost=_Cost(booster, matrix),
        file=path,
        notes=tuple(filter(None, (chosen.note, *booster.notes))),
        export=_exporting(booster, chosen.columns, rows),
    )
    return plain_subject(plain, rows, target)


def _exporting(booster: OpenBooster, columns: tuple[str, ...], rows: pl.DataFrame) -> Callable[[int], Export] | None:
    """How the booster leaves as a graph; None where none is known.

    Its codes belong to the columns that hold text in the ``rows``, as LightGBM itself takes them.
    """
    graph = booster.graph
    if graph is None:
        return None

    def export(outputs: int) -> Export:
        """Asked only of a booster that has answered these rows, so that its levels and their texts are as many."""
        typed = numbers_read(rows.select(columns)) if booster.levels else rows.select(())
        texts = [one.name for one in typed.iter_columns() if not _holds_numbers(one)]
        levels = dict(zip(texts, booster.levels, strict=True))
        return Export(model=graph(), columns=columns, width=outputs, levels=levels)

    return export


def _holds_numbers(column: pl.Series) -> bool:
    return column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)  # a tuple: equality tells them


class _Cost:
    """The booster in fresh processes that load its library and nothing else."""

    def __init__(self, booster: OpenBooster, matrix: Callable[[pl.DataFrame], NDArray[np.float64]]) -> None:
        self._booster, self._matrix = booster, matrix

    def __call__(
        self, rows: pl.DataFrame, /, *, quick: bool = False, required: Sequence[Requirement] = ()
    ) -> FreshCost:
        x = self._matrix(batch_of(rows))
        return fresh_cost(
            self._booster.file,
            {"X": x[:1]},
            {"X": x},
            loader=self._booster.loader,
            where="the booster with its own library, in fresh processes of one thread",
            quick=quick,
            required=required,
        )
