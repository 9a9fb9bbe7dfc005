"""Small seeded runs of both alarm benchmarks: quiet where nothing changed, and not where something did."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(name: str, folder: Path, *words: str) -> str:
    command = [sys.executable, "-W", "error", str(BENCHMARKS / f"{name}.py"), "--results", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / f"{name}.md").read_text(encoding="utf-8")


def test_streams_without_a_change_stay_within_the_budget(tmp_path: Path) -> None:
    text = run("false_alarms", tmp_path, "--streams", "6", "--repetitions", "1", "--workers", "1", "--smallest", "2")
    found = re.search(r"All together (\d+) alerts", text)
    assert found is not None
    assert int(found[1]) <= 11  # the 97.5 % point of a Poisson with mean 6
    assert all(f"| {kind} | 1 of 1 |" in text for kind in ("covariate", "prior", "concept"))


def test_large_changes_are_found_in_their_first_windows(tmp_path: Path) -> None:
    text = run("detection", tmp_path, "--repetitions", "1", "--still", "2", "--rows", "30000", "--smallest", "2")
    cells = dict(re.findall(r"\| flights \| (\w+) \| large \| ([\d.]+) \(1 of 1\) \|", text))
    assert set(cells) == {"abrupt", "gradual", "covariate", "prior", "concept"}
    assert all(float(delay) <= 2 for kind, delay in cells.items() if kind != "gradual")
    still = re.search(r"\| flights \| (\d) of 2 \|", text)
    assert still is not None
    assert int(still[1]) <= 1
