"""The HTTP edge of a worker, as a bare ASGI application: who asks, what for, and how it is answered.

In: ASGI scopes and messages. Out: JSON, or Prometheus' text. Laws: every request gets exactly one answer, with a status
that tells whose fault it was: 4xx for what was asked, 5xx only for what is broken here; nothing that is not finite, and
no null in place of an answer, leaves with a 200; a body is never held in memory beyond ``most_bytes``, nor waited for
longer than ``body_s``; a value of a personal column is in no message.

``/predict`` takes named fields. Other protocols bring a ``Handler`` for their own paths.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from traceback import format_tb
from typing import Any

from roadworthy.errors import Problem, RoadworthyError
from roadworthy.serving.calls import FAULT, Call, Failure, Headers, Reply, Route, failure_of, json_reply
from roadworthy.serving.keys import KeyRing
from roadworthy.serving.predicting import predict
from roadworthy.serving.service import Service, State

__all__ = ["Limits", "Web"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_LOG = logging.getLogger(__name__)
_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_DEADLINE = b"x-deadline-ms"
_SWEEP_S = 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may take: bytes of its body, seconds until the body is there, and until it is answered."""

    most_bytes: int = 8 << 20
    body_s: float = 10.0
    answer_s: float = 10.0


class Web:
    """The ASGI application of one worker. ``service`` is set once it is there; until then nothing is ready.

    ``routes`` maps exact paths, ``prefixes`` the beginnings of paths, to handlers of other protocols.
    """

    def __init__(
        self,
        *,
        keys: KeyRing | None = None,
        limits: Limits | None = None,
        routes: Mapping[str, Route] | None = None,
        prefixes: Mapping[str, Route] | None = None,
    ) -> None:
        self.service: Service | None = None
        self.keys = keys or KeyRing()
        self.limits = limits or Limits()
        self._routes: dict[str, Route] = {
            "/predict": Route("predict", ("POST",), predict),
            "/livez": Route("other", ("GET", "HEAD"), _alive, open=True, starting=json_reply({"live": True})),
            "/readyz": Route("other", ("GET", "HEAD"), _ready, open=True),
            "/metrics": Route("other", ("GET", "HEAD"), _metrics, open=True),
            "/version": Route("other", ("GET", "HEAD"), _version),
            **(routes or {}),
        }
        self._prefixes = dict(prefixes or {})
        self._reading: dict[object, tuple[float, asyncio.Task[Any]]] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's request, as ASGI has it. Websockets are refused by not being answered."""
        if scope["type"] != "http":
            return
        begun = time.perf_counter()
        service = self.service
        label = "other"
        if service is not None:
            service.in_flight += 1
        try:
            route = self._route(scope)
            label = route.label
            reply = await self._answered(route, scope, receive, begun)
        except RoadworthyError as error:
            reply = failure_of(error).reply()
        except Exception as error:  # noqa: BLE001 - whatever it is, its words may quote a row
            _LOG.error("a request failed: %s\n%s", type(error).__name__, "".join(format_tb(error.__traceback__)))
            reply = FAULT.reply()
        finally:
            if service is not None:
                service.in_flight -= 1
        head = scope["method"] == "HEAD"
        length = (b"content-length", str(len(reply.body)).encode())
        await send({"type": "http.response.start", "status": reply.status, "headers": [*reply.headers, length]})
        await send({"type": "http.response.body", "body": b"" if head else reply.body})
        if service is not None:
            service.metrics.request(label, reply.status, time.perf_counter() - begun)

    def _route(self, scope: Scope) -> Route:
        """Where the request leads; Failure 404 or 405 with what there is."""
        path = scope["path"]
        route = self._routes.get(path)
        if route is None:
            route = next((found for start, found in self._prefixes.items() if path.startswith(start)), None)
        if route is None:
            known = ", ".join([*self._routes, *(f"{start}…" for start in self._prefixes)])
            raise Failure(404, "there is nothing at this path", next_step=f"paths: {known}")
        if scope["method"] not in route.methods:
            allowed = ", ".join(route.methods)
            raise Failure(
                405, f"this path takes {allowed}", headers=((b"allow", allowed.encode()),), next_step=f"send {allowed}"
            )
        return route

    async def _answered(self, route: Route, scope: Scope, receive: Receive, begun: float) -> Reply:
        headers: Headers = scope["headers"]
        if self.keys and not route.open and self.keys.holder(headers) is None:
            raise Failure(
                401,
                "this server answers only to those who have a key",
                headers=((b"www-authenticate", b"Bearer"),),
                next_step="send Authorization: Bearer KEY",
            )
        if self.service is None:
            if route.starting is not None:
                return route.starting
            raise Failure(503, "the server is starting", headers=((b"retry-after", b"1"),))
        until, length = self._told(headers, begun)
        body = await self._body(receive, length) if scope["method"] == "POST" else b""
        return await route.handler(self.service, Call(scope["method"], scope["path"], headers, body, until))

    def _told(self, headers: Headers, begun: float) -> tuple[float, int]:
        """Until when the caller waits, and how long the body is said to be (-1: not said)."""
        seconds, length = self.limits.answer_s, -1
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            elif name == _DEADLINE:
                seconds = min(_milliseconds(value) / 1000, seconds)
            elif name == b"content-encoding" and value.lower() != b"identity":
                raise Failure(415, "a compressed body is not read", next_step="send it without content-encoding")
        if length > self.limits.most_bytes:
            raise self._too_large()
        return begun + seconds, length

    async def _body(self, receive: Receive, length: int) -> bytes:
        """The whole body. It is watched from outside while it comes, so that a body that is there costs no timer."""
        key = object()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - ASGI servers run each request in a task
        self._reading[key] = (time.perf_counter() + self.limits.body_s, task)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep())
        try:
            message = await receive()
            if not message.get("more_body"):
                if message["type"] == "http.disconnect":
                    raise Failure(400, "the caller has gone")
                return self._within(message.get("body", b""))
            parts, size = [message.get("body", b"")], len(message.get("body", b""))
            while message.get("more_body"):
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Failure(400, "the caller has gone")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > self.limits.most_bytes:
                    raise self._too_large()
            return b"".join(parts)
        except asyncio.CancelledError:
            if key in self._reading:
                raise
            wanted = f" of {length:,} bytes" if length >= 0 else ""
            raise Failure(
                408,
                f"the body{wanted} was not there within {self.limits.body_s:g} s",
                headers=((b"connection", b"close"),),
            ) from None
        finally:
            self._reading.pop(key, None)

    async def _sweep(self) -> None:
        """Ends the reading of bodies that take too long."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = time.perf_counter()
            for key, (until, task) in list(self._reading.items()):
                if until < now:
                    del self._reading[key]
                    task.cancel()

    def _within(self, body: bytes) -> bytes:
        if len(body) > self.limits.most_bytes:
            raise self._too_large()
        return body

    def _too_large(self) -> Failure:
        return Failure(
            413,
            f"the body is larger than {self.limits.most_bytes >> 20} MiB",
            headers=((b"connection", b"close"),),
            next_step="send fewer rows at a time, or `roadworthy score` a file",
        )


# --- the handlers of this edge --------------------------------------------------------------------------------------


async def _alive(_service: Service, _call: Call) -> Reply:
    return json_reply({"live": True})


async def _ready(service: Service, _call: Call) -> Reply:
    """Whether requests should be sent here, and what is not as it should be."""
    states = {title: state.value for title, state in service.line.chain.states().items()}
    found: dict[str, Any] = {"live": True, "ready": service.state is State.READY, "state": service.state.value}
    found |= {"model": service.name, "version": service.line.chain.first.title, "breakers": states}
    if trouble := service.log.trouble():
        found["warnings"] = [trouble]
    return json_reply(found, 200 if service.state is State.READY else 503)


async def _metrics(service: Service, _call: Call) -> Reply:
    service.metrics.gauge("roadworthy_in_flight", service.in_flight)
    states = {title: state.value for title, state in service.line.chain.states().items()}
    return Reply(200, service.metrics.text(states), (_TEXT,))


async def _version(service: Service, _call: Call) -> Reply:
    first, *others = service.line.chain.engines
    contract = first.contract
    return json_reply(
        {
            "model": service.name,
            "version": first.title,
            "bundle": first.digest,
            "task": contract.task,
            "fallback": [engine.title for engine in others],
        }
    )


def _milliseconds(value: bytes) -> float:
    try:
        found = float(value)
    except ValueError:
        found = -1.0
    if not found > 0:
        wanted = Problem(value.decode("latin-1")[:40], where="x-deadline-ms", expected="milliseconds, more than 0")
        raise Failure(400, "the deadline is no time", problems=[wanted])
    return found
