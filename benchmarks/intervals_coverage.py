"""How often the one-sided bounds of every quality metric hold, over simulated holdouts.

Draws holdouts from populations whose true values are known (from 4 million rows), measures each, and counts
how often the lower bound lies at or below the truth and the upper bound at or above it. Nominal is 95 % on
each side. Prints and writes ``benchmarks/results/intervals_coverage.md``.

    python benchmarks/intervals_coverage.py --holdouts 2000
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from result import Result, add_results_option
from roadworthy.measures.quality import measure, metrics_for
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task

Draw = Callable[[np.random.Generator, int], Sample]
ENTITY_ROWS = 4


def logistic(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse logit."""
    return np.asarray(1 / (1 + np.exp(-value)), dtype=np.float64)


def binary(offset: float, slope: float, believed: float, threshold: float, *, entity: float = 0.0) -> Draw:
    """Events from a logistic law; scores from the same law with slope ``believed`` (over-confident if more).

    ``entity`` is the standard deviation of a shift that the rows of one entity share and the model misses.
    """

    def draw(rng: np.random.Generator, n: int) -> Sample:
        clusters = None
        x, shift = rng.normal(size=n), np.zeros(n)
        if entity:
            clusters = np.arange(n) // ENTITY_ROWS
            groups = n // ENTITY_ROWS + 1
            shift = (entity * rng.normal(size=groups))[clusters]
            x = (rng.normal(size=groups)[clusters] + x) / np.sqrt(2)
        y = (rng.random(n) < logistic(offset + slope * x + shift)).astype(np.int64)
        score = logistic(offset + believed * x)
        return Sample(
            task=Task.BINARY, y=y, score=score, threshold=threshold, clusters=clusters, reference=(0.51, 0.49)
        )

    return draw


def multiclass(rng: np.random.Generator, n: int) -> Sample:
    """Three classes, one of them rarer, scores from the true law sharpened."""
    x = rng.normal(size=(n, 2))
    logits = np.column_stack([x[:, 0], x[:, 1], x.sum(axis=1) - 1.2])
    share = np.exp(logits * 1.5)
    share /= share.sum(axis=1, keepdims=True)
    y = (rng.random((n, 1)) > share.cumsum(axis=1)[:, :2]).sum(axis=1)
    score = np.exp(logits * 2)
    return Sample(task=Task.MULTICLASS, y=y, score=score / score.sum(axis=1, keepdims=True), reference=(0.4, 0.4, 0.2))


def regression(*, entity: bool) -> Draw:
    """Errors that are wider where the estimate is larger, with shared shifts where rows come by entity."""

    def draw(rng: np.random.Generator, n: int) -> Sample:
        clusters = np.arange(n) // ENTITY_ROWS if entity else None
        x = rng.normal(size=n)
        error = rng.normal(size=n) * np.exp(0.25 * x)
        if clusters is not None:
            error += (0.7 * rng.normal(size=n // ENTITY_ROWS + 1))[clusters]
        return Sample(task=Task.REGRESSION, y=2 * x + error, score=2 * x, clusters=clusters, reference=(0.0,))

    return draw


POPULATIONS: dict[str, Draw] = {
    "binary, balanced": binary(0.0, 2.0, 2.4, 0.5),
    "binary, 10 % events": binary(-3.2, 1.8, 2.1, 0.3),
    "binary, balanced, by entity": binary(0.0, 2.0, 2.4, 0.5, entity=1.0),
    "binary, 10 % events, by entity": binary(-3.4, 1.8, 2.1, 0.3, entity=0.8),
    "three classes": multiclass,
    "regression": regression(entity=False),
    "regression, by entity": regression(entity=True),
}
EXACT = ("accuracy", "precision", "recall", "specificity", "f1", "median_absolute_error")


def truth_of(metric: str, big: Sample) -> float:
    """The population's value, from a very large draw."""
    if metric == "calibration_error":
        return true_gap(big)
    value = measure(metric, big).value
    assert value is not None  # noqa: S101 - four million rows are enough for every metric
    return value


def true_gap(big: Sample) -> float:
    """Mean squared gap over 400 narrow bins of a very large draw, debiased."""
    score = big.score if big.task is Task.BINARY else big.score.max(axis=1)
    hit = (big.y == 1) if big.task is Task.BINARY else (big.score.argmax(axis=1) == big.y)
    order = np.argsort(score)
    gaps = [
        (hit[part].mean() - score[part].mean(), score[part].mean(), len(part)) for part in np.array_split(order, 400)
    ]
    squared = np.mean([gap**2 - level * (1 - level) / rows for gap, level, rows in gaps])
    return float(squared)


def coverage(draw: Draw, rows: int, seed: int, *, holdouts: int, big_rows: int, only: list[str]) -> list[str]:
    """One table line per metric."""
    rng = np.random.default_rng(seed)
    big = draw(rng, big_rows)
    metrics = [name for name in metrics_for(big.task) if not only or name in only]
    truth = {metric: truth_of(metric, big) for metric in metrics}
    tally = {metric: np.zeros(4) for metric in metrics}
    for _ in range(holdouts):
        sample = draw(rng, rows)
        for metric in metrics:
            got = measure(metric, sample)
            if got.lower is None or got.upper is None:
                continue
            tally[metric] += (1, got.lower <= truth[metric], got.upper >= truth[metric], got.upper - got.lower)
    lines = []
    for metric in metrics:
        answered, low, high, width = tally[metric]
        if answered < 0.05 * holdouts:
            lines.append(f"| {metric} | {truth[metric]:.4f} | {answered / holdouts:.0%} | insufficient | | |")
            continue
        low, high = low / answered, high / answered
        floor = 0.93 - 2 * np.sqrt(0.95 * 0.05 / answered)
        remark = "exact" if metric in EXACT else ("**below**" if min(low, high) < floor else "")
        lines.append(
            f"| {metric} | {truth[metric]:.4f} | {answered / holdouts:.0%} "
            f"| {low:.1%} | {high:.1%} | {width / answered:.4f} | {remark} |"
        )
    return lines


def main() -> int:
    """Run all populations and sizes and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--holdouts", type=int, default=2000)
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--population-rows", type=int, default=4_000_000)
    parser.add_argument("--only", default="", help="populations whose name holds this")
    parser.add_argument("--metrics", nargs="+", default=[])
    add_results_option(parser)
    chosen = parser.parse_args()
    started = time.perf_counter()
    full = chosen.holdouts >= 2000
    result = Result("intervals_coverage", "Coverage of the one-sided bounds", full=full)
    result.say(
        f"{chosen.holdouts} simulated holdouts each; nominal 95 % on each side. `answered` is the share of holdouts",
        "that gave bounds at all (the others said `insufficient`). Exact methods may cover more. A 2,000-fold",
        "simulation itself errs by about one point.",
    )
    for seed, (name, draw) in enumerate(POPULATIONS.items()):
        if chosen.only not in name:
            continue
        for rows in chosen.rows:
            result.say("", f"## {name}, {rows} rows", "")
            result.say(
                "| metric | truth | answered | lower holds | upper holds | mean width | |",
                "|---|---|---|---|---|---|---|",
                *coverage(
                    draw, rows, seed, holdouts=chosen.holdouts, big_rows=chosen.population_rows, only=chosen.metrics
                ),
            )
    below = sum("**below**" in line for line in result.lines)
    lines = sum(line.count("%") >= 3 for line in result.lines)
    result.target("both bounds hold", ">= 93 % everywhere, less chance", f"{below} of {lines} below", met=not below)
    result.say("", f"{time.perf_counter() - started:.0f} s")
    return int(below > 0 and full) if chosen.only or chosen.metrics else result.finish(chosen.results)


if __name__ == "__main__":
    sys.exit(main())
