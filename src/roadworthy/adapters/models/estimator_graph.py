"""Estimators from Python as ONNX graphs of raw outputs: scikit-learn's by way of skl2onnx, boosters' by their own text.

In: a fitted estimator and the types of its columns. Out: ``Attempt``s, the likeliest first. Law: nothing is promised
here about what a graph answers; whoever takes one compares it with the estimator.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import onnx
import polars as pl

from roadworthy.adapters.models.lightgbm_graph import lightgbm_graph
from roadworthy.adapters.models.xgboost_graph import xgboost_graph
from roadworthy.errors import ModelError
from roadworthy.transforms.onnx_builder import ML_OPSET, OPSET

__all__ = ["Attempt", "attempts", "own_graph"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to make a graph: ``how`` for people; ``named``: an input for each column instead of one matrix.

    ``make`` raises ModelError where the converter does not know the estimator, or not in this form.
    """

    how: str
    named: bool
    make: Callable[[], onnx.ModelProto]


def own_graph(model: Any) -> tuple[onnx.ModelProto, tuple[tuple[str, ...], ...]] | None:
    """The graph of an estimator of LightGBM or XGBoost; None for any other.

    Beside it stand the levels of LightGBM's columns of text.
    """
    library = type(model).__module__.partition(".")[0]
    if library == "lightgbm" and hasattr(model, "booster_"):
        booster = model.booster_
        best = int(model.best_iteration_ or 0)
        text = booster.model_to_string(num_iteration=best if best > 0 else -1)
        levels = tuple(tuple(map(str, known)) for known in booster.pandas_categorical or ())
        return lightgbm_graph(text), levels
    if library == "xgboost" and hasattr(model, "get_booster"):
        booster = model.get_booster()
        best_round = booster.attr("best_iteration")
        rounds = 0 if best_round is None else int(best_round) + 1
        return xgboost_graph(bytes(booster.save_raw("json")), rounds, margins=False), ()
    return None


def attempts(model: Any, columns: Mapping[str, pl.DataType]) -> Iterator[Attempt]:
    """The ways to convert a scikit-learn estimator or pipeline whose columns have these types."""
    from skl2onnx.common.data_types import (  # noqa: PLC0415 - a second, and only estimators need it
        DoubleTensorType,
        FloatTensorType,
        Int64TensorType,
        StringTensorType,
    )

    width = [None, len(columns)]
    numeric = not any(kind == pl.String for kind in columns.values())
    for how, number in (("single precision", FloatTensorType), ("double precision", DoubleTensorType)):
        if numeric:
            types = [("X", number(width))]
            yield Attempt(f"one matrix in {how}", False, partial(_converted, model, types))  # noqa: FBT003 - a field
        for whole in (number, Int64TensorType) if any(kind.is_integer() for kind in columns.values()) else (number,):
            each = [
                (name, (StringTensorType if kind == pl.String else whole if kind.is_integer() else number)([None, 1]))
                for name, kind in columns.items()
            ]
            said = f"a column each in {how}" + (", whole numbers as such" if whole is Int64TensorType else "")
            yield Attempt(said, True, partial(_converted, model, each))  # noqa: FBT003 - as above


def _converted(model: Any, types: Sequence[tuple[str, Any]]) -> onnx.ModelProto:
    from skl2onnx import to_onnx  # noqa: PLC0415 - as above

    options = {id(model): {"zipmap": False}} if hasattr(model, "classes_") else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the converter's own affairs: what comes out is compared
            made: onnx.ModelProto = to_onnx(
                model, initial_types=list(types), options=options, target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET}
            )
    except Exception as error:  # the converter raises many kinds; all mean the same to the user
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"skl2onnx: {lines[0][:200]}") from error
    return made
