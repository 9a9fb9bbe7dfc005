"""Fairness: values by hand after fairlearn's definitions, bounds that hold, groups that are too small are named."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from roadworthy.measures.examined import Answered, Brief, Examined
from roadworthy.measures.fairness import fairness
from roadworthy.measures.fairness.cohorts import cohorts, crossed
from roadworthy.measures.fairness.comparing import FORMS, compare
from roadworthy.measures.fairness.extremes import Group, greatest_difference, smallest_ratio
from roadworthy.measures.fairness.rates import POSITIVE
from roadworthy.measures.intervals import Bounds
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Found, Measurement
from roadworthy.records.project import Task
from roadworthy.records.verdict import Outcome
from roadworthy.standard.catalogue import CATALOGUE
from roadworthy.standard.judge import judge_requirement
from roadworthy.standard.requirement import Requirement


def silent(rows: pl.DataFrame) -> Answered:
    return Answered(score=np.zeros(rows.height), refused=np.zeros(rows.height, dtype=bool))


def people(counts: dict[str, tuple[int, int, int, int]]) -> Examined:
    """Per group: true positives, misses, false alarms, true negatives; scores 0.8 and 0.3, threshold 0.5."""
    group, y, score = [], [], []
    for name, cells in counts.items():
        for (truth, said), count in zip(((1, 0.8), (1, 0.3), (0, 0.8), (0, 0.3)), cells, strict=True):
            group += [name] * count
            y += [truth] * count
            score += [said] * count
    sample = Sample(task=Task.BINARY, y=np.array(y), score=np.array(score), threshold=0.5)
    rows = pl.DataFrame({"sex": [None if name == "null" else name for name in group], "x": np.zeros(len(y))})
    return Examined(sample=sample, rows=rows, columns=("x",), answer=silent, protected=("sex",))


def by_name(found: Found, cut: str = "protected=sex") -> dict[str, Measurement]:
    return {one.metric: one for one in found.measurements if one.slice == cut}


TWO = people({"f": (60, 40, 30, 170), "m": (150, 50, 40, 60)})
# f: 300 rows, positive 90/300 = .3, recall .6, false alarms 30/200 = .15, error 70/300, mean score 0.45, frequency 1/3
# m: 300 rows, positive 190/300, recall .75, false alarms .4, error 90/300, mean score (190·.8+110·.3)/300, freq. 2/3


def test_values_are_those_of_the_definitions() -> None:
    found = by_name(fairness(TWO, Brief()))
    expected = {
        "demographic_parity_difference": 190 / 300 - 90 / 300,
        "demographic_parity_ratio": 90 / 190,
        "equal_opportunity_difference": 0.75 - 0.6,
        "equal_opportunity_ratio": 0.6 / 0.75,
        "equalized_odds_difference": 0.4 - 0.15,  # the greater of the recalls' 0.15 and the false alarms' 0.25
        "equalized_odds_ratio": 0.15 / 0.4,  # the lesser of 0.8 and 0.375
        "group_calibration_difference": (0.45 - 1 / 3) - ((190 * 0.8 + 110 * 0.3) / 300 - 2 / 3),
        "group_error_difference": 90 / 300 - 70 / 300,
    }
    assert {name: one.value for name, one in found.items()} == pytest.approx(expected)
    assert set(expected) == set(FORMS)
    for one in found.values():
        assert one.lower is not None
        assert one.upper is not None
        assert one.lower <= (one.value or 0.0) <= one.upper
    assert found["demographic_parity_difference"].reason == "sex: m 0.6333, f 0.3."


def test_every_metric_of_the_task_is_measured_for_every_column_and_over_all() -> None:
    both = replace(TWO, rows=TWO.rows.with_columns(hand=pl.Series(["l", "r"] * 300)), protected=("sex", "hand"))
    found = fairness(both, Brief())
    owned = {name for name, metric in CATALOGUE.items() if metric.cut == "protected"}
    assert owned == set(FORMS)
    assert {(one.metric, one.slice) for one in found.measurements} == {
        (name, cut) for name in owned for cut in ("", "protected=sex", "protected=hand")
    }
    over_all, own = by_name(found, ""), by_name(found)
    for name, one in over_all.items():
        hand = by_name(found, "protected=hand")[name]
        worst = min if name.endswith("_ratio") else max
        assert one.value == worst(own[name].value or 0.0, hand.value or 0.0)
    assert over_all["demographic_parity_difference"].reason.startswith("sex: ")
    assert [exhibit.name for exhibit in found.exhibits] == ["fairness", "fairness_crossed"]
    assert found.exhibits[1].columns["group"] == ["f, l", "f, r", "m, l", "m, r"]


def test_differences_that_are_proven_are_suspected_and_told() -> None:
    found = fairness(people({"f": (60, 440, 60, 1440), "m": (480, 20, 450, 1050)}), Brief())
    told = {one.details["family"]: one.sentence for one in found.findings if one.kind == "fairness"}
    assert set(told) == {"demographic_parity", "equal_opportunity", "group_calibration"}
    assert "shares of positive decisions: m 0.465, f 0.06" in told["demographic_parity"]
    assert "below four fifths (EEOC 1978)" in told["demographic_parity"]
    assert all(one.grade == "suspects" for one in found.findings if one.kind == "fairness")


def test_what_is_not_proven_is_not_suspected() -> None:
    found = fairness(people({"f": (12, 10, 4, 20), "m": (14, 8, 6, 18)}), Brief())
    assert [one for one in found.findings if one.grade == "suspects"] == []


def test_differing_base_rates_are_noted_with_what_follows() -> None:
    (note,) = [one for one in fairness(TWO, Brief()).findings if one.kind == "fairness_base_rates"]
    assert note.grade == "notes"
    assert "(f 0.333, m 0.667)" in note.sentence
    assert "Chouldechova 2017" in note.sentence
    alike = people({"f": (60, 40, 30, 70), "m": (80, 20, 50, 50)})
    assert not [one for one in fairness(alike, Brief()).findings if one.kind == "fairness_base_rates"]


def test_a_group_that_is_too_small_is_insufficient_with_the_rows_it_would_take() -> None:
    found = fairness(people({"f": (60, 40, 30, 170), "m": (150, 50, 40, 60), "x": (3, 1, 5, 11)}), Brief())
    own = by_name(found)
    said = own["equal_opportunity_difference"].insufficient
    assert own["equal_opportunity_difference"].value is None
    # 4 of 620 rows are events of x; 6 more take 620 · 6 / 4 rows like these
    assert "sex=x has 4 events and needs at least 10; about 930 more rows like these would do" in said
    assert own["demographic_parity_difference"].value is not None  # 20 rows of x are enough for a share of rows
    (note,) = [one for one in found.findings if one.kind == "fairness_small_group"]
    assert "fewer than 30 events to be judged by: x (4)" in note.sentence
    assert found.exhibits[0].columns["group"] == ["f", "m", "x"]
    assert found.exhibits[0].columns["recall"][2] is None


def test_what_the_other_groups_prove_stays_proven_beside_a_small_one() -> None:
    asked = Requirement(metric="equal_opportunity_difference", at_most=0.1, slice="protected")
    unfair = people({"f": (20, 180, 30, 170), "m": (180, 20, 40, 60), "x": (1, 0, 0, 0)})
    found = fairness(unfair, Brief(required=[asked]))
    assert judge_requirement(asked, found.measurements).outcome is Outcome.FAIL
    fair = people({"f": (150, 50, 30, 170), "m": (150, 50, 40, 60), "x": (1, 0, 0, 0)})
    lenient = replace_bound(asked, 0.5)
    found = fairness(fair, Brief(required=[lenient]))
    assert judge_requirement(lenient, found.measurements).outcome is Outcome.INSUFFICIENT


def replace_bound(asked: Requirement, bound: float) -> Requirement:
    return Requirement(metric=asked.metric, at_most=bound, slice=asked.slice)


def test_missing_is_a_group() -> None:
    found = fairness(people({"f": (60, 40, 30, 170), "null": (50, 50, 40, 160)}), Brief())
    assert found.exhibits[0].columns["group"] == ["f", "missing"]
    assert by_name(found)["equal_opportunity_difference"].value == pytest.approx(0.1)


def test_one_group_many_groups_and_no_threshold_say_what_is_missing() -> None:
    alone = by_name(fairness(people({"f": (60, 40, 30, 170)}), Brief()))
    assert "sex has one group only" in alone["group_error_difference"].insufficient
    many = replace(TWO, rows=TWO.rows.with_columns(sex=pl.Series([f"v{place % 60}" for place in range(600)])))
    assert "sex has 60 groups, more than 50" in by_name(fairness(many, Brief()))["group_error_difference"].insufficient
    open_ended = replace(TWO, sample=replace(TWO.sample, threshold=None))
    found = by_name(fairness(open_ended, Brief()))
    assert "set [decision] threshold" in found["demographic_parity_ratio"].insufficient
    assert found["group_calibration_difference"].value is not None


def test_numbers_are_cut_in_quarters_and_few_values_are_groups() -> None:
    ages = cohorts(pl.Series("age", [*range(20, 100), None]))
    assert [one.name for one in ages] == ["below 40", "40 to below 60", "60 to below 80", "80 and more", "missing"]
    assert [int(one.rows.sum()) for one in ages] == [20, 20, 20, 20, 1]
    assert [one.name for one in cohorts(pl.Series("grade", [10, 2, 2, 1, None]))] == ["1", "2", "10", "missing"]
    assert [one.name for one in cohorts(pl.Series("flag", [True, False]))] == ["false", "true"]
    assert [one.name for one in cohorts(pl.Series("tag", ["1:a", "0:below b", "c"]))] == ["0:below b", "1:a", "c"]


@given(values=st.lists(st.one_of(st.none(), st.floats(-100, 100), st.just(float("nan"))), min_size=1, max_size=80))
@settings(max_examples=60, deadline=None)
def test_every_row_is_in_one_group(values: list[float | None]) -> None:
    found = cohorts(pl.Series("x", values, dtype=pl.Float64))
    assert (np.sum([one.rows for one in found], axis=0) == 1).all()
    pairs = crossed(found, found)
    assert (np.sum([one.rows for one in pairs], axis=0) == 1).all()


def test_other_tasks_compare_errors_alone() -> None:
    rng = np.random.default_rng(3)
    rows = pl.DataFrame({"sex": ["f"] * 300 + ["m"] * 300, "x": np.zeros(600)})
    errors = rng.normal(size=600) * np.repeat([1.0, 3.0], 300)
    numbers = Sample(task=Task.REGRESSION, y=errors, score=np.zeros(600))
    examined = Examined(sample=numbers, rows=rows, columns=("x",), answer=silent, protected=("sex",))
    found = fairness(examined, Brief())
    assert {one.metric for one in found.measurements} == {"group_error_difference"}
    own = by_name(found)["group_error_difference"]
    assert own.value == pytest.approx(float(np.abs(errors[300:]).mean() - np.abs(errors[:300]).mean()))
    assert [one.kind for one in found.findings] == ["fairness"]
    y = rng.integers(0, 3, 600)
    said = np.where(rng.random(600) < np.repeat([0.1, 0.5], 300), (y + 1) % 3, y)
    classes = Sample(task=Task.MULTICLASS, y=y, score=np.eye(3)[said])
    found = fairness(replace(examined, sample=classes), Brief())
    wrong = said != y
    assert {one.metric for one in found.measurements} == {"group_error_difference"}
    assert by_name(found)["group_error_difference"].value == pytest.approx(wrong[300:].mean() - wrong[:300].mean())


def fixed(value: float, reach: float) -> Group:
    return Group(f"{value}", lambda _level: Bounds(value, max(value - reach, 0.0), min(value + reach, 1.0), ""))


@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=6), reach=st.floats(0, 0.3))
@settings(max_examples=100, deadline=None)
def test_extremes_lie_within_their_bounds(values: list[float], reach: float) -> None:
    groups = [fixed(value, reach) for value in values]
    difference, ratio = greatest_difference([groups], 0.95), smallest_ratio([groups], 0.95)
    assert difference.value == max(values) - min(values)
    assert 0 <= difference.lower <= difference.value <= difference.upper
    if max(values) == 0:
        assert ratio is None
        return
    assert ratio is not None
    assert ratio.value == pytest.approx(min(values) / max(values))
    assert 0 <= ratio.lower <= ratio.value <= ratio.upper <= 1


# --- coverage -----------------------------------------------------------------------------------------------------


def coverage(
    population: Sample, table: pl.DataFrame, rows: int, repetitions: int, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Per metric: answers, lower bounds that hold, upper bounds that hold; of holdouts drawn with replacement."""
    whole = {name: cohorts(table[name]) for name in table.columns}
    truth = {metric: compare(population, whole, metric, 0.95).extreme for metric in FORMS}
    held = {metric: np.zeros(3) for metric in FORMS}
    rng = np.random.default_rng(seed)
    for _ in range(repetitions):
        places = rng.integers(0, population.n, rows)
        drawn = {name: cohorts(table[name][places]) for name in table.columns}
        for metric, true in truth.items():
            found = compare(population.take(places), drawn, metric, 0.95)
            if true is not None and found.extreme is not None and not found.gaps:
                held[metric] += (1, found.extreme.lower <= true.value, found.extreme.upper >= true.value)
    return held


def kept(held: dict[str, NDArray[np.float64]], least_answers: int) -> bool:
    """Every metric answered often enough, and held in 95 % less 3.2 standard errors."""
    for answered, lower, upper in held.values():
        assert answered >= least_answers
        if min(lower, upper) / answered < 0.95 - 3.2 * np.sqrt(0.95 * 0.05 / answered):
            return False
    return True


def simulated(rng: np.random.Generator, rows: int) -> tuple[Sample, pl.DataFrame]:
    group = rng.choice(["a", "b", "c"], size=rows, p=[0.65, 0.25, 0.1])
    shift = np.select([group == name for name in "abc"], [0.0, -0.5, 0.4])
    x = rng.normal(size=rows)
    y = (rng.random(rows) < 1 / (1 + np.exp(-(1.5 * x + shift)))).astype(np.int64)
    score = 1 / (1 + np.exp(-(1.2 * x + 0.5 * shift)))
    return Sample(task=Task.BINARY, y=y, score=score, threshold=0.5), pl.DataFrame({"group": group})


@pytest.mark.parametrize("rows", [500, 3000])
def test_bounds_hold_in_simulations(rows: int) -> None:
    population, table = simulated(np.random.default_rng(4), 60_000)
    assert kept(coverage(population, table, rows, 200, seed=6), 190)


def test_bounds_hold_where_groups_are_alike() -> None:
    # the greatest of chance differences is above the true one, which is nearly 0: lower bounds are put to the test
    population, _ = simulated(np.random.default_rng(4), 60_000)
    table = pl.DataFrame({"coin": np.random.default_rng(5).choice(list("abcdef"), 60_000)})
    assert kept(coverage(population, table, 1500, 120, seed=7), 110)


def test_bounds_hold_on_a_real_table() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    rng = np.random.default_rng(8)
    x = x[:, :3] + rng.normal(size=(len(y), 3)) * x[:, :3].std(axis=0)  # so that the model errs
    model = make_pipeline(StandardScaler(), LogisticRegression())
    score = cross_val_predict(model, x, y, cv=5, method="predict_proba")[:, 1]
    group = np.where(rng.random(len(y)) < np.where(y == 1, 0.6, 0.3), "a", "b")
    population = Sample(task=Task.BINARY, y=y, score=score, threshold=0.5)
    assert kept(coverage(population, pl.DataFrame({"group": group}), 400, 200, seed=9), 190)


def test_plain_bounds_of_the_greatest_pair_would_miss() -> None:
    # the simulation is able to fail: without sharing the chance of error, the greatest of many pairs looks proven
    rng = np.random.default_rng(10)
    missed = {"shared": 0, "plain": 0}
    for _ in range(150):
        hits = rng.binomial(400, 0.3, size=8)
        groups = [proportions(int(hit), 400) for hit in hits]
        missed["shared"] += greatest_difference([groups], 0.95).lower > 0
        pairs = [[high, low] for high in groups for low in groups if high is not low]
        missed["plain"] += max(greatest_difference([pair], 0.95).lower for pair in pairs) > 0
    assert missed["shared"] <= 16  # 99.9 % of binomial(150, 0.05)
    assert missed["plain"] > 30


def proportions(hits: int, rows: int) -> Group:
    sample = Sample(task=Task.BINARY, y=np.zeros(rows, dtype=int), score=(np.arange(rows) < hits) * 1.0, threshold=0.5)
    return Group(f"{hits}", cache(lambda level: POSITIVE.bounds(sample, level)))


def test_entities_widen_the_bounds_and_are_counted() -> None:
    doubled: dict[str, Any] = {"y": np.repeat(TWO.sample.y, 4), "score": np.repeat(TWO.sample.score, 4)}
    clusters = np.repeat(np.arange(600), 4)
    plain = Examined(
        sample=replace(TWO.sample, **doubled),
        rows=TWO.rows[np.repeat(np.arange(600), 4)],
        columns=("x",),
        answer=silent,
        protected=("sex",),
    )
    known = replace(plain, sample=replace(plain.sample, clusters=clusters))
    once, loose, tight = (by_name(fairness(one, Brief())) for one in (TWO, known, plain))
    for name in ("demographic_parity_difference", "equal_opportunity_difference", "group_error_difference"):
        assert loose[name].value == pytest.approx(tight[name].value)
        assert (loose[name].lower or 0) <= (tight[name].lower or 0)
        assert (loose[name].upper or 0) > (tight[name].upper or 0)
        assert loose[name].upper == pytest.approx(once[name].upper, abs=0.01)
        assert loose[name].clusters == 600


def test_confidence_is_that_of_the_requirement() -> None:
    asked = Requirement(metric="demographic_parity_ratio", at_least=0.8, slice="protected", confidence=0.99)
    found = fairness(TWO, Brief(required=[asked]))
    assert by_name(found)["demographic_parity_ratio"].confidence == 0.99
    assert by_name(found, "")["demographic_parity_ratio"].confidence == 0.95
    assert judge_requirement(asked, found.measurements).outcome is Outcome.FAIL
