"""What a model costs in a fresh process."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from roadworthy.errors import ModelError
from roadworthy.graphs.fresh_process import COSTS, FreshCost, cost_exhibit, costs, fresh_cost, timed_here
from roadworthy.graphs.timing import quantile_bounds, runs_for_bound
from roadworthy.standard import CATALOGUE
from roadworthy.standard.requirement import Requirement

X = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def measured(network: Any) -> FreshCost:
    return fresh_cost(network().SerializeToString(), {"X": X[:1]}, {"X": X}, quick=True,
                      required=[Requirement(metric="cold_start", at_most=60_000.0)])  # fmt: skip


def test_every_metric_is_measured_in_the_catalogues_unit(measured: FreshCost, network: Any) -> None:
    found = {one.metric: one for one in costs(measured)}
    assert tuple(found) == COSTS
    assert all(one.unit == CATALOGUE[name].unit for name, one in found.items())
    size = found["size"]
    assert size.lower == size.value == size.upper == len(network().SerializeToString())
    assert len(measured.cold_start_ms) == 5, "as many starts as a bound of their median takes"
    for name in ("latency_p50", "cold_start", "memory", "throughput"):
        one = found[name]
        assert one.lower is not None
        assert one.upper is not None
        assert one.value is not None
        assert one.lower <= one.value <= one.upper
    p50, p95, p99 = (found[f"latency_p{q}"].value or 0 for q in (50, 95, 99))
    assert 0 < p50 <= p95 <= p99


def test_a_fresh_process_pays_for_its_start_and_its_runtime(measured: FreshCost) -> None:
    assert measured.cold_start_ms.min() > 20, "an interpreter and a runtime do not start faster"
    assert 20e6 < measured.memory_bytes.min() < 400e6
    assert (measured.memory_bytes > measured.runtime_bytes + 5e6).all(), "ONNX Runtime was loaded after the first look"
    assert np.median(measured.single_ms) < 50, "nothing of the start is in a prediction"


def test_text_and_masks_travel_to_the_process(front: Any, network: Any) -> None:
    from roadworthy.graphs.join import join  # noqa: PLC0415 - beside its only use

    graph = join(front(), network()).SerializeToString()
    feed: dict[str, Any] = {"price": np.ones((64, 1)), "used": np.ones((64, 1), dtype=bool),
            "device": np.array([["möbile"]] * 64, dtype=object), "asked": np.ones((64, 1), dtype=np.int64)}  # fmt: skip
    feed |= {f"{name}.missing": np.zeros((64, 1), dtype=bool) for name in tuple(feed)}
    one = {name: array[:1] for name, array in feed.items()}
    assert len(fresh_cost(graph, one, feed, quick=True).single_ms)


def test_a_model_that_breaks_there_is_one_clear_error(network: Any) -> None:
    with pytest.raises(ModelError, match="cannot predict in a fresh process") as caught:
        fresh_cost(b"no graph", {"X": X[:1]}, {"X": X}, quick=True)
    assert "code 1" in str(caught.value)
    with pytest.raises(ModelError, match="fresh process"):
        fresh_cost(network().SerializeToString(), {"Y": X[:1]}, {"Y": X}, quick=True)


def test_confidence_is_what_a_requirement_asks_for(measured: FreshCost) -> None:
    asked = [Requirement(metric="latency_p99", at_most=50.0, confidence=0.99)]
    found = {one.metric: one for one in costs(measured, asked)}
    assert found["latency_p99"].confidence == 0.99
    assert found["latency_p95"].confidence == 0.95
    upper = quantile_bounds(measured.single_ms, 0.99, 0.99)[1]
    assert found["latency_p99"].upper == upper


def test_too_few_runs_say_how_many_it_takes() -> None:
    few = FreshCost(single_ms=np.ones(100), batch_ms=np.ones(300), where="here")
    found = {one.metric: one for one in costs(few)}
    assert found["latency_p99"].insufficient == "100 runs are too few for a bound, which takes 299"
    assert found["latency_p99"].upper is None
    assert not found["latency_p99_batch"].insufficient
    assert found.keys().isdisjoint({"cold_start", "memory", "size"}), "what was not measured is not there"


def test_throughput_counts_the_slow_runs_too() -> None:
    """Every tenth run takes 91 ms, the others 1: half of all runs are fast, but ten runs take 100 ms."""
    times = np.where(np.arange(400) % 10 == 0, 91.0, 1.0)
    found = {one.metric: one for one in costs(FreshCost(single_ms=times, batch_ms=times, where="here"))}
    assert found["throughput"].value == pytest.approx(6_400, rel=0.01)


def test_runs_for_bound_is_the_first_number_with_a_bound() -> None:
    for quantile in (0.5, 0.95, 0.99):
        for confidence in (0.9, 0.95, 0.99):
            n = runs_for_bound(quantile, confidence)
            assert None not in quantile_bounds(np.arange(float(n)), quantile, confidence)
            assert None in quantile_bounds(np.arange(float(n - 1)), quantile, confidence)


def test_bounds_of_the_median_of_five_starts_hold() -> None:
    """Of 2,000 draws of five skewed values at least 95 % lie on each side of the true median, sampling error apart."""
    rng = np.random.default_rng(1)
    draws = rng.lognormal(size=(2_000, 5))
    bounds = np.array([quantile_bounds(draw, 0.5) for draw in draws])
    assert (bounds[:, 0] <= 1).mean() >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 2_000)
    assert (bounds[:, 1] >= 1).mean() >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 2_000)


def test_a_slow_model_gets_the_runs_that_a_requirement_needs() -> None:
    def slow(_rows: int) -> None:
        time.sleep(0.003)

    plain = timed_here(slow, where="here", quick=True)
    asked = [Requirement(metric="latency_p99", at_most=50.0)]
    needed = timed_here(slow, where="here", quick=True, required=asked)
    assert len(plain.single_ms) < 299 <= len(needed.single_ms)


def test_the_table_has_both_sizes(measured: FreshCost) -> None:
    table = cost_exhibit(measured).columns
    assert table["rows"] == [1, 64]
    assert {len(column) for column in table.values()} == {2}
