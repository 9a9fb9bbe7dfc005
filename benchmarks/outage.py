"""Registry and lake are gone for a minute: what callers see, what is told, and how soon everything has caught up.

A server of two workers is asked at a steady rate, one row a request. Registry and lake are moved away, and come
back after ``--seconds``; a promotion follows at once. Nothing may fail, nothing may be lost. Measured are the moments
at which ``/readyz`` said what was wrong, at which the promoted version answered, and at which there was nothing to warn
of any more. At the end every answer is looked for in the log.

    python benchmarks/outage.py --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from result import Result, add_results_option
from roadworthy.adapters.prediction_log import read_log
from soak import Server, made_project, promote, served
from soak_requests import Mixture, answered

FULL_S = 60.0
CATCH_UP_S = 15.0
_PATIENCE_S = 60.0


@dataclass
class Seen:
    """What became of the requests: statuses, the identity of each answer, when the first one of version 2 came."""

    statuses: Counter[int] = field(default_factory=Counter)
    ids: list[str] = field(default_factory=list)
    second_at: float = float("nan")
    slowest_s: float = 0.0
    stopped: bool = False


async def asks(port: int, mixture: Mixture, rate: float, callers: int, seen: Seen) -> None:
    """A steady rate, shared by callers that each wait for their answer."""
    begun = time.monotonic()
    slots = (at / rate for at in range(int(1e9)))

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for due in slots:
            await asyncio.sleep(max(begun + due - time.monotonic(), 0))
            if seen.stopped:
                break
            sent = time.monotonic()
            writer.write(mixture.one_row().request)
            status, body, _ = await answered(reader)
            seen.slowest_s = max(seen.slowest_s, time.monotonic() - sent)
            seen.statuses[status] += 1
            if status == 200:
                found = json.loads(body)
                seen.ids.append(found["id"])
                if found["version"].endswith("-2") and seen.second_at != seen.second_at:
                    seen.second_at = time.monotonic()
        writer.close()

    await asyncio.gather(*(caller() for _ in range(callers)))


def warnings(port: int) -> str:
    """What /readyz warns of."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return "; ".join(json.loads(connection.getresponse().read()).get("warnings", []))
    finally:
        connection.close()


async def until(port: int, true: Callable[[str], bool]) -> float:
    """The moment at which the warnings are so. Raises TimeoutError after a minute."""
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        if true(await asyncio.to_thread(warnings, port)):
            return time.monotonic()
        await asyncio.sleep(0.05)
    raise TimeoutError(await asyncio.to_thread(warnings, port))


async def outage(server: Server, mixture: Mixture, asked_for: Any, away: Path) -> tuple[Seen, dict[str, float]]:
    """Gone, told, back, caught up: what was seen meanwhile, and how many seconds each took."""
    seen, state = Seen(), server.project.folder / ".roadworthy"
    load = asyncio.create_task(asks(server.port, mixture, asked_for.rate, 8, seen))
    await asyncio.sleep(2)
    moved = [state / "lake", *state.glob("registry.db*")]
    for one in moved:
        shutil.move(one, away)
    gone = time.monotonic()
    told = await until(server.port, lambda text: "registry" in text and "log cannot be written" in text)
    await asyncio.sleep(max(gone + asked_for.seconds - time.monotonic(), 0))
    for one in moved:
        shutil.move(away / one.name, state)
    back = time.monotonic()
    await asyncio.to_thread(promote, server.project, 2)
    well = await until(server.port, lambda text: not text)
    while seen.second_at != seen.second_at and time.monotonic() < back + _PATIENCE_S:
        await asyncio.sleep(0.02)
    seen.stopped = True
    await load
    return seen, {
        "gone": back - gone,
        "told after": told - gone,
        "promoted version answers after": seen.second_at - back,
        "nothing to warn of after": well - back,
        "slowest answer": seen.slowest_s,
    }


def arguments() -> Any:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=FULL_S)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--rows", type=int, default=4_000, help="rows that the versions are made of")
    parser.add_argument("--folder", type=Path, help="where the project lies meanwhile; a temporary one by default")
    add_results_option(parser)
    return parser.parse_args()


def main() -> int:
    """The outage, then the log."""
    asked_for = arguments()
    result = Result("outage", "Registry and lake gone for a minute", full=asked_for.seconds >= FULL_S)
    if asked_for.folder is not None:
        asked_for.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="roadworthy-outage-", dir=asked_for.folder) as temporary:
        folder, away = Path(temporary) / "clicks", Path(temporary) / "away"
        away.mkdir()
        rows = made_project(folder, asked_for.rows, 2)
        with served(folder, 2) as server:
            mixture = Mixture(server.port, rows, random.Random(1))  # noqa: S311 - which row is asked about
            seen, took = asyncio.run(outage(server, mixture, asked_for, away))
        logged = set(read_log(folder / ".roadworthy" / "lake").collect()["id"].to_list())
    result.say(f"{asked_for.rate:g} requests a second, 2 workers; registry (SQLite) and lake moved away together.")
    result.table(("what", "seconds"), [(what, f"{seconds:.2f}") for what, seconds in took.items()])
    failed = sum(count for status, count in seen.statuses.items() if status != 200)
    lost = len(set(seen.ids) - logged)
    caught_up = max(took["promoted version answers after"], took["nothing to warn of after"])
    asked = seen.statuses.total()
    result.target("requests that failed", "0", f"{failed} of {asked:,}", met=not failed)
    result.target("answers that the log lacks", "0", f"{lost} of {len(seen.ids):,}", met=not lost)
    result.target("caught up after", f"<= {CATCH_UP_S:g} s", f"{caught_up:.2f} s", met=caught_up <= CATCH_UP_S)
    return result.finish(asked_for.results)


if __name__ == "__main__":
    sys.exit(main())
