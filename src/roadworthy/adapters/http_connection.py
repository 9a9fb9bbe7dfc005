"""One HTTP/1.1 connection: httptools reads, an application answers, one write sends.

In: bytes of a transport, an ``App``. Out: answers, in the order of the requests. Laws: no connection holds more than
``MOST_HEAD`` bytes of a head, two bodies that its application would take and one read of what stands behind them; an
answer to a body that was not read arrives before the connection is gone; what pipelines gets its answers in turn.

There is neither a task nor a timer of its own for a request (``docs/decisions/0039-the-http-edge.md``).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from enum import Enum, auto
from typing import Any, Final, NamedTuple, Protocol

import httptools

from roadworthy.adapters.http_app import App
from roadworthy.adapters.http_heads import Fields, Replied, length_of, path_of, written

__all__ = ["MOST_HEAD", "Connection", "Phase", "Watched"]

MOST_HEAD = 65_536
"""Bytes of a request's head."""

_BETWEEN = 4  # bytes of a field beside its name and value
_LINGER_S = 2.0
_AT_ONCE = 32  # requests of one connection that are answered before others have their turn
_LARGE = 1 << 16  # bytes of a body that is not read before it is known to be wanted


_USUAL: Final = ((b"content-type", b"application/json"),)
_USUAL_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
_OK: Final = 200
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Watched(Protocol):
    """What a connection asks of its server: whom it serves, who is connected, whether this is its end."""

    app: App
    loop: asyncio.AbstractEventLoop
    connections: set[Connection]
    ending: bool


class Phase(Enum):
    """Which part of a request a connection waits for."""

    NONE = auto()
    HEAD = auto()
    BODY = auto()


_NONE, _HEAD, _BODY = Phase


class _Asked(NamedTuple):
    """A request that was read; ``last``: its answer is the last one of the connection."""

    method: str
    path: str
    headers: Fields
    body: bytes
    begun: float
    last: bool


class Connection(asyncio.Protocol):
    """One connection. What comes while a request is being answered waits in ``_queue``."""

    def __init__(self, server: Watched) -> None:
        self._server = server
        self._app = server.app
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        # the request that is being read
        self.phase = _NONE
        self.since = time.perf_counter()
        self._begun = 0.0
        self._heard = False
        self._head_bytes = self._size = self._fields = 0
        self._length: int | None = 0
        self._url, self._body = b"", b""
        self._grown: bytearray | None = None
        self._headers: dict[bytes, bytes] = {}
        # the requests that were read
        self.busy = False
        self._bare = self._last = self._held_back = False
        self._queue: deque[_Asked | Replied] = deque()
        self._draining = False
        self._at_once = 0
        # the connection
        self.fresh = True
        self.stalled = self._paused = False
        self.deaf = False
        self.gone = False

    @property
    def idle(self) -> bool:
        """Whether no request is under way, as far as it can be seen from here."""
        return not self.busy and self.phase is _NONE and not self._queue

    # --- what the transport tells ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = transport
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it ended makes no difference
        """The connection is gone; what is being answered finds nobody."""
        self._server.connections.discard(self)
        self.deaf = self.gone = True
        self._queue.clear()
        del self._parser  # it holds this connection fast, which would wait for the collector with all that it has

    def data_received(self, data: bytes) -> None:
        """Bytes, in parts of any size."""
        if self.deaf or (self._app.crowded() and self._turned_away(data)):
            return
        if len(data) > MOST_HEAD and self.phase is _NONE and data.find(b"\r\n\r\n", 0, MOST_HEAD) < 0:
            self._give_up(self._app.unread(431))
            return
        self._heard = False
        self._at_once = 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._no_more()  # what follows is another protocol; the request itself is answered as any other
        except httptools.HttpParserError:
            self._give_up(self._app.unread(400))
        if self._queue and not self.busy:
            self._server.loop.call_soon(self._drain)
        if not self._heard:  # a head, or what follows a body in chunks: neither is bounded by anybody else
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD:
                self._give_up(self._app.unread(431))

    def _turned_away(self, data: bytes) -> bool:
        """Whether this is one whole request, by itself, that was answered without being read: that is much cheaper."""
        end = data.find(b"\r\n\r\n")
        head = data[:end]
        if (
            end < 0
            or length_of(head) != len(data) - end - 4
            or not self.idle
            or self._head_bytes
            or self._server.ending
        ):
            return False
        answer = self._app.turned_away(head)
        if answer is None:
            return False
        self.fresh, self.since = False, time.perf_counter()
        self._transport.write(answer)
        return True

    def eof_received(self) -> bool:
        """Who has said all may still wait for answers; TLS knows no half of a connection."""
        waits = (self.busy or bool(self._queue)) and self._transport.get_extra_info("sslcontext") is None
        if waits:
            self._no_more()
        return waits

    def pause_writing(self) -> None:
        """Answers are not fetched: nothing more is read."""
        self.stalled, self.since = True, time.perf_counter()
        self._pause()

    def resume_writing(self) -> None:
        """Answers were fetched."""
        self.stalled = False
        if self._queue and not self.busy:
            self._drain()
        self._resume()

    # --- what the parser tells ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self.phase, self.fresh = _HEAD, False
        self._begun = self.since = time.perf_counter()
        self._held_back = False
        self._url, self._body, self._size, self._headers, self._fields = b"", b"", 0, {}, 0

    def on_url(self, url: bytes) -> None:
        """A part of its target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field."""
        if self.phase is not _HEAD:
            return  # what stands behind a body in chunks
        self._fields += len(name) + len(value) + _BETWEEN
        if self._fields > MOST_HEAD:
            self._give_up(self._app.unread(431))
            return
        name = name.lower()
        headers = self._headers
        headers[name] = value if name not in headers else headers[name] + b", " + value

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._heard, self._head_bytes, self.phase = True, 0, _BODY
        if self.deaf:
            return
        headers = self._headers
        if b"," in headers.get(b"host", b",") and self._without_host(headers):
            self._give_up(self._app.unread(400))
            return
        if b"content-length" in headers:
            self._length = int(headers[b"content-length"])
            if self._length <= _LARGE and b"expect" not in headers:
                return
        elif b"transfer-encoding" in headers:
            if headers[b"transfer-encoding"].lower() != b"chunked":  # another coding would be taken for the body
                self._give_up(self._app.unread(400))
                return
            self._length = None
        else:
            return
        self._weigh()

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        self._heard, self._head_bytes = True, 0
        if self.deaf:
            return
        self._size += len(body)
        if self._size > self._app.most_bytes:
            self._give_up(self._app.unread(413))
        elif self._grown is not None:
            self._grown += body
        elif self._body:
            self._grown = bytearray(self._body)
            self._grown += body
        else:
            self._body = body

    def on_message_complete(self) -> None:
        """It is whole."""
        self._heard, self._head_bytes, self.phase = True, 0, _NONE
        if self.deaf:
            return
        parser = self._parser
        body, self._body = self._body, b""  # an idle connection keeps no body
        if self._grown is not None:
            body, self._grown = bytes(self._grown), None
        last = not parser.should_keep_alive() or parser.should_upgrade()
        if b"connection" in self._headers and parser.get_http_version() == "1.0":
            last = True
        method = parser.get_method().decode("latin-1")
        if last:
            self.deaf = True
        if self.busy or self.stalled or self._queue or self._at_once >= _AT_ONCE:
            self._queue.append(_Asked(method, path_of(self._url), self._headers, body, self._begun, last))
            self._pause()
        else:
            self._ask(method, path_of(self._url), self._headers, body, self._begun, last)

    def _without_host(self, headers: Fields) -> bool:
        """Whether a request names two hosts, or none although it is HTTP/1.1 (RFC 9112, 3.2)."""
        return b"host" in headers or self._parser.get_http_version() == "1.1"

    def _weigh(self) -> None:
        """Whether a body that may be large, or is held back, is worth reading."""
        app, length = self._app, self._length
        method = self._parser.get_method().decode("latin-1")
        if length is not None and length > app.most_bytes:
            self._give_up(app.unread(413, length))
        elif (refusal := app.refusal(method, path_of(self._url), self._headers)) is not None:
            self._give_up(refusal)
        elif self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._held_back = True
            if not self.busy and not self._queue:
                self._go_on()

    # --- answers --------------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, headers: Fields, body: bytes, begun: float, last: bool) -> None:  # noqa: FBT001, PLR0917 - as ``App.take``
        self.busy, self._last, self._bare = True, last, method == "HEAD"
        self._at_once += 1
        self._app.take(method, path, headers, body, begun, self._answer)

    def _answer(self, reply: Replied) -> None:
        """Sends the answer to the request that is being answered, and goes on to the next."""
        self.busy = False
        if self.gone:
            return
        status, body, headers = reply
        if status == _OK and headers == _USUAL and not (self._last or self._bare or self._server.ending):
            self._transport.write(_USUAL_HEAD % (len(body), body))
        else:
            last = self._last or (self._server.ending and not self._queue)
            self._transport.write(written(reply, bare=self._bare, last=last))
            if last:
                self._end()
        self.since = time.perf_counter()
        if self._queue:
            self._drain()
        elif self._held_back:
            self._go_on()

    def _go_on(self) -> None:
        """Asks for a body that is held back, now that all before it are answered; unless it came by itself."""
        self._held_back = False
        if self.phase is _BODY and not self._size and not self.deaf:
            self._transport.write(_CONTINUE)

    def _drain(self) -> None:
        """What waits, one after the other; others have their turn after some, and nothing is written in vain."""
        if self._draining:
            return
        self._draining, self._at_once = True, 0
        while self._queue and not (self.busy or self.gone or self.stalled):
            if self._at_once >= _AT_ONCE:
                self._server.loop.call_soon(self._drain)
                break
            found = self._queue.popleft()
            if isinstance(found, _Asked):
                self._ask(*found)
            else:
                self._transport.write(written(found, bare=False, last=True))
                self._linger()
        self._draining = False
        self._resume()

    def _no_more(self) -> None:
        """Nothing that comes from now on is read; the connection ends with the answers to what was."""
        self.deaf = True
        if self._queue:
            last = self._queue[-1]
            self._queue[-1] = last._replace(last=True) if isinstance(last, _Asked) else last
        elif self.busy:
            self._last = True
        elif not self.gone:
            self._end()

    def _give_up(self, reply: Replied) -> None:
        """Answers what cannot become a request, in its turn, and reads no further."""
        if self.deaf:
            return
        self.deaf, self._grown, self._body, self.phase = True, None, b"", _NONE
        self._queue.append(reply)
        if not self.busy:
            self._drain()

    def give_up_waiting(self) -> None:
        """Answers a request that does not come to its end."""
        self._give_up(self._app.unread(408, self._length if self.phase is _BODY else None))

    def _end(self) -> None:
        """The last answer is written."""
        self.gone = self.deaf = True
        self.since = time.perf_counter()
        self._queue.clear()
        self._transport.close()

    def abort(self) -> None:
        """Ends the connection at once."""
        self._transport.abort()

    def close(self) -> None:
        """Ends the connection after what is written."""
        self._end()

    def _linger(self) -> None:
        """Throws away what still comes, for a while, before the connection ends.

        Bytes that nobody reads would make the system reset it before the answer has arrived.
        """
        self.gone, self.since = True, time.perf_counter()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._queue.clear()
        self._resume()
        self._server.loop.call_later(_LINGER_S, self._transport.close)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        """Reads on, unless answers wait to be fetched, or requests to be answered."""
        if self._paused and not self.stalled and not self._queue and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
