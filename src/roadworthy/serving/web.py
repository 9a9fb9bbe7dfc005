"""The HTTP edge of a worker: who asks, what for, and how it is answered.

In: requests that were read whole (``adapters.http_server``). Out: JSON, or Prometheus' text. Laws: every request gets
exactly one answer, with a status that tells whose fault it was: 4xx for what was asked, 5xx only for what is broken
here; nothing that is not finite, and no null in place of an answer, leaves with a 200; a value of a personal column is
in no message.

``/predict`` takes named fields. Other protocols bring a ``Handler`` for their own paths.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from roadworthy.errors import Problem, RoadworthyError
from roadworthy.serving.batching import Overloaded, retry_after
from roadworthy.serving.calls import Call, Failure, Headers, Later, Reply, Route, failure_of, json_reply, reply_to
from roadworthy.serving.hosts import Hosts
from roadworthy.serving.keys import KeyRing
from roadworthy.serving.predicting import predict
from roadworthy.serving.service import Service, State

__all__ = ["Limits", "Web"]

_FOR_THE_MODEL = ((b"POST /predict ", "predict"), (b"POST /v2/models/", "infer"))
_TOO_MUCH = failure_of(Overloaded(0.0)).reply().body
_CROWDED_HEAD = (
    b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\nretry-after: " % len(_TOO_MUCH)
)
_CROWDED = (_CROWDED_HEAD, b"\r\n\r\n" + _TOO_MUCH)
_AT_ONCE = b"1".join(_CROWDED)
_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may take: bytes of its body, seconds until the body is there, and until it is answered."""

    most_bytes: int = 8 << 20
    body_s: float = 10.0
    answer_s: float = 10.0


class Web:
    """What answers the HTTP of one worker. ``service`` is set once it is there; until then nothing is ready.

    ``routes`` maps exact paths, ``prefixes`` the beginnings of paths, to handlers of other protocols. ``hosts``: the
    names under which a server without keys answers; None for any.
    """

    def __init__(
        self,
        *,
        keys: KeyRing | None = None,
        limits: Limits | None = None,
        routes: Mapping[str, Route] | None = None,
        prefixes: Mapping[str, Route] | None = None,
        hosts: Hosts | None = None,
    ) -> None:
        self.service: Service | None = None
        self.keys = keys or KeyRing()
        self.hosts = hosts
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
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def most_bytes(self) -> int:
        """What a body may have."""
        return self.limits.most_bytes

    @property
    def body_s(self) -> float:
        """Seconds in which a body is to come."""
        return self.limits.body_s

    def take(  # noqa: PLR0917 - called for every request: names would cost
        self, method: str, path: str, headers: Headers, body: bytes, begun: float, answer: Callable[[Reply], None]
    ) -> None:
        """Answers one request: ``answer`` hears its reply once, now or later."""
        service = self.service
        label = "other"
        if service is not None:
            service.in_flight += 1

        def tell(reply: Reply) -> None:
            if service is not None:
                service.in_flight -= 1
                service.metrics.request(label, reply.status, time.perf_counter() - begun)
            answer(reply)

        try:
            route = self._admitted(method, path, headers)
            label = route.label
            if service is None:
                tell(_starting(route))
                return
            until = begun + self._patience(headers)
            found = route.handler(service, Call(method, path, headers, body, until))
        except Exception as error:  # noqa: BLE001 - ours or not, it is answered
            found = reply_to(error)
        if isinstance(found, Later):
            found.then(tell)
        elif isinstance(found, Reply):
            tell(found)
        else:
            self._in_task(found, tell)

    def refusal(self, method: str, path: str, headers: Headers) -> Reply | None:
        """The answer to a request whose body would be read in vain: nobody's, or for nowhere; None for any other."""
        try:
            self._admitted(method, path, headers)
        except RoadworthyError as error:
            return self._counted(reply_to(error))
        return None

    def crowded(self) -> bool:
        """Whether the model has all that it can do in time."""
        return self.service is not None and self.service.line.batcher.crowded()

    def turned_away(self, head: bytes) -> bytes | None:
        """The answer, whole, to a request for the model while there are too many; None for any other."""
        service = self.service
        label = next((label for start, label in _FOR_THE_MODEL if head.startswith(start)), "")
        if not label or service is None:
            return None
        service.metrics.turned_away(label)
        wait = service.line.batcher.wait()
        return _AT_ONCE if wait <= 1 else retry_after(wait).encode().join(_CROWDED)

    def unread(self, status: int, length: int | None = None) -> Reply:
        """The answer to what never became a request. ``length`` is how long its body was said to be."""
        said = f" of {length:,} bytes" if length is not None else ""
        most = self.limits.most_bytes >> 20
        message, step = {
            400: ("this is no HTTP/1.1 request", "send one, with a Content-Length or in chunks"),
            408: (f"the request's body{said} was not there in time", "send it faster, or in smaller parts"),
            413: (
                f"the body{said} is larger than {most} MiB",
                "send fewer rows at a time, or `roadworthy score` a file",
            ),
            431: ("the head of the request is too long", "send fewer or shorter header fields"),
        }[status]
        return self._counted(Failure(status, message, next_step=step).reply())

    def _counted(self, reply: Reply) -> Reply:
        if self.service is not None:
            self.service.metrics.request("other", reply.status, 0.0)
        return reply

    def _in_task(self, work: Coroutine[Any, Any, Reply], tell: Callable[[Reply], None]) -> None:
        async def replying() -> None:
            try:
                reply = await work
            except Exception as error:  # noqa: BLE001 - ours or not, it is answered
                reply = reply_to(error)
            tell(reply)

        task = asyncio.get_running_loop().create_task(replying())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _admitted(self, method: str, path: str, headers: Headers) -> Route:
        """Where the request leads, if it may; Failure with what there is, or who may."""
        if self.hosts is not None and not self.keys:
            self.hosts.admit(headers.get(b"host", b""))
        route = self._routes.get(path)
        if route is None:
            route = next((found for start, found in self._prefixes.items() if path.startswith(start)), None)
        if route is None:
            known = ", ".join([*self._routes, *(f"{start}…" for start in self._prefixes)])
            raise Failure(404, "there is nothing at this path", next_step=f"paths: {known}")
        if method not in route.methods:
            allowed = ", ".join(route.methods)
            raise Failure(
                405, f"this path takes {allowed}", headers=((b"allow", allowed.encode()),), next_step=f"send {allowed}"
            )
        if self.keys and not route.open and self.keys.holder(headers) is None:
            raise Failure(
                401,
                "this server answers only to those who have a key",
                headers=((b"www-authenticate", b"Bearer"),),
                next_step="send Authorization: Bearer KEY",
            )
        if b"content-encoding" in headers and headers[b"content-encoding"].lower() != b"identity":
            raise Failure(415, "a compressed body is not read", next_step="send it without content-encoding")
        return route

    def _patience(self, headers: Headers) -> float:
        """Seconds that the caller waits, or what any may wait where that is less."""
        said = headers.get(b"x-deadline-ms")
        return self.limits.answer_s if said is None else min(_milliseconds(said) / 1000, self.limits.answer_s)


def _starting(route: Route) -> Reply:
    if route.starting is not None:
        return route.starting
    return Failure(503, "the server is starting", headers=((b"retry-after", b"1"),)).reply()


# --- the handlers of this edge --------------------------------------------------------------------------------------


def _alive(_service: Service, _call: Call) -> Reply:
    return json_reply({"live": True})


def _ready(service: Service, _call: Call) -> Reply:
    """Whether requests should be sent here, and what is not as it should be."""
    states = {title: state.value for title, state in service.line.chain.states().items()}
    found: dict[str, Any] = {"live": True, "ready": service.state is State.READY, "state": service.state.value}
    found |= {"model": service.name, "version": service.line.chain.first.title, "breakers": states}
    if trouble := service.log.trouble():
        found["warnings"] = [trouble]
    return json_reply(found, 200 if service.state is State.READY else 503)


def _metrics(service: Service, _call: Call) -> Reply:
    service.metrics.gauge("roadworthy_in_flight", service.in_flight)
    states = {title: state.value for title, state in service.line.chain.states().items()}
    return Reply(200, service.metrics.text(states), (_TEXT,))


def _version(service: Service, _call: Call) -> Reply:
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
