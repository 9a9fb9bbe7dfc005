"""Processes beside a server, kept alive: its monitor, its dashboard.

In: a module to run and what it is told. Out: a process, started again when it ends, until it is told to end. Laws: one
that ends is started again more and more slowly; it never takes the server with it; ``end`` waits for it, and kills it
where that takes too long.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["Beside", "end_with_parent"]

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_LONG_S = 60.0  # a process that lived so long is started again at once
_END_S = 20.0
_LOOK_S = 0.2


class Beside:
    """``python -m module JSON``, kept alive from ``start`` to ``end``. ``name`` is for messages.

    ``sockets`` are descriptors that it inherits, the same each time it is started.
    """

    def __init__(self, name: str, module: str, *, sockets: Sequence[int] = ()) -> None:
        self._name, self._module, self._sockets = name, module, tuple(sockets)
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, given: Mapping[str, Any]) -> None:
        """Start it; it is told ``given``, and this process's id as ``parent``."""
        text = json.dumps({**given, "parent": os.getpid()})
        self._thread = threading.Thread(target=self._keep, args=(text,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Let it finish what it does."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def _keep(self, given: str) -> None:
        pause = _FIRST_PAUSE_S
        while not self._ending.is_set():
            command = [sys.executable, "-m", self._module, given]
            try:
                with subprocess.Popen(command, pass_fds=self._sockets) as process:  # noqa: S603 - a module of our own
                    lived = self._waited(process)
                how = f"ended with {process.returncode}"
            except OSError as error:  # no memory or no process left just now: that must not end the watching for good
                lived, how = 0.0, f"could not be started ({error.strerror})"
            if self._ending.is_set():
                return
            pause = _FIRST_PAUSE_S if lived > _LONG_S else pause
            sys.stderr.write(f"roadworthy: the {self._name} {how}, started again in {pause:g} s\n")
            self._ending.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _waited(self, process: subprocess.Popen[bytes]) -> float:
        """How long it lived: until it ended, or was told to."""
        begun = time.monotonic()
        while process.poll() is None:
            if self._ending.wait(_LOOK_S):
                process.terminate()
                try:
                    process.wait(_END_S)
                except subprocess.TimeoutExpired:
                    process.kill()
        return time.monotonic() - begun


def end_with_parent(parent: int, then: Callable[[], None]) -> None:
    """Calls ``then``, in a thread, when the process that started this one is gone, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        then()

    threading.Thread(target=watch, daemon=True).start()
