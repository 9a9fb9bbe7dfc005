"""``up``: a server and its monitor, one process tree.

In: what ``serve`` takes. Out: answers, windows, alerts, until it is told to end. Laws: a monitor that ends is started
again, more and more slowly; it never takes the server with it; the server ends first, then the monitor.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from roadworthy import assembly
from roadworthy.api.serving import Serving, serve

__all__ = ["up"]

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_LONG_S = 60.0  # a monitor that lived so long is started again at once
_END_S = 20.0


def up(
    project: Path | str = assembly.PROJECT_FILE,
    *,
    ready: Callable[[Serving], None] | None = None,
    tls_cert: Path | str = "",
    **options: Any,
) -> None:
    """Serve and watch until SIGTERM or SIGINT; ``options`` and ``ready`` are those of ``serve``.

    Raises what ``serve`` raises.
    """
    monitor = _Monitor(Path(project).absolute(), str(tls_cert))

    def told(serving: Serving) -> None:
        monitor.start([serving.address])
        if ready is not None:
            ready(serving)

    try:
        serve(project, ready=told, tls_cert=tls_cert, **options)
    finally:
        monitor.end()


class _Monitor:
    """The monitor's process, kept alive."""

    def __init__(self, project: Path, authority: str) -> None:
        self._project, self._authority = project, authority
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def start(self, servers: Sequence[str]) -> None:
        """Watch traffic and these servers."""
        given = {
            "project": str(self._project),
            "servers": list(servers),
            "authority": self._authority,
            "parent": os.getpid(),
        }
        self._thread = threading.Thread(target=self._keep, args=(json.dumps(given),), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Let it finish its window; kill it where that takes too long."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def _keep(self, given: str) -> None:
        pause = _FIRST_PAUSE_S
        while not self._ending.is_set():
            command = [sys.executable, "-m", "roadworthy.api.watching.child", given]
            with subprocess.Popen(command) as process:  # noqa: S603 - our own module, and what it is given is ours
                lived = self._waited(process)
            if self._ending.is_set():
                return
            sys.stderr.write(f"roadworthy: the monitor ended with {process.returncode}, started again in {pause:g} s\n")
            self._ending.wait(pause)
            pause = _FIRST_PAUSE_S if lived > _LONG_S else min(2 * pause, _LONGEST_PAUSE_S)

    def _waited(self, process: subprocess.Popen[bytes]) -> float:
        """How long it lived: until it ended, or was told to."""
        lived = 0.0
        while process.poll() is None:
            if self._ending.wait(0.2):
                process.terminate()
                try:
                    process.wait(_END_S)
                except subprocess.TimeoutExpired:
                    process.kill()
            lived += 0.2
        return lived
