"""A worker that is killed while it has its hands full: the others go on, it comes back, and no promise is broken."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from roadworthy import assembly
from roadworthy.adapters.prediction_log import read_feedback, read_log

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CONNECTIONS, LABELS, SECONDS, KILLS = 16, 12_000, 7.0, 3

Start = Callable[..., Any]


@pytest.fixture(scope="module")
def load() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("load").load
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_acknowledged_labels_outlive_workers_that_are_killed(pair: Path, serving: Start, load: Any, post: Any) -> None:
    row = post("/predict", {"row": {"a": 0.1, "b": 0.2, "c": 0.3}})
    ids = [f"{number:026x}" for number in range(LABELS)]
    asked = [one for id_ in ids for one in (post("/feedback", {"id": id_, "label": str(int(id_, 16) % 2)}), row)]
    server = serving(pair, "--workers", "2")
    with ThreadPoolExecutor(1) as beside:
        loading = beside.submit(load, server.port, asked, connections=CONNECTIONS, seconds=SECONDS)
        killed = [kill(server, number % 2) for number in range(KILLS)]
        seen = loading.result(60)
    assert server.end() == 0
    assert set(seen.statuses) <= {0, 200, 202, 429}, seen.statuses
    assert seen.statuses.get(0, 0) <= KILLS * CONNECTIONS, "only what the killed had in their hands"
    acknowledged = {ids[which // 2] for which in seen.which[seen.status == 202].tolist()}
    assert len(acknowledged) > 200
    lake = assembly.open_project(pair).settings.lake
    stored = read_feedback(lake).latest
    missing = acknowledged - set(stored.get_column("id").to_list())
    assert not missing, f"{len(missing)} of {len(acknowledged)} acknowledged labels are lost"
    assert all(int(one["id"], 16) % 2 == int(one["label"]) for one in stored.select("id", "label").to_dicts())
    assert read_log(lake).collect().height > 0
    assert server.errors.read_text().count("was ended by SIGKILL") == len(killed)
    assert not list(Path(lake).rglob("*.damaged"))


def kill(server: Any, which: int) -> int:
    """Kills a worker in the middle of its work, and waits until another is in its place."""
    time.sleep(0.6)
    before: list[int] = server.workers()
    os.kill(before[which], signal.SIGKILL)
    end = time.monotonic() + 15
    while time.monotonic() < end and (len(server.workers()) < 2 or before[which] in server.workers()):
        time.sleep(0.05)
    time.sleep(1.0)
    return before[which]
