"""A load generator: requests at the moments of a schedule, or one after the other, in a process of its own.

In: an address, whole HTTP requests, a schedule (open loop) or a number of seconds (closed loop). Out: for each request
when it was due, when it was sent, when it was answered, with which status and which ``Retry-After``.

Laws. *Open loop*: a request is due at its moment, whatever became of those before it, and its latency counts from that
moment, so that a server which stalls is charged for the stall. *Bounded*: so many connections with one request each,
so many requests, so many seconds; who finds no free connection waits for one, with the clock running. *Nothing is tried
twice*: a connection that ends before its answer is a lost request. How late the generator itself was is measured, too:
figures of a run whose own lateness is not small against them are worth nothing.

One turn of the event loop sends what is due and reads what has come; close to a due moment it does not sleep, since the
timers of an event loop are a millisecond wide. Its ceiling:

    python benchmarks/load.py --ceiling
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvloop
from numpy.typing import NDArray

__all__ = ["Asked", "Seen", "constant", "load", "poisson"]

_SLEEP_S = 0.002
"""What is due later than this is slept for; what is due sooner is waited for without sleep."""

_MOST_ERRORS = 20
_CONNECT_S = 15.0
_END = b"\r\n\r\n"
_LENGTH = b"content-length: "
_AFTER = b"retry-after: "
_CLOSE = b"connection: close"

Floats = NDArray[np.float64]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a generator is asked for.

    ``requests`` are whole HTTP requests in base64, asked in turn. ``due_s`` are seconds from the start, ascending;
    where it is None every connection asks again as soon as it was answered, for ``seconds``. ``core`` pins the process.
    ``keep`` keeps the bodies of that many answers. ``patience_s`` is how long the last answers are waited for.
    """

    host: str
    port: int
    requests: tuple[str, ...]
    connections: int
    due_s: tuple[float, ...] | None = None
    seconds: float = 0.0
    most: int = 2_000_000
    core: int | None = None
    keep: int = 0
    patience_s: float = 15.0


class Seen:
    """What became of N requests. Times are [N], seconds from the start; ``answered_s`` is NaN without an answer.

    ``status`` is 0 without an answer, ``retry_after_s`` NaN where the answer had none. ``bodies`` are of the first.
    """

    def __init__(self, arrays: dict[str, Any], errors: Sequence[str], bodies: Sequence[bytes], seconds: float) -> None:
        self.due_s: Floats = arrays["due_s"]
        self.sent_s: Floats = arrays["sent_s"]
        self.answered_s: Floats = arrays["answered_s"]
        self.status: NDArray[np.int16] = arrays["status"]
        self.retry_after_s: Floats = arrays["retry_after_s"]
        self.which: NDArray[np.int32] = arrays["which"]
        self.errors, self.bodies, self.seconds = tuple(errors), tuple(bodies), seconds

    @property
    def statuses(self) -> dict[int, int]:
        """How many requests ended in each status; 0 are those without an answer."""
        return {int(status): count for status, count in sorted(Counter(self.status.tolist()).items())}

    def rate(self, status: int = 200, *, skip_s: float = 0.0) -> float:
        """Answers a second of a status between ``skip_s`` and the end of the schedule."""
        inside = (self.status == status) & (self.answered_s >= skip_s) & (self.answered_s <= self.seconds)
        return float(inside.sum()) / max(self.seconds - skip_s, 1e-9)

    def latency_ms(self, quantile: float, status: int = 200, *, skip_s: float = 0.0) -> float:
        """A quantile of milliseconds from the due moment to the answer; NaN where nobody had such an answer."""
        which = (self.status == status) & (self.due_s >= skip_s)
        found = (self.answered_s - self.due_s)[which]
        return float(np.quantile(found, quantile) * 1e3) if len(found) else float("nan")

    def late_ms(self, quantile: float) -> float:
        """A quantile of milliseconds from the due moment to the sending: the generator's own part of every latency."""
        found = (self.sent_s - self.due_s)[~np.isnan(self.sent_s)]
        return float(np.quantile(found, quantile) * 1e3) if len(found) else float("nan")


def poisson(rate: float, seconds: float, seed: int) -> Floats:
    """Moments of independent callers, ``rate`` a second on average.

    >>> found = poisson(1000, 2.0, seed=1)
    >>> bool((np.diff(found) >= 0).all()), 1800 < len(found) < 2200
    (True, True)
    """
    random = np.random.default_rng(seed)
    count = random.poisson(rate * seconds)
    return np.sort(random.uniform(0.0, seconds, count))


def constant(rate: float, seconds: float) -> Floats:
    """Moments at equal distances.

    >>> constant(4, 1.0).tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    return np.arange(int(rate * seconds)) / rate


def load(
    port: int,
    requests: Sequence[bytes],
    *,
    connections: int,
    due_s: Floats | None = None,
    seconds: float = 0.0,
    core: int | None = None,
    keep: int = 0,
    host: str = "127.0.0.1",
) -> Seen:
    """Runs a generator in a process of its own, and gives what it saw. ``seconds`` is for a closed loop."""
    encoded = tuple(base64.b64encode(one).decode() for one in requests)
    due = None if due_s is None else tuple(due_s.tolist())
    asked = Asked(
        host=host,
        port=port,
        requests=encoded,
        connections=connections,
        due_s=due,
        seconds=seconds,
        core=core,
        keep=keep,
    )
    with tempfile.TemporaryDirectory(prefix="roadworthy-load-") as folder:
        question, answer = Path(folder) / "asked.json", Path(folder) / "seen.npz"
        question.write_bytes(msgspec.json.encode(asked))
        subprocess.run([sys.executable, __file__, str(question), str(answer)], check=True)
        return _read(answer)


def _read(file: Path) -> Seen:
    with np.load(file, allow_pickle=False) as arrays:
        told = msgspec.json.decode(arrays["told"].tobytes())
        bodies = [base64.b64decode(body) for body in told["bodies"]]
        return Seen({name: arrays[name] for name in arrays}, told["errors"], bodies, told["seconds"])


# --- in the generator's own process ---------------------------------------------------------------------------------


class _Connection(asyncio.Protocol):
    """One connection: at most one request is under way."""

    __slots__ = ("_buffer", "_generator", "_transport", "at")

    def __init__(self, generator: _Generator) -> None:
        self._generator = generator
        self._buffer = b""
        self.at = -1  # the request that is under way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, at: int, request: bytes) -> None:
        """Sends request number ``at``."""
        self.at = at
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        end = data.find(_END)
        if end < 0:
            self._buffer = data
            return
        place = data.find(_LENGTH, 0, end + 2) + len(_LENGTH)
        whole = end + 4 + int(data[place : data.find(b"\r", place)])
        if len(data) < whole:
            self._buffer = data
            return
        self._buffer = b""
        self._generator.answered(self, data, end)

    def connection_lost(self, exc: Exception | None) -> None:
        self._generator.lost(self, exc)

    def close(self) -> None:
        """Ends it."""
        self._transport.close()


class _Generator:
    """All connections, and the record of all requests."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._requests = [base64.b64decode(one) for one in asked.requests]
        self._due = list(asked.due_s) if asked.due_s is not None else []
        self._open = asked.due_s is not None
        self._most = len(self._due) if self._open else asked.most
        self._free: deque[_Connection] = deque()
        self._next = self._under_way = 0
        self._sent: list[float] = []
        self._answered: dict[int, tuple[float, int, float]] = {}
        self._bodies: list[bytes] = []
        self._errors: list[str] = []
        self._zero = 0.0
        self._over = asyncio.Event()
        self._ended = False
        self._opening: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Connects, asks, waits for the last answers."""
        self._loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_S):
            for _ in range(self._asked.connections):
                await self._connect()
        self._zero = time.perf_counter()
        seconds = self._asked.seconds
        if self._open:
            self._turn()
        else:
            self._loop.call_later(seconds, self._stop)
            for one in list(self._free):
                self._send(one, time.perf_counter() - self._zero)
            self._free.clear()
        last = self._due[-1] if self._due else seconds
        try:
            async with asyncio.timeout(last + self._asked.patience_s):
                await self._over.wait()
        except TimeoutError:
            self._note("answers were not waited for any longer")
        self._ended = True

    async def _connect(self) -> None:
        try:
            _, one = await self._loop.create_connection(lambda: _Connection(self), self._asked.host, self._asked.port)
        except OSError as error:
            self._note(f"connecting: {type(error).__name__}")
            return
        self._free.append(one)

    def _turn(self) -> None:
        """Sends what is due, and comes back when the next one is."""
        now = time.perf_counter() - self._zero
        due, free = self._due, self._free
        while self._next < self._most and due[self._next] <= now and free:
            self._send(free.popleft(), now)
        if self._next >= self._most:
            self._end_if_over()
            return
        wait = due[self._next] - now
        if wait > _SLEEP_S:
            self._loop.call_later(wait - _SLEEP_S / 2, self._turn)
        else:
            self._loop.call_soon(self._turn)

    def _send(self, one: _Connection, now: float) -> None:
        at = self._next
        self._next += 1
        self._under_way += 1
        self._sent.append(now)
        one.send(at, self._requests[at % len(self._requests)])

    def answered(self, one: _Connection, data: bytes, end: int) -> None:
        """An answer has come whole."""
        now = time.perf_counter() - self._zero
        at, status = one.at, int(data[9:12])
        one.at = -1
        self._under_way -= 1
        after = float("nan")
        if status != 200:
            place = data.find(_AFTER, 0, end)
            if place >= 0:
                after = float(data[place + len(_AFTER) : data.find(b"\r", place)])
        self._answered[at] = (now, status, after)
        if len(self._bodies) < self._asked.keep:
            self._bodies.append(data[end + 4 :])
        if data.find(_CLOSE, 0, end) >= 0:
            one.close()
        elif self._open:
            self._free.append(one)
        elif not self._ended and self._next < self._most:
            self._send(one, now)
        self._end_if_over()

    def lost(self, one: _Connection, error: Exception | None) -> None:
        """A connection ended; another one takes its place."""
        if self._ended or self._over.is_set():
            return
        if one.at >= 0:
            self._under_way -= 1
            self._note(f"lost: {type(error).__name__ if error else 'closed'}")
        elif one in self._free:
            self._free.remove(one)
        task = self._loop.create_task(self._again())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _again(self) -> None:
        before = len(self._free)
        await self._connect()
        if not self._open and len(self._free) > before and not self._ended:
            self._send(self._free.pop(), time.perf_counter() - self._zero)
        self._end_if_over()

    def _stop(self) -> None:
        self._most = self._next
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._next >= self._most and not self._under_way:
            self._over.set()

    def _note(self, text: str) -> None:
        if len(self._errors) < _MOST_ERRORS:
            self._errors.append(text)

    def write(self, file: Path) -> None:
        """Keeps what was seen."""
        count = len(self._sent) if not self._open else len(self._due)
        sent, answered, after = (np.full(count, np.nan) for _ in range(3))
        status = np.zeros(count, np.int16)
        sent[: len(self._sent)] = self._sent
        for at, (moment, code, wait) in self._answered.items():
            answered[at], status[at], after[at] = moment, code, wait
        due = np.array(self._due) if self._open else sent
        seconds = self._asked.seconds or (float(due[-1]) if count else 0.0)
        bodies = [base64.b64encode(body).decode() for body in self._bodies]
        told = msgspec.json.encode({"errors": self._errors, "bodies": bodies, "seconds": seconds})
        which = (np.arange(count) % len(self._requests)).astype(np.int32)
        np.savez(
            file, due_s=due, sent_s=sent, answered_s=answered, status=status, retry_after_s=after, which=which,
            told=np.frombuffer(told, np.uint8),
        )  # fmt: skip


async def _generate(asked: Asked, file: Path) -> None:
    generator = _Generator(asked)
    await generator.run()
    generator.write(file)


# --- its own ceiling ------------------------------------------------------------------------------------------------

_CONSTANT = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class _Constant(asyncio.Protocol):
    """Answers whatever comes with the same words: what any server must at least do for a request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, _data: bytes) -> None:
        self._transport.write(_CONSTANT)


async def _constant_server(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Constant, "127.0.0.1", port)
    await server.serve_forever()


def _ceiling(seconds: float) -> None:
    """Prints how fast the generator is against a server that does nothing, and how late it is on the way there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, __file__, "--constant", str(port)])
    request = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 300\r\n\r\n" + b"x" * 300
    core = 1 if (os.cpu_count() or 1) > 1 else None
    try:
        _wait_for(port)
        for connections in (1, 16, 64, 512):
            seen = load(port, [request], connections=connections, seconds=seconds, core=core)
            print(
                f"closed loop, {connections:4} connections: {seen.rate():8,.0f}/s, p99 {seen.latency_ms(0.99):.2f} ms"
            )
        for rate in (1_000, 5_000, 10_000, 15_000, 20_000, 25_000, 30_000):
            seen = load(port, [request], connections=512, due_s=poisson(rate, seconds, 1), core=core)
            late = f"late p50 {seen.late_ms(0.5):.3f} p99 {seen.late_ms(0.99):.3f} ms"
            print(f"open loop, {rate:6,}/s: {seen.rate():8,.0f}/s, p99 {seen.latency_ms(0.99):.2f} ms, {late}")
    finally:
        server.terminate()
        server.wait(10)


def _wait_for(port: int, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def main() -> int:
    """The generator's process, or its ceiling."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="what is asked (JSON), where the answer goes")
    parser.add_argument("--ceiling", action="store_true", help="measure the generator itself")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement of --ceiling")
    parser.add_argument("--constant", type=int, metavar="PORT", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.constant is not None:
        os.sched_setaffinity(0, {0})
        uvloop.run(_constant_server(words.constant))
    elif words.ceiling:
        _ceiling(words.seconds)
    else:
        question, answer = words.files
        asked = msgspec.json.decode(question.read_bytes(), type=Asked)
        if asked.core is not None:
            os.sched_setaffinity(0, {asked.core})
        uvloop.run(_generate(asked, answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
