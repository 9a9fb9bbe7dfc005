"""LightGBM's own text files (Ke et al. 2017): ``booster.save_model("model.txt")``.

In: the file. Out: an ``OpenBooster``. Law: a file that is cut off or damaged is refused before LightGBM reads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.adapters.models.booster import OpenBooster, numbers_matrix
from roadworthy.adapters.models.lightgbm_audit import header_of, lightgbm_faults
from roadworthy.adapters.models.lightgbm_graph import lightgbm_graph
from roadworthy.errors import ModelError, Problem
from roadworthy.records.digests import digest_bytes
from roadworthy.records.project import Task

__all__ = ["open_lightgbm"]

_CLASSES = {
    "binary": Task.BINARY,
    "cross_entropy": Task.BINARY,
    "xentropy": Task.BINARY,
    "multiclass": Task.MULTICLASS,
    "multiclassova": Task.MULTICLASS,
}
_NUMBERS = frozenset(
    {"regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie"}
)
_RANKS = frozenset({"lambdarank", "rank_xendcg"})


def open_lightgbm(path: Path) -> OpenBooster:
    """The booster in a text file. ModelError for one that is cut off, damaged, or ranks instead of predicting."""
    content = path.read_bytes()
    text = content.decode("utf-8", "replace").replace("\r\n", "\n")
    faults = [Problem(fault, where=str(path)) for fault in lightgbm_faults(text)]
    if faults:
        raise ModelError(
            f"{path} is a LightGBM model that is cut off or damaged",
            problems=faults,
            next_step="save or copy the model again, then compare sizes",
        )
    try:
        booster = lightgbm.Booster(model_str=text)
    except (lightgbm.basic.LightGBMError, ValueError) as error:
        raise ModelError(
            f"{path} is no LightGBM model that LightGBM {lightgbm.__version__} can read: {_first_line(error)}",
            next_step="save the model again with booster.save_model",
        ) from error
    names = tuple(str(name) for name in booster.feature_name())
    unnamed = names == tuple(f"Column_{place}" for place in range(len(names)))
    levels = list(booster.pandas_categorical or [])
    return OpenBooster(
        file=path,
        digest=digest_bytes(content),
        names=() if unnamed else names,
        width=len(names),
        task=_task(header_of(text).get("objective", ""), path),
        matrix=_coded(levels) if levels else numbers_matrix,
        predict=lambda x: np.asarray(booster.predict(x, num_threads=1), dtype=np.float64),
        loader=Path(__file__).with_name("fresh_lightgbm.py"),
        takes_text=bool(levels),
        graph=lambda: lightgbm_graph(text),
        levels=tuple(tuple(map(str, known)) for known in levels),
    )


def _task(objective: str, path: Path) -> Task | None:
    """What the objective predicts; None for one's own objective, whose scores are raw."""
    name = objective.split(" ", 1)[0]
    if name in _RANKS:
        raise ModelError(
            f"{path} ranks ({name}): its scores mean something only within a query",
            next_step="inspect a model that predicts a class or a number",
        )
    return Task.REGRESSION if name in _NUMBERS else _CLASSES.get(name)


def _coded(levels: list[list[Any]]) -> Any:
    """Frame → matrix for a booster that was fitted on a pandas frame with categorical columns.

    LightGBM keeps their levels in order, not their names: the columns that hold no numbers are taken to be those, as
    LightGBM itself does. A level that it has not seen is missing.
    """

    def matrix(frame: pl.DataFrame) -> NDArray[np.float64]:
        texts = [column.name for column in frame.iter_columns() if not _holds_numbers(column)]
        if len(texts) != len(levels):
            problem = Problem(f"{len(texts)} columns of text: {', '.join(texts)}", expected=f"{len(levels)}")
            raise ModelError(
                f"the booster was fitted on {len(levels)} categorical columns", problems=[problem],
                next_step="pass the columns as in training, the categorical ones as text",
            )  # fmt: skip
        coded = []
        for name, known in zip(texts, levels, strict=True):
            codes = {str(level): float(place) for place, level in enumerate(known)}
            coded.append(pl.col(name).cast(pl.String).replace_strict(codes, default=None, return_dtype=pl.Float64))
        return numbers_matrix(frame.with_columns(coded))

    return matrix


def _holds_numbers(column: pl.Series) -> bool:
    return column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)  # a tuple: equality tells them


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
