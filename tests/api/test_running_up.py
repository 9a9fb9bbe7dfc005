"""``up``: a server, its monitor and its dashboard end together, and none ends the others before."""

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

import httpx
import pytest

from roadworthy import assembly
from roadworthy.lifecycle import cursors
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.measures.heartbeat import Beat

UP = """
import sys, msgspec, roadworthy as rw
def ready(one):
    print(msgspec.json.encode(one).decode(), flush=True)
names = ["pages.example.org"]
rw.up(sys.argv[1], version="latest", port=0, grace_s=0.2, dashboard_port=0, allow_hosts=names, ready=ready)
"""


def children(process: int, module: bytes = b"watching.child") -> list[int]:
    """The monitors, or dashboards, that a process has started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if parent == process and module in words:
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


def asked(address: str, host: str) -> int:
    """The status of the first page, asked for under a name; whoever is not there yet is waited for."""
    return httpx.get(address, headers={"Host": host}, timeout=40).status_code


def test_a_monitor_that_is_killed_comes_back_and_ends_with_the_server(copied: Path) -> None:
    settings = assembly.open_project(copied).settings
    command = [sys.executable, "-W", "error", "-c", UP, str(copied)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            address = ready["address"]
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
            assert asked(ready["dashboard"], "pages.example.org") == asked(ready["dashboard"], "127.0.0.1") == 200
            assert asked(ready["dashboard"], "other.example.org") == 403
            (shown,) = children(process.pid, b"web.child")
            os.kill(shown, signal.SIGKILL)
            assert asked(ready["dashboard"], "pages.example.org") == 200, "the address waits for the next one"
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
            assert process.returncode == 0, said
            assert not Path(f"/proc/{second}").exists()
        finally:
            process.kill()
