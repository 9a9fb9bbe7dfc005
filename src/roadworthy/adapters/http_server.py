"""HTTP/1.1 on sockets that come bound: connections, the watch over them, and the end without loss.

In: sockets, an ``App``. Out: answers. Laws: a request whose connection was accepted is answered, also while the server
is going away; a head or a body that does not come in time, and an answer that nobody fetches, end their connection.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time

from roadworthy.adapters.http_app import App
from roadworthy.adapters.http_connection import Connection, Phase
from roadworthy.adapters.listening import BACKLOG, turn_away

__all__ = ["HEAD_S", "HttpServer"]

HEAD_S = 10.0
"""Seconds in which a connection sends the whole head of its first request, and of each later one once it began."""

_KEEP_ALIVE_S = 75.0
_UNFETCHED_S = 30.0
_SWEEP_S = 0.5
_HANDSHAKES_S = 0.2  # what is between SYN and accept when a socket turns away
_FRESH_S = 0.5  # what a connection that was just accepted gets to send its request


class HttpServer:
    """A server of one worker. Make it inside the running event loop."""

    def __init__(self, app: App, *, tls: ssl.SSLContext | None = None) -> None:
        self.app = app
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.ending = False
        self._tls = tls
        self._listening: list[tuple[socket.socket, asyncio.AbstractServer]] = []
        self._shared: set[socket.socket] = set()
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, sock: socket.socket, *, shared: bool = False) -> None:
        """Listen on a bound socket. ``shared``: others listen on the very same one, so it is not made to turn away."""
        own = sock.dup()  # the event loop closes what it is given
        listen = self.loop.create_unix_server if sock.family == socket.AF_UNIX else self.loop.create_server
        server = await listen(lambda: Connection(self), sock=own, ssl=self._tls, backlog=BACKLOG)
        self._listening.append((sock, server))
        if shared:
            self._shared.add(sock)
        if self._sweeper is None:
            self._sweeper = self.loop.create_task(self._sweep())

    def end_connections(self) -> None:
        """From now on every answer is the last one of its connection, and says so."""
        self.ending = True

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
        while self.connections and time.monotonic() < end:
            if time.monotonic() > fresh:
                for one in list(self.connections):
                    if one.idle and not one.gone:
                        one.close()
            await asyncio.sleep(0.02)
        left = sum(one.busy for one in self.connections)
        for one in list(self.connections):
            one.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        return left

    async def _sweep(self) -> None:
        """Ends connections on which nothing goes on: a watch from outside, so that no request costs a timer."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = time.perf_counter()
            for one in list(self.connections):
                waited = now - one.since
                if (one.stalled or one.gone) and waited > _UNFETCHED_S:
                    one.abort()
                elif one.busy or one.deaf or one.stalled:
                    continue
                elif one.idle and not one.fresh:
                    if waited > _KEEP_ALIVE_S:
                        one.close()
                elif waited > (self.app.body_s if one.phase is Phase.BODY else HEAD_S):
                    one.give_up_waiting()
