"""One worker: a service behind HTTP, from its first chain to its last answer.

In: options, a bound socket, the place among other workers. Out: answers until it is told to end; then it says that it
is not ready, serves on for the grace time, takes nothing new, answers what is here, flushes the log. Law: no request
that reached it is dropped on the way out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvloop

from roadworthy import assembly
from roadworthy.adapters.http_server import HttpServer
from roadworthy.api.serving.board import Board, Said
from roadworthy.api.serving.following import Follower
from roadworthy.api.serving.memory import resident
from roadworthy.api.serving.options import Options
from roadworthy.api.serving.wiring import Wired, grpc_started, wired
from roadworthy.errors import RoadworthyError
from roadworthy.serving.calls import Call, Headers, Reply, Route, json_reply
from roadworthy.serving.chain import Chain
from roadworthy.serving.hosts import Hosts
from roadworthy.serving.keys import KeyRing
from roadworthy.serving.metrics import Metrics
from roadworthy.serving.service import Service, State
from roadworthy.serving.web import Web

__all__ = ["Ended", "Place", "Worker"]

_TICK_S = 0.5
_PATIENCE_S = 15.0
"""More than a request may take (``Limits``): nothing that is answered in time is left."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ended(RoadworthyError):
    """A worker that had to leave requests unanswered at its end."""

    exit_code = 70


class Place:
    """Where a worker stands among others: its number, what they share, and whom it tells that it lives."""

    def __init__(self, worker: int, board: Board | None, metrics: Metrics, tell: Callable[[str], bool]) -> None:
        self.worker, self.board, self.metrics, self.tell = worker, board, metrics, tell


class Worker:
    """Serves until a signal, or until ``place.tell`` finds nobody there any more.

    ``tell`` hears "ready" once and "beat" every half second from the event loop.
    """

    def __init__(
        self,
        options: Options,
        project: assembly.Project,
        follower: Follower,
        sock: socket.socket,
        *,
        tls: ssl.SSLContext | None,
        place: Place,
    ) -> None:
        self._options, self._project, self._follower = options, project, follower
        self._sock, self._tls, self._place = sock, tls, place
        self._wired: Wired | None = None
        self._following: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self._hurry = asyncio.Event()

    def run(self) -> None:
        """Blocks until the end. Raises what keeps it from starting, and Ended for requests it had to leave."""
        chain, ring = self._follower.start()
        uvloop.run(self._run(chain, ring))

    async def _run(self, chain: Chain, ring: KeyRing) -> None:
        def holder(sent: Headers) -> str | None:
            return web.keys.holder(sent)  # by the keys of now: they change

        loop = asyncio.get_running_loop()
        for one in _SIGNALS:
            loop.add_signal_handler(one, self._end)
        place = self._place
        found = wired(self._options, self._project, chain, place.metrics, place.worker, holder=holder)
        ready = {"/readyz": Route("other", ("GET", "HEAD"), self._ready, open=True)}
        hosts = None if self._options.uds else Hosts([self._options.host, *self._options.allow_hosts])
        web = Web(keys=ring, routes={**found.routes, **ready}, prefixes=found.prefixes, hosts=hosts)
        service = web.service = found.service
        self._wired = found
        server = HttpServer(web, tls=self._tls)
        grpc = await grpc_started(self._options, web)
        service.state = State.READY
        await server.start(self._sock, shared=bool(self._options.uds) and self._place.board is not None)
        with ThreadPoolExecutor(1, thread_name_prefix="following") as thread:
            self._following = loop.create_task(self._follow(web, service, thread))
            tasks = [loop.create_task(self._tick()), self._following]
            self._say()
            self._place.tell("ready")
            await self._ending.wait()
            left = await self._leave(service, server)
            if grpc is not None:
                await grpc.stop(_PATIENCE_S)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for close in found.closes:
            await loop.run_in_executor(None, close)
        if left:
            raise Ended(f"{left} requests took longer than the end could wait for")

    async def _leave(self, service: Service, server: HttpServer) -> int:
        """Not ready → grace → nothing new → what is here. How many requests had to be left."""
        service.state = State.DRAINING
        self._say()
        server.end_connections()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), self._options.grace_s)
        return await server.stop(patience=_PATIENCE_S)

    def _end(self) -> None:
        """The first signal begins the end; another one cuts the grace time short."""
        if self._ending.is_set():
            self._hurry.set()
        self._ending.set()

    async def _tick(self) -> None:
        """Tells that the event loop turns; where nobody listens any more, it is time to end."""
        while True:
            self._place.metrics.gauge("roadworthy_resident_bytes", resident())
            self._place.metrics.gauge("roadworthy_processor_seconds", time.process_time())
            self._say()
            if not self._place.tell("beat"):
                self._ending.set()
            await asyncio.sleep(_TICK_S)

    async def _follow(self, web: Web, service: Service, thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._options.poll_s)
            news = await loop.run_in_executor(thread, self._follower.look)
            if news.ring is not None:
                web.keys = news.ring
            if news.chain is not None:
                service.use(news.chain)
                self._say()

    # what /readyz tells, of all workers

    def _warnings(self) -> tuple[str, ...]:
        found = self._wired
        following = self._following
        if following is not None and following.done() and not following.cancelled():
            return (f"the registry is no longer followed: {type(following.exception()).__name__}",)
        troubles = [text for trouble in found.troubles if (text := trouble())] if found is not None else []
        return (*self._follower.warnings, *troubles)

    def _say(self) -> None:
        found, board = self._wired, self._place.board
        if found is not None and board is not None:
            service = found.service
            title = service.line.chain.first.title
            said = Said(pid=os.getpid(), state=service.state.value, version=title, warnings=self._warnings())
            board.tell(self._place.worker, said)

    def _ready(self, service: Service, _call: Call) -> Reply:
        """Whether requests should be sent here, and what is not as it should be, with any worker."""
        ready = service.state is State.READY
        chain = service.line.chain
        found: dict[str, Any] = {"live": True, "ready": ready, "state": service.state.value, "model": service.name}
        found |= {"version": chain.first.title, "fallback": [engine.title for engine in chain.engines[1:]]}
        found |= {"breakers": {title: state.value for title, state in chain.states().items()}}
        warnings = list(self._warnings())
        if self._place.board is not None:
            said = self._place.board.all()
            found["workers"] = [
                {"state": one.state, "version": one.version} if one is not None else {"state": "starting"}
                for one in said
            ]
            for number, one in enumerate(said):
                if one is None:
                    warnings.append(f"worker {number} is being started")
                elif number != self._place.worker:
                    warnings += [text for text in one.warnings if text not in warnings]
        if warnings:
            found["warnings"] = warnings
        return json_reply(found, 200 if ready else 503)
