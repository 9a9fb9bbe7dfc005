"""One version of a model, warm and ready to answer batches of clean rows.

In: an open bundle. Out: scores of a batch, and which of its rows break a rule of the contract. Laws: the score of a
row does not depend on the batch that it is in; it equals what ``BundlePredictor`` says of the same row, and so do the
reasons why a person is to decide it; a score that is not a finite number is never an answer.

What a run costs is measured when the engine is made (``a·n + b``): admission rests on it, and so does whether the
model runs on the event loop or in a thread of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from roadworthy.errors import BundleError, ModelError
from roadworthy.formats.bundle import OpenBundle, read_constant
from roadworthy.graphs.fuse import MISSING, NUMBERS
from roadworthy.graphs.golden import golden_frame, read_golden, require_same
from roadworthy.graphs.loops import has_loop
from roadworthy.graphs.runner import Feed
from roadworthy.records.contract import Contract
from roadworthy.records.project import Task
from roadworthy.serving.deciding import Doubts, decided
from roadworthy.serving.feeding import Asked, arrays_of, arrays_of_frame
from roadworthy.serving.fields import Part
from roadworthy.serving.predictor import BundlePredictor, Hash
from roadworthy.serving.rows import Row, RowReader, RowsRefused
from roadworthy.transforms.expressions import kind_of, parse, to_onnx
from roadworthy.transforms.onnx_builder import OnnxBuilder, Pair

if TYPE_CHECKING:
    from roadworthy.serving.referring import Referee

__all__ = ["Cost", "Engine", "Scored"]

_PROBES = (1, 64)
_REPEATS = 7


class Scored(NamedTuple):
    """What a batch of N rows came to.

    ``scores`` is [N] or [N, classes], in the order of the bundle's classes. ``broken`` lists, for a row that breaks
    rules of the contract, the rules; it is empty for nearly every batch. ``doubts`` are None where the bundle leaves no
    row to a person.
    """

    scores: NDArray[np.float64]
    broken: dict[int, tuple[str, ...]]
    doubts: Doubts | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds that a run of n rows takes: ``per_row``·n + ``per_run``, as measured on this machine.

    ``steady``: it is the same for every row. A graph with a loop may run for ever on one.
    """

    per_row: float
    per_run: float
    steady: bool = True

    def of(self, rows: int) -> float:
        """Seconds of one run."""
        return self.per_row * rows + self.per_run


class Engine:
    """A bundle at work on live rows. ``title`` names the version in answers, logs and metrics.

    ``constant`` is the declared answer when no version gives one, None where none is declared.

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
        self._graph = Asked(bundle.parts.model, self.reader, [self.contract.output], threads=threads)
        self._guard = _Guard.build(self.contract.contract, self.reader)
        self.constant = read_constant(bundle.parts.reference, self.contract)
        referee = self.predictor.referee
        self._doubting = _Doubting(referee, self.reader) if referee is not None else None
        self._golden = read_golden(bundle.parts.reference)
        self._golden_arrays = arrays_of_frame(golden_frame(self._golden), self.reader)
        require_same(self._golden, self._scored(self._golden_arrays))
        self.cost = self._measured(steady=not has_loop(bundle.parts.model))

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels in the order of scores; empty for regression."""
        return self.contract.classes

    @property
    def multiclass(self) -> bool:
        """Whether a score is a probability for each class."""
        return self.contract.task is Task.MULTICLASS

    @property
    def refers(self) -> bool:
        """Whether some rows may be left to a person."""
        return self._doubting is not None

    @property
    def intervals(self) -> bool:
        """Whether estimates come with an interval."""
        referee = self.predictor.referee
        return self.contract.task is Task.REGRESSION and referee is not None and referee.plan.conformal is not None

    def score(self, rows: Sequence[Row]) -> Scored:
        """Scores of clean rows of the reader. Raises ModelError when the graph fails or a score is not finite."""
        return self.score_arrays(arrays_of(rows, self.reader))

    def score_arrays(self, arrays: Feed) -> Scored:
        """The same for rows that came as arrays already, in the form of ``serving.feeding``."""
        scores = self._scored(arrays)
        if not np.isfinite(scores).all():
            raise ModelError("a score is not a finite number")
        broken = self._guard.broken(arrays) if self._guard is not None else {}
        return Scored(scores, broken, self._doubting.about(arrays, scores) if self._doubting is not None else None)

    def _scored(self, arrays: Feed) -> NDArray[np.float64]:
        scores: NDArray[np.float64] = self._graph.run(arrays)[0].astype(np.float64)
        return scores if self.multiclass else scores.reshape(-1)

    def decisions(self, scores: NDArray[np.float64]) -> list[str] | None:
        """The label of each score; None for regression."""
        places = decided(self.contract, scores)
        if places is None:
            return None
        classes = self.contract.classes
        return [classes[place] for place in places.tolist()]

    def example(self) -> dict[str, Any]:
        """A made-up row that meets the contract: the first golden row that does."""
        rows = golden_frame(self._golden).rows(named=True)
        for row in rows[1:]:
            fields = {
                field.name: _shown(row[field.name], field.part) for field in self.reader.fields if field.name in row
            }
            try:
                self.reader.take([fields])
            except RowsRefused:
                continue
            return fields
        return {}

    def sound(self) -> bool:
        """Whether golden rows still score as they did when the bundle was made."""
        try:
            return require_same(self._golden, self._scored(self._golden_arrays)) > 0
        except (BundleError, ModelError):
            return False

    def _measured(self, *, steady: bool) -> Cost:
        """The cost of a run, from golden rows repeated; the median of several, after one that warms."""
        seconds = []
        golden = len(self._golden.scores)
        for rows in _PROBES:
            places = np.arange(rows) % golden
            arrays = {name: array[places] for name, array in self._golden_arrays.items()}
            run = self._graph.run if self._doubting is None else self.score_arrays
            run(arrays)
            seconds.append(median(_timed(run, arrays) for _ in range(_REPEATS)))
        per_row = max((seconds[1] - seconds[0]) / (_PROBES[1] - _PROBES[0]), 0.0)
        return Cost(per_row, max(seconds[0] - per_row, 0.0), steady)


def _shown(value: Any, part: Part) -> Any:
    """A golden value as a caller writes it: golden times are microseconds."""
    if value is None or part != "time":
        return value
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value)).isoformat()


def _timed(call: Callable[[Feed], Any], feed: Feed) -> float:
    begun = time.perf_counter()
    call(feed)
    return time.perf_counter() - begun


class _Doubting:
    """The refer plan of a bundle, fed from the arrays of live rows."""

    def __init__(self, referee: Referee, reader: RowReader) -> None:
        self._referee = referee
        names = [field.name for field in reader.fields if field.part == "number"]
        places = [names.index(name) for name in referee.numbers]
        self._places = None if places == list(range(len(names))) else places
        self._texts = [(name, f"{name}.missing") for name in referee.texts]

    def about(self, arrays: Feed, scores: NDArray[np.float64]) -> Doubts:
        """The doubts about rows with these scores."""
        numbers, missing = arrays[NUMBERS], arrays[MISSING]
        if self._places is not None:
            numbers, missing = numbers[:, self._places], missing[:, self._places]
        texts = [_as_texts(arrays[name], arrays[mask]) for name, mask in self._texts]
        return self._referee.judge(scores, numbers, missing, texts)


def _as_texts(values: NDArray[Any], missing: NDArray[np.bool_]) -> list[str | None]:
    """A column of texts [N, 1] with its mask as a list, None where missing."""
    pairs = zip(values.ravel().tolist(), missing.ravel().tolist(), strict=True)
    return [None if lacks else value for value, lacks in pairs]


class _Guard:
    """The contract's rules as a graph: which rows make one false. A rule about what is missing is not false."""

    def __init__(self, graph: bytes, rules: Sequence[str], reader: RowReader) -> None:
        self._rules = tuple(rules)
        self._asked = Asked(graph, reader, [f"/rule/{at}" for at in range(len(rules))])

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

    def broken(self, arrays: Feed) -> dict[int, tuple[str, ...]]:
        """The rules that a row makes false, for the rows that make any so."""
        found = np.hstack(self._asked.run(arrays))
        return dict(self._listed(found)) if found.any() else {}

    def _listed(self, found: NDArray[np.bool_]) -> Iterator[tuple[int, tuple[str, ...]]]:
        for row in np.flatnonzero(found.any(axis=1)).tolist():
            yield row, tuple(self._rules[at] for at in np.flatnonzero(found[row]).tolist())
