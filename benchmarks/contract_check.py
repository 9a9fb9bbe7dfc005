"""The contract check alone, beside the best single query that a person would write for the same rules.

The same Parquet file is read plainly, checked by hand-written Polars queries (one pass, counts per rule), and
checked by ``CleaningPlan.check``, in turn, so that all see the same machine. The hand-written counts must equal the
check's own, or the benchmark stops. Two contracts: the click log's, and the same with one unique column. Where it
costs nothing the hand-written query uses what its author knows of the rows, which a plan cannot.

    python benchmarks/contract_check.py --rows 1000000 10000000 --runs 5
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal

import polars as pl

from processes import asked, forget_peak, peak_mib, spent
from result import Result, add_results_option, middle

CLICKS = Path(__file__).parent.parent / "examples" / "clicks"
VARIANTS = ("nothing unique", "one unique column")
UNIQUE = "visit"
MOST_RATIO = 3.0
HAND = ("by hand, streaming", "by hand, in memory")
CHECK, READ = "CleaningPlan.check", "reading all columns"
DEVICES, AGES = ["phone", "desktop", "tablet"], ["18-29", "30-44", "45-64", "65+"]

_RULES: dict[str, pl.Expr] = {
    "timestamp: missing": pl.col("timestamp").is_null(),
    "user_id: missing": pl.col("user_id").is_null(),
    "device: not an allowed category": ~pl.col("device").is_in(DEVICES),
    "age_band: not an allowed category": ~pl.col("age_band").is_in(AGES),
    "position: below 1": pl.col("position") < 1,
    "position: above 5": pl.col("position") > 5,
    "impressions: missing": pl.col("impressions").is_null(),
    "impressions: below 1": pl.col("impressions") < 1,
    "clicks: missing": pl.col("clicks").is_null(),
    "clicks: below 0": pl.col("clicks") < 0,
    "dwell_seconds: not a finite number": ~pl.col("dwell_seconds").is_finite(),
    "dwell_seconds: below 0": pl.col("dwell_seconds") < 0,
    "converted: missing": pl.col("converted").is_null(),
    "converted: below 0": pl.col("converted") < 0,
    "converted: above 1": pl.col("converted") > 1,
    "rule: clicks <= impressions": pl.col("clicks") > pl.col("impressions"),
}


def by_hand(path: Path, *, unique: bool, engine: Literal["streaming", "in-memory"]) -> dict[str, int]:
    """Every rule's count, the rows, and the rows that break any, in one pass. Zeros are left out."""
    bad = pl.any_horizontal(list(_RULES.values())).fill_null(value=False)
    counts = [rule.sum().alias(name) for name, rule in _RULES.items()]
    counts += [pl.len().alias("rows"), bad.sum().alias("quarantined")]
    if unique:
        sound = pl.col(UNIQUE).filter(~bad)
        counts.append((sound.count().cast(pl.Int64) - sound.drop_nulls().n_unique()).alias(f"{UNIQUE}: not unique"))
    row = pl.scan_parquet(path).select(counts).collect(engine=engine).row(0, named=True)
    row["quarantined"] += row.get(f"{UNIQUE}: not unique", 0)
    return {name: count for name, count in row.items() if count}


def read_plainly(path: Path) -> int:
    """All columns into memory."""
    return pl.read_parquet(path).height


def child(folder: Path, *, unique: bool, runs: int) -> None:
    """All ways in turn, ``runs`` times, after one turn that does not count; prints seconds per way as JSON."""
    from roadworthy.assembly import open_project  # noqa: PLC0415 - the child's own
    from roadworthy.transforms.cleaning import CleaningPlan  # noqa: PLC0415 - as above

    spec = open_project(folder).spec
    plan = CleaningPlan.build(spec.contract, spec.data.time, spec.target)
    path = folder / "data" / "clicks.parquet"
    ways: dict[str, Callable[[], Any]] = {
        READ: lambda: read_plainly(path),
        HAND[0]: lambda: by_hand(path, unique=unique, engine="streaming"),
        HAND[1]: lambda: by_hand(path, unique=unique, engine="in-memory"),
        CHECK: lambda: plan.check(pl.scan_parquet(path)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    peaks: dict[str, float] = {}
    answers: dict[str, Any] = {}
    for turn in range(runs + 1):
        for name, way in ways.items():
            forget_peak()
            started = time.perf_counter()
            answers[name] = way()
            if turn:
                seconds[name].append(time.perf_counter() - started)
            peaks[name] = max(peaks.get(name, 0.0), peak_mib())
    found = answers[CHECK]
    checked = {**found.reasons, "rows": found.rows_in, "quarantined": found.quarantined}
    for name in HAND:
        if {key: count for key, count in checked.items() if count} != answers[name]:
            raise RuntimeError(f"{name} counts otherwise than the check: {answers[name]} and {checked}")
    print(json.dumps({"seconds": seconds, "peaks": peaks}))


def make_project(folder: Path, rows: int, *, unique: bool) -> None:
    """The click log and its contract; with ``unique``, a whole-number column of which no value repeats."""
    (folder / "data").mkdir(parents=True)
    data = folder / "data" / "clicks.parquet"
    spent([sys.executable, str(CLICKS / "prepare.py"), str(data), "--rows", str(rows)])
    project = (CLICKS / "roadworthy.toml").read_text(encoding="utf-8")
    # personal columns are cleared here: the check reads the source itself, in which nothing is hashed yet
    project = project.replace('personal = ["user_id"]', "personal = []")
    if unique:
        shuffled = pl.int_range(pl.len(), dtype=pl.Int64).shuffle(seed=7).alias(UNIQUE)
        pl.read_parquet(data).with_columns(shuffled).write_parquet(data)
        declared = f'[contract.columns]\n{UNIQUE} = {{ type = "integer", unique = true }}'
        project = project.replace("[contract.columns]", declared)
    (folder / "roadworthy.toml").write_text(project, encoding="utf-8")


def rows_of(seconds: dict[str, list[float]], peaks: dict[str, float]) -> tuple[list[Sequence[object]], float]:
    """Table rows, and the check's median over the best hand-written one's."""
    best = min(median(seconds[name]) for name in HAND)
    table: list[Sequence[object]] = [
        (name, middle(taken, 3), f"{median(taken) / best:.2f}", f"{peaks[name]:.0f}") for name, taken in seconds.items()
    ]
    return table, median(seconds[CHECK]) / best


def arguments() -> Any:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the data lie meanwhile; a temporary one by default")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--unique", action="store_true", help=argparse.SUPPRESS)
    add_results_option(parser)
    return parser.parse_args()


def main() -> int:
    """Both contracts at all sizes."""
    asked_for = arguments()
    if asked_for.child is not None:
        child(asked_for.child, unique=asked_for.unique, runs=asked_for.runs)
        return 0
    full = max(asked_for.rows) >= 10_000_000
    result = Result("contract_check", "The contract check beside a hand-written query", full=full)
    result.say(
        "10 columns of the click log: types, ranges, nulls, categories and one rule across columns. Warm, in turn, in",
        f"one process; median (lowest–highest) of {asked_for.runs}; ratio to the best hand-written query. The peak is",
        "the whole process's resident memory, in which what an earlier way left counts too.",
    )
    if asked_for.folder is not None:
        asked_for.folder.mkdir(parents=True, exist_ok=True)
    for rows in asked_for.rows:
        for variant in VARIANTS:
            unique = variant != VARIANTS[0]
            with tempfile.TemporaryDirectory(prefix="roadworthy-check-", dir=asked_for.folder) as temporary:
                make_project(Path(temporary) / "clicks", rows, unique=unique)
                words = ["--child", str(Path(temporary) / "clicks"), "--runs", str(asked_for.runs)]
                _, found = asked(__file__, [*words, *(["--unique"] if unique else [])])
                shutil.rmtree(Path(temporary) / "clicks")
            table, ratio = rows_of(found["seconds"], found["peaks"])
            result.say("", f"## {rows:,} rows, {variant}")
            result.table(("way", "seconds", "ratio", "peak MiB"), table)
            what = f"check over the best query, {rows:,} rows, {variant}"
            result.target(what, f"<= {MOST_RATIO:g}", f"{ratio:.2f}", met=ratio <= MOST_RATIO)
    return result.finish(asked_for.results)


if __name__ == "__main__":
    sys.exit(main())
