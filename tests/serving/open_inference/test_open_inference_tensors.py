"""Tensors as clients send them: every form means the same, and means what the cleaning plan says."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.errors import Problem
from roadworthy.records.contract import ColumnContract, ColumnType, Contract, MissingPolicy
from roadworthy.serving.calls import Failure
from roadworthy.serving.open_inference.datatypes import DATATYPES, FLOATS, INTEGERS, packed_texts
from roadworthy.serving.open_inference.inputs import Inputs
from roadworthy.serving.open_inference.tensors import Tensor, checked_head, from_bytes, from_json, from_values
from roadworthy.serving.rows import MOST_ROWS, RowReader, RowsRefused
from roadworthy.transforms.cleaning import CleaningPlan

NUMBER, INTEGER, BOOLEAN = ColumnType.NUMBER, ColumnType.INTEGER, ColumnType.BOOLEAN
NUMBERS = {
    "a": ColumnContract(type=NUMBER, min=-100.5, max=100, missing=MissingPolicy.REJECT),
    "b": ColumnContract(type=NUMBER, sentinels=("-5", "-999", "n/a"), min=-50),
    "c": ColumnContract(type=NUMBER),
    "y": ColumnContract(type=INTEGER),
}
MIXED = {
    "n": ColumnContract(type=INTEGER, min=0, max=120, sentinels=("99",), missing=MissingPolicy.REJECT),
    "x": ColumnContract(type=NUMBER, sentinels=("-1",)),
    "k": ColumnContract(type=INTEGER, sentinels=("7",)),
    "ok": ColumnContract(type=BOOLEAN),
    "device": ColumnContract(type=ColumnType.CATEGORY, allowed=("phone", "desktop"), missing=MissingPolicy.REJECT),
    "band": ColumnContract(type=ColumnType.CATEGORY, sentinels=("?",), strip_suffix="."),
    "seen": ColumnContract(type=ColumnType.TIME),
    "epoch": ColumnContract(type=ColumnType.TIME, time_format="epoch_s"),
    "who": ColumnContract(type=ColumnType.TEXT),
    "y": ColumnContract(type=INTEGER),
}


def inputs_of(
    columns: Mapping[str, ColumnContract], inputs: Sequence[str], personal: Sequence[str] = ()
) -> tuple[Inputs, RowReader]:
    """The inputs of a contract, without a model: nothing of it is asked but the contract's plan."""
    contract = SimpleNamespace(
        contract=Contract(columns=dict(columns)),
        inputs=tuple(inputs),
        entity="who",
        time="",
        target="y",
        personal=tuple(personal),
    )
    if "who" not in columns:
        contract.entity = ""
    predictor = SimpleNamespace(
        contract=contract,
        cleaning=CleaningPlan.build(contract.contract, "", "y"),
        optional=frozenset(columns) - set(inputs),
        aggregates=(),
        hidden=lambda frame: frame.with_columns(
            pl.col(one) * 10 if frame[one].dtype.is_numeric() else pl.col(one).cast(pl.String) + "#"
            for one in personal
            if one in frame
        ),
    )
    reader = RowReader(cast("Any", predictor))
    return Inputs(cast("Any", SimpleNamespace(reader=reader, contract=contract, predictor=predictor))), reader


SIMPLE, SIMPLE_READER = inputs_of({**NUMBERS, "b": ColumnContract(type=NUMBER, min=-50)}, ("c", "a", "b"))
PLAIN, PLAIN_READER = inputs_of(NUMBERS, ("c", "a", "b"))
FULL, FULL_READER = inputs_of(MIXED, ("n", "x", "k", "ok", "device", "band", "seen", "epoch"))


def tensor(name: str, datatype: str, values: Sequence[Any], shape: Sequence[int] = ()) -> Tensor:
    problems: list[Problem] = []
    head = checked_head(name, datatype, shape or [len(values), 1], problems)
    assert head is not None
    made = from_values(head, values, problems, nulls=True)
    assert made is not None, problems
    return made


def outcome(call: Any) -> Any:
    """Rows, or at which places they are refused."""
    try:
        return call()
    except RowsRefused as refused:
        return {problem.where for problem in refused.problems}


def taken(reader: RowReader, rows: Sequence[dict[str, Any]]) -> Any:
    """What the reader makes of the same rows one by one, under the same places."""
    found: list[Any] = []
    places: set[str] = set()
    for at, row in enumerate(rows):
        try:
            found += reader.take([row], where=f"rows[{at}]")
        except RowsRefused as refused:
            places |= {problem.where for problem in refused.problems}
    return places or found


EDGES = st.sampled_from(
    [-5.0, -999.0, -50.0, -50.5, 100.0, 100.1, -100.5, 0.0, -0.0, 7.0, -1.0, 120.0, 121.0, 2.0**53, 1e300]
)
DOUBLES = st.one_of(EDGES, st.floats(allow_nan=False, allow_infinity=False))
CELLS = st.one_of(DOUBLES, st.none())


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=4))
@pytest.mark.parametrize(("inputs", "reader"), [(PLAIN, PLAIN_READER), (SIMPLE, SIMPLE_READER)], ids=["signs", "plain"])
def test_numbers_are_what_the_plan_says_as_columns_and_as_one_tensor(
    inputs: Inputs, reader: RowReader, rows: list[tuple[float | None, ...]]
) -> None:
    wanted = taken(reader, [dict(zip("cab", row, strict=True)) for row in rows])
    columns = [tensor(name, "FP64", list(values)) for name, values in zip("cab", zip(*rows, strict=True), strict=True)]
    assert outcome(lambda: inputs.rows(columns)) == wanted
    assert outcome(lambda: inputs.rows(columns[::-1])) == wanted, "whichever order they come in"
    whole = tensor("x", "FP64", [value for row in rows for value in row], [len(rows), 3])
    assert outcome(lambda: inputs.rows([whole])) == wanted


MIXED_ROWS = st.fixed_dictionaries(
    {
        "n": st.one_of(st.integers(-2, 122), st.none(), st.sampled_from([99, 2**53 + 1, -(2**63), 2**63 - 1])),
        "x": st.one_of(DOUBLES, st.none()),
        "k": st.one_of(st.integers(0, 9), st.none()),
        "ok": st.one_of(st.booleans(), st.none()),
        "device": st.sampled_from(["phone", "desktop", " phone", "toaster", "", None]),
        "band": st.one_of(st.sampled_from(["b.", "?", " b", "é", None]), st.text(max_size=3)),
        "seen": st.sampled_from(["2026-01-31T12:00:00Z", "2026-02-30T00:00:00Z", "2026-01-31", None]),
        "epoch": st.sampled_from([0, 1_700_000_000, -(10**15), None]),
    }
)
TYPES = {"n": "INT64", "x": "FP64", "k": "INT64", "ok": "BOOL", "epoch": "INT64"}


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(MIXED_ROWS, min_size=1, max_size=3))
def test_columns_of_every_type_are_what_the_plan_says(rows: list[dict[str, Any]]) -> None:
    wanted = taken(FULL_READER, rows)
    tensors = [tensor(name, TYPES.get(name, "BYTES"), [row[name] for row in rows]) for name in rows[0]]
    assert outcome(lambda: FULL.rows(tensors)) == wanted


@pytest.mark.parametrize("datatype", [*FLOATS, *INTEGERS])
def test_every_datatype_of_numbers_means_the_same(datatype: str) -> None:
    values = [3, 0, 20]
    problems: list[Problem] = []
    head = checked_head("a", datatype, [3], problems)
    assert head is not None
    raw = np.array(values, dtype=head.datatype.numpy) if head.datatype.numpy else np.array([3, 0, 20], np.float32)
    octets = raw.tobytes() if head.datatype.numpy else (raw.view(np.uint32) >> 16).astype("<u2").tobytes()
    made = from_bytes(head, octets, problems)
    assert made is not None
    others = [tensor("b", "FP64", [1, 1, 1]), tensor("c", "FP64", [2, 2, 2])]
    assert PLAIN.rows([made, *others]) == PLAIN_READER.take([{"a": a, "b": 1.0, "c": 2.0} for a in values])


def test_a_single_tensor_has_its_columns_in_the_order_of_the_metadata() -> None:
    assert [one.name for one in PLAIN.required] == ["c", "a", "b"]
    assert [field.name for field in PLAIN_READER.fields] == ["c", "a", "b"], "as the model takes them"
    for inputs, reader in ((PLAIN, PLAIN_READER), (SIMPLE, SIMPLE_READER)):
        for datatype in ("INT32", "FP32"):
            (row,) = inputs.rows([tensor("input-0", datatype, [1, 2, 3], [1, 3])])
            assert reader.named(row) == {"c": 1.0, "a": 2.0, "b": 3.0}


def test_whole_numbers_stay_whole_and_booleans_stay_booleans() -> None:
    inputs, reader = inputs_of({name: MIXED[name] for name in ("n", "ok", "y")}, ("n", "ok"))
    for datatype in ("FP32", "INT8", "UINT64"):
        (row,) = inputs.rows([tensor("x", datatype, [5, 1], [1, 2])])
        assert [(type(value), value) for value in row[:2]] == [(int, 5), (bool, True)]
    with pytest.raises(RowsRefused) as refused:
        inputs.rows([tensor("x", "FP64", [5.5, 1, 5, 0.5], [2, 2])])
    assert {problem.where for problem in refused.value.problems} == {"rows[0].n", "rows[1].ok"}
    assert reader.known >= {"n", "ok"}


def test_fp32_in_json_is_rounded_as_in_binary_form() -> None:
    problems: list[Problem] = []
    head = checked_head("c", "FP32", [1], problems)
    assert head is not None
    plain = from_json(head, msgspec.Raw(b"[0.1]"), problems)
    octets = from_bytes(head, np.array([0.1], np.float32).tobytes(), problems)
    assert plain is not None
    assert octets is not None
    assert float(plain.values[0]) == float(octets.values[0]) != 0.1
    beyond = from_json(head, msgspec.Raw(b"[1e39]"), problems)
    assert beyond is not None
    with pytest.raises(RowsRefused, match="the row does not") as refused:
        PLAIN.rows([beyond, tensor("a", "FP64", [1]), tensor("b", "FP64", [1])])
    assert [(problem.where, problem.found) for problem in refused.value.problems] == [("rows[0].c", "Infinity")]


@pytest.mark.parametrize(("value", "word"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "Infinity")])
@pytest.mark.parametrize("alone", [True, False])
def test_nan_and_infinity_are_refused_at_input_and_row(value: float, word: str, alone: bool) -> None:
    values = [1.0, 2.0, 3.0, 4.0, value, 6.0]
    if alone:
        tensors = [Tensor("x", DATATYPES["FP64"], (2, 3), np.array(values))]
    else:
        parts = np.array(values).reshape(2, 3).T
        tensors = [Tensor(name, DATATYPES["FP64"], (2,), part) for name, part in zip("cab", parts, strict=True)]
    with pytest.raises(RowsRefused) as refused:
        PLAIN.rows(tensors)
    assert [(problem.where, problem.found) for problem in refused.value.problems] == [("rows[1].a", word)]


def test_all_problems_of_all_rows_are_named_at_once() -> None:
    tensors = [
        tensor("c", "FP64", [1, 2, 3]),
        tensor("a", "FP64", [101, None, 3]),
        Tensor("b", DATATYPES["FP64"], (3,), np.array([-51, math.nan, 3])),
    ]
    with pytest.raises(RowsRefused) as refused:
        PLAIN.rows(tensors)
    assert sorted(problem.where for problem in refused.value.problems) == [
        "rows[0].a",
        "rows[0].b",
        "rows[1].a",
        "rows[1].b",
    ]


def test_rows_between_sound_ones_are_named_by_their_own_place() -> None:
    values = [1.0] * 200
    for place in (3, 70, 199):
        values[place] = -60.0
    values[150] = -999
    columns = {"a": [1.0] * 200, "b": values, "c": [1.0] * 200}
    tensors = [tensor(name, "FP64", column) for name, column in columns.items()]
    with pytest.raises(RowsRefused) as refused:
        PLAIN.rows(tensors)
    assert [problem.where for problem in refused.value.problems] == ["rows[3].b", "rows[70].b", "rows[199].b"]


def test_thousands_of_bad_rows_are_not_looked_at_one_by_one() -> None:
    with pytest.raises(RowsRefused) as refused:
        PLAIN.rows([tensor("x", "FP64", [1e9] * 3 * MOST_ROWS, [MOST_ROWS, 3])])
    assert len(refused.value.problems) <= 102
    assert "more" in refused.value.problems[-1].found


def test_personal_values_are_hidden_as_by_named_fields() -> None:
    columns = {
        "band": ColumnContract(type=ColumnType.CATEGORY),
        "device": ColumnContract(type=ColumnType.CATEGORY, allowed=("phone", "phone#")),
        "y": ColumnContract(type=INTEGER),
    }
    inputs, reader = inputs_of(columns, ("band", "device"), personal=("band", "device"))
    rows: list[dict[str, Any]] = [{"band": "b", "device": "phone"}, {"band": None, "device": None}]
    tensors = [tensor(name, "BYTES", [row[name] for row in rows]) for name in rows[0]]
    assert inputs.rows(tensors) == reader.take(rows)
    assert reader.named(inputs.rows(tensors)[0]) | {"band": "b#", "device": "phone#"} == reader.named(
        reader.take(rows)[0]
    )
    number = ColumnContract(type=INTEGER)
    inputs, reader = inputs_of({"n": number, "y": number}, ("n",), personal=("n",))
    assert inputs.rows([tensor("n", "INT64", [7])]) == reader.take([{"n": 7}]), "numbers as well as texts"
    assert reader.named(inputs.rows([tensor("n", "INT64", [7])])[0]) == {"n": 70}


SOUND = {"n": 3, "x": 1.0, "k": 1, "ok": True, "device": "phone", "band": "b", "seen": None, "epoch": None}


@pytest.mark.parametrize("name", ["band", "who"])
def test_bytes_that_are_no_text_are_refused_and_not_shown(name: str) -> None:
    kinds = TYPES | {"epoch": "BYTES"}
    tensors = [tensor(one, kinds.get(one, "BYTES"), [value]) for one, value in SOUND.items() if one != name]
    assert FULL.rows([*tensors, Tensor(name, DATATYPES["BYTES"], (1,), [b"fine"])])
    with pytest.raises(RowsRefused) as refused:
        FULL.rows([*tensors, Tensor(name, DATATYPES["BYTES"], (1,), [b"\xff\xfesecret"])])
    found = [(one.where, one.found) for one in refused.value.problems]
    assert found == [(f"rows[0].{name}", "bytes that are not UTF-8")]
    assert "secret" not in str(refused.value)


ONE = [1.0]
MISFITS: dict[str, tuple[list[tuple[str, str, list[Any]]], list[str]]] = {
    "unknown": ([("c", "FP64", ONE), ("aa", "FP64", ONE), ("b", "FP64", ONE)], ["inputs.aa", "inputs.a"]),
    "missing": ([("c", "FP64", ONE)], ["inputs.a", "inputs.b"]),
    "twice": ([(name, "FP64", ONE) for name in "cabb"], ["inputs.b"]),
    "datatype": ([("c", "BYTES", ["1"]), ("a", "BOOL", [True]), ("b", "FP64", ONE)], ["inputs.c", "inputs.a"]),
    "rows": ([("c", "FP64", ONE * 2), ("a", "FP64", ONE), ("b", "FP64", ONE * 2)], ["inputs.a"]),
    "no rows": ([(name, "FP64", []) for name in "cab"], ["inputs.c"]),
    "too many": ([(name, "FP64", ONE * (MOST_ROWS + 1)) for name in "cab"], ["inputs.c"]),
    "nothing": ([], ["inputs.c", "inputs.a", "inputs.b"]),
}


@pytest.mark.parametrize("case", MISFITS)
def test_inputs_that_do_not_fit_are_refused_by_name(case: str) -> None:
    given_, places = MISFITS[case]
    tensors = [tensor(name, datatype, values, [len(values)]) for name, datatype, values in given_]
    with pytest.raises(Failure) as refused:
        PLAIN.rows(tensors)
    assert refused.value.status == 400
    assert [problem.where for problem in refused.value.problems] == places
    assert all(problem.expected for problem in refused.value.problems)


@pytest.mark.parametrize("shape", [[1, 2], [2, 1, 1], [1, 1, 1]])
def test_a_column_of_another_shape_is_refused(shape: list[int]) -> None:
    wrong = tensor("a", "FP64", [1.0] * math.prod(shape), shape)
    with pytest.raises(Failure) as refused:
        PLAIN.rows([tensor("c", "FP64", ONE), wrong, tensor("b", "FP64", ONE)])
    assert ("inputs.a", "[-1, 1] or [-1]") in [(one.where, one.expected) for one in refused.value.problems]


def test_a_single_tensor_of_another_width_or_kind_is_refused() -> None:
    with pytest.raises(Failure) as refused:
        PLAIN.rows([tensor("x", "BYTES", ["a"] * 8, [2, 4])])
    found = [(problem.where, problem.expected.split(":")[0]) for problem in refused.value.problems]
    assert found[1] == ("inputs.x", "[-1, 3]")
    assert "FP64" in found[0][1]


def test_a_model_that_reads_texts_takes_no_single_tensor() -> None:
    assert FULL.matrix == 0
    with pytest.raises(Failure, match="not those of the model") as refused:
        FULL.rows([tensor("x", "FP64", [1.0] * 8, [1, 8])])
    assert "missing input" in str(refused.value)


DATA = {
    "[1, 2, 3, 4]": None,
    "[[1, 2], [3, 4]]": None,
    "[[1], [2], [3], [4]]": "inputs.t",
    "[1, 2, 3]": "inputs.t",
    "[[1, 2], [3]]": "inputs.t",
    "[[1, 2], 3]": "inputs.t.data[1]",
    '[1, "2", 3, 4]': "inputs.t.data[1]",
    "[[1, 2], [3, true]]": "inputs.t.data[1][1]",
    "[[[1, 2, 3, 4]]]": "inputs.t",
    '"1234"': "inputs.t.data",
    "{}": "inputs.t.data",
    "null": "inputs.t.data",
    "[1, 2, 3, 1e999]": "inputs.t.data",
}


@pytest.mark.parametrize("data", DATA)
def test_json_data_are_flat_or_nested_as_the_shape_says(data: str) -> None:
    problems: list[Problem] = []
    head = checked_head("t", "FP64", [2, 2], problems)
    assert head is not None
    made = from_json(head, msgspec.Raw(data.encode()), problems)
    if DATA[data] is None:
        assert made is not None
        assert np.asarray(made.values).tolist() == [1, 2, 3, 4]
    else:
        assert made is None
        assert problems[0].where.startswith(str(DATA[data]))
        assert problems[0].expected


@pytest.mark.parametrize(("datatype", "data"), [("INT8", "[300]"), ("UINT8", "[-1]"), ("INT64", "[1.5]")])
def test_json_numbers_that_a_datatype_cannot_hold_are_refused(datatype: str, data: str) -> None:
    problems: list[Problem] = []
    head = checked_head("t", datatype, [1], problems)
    assert head is not None
    assert from_json(head, msgspec.Raw(data.encode()), problems) is None
    assert [problem.where for problem in problems] == ["inputs.t.data[0]"]


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_in_json_is_told_of_the_binary_form(datatype: str) -> None:
    problems: list[Problem] = []
    head = checked_head("t", datatype, [1], problems)
    assert head is not None
    assert from_json(head, msgspec.Raw(b"[1]"), problems) is None
    assert "binary form" in problems[0].expected


@pytest.mark.parametrize("shape", [[-1], [2**40], [10**5000], [1] * 9, [1, -3]])
def test_shapes_that_cannot_be_are_refused_without_being_believed(shape: list[int]) -> None:
    problems: list[Problem] = []
    assert checked_head("t", "FP64", shape, problems) is None
    assert problems[0].where == "inputs.t"


@settings(max_examples=60, deadline=None)
@given(octets=st.binary(max_size=40), size=st.integers(0, 12), datatype=st.sampled_from(sorted(DATATYPES)))
def test_any_bytes_make_a_tensor_of_its_shape_or_a_problem(octets: bytes, size: int, datatype: str) -> None:
    problems: list[Problem] = []
    head = checked_head("t", datatype, [size], problems)
    assert head is not None
    made = from_bytes(head, octets, problems)
    assert (made is None) == bool(problems)
    assert made is None or len(made.values) == size


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(max_size=5), max_size=4))
def test_texts_come_back_from_their_binary_form(texts: list[str]) -> None:
    problems: list[Problem] = []
    head = checked_head("t", "BYTES", [len(texts)], problems)
    assert head is not None
    made = from_bytes(head, packed_texts(texts), problems)
    assert made is not None
    assert [value.decode() for value in made.values] == texts
    again = from_json(head, msgspec.Raw(json.dumps(texts).encode()), problems)
    assert again is not None
    assert list(again.values) == texts


@pytest.mark.parametrize("datatype", ["BYTES", "FP64", "INT64", "BOOL"])
@pytest.mark.parametrize("data", [b'["\xff"]', b'[["\xff"]]', b'["\xed\xa0\x80"]'])
def test_json_data_that_are_not_utf_8_are_a_problem_and_no_fault(datatype: str, data: bytes) -> None:
    problems: list[Problem] = []
    head = checked_head("x", datatype, [1, 1], problems)
    assert head is not None
    assert from_json(head, msgspec.Raw(data), problems) is None
    assert [problem.found for problem in problems] == ["bytes that are not UTF-8"]
