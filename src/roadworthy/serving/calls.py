"""What every protocol over HTTP shares: a request on its way to a handler, an answer, and how a request is refused.

In: bodies, headers, errors. Out: replies. Laws: every error has one form and a status that tells whose fault it was;
whatever happens while a reply is made, there is a reply.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from traceback import format_tb
from typing import Any, NamedTuple

import msgspec

from roadworthy.errors import Problem, RoadworthyError
from roadworthy.serving.batching import DeadlinePassed, Overloaded, retry_after
from roadworthy.serving.rows import RowsRefused
from roadworthy.serving.service import Service

__all__ = [
    "FAULT",
    "Call",
    "Failure",
    "Handler",
    "Headers",
    "Later",
    "Reply",
    "Route",
    "encode",
    "failure_of",
    "json_body",
    "json_reply",
    "replied",
    "reply_to",
]

Headers = Mapping[bytes, bytes]
"""Header fields by their names in small letters; fields that came several times are one, with commas."""

_LOG = logging.getLogger(__name__)

_JSON = (b"content-type", b"application/json")
encode = msgspec.json.Encoder().encode


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
        return Reply(self.status, encode(found), (_JSON, *self.headers))


FAULT = Failure(500, "the server met a fault of its own", next_step="look at its log")
"""What is answered where the fault is ours; its words would tell a caller nothing, or too much."""


class Later:
    """A reply that is not there yet, for whoever waits for it; without the task that a coroutine costs."""

    __slots__ = ("_reply", "_tell")

    def __init__(self) -> None:
        self._reply: Reply | None = None
        self._tell: Callable[[Reply], None] | None = None

    def then(self, tell: Callable[[Reply], None]) -> None:
        """``tell`` hears the reply once, as soon as it is there."""
        if self._reply is not None:
            tell(self._reply)
        self._tell = tell

    def give(self, reply: Reply) -> None:
        """This is the reply."""
        if self._tell is not None:
            self._tell(reply)
        self._reply = reply


Handler = Callable[[Service, Call], Reply | Later | Coroutine[Any, Any, Reply]]
"""Answers one request, at once or later, or raises a ``RoadworthyError`` that says why not."""


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
    return Reply(status, encode(value), (_JSON, *headers))


def replied(make: Callable[..., Reply], *args: Any) -> Reply:
    """The reply that a function makes, or the one that its error is answered with."""
    try:
        return make(*args)
    except Exception as error:  # noqa: BLE001 - ours or not, it becomes an answer
        return reply_to(error)


def reply_to(error: Exception) -> Reply:
    """What an error is answered with. The words of one that is none of ours may quote a row: they are not written."""
    if isinstance(error, RoadworthyError):
        return failure_of(error).reply()
    _LOG.error("a request failed: %s\n%s", type(error).__name__, "".join(format_tb(error.__traceback__)))
    return FAULT.reply()


def json_body(call: Call) -> bytes:
    """The body of a request that says it is JSON; one that a web page may send unasked says so never."""
    said = call.headers.get(b"content-type")
    if said == b"application/json":
        return call.body
    kind = b"" if said is None else said.split(b";", 1)[0].strip().lower()
    if kind in {b"application/json", b"text/json"} or kind.endswith(b"+json"):
        return call.body
    found = "missing" if said is None else kind.decode("latin-1")[:60] or "empty"
    problem = Problem(found, where="content-type", expected="application/json")
    raise Failure(415, "the body is not said to be JSON", problems=[problem])


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
    return FAULT
