"""What a model does with faulty input: refusals, crashes, costs, and what is said of them."""

from __future__ import annotations

import warnings
from datetime import date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from roadworthy.errors import DataError
from roadworthy.measures.charts import chart_for, describe, to_svg
from roadworthy.measures.examined import Answer, Answered, Brief, Examined
from roadworthy.measures.robustness import FAMILIES, SMALL, Fault, ask, faults_for, robustness, robustness_steps
from roadworthy.measures.robustness.asking import Reply
from roadworthy.measures.robustness.effects import Effect, worst
from roadworthy.measures.robustness.faults import EVERY, exchanges
from roadworthy.measures.robustness.values import typed_wrongly
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Exhibit, Finding, Found, Measurement
from roadworthy.records.project import Task
from roadworthy.standard.catalogue import CATALOGUE
from roadworthy.standard.judge import judge_requirement
from roadworthy.standard.requirement import Requirement


def answered(score: np.ndarray, refused: np.ndarray | None = None) -> Answered:
    return Answered(score, np.zeros(len(score), dtype=bool) if refused is None else refused)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -50, 50))))


def rows_of(n: int = 2_000, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "size": rng.uniform(50, 150, n),
            "age": rng.integers(18, 90, n),
            "idle": rng.normal(size=n),
            "colour": rng.choice(["red", "green", "blue"], n),
            "member": rng.random(n) < 0.4,
        }
    )


def level(frame: pl.DataFrame) -> np.ndarray:
    """A score's logit that takes every value as it comes; an unknown colour counts as green."""
    size = (frame["size"].fill_null(100).to_numpy() - 100) / 20
    age = (frame["age"].fill_null(50).to_numpy() - 50) / 20
    colour = frame["colour"].replace_strict({"red": 1.5, "blue": -1.5}, default=0.0, return_dtype=pl.Float64)
    member = frame["member"].fill_null(value=False).to_numpy() * 1.0
    return np.asarray(size + age + colour.to_numpy() + member - 0.4)


def tolerant(frame: pl.DataFrame) -> Answered:
    return answered(sigmoid(level(frame)))


def examined(answer: Answer = tolerant, rows: pl.DataFrame | None = None, **others: Any) -> Examined:
    rows = rows_of() if rows is None else rows
    chance = sigmoid(level(rows))
    y = (np.random.default_rng(5).random(rows.height) < chance).astype(np.int64)
    sample = Sample(task=Task.BINARY, y=y, score=chance, threshold=0.5, clusters=others.pop("clusters", None))
    return Examined(sample=sample, rows=rows, columns=tuple(rows.columns), answer=answer, **others)


def number(found: Found, metric: str, cut: str = "") -> Measurement:
    (one,) = [one for one in found.measurements if (one.metric, one.slice) == (metric, cut and f"fault={cut}")]
    return one


def graded(found: Found, grade: str) -> dict[str, Finding]:
    return {one.subject: one for one in found.findings if one.grade == grade}


def lines(found: Found) -> list[dict[str, Any]]:
    (table,) = [shown for shown in found.exhibits if shown.name == "robustness"]
    assert len({len(values) for values in table.columns.values()}) == 1
    return [dict(zip(table.columns, line, strict=True)) for line in zip(*table.columns.values(), strict=True)]


def test_a_model_that_takes_everything_as_it_comes_does_not_crash_and_its_costs_are_told() -> None:
    found = robustness(examined(), Brief())
    crashes = number(found, "crashes")
    assert (crashes.lower, crashes.value, crashes.upper) == (0, 0, 0)
    assert set(FAMILIES) - {one["fault"] for one in lines(found)} == {"shifted_time"}
    # what the faults do is known: a field of no weight costs nothing, a unit changes everything
    by_column = {(one["fault"], one["column"], one["change"]): one for one in lines(found)}
    assert by_column["missing_field", "idle", "no value"]["drop"] == 0
    assert by_column["units", "size", "× 1000"]["drop_lower"] > 0.5
    assert by_column["units", "size", "× 1000"]["flips"] > 0.3
    assert by_column["unseen_category", "colour", "another word"]["drop_lower"] > 0.1
    units = graded(found, "suspects")["units"]
    assert "no row is refused" in units.sentence
    assert {"size", "age"} <= set(units.details["columns"])
    assert "shuffled" not in graded(found, "suspects")
    assert graded(found, "fails") == {}
    for one in found.measurements:
        assert one.metric in CATALOGUE
        assert one.value is not None
        assert one.lower is not None
        assert one.upper is not None
        assert one.lower <= one.value <= one.upper


def test_the_small_faults_alone_answer_for_the_whole() -> None:
    found = robustness(examined(), Brief())
    for metric in ("robust_drop", "robust_flips"):
        small = [number(found, metric, name).value for name in SMALL]
        assert number(found, metric).value == max(value for value in small if value is not None)
    assert number(found, "robust_drop").confidence == 0.95
    assert number(found, "robust_drop", "units").confidence > 0.99


def test_a_requirement_on_faults_is_judged_by_every_family() -> None:
    asked = Requirement(metric="robust_drop", at_most=0.2, slice="fault", confidence=0.95)
    found = robustness(examined(), Brief(required=(asked,)))
    verdict = judge_requirement(asked, found.measurements)
    assert verdict.outcome == "fail"
    assert "fault=" in verdict.sentence


def test_what_a_contract_refuses_is_neither_cost_nor_crash() -> None:
    def guarded(frame: pl.DataFrame) -> Answered:
        usual = frame.select(
            pl.col("size").is_between(40, 160).fill_null(value=False)
            & pl.col("age").is_between(10, 99).fill_null(value=False)
            & pl.col("colour").is_in(["red", "green", "blue"]).fill_null(value=False)
            & pl.col("member").is_not_null()
        ).to_series()
        return Answered(np.where(usual, sigmoid(level(frame)), np.nan), ~usual.to_numpy())

    found = robustness(examined(guarded, contract=True), Brief())
    assert number(found, "crashes").value == 0
    assert not {"units", "out_of_range", "extreme", "unseen_category", "missing_field"} & set(graded(found, "suspects"))
    assert number(found, "robust_drop", "unseen_category").reason == "Every row is refused."
    assert number(found, "robust_drop", "unseen_category").upper == 0
    refused = {(one["fault"], one["column"], one["change"]): one["refused"] for one in lines(found)}
    assert refused["units", "size", "× 1000"] == 1
    assert 0.05 < refused["typos", "colour", "a tenth of the cells"] < 0.15


def breaks_on(fault: str) -> Answer:
    def answer(frame: pl.DataFrame) -> Answered:
        score = sigmoid(level(frame))
        if fault == "unseen" and not frame["colour"].drop_nulls().is_in(["red", "green", "blue"]).all():
            raise ValueError("colour 'hunter2' was not seen in training")
        if fault == "overflow" and frame["idle"].fill_null(0).abs().max() > 1e100:  # type: ignore[operator]
            score = np.full(frame.height, np.inf)
        if fault == "missing":
            score = np.where(frame["age"].is_null().to_numpy(), np.nan, score)
        if fault == "probability":
            score = score + (frame["size"].fill_null(0).to_numpy() > 1_000)
        return answered(score)

    return answer


@pytest.mark.parametrize(
    ("fault", "families"),
    [
        ("unseen", {"unseen_category", "typos"}),
        ("overflow", {"extreme"}),
        ("missing", {"missing_field", "missing_tenth", "missing_all"}),
        ("probability", {"units", "out_of_range", "extreme"}),
    ],
)
def test_crashes_are_counted_by_kind_and_named(fault: str, families: set[str]) -> None:
    found = robustness(examined(breaks_on(fault)), Brief())
    crashes = number(found, "crashes")
    assert crashes.lower == crashes.value == crashes.upper == len(families)
    assert set(graded(found, "fails")) == families
    assert all(name in crashes.reason for name in families)
    assert "hunter2" not in str(found), "what a model raises may quote cells"
    if fault == "unseen":
        assert "ValueError" in crashes.reason


def test_a_family_that_breaks_cannot_be_measured_and_does_not_pass() -> None:
    found = robustness(examined(breaks_on("unseen")), Brief())
    broken = number(found, "robust_drop", "unseen_category")
    assert broken.value is None
    assert "breaks" in broken.insufficient


def test_malformed_rows_may_be_refused_by_raising_and_well_formed_ones_by_saying_so() -> None:
    def raising(error: Exception) -> Answer:
        def answer(_frame: pl.DataFrame) -> Answered:
            raise error

        return answer

    rows = rows_of(50)
    plain = ask(raising(KeyError("size")), rows, Task.BINARY)
    assert plain.crashed
    assert plain.broken.all()
    malformed = ask(raising(KeyError("size")), rows, Task.BINARY, malformed=True)
    assert not malformed.crashed
    assert malformed.refused.all()
    told = ask(raising(DataError("column size has values out of range")), rows, Task.BINARY)
    assert not told.crashed
    assert told.refused.all()
    missing = {fault.column: fault.malformed for fault in every_fault(rows) if fault.family == "missing_field"}
    assert all(missing.values())
    gaps = rows.with_columns(pl.when(pl.col("age") > 30).then("age").alias("age"))
    assert not next(f for f in every_fault(gaps) if (f.family, f.column) == ("missing_field", "age")).malformed


@pytest.mark.parametrize("score", [np.full(7, 0.5), np.full((50, 2), 0.5), np.array(0.5)])
def test_answers_of_another_shape_are_a_crash(score: np.ndarray) -> None:
    reply = ask(lambda _frame: Answered(score, np.zeros(50, dtype=bool)), rows_of(50), Task.BINARY)
    assert reply.crashed
    assert reply.score.shape == (50,)


def test_class_probabilities_must_add_up() -> None:
    score = np.tile([0.2, 0.3, 0.5], (50, 1))
    score[3] = [0.9, 0.9, 0.9]
    reply = ask(lambda _frame: answered(score), rows_of(50), Task.MULTICLASS, classes=3)
    assert reply.broken.tolist() == [place == 3 for place in range(50)]


def test_a_model_that_warns_has_not_crashed() -> None:
    def loud(frame: pl.DataFrame) -> Answered:
        warnings.warn("feature names are missing", stacklevel=1)
        return tolerant(frame)

    assert number(robustness(examined(loud), Brief(quick=True)), "crashes").value == 0


def test_a_model_that_breaks_on_the_rows_as_they_are_is_told_so_once() -> None:
    def broken(_frame: pl.DataFrame) -> Answered:
        raise RuntimeError

    steps: list[int] = []
    subject, brief = examined(broken), Brief(advance=steps.append)
    found = robustness(subject, brief)
    assert number(found, "crashes").value == 1
    assert "as they are" in number(found, "crashes").reason
    assert set(graded(found, "fails")) == {"rows"}
    assert "needs at least 30" in number(found, "robust_drop").insufficient
    assert sum(steps) == robustness_steps(subject, brief)


def test_too_few_rows_are_insufficient_and_not_robust() -> None:
    found = robustness(examined(rows=rows_of(20)), Brief())
    assert "needs at least 30 rows" in number(found, "robust_drop").insufficient
    assert "has 20" in number(found, "robust_flips").insufficient
    clusters = np.arange(2_000) % 5
    few = robustness(examined(clusters=clusters), Brief())
    assert "entities" in number(few, "robust_drop").insufficient


def test_bounds_are_clustered_by_entity() -> None:
    clusters = np.arange(2_000) // 50
    apart, together = (number(robustness(examined(clusters=by), Brief()), "robust_flips") for by in (None, clusters))
    assert together.clusters == 40
    assert apart.clusters == 0


def test_a_regression_is_measured_in_r2_and_has_no_flips() -> None:
    rng = np.random.default_rng(2)
    rows = pl.DataFrame({"a": rng.normal(size=3_000), "b": rng.normal(size=3_000)})
    y = 2 * rows["a"].to_numpy()

    def answer(frame: pl.DataFrame) -> Answered:
        return answered(2 * frame["a"].fill_null(0.0).to_numpy())

    sample = Sample(task=Task.REGRESSION, y=y, score=y)
    found = robustness(Examined(sample=sample, rows=rows, columns=("a", "b"), answer=answer), Brief())
    assert not [one for one in found.measurements if one.metric == "robust_flips"]
    # a perfect model: shuffling its one column doubles the variance, noise of 10 % adds a hundredth of it
    shuffled, noise = number(found, "robust_drop", "shuffled"), number(found, "robust_drop", "noise_10")
    assert shuffled.lower is not None
    assert shuffled.upper is not None
    assert shuffled.lower < 2 < shuffled.upper
    assert noise.value == pytest.approx(0.01, rel=0.2)
    extreme = number(found, "robust_drop", "extreme")
    assert all(part is not None and np.isfinite(part) for part in (extreme.value, extreme.lower, extreme.upper))


def test_no_decision_no_flips() -> None:
    subject = examined()
    undecided = Sample(task=Task.BINARY, y=subject.sample.y, score=subject.sample.score)
    rows = subject.rows
    found = robustness(Examined(sample=undecided, rows=rows, columns=tuple(rows.columns), answer=tolerant), Brief())
    assert "no decision is taken" in number(found, "robust_flips").insufficient
    assert number(found, "robust_drop").value is not None


def test_only_input_columns_are_changed() -> None:
    rows = rows_of(300).with_columns(entity=pl.int_range(300), note=pl.lit("kept"))
    seen: list[pl.DataFrame] = []

    def watching(frame: pl.DataFrame) -> Answered:
        seen.append(frame)
        return tolerant(frame)

    subject = examined(watching, rows)
    subject = Examined(
        sample=subject.sample, rows=rows, columns=("size", "age", "idle", "colour", "member"), answer=watching
    )
    robustness(subject, Brief(quick=True))
    # entity and note stand beside the inputs in the same order every time
    assert all(frame.select("entity", "note").equals(seen[0].select("entity", "note")) for frame in seen)
    assert any("size" not in frame.columns for frame in seen)
    assert number(robustness(subject, Brief(quick=True)), "crashes").value == 0


@pytest.mark.parametrize("quick", [False, True])
def test_as_many_steps_are_told_as_were_announced_and_the_seed_decides(quick: bool) -> None:
    steps: list[int] = []
    brief = Brief(quick=quick, advance=steps.append)
    subject = examined()
    first = robustness(subject, brief)
    assert sum(steps) == robustness_steps(subject, brief)
    assert first == robustness(subject, Brief(quick=quick))
    assert first != robustness(subject, Brief(quick=quick, seed=8))


def test_of_many_columns_those_that_matter_are_tried_and_the_others_named() -> None:
    rng = np.random.default_rng(3)
    rows = pl.DataFrame({f"c{place}": rng.normal(size=400) for place in range(260)})

    def answer(frame: pl.DataFrame) -> Answered:
        return answered(sigmoid(2 * frame["c250"].fill_null(0.0).to_numpy()))

    y = (rng.random(400) < answer(rows).score).astype(np.int64)
    sample = Sample(task=Task.BINARY, y=y, score=answer(rows).score, threshold=0.5)
    asked: list[int] = []
    brief = Brief(advance=asked.append)
    subject = Examined(sample=sample, rows=rows, columns=tuple(rows.columns), answer=answer)
    found = robustness(subject, brief)
    assert sum(asked) <= 701
    assert "c250" in {one["column"] for one in lines(found)}
    note = found.exhibits[0].note
    assert "Without faults of their own: c" in note
    assert "and 2" in note.rpartition("faults of their own")[2]
    assert robustness_steps(subject, brief) == sum(asked)


def every_fault(rows: pl.DataFrame) -> list[Fault]:
    return [*(one for many in faults_for(rows).values() for one in many), *exchanges(rows.schema, rows.columns)]


KINDS: dict[str, tuple[pl.DataType, st.SearchStrategy[Any]]] = {
    "int8": (pl.Int8(), st.integers(-128, 127)),
    "uint8": (pl.UInt8(), st.integers(0, 255)),
    "uint64": (pl.UInt64(), st.integers(0, 2**64 - 1)),
    "int64": (pl.Int64(), st.integers(-(2**63), 2**63 - 1)),
    "float32": (pl.Float32(), st.floats(width=32, allow_nan=False, allow_infinity=False)),
    "float64": (pl.Float64(), st.floats(allow_nan=False, allow_infinity=False)),
    "text": (pl.String(), st.text(max_size=6)),
    "categorical": (pl.Categorical(), st.sampled_from(["a", "b", "ü"])),
    "enum": (pl.Enum(["a", "b"]), st.sampled_from(["a", "b"])),
    "truth": (pl.Boolean(), st.booleans()),
    "day": (pl.Date(), st.dates(date(1900, 1, 1), date(2100, 1, 1))),
    "time": (pl.Datetime("us"), st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))),  # noqa: DTZ001 - as stored
    "zoned": (pl.Datetime("ms", "UTC"), st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))),  # noqa: DTZ001
}


@settings(max_examples=60, deadline=None)
@given(data=st.data(), chosen=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4, unique=True))
def test_a_fault_changes_what_it_names_and_stays_within_the_type(data: st.DataObject, chosen: list[str]) -> None:
    height = data.draw(st.integers(1, 12))
    made = []
    for name in chosen:
        dtype, values = KINDS[name]
        cells = data.draw(st.lists(st.none() | values, min_size=height, max_size=height))
        made.append(pl.Series(name, cells, dtype=dtype))
    rows = pl.DataFrame(made)
    for fault in every_fault(rows):
        assert fault.family in FAMILIES
        after = fault.change(rows, np.random.default_rng(1))
        assert after.equals(fault.change(rows, np.random.default_rng(1)))
        assert after.height == height
        kept = [name for name in rows.columns if name not in fault.touches]
        assert after.select(kept).equals(rows.select(kept))
        if fault.family not in {"absent_column", "wrong_type"}:
            assert after.schema == rows.schema
            for name in fault.touches:
                if rows.schema[name].is_float() and fault.family not in {"missing_field", "missing_all"}:
                    assert after[name].drop_nulls().is_finite().all(), (fault.family, fault.how)


def test_faults_are_what_they_are_called() -> None:
    rows = rows_of(1_000)
    by_name = {(fault.family, fault.column, fault.how): fault for fault in every_fault(rows)}
    rng = np.random.default_rng(0)

    def after(*name: str) -> pl.DataFrame:
        return by_name[name].change(rows, rng)  # type: ignore[index]

    assert after("units", "age", "× 1000")["age"].to_list() == [value * 1000 for value in rows["age"]]
    tenth = after("missing_tenth", EVERY, "a tenth of the cells")
    assert [tenth[name].null_count() for name in rows.columns] == [100] * 5
    noisy = after("noise_1", EVERY, "1%")["size"] - rows["size"]
    spread = rows["size"].std()
    assert isinstance(spread, float)
    assert noisy.std() == pytest.approx(0.01 * spread, rel=0.1)
    typed = after("typos", "colour", "a tenth of the cells")["colour"]
    assert 70 <= (typed != rows["colour"]).sum() <= 100
    assert after("wrong_type", "size", "as text")["size"][0] == str(rows["size"][0]).replace(".", ",")
    assert after("wrong_type", "age", "as text")["age"][0] == f"{rows['age'][0]},0"
    assert set(after("wrong_type", "member", "as text")["member"]) == {"yes", "no"}
    low = after("out_of_range", "size", "far below")["size"][0]
    assert low == pytest.approx(50 - 10 * 100, rel=0.02)
    swapped = after("swapped_columns", "size and idle", "exchanged")
    assert swapped["size"].equals(rows["idle"].alias("size"))
    assert sorted(after("shuffled", "age", "shuffled")["age"]) == sorted(rows["age"])


@settings(max_examples=200, deadline=None)
@given(word=st.text(max_size=12), seed=st.integers(0, 1_000))
def test_a_typo_is_one_slip(word: str, seed: int) -> None:
    typed = typed_wrongly(word, np.random.default_rng(seed))
    assert abs(len(typed) - len(word)) <= 1 or typed == word.swapcase()


def effect(rise: np.ndarray, changed: np.ndarray) -> Effect:
    n = len(rise)
    fault = Fault(family="units", column="c", how="", change=lambda frame, _rng: frame, touches=("c",))
    nothing = np.zeros(n, dtype=bool)
    return Effect(
        fault=fault,
        reply=Reply(np.zeros(n), nothing, nothing),
        rise=rise,
        changed=changed,
        flipped=changed,
        clusters=None,
        greatest=16.0,
    )


def test_bounds_of_the_worst_fault_hold() -> None:
    rng = np.random.default_rng(11)
    truth, repeats, missed = 0.2, 600, [0, 0]
    for _ in range(repeats):
        effects = []
        for mean in (truth, truth, 0.15, 0.0):
            changed = rng.random(400) < 0.3
            rise = np.where(changed, rng.gamma(0.5, 2.0, 400) * mean / 0.3, 0.0)
            effects.append(effect(rise, changed))
        bounds = worst(effects, "drop", 0.95)[0]
        missed[0] += bounds.lower > truth
        missed[1] += bounds.upper < truth
    # nominally 5 % each; a true 5 % passes 44 of 600 once in a hundred
    assert missed[0] <= 44
    assert missed[1] <= 44


def test_a_fault_that_hardly_changes_anything_has_a_bound_all_the_same() -> None:
    rng = np.random.default_rng(12)
    share, cost, missed = 0.004, 4.0, 0
    for _ in range(600):
        changed = rng.random(500) < share
        missed += worst([effect(np.where(changed, cost, 0.0), changed)], "drop", 0.95)[0].upper < share * cost
    assert missed <= 44
    nothing = worst([effect(np.zeros(500), np.zeros(500, dtype=bool))], "drop", 0.95)[0]
    assert nothing.value == 0
    assert nothing.upper == pytest.approx(16 * 3 / 500, rel=0.01)
    assert worst([effect(np.zeros(500), np.zeros(500, dtype=bool))], "flips", 0.95)[0].lower == 0


def test_an_estimator_without_a_contract_refuses_by_raising_what_it_cannot_read() -> None:
    data = load_breast_cancer()
    names = [name.replace(" ", "_") for name in data.feature_names]
    rows = pl.DataFrame(data.data, schema=names)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(data.data, data.target)

    def answer(frame: pl.DataFrame) -> Answered:
        return answered(model.predict_proba(frame.select(names).to_numpy())[:, 1])

    sample = Sample(task=Task.BINARY, y=data.target.astype(np.int64), score=answer(rows).score, threshold=0.5)
    found = robustness(Examined(sample=sample, rows=rows, columns=tuple(names), answer=answer), Brief())
    by_fault: dict[str, list[dict[str, Any]]] = {}
    for one in lines(found):
        by_fault.setdefault(one["fault"], []).append(one)
    assert all(one["refused"] == 1 and "refusal" in one["raised"] for one in by_fault["missing_field"])
    assert all(one["refused"] == 1 for one in by_fault["absent_column"])
    assert number(found, "robust_drop", "missing_field").reason == "Every row is refused."
    assert number(found, "robust_drop").value is not None
    assert "units" in graded(found, "suspects")


def shown(**columns: list[Any]) -> Exhibit:
    return Exhibit(name="robustness", title="t", columns=columns)


def test_the_picture_shows_the_worst_of_each_kind_and_says_what_was_refused_or_broke() -> None:
    found = robustness(examined(breaks_on("unseen")), Brief(quick=True))
    (table,) = found.exhibits
    chart = chart_for(table)
    assert chart is not None
    svg = to_svg(chart)
    assert "breaks: colour" in svg
    assert "units" in svg
    assert "Costliest faults: " in describe(table)
    drawn = chart_for(shown(fault=["units", "typos"], column=["a", "b"], refused=[1.0, 0.1], drop=[None, 0.2]))
    assert drawn is not None
    assert "refused" in to_svg(drawn)
    assert chart_for(shown(fault=[], column=[], drop=[])) is None
    assert chart_for(shown(a=[1])) is None


cells = st.one_of(st.none(), st.floats(), st.integers(-5, 5), st.text(max_size=5), st.booleans())
COLUMNS = ("fault", "column", "refused", "nonfinite", "drop", "drop_lower", "drop_upper")


@settings(max_examples=40, deadline=None)
@given(data=st.data(), rows=st.integers(0, 4))
def test_no_content_breaks_the_picture(data: st.DataObject, rows: int) -> None:
    drawn = {
        name: data.draw(st.lists(cells, min_size=rows, max_size=rows))
        for name in COLUMNS
        if data.draw(st.integers(0, 9)) < 9
    }
    chart = chart_for(shown(**drawn))
    assert chart is None or to_svg(chart).startswith("<svg ")
    assert describe(shown(**drawn)).startswith("t.")
