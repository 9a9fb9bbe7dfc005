"""One version of a model, warm and ready to answer batches of clean rows.

In: an open bundle. Out: scores of a batch, and which of its rows break a rule of the contract. Laws: the score of a
row does not depend on the batch that it is in; it equals what ``BundlePredictor`` says of the same row; a score that
is not a finite number is never an answer.

What a run costs is measured when the engine is made (``a·n + b``): admission rests on it, and so does whether the
model runs on the event loop or in a thread of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from onnx import TensorProto

from roadworthy.errors import BundleError, ModelError
from roadworthy.formats.bundle import OpenBundle
from roadworthy.graphs.golden import golden_frame, read_golden, self_test
from roadworthy.graphs.runner import Feed, GraphInput, open_session
from roadworthy.records.contract import Contract
from roadworthy.records.project import Task
from roadworthy.serving.fields import micros
from roadworthy.serving.predictor import BundlePredictor, Hash
from roadworthy.serving.rows import Columns, Row, RowReader
from roadworthy.transforms.expressions import kind_of, parse, to_onnx
from roadworthy.transforms.onnx_builder import OnnxBuilder, Pair

__all__ = ["Cost", "Engine", "Scored"]

_MISSING = ".missing"
_PROBES = (1, 64)
_REPEATS = 7
_FILLS: dict[str, tuple[Any, Any]] = {
    "tensor(double)": (np.float64, 0.0),
    "tensor(float)": (np.float32, 0.0),
    "tensor(int64)": (np.int64, 0),
    "tensor(int32)": (np.int32, 0),
    "tensor(bool)": (np.bool_, False),
}


class Scored(NamedTuple):
    """What a batch of N rows came to.

    ``scores`` is [N] or [N, classes], in the order of the bundle's classes. ``broken`` lists, for a row that breaks
    rules of the contract, the rules; it is empty for nearly every batch.
    """

    scores: NDArray[np.float64]
    broken: dict[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds that a run of n rows takes: ``per_row``·n + ``per_run``, as measured on this machine."""

    per_row: float
    per_run: float

    def of(self, rows: int) -> float:
        """Seconds of one run."""
        return self.per_row * rows + self.per_run


class Engine:
    """A bundle at work on live rows. ``title`` names the version in answers, logs and metrics.

    Raises BundleError when golden rows score otherwise than when the bundle was made.
    """

    def __init__(
        self,
        bundle: OpenBundle,
        title: str,
        *,
        hash_personal: Hash | None = None,
        hashing_key: str = "",
        threads: int = 1,
    ) -> None:
        self.title = title
        self.digest = bundle.digest
        self.predictor = BundlePredictor(bundle, hash_personal=hash_personal, hashing_key=hashing_key, threads=threads)
        self.contract = self.predictor.contract
        self.reader = RowReader(self.predictor)
        self._graph = self.predictor.graph
        self._feed = _feeder(self._graph.inputs, self.reader)
        self._guard = _Guard.build(self.contract.contract, self.reader)
        self._golden = read_golden(bundle.parts.reference)
        self_test(self._golden, self._graph)
        self.cost = self._measured()

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels in the order of scores; empty for regression."""
        return self.contract.classes

    @property
    def multiclass(self) -> bool:
        """Whether a score is a probability for each class."""
        return self.contract.task is Task.MULTICLASS

    def score(self, rows: Sequence[Row]) -> Scored:
        """Scores of clean rows of the reader. Raises ModelError when the graph fails or a score is not finite."""
        columns = self.reader.columns(rows)
        scores = self._graph.score_feed(self._feed(columns, len(rows)))
        if not np.isfinite(scores).all():
            raise ModelError("a score is not a finite number")
        return Scored(scores, self._guard.broken(columns, len(rows)) if self._guard is not None else {})

    def decisions(self, scores: NDArray[np.float64]) -> list[str] | None:
        """The label of each score; None for regression."""
        contract = self.contract
        if contract.task is Task.REGRESSION:
            return None
        if contract.task is Task.BINARY:
            places = (scores >= (0.5 if contract.threshold is None else contract.threshold)).astype(np.intp)
        else:
            places = scores.argmax(axis=1)
        return [contract.classes[place] for place in places.tolist()]

    def sound(self) -> bool:
        """Whether golden rows still score as they did when the bundle was made."""
        try:
            return self_test(self._golden, self._graph) > 0
        except (BundleError, ModelError):
            return False

    def _measured(self) -> Cost:
        """The cost of a run, from golden rows repeated; the median of several, after one that warms."""
        seconds = []
        golden = golden_frame(self._golden)
        for rows in _PROBES:
            frame = pl.concat([golden] * -(-rows // golden.height)).head(rows)
            feed = self._graph.feed(frame)
            self._graph.score_feed(feed)
            seconds.append(median(_timed(self._graph.score_feed, feed) for _ in range(_REPEATS)))
        per_row = max((seconds[1] - seconds[0]) / (_PROBES[1] - _PROBES[0]), 0.0)
        return Cost(per_row, max(seconds[0] - per_row, 0.0))


def _timed(call: Callable[[Feed], Any], feed: Feed) -> float:
    begun = time.perf_counter()
    call(feed)
    return time.perf_counter() - begun


def _feeder(inputs: Sequence[GraphInput], reader: RowReader) -> Callable[[Columns, int], Feed]:
    """What turns columns into the arrays of these inputs, each [N, 1]; everything that can be is decided here."""
    names = {node.name for node in inputs}
    places = _places(reader)
    plans = [(node, *places[node.name]) for node in inputs if node.name in places]
    masked = {node.name for node, _, _ in plans if node.name + _MISSING in names}

    def feed(columns: Columns, rows: int) -> Feed:
        missing: NDArray[np.bool_] = np.asarray(np.isnan(columns.numbers))
        never = np.zeros((rows, 1), dtype=np.bool_)
        values = np.where(missing, 0.0, columns.numbers) if missing.any() else columns.numbers
        some: NDArray[np.bool_] = np.asarray(missing.any(axis=1))
        made: Feed = {}
        for node, part, at in plans:
            mask = never
            if part == "number":
                value = values[at].astype(_FILLS[node.type][0], copy=False)
                if some[at]:
                    mask = missing[at].reshape(-1, 1)
            else:
                value, lacks = _texts(columns.texts[at]) if part == "text" else _times(columns.times[at])
                mask = never if lacks is None else lacks
            made[node.name] = value.reshape(-1, 1)
            if node.name in masked:
                made[node.name + _MISSING] = mask
        return made

    return feed


def _places(reader: RowReader) -> dict[str, tuple[str, int]]:
    """Where each field stands among the columns of its part."""
    found: dict[str, tuple[str, int]] = {}
    counts = {"number": 0, "text": 0, "time": 0}
    for field in reader.fields:
        found[field.name] = field.part, counts[field.part]
        counts[field.part] += 1
    return found


def _texts(values: Sequence[str | None]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    array = np.array(values, dtype=object)
    missing: NDArray[np.bool_] = np.array([value is None for value in values], dtype=np.bool_)
    if not missing.any():
        return array, None
    array[missing] = ""
    return array, missing.reshape(-1, 1)


def _times(values: Sequence[str | None]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    lacks = [value is None for value in values]
    array = np.array([0 if value is None else micros(value) for value in values], dtype=np.int64)
    return array, np.array(lacks, dtype=np.bool_).reshape(-1, 1) if any(lacks) else None


class _Guard:
    """The contract's rules as a graph: which rows make one false. A rule about what is missing is not false."""

    def __init__(self, graph: bytes, rules: Sequence[str], reader: RowReader) -> None:
        self._session, self._rules = open_session(graph), tuple(rules)
        inputs = [GraphInput(node.name, node.type, (None, 1)) for node in self._session.get_inputs()]
        self._feed = _feeder(inputs, reader)
        self._outputs = [f"/rule/{at}" for at in range(len(rules))]

    @classmethod
    def build(cls, contract: Contract, reader: RowReader) -> _Guard | None:
        """The guard of a contract; None where no rule can be asked of a live row."""
        known = {field.name for field in reader.fields}
        kinds = {name: kind_of(column.type) for name, column in contract.columns.items()}
        builder = OnnxBuilder("rules")
        rules: list[str] = []
        for text in contract.rules:
            rule = parse(text, kinds, where=f"rule {text!r}")
            if not rule.columns or not set(rule.columns) <= known:
                continue
            pairs: dict[str, Pair] = {
                name: builder.input_column(name, contract.columns[name].type) for name in sorted(rule.columns)
            }
            value, missing = to_onnx(rule, builder, pairs)
            false = builder.node("And", [builder.node("Not", [value]), builder.node("Not", [missing])])
            builder.output(f"/rule/{len(rules)}", false, TensorProto.BOOL)
            rules.append(text)
        return cls(builder.model().SerializeToString(), rules, reader) if rules else None

    def broken(self, columns: Columns, rows: int) -> dict[int, tuple[str, ...]]:
        """The rules that a row makes false, for the rows that make any so."""
        found = np.hstack(self._session.run(self._outputs, self._feed(columns, rows)))
        return dict(self._listed(found)) if found.any() else {}

    def _listed(self, found: NDArray[np.bool_]) -> Iterator[tuple[int, tuple[str, ...]]]:
        for row in np.flatnonzero(found.any(axis=1)).tolist():
            yield row, tuple(self._rules[at] for at in np.flatnonzero(found[row]).tolist())
