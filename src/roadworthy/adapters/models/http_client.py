"""Requests to one model of one server, with the standard library: named failures, few and safe repetitions.

In: an address, bodies. Out: the bodies of successful answers. Laws: no redirect is followed, no credential is sent; an
answer is read up to a limit; every failure is a ModelError that names the server.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from roadworthy.errors import ModelError, Problem

__all__ = ["HttpClient", "Refused"]

_PATH = re.compile(r"(?P<model>.*/v2/models/[^/]+(?:/versions/[^/]+)?)/?")
_AGAIN = frozenset({429, 502, 503, 504})
_ATTEMPTS = 3
_LONGEST_WAIT_S = 2.0
_MOST_BYTES = 256 << 20


class Refused(ModelError):
    """The server refused this very request (4xx): asking again would not help, asking about fewer rows may."""


class HttpClient:
    """A kept connection to ``address``, which must name a model: ``…/v2/models/NAME[/versions/V]``."""

    def __init__(self, address: str, *, timeout_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
        parts = _parts(address)
        self.host, self.path = parts
        self._secure = address.lower().startswith("https")
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._connection: http.client.HTTPConnection | None = None

    def get(self, below: str) -> bytes:
        """The answer to GET of the model's path and what is ``below`` it."""
        return self._asked("GET", below, None)

    def post(self, below: str, body: bytes) -> bytes:
        """The answer to POST. Inference changes nothing, so that what never arrived may be sent again."""
        return self._asked("POST", below, body)

    def _asked(self, method: str, below: str, body: bytes | None) -> bytes:
        failure: ModelError | None = None
        for attempt in range(_ATTEMPTS):
            status, content, wait = 0, b"", min(0.1 * 4**attempt, _LONGEST_WAIT_S)
            try:
                status, content, asked_wait = self._once(method, below, body)
            except TimeoutError as error:
                self.close()
                raise self._failed(f"did not answer within {self._timeout_s:g} s") from error
            except (ConnectionError, http.client.HTTPException, OSError) as error:
                self.close()
                failure = self._failed(f"cannot be reached: {_said(error)}")
                failure.__cause__ = error
            else:
                if status not in _AGAIN:
                    return self._taken(status, content)
                failure = self._failed(f"answers {status}: {_reason(content)}")
                wait = asked_wait if asked_wait is not None else wait
            if attempt + 1 < _ATTEMPTS:
                self._sleep(min(wait, _LONGEST_WAIT_S))
        raise failure or self._failed("was never asked")

    def _once(self, method: str, below: str, body: bytes | None) -> tuple[int, bytes, float | None]:
        """Status, body, and the seconds that the server asks to wait."""
        if self._connection is None:
            self._connection = self._connected()
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        self._connection.request(method, self.path + below, body, headers)
        answer = self._connection.getresponse()
        content = answer.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            self.close()
            raise self._failed(f"answers more than {_MOST_BYTES:,} bytes")
        if answer.will_close:
            self.close()
        wait = answer.headers.get("Retry-After", "")
        return answer.status, content, float(wait) if wait.isdecimal() else None

    def _connected(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self.host, timeout=self._timeout_s, context=context)
        return http.client.HTTPConnection(self.host, timeout=self._timeout_s)

    def _taken(self, status: int, content: bytes) -> bytes:
        if status == 200:
            return content
        if 300 <= status < 400:
            raise self._failed(f"answers {status}: it stands elsewhere", step="pass the address where it stands")
        said = _reason(content)
        if status in {401, 403}:
            raise self._failed(f"answers {status}: {said}", step="pass an address that this machine may ask")
        if status == 404:
            raise self._failed(f"answers 404: {said}", step="check the model's name: GET /v2/models/NAME")
        if 400 <= status < 500:
            raise Refused(f"{self.host} answers {status}: {said}", next_step="see what the model takes in its metadata")
        raise self._failed(f"answers {status}: {said}")

    def _failed(
        self, found: str, *, step: str = "see that the server runs and is ready: GET /v2/health/ready"
    ) -> ModelError:
        return ModelError(f"{self.host}{self.path} {found}", next_step=step)

    def close(self) -> None:
        """End the connection; the next request makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _parts(address: str) -> tuple[str, str]:
    """Host with port, and the model's path. Raises ModelError naming all that is wrong with the address."""
    url = urlsplit(address)
    path = _PATH.fullmatch(url.path)
    problems = []
    if not url.hostname:
        problems.append(Problem("no host", expected="http://host:port/v2/models/NAME"))
    if url.username is not None or url.password is not None:
        problems.append(Problem("a user name or password", expected="an address without one"))
    if url.query or url.fragment:
        problems.append(Problem("a query or fragment", expected="an address that ends with the model or its version"))
    if path is None:
        problems.append(Problem(f"path {url.path or '/'}", expected="/v2/models/NAME or /v2/models/NAME/versions/V"))
    try:
        port = url.port
    except ValueError as error:
        problems.append(Problem(str(error), expected="a port from 0 to 65535"))
        port = None
    if problems or path is None or url.hostname is None:
        raise ModelError(
            "this is no address of a model that speaks the Open Inference Protocol",
            problems=problems,
            next_step="pass http://host:port/v2/models/NAME",
        )
    name = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"{name}:{port}" if port is not None else name, path["model"]


def _reason(content: bytes) -> str:
    """The server's own words, as the protocol has them ({"error": …}), or the start of the body."""
    try:
        said = json.loads(content)
    except ValueError:
        said = None
    if isinstance(said, dict):
        for key in ("error", "detail", "message"):
            if said.get(key):
                return str(said[key])[:200]
    return content[:200].decode("utf-8", "replace").strip() or "nothing said"


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", "") or error) or type(error).__name__
