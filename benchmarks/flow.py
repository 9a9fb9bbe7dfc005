"""Collect, clean and features over the click log: time, CPU and memory per stage.

Each size runs in fresh processes, through the very pipeline that ``roadworthy run`` takes; a reporter holds the
stopwatch and ends the run after the third stage. Personal ``user_id`` is hashed, one row feature and one feature
that looks at the user's past are computed. Making the rows is not counted.

    python benchmarks/flow.py --rows 1000000 10000000 --runs 3
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

from processes import asked, forget_peak, peak_mib, spent
from result import Result, add_results_option, middle

CLICKS = Path(__file__).parent.parent / "examples" / "clicks"
STAGES = ("opening", "collect", "clean", "features")
LAST = STAGES[-1]
MOST_S, MOST_GIB, MOST_GROWTH = 45.0, 4.0, 11.0


class EnoughStages(Exception):
    """The last stage that counts is done."""


class Stopwatch:
    """A reporter that measures from one stage's end to the next one's end, so that nothing lies between."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, float]] = {}
        self._start()

    def _start(self) -> None:
        forget_peak()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self, name: str) -> None:
        """Note what was spent since the last lap under a name."""
        spent_here = {"wall": time.perf_counter() - self._wall, "cpu": time.process_time() - self._cpu}
        self.stages[name] = {**spent_here, "peak": peak_mib()}
        self._start()

    def begin(self, task: str, total: int | None = None) -> None:  # noqa: ARG002 - the protocol's own words
        """What came before the first stage: project, keys, registry, the source's fingerprint."""
        if not self.stages:
            self.lap("opening")

    def advance(self, task: str, steps: int = 1) -> None:
        """Steps are not measured."""

    def end(self, task: str, summary: str = "", *, reused: bool = False) -> None:
        """A stage is done and published. Raises EnoughStages after the last that counts."""
        if reused:
            raise RuntimeError(f"{task} was not run: its result lay there ({summary})")
        self.lap(task)
        if task == LAST:
            raise EnoughStages

    def line(self, line: object) -> None:
        """Nothing trains here."""


def child(folder: Path) -> NoReturn:
    """One run of the three stages in this process; prints what it cost as JSON."""
    from roadworthy import assembly  # noqa: PLC0415 - imports are the child's own
    from roadworthy.pipeline import run_pipeline  # noqa: PLC0415 - as above

    watch = Stopwatch()
    project = assembly.open_project(folder)
    try:
        with assembly.world(project, watch) as world:
            run_pipeline(project.spec, project.standard, world)
    except EnoughStages:
        print(json.dumps(watch.stages))
        sys.exit(0)
    raise RuntimeError("the run went on past its last stage")


def measure(folder: Path, rows: int, runs: int) -> list[dict[str, dict[str, float]]]:
    """``runs`` fresh processes over the same rows, each with an empty lake."""
    project = folder / f"rows-{rows}"
    project.mkdir(parents=True)
    shutil.copyfile(CLICKS / "roadworthy.toml", project / "roadworthy.toml")
    made = [sys.executable, str(CLICKS / "prepare.py"), str(project / "data" / "clicks.parquet"), "--rows", str(rows)]
    spent(made)
    found = []
    for _ in range(runs):
        _, stages = asked(__file__, ["--child", str(project)])
        stages["in all"] = _together([stages[name] for name in STAGES])
        found.append(stages)
        shutil.rmtree(project / ".roadworthy")
    shutil.rmtree(project)
    return found


def _together(stages: list[dict[str, float]]) -> dict[str, float]:
    return {
        "wall": sum(stage["wall"] for stage in stages),
        "cpu": sum(stage["cpu"] for stage in stages),
        "peak": max(stage["peak"] for stage in stages),
    }


def disk_mib_per_s(folder: Path, mib: int) -> float:
    """How fast this disk takes bytes that must stay: the stages do not return before theirs do."""
    block = os.urandom(1 << 20)
    started = time.perf_counter()
    with (folder / "probe").open("wb") as stream:
        for _ in range(mib):
            stream.write(block)
        stream.flush()
        os.fsync(stream.fileno())
    seconds = time.perf_counter() - started
    (folder / "probe").unlink()
    return mib / seconds


def judge(result: Result, found: dict[int, list[dict[str, dict[str, float]]]]) -> None:
    """The targets: time and memory at the largest size, growth from the smallest."""
    small, large = min(found), max(found)
    wall = {rows: median(run["in all"]["wall"] for run in runs) for rows, runs in found.items()}
    peak = median(run["in all"]["peak"] for run in found[large]) / 1024
    result.target(f"time, {large:,} rows", f"<= {MOST_S:.0f} s", f"{wall[large]:.1f} s", met=wall[large] <= MOST_S)
    result.target(f"memory, {large:,} rows", f"<= {MOST_GIB:.0f} GiB", f"{peak:.2f} GiB", met=peak <= MOST_GIB)
    if large > small:
        stages = {rows: median(_stages_wall(run) for run in found[rows]) for rows in (small, large)}
        growth, allowed = stages[large] / stages[small], MOST_GROWTH / 10 * large / small
        found_words = f"{growth:.1f}-fold"
        result.target(
            f"growth of the three stages, {small:,} to {large:,} rows",
            f"<= {allowed:.1f}-fold",
            found_words,
            met=growth <= allowed,
        )


def _stages_wall(run: dict[str, dict[str, float]]) -> float:
    """Without the opening, whose fixed cost would flatter the growth."""
    return sum(run[name]["wall"] for name in STAGES[1:])


def arguments() -> Any:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where data and lake lie meanwhile; a temporary one by default")
    parser.add_argument("--probe-mib", type=int, default=256)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    add_results_option(parser)
    return parser.parse_args()


def main() -> int:
    """Measure all sizes and write the table."""
    asked_for = arguments()
    if asked_for.child is not None:
        child(asked_for.child)
    result = Result("flow", "Collect, clean and features over the click log", full=max(asked_for.rows) >= 10_000_000)
    found: dict[int, list[dict[str, dict[str, float]]]] = {}
    if asked_for.folder is not None:
        asked_for.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="roadworthy-flow-", dir=asked_for.folder) as temporary:
        disk = disk_mib_per_s(Path(temporary), asked_for.probe_mib)
        result.say(
            "10 columns, a tenth as many users as rows, Parquet in, Parquet out; `user_id` is personal and hashed. One",
            f"fresh process per run, {asked_for.runs} runs per size; median (lowest–highest). Seconds include the wait",
            f"until every file is on disk; this disk took {disk:,.0f} MiB/s of such writes. `opening` is the project,",
            "its keys and the source's fingerprint, without imports. Peak: resident memory of the whole process.",
        )
        for rows in asked_for.rows:
            found[rows] = measure(Path(temporary), rows, asked_for.runs)
            cells = [
                (
                    name,
                    middle(run[name]["wall"] for run in found[rows]),
                    middle(run[name]["cpu"] for run in found[rows]),
                    middle((run[name]["peak"] for run in found[rows]), 0),
                )
                for name in (*STAGES, "in all")
            ]
            result.say("", f"## {rows:,} rows")
            result.table(("stage", "wall s", "CPU s", "peak MiB"), cells)
    judge(result, found)
    return result.finish(asked_for.results)


if __name__ == "__main__":
    sys.exit(main())
