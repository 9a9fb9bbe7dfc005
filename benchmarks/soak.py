"""Mixed load for minutes: whether the memory of a server stays flat, and everything is answered as it should be.

A project with versions that take turns as champion, a server of several workers with everything on, and callers at a
steady rate: predictions of 1 and of 100 rows, the Open Inference Protocol in JSON and in binary form, feedback, events
where the server takes them, figures, and requests that are wrong in many ways. Every second the resident memory, the
threads and the file handles of all its processes are read.

What counts is the slope of the whole server's memory after the warm-up, with an interval: the series is cut into
twenty blocks, a line is laid through their medians, and its interval (95 %, Student's t) is widened by what
neighbouring blocks still have in common. *Flat* means that even at the interval's upper end the memory would have grown
by less than 2 % in the time that was looked at; a series that says little is never called flat. A longer run sees
smaller leaks.

    python benchmarks/soak.py --minutes 10
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import median_high, median_low
from types import ModuleType
from typing import Any

import numpy as np
from scipy.stats import t as student

import roadworthy as rw
from result import Result, add_results_option
from roadworthy import assembly
from soak_requests import Mixture, answered, plain

EXAMPLE = Path(__file__).parent.parent / "examples" / "clicks"
MOST_GROWTH = 0.02
"""Growth after the warm-up, as a part of what is resident, that still counts as flat."""

FULL_MINUTES = 10.0
WARM = 0.3
"""The part of the time that warms: allocators and caches reach their size."""

BLOCKS = 20
FEWEST_S = 10.0
COMES_AND_GOES = "tokio-rt-worker"
"""Polars' own threads for files. Every swap reads some, and one that is idle ends after ten seconds: no leak."""
VARIANTS = (("logistic", 7), ("mlp", 7), ("mlp", 8))


# --- figures ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slope:
    """MiB a minute: the line through the block medians, and the ends of its 95 % interval."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def slope(seconds: Sequence[float], mib: Sequence[float]) -> Slope:
    """The slope of a series whose neighbours resemble each other. Needs eight points, better forty.

    >>> slope(range(600), [100 + second / 60 for second in range(600)]).middle.__round__(6)
    1.0
    """
    blocks = max(min(BLOCKS, len(mib) // 2), 4)
    at = np.array([np.mean(block) for block in np.array_split(np.asarray(seconds) / 60, blocks)])
    values = np.array([np.median(block) for block in np.array_split(np.asarray(mib, dtype=float), blocks)])
    centred = at - at.mean()
    middle = float(centred @ values / (centred @ centred))
    rest = values - values.mean() - middle * centred
    spread = float(rest @ rest)
    alike = float(rest[1:] @ rest[:-1]) / spread if spread > 0 else 0.0
    alike = min(max(alike + 3 / blocks, 0.0), 0.9)  # short series show less of it than there is
    error = (spread / (blocks - 2) / (centred @ centred) * (1 + alike) / (1 - alike)) ** 0.5
    reach = float(student.ppf(0.975, blocks - 2) * error)
    return Slope(middle, middle - reach, middle + reach)


@dataclass
class Process:
    """What one process of the server had, second by second."""

    title: str
    mib: list[float] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    handles: list[int] = field(default_factory=list)


def thread_names(pid: int) -> Iterator[str]:
    """What the threads of a process are called, as the system knows them."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            yield (task / "comm").read_text(encoding="utf-8", errors="replace").strip()


class Watch:
    """Reads the processes of a server, the first of which is its parent, until it is told to stop."""

    def __init__(self, pid: int) -> None:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        self._pids = [pid, *map(int, children)]
        self.seconds: list[float] = []
        titles = ["server"] if not children else ["parent", *(f"worker {at}" for at in range(len(children)))]
        self.processes = [Process(title) for title in titles]
        self.stopped = False

    async def run(self) -> None:
        """Once a second. Raises FileNotFoundError where a process is gone: none may go."""
        begun = time.monotonic()
        while not self.stopped:
            self.seconds.append(time.monotonic() - begun)
            for pid, process in zip(self._pids, self.processes, strict=True):
                status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
                found = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
                process.mib.append(int(found["VmRSS"].split()[0]) / 1024)
                process.threads.append(sum(name != COMES_AND_GOES for name in thread_names(pid)))
                process.handles.append(len(list(Path(f"/proc/{pid}/fd").iterdir())))
            await asyncio.sleep(1.0 - (time.monotonic() - begun) % 1.0)

    def whole(self) -> list[float]:
        """MiB of all processes together, second by second."""
        return [sum(at) for at in zip(*(process.mib for process in self.processes), strict=True)]


# --- the load ---------------------------------------------------------------------------------------------------------


@dataclass
class Told:
    """What became of the requests: how many of each kind, and those that were not answered as they should be."""

    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)


async def callers(port: int, mixture: Mixture, *, rate: float, callers: int, until: float, told: Told) -> None:
    """A steady rate, shared by callers that each wait for their answer."""
    slots = (at / rate for at in range(int(1e9)))
    begun = time.monotonic()

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for due in slots:
            if (wait := begun + due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            if time.monotonic() >= until:
                break
            asked = mixture.next()
            writer.write(asked.request)
            status, body, ends = await answered(reader)
            told.kinds[asked.kind] += 1
            if status not in asked.expected:
                told.wrong.append(f"{asked.kind}: {status} {body[:200]!r}")
            elif found := re.search(rb'"id":"([^"]+)".*?"version":"([^"]+)"', body[:200]):
                told.versions[found[2].decode()] += 1
                mixture.known(found[1].decode())
            if ends:
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    await asyncio.gather(*(caller() for _ in range(callers)))


async def swaps(project: assembly.Project, numbers: Sequence[int], every_s: float, until: float) -> int:
    """The versions take turns as champion; how often one took over."""
    count = 0
    for number in cycle([*numbers[1:], *numbers[:1]]):
        await asyncio.sleep(min(every_s, max(until - time.monotonic(), 0)))
        if time.monotonic() >= until:
            return count
        await asyncio.to_thread(promote, project, number)
        count += 1
    return count


def promote(project: assembly.Project, number: int) -> None:
    """Makes a version the champion."""
    with assembly.opened_registry(project) as registry:
        registry.promote(project.spec.name, number)


async def soaked(server: Server, mixture: Mixture, asked_for: Any) -> tuple[Watch, Told, int]:
    """The whole time: load, swaps, and somebody who watches."""
    told, watch = Told(), Watch(server.pid)
    until = time.monotonic() + asked_for.minutes * 60
    numbers = list(range(1, asked_for.versions + 1))
    watching = asyncio.create_task(watch.run())
    taking_turns = asyncio.create_task(swaps(server.project, numbers, asked_for.swap_s, until))
    await callers(server.port, mixture, rate=asked_for.rate, callers=asked_for.callers, until=until, told=told)
    count = await taking_turns
    watch.stopped = True
    await watching
    return watch, told, count


# --- project and server -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers."""

    project: assembly.Project
    port: int
    pid: int


def example() -> ModuleType:
    """How the example makes its data."""
    spec = importlib.util.spec_from_file_location("prepare_clicks", EXAMPLE / "prepare.py")
    assert spec is not None  # noqa: S101 - it stands beside this
    assert spec.loader is not None  # noqa: S101 - as above
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made_project(folder: Path, rows: int, versions: int) -> list[dict[str, Any]]:
    """A project with so many versions, the first of them champion; some of its rows, as a caller writes them."""
    (folder / "data").mkdir(parents=True)
    frame = example().make_clicks(rows)
    frame.write_parquet(folder / "data" / "clicks.parquet")
    text = (EXAMPLE / "roadworthy.toml").read_text(encoding="utf-8")
    head, _, _ = text.partition("[standard]")
    for name, seed in VARIANTS[:versions]:
        own = head.replace('["logistic", "mlp", "gbdt"]\nseed = 7', f'["{name}"]\nfolds = 2\nseed = {seed}')
        (folder / "roadworthy.toml").write_text(f'{own}[standard]\nextends = "none"\naccuracy = ">= 0.6"\n')
        rw.run(folder)
    rw.promote(1, folder)
    kept = frame.drop_nulls().drop("converted").head(200)
    return [plain(row) for row in kept.iter_rows(named=True)]


@contextmanager
def served(folder: Path, workers: int) -> Iterator[Server]:
    """A server of the project, ended as a person would end it."""
    words = ["serve", "--project", str(folder), "--port", "0", "--workers", str(workers), "--grace", "0", "--json"]
    with subprocess.Popen([sys.executable, "-m", "roadworthy", *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            said = json.loads(process.stdout.readline())
            yield Server(assembly.open_project(folder), int(said["address"].rpartition(":")[2]), said["pid"])
        finally:
            process.terminate()
            code = process.wait(60)
    if code:
        raise RuntimeError(f"the server ended with code {code}")


# --- the table --------------------------------------------------------------------------------------------------------


def tell(result: Result, watch: Watch, told: Told, count: int, asked_for: Any) -> None:
    """Tables and targets."""
    first = int(len(watch.seconds) * WARM)
    seconds, whole = watch.seconds[first:], watch.whole()[first:]
    rows: list[tuple[str, list[float], Callable[[], tuple[str, str]]]] = [
        (one.title, one.mib[first:], lambda one=one: (span(one.threads[first:]), span(one.handles[first:])))  # type: ignore[misc]  # each its own
        for one in watch.processes
    ]
    rows.append(("all", whole, lambda: ("", "")))
    result.table(
        ("process", "MiB, first to last", "most MiB", "MiB a minute (95 %)", "threads", "file handles"),
        [
            (title, f"{mib[0]:.1f} to {mib[-1]:.1f}", f"{max(mib):.1f}", slope(seconds, mib), *more())
            for title, mib, more in rows
        ],
    )
    result.table(("requests", "how many"), [*sorted(told.kinds.items()), ("swaps", count)])
    found, middle = slope(seconds, whole), float(np.median(whole))
    bound = MOST_GROWTH * middle / ((seconds[-1] - seconds[0]) / 60)
    word = "flat" if found.high <= bound else "grows" if found.low > 0 else "not proven either way"
    said = word if result.full else "not judged, after so short a time"
    result.say("", f"After the warm-up ({seconds[0]:.0f} s) the memory of the whole server is: **{said}**.")
    result.target(
        "memory of all processes", f"upper end <= {bound:+.3f} MiB/min (2 % in all)", str(found), met=word == "flat"
    )
    for name in ("threads", "handles"):
        grown = [more(getattr(one, name)[first:]) for one in watch.processes]
        wanted = "no more at the end than before"
        result.target(name, wanted, ", ".join(f"{one:+d}" for one in grown), met=max(grown) <= 0)
    result.target("answers that were not as they should be", "0", str(len(told.wrong)), met=not told.wrong)
    every = len(told.versions) == asked_for.versions
    result.target("versions that answered", str(asked_for.versions), str(len(told.versions)), met=every)
    for line in told.wrong[:10]:
        result.say(f"- {line}")


def span(values: Sequence[int]) -> str:
    """Least and most."""
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"


def more(values: Sequence[int]) -> int:
    """How many more there were in the last quarter than in the first, most of the time.

    Not at the most: a look at the registry takes a thread and three handles for an instant, and a spool that becomes
    Parquet a handle, so that the most depends on which instants the seconds fall on. What leaks stays.

    >>> more([18, 18, 21, 18] * 5), more([*[18] * 12, *[19, 19, 21, 19]])
    (0, 1)
    """
    quarter = max(len(values) // 4, 1)
    return median_high(values[-quarter:]) - median_low(values[:quarter])


def arguments() -> Any:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=FULL_MINUTES)
    parser.add_argument("--rate", type=float, default=250.0, help="requests a second, all callers together")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--versions", type=int, default=len(VARIANTS), choices=range(2, len(VARIANTS) + 1))
    parser.add_argument("--swap-s", type=float, default=10.0, help="seconds from one champion to the next")
    parser.add_argument("--rows", type=int, default=4_000, help="rows that the versions are made of")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the project lies meanwhile; a temporary one by default")
    add_results_option(parser)
    found = parser.parse_args()
    if found.minutes * 60 * (1 - WARM) < FEWEST_S:
        parser.error(f"--minutes: at least {FEWEST_S / (1 - WARM) / 60:.2f}, or there is no slope to speak of")
    return found


def main() -> int:
    """Makes the project, serves it, asks for as long as it was told to, and judges."""
    asked_for = arguments()
    result = Result("soak", "Mixed load for minutes", full=asked_for.minutes >= FULL_MINUTES)
    if asked_for.folder is not None:
        asked_for.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="roadworthy-soak-", dir=asked_for.folder) as temporary:
        folder = Path(temporary) / "clicks"
        rows = made_project(folder, asked_for.rows, asked_for.versions)
        with served(folder, asked_for.workers) as server:
            mixture = Mixture(server.port, rows, random.Random(asked_for.seed))  # noqa: S311 - a mixture of requests
            result.say(
                f"{asked_for.minutes:g} minutes, {asked_for.rate:g} requests a second, {asked_for.workers} workers",
                "with prediction log, feedback, metrics and contract on, a personal entity, a feature of the past;",
                f"a swap every {asked_for.swap_s:g} s among {asked_for.versions} versions. {mixture.said}",
            )
            watch, told, count = asyncio.run(soaked(server, mixture, asked_for))
    tell(result, watch, told, count, asked_for)
    return result.finish(asked_for.results)


if __name__ == "__main__":
    sys.exit(main())
