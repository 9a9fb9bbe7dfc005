"""The Open Inference Protocol over HTTP: its paths and forms, what it answers, and how it refuses."""

from __future__ import annotations

import asyncio
import http.client
import json
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy import assembly
from roadworthy.adapters.models.inference_endpoint import InferenceEndpoint
from roadworthy.errors import ModelError
from roadworthy.serving.calls import Reply
from roadworthy.serving.chain import Chain, Constant
from roadworthy.serving.engine import Engine
from roadworthy.serving.keys import KeyRing, new_key
from roadworthy.serving.metrics import Metrics
from roadworthy.serving.open_inference.models import Models
from roadworthy.serving.open_inference.rest import OpenInference
from roadworthy.serving.open_inference.tensors import Tensor, checked_head, from_values
from roadworthy.serving.service import NoLog, Service, State
from roadworthy.serving.web import Web

NAMES = ("width", "a height", "b")
ROWS = [[0.1, -0.2, 0.3], [1.5, 2.5, -0.5], [-1.0, 0.0, 4.0]]
LENGTH = "Inference-Header-Content-Length"
Answer = tuple[int, dict[str, str], bytes]


def ask(server: Any, path: str, body: Any = None, headers: dict[str, str] | None = None, method: str = "") -> Answer:
    """One request on a connection of its own: status, headers in small letters, body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    given_ = headers if headers is not None else {"Content-Type": "application/json"}
    connection.request(method or ("GET" if body is None else "POST"), path, content, given_)
    reply = connection.getresponse()
    found = reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()
    connection.close()
    return found


def matrix(rows: list[list[float]] = ROWS, **more: Any) -> dict[str, Any]:
    data = [value for row in rows for value in row]
    return {"inputs": [{"name": "x", "shape": [len(rows), 3], "datatype": "FP64", "data": data}], **more}


def outputs_of(body: bytes) -> dict[str, Any]:
    return {one["name"]: one for one in json.loads(body)["outputs"]}


def error_of(answer: Answer) -> str:
    """The error of a refusal, in the protocol's form."""
    status, headers, body = answer
    assert 400 <= status < 500, body
    assert headers["content-type"] == "application/json"
    error = json.loads(body)["error"]
    assert isinstance(error, str)
    return error


# --- paths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
def test_health_server_and_model_are_told_with_and_without_a_slash(shapes_server: Any, slash: str) -> None:
    for path in ("/v2/health/live", "/v2/health/ready"):
        status, _, body = ask(shapes_server, path + slash)
        assert (status, json.loads(body)) == (200, {"live": True, "ready": True})
    server = json.loads(ask(shapes_server, f"/v2{slash}")[2])
    assert server == {"name": "roadworthy", "version": server["version"], "extensions": ["binary_tensor_data"]}
    for model in ("/v2/models/shapes", "/v2/models/shapes/versions/1", "/v2/models/shapes/versions/shapes-1"):
        metadata = json.loads(ask(shapes_server, model + slash)[2])
        assert metadata["inputs"] == [{"name": name, "datatype": "FP64", "shape": [-1, 1]} for name in NAMES]
        assert metadata["outputs"] == [
            {"name": "score", "datatype": "FP64", "shape": [-1, 3]},
            {"name": "decision", "datatype": "BYTES", "shape": [-1]},
        ]
        assert (metadata["versions"], json.loads(metadata["properties"]["classes"])) == (
            ["shapes-1"],
            ["low", "mid", "top"],
        )
        ready = ask(shapes_server, f"{model}/ready{slash}")
        assert (ready[0], json.loads(ready[2])) == (200, {"name": "shapes", "ready": True})
        assert ask(shapes_server, f"{model}/infer{slash}", matrix())[0] == 200


def test_metadata_names_columns_by_type(clicks_server: Any) -> None:
    metadata = json.loads(ask(clicks_server, "/v2/models/clicks")[2])
    found = {one["name"]: one["datatype"] for one in metadata["inputs"]}
    assert found == {
        "device": "BYTES",
        "age_band": "BYTES",
        "campaign": "BYTES",
        "position": "INT64",
        "impressions": "INT64",
        "clicks": "INT64",
        "dwell_seconds": "FP64",
    }
    assert "single_tensor" not in metadata["properties"]
    assert {"user_id", "timestamp"} <= set(json.loads(metadata["properties"]["optional_inputs"]))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v2/models/other", "expected shapes"),
        ("/v2/models/other/infer", "expected shapes"),
        ("/v2/models/shapes/versions/9", "expected shapes-1"),
        ("/v2/models/shapes/versions/9/ready/", "expected shapes-1"),
        ("/v2/models/shapes/versions/9/infer", "expected shapes-1"),
        ("/v2/models/shapes/config", "nothing at this path"),
        ("/v2/models/shapes/versions", "nothing at this path"),
        ("/v2/models//infer", "nothing at this path"),
        ("/v2/models/", "nothing at this path"),
        ("/v2/nothing", "nothing at this path"),
        ("/v2x", "nothing at this path"),
    ],
)
def test_what_there_is_not_is_a_404_in_the_error_form(shapes_server: Any, path: str, words: str) -> None:
    answer = ask(shapes_server, path, matrix() if "infer" in path else None)
    assert answer[0] == 404
    assert words in error_of(answer)


def test_another_method_is_a_405(shapes_server: Any) -> None:
    answer = ask(shapes_server, "/v2/models/shapes/infer")
    assert (answer[0], answer[1]["allow"]) == (405, "POST")
    assert ask(shapes_server, "/v2/models/shapes", matrix())[0] == 405
    assert ask(shapes_server, "/v2/health/live", {})[0] == 405
    head = ask(shapes_server, "/v2/models/shapes", method="HEAD")
    assert (head[0], head[2]) == (200, b"")


# --- what is answered -----------------------------------------------------------------------------------------------


def test_json_flat_nested_and_by_column_answer_the_same(shapes_server: Any) -> None:
    path = "/v2/models/shapes/infer"
    predicted = ask(shapes_server, "/predict", {"rows": [dict(zip(NAMES, row, strict=True)) for row in ROWS]})
    plain = json.loads(predicted[2])["predictions"]
    flat = json.loads(ask(shapes_server, path, matrix(id="mine"))[2])
    assert (flat["id"], flat["model_name"], flat["model_version"]) == ("mine", "shapes", "shapes-1")
    score, decision = flat["outputs"]
    assert (score["name"], score["datatype"], score["shape"]) == ("score", "FP64", [3, 3])
    assert score["data"] == [value for row in plain for value in row["scores"].values()]
    assert decision == {
        "name": "decision",
        "datatype": "BYTES",
        "shape": [3],
        "data": [row["decision"] for row in plain],
    }
    nested = matrix()
    nested["inputs"][0]["data"] = ROWS
    columns = [
        {"name": name, "shape": shape, "datatype": "FP64", "data": [row[at] for row in ROWS]}
        for at, (name, shape) in enumerate(zip(NAMES, ([3], [3, 1], [3, 1]), strict=True))
    ]
    columns[2]["data"] = [[row[2]] for row in ROWS]
    for body in (nested, {"inputs": columns[::-1], "parameters": {"a": 1, "b": "c", "d": True, "e": 0.5}}):
        assert json.loads(ask(shapes_server, path, body)[2])["outputs"] == flat["outputs"]


def test_without_an_id_the_answer_has_that_of_the_prediction(shapes_server: Any) -> None:
    found = json.loads(ask(shapes_server, "/v2/models/shapes/infer", matrix())[2])
    assert found["id"] == found["parameters"]["prediction_id"] != ""


def test_only_the_outputs_that_are_asked_for_are_given_in_their_order(shapes_server: Any) -> None:
    path = "/v2/models/shapes/infer"
    for names in (["decision"], ["decision", "score"], ["score"]):
        body = matrix(outputs=[{"name": name, "parameters": {}} for name in names])
        assert list(outputs_of(ask(shapes_server, path, body)[2])) == names
    answer = ask(shapes_server, path, matrix(outputs=[{"name": "scor"}, {"name": "score"}, {"name": "score"}]))
    assert "did you mean 'score'" in error_of(answer)
    assert "comes twice" in error_of(answer)


@pytest.mark.parametrize(
    "more",
    [{}, {"time_since_last_click": [60.0, 5.0]}, {"user_id": ["u1", "u2"], "timestamp": ["2026-01-31T12:00:00Z"] * 2}],
    ids=["required", "past", "who"],
)
def test_texts_whole_numbers_and_missing_values_are_taken(clicks_server: Any, more: dict[str, list[Any]]) -> None:
    columns: dict[str, list[Any]] = {
        "device": ["phone", "desktop"],
        "age_band": ["30-44", None],
        "campaign": ["brand", None],
        "position": [2, None],
        "impressions": [9, 4],
        "clicks": [3, 0],
        "dwell_seconds": [None, 2.5],
        **more,
    }
    numbers = {"dwell_seconds": "FP64", "time_since_last_click": "FP64"}
    whole = dict.fromkeys(("position", "impressions", "clicks"), "INT64")
    inputs = [
        {"name": name, "shape": [2, 1], "datatype": (numbers | whole).get(name, "BYTES"), "data": data}
        for name, data in columns.items()
    ]
    rows = [{name: data[at] for name, data in columns.items()} for at in range(2)]
    found = outputs_of(ask(clicks_server, "/v2/models/clicks/infer", {"inputs": inputs})[2])
    plain = json.loads(ask(clicks_server, "/predict", {"rows": rows})[2])["predictions"]
    assert found["score"]["data"] == [row["score"] for row in plain]
    assert found["score"]["shape"] == [2]
    assert found["decision"]["data"] == [row["decision"] for row in plain]


def test_a_served_model_can_be_inspected_at_its_address(shapes_server: Any, engine: Engine) -> None:
    frame = pl.DataFrame(ROWS, schema=list(NAMES), orient="row")
    endpoint = InferenceEndpoint(f"http://127.0.0.1:{shapes_server.port}/v2/models/shapes")
    assert (endpoint.columns, endpoint.width) == (NAMES, 3)
    np.testing.assert_array_equal(endpoint.answer(frame).score, engine.predictor.answer(frame).scores)


# --- binary tensors -------------------------------------------------------------------------------------------------


def binary(head: dict[str, Any], *parts: bytes) -> tuple[bytes, dict[str, str]]:
    written = json.dumps(head).encode()
    headers = {LENGTH: str(len(written)), "Content-Type": "application/octet-stream"}
    return b"".join((written, *parts)), headers


def announced(size: Any, **more: Any) -> dict[str, Any]:
    inputs = [{"name": "x", "shape": [3, 3], "datatype": "FP32", "parameters": {"binary_data_size": size}}]
    return {"inputs": inputs, **more}


FLOATS = np.array(ROWS, dtype="<f4")


def parted(answer: Answer) -> dict[str, tuple[list[int], bytes | list[Any]]]:
    """The outputs of an answer with binary tensors."""
    status, headers, body = answer
    assert (status, headers["content-type"]) == (200, "application/octet-stream")
    end = int(headers[LENGTH.lower()])
    found: dict[str, tuple[list[int], bytes | list[Any]]] = {}
    for one in json.loads(body[:end])["outputs"]:
        if "data" in one:
            found[one["name"]] = one["shape"], one["data"]
        else:
            size = one["parameters"]["binary_data_size"]
            found[one["name"]], end = (one["shape"], body[end : end + size]), end + size
    assert end == len(body)
    return found


def test_binary_tensors_go_in_and_come_out(shapes_server: Any) -> None:
    path = "/v2/models/shapes/infer"
    plain = outputs_of(ask(shapes_server, path, matrix(FLOATS.astype(float).tolist()))[2])
    body, headers = binary(announced(36, parameters={"binary_data_output": True}), FLOATS.tobytes())
    found = parted(ask(shapes_server, path, body, headers))
    assert found["score"] == ([3, 3], struct.pack("<9d", *plain["score"]["data"]))
    texts = b"".join(struct.pack("<I", len(text)) + text.encode() for text in plain["decision"]["data"])
    assert found["decision"] == ([3], texts)


def test_an_output_has_its_own_word_about_its_form(shapes_server: Any) -> None:
    asked = [{"name": "score", "parameters": {"binary_data": True}}, {"name": "decision"}]
    found = parted(ask(shapes_server, "/v2/models/shapes/infer", matrix(outputs=asked)))
    assert isinstance(found["score"][1], bytes)
    assert isinstance(found["decision"][1], list)
    asked = [{"name": "score", "parameters": {"binary_data": False}}]
    body, headers = binary(announced(36, outputs=asked, parameters={"binary_data_output": True}), FLOATS.tobytes())
    answer = ask(shapes_server, "/v2/models/shapes/infer", body, headers)
    assert answer[0] == 200
    assert LENGTH.lower() not in answer[1], "clients choose their parser by it"
    assert answer[1]["content-type"] == "application/json"


def test_a_raw_request_is_one_row_of_fp64(shapes_server: Any) -> None:
    path = "/v2/models/shapes/infer"
    plain = outputs_of(ask(shapes_server, path, matrix(ROWS[:1]))[2])
    found = parted(ask(shapes_server, path, struct.pack("<3d", *ROWS[0]), {LENGTH: "0"}))
    assert found["score"] == ([1, 3], struct.pack("<3d", *plain["score"]["data"]))
    assert "expected 24 bytes" in error_of(ask(shapes_server, path, b"1234", {LENGTH: "0"}))


def test_a_raw_request_to_a_model_that_reads_texts_is_refused(clicks_server: Any) -> None:
    assert "by name" in error_of(ask(clicks_server, "/v2/models/clicks/infer", b"1234", {LENGTH: "0"}))


@pytest.mark.parametrize(
    ("head", "length", "part", "words"),
    [
        (announced(36), None, b"", "ends 36 bytes too early"),
        (announced(36), None, FLOATS.tobytes() + b"1", "37 bytes after the JSON"),
        (announced(35), None, FLOATS.tobytes()[:35], "35 bytes; expected 36 bytes: FP32 in the shape [3, 3]"),
        (announced(-1), None, b"", "no size"),
        (announced("36"), None, b"", "no size"),
        (announced(36), "100000", b"", "does not fit the body"),
        (announced(36), "-1", b"", "does not fit the body"),
        (announced(36), "x", b"", "does not fit the body"),
        (announced(36), "5", b"", "not JSON"),
        (announced(10**30), None, b"", "too early"),
    ],
)
def test_wrong_binary_lengths_are_refused(
    shapes_server: Any, head: dict[str, Any], length: str | None, part: bytes, words: str
) -> None:
    body, headers = binary(head, part)
    answer = ask(shapes_server, "/v2/models/shapes/infer", body, headers | ({LENGTH: length} if length else {}))
    assert answer[0] == 400
    assert words in error_of(answer)


def test_binary_nan_is_refused_by_row_and_column(shapes_server: Any) -> None:
    values = FLOATS.copy()
    values[1, 2] = np.nan
    body, headers = binary(announced(36), values.tobytes())
    answer = ask(shapes_server, "/v2/models/shapes/infer", body, headers)
    assert answer[0] == 422
    assert "rows[1].b: NaN; expected a finite number" in error_of(answer)


# --- what is refused ------------------------------------------------------------------------------------------------

DEEP = b'{"inputs":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
CLIPPED = json.dumps(matrix()).encode()[:-20]
WITH = json.dumps(matrix()).encode()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"{}", "inputs"),
        (b"[]", "another form"),
        (b'"x"', "another form"),
        (b"null", "another form"),
        (CLIPPED, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (DEEP, ""),
        (WITH.replace(b"0.3", b"NaN"), "not JSON"),
        (WITH.replace(b"0.3", b"Infinity"), "not JSON"),
        (WITH.replace(b"0.3", b"1e999"), "inputs.x.data"),
        (WITH.replace(b"0.3", b'"a"'), "inputs.x.data[2]: a text; expected a finite number"),
        (WITH.replace(b"[3, 3]", b"[3, 4]"), "9 elements; expected 12 in the shape [3, 4]"),
        (WITH.replace(b"[3, 3]", b"[9]"), "unknown input"),
        (WITH.replace(b"[3, 3]", b'"3"'), "inputs[0].shape"),
        (WITH.replace(b"[3, 3]", b"[-3, -3]"), "shape [-3, -3]"),
        (WITH.replace(b"FP64", b"fp64"), "did you mean FP64?"),
        (WITH.replace(b"FP64", b"FP16"), "binary form"),
        (WITH.replace(b"FP64", b"BF16"), "binary form"),
        (WITH.replace(b"FP64", b"BYTES"), "a text"),
        (WITH.replace(b'"data"', b'"dada"'), "an input without data"),
        (WITH.replace(b'"x"', b"7"), "name"),
        (b'{"id": 7, ' + WITH[1:], "id"),
        (b'{"outputs": [{"name": "score", "parameters": {"classification": 2}}], ' + WITH[1:], "classification"),
        (b'{"parameters": {"binary_data_output": 1}, ' + WITH[1:], "parameters.binary_data_output"),
    ],
)
def test_malformed_requests_are_a_400_in_the_error_form(shapes_server: Any, body: bytes, words: str) -> None:
    answer = ask(shapes_server, "/v2/models/shapes/infer", body)
    assert answer[0] == 400
    assert words in error_of(answer)


@pytest.mark.parametrize("member", ["inputs", "outputs", "datatypes"])
def test_a_hundred_thousand_wrong_names_are_refused_at_once(shapes_server: Any, member: str) -> None:
    kind = "FP8" if member == "datatypes" else "FP64"
    many = [{"name": f"widht{at}", "shape": [1], "datatype": kind, "data": [1]} for at in range(100_000)]
    body = matrix(outputs=[{"name": one["name"]} for one in many]) if member == "outputs" else {"inputs": many}
    written = json.dumps(body).encode()
    begun = time.monotonic()
    answer = ask(shapes_server, "/v2/models/shapes/infer", written)
    assert answer[0] == 400
    assert time.monotonic() - begun < 10, "looked at one by one they take a minute"
    assert len(json.loads(answer[2])["problems"]) <= 104


def test_rows_that_do_not_meet_the_contract_are_refused_with_all_problems(shapes_server: Any) -> None:
    body = matrix()
    body["inputs"][0]["data"] = [0.1, None, None, 99.0, 1, 1, None, 1, 1]
    answer = ask(shapes_server, "/v2/models/shapes/infer", body)
    assert answer[0] == 422
    found = {problem["where"] for problem in json.loads(answer[2])["problems"]}
    assert found == {"rows[0].b", "rows[1].width", "rows[2].width"}
    assert all(place in error_of(answer) for place in found)


def test_an_unseen_category_is_refused_by_row_and_input(clicks_server: Any) -> None:
    kinds = {"device": ["toaster"], "age_band": ["30-44"], "campaign": ["brand"]}
    inputs = [{"name": name, "shape": [1], "datatype": "BYTES", "data": data} for name, data in kinds.items()]
    inputs += [
        {"name": name, "shape": [1], "datatype": "INT64", "data": [1]} for name in ("position", "impressions", "clicks")
    ]
    inputs += [{"name": "dwell_seconds", "shape": [1], "datatype": "FP64", "data": [1]}]
    answer = ask(clicks_server, "/v2/models/clicks/infer", {"inputs": inputs})
    assert answer[0] == 422
    assert "device" in error_of(answer)
    assert "one of phone, desktop, tablet" in error_of(answer)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml"])
def test_another_content_type_is_a_415(shapes_server: Any, kind: str) -> None:
    answer = ask(shapes_server, "/v2/models/shapes/infer", matrix(), {"Content-Type": kind})
    assert answer[0] == 415
    assert "content-type" in error_of(answer)


def test_a_body_that_is_too_large_is_a_413(shapes_server: Any) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": str(100 << 20)}
    answer = ask(shapes_server, "/v2/models/shapes/infer", b"", headers)
    assert answer[0] == 413
    assert "8 MiB" in error_of(answer)


MEMBERS = ["inputs", "name", "shape", "datatype", "data", "id", "outputs", "parameters"]
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.sampled_from(["FP64", "", "é"])
)
NESTED = st.one_of(LEAVES, st.lists(LEAVES, max_size=2), st.dictionaries(st.sampled_from(MEMBERS), LEAVES, max_size=3))
INPUT = st.fixed_dictionaries(
    {"name": st.one_of(LEAVES, st.just("x")), "shape": NESTED, "datatype": LEAVES, "data": NESTED}
)
BODIES = st.one_of(
    NESTED,
    st.dictionaries(st.sampled_from(MEMBERS), NESTED, max_size=3),
    st.fixed_dictionaries(
        {"inputs": st.lists(INPUT, max_size=2)},
        optional={"id": NESTED, "outputs": st.lists(NESTED, max_size=2), "parameters": NESTED},
    ),
)


@settings(max_examples=80, deadline=None)
@given(body=BODIES)
def test_no_json_makes_the_server_fail(shapes_server: Any, body: Any) -> None:
    assert ask(shapes_server, "/v2/models/shapes/infer", json.dumps(body).encode())[0] in {400, 422}


# --- in this process: what a running server cannot be made to be ------------------------------------------------------


@pytest.fixture(scope="module")
def engine(shapes: Path) -> Iterator[Engine]:
    with assembly.opened_bundle(assembly.open_project(shapes), "latest") as (version, bundle):
        yield Engine(bundle, version.title)


def served(engine: Engine, test: Callable[[Web], Awaitable[None]], chain: Chain | None = None, **more: Any) -> None:
    """A test with the application and a service behind it, in a loop of its own."""

    async def main() -> None:
        protocol = OpenInference()
        web = Web(routes=protocol.routes(), prefixes=protocol.prefixes(), **more)
        web.service = Service("shapes", chain or Chain([engine]), log=NoLog(), metrics=Metrics())
        await test(web)

    asyncio.run(main())


async def asked(
    web: Web, path: str, body: Any = None, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> tuple[int, Any]:
    """A request as the HTTP server hands it over."""
    done: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    method, data = ("GET", b"") if body is None else ("POST", json.dumps(body).encode())
    web.take(method, path, dict(headers), data, time.perf_counter(), done.set_result)
    reply = await done
    return reply.status, json.loads(reply.body)


def test_readiness_follows_the_service(engine: Engine) -> None:
    async def test(web: Web) -> None:
        assert web.service is not None
        assert await asked(web, "/v2/health/ready") == (503, {"live": True, "ready": False})
        assert await asked(web, "/v2/models/shapes/ready") == (503, {"name": "shapes", "ready": False})
        assert await asked(web, "/v2/health/live") == (200, {"live": True, "ready": False})
        web.service.state = State.READY
        assert await asked(web, "/v2/health/ready/") == (200, {"live": True, "ready": True})
        web.service.state = State.DRAINING
        assert (await asked(web, "/v2/health/ready"))[0] == 503
        web.service = None
        assert await asked(web, "/v2/health/live") == (200, {"live": True, "ready": False})
        assert await asked(web, "/v2/health/ready") == (503, {"live": True, "ready": False})
        assert (await asked(web, "/v2"))[0] == (await asked(web, "/v2/models/shapes"))[0] == 503

    served(engine, test)


def test_health_is_told_to_everyone_all_else_to_holders_of_a_key(engine: Engine) -> None:
    key, text = new_key("mine")

    async def test(web: Web) -> None:
        assert web.service is not None
        web.service.state = State.READY
        for path in ("/v2/health/live", "/v2/health/ready/"):
            assert (await asked(web, path))[0] == 200
        for path in ("/v2", "/v2/models/shapes", "/v2/models/shapes/ready"):
            assert (await asked(web, path))[0] == 401
        status, body = await asked(web, "/v2/models/shapes/infer", matrix())
        assert (status, "error" in body) == (401, True)
        own = ((b"authorization", f"Bearer {text}".encode()),)
        assert (await asked(web, "/v2/models/shapes/infer", matrix(), own))[0] == 200

    served(engine, test, keys=KeyRing([key]))


def test_who_answered_in_the_place_of_the_version_is_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_rows: Any) -> Any:
        raise ModelError("broken")

    monkeypatch.setattr(engine, "score", fails)

    async def test(web: Web) -> None:
        status, body = await asked(web, "/v2/models/shapes/infer", matrix())
        assert (status, body["parameters"]["answered_by"]) == (200, "0=constant, 1=constant, 2=constant")
        assert body["outputs"][0]["data"] == [0.5, 0.25, 0.25] * 3
        assert body["outputs"][1]["data"] == ["low"] * 3
        both = await asyncio.gather(*(asked(web, "/v2/models/shapes/infer", matrix(rows)) for rows in (ROWS, ROWS[:1])))
        assert both[1][1]["parameters"]["answered_by"] == "0=constant", "by its own rows, not by those of the run"

    served(engine, test, Chain([engine], constant=Constant(score=[0.5, 0.25, 0.25], decision="low")))

    async def without(web: Web) -> None:
        status, body = await asked(web, "/v2/models/shapes/infer", matrix())
        assert status == 503
        assert "no answer" in body["error"]

    served(engine, without)


CELLS = st.one_of(st.none(), st.floats(-12, 12), st.sampled_from([-5.0, -9.0, 9.0, 9.5, 1e300]))


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=5))
def test_tensors_are_answered_as_the_same_rows_offline(engine: Engine, rows: list[tuple[float | None, ...]]) -> None:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(NAMES, pl.Float64), orient="row")
    offline = engine.predictor.answer(frame)
    decisions = [] if offline.decisions is None else offline.decisions.to_list()
    sound = offline.problems.is_null().to_list()

    async def test(web: Web) -> None:
        assert web.service is not None
        for row, fits, score, decision in zip(rows, sound, offline.scores, decisions, strict=True):
            body = matrix()
            body["inputs"][0] |= {"shape": [1, 3], "data": list(row)}
            status, found = await asked(web, "/v2/models/shapes/infer", body)
            assert status == (200 if fits else 422)
            if fits:
                outputs = {one["name"]: one["data"] for one in found["outputs"]}
                np.testing.assert_allclose(outputs["score"], score, rtol=1e-6)
                assert outputs["decision"] == [decision]

    served(engine, test)


def test_another_version_in_service_has_inputs_of_its_own(engine: Engine) -> None:
    async def test(web: Web) -> None:
        assert web.service is not None
        models = Models()
        first = models.find(web.service, "shapes")
        assert models.find(web.service, "shapes") is first, "made once"
        web.service.use(Chain([engine]))
        second = models.find(web.service, "shapes")
        assert second is not first
        assert second.line is web.service.line

    served(engine, test)


def test_a_hundred_rows_in_one_tensor_cost_well_under_a_millisecond(engine: Engine) -> None:
    async def test(web: Web) -> None:
        assert web.service is not None
        model = Models().find(web.service, "shapes")
        head = checked_head("x", "FP32", [100, 3], [])
        assert head is not None
        made = from_values(head, [0.5] * 300, [])
        assert isinstance(made, Tensor)
        took = []
        for _ in range(50):
            begun = time.process_time()
            model.inputs.rows([made])
            took.append(time.process_time() - begun)
        assert min(took) < 0.0005

    served(engine, test)
