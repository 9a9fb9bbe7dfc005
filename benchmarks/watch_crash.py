"""The monitor is killed at random while traffic flows: what is skipped, judged twice, or told to nobody.

A server answers a steady stream of rows, of which a column moves away half way; labels follow, most of them late, some
twice. A monitor that judges windows of ``--window`` rows and tells a receiver on this machine is killed (SIGKILL)
``--kills`` times, at random instants, and started again. In the end windows are judged again from what was known then,
and a second monitor judges the same log without being killed: the same numbers, the same alarms about data (those
about quality depend on which labels had come). Every message must have its key, and every one in the outbox must have
come.

    python benchmarks/watch_crash.py --kills 100
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import roadworthy as rw
from load_projects import mlp_project
from result import Result, add_results_option
from roadworthy.adapters.prediction_log import read_log
from roadworthy.lifecycle import watching
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.records.window import Judged

FULL_KILLS = 100
AGAIN = 100
_WATCH = "import sys, roadworthy as rw; rw.watch(sys.argv[1], poll_s=0.2)"
_SERVE = "import sys, roadworthy as rw; rw.serve(sys.argv[1], port=0, ready=lambda one: print(one.address, flush=True))"


class Receiver(BaseHTTPRequestHandler):
    """Takes messages, and counts them by their key."""

    keys: ClassVar[Counter[str]] = Counter()
    without = 0

    def do_POST(self) -> None:
        """One message."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        key = self.headers.get("Idempotency-Key") or body.get("idempotency_key", "")
        Receiver.keys[key] += 1
        Receiver.without += not key
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing is said."""


@contextmanager
def receiving() -> Iterator[str]:
    """The address of a receiver."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"json://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving(project: Path) -> Iterator[str]:
    """The address of a server of the project."""
    with subprocess.Popen([sys.executable, "-c", _SERVE, str(project)], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.terminate()
            process.wait(30)


class Traffic(threading.Thread):
    """Asks at a steady rate until it is told to end, and tells labels of what it asked."""

    def __init__(self, address: str, rows: list[dict[str, Any]], rate: float, moves_after: int) -> None:
        super().__init__(daemon=True)
        self.address, self.rows, self.rate, self.moves_after = address, rows, rate, moves_after
        self.ending = threading.Event()
        self.asked = 0
        self.broke = ""

    def run(self) -> None:
        """Ask and tell."""
        try:
            with rw.Client(self.address) as client:
                self._ask(client)
        except Exception as error:  # noqa: BLE001 - told at the end, in the main thread
            self.broke = f"{type(error).__name__}: {error}"

    def _ask(self, client: rw.Client) -> None:
        waiting: list[dict[str, Any]] = []
        begun, chance = time.monotonic(), random.Random(3)  # noqa: S311 - what is asked, no secret
        while not self.ending.is_set():
            row = dict(chance.choice(self.rows))
            if self.asked >= self.moves_after:
                row["x0"] += 3.0
            served = client.predict(row)
            waiting.append({"id": served.id, "label": served.decisions[0] if chance.random() < 0.9 else "0"})
            self.asked += 1
            if len(waiting) == 600:
                client.feedback(waiting[:300] + waiting[:10])
                waiting = waiting[300:]
            time.sleep(max(0.0, begun + self.asked / self.rate - time.monotonic()))


def watched(project: Path) -> subprocess.Popen[bytes]:
    """A monitor in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", _WATCH, str(project)], stderr=subprocess.PIPE)


def killed(project: Path, kills: int, chance: random.Random) -> list[str]:
    """Start, kill, start again; what the monitors wrote to standard error."""
    said: list[str] = []
    for place in range(kills):
        process = watched(project)
        time.sleep(chance.uniform(1.0, 3.0))
        process.send_signal(signal.SIGKILL)
        said.append(process.communicate()[1].decode())
        if place % 20 == 19:
            print(f"{place + 1} of {kills} kills", file=sys.stderr, flush=True)
    return [text for text in said if text]


def all_windows(registry: str, name: str, series: str) -> list[Judged]:
    """Every revision of every window."""
    transactions = Transactions(registry)
    with transactions.reading() as connection:
        numbers = [one.number for one in watching.summaries(connection, name, series)]
        found = [one for number in numbers for one in watching.revisions(connection, name, series, number)]
    transactions.close()
    return found


def otherwise(project: Path, numbers: list[int]) -> int:
    """How many of some windows, drawn at random, come out otherwise when they are judged again."""
    drawn = random.Random(5).sample(numbers, min(len(numbers), AGAIN))  # noqa: S311 - which are looked at, no secret
    return sum(not rw.windows(number, again=True, project=project).same for number in drawn)


def alarmed(database: Path) -> list[tuple[str, str]]:
    """Rule and window of each alarm about data that the alerts heard of."""
    with sqlite3.connect(database) as connection:
        found = connection.execute(
            "select rule, source from alert_events join alerts using (project, number) where what = 'alarm'"
        ).fetchall()
    return sorted((rule, source) for rule, source in found if rule.startswith(("drift:", "missing:", "new:", "skew")))


def compared(folder: Path, result: Result, kills: int, said: list[str], traffic: Traffic) -> None:
    """The killed monitor beside one that was left alone."""
    project, series = folder / "project", traffic_series(folder)
    home = project / ".roadworthy"
    database = home / "registry.db"
    rw.watch(project, once=True)
    found = all_windows(f"sqlite:///{database}", "cheap", series)
    with sqlite3.connect(database) as connection:
        outbox = connection.execute("select key, state from notifications").fetchall()
    kept_alarms, came = alarmed(database), Counter(Receiver.keys)
    differ = otherwise(project, [one.window.number for one in found if one.revision == 0])
    shutil.move(database, home / "killed.db")
    shutil.copy(folder / "before.db", database)
    rw.watch(project, once=True)
    alone = [one for one in all_windows(f"sqlite:///{database}", "cheap", series) if one.revision == 0]
    first = [one for one in found if one.revision == 0]
    size = int(series.split()[0])
    log = read_log(home / "lake").collect()
    moved = sum(one.shifts != other.shifts for one, other in zip(first, alone, strict=False))
    gaps = [one.window.number for one in first] != list(range(len(first)))
    placed = log.height // size - len(first)
    twice = len(found) - len({(one.window.number, one.revision) for one in found})
    missing = sorted(set(kept_alarms) ^ set(alarmed(database)))
    lost = [key for key, state in outbox if state != "sent" or not came[key]]
    result.table(
        ["what", "figure"],
        [
            ["kills", kills],
            ["rows asked and logged", f"{traffic.asked:,} / {log.height:,}"],
            ["windows judged, revisions of them", f"{len(first):,}, {len(found) - len(first):,}"],
            ["alarms heard, messages", f"{len(kept_alarms):,}, {len(outbox):,}"],
            ["messages that came more than once, under their key", sum(n > 1 for n in came.values())],
        ],
    )
    result.target("windows skipped", "0", str(placed + gaps), met=placed == 0 and not gaps)
    result.target("windows judged twice", "0", str(twice), met=twice == 0)
    result.target(f"of {AGAIN} windows those that come out otherwise again", "0", str(differ), met=differ == 0)
    result.target("windows whose comparisons an undisturbed monitor finds otherwise", "0", str(moved), met=moved == 0)
    result.target("alarms of one monitor and not of the other", "0", str(len(missing)), met=not missing)
    result.target("messages lost", "0", str(len(lost)), met=not lost and bool(outbox))
    result.target("messages without a key", "0", str(Receiver.without), met=Receiver.without == 0)
    if said:
        result.say("", "What the monitors said before they were killed:", *sorted({line[:200] for line in said})[:5])


def traffic_series(folder: Path) -> str:
    """The name of the windows."""
    return (folder / "series.txt").read_text()


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=FULL_KILLS)
    parser.add_argument("--rate", type=float, default=150.0, help="rows a second")
    parser.add_argument("--window", type=int, default=100, help="rows in a window")
    parser.add_argument("--seed", type=int, default=11)
    add_results_option(parser)
    asked_for = parser.parse_args()
    result = Result("watch_crash", "The monitor killed at random while traffic flows", asked_for.kills >= FULL_KILLS)
    with tempfile.TemporaryDirectory() as folder_name, receiving() as receiver:
        folder = Path(folder_name)
        rows = mlp_project(folder / "project")
        file = folder / "project" / "roadworthy.toml"
        tables = f'\n[monitor]\nwindow = "{asked_for.window} rows"\nsettle_s = 1.0\n[alerts]\nnotify = ["{receiver}"]\n'
        file.write_text(file.read_text() + tables)
        (folder / "series.txt").write_text(f"{asked_for.window} rows")
        shutil.copy(folder / "project" / ".roadworthy" / "registry.db", folder / "before.db")
        with serving(folder / "project") as address:
            traffic = Traffic(address, rows, asked_for.rate, int(asked_for.kills * asked_for.rate))
            traffic.start()
            chance = random.Random(asked_for.seed)  # noqa: S311 - when it is killed, no secret
            said = killed(folder / "project", asked_for.kills, chance)
            traffic.ending.set()
            traffic.join(30)
        if traffic.broke:
            raise SystemExit(f"the traffic broke: {traffic.broke}")
        time.sleep(2.5)
        compared(folder, result, asked_for.kills, said, traffic)
    sys.exit(result.finish(asked_for.results))


if __name__ == "__main__":
    main()
