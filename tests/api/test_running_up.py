"""``up``: a server and its monitor end together, and neither ends the other before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roadworthy import assembly
from roadworthy.lifecycle import cursors
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.measures.heartbeat import Beat

UP = """
import sys, msgspec, roadworthy as rw
def ready(one):
    print(msgspec.json.encode(one).decode(), flush=True)
rw.up(sys.argv[1], version="latest", port=0, grace_s=0.2, ready=ready)
"""


def children(process: int) -> list[int]:
    """The monitors that a process has started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if parent == process and b"watching.child" in words:
            found.append(int(entry.name))
    return found


def until(true: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What is found as soon as there is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.1)
    pytest.fail("it did not come to that")


def test_a_monitor_that_is_killed_comes_back_and_ends_with_the_server(copied: Path) -> None:
    settings = assembly.open_project(copied).settings
    command = [sys.executable, "-W", "error", "-c", UP, str(copied)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["address"]
            (first,) = until(lambda: children(process.pid))
            transactions = Transactions(settings.registry)

            def beaten() -> Beat | None:
                with transactions.reading() as connection:
                    return cursors.last_beat(connection, "clicks")

            def readings() -> int:
                with transactions.reading() as connection:
                    return len(cursors.readings(connection, "clicks", 0, time.time_ns()))

            assert until(beaten).failures == 0
            assert until(readings) >= 1
            os.kill(first, signal.SIGKILL)
            (second,) = until(lambda: [one for one in children(process.pid) if one != first])
            before = until(beaten).at_us
            assert until(lambda: beaten() if until(beaten).at_us > before else None)
            transactions.close()
            assert address.startswith("http://127.0.0.1:")
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
            assert process.returncode == 0, said
            assert not Path(f"/proc/{second}").exists()
        finally:
            process.kill()
