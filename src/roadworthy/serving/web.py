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
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from traceback import format_tb
from typing import Any, NamedTuple

import msgspec

from roadworthy.errors import Problem, RoadworthyError
from roadworthy.serving.batching import DeadlinePassed, Overloaded, Run, retry_after
from roadworthy.serving.keys import KeyRing
from roadworthy.serving.rows import Row, RowsRefused
from roadworthy.serving.service import Line, Service, State

__all__ = [
    "Call",
    "Failure",
    "Given",
    "Handler",
    "Limits",
    "Reply",
    "Route",
    "Web",
    "answered",
    "failure_of",
    "json_reply",
]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

_LOG = logging.getLogger(__name__)
_JSON = (b"content-type", b"application/json")
_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_DEADLINE = b"x-deadline-ms"
_SWEEP_S = 0.5
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may take: bytes of its body, seconds until the body is there, and until it is answered."""

    most_bytes: int = 8 << 20
    body_s: float = 10.0
    answer_s: float = 10.0


class Call(NamedTuple):
    """One request on its way to a handler. ``path`` has no query; ``until`` is by ``time.perf_counter``."""

    method: str
    path: str
    headers: Headers
    body: bytes
    until: float


class Reply(NamedTuple):
    """An answer: status, body, and headers beside ``content-length``."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = (_JSON,)


class Failure(RoadworthyError):
    """What a request is refused with. ``headers`` go with the answer."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        problems: Sequence[Problem] = (),
        next_step: str = "",
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message, problems=problems, next_step=next_step)
        self.status = status
        self.headers = headers

    def reply(self) -> Reply:
        """The answer in the one form that all errors have; ``error`` is what stock clients show."""
        found: dict[str, Any] = {"error": self.message}
        if self.problems:
            found["error"] = "; ".join([self.message, *map(str, self.problems)])
            found["problems"] = [problem.as_dict() for problem in self.problems]
        if self.next_step:
            found["next"] = self.next_step
        return Reply(self.status, _encode(found), (_JSON, *self.headers))


_FAULT = Failure(500, "the server met a fault of its own", next_step="look at its log")

Handler = Callable[[Service, Call], Awaitable[Reply]]
"""Answers one request, or raises a ``RoadworthyError`` that says why not."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a path leads: its label in the metrics, its methods, and whether a key is asked for.

    ``starting`` is what it answers before there is a service; without one that is a 503.
    """

    label: str
    methods: tuple[str, ...]
    handler: Handler
    open: bool = False
    starting: Reply | None = None


def json_reply(value: Any, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Reply:
    """A value as JSON."""
    return Reply(status, _encode(value), (_JSON, *headers))


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
            reply = _FAULT.reply()
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


class Given(NamedTuple):
    """One request's part of a run: rows ``start`` to ``end``. ``id`` is its identity in the log and for feedback."""

    id: str
    run: Run
    start: int
    end: int


async def answered(service: Service, line: Line, rows: Sequence[Row], until: float) -> Given:
    """What the model says of the rows of one request; raises a RoadworthyError where a row has no answer."""
    id_ = service.new_id()
    given = Given(id_, *await service.submit(line, id_, rows, until))
    if given.run.broken or given.run.failures:
        _refuse(given)
    return given


async def predict(service: Service, call: Call) -> Reply:
    """``POST /predict``: ``{"row": {…}}`` or ``{"rows": [{…}, …]}`` → a prediction for each row, in order."""
    line = service.line
    rows = line.reader.read(_json_body(call))
    given = await answered(service, line, rows, call.until)
    return Reply(200, _encode(_prediction(service.name, line, given)))


class BinaryAnswer(msgspec.Struct, gc=False):
    """One row's answer: the probability of the positive class, and what is decided."""

    score: float
    decision: str


class ClassAnswer(msgspec.Struct, gc=False):
    """One row's answer: a probability for each class, and the likeliest."""

    scores: dict[str, float]
    decision: str


class NumberAnswer(msgspec.Struct, gc=False):
    """One row's estimate."""

    score: float


class Answer(msgspec.Struct, gc=False, omit_defaults=True):
    """What ``/predict`` answers.

    ``id`` names this request in the prediction log and for feedback; row k is ``(id, k)``. ``version`` gave the
    predictions, but for the rows in ``answered_by``, which another version gave, or the declared constant.
    """

    id: str
    model: str
    version: str
    predictions: list[Any]
    answered_by: dict[int, str] = {}


def _prediction(name: str, line: Line, given: Given) -> Answer:
    id_, run, start, end = given
    scores = run.scores[start:end]
    predictions: list[Any]
    if run.decisions is None:
        predictions = [NumberAnswer(score) for score in scores]
    elif line.chain.first.multiclass:
        classes = line.chain.first.classes
        predictions = [
            ClassAnswer(dict(zip(classes, score, strict=True)), decision)
            for score, decision in zip(scores, run.decisions[start:end], strict=True)
        ]
    else:
        predictions = list(map(BinaryAnswer, scores, run.decisions[start:end]))
    if not run.others:
        return Answer(id_, name, run.title, predictions)
    others = {place - start: title for place, title in run.others.items() if start <= place < end}
    return Answer(id_, name, run.title, predictions, others)


def _refuse(given: Given) -> None:
    """Failure for the rows of one request that have no answer; those of others are none of its business."""
    _, run, start, end = given
    broken = {place - start: rules for place, rules in run.broken.items() if start <= place < end}
    if broken:
        raise RowsRefused(
            "the row does not meet the contract" if end - start == 1 else "rows do not meet the contract",
            [
                Problem(f"rule: {rule} is false", where="row" if end - start == 1 else f"rows[{place}]")
                for place, rules in broken.items()
                for rule in rules
            ],
        )
    failed = {place - start: why for place, why in run.failures.items() if start <= place < end}
    if failed:
        problems = [Problem(why, where=f"rows[{place}]") for place, why in failed.items()]
        raise Failure(503, "the model gave no answer", problems=problems, next_step="look at /readyz")


def _json_body(call: Call) -> bytes:
    """The body of a request that says it is JSON; one that a web page may send unasked says so never."""
    for name, value in call.headers:
        if name == b"content-type":
            kind = value.split(b";", 1)[0].strip().lower()
            if kind in {b"application/json", b"text/json"} or kind.endswith(b"+json"):
                return call.body
            problem = Problem(kind.decode("latin-1")[:60] or "empty", where="content-type", expected="application/json")
            raise Failure(415, "the body is not said to be JSON", problems=[problem])
    problem = Problem("missing", where="content-type", expected="application/json")
    raise Failure(415, "the body is not said to be JSON", problems=[problem])


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


def failure_of(error: RoadworthyError) -> Failure:
    """The status that an error is answered with."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, RowsRefused):
        return Failure(400 if error.syntax else 422, error.message, problems=error.problems, next_step=error.next_step)
    if isinstance(error, Overloaded):
        wait = retry_after(error.retry_after).encode()
        return Failure(429, error.message, next_step=error.next_step, headers=((b"retry-after", wait),))
    if isinstance(error, DeadlinePassed):
        return Failure(504, error.message)
    return _FAULT


def _milliseconds(value: bytes) -> float:
    try:
        found = float(value)
    except ValueError:
        found = -1.0
    if not found > 0:
        wanted = Problem(value.decode("latin-1")[:40], where="x-deadline-ms", expected="milliseconds, more than 0")
        raise Failure(400, "the deadline is no time", problems=[wanted])
    return found
