"""Whether planted weak slices are found, nothing is found where nothing is, and fairness intervals hold.

1. **Found.** On 10,000 rows × 10 columns with a base error of 15 %, a slice of 5 % of the rows is 15 points worse. It
   counts as found where a reported group has half of its rows in it and covers half of it. Intervals start anywhere, so
   that no grid of bins fits them.
2. **Nothing.** Errors independent of every column; and on a real table the errors of a real model, shuffled.
3. **Fairness.** Differences and ratios between groups: how often each one-sided bound holds, nominal 95 %. The truth is
   that of a finite population from which holdouts are drawn with replacement.

    python benchmarks/weak_slices.py --seeds 200 --tables folder/with/uci/tables
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from lightgbm import LGBMClassifier
from numpy.typing import NDArray
from scipy import stats

from result import Result, add_results_option
from roadworthy.measures.examined import Answered, Brief, Examined
from roadworthy.measures.fairness.cohorts import cohorts
from roadworthy.measures.fairness.comparing import FORMS, compare
from roadworthy.measures.samples import Sample
from roadworthy.measures.weak_slices import weak_slices
from roadworthy.measures.weak_slices.groups import weak_groups
from roadworthy.records.project import Task

ROWS, BASE, WORSE, SHARE = 10_000, 0.15, 0.15, 0.05
LEVELS = ("a", "b", "c", "d", "e", "f", "g", "h")
LEVEL_SHARES = (0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.05)
NUMBERS, CATEGORIES = 6, 4

Mask = NDArray[np.bool_]
Plant = Callable[[pl.DataFrame, np.random.Generator], Mask]


class Tried(NamedTuple):
    """One seed: whether the planted slice was found, and how many groups were reported."""

    found: bool
    reported: int


def columns(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    """Six numbers, one of them skewed and one with missing values, and four categories of eight values."""
    data: dict[str, Any] = {f"x{place}": rng.normal(size=rows) for place in range(NUMBERS)}
    data["x1"] = np.exp(data["x1"])
    data["x4"] = pl.Series(data["x4"]).set(pl.Series(rng.random(rows) < SHARE), None)
    data |= {f"c{place}": rng.choice(LEVELS, size=rows, p=LEVEL_SHARES) for place in range(CATEGORIES)}
    return pl.DataFrame(data)


def interval(table: pl.DataFrame, column: str, share: float, rng: np.random.Generator) -> Mask:
    """That share of the rows, next to each other in a column, from anywhere."""
    low = rng.uniform(0, 1 - share)
    place = (table[column].rank("ordinal").cast(pl.Float64) / table.height).fill_null(-1).to_numpy()
    return np.asarray((place > low) & (place <= low + share))


def level(table: pl.DataFrame, column: str, value: str) -> Mask:
    """Rows with a value."""
    return (table[column] == value).to_numpy()


FORMS_PLANTED: dict[str, tuple[str, Plant]] = {
    "one value": ("c1=f", lambda t, _: level(t, "c1", "f")),
    "an interval": ("x2 in an interval of 5 %", lambda t, rng: interval(t, "x2", SHARE, rng)),
    "an interval of a skewed column": ("x1 in an interval of 5 %", lambda t, rng: interval(t, "x1", SHARE, rng)),
    "missing": ("x4 is missing", lambda t, _: t["x4"].is_null().to_numpy()),
    "value and interval": (
        "c1=b and x2 in an interval of 25 %",
        lambda t, rng: level(t, "c1", "b") & interval(t, "x2", 0.25, rng),
    ),
    "two values": ("c0=a and c2=c", lambda t, _: level(t, "c0", "a") & level(t, "c2", "c")),
    "two intervals": (
        "x2 and x5 in intervals of 22 %",
        lambda t, rng: interval(t, "x2", SHARE**0.5, rng) & interval(t, "x5", SHARE**0.5, rng),
    ),
}
"""What is planted, by form. Two values have 4.5 % of the rows."""


def world(seed: int, form: str, rows: int) -> tuple[Examined, Mask]:
    """Rows of a model whose errors are independent of every column, but for the planted slice."""
    rng = np.random.default_rng(seed)
    table = columns(rng, rows)
    planted = FORMS_PLANTED[form][1](table, rng) if form else np.zeros(rows, dtype=bool)
    wrong = rng.random(rows) < np.where(planted, BASE + WORSE, BASE)
    return examined_of(table, wrong, rng), planted


def examined_of(table: pl.DataFrame, wrong: Mask, rng: np.random.Generator) -> Examined:
    """A binary model that decides wrongly where it should."""
    y = (rng.random(len(wrong)) < 0.4).astype(np.int64)
    score = np.where(wrong, 1 - y, y) * 0.6 + 0.2
    sample = Sample(task=Task.BINARY, y=y, score=score, threshold=0.5)
    return Examined(sample=sample, rows=table, columns=tuple(table.columns), answer=silent)


def silent(rows: pl.DataFrame) -> Answered:
    """A model that no one asks."""
    return Answered(score=np.zeros(rows.height), refused=np.zeros(rows.height, dtype=bool))


def tried(seed: int, form: str, rows: int) -> Tried:
    """One inspection."""
    examined, planted = world(seed, form, rows)
    groups = weak_groups(examined, Brief(seed=seed)).groups
    covered = [int((group.rows & planted).sum()) / max(int(group.rows.sum()), int(planted.sum())) for group in groups]
    return Tried(max(covered, default=0.0) >= 0.5, len(groups))


def shuffled(seed: int, table: pl.DataFrame, wrong: Mask) -> Tried:
    """One inspection of a real model's errors, dealt out anew."""
    rng = np.random.default_rng(seed)
    picked = rng.permutation(table.height)[:ROWS]
    examined = examined_of(table[picked], rng.permutation(wrong[picked]), rng)
    return Tried(found=False, reported=len(weak_groups(examined, Brief(seed=seed)).groups))


@cache
def workers() -> ProcessPoolExecutor:
    """One process a core, new ones and not forks: threads of Polars and OpenMP do not survive a fork."""
    return ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=get_context("spawn"))


def each(work: Callable[[int], Tried], seeds: range) -> list[Tried]:
    """Every seed, on all cores; a handful in this process."""
    return [work(seed) for seed in seeds] if len(seeds) < 10 else list(workers().map(work, seeds, chunksize=5))


def planted_part(result: Result, seeds: int, rows: int) -> None:
    """Promises 1 and 2 in simulations."""
    result.say("", "## Planted slices")
    table = []
    for form, (words, _) in FORMS_PLANTED.items():
        outcomes = each(partial(tried, form=form, rows=rows), range(seeds))
        found, more = sum(one.found for one in outcomes), sum(max(one.reported - one.found, 0) for one in outcomes)
        table.append((form, words, f"{found} of {seeds}", f"{more / seeds:.2f}"))
        wanted = round(0.95 * seeds)
        result.target(f"found: {form}", f">= {wanted} of {seeds}", f"{found}", met=found >= wanted)
    result.table(("form", "planted", "found", "other groups a run"), table)
    outcomes = each(partial(tried, form="", rows=rows), range(10_000, 10_000 + 2 * seeds))
    nothing(result, "errors independent of every column", outcomes)


def nothing(result: Result, what: str, outcomes: list[Tried]) -> None:
    """How many runs report a group where there is none."""
    false, most = sum(one.reported > 0 for one in outcomes), round(0.08 * len(outcomes))
    result.say("", f"{what[0].upper()}{what[1:]}: {false} of {len(outcomes)} runs report a group.")
    result.target(what, f"<= {most} of {len(outcomes)}", f"{false}", met=false <= most)


# --- fairness ---------------------------------------------------------------------------------------------------


def simulated_people(rows: int) -> tuple[Sample, pl.DataFrame]:
    """A population with groups of 60, 30, 7 and 3 %, whose base rates and errors differ; one column says nothing."""
    rng = np.random.default_rng(5)
    group = rng.choice(["a", "b", "c", "d"], size=rows, p=[0.6, 0.3, 0.07, 0.03])
    shift = np.select([group == name for name in "abcd"], [0.0, -0.5, 0.4, -0.2])
    x = rng.normal(size=rows)
    y = (rng.random(rows) < 1 / (1 + np.exp(-(1.5 * x + shift)))).astype(np.int64)
    sample = Sample(task=Task.BINARY, y=y, score=1 / (1 + np.exp(-(1.2 * x + 0.5 * shift))), threshold=0.5)
    return sample, pl.DataFrame({"group": group, "coin": rng.choice(["h", "t"], size=rows)})


def fairness_part(
    result: Result, name: str, population: Sample, table: pl.DataFrame, *, rows: int, repetitions: int
) -> None:
    """Promise 3 on one population, for every metric, over all protected columns together."""
    groups = {column: cohorts(table[column]) for column in table.columns}
    truth = {metric: compare(population, groups, metric, 0.95).extreme for metric in FORMS}
    held = {metric: np.zeros(3, dtype=int) for metric in FORMS}
    rng = np.random.default_rng(17)
    for _ in range(repetitions):
        places = rng.integers(0, population.n, rows)
        sample, drawn = population.take(places), table[places]
        own = {column: cohorts(drawn[column]) for column in table.columns}
        for metric, true in truth.items():
            found = compare(sample, own, metric, 0.95)
            if found.extreme is None or true is None or found.gaps:
                continue
            held[metric] += (1, found.extreme.lower <= true.value, found.extreme.upper >= true.value)
    result.say("", f"### {name}, {rows:,} rows")
    lines, least = [], 1.0
    for metric, (answered, lower, upper) in held.items():
        if not answered or (true := truth[metric]) is None:
            continue
        allowed = stats.binom.ppf(0.001, answered, 0.95)
        least = min(least, min(lower, upper) / max(allowed, 1))
        lines.append((metric, f"{true.value:.4f}", answered, f"{lower / answered:.1%}", f"{upper / answered:.1%}"))
    result.table(("metric", "truth", "answered", "lower holds", "upper holds"), lines)
    said = "all" if least >= 1 else "not all"
    result.target(f"fairness bounds hold: {name}", ">= 95 % each, less chance", said, met=least >= 1)


# --- a real table -----------------------------------------------------------------------------------------------


class Real(NamedTuple):
    """A real table's half that a model was not trained on, and what it said."""

    table: pl.DataFrame
    sample: Sample


def adult(folder: Path) -> Real:
    """The census table: LightGBM on one half, the other half to inspect."""
    frame = pl.read_parquet(folder / "adult.parquet")
    y = frame["class"].cast(pl.String).str.contains(">50K").to_numpy().astype(np.int64)
    rows = frame.drop("class", "fnlwgt")
    coded = rows.with_columns(pl.col(pl.Categorical).to_physical()).cast(pl.Float64).to_numpy()
    order = np.random.default_rng(3).permutation(len(y))
    train, rest = order[: len(y) // 2], order[len(y) // 2 :]
    model = LGBMClassifier(n_estimators=150, num_leaves=15, verbose=-1, n_jobs=2, random_state=3)
    model.fit(coded[train], y[train])
    score = model.booster_.predict(coded[rest])
    sample = Sample(task=Task.BINARY, y=y[rest], score=np.asarray(score, dtype=np.float64), threshold=0.5)
    return Real(rows[rest], sample)


def real_part(result: Result, folder: Path, seeds: int, repetitions: int) -> None:
    """Promises 2 and 3 on the census table, and what is weak about a real model there."""
    real = adult(folder)
    examined = Examined(sample=real.sample, rows=real.table, columns=tuple(real.table.columns), answer=silent)
    found = weak_slices(examined, Brief())
    error = float((real.sample.decision != real.sample.y).mean())
    result.say("", f"## Adult: LightGBM on one half, {real.sample.n:,} rows inspected, {error:.1%} wrong", "")
    result.say(*[f"- {finding.sentence}" for finding in found.findings] or ["Nothing is found."])
    wrong = real.sample.decision != real.sample.y
    outcomes = each(partial(shuffled, table=real.table, wrong=wrong), range(seeds))
    nothing(result, "errors of the model on Adult, shuffled", outcomes)
    people = real.table.select("sex", "race")
    fairness_part(result, "Adult, sex and race", real.sample, people, rows=15_000, repetitions=repetitions)


def arguments() -> Any:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repetitions", type=int, default=1_000, help="holdouts for the fairness intervals")
    parser.add_argument("--tables", type=Path, help="a folder with adult.parquet")
    add_results_option(parser)
    return parser.parse_args()


def main() -> int:
    """Simulations, then the real table."""
    asked_for = arguments()
    full = asked_for.seeds >= 200 and asked_for.rows >= ROWS and asked_for.repetitions >= 1_000
    result = Result("weak_slices", "Weak slices and fairness, held against the truth", full=full)
    result.say(
        f"{asked_for.rows:,} rows × {NUMBERS + CATEGORIES} columns, {BASE:.0%} wrong, {BASE + WORSE:.0%} in the slice.",
        "A slice is found where a reported group has half of its rows in it and covers half of it.",
    )
    started = time.perf_counter()
    planted_part(result, asked_for.seeds, asked_for.rows)
    result.say("", "## Fairness intervals")
    sizes: Mapping[str, int] = {"simulated": 2_000, "simulated, larger": 10_000}
    sample, people = simulated_people(200_000)
    for name, rows in sizes.items():
        fairness_part(result, name, sample, people, rows=rows, repetitions=asked_for.repetitions)
    if asked_for.tables is not None and (asked_for.tables / "adult.parquet").exists():
        real_part(result, asked_for.tables, asked_for.seeds, asked_for.repetitions)
    result.say("", f"{time.perf_counter() - started:,.0f} s.")
    return result.finish(asked_for.results)


if __name__ == "__main__":
    sys.exit(main())
