"""``roadworthy score`` on one core: rows a second from file to file, and where the time goes.

A multi-layer perceptron is trained on the click log by the real run, once with and once without the feature that
looks at the user's past; then a process that may use one CPU alone scores a larger log of the same law. Contract,
hashing of the personal column, features, encoding and model are all in it; so are reading and writing.

    python benchmarks/score.py --rows 2000000 --runs 3
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from processes import asked, peak_mib, spent
from result import Result, add_results_option, middle

CLICKS = Path(__file__).parent.parent / "examples" / "clicks"
VARIANTS = ("without the past", "with time_since_last_click")
TARGET_ROWS_PER_S = 500_000
ONE_CORE = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def child(folder: Path, data: Path, runs: int) -> None:
    """``roadworthy.score`` on one CPU, then its parts one by one; prints seconds as JSON."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import roadworthy  # noqa: PLC0415 - Polars and NumPy count the CPUs when they are imported

    found: dict[str, list[float]] = {"wall": [], "cpu": []}
    rows = 0
    with _at(folder):
        for turn in range(runs + 1):
            started = time.process_time()
            done = roadworthy.score(str(data), folder / "answers.parquet", threads=1)
            rows = done.rows
            if turn:  # the first opens files and compiles plans
                found["wall"].append(done.seconds)
                found["cpu"].append(time.process_time() - started)
    print(json.dumps({**found, "rows": rows, "parts": parts(folder, data), "peak": peak_mib()}))


@contextmanager
def _at(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def parts(folder: Path, data: Path) -> dict[str, float]:
    """Seconds of each part, over all rows at once; ``score`` itself goes in batches."""
    import polars as pl  # noqa: PLC0415 - as above

    from roadworthy import assembly  # noqa: PLC0415 - as above

    project = assembly.open_project(folder)
    taken: dict[str, float] = {}
    mark = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal mark
        taken[name] = time.perf_counter() - mark
        mark = time.perf_counter()

    with assembly.opened_bundle(project, "latest") as (_, bundle):
        model = assembly.predictor(project, bundle, threads=1)
        mark = time.perf_counter()
        raw = pl.scan_parquet(data).collect()
        lap("reading")
        table, problems = model.prepare(raw)
        lap("contract and features")
        answers = model.answer_prepared(table, problems)
        lap("graph and decisions")
        frame = pl.DataFrame({"score": answers.scores, "decision": answers.decisions, "problems": problems})
        frame.write_parquet(folder / "parts.parquet")
        lap("writing")
    if frame.height != raw.height:
        raise RuntimeError("rows were lost")
    return taken


def make_project(folder: Path, rows: int, *, past: bool) -> None:
    """The clicks project with the perceptron as its sole candidate, run to a bundle on so many rows."""
    (folder / "data").mkdir(parents=True)
    text = (CLICKS / "roadworthy.toml").read_text(encoding="utf-8")
    text = text.replace('candidates = ["logistic", "mlp", "gbdt"]', 'candidates = ["mlp"]')
    if not past:
        text = "\n".join(line for line in text.splitlines() if not line.startswith("time_since_last_click"))
    (folder / "roadworthy.toml").write_text(text + "\n", encoding="utf-8")
    made = [str(CLICKS / "prepare.py"), str(folder / "data" / "clicks.parquet"), "--rows", str(rows)]
    spent([sys.executable, *made])
    spent([sys.executable, "-m", "roadworthy", "run"], folder=folder, codes=(0, 1, 3))


def arguments() -> Any:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--train-rows", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where projects and data lie meanwhile; a temporary one by default")
    parser.add_argument("--only", choices=VARIANTS, help="one variant alone")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    add_results_option(parser)
    return parser.parse_args()


def main() -> int:
    """Both variants."""
    asked_for = arguments()
    if asked_for.child is not None:
        child(asked_for.child, asked_for.data, asked_for.runs)
        return 0
    full = asked_for.rows >= 1_000_000
    result = Result("score", "Scoring a file on one core", full=full)
    result.say(
        f"{asked_for.rows:,} rows of the click log, Parquet to Parquet, in a process bound to one CPU; median",
        f"(lowest–highest) of {asked_for.runs} after one that does not count. The parts are measured by themselves.",
    )
    if asked_for.folder is not None:
        asked_for.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="roadworthy-score-", dir=asked_for.folder) as temporary:
        data = Path(temporary) / "large.parquet"
        spent([sys.executable, str(CLICKS / "prepare.py"), str(data), "--rows", str(asked_for.rows)])
        for variant in (asked_for.only,) if asked_for.only else VARIANTS:
            project = Path(temporary) / variant.replace(" ", "-")
            make_project(project, asked_for.train_rows, past=variant != VARIANTS[0])
            words = ["--child", str(project), "--data", str(data), "--runs", str(asked_for.runs)]
            _, found = asked(__file__, words, environment=ONE_CORE)
            rate = found["rows"] / median(found["wall"])
            result.say("", f"## {variant[0].upper()}{variant[1:]}", "")
            result.say(
                f"{rate:,.0f} rows/s: {middle(found['wall'])} s for {found['rows']:,} rows, of which the core itself",
                f"worked {middle(found['cpu'])} s; peak {found['peak']:.0f} MiB.",
            )
            share = sum(found["parts"].values())
            result.table(
                ("part", "seconds", "share", "ns per row"),
                [
                    (name, f"{taken:.2f}", f"{taken / share:.0%}", f"{taken / found['rows'] * 1e9:,.0f}")
                    for name, taken in found["parts"].items()
                ],
            )
            met = rate >= TARGET_ROWS_PER_S
            result.target(f"rows/s on one core, {variant}", f">= {TARGET_ROWS_PER_S:,}", f"{rate:,.0f}", met=met)
    return result.finish(asked_for.results)


if __name__ == "__main__":
    sys.exit(main())
