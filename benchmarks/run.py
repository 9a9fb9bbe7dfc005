"""All benchmarks in order, with progress; what ``make bench`` runs.

In: which ones, and whether only to try them (``--quick``: small sizes, nothing judged, nothing kept unless
``--results`` says where). Out: each benchmark's table, ``<results>/<name>.md``, and a summary; exit code 1 when one
broke or missed a target.

    python benchmarks/run.py
    python benchmarks/run.py --quick
    python benchmarks/run.py --only flow score
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from result import RESULTS

HERE = Path(__file__).parent

QUICK: dict[str, list[str]] = {
    "start": ["--starts", "1", "--demos", "1"],
    "contract_check": ["--rows", "20000", "--runs", "2"],
    "flow": ["--rows", "10000", "20000", "--runs", "1", "--probe-mib", "1"],
    "score": ["--rows", "20000", "--runs", "1"],
    "inspection": ["--rows", "3000", "--wide-rows", "200", "--runs", "1"],
    "intervals_coverage": ["--holdouts", "20", "--rows", "200", "--population-rows", "50000"],
    "guarantees": ["--repetitions", "20", "--rows", "200", "--population-rows", "50000"],
    "leaks": ["--seeds", "1", "--honest", "4", "--rows", "5000"],
    "weak_slices": ["--seeds", "2", "--repetitions", "10"],
    "conformal": ["--repetitions", "10", "--rows", "200", "--population-rows", "20000"],
    "refer": ["--repetitions", "3"],
    "soak": ["--minutes", "0.5", "--swap-s", "3"],
    "outage": ["--seconds", "3"],
    "overload": ["--seconds", "1", "--model", "mlp"],
    "drift_speed": ["--rows", "20000", "--long-rows", "1000000", "--runs", "1"],
    "estimation": ["--rows", "3000", "--repetitions", "5", "--speed-rows", "500000"],
    "false_alarms": ["--streams", "6", "--repetitions", "1"],
    "detection": ["--repetitions", "1", "--still", "2", "--rows", "30000"],
    "watch_crash": ["--kills", "3"],
    "watching": ["--seconds", "3", "--turns", "1"],
    "dashboard": [
        *["--predictions", "5000", "--columns", "20", "--alerts", "50", "--windows", "200"],
        *["--turns", "1", "--seconds", "2"],
    ],
}
"""Every benchmark in the order in which they run, with what makes it small."""

TAKES_FOLDER = ("start", "contract_check", "flow", "score", "soak", "outage")
TAKES_TABLES = ("intervals_coverage", "guarantees", "leaks", "weak_slices", "estimation", "false_alarms", "detection")
TAKES_PEERS = ("drift_speed", "estimation", "false_alarms", "detection")


def words(name: str, asked_for: Any, results: Path) -> list[str]:
    """The command of one benchmark."""
    command = [sys.executable, str(HERE / f"{name}.py"), "--results", str(results)]
    if asked_for.quick:
        command += QUICK[name]
    if asked_for.folder is not None and name in TAKES_FOLDER:
        command += ["--folder", str(asked_for.folder)]
    if asked_for.tables is not None and name in TAKES_TABLES:
        command += ["--tables", str(asked_for.tables)]
    if asked_for.peers is not None and name in TAKES_PEERS:
        command += ["--peers", str(asked_for.peers)]
    return command


def run_all(asked_for: Any, results: Path) -> int:
    """Run what was asked for, one after the other, and say what became of each."""
    outcomes = []
    for place, name in enumerate(asked_for.only, start=1):
        print(f"\n[{place} of {len(asked_for.only)}] {name}", flush=True)
        started = time.perf_counter()
        code = subprocess.run(words(name, asked_for, results), check=False).returncode
        outcomes.append((name, code, time.perf_counter() - started))
    print()
    for name, code, seconds in outcomes:
        said = {0: "done", 1: "broke or missed a target, see above"}.get(code, f"ended with code {code}")
        print(f"{name:20} {seconds:8.0f} s   {said}")
    print("nothing was kept: the sizes were small" if asked_for.quick else "results lie in benchmarks/results")
    return int(any(code for _, code, _ in outcomes))


def main() -> int:
    """Read the words and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: does everything run?")
    parser.add_argument("--only", nargs="+", choices=list(QUICK), default=list(QUICK))
    parser.add_argument("--folder", type=Path, help="where large data lie meanwhile; a temporary one by default")
    parser.add_argument("--tables", type=Path, help=f"a folder with UCI tables, for {' and '.join(TAKES_TABLES)}")
    parser.add_argument(
        "--peers", type=Path, help=f"a folder with the peers' environments, for {' and '.join(TAKES_PEERS)}"
    )
    parser.add_argument("--results", type=Path, help="where the tables are written")
    asked_for = parser.parse_args()
    if asked_for.results is not None or not asked_for.quick:
        return run_all(asked_for, asked_for.results or RESULTS)
    with tempfile.TemporaryDirectory(prefix="roadworthy-bench-") as temporary:
        return run_all(asked_for, Path(temporary))


if __name__ == "__main__":
    sys.exit(main())
