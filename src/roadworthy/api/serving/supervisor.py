"""Several workers as one server: started, watched, started again, and ended together.

In: options; what the workers say through their pipes. Out: one moment at which all are ready; an end. Laws: a worker
that dies is started again, after a pause that grows; one whose event loop does not turn is killed; one whose memory
grows without end finishes what it has, while others serve, and is started again; when workers die at once again and
again and none is left that serves, everything ends with the reason, as it does when the first ones cannot start; a
worker whose supervisor is gone ends by itself. The parent loads no model and serves nothing.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from roadworthy.api.serving.board import Board
from roadworthy.api.serving.options import Options
from roadworthy.errors import Problem, RoadworthyError

__all__ = ["Supervisor", "WorkersFailed"]

_QUICK_S = 5.0
"""A worker that dies within this time of its start died at once."""

_MOST_DEATHS = 5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_START_S = 60.0
_TURN_S = 0.1
_END_S = 30.0
_MOST_TIMES, _LEAST_GROWTH = 4.0, 1 << 30
"""A worker that has so many times the memory that it was ready with, and so many bytes more, has a leak."""


class WorkersFailed(RoadworthyError):
    """The workers do not stay alive."""

    exit_code = 70


class _Worker:
    """One place for a worker: the process in it, and how those before it ended."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.pipe = -1
        self.buffer = b""
        self.started = self.beat = 0.0
        self.ready = False
        self.deaths = 0
        self.next_start = 0.0
        self.reason: dict[str, Any] | None = None
        self.ready_bytes = 0
        self.leaving_since = 0.0


class Supervisor:
    """Runs ``options.workers`` workers. ``shared`` are the files that they share: metrics, board, memory.

    ``ready`` is called once, when every worker has been ready.
    """

    def __init__(
        self, options: Options, sock: socket.socket, port: int, folder: Path, ready: Callable[[], None]
    ) -> None:
        self._options, self._sock, self._port, self._folder, self._ready = options, sock, port, folder, ready
        self._selector = selectors.DefaultSelector()
        self._workers = [_Worker(number) for number in range(options.workers)]
        self._board_file = os.open(folder / "board", os.O_RDWR | os.O_CREAT, 0o600)
        self._board = Board(self._board_file, options.workers)
        self._told = False
        self._ending_since = 0.0
        self._signals: list[int] = []

    @property
    def serving(self) -> str:
        """The title of the version that workers serve; empty before any is ready."""
        return next((said.version for said in self._board.all() if said is not None), "")

    def run(self) -> None:
        """Blocks until a signal ends it, or the workers cannot be kept alive."""
        before = {one: signal.signal(one, self._heard) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            while not self._over():
                self._turn()
        finally:
            self._kill_all()
            for worker in self._workers:
                if worker.process is not None:
                    worker.process.wait()
                    self._forget(worker)
            self._selector.close()
            os.close(self._board_file)
            for one, handler in before.items():
                signal.signal(one, handler)

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)

    def _over(self) -> bool:
        return bool(self._ending_since) and all(worker.process is None for worker in self._workers)

    def _turn(self) -> None:
        """One round: signals, what workers said, who died, who hangs, who is to be started."""
        while self._signals:
            self._signals.pop()
            self._end()
        for key, _ in self._selector.select(_TURN_S):
            self._hear(key.data)
        now = time.monotonic()
        for worker in self._workers:
            self._look_after(worker, now)
        if not self._told and all(worker.ready for worker in self._workers):
            self._told = True
            self._ready()
        if self._ending_since and now - self._ending_since > self._options.grace_s + _END_S:
            self._kill_all()

    def _look_after(self, worker: _Worker, now: float) -> None:
        if worker.process is not None and worker.process.poll() is not None:
            self._buried(worker, now)
        elif worker.process is not None:
            self._kill_if_hung(worker, now)
            self._end_if_grown(worker, now)
        elif not self._ending_since and now >= worker.next_start:
            self._start(worker, now)

    def _kill_all(self) -> None:
        for worker in self._workers:
            if worker.process is not None:
                worker.process.kill()

    def _end(self) -> None:
        """Tells every worker to end; told again, they hurry."""
        self._ending_since = self._ending_since or time.monotonic()
        if self._options.uds:
            Path(self._options.uds).unlink(missing_ok=True)  # nobody new finds it; who is in the queue is answered
        for worker in self._workers:
            if worker.process is not None:
                worker.process.send_signal(signal.SIGTERM)

    def _start(self, worker: _Worker, now: float) -> None:
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        given = {
            "options": msgspec.to_builtins(self._options),
            "worker": worker.number,
            "port": self._port,
            "folder": str(self._folder),
            "pipe": theirs,
            "socket": self._sock.fileno() if self._options.uds else -1,
        }
        handles = [theirs, *([self._sock.fileno()] if self._options.uds else [])]
        worker.process = subprocess.Popen(  # noqa: S603 - our own module, in our own interpreter
            [sys.executable, "-m", "roadworthy.api.serving.child", json.dumps(given)],
            pass_fds=handles,
            start_new_session=True,  # a terminal's Ctrl-C reaches the parent alone, which passes it on once
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "MALLOC_ARENA_MAX": "2"},
        )
        os.close(theirs)
        worker.pipe, worker.buffer, worker.ready, worker.reason = ours, b"", False, None
        worker.started = worker.beat = now
        worker.ready_bytes, worker.leaving_since = 0, 0.0
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _hear(self, worker: _Worker) -> None:
        for line in self._lines(worker):
            worker.beat = time.monotonic()
            if line == b"ready":
                worker.ready = True
            elif line.startswith(b"{"):
                worker.reason = json.loads(line)

    def _lines(self, worker: _Worker) -> Iterator[bytes]:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(worker.pipe, 65_536):
                worker.buffer += data
            with contextlib.suppress(KeyError):
                self._selector.unregister(worker.pipe)  # its end is closed: nothing more comes
        *lines, worker.buffer = worker.buffer.split(b"\n")
        yield from lines

    def _kill_if_hung(self, worker: _Worker, now: float) -> None:
        """Ends a worker whose event loop has not turned for too long."""
        patience = self._options.hung_s if worker.ready else max(_START_S, self._options.hung_s)
        if now - worker.beat > patience and worker.process is not None:
            _say(f"worker {worker.number} did not answer for {now - worker.beat:.0f} s and is killed")
            worker.process.kill()
            worker.beat = now

    def _end_if_grown(self, worker: _Worker, now: float) -> None:
        """Ends a worker that leaks, one at a time: it finishes what it has, and a fresh one takes its place."""
        if worker.process is None or not worker.ready or self._ending_since:
            return
        if worker.leaving_since:
            if now - worker.leaving_since > self._options.grace_s + _END_S:
                worker.process.kill()
            return
        bytes_ = _resident(worker.process.pid)
        worker.ready_bytes = worker.ready_bytes or bytes_
        most = max(worker.ready_bytes * _MOST_TIMES, worker.ready_bytes + _LEAST_GROWTH)
        if bytes_ > most and not any(other.leaving_since or not other.ready for other in self._workers):
            grown = f"{bytes_ >> 20:,} MiB, after {worker.ready_bytes >> 20:,} MiB at its start"
            _say(f"worker {worker.number} has grown to {grown}; it finishes what it has and is started again")
            worker.leaving_since = now
            worker.process.send_signal(signal.SIGTERM)

    def _buried(self, worker: _Worker, now: float) -> None:
        """Clears up after a worker that ended, and decides what comes next."""
        assert worker.process is not None  # noqa: S101 - asked before
        self._hear(worker)
        code, reason, was_ready = worker.process.returncode, worker.reason, worker.ready
        lived = now - worker.started
        self._forget(worker)
        if self._ending_since:
            if code not in {0, -signal.SIGTERM}:
                _say(f"worker {worker.number} {_how(code, reason)} while it was ending")
            return
        if not self._told and reason is not None:
            raise _as_error(reason)
        worker.deaths = worker.deaths + 1 if lived < _QUICK_S or not was_ready else 1
        others = self._told and any(other.ready for other in self._workers)
        if worker.deaths >= _MOST_DEATHS and not others:
            raise WorkersFailed(
                f"worker {worker.number} died {worker.deaths} times in a row as soon as it was started",
                problems=[Problem(_how(code, reason), where="the last time")],
                next_step="look at what it wrote to standard error; roadworthy status shows whether the version opens",
            )
        pause = min(_FIRST_PAUSE_S * 2 ** min(worker.deaths - 1, 10), _LONGEST_PAUSE_S)
        worker.next_start = now + pause
        _say(f"worker {worker.number} {_how(code, reason)}; it is started again in {pause:.1f} s")

    def _forget(self, worker: _Worker) -> None:
        if worker.pipe >= 0:
            with contextlib.suppress(KeyError):
                self._selector.unregister(worker.pipe)
            os.close(worker.pipe)
        worker.process, worker.pipe, worker.ready = None, -1, False
        self._board.tell(worker.number, None)


def _as_error(reason: dict[str, Any]) -> RoadworthyError:
    """What a worker could not start for, as the parent's own error."""
    problems = [Problem(one["found"], where=one["where"], expected=one["expected"]) for one in reason["problems"]]
    error = RoadworthyError(reason["message"], problems=problems, next_step=reason["next"])
    error.exit_code = reason["exit"]
    return error


def _resident(process: int) -> int:
    """Bytes of a process in memory; 0 where the system does not tell, or it is gone."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE
    except (OSError, IndexError):
        return 0


def _how(code: int, reason: dict[str, Any] | None) -> str:
    if reason is not None:
        return f"ended: {reason['message']}"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # whoever read it has left; the workers are looked after all the same
        sys.stderr.write(f"roadworthy: {text}\n")
        sys.stderr.flush()
