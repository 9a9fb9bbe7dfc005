from __future__ import annotations

import logging
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from roadworthy.errors import ModelError
from roadworthy.graphs.join import join
from roadworthy.graphs.optimise import optimise
from roadworthy.graphs.quantise import quantisable, quantise
from roadworthy.graphs.runner import GraphModel
from roadworthy.graphs.timing import Timing, latency_measurements, quantile_bounds, time_graphs
from roadworthy.graphs.variants import pays


@pytest.fixture(scope="module")
def joined(front: Any, network: Any) -> bytes:
    content: bytes = join(front(), network(gemm=False)).SerializeToString()
    return content


def operators(content: bytes) -> list[str]:
    return [f"{node.domain}.{node.op_type}" for node in onnx.load_from_string(content).graph.node]


def matrix(rows: int = 200, width: int = 4) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(rows, width)).astype(np.float32)


def test_optimising_is_portable_smaller_and_repeatable(joined: bytes) -> None:
    better = optimise(joined)
    assert better == optimise(joined)
    assert len(operators(better)) < len(operators(joined))
    assert {name.rsplit(".", 1)[0] for name in operators(better)} <= {"", "ai.onnx.ml"}
    domains = {entry.domain for entry in onnx.load_from_string(better).opset_import}
    assert domains <= {"", "ai.onnx.ml"}


def test_optimising_changes_neither_scores_nor_interface(network: Any) -> None:
    plain = network((4, 16, 8, 3), last="Softmax", gemm=False).SerializeToString()
    before, after = GraphModel(plain), GraphModel(optimise(plain))
    np.testing.assert_allclose(after.score_feed({"X": matrix()}), before.score_feed({"X": matrix()}), rtol=0, atol=1e-6)
    assert (before.inputs, before.outputs) == (after.inputs, after.outputs)


def test_documentation_and_unused_weights_go(network: Any) -> None:
    model = network()
    model.doc_string = model.graph.doc_string = "x" * 10_000
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(10_000, dtype=np.float32), "unused"))
    assert len(optimise(model.SerializeToString())) < 3_000


def test_a_branch_keeps_the_weights_that_only_it_reads() -> None:
    def branch(name: str) -> onnx.GraphProto:
        node = helper.make_node("Mul", ["X", f"w{name}"], [f"y{name}"])
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(f"y{name}", TensorProto.FLOAT, None)])

    nodes = [
        helper.make_node("ReduceSum", ["X"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["score"], then_branch=branch("a"), else_branch=branch("b")),
    ]
    weights = {"wa": 2.0, "wb": 3.0, "zero": 0.0}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(np.array(value, dtype=np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    better = GraphModel(optimise(model.SerializeToString()))
    assert better.score_feed({"X": np.ones((1, 2), dtype=np.float32)}).tolist() == [[2.0, 2.0]]
    assert better.score_feed({"X": -np.ones((1, 2), dtype=np.float32)}).tolist() == [[-3.0, -3.0]]


def test_int8_is_smaller_close_and_repeatable(network: Any) -> None:
    plain = optimise(network((40, 128, 64, 1)).SerializeToString())
    small = quantise(plain)
    assert quantisable(plain)
    assert small == quantise(plain)
    assert len(small) < 0.4 * len(plain)
    rows = matrix(width=40)
    gap = np.abs(GraphModel(small).score_feed({"X": rows}) - GraphModel(plain).score_feed({"X": rows}))
    assert 0 < gap.max() < 0.05


def test_a_graph_without_weights_is_not_quantised(front: Any) -> None:
    content = front().SerializeToString()
    assert not quantisable(content)
    with pytest.raises(ModelError, match="nothing to quantise"):
        quantise(content)


def test_quantising_leaves_logging_as_it_was(network: Any) -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    quantise(network().SerializeToString())
    assert (root.level, list(root.handlers)) == before


def test_contenders_are_timed_on_the_same_row(network: Any) -> None:
    graphs = {"small": network((4, 2, 1)).SerializeToString(), "large": network((4, 512, 512, 1)).SerializeToString()}
    timings = time_graphs(graphs, {"X": matrix(1)}, runs=200)
    assert list(timings) == ["small", "large"]
    for name, timing in timings.items():
        assert timing.size_bytes == len(graphs[name])
        assert timing.cost.runs == len(timing.samples_ms) == 200
        assert 0 < timing.cost.p50_ms <= timing.cost.p99_ms
    assert timings["small"].cost.p50_ms < timings["large"].cost.p50_ms


def test_a_graph_that_cannot_run_the_row_is_named(network: Any) -> None:
    with pytest.raises(ModelError, match="'mine'"):
        time_graphs({"mine": network((4, 1)).SerializeToString()}, {"X": matrix(1, width=3)}, runs=5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=400), st.sampled_from([0.5, 0.9, 0.99]))
def test_quantile_bounds_enclose_the_order_statistic(values: list[float], quantile: float) -> None:
    samples = np.array(values)
    lower, upper = quantile_bounds(samples, quantile)
    middle = np.sort(samples)[max(int(np.ceil(quantile * len(values))), 1) - 1]
    assert lower is None or lower <= middle
    assert upper is None or upper >= middle


def test_quantile_bounds_cover_as_promised() -> None:
    rng = np.random.default_rng(5)
    truth = -np.log(0.01)
    bounds = [quantile_bounds(rng.exponential(size=600), 0.99) for _ in range(1500)]
    below = np.mean([lower is None or lower <= truth for lower, _ in bounds])
    above = np.mean([upper is None or upper >= truth for _, upper in bounds])
    assert below >= 0.94
    assert above >= 0.94
    assert below < 0.995  # conservative, yet not empty


def test_too_few_runs_prove_no_p99() -> None:
    p50, p99 = latency_measurements(np.linspace(1, 2, 298))
    assert (p50.metric, p99.metric) == ("latency_p50", "latency_p99")
    assert p50.insufficient == ""
    assert p50.lower is not None
    assert p50.value is not None
    assert p50.lower < p50.value
    assert p99.insufficient
    assert p99.upper is None
    enough = latency_measurements(np.linspace(1, 2, 299))[1]
    assert enough.upper == 2.0
    assert (enough.unit, enough.method, enough.n) == ("ms", "order statistics (binomial)", 299)


def timing(size: int, middle: float) -> Timing:
    return Timing(size, np.random.default_rng(0).normal(middle, 0.001, 500))


@pytest.mark.parametrize(
    ("size", "middle", "worth"),
    [
        (1000, 1.0, False),  # the same
        (790, 1.0, True),  # smaller
        (810, 1.0, False),  # not enough smaller
        (1000, 0.75, True),  # faster
        (1040, 0.75, True),  # faster, a little larger
        (1100, 0.75, False),  # faster, too much larger
        (500, 1.04, True),  # smaller, a little slower
        (500, 1.20, False),  # smaller, too much slower
    ],
)
def test_a_variant_pays_only_where_it_should(size: int, middle: float, worth: bool) -> None:
    answer, why = pays(timing(1000, 1.0), timing(size, middle))
    assert answer is worth
    assert "kB" in why


def test_noise_alone_never_pays() -> None:
    rng = np.random.default_rng(1)
    noisy = Timing(1000, rng.exponential(1.0, 30))
    other = Timing(1000, noisy.samples_ms * 0.78)
    assert not pays(noisy, other)[0]
