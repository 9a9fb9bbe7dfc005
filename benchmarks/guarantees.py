"""What the statistics promise, held against simulations and against real tables.

1. **At the bound.** A model whose true value lies at the bound, a hair on the wrong side of it, passes in at most 5 %
   of holdouts, and one a hair on the right side fails in at most 7 % (intervals promise 93 %), for every quality metric
   of the catalogue. The hair matters where a population has few distinct values: a bound that a model meets exactly is
   met.
2. **Threshold.** A threshold that was chosen subject to ``precision >= 0.80`` (or ``recall >= 0.90``) is said to prove
   it, and breaks it on rows that were never seen, in at most 5 % of repetitions.
3. **Choice.** Of candidates, one that is worse beyond doubt is preferred in at most 5 %, however cheap; and a cheap
   one that is as good as the others is turned down in at most 5 %.

In simulations the truth comes from 4 million rows. Of a real table a third trains two models; the rest is then the
whole population, from which holdouts are drawn with replacement, so that its own values are the exact truth.
A count of n repetitions may exceed its share by chance: what is judged is the 99.9 % quantile of that (131 of 2,000 at
5 %, 176 at 7 %).

    python benchmarks/guarantees.py --repetitions 2000 --tables folder/with/uci/tables
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, stats

from intervals_coverage import Case, pieces, pool_of, simulated_case  # first: it sets one core per process
from populations import POPULATIONS, Floats, bundled, catalogue_name, fitted, logistic, measured, tables, truths
from result import Result, add_results_option
from roadworthy.measures.choice import choose
from roadworthy.measures.losses import row_losses
from roadworthy.measures.samples import Sample
from roadworthy.measures.thresholds import choose_threshold
from roadworthy.records.evidence import Measurement
from roadworthy.records.model import GraphCost
from roadworthy.records.project import DecisionSpec, Task
from roadworthy.records.verdict import Outcome
from roadworthy.standard.catalogue import CATALOGUE
from roadworthy.standard.judge import judge_requirement
from roadworthy.standard.metric import Direction, MetricKind
from roadworthy.standard.requirement import Requirement

ALPHA, FAILS = 0.05, 0.07
HAIR = 1e-9
MANY_ROWS = 2_000_000
CONSTRAINTS = {
    "precision >= 0.8": DecisionSpec(threshold={"maximize": "recall", "subject_to": "precision >= 0.8"}),
    "recall >= 0.9": DecisionSpec(threshold={"maximize": "precision", "subject_to": "recall >= 0.9"}),
}
ELSEWHERE = ("pinball", "overfit_gap")  # measured with the training rows too, each with a benchmark of its own


class Tally(NamedTuple):
    """How often a promise was broken in how many repetitions, of the share that it may be."""

    broken: int
    tested: int
    share: float = ALPHA

    @property
    def allowed(self) -> int:
        """The 99.9 % quantile of what chance alone breaks at that share."""
        return int(stats.binom.ppf(0.999, self.tested, self.share)) if self.tested else 0

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


def at_the_bound(case: Case, rows: int, repetitions: int, seed: list[int]) -> dict[str, Floats]:
    """Per metric: passes, failures, and holdouts that gave an interval at all."""
    rng, draw = np.random.default_rng(seed), case.draw
    counts = {name: np.zeros(3) for name in case.truth[rows]}
    for _ in range(repetitions):
        sample = draw(rng, rows)
        for name, value in case.truth[rows].items():
            found = measured(name, sample)
            worse, better = (judge_requirement(required(found, value, hair), [found]).outcome for hair in (HAIR, -HAIR))
            counts[name] += np.array([worse is Outcome.PASS, better is Outcome.FAIL, found.lower is not None])
    return counts


def required(found: Measurement, truth: float, hair: float) -> Requirement:
    """The requirement that a true value misses by a hair (meets, where it is negative), as sure as the measurement."""
    up = CATALOGUE[found.metric].direction is Direction.UP
    by = found.slice.partition("=")[0]
    hair *= max(abs(truth), 1e-3)
    if up:
        return Requirement(metric=found.metric, at_least=truth + hair, slice=by, confidence=found.confidence)
    return Requirement(metric=found.metric, at_most=truth - hair, slice=by, confidence=found.confidence)


# --- 2. the threshold out of sample -----------------------------------------------------------------------------


def value_at(constraint: str, population: Sample) -> Callable[[float], float]:
    """The population's precision or recall at any threshold."""
    order = np.argsort(population.score, kind="stable")
    scores = population.score[order]
    events = np.concatenate([np.cumsum(population.y[order][::-1])[::-1], [0]])

    def at(threshold: float) -> float:
        first = int(np.searchsorted(scores, threshold, side="left"))
        called = len(scores) - first if constraint.startswith("precision") else int(events[0])
        return float(events[first] / called) if called else float("nan")

    return at


@lru_cache(maxsize=2)
def population_of(name: str) -> Sample:
    """Very many rows of a law."""
    return POPULATIONS[name](np.random.default_rng(1000), MANY_ROWS)


def thresholds_hold(case: Case, constraint: str, rows: int, repetitions: int, seed: list[int]) -> tuple[int, int]:
    """Thresholds that break their constraint in the population, of those that are said to prove it."""
    rng, draw = np.random.default_rng(seed), case.draw
    truth = value_at(constraint, case.pool or population_of(case.name))
    bound = float(constraint.rsplit(maxsplit=1)[-1])
    broken = tested = 0
    for _ in range(repetitions):
        chosen = choose_threshold(CONSTRAINTS[constraint], draw(rng, rows))
        if not chosen.constraint_met:
            continue
        tested += 1
        broken += not truth(chosen.threshold) >= bound
    return broken, tested


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


def equal_turned_down(count: int, rows: int, repetitions: int, seed: int) -> tuple[str, Tally]:
    """How often the only cheap one of equal rivals is turned down."""
    rng = np.random.default_rng(seed)
    turned_down = sum(not cheap_one_chosen(rivals(rng, rows, [0.5] * count)) for _ in range(repetitions))
    return f"{count} equal candidates: the cheap one is turned down", Tally(turned_down, repetitions)


def worse_preferred(rows: int, repetitions: int, seed: int) -> tuple[str, Tally]:
    """How often a cheap one is chosen whose loss is worse by five standard errors."""
    rng = np.random.default_rng(seed)
    noise = [worse_by(rows, 5.0), 0.5]
    preferred = sum(cheap_one_chosen(rivals(rng, rows, noise)) for _ in range(repetitions))
    return "a cheap one worse by 5 standard errors is preferred", Tally(preferred, repetitions)


def worse_by(rows: int, errors: float) -> float:
    """The noise that makes a candidate's true loss worse than noise 0.5 by so many standard errors of ``rows`` rows."""

    def excess(size: float) -> float:
        pair = rivals(np.random.default_rng(5), 200_000, [size, 0.5])
        difference = row_losses(pair["m0"]) - row_losses(pair["m1"])
        return float(difference.mean() / difference.std() * np.sqrt(rows)) - errors

    return float(optimize.brentq(excess, 0.55, 8.0, xtol=0.01))


# --- the choice on real tables ----------------------------------------------------------------------------------


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
    """Hands out the work, and gathers tallies by promise for the targets at the end."""

    def __init__(self, result: Result, pool: ProcessPoolExecutor, repetitions: int, rows: list[int]) -> None:
        self.result = result
        self.pool = pool
        self.repetitions = repetitions
        self.rows = rows
        self.kept: dict[str, list[tuple[str, Tally]]] = {}
        self.seen: set[str] = set()

    def _pieces(self, seed: int, rows: int, work: Callable[..., Any], *words: Any) -> Any:
        return [
            self.pool.submit(work, *words, rows, size, [seed, rows, piece])
            for piece, size in enumerate(pieces(self.repetitions))
        ]

    def begin(self, case: Case, seed: int) -> Callable[[], None]:
        """Promises 1 and 2 for one population, all sizes; what comes back writes them down once they are there."""
        binary = case.pool.task is Task.BINARY if case.pool is not None else case.name.startswith("binary")
        bound = {rows: self._pieces(seed, rows, at_the_bound, case) for rows in self.rows}
        cuts = {
            (constraint, rows): self._pieces(seed, rows, thresholds_hold, case, constraint)
            for constraint in (CONSTRAINTS if binary else ())
            for rows in self.rows
        }

        def end() -> None:
            self._bound(case, bound)
            if cuts:
                self._thresholds(case.name, cuts)

        return end

    def _bound(self, case: Case, found: dict[int, list[Future[dict[str, Floats]]]]) -> None:
        table = []
        for rows, futures in found.items():
            done = [future.result() for future in futures]
            for name, value in case.truth[rows].items():
                passed, failed, answers = (int(number) for number in np.sum([part[name] for part in done], axis=0))
                tallies = Tally(passed, self.repetitions), Tally(failed, self.repetitions, FAILS)
                table.append((name, rows, f"{value:.4f}", answers, *tallies))
                self.seen.add(catalogue_name(name))
                if answers:
                    self._note("passes at the bound", f"{case.name}, {name}, {rows} rows", tallies[0])
                    self._note("fails at the bound", f"{case.name}, {name}, {rows} rows", tallies[1])
        self.result.say("", f"### At the bound: {case.name}")
        self.result.table(("metric", "rows", "truth", "answered", "passes", "fails"), table)

    def _thresholds(self, name: str, found: dict[tuple[str, int], list[Future[tuple[int, int]]]]) -> None:
        table = []
        for (constraint, rows), futures in found.items():
            broken, claimed = (int(count) for count in np.sum([future.result() for future in futures], axis=0))
            tally = Tally(broken, self.repetitions)
            table.append((constraint, rows, f"{claimed} of {self.repetitions}", tally))
            self._note("threshold breaks its constraint", f"{name}, {constraint}, {rows} rows", tally)
        self.result.say("", f"### Threshold subject to a constraint: {name}")
        self.result.table(("constraint", "rows", "said to be proven", "said so, and broken in the population"), table)

    def choice(self, name: str, rows: int, found: list[Future[tuple[str, Tally]]]) -> None:
        """Promise 3."""
        self.result.say("", f"### Choice: {name}, {rows} rows")
        done = [future.result() for future in found]
        self.result.table(("what", "repetitions"), done)
        for what, tally in done:
            promise = "equal candidate turned down" if "equal" in what else "worse candidate preferred"
            self._note(promise, f"{name}, {rows} rows, {what}", tally)

    def _note(self, promise: str, where: str, tally: Tally) -> None:
        self.kept.setdefault(promise, []).append((where, tally))

    def judge(self, *, everything: bool) -> None:
        """One target per promise: every case that put it to the test keeps it; those that broke it are named."""
        for promise, tallies in self.kept.items():
            tested = [(where, tally) for where, tally in tallies if tally.tested]
            broken = [f"{where}: {tally}" for where, tally in tested if not tally.kept]
            found = f"{len(tested) - len(broken)} of {len(tested)} cases within" + (": " if broken else "")
            self.result.target(
                promise, f"<= {tallies[0][1].share:.0%} in every case", found + "; ".join(broken), met=not broken
            )
        if everything:
            names = {one.name for one in CATALOGUE.values() if one.kind is MetricKind.QUALITY} - set(ELSEWHERE)
            missing = sorted(names - self.seen)
            said = f"{len(names) - len(missing)} of {len(names)}" + (f"; not: {', '.join(missing)}" if missing else "")
            self.result.target("every quality metric of the catalogue was at the bound", "all", said, met=not missing)


def simulated(book: Book, big_rows: int, only: str) -> Iterator[Callable[[], None]]:
    """Promises 1 and 2 on populations whose law is known."""
    laws = [book.pool.submit(simulated_case, name, big_rows, book.rows) for name in POPULATIONS if only in name]
    for seed, law in enumerate(laws):
        yield book.begin(law.result(), 50 + seed)


def choices(book: Book) -> None:
    """Promise 3 on rivals whose law is known."""
    found = {}
    for rows in book.rows:
        equal = [book.pool.submit(equal_turned_down, count, rows, book.repetitions, 77 + count) for count in (2, 3)]
        found[rows] = [*equal, book.pool.submit(worse_preferred, rows, book.repetitions, 77)]
    for rows, futures in found.items():
        book.choice("simulated", rows, futures)


def real(book: Book, folder: Path | None) -> None:
    """All promises on real tables, by resampling."""
    ends: list[Callable[[], None]] = []
    chosen = {}
    for seed, table in enumerate([*bundled(), *tables(folder)]):
        first, second = fitted(table, seed)
        case = Case(table.name, second, dict.fromkeys(book.rows, truths(second)))
        ends.append(book.begin(case, 100 + seed))
        for rows in book.rows if table.entity is None else ():
            future = book.pool.submit(real_choice, first, second, rows, book.repetitions, seed)
            chosen[table.name, rows] = future
    for end in ends:
        end()
    for (name, rows), future in chosen.items():
        book.choice(name, rows, [future])


def arguments() -> Any:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--population-rows", type=int, default=4_000_000)
    parser.add_argument("--only", default="", help="simulated populations whose name holds this")
    parser.add_argument("--tables", type=Path, help="a folder with UCI tables; those it has are used too")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quick", action="store_true", help="200 repetitions, truth from 300,000 rows; nothing judged")
    add_results_option(parser)
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.repetitions, chosen.population_rows = 200, 300_000
    return chosen


def main() -> int:
    """Simulations, then real tables."""
    asked_for = arguments()
    full = asked_for.repetitions >= 2000 and not asked_for.only
    result = Result("guarantees", "What the statistics promise, held against the truth", full=full)
    result.say(
        f"{asked_for.repetitions} holdouts each. What is above that which chance allows (99.9 % quantile) is",
        "**bold**; among a thousand cases one is so by chance alone. `answered` counts holdouts that gave an interval",
        "at all; the others said `insufficient`.",
    )
    started = time.perf_counter()
    with pool_of(asked_for.processes) as pool:
        book = Book(result, pool, asked_for.repetitions, asked_for.rows)
        result.say("", "## Simulations")
        for end in list(simulated(book, asked_for.population_rows, asked_for.only)):
            end()
        choices(book)
        result.say("", "## Real tables, by resampling")
        real(book, asked_for.tables)
    book.judge(everything=not asked_for.only)
    result.say("", f"{time.perf_counter() - started:,.0f} s, {asked_for.processes} processes.")
    return result.finish(asked_for.results)


if __name__ == "__main__":
    sys.exit(main())
