"""What each declared feature costs to compute, beside what it is worth.

In: a project's features, rows with the columns that they read, the table of importance. Out: exhibit ``feature_cost``
and a note for each feature that is dear and provably useless. Laws: each feature is timed alone, on the same rows, in
the form in which history is computed; what it is worth is taken from the shuffling and never measured anew.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter_ns
from typing import Any

import polars as pl

from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.test_score import DEAR, TRIFLE
from roadworthy.records.evidence import Exhibit, Finding, Found
from roadworthy.records.project import ProjectSpec
from roadworthy.stages.inspection import Check
from roadworthy.transforms.aggregates import compute
from roadworthy.transforms.expressions import Expression, to_polars
from roadworthy.transforms.features import Feature, FeaturePlan

__all__ = ["feature_cost_check"]

_MOST_ROWS = 20_000
_RUNS, _QUICK_RUNS = 9, 3
_SECONDS = 1.0
"""A feature is timed at least three times, and not again once that has taken so long."""
_FEWEST_RUNS = 3


def feature_cost_check(spec: ProjectSpec, known: Found) -> Check:
    """The check for a project; ``known`` holds the exhibit ``importance`` where explanation could make it."""
    plan = FeaturePlan.build(spec)

    def lacks(_examined: Examined, _brief: Brief) -> str:
        return "" if plan.features else "no feature is declared"

    def steps(_examined: Examined, _brief: Brief) -> int | None:
        return len(plan.features)

    run = partial(_measured, plan, known)
    return Check(name="feature_cost", title="cost of features", run=run, lacks=lacks, steps=steps)


def _measured(plan: FeaturePlan, known: Found, examined: Examined, brief: Brief) -> Found:
    """Every feature's time on up to 20,000 of the inspected rows, dearest first."""
    rows = examined.rows.head(_MOST_ROWS)
    runs = brief.most(_RUNS, _QUICK_RUNS)
    timed: dict[str, float] = {}
    for feature in plan.features:
        timed[feature.name] = _nanoseconds(_work(feature, plan, rows), runs) / max(rows.height, 1)
        brief.advance(1)
    whole = sum(timed.values())
    worth = _benefits(known)
    lines = [
        {
            "column": name,
            "microseconds": took / 1000,
            "time_share": took / whole if whole else 0.0,
            **worth.get(name, {"benefit": None, "benefit_lower": None, "benefit_upper": None}),
            "missing_share": float(rows[name].null_count() / max(rows.height, 1)),
        }
        for name, took in sorted(timed.items(), key=lambda item: -item[1])
    ]
    note = (
        f"Time per row of each feature alone, the median of up to {runs} computations of {rows.height:,} rows; a "
        "feature that builds on another does not count the other's time. Benefit: how much quality is lost when the "
        "column is shuffled."
    )
    columns: dict[str, list[Any]] = {key: [line[key] for line in lines] for key in lines[0]}
    exhibit = Exhibit(name="feature_cost", title="What each feature costs and is worth", columns=columns, note=note)
    return Found(exhibits=(exhibit,), findings=tuple(_wasted(lines)))


def _work(feature: Feature, plan: FeaturePlan, rows: pl.DataFrame) -> Callable[[], object]:
    """The feature's own computation, in the form in which history is computed."""
    form = feature.form
    if isinstance(form, Expression):
        expression = to_polars(form).alias(feature.name)
        return lambda: rows.lazy().select(expression).collect()
    return lambda: compute(rows.lazy(), {feature.name: form}, time=plan.time)


def _nanoseconds(work: Callable[[], object], runs: int) -> float:
    """The median, after one run that warms up."""
    work()
    spent: list[int] = []
    while len(spent) < runs and (len(spent) < _FEWEST_RUNS or sum(spent) < _SECONDS * 1e9):
        begun = perf_counter_ns()
        work()
        spent.append(perf_counter_ns() - begun)
    return statistics.median(spent)


def _benefits(known: Found) -> dict[str, dict[str, float | None]]:
    """What each column is worth, as shuffling it told."""
    shown = next((one for one in known.exhibits if one.name == "importance"), None)
    if shown is None:
        return {}
    table = shown.columns
    return {
        column: {"benefit": drop, "benefit_lower": lower, "benefit_upper": upper}
        for column, drop, lower, upper in zip(
            table["column"], table["drop"], table["lower"], table["upper"], strict=True
        )
    }


def _wasted(lines: list[dict[str, Any]]) -> Iterator[Finding]:
    """A note per feature that is dear and provably worth next to nothing."""
    for line in lines:
        upper = line["benefit_upper"]
        if line["time_share"] > DEAR and upper is not None and upper < TRIFLE:
            sentence = (
                f"{line['column']} takes {line['time_share']:.0%} of the time of all features "
                f"({line['microseconds']:.3g} µs a row) and is provably worth less than {TRIFLE:g} of the base rate's "
                f"loss (at most {upper:.2g}): leave it out."
            )
            yield Finding(kind="dear_feature", subject=line["column"], grade="notes", sentence=sentence, details=line)
