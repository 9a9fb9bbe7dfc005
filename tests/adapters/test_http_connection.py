"""One connection, byte by byte: order, bounds and ends, with a transport that keeps what is written."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from roadworthy.adapters.http_connection import Connection
from roadworthy.adapters.http_heads import length_of

JSON = ((b"content-type", b"application/json"),)
POST = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"


class Wire:
    """A transport in memory."""

    def __init__(self) -> None:
        self.sent = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """No more is written."""

    def pause_reading(self) -> None:
        """What comes is kept by the system."""

    def resume_reading(self) -> None:
        """It is read again."""


class Answering:
    """An application: answers at once, or keeps what is to be called."""

    most_bytes, body_s = 1 << 20, 10.0

    def __init__(self, *, later: bool = False, full: bool = False) -> None:
        self.asked: list[str] = []
        self.waiting: list[Callable[[Any], None]] = []
        self.later, self.full = later, full

    def take(self, _method: str, path: str, _headers: Any, _body: bytes, _begun: float, answer: Any) -> None:
        self.asked.append(path)
        if self.later:
            self.waiting.append(answer)
        else:
            answer((200, path.encode(), JSON))

    def crowded(self) -> bool:
        return self.full

    def turned_away(self, _head: bytes) -> bytes:
        return b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"

    def refusal(self, *_request: Any) -> None:
        return None

    def unread(self, status: int, _length: int | None = None) -> Any:
        return (status, b"{}", JSON)


class Around:
    """What stands around a connection."""

    def __init__(self, app: Any) -> None:
        self.app, self.ending = app, False
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()


def on(app: Answering, test: Callable[[Connection, Wire, Around], Awaitable[None]]) -> None:
    async def main() -> None:
        wire, around = Wire(), Around(app)
        connection = Connection(around)
        connection.connection_made(wire)  # type: ignore[arg-type]  # it has what a connection asks for
        await test(connection, wire, around)

    asyncio.run(main())


def test_a_head_that_is_not_whole_is_not_turned_away() -> None:
    async def test(connection: Connection, wire: Wire, _around: Around) -> None:
        begin = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\nx: aaa"
        connection.data_received(begin % (len(begin) - 3))
        assert wire.sent == b""
        connection.data_received(POST.partition(b"\r\n")[2])
        assert wire.sent.count(b"HTTP/1.1") <= 1

    on(Answering(full=True), test)


@pytest.mark.parametrize(
    "line",
    [
        b"content-length-x: 2",
        b"content-length : 2",
        b"content-length: \x0b2",
        b"content-length: 2\nx: y",
        b" content-length: 2",
    ],
    ids=["another name", "a blank before the colon", "another blank", "a bare line end", "folded"],
)
def test_only_a_plain_head_has_a_length_at_sight(line: bytes) -> None:
    assert length_of(b"POST /predict HTTP/1.1\r\nhost: x\r\n" + line) == -1
    assert length_of(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 2") == 2


def test_answers_that_nobody_fetches_are_not_made() -> None:
    app = Answering()

    async def test(connection: Connection, wire: Wire, _around: Around) -> None:
        connection.pause_writing()
        connection.data_received(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n" * 1_000)
        await asyncio.sleep(0)
        assert (app.asked, wire.sent) == ([], b"")
        connection.resume_writing()
        while len(app.asked) < 1_000:
            await asyncio.sleep(0)
        assert wire.sent.count(b"HTTP/1.1 200") == 1_000

    on(app, test)


def test_who_pipelines_lets_others_have_their_turn() -> None:
    app = Answering()

    async def test(connection: Connection, _wire: Wire, _around: Around) -> None:
        connection.data_received(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n" * 500)
        assert len(app.asked) <= 64
        while len(app.asked) < 500:
            await asyncio.sleep(0)

    on(app, test)


def test_pipelined_requests_are_answered_in_order_also_at_the_end() -> None:
    app = Answering(later=True)

    async def test(connection: Connection, wire: Wire, around: Around) -> None:
        connection.data_received(b"".join(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % at for at in range(3)))
        around.ending = True
        for at in range(3):
            app.waiting[at]((200, b"%d" % at, JSON))
        answers = wire.sent.split(b"HTTP/1.1 200 OK")[1:]
        assert [answer[-1:] for answer in answers] == [b"0", b"1", b"2"]
        assert [b"connection: close" in answer for answer in answers] == [False, False, True]
        assert wire.closed

    on(app, test)


def test_a_body_behind_a_head_that_was_cut_in_its_last_line_is_read() -> None:
    async def test(connection: Connection, wire: Wire, _around: Around) -> None:
        connection.data_received(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n")
        connection.data_received(b"\r\n" + b"x" * 200_000)
        assert wire.sent.startswith(b"HTTP/1.1 200")

    on(Answering(), test)


def test_a_head_of_many_short_fields_is_bounded_in_whatever_parts_it_comes() -> None:
    async def test(connection: Connection, wire: Wire, _around: Around) -> None:
        head = b"GET /a HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 20_000 + b"\r\n"
        connection.data_received(head[:60_000])
        connection.data_received(head[60_000:])
        await asyncio.sleep(0)
        assert wire.sent.startswith(b"HTTP/1.1 431")

    on(Answering(), test)


def test_a_head_is_bounded_also_behind_another_request() -> None:
    async def test(connection: Connection, wire: Wire, _around: Around) -> None:
        head = b"GET /b HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 40_000 + b"\r\n"
        connection.data_received(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n" + head)
        await asyncio.sleep(0)
        assert wire.sent.count(b"HTTP/1.1 200") == 1
        assert wire.sent.count(b"HTTP/1.1 431") == 1

    on(Answering(), test)


def test_a_connection_that_is_gone_keeps_nothing_and_an_idle_one_no_body() -> None:
    async def test(connection: Connection, wire: Wire, around: Around) -> None:
        connection.data_received(POST)
        assert wire.sent.count(b"200 OK") == 1
        assert not [one for one in vars(connection).values() if isinstance(one, bytes) and b"{}" in one]
        left = Connection(around)
        left.connection_made(wire)  # type: ignore[arg-type]  # as above
        left.data_received(POST)
        left.connection_lost(None)
        seen = weakref.ref(left)
        gc.disable()
        try:
            del left
            assert seen() is None, "it does not wait for the collector"
        finally:
            gc.enable()

    on(Answering(), test)


@pytest.mark.parametrize("pipelined", [1, 2])
def test_a_body_that_is_held_back_behind_others_is_asked_for_when_those_are_answered(pipelined: int) -> None:
    head = POST.replace(b"\r\n\r\n{}", b"\r\nexpect: 100-continue\r\n\r\n")
    answering = Answering(later=True)

    async def test(connection: Connection, wire: Wire, _around: Around) -> None:
        connection.data_received(POST * pipelined + head)
        for _ in range(pipelined):
            assert b"100 Continue" not in wire.sent, "it would be taken for the answer to another request"
            answering.waiting.pop(0)((200, b"{}", JSON))
            await asyncio.sleep(0)
        assert wire.sent.endswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.data_received(b"{}")
        answering.waiting.pop(0)((200, b"{}", JSON))
        assert (wire.sent.count(b"100 Continue"), wire.sent.count(b"200 OK")) == (1, pipelined + 1)

    on(answering, test)


def test_a_body_that_came_by_itself_is_not_asked_for() -> None:
    answering = Answering(later=True)

    async def test(connection: Connection, wire: Wire, _around: Around) -> None:
        connection.data_received(POST)
        connection.data_received(POST.replace(b"\r\n\r\n", b"\r\nexpect: 100-continue\r\n\r\n"))
        for _ in range(2):
            answering.waiting.pop(0)((200, b"{}", JSON))
            await asyncio.sleep(0)
        assert (wire.sent.count(b"100 Continue"), wire.sent.count(b"200 OK")) == (0, 2)

    on(answering, test)
