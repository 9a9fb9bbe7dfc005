"""HTTP/1.1 for an ASGI application: uvicorn's protocol over httptools, on sockets that come bound.

In: an application, sockets. Out: answers. Laws: a request whose connection was accepted is answered, also while the
server is going away; a request's head is there within ``HEAD_S`` and within ``MOST_HEAD`` bytes, or its connection is
closed; a body that nobody reads does not reset the connection before its answer has arrived.

uvicorn's own ``Server`` is not used: it closes idle connections under requests that are on their way, and takes the
process's signals for itself.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from roadworthy.adapters.listening import BACKLOG, turn_away

__all__ = ["HEAD_S", "MOST_HEAD", "HttpServer"]

HEAD_S = 10.0
"""Seconds in which a connection sends the whole head of its first request, and of each later one once it began."""

MOST_HEAD = 65_536
"""Bytes of a request's head."""

_KEEP_ALIVE_S = 75
_SWEEP_S = 1.0
_LINGER_S = 2.0
_HANDSHAKES_S = 0.2  # what is between SYN and accept when a socket turns away
_FRESH_S = 0.5  # what a connection that was just accepted gets to send its request
_LARGE = 1 << 20

Message = MutableMapping[str, Any]
App = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

_TOO_SLOW = (408, b'{"error":"the head of the request was not there in time"}')
_TOO_LONG = (431, b'{"error":"the head of the request is too long"}')
_REFUSAL = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
_WORDS = {408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class _Lingering:
    """A transport that, told to close, first lets the other side finish what it is sending, for a while."""

    def __init__(self, protocol: _Protocol) -> None:
        self._protocol, self._transport = protocol, protocol.transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        """Sends what is written and an end, and throws away what still comes."""
        self._protocol.lingering = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._protocol.flow.resume_reading()
        self._protocol.loop.call_later(_LINGER_S, self._transport.close)


class _Protocol(HttpToolsProtocol):
    """One connection."""

    lingering = False
    head_bytes = 0
    head_since = 0.0
    progress = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.head_since = time.monotonic()

    def data_received(self, data: bytes) -> None:
        if self.lingering:
            return
        self.progress = False
        super().data_received(data)
        if not self.progress:  # a head, or what follows a body in chunks: neither is bounded by anybody else
            self.head_bytes += len(data)
            if self.head_bytes > MOST_HEAD:
                self.refuse(*_TOO_LONG)
        elif self.head_since:
            self.head_bytes = 1  # the next head has begun, behind what this was; ``idle`` asks

    def on_message_begin(self) -> None:
        self.head_since = time.monotonic()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.head_since, self.head_bytes = 0.0, 0
        self.progress = True
        super().on_headers_complete()
        if _is_large(self.headers):
            self.cycle.transport = _Lingering(self)  # type: ignore[assignment]  # it has what a cycle asks for

    def on_body(self, body: bytes) -> None:
        self.progress, self.head_bytes = True, 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.progress, self.head_bytes = True, 0
        super().on_message_complete()

    @property
    def idle(self) -> bool:
        """Whether no request is under way, as far as it can be seen from here."""
        cycle: Any = self.cycle  # None until the first request
        return not self.head_bytes and (cycle is None or cycle.response_complete)

    def refuse(self, status: int, body: bytes) -> None:
        """An answer to what never became a request."""
        if not self.transport.is_closing():
            self.transport.write(_REFUSAL % (status, _WORDS[status], len(body)) + body)
            self.lingering = True
            self.transport.close()


def _is_large(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(
        (name == b"content-length" and (not value.isdigit() or int(value) > _LARGE)) or name == b"transfer-encoding"
        for name, value in headers
    )


class HttpServer:
    """A server of one worker. Make it inside the running event loop."""

    def __init__(self, app: App, *, tls: ssl.SSLContext | None = None) -> None:
        self._config = Config(
            app,
            interface="asgi3",
            http=_Protocol,
            loop="none",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
        )
        self._config.load()
        self._tls = tls
        self._state = ServerState()
        self._listening: list[tuple[socket.socket, asyncio.AbstractServer]] = []
        self._shared: set[socket.socket] = set()
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, sock: socket.socket, *, shared: bool = False) -> None:
        """Listen on a bound socket. ``shared``: others listen on the very same one, so it is not made to turn away."""
        loop = asyncio.get_running_loop()

        def protocol() -> _Protocol:
            return _Protocol(self._config, self._state, {}, loop)

        own = sock.dup()  # the event loop closes what it is given
        listen = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
        server = await listen(protocol, sock=own, ssl=self._tls, backlog=BACKLOG)
        self._listening.append((sock, server))
        if shared:
            self._shared.add(sock)
        if self._sweeper is None:
            self._sweeper = loop.create_task(self._sweep())

    def end_connections(self) -> None:
        """From now on every answer is the last one of its connection, and says so."""
        self._state.default_headers.append((b"connection", b"close"))

    async def stop(self, patience: float) -> int:
        """Take nothing new, answer what is here. The number of requests that took longer than ``patience`` seconds."""
        for sock, _ in self._listening:
            if sock not in self._shared:
                turn_away(sock)
        await asyncio.sleep(_HANDSHAKES_S)
        for sock, server in self._listening:
            server.close()
            sock.close()
        fresh = time.monotonic() + _FRESH_S
        end = time.monotonic() + max(patience, _FRESH_S)
        while self._state.connections and time.monotonic() < end:
            if time.monotonic() > fresh:
                for one in list(self._state.connections):
                    if isinstance(one, _Protocol) and one.idle and not one.lingering:
                        one.transport.close()
            await asyncio.sleep(0.02)
        left = len(self._state.tasks)
        for task in list(self._state.tasks):
            task.cancel()
        if self._sweeper is not None:
            self._sweeper.cancel()
        return left

    async def _sweep(self) -> None:
        """Closes connections whose request does not get beyond its head."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            late = time.monotonic() - HEAD_S
            for one in list(self._state.connections):
                if isinstance(one, _Protocol) and one.head_since and one.head_since < late:
                    one.refuse(*_TOO_SLOW)
