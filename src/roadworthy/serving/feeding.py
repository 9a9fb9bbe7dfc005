"""Clean rows as the arrays that graphs are fed: numbers as one matrix, texts and times a column each.

In: rows of a ``RowReader``, or a frame of clean columns. Out: arrays by the names of ``graphs.fuse``; ``Asked``, a
graph that takes those of them that it reads. Laws: missing travels as 0 or "" under a true mask; the arrays of several
graphs over the same rows are the same, made once.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import ModelError
from roadworthy.graphs.fuse import MISSING, NUMBERS, fused
from roadworthy.graphs.runner import RUN_ERRORS, Feed, open_session
from roadworthy.serving.fields import micros
from roadworthy.serving.rows import Row, RowReader

__all__ = ["Asked", "arrays_of", "arrays_of_frame", "arrays_of_numbers"]

_MASK = ".missing"


class Asked:
    """A graph whose numbers come as one matrix, asked for some outputs."""

    def __init__(self, content: bytes, reader: RowReader, outputs: Sequence[str], *, threads: int = 1) -> None:
        numbers = [field.name for field in reader.fields if field.part == "number"]
        self._session = open_session(fused(content, numbers), threads=threads)
        self._inputs = tuple(node.name for node in self._session.get_inputs())
        self._outputs = list(outputs)

    def run(self, arrays: Feed) -> list[Any]:
        """The outputs; raises ModelError where the graph fails."""
        try:
            found: list[Any] = self._session.run(self._outputs, {name: arrays[name] for name in self._inputs})
        except (*RUN_ERRORS, ValueError, TypeError, OverflowError) as error:  # the latter: a value it cannot be fed
            words = str(error).partition("\n")[0]
            raise ModelError(f"the graph failed on these rows: {words}") from error
        return found


def arrays_of(rows: Sequence[Row], reader: RowReader) -> Feed:
    """The arrays of clean rows."""
    arrays = arrays_of_numbers(_matrix(rows, reader))
    for at, field in reader.apart:
        column = [row[at] for row in rows]
        value, missing = _texts(column) if field.part == "text" else _times(column)
        arrays[field.name], arrays[field.name + _MASK] = value, missing
    return arrays


def arrays_of_numbers(numbers: NDArray[np.float64]) -> Feed:
    """The two arrays of a matrix [N, k] in which NaN is missing."""
    missing = np.asarray(np.isnan(numbers))
    return {NUMBERS: np.where(missing, 0.0, numbers) if missing.any() else numbers, MISSING: missing}


def arrays_of_frame(frame: pl.DataFrame, reader: RowReader) -> Feed:
    """The arrays of a frame of clean columns; those of the reader that it lacks are missing. Times are Int64."""
    rows = frame.height
    numbers = np.full((rows, reader.numbers), np.nan)
    arrays: Feed = {}
    place = 0
    for field in reader.fields:
        column = frame.get_column(field.name) if field.name in frame.columns else pl.Series([None] * rows)
        missing = column.is_null().to_numpy().reshape(-1, 1)
        if field.part == "number":
            numbers[:, place] = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
            place += 1
        elif field.part == "text":
            texts = column.cast(pl.String).fill_null("").to_list()
            arrays[field.name], arrays[field.name + _MASK] = np.array(texts, dtype=object).reshape(-1, 1), missing
        else:
            whole = column.cast(pl.Int64).fill_null(0).to_numpy()
            arrays[field.name], arrays[field.name + _MASK] = whole.reshape(-1, 1), missing
    return {**arrays_of_numbers(numbers), **arrays}


def _matrix(rows: Sequence[Row], reader: RowReader) -> NDArray[np.float64]:
    """The numbers of rows, [N, k]; packing them is three times as fast as asking numpy, but knows no None."""
    count, pack = reader.numbers, reader.pack
    try:
        packed = b"".join([pack(*row[:count]) for row in rows])
    except struct.error:
        return np.array([row[:count] for row in rows], dtype=np.float64).reshape(len(rows), count)
    return np.frombuffer(packed, dtype=np.float64).reshape(len(rows), count)


def _texts(values: Sequence[str | None]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    missing = np.array([value is None for value in values], dtype=np.bool_).reshape(-1, 1)
    return np.array([value or "" for value in values], dtype=object).reshape(-1, 1), missing


def _times(values: Sequence[str | None]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    missing = np.array([value is None for value in values], dtype=np.bool_).reshape(-1, 1)
    found = [0 if value is None else micros(value) for value in values]
    return np.array(found, dtype=np.int64).reshape(-1, 1), missing
