"""What the statistics promise, held against simulations and against real tables.

1. **At the bound.** A model whose true value lies exactly at the bound passes in at most 5 % of holdouts, and fails
   in at most 5 %, for every metric.
2. **Threshold.** A threshold that was chosen subject to ``precision >= 0.80``, and is said to prove it, keeps it on
   rows that were never seen, in at least 95 % of repetitions.
3. **Choice.** Of candidates, one that is worse beyond doubt is preferred in at most 5 %, however cheap; and a cheap
   one that is as good as the others is turned down in at most 5 %.

In simulations the truth comes from 4 million rows. Of a real table half trains two models; the other half is then
the whole population, from which holdouts are drawn with replacement, so that its own values are the exact truth.
A count of n repetitions may exceed 5 % by chance: what is judged is the 99.9 % quantile of that (131 of 2,000).

    python benchmarks/guarantees.py --repetitions 2000 --tables folder/with/uci/tables
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import optimize, stats
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from intervals_coverage import POPULATIONS, logistic, truth_of
from result import Result, add_results_option
from roadworthy.measures.choice import choose
from roadworthy.measures.losses import row_losses
from roadworthy.measures.quality import measure, metrics_for
from roadworthy.measures.samples import Sample
from roadworthy.measures.thresholds import choose_threshold
from roadworthy.records.evidence import Measurement
from roadworthy.records.model import GraphCost
from roadworthy.records.project import DecisionSpec, Task
from roadworthy.records.verdict import Outcome
from roadworthy.standard.catalogue import CATALOGUE
from roadworthy.standard.judge import judge_requirement
from roadworthy.standard.metric import Direction
from roadworthy.standard.requirement import Requirement

Draw = Callable[[np.random.Generator, int], Sample]
Floats = NDArray[np.float64]
ALPHA = 0.05
PRECISION = 0.80
DECISION = DecisionSpec(threshold={"maximize": "recall", "subject_to": f"precision >= {PRECISION}"})
KNOWN_TABLES = {"adult": "class", "bank_marketing": "y", "bike_sharing": "cnt"}
MOST_TRAINING_ROWS = 5_000


class Tally(NamedTuple):
    """How often a promise was broken in how many repetitions that put it to the test."""

    broken: int
    tested: int

    @property
    def allowed(self) -> int:
        """The 99.9 % quantile of what chance alone breaks at 5 %."""
        return int(stats.binom.ppf(0.999, self.tested, ALPHA)) if self.tested else 0

    @property
    def kept(self) -> bool:
        """Whether no more was broken than chance allows."""
        return self.broken <= self.allowed

    def __str__(self) -> str:
        """Share and, where it is too many, a mark."""
        if not self.tested:
            return "never tested"
        text = f"{self.broken} of {self.tested} ({self.broken / self.tested:.1%})"
        return text if self.kept else f"**{text}**"


# --- 1. a model at the bound ------------------------------------------------------------------------------------


def at_the_bound(draw: Draw, truth: dict[str, float], rows: int, repetitions: int, seed: int) -> dict[str, list[int]]:
    """Per metric: passes, failures, and holdouts that gave an interval at all."""
    rng = np.random.default_rng(seed)
    counts = {metric: [0, 0, 0] for metric in truth}
    for _ in range(repetitions):
        sample = draw(rng, rows)
        for metric, value in truth.items():
            found = measure(metric, sample)
            outcome = judge_requirement(required(metric, value), [found]).outcome
            counts[metric][0] += outcome is Outcome.PASS
            counts[metric][1] += outcome is Outcome.FAIL
            counts[metric][2] += answered(found)
    return counts


def required(metric: str, bound: float) -> Requirement:
    """The requirement that a true value of ``bound`` just meets."""
    up = CATALOGUE[metric].direction is Direction.UP
    return Requirement(metric=metric, at_least=bound) if up else Requirement(metric=metric, at_most=bound)


def answered(found: Measurement) -> bool:
    """Whether the measurement has an interval."""
    return found.lower is not None and found.upper is not None


# --- 2. the threshold out of sample -----------------------------------------------------------------------------


def precision_at(population: Sample) -> Callable[[float], float]:
    """The population's precision at any threshold."""
    order = np.argsort(population.score, kind="stable")
    scores = population.score[order]
    events = np.concatenate([np.cumsum(population.y[order][::-1])[::-1], [0]])

    def at(threshold: float) -> float:
        first = int(np.searchsorted(scores, threshold, side="left"))
        called = len(scores) - first
        return float(events[first] / called) if called else float("nan")

    return at


def thresholds_hold(draw: Draw, population: Sample, rows: int, repetitions: int, seed: int) -> Tally:
    """Thresholds that are said to prove the constraint, and how many of them break it in the population."""
    rng = np.random.default_rng(seed)
    truth = precision_at(population)
    broken = tested = 0
    for _ in range(repetitions):
        chosen = choose_threshold(DECISION, draw(rng, rows))
        if "The constraint is not met" in chosen.explanation:
            continue
        tested += 1
        broken += not truth(chosen.threshold) >= PRECISION
    return Tally(broken, tested)


# --- 3. the choice among candidates -----------------------------------------------------------------------------

CHEAP = GraphCost(size_bytes=1_000, p50_ms=0.01, p99_ms=0.02, runs=1000)
DEAR = GraphCost(size_bytes=9_000, p50_ms=2.0, p99_ms=3.0, runs=1000)


def rivals(rng: np.random.Generator, rows: int, noise: list[float]) -> dict[str, Sample]:
    """Candidates on the same rows: each sees the truth through a noise of its own of that size."""
    x = rng.normal(size=rows)
    y = (rng.random(rows) < logistic(2 * x)).astype(np.int64)
    seen = {f"m{place}": x + size * rng.normal(size=rows) for place, size in enumerate(noise)}
    return {
        name: Sample(task=Task.BINARY, y=y, score=logistic(2 * view), threshold=0.5, reference=(0.5, 0.5))
        for name, view in seen.items()
    }


def cheap_one_chosen(candidates: dict[str, Sample]) -> bool:
    """Whether the first candidate, the only cheap one, is chosen."""
    first = next(iter(candidates))
    costs = {name: CHEAP if name == first else DEAR for name in candidates}
    return choose(candidates, costs, {}).candidate == first


def choices(rows: int, repetitions: int, seed: int) -> list[tuple[str, Tally]]:
    """Equal rivals, and a cheap one whose loss is worse by five standard errors."""
    rng = np.random.default_rng(seed)
    found = []
    for count in (2, 3):
        turned_down = sum(not cheap_one_chosen(rivals(rng, rows, [0.5] * count)) for _ in range(repetitions))
        found.append((f"{count} equal candidates: the cheap one is turned down", Tally(turned_down, repetitions)))
    noise = [worse_by(rows, 5.0), 0.5]
    preferred = sum(cheap_one_chosen(rivals(rng, rows, noise)) for _ in range(repetitions))
    found.append(("a cheap one worse by 5 standard errors is preferred", Tally(preferred, repetitions)))
    return found


def worse_by(rows: int, errors: float) -> float:
    """The noise that makes a candidate's true loss worse than noise 0.5 by so many standard errors of ``rows`` rows."""

    def excess(size: float) -> float:
        pair = rivals(np.random.default_rng(5), 200_000, [size, 0.5])
        difference = row_losses(pair["m0"]) - row_losses(pair["m1"])
        return float(difference.mean() / difference.std() * np.sqrt(rows)) - errors

    return float(optimize.brentq(excess, 0.55, 8.0, xtol=0.01))


# --- real tables ------------------------------------------------------------------------------------------------


class Table(NamedTuple):
    """A real table: features without missing values, and the target as class indices or numbers."""

    name: str
    task: Task
    x: Floats
    y: NDArray[Any]


def tables(folder: Path | None) -> Iterator[Table]:
    """What scikit-learn bundles, and the UCI tables that a folder holds."""
    x, y = load_breast_cancer(return_X_y=True)
    yield Table("breast cancer", Task.BINARY, x, (y == 0).astype(np.int64))
    x, y = load_digits(return_X_y=True)
    yield Table("digits, is it an 8", Task.BINARY, x, (y == 8).astype(np.int64))
    yield Table("digits", Task.MULTICLASS, x, y.astype(np.int64))
    x, y = load_diabetes(return_X_y=True)
    yield Table("diabetes", Task.REGRESSION, x, y.astype(np.float64))
    for name, target in KNOWN_TABLES.items() if folder is not None and folder.is_dir() else ():
        found = sorted(folder.glob(f"{name}.*")) if folder is not None else []
        if found:
            yield read_table(found[0], name.replace("_", " "), target)


def read_table(path: Path, name: str, target: str) -> Table:
    """A file as numbers: text by rank of its frequency, missing as -1."""
    if path.suffix == ".parquet":
        frame = pl.read_parquet(path)
    else:
        with path.open(encoding="utf-8") as stream:
            first = stream.readline()
        frame = pl.read_csv(path, separator=";" if ";" in first else ",")
    labels = frame[target]
    numeric = labels.dtype.is_numeric()
    y = labels.to_numpy() if numeric else (labels == labels.value_counts(sort=True)[target][-1]).to_numpy()
    kept = [column for column in frame.columns if column not in {target, "casual", "registered"}]
    coded = frame.select(
        (pl.col(column) if frame[column].dtype.is_numeric() else pl.col(column).cast(pl.String).rank("dense"))
        .cast(pl.Float64)
        .fill_null(-1)
        for column in kept
    )
    task = Task.REGRESSION if numeric else Task.BINARY
    return Table(name, task, coded.to_numpy(), y.astype(np.float64 if numeric else np.int64))


def fitted(table: Table, seed: int) -> tuple[Sample, Sample]:
    """Two models' scores of the half that they were not trained on: a linear one's, and boosted trees'."""
    order = np.random.default_rng(seed).permutation(len(table.y))
    train, rest = order[: len(order) // 2][:MOST_TRAINING_ROWS], order[len(order) // 2 :]
    if table.task is Task.REGRESSION:
        models: list[Any] = [LinearRegression(), HistGradientBoostingRegressor(max_iter=60, random_state=seed)]
        reference: tuple[float, ...] = (float(table.y[train].mean()),)
    else:
        models = [
            make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)),
            HistGradientBoostingClassifier(max_iter=40, random_state=seed),
        ]
        shares = np.bincount(table.y[train]) / len(train)
        reference = tuple(shares.tolist())
    samples = []
    for model in models:
        model.fit(table.x[train], table.y[train])
        score = model.predict(table.x[rest]) if table.task is Task.REGRESSION else model.predict_proba(table.x[rest])
        score = score[:, 1] if table.task is Task.BINARY else score
        samples.append(
            Sample(
                task=table.task,
                y=table.y[rest],
                score=np.asarray(score, dtype=np.float64),
                threshold=0.5 if table.task is Task.BINARY else None,
                reference=reference,
            )
        )
    return samples[0], samples[1]


def own_values(population: Sample) -> dict[str, float]:
    """A finite population's own values, the truth of what is drawn from it.

    Without those it may not answer (too few of a class), and without the calibration error: where no two rows share a
    score, nothing says how often a score comes true.
    """
    found = {metric: measure(metric, population).value for metric in metrics_for(population.task)}
    return {metric: value for metric, value in found.items() if value is not None and metric != "calibration_error"}


def resampling(population: Sample) -> Draw:
    """Holdouts from a population, with replacement."""
    return lambda rng, rows: population.take(rng.integers(0, population.n, rows))


def real_choice(first: Sample, second: Sample, rows: int, repetitions: int, seed: int) -> tuple[str, Tally]:
    """How often the worse of two real models is preferred where it is the cheap one, if they differ beyond doubt."""
    losses = row_losses(first), row_losses(second)
    worse, better = (first, second) if losses[0].mean() > losses[1].mean() else (second, first)
    difference = losses[0] - losses[1]
    errors = abs(float(difference.mean())) / (float(difference.std()) / np.sqrt(rows))
    if errors < 5:
        return f"{errors:.1f} standard errors apart", Tally(0, 0)
    rng = np.random.default_rng(seed)
    preferred = 0
    for _ in range(repetitions):
        places = rng.integers(0, worse.n, rows)
        preferred += cheap_one_chosen({"worse": worse.take(places), "better": better.take(places)})
    return f"{errors:.1f} standard errors apart", Tally(preferred, repetitions)


# --- the report -------------------------------------------------------------------------------------------------


class Book:
    """Gathers tallies by promise, for the targets at the end."""

    def __init__(self, result: Result, repetitions: int, rows: list[int]) -> None:
        self.result = result
        self.repetitions = repetitions
        self.rows = rows
        self.kept: dict[str, list[tuple[str, Tally]]] = {}

    def bound(self, name: str, draw: Draw, truth: dict[str, float], seed: int) -> None:
        """Promise 1 for one population, all sizes."""
        table = []
        for rows in self.rows:
            found = at_the_bound(draw, truth, rows, self.repetitions, seed)
            for metric, (passed, failed, answers) in found.items():
                tallies = Tally(passed, self.repetitions), Tally(failed, self.repetitions)
                table.append((metric, rows, f"{truth[metric]:.4f}", answers, *tallies))
                if answers:
                    self._note("passes at the bound", f"{name}, {metric}, {rows} rows", tallies[0])
                    self._note("fails at the bound", f"{name}, {metric}, {rows} rows", tallies[1])
        self.result.say("", f"### At the bound: {name}")
        self.result.table(("metric", "rows", "truth", "answered", "passes", "fails"), table)

    def threshold(self, name: str, draw: Draw, population: Sample, seed: int) -> None:
        """Promise 2 for one population, all sizes."""
        table = []
        for rows in self.rows:
            tally = thresholds_hold(draw, population, rows, self.repetitions, seed)
            table.append((rows, f"{tally.tested} of {self.repetitions}", tally))
            self._note("threshold breaks its constraint", f"{name}, {rows} rows", tally)
        self.result.say("", f"### Threshold subject to precision >= {PRECISION}: {name}")
        self.result.table(("rows", "said to be proven", "broken in the population"), table)

    def choice(self, name: str, rows: int, found: list[tuple[str, Tally]]) -> None:
        """Promise 3."""
        self.result.say("", f"### Choice: {name}, {rows} rows")
        self.result.table(("what", "repetitions"), found)
        for what, tally in found:
            promise = "equal candidate turned down" if "equal" in what else "worse candidate preferred"
            self._note(promise, f"{name}, {rows} rows, {what}", tally)

    def _note(self, promise: str, where: str, tally: Tally) -> None:
        self.kept.setdefault(promise, []).append((where, tally))

    def judge(self) -> None:
        """One target per promise; what broke it is named."""
        for promise, tallies in self.kept.items():
            tested = [(where, tally) for where, tally in tallies if tally.tested]
            broken = [f"{where}: {tally}" for where, tally in tested if not tally.kept]
            found = f"{len(tested) - len(broken)} of {len(tested)} cases within" + (": " if broken else "")
            self.result.target(promise, "<= 5 % in every case", found + "; ".join(broken), met=not broken)


def simulated(book: Book, big_rows: int, only: str) -> None:
    """All promises on populations whose law is known."""
    for seed, (name, draw) in enumerate(POPULATIONS.items()):
        if only not in name:
            continue
        population = draw(np.random.default_rng(1000 + seed), big_rows)
        truth = {metric: truth_of(metric, population) for metric in metrics_for(population.task)}
        book.bound(name, draw, truth, seed)
        if population.task is Task.BINARY:
            book.threshold(name, draw, population, seed)
    for rows in book.rows:
        book.choice("simulated", rows, choices(rows, book.repetitions, 77))


def real(book: Book, folder: Path | None) -> None:
    """All promises on real tables, by resampling."""
    for seed, table in enumerate(tables(folder)):
        first, second = fitted(table, seed)
        draw = resampling(first)
        book.bound(table.name, draw, own_values(first), seed)
        if table.task is Task.BINARY:
            book.threshold(table.name, draw, first, seed)
        for rows in book.rows:
            book.choice(table.name, rows, [real_choice(first, second, rows, book.repetitions, seed)])


def arguments() -> Any:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--population-rows", type=int, default=4_000_000)
    parser.add_argument("--only", default="", help="simulated populations whose name holds this")
    parser.add_argument("--tables", type=Path, help="a folder with UCI tables; those it has are used too")
    add_results_option(parser)
    return parser.parse_args()


def main() -> int:
    """Simulations, then real tables."""
    asked_for = arguments()
    full = asked_for.repetitions >= 2000 and not asked_for.only
    result = Result("guarantees", "What the statistics promise, held against the truth", full=full)
    result.say(
        f"{asked_for.repetitions} holdouts each. What is above that which chance allows at 5 % (99.9 % quantile) is",
        "**bold**; among a hundred cases one in ten times one is so by chance alone.",
        "`answered` counts holdouts that gave an interval at all; the others said `insufficient`.",
    )
    started = time.perf_counter()
    book = Book(result, asked_for.repetitions, asked_for.rows)
    result.say("", "## Simulations")
    simulated(book, asked_for.population_rows, asked_for.only)
    result.say("", "## Real tables, by resampling")
    real(book, asked_for.tables)
    book.judge()
    result.say("", f"{time.perf_counter() - started:,.0f} s.")
    return result.finish(asked_for.results)


if __name__ == "__main__":
    sys.exit(main())
