"""How fast the dashboard answers over a long past, what it keeps in memory, and what it costs the server beside it.

A project of ``--columns`` columns, ``--predictions`` predictions, ``--alerts`` alerts and ``--windows`` hourly windows
(``dashboard_site.py``). The first page is asked for as soon as the dashboard listens, then every page ``--rounds``
times. Then a server of one worker on core 0 is asked as fast as it can, in turns without and with a dashboard that two
browsers look at: the live page every five seconds each, another page every two.

    python benchmarks/dashboard.py
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from dashboard_site import Sizes, long_past
from load import load
from load_projects import mlp_project, request_of
from processes import peak_mib
from result import Result, add_results_option, middle
from roadworthy import assembly
from roadworthy.lifecycle import watching
from roadworthy.lifecycle.transactions import Transactions
from soak import served

FULL = Sizes(predictions=1_000_000, columns=500, alerts=1_000, windows=8_760)
FULL_TURNS, FULL_SECONDS = 6, 10.0
_CONNECTIONS = 16


@contextmanager
def shown(project: Path) -> Iterator[tuple[str, int]]:
    """The dashboard of a project: its address and its process."""
    words = [sys.executable, "-m", "roadworthy", "dashboard", "--project", str(project), "--port", "0", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            yield json.loads(process.stdout.readline())["address"], process.pid
        finally:
            process.terminate()
            process.wait(30)


def places(project: Path) -> list[str]:
    """Every kind of page, by its path."""
    opened = assembly.open_project(project)
    transactions = Transactions(opened.settings.registry)
    with transactions.reading() as connection:
        newest = watching.last(connection, opened.spec.name)
    transactions.close()
    if newest is None:
        raise RuntimeError("no window was judged")
    return [
        "/",
        "/score",
        f"/windows/{newest.series}/{newest.number}",
        "/live?span=1h",
        "/data",
        "/data?q=x4&page=2",
        "/data/x001?span=1y",
        "/quality?span=1y",
        "/predictions",
        f"/predictions?id={'1':0>4}{'9':0>12}",
        f"/predictions/{'1':0>4}{'9':0>12}/0",
        "/alerts",
        "/alerts?page=9",
        "/alerts/2",
        "/versions",
        "/versions/1",
        "/runs",
    ]


def pages(project: Path, rounds: int, result: Result) -> None:
    """How long each page takes, and what the process keeps."""
    asked = places(project)
    begun = time.perf_counter()
    with shown(project) as (address, pid), httpx.Client(base_url=address, timeout=120) as client:
        started_s = time.perf_counter() - begun
        first_s = _seconds(client, "/")
        times: dict[str, list[float]] = {place: [] for place in asked}
        cold = {place: _seconds(client, place) for place in asked}
        for _ in range(rounds):
            for place in asked:
                times[place].append(_seconds(client, place))
        peak = peak_mib(pid)
    rows = [[f"`{place}`", f"{cold[place]:.2f}", middle(times[place])] for place in asked]
    result.table(["page", "first time, s", "then, s"], rows)
    others = [one for place in asked for one in (cold[place], *times[place])]
    result.say("", f"From the command until it says its address: {started_s:.1f} s; the first page is made ready then.")
    result.target("first page, just started", "1 s", f"{first_s:.2f} s", met=first_s < 1)
    result.target("any other page, the slowest of all times", "2 s", f"{max(others):.2f} s", met=max(others) < 2)
    result.target("memory at its peak", "500 MiB", f"{peak:.0f} MiB", met=peak < 500)


def _seconds(client: httpx.Client, place: str) -> float:
    begun = time.perf_counter()
    client.get(place).raise_for_status()
    return time.perf_counter() - begun


def beside_a_server(project: Path, rows: Sequence[dict[str, Any]], asked_for: Any, result: Result) -> None:
    """Throughput in turns, without and with a dashboard that is looked at."""
    requests = [request_of(row) for row in rows]
    alone, looked = [], []
    with served(project, 1) as server:
        os.sched_setaffinity(server.pid, {0})
        load(server.port, requests, connections=_CONNECTIONS, seconds=min(2.0, asked_for.seconds))
        for _ in range(asked_for.turns):
            alone.append(_rate(server.port, requests, asked_for.seconds))
            with shown(project) as (address, pid):
                os.setpriority(os.PRIO_PROCESS, pid, 5)  # as ``up`` does
                with looking(address):
                    looked.append(_rate(server.port, requests, asked_for.seconds))
    lost = 1 - median(two / one for one, two in zip(alone, looked, strict=True))
    result.table(
        ["what", "figure"],
        [
            ["answers a second alone", middle(alone, 0)],
            ["answers a second beside a dashboard", middle(looked, 0)],
        ],
    )
    result.target("throughput that looking costs", "5 %", f"{100 * lost:.1f} %", met=lost < 0.05)


def _rate(port: int, requests: list[bytes], seconds: float) -> float:
    return load(port, requests, connections=_CONNECTIONS, seconds=seconds).rate(skip_s=seconds / 5)


@contextmanager
def looking(address: str) -> Iterator[None]:
    """Two browsers."""
    ending = threading.Event()
    with httpx.Client(base_url=address, timeout=60) as client:
        for place in ("/", "/live"):
            client.get(place).raise_for_status()  # it has started

        def look(every: Sequence[str], pause_s: float) -> None:
            for place in itertools.cycle(every):
                client.get(place).raise_for_status()
                if ending.wait(pause_s):
                    return

        others = ["/", "/data", "/quality", "/alerts", "/predictions", "/versions"]
        threads = [
            threading.Thread(target=look, args=words) for words in ((["/live"], 5.0), (["/live"], 5.0), (others, 2.0))
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ending.set()
            for thread in threads:
                thread.join()


def main() -> int:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("predictions", "columns", "alerts", "windows"):
        parser.add_argument(f"--{name}", type=int, default=getattr(FULL, name))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turns", type=int, default=FULL_TURNS)
    parser.add_argument("--seconds", type=float, default=FULL_SECONDS, help="of each turn")
    parser.add_argument("--site", type=Path, help="a project that was made before, in place of a fresh one")
    add_results_option(parser)
    asked_for = parser.parse_args()
    sizes = Sizes(asked_for.predictions, asked_for.columns, asked_for.alerts, asked_for.windows)
    full = sizes == FULL and asked_for.turns >= FULL_TURNS and asked_for.seconds >= FULL_SECONDS
    result = Result("dashboard", "The dashboard over a long past", full)
    result.say(
        f"{sizes.predictions:,} predictions, {sizes.columns} columns, {sizes.alerts:,} alerts, "
        f"{sizes.windows:,} windows."
    )
    with tempfile.TemporaryDirectory() as folder_name:
        site = asked_for.site or Path(folder_name) / "long"
        if asked_for.site is None:
            long_past(site, sizes)
        pages(site, asked_for.rounds, result)
        project = Path(folder_name) / "served"
        rows = mlp_project(project)
        beside_a_server(project, rows, asked_for, result)
    return result.finish(asked_for.results)


if __name__ == "__main__":
    sys.exit(main())
