"""Bad input, item by item and by every protocol: a 4xx that names the field and what is expected, in its error form.

Never a 5xx, never an answer with null; a personal value is in no answer and in no log.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import string
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.adapters.prediction_log import joined, read_feedback, read_log
from roadworthy.serving.open_inference.grpc_messages import MESSAGES, SERVICE

PROJECT = """
[project]
name = "visits"
task = "regression"
target = "cost"
[data]
source = "visits.parquet"
time = "when"
entity = "email"
personal = ["email", "phone", "city"]
[contract]
rules = ["size <= 2 * age + 200", "phone <> email"]
[contract.columns]
when = { type = "time", missing = "reject" }
email = { type = "text", missing = "reject" }
phone = { type = "text" }
city = { type = "category" }
age = { type = "integer", min = 0, max = 120, missing = "reject" }
member = { type = "boolean" }
kind = { type = "category", allowed = ["first", "again"], missing = "reject" }
size = { type = "number", min = 0, missing = "reject" }
cost = { type = "number", min = 0, missing = "reject" }
[training]
candidates = ["logistic"]
folds = 2
seed = 7
[standard]
extends = "prototype"
"""
ROW: dict[str, Any] = {"age": 30, "member": True, "kind": "again", "size": 12.5, "phone": "+431", "email": "a@b.at"}
KINDS = {"age": "INT64", "member": "BOOL", "kind": "BYTES", "size": "FP64", "phone": "BYTES", "email": "BYTES"}
MODEL = "/v2/models/visits"
LENGTH = "Inference-Header-Content-Length"
JSON = {"Content-Type": "application/json"}
Answer = tuple[int, str]


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished project with personal columns, two of which a rule reads."""
    from roadworthy import api  # noqa: PLC0415 - heavy, and only these tests need it

    folder = tmp_path_factory.mktemp("visits")
    random = np.random.default_rng(5)
    rows = 400
    age, size = random.integers(18, 90, rows), random.normal(50, 9, rows).round(1).clip(1, 99)
    made = {
        "when": pl.datetime_range(pl.datetime(2026, 1, 1), pl.datetime(2026, 2, 1), "1h", eager=True)[:rows],
        "email": [f"p{at}@example.org" for at in random.integers(0, 90, rows)],
        "phone": [f"+43{at:07d}" for at in random.integers(0, 9_999_999, rows)],
        "city": random.choice(["Graz", "Linz", "Wien"], rows),
        "age": age,
        "member": random.random(rows) < 0.4,
        "kind": random.choice(["first", "again"], rows),
        "size": size,
        "cost": size * 2 + age * 0.5 + random.normal(50, 3, rows).round(2),
    }
    pl.DataFrame(made).write_parquet(folder / "visits.parquet")
    (folder / "roadworthy.toml").write_text(PROJECT)
    api.run(folder)
    return folder


class Asker:
    """A running server, and a connection to each of its protocols."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        self.channel = grpc.insecure_channel(server.said["grpc"])

    def http(
        self, path: str, body: bytes | None, headers: dict[str, str] | None = None, method: str = "POST"
    ) -> Answer:
        """Status and body of one request; the connection is made anew where the server ended it."""
        self._connection.request(method, path, body, JSON if headers is None else headers)
        reply = self._connection.getresponse()
        found = reply.status, reply.read().decode()
        assert found[0] != 200 or "null" not in found[1]
        return found

    def close(self) -> None:
        """Ends both connections."""
        self._connection.close()
        self.channel.close()

    def predict(self, row: Any) -> Answer:
        """One row by named fields."""
        return self.http("/predict", json.dumps({"row": row}).encode())

    def infer(self, row: dict[str, Any]) -> Answer:
        """One row as tensors in JSON."""
        return self.http(f"{MODEL}/infer", json.dumps({"inputs": tensors(row)}).encode())

    def binary(self, row: dict[str, Any], cut: int = 0) -> Answer:
        """One row as binary tensors, without the last ``cut`` bytes."""
        inputs, parts = [], []
        for one in tensors(row):
            parts.append(packed(one["datatype"], one.pop("data")[0]))
            inputs.append({**one, "parameters": {"binary_data_size": len(parts[-1])}})
        head = json.dumps({"inputs": inputs}).encode()
        body = head + b"".join(parts)
        headers = {LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}
        return self.http(f"{MODEL}/infer", body[: len(body) - cut], headers)

    def call(self, name: str, request: Any) -> Answer:
        """One call by gRPC: 200, or the number of its status, and its words."""
        method = self.channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=lambda one: one if isinstance(one, bytes) else one.SerializeToString(),
            response_deserializer=MESSAGES[f"{name}Response"].FromString,
        )
        try:
            answer = method(request, timeout=10)
        except grpc.RpcError as error:
            return {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404}.get(error.code().name, 500), str(error.details())
        return 200, str(answer)

    def grpc(self, row: dict[str, Any], cut: int = 0) -> Answer:
        """One row as raw tensors by gRPC, the last without its last ``cut`` bytes."""
        request = MESSAGES["ModelInferRequest"](model_name="visits")
        for one in tensors(row):
            request.inputs.add(name=one["name"], datatype=one["datatype"], shape=one["shape"])
            request.raw_input_contents.append(packed(one["datatype"], one["data"][0]))
        if cut:
            request.raw_input_contents[-1] = request.raw_input_contents[-1][:-cut]
        return self.call("ModelInfer", request)


def tensors(row: dict[str, Any]) -> list[dict[str, Any]]:
    """A row as tensors, each of the datatype of its column, or of its value where that is another."""
    return [
        {"name": name, "datatype": _datatype(name, value), "shape": [1, 1], "data": [value]}
        for name, value in row.items()
    ]


def _datatype(name: str, value: Any) -> str:
    own = {bool: "BOOL", str: "BYTES", float: "FP64"}.get(type(value), KINDS.get(name, "FP64"))
    return "FP64" if own == "BYTES" and not isinstance(value, str | bytes) else own


def packed(datatype: str, value: Any) -> bytes:
    """One element in binary form; null has none, so it is NaN."""
    if datatype == "BYTES":
        data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
        return len(data).to_bytes(4, "little") + data
    kind = {"INT64": "<i8", "BOOL": "?", "FP64": "<f8"}[datatype]
    return np.array(np.nan if value is None else value, dtype="<f8" if value is None else kind).tobytes()


@pytest.fixture(scope="module")
def asker(visits: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    """A server of the project, with gRPC, for the tests of this module."""
    errors = tmp_path_factory.mktemp("errors") / "server.err"
    words = [sys.executable, "-m", "roadworthy", "serve", "--project", str(visits), "--version", "latest", "--json"]
    with errors.open("w") as stream:
        process = subprocess.Popen(
            [*words, "--port", "0", "--grpc-port", "0", "--grace", "0"],
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            env={**os.environ, "NO_COLOR": "1"},
        )
    assert process.stdout is not None
    with process:
        try:
            line = process.stdout.readline()
            assert line, errors.read_text()
            said = json.loads(line)
            port = int(said["address"].rpartition(":")[2])
            found = Asker(SimpleNamespace(port=port, said=said, errors=errors, process=process))
            yield found
            found.close()
        finally:
            process.terminate()


WAYS = ("predict", "infer", "binary", "grpc")
DROP = object()
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "null": ({"size": None}, "size", "a number of at least 0|a finite number"),
    "NaN": ({"size": float("nan")}, "size", "a finite number|a number of at least 0"),
    "Infinity": ({"size": float("-inf")}, "size", "a finite number|a number of at least 0"),
    "a text for a number": ({"size": "much"}, "size", "a number of at least 0|a finite number|FP64"),
    "a boolean for a number": ({"age": True}, "age", "a whole number from 0 to 120|INT64"),
    "a number for a text": ({"kind": 1.0}, "kind", "one of first, again|BYTES"),
    "a half for a whole number": ({"age": 30.5}, "age", "a whole number from 0 to 120"),
    "out of range": ({"age": 121}, "age", "a whole number from 0 to 120"),
    "below the range": ({"size": -0.1}, "size", "a number of at least 0"),
    "an unseen category": ({"kind": "never"}, "kind", "one of first, again"),
    "an unknown field": ({"seize": 1.0}, "seize", "did you mean|unknown"),
    "a missing field": ({"age": DROP}, "age", "a whole number from 0 to 120"),
    "a rule": ({"size": 9_999.0}, "rule: size <= 2 * age + 200", "false"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("item", WRONG)
def test_a_wrong_row_is_a_4xx_that_names_field_and_expectation(asker: Asker, item: str, way: str) -> None:
    changes, field, wanted = WRONG[item]
    row = {name: value for name, value in {**ROW, **changes}.items() if value is not DROP}
    assert getattr(asker, way)(ROW)[0] == 200
    status, text = getattr(asker, way)(row)
    assert status in {400, 422}, text
    assert field in text
    assert any(words in text for words in wanted.split("|")), text
    if way != "grpc":
        error = json.loads(text)
        assert isinstance(error["error"], str)
        assert all(set(problem) == {"where", "found", "expected"} for problem in error["problems"])


def test_wrong_counts_and_lengths_are_named(asker: Asker) -> None:
    for way in (asker.binary, asker.grpc):
        status, text = way(ROW, cut=3)
        assert status == 400
        assert "email" in text
    two = tensors(ROW)
    two[0] |= {"shape": [2, 1], "data": [1, 2]}
    two[1] |= {"data": [True, False]}
    status, text = asker.http(f"{MODEL}/infer", json.dumps({"inputs": two}).encode())
    assert status == 400
    assert "inputs.member: 2 elements; expected 1 in the shape [1, 1]" in text


@pytest.mark.parametrize(
    ("path", "body"),
    [("/predict", b'{"row": {"age": 3'), (f"{MODEL}/infer", b'{"inputs": [{"name": "age"'), ("/feedback", b'{"id": ')],
)
def test_what_is_no_json_is_a_400_in_the_same_form(asker: Asker, path: str, body: bytes) -> None:
    for data in (body, b"", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b'"\\ud800"', b"nul", b"1" * 100_000):
        status, text = asker.http(path, data)
        assert status == 400, text
        assert json.loads(text)["error"]
    assert asker.http(path, b"a=1", {"Content-Type": "text/plain"})[0] == 415


def test_json_before_tensors_that_is_none_names_the_header_that_told_its_length(asker: Asker) -> None:
    headers = {LENGTH: "9", "Content-Type": "application/octet-stream"}
    status, text = asker.http(f"{MODEL}/infer", b'{"inputs": [{"name": "age"}]}', headers)
    assert status == 400
    problem = json.loads(text)["problems"][0]
    assert (problem["where"], problem["expected"]) == (LENGTH.lower(), "the bytes of the JSON that the tensors follow")


def test_the_place_of_a_row_is_a_whole_number_however_json_writes_it(asker: Asker) -> None:
    for row, status in ((0, 202), (3.0, 202), (0.5, 422), (-1.0, 422), (True, 422), (1e300, 422)):
        label = {"id": "5f2c9a10b7e344d80000000007", "row": row, "label": 7.5}
        assert asker.http("/feedback", json.dumps(label).encode())[0] == status


def test_unknown_models_and_versions_are_a_404_by_every_protocol(asker: Asker) -> None:
    for path in ("/v2/models/other", "/v2/models/visits/versions/9", "/v2/models/other/infer"):
        method = "POST" if path.endswith("infer") else "GET"
        status, text = asker.http(path, b"{}" if method == "POST" else None, method=method)
        assert status == 404
        assert "expected visits" in text
    for name in ("ModelReady", "ModelMetadata"):
        assert asker.call(name, MESSAGES[f"{name}Request"](name="other"))[0] == 404
        assert asker.call(name, MESSAGES[f"{name}Request"](name="visits", version="9"))[0] == 404
    assert asker.call("ModelInfer", MESSAGES["ModelInferRequest"](model_name="other"))[0] == 404
    assert asker.call("ModelInfer", b"\xff\xff")[0] == 400


# --- one bad row among eight at once ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_one_bad_row_among_eight_at_once_fails_one(asker: Asker, way: str) -> None:
    askers = [Asker(asker.server) for _ in range(8)]
    rows = [{**ROW, "age": 20 + at, **({"kind": "never"} if at == 5 else {})} for at in range(8)]
    alone = [getattr(one, way)(row) for one, row in zip(askers, rows, strict=True)]
    gate = threading.Barrier(8)
    found: list[list[Answer]] = [[] for _ in rows]

    def ask(at: int) -> None:
        gate.wait(10)
        found[at] += [getattr(askers[at], way)(rows[at]) for _ in range(5)]

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for at, answers in enumerate(found):
        assert len(answers) == 5
        assert {status for status, _ in answers} == ({400, 422} & {alone[5][0]} if at == 5 else {200})
    for one in askers:
        one.close()


# --- a hundred megabytes ----------------------------------------------------------------------------------------------


def resident_mb(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024


@pytest.mark.parametrize("path", ["/predict", f"{MODEL}/infer", "/feedback", "/livez"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_hundred_megabytes_are_refused_without_being_kept(asker: Asker, path: str, chunked: bool) -> None:
    process = asker.server.process.pid
    before, most = resident_mb(process), 0.0
    method = "GET" if path == "/livez" else "POST"
    how = "transfer-encoding: chunked" if chunked else f"content-length: {100 << 20}"
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{how}\r\n\r\n"
    part = b"x" * (1 << 20)
    answer = b""
    with socket.create_connection(("127.0.0.1", asker.server.port), timeout=10) as connection:
        connection.sendall(head.encode())
        try:
            for _ in range(100):
                connection.sendall(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
                most = max(most, resident_mb(process))
        except OSError:
            pass  # it has answered, and does not read the rest
        try:
            while data := connection.recv(65_536):
                answer += data
        except OSError:
            pass  # reset behind its answer
    assert not answer or answer.startswith(b"HTTP/1.1 413"), answer[:200]
    assert most - before < 40
    assert asker.predict(ROW)[0] == 200


def test_a_grpc_message_that_is_too_large_is_refused_without_being_read(asker: Asker) -> None:
    before = resident_mb(asker.server.process.pid)
    status, text = asker.call("ModelInfer", b"\0" * (100 << 20))
    assert status != 200
    assert "larger than max" in text
    assert resident_mb(asker.server.process.pid) - before < 60


# --- personal values --------------------------------------------------------------------------------------------------

SECRET = "Zq7xSECRETk9"  # noqa: S105 - stands for somebody's address
NUMBER = 918273645546372
PERSONAL = ("email", "phone", "city")
TAINTED = st.one_of(
    st.just(SECRET),
    st.just(NUMBER),
    st.just(float(NUMBER)),
    st.text(string.printable, max_size=5).map(lambda text: text + SECRET),
    st.just([SECRET]),
    st.just({SECRET: SECRET}),
    st.just({"value": SECRET}),
    st.just("\ud800" + SECRET),
    st.just(SECRET * 400),
    st.just(SECRET + "\0"),
)
OTHERS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=3), st.just([]), st.just({})
)
TAINTED_ROWS = st.tuples(
    st.dictionaries(st.sampled_from(PERSONAL), TAINTED, min_size=1),
    st.dictionaries(st.sampled_from([*ROW, "seize"]), OTHERS, max_size=3),
    st.sampled_from(["age", "size", "kind", ""]),
).map(lambda found: {name: value for name, value in {**ROW, **found[1], **found[0]}.items() if name != found[2]})


def shows(text: str) -> bool:
    return SECRET in text or str(NUMBER) in text or SECRET in text.encode().decode("unicode_escape", "replace")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(TAINTED_ROWS, min_size=1, max_size=2),
    cut=st.sampled_from([0, 0, 0, 1, 9]),
    headers=st.sampled_from([JSON, JSON, {"Content-Type": "text/csv"}, {**JSON, "X-Deadline-Ms": "soon"}, {}]),
)
def test_no_personal_value_is_in_an_answer_by_http(
    asker: Asker, rows: Sequence[dict[str, Any]], cut: int, headers: dict[str, str]
) -> None:
    tensor = [
        {"name": name, "datatype": _datatype(name, value), "shape": [1], "data": [value]}
        for name, value in rows[0].items()
    ]
    entity = {"entity": rows[0].get("email"), "time": rows[0].get("phone"), "label": rows[0].get("city")}
    bodies: list[tuple[str, Any]] = [
        ("/predict", {"rows": list(rows)}),
        ("/predict", {"row": rows[0]}),
        ("/predict", rows),
        (f"{MODEL}/infer", {"inputs": tensor}),
        (f"{MODEL}/infer", {"inputs": rows[0]}),
        (f"{MODEL}/infer", tensor),
        ("/feedback", entity),
        ("/feedback", {"feedback": [entity, rows[0]]}),
        ("/nowhere", rows[0]),
        ("/readyz", rows[0]),
    ]
    for path, value in bodies:
        body = json.dumps(value).encode()
        status, text = asker.http(path, body[: len(body) - cut], headers)
        assert 200 <= status < 500, text
        assert not shows(text), (path, value)


@settings(max_examples=40, deadline=None)
@given(
    row=TAINTED_ROWS,
    kind=st.sampled_from(["BYTES", "FP64", "INT64", "BOOL", "FP9"]),
    shape=st.sampled_from([[1, 1], [1], [2], []]),
    raw=st.booleans(),
)
def test_no_personal_value_is_in_an_answer_by_grpc(
    asker: Asker, row: dict[str, Any], kind: str, shape: list[int], raw: bool
) -> None:
    request = MESSAGES["ModelInferRequest"](model_name="visits")
    for name, value in row.items():
        text = json.dumps(value).encode()
        own = kind if name in PERSONAL else KINDS.get(name, "BYTES")
        made = request.inputs.add(name=name, datatype=own, shape=shape)
        if raw:
            request.raw_input_contents.append(len(text).to_bytes(4, "little") + text + b"\xff")
        else:
            made.contents.bytes_contents.append(text + b"\xff" if shape else text)
    status, words = asker.call("ModelInfer", request)
    assert status in {200, 400, 404}, words
    assert not shows(words)


def test_what_the_server_wrote_down_holds_no_personal_value(asker: Asker, visits: Path) -> None:
    row = {**ROW, "email": SECRET, "city": SECRET, "when": "2026-01-31T12:00:00Z"}
    assert asker.predict(row)[0] == 200
    assert asker.predict({**row, "age": "x"})[0] == 422
    label = {"entity": SECRET, "time": row["when"], "label": 7.5}
    assert asker.http("/feedback", json.dumps(label).encode())[0] == 202
    time.sleep(0.5)
    lake = visits / ".roadworthy" / "lake"
    rows, labels = read_log(lake).collect(), read_feedback(lake).latest
    assert "2026-01-31 12:00:00" in str(rows.get_column("when").to_list()[-1])
    assert 7.5 in labels.get_column("value").to_list()
    assert not shows(str(rows.to_dicts()) + str(labels.to_dicts()))
    assert not any(SECRET.encode() in file.read_bytes() for file in lake.rglob("*") if file.is_file())
    assert not shows(asker.server.errors.read_text())


def test_labels_by_a_personal_entity_that_a_rule_reads_find_their_rows(
    serving: Callable[..., Any], visits: Path, tmp_path: Path
) -> None:
    project = tmp_path / "visits"
    shutil.copytree(visits, project)
    for kept in ("predictions", "feedback"):
        shutil.rmtree(project / ".roadworthy" / "lake" / kept, ignore_errors=True)
    server = serving(project, "--version", "latest", "--grpc-port", "0")
    asker = Asker(server)
    row = {**ROW, "when": "2026-01-31T12:00:00Z"}
    assert asker.predict(row)[0] == 200
    label = {"entity": row["email"], "time": row["when"], "label": 7.5}
    assert asker.http("/feedback", json.dumps(label).encode())[0] == 202
    asker.close()
    assert server.end() == 0
    found = joined(project / ".roadworthy" / "lake", entity="email", time="when")
    assert (found.labelled, found.unknown_entities) == (1, 0), "hidden once on both sides"
