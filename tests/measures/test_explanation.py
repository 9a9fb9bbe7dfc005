"""What drives a model: what each column is worth, how the score moves with it, how one row's score comes about."""

from __future__ import annotations

import itertools
import json
import math
import time
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from roadworthy.errors import DataError
from roadworthy.measures.charts import chart_for, describe, to_svg
from roadworthy.measures.examined import Answer, Answered, Brief, Examined
from roadworthy.measures.explanation import (
    dependence_exhibit,
    explain_row,
    explained_rows_exhibit,
    explanation,
    explanation_steps,
    idle_columns,
    importance_exhibit,
)
from roadworthy.measures.explanation.importance import columns_asked
from roadworthy.measures.explanation.shapley import OTHERS
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Exhibit
from roadworthy.records.project import Task


def answered(score: np.ndarray, refused: np.ndarray | None = None) -> Answered:
    return Answered(score, np.zeros(len(score), dtype=bool) if refused is None else refused)


def numbers(frame: pl.DataFrame, *names: str) -> np.ndarray:
    return np.asarray(frame.select(names or frame.columns).to_numpy(), dtype=np.float64)


def regression(answer: Answer, rows: pl.DataFrame, noise: float = 0.0, **others: Any) -> Examined:
    score = answer(rows).score
    y = score + noise * np.random.default_rng(9).normal(size=rows.height)
    return Examined(
        sample=Sample(task=Task.REGRESSION, y=y, score=score),
        rows=rows,
        columns=tuple(others.pop("columns", rows.columns)),
        answer=answer,
        **others,
    )


def gaussians(n: int, **columns: float) -> pl.DataFrame:
    rng = np.random.default_rng(4)
    return pl.DataFrame({name: rng.normal(size=n) * scale for name, scale in columns.items()})


def test_importance_finds_what_the_model_relies_on() -> None:
    rows = gaussians(1500, used=1.0, idle=1.0)

    def answer(frame: pl.DataFrame) -> Answered:
        return answered(frame["used"].to_numpy() * 2)

    sample = regression(answer, rows).sample
    table = importance_exhibit(answer, rows, ["idle", "used"], sample).columns
    assert table["column"] == ["used", "idle"]
    # a perfect model loses the whole variance twice when its one column is shuffled
    assert table["lower"][0] < 2 < table["upper"][0]
    assert table["drop"][1] == 0
    assert table["earns"] == [True, False]
    small = importance_exhibit(answer, rows, ["used", "idle"], sample, budget=200)
    assert (small.columns["column"], "left out: idle" in small.note) == (["used"], True)


def test_importance_is_the_same_however_slow_the_machine_is() -> None:
    rows = gaussians(300, used=1.0, idle=1.0)

    def quick(frame: pl.DataFrame) -> Answered:
        return answered(frame["used"].to_numpy())

    def slow(frame: pl.DataFrame) -> Answered:
        time.sleep(0.4)
        return quick(frame)

    sample = regression(quick, rows, 0.1).sample
    assert importance_exhibit(slow, rows, rows.columns, sample) == importance_exhibit(quick, rows, rows.columns, sample)


def test_rows_that_are_refused_when_shuffled_do_not_count() -> None:
    rows = gaussians(1000, used=1.0, strict=1.0)

    def answer(frame: pl.DataFrame) -> Answered:
        used, strict = numbers(frame, "used", "strict").T
        refused = used * strict > 0.5
        return answered(np.where(refused, np.nan, used), refused)

    sample = Sample(task=Task.REGRESSION, y=rows["used"].to_numpy(), score=rows["used"].to_numpy())
    table = importance_exhibit(answer, rows, rows.columns, sample).columns
    assert table["column"] == ["used", "strict"]
    assert table["lower"][0] > 1
    assert table["drop"][1] == 0


def test_a_column_whose_shuffling_breaks_the_model_has_no_figures_and_is_named() -> None:
    rows = gaussians(300, used=1.0).with_columns(key=pl.int_range(300))

    def answer(frame: pl.DataFrame) -> Answered:
        if frame["key"].n_unique() == 300 and frame.hash_rows(seed=1).sort().to_list() != known:
            raise ValueError("a key that does not belong")
        return answered(frame["used"].to_numpy())

    sample = Sample(task=Task.REGRESSION, y=rows["used"].to_numpy(), score=rows["used"].to_numpy())
    known = rows.hash_rows(seed=1).sort().to_list()
    shown = importance_exhibit(answer, rows, rows.columns, sample)
    assert shown.columns["drop"] == [None, None]
    assert "No answer when shuffled: used, key" in shown.note


def test_columns_that_earn_nothing_are_listed_in_one_note() -> None:
    rows = gaussians(2000, used=1.0, faint=0.001, idle=1.0)

    def answer(frame: pl.DataFrame) -> Answered:
        return answered(frame["used"].to_numpy() + frame["faint"].to_numpy())

    subject = regression(answer, rows, 0.5)
    shown = importance_exhibit(answer, rows, rows.columns, subject.sample)
    (note,) = idle_columns(shown)
    assert note.grade == "notes"
    assert note.details["columns"] == ["idle"] or set(note.details["columns"]) == {"idle", "faint"}
    assert "could be dropped" in note.sentence
    assert idle_columns(importance_exhibit(answer, rows, ["used"], subject.sample)) == ()


def shapley_exactly(answer: Answer, background: pl.DataFrame, row: pl.DataFrame) -> np.ndarray:
    """By all subsets: the definition."""
    names = row.columns

    def value(present: tuple[str, ...]) -> float:
        mixed = background.with_columns(pl.lit(row[name][0]).alias(name) for name in present)
        return float(answer(mixed).score.mean())

    effects = np.zeros(len(names))
    for place, name in enumerate(names):
        others = [other for other in names if other != name]
        for size in range(len(others) + 1):
            weight = math.factorial(size) * math.factorial(len(others) - size) / math.factorial(len(names))
            for subset in itertools.combinations(others, size):
                effects[place] += weight * (value((*subset, name)) - value(subset))
    return effects


def crooked(frame: pl.DataFrame) -> Answered:
    a, b, c, _ = numbers(frame, "a", "b", "c", "d").T
    return answered(np.tanh(a * b) + np.where(c > 0, a, -b) ** 2)


@settings(max_examples=25, deadline=None)
@given(
    weights=st.lists(st.floats(-5, 5), min_size=1, max_size=6),
    seed=st.integers(0, 1_000),
    background=st.integers(1, 30),
    budget=st.integers(1, 500),
)
def test_effects_of_a_linear_model_are_exact(weights: list[float], seed: int, background: int, budget: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"c{place}" for place in range(len(weights))]
    others = pl.DataFrame(rng.normal(size=(background, len(weights))), schema=names)
    row = pl.DataFrame(rng.normal(size=(1, len(weights))), schema=names)

    def answer(frame: pl.DataFrame) -> Answered:
        return answered(numbers(frame, *names) @ np.array(weights))

    found = explain_row(answer, others, row, names, seed=seed, budget=budget)
    used = float(found.effects.sum())
    assert used == pytest.approx(found.score - found.base, abs=1e-9)
    if found.pairs >= background:
        # every background row was used equally often, so the effects are those against all of them
        exact = np.array(weights) * (numbers(row)[0] - numbers(others).mean(axis=0))
        assert found.effects == pytest.approx(exact, abs=1e-9)
        assert found.base == pytest.approx(float(answer(others).score.mean()), abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), budget=st.integers(1, 400))
def test_effects_add_up_for_any_model_and_what_is_not_read_has_none(seed: int, budget: int) -> None:
    rng = np.random.default_rng(seed)
    background = pl.DataFrame(rng.normal(size=(20, 4)), schema=list("abcd"))
    row = pl.DataFrame(rng.normal(size=(1, 4)), schema=list("abcd"))
    found = explain_row(crooked, background, row, list("abcd"), seed=seed, budget=budget)
    assert found.effects.sum() == pytest.approx(found.score - found.base, abs=1e-9)
    assert found.effects[3] == 0
    assert found.score == pytest.approx(float(crooked(row).score[0]))
    again = explain_row(crooked, background, row, list("abcd"), seed=seed, budget=budget)
    assert np.array_equal(found.effects, again.effects)


def test_effects_come_near_the_definition_by_as_much_as_their_errors_say() -> None:
    rng = np.random.default_rng(1)
    everyone = pl.DataFrame(rng.normal(size=(20_000, 4)), schema=list("abcd"))
    row = pl.DataFrame({"a": [1.2], "b": [-0.7], "c": [0.4], "d": [3.0]})
    exact = shapley_exactly(crooked, everyone, row)
    within = []
    for seed in range(100):
        # errors cover both what is drawn: the background rows and the permutations
        background = pl.DataFrame(rng.normal(size=(50, 4)), schema=list("abcd"))
        found = explain_row(crooked, background, row, list("abcd"), seed=seed, budget=350)
        assert found.pairs == 50
        within += (np.abs(found.effects - exact) <= 1.96 * found.errors)[:3].tolist()
    assert 0.89 <= np.mean(within) <= 0.99
    small = everyone[:40]
    much = explain_row(crooked, small, row, list("abcd"), budget=20_000)
    assert much.effects == pytest.approx(shapley_exactly(crooked, small, row), abs=0.02)


def test_columns_explained_together_count_as_one() -> None:
    rng = np.random.default_rng(2)
    background = pl.DataFrame(rng.normal(size=(30, 4)), schema=list("abcd"))
    row = background[[0]].with_columns(a=pl.lit(2.0), d=pl.lit(-1.0))

    def answer(frame: pl.DataFrame) -> Answered:
        return answered(numbers(frame, *"abcd") @ np.array([1.0, 2.0, 3.0, 4.0]))

    found = explain_row(answer, background, row, ["a"], together=["b", "c", "d"], budget=2_000)
    assert found.columns == ("a", OTHERS)
    assert found.effects[0] == pytest.approx(2.0 - float(background["a"].mean()))  # type: ignore[arg-type]
    assert found.effects.sum() == pytest.approx(found.score - found.base)


def test_an_explanation_of_several_classes_is_of_the_likeliest() -> None:
    data = load_iris()
    names = list("abcd")
    rows = pl.DataFrame(data.data, schema=names)
    model = LogisticRegression(max_iter=500).fit(data.data, data.target)

    def answer(frame: pl.DataFrame) -> Answered:
        return answered(model.predict_proba(numbers(frame, *names)))

    found = explain_row(answer, rows, rows[[0]], names)
    assert found.output == 0
    assert found.score == pytest.approx(float(answer(rows[[0]]).score[0, 0]))
    other = explain_row(answer, rows, rows[[0]], names, output=2)
    assert other.output == 2
    assert other.effects.sum() < 0


def test_a_row_that_cannot_be_explained_says_why() -> None:
    rows = gaussians(20, a=1.0)

    def refusing(frame: pl.DataFrame) -> Answered:
        return answered(np.full(frame.height, np.nan), np.ones(frame.height, dtype=bool))

    with pytest.raises(DataError, match="does not answer the row"):
        explain_row(refusing, rows, rows[[0]], ["a"])
    with pytest.raises(DataError, match="cannot be explained"):
        explain_row(refusing, rows, rows[:2], ["a"])
    with pytest.raises(DataError, match="cannot be explained"):
        explain_row(refusing, rows[:0], rows[[0]], ["a"])


def test_mixtures_that_a_contract_refuses_are_left_out_and_counted() -> None:
    rows = gaussians(200, a=1.0, b=1.0)

    def answer(frame: pl.DataFrame) -> Answered:
        a, b = numbers(frame, "a", "b").T
        refused = a * b < -1.5
        return answered(np.where(refused, np.nan, a + b), refused)

    row = pl.DataFrame({"a": [1.0], "b": [1.0]})
    found = explain_row(answer, rows, row, ["a", "b"], budget=600)
    assert found.left_out > 0
    assert found.effects.sum() == pytest.approx(found.score - found.base)


def test_partial_dependence_recovers_what_an_additive_model_does() -> None:
    rows = gaussians(3000, a=2.0, b=1.0)

    def answer(frame: pl.DataFrame) -> Answered:
        a, b = numbers(frame, "a", "b").T
        return answered(np.sin(a) + b)

    shown = dependence_exhibit(regression(answer, rows), Brief(), "a")
    assert shown is not None
    assert shown.name == "dependence:a"
    assert shown.note.startswith("Partial dependence")
    x, mean = np.array(shown.columns["x"]), np.array(shown.columns["mean"])
    level = mean - np.sin(x)
    assert np.ptp(level) < 1e-9
    assert all(
        low < value < high
        for low, value, high in zip(*(shown.columns[c] for c in ("lower", "mean", "upper")), strict=True)
    )
    assert sum(shown.columns["share"]) == pytest.approx(1)


def test_where_columns_hang_together_effects_are_local() -> None:
    rng = np.random.default_rng(8)
    a = rng.normal(size=4000)
    rows = pl.DataFrame({"a": a, "b": a + 0.1 * rng.normal(size=4000), "c": rng.normal(size=4000)})

    def answer(frame: pl.DataFrame) -> Answered:
        # far from any row that occurs, the model says what it likes
        a, b, c = numbers(frame, "a", "b", "c").T
        return answered(2 * a + c + 50 * (np.abs(a - b) > 1.6))

    shown = dependence_exhibit(regression(answer, rows), Brief(), "a")
    assert shown is not None
    assert "Accumulated local effects, because a hangs together with b" in shown.note
    x, mean = np.array(shown.columns["x"]), np.array(shown.columns["mean"])
    assert mean == pytest.approx(2 * x, abs=0.25)
    free = dependence_exhibit(regression(answer, rows), Brief(), "c")
    assert free is not None
    assert free.note.startswith("Partial dependence")


def test_dependence_on_words_truths_and_times() -> None:
    n = 600
    rng = np.random.default_rng(1)
    start = datetime(2024, 1, 1)  # noqa: DTZ001 - as stored
    rows = pl.DataFrame(
        {
            "word": rng.choice(["x", "y"], n),
            "truth": rng.random(n) < 0.5,
            "when": [start + timedelta(hours=int(h)) for h in rng.integers(0, 9_000, n)],
            "count": rng.integers(0, 4, n),
            "name": [f"person {place}" for place in range(n)],
            "gap": pl.Series([None] * n, dtype=pl.Float64),
        }
    )

    def answer(frame: pl.DataFrame) -> Answered:
        score = (frame["word"] == "x").cast(pl.Float64) * 3 + frame["truth"].cast(pl.Float64) + frame["count"]
        return answered(score.to_numpy() + (frame["when"] > datetime(2024, 6, 1)).to_numpy())  # noqa: DTZ001

    subject = regression(answer, rows)
    tables = {name: dependence_exhibit(subject, Brief(), name) for name in rows.columns}
    assert tables["name"] is None
    assert tables["gap"] is None
    word, truth, when, count = (tables[name] for name in ("word", "truth", "when", "count"))
    assert word is not None
    means = dict(zip(word.columns["x"], word.columns["mean"], strict=True))
    assert means["x"] - means["y"] == pytest.approx(3)
    assert truth is not None
    assert set(truth.columns["x"]) == {"yes", "no"}
    assert when is not None
    assert when.columns["x"][0].startswith("2024-01-0")
    assert when.columns["mean"][-1] - when.columns["mean"][0] == pytest.approx(1)
    assert count is not None
    assert count.columns["x"] == [0, 1, 2, 3]


def people(n: int = 800) -> Examined:
    rng = np.random.default_rng(3)
    rows = pl.DataFrame(
        {
            "income": rng.normal(size=n),
            "name": [f"Ada {place} Lovelace" for place in range(n)],
            "number": rng.permutation(n) + 10_000,
            "town": rng.choice(["Ulm", "Bonn"], n),
            "patient": rng.integers(0, 300, n),
        }
    )

    def answer(frame: pl.DataFrame) -> Answered:
        z = frame["income"].to_numpy() * 2 + (frame["town"] == "Ulm").to_numpy()
        z = z + frame["name"].str.len_chars().to_numpy() / 10 + frame["number"].to_numpy() / 1e4
        return answered(1 / (1 + np.exp(3.5 - z + frame["patient"].to_numpy() / 1e3)))

    score = answer(rows).score
    y = (rng.random(n) < score).astype(np.int64)
    sample = Sample(task=Task.BINARY, y=y, score=score, threshold=0.5, classes=("stays", "leaves"))
    return Examined(sample=sample, rows=rows, columns=tuple(rows.columns), answer=answer, entity="patient")


def test_three_telling_rows_are_taken_apart_without_naming_anyone() -> None:
    subject = people()
    shown = explained_rows_exhibit(subject, Brief(), subject.columns)
    lines = [dict(zip(shown.columns, line, strict=True)) for line in zip(*shown.columns.values(), strict=True)]
    assert list(dict.fromkeys(line["row"] for line in lines)) == [
        "the worst miss",
        "the most doubtful",
        "a typical one",
    ]
    for label in ("the worst miss", "the most doubtful", "a typical one"):
        own = [line for line in lines if line["row"] == label]
        assert sum(line["effect"] for line in own) == pytest.approx(own[0]["score"] - own[0]["base"], abs=1e-9)
    values = {line["column"]: line["value"] for line in lines if line["row"] == "the worst miss"}
    assert values["name"] is None
    assert values["number"] is None
    assert values["patient"] is None
    assert values["town"] in {"Ulm", "Bonn"}
    assert float(values["income"]) == pytest.approx(
        subject.rows["income"][int(np.argmax(np.abs(subject.sample.y - subject.sample.score)))], rel=1e-4
    )
    assert "Ada" not in str(shown)


@pytest.mark.parametrize("quick", [False, True])
def test_the_check_tells_its_steps_and_repeats_itself(quick: bool) -> None:
    subject = people()
    steps: list[int] = []
    found = explanation(subject, Brief(quick=quick, advance=steps.append))
    assert sum(steps) == explanation_steps(subject, Brief(quick=quick))
    assert found == explanation(subject, Brief(quick=quick))
    assert found.measurements == ()
    names = [shown.name for shown in found.exhibits]
    assert names[0] == "importance"
    assert names[-1] == "explained_rows"
    assert {"dependence:income", "dependence:town"} <= set(names) or quick
    assert "dependence:name" not in names
    assert "dependence:patient" not in names
    for shown in found.exhibits:
        assert len({len(values) for values in shown.columns.values()}) == 1
        json.dumps(shown.columns, allow_nan=False)
        chart = chart_for(shown)
        assert chart is not None, shown.name
        assert to_svg(chart).startswith("<svg ")
        assert describe(shown).startswith(shown.title)


def test_of_many_columns_the_rest_is_explained_together() -> None:
    rng = np.random.default_rng(5)
    rows = pl.DataFrame({f"c{place}": rng.normal(size=500) for place in range(120)})

    def answer(frame: pl.DataFrame) -> Answered:
        return answered(numbers(frame) @ (0.97 ** np.arange(120)))

    subject = regression(answer, rows, 0.3)
    shown = explanation(subject, Brief()).exhibits[-1]
    assert OTHERS in shown.columns["column"]
    assert len(shown.columns["column"]) == 2 * 9
    assert columns_asked(120) == (120, 1666)


def test_several_classes_are_drawn_as_a_line_each() -> None:
    data = load_iris()
    rows = pl.DataFrame(data.data, schema=list("abcd"))
    model = LogisticRegression(max_iter=500).fit(data.data, data.target)

    def answer(frame: pl.DataFrame) -> Answered:
        return answered(model.predict_proba(numbers(frame, *"abcd")))

    labels = tuple(data.target_names.tolist())
    sample = Sample(task=Task.MULTICLASS, y=data.target.astype(np.int64), score=answer(rows).score, classes=labels)
    found = explanation(Examined(sample=sample, rows=rows, columns=tuple("abcd"), answer=answer), Brief())
    drawn = next(shown for shown in found.exhibits if shown.name.startswith("dependence:"))
    assert set(drawn.columns["class"]) == set(labels)
    chart = chart_for(drawn)
    assert chart is not None
    assert "virginica" in to_svg(chart)
    at = [
        line for line in zip(drawn.columns["x"], drawn.columns["mean"], strict=True) if line[0] == drawn.columns["x"][0]
    ]
    if "Partial" in drawn.note:
        assert sum(mean for _, mean in at) == pytest.approx(1)


def test_a_model_that_never_answers_leaves_notes_and_no_error() -> None:
    subject = people()

    def broken(_frame: pl.DataFrame) -> Answered:
        raise RuntimeError("row 'Ada Lovelace' is bad")

    steps: list[int] = []
    silent = Examined(sample=subject.sample, rows=subject.rows, columns=subject.columns, answer=broken)
    found = explanation(silent, Brief(advance=steps.append))
    assert sum(steps) == explanation_steps(silent, Brief())
    assert found.findings == ()
    assert "No answer when shuffled" in found.exhibits[0].note
    assert "RuntimeError" in found.exhibits[-1].note
    assert "Ada" not in str(found)


cells = st.one_of(st.none(), st.floats(), st.integers(-5, 5), st.text(max_size=5), st.booleans())
SHAPES = {
    "dependence:<b>": ("x", "mean", "lower", "upper", "share", "class"),
    "explained_rows": ("row", "column", "value", "effect", "error", "score", "base", "actual"),
}


@settings(max_examples=40, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(SHAPES)), rows=st.integers(0, 4))
def test_no_content_breaks_the_pictures(data: st.DataObject, name: str, rows: int) -> None:
    columns = {
        column: data.draw(st.lists(cells, min_size=rows, max_size=rows))
        for column in SHAPES[name]
        if data.draw(st.integers(0, 9)) < 9
    }
    shown = Exhibit(name=name, title="t", columns=columns)
    chart = chart_for(shown)
    assert chart is None or to_svg(chart).startswith("<svg ")
    assert describe(shown).startswith("t.")
