"""What a graph costs: bytes, and milliseconds for one row.

In: graphs as bytes and one row's feed. Out: single-row latencies, p50 and p99 with bounds that assume nothing
about their distribution. The contenders take turns, so that a busy moment of the machine hits them all alike.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from roadworthy.errors import ModelError
from roadworthy.graphs.runner import RUN_ERRORS, open_session
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.records.model import GraphCost

__all__ = [
    "Timing",
    "latency_measurements",
    "order_statistic",
    "quantile_bounds",
    "runs_for_bound",
    "time_graphs",
]

_CONFIDENCE = 0.95
_WARM_UP = 50


@dataclass(frozen=True, slots=True)
class Timing:
    """One graph's measured cost: its size and every single-row latency in milliseconds, in the order measured."""

    size_bytes: int
    samples_ms: NDArray[np.float64]

    @property
    def cost(self) -> GraphCost:
        """Size, median and 99th percentile (order statistics, no interpolation)."""
        ordered = np.sort(self.samples_ms)
        return GraphCost(
            size_bytes=self.size_bytes,
            p50_ms=order_statistic(ordered, 0.5),
            p99_ms=order_statistic(ordered, 0.99),
            runs=len(ordered),
        )


def time_graphs(
    graphs: Mapping[str, bytes], feed: Mapping[str, NDArray[Any]], *, runs: int = 1000, threads: int = 1
) -> dict[str, Timing]:
    """Time each graph on the same one-row feed, ``runs`` times, in turns after a warm-up of 50 runs each.

    Each round starts with another contender, so none always runs on a cache that its neighbour warmed. The
    garbage collector rests meanwhile. Raises ModelError when a graph cannot run the feed.
    """
    sessions = {name: open_session(content, threads=threads) for name, content in graphs.items()}
    arrays = dict(feed)
    for name, session in sessions.items():
        try:
            for _ in range(_WARM_UP):
                session.run(None, arrays)
        except RUN_ERRORS as error:
            raise ModelError(f"graph {name!r} fails on the row: {str(error).splitlines()[0]}") from error
    names = list(sessions)
    samples = {name: np.empty(runs) for name in names}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(runs):
            for step in range(len(names)):
                name = names[(turn + step) % len(names)]
                session = sessions[name]
                start = time.perf_counter_ns()
                session.run(None, arrays)
                samples[name][turn] = (time.perf_counter_ns() - start) / 1e6
    finally:
        if collecting:
            gc.enable()
    return {name: Timing(len(graphs[name]), samples[name]) for name in names}


def quantile_bounds(
    samples: NDArray[np.float64], quantile: float, confidence: float = _CONFIDENCE
) -> tuple[float | None, float | None]:
    """One-sided lower and upper confidence bounds of a quantile, each at ``confidence``.

    Of n ordered values, the number below the true quantile is binomial(n, quantile), whatever the distribution;
    a bound is None where n is too small for one (p99 needs 299 values for an upper one at 0.95). Source: David
    and Nagaraja (2003), "Order Statistics", section 7.1.

    >>> quantile_bounds(np.arange(1.0, 101.0), 0.5)
    (42.0, 59.0)
    >>> quantile_bounds(np.arange(100.0), 0.99)[1] is None
    True
    """
    ordered = np.sort(samples)
    n = len(ordered)
    if n == 0:
        return None, None
    below = int(stats.binom.ppf(1 - confidence, n, quantile))  # the largest rank with P(count < rank) <= 1 - confidence
    above = int(stats.binom.ppf(confidence, n, quantile)) + 1  # the smallest with P(count < rank) >= confidence
    lower = float(ordered[below - 1]) if below >= 1 else None
    upper = float(ordered[above - 1]) if above <= n else None
    return lower, upper


def runs_for_bound(quantile: float, confidence: float = _CONFIDENCE) -> int:
    """The fewest values from which ``quantile_bounds`` can give both bounds of a quantile.

    >>> runs_for_bound(0.99), runs_for_bound(0.5)
    (299, 5)
    """
    rarer = max(quantile, 1 - quantile)
    return math.ceil(math.log(1 - confidence) / math.log(rarer))


def latency_measurements(
    samples_ms: NDArray[np.float64],
    phase: Phase = Phase.RELEASE,
    *,
    confidences: tuple[float, float] = (_CONFIDENCE, _CONFIDENCE),
) -> tuple[Measurement, ...]:
    """``latency_p50`` and ``latency_p99`` of one row through the graph, in ms, with distribution-free bounds.

    ``confidences``: what is asked of the one and of the other.
    """
    ordered = np.sort(np.asarray(samples_ms, dtype=np.float64))
    made = []
    for metric, quantile, confidence in zip(("latency_p50", "latency_p99"), (0.5, 0.99), confidences, strict=True):
        lower, upper = quantile_bounds(ordered, quantile, confidence)
        short = "" if upper is not None and lower is not None else f"{len(ordered)} runs are too few for a bound"
        made.append(
            Measurement(
                metric=metric,
                value=order_statistic(ordered, quantile) if len(ordered) else None,
                lower=lower,
                upper=upper,
                confidence=confidence,
                n=len(ordered),
                unit="ms",
                phase=phase,
                method="order statistics (binomial)",
                insufficient=short,
            )
        )
    return tuple(made)


def order_statistic(ordered: NDArray[np.float64], quantile: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    return float(ordered[max(math.ceil(quantile * len(ordered)), 1) - 1])
