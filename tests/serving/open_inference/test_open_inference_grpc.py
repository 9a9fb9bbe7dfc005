"""The Open Inference Protocol over gRPC: its messages, its statuses, and the same answers as over HTTP."""

from __future__ import annotations

import asyncio
import importlib
import json
import socket
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import StatusCode

from roadworthy import assembly
from roadworthy.errors import UsageError
from roadworthy.serving.batching import Overloaded
from roadworthy.serving.chain import Chain
from roadworthy.serving.engine import Engine
from roadworthy.serving.keys import KeyRing, new_key
from roadworthy.serving.metrics import Metrics
from roadworthy.serving.open_inference import models
from roadworthy.serving.open_inference.grpc_messages import MESSAGES, SERVICE
from roadworthy.serving.open_inference.grpc_server import GrpcServer
from roadworthy.serving.service import NoLog, Service, State
from roadworthy.serving.web import Limits, Web

ROWS = [[0.1, -0.2, 0.3], [1.5, 2.5, -0.5], [-1.0, 0.0, 4.0]]
FLAT = [value for row in ROWS for value in row]
OCTETS = np.array(FLAT, dtype="<f8").tobytes()


def method(channel: Any, name: str) -> Any:
    """A method of the service as a call."""
    return channel.unary_unary(
        f"/{SERVICE}/{name}",
        request_serializer=MESSAGES[f"{name}Request"].SerializeToString,
        response_deserializer=MESSAGES[f"{name}Response"].FromString,
    )


@pytest.fixture(scope="module")
def call(shapes_server: Any) -> Iterator[Callable[..., Any]]:
    """``call("ModelReady", name=…)`` over a plain channel."""
    with grpc.insecure_channel(f"127.0.0.1:{shapes_server.grpc_port}") as channel:

        def asked(name: str, /, **fields: Any) -> Any:
            request = fields.pop("request", None) or MESSAGES[f"{name}Request"](**fields)
            return method(channel, name)(request, timeout=10)

        yield asked


def refused(call: Callable[..., Any], name: str, /, **fields: Any) -> tuple[StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(name, **fields)
    return caught.value.code(), caught.value.details()


def request(datatype: str = "FP64", shape: Sequence[int] = (3, 3), **more: Any) -> Any:
    made = MESSAGES["ModelInferRequest"](model_name="shapes", **more)
    made.inputs.add(name="x", datatype=datatype, shape=shape)
    return made


def typed() -> Any:
    made = request()
    made.inputs[0].contents.fp64_contents.extend(FLAT)
    return made


def test_health_and_metadata(call: Callable[..., Any]) -> None:
    assert call("ServerLive").live
    assert call("ServerReady").ready
    assert call("ModelReady", name="shapes", version="1").ready
    server = call("ServerMetadata")
    assert (server.name, list(server.extensions)) == ("roadworthy", ["binary_tensor_data"])
    model = call("ModelMetadata", name="shapes")
    assert (model.name, list(model.versions)) == ("shapes", ["shapes-1"])
    inputs = [(one.name, one.datatype, list(one.shape)) for one in model.inputs]
    assert inputs == [(name, "FP64", [-1, 1]) for name in ("width", "a height", "b")]
    outputs = [(one.name, one.datatype, list(one.shape)) for one in model.outputs]
    assert outputs == [("score", "FP64", [-1, 3]), ("decision", "BYTES", [-1])]
    assert json.loads(model.properties["classes"]) == ["low", "mid", "top"]


def test_typed_and_raw_tensors_answer_as_http_does(call: Callable[..., Any], shapes_server: Any) -> None:
    body = {"inputs": [{"name": "x", "shape": [3, 3], "datatype": "FP64", "data": FLAT}]}
    url = f"http://127.0.0.1:{shapes_server.port}/v2/models/shapes/infer"
    asked = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=10) as reply:  # noqa: S310 - loopback
        score, decision = json.load(reply)["outputs"]
    by_contents = call("ModelInfer", request=typed())
    assert (by_contents.model_version, by_contents.id != "") == ("shapes-1", True)
    assert list(by_contents.outputs[0].shape) == [3, 3]
    assert list(by_contents.outputs[0].contents.fp64_contents) == score["data"]
    assert [text.decode() for text in by_contents.outputs[1].contents.bytes_contents] == decision["data"]
    assert not by_contents.raw_output_contents
    made = request(id="mine", raw_input_contents=[OCTETS])
    made.outputs.add(name="score")
    by_bytes = call("ModelInfer", request=made)
    assert (by_bytes.id, [one.name for one in by_bytes.outputs]) == ("mine", ["score"])
    assert np.frombuffer(by_bytes.raw_output_contents[0], "<f8").tolist() == score["data"]


@pytest.mark.parametrize(
    ("datatype", "contents"),
    [
        ("FP32", "fp32_contents"),
        ("INT8", "int_contents"),
        ("INT64", "int64_contents"),
        ("UINT16", "uint_contents"),
        ("UINT64", "uint64_contents"),
    ],
)
def test_typed_contents_of_every_number_are_read(call: Callable[..., Any], datatype: str, contents: str) -> None:
    made = request(datatype, (1, 3))
    getattr(made.inputs[0].contents, contents).extend([1, 2, 3])
    wanted = request("FP64", (1, 3), raw_input_contents=[np.array([1.0, 2.0, 3.0]).tobytes()])
    found = call("ModelInfer", request=made).outputs[0].contents.fp64_contents
    assert list(found) == np.frombuffer(call("ModelInfer", request=wanted).raw_output_contents[0]).tolist()


def test_texts_and_columns_are_read(clicks_server: Any) -> None:
    made = MESSAGES["ModelInferRequest"](model_name="clicks")
    for name, text in (("device", b"phone"), ("age_band", b"30-44"), ("campaign", b"brand")):
        made.inputs.add(name=name, datatype="BYTES", shape=[1]).contents.bytes_contents.append(text)
    for name in ("position", "impressions", "clicks"):
        made.inputs.add(name=name, datatype="INT64", shape=[1, 1]).contents.int64_contents.append(1)
    made.inputs.add(name="dwell_seconds", datatype="FP64", shape=[1]).contents.fp64_contents.append(2.5)
    with grpc.insecure_channel(f"127.0.0.1:{clicks_server.grpc_port}") as channel:
        found = method(channel, "ModelInfer")(made, timeout=10)
        assert 0 < found.outputs[0].contents.fp64_contents[0] < 1
        made.inputs[0].contents.bytes_contents[0] = b"\xff"
        with pytest.raises(grpc.RpcError) as caught:
            method(channel, "ModelInfer")(made, timeout=10)
    assert "rows[0].device: bytes that are not UTF-8" in caught.value.details()


NOT_FOUND, INVALID = StatusCode.NOT_FOUND, StatusCode.INVALID_ARGUMENT


def test_unknown_models_and_versions_are_not_found(call: Callable[..., Any]) -> None:
    for name in ("ModelReady", "ModelMetadata"):
        assert refused(call, name, name="other") == (NOT_FOUND, "there is no such model; model: other; expected shapes")
        assert refused(call, name, name="shapes", version="9")[0] is NOT_FOUND
    assert refused(call, "ModelInfer", model_name="other")[0] is NOT_FOUND
    assert refused(call, "ModelInfer", model_name="shapes", model_version="9")[0] is NOT_FOUND


def _both() -> Any:
    made = typed()
    made.raw_input_contents.append(OCTETS)
    return made


def _nan() -> Any:
    made = typed()
    made.inputs[0].contents.fp64_contents[4] = float("nan")
    return made


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (request, "0 elements; expected 9 in the shape [3, 3]"),
        (lambda: request(raw_input_contents=[OCTETS[:-1]]), "71 bytes; expected 72 bytes"),
        (lambda: request(raw_input_contents=[OCTETS, OCTETS]), "2 tensors; expected 1"),
        (lambda: request("FP16"), "FP16 as contents; expected raw_input_contents"),
        (lambda: request("FP8"), "unknown datatype 'FP8'"),
        (lambda: request(shape=[-1, 3]), "shape [-1, 3]"),
        (lambda: MESSAGES["ModelInferRequest"](model_name="shapes"), "inputs.width: missing input"),
        (_both, "contents beside raw_input_contents"),
        (_nan, "rows[1].a height: NaN"),
    ],
    ids=["none", "short", "two", "half", "unknown", "negative", "nothing", "both", "nan"],
)
def test_wrong_tensors_are_invalid_arguments(call: Callable[..., Any], make: Callable[[], Any], words: str) -> None:
    code, details = refused(call, "ModelInfer", request=make())
    assert code is INVALID
    assert words.replace("rows[1].a height", "rows[1]['a height']") in details


def test_many_problems_fit_into_the_details(call: Callable[..., Any]) -> None:
    made = request(shape=[2_000, 3], raw_input_contents=[np.full(6_000, 1e9).tobytes()])
    code, details = refused(call, "ModelInfer", request=made)
    assert (code, len(details) < 4_000, "more problems" in details) == (INVALID, True, True)


def test_a_message_that_is_none_is_an_invalid_argument(shapes_server: Any) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{shapes_server.grpc_port}") as channel:
        raw = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            raw(b"\xff\xff\xff", timeout=10)
        assert caught.value.code() is INVALID
        with pytest.raises(grpc.RpcError) as caught:
            raw(b"\0" * ((8 << 20) + 1), timeout=10)
        assert caught.value.code() is StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(f"/{SERVICE}/RepositoryIndex")(b"", timeout=10)
        assert caught.value.code() is StatusCode.UNIMPLEMENTED


def test_the_messages_are_those_of_a_stock_client() -> None:
    stock = importlib.import_module("tritonclient.grpc.service_pb2")
    for name, own in MESSAGES.items():
        _same(own.DESCRIPTOR, getattr(stock, name).DESCRIPTOR)


def _same(own: Any, other: Any) -> None:
    theirs = {field.number: field for field in other.fields}
    for field in own.fields:
        if field.name == "properties":  # in the protocol's own file, not in Triton's
            continue
        found = theirs[field.number]
        assert (field.name, field.type, field.is_repeated) == (found.name, found.type, found.is_repeated)
        if field.message_type is not None:
            assert field.message_type.full_name == found.message_type.full_name
            _same(field.message_type, found.message_type)


# --- in this process: what a running server cannot be made to be ------------------------------------------------------


@pytest.fixture(scope="module")
def engine(shapes: Path) -> Iterator[Engine]:
    with assembly.opened_bundle(assembly.open_project(shapes), "latest") as (version, bundle):
        yield Engine(bundle, version.title)


def served(engine: Engine | None, test: Callable[[Web, Any], Awaitable[None]], **more: Any) -> None:
    """A test with a gRPC server in its own loop, and a channel to it."""

    async def main() -> None:
        web = Web(**more)
        if engine is not None:
            web.service = Service("shapes", Chain([engine]), log=NoLog(), metrics=Metrics())
            web.service.state = State.READY
        server = GrpcServer(web)
        port = await server.start("127.0.0.1:0")
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await test(web, channel)
        finally:
            await server.stop(0)

    asyncio.run(main())


async def code_of(awaited: Any) -> tuple[StatusCode, dict[str, str]]:
    with pytest.raises(grpc.RpcError) as caught:
        await awaited
    return caught.value.code(), dict(caught.value.trailing_metadata() or ())


def test_before_there_is_a_service_nothing_but_health_is_answered() -> None:
    async def test(_web: Web, channel: Any) -> None:
        assert (await method(channel, "ServerLive")(MESSAGES["ServerLiveRequest"]())).live
        assert not (await method(channel, "ServerReady")(MESSAGES["ServerReadyRequest"]())).ready
        assert (await code_of(method(channel, "ModelInfer")(typed())))[0] is StatusCode.UNAVAILABLE

    served(None, test)


def test_a_key_is_asked_for_all_but_health(engine: Engine) -> None:
    key, text = new_key("mine")

    async def test(_web: Web, channel: Any) -> None:
        assert (await method(channel, "ServerReady")(MESSAGES["ServerReadyRequest"]())).ready
        for name in ("ServerMetadata", "ModelMetadata", "ModelReady", "ModelInfer"):
            code, _ = await code_of(method(channel, name)(MESSAGES[f"{name}Request"]()))
            assert code is StatusCode.UNAUTHENTICATED
        for own in ((("authorization", f"Bearer {text}"),), (("x-api-key", text),)):
            assert (await method(channel, "ModelInfer")(typed(), metadata=own)).outputs
        other = text[:-1] + ("y" if text.endswith("x") else "x")
        code, _ = await code_of(method(channel, "ModelInfer")(typed(), metadata=(("x-api-key", other),)))
        assert code is StatusCode.UNAUTHENTICATED

    served(engine, test, keys=KeyRing([key]))


def test_a_call_waits_no_longer_than_its_deadline(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    until: list[float] = []

    async def test(web: Web, channel: Any) -> None:
        assert web.service is not None
        ask = web.service.ask

        def noted(line: Any, rows: Any, end: float, tell: Any) -> None:
            until.append(end - time.perf_counter())
            ask(line, rows, end, tell)

        monkeypatch.setattr(web.service, "ask", noted)
        await method(channel, "ModelInfer")(typed(), timeout=3)
        await method(channel, "ModelInfer")(typed())
        await method(channel, "ModelInfer")(typed(), timeout=600)

    served(engine, test, limits=Limits(answer_s=5.0))
    assert 2 < until[0] < 3.1, "gRPC's own clock is a little coarse"
    assert all(4 < one < 5 for one in until[1:])


def test_what_is_too_much_is_told_when_to_come_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_given: Any) -> Any:
        raise Overloaded(2.5)

    async def test(web: Web, channel: Any) -> None:
        assert web.service is not None
        monkeypatch.setattr(web.service, "ask", full)
        code, trailing = await code_of(method(channel, "ModelInfer")(typed()))
        assert (code, trailing["retry-after"]) == (StatusCode.RESOURCE_EXHAUSTED, "3")
        while web.service.in_flight:
            await asyncio.sleep(0.01)
        assert 'roadworthy_requests_total{route="grpc",code="429"} 1' in web.service.metrics.text({}).decode()

    served(engine, test)


def test_a_fault_of_the_server_is_told_without_its_words(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_given: Any) -> Any:
        raise KeyError("secret")

    async def test(web: Web, channel: Any) -> None:
        monkeypatch.setattr(web.service, "ask", breaks)
        with pytest.raises(grpc.RpcError) as caught:
            await method(channel, "ModelInfer")(typed())
        assert caught.value.code() is StatusCode.INTERNAL
        assert "secret" not in caught.value.details()

    served(engine, test)


def test_calls_are_counted_and_the_flight_is_over(engine: Engine) -> None:
    async def test(web: Web, channel: Any) -> None:
        assert web.service is not None
        await method(channel, "ModelInfer")(typed())
        await code_of(method(channel, "ModelInfer")(request()))
        while web.service.in_flight:  # the answer may be here before its end there
            await asyncio.sleep(0.01)
        text = web.service.metrics.text({}).decode()
        assert 'route="grpc",code="200"} 1' in text
        assert 'route="grpc",code="400"} 1' in text
        assert web.service.in_flight == 0

    served(engine, test)


def test_a_port_that_is_no_port_is_named(engine: Engine) -> None:
    async def test(web: Web, _channel: Any) -> None:
        with pytest.raises(UsageError, match="cannot listen at"):
            await GrpcServer(web).start("256.256.256.256:1")

    served(engine, test)


def test_a_port_that_is_taken_is_refused_and_shared_only_where_both_ask_for_it(engine: Engine) -> None:
    async def test(web: Web, _channel: Any) -> None:
        first, second, shared = GrpcServer(web), GrpcServer(web), GrpcServer(web)
        port = await first.start("127.0.0.1:0")
        for more in ({}, {"shared": True}):
            with pytest.raises(UsageError, match="cannot listen at"):
                await second.start(f"127.0.0.1:{port}", **more)
        await first.stop(0)
        port = await second.start("127.0.0.1:0", shared=True)
        assert await shared.start(f"127.0.0.1:{port}", shared=True) == port
        await second.stop(0)
        await shared.stop(0)

    served(engine, test)


def test_a_call_that_is_cancelled_is_no_fault_of_ours(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(web: Web, channel: Any) -> None:
        assert web.service is not None
        begun = asyncio.Event()

        async def never(*_given: Any) -> Any:
            begun.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(models, "answered", never)
        call = method(channel, "ModelInfer")(typed())
        await begun.wait()
        call.cancel()
        while web.service.in_flight:
            await asyncio.sleep(0.01)
        text = web.service.metrics.text({}).decode()
        assert 'route="grpc",code="500"' not in text
        assert 'route="grpc",code="499"} 1' in text

    served(engine, test)


@pytest.mark.parametrize("sharing", [False, True])
def test_a_server_is_not_started_on_a_grpc_port_that_is_somebodys(
    shapes: Path, command: Callable[..., Any], sharing: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=sharing) as other:
        port = other.getsockname()[1]
        words = ["serve", "--project", str(shapes), "--version", "latest", "--port", "0", "--grpc-port", str(port)]
        done = command(*words, timeout=60)
    assert done.returncode == 2
    assert f"port {port} of 127.0.0.1 is in use" in done.stderr
