"""Splits: exact sizes, honest boundaries, independence of row order, and refusals that say what is missing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.errors import DataError, TargetError, UnknownName
from roadworthy.records.project import Task
from roadworthy.transforms.newcomers import newcomers
from roadworthy.transforms.splits import (
    HOLDOUT,
    TRAIN,
    SplitFacts,
    carve,
    class_labels,
    holdout_digest,
    make_split,
)


def table(rows: int, *, times: list[int] | None = None, entities: int = 50, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    stamps = times if times is not None else rng.permutation(rows).tolist()
    return pl.DataFrame(
        {
            "_row": pl.Series(range(rows), dtype=pl.Int64),
            "y": pl.Series(rng.integers(0, 2, rows)),
            "t": pl.Series(stamps, dtype=pl.Int64).cast(pl.Datetime("us")),
            "e": pl.Series(rng.integers(0, entities, rows)).cast(pl.String),
        }
    )


def split(
    frame: pl.DataFrame,
    *,
    time: str = "",
    entity: str = "",
    task: Task = Task.BINARY,
    holdout: float = 0.2,
    folds: int = 4,
    seed: int = 7,
    entity_disjoint: bool = False,
) -> tuple[pl.DataFrame, SplitFacts]:
    return make_split(
        frame,
        time=time,
        entity=entity,
        target="y",
        task=task,
        holdout=holdout,
        folds=folds,
        seed=seed,
        entity_disjoint=entity_disjoint,
    )


@pytest.mark.parametrize("how", [{"time": "t"}, {}])
def test_9800_labelled_rows_give_7840_and_1960(how: dict[str, str]) -> None:
    frame = table(10_000).with_columns(pl.when(pl.col("_row") % 50 == 0).then(None).otherwise("y").alias("y"))
    parts, facts = split(frame, **how)  # type: ignore[arg-type]  # names of columns only
    assert (facts.train_rows, facts.holdout_rows, facts.unlabelled) == (7840, 1960, 200)
    assert parts["part"].value_counts().sort("part").rows() == [(HOLDOUT, 1960), (TRAIN, 7840)]
    assert not set(parts["_row"]) & set(range(0, 10_000, 50))


@settings(max_examples=40, deadline=None)
@given(
    times=st.lists(st.integers(0, 25), min_size=40, max_size=120),
    folds=st.integers(2, 5),
    holdout=st.sampled_from([0.1, 0.2, 0.4]),
)
def test_by_time_nothing_that_trains_is_as_late_as_what_judges(times: list[int], folds: int, holdout: float) -> None:
    frame = table(len(times), times=times).with_columns(y=pl.col("_row").cast(pl.Float64))
    if len(set(times)) < 3:
        with pytest.raises(DataError, match="3 or more"):
            split(frame, time="t", task=Task.REGRESSION, folds=folds, holdout=holdout)
        return
    parts, facts = split(frame, time="t", task=Task.REGRESSION, folds=folds, holdout=holdout)
    joined = parts.join(frame, on="_row").with_columns(pl.col("fold").fill_null(-1))
    train, held = joined.filter(part=TRAIN), joined.filter(part=HOLDOUT)
    assert train["t"].max() < held["t"].min()  # type: ignore[operator]  # times, none missing
    assert held["fold"].unique().to_list() == [-1]
    numbers = sorted(train["fold"].unique().to_list())
    assert numbers == list(range(-1, facts.folds))
    for number in range(facts.folds):
        before = train.filter(pl.col("fold") < number)["t"].max()
        assert before < train.filter(fold=number)["t"].min()  # type: ignore[operator]  # times, none missing


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["time", "entity", "stratified"]))
def test_the_order_of_arrival_changes_nothing(seed: int, kind: str) -> None:
    frame = table(200)
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=seed)
    how = {"time": "t"} if kind == "time" else {"entity": "e"} if kind == "entity" else {}
    first, second = (split(rows, **how)[0] for rows in (frame, shuffled))  # type: ignore[arg-type]  # column names
    assert first.equals(second)


@settings(max_examples=25, deadline=None)
@given(entities=st.integers(12, 60), folds=st.integers(2, 5))
def test_by_entity_none_stands_on_both_sides(entities: int, folds: int) -> None:
    frame = table(300, entities=entities).with_columns(pl.when(pl.col("_row") < 5).then(None).otherwise("e").alias("e"))
    parts, facts = split(frame, entity="e", folds=folds)
    sides = (
        parts.join(frame, on="_row")
        .drop_nulls("e")
        .group_by("e")
        .agg(pl.col("part").n_unique(), pl.col("fold").n_unique())
    )
    assert facts.kind == "entity"
    assert facts.folds == folds
    assert sides["part"].max() == 1
    assert sides["fold"].max() == 1


def test_by_entity_the_holdout_is_about_its_share() -> None:
    _, facts = split(table(5_000, entities=400), entity="e")
    assert 900 <= facts.holdout_rows <= 1100


def test_stratified_keeps_proportions_to_a_row() -> None:
    frame = table(1000).with_columns(y=(pl.col("_row") < 100).cast(pl.Int64))
    parts, _ = split(frame)
    positives = parts.join(frame, on="_row").group_by("part").agg(pl.col("y").sum()).sort("part")
    assert positives.rows() == [(HOLDOUT, 20), (TRAIN, 80)]
    per_fold = parts.join(frame, on="_row").filter(part=TRAIN).group_by("fold").agg(pl.col("y").sum(), pl.len())
    assert set(per_fold["y"]) == {20}
    assert set(per_fold["len"]) == {200}


def test_entities_unseen_in_training_are_counted_and_seen_ones_may_be_dropped() -> None:
    frame = table(100, times=list(range(100))).with_columns(
        e=pl.when((pl.col("_row") < 90) & (pl.col("_row") != 50))
        .then(pl.lit("old"))
        .otherwise(pl.format("new{}", pl.col("_row")))
    )
    _, facts = split(frame, time="t", entity="e")
    assert (facts.unseen_entities, facts.dropped, facts.holdout_rows) == (10, 0, 20)
    parts, strict = split(frame, time="t", entity="e", entity_disjoint=True)
    assert (strict.unseen_entities, strict.dropped, strict.holdout_rows) == (10, 10, 10)
    assert parts.filter(part=HOLDOUT)["_row"].min() == 90
    with pytest.raises(DataError, match="entity_disjoint leaves no row"):
        split(frame.with_columns(e=pl.lit("one")), time="t", entity="e", entity_disjoint=True)


def test_disjoint_entities_are_disjoint_within_training_too() -> None:
    frame = table(200, times=list(range(200))).with_columns(
        e=pl.when(pl.col("_row") % 3 == 0).then(pl.lit("old")).otherwise(pl.format("n{}", pl.col("_row") // 4))
    )
    parts, facts = split(frame, time="t", entity="e", folds=4, entity_disjoint=True)
    loose, _ = split(frame, time="t", entity="e", folds=4)
    train = parts.filter(part=TRAIN)
    assert train.equals(loose.filter(part=TRAIN))  # rows of seen entities still train the later folds
    fold = train["fold"].fill_null(-1).to_numpy()
    who = frame.join(train, on="_row", how="semi").sort("_row")["e"]
    new = newcomers(who, fold)
    for number in range(4):
        earlier = set(who.filter(pl.Series(fold < number)))
        assert not earlier & set(who.filter(pl.Series(new & (fold == number))))
        assert set(who.filter(pl.Series(~new & (fold == number)))) <= earlier
    seen = int((~new & (fold >= 0)).sum())
    assert seen > 30
    assert f"The folds do not predict {seen:,} training rows whose entity an earlier fold has." in facts.explanation
    late = frame.with_columns(e=pl.when(pl.col("_row") < 165).then(pl.lit("old")).otherwise(pl.lit("late")))
    with pytest.raises(DataError, match="entity_disjoint leaves no training row to be validated"):
        split(late, time="t", entity="e", entity_disjoint=True)


def test_a_block_before_which_only_one_class_was_seen_is_not_validated() -> None:
    frame = table(200, times=list(range(200))).with_columns(y=((pl.col("_row") >= 60) & (pl.col("_row") % 2 == 0)))
    parts, facts = split(frame, time="t", folds=4)
    first = parts.filter(fold=0)["_row"].min()
    assert facts.folds == 3
    assert first is not None
    assert int(str(first)) >= 60


def test_a_class_that_only_the_holdout_has_is_refused_with_its_name() -> None:
    frame = table(100, times=list(range(100))).with_columns(y=pl.when(pl.col("_row") < 85).then(0).otherwise(1))
    with pytest.raises(TargetError, match=r"class '1' has 0 rows in the training part; expected 5 or more"):
        split(frame, time="t")


@pytest.mark.parametrize(
    ("values", "task", "said"),
    [
        ([1] * 50, Task.BINARY, "one class only, '1'"),
        ([None] * 50, Task.BINARY, "no labelled row"),
        ([0, 1, 2] * 20, Task.BINARY, "3 classes, but the task is binary"),
        ([0, 1] * 10, Task.BINARY, "at least 30 are needed"),
        ([3.5] * 50, Task.REGRESSION, "constant"),
        (["a", "b"] * 30, Task.REGRESSION, "a regression needs numbers"),
        ([1.0, 1e308] * 30, Task.REGRESSION, "expected at most 1e\\+30"),
    ],
)
def test_a_target_that_cannot_be_learned_is_refused(values: list[object], task: Task, said: str) -> None:
    frame = pl.DataFrame({"_row": range(len(values)), "y": values})
    with pytest.raises(TargetError, match=said):
        split(frame, task=task)


def test_classes_stand_in_text_order_and_the_positive_one_last() -> None:
    labels = pl.Series("y", ["yes", "no", "yes", None])
    assert class_labels(labels, Task.BINARY) == ("no", "yes")
    assert class_labels(labels, Task.BINARY, "no") == ("yes", "no")
    assert class_labels(pl.Series("y", [True, False]), Task.BINARY) == ("false", "true")
    assert class_labels(pl.Series("y", [10, 9, 2]), Task.MULTICLASS) == ("10", "2", "9")
    assert class_labels(pl.Series("y", [1.5]), Task.REGRESSION) == ()
    with pytest.raises(UnknownName, match="did you mean 'yes'"):
        class_labels(labels, Task.BINARY, "yess")


def test_the_holdout_is_pinned_by_its_rows() -> None:
    frame = table(200)
    parts, _ = split(frame)
    again, _ = split(frame)
    other, _ = split(frame, seed=8)
    assert holdout_digest(parts, "sha256:a") == holdout_digest(again.reverse(), "sha256:a")
    assert holdout_digest(parts, "sha256:a") != holdout_digest(other, "sha256:a")
    assert holdout_digest(parts, "sha256:a") != holdout_digest(parts, "sha256:b")


def test_early_stopping_rows_are_the_latest_unless_a_class_would_be_lost() -> None:
    codes = np.array([0, 1] * 50)
    times = np.arange(100)
    assert np.flatnonzero(carve(codes, task=Task.BINARY, seed=7, times=times)).tolist() == list(range(90, 100))
    late = (np.arange(100) >= 90).astype(np.int64)
    aside = carve(late, task=Task.BINARY, seed=7, times=times)
    assert set(late[~aside]) == {0, 1}
    groups = pl.Series("e", np.arange(100) // 4)
    by_entity = carve(codes, task=Task.BINARY, seed=7, entities=groups, times=times)
    assert not set(groups.filter(pl.Series(by_entity))) & set(groups.filter(pl.Series(~by_entity)))
