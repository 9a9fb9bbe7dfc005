"""The client: answers typed, refusals in words, and tried again only where that does no harm."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import roadworthy as rw
from roadworthy.adapters.client import Served, ServerRefused, ServerUnreachable
from roadworthy.errors import UsageError

Start = Callable[..., Any]
ROW = {"a": 1.0, "b": 0.2, "c": 0.0}


def test_it_asks_a_server_in_both_forms(serving: Start, pair: Path) -> None:
    server = serving(pair, "--log", "off")
    with rw.Client(server.address) as client:
        assert client.ready()
        one = client.predict(ROW)
        many = client.predict([ROW, {**ROW, "a": -3.0}])
        with pytest.raises(ServerRefused) as refused:
            client.predict({**ROW, "a": "x", "d": 1})
        assert client.version()["model"] == "pair"
    assert one.version == "pair-1"
    assert many.scores[0] == one.scores[0]
    assert many.decisions[1] == "0"
    assert refused.value.status == 422
    assert [problem.where for problem in refused.value.problems] == ["row.d", "row.a"]

    async def asked() -> Served:
        async with rw.AsyncClient(server.address) as client:
            return (await asyncio.gather(*(client.predict(ROW) for _ in range(20))))[7]

    assert asyncio.run(asked()).scores == one.scores


@contextmanager
def scripted(*answers: bytes | None) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives these answers in turn, None by hanging up, and the requests that it got."""
    got: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                got.append(connection.recv(65536))
                if answer is not None:
                    connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", got
    finally:
        listener.close()
        thread.join(5)


def answer(status: str, body: object, headers: str = "") -> bytes:
    content = json.dumps(body).encode()
    return (
        f"HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {len(content)}\r\n\r\n".encode() + content
    )


OK = answer("200 OK", {"id": "1", "model": "m", "version": "m-1", "predictions": [{"score": 0.5, "decision": "a"}]})
BUSY = answer("429 Too Many Requests", {"error": "busy"}, "retry-after: 1\r\n")
DOWN = answer("503 Service Unavailable", {"error": "no answer"})


def test_a_refusal_that_says_when_is_tried_again_then() -> None:
    with scripted(BUSY, OK) as (url, got), rw.Client(url) as client:
        begun = time.perf_counter()
        assert client.predict(ROW).scores == [0.5]
    assert 1.0 <= time.perf_counter() - begun < 5
    assert len(got) == 2


def test_a_connection_that_broke_is_tried_again_and_feedback_keeps_its_key() -> None:
    with scripted(None, OK) as (url, got), rw.Client(url) as client:
        assert client.predict(ROW).decisions == ["a"]
    assert len(got) == 2
    with scripted(None, answer("202 Accepted", {"accepted": 1})) as (url, got), rw.Client(url) as client:
        assert client.feedback({"id": "1", "label": "a"}) == {"accepted": 1}
    keys = {line for request in got for line in request.lower().split(b"\r\n") if line.startswith(b"idempotency-key")}
    assert len(got) == 2
    assert len(keys) == 1


def test_a_refusal_that_says_nothing_of_when_stands() -> None:
    with scripted(DOWN, OK) as (url, got), rw.Client(url) as client:
        with pytest.raises(ServerRefused, match="no answer"):
            client.predict(ROW)
        assert len(got) == 1


def test_a_call_ends_within_its_time_and_says_how_long_it_waits() -> None:
    with (
        scripted(BUSY, BUSY, BUSY, BUSY) as (url, got),
        rw.Client(url, timeout=1.5) as client,
        pytest.raises(ServerRefused, match="busy"),
    ):
        client.predict(ROW)
    assert len(got) <= 2, "a third try would have come too late"
    said = [float(line.partition(b":")[2]) for one in got for line in one.split(b"\r\n") if b"deadline" in line.lower()]
    assert 1_000 < said[0] <= 1_500
    assert all(later < said[0] - 900 for later in said[1:])


def test_nobody_there_is_said_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with rw.Client(f"http://127.0.0.1:{port}", timeout=1) as client:
        assert not client.ready()
        with pytest.raises(ServerUnreachable, match="is it running") as error:
            client.predict(ROW)
    assert f":{port}" in str(error.value)
    with pytest.raises(UsageError, match="no address"):
        rw.Client("127.0.0.1:8080")
