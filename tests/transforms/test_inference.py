"""Inference on made-up tables: types and marks, roles, leaks, and the words that go with them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.errors import SourceError, TargetError
from roadworthy.records.contract import ColumnContract as Column
from roadworthy.records.contract import ColumnType, MissingPolicy
from roadworthy.records.project import Task
from roadworthy.transforms.cleaning import CleaningPlan
from roadworthy.transforms.inference import Inference, infer

N = 400
RNG = np.random.default_rng(3)
NOISE = RNG.normal(size=N)
EVENT = (NOISE + RNG.normal(size=N)) > 0.5


def inferred(target: str = "y", task: Task | None = None, **columns: Any) -> Inference:
    data = {"y": EVENT.astype(int).tolist(), "noise": NOISE.tolist()} | columns
    return infer(pl.DataFrame(data, strict=False), target=target, task=task, source_name="made up")


def column_of(values: list[Any]) -> Column:
    return inferred(x=values).contract.columns["x"]


def said(found: Inference, name: str, kind: str) -> str:
    return " ".join(note.sentence for note in found.notes if (note.column, note.kind) == (name, kind))


def cycle(*values: Any) -> list[Any]:
    return [values[at % len(values)] for at in range(N)]


def numbers(low: int = 0, high: int = 60) -> list[int]:
    return [int(one) for one in RNG.integers(low, high, N)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([str(one) for one in numbers()], Column(type=ColumnType.INTEGER, min=0)),
        ([f"{one}.5" for one in numbers()], Column(type=ColumnType.NUMBER)),
        ([f"{one} kg" for one in numbers()], Column(type=ColumnType.INTEGER, min=0, unit="kg")),
        ([f"{one},5" for one in numbers()], Column(type=ColumnType.NUMBER, decimal=",")),
        ([f"{one},{one + 100}" for one in numbers(1)], Column(type=ColumnType.INTEGER, min=0, thousands=",")),
        (["N/A" if at % 9 == 0 else str(at % 40) for at in range(N)],
         Column(type=ColumnType.INTEGER, min=0, sentinels=("N/A",))),
        (cycle("yes", "no"), Column(type=ColumnType.BOOLEAN)),
        (cycle(" a", "b", "c "), Column(type=ColumnType.CATEGORY, allowed=("a", "b", "c"))),
        (cycle("a", "b", "?"), Column(type=ColumnType.CATEGORY, allowed=("a", "b"), sentinels=("?",))),
        (cycle("a", "a.", "b"), Column(type=ColumnType.CATEGORY, allowed=("a", "b"), strip_suffix=".")),
        (cycle("NA", "DE", "FR"), Column(type=ColumnType.CATEGORY, allowed=("DE", "FR", "NA"))),
        (cycle("007", "012", "113"), Column(type=ColumnType.CATEGORY, allowed=("007", "012", "113"))),
        (cycle("1 kg", "2 lb"), Column(type=ColumnType.CATEGORY, allowed=("1 kg", "2 lb"))),
        (cycle("10/03/2004", "28/02/2005"),
         Column(type=ColumnType.TIME, time_format="%d/%m/%Y", missing=MissingPolicy.REJECT)),
        (cycle("2004-03-10 18.00.00", "2004-03-11 19.30.00"), None),
    ],
)  # fmt: skip
def test_texts_are_recognised(values: list[Any], expected: Column | None) -> None:
    found = column_of(values)
    if expected is None:
        assert (found.type, found.time_format) == (ColumnType.TIME, "%Y-%m-%d %H.%M.%S")
        return
    assert found == expected


@pytest.mark.parametrize(("unit", "per"), [("epoch_s", 1), ("epoch_ms", 1_000), ("epoch_us", 1_000_000)])
def test_epochs_are_recognised_by_name_and_range(unit: str, per: int) -> None:
    seconds = [(1_700_000_000 + 60 * at) * per for at in range(N)]
    found = inferred(event_time=seconds, balance=seconds)
    assert (found.time, found.contract.columns["event_time"].time_format) == ("event_time", unit)
    assert found.contract.columns["balance"].type is ColumnType.INTEGER


def test_amounts_do_not_fall_below_zero() -> None:
    amounts = [float(at % 7) + 0.5 for at in range(N)]
    found = inferred(dwell_seconds=amounts, level=amounts, warmer_days=[one - 2 for one in amounts]).contract.columns
    assert (found["dwell_seconds"].min, found["level"].min, found["warmer_days"].min) == (0, None, None)


@pytest.mark.parametrize("code", [-200, 999, -1, 9999])
def test_codes_apart_from_everything_else_are_sentinels(code: int) -> None:
    values = [code if at % 8 == 0 else at % 37 for at in range(N)]
    found = inferred(x=values)
    assert found.contract.columns["x"].sentinels == (str(code),)
    assert f"{code} stands in 50 of 400 cells" in said(found, "x", "sentinel")


@pytest.mark.parametrize(
    "values",
    [
        [at % 100 for at in range(N)],  # 99 is just the next number
        [99 if at % 8 == 0 else 60 + at % 30 for at in range(N)],  # not far enough from 89
        [-1 if at % 3 == 0 else at % 2 for at in range(N)],  # -1, 0, 1
        [999 if at == 5 else at % 37 for at in range(N)],  # seen once
    ],
)
def test_numbers_that_belong_are_no_sentinels(values: list[Any]) -> None:
    assert column_of(values).sentinels == ()


def test_the_inferred_contract_is_met_by_its_own_data() -> None:
    found = inferred(
        x=cycle("1 kg", " 2 kg", "", "3"), d=cycle("10/03/2004", "28/02/2005", ""), c=cycle("a", "b.", "b", None),
        s=[-200 if at % 8 == 0 else at % 37 for at in range(N)],
    )  # fmt: skip
    data = {"y": EVENT.astype(int), "noise": NOISE, "x": cycle("1 kg", " 2 kg", "", "3"),
            "d": cycle("10/03/2004", "28/02/2005", ""), "c": cycle("a", "b.", "b", None),
            "s": [-200 if at % 8 == 0 else at % 37 for at in range(N)]}  # fmt: skip
    counts = CleaningPlan.build(found.contract, found.time, "y").check(pl.LazyFrame(data))
    assert counts.quarantined == 0
    assert counts.repairs["s: sentinel to missing"] == 50


@pytest.mark.parametrize(
    ("target", "task", "positive"),
    [
        (cycle("no", "yes", "no"), Task.BINARY, "yes"),
        (cycle("<=50K", ">50K", "<=50K"), Task.BINARY, ">50K"),
        (cycle(0, 1), Task.BINARY, "1"),
        (cycle(True, False), Task.BINARY, "true"),
        (cycle("a", "b", "c"), Task.MULTICLASS, ""),
        (cycle(0, 1, 2), Task.MULTICLASS, ""),
        (NOISE.tolist(), Task.REGRESSION, ""),
        (list(range(N)), Task.REGRESSION, ""),
    ],
)
def test_the_task_follows_from_the_target(target: Any, task: Task, positive: str) -> None:
    found = inferred(y=target)
    assert (found.task, found.positive) == (task, positive)
    assert said(found, "y", "task")


@pytest.mark.parametrize(
    ("target", "said_so"),
    [
        (cycle("same"), "only the value"),
        (cycle(None), "no value at all"),
        ([f"text {at}" for at in range(N)], "400 different values"),
        ([datetime(2020, 1, 1) + timedelta(days=at) for at in range(N)], "is a time"),  # noqa: DTZ001 - raw data
    ],
)
def test_targets_that_cannot_be_learned_are_refused(target: Any, said_so: str) -> None:
    with pytest.raises(TargetError, match=said_so):
        inferred(y=target)


def test_wrong_names_and_empty_tables_are_refused() -> None:
    with pytest.raises(TargetError, match="did you mean 'noise'"):
        inferred(target="noize")
    with pytest.raises(SourceError, match="no rows"):
        infer(pl.DataFrame({"y": []}, schema={"y": pl.Int64}), target="y", source_name="made up")


def test_columns_that_add_up_to_the_target_are_left_out() -> None:
    a, b, c = numbers(), numbers(), numbers()
    total = [one + two - three for one, two, three in zip(a, b, c, strict=True)]
    found = inferred(y=total, a=a, b=b, c=c)
    assert set(found.exclude) == {"a", "b", "c"}
    assert "a + b - c = y in every one of 400 rows" in found.exclude["a"]
    pair = inferred(y=[one + two for one, two in zip(a, b, strict=True)], a=a, b=b, c=c)
    assert set(pair.exclude) == {"a", "b"}
    assert {finding.grade for finding in pair.findings} == {"fails"}


def test_copies_of_the_target_are_left_out() -> None:
    y = NOISE.tolist()
    found = inferred(y=y, copy=y, unit=[1.8 * one + 32 for one in y], noise=RNG.normal(size=N).tolist())
    assert set(found.exclude) == {"copy", "unit"}
    labels = inferred(code=["won" if one else "lost" for one in EVENT])
    assert "decides y alone" in labels.exclude["code"]


def test_columns_filled_only_where_the_target_is_known_are_left_out() -> None:
    known = RNG.random(N) > 0.2
    y = [int(event) if has else None for event, has in zip(EVENT, known, strict=True)]
    after = [float(one) if has else None for one, has in zip(RNG.normal(size=N), known, strict=True)]
    holes = [None if at % 5 == 0 else float(at % 7) for at in range(N)]
    found = inferred(y=y, after=after, holes=holes)
    assert set(found.exclude) == {"after"}
    assert "filled only where the target is known" in found.exclude["after"]


def test_columns_filled_only_for_the_event_are_left_out() -> None:
    found = inferred(refund=[float(at % 5) if event else None for at, event in enumerate(EVENT)])
    assert "whether it is filled says what the target is" in found.exclude["refund"]


def test_power_that_stands_apart_is_a_question_and_with_a_telling_name_an_exclusion() -> None:
    strong = (EVENT * 2.0 + RNG.normal(size=N) * 0.7).tolist()
    asked = inferred(call_length=strong, noise=RNG.normal(size=N).tolist())
    assert asked.exclude == {}
    assert [(one.subject, one.grade) for one in asked.findings] == [("call_length", "suspects")]
    assert "Is it known when the prediction is made?" in said(asked, "call_length", "leak")
    assert "[data.exclude]" in said(asked, "call_length", "leak")
    told = inferred(duration=strong, noise=RNG.normal(size=N).tolist())
    assert set(told.exclude) == {"duration"}
    assert "'duration'" in told.exclude["duration"]


def test_what_is_named_like_a_leak_or_filled_with_one_goes_with_it() -> None:
    strong = (EVENT * 2.0 + RNG.normal(size=N) * 0.5).tolist()
    found = inferred(predicted_share=strong, prediction=[one > 1 for one in strong], noise=RNG.normal(size=N).tolist())
    assert set(found.exclude) == {"predicted_share", "prediction"}
    lost = RNG.random(N) < 0.2
    code = [None if gone else ("won" if one else "lost") for one, gone in zip(EVENT, lost, strict=True)]
    beside = [None if gone else float(at % 9) for at, gone in enumerate(lost)]
    y = [int(one) if not gone else 0 for one, gone in zip(EVENT, lost, strict=True)]
    family = inferred(y=y, code=code, beside=beside, noise=RNG.normal(size=N).tolist())
    assert set(family.exclude) == {"code", "beside"}
    assert "came into being with code, which is a proven leak" in family.exclude["beside"]


def test_honest_columns_are_no_leaks() -> None:
    found = inferred(noise=RNG.normal(size=N).tolist(), label=cycle("a", "b", "c"), holes=cycle(1.0, None, 2.0))
    assert found.findings == ()
    assert found.exclude == {}


def test_identifiers_constants_and_empty_columns_are_left_out() -> None:
    found = inferred(
        row_id=list(range(N)), code=[f"X{at:05d}" for at in range(N)], same=cycle("a"), none=cycle(None),
        prose=[f"the row number {at} says a few words" for at in range(N)],
    )  # fmt: skip
    assert set(found.exclude) == {"row_id", "code", "same", "none"}
    assert found.contract.columns["prose"].type is ColumnType.TEXT
    assert said(found, "prose", "free text")


def test_people_groups_times_and_entities_are_found() -> None:
    start = datetime(2024, 1, 1)  # noqa: DTZ001 - raw data
    found = inferred(
        user_id=[at % 80 for at in range(N)],
        reach=[f"person{at}@example.org" for at in range(N)],
        sex=cycle("f", "m"),
        created_at=[start + timedelta(hours=at) for at in range(N)],
        brand_name=cycle("a", "b"),
    )
    assert (found.time, found.entity) == ("created_at", "user_id")
    assert found.personal == ("user_id", "reach")
    assert found.protected == ("sex",)
    assert found.contract.columns["reach"] == Column(type=ColumnType.TEXT)
    assert found.contract.columns["created_at"].missing is MissingPolicy.REJECT
    everything = repr(found)
    assert "example.org" not in everything


def test_what_means_missing_in_a_personal_column_stays_declared() -> None:
    found = inferred(user_id=["?" if at % 9 == 0 else f"u{at % 80}" for at in range(N)])
    assert "user_id" in found.personal
    assert found.contract.columns["user_id"].sentinels == ("?",)


def test_dates_in_parts_are_pointed_out() -> None:
    found = inferred(year=cycle(2012, 2013), month=[at % 12 + 1 for at in range(N)], hr=[at % 24 for at in range(N)])
    assert found.time == ""
    assert "year, month, hr are parts of a date" in said(found, "", "time")


def test_duplicates_are_counted_and_kept() -> None:
    found = infer(
        pl.DataFrame({"y": cycle(0, 1), "a": cycle(1.5, 2.5)}), target="y", task=Task.BINARY, source_name="made up"
    )
    assert "398 rows are equal to an earlier one" in said(found, "", "duplicates")
    assert found.contract.duplicates == "keep"


def test_a_sample_is_checked_against_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadworthy.transforms.inference.first_project._WHOLE_CELLS", 1)
    monkeypatch.setattr("roadworthy.transforms.inference.first_project._SAMPLE", 500)
    rows = 5_000
    labels = ["a", "b"] * (rows // 2 - 2) + ["rare"] * 4
    frame = pl.DataFrame({"y": RNG.integers(0, 2, rows), "c": labels, "v": [*range(rows - 1), -7]})
    found = infer(frame.lazy(), target="y", source_name="made up")
    assert found.rows == rows
    assert found.sampled < rows
    counts = CleaningPlan.build(found.contract, "", "y").check(frame.lazy())
    assert counts.quarantined == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=6), st.floats().map(str), st.dates().map(str)), max_size=30))
def test_nothing_that_comes_as_text_breaks_inference(cells: list[str | None]) -> None:
    rows = max(2, len(cells))
    data = {"y": [at % 2 for at in range(rows)], "x": (cells + [None] * rows)[:rows]}
    found = infer(pl.DataFrame(data, schema={"y": pl.Int64, "x": pl.String}), target="y", source_name="made up")
    assert list(found.contract.columns) == ["y", "x"]
