"""What the world sends: each fault gets a 4xx that names it, none a 5xx, and the server is as well afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from roadworthy.adapters.http_server import HttpServer
from roadworthy.serving.calls import Call, Reply, Route
from roadworthy.serving.service import Service
from roadworthy.serving.web import Limits, Web

Start = Callable[..., Any]
SOUND = {"a": 1.0, "b": 0.2, "c": 0.0}


def said(port: int, request: bytes, *, timeout: float = 30) -> tuple[int, dict[str, Any]]:
    """One raw request on a connection of its own, and how it was answered: status 0 where the connection just ended."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        with contextlib.suppress(ConnectionError):  # it may answer, and close, before a body is through
            connection.sendall(request)
        return read(connection)


def read(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """One answer."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        while b"\r\n\r\n" not in answer or len(answer) < _whole(answer):
            part = connection.recv(65536)
            if not part:
                break
            answer += part
    if not answer:
        return 0, {}
    body = answer.partition(b"\r\n\r\n")[2]
    found = json.loads(body) if body[:1] in {b"{", b"["} else {"text": body.decode("latin-1")}
    return int(answer.split(b" ", 2)[1]), found


def _whole(answer: bytes) -> int:
    head = answer.partition(b"\r\n\r\n")[0]
    length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
    return len(head) + 4 + int(length.partition(b":")[2])


def posted(body: bytes, *, headers: str = "", path: str = "/predict", kind: str = "application/json") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\n{headers}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def row(**changes: object) -> bytes:
    return posted(json.dumps({"row": {**SOUND, **changes}}).encode())


def text(body: str) -> bytes:
    return posted(body.encode())


CASES: dict[str, tuple[bytes, int, str]] = {
    "a text for a number": (row(b="much"), 422, "row.b"),
    "a boolean for a number": (row(b=True), 422, "row.b"),
    "a list for a number": (row(b=[1]), 422, "row.b"),
    "an unknown field": (row(d=1), 422, "row.d"),
    "a missing field": (text('{"row": {"a": 1, "b": 2}}'), 422, "row.c"),
    "NaN": (text('{"row": {"a": NaN, "b": 2, "c": 3}}'), 422, "row.a"),
    "Infinity": (text('{"rows": [{"a": 1, "b": -Infinity, "c": 3}]}'), 422, "rows.b"),
    "beyond a double": (text('{"row": {"a": 1e999, "b": 2, "c": 3}}'), 422, "row.a"),
    "beyond 64 bits": (text('{"row": {"a": 1' + "0" * 30 + ', "b": 2, "c": 3}}'), 422, "row.a"),
    "no rows": (text('{"rows": []}'), 422, "rows"),
    "a row that is none": (text('{"rows": [7]}'), 422, "rows"),
    "truncated": (text('{"row": {"a": 1'), 400, "JSON"),
    "empty": (text(""), 400, "empty"),
    "no JSON": (text("a=1&b=2"), 400, "JSON"),
    "half a surrogate pair": (row(b="\ud800"), 400, "JSON"),
    "no UTF-8": (posted(b'{"row": {"a": "\xff\xfe"}}'), 400, "JSON"),
    "nested": (text('{"row":' + "[" * 50_000), 400, "nests"),
    "another form": (text('{"instances": [[1, 2, 3]]}'), 400, "row"),
    "another type of content": (posted(b"a", kind="application/x-www-form-urlencoded"), 415, "content-type"),
    "no type of content": (b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}", 415, "content-type"),
    "compressed": (posted(b"\x1f\x8b", headers="content-encoding: gzip\r\n"), 415, "content-encoding"),
    "no such path": (posted(b"{}", path="/predictions"), 404, "/predict"),
    "another method": (b"PUT /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}", 405, "POST"),
    "a deadline that is none": (posted(b"{}", headers="x-deadline-ms: soon\r\n"), 400, "x-deadline-ms"),
    "a deadline that is over": (posted(b"{}", headers="x-deadline-ms: -1\r\n"), 400, "x-deadline-ms"),
    "said to be 100 MB": (b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 104857600\r\n\r\n", 413, "MiB"),
    "20 MB in chunks": (
        b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 320
        + b"0\r\n\r\n",
        413,
        "MiB",
    ),
    "a length that is none": (b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: ten\r\n\r\n", 400, ""),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n", 400, ""),
}


def test_every_fault_gets_a_4xx_that_names_it_and_nothing_is_the_worse_for_it(serving: Start, pair: Path) -> None:
    server = serving(pair, "--log", "off")
    wrong = []
    for name, (request, status, words) in CASES.items():
        code, answer = said(server.port, request)
        if code != status or words not in json.dumps(answer):
            wrong.append((name, code, answer))
    assert not wrong
    code, answer = said(server.port, row())
    assert code == 200
    assert 0 <= answer["predictions"][0]["score"] <= 1


def test_a_body_that_comes_byte_by_byte_is_not_waited_for_and_delays_nobody(serving: Start, pair: Path) -> None:
    server = serving(pair, "--log", "off")
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(30)]
    try:
        for connection in slow:
            connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{")
        begun = time.perf_counter()
        assert all(said(server.port, row())[0] == 200 for _ in range(20))
        assert time.perf_counter() - begun < 5
        code, answer = read(slow[0])
        assert code == 408
        assert "1,000 bytes" in answer["error"]
    finally:
        for connection in slow:
            connection.close()


def test_one_bad_request_among_eight_at_once_fails_alone(serving: Start, pair: Path) -> None:
    server = serving(pair, "--log", "off")
    requests = [row(b=None if at != 5 else "x", a=float(at)) for at in range(8)]
    connections = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in requests]
    try:
        for connection, request in zip(connections, requests, strict=True):
            connection.sendall(request)
        codes = [read(connection)[0] for connection in connections]
    finally:
        for connection in connections:
            connection.close()
    assert codes == [200] * 5 + [422] + [200] * 2


def test_what_it_says_of_itself_is_what_machines_expect(serving: Start, pair: Path) -> None:
    server = serving(pair, "--log", "off")

    def looked(path: str) -> tuple[int, dict[str, Any]]:
        return said(server.port, f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())

    assert looked("/livez")[0] == 200
    code, ready = looked("/readyz")
    assert (code, ready["ready"], ready["version"]) == (200, True, "pair-1")
    said(server.port, row())
    said(server.port, row(b="x"))
    code, metrics = looked("/metrics")
    assert 'roadworthy_requests_total{route="predict",code="200"} 1' in metrics["text"]
    assert 'roadworthy_requests_total{route="predict",code="422"} 1' in metrics["text"]
    code, document = looked("/openapi.json")
    assert code == 200
    example = document["components"]["schemas"]["Row"]["examples"][0]
    assert said(server.port, posted(json.dumps({"row": example}).encode()))[0] == 200


# --- on the wire ------------------------------------------------------------------------------------------------------

SOUND_ROW = json.dumps({"row": SOUND}).encode()
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SOUND_ROW), SOUND_ROW)
KIND = b"content-type: application/json\r\n"


def sent(
    target: bytes, fields: bytes = b"", body: bytes = b"", *, method: bytes = b"GET", end: bytes = b"\r\n"
) -> bytes:
    return method + b" " + target + b" HTTP/1.1" + end + b"host: localhost" + end + fields + end + body


def asked(fields: bytes, body: bytes = SOUND_ROW, path: bytes = b"/predict") -> bytes:
    return sent(path, KIND + fields, body, method=b"POST")


SIZE = b"content-length: %d\r\n" % len(SOUND_ROW)
PARTS = b"transfer-encoding: chunked\r\n"
WIRE: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "a length twice, the same": (asked(SIZE + SIZE), (400,)),
    "two lengths": (asked(SIZE + b"content-length: 3\r\n"), (400,)),
    "a list of lengths": (asked(b"content-length: 5, 5\r\n"), (400,)),
    "a length with a sign": (asked(b"content-length: +7\r\n"), (400,)),
    "a negative length": (asked(b"content-length: -1\r\n"), (400,)),
    "a length in hexadecimal": (asked(b"content-length: 0x10\r\n"), (400,)),
    "a length of forty digits": (asked(b"content-length: " + b"9" * 40 + b"\r\n"), (400,)),
    "an empty length": (asked(b"content-length: \r\n"), (400,)),
    "length and chunks": (asked(b"content-length: 5\r\n" + PARTS, CHUNKED), (400,)),
    "chunks and length": (asked(PARTS + b"content-length: 5\r\n", CHUNKED), (400,)),
    "chunks that are no numbers": (asked(PARTS, b"zz\r\n"), (400,)),
    "a chunk of 2^72": (asked(PARTS, b"ffffffffffffffffff\r\n"), (400,)),
    "chunks with extensions": (asked(PARTS, CHUNKED.replace(b"\r\n", b";a=b\r\n", 1)), (200,)),
    "another transfer coding": (asked(b"transfer-encoding: identity\r\n"), (400,)),
    "a transfer coding that is like ours": (asked(b"transfer-encoding: xchunked\r\n", CHUNKED), (400,)),
    "a transfer coding behind ours": (asked(b"transfer-encoding: chunked, gzip\r\n", CHUNKED), (400,)),
    "a transfer coding before ours": (asked(b"transfer-encoding: gzip, chunked\r\n", CHUNKED), (400,)),
    "a folded field": (sent(b"/livez", b"a: b\r\n c\r\n"), (400,)),
    "a folded length": (asked(b"content-length:\r\n 5\r\n"), (400,)),
    "a space before the colon": (sent(b"/livez", b"a : b\r\n"), (400,)),
    "a field without a colon": (sent(b"/livez", b"abc\r\n"), (400,)),
    "NUL in a field": (sent(b"/livez", b"a: b\0c\r\n"), (400,)),
    "CR in a field": (sent(b"/livez", b"a: b\rc\r\n"), (400,)),
    "lines that end in LF alone": (sent(b"/livez", end=b"\n"), (400,)),
    "an absolute target": (sent(b"http://localhost/livez"), (200,)),
    "a tunnel": (sent(b"x:443", method=b"CONNECT"), (404,)),
    "an asterisk": (sent(b"*", method=b"OPTIONS"), (404,)),
    "no method that there is": (sent(b"/livez", method=b"FETCH"), (400,)),
    "a method in small letters": (sent(b"/livez", method=b"get"), (400,)),
    "HTTP/1.0": (b"GET /livez HTTP/1.0\r\n\r\n", (200,)),
    "HTTP/1.0 that would go on": (b"GET /livez HTTP/1.0\r\nconnection: keep-alive\r\n\r\n" * 2, (200,)),
    "HTTP/1.9": (b"GET /livez HTTP/1.9\r\nhost: x\r\n\r\n", (400,)),
    "HTTP/2 by prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400,)),
    "a websocket": (sent(b"/livez", b"connection: upgrade\r\nupgrade: websocket\r\n"), (200,)),
    "a path in percents": (sent(b"/%6c%69vez"), (200,)),
    "percents that are none": (sent(b"/%zz"), (404,)),
    "percents that are no UTF-8": (sent(b"/%ff%fe"), (404,)),
    "NUL in percents": (sent(b"/livez%00"), (404,)),
    "a path in UTF-8": (sent("/lívez".encode()), (400,)),
    "a path in UTF-8 and percents": (sent(b"/l%C3%ADvez"), (404,)),
    "a query": (sent(b"/livez?a=1&b=%ff&c"), (200,)),
    "dots": (sent(b"/v2/../livez"), (404,)),
    "two slashes": (sent(b"//livez"), (404,)),
    "a long path": (sent(b"/" + b"a" * 60_000), (404,)),
    "a thousand fields": (sent(b"/livez", b"a: b\r\n" * 1_000), (200,)),
    "a field of 70 kB": (sent(b"/livez", b"a: " + b"b" * 70_000 + b"\r\n"), (431,)),
    "twenty thousand fields": (sent(b"/livez", b"a: b\r\n" * 20_000), (431,)),
    "expecting to go on": (asked(SIZE + b"expect: 100-continue\r\n"), (100, 200)),
    "expecting to go on with 100 MB": (asked(b"expect: 100-continue\r\ncontent-length: 104857600\r\n", b""), (413,)),
    "three in one go": (asked(SIZE) * 3, (200, 200, 200)),
    "a bad one between": (asked(SIZE) + asked(SIZE, b"{" * len(SOUND_ROW)) + asked(SIZE), (200, 400, 200)),
    "garbage behind a request": (sent(b"/livez") + b"\x00\x01\r\n\r\n", (200, 400)),
    "a body behind GET": (sent(b"/livez", b"content-length: 5\r\n", b"abcde") + sent(b"/livez"), (200, 200)),
    "500 MB behind GET": (sent(b"/livez", b"content-length: 500000000\r\n", b"abcde"), (413,)),
    "half of a body": (asked(SIZE, SOUND_ROW[:-5]), ()),
    "half of a head": (b"GET /livez HTTP/1.1\r\nho", ()),
    "nothing": (b"", ()),
}


def all_said(port: int, request: bytes) -> tuple[tuple[int, ...], bytes]:
    """The statuses of all answers to what one connection sends and then half closes, and the bytes of the answers."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65_536):
            answer += part
    return tuple(int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", answer)), answer


def test_whatever_is_on_the_wire_is_answered_or_refused_and_never_taken_for_another_request(
    serving: Start, pair: Path
) -> None:
    server = serving(pair, "--log", "off")
    wrong = []
    for name, (request, statuses) in WIRE.items():
        found, answer = all_said(server.port, request)
        refused = [body for body in re.findall(rb"\{.*\}", answer) if b'"error"' in body]
        unreadable = [body for body in refused if not json.loads(body)["error"]]
        if found != statuses or unreadable or len(refused) != sum(status >= 400 for status in found):
            wrong.append((name, found, answer[-200:]))
    assert not wrong, "\n".join(map(str, wrong))
    assert said(server.port, row())[0] == 200


METHODS = ("HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "PROPFIND", "M-SEARCH", "GET", "POST")
PATHS = {
    "/predict": "POST",
    "/feedback": "POST",
    "/livez": "GET, HEAD",
    "/readyz": "GET, HEAD",
    "/metrics": "GET, HEAD",
    "/version": "GET, HEAD",
    "/openapi.json": "GET, HEAD",
    "/v2": "GET, HEAD",
    "/v2/health/ready": "GET, HEAD",
    "/v2/models/pair": "GET, HEAD",
    "/v2/models/pair/ready": "GET, HEAD",
    "/v2/models/pair/infer": "POST",
}


def test_every_path_takes_its_methods_and_says_so_to_all_others(serving: Start, pair: Path) -> None:
    server = serving(pair, "--log", "off")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for path, allowed in PATHS.items():
        for method in METHODS:
            connection.request(method, path, b"{}" if method == "POST" else None)
            reply = connection.getresponse()
            body = reply.read()
            if method in allowed.split(", "):
                assert reply.status in {200, 400, 415, 422}, (method, path)
            else:
                assert (reply.status, reply.headers["allow"]) == (405, allowed), (method, path)
            assert bool(body) is (method != "HEAD")
    connection.close()


# --- a server in this process -----------------------------------------------------------------------------------------


async def _by_itself(app: Any, *parts: bytes, until: bytes = b"") -> bytes:
    """What a server of ``app`` in this process answers to these bytes, sent one after the other."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = HttpServer(app)
    await server.start(listening)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    with contextlib.suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(5):
            while not until or until not in answer:
                part = await reader.read(65536)
                if not part:
                    break
                answer += part
    writer.close()
    await server.stop(0)
    return answer


@pytest.mark.parametrize("fields", [PARTS, b"content-length: 1000\r\n"], ids=["chunks", "length"])
def test_a_body_behind_get_that_never_ends_ends_its_connection(fields: bytes) -> None:
    begun = time.perf_counter()
    web = Web(limits=Limits(body_s=0.5))
    answer = asyncio.run(_by_itself(web, sent(b"/livez", fields, b"5\r\nabcde\r\n")))
    assert answer.startswith(b"HTTP/1.1 408")
    assert time.perf_counter() - begun < 4.5


def test_what_follows_a_body_in_chunks_is_not_kept_without_end() -> None:
    begin = b"GET /livez HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
    lines = [b"a: " + b"b" * 1000 + b"\r\n"] * 200
    begun = time.perf_counter()
    answer = asyncio.run(_by_itself(Web(), begin, *lines))
    assert time.perf_counter() - begun < 4, "the connection was not ended"
    assert not answer or b"HTTP/1.1 431" in answer  # who still sends may see the connection reset instead


def test_a_body_in_many_small_chunks_and_a_request_behind_it_are_read() -> None:
    begin = b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = b"5\r\nabcde\r\n" * 20_000 + b"0\r\n\r\nGET /livez HTTP/1.1\r\n"
    answer = asyncio.run(_by_itself(Web(), begin, chunks, b"host: x\r\n\r\n", until=b'{"live":true}'))
    assert b"HTTP/1.1 431" not in answer
    assert b"HTTP/1.1 200" in answer


def test_a_fault_of_our_own_is_an_answer_in_the_common_form_and_quotes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    value = "ann@example.org"

    async def faulty(_service: Service, _call: Call) -> Reply:
        raise KeyError(value)

    counted: list[tuple[str, int]] = []
    metrics = SimpleNamespace(request=lambda route, code, _seconds: counted.append((route, code)))
    line = SimpleNamespace(batcher=SimpleNamespace(crowded=lambda: False))
    web = Web(routes={"/faulty": Route("other", ("GET",), faulty)})
    web.service = cast("Any", SimpleNamespace(in_flight=0, metrics=metrics, line=line))
    answer = asyncio.run(_by_itself(web, b"GET /faulty HTTP/1.1\r\nhost: x\r\n\r\n", until=b"}"))
    assert answer.startswith(b"HTTP/1.1 500")
    assert "error" in json.loads(answer.partition(b"\r\n\r\n")[2])
    assert counted == [("other", 500)]
    assert "KeyError" in caplog.text
    assert value not in caplog.text
