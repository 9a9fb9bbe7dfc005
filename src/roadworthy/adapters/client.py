"""A client of a Roadworthy server, for Python, in two forms: one that waits, one for asyncio.

In: rows, labels. Out: what the server answered, typed. Laws: a call ends within its ``timeout``, tries included, and
the server is told what is left of it; only what may be retried is: a connection that was never made, and a refusal that
says when to come again (429, 503). A request that may have been worked on is sent again only where doing it twice is
the same as once: predictions, and feedback, which carries a key of its own for that.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx
import msgspec

from roadworthy.errors import Problem, RoadworthyError, UsageError

__all__ = ["AsyncClient", "Client", "Served", "ServerRefused", "ServerUnreachable"]

_BUSY = frozenset({429, 503})
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 5.0
_SHOWN = 300


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What a server answered to rows, in their order.

    ``id`` is what feedback refers to; row k of the request is ``(id, k)``. ``answered_by`` names who answered single
    rows in place of ``version``.
    """

    id: str
    model: str
    version: str
    predictions: list[dict[str, Any]]
    answered_by: dict[int, str] = {}

    @property
    def scores(self) -> list[Any]:
        """The score of each row: a number, or one for each class."""
        return [one["score"] if "score" in one else one["scores"] for one in self.predictions]

    @property
    def decisions(self) -> list[str | None]:
        """The label of each row; None for one that a person is to decide, and for regression."""
        return [one.get("decision") for one in self.predictions]

    @property
    def referred(self) -> dict[int, list[str]]:
        """Why a person is to decide, for the rows that are left to one."""
        return {place: one["refer"] for place, one in enumerate(self.predictions) if "refer" in one}


class ServerRefused(RoadworthyError):
    """The server answered, but not with what was asked for. ``status`` is that of HTTP."""

    def __init__(self, status: int, message: str, problems: Sequence[Problem] = (), *, next_step: str = "") -> None:
        super().__init__(f"the server answers {status}: {message}", problems=problems, next_step=next_step)
        self.status = status


class ServerUnreachable(RoadworthyError):
    """No answer came in time."""


class _Ask(NamedTuple):
    """One call: what is sent, and whether sending it twice does no harm."""

    method: str
    path: str
    body: bytes
    headers: Mapping[str, str]
    again: bool


class _Tries:
    """How often and when a call is tried, until its time is over."""

    def __init__(self, timeout: float, retries: int) -> None:
        self._until = time.monotonic() + timeout
        self._left = retries
        self._wait = _FIRST_WAIT_S
        self.timeout = timeout

    @property
    def remaining(self) -> float:
        """Seconds that are left."""
        return self._until - time.monotonic()

    def wait_for(self, response: httpx.Response) -> float | None:
        """Seconds until the next try after a refusal; None where the answer stands."""
        if response.status_code not in _BUSY or "retry-after" not in response.headers:
            return None
        try:
            asked = float(response.headers["retry-after"])
        except ValueError:
            return None
        return self._pause(asked)

    def wait_after(self, error: httpx.TransportError, ask: _Ask) -> float | None:
        """Seconds until the next try after a connection failed; None where it may not be tried again."""
        never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        return self._pause(0.0) if never_sent or ask.again else None

    def _pause(self, asked: float) -> float | None:
        if self._left <= 0:
            return None
        self._left -= 1
        wait = max(asked, self._wait * (0.5 + random.random()))  # noqa: S311 - so that callers do not come together
        self._wait = min(self._wait * 2, _LONGEST_WAIT_S)
        return wait if wait < self.remaining else None


class _Common:
    """What both forms share: how calls are written and read."""

    def __init__(self, url: str, *, key: str = "", timeout: float = 10.0, retries: int = 3) -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"{url!r} is no address of a server", next_step='Client("http://127.0.0.1:8080")')
        self._url = url.rstrip("/")
        self._timeout, self._retries = timeout, retries
        self._headers = {"content-type": "application/json", **({"x-api-key": key} if key else {})}

    def _tries(self, timeout: float | None) -> _Tries:
        return _Tries(self._timeout if timeout is None else timeout, self._retries)

    def _predict(self, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> _Ask:
        body = {"row": rows} if isinstance(rows, Mapping) else {"rows": list(rows)}
        return _Ask("POST", "/predict", msgspec.json.encode(body), {}, again=True)

    def _feedback(self, given: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> _Ask:
        body = dict(given) if isinstance(given, Mapping) else {"feedback": list(given)}
        once = {"idempotency-key": secrets.token_hex(16)}
        return _Ask("POST", "/feedback", msgspec.json.encode(body), once, again=True)

    def _events(
        self, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]], ids: str | Sequence[str | None] | None
    ) -> _Ask:
        body: dict[str, Any] = {"row": rows} if isinstance(rows, Mapping) else {"rows": list(rows)}
        if ids is not None:
            body["id" if isinstance(rows, Mapping) else "ids"] = ids
        once = {"idempotency-key": secrets.token_hex(16)}
        return _Ask("POST", "/events", msgspec.json.encode(body), once, again=True)

    def _look(self, path: str) -> _Ask:
        return _Ask("GET", path, b"", {}, again=True)

    def _words(self, ask: _Ask, tries: _Tries) -> dict[str, Any]:
        """The arguments of one try; the server learns how long it is waited for."""
        left = max(tries.remaining, 0.001)
        headers = {**self._headers, **ask.headers, "x-deadline-ms": f"{left * 1000:.0f}"}
        return {"content": ask.body or None, "headers": headers, "timeout": left}

    def _unreachable(self, error: Exception, tries: _Tries) -> ServerUnreachable:
        why = str(error) or type(error).__name__
        return ServerUnreachable(
            f"no answer from {self._url} within {tries.timeout:g} s: {why}",
            next_step=f"is it running? try: curl {self._url}/readyz",
        )


def _read(response: httpx.Response) -> Any:
    """The answer as plain data; raises ServerRefused for anything but success."""
    try:
        found = msgspec.json.decode(response.content)
    except msgspec.MsgspecError as error:
        shown = response.text[:_SHOWN] or "nothing"
        raise ServerRefused(response.status_code, f"what came is no JSON: {shown}") from error
    if response.is_success:
        return found
    if not isinstance(found, dict):
        raise ServerRefused(response.status_code, str(found)[:_SHOWN])
    problems = [
        Problem(one.get("found", ""), expected=one.get("expected", ""), where=one.get("where", ""))
        for one in found.get("problems", [])
    ]
    message = str(found.get("error", "")).split("; ", 1)[0] if problems else str(found.get("error", ""))
    raise ServerRefused(response.status_code, message, problems, next_step=str(found.get("next", "")))


class Client(_Common):
    """Asks a server, and waits. Use it with ``with``: connections are kept and shared by threads.

    ``timeout`` is in seconds for a whole call, ``retries`` how often a call is tried again where it may be.

        with Client("http://127.0.0.1:8080") as client:
            client.predict({"age": 31}).decisions
    """

    def __init__(self, url: str, *, key: str = "", timeout: float = 10.0, retries: int = 3) -> None:
        super().__init__(url, key=key, timeout=timeout, retries=retries)
        self._http = httpx.Client(base_url=self._url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends its connections."""
        self._http.close()

    def predict(self, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, timeout: float | None = None) -> Served:
        """Predictions for one row or several; raises ServerRefused with every problem, or ServerUnreachable."""
        return msgspec.convert(self._called(self._predict(rows), timeout), Served, strict=False)

    def feedback(self, given: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, timeout: float | None = None) -> Any:
        """Tells labels; what is acknowledged is on disk."""
        return self._called(self._feedback(given), timeout)

    def event(self, row: Mapping[str, Any], *, id: str | None = None, timeout: float | None = None) -> Any:  # noqa: A002 - as the body calls it
        """Tells what happened, for features that look at the past; on disk and seen by all when it returns."""
        return self._called(self._events(row, id), timeout)

    def events(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        ids: Sequence[str | None] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """The same for several events: all of them are taken, or none. ``ids`` name them, so that each counts once."""
        return self._called(self._events(rows, ids), timeout)

    def version(self, *, timeout: float | None = None) -> Any:
        """Which version answers."""
        return self._called(self._look("/version"), timeout)

    def ready(self, *, timeout: float | None = None) -> bool:
        """Whether requests should be sent there now."""
        tries = self._tries(timeout)
        try:
            response = self._http.get("/readyz", headers=self._headers, timeout=tries.timeout)
        except httpx.TransportError:
            return False
        return response.is_success

    def _called(self, ask: _Ask, timeout: float | None) -> Any:
        tries = self._tries(timeout)
        while True:
            wait: float | None
            try:
                response = self._http.request(ask.method, ask.path, **self._words(ask, tries))
            except httpx.TransportError as error:
                wait = tries.wait_after(error, ask)
                if wait is None:
                    raise self._unreachable(error, tries) from error
            else:
                wait = tries.wait_for(response)
                if wait is None:
                    return _read(response)
            time.sleep(wait)


class AsyncClient(_Common):
    """The same for asyncio: ``async with AsyncClient(url) as client: await client.predict(row)``."""

    def __init__(self, url: str, *, key: str = "", timeout: float = 10.0, retries: int = 3) -> None:
        super().__init__(url, key=key, timeout=timeout, retries=retries)
        self._http = httpx.AsyncClient(base_url=self._url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends its connections."""
        await self._http.aclose()

    async def predict(
        self, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, timeout: float | None = None
    ) -> Served:
        """Predictions for one row or several; raises ServerRefused with every problem, or ServerUnreachable."""
        return msgspec.convert(await self._called(self._predict(rows), timeout), Served, strict=False)

    async def feedback(
        self, given: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, timeout: float | None = None
    ) -> Any:
        """Tells labels; what is acknowledged is on disk."""
        return await self._called(self._feedback(given), timeout)

    async def event(self, row: Mapping[str, Any], *, id: str | None = None, timeout: float | None = None) -> Any:  # noqa: A002 - as the body calls it
        """Tells what happened, for features that look at the past; on disk and seen by all when it returns."""
        return await self._called(self._events(row, id), timeout)

    async def events(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        ids: Sequence[str | None] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """The same for several events: all of them are taken, or none. ``ids`` name them, so that each counts once."""
        return await self._called(self._events(rows, ids), timeout)

    async def version(self, *, timeout: float | None = None) -> Any:
        """Which version answers."""
        return await self._called(self._look("/version"), timeout)

    async def ready(self, *, timeout: float | None = None) -> bool:
        """Whether requests should be sent there now."""
        tries = self._tries(timeout)
        try:
            response = await self._http.get("/readyz", headers=self._headers, timeout=tries.timeout)
        except httpx.TransportError:
            return False
        return response.is_success

    async def _called(self, ask: _Ask, timeout: float | None) -> Any:
        tries = self._tries(timeout)
        while True:
            wait: float | None
            try:
                response = await self._http.request(ask.method, ask.path, **self._words(ask, tries))
            except httpx.TransportError as error:
                wait = tries.wait_after(error, ask)
                if wait is None:
                    raise self._unreachable(error, tries) from error
            else:
                wait = tries.wait_for(response)
                if wait is None:
                    return _read(response)
            await asyncio.sleep(wait)
