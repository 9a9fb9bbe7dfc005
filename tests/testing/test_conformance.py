"""The conformance checks: the in-memory implementations pass, and each broken law is caught."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from roadworthy.protocols import Clock, Reporter, Source, Store, TrainingData
from roadworthy.records.model import ProgressLine
from roadworthy.records.project import Task
from roadworthy.testing import (
    ConformanceError,
    FixedClock,
    MemorySource,
    MemoryStore,
    SilentReporter,
    check_source,
    check_store,
    check_trainer,
)

FRAME = pl.DataFrame({"a": [1, 2], "b": ["x", "y"]})


def test_the_in_memory_source_and_store_conform() -> None:
    check_source(lambda: MemorySource(FRAME))
    store = MemoryStore()
    check_store(lambda: store)
    store.close()
    typed: tuple[type[Source], type[Store]] = (MemorySource, MemoryStore)
    assert typed


class Restless(MemorySource):
    calls = 0

    def fingerprint(self) -> str:
        Restless.calls += 1
        return f"sha256:{Restless.calls:064d}"


class Shuffling(MemorySource):
    def scan(self) -> pl.LazyFrame:
        self.frame = self.frame.reverse()
        return super().scan()


class Nameless(MemorySource):
    def fingerprint(self) -> str:
        return "42"


@pytest.mark.parametrize(
    ("source", "law"),
    [
        (Restless(FRAME), "does not change the fingerprint"),
        (Shuffling(FRAME), "scanning twice"),
        (Nameless(FRAME), "sha256"),
        (MemorySource(FRAME.clear()), "without rows"),
        (MemorySource(FRAME, name="postgresql://u:secret-word@h"), "no secret"),
        (object(), "a source has"),
    ],
)
def test_broken_sources_are_caught(source: Source, law: str) -> None:
    with pytest.raises(ConformanceError, match=law):
        check_source(lambda: source, secrets=["secret-word"])


class Eager(MemoryStore):
    """Publishes before the writer is done."""

    @contextmanager
    def writing(self, stage: str, digest: str) -> Iterator[Path]:
        with super().writing(stage, digest) as folder:
            self._folders[stage, digest] = folder
            yield folder


class Replacing(MemoryStore):
    """Replaces what was published."""

    @contextmanager
    def writing(self, stage: str, digest: str) -> Iterator[Path]:
        with super().writing(stage, digest) as folder:
            yield folder
            self._folders.pop((stage, digest), None)


class Swallowing(MemoryStore):
    """Hides the writer's exception."""

    @contextmanager
    def writing(self, stage: str, digest: str) -> Iterator[Path]:
        try:
            with super().writing(stage, digest) as folder:
                yield folder
        except Exception:  # noqa: BLE001, S110 - the fault that the check must see
            pass


@pytest.mark.parametrize(
    ("kind", "law"),
    [(Eager, "what was not published"), (Replacing, "never replaced"), (Swallowing, "passes through")],
)
def test_broken_stores_are_caught(kind: type[MemoryStore], law: str) -> None:
    store = kind()
    with pytest.raises(ConformanceError, match=law):
        check_store(lambda: store)
    store.close()


def test_the_reporter_remembers_and_the_clock_stands_still() -> None:
    reporter, clock = SilentReporter(), FixedClock(datetime(2026, 3, 1, tzinfo=UTC))
    typed: tuple[Reporter, Clock] = (reporter, clock)
    assert typed
    reporter.begin("train", 3)
    reporter.advance("train", 2)
    line = ProgressLine(candidate="a", step=1, train_loss=1, valid_loss=1, train_quality=0, valid_quality=0)
    reporter.line(line)
    reporter.end("train", reused=True)
    assert (reporter.begun, reporter.steps, reporter.lines) == (["train"], {"train": 2}, [line])
    assert reporter.ended == [("train", "", True)]
    assert clock.now() == clock.now()


class LeastSquares:
    """A fitted regression on X."""

    best_step = 1

    def __init__(self, weights: NDArray[np.float32], shift: float) -> None:
        self.weights = weights
        self.shift = shift

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        return (x @ self.weights)[:, 0].astype(np.float64)

    def to_onnx(self) -> bytes:
        weights = numpy_helper.from_array(self.weights + np.float32(self.shift), "w")
        x = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, len(self.weights)])
        score = helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])
        node = helper.make_node("MatMul", ["X", "w"], ["score"])
        graph = helper.make_graph([node], "least squares", [x], [score], [weights])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        return bytes(onnx.load_from_string(model.SerializeToString()).SerializeToString())


class LeastSquaresTrainer:
    """A trainer small enough to read; its faults are switched on by name."""

    name = "least-squares"
    fits = itertools.count()

    def __init__(self, fault: str = "") -> None:
        self.fault = fault

    def defaults(self, task: Task, rows: int) -> Mapping[str, Any]:  # noqa: ARG002 - the protocol's signature
        return {}

    def space(self, task: Task) -> Mapping[str, tuple[Any, ...]]:  # noqa: ARG002 - the protocol's signature
        return {"empty": ()} if self.fault == "space" else {}

    def fit(
        self,
        data: TrainingData,
        parameters: Mapping[str, Any],  # noqa: ARG002 - the protocol's signature
        report: Callable[[ProgressLine], None],
    ) -> LeastSquares:
        weights = np.linalg.lstsq(data.x, data.y, rcond=None)[0].astype(np.float32)[:, None]
        loss = float("nan") if self.fault == "loss" else 1.0
        if self.fault != "silent":
            line = ProgressLine(
                candidate="a", step=1, train_loss=loss, valid_loss=1.0, train_quality=0.0, valid_quality=0.0
            )
            report(line)
        if self.fault == "restless":
            weights = weights + np.float32(next(self.fits))
        if self.fault == "greedy":
            data.x[0, 0] = 0
        return LeastSquares(weights, 0.01 if self.fault == "graph" else 0.0)


def test_a_small_trainer_conforms() -> None:
    check_trainer(LeastSquaresTrainer, tasks=[Task.REGRESSION])


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        ("space", "has values"),
        ("loss", "losses are finite"),
        ("silent", "every round reports"),
        ("restless", "same seed, same model"),
        ("greedy", "leaves the data alone"),
        ("graph", "differ by"),
    ],
)
def test_broken_trainers_are_caught(fault: str, law: str) -> None:
    with pytest.raises(ConformanceError, match=law):
        check_trainer(lambda: LeastSquaresTrainer(fault), tasks=[Task.REGRESSION])
