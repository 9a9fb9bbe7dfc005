"""What a model costs where nothing is warm: start, memory, latency and throughput of fresh processes.

In: a model's file, how a process loads it, arrays for one row and for 64. Out: a ``FreshCost``, and the measurements
that it stands for. Laws: every process is new, runs one thread and imports nothing but NumPy and the model's own
runtime; the bounds assume nothing about the distribution of times; what cannot be measured (the memory of a model
behind a network) leaves no measurement.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import ModelError, Problem
from roadworthy.graphs.timing import order_statistic, quantile_bounds, runs_for_bound
from roadworthy.records.evidence import Exhibit, Measurement
from roadworthy.standard.catalogue import CATALOGUE
from roadworthy.standard.requirement import Requirement

__all__ = [
    "BATCH",
    "COSTS",
    "ONNX_LOADER",
    "FreshCost",
    "cost_exhibit",
    "costs",
    "file_size",
    "fresh_cost",
    "timed_here",
]

BATCH = 64
"""Rows of a batch."""

COSTS = (
    "size",
    "latency_p50",
    "latency_p95",
    "latency_p99",
    "latency_p99_batch",
    "throughput",
    "cold_start",
    "memory",
)
"""What this module measures."""

ONNX_LOADER = Path(__file__).with_name("fresh_onnx.py")
"""How a fresh process loads an ONNX graph."""

_CHILD = Path(__file__).with_name("fresh_child.py")
_LATENCIES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99}
_BLOCKS = 20
_PATIENCE_S = 60.0
_NOTHING: NDArray[np.float64] = np.zeros(0)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FreshCost:
    """What a model was measured to cost.

    ``single_ms`` and ``batch_ms``: every run of one row and of ``batch`` rows, in the order measured.
    ``cold_start_ms``, ``memory_bytes`` and ``runtime_bytes``: one per fresh process, empty where there was none; the
    last is what the process held before the model was loaded. ``size_bytes``: of the model's file, None where it has
    none. ``where`` says what was timed and where; ``memory_how`` how memory was told.
    """

    single_ms: NDArray[np.float64]
    batch_ms: NDArray[np.float64]
    cold_start_ms: NDArray[np.float64] = field(default_factory=lambda: _NOTHING)
    memory_bytes: NDArray[np.float64] = field(default_factory=lambda: _NOTHING)
    runtime_bytes: NDArray[np.float64] = field(default_factory=lambda: _NOTHING)
    size_bytes: int | None = None
    batch: int = BATCH
    where: str
    memory_how: str = "resident"


def fresh_cost(
    model: Path | bytes,
    one: Mapping[str, NDArray[Any]],
    many: Mapping[str, NDArray[Any]],
    *,
    loader: Path = ONNX_LOADER,
    where: str = "the graph alone, in fresh processes of one thread",
    quick: bool = False,
    required: Sequence[Requirement] = (),
) -> FreshCost:
    """Measure a model in several new processes, one after the other, in about 5 s (``quick``: 2 s).

    ``model`` is a file or its bytes, ``one`` and ``many`` are the arrays for one row and for a batch, ``loader`` the
    Python file that loads such a model. What is ``required`` decides how many runs and processes its confidence takes;
    slow models then get up to a minute. Raises ModelError when a process cannot load or run the model.
    """
    plan = _Plan.of(required, quick=quick)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="roadworthy-cost-") as folder:
        file = _in_folder(Path(folder), model, one, many)
        starts: list[float] = []
        told: list[dict[str, Any]] = []
        wanted = plan.processes
        while len(starts) < wanted:
            with _Fresh(loader, file, Path(folder)) as child:
                starts.append(child.cold_start_ms)
                wanted = plan.affordable(starts, time.perf_counter() - begun)
                told.append(child.asked(plan.share(starts, time.perf_counter() - begun, wanted)))
    return FreshCost(
        single_ms=np.concatenate([one["single"] for one in told]),
        batch_ms=np.concatenate([one["batch"] for one in told]),
        cold_start_ms=np.array(starts),
        memory_bytes=_known([one["after"] for one in told]),
        runtime_bytes=_known([one["before"] for one in told]),
        size_bytes=file_size(model),
        batch=len(next(iter(many.values()))),
        where=where,
        memory_how=str(told[0]["how"]),
    )


def timed_here(
    predict: Callable[[int], Any],
    *,
    where: str,
    batch: int = BATCH,
    quick: bool = False,
    required: Sequence[Requirement] = (),
    size_bytes: int | None = None,
) -> FreshCost:
    """Time what only this process can ask: ``predict(rows)`` with 1 and with ``batch``, after a warm-up.

    No start and no memory: this process was neither new nor the model's alone. What ``predict`` raises passes through.
    """
    plan = _Plan.of(required, quick=quick)
    times = {}
    for rows, runs, least in ((1, plan.single, plan.least_single), (batch, plan.batch, plan.least_batch)):
        for _ in range(3):
            predict(rows)
        times[rows] = _timed(partial(predict, rows), (runs, least), plan.seconds / 2.5, plan.most)
    return FreshCost(
        single_ms=times[1], batch_ms=times[batch], batch=batch, where=where, size_bytes=size_bytes, memory_how=""
    )


def file_size(model: Path | bytes) -> int:
    """Bytes of a model."""
    return len(model) if isinstance(model, bytes) else model.stat().st_size


def _known(values: Sequence[int]) -> NDArray[np.float64]:
    return np.array([value for value in values if value], dtype=np.float64)


def _timed(predict: Callable[[], Any], runs: tuple[int, int], seconds: float, most: float) -> NDArray[np.float64]:
    """As in ``fresh_child``, which may import nothing of this package."""
    wanted, least = runs
    taken: list[float] = []
    begun = time.perf_counter()
    while len(taken) < wanted:
        passed = time.perf_counter() - begun
        if taken and passed > (most if len(taken) < least else seconds):
            break
        start = time.perf_counter_ns()
        predict()
        taken.append((time.perf_counter_ns() - start) / 1e6)
    return np.array(taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """How many processes and runs, and how long: ``seconds`` for all, ``most`` where a requirement needs the runs."""

    seconds: float
    most: float
    processes: int
    least_processes: int
    single: int
    least_single: int
    batch: int
    least_batch: int

    @classmethod
    def of(cls, required: Sequence[Requirement], *, quick: bool) -> _Plan:
        def needed(metrics: Sequence[str], quantile: float) -> int:
            asked = [one.confidence for one in required if one.metric in metrics]
            return runs_for_bound(quantile, max(asked)) if asked else 0

        processes = needed(("cold_start", "memory"), 0.5)
        single = max(needed((name,), quantile) for name, quantile in _LATENCIES.items())
        batch = needed(("latency_p99_batch",), 0.99)
        usual = runs_for_bound(0.99)
        return cls(
            seconds=1.6 if quick else 4.5,
            most=20.0,
            processes=max(processes, runs_for_bound(0.5)),
            least_processes=max(processes, 1),
            single=max(single, 500 if quick else 2_000),
            least_single=single,
            batch=max(batch, usual if quick else 600),
            least_batch=batch,
        )

    def affordable(self, starts: Sequence[float], passed: float) -> int:
        """How many processes the time allows, seen how long one takes to start; all that are required in any case."""
        left = self.seconds - passed
        more = int(max(left, 0.0) * 0.7 / (float(np.mean(starts)) / 1e3))
        return min(self.processes, max(self.least_processes, len(starts) + more))

    def share(self, starts: Sequence[float], passed: float, wanted: int) -> dict[str, Any]:
        """What one of ``wanted`` processes is asked: runs and the fewest of them, and seconds for each kind of run."""
        still = wanted - len(starts)
        left = self.seconds - passed - still * float(np.mean(starts)) / 1e3
        each = max(left / (still + 1) / 2.5, 0.02)
        return {
            "single": [-(-self.single // wanted), -(-self.least_single // wanted)],
            "batch": [-(-self.batch // wanted), -(-self.least_batch // wanted)],
            "seconds": each,
            "most": self.most / wanted,
        }


class _Fresh:
    """One new process with the model loaded, one prediction made; ended on leaving, however that comes about."""

    def __init__(self, loader: Path, model: Path, folder: Path) -> None:
        self._errors = (folder / "errors.txt").open("wb+")
        command = [sys.executable, "-P", str(_CHILD), str(loader), str(model), str(folder)]
        begun = time.perf_counter_ns()
        self._process = subprocess.Popen(  # noqa: S603 - our own file, run by the Python that runs this
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=_environment()
        )
        self._watch = threading.Timer(_PATIENCE_S, self._process.kill)
        self._watch.daemon = True
        self._watch.start()
        try:
            self._line()
        except BaseException:
            self.__exit__()
            raise
        self.cold_start_ms = (time.perf_counter_ns() - begun) / 1e6

    def __enter__(self) -> _Fresh:
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.cancel()
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                pipe.close()
        self._process.wait()

    def asked(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """The times of the runs that the plan asks for, and the memory after them."""
        if self._process.stdin is None:
            raise ModelError("the process that was to predict has no input")
        self._process.stdin.write(json.dumps(plan).encode() + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._line())
        return answer

    def _line(self) -> bytes:
        """The next line of the process; ModelError with its last words when it ends instead."""
        line = self._process.stdout.readline() if self._process.stdout is not None else b""
        if line:
            return line
        code = self._process.wait()
        self._errors.seek(0)
        last = self._errors.read().decode("utf-8", "replace").strip().splitlines()[-1:]
        ended = f"ended with code {code}" if code >= 0 else f"was ended by signal {-code}"
        raise ModelError(
            "the model cannot predict in a fresh process",
            problems=[Problem(f"the process {ended}: {''.join(last) or 'it said nothing'}")],
        )


def _environment() -> dict[str, str]:
    """This process's own, with one thread for whatever library starts some."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(threads, "1")}


def _in_folder(
    folder: Path, model: Path | bytes, one: Mapping[str, NDArray[Any]], many: Mapping[str, NDArray[Any]]
) -> Path:
    """The arrays in files, and the model's own file, or its bytes in one."""
    for name, feed in (("one", one), ("many", many)):
        plain = {key: array.astype(np.str_) if array.dtype == object else array for key, array in feed.items()}
        np.savez(folder / f"{name}.npz", allow_pickle=False, **plain)
    if isinstance(model, Path):
        return model.resolve()
    (folder / "model").write_bytes(model)
    return folder / "model"


def costs(cost: FreshCost, required: Sequence[Requirement] = ()) -> tuple[Measurement, ...]:
    """The measurements behind a cost, each at the confidence that a requirement asks for (0.95 where none does).

    Latencies, the cold start and memory are order statistics with distribution-free bounds (of the median for the
    last two); throughput is the median over blocks of runs, so that slow runs count; size is exact.
    """
    made = []
    if cost.size_bytes is not None:
        size = float(cost.size_bytes)
        made.append(Measurement(metric="size", value=size, lower=size, upper=size, n=1, unit="bytes",
                                method="bytes of the file"))  # fmt: skip
    for metric, quantile in _LATENCIES.items():
        made.append(_quantile(metric, cost.single_ms, quantile, required, "runs", cost.where))
    made += [
        _quantile("latency_p99_batch", cost.batch_ms, 0.99, required, "runs", f"{cost.batch} rows; {cost.where}"),
        _throughput(cost, required),
    ]
    if len(cost.cold_start_ms):
        made.append(_quantile("cold_start", cost.cold_start_ms, 0.5, required, "starts", "process start to answer"))
    if len(cost.memory_bytes):
        told = _quantile("memory", cost.memory_bytes, 0.5, required, "processes", f"{cost.memory_how} memory")
        before = float(np.median(cost.runtime_bytes)) / 1e6
        said = f"{before:.0f} MB of it are Python and NumPy, before the model and its runtime are loaded"
        made.append(msgspec.structs.replace(told, reason=said))
    return tuple(made)


def _quantile(  # noqa: PLR0917 - what a measurement of a quantile is made of
    metric: str,
    samples: NDArray[np.float64],
    quantile: float,
    required: Sequence[Requirement],
    noun: str,
    where: str,
) -> Measurement:
    confidence = max((one.confidence for one in required if one.metric == metric), default=0.95)
    lower, upper = quantile_bounds(samples, quantile, confidence)
    needed = runs_for_bound(quantile, confidence)
    short = ""
    if lower is None or upper is None:
        short = f"{len(samples)} {noun} are too few for a bound, which takes {needed}"
    return Measurement(
        metric=metric,
        value=order_statistic(np.sort(samples), quantile) if len(samples) else None,
        lower=lower,
        upper=upper,
        confidence=confidence,
        n=len(samples),
        unit=CATALOGUE[metric].unit,
        method=f"order statistics (binomial); {where}",
        insufficient=short,
    )


def _throughput(cost: FreshCost, required: Sequence[Requirement]) -> Measurement:
    """Rows a second, block by block of consecutive runs: a block's slow runs slow the block."""
    blocks = np.array_split(cost.batch_ms, min(_BLOCKS, len(cost.batch_ms)))
    rates = np.array([cost.batch * len(block) / (block.sum() / 1e3) for block in blocks])
    where = f"{len(rates)} blocks of runs of {cost.batch} rows; {cost.where}"
    return _quantile("throughput", rates, 0.5, required, "blocks", where)


def cost_exhibit(cost: FreshCost) -> Exhibit:
    """Latencies of one row and of a batch, as a table: milliseconds at p50, p95 and p99."""
    columns: dict[str, list[Any]] = {"rows": [1, cost.batch], "runs": [len(cost.single_ms), len(cost.batch_ms)]}
    for title, quantile in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99)):
        columns[title] = [order_statistic(np.sort(times), quantile) for times in (cost.single_ms, cost.batch_ms)]
    return Exhibit(name="cost", title="Latency of one row and of a batch", columns=columns, note=cost.where)
