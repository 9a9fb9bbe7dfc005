"""Weak slices: planted ones are found in words that name them, nothing is found where nothing is."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roadworthy.measures.columns import numbers
from roadworthy.measures.examined import Answered, Brief, Examined
from roadworthy.measures.samples import Sample
from roadworthy.measures.weak_slices import weak_slices
from roadworthy.measures.weak_slices.axes import axes_of
from roadworthy.measures.weak_slices.groups import Cut, weak_groups
from roadworthy.measures.weak_slices.proof import discoveries, worse_p
from roadworthy.measures.weak_slices.search import find, inside
from roadworthy.records.evidence import Found
from roadworthy.records.project import Task

Mask = NDArray[np.bool_]


def table_of(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    """Three numbers, one with missing values, and two categories."""
    gaps = pl.Series(rng.random(rows) < 0.08)
    return pl.DataFrame(
        {
            "hour": rng.uniform(0, 24, rows),
            "amount": np.exp(rng.normal(size=rows)),
            "income": pl.Series(rng.normal(size=rows)).set(gaps, None),
            "device": rng.choice(["android", "ios", "web"], rows, p=[0.5, 0.2, 0.3]),
            "country": rng.choice(list("abcdefgh"), rows, p=[0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.05]),
        }
    )


def silent(rows: pl.DataFrame) -> Answered:
    return Answered(score=np.zeros(rows.height), refused=np.zeros(rows.height, dtype=bool))


def decided(table: pl.DataFrame, wrong: Mask, clusters: NDArray[np.int64] | None = None) -> Examined:
    """A binary model that is wrong where it should be."""
    y = (np.random.default_rng(5).random(table.height) < 0.4).astype(np.int64)
    score = np.where(wrong, 1 - y, y) * 0.6 + 0.2
    sample = Sample(task=Task.BINARY, y=y, score=score, threshold=0.5, clusters=clusters)
    return Examined(sample=sample, rows=table, columns=tuple(table.columns), answer=silent)


def planted(form: str, table: pl.DataFrame) -> Mask:
    """About 5 % of the rows, at edges that no grid of bins has."""
    hour, device, country = (table[name].to_numpy() for name in ("hour", "device", "country"))
    if form == "one value":
        return np.asarray(country == "f")
    if form == "interval":
        return np.asarray((hour > 6.71) & (hour <= 7.91))
    if form == "value and interval":
        return np.asarray((device == "ios") & (hour > 3.33) & (hour <= 9.33))
    if form == "missing":
        return table["income"].is_null().to_numpy()
    amount = table["amount"].to_numpy()
    low, high = np.quantile(amount, [0.61, 0.61 + 0.2236])
    return np.asarray((hour > 11.3) & (hour <= 16.67) & (amount > low) & (amount <= high))


def run(seed: int, form: str = "", rows: int = 10_000) -> tuple[Cut, Mask]:
    rng = np.random.default_rng(seed)
    table = table_of(rng, rows)
    mask = planted(form, table) if form else np.zeros(rows, dtype=bool)
    wrong = rng.random(rows) < np.where(mask, 0.30, 0.15)
    return weak_groups(decided(table, wrong), Brief(seed=seed)), mask


def covers(cut: Cut, mask: Mask) -> bool:
    """Whether a group has half of its rows in the planted slice, and covers half of it."""
    return any((item.rows & mask).sum() >= 0.5 * max(item.rows.sum(), mask.sum()) for item in cut.groups)


@pytest.mark.parametrize("form", ["one value", "interval", "value and interval", "missing", "two intervals"])
def test_a_planted_slice_is_found(form: str) -> None:
    # the benchmark: 200 seeds of seven forms, 10 columns, at least 190 of 200 each
    assert sum(covers(*run(seed, form)) for seed in range(8)) >= 7


def test_errors_that_depend_on_no_column_report_nothing() -> None:
    # at most 5 % of seeds; 4 or more of 20 have a chance of 1 in 60, and the seeds are what they are
    assert sum(bool(run(1000 + seed)[0].groups) for seed in range(20)) <= 3


def test_a_slice_that_its_own_rows_prove_would_be_a_false_report() -> None:
    # the null simulation is able to fail: on the rows that found them, groups of pure noise look proven
    rng = np.random.default_rng(3)
    table = table_of(rng, 4000)
    loss = (rng.random(4000) < 0.15).astype(np.float64)
    axes = axes_of(table, table.columns, 60)
    codes = [axis.codes for axis in axes]
    found = find(axes, codes, loss, least=60, effect=0.03, rounds=2)
    own = [worse_p(loss, inside(candidate, codes), None) for candidate in found]
    assert any(discoveries(own, [candidate.score for candidate in found], 0.05))


def told(form: str = "value and interval", rows: int = 20_000, **more: Any) -> Found:
    rng = np.random.default_rng(8)
    table = table_of(rng, rows)
    wrong = rng.random(rows) < np.where(planted(form, table), 0.45, 0.10)
    return weak_slices(replace(decided(table, wrong), **more), Brief())


def test_a_group_is_told_with_its_size_and_errors() -> None:
    found = told()
    (measured,) = found.measurements
    (finding,) = found.findings
    assert measured.metric == "weak_slices"
    assert measured.lower == measured.value == measured.upper == 1
    assert measured.reason.startswith("Provably worse than elsewhere: hour in [3.")
    assert finding.kind == "weak_slice"
    assert finding.grade == "suspects"
    assert finding.subject.endswith(", device=ios")
    low, high = finding.subject.split("[")[1].split(")")[0].split(", ")
    assert float(low) == pytest.approx(3.33, abs=0.5)
    assert float(high) == pytest.approx(9.33, abs=0.5)
    details = finding.details
    assert 0.35 < details["lower"] < details["error"] < details["upper"] < 0.55
    assert details["lower"] < 0.45 < details["upper"]
    assert details["elsewhere"] == pytest.approx(0.10, abs=0.01)
    assert f"{details['rows']:,} rows" in finding.sentence
    assert f"{details['error']:.1%}" in finding.sentence
    (exhibit,) = found.exhibits
    assert list(exhibit.columns) == ["slice", "rows", "error", "lower", "upper", "elsewhere", "p"]
    assert exhibit.columns["slice"] == [finding.subject]


def test_missing_values_and_values_of_a_category_are_named() -> None:
    assert [finding.subject for finding in told("missing").findings] == ["income is missing"]
    assert [finding.subject for finding in told("one value").findings] == ["country=f"]


def test_two_slices_are_two_findings_and_one_is_one() -> None:
    rng = np.random.default_rng(4)
    table = table_of(rng, 20_000)
    both = planted("missing", table) | planted("one value", table)
    found = weak_slices(decided(table, rng.random(20_000) < np.where(both, 0.45, 0.10)), Brief())
    assert sorted(finding.subject for finding in found.findings) == ["country=f", "income is missing"]


def test_who_a_row_belongs_to_is_no_column_to_cut_by() -> None:
    assert told("one value", entity="country").findings == ()


def test_a_protected_column_that_the_model_does_not_read_is_cut_by() -> None:
    found = told("one value", columns=("hour", "amount"), protected=("country",))
    assert [finding.subject for finding in found.findings] == ["country=f"]


def test_rows_of_one_entity_do_not_prove_what_their_entity_did() -> None:
    # errors come by entity, and so does a column: as independent rows they would prove slices that are not there
    reports = {True: 0, False: 0}
    for seed in range(12):
        rng = np.random.default_rng(seed)
        entity = np.repeat(np.arange(200), 25)
        table = pl.DataFrame({"a": rng.normal(size=200)[entity], "b": rng.normal(size=200)[entity]})
        wrong = rng.random(5000) < rng.beta(0.5, 2.0, size=200)[entity]
        for known in reports:
            cut = weak_groups(decided(table, wrong, entity if known else None), Brief(seed=seed))
            reports[known] += bool(cut.groups)
    assert reports[True] <= 2
    assert reports[False] >= 6


def test_errors_in_regression() -> None:
    rng = np.random.default_rng(6)
    table = table_of(rng, 10_000)
    mask = planted("value and interval", table)
    errors = rng.exponential(size=10_000) * np.where(mask, 2.0, 1.0)
    sample = Sample(task=Task.REGRESSION, y=errors, score=np.zeros(10_000))
    examined = Examined(sample=sample, rows=table, columns=tuple(table.columns), answer=silent)
    (finding,) = weak_slices(examined, Brief()).findings
    assert finding.subject.endswith("device=ios")
    assert "mean absolute error" in finding.sentence
    assert finding.details["lower"] < 2.0 < finding.details["upper"]
    shuffled = replace(examined, sample=replace(sample, y=rng.permutation(errors)))
    assert weak_slices(shuffled, Brief()).measurements[0].value == 0


def test_scores_without_a_threshold_are_judged_by_their_squares() -> None:
    rng = np.random.default_rng(7)
    table = table_of(rng, 10_000)
    examined = decided(table, rng.random(10_000) < np.where(planted("one value", table), 0.5, 0.1))
    found = weak_slices(replace(examined, sample=replace(examined.sample, threshold=None)), Brief())
    assert [finding.subject for finding in found.findings] == ["country=f"]
    assert "mean squared error" in found.findings[0].sentence


def test_nothing_found_on_few_rows_is_no_evidence() -> None:
    table = table_of(np.random.default_rng(1), 400)
    (measured,) = weak_slices(decided(table, np.zeros(400, dtype=bool)), Brief()).measurements
    assert measured.value is None
    assert "needs at least 1,000 rows, has 400" in measured.insufficient
    (none,) = weak_slices(decided(table.head(0), np.zeros(0, dtype=bool)), Brief()).measurements
    assert none.insufficient


def test_nothing_found_says_what_would_have_been() -> None:
    cut, _ = run(1)
    assert not cut.groups
    rng = np.random.default_rng(2)
    table = table_of(rng, 10_000)
    (measured,) = weak_slices(decided(table, rng.random(10_000) < 0.15), Brief()).measurements
    assert measured.value == 0
    assert "A group of 5% of the rows would be found" in measured.reason


def test_a_perfect_model_has_no_weak_slice() -> None:
    table = table_of(np.random.default_rng(1), 2000)
    (measured,) = weak_slices(decided(table, np.zeros(2000, dtype=bool)), Brief()).measurements
    assert measured.value == 0


def test_the_same_seed_says_the_same_and_quick_finds_what_is_strong() -> None:
    assert told() == told()
    rng = np.random.default_rng(9)
    table = table_of(rng, 30_000)
    examined = decided(table, rng.random(30_000) < np.where(planted("one value", table), 0.5, 0.1))
    found = weak_slices(examined, Brief(quick=True))
    assert [finding.subject for finding in found.findings] == ["country=f"]
    assert found.measurements[0].n == 12_000


def test_conditions_in_words() -> None:
    days = [date(2024, 1, 1) + timedelta(days=place % 3) for place in range(300)]
    table = pl.DataFrame(
        {
            "count": [place % 4 for place in range(300)],
            "day": days,
            "kind": ["a", "b", None] * 100,
            "rare": [f"v{place}" if place > 200 else "common" for place in range(300)],
            "flag": [place % 2 == 0 for place in range(300)],
            "same": [1] * 300,
            "part": [None if place < 30 else float(place) for place in range(300)],
        }
    )
    axes = {axis.name: axis for axis in axes_of(table, table.columns, 20)}
    assert "same" not in axes
    said = {name: axis.said(np.arange(axis.size) == 0) for name, axis in axes.items()}
    assert said["count"] == "count=0"
    assert said["day"] == "day < 2024-01-02"
    assert said["kind"] == "kind=a"
    assert said["rare"] == "rare=common"
    assert said["flag"] == "flag=false"
    rare, kind, part = axes["rare"], axes["kind"], axes["part"]
    assert rare.said(np.array([False, True])) == "rare=any other value"
    assert kind.said(np.array([True, False, True])) == "kind=a or missing"
    assert kind.said(np.array([True, True, False])) == "kind in {a, b}"
    assert part.said(np.arange(part.size) == part.missing) == "part is missing"
    assert part.said(np.arange(part.size) != part.missing) == "part is there"
    assert axes["count"].said(np.array([False, True, True, False])) == "count in [1, 3)"
    assert axes["count"].said(np.array([False, False, True, True])) == "count >= 2"


@given(
    values=st.lists(
        st.one_of(st.none(), st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, 1e308, -1e308, -5e-324, np.inf, np.nan])),
        min_size=2,
        max_size=60,
    )
)
@settings(max_examples=60, deadline=None)
def test_every_row_has_one_cell_that_its_edges_name(values: list[float | None]) -> None:
    column = pl.Series("x", values, dtype=pl.Float64)
    for axis in axes_of(pl.DataFrame({"x": column}), ["x"], 1):
        assert axis.codes.min() >= 0
        assert axis.codes.max() < axis.size
        for value, code in zip(numbers(column), axis.codes, strict=True):  # as every check reads them
            if np.isnan(value):
                assert code == axis.missing
                continue
            assert axis.edges[code] <= value
            assert code == len(axis.edges) - 1 or value < axis.edges[code + 1]
        assert (axis.atoms.sum(axis=1) > 0).all()


@given(
    p_values=st.lists(st.floats(0, 1), min_size=1, max_size=12),
    rate=st.sampled_from([0.01, 0.05, 0.2]),
    data=st.data(),
)
@settings(max_examples=80, deadline=None)
def test_discoveries_grow_with_the_rate_and_shrink_with_p(p_values: list[float], rate: float, data: Any) -> None:
    scores = data.draw(st.lists(st.floats(0, 9), min_size=len(p_values), max_size=len(p_values)))
    few, many = discoveries(p_values, scores, rate / 2), discoveries(p_values, scores, rate)
    assert all(more or not less for less, more in zip(few, many, strict=True))
    halved = discoveries([p / 2 for p in p_values], scores, rate)
    assert sum(halved) >= sum(many)


@pytest.mark.parametrize("kind", ["decisions", "errors", "clustered"])
def test_p_values_keep_their_promise(kind: str) -> None:
    rng = np.random.default_rng(21)
    below = np.zeros(2)
    for _ in range(400):
        group = rng.random(600) < 0.15
        clusters = None
        if kind == "decisions":
            loss = (rng.random(600) < 0.2).astype(np.float64)
        elif kind == "errors":
            loss = rng.exponential(size=600)
        else:
            clusters = np.repeat(np.arange(150), 4)
            group = (rng.random(150) < 0.3)[clusters]
            loss = (rng.random(600) < rng.beta(1, 4, 150)[clusters]).astype(np.float64)
        p = worse_p(loss, group, clusters)
        below += (p <= 0.05, p <= 0.01)
    assert below[0] <= 34  # 99.9 % of binomial(400, 0.05)
    assert below[1] <= 11
