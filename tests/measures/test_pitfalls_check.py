"""The check of pitfalls: what must fail fails with a plain sentence, and no fair model does."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from roadworthy.errors import UsageError
from roadworthy.measures.examined import Answered, Brief, Examined
from roadworthy.measures.pitfalls import (
    accuracy_paradox,
    miscalibration,
    overfit_gap_of,
    pitfalls,
    random_against_honest,
    simpler_stand_in,
    wear,
)
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Finding
from roadworthy.records.project import Task
from roadworthy.standard.requirement import Requirement


def fraud(found: int = 30, false: int = 30, rare: int = 250, n: int = 12_500, **more: Any) -> Sample:
    """``rare`` frauds among n rows, of which ``found`` are found, with ``false`` alarms."""
    y, score = np.zeros(n, dtype=np.int64), np.full(n, 0.01)
    y[:rare] = 1
    score[:found] = 0.9
    score[rare : rare + false] = 0.9
    return Sample(task=Task.BINARY, y=y, score=score, threshold=0.5, **{"classes": ("no", "fraud"), **more})


def grades(found: tuple[Finding, ...], kind: str = "accuracy_paradox") -> list[str]:
    return [one.grade for one in found if one.kind == kind]


def declared(metric: str, origin: str) -> list[Requirement]:
    return [Requirement(metric=metric, at_least=0.1, origin=origin)]


def test_98_per_cent_accuracy_with_12_per_cent_recall_on_fraud_fails_with_that_sentence() -> None:
    (found,) = accuracy_paradox(fraud())
    assert found.grade == "fails"
    assert found.sentence == (
        "Accuracy is 98.0 %, but only 12 % of the fraud is found (at most 16 % with 95 % confidence): always saying "
        "'no' would be right 98.0 % of the time."
    )
    (other,) = accuracy_paradox(fraud(classes=("0", "1")), target="is_fraud")
    assert "of the fraud is found" in other.sentence
    assert "always saying '0'" in other.sentence
    (bare,) = accuracy_paradox(fraud(classes=("good", "yes")))
    assert "of class 'yes' is found" in bare.sentence
    # the rare class may be the other one: specificity is then what is missed
    turned = fraud()
    (mirror,) = accuracy_paradox(
        Sample(task=Task.BINARY, y=1 - turned.y, score=1 - turned.score, threshold=0.5, classes=("fraud", "no"))
    )
    assert mirror.sentence == found.sentence


@pytest.mark.parametrize(
    ("metric", "origin", "grade"),
    [
        ("recall", "roadworthy.toml:41", "suspects"),
        ("precision", "roadworthy.toml:41", "suspects"),
        ("pr_auc", "", "suspects"),
        ("recall", "preset service", "fails"),
        ("accuracy", "roadworthy.toml:41", "fails"),
        ("log_loss", "roadworthy.toml:41", "fails"),
    ],
)
def test_only_what_a_person_declared_about_the_rare_class_excuses(metric: str, origin: str, grade: str) -> None:
    (found,) = accuracy_paradox(fraud(), required=declared(metric, origin))
    assert found.grade == grade
    assert ("The standard asks for" in found.sentence) is (grade == "suspects")


@pytest.mark.parametrize(
    "sample",
    [
        fraud(found=200, false=40),  # finds most of it
        fraud(found=100, false=10),  # finds too little, yet removes a third of the errors
        fraud(found=4, false=3, rare=12, n=600),  # too few to prove anything
    ],
    ids=["good", "careful", "few"],
)
def test_fair_models_on_rare_events_do_not_fail(sample: Sample) -> None:
    assert "fails" not in grades(accuracy_paradox(sample))


def test_balanced_and_weak_models_do_not_fail() -> None:
    rng = np.random.default_rng(1)
    for share in (0.5, 0.35, 0.25):
        for slope in (0.2, 1.0, 3.0):
            x = rng.normal(size=4000)
            score = 1 / (1 + np.exp(-(slope * x + np.log(share / (1 - share)))))
            y = (rng.random(4000) < score).astype(np.int64)
            assert "fails" not in grades(accuracy_paradox(Sample(task=Task.BINARY, y=y, score=score, threshold=0.5)))
    ten = rng.dirichlet(np.ones(10), 4000)
    y = rng.integers(0, 10, 4000)
    assert "fails" not in grades(accuracy_paradox(Sample(task=Task.MULTICLASS, y=y, score=ten)))


def test_the_rarest_of_many_classes_counts_too() -> None:
    y = np.repeat([0, 1, 2], [9000, 600, 400])
    score = np.tile([0.8, 0.15, 0.05], (10_000, 1))
    score[9600:9620] = [0.1, 0.1, 0.8]
    found = accuracy_paradox(Sample(task=Task.MULTICLASS, y=y, score=score, classes=("calm", "wind", "storm")))
    assert grades(found) == ["fails"]
    assert "5 % of class 'storm' is found" in found[0].sentence
    score[y == 1] = [0.1, 0.8, 0.1]  # most errors are gone, though storms are still missed
    better = accuracy_paradox(Sample(task=Task.MULTICLASS, y=y, score=score, classes=("calm", "wind", "storm")))
    assert "fails" not in grades(better)


def test_entities_widen_what_is_proven() -> None:
    rng = np.random.default_rng(2)
    sample = fraud(found=100, false=80, rare=250)
    lumps = fraud(
        found=100, false=80, rare=250, clusters=np.concatenate([np.arange(250) // 50, 5 + rng.integers(0, 400, 12_250)])
    )
    assert grades(accuracy_paradox(sample)) == ["fails"]
    assert "fails" not in grades(accuracy_paradox(lumps))  # five fraudsters prove nothing


def linear(n: int, seed: int, *, columns: int = 4) -> tuple[pl.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, columns))
    y = (rng.random(n) < 1 / (1 + np.exp(-(1.5 * x[:, 0] - x[:, 1])))).astype(np.int64)
    return pl.DataFrame(x, schema=[f"c{place}" for place in range(columns)]), y


def truth(frame: pl.DataFrame) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-(1.5 * frame["c0"].to_numpy() - frame["c1"].to_numpy()))))


def examined_of(frame: pl.DataFrame, y: np.ndarray, score: Any, **more: Any) -> Examined:
    def answer(rows: pl.DataFrame) -> Answered:
        return Answered(score=score(rows), refused=np.zeros(rows.height, dtype=np.bool_))

    columns = tuple(name for name in frame.columns if name.startswith("c"))
    clusters = more.pop("clusters", None)
    sample = Sample(task=Task.BINARY, y=y, score=score(frame), threshold=0.5, classes=("no", "yes"), clusters=clusters)
    return Examined(sample=sample, rows=frame, columns=columns, answer=answer, **more)


def test_a_good_model_has_nothing_to_report_and_a_better_one_neither() -> None:
    frame, y = linear(3000, 1)
    train, train_y = linear(3000, 2)

    def knowing(rows: pl.DataFrame) -> np.ndarray:  # better than what columns can tell: never a fault
        return np.where(y[: rows.height] == 1, 0.97, 0.03) if rows.height == 3000 else truth(rows)

    for quick in (False, True):
        good = pitfalls(examined_of(frame, y, truth, train=train, train_y=train_y), Brief(quick=quick))
        assert [one for one in good.findings if one.grade != "notes"] == []
        assert [one.metric for one in good.measurements] == ["overfit_gap"]
        best = pitfalls(examined_of(frame, y, knowing), Brief(quick=quick))
        assert [one.kind for one in best.findings if one.grade == "fails"] == []
        assert [one.kind for one in best.findings if one.kind == "simpler_model"] == []


def test_a_model_that_a_simple_one_equals_or_beats_is_named() -> None:
    frame, y = linear(3000, 3)
    rng = np.random.default_rng(0)
    (worse,) = simpler_stand_in(examined_of(frame, y, lambda rows: np.where(truth(rows) > 0.5, 0.65, 0.35)), Brief())
    assert (worse.grade, worse.subject) == ("suspects", "tree")
    noise = rng.normal(0, 0.02, 3000)
    (equal,) = simpler_stand_in(
        examined_of(frame, y, lambda rows: np.clip(truth(rows) + noise[: rows.height], 0.01, 0.99)), Brief()
    )
    assert (equal.grade, equal.subject) == ("notes", "linear")
    assert "not provably better" in equal.sentence
    (empty,) = simpler_stand_in(examined_of(frame, y, lambda rows: np.full(rows.height, 0.5)), Brief())
    assert empty.subject == "constant"
    # what the linear one cannot see
    bent = (
        np.abs(frame["c0"].to_numpy()) + 0.3 * np.abs(frame["c1"].to_numpy() * frame["c2"].to_numpy()) > 0.9
    ).astype(np.int64)
    sharp = examined_of(frame, bent, lambda rows: np.where(bent[: rows.height] == 1, 0.95, 0.05))
    assert simpler_stand_in(sharp, Brief()) == ()


def test_training_rows_train_the_stand_in_and_show_what_was_learned_by_heart() -> None:
    frame, y = linear(1500, 4)
    train, train_y = linear(1500, 5)
    keys = {value: int(label) for value, label in zip(train["c0"].to_list(), train_y, strict=True)}

    def learned(rows: pl.DataFrame) -> np.ndarray:
        known = [keys.get(value) for value in rows["c0"].to_list()]
        heart = np.array([0.5 if one is None else 0.02 + 0.96 * one for one in known])
        return np.where(heart == 0.5, truth(rows), heart)

    examined = examined_of(frame, y, learned, train=train, train_y=train_y)
    gap = overfit_gap_of(examined, Brief())
    assert (gap.lower or 0) > 0.3
    assert [one.grade for one in pitfalls(examined, Brief()).findings if one.kind == "overfitting"] == ["suspects"]
    assert "none are known" in overfit_gap_of(examined_of(frame, y, learned), Brief()).insufficient
    deaf = examined_of(frame, y, lambda rows: truth(rows) if rows.height == 1500 else np.full(rows.height, np.nan))
    silent = Examined(
        sample=deaf.sample,
        rows=frame,
        columns=deaf.columns,
        answer=lambda rows: Answered(score=np.full(rows.height, np.nan), refused=np.zeros(rows.height, dtype=np.bool_)),
        train=train,
        train_y=train_y,
    )
    assert "no finite answer" in overfit_gap_of(silent, Brief()).error


def test_a_random_split_that_flatters_is_told() -> None:
    rng = np.random.default_rng(6)
    code = np.arange(3000) % 100
    own = rng.normal(size=100)
    frame = pl.DataFrame({"c0": own[code] * 7.3 + 0.01 * rng.normal(size=3000), "c1": rng.normal(size=3000)})
    y = (rng.random(3000) < np.where(rng.random(100) < 0.5, 0.15, 0.85)[code]).astype(np.int64)
    (told,) = random_against_honest(
        examined_of(frame, y, lambda rows: np.full(rows.height, 0.5), clusters=code), Brief()
    )
    assert told.grade == "notes"
    assert told.details["lower"] > 0
    assert "flattered" in told.sentence
    steady, outcome = linear(3000, 7)
    dated = steady.with_columns(when=pl.int_range(3000))
    (fair,) = random_against_honest(examined_of(dated, outcome, truth, time="when"), Brief())
    assert fair.details["lower"] <= 0
    assert random_against_honest(examined_of(steady, outcome, truth), Brief()) == ()


def test_probabilities_that_are_off_are_suspected() -> None:
    frame, y = linear(4000, 8)
    score = truth(frame)
    sure = 1 / (1 + np.exp(-4 * np.log(score / (1 - score))))
    (found,) = miscalibration(Sample(task=Task.BINARY, y=y, score=sure, threshold=0.5))
    assert found.grade == "suspects"
    assert "points" in found.sentence
    assert miscalibration(Sample(task=Task.BINARY, y=y, score=score, threshold=0.5)) == ()


def test_a_worn_holdout_is_suspected_from_the_twentieth_look_on() -> None:
    assert wear(1) == wear(19) == ()
    (found,) = wear(20)
    assert (found.grade, found.details["looks"]) == ("suspects", 20)
    assert "1.9 standard errors" in found.sentence
    assert "99.75%" in found.sentence
    drawn = np.random.default_rng(0).normal(size=(20_000, 20)).max(axis=1).mean()
    assert found.details["flattered_standard_errors"] == pytest.approx(drawn, abs=0.02)
    assert wear(200)[0].details["flattered_standard_errors"] > found.details["flattered_standard_errors"]
    with pytest.raises(UsageError):
        wear(0)


@pytest.mark.parametrize("task", [Task.MULTICLASS, Task.REGRESSION])
def test_other_tasks_are_checked_and_the_same_seed_finds_the_same(task: Task) -> None:
    rng = np.random.default_rng(9)
    x = rng.normal(size=(800, 3))
    if task is Task.MULTICLASS:
        score = np.exp(2 * x) / np.exp(2 * x).sum(axis=1, keepdims=True)
        y = (score.cumsum(axis=1) > rng.random((800, 1))).argmax(axis=1).astype(np.int64)
    else:
        score, y = x[:, 0], x[:, 0] + rng.normal(size=800)
    rows = pl.DataFrame(x, schema=["c0", "c1", "c2"]).with_columns(c3=pl.Series(rng.choice(["u", "v"], 800)))
    examined = Examined(
        sample=Sample(task=task, y=y, score=score),
        rows=rows,
        columns=("c0", "c1", "c2", "c3"),
        answer=lambda frame: Answered(score=score[: frame.height], refused=np.zeros(frame.height, dtype=np.bool_)),
    )
    found = pitfalls(examined, Brief())
    assert [one for one in found.findings if one.grade == "fails"] == []
    assert found == pitfalls(examined, Brief())
