"""Every benchmark runs at a tiny size and writes its table, so that none rots between two releases.

Those of ``LONG`` train models or keep servers busy, half a minute each: ``make bench-tiny`` runs them too.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY = {
    "start": ["--starts", "1", "--demos", "0"],
    "contract_check": ["--rows", "3000", "--runs", "1"],
    "flow": ["--rows", "2000", "--runs", "1", "--probe-mib", "1"],
    "score": ["--rows", "2000", "--train-rows", "1200", "--runs", "1", "--only", "with time_since_last_click"],
    "intervals_coverage": ["--holdouts", "2", "--rows", "200", "--population-rows", "20000"],
    "guarantees": ["--repetitions", "1", "--rows", "200", "--population-rows", "20000"],
    "inspection": ["--rows", "2000", "--wide-rows", "0", "--runs", "1"],
    "leaks": ["--seeds", "1", "--honest", "2", "--rows", "3000"],
    "weak_slices": ["--seeds", "1", "--rows", "2000", "--repetitions", "3"],
    "conformal": ["--repetitions", "2", "--rows", "200", "--population-rows", "5000"],
    "refer": ["--repetitions", "2"],
    "soak": ["--minutes", "0.25", "--workers", "1", "--versions", "2", "--swap-s", "3", "--rows", "800"],
    "outage": ["--seconds", "2", "--rate", "50", "--rows", "800"],
    "overload": ["--seconds", "0.5", "--model", "mlp"],
    "drift_speed": ["--rows", "3000", "--long-rows", "600000", "--runs", "1"],
    "estimation": ["--rows", "2000", "--repetitions", "3", "--speed-rows", "100000"],
    "watch_crash": ["--kills", "1"],
    "watching": ["--seconds", "1", "--turns", "1"],
    "dashboard": [
        "--predictions",
        "600",
        "--columns",
        "6",
        "--alerts",
        "5",
        "--windows",
        "10",
        "--turns",
        "1",
        "--seconds",
        "1",
        "--rounds",
        "1",
    ],
}
EXPECTED = {
    "start": "`roadworthy --help`",
    "contract_check": "CleaningPlan.check",
    "flow": "| features |",
    "score": "rows/s",
    "inspection": "| whole |",
    "intervals_coverage": "| accuracy |",
    "guarantees": "| precision >= 0.8 |",
    "leaks": "4 % exact duplicates across the split",
    "weak_slices": "| two intervals |",
    "conformal": "| three classes |",
    "refer": "planted rows outside",
    "outage": "| answers that the log lacks | 0 | 0 of ",
    "overload": "| flood 1.5 x |",
    "drift_speed": "the reference at 50 columns",
    "estimation": "ours / lower of CBPE, PAPE",
    "watch_crash": "windows judged twice | 0 | 0 |",
    "watching": "answers a second while watched",
    "dashboard": "answers a second beside a dashboard",
    "soak": "| answers that were not as they should be | 0 | 0 |",
}


LONG = frozenset({"soak", "overload", "outage", "watch_crash", "dashboard", "watching", "inspection"})
NAMES = [name for name in TINY if name not in LONG or os.environ.get("BENCHMARKS") == "all"]


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs_and_writes_its_table(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(BENCHMARKS / f"{name}.py"), "--results", str(tmp_path), *TINY[name]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / f"{name}.md").read_text(encoding="utf-8")
    assert EXPECTED[name] in text
    assert "load average" in text
    assert "Python 3." in text
    assert str(tmp_path) not in text
    assert not re.search(r"(?<![\w`])/(home|tmp|work|usr)/", text)


def test_run_knows_every_benchmark() -> None:
    others = {"run", "result", "processes", "populations", "soak_requests", "load", "load_projects", "estimation_peers"}
    others |= {"dashboard_site", "drift_peers", "drift_streams", "drift_watching"}
    scripts = {path.stem for path in BENCHMARKS.glob("*.py")} - others
    assert scripts == {*TINY, "false_alarms", "detection"}  # these two: test_alarm_benchmarks
    listed = subprocess.run(
        [sys.executable, str(BENCHMARKS / "run.py"), "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert all(name in listed for name in scripts)
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    assert all(f"{name}.py" in readme for name in scripts)
