"""What watching costs: the server's throughput beside a monitor, a window, a year of windows read back.

One worker on core 0 is asked as fast as it can, in turns without and with a monitor (at the low priority that ``up``
gives it, on whichever core) that reads its figures and judges windows of ``--window-s`` seconds. Then one is judged
again, and a year of hourly windows is written and read back.

    python benchmarks/watching.py
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import polars as pl

import roadworthy as rw
from load import load
from load_projects import mlp_project, request_of
from result import Result, add_results_option, middle
from roadworthy import assembly
from roadworthy.adapters.prediction_log import read_log
from roadworthy.lifecycle import watching
from roadworthy.lifecycle.transactions import Transactions
from soak import served

FULL_SECONDS, FULL_TURNS = 10.0, 6
YEAR = 24 * 365
_CONNECTIONS = 16
_WATCH = "import os, sys, roadworthy as rw; os.nice(5); rw.watch(sys.argv[1], servers=[sys.argv[2]])"


def asked_with(
    port: int, requests: list[bytes], project: Path, seconds: float, *, monitor: bool
) -> tuple[float, float]:
    """Answers a second, and the processor seconds a second that a monitor beside used."""
    if not monitor:
        return load(port, requests, connections=_CONNECTIONS, seconds=seconds).rate(skip_s=seconds / 5), 0.0
    words = [sys.executable, "-c", _WATCH, str(project), f"http://127.0.0.1:{port}"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        time.sleep(3.0)  # it has started, and has judged what there was
        before = _processor_s(process.pid)
        begun = time.monotonic()
        rate = load(port, requests, connections=_CONNECTIONS, seconds=seconds).rate(skip_s=seconds / 5)
        used = (_processor_s(process.pid) - before) / (time.monotonic() - begun)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    return rate, used


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def beside_a_server(project: Path, rows: list[dict[str, Any]], asked_for: Any, result: Result) -> None:
    """Throughput in turns."""
    requests = [request_of(row) for row in rows]
    alone, watched, used = [], [], []
    with served(project, 1) as server:
        os.sched_setaffinity(server.pid, {0})
        load(server.port, requests, connections=_CONNECTIONS, seconds=min(2.0, asked_for.seconds))
        for _ in range(asked_for.turns):
            alone.append(asked_with(server.port, requests, project, asked_for.seconds, monitor=False)[0])
            rate, share = asked_with(server.port, requests, project, asked_for.seconds, monitor=True)
            watched.append(rate)
            used.append(share)
    lost = 1 - median(w / a for w, a in zip(watched, alone, strict=True))
    result.table(
        ["what", "figure"],
        [
            ["answers a second alone", middle(alone, 0)],
            ["answers a second while watched", middle(watched, 0)],
            ["processor of the monitor, of one core", middle([100 * share for share in used], 1) + " %"],
        ],
    )
    result.target("throughput that watching costs", "5 %", f"{100 * lost:.1f} %", met=lost < 0.05)


def windows_read(project: Path, result: Result) -> None:
    """One window again and again, and a year of them."""
    found = rw.windows(project=project, most=10_000).windows
    largest = max(found, key=lambda one: one.rows)
    begun = time.perf_counter()
    view = rw.windows(largest.number, again=True, project=project)
    again_s = time.perf_counter() - begun
    judged = view.revisions[-1]
    opened = assembly.open_project(project)
    transactions = Transactions(opened.settings.registry)
    series = "1 h"
    with transactions.changing() as connection:
        for number in range(YEAR):
            window = msgspec.structs.replace(judged.window, series=series, number=number)
            summary = msgspec.structs.replace(largest, number=number)
            watching.add(connection, msgspec.structs.replace(judged, window=window, revision=0), summary, None)
    times = []
    for _ in range(7):
        begun = time.perf_counter()
        with transactions.reading() as connection:
            count = len(watching.summaries(connection, opened.spec.name, series))
        times.append(time.perf_counter() - begun)
    transactions.close()
    log = read_log(opened.settings.lake).select(pl.len()).collect().item()
    result.table(
        ["what", "figure"],
        [
            ["rows in the log, windows judged", f"{log:,}, {len(found):,}"],
            [f"a window of {largest.rows:,} rows judged again, with opening everything", f"{again_s:.2f} s"],
            [f"{count:,} windows read back", middle([1e3 * one for one in times], 0) + " ms"],
        ],
    )
    result.target(
        "a year of hourly windows read back", "200 ms", f"{1e3 * median(times):.0f} ms", met=median(times) < 0.2
    )


def main() -> int:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=FULL_SECONDS, help="of each turn")
    parser.add_argument("--turns", type=int, default=FULL_TURNS)
    parser.add_argument("--window-s", type=int, default=5)
    add_results_option(parser)
    asked_for = parser.parse_args()
    full = asked_for.seconds >= FULL_SECONDS and asked_for.turns >= FULL_TURNS
    result = Result("watching", "What watching costs", full)
    with tempfile.TemporaryDirectory() as folder_name:
        project = Path(folder_name) / "project"
        rows = mlp_project(project)
        file = project / "roadworthy.toml"
        file.write_text(file.read_text() + f'\n[monitor]\nwindow = "{asked_for.window_s} s"\nsettle_s = 1.0\n')
        beside_a_server(project, rows, asked_for, result)
        rw.watch(project, once=True)
        windows_read(project, result)
    return result.finish(asked_for.results)


if __name__ == "__main__":
    sys.exit(main())
