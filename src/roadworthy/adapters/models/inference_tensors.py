"""Tensors of the Open Inference Protocol: from columns to JSON, and from JSON to rows.

In: a server's metadata, frames, its answers. Out: tensors as the protocol writes them, outputs as arrays. Laws: a value
that a datatype cannot hold is refused, never rounded into it; an answer whose shape and data disagree is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import ModelError, Problem

__all__ = ["MASK", "Tensor", "column_data", "described", "matrix_data", "output_rows", "score_output"]

MASK = ".missing"
"""What the name of a column's mask ends in."""

_TYPES: Mapping[str, pl.DataType] = {
    "BOOL": pl.Boolean(),
    "INT8": pl.Int8(),
    "INT16": pl.Int16(),
    "INT32": pl.Int32(),
    "INT64": pl.Int64(),
    "UINT8": pl.UInt8(),
    "UINT16": pl.UInt16(),
    "UINT32": pl.UInt32(),
    "UINT64": pl.UInt64(),
    "FP32": pl.Float32(),
    "FP64": pl.Float64(),
    "BYTES": pl.String(),
}
_NUMBERS = frozenset(_TYPES) - {"BYTES"}
_PROBABILITIES = re.compile(r"prob|score", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output: its name, datatype and shape, with −1 for a size that is left open."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def rows(self) -> int | None:
        """How many rows it takes at once, None where that is open."""
        return self.shape[0] if self.shape and self.shape[0] > 0 else None

    @property
    def width(self) -> int | None:
        """Values per row, None where that is open; 1 for a shape of rows alone."""
        sizes = self.shape[1:]
        return None if any(size < 0 for size in sizes) else math.prod(sizes)


def described(metadata: Mapping[str, Any], side: str, where: str) -> tuple[Tensor, ...]:
    """The inputs or outputs that a server's metadata lists. Raises ModelError naming all that is wrong with them."""
    found, problems = [], []
    listed = metadata.get(side)
    if not isinstance(listed, list) or not listed:
        raise ModelError(
            f"{where} does not say what its {side} are",
            problems=[Problem(f"no list {side!r} in its metadata", where=where, expected="name, datatype and shape")],
            next_step="pass the address of a model: http://host:port/v2/models/NAME",
        )
    for one in listed:
        try:
            tensor = Tensor(str(one["name"]), str(one["datatype"]), tuple(int(size) for size in one["shape"]))
        except (KeyError, TypeError, ValueError) as error:
            problems.append(Problem(f"{type(error).__name__}: {error}", where=f"{where}, {side}"))
            continue
        if tensor.datatype not in _TYPES and side == "inputs":
            known = ", ".join(_TYPES)
            problems.append(Problem(f"datatype {tensor.datatype}", where=f"input {tensor.name}", expected=known))
        found.append(tensor)
    if problems:
        raise ModelError(f"{where} has {side} that columns cannot fill", problems=problems)
    return tuple(found)


def score_output(outputs: Sequence[Tensor], where: str) -> str:
    """``score``, else an output of floating numbers that is named like probabilities, else the last such one."""
    numeric = [tensor.name for tensor in outputs if tensor.datatype in {"FP32", "FP64"}]
    if not numeric:
        raise ModelError(
            f"{where} gives no scores",
            problems=[Problem(tensor.datatype, where=f"output {tensor.name}", expected="FP32") for tensor in outputs],
            next_step="serve the model with its probabilities, not only its labels",
        )
    if "score" in numeric:
        return "score"
    return next((name for name in numeric if _PROBABILITIES.search(name)), numeric[-1])


def matrix_data(frame: pl.DataFrame, tensor: Tensor) -> dict[str, Any]:
    """All columns in one tensor, row by row, in the shape that the server asks for."""
    kind = _TYPES[tensor.datatype]
    columns = [_cast(column, kind, tensor.datatype).to_list() for column in frame.iter_columns()]
    data = [value for row in zip(*columns, strict=True) for value in row]
    sizes = tensor.shape[1:] if len(tensor.shape) > 1 and tensor.width is not None else (frame.width,)
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": [frame.height, *sizes], "data": data}


def column_data(frame: pl.DataFrame, tensor: Tensor, *, masks: frozenset[str]) -> dict[str, Any]:
    """One column, or its mask; under a mask a missing value is 0, "" or false."""
    shape = [frame.height, *(1 for _ in tensor.shape[1:])]
    said = {"name": tensor.name, "datatype": tensor.datatype, "shape": shape}
    if tensor.name in masks:
        return {**said, "data": frame.get_column(tensor.name.removesuffix(MASK)).is_null().to_list()}
    kind = _TYPES[tensor.datatype]
    column = frame.get_column(tensor.name)
    if column.dtype.is_temporal():
        column = column.cast(pl.Datetime("us")).to_physical()
    values = _cast(column, kind, tensor.datatype)
    neutral = {"BYTES": "", "BOOL": False}.get(tensor.datatype, 0)
    return {**said, "data": values.fill_null(pl.lit(neutral).cast(kind)).to_list()}


def _cast(column: pl.Series, kind: pl.DataType, datatype: str) -> pl.Series:
    whole = column
    try:
        if datatype not in {"FP32", "FP64", "BYTES", "BOOL"} and column.dtype.is_float():
            whole = column.cast(kind)
            if not (whole.cast(pl.Float64) == column.cast(pl.Float64)).fill_null(value=True).all():
                raise _does_not_fit(column, datatype, "fractions")
        return whole.cast(kind)
    except pl.exceptions.PolarsError as error:
        raise _does_not_fit(column, datatype, str(error).splitlines()[0]) from error


def _does_not_fit(column: pl.Series, datatype: str, found: str) -> ModelError:
    return ModelError(
        f"column {column.name} does not become {datatype}",
        problems=[Problem(found, where=f"column {column.name}", expected=f"values of {datatype}")],
    )


def output_rows(answer: Mapping[str, Any], name: str, where: str) -> NDArray[np.float64]:
    """The rows of an output, [N] or [N, K]; null becomes NaN. Raises ModelError for an answer that is not whole."""
    outputs = answer.get("outputs")
    mine = (
        [one for one in outputs if isinstance(one, dict) and one.get("name") == name]
        if isinstance(outputs, list)
        else []
    )
    if not mine:
        raise ModelError(f"{where} does not answer with its output {name!r}")
    shape, data = mine[0].get("shape"), mine[0].get("data")
    try:
        sizes = [int(size) for size in shape or ()]
        values = np.array(data, dtype=np.float64).reshape(sizes)
    except (TypeError, ValueError) as error:
        problem = Problem(f"shape {shape} and data that do not fit it: {str(error)[:120]}", where=f"output {name}")
        raise ModelError(f"{where} answers what is no tensor of numbers", problems=[problem]) from error
    if values.ndim == 0:
        raise ModelError(f"{where} answers one number for all rows", problems=[Problem("shape []", where=name)])
    rows = values.reshape(len(values), math.prod(values.shape[1:]))
    return rows[:, 0] if rows.shape[1] == 1 else rows
