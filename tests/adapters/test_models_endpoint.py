"""Endpoints of the Open Inference Protocol: a real server of the tests' own that runs an ONNX session."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl
import pytest
from onnx import TensorProto, helper, numpy_helper

from roadworthy.adapters.models.http_client import HttpClient
from roadworthy.adapters.models.inference_endpoint import InferenceEndpoint
from roadworthy.api.subjects import subject_of
from roadworthy.errors import ModelError
from roadworthy.graphs.fresh_process import costs
from roadworthy.records.project import Task

WEIGHTS = np.array([[1.5], [-2.0], [0.5]], dtype=np.float32)
TYPES = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "BYTES": np.object_, "BOOL": np.bool_}


def matrix_model() -> bytes:
    """[N, 3] → sigmoid of a weighted sum, and a label beside it."""
    nodes = [
        helper.make_node("MatMul", ["X", "W"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Concat", ["q", "p"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2]),
    ]
    weights = [numpy_helper.from_array(WEIGHTS, "W"), numpy_helper.from_array(np.ones((1, 1), dtype=np.float32), "one")]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 3])], outputs, weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def column_model() -> bytes:
    """size (double), kind (text) and their masks, each [N, 1] → an estimate."""
    nodes = [
        helper.make_node("LabelEncoder", ["kind"], ["code"], domain="ai.onnx.ml", keys_strings=["a", "b"],
                         values_floats=[10.0, 20.0], default_float=0.0),
        helper.make_node("Cast", ["code"], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("Where", ["size.missing", "minus", "size"], ["whole"]),
        helper.make_node("Add", ["wide", "whole"], ["score"]),
    ]  # fmt: skip
    inputs = [
        helper.make_tensor_value_info("size", TensorProto.DOUBLE, ["N", 1]),
        helper.make_tensor_value_info("size.missing", TensorProto.BOOL, ["N", 1]),
        helper.make_tensor_value_info("kind", TensorProto.STRING, ["N", 1]),
    ]
    graph = helper.make_graph(
        nodes, "g", inputs, [helper.make_tensor_value_info("score", TensorProto.DOUBLE, ["N", 1])],
        [numpy_helper.from_array(np.full((1, 1), -100.0), "minus")],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    content: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return content


NAMES = {"tensor(float)": "FP32", "tensor(double)": "FP64", "tensor(int64)": "INT64", "tensor(bool)": "BOOL",
         "tensor(string)": "BYTES"}  # fmt: skip


class Server(ThreadingHTTPServer):
    """Models by name; ``faults`` are answered first, one by one; ``asked`` are the bodies that came."""

    daemon_threads = True

    def __init__(self, models: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sessions = {name: ort.InferenceSession(model) for name, model in models.items()}
        self.faults: list[tuple[int, bytes, dict[str, str]]] = []
        self.asked: list[Any] = []
        self.refuses: Any = lambda _rows: False
        self.delay_s = 0.0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v2/models/"


class Handler(BaseHTTPRequestHandler):
    """Metadata and infer, JSON only."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        if not self._fault():
            session = self.server.sessions.get(self.path.split("/")[3])
            if session is None:
                self._send(404, {"error": "unknown model"})
                return
            sides = {"inputs": session.get_inputs(), "outputs": session.get_outputs()}
            self._send(200, {"name": self.path.split("/")[3], "platform": "onnx"} | {
                side: [{"name": n.name, "datatype": NAMES[n.type],
                        "shape": [s if isinstance(s, int) else -1 for s in n.shape]} for n in nodes]
                for side, nodes in sides.items()})  # fmt: skip

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        if self._fault():
            return
        time.sleep(self.server.delay_s)
        feed = {
            one["name"]: np.array(one["data"], dtype=TYPES[one["datatype"]]).reshape(one["shape"])
            for one in body["inputs"]
        }
        if self.server.refuses(feed):
            self._send(400, {"error": "a value is out of range"})
            return
        names = [one["name"] for one in body["outputs"]]
        results = self.server.sessions[self.path.split("/")[3]].run(names, feed)
        self._send(200, {"model_name": "m", "outputs": [
            {"name": name, "datatype": "FP32", "shape": list(r.shape), "data": r.ravel().tolist()}
            for name, r in zip(names, results, strict=True)]})  # fmt: skip

    def _fault(self) -> bool:
        if not self.server.faults:
            return False
        status, content, headers = self.server.faults.pop(0)
        self._send(status, content, headers)
        return True

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(raw)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    server = Server({"matrix": matrix_model(), "columns": column_model()})
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server(running: Server) -> Server:
    running.faults, running.asked, running.refuses, running.delay_s = [], [], lambda _rows: False, 0.0
    return running


def rows(n: int = 500) -> pl.DataFrame:
    x = np.random.default_rng(0).normal(size=(n, 3))
    return pl.DataFrame(x, schema=["a", "b", "c"]).with_columns(y=(x @ WEIGHTS[:, 0] > 0).astype(int))


def test_one_tensor_of_all_columns(server: Server) -> None:
    table = rows(1_500)
    subject = subject_of(server.address + "matrix", table, "y", "none.toml")
    expected = 1 / (1 + np.exp(-(table.select("a", "b", "c").to_numpy().astype(np.float32) @ WEIGHTS[:, 0])))
    scored = subject.scored(table, "y")
    np.testing.assert_allclose(scored.scores, expected, atol=1e-6)
    assert (subject.task, subject.columns, subject.contract) == (Task.BINARY, ("a", "b", "c"), False)
    assert scored.sound.all()
    assert [one["inputs"][0]["shape"] for one in server.asked] == [[1000, 3], [500, 3]], "in batches"
    np.testing.assert_array_equal(subject.answer(table.select("a", "b", "c")).score, scored.scores)


def test_one_tensor_per_column_with_masks_and_text(server: Server) -> None:
    table = pl.DataFrame({"size": [1.0, None, 3.0, 2.5], "kind": ["a", "b", "z", "a"], "y": [11.0, -80.0, 3.0, 12.5]})
    subject = subject_of(server.address + "columns/versions/1", table, "y", "none.toml")
    assert subject.columns == ("size", "kind")
    assert subject.task is Task.REGRESSION
    assert subject.scored(table, "y").scores.tolist() == [11.0, -80.0, 3.0, 12.5]
    text = table.with_columns(pl.col("size").cast(pl.String)).select("size", "kind")
    found = subject.answer(text.with_columns(size=pl.Series(["1", None, "three", "2.5"])))
    assert found.refused.tolist() == [False, False, True, False]
    assert found.score[found.sound].tolist() == [11.0, -80.0, 12.5]


def test_missing_values_without_a_mask_are_refused_here(server: Server) -> None:
    subject = subject_of(server.address + "matrix", rows(), "y", "none.toml")
    holes = pl.DataFrame({"a": [1.0, None, 1.0], "b": [0.0, 0.0, float("inf")], "c": [0.0, 0.0, 0.0]})
    found = subject.answer(holes)
    assert found.refused.tolist() == [False, True, True]
    assert np.isfinite(found.score).tolist() == [True, False, False]


def test_a_row_that_the_server_refuses_is_refused_alone(server: Server) -> None:
    table = rows(64)
    subject = subject_of(server.address + "matrix", table, "y", "none.toml")
    server.refuses = lambda feed: bool((feed["X"][:, 0] > 99).any())
    odd = table.with_columns(a=pl.when(pl.int_range(pl.len()).is_in([3, 40])).then(100.0).otherwise(pl.col("a")))
    found = subject.answer(odd)
    assert np.flatnonzero(found.refused).tolist() == [3, 40]
    assert np.isfinite(found.score[~found.refused]).all()
    server.refuses = lambda _feed: True
    with pytest.raises(ModelError, match="answers none of 64 rows") as caught:
        subject.answer(table)
    assert "a value is out of range" in str(caught.value)


def test_only_what_may_be_asked_again_is(server: Server) -> None:
    table = rows(10)
    subject = subject_of(server.address + "matrix", table, "y", "none.toml")
    server.asked = []
    server.faults = [(503, b'{"error": "starting"}', {"Retry-After": "0"}), (429, b"", {"Retry-After": "0"})]
    assert subject.answer(table).sound.all()
    assert len(server.asked) == 3
    server.asked, server.faults = [], [(503, b'{"error": "overloaded"}', {"Retry-After": "0"})] * 5
    with pytest.raises(ModelError, match="answers 503: overloaded"):
        subject.answer(table)
    assert len(server.asked) == 3
    for status, match in ((500, "answers 500: broken"), (302, "it stands elsewhere"), (401, "may ask")):
        server.asked, server.faults = [], [(status, b'{"error": "broken"}', {})]
        with pytest.raises(ModelError, match=match):
            subject.answer(table)
        assert len(server.asked) == 1, "asked once"


def test_a_server_that_does_not_answer_in_time_is_named_and_not_asked_again(server: Server) -> None:
    endpoint = InferenceEndpoint(server.address + "matrix", timeout_s=0.2)
    server.delay_s = 0.6
    with pytest.raises(ModelError, match=r"did not answer within 0\.2 s"):
        endpoint.answer(rows(3).select("a", "b", "c"))
    assert len(server.asked) == 1


def metadata(inputs: list[tuple[str, str, list[int]]], outputs: list[tuple[str, str, list[int]]]) -> bytes:
    sides = {"inputs": inputs, "outputs": outputs}
    return json.dumps(
        {side: [{"name": n, "datatype": d, "shape": s} for n, d, s in listed] for side, listed in sides.items()}
    ).encode()


PROBABILITY = [("p", "FP32", [-1])]


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (b"<html>", "does not speak the Open Inference Protocol"),
        (b"[]", "does not speak"),
        (b"{}", "does not say what its inputs are"),
        (b'{"inputs": [{"name": "X"}], "outputs": []}', "inputs that columns cannot fill"),
        (metadata([("X", "FP16", [-1, 3])], PROBABILITY), "FP16"),
        (metadata([("X", "FP32", [-1, 3])], [("label", "INT64", [-1])]), "gives no scores"),
        (metadata([("X", "FP32", [-1, 3]), ("Z", "FP32", [-1, 2])], PROBABILITY), "several tensors"),
    ],
    ids=["html", "list", "empty", "half", "FP16", "labels", "several"],
)
def test_metadata_that_cannot_be_used_is_named(server: Server, answer: bytes, match: str) -> None:
    server.faults = [(200, answer, {})]
    with pytest.raises(ModelError, match=match):
        subject_of(server.address + "matrix", rows(), "y", "none.toml")


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (b'{"outputs": []}', "does not answer with its output 'probabilities'"),
        (b'{"outputs": [{"name": "probabilities", "shape": [4, 2], "data": [1]}]}', "no tensor of numbers"),
        (b'{"outputs": [{"name": "probabilities", "shape": [1, 2], "data": [0.5, 0.5]}]}', "row by row"),
    ],
    ids=["absent", "short", "other length"],
)
def test_answers_that_are_not_whole_are_named(server: Server, answer: bytes, match: str) -> None:
    endpoint = InferenceEndpoint(server.address + "matrix")
    server.faults = [(200, answer, {})]
    with pytest.raises(ModelError, match=match):
        endpoint.answer(rows(4).select("a", "b", "c"))


def test_a_null_in_an_answer_is_no_score(server: Server) -> None:
    endpoint = InferenceEndpoint(server.address + "matrix")
    answer = b'{"outputs": [{"name": "probabilities", "shape": [2, 2], "data": [[0.5, 0.5], [null, 1.0]]}]}'
    server.faults = [(200, answer, {})]
    assert endpoint.answer(rows(2).select("a", "b", "c")).sound.tolist() == [True, False]


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:1/models/m", "http:///v2/models/m", "http://u:secret@h/v2/models/m", "http://h/v2/models/m?x=1"],
)
def test_addresses_of_no_model_are_refused(address: str) -> None:
    with pytest.raises(ModelError, match="no address of a model") as caught:
        subject_of(address, rows(), "y", "none.toml")
    assert "secret" not in str(caught.value)


def test_nobody_there_and_no_such_model(server: Server) -> None:
    waits: list[float] = []
    with pytest.raises(ModelError, match="cannot be reached"):
        HttpClient("http://127.0.0.1:9/v2/models/m", timeout_s=1, sleep=waits.append).get("")
    assert len(waits) == 2
    with pytest.raises(ModelError, match="404: unknown model"):
        subject_of(server.address + "other", rows(), "y", "none.toml")
    with pytest.raises(ModelError, match="takes 3 numbers"):
        subject_of(server.address + "matrix", rows().drop("a"), "y", "none.toml")


def test_its_cost_is_what_a_client_waits_for(server: Server) -> None:
    table = rows()
    subject = subject_of(server.address + "matrix", table, "y", "none.toml")
    assert subject.cost is not None
    measured = {one.metric: one for one in costs(subject.cost(table, quick=True))}
    assert measured.keys() == {"latency_p50", "latency_p95", "latency_p99", "latency_p99_batch", "throughput"}
    assert "over the network" in measured["latency_p50"].method
