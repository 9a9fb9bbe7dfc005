"""Runs a graph on rows: from a cleaned, typed frame to scores.

In: an ONNX graph (ours, or a plain one that others made) and Polars frames whose columns are clean (nulls mean
missing, never NaN). Out: float64 scores. What a graph is fed follows from the graph's own inputs, so nothing but
the graph has to be known. Laws: the score of a row does not depend on the batch that it is in; a score that is
not a number is an error, never an answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from roadworthy.errors import ModelError, Problem
from roadworthy.graphs.loading import load_graph, read_model

__all__ = ["RUN_ERRORS", "Feed", "GraphInput", "GraphModel", "open_session"]

Feed = dict[str, NDArray[Any]]
"""Input name → array, as ONNX Runtime takes it."""

RUN_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
"""What ONNX Runtime raises for a graph or a feed that it cannot use."""

_MISSING = ".missing"
_BATCH = 16_384
_PROBABILITIES = re.compile(r"prob|score", re.IGNORECASE)

_TYPES: dict[str, tuple[type[np.generic], pl.DataType]] = {
    "tensor(float)": (np.float32, pl.Float32()),
    "tensor(double)": (np.float64, pl.Float64()),
    "tensor(int64)": (np.int64, pl.Int64()),
    "tensor(int32)": (np.int32, pl.Int32()),
    "tensor(int16)": (np.int16, pl.Int16()),
    "tensor(int8)": (np.int8, pl.Int8()),
    "tensor(uint8)": (np.uint8, pl.UInt8()),
    "tensor(float16)": (np.float16, pl.Float32()),
    "tensor(bool)": (np.bool_, pl.Boolean()),
    "tensor(string)": (np.object_, pl.String()),
}
_ALSO_NUMBERS = (pl.Boolean, pl.Null)  # a tuple: equality, not hash, tells them; a null becomes NaN
_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")


@dataclass(frozen=True, slots=True)
class GraphInput:
    """One input: its name, ONNX type (``tensor(double)``) and shape, None where the graph leaves a size open."""

    name: str
    type: str
    shape: tuple[int | None, ...]


def open_session(content: bytes, *, threads: int = 1, optimise: bool = True) -> ort.InferenceSession:
    """An ONNX Runtime session on the CPU: sequential, ``threads`` threads that never spin, errors only in its log.

    Raises ModelError when the runtime refuses the graph.
    """
    options = ort.SessionOptions()
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except RUN_ERRORS as error:
        raise ModelError(
            f"the runtime refuses the graph: {_first_line(error)}", next_step="export the model again"
        ) from error


class GraphModel:
    """A graph ready to score frames.

    ``source`` is a path or the model's bytes. A graph of ours takes one [N, 1] input per column and a mask
    ``<column>.missing`` beside it; a plain model takes one float tensor that is filled from the frame's columns
    in order (or from ``columns``, when given), images row by row in C order.
    """

    def __init__(self, source: Path | str | bytes, *, threads: int = 1, columns: Sequence[str] = ()) -> None:
        where = "the model" if isinstance(source, bytes) else str(source)
        self.content = source if isinstance(source, bytes) else read_model(Path(source))
        load_graph(self.content, where=where)
        self._session = open_session(self.content, threads=threads)
        self.inputs = tuple(_described(node) for node in self._session.get_inputs())
        self.outputs: tuple[str, ...] = tuple(node.name for node in self._session.get_outputs())
        self._columns = tuple(columns)
        self._output = _score_output(self._session, where)
        _refuse_unknown_types(self.inputs, where)
        names = {node.name for node in self.inputs}
        self._masks = frozenset(
            node.name for node in self.inputs if node.name.endswith(_MISSING) and node.name[: -len(_MISSING)] in names
        )
        self._zeros: NDArray[np.bool_] = np.zeros((0, 1), dtype=np.bool_)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a frame must have; empty for a plain model, which takes them in order."""
        return () if self._plain() else tuple(node.name for node in self.inputs if node.name not in self._masks)

    @property
    def score_output(self) -> str:
        """The name of the output that scores are read from."""
        return self._output

    def feed(self, frame: pl.DataFrame) -> Feed:
        """Arrays for one run. Null → mask true and value 0, "" or false; times → int64 microseconds since 1970.

        Raises ModelError naming every column that is absent or of a type that does not fit.
        """
        if self._plain():
            return {self.inputs[0].name: _matrix(frame, self.inputs[0], self._columns)}
        problems = [
            Problem("column is absent", where=f"column {name}", expected="a cleaned row holds every graph input")
            for name in self.columns
            if name not in frame.columns
        ]
        feed: Feed = {}
        for node in self.inputs:
            if node.name in self._masks or node.name not in frame.columns:
                continue
            try:
                masked = node.name + _MISSING in self._masks
                value, missing = _value(frame.get_column(node.name), node.type, masked=masked)
            except (pl.exceptions.PolarsError, TypeError) as error:
                problems.append(
                    Problem(
                        f"holds {frame.get_column(node.name).dtype}, which does not become {node.type}",
                        where=f"column {node.name}",
                        expected=f"values of {node.type}: {_first_line(error)}",
                    )
                )
                continue
            feed[node.name] = value.reshape(-1) if len(node.shape) == 1 else value
            if masked:
                feed[node.name + _MISSING] = self._no_mask(len(value)) if missing is None else missing
        if problems:
            raise ModelError("the rows do not fit the graph's inputs", problems=problems)
        return feed

    def run(self, feed: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> list[Any]:
        """The outputs' values for one feed, as ONNX Runtime gives them (all outputs when none are named)."""
        try:
            result: list[Any] = self._session.run(None if outputs is None else list(outputs), dict(feed))
        except RUN_ERRORS as error:
            raise ModelError(f"the graph failed on these rows: {_first_line(error)}") from error
        return result

    def score_feed(self, feed: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Scores of one feed: [N] where the graph gives one number per row, else [N, K]."""
        raw = self.run(feed, [self._output])[0]
        scores = _from_maps(raw) if isinstance(raw, list) else np.asarray(raw, dtype=np.float64)
        scores = scores.reshape(len(scores), math.prod(scores.shape[1:]))
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def score(self, frame: pl.DataFrame, *, batch: int = _BATCH, finite: bool = True) -> NDArray[np.float64]:
        """Scores of a frame of any length, [N] or [N, K], computed ``batch`` rows at a time.

        Raises ModelError when a score is not a number, naming the first row; with ``finite=False`` it comes as it is.
        """
        starts = range(0, max(frame.height, 1), batch)
        scores = np.concatenate([self._fed_in_steps(self.feed(frame.slice(start, batch))) for start in starts])
        if not finite:
            return scores
        broken = ~np.isfinite(scores if scores.ndim == 2 else scores[:, None]).all(axis=1)
        if broken.any():
            raise ModelError(
                f"the score of {int(broken.sum())} of {len(scores)} rows is not a number, first of row "
                f"{int(np.argmax(broken))}",
                next_step="look at the row with `roadworthy trace`",
            )
        return scores

    def _fed_in_steps(self, feed: Feed) -> NDArray[np.float64]:
        """Scores of a feed of any length, where a graph takes only so many rows at a time: the last fills the step."""
        step = next((node.shape[0] for node in self.inputs if node.shape and node.shape[0]), None)
        rows = len(next(iter(feed.values()))) if feed else 0
        if not step or rows in {0, step}:
            return self.score_feed(feed)
        parts = []
        for start in range(0, rows, step):
            places = np.minimum(np.arange(start, start + step), rows - 1)
            parts.append(self.score_feed({name: array[places] for name, array in feed.items()}))
        return np.concatenate(parts)[:rows]

    def _plain(self) -> bool:
        """Whether this is a model of one tensor of numbers that is filled from columns in order."""
        if len(self.inputs) != 1 or self.inputs[0].type in {"tensor(string)", "tensor(bool)"}:
            return False
        shape = self.inputs[0].shape
        return len(shape) != 2 or shape[1] != 1

    def _no_mask(self, rows: int) -> NDArray[np.bool_]:
        if len(self._zeros) != rows:
            self._zeros = np.zeros((rows, 1), dtype=np.bool_)
        return self._zeros


def _described(node: Any) -> GraphInput:
    shape = tuple(size if isinstance(size, int) and size > 0 else None for size in node.shape)
    return GraphInput(node.name, node.type, shape)


def _refuse_unknown_types(inputs: Sequence[GraphInput], where: str) -> None:
    problems = [
        Problem(f"has type {node.type}", where=f"input {node.name}", expected=", ".join(_TYPES))
        for node in inputs
        if node.type not in _TYPES
    ]
    if problems:
        raise ModelError(f"{where} has inputs of types that rows cannot be fed to", problems=problems)


def _score_output(session: ort.InferenceSession, where: str) -> str:
    """``score``, else the last output of floating numbers, else the last of maps from label to probability.

    Of several outputs of numbers one that is named like probabilities comes first.
    """
    outputs = session.get_outputs()
    names = [node.name for node in outputs]
    if "score" in names:
        return "score"
    numeric = [node.name for node in outputs if node.type in _FLOATS]
    probable = [name for name in numeric if _PROBABILITIES.search(name)]
    maps = [node.name for node in outputs if node.type.startswith("seq(map(")]
    if not numeric and not maps:
        listed = ", ".join(f"{node.name} {node.type}" for node in outputs)
        raise ModelError(
            f"{where} gives no scores: its outputs are {listed}",
            next_step="export the model with its probabilities, not only its labels",
        )
    return str((probable or numeric or maps)[-1])


def _value(column: pl.Series, kind: str, *, masked: bool) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """The column as [N, 1] and its mask, None where nothing is missing.

    Without a mask a missing number travels as NaN, missing text as "", and TypeError tells that nothing else can.
    """
    numpy_type, polars_type = _TYPES[kind]
    if column.dtype.is_temporal():
        column = column.cast(pl.Datetime("us")).to_physical()
    elif column.dtype in (pl.Categorical, pl.Enum):  # a tuple: equality, not hash, tells them
        column = column.cast(pl.String)
    if (column.dtype == pl.String) != (kind == "tensor(string)") and column.dtype != pl.Null:
        raise TypeError("text and numbers are not mixed")
    missing = None
    if column.null_count():
        missing = column.is_null().to_numpy().reshape(-1, 1)
        if column.dtype == pl.Null:
            column = column.cast(polars_type)
        if not masked and kind in _FLOATS:
            column = column.cast(polars_type).fill_null(float("nan"))
        elif not masked and kind != "tensor(string)":
            raise TypeError("a value is missing, which only floating numbers and text can say")
        column = column.fill_null("" if column.dtype == pl.String else pl.lit(0).cast(column.dtype))
    if kind == "tensor(string)":
        return column.to_numpy().reshape(-1, 1), missing
    value = column.cast(polars_type).to_numpy().astype(numpy_type, copy=False)
    return value.reshape(-1, 1), missing


def _matrix(frame: pl.DataFrame, node: GraphInput, columns: Sequence[str]) -> NDArray[Any]:
    """The frame as one tensor of the input's shape; booleans become 0 and 1, nulls NaN."""
    names = list(columns) or [name for name in frame.columns if name != "_row"]
    schema = dict(frame.schema)
    absent = [name for name in names if name not in schema]
    if absent:
        raise ModelError(f"the rows lack the columns {', '.join(absent)}")
    wrong = [name for name in names if not (schema[name].is_numeric() or schema[name] in _ALSO_NUMBERS)]
    if wrong:
        raise ModelError(
            f"the model takes numbers, but these columns hold none: {', '.join(wrong)}",
            next_step="name the model's columns in order, or encode them as the model was trained",
        )
    numpy_type, polars_type = _TYPES[node.type]
    if node.type not in _FLOATS:
        _refuse_fractions(frame, names, node)
    taken = frame if names == frame.columns else frame.select(names)
    if any(schema[name] != polars_type for name in names):
        taken = taken.cast(polars_type)
    matrix = taken.to_numpy().astype(numpy_type, copy=False)
    sizes = node.shape[1:]
    wanted = int(np.prod([size for size in sizes if size])) if sizes and all(sizes) else None
    if wanted is not None and wanted != matrix.shape[1]:
        raise ModelError(
            f"the model takes {wanted} numbers per row, the rows have {matrix.shape[1]}",
            next_step="name the model's columns in order",
        )
    if wanted is None or len(sizes) == 1:
        return np.ascontiguousarray(matrix)
    return np.ascontiguousarray(matrix).reshape(len(matrix), *[size for size in sizes if size])


def _refuse_fractions(frame: pl.DataFrame, names: Sequence[str], node: GraphInput) -> None:
    """ModelError naming every column of a graph of integers that holds fractions or missing values."""
    problems = [
        Problem("holds fractions or missing values", where=f"column {name}", expected=f"values of {node.type}")
        for name in names
        if frame.get_column(name).null_count() or not _whole(frame.get_column(name))
    ]
    if problems:
        raise ModelError("the rows do not fit the graph's inputs", problems=problems)


def _whole(column: pl.Series) -> bool:
    return not column.dtype.is_float() or bool((column == column.floor()).all())


def _from_maps(rows: list[Any]) -> NDArray[np.float64]:
    """Probabilities from a sequence of maps (label → probability), columns in sorted label order."""
    labels = sorted(rows[0]) if rows else []
    return np.array([[row[label] for label in labels] for row in rows], dtype=np.float64).reshape(
        len(rows), len(labels)
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
