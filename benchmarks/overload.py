"""More than a server can do: what it still answers, how fast, and what the others are told.

Two models: an MLP of some microseconds, flooded with 1.5 times its capacity, and a graph that takes 5 ms a row, flooded
with 4 times. *Capacity* is the best closed loop, the median of three windows. *Unloaded* is a quarter of it, of
independent callers. A flood is of independent callers, too (Poisson), each counted from the moment he came. The steps
up to 4 times come at equal distances, so that a server which keeps up has no queue at all. Server on core 0, load on
core 1; the generator's own lateness stands in every row, and figures that are not far above it are the generator's.

    python benchmarks/overload.py                      # about 4 minutes, of which 1 makes the projects
    python benchmarks/overload.py --seconds 2 --model mlp
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from load import Floats, Seen, constant, load, poisson
from load_projects import dear_project, mlp_project, request_of
from result import Result, add_results_option

GOODPUT, SLOWER, REFUSED_MS, GROWN_MIB, NORMAL_S = 0.9, 5.0, 20.0, 32.0, 1.0
STEPS = (0.25, 0.5, 0.75, 0.9, 1.0, 1.5, 2.0, 4.0)
BELOW = 0.9
"""Up to this part of capacity latency is not to grow."""

GROWTH = 1.5
"""And this much of the lowest step, and a millisecond, is no growth."""

FULL_S = 8.0
CONNECTIONS = 1_024


@dataclass(frozen=True)
class Model:
    """What is flooded, how much, and over how many connections it is at its best."""

    name: str
    title: str
    make: Callable[[Path], list[dict[str, Any]]]
    times: float
    best: tuple[int, ...]


MODELS = (
    Model("mlp", "the MLP", mlp_project, 1.5, (16, 64)),
    Model("dear", "5 ms a row", dear_project, 4.0, (2, 4)),
)


@dataclass(frozen=True)
class Server:
    """A server that answers. ``requests`` are what it is asked."""

    port: int
    pid: int
    requests: list[bytes]

    def memory_mib(self, what: str = "VmRSS") -> float:
        """Memory as the system counts it; ``VmHWM`` is the most since ``reset``."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(next(line for line in status.splitlines() if line.startswith(what)).split()[1]) / 1024

    def reset(self) -> None:
        """From now on the most is counted anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")

    def asked(self, due_s: Floats) -> Seen:
        """What became of an open loop."""
        return load(self.port, self.requests, connections=CONNECTIONS, due_s=due_s, core=_core())

    def closed(self, connections: int, seconds: float) -> Seen:
        """What became of a closed loop."""
        return load(self.port, self.requests, connections=connections, seconds=seconds, core=_core())


def _core() -> int | None:
    return 1 if len(os.sched_getaffinity(0)) > 1 else None


@contextmanager
def serving(project: Path, rows: list[dict[str, Any]], errors: Path) -> Iterator[Server]:
    """``roadworthy serve`` on core 0, with everything that it does by default."""
    command = [sys.executable, "-m", "roadworthy", "serve", "--project", str(project), "--port", "0", "--json"]
    with (
        errors.open("w") as stream,
        subprocess.Popen([*command, "--grace", "0"], stdout=subprocess.PIPE, stderr=stream, text=True) as process,
    ):
        os.sched_setaffinity(process.pid, {0})  # before it has threads: they come to the same core
        try:
            assert process.stdout is not None  # noqa: S101 - asked for above
            said = json.loads(process.stdout.readline())
            port = int(said["address"].rpartition(":")[2])
            yield Server(port, process.pid, [request_of(row) for row in rows])
        finally:
            process.terminate()
            process.wait(60)


@dataclass(frozen=True)
class Measured:
    """Everything that was seen of one model. Capacity is in requests a second."""

    capacity: float
    unloaded: Seen
    flood: Seen
    after: Seen
    steps: dict[float, Seen]
    before_mib: float
    most_mib: float


def measured(server: Server, model: Model, seconds: float) -> Measured:
    """One model under everything."""
    server.closed(model.best[-1], 1.0)  # warms
    capacity = max(
        median(server.closed(connections, seconds / 4).rate() for _ in range(3)) for connections in model.best
    )
    unloaded = server.asked(poisson(capacity / 4, seconds, seed=1))
    steps = {step: server.asked(constant(capacity * step, seconds / 2)) for step in STEPS}
    before = server.memory_mib()
    server.reset()
    flood = server.asked(poisson(capacity * model.times, seconds, seed=2))
    after = server.asked(poisson(capacity / 4, 3 * NORMAL_S, seed=3))
    return Measured(capacity, unloaded, flood, after, steps, before, server.memory_mib("VmHWM"))


def lines(what: str, seen: Seen, offered: float) -> tuple[object, ...]:
    """One row of the table."""
    others = {status: count for status, count in seen.statuses.items() if status not in {200, 429}}
    return (
        what,
        f"{offered:,.0f}",
        f"{seen.rate():,.0f}",
        f"{seen.latency_ms(0.5):.2f}",
        f"{seen.latency_ms(0.99):.2f}",
        f"{seen.rate(429):,.0f}",
        f"{seen.latency_ms(0.5, 429):.2f}",
        f"{seen.latency_ms(0.99, 429):.2f}",
        others or "",
        f"{seen.late_ms(0.99):.2f}",
    )


HEADER = ("load", "offered/s", "200/s", "p50 ms", "p99 ms", "429/s", "p50 ms", "p99 ms", "others", "late p99 ms")


def judged(result: Result, model: Model, found: Measured) -> None:
    """The lines of the issue."""
    name, flood, unloaded = model.title, found.flood, found.unloaded
    share = flood.rate(skip_s=flood.seconds * 0.1) / found.capacity
    result.target(f"{name}: goodput in the flood", ">= 90 % of capacity", f"{share:.0%}", met=share >= GOODPUT)
    calm, busy = unloaded.latency_ms(0.99), flood.latency_ms(0.99)
    result.target(
        f"{name}: p99 of who is answered",
        "< 5 x unloaded",
        f"{busy:.1f} ms, {busy / calm:.1f} x",
        met=busy < SLOWER * calm,
    )
    rest = {status: count for status, count in flood.statuses.items() if status not in {200, 429}}
    told = flood.retry_after_s[flood.status == 429]
    fair = not rest and not np.isnan(told).any() and bool((told >= 1).all())
    words = f"{len(told):,} refused, {rest or 'nothing else'}"
    result.target(f"{name}: the rest", "429 with Retry-After", words, met=fair)
    refused = flood.latency_ms(0.99, 429)
    result.target(f"{name}: p99 of refusals", "< 20 ms", f"{refused:.1f} ms", met=bool(refused < REFUSED_MS))
    grown = found.most_mib - found.before_mib
    result.target(f"{name}: memory at most", f"+ {GROWN_MIB:.0f} MiB", f"{grown:+.1f} MiB", met=grown <= GROWN_MIB)
    late = found.after.due_s >= NORMAL_S
    normal = found.after.latency_ms(0.99, skip_s=NORMAL_S)
    well = bool((found.after.status[late] == 200).all()) and normal <= 2 * calm + 1
    result.target(f"{name}: a second after the flood", "as unloaded", f"p99 {normal:.1f} ms ({calm:.1f})", met=well)
    medians = {step: seen.latency_ms(0.5) for step, seen in found.steps.items()}
    worst = max(medians[step] for step in STEPS if step <= BELOW)
    result.target(
        f"{name}: steps up to {BELOW:.0%} of capacity",
        f"median <= {GROWTH} x the lowest + 1 ms",
        f"{worst:.2f} ms ({medians[STEPS[0]]:.2f})",
        met=worst <= GROWTH * medians[STEPS[0]] + 1,
    )


def shown(result: Result, model: Model, found: Measured) -> None:
    """The table of one model."""
    result.say("", f"## {model.title}", "", f"Capacity {found.capacity:,.0f} requests a second.")
    rows = [lines("unloaded", found.unloaded, found.capacity / 4)]
    rows += [lines(f"step {step:g} x", seen, found.capacity * step) for step, seen in found.steps.items()]
    rows += [lines(f"flood {model.times:g} x", found.flood, found.capacity * model.times)]
    rows += [lines("after the flood", found.after, found.capacity / 4)]
    result.table(HEADER, rows)


def arguments() -> Any:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=FULL_S, help="of each measurement")
    parser.add_argument("--model", choices=[model.name for model in MODELS], help="only this one")
    parser.add_argument("--projects", type=Path, help="where the projects are kept for another time")
    add_results_option(parser)
    return parser.parse_args()


def main() -> int:
    """Both models, or one."""
    asked_for = arguments()
    full = asked_for.seconds >= FULL_S and asked_for.model is None and _core() is not None
    result = Result("overload", "Overload", full=full)
    result.say("Poisson floods and steps at equal distances; latency from the due moment; one worker, log on.")
    with tempfile.TemporaryDirectory(prefix="roadworthy-overload-") as temporary:
        folder: Path = asked_for.projects or Path(temporary)
        for model in MODELS:
            if asked_for.model not in {None, model.name}:
                continue
            asked = folder / f"{model.name}.json"
            if not asked.exists():
                folder.mkdir(parents=True, exist_ok=True)
                asked.write_text(json.dumps(model.make(folder / model.name)), encoding="utf-8")
            rows = json.loads(asked.read_text(encoding="utf-8"))
            with serving(folder / model.name, rows, folder / f"{model.name}.log") as server:
                found = measured(server, model, asked_for.seconds)
            shown(result, model, found)
            judged(result, model, found)
    return result.finish(asked_for.results)


if __name__ == "__main__":
    sys.exit(main())
