"""Rows as they come in requests: what is taken is what the cleaning plan would have made of it, and nothing else is."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC
from types import SimpleNamespace
from typing import Any, cast

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.records.contract import Breach, ColumnContract, ColumnType, Contract, MissingPolicy
from roadworthy.serving.feeding import arrays_of
from roadworthy.serving.fields import micros
from roadworthy.serving.rows import MOST_ROWS, RowReader, RowsRefused
from roadworthy.transforms.cleaning import CleaningPlan

COLUMNS = {
    "age": ColumnContract(type=ColumnType.INTEGER, min=0, max=120, missing=MissingPolicy.REJECT),
    "pay": ColumnContract(type=ColumnType.NUMBER, min=-5, sentinels=("-1", "999")),
    "wide": ColumnContract(type=ColumnType.NUMBER),
    "ok": ColumnContract(type=ColumnType.BOOLEAN),
    "device": ColumnContract(type=ColumnType.CATEGORY, allowed=("phone", "desktop"), missing=MissingPolicy.REJECT),
    "band": ColumnContract(type=ColumnType.CATEGORY, sentinels=("?",), strip_suffix="."),
    "code": ColumnContract(type=ColumnType.TEXT, pattern="[A-Z]{2}[0-9]+"),
    "seen": ColumnContract(type=ColumnType.TIME),
    "who": ColumnContract(type=ColumnType.TEXT),
    "y": ColumnContract(type=ColumnType.INTEGER),
}
INPUTS = ("age", "pay", "wide", "ok", "device", "band", "code", "seen")
SOUND: dict[str, Any] = {
    "age": 30,
    "pay": 2.5,
    "wide": 1e12,
    "ok": True,
    "device": "phone",
    "band": "b",
    "code": "AB1",
    "seen": "2026-01-31T12:00:00Z",
}


def reader(
    columns: Mapping[str, ColumnContract] = COLUMNS, inputs: tuple[str, ...] = INPUTS, personal: tuple[str, ...] = ()
) -> RowReader:
    """A reader of a contract, without a model: it asks its predictor for nothing but the contract's plan."""
    contract = Contract(columns=dict(columns))
    parts = SimpleNamespace(
        contract=SimpleNamespace(
            contract=contract, inputs=inputs, entity="who", time="", target="y", personal=personal
        ),
        cleaning=CleaningPlan.build(contract, "", "y"),
        optional=frozenset(columns) - set(inputs),
        aggregates=(),
        hidden=lambda frame: frame.with_columns((pl.col(name) + "#") for name in personal if name in frame.columns),
    )
    return RowReader(cast("Any", parts))


READER = reader()
QUICK_INPUTS = tuple(name for name in INPUTS if name != "code")
QUICK = reader({name: column for name, column in COLUMNS.items() if name != "code"}, QUICK_INPUTS)
"""Without a pattern, by which every row is read by the plan: here nearly none is."""

NUMBERS = st.one_of(
    st.sampled_from([0, -1, 120, 121, 999, 999.0, 2**53, -(2**53), 2**53 + 1, 1e300, -5, -5.5, 0.1]),
    st.integers(-200, 200),
    st.floats(-300, 300),
)
TEXTS = st.one_of(
    st.sampled_from(
        ["phone", "desktop", " phone", "b.", "b. ", "?", " ? ", "", " ", "AB1", "AB", "x\u00a0", "\u2028z"]
    ),
    st.text(max_size=4),
)
TIMES = st.one_of(
    st.sampled_from(
        ["2026-01-31T12:00:00Z", "2026-01-31 12:00:00.5", "2026-02-30T00:00:00Z", "2026-01-31", "0001-01-01T00:00:00Z"]
    ),
    st.datetimes().map(lambda at: at.isoformat()),
    st.datetimes(timezones=st.sampled_from([UTC])).map(lambda at: at.isoformat()),
)
ANY = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, TIMES)
CELLS = {
    "age": NUMBERS,
    "pay": NUMBERS,
    "wide": NUMBERS,
    "ok": st.booleans(),
    "device": TEXTS,
    "band": TEXTS,
    "code": TEXTS,
    "seen": TIMES,
}


@st.composite
def rows_but_for_a_few_cells(draw: st.DrawFn) -> dict[str, Any]:
    """A sound row with up to three cells of any content: more, and nearly every row would be refused."""
    changed = draw(st.lists(st.sampled_from(INPUTS), max_size=3, unique=True))
    return SOUND | {name: draw(st.one_of(CELLS[name], st.none())) for name in changed}


ROWS = rows_but_for_a_few_cells()


def planned(row: Mapping[str, Any]) -> tuple[dict[str, Any], list[str] | None]:
    """What the cleaning plan makes of a row that came by itself."""
    contract = Contract(
        columns={name: column for name, column in COLUMNS.items() if name in row or name in {"who", "y"}}
    )
    plan = CleaningPlan.build(contract, "", "y")
    frame = pl.DataFrame({name: pl.Series(name, [value], strict=False) for name, value in row.items()})
    clean, problems = plan.apply_rows(frame, optional=frozenset(COLUMNS) - set(INPUTS))
    return clean.row(0, named=True), problems.item()


def check(found: RowReader, inputs: tuple[str, ...], row: Mapping[str, Any]) -> None:
    """The reader takes the row with the plan's own values, or refuses what the plan refuses."""
    clean, problems = planned(row)
    body = json.dumps({"row": row}).encode()
    if problems is not None:
        with pytest.raises(RowsRefused):
            found.read(body)
        return
    taken = found.named(found.read(body)[0])
    for name in inputs:
        value = taken[name]
        if name == "seen" and value is not None:
            value, clean[name] = micros(value), micros(clean[name].isoformat())
        assert value == clean[name], name


def test_a_column_whose_name_json_writes_otherwise_is_read_like_any_other() -> None:
    odd = 'a"b\\\n'
    columns = {
        **{name: COLUMNS[name] for name in ("age", "who", "y")},
        odd: ColumnContract(type=ColumnType.NUMBER, max=9),
    }
    own = reader(columns, ("age", odd))
    (row,) = own.read(json.dumps({"row": {"age": 30, odd: 2.5}}).encode())
    assert own.named(row)[odd] == 2.5
    with pytest.raises(RowsRefused) as refused:
        own.read(json.dumps({"rows": [{"age": 30, odd: 10}, {"age": 30, odd: 1, "more": 2}]}).encode())
    assert refused.value.broken == (2, {(odd, Breach.RANGE): 1, ("", Breach.UNKNOWN): 1})
    assert refused.value.problems[0].where == f"rows[0][{odd!r}]"


@settings(max_examples=300, deadline=None)
@given(row=ROWS, quick=st.booleans())
def test_a_row_is_taken_with_the_values_of_the_plan_or_refused_where_the_plan_refuses(
    row: dict[str, Any], quick: bool
) -> None:
    found, inputs = (QUICK, QUICK_INPUTS) if quick else (READER, INPUTS)
    check(found, inputs, {name: row[name] for name in inputs})


EDGES: list[tuple[str, Any]] = [
    *(("band", text) for text in ("?", " ? ", "b.", "b. ", "?.", "..", "", " ", "\u2028b", "\x1cb", "b\x85", ".")),
    *(("device", text) for text in ("phone", " phone", "Phone", "toaster", "", "?")),
    *(("pay", number) for number in (-1, -1.0, 999, 999.0, 998.999, -5, -5.000001, 2**53, 1e300)),
    *(("wide", number) for number in (2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**62, 9007199254740993.0, -0.0)),
    *(("age", number) for number in (0, 120, 121, -1, 30.0, 30.5, None)),
    *(("seen", f"{year}-01-01T00:00:00Z") for year in ("0000", "0001", "1969", "9999")),
    *(("seen", f"2026-01-31{end}") for end in ("", "T12:00", " 12:00:00", "T12:00:00+02:00", "T12:00:00.1234567Z")),
    *(("seen", text) for text in ("9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+01:00", "2026-02-30T00:00:00Z")),
    *(("seen", text) for text in ("2026-01-31t12:00:00z", "2026-01-31_12:00:00", "2026-01-31T24:00:00", "soon")),
]


@pytest.mark.parametrize(("name", "value"), EDGES, ids=range(len(EDGES)))
def test_values_at_the_edges_are_read_as_the_plan_reads_them(name: str, value: Any) -> None:
    check(QUICK, QUICK_INPUTS, {field: (SOUND | {name: value})[field] for field in QUICK_INPUTS})


@settings(max_examples=200, deadline=None)
@given(row=st.dictionaries(st.sampled_from([*INPUTS, "agee", "who", "y", "🙂"]), ANY), many=st.booleans())
def test_whatever_comes_is_taken_or_refused_in_words(row: dict[str, Any], many: bool) -> None:
    body = json.dumps({"rows": [row, SOUND]} if many else {"row": row}).encode()
    refused: list[RowsRefused] = []
    try:
        rows = READER.read(body)
        arrays_of(rows, READER)
    except RowsRefused as error:
        refused.append(error)
    assert all(error.problems and all(problem.found for problem in error.problems) for error in refused)
    assert refused or len(rows) == 1 + many


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_in_json_is_refused_at_its_field(literal: str) -> None:
    body = json.dumps({"rows": [SOUND, SOUND]}).replace('"wide": 1000000000000.0', f'"wide": {literal}', 1)
    with pytest.raises(RowsRefused) as refused:
        READER.read(body.encode())
    (problem,) = refused.value.problems
    assert problem.where == "rows[0].wide"
    assert not refused.value.syntax


def test_every_problem_of_every_row_comes_at_once() -> None:
    bad = {**SOUND, "age": 130, "device": "toaster", "extra": 1}
    worse: dict[str, Any] = {
        "age": None,
        "pay": "a lot",
        "wide": True,
        "ok": 1,
        "device": None,
        "band": [],
        "code": "ab",
        "seen": "soon",
    }
    with pytest.raises(RowsRefused) as refused:
        READER.read(json.dumps({"rows": [SOUND, bad, worse]}).encode())
    places = [problem.where for problem in refused.value.problems]
    assert places == ["rows[1].extra", "rows[2].pay", "rows[2].wide", "rows[2].ok", "rows[2].band"]
    with pytest.raises(RowsRefused) as refused:
        READER.read(json.dumps({"row": {**SOUND, "age": 130, "device": "toaster", "seen": "soon"}}).encode())
    found = {problem.where: (problem.found, problem.expected) for problem in refused.value.problems}
    assert found["row.age"] == ("above 120", "a whole number from 0 to 120")
    assert found["row.device"] == ("not an allowed category", "one of phone, desktop")
    assert found["row.seen"][0] == "not a time"


def test_a_misspelt_field_is_refused_and_named() -> None:
    row = {**SOUND, "devise": "phone"}
    del row["device"]
    with pytest.raises(RowsRefused) as refused:
        READER.read(json.dumps({"row": row}).encode())
    said = [str(problem) for problem in refused.value.problems]
    assert "row.devise: unknown field; did you mean 'device'?" in said
    assert any(one.startswith("row.device: missing field") for one in said)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"   ", "empty"),
        (b"{", "not JSON"),
        (b"[]", "another form"),
        (b"null", "another form"),
        (b'{"rows": {}}', "another form"),
        (b'{"rows": [1], "row": {}}', "another form"),
        (b'{"instances": []}', "another form"),
        (b'{"rows": [{"age": NaN,}]}', "not JSON"),
        (b'{"rows": [{"age": 1e999}]}', "meet the contract"),
        (b'{"rows": []}', "no row"),
        (b'{"row": ' + b"[" * 100_000, "nests"),
        (b'{"row": {"age": "\xff"}}', "not JSON"),
        (b'{"rows": [' + b"{}," * MOST_ROWS + b"{}]}", "too many rows"),
    ],
    ids=range(14),
)
def test_a_body_of_another_form_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(RowsRefused) as refused:
        READER.read(body)
    assert words in refused.value.message


def test_who_and_when_travel_with_the_row_and_the_target_is_ignored() -> None:
    (row,) = READER.read(json.dumps({"row": {**SOUND, "who": "u1", "y": 1}}).encode())
    assert READER.named(row)["who"] == "u1"
    (mended,) = READER.read(json.dumps({"row": {**SOUND, "band": " b. ", "who": "u1"}}).encode())
    assert READER.named(mended)["band"] == "b"
    assert READER.named(mended)["who"] == "u1"
    assert len(row) == len(mended)


def test_columns_of_any_name_are_fields() -> None:
    odd = {name: ColumnContract(type=ColumnType.NUMBER) for name in ("class", "a b", "0", "ß", "f1", "rows")}
    names = tuple(odd)
    found = reader({**odd, "who": COLUMNS["who"], "y": COLUMNS["y"]}, names)
    (row,) = found.read(json.dumps({"row": dict(zip(names, range(6), strict=True))}).encode())
    assert [found.named(row)[name] for name in names] == [0, 1, 2, 3, 4, 5]


def test_an_entity_that_the_model_reads_travels_once_and_a_personal_one_never_in_the_clear() -> None:
    row = json.dumps({"row": {**SOUND, "who": "ann"}}).encode()
    plain = reader(inputs=(*INPUTS, "who"))
    assert plain.kept == ()
    assert plain.named(plain.read(row)[0])["who"] == "ann"
    hidden = reader(inputs=(*INPUTS, "who"), personal=("who",))
    assert hidden.named(hidden.read(row)[0])["who"] == "ann#"


def test_many_rows_to_mend_cost_little_more_than_one() -> None:
    rows = json.dumps({"rows": [{**SOUND, "band": " b. "}] * 2_000}).encode()
    begun = time.process_time()
    taken = READER.read(rows)
    assert time.process_time() - begun < 1, "one by one it takes four seconds"
    assert {READER.named(row)["band"] for row in taken} == {"b"}


def test_a_hundred_thousand_unknown_names_are_refused_at_once() -> None:
    row = {**SOUND, **{f"agg{at}": 1 for at in range(100_000)}}
    begun = time.process_time()
    with pytest.raises(RowsRefused) as refused:
        READER.read(json.dumps({"row": row}).encode())
    assert time.process_time() - begun < 2
    assert len(refused.value.problems) <= 101


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROWS, min_size=2, max_size=5))
def test_rows_that_come_together_are_read_as_each_by_itself(rows: list[dict[str, Any]]) -> None:
    alone: list[tuple[Any, ...] | None] = []
    for row in rows:
        clean, problems = planned(row)
        alone.append(None if problems is not None else tuple(clean[name] for name in INPUTS if name != "seen"))
    body = json.dumps({"rows": rows}).encode()
    if None in alone:
        with pytest.raises(RowsRefused) as refused:
            READER.read(body)
        named = {problem.where.split("]")[0] + "]" for problem in refused.value.problems}
        assert named <= {f"rows[{at}]" for at, one in enumerate(alone) if one is None} | {"100 more problems]"}
        return
    taken = [READER.named(row) for row in READER.read(body)]
    assert [tuple(row[name] for name in INPUTS if name != "seen") for row in taken] == alone


HALF_A_PAIR = [
    {"row": {**SOUND, "band": "\ud800"}},
    {"row": {**SOUND, "who": "\ud800"}},
    {"row": {**SOUND, "\ud800": 1}},
    {"\udfff": 1},
]


@pytest.mark.parametrize("body", HALF_A_PAIR)
def test_half_a_surrogate_pair_is_no_json(body: dict[str, Any]) -> None:
    with pytest.raises(RowsRefused) as refused:
        READER.read(json.dumps(body).encode())
    assert refused.value.syntax
    json.dumps(refused.value.message, ensure_ascii=False).encode()


@pytest.mark.parametrize("who", [[1, "a"], {"a": [1, {}]}, 10**100, 1e300, [], None])
def test_what_nobody_reads_is_never_a_fault_of_a_row_that_is_mended(who: Any) -> None:
    others = [{**SOUND, "pay": 999, "who": ["x"]}, {**SOUND, "pay": 999, "who": 2**64}]
    rows = READER.read(json.dumps({"rows": [{**SOUND, "pay": 999, "who": who}, *others]}).encode())
    assert [READER.named(row)["who"] for row in rows] == [who, ["x"], 2**64]
    assert READER.named(rows[0])["pay"] is None


def test_times_beyond_64_bits_are_named() -> None:
    rows = [{**SOUND, "seen": 1}, {**SOUND, "seen": 2**64}]
    with pytest.raises(RowsRefused, match="do not meet") as refused:
        READER.read(json.dumps({"rows": rows}).encode())
    assert "too many digits" in str(refused.value)


def test_a_request_full_of_unknown_fields_is_refused_without_delay() -> None:
    columns = {**COLUMNS, **{f"column_{at}": ColumnContract(type=ColumnType.NUMBER) for at in range(40)}}
    body = json.dumps({"rows": [{f"colunm_{at}": 1 for at in range(20)}] * 1_000}).encode()
    begun = time.perf_counter()
    with pytest.raises(RowsRefused, match="do not meet"):
        reader(columns).read(body)
    assert time.perf_counter() - begun < 3  # 20,000 hints would be ten seconds


def test_what_is_hidden_already_is_not_hidden_again() -> None:
    own = reader(inputs=(*INPUTS, "who"), personal=("who",))
    (row,) = own.take([{**SOUND, "who": "ann"}])
    assert own.named(row)["who"] == "ann#"
    assert own.take([own.named(row)], hidden=True) == [row]


def test_rows_in_any_order_of_fields_and_with_any_gaps_are_mended_together() -> None:
    names = list(SOUND)
    rows: list[dict[str, Any]] = []
    for at in range(2_000):
        order = names[at % 8 :] + names[: at % 8]
        row = {name: SOUND[name] for name in order} | {"pay": 999 if at % 2 else 999.0, "wide": 2 if at % 3 else 2.0}
        rows.append(row | {name: None for bit, name in enumerate(("ok", "band", "code", "seen")) if at >> bit & 1})
    alone = [READER.take([row])[0] for row in rows[:48]]
    begun = time.perf_counter()
    assert READER.take(rows)[:48] == alone
    assert time.perf_counter() - begun < 1
    with pytest.raises(RowsRefused) as refused:
        READER.take([*rows, {**SOUND, "age": "x"}])
    assert len(refused.value.problems) == 1
