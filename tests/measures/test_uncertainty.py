"""Conformal sets, support and referral: what is promised holds on rows that were never seen."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.errors import DataError
from roadworthy.measures.charts import chart_for
from roadworthy.measures.examined import Answered, Brief, Examined
from roadworthy.measures.intervals import NotEnough
from roadworthy.measures.samples import Sample
from roadworthy.measures.uncertainty import ConformalPlan, SupportPlan, uncertainty
from roadworthy.measures.uncertainty.conformal import fit_conformal
from roadworthy.measures.uncertainty.crossfit import (
    mean_pinball,
    mean_size,
    measure_parts,
    pinball_losses,
    share_covered,
    share_referred,
)
from roadworthy.measures.uncertainty.parts import parts_of
from roadworthy.measures.uncertainty.support import fit_support
from roadworthy.records.evidence import Found, Measurement
from roadworthy.records.project import Task
from roadworthy.standard.requirement import Requirement


def silent(frame: pl.DataFrame) -> Answered:
    raise AssertionError(frame.columns)


def sample_of(task: Task, n: int, seed: int, *, rare: float = 0.5, clustered: bool = False) -> Sample:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    codes = np.arange(n) % max(n // 10, 1) if clustered else None
    if task is Task.BINARY:
        score = 1 / (1 + np.exp(-(2 * x[:, 0] + np.log(rare / (1 - rare)))))
        y = (rng.random(n) < score).astype(np.int64)
        return Sample(task=task, y=y, score=score, threshold=0.5, classes=("no", "yes"), clusters=codes)
    if task is Task.MULTICLASS:
        score = np.exp(1.5 * x) / np.exp(1.5 * x).sum(axis=1, keepdims=True)
        y = (score.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
        return Sample(task=task, y=y.astype(np.int64), score=score, classes=("a", "b", "c"), clusters=codes)
    y = x[:, 0] + (0.3 + np.exp(x[:, 0])) * rng.normal(size=n)
    return Sample(task=task, y=y, score=x[:, 0], clusters=codes)


def rows_of(n: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    return pl.DataFrame(
        {
            "a": x[:, 0],
            "b": np.exp(x[:, 1]),
            "both": x[:, 0] + 2 * x[:, 1],
            "c": pl.Series(x[:, 2]).set(pl.Series(rng.random(n) < 0.1), None),
            "kind": rng.choice(["red", "green", "blue"], n, p=[0.6, 0.3, 0.1]),
        }
    )


def examined_of(sample: Sample, rows: pl.DataFrame | None = None, **more: Any) -> Examined:
    frame = rows_of(sample.n) if rows is None else rows
    columns = tuple(name for name in frame.columns if name != more.get("time"))
    return Examined(sample=sample, rows=frame, columns=columns, answer=silent, **more)


def of(found: Found, metric: str) -> Measurement:
    (one,) = [one for one in found.measurements if one.metric == metric]
    return one


TASKS = (Task.BINARY, Task.MULTICLASS, Task.REGRESSION)


@pytest.mark.parametrize("task", TASKS)
def test_everything_is_measured_with_bounds_and_can_be_drawn(task: Task) -> None:
    found = uncertainty(examined_of(sample_of(task, 2000, 1)), Brief())
    own = "pinball" if task is Task.REGRESSION else "set_size"
    assert [one.metric for one in found.measurements] == ["coverage", "referred", own, "outside_support"]
    for one in found.measurements:
        assert None not in {one.lower, one.value, one.upper}
        assert (one.lower or 0) <= (one.value or 0) <= (one.upper or 0), one.metric
        assert one.n == 2000
    coverage = of(found, "coverage")
    assert (coverage.lower or 0) < 0.9 < (coverage.upper or 0)
    assert (of(found, "outside_support").value or 0) < 0.02
    assert [one.name for one in found.exhibits] == ["conformal", "referral"]
    for exhibit in found.exhibits:
        assert len({len(values) for values in exhibit.columns.values()}) == 1
        json.dumps(exhibit.columns, allow_nan=False)
        assert chart_for(exhibit) is not None
    (note,) = [one for one in found.findings if one.kind == "referral"]
    assert note.grade == "notes"
    assert ("raise accuracy" in note.sentence) is (task is not Task.REGRESSION)
    assert uncertainty(examined_of(sample_of(task, 2000, 1)), Brief()) == found


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("clustered", [False, True])
def test_the_bounds_hold_for_the_plan_that_would_be_served(task: Task, clustered: bool) -> None:
    """Cross-fitted rows lean on one another: what decides is whether the bounds hold. benchmarks/conformal.py: more."""
    n, repetitions = 400, 60
    population = sample_of(task, 40_000, 999)
    score = population.score.astype(np.float64)
    held: dict[str, list[tuple[bool, bool]]] = {}
    for seed in range(repetitions):
        sample = sample_of(task, n, seed, clustered=clustered)
        plan = fit_conformal(sample)
        applied = plan.apply(score)
        measured = measure_parts(sample, parts_of(examined_of(sample), np.random.default_rng(seed)))
        bounds = {
            "coverage": share_covered(measured, 0.95),
            "referred": share_referred(measured.refers, measured, 0.95),
        }
        truth = {"referred": plan.refers(score).mean()}
        if task is Task.REGRESSION:
            bounds["pinball"] = mean_pinball(measured, 0.95)
            truth["pinball"] = pinball_losses(population, applied).mean()
            truth["coverage"] = ((applied[:, 0] <= population.y) & (population.y <= applied[:, 1])).mean()
        else:
            bounds["set_size"] = mean_size(measured, 0.95)
            truth["set_size"] = applied.sum(axis=1).mean()
            truth["coverage"] = applied[np.arange(len(applied)), population.y].mean()
        for metric, one in bounds.items():
            held.setdefault(metric, []).append((one.lower <= truth[metric] + 1e-9, truth[metric] <= one.upper + 1e-9))
    for metric, kept in held.items():  # 60 at 95 %: 50 or fewer on one side come up once in a thousand
        assert min(np.sum(kept, axis=0)) > 50, metric


@given(
    st.sampled_from(TASKS),
    st.integers(40, 300),
    st.integers(0, 10_000),
    st.sampled_from([(0.5, 0.8), (0.8, 0.9), (0.9, 0.95)]),
)
@settings(max_examples=40, deadline=None)
def test_laws_of_a_conformal_plan(task: Task, n: int, seed: int, levels: tuple[float, float]) -> None:
    sample = sample_of(task, n, seed)
    less, more = (fit_conformal(sample, level) for level in levels)
    score = sample.score.astype(np.float64)
    assert (less.sizes(score) <= more.sizes(score) + 1e-12).all()  # more level never makes a set smaller
    applied = more.apply(score)
    if task is Task.REGRESSION:
        assert (applied[:, 0] <= score).all()
        assert (score <= applied[:, 1]).all()
    else:
        assert (applied.sum(axis=1) >= 1).all()  # never empty
        held = applied[np.arange(n), sample.y].mean()
        assert held >= levels[1]  # on its own rows at least what it promises
    again = msgspec.json.decode(msgspec.json.encode(more), type=ConformalPlan)
    assert again == more
    assert np.array_equal(again.apply(score), applied)
    assert len(msgspec.json.encode(more)) < 2_000


def test_a_class_that_is_rare_is_held_by_a_threshold_of_its_own() -> None:
    sample, new = sample_of(Task.BINARY, 8000, 1, rare=0.03), sample_of(Task.BINARY, 40_000, 2, rare=0.03)
    plan = fit_conformal(sample)
    rare = new.y == 1
    assert plan.apply(new.score)[rare, 1].mean() < 0.4  # the price of one threshold
    assert plan.apply(new.score, by_class=True)[rare, 1].mean() > 0.85
    shown = uncertainty(examined_of(sample), Brief()).exhibits[0].columns
    assert shown["group"] == ["no", "yes"]
    assert shown["coverage"][1] < 0.4
    assert shown["coverage_by_class"][1] > 0.8


def test_coverage_that_time_takes_away_is_suspected_and_shown_by_quarter() -> None:
    n = 8000
    rng = np.random.default_rng(3)
    age = np.linspace(0, 1, n)
    score = rng.normal(size=n)
    y = score + (0.5 + 3 * age) * rng.normal(size=n)
    order = rng.permutation(n)
    rows = rows_of(n).with_columns(when=pl.Series(order))
    aged = Sample(task=Task.REGRESSION, y=y[order], score=score[order])
    found = uncertainty(examined_of(aged, rows, time="when"), Brief())
    (finding,) = [one for one in found.findings if one.kind == "undercoverage"]
    assert finding.grade == "suspects"
    assert "later rows" in finding.sentence
    by_time = found.exhibits[0]
    assert (by_time.name, len(by_time.columns["group"])) == ("conformal", 4)
    assert all(one is not None and one < 0.9 for one in by_time.columns["upper"])
    shuffled = uncertainty(examined_of(aged, rows.drop("when")), Brief())  # without time nothing of it is seen
    assert [one.kind for one in shuffled.findings if one.kind == "undercoverage"] == []
    steady = uncertainty(examined_of(sample_of(Task.REGRESSION, n, 4), rows, time="when"), Brief())
    assert [one for one in steady.findings if one.grade != "notes"] == []


def test_rows_unlike_those_of_training_are_counted_and_suspected() -> None:
    train, rows = rows_of(4000, 1), rows_of(2000, 2)
    sample = sample_of(Task.BINARY, 2000, 5)
    known = {"train": train, "train_y": np.zeros(4000, dtype=np.int64)}
    alike = uncertainty(examined_of(sample, rows, **known), Brief())
    assert (of(alike, "outside_support").lower or 1) <= 0.012
    assert [one for one in alike.findings if one.kind == "outside_support"] == []
    moved = rows.with_columns(a=pl.when(pl.int_range(2000) < 300).then(pl.col("a") + 12).otherwise("a"))
    found = uncertainty(examined_of(sample, moved, **known), Brief())
    assert of(found, "outside_support").value == pytest.approx(0.16, abs=0.02)
    assert [one.grade for one in found.findings if one.kind == "outside_support"] == ["suspects"]
    assert (of(found, "referred").value or 0) > (of(alike, "referred").value or 0) + 0.05


@pytest.mark.parametrize(
    "strange",
    [
        {"a": 25.0},
        {"kind": "violet"},
        {"both": 6.0, "a": -2.0, "b": 1.0},
    ],
    ids=["out of range", "a new category", "a broken relation"],
)
def test_a_strange_row_is_outside_and_a_usual_one_is_not(strange: dict[str, Any]) -> None:
    plan = fit_support(rows_of(4000, 1), rows_of(1).columns, np.random.default_rng(0))
    usual = pl.DataFrame({"a": [0.1], "b": [1.1], "both": [0.25], "c": [0.2], "kind": ["red"]})
    assert plan.apply(usual)[0] > 0.05
    odd = usual.with_columns(**{name: pl.lit(value) for name, value in strange.items()})
    assert plan.apply(odd)[0] <= plan.outside


def test_a_p_value_is_at_most_a_with_probability_of_at_most_a() -> None:
    shares = []
    new = rows_of(3000, 77)
    for seed in range(6):
        plan = fit_support(rows_of(1500, seed), new.columns, np.random.default_rng(seed))
        shares.append([(plan.apply(new) <= level).mean() for level in (0.01, 0.05, 0.2)])
    means = np.mean(shares, axis=0)
    assert (means <= [0.015, 0.06, 0.22]).all()
    assert (means >= [0.005, 0.03, 0.15]).all()  # less where strangenesses tie


@given(st.integers(0, 1000), st.integers(0, 40))
@settings(max_examples=15, deadline=None)
def test_laws_of_a_support_plan(seed: int, blank: int) -> None:
    rows = rows_of(400, seed)
    plan = fit_support(rows, rows.columns, np.random.default_rng(seed))
    asked = rows_of(60, seed + 1).with_columns(
        a=pl.when(pl.int_range(60) < blank).then(None).otherwise("a"),
        b=pl.when(pl.int_range(60) == blank).then(float("inf")).otherwise("b"),
    )
    told = plan.apply(asked)
    assert ((told > 0) & (told <= 1)).all()
    again = msgspec.json.decode(msgspec.json.encode(plan), type=SupportPlan)
    assert again == plan
    assert np.array_equal(again.apply(asked), told)
    one_by_one = np.concatenate([plan.apply(asked[place : place + 1]) for place in range(5)])
    assert np.allclose(one_by_one, told[:5])
    assert len(msgspec.json.encode(plan)) < 120_000


def test_what_cannot_be_told_is_insufficient_and_never_a_crash() -> None:
    few = uncertainty(examined_of(sample_of(Task.BINARY, 60, 1)), Brief())
    assert all("needs at least 100 rows" in one.insufficient for one in few.measurements)
    assert len(few.measurements) == 4
    text = rows_of(180)
    some = uncertainty(examined_of(sample_of(Task.BINARY, 180, 1), text), Brief())
    assert "200 rows" in of(some, "outside_support").insufficient
    assert of(some, "coverage").value is not None
    alone = sample_of(Task.BINARY, 500, 1)
    entities = replace(alone, clusters=np.arange(500) % 6)
    lumped = uncertainty(examined_of(entities), Brief())
    assert "needs at least 10 entities" in of(lumped, "coverage").insufficient
    certain = Sample(task=Task.BINARY, y=alone.y, score=alone.y.astype(float), threshold=0.5)
    perfect = uncertainty(examined_of(certain), Brief())
    assert of(perfect, "coverage").value == 1.0
    assert [one for one in perfect.findings if one.grade != "notes"] == []  # better is never a fault
    with pytest.raises(NotEnough, match="9 rows"):
        fit_conformal(sample_of(Task.BINARY, 8, 1))
    with pytest.raises(DataError, match="lack the columns a"):
        fit_support(rows_of(300), ["a", "b"], np.random.default_rng(0)).apply(rows_of(3).drop("a"))
    three = fit_conformal(sample_of(Task.MULTICLASS, 50, 1))
    with pytest.raises(DataError, match="4 classes"):
        three.apply(np.full((4, 4), 0.25))
    with pytest.raises(DataError, match="1 dimensions"):
        three.apply(np.full(4, 0.25))


def test_a_requirement_sets_the_confidence() -> None:
    asked = Brief(required=[Requirement(metric="coverage", at_least=0.85, confidence=0.99)])
    sample = sample_of(Task.BINARY, 2000, 1)
    wide, usual = (of(uncertainty(examined_of(sample), brief), "coverage") for brief in (asked, Brief()))
    assert wide.confidence == 0.99
    assert (wide.lower or 1) < (usual.lower or 0)


def test_entities_never_calibrate_themselves_and_time_only_runs_forward() -> None:
    sample = sample_of(Task.BINARY, 500, 1, clustered=True)
    for part in parts_of(examined_of(sample), np.random.default_rng(0)).parts:
        assert sample.clusters is not None
        assert not set(sample.clusters[part.calibrate]) & set(sample.clusters[part.measure])
    when = np.random.default_rng(1).integers(0, 40, 500)
    rows = rows_of(500).with_columns(when=pl.Series(when))
    parts = parts_of(examined_of(sample, rows, time="when"), np.random.default_rng(0))
    assert parts.ordered
    for part in parts.parts:
        assert when[part.calibrate].max() < when[part.measure].min()
