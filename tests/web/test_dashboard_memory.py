"""What the dashboard's process keeps in memory, whatever page is looked at."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

PLACES = (
    "/",
    "/score",
    "/live",
    "/data",
    "/data/device?together=1",
    "/quality",
    "/quality/accuracy",
    "/predictions",
    "/alerts",
    "/versions/2",
    "/versions/2?beside=1",
    "/runs",
)
NOT_HELD = ("/scipy/stats/", "/scipy/optimize/", "/sklearn/", "/pandas/", "/lightgbm/", "/matplotlib/")
MOST_MIB = 420


@pytest.fixture
def looked_at(past: Path) -> Iterator[tuple[httpx.Client, int]]:
    """A dashboard, started by a process that holds Polars itself, as ``up`` does."""
    words = [sys.executable, "-m", "roadworthy", "dashboard", "--project", str(past), "--port", "0", "--json"]
    left = {**os.environ, "_RJEM_MALLOC_CONF": "dirty_decay_ms:500,muzzy_decay_ms:1000"}  # by Polars, to its children
    with subprocess.Popen(words, env=left, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["address"]
            with httpx.Client(base_url=address, timeout=20) as client:
                yield client, process.pid
        finally:
            process.terminate()


def test_no_page_brings_the_large_libraries_into_memory(looked_at: tuple[httpx.Client, int]) -> None:
    client, process = looked_at
    for place in PLACES:
        client.get(place).raise_for_status()
    found = re.search(r'href="(/predictions/[^"?/]+/\d+)', client.get("/predictions").text)
    assert found is not None
    client.get(found[1]).raise_for_status()
    held = Path(f"/proc/{process}/maps").read_text()
    assert "/scipy/special/" in held
    assert [name for name in NOT_HELD if name in held] == []
    status, whole = (Path(f"/proc/{process}/{name}").read_text() for name in ("status", "smaps_rollup"))
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak is not None
    assert int(peak[1]) / 1024 < MOST_MIB
    assert re.search(r"LazyFree:\s+0 kB", whole), "Polars' allocator holds what no page needs any more"
