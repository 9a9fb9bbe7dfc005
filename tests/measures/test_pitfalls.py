from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine

from roadworthy.measures.charts import chart_for
from roadworthy.measures.curves import exhibits_for
from roadworthy.measures.leakage import (
    Power,
    column_powers,
    duplicates_across,
    entity_overlap,
    leaks_measurement,
    target_leaks,
)
from roadworthy.measures.pitfalls import (
    accuracy_paradox,
    class_imbalance,
    cross_validation_gap,
    overfit_gap,
    overfitting,
)
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task


def family(n: int = 3000, **extra: np.ndarray) -> tuple[pl.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    columns = {f"c{k}": y * 0.4 * (k % 3) + rng.normal(size=n) for k in range(9)}
    columns["colour"] = np.where(rng.random(n) < 0.5 + 0.1 * y, "red", "blue")
    return pl.DataFrame(columns | extra), y


def graded(frame: pl.DataFrame, y: np.ndarray, task: Task = Task.BINARY) -> dict[str, str]:
    return {found.subject: found.grade for found in target_leaks(column_powers(frame, frame.columns, y, task))}


def test_a_column_apart_from_its_family_is_a_leak_and_a_lesser_one_is_suspected() -> None:
    frame, y = family()
    rng = np.random.default_rng(1)
    assert graded(frame, y) == {}
    told = y + 0.1 * rng.normal(size=len(y))
    hinted = 1.8 * y + rng.normal(size=len(y))
    both = frame.with_columns(refund=told, hint=hinted)
    assert graded(both, y) == {"refund": "fails", "hint": "suspects"}
    # the same knowledge as text, as its opposite, and where only some values tell
    names = pl.Series("stage", np.where(y == 1, "paid back", "open"))
    assert graded(frame.with_columns(names), y) == {"stage": "fails"}
    assert graded(frame.with_columns(refund=-told), y) == {"refund": "fails"}
    hidden = np.where(y == 1, rng.choice([-1.0, 1.0], len(y)), 0.0)
    assert graded(frame.with_columns(refund=hidden), y) == {"refund": "fails"}
    missing = pl.Series("closed_at", [1.0 if one else None for one in y])
    assert graded(frame.with_columns(missing), y) == {"closed_at": "fails"}


def test_a_column_of_many_values_gains_nothing_by_chance() -> None:
    frame, y = family()
    names = pl.Series("id", [f"u{k}" for k in range(len(y))])
    assert graded(frame.with_columns(names), y) == {}
    shops = pl.DataFrame({"shop": [f"s{k % 900}" for k in range(len(y))]})
    (power,) = column_powers(shops, ["shop"], y, Task.BINARY)
    assert power.power == pytest.approx(0.5, abs=0.05)  # on the rows it was learned from it would be 0.8


@pytest.mark.parametrize(
    ("load", "task"),
    [
        (load_breast_cancer, Task.BINARY),
        (load_wine, Task.MULTICLASS),
        (load_iris, Task.MULTICLASS),
        (load_digits, Task.MULTICLASS),
        (load_diabetes, Task.REGRESSION),
    ],
)
def test_honest_tables_accuse_no_column(load: object, task: Task) -> None:
    table = load()  # type: ignore[operator]  # a loader of scikit-learn's
    frame = pl.DataFrame(table.data, schema=[str(name) for name in table.feature_names])
    assert graded(frame, table.target, task) == {}


def test_leaks_are_found_for_numbers_too() -> None:
    table = load_diabetes()
    frame = pl.DataFrame(table.data, schema=table.feature_names)
    leaked = frame.with_columns(later=table.target + np.random.default_rng(0).normal(size=len(table.target)))
    assert graded(leaked, table.target, Task.REGRESSION) == {"later": "fails"}


def test_copied_rows_fail_and_chance_repeats_are_noted() -> None:
    rng = np.random.default_rng(2)
    train = pl.DataFrame({"x": rng.normal(size=500), "z": rng.normal(size=500)})
    held = pl.DataFrame({"x": rng.normal(size=200), "z": rng.normal(size=200)})
    assert duplicates_across(train, held, ["x", "z"]) == ()
    (found,) = duplicates_across(train, pl.concat([held, train.head(8)]), ["x", "z"])
    assert found.grade == "fails"
    assert found.details["rows"] == 8
    coarse = pl.DataFrame({"x": rng.integers(0, 5, 700)})
    (noted,) = duplicates_across(coarse.head(500), coarse.tail(200), ["x"])
    assert noted.grade == "notes"
    assert leaks_measurement([found, noted]).value == 1.0


def test_entities_on_both_sides_fail_only_where_they_were_to_be_kept_apart() -> None:
    train, held = pl.Series("user", ["a", "b", "c"]), pl.Series("user", ["c", "d", None])
    (apart,) = entity_overlap(train, held, allowed=False)
    (joined,) = entity_overlap(train, held, allowed=True)
    assert (apart.grade, joined.grade) == ("fails", "notes")
    assert apart.details["share"] == 0.5
    assert "c" not in apart.sentence.split()


def scored(n: int, skill: float, rare: float, seed: int = 0, reference: tuple[float, ...] | None = None) -> Sample:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    p = 1 / (1 + np.exp(-(skill * x + np.log(rare / (1 - rare)))))
    y = (rng.random(n) < p).astype(np.int64)
    return Sample(task=Task.BINARY, y=y, score=p, threshold=0.5, classes=("no", "yes"), reference=reference)


def test_accuracy_that_a_constant_answer_reaches_is_a_paradox() -> None:
    (found,) = accuracy_paradox(scored(2000, 0.2, 0.4))
    assert found.grade == "suspects"
    assert "most frequent class" in found.sentence
    (hidden,) = accuracy_paradox(scored(2000, 0.5, 0.04))
    assert hidden.grade == "fails"
    assert accuracy_paradox(scored(2000, 3.0, 0.5)) == ()
    (rare,) = class_imbalance(scored(2000, 0.5, 0.04))
    assert rare.subject == "yes"
    assert class_imbalance(scored(2000, 1.0, 0.5)) == ()


def test_the_overfit_gap_is_the_skill_lost_outside_training() -> None:
    unseen = scored(2000, 2.0, 0.5, 1)
    y = unseen.y
    learned = Sample(task=Task.BINARY, y=y, score=np.where(y == 1, 0.98, 0.02) + np.linspace(-0.01, 0.01, 2000))
    gap = overfit_gap(unseen, learned)
    assert (gap.lower or 0) > 0.4
    assert [found.kind for found in overfitting(gap)] == ["overfitting"]
    fair = overfit_gap(unseen, scored(2000, 2.0, 0.5, 2))
    assert (fair.lower or 0) < 0 < (fair.upper or 0) < 0.1
    assert overfitting(fair) == ()
    assert "training" in overfit_gap(unseen, learned.take(np.zeros(2000, dtype=bool))).insufficient


def test_a_holdout_worse_than_cross_validation_is_named() -> None:
    good, bad = scored(2000, 3.0, 0.5, 1), scored(2000, 0.5, 0.5, 2)
    assert [found.kind for found in cross_validation_gap(good, bad)] == ["cross_validation_gap"]
    assert cross_validation_gap(good, scored(2000, 3.0, 0.5, 3)) == ()
    assert cross_validation_gap(bad, good) == ()  # better is never a fault


def test_exhibits_are_bounded_finite_and_drawn() -> None:
    rng = np.random.default_rng(5)
    share = rng.dirichlet([1, 1, 1], 3000)
    samples = [
        scored(5000, 2.0, 0.3),
        Sample(task=Task.MULTICLASS, y=rng.integers(0, 3, 3000), score=share, classes=("a", "b", "c")),
        Sample(task=Task.REGRESSION, y=rng.normal(size=3000), score=rng.normal(size=3000)),
    ]
    for sample in samples:
        for exhibit in exhibits_for(sample):
            lengths = {len(values) for values in exhibit.columns.values()}
            assert len(lengths) == 1, exhibit.name
            assert lengths.pop() <= 700
            json.dumps(exhibit.columns, allow_nan=False)
            assert chart_for(exhibit) is not None, exhibit.name
    confusion = next(exhibit for exhibit in exhibits_for(samples[0]) if exhibit.name == "confusion")
    assert sum(confusion.columns["count"]) == 5000


def test_a_curve_says_how_calibration_is_judged() -> None:
    (note,) = [shown.note for shown in exhibits_for(scored(2000, 1.0, 0.5)) if shown.name == "calibration"]
    assert "25" in note
    assert "without" not in note


def test_equal_leaks_do_not_hide_one_another() -> None:
    frame, y = family()
    rng = np.random.default_rng(3)
    small = frame.select("c0", "c1", "c3").with_columns(refund=y + 0.01 * rng.normal(size=len(y)), closed=-2.0 * y)
    assert graded(small, y) == {"refund": "fails", "closed": "fails"}
    three = [Power(name, power, power - 0.01) for name, power in (("a", 0.98), ("b", 0.98), ("c", 0.6))]
    rest = [Power(f"r{place}", 0.55, 0.54) for place in range(2)]
    assert {found.subject: found.grade for found in target_leaks([*three, *rest])} == {"a": "fails", "b": "fails"}
    strong = [Power(f"s{place}", power, power) for place, power in enumerate((1.0, 1.0, 0.96, 0.93))]
    assert target_leaks(strong) == ()
