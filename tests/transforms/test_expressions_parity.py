"""Both compilations give the same value and the same missing mask, for every expression on every row."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.errors import ExpressionError
from roadworthy.records.contract import ColumnType
from roadworthy.transforms.expressions import SUPPORTED, Expression, Kind, kind_of, parse, to_onnx, to_polars
from roadworthy.transforms.expressions.onnx_form import DTYPES
from roadworthy.transforms.onnx_builder import OnnxBuilder

TYPES = {
    "i": ColumnType.INTEGER,
    "x": ColumnType.NUMBER,
    "y": ColumnType.NUMBER,
    "p": ColumnType.BOOLEAN,
    "q": ColumnType.BOOLEAN,
    "s": ColumnType.CATEGORY,
    "r": ColumnType.TEXT,
    "t": ColumnType.TIME,
    "u": ColumnType.TIME,
}
KINDS = {name: kind_of(column_type) for name, column_type in TYPES.items()}
POLARS = {
    ColumnType.INTEGER: pl.Int64(),
    ColumnType.NUMBER: pl.Float64(),
    ColumnType.BOOLEAN: pl.Boolean(),
    ColumnType.CATEGORY: pl.String(),
    ColumnType.TEXT: pl.String(),
    ColumnType.TIME: pl.Datetime("us"),
}
EMPTY: dict[Kind, Any] = {Kind.NUMBER: 0, Kind.TEXT: "", Kind.BOOLEAN: False, Kind.TIME: 0}
Row = dict[str, Any]


def table(rows: list[Row]) -> pl.DataFrame:
    """Times are microseconds in the rows."""
    columns = []
    for name, column_type in TYPES.items():
        values = [row.get(name) for row in rows]
        plain = pl.Int64() if column_type is ColumnType.TIME else POLARS[column_type]
        columns.append(pl.Series(name, values, dtype=plain).cast(POLARS[column_type]))
    return pl.DataFrame(columns)


def history(expression: Expression, rows: list[Row]) -> list[Any]:
    result = table(rows).select("i", to_polars(expression).alias("result"))["result"]
    expected = {Kind.NUMBER: pl.Float64(), Kind.TEXT: pl.String(), Kind.BOOLEAN: pl.Boolean()}
    assert result.dtype == expected.get(expression.kind, pl.Datetime("us"))
    return result.cast(pl.Int64).to_list() if expression.kind is Kind.TIME else result.to_list()


def session(expression: Expression) -> tuple[ort.InferenceSession, list[str]]:
    builder = OnnxBuilder()
    names = sorted(expression.columns) or ["i"]
    columns = {name: builder.input_column(name, TYPES[name]) for name in names}
    pair = to_onnx(expression, builder, columns)
    builder.output("/value", pair.value, DTYPES[expression.kind])
    builder.output("/missing", pair.missing, DTYPES[Kind.BOOLEAN])
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    model = builder.model().SerializeToString()
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]), names


def live(running: tuple[ort.InferenceSession, list[str]], expression: Expression, rows: list[Row]) -> list[Any]:
    run, names = running
    frame, feed = table(rows), {}
    for name in names:
        column = frame[name].cast(pl.Int64) if TYPES[name] is ColumnType.TIME else frame[name]
        values = column.fill_null(EMPTY[KINDS[name]]).to_numpy()
        feed[name] = (values.astype(object) if KINDS[name] is Kind.TEXT else values)[:, None]
        feed[f"{name}.missing"] = column.is_null().to_numpy()[:, None]
    value, missing = run.run(None, feed)
    assert value.shape == missing.shape == (len(rows), 1)
    if expression.kind is Kind.NUMBER:
        assert np.isfinite(value).all()
    assert all(v == EMPTY[expression.kind] for v in value[missing].tolist())
    return [None if gone else v for v, gone in zip(value[:, 0].tolist(), missing[:, 0].tolist(), strict=True)]


def micros(text: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


T, F, N = True, False, None
HALF = 0.49999999999999994

EXAMPLES: dict[str, list[tuple[str, Row, Any]]] = {
    "+": [("i + x", {"i": 2**53, "x": 0.5}, 2.0**53), ("x + 1", {}, N), ("x + y", {"x": 1e308, "y": 1e308}, N)],
    "-": [
        ("x - y", {"x": 1.0, "y": 2.5}, -1.5),
        ("-i", {"i": -7}, 7.0),
        ("t - u", {"t": micros("1969-12-31T23:59:59.500000"), "u": 0}, -0.5),
        ("t - '1970-01-02'", {"t": 0}, -86400.0),
        ("t - u", {"t": 0}, N),
    ],
    "*": [("i * x", {"i": -3, "x": 0.5}, -1.5), ("x * x", {"x": 1e200}, N), ("x * x * 0", {"x": 1e200}, N)],
    "/": [
        ("i / 2", {"i": 1}, 0.5),
        ("i / 1000000", {"i": 12_975}, 0.012975),
        ("i / x", {"i": 1, "x": 0.0}, N),
        ("i / x", {"i": 0, "x": -0.0}, N),
        ("1 / (1 / x)", {"x": 0.0}, N),
        ("x / (y * y)", {"x": 1.0, "y": 1e200}, N),
    ],
    "%": [
        ("i % 3", {"i": -7}, -1.0),
        ("i % -3", {"i": 7}, 1.0),
        ("i % 2", {"i": 2**53 - 1}, 1.0),
        ("i % x", {"i": 7, "x": 0.0}, N),
        ("x % 3", {"x": 1e300}, N),
        ("x % 2", {"x": 5.5}, 1.5),
    ],
    "=": [
        ("x = -0.0", {"x": 0.0}, T),
        ("s = 'é'", {"s": "é"}, T),
        ("p = q", {"p": T}, N),
        ("s = r", {"s": "", "r": ""}, T),
    ],
    "<>": [("s <> ''", {"s": "a"}, T), ("s <> ''", {"s": ""}, F), ("s != 'a'", {}, N), ("t <> u", {"t": 0, "u": 1}, T)],
    "<": [("x < y", {"x": 1.0, "y": 2.0}, T), ("t < '1970-01-01'", {"t": -1}, T), ("0.0 < x", {"x": -0.0}, F)],
    "<=": [("i <= 2", {"i": 2}, T), ("i <= 2", {"i": 3}, F), ("x <= 0", {"x": -0.0}, T)],
    ">": [("i > 2", {"i": 2}, F), ("x > 1e308", {"x": 1.1e308}, T), ("x > y", {"x": 1.0}, N)],
    ">=": [("t >= '1970-01-01T01:00+01:00'", {"t": 0}, T), ("i >= 3", {"i": 2}, F)],
    "and": [
        *[("p and q", {"p": a, "q": b}, r) for a, b, r in [(T, T, T), (T, F, F), (F, T, F), (F, F, F), (T, N, N)]],
        *[("p and q", {"p": a, "q": b}, r) for a, b, r in [(N, T, N), (F, N, F), (N, F, F), (N, N, N)]],
        ("p and true", {"p": N}, N),
    ],
    "or": [
        *[("p or q", {"p": a, "q": b}, r) for a, b, r in [(T, T, T), (T, F, T), (F, T, T), (F, F, F), (T, N, T)]],
        *[("p or q", {"p": a, "q": b}, r) for a, b, r in [(N, T, T), (F, N, N), (N, F, N), (N, N, N)]],
        ("p or false", {"p": N}, N),
    ],
    "not": [("not p", {"p": T}, F), ("not p", {}, N), ("NOT x > 1", {"x": 0.0}, T)],
    "is null": [
        ("x is null", {}, T),
        ("s is null", {"s": ""}, F),
        ("x is not null", {}, F),
        ("x / 0 is null", {"x": 1.0}, T),
    ],
    "between": [
        ("i between 1 and 3", {"i": 3}, T),
        ("x not between y and 3", {"x": 5.0}, T),
        ("x between y and 3", {"x": 2.0}, N),
        ("t between '1969-12-31' and '1970-01-01'", {"t": -1}, T),
    ],
    "in": [
        ("s in ('a', '', 'ß')", {"s": ""}, T),
        ("s not in ('a')", {}, N),
        ("i in (1, -2)", {"i": -2}, T),
        ("x in (0)", {"x": -0.0}, T),
        ("t in ('1970-01-01')", {"t": 0}, T),
        ("p in (true)", {"p": F}, F),
    ],
    "case": [
        ("case when x > 1 then 'many' when x > 0 then 'few' end", {"x": 0.5}, "few"),
        ("case when x > 1 then 'many' end", {"x": 0.5}, N),
        ("case when x > 1 then 1 else 2 end", {}, 2.0),
        ("case s when 'a' then 1 when 'b' then 2 else 0 end", {"s": "b"}, 2.0),
        ("case when p then q else null end", {"p": T, "q": F}, F),
        ("case when i = 1 then t end", {"i": 1, "t": 5}, 5),
    ],
    "coalesce": [
        ("coalesce(x, y, 3)", {}, 3.0),
        ("coalesce(x / 0, y)", {"x": 1.0, "y": 2.0}, 2.0),
        ("coalesce(s, r)", {"r": "z"}, "z"),
        ("coalesce(p, q)", {"q": T}, T),
        ("coalesce(t, '1970-01-01')", {}, 0),
        ("coalesce(x, y)", {}, N),
    ],
    "nullif": [
        ("nullif(i, 0)", {"i": 0}, N),
        ("nullif(i, 0)", {"i": 4}, 4.0),
        ("nullif(x, y)", {"x": 1.0}, 1.0),
        ("nullif(s, '')", {"s": ""}, N),
    ],
    "least": [("least(x, y, 0.5)", {"x": 1.0}, 0.5), ("least(x, y)", {"y": 2.0}, 2.0), ("least(x, y)", {}, N)],
    "greatest": [
        ("greatest(i, x)", {"i": -1, "x": -2.0}, -1.0),
        ("greatest(t, u)", {"t": -5, "u": -9}, -5),
        ("greatest(x, 1 / y)", {"x": 1.0, "y": 0.0}, 1.0),
    ],
    "abs": [("abs(i)", {"i": -(2**53)}, 2.0**53), ("abs(x)", {}, N)],
    "ln": [("ln(x)", {"x": 1.0}, 0.0), ("ln(x)", {"x": 0.0}, N), ("ln(x)", {"x": -1.0}, N)],
    "exp": [("exp(x)", {"x": 0.0}, 1.0), ("exp(x)", {"x": 709.7827128933841}, N), ("exp(x)", {"x": -1e308}, 0.0)],
    "sqrt": [("sqrt(i)", {"i": 9}, 3.0), ("sqrt(x)", {"x": -1.0}, N), ("sqrt(x)", {"x": -0.0}, 0.0)],
    "floor": [("floor(x)", {"x": -0.5}, -1.0), ("floor(x)", {"x": 1e300}, 1e300)],
    "round": [
        ("round(x)", {"x": 0.5}, 1.0),
        ("round(x)", {"x": -2.5}, -3.0),
        ("round(x)", {"x": HALF}, 0.0),
        ("round(x, 2)", {"x": -0.125}, -0.13),
        ("round(i, -2)", {"i": 150}, 200.0),
        ("round(x, 15)", {"x": 1e300}, 1e300),
        ("round(x)", {"x": 4503599627370497.0}, 4503599627370497.0),
    ],
    "hour": [
        ("hour(t)", {"t": -1}, 23.0),
        ("extract(hour from t)", {"t": micros("1677-09-21T05:00")}, 5.0),
        ("hour(t)", {}, N),
        ("hour('2024-01-01T07:00') + i", {"i": 0}, 7.0),
    ],
    "weekday": [
        ("weekday(t)", {"t": 0}, 4.0),
        ("weekday(t)", {"t": micros("2024-01-07")}, 7.0),
        ("weekday(t)", {"t": micros("0001-01-01")}, 1.0),
    ],
    "month": [
        ("month(t)", {"t": micros("1600-02-29T23:59:59")}, 2.0),
        ("month(t)", {"t": micros("2262-12-31")}, 12.0),
        ("extract(month from t)", {"t": -1}, 12.0),
        ("month(t)", {"t": micros("9999-03-01")}, 3.0),
    ],
}


def test_every_supported_entry_has_examples() -> None:
    assert EXAMPLES.keys() == SUPPORTED.keys()


@pytest.mark.parametrize("name", SUPPORTED)
def test_each_entry_means_what_it_says_in_both(name: str) -> None:
    for text, row, expected in EXAMPLES[name]:
        expression = parse(text, KINDS, where="test")
        other = {"i": 12, "x": 2.5, "y": -1.0, "p": T, "q": F, "s": "a", "r": "b", "t": 10**15, "u": 5}
        assert history(expression, [row, other])[0] == expected, text
        assert live(session(expression), expression, [row, other])[0] == expected, text


NUMBERS = st.one_of(
    st.sampled_from(
        [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, HALF, 1e308, -1e308, 5e-324, 2.0**53, -(2.0**52), 709.782712893384]
    ),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-50, 50),
    st.integers(-20, 20).map(float),
)
INSTANTS = st.one_of(
    st.integers(-6 * 10**16, 2 * 10**17),
    st.datetimes(datetime(1677, 1, 1), datetime(2262, 12, 31)).map(lambda d: micros(d.isoformat())),  # noqa: DTZ001 - hypothesis wants naive bounds
    st.sampled_from([0, -1, 86_400_000_000, micros("0001-01-01"), micros("9999-12-31T23:59:59")]),
)
TEXTS = st.one_of(
    st.sampled_from(["", "a", "b", "é", "e\u0301", "日本", "a "]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4),
)
VALUES: dict[ColumnType, st.SearchStrategy[Any]] = {
    ColumnType.INTEGER: st.one_of(st.integers(-(2**53), 2**53), st.integers(-3, 3)),
    ColumnType.NUMBER: NUMBERS,
    ColumnType.BOOLEAN: st.booleans(),
    ColumnType.CATEGORY: TEXTS,
    ColumnType.TEXT: TEXTS,
    ColumnType.TIME: INSTANTS,
}
ROWS = st.lists(
    st.fixed_dictionaries({name: st.one_of(st.none(), VALUES[TYPES[name]], VALUES[TYPES[name]]) for name in TYPES}),
    min_size=1,
    max_size=20,
)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def leaves(kind: Kind) -> st.SearchStrategy[str]:
    columns = st.sampled_from([name for name, known in KINDS.items() if known is kind])
    written: dict[Kind, st.SearchStrategy[str]] = {
        Kind.NUMBER: st.sampled_from(["0", "1", "2", "3", "0.1", "-7", "1e308", "1e-300", "9007199254740992", "10"]),
        Kind.TEXT: st.sampled_from(["a", "", "é", "it's"]).map(quoted),
        Kind.BOOLEAN: st.sampled_from(["true", "false"]),
        Kind.TIME: st.just("coalesce(t, '1969-07-20T20:17:40')"),
    }
    return st.one_of(columns, columns, written[kind])


@st.composite
def expressions(draw: st.DrawFn, kind: Kind, depth: int) -> str:
    if depth == 0 or draw(st.integers(0, 5)) == 0:
        return draw(leaves(kind))

    def part(wanted: Kind = kind) -> str:
        return draw(expressions(wanted, depth - 1))

    shape = draw(st.sampled_from(["own", "own", "own", "case", "coalesce", "nullif", "extreme"]))
    if shape == "case":
        branches = " ".join(f"when {part(Kind.BOOLEAN)} then {part()}" for _ in range(draw(st.integers(1, 2))))
        ending = draw(st.sampled_from(["", "else null", "else"]))
        return f"(case {branches} {ending} {part() if ending == 'else' else ''} end)"
    if shape == "coalesce":
        return f"coalesce({part()}, {part()}, {part()})"
    if shape == "nullif":
        return f"nullif({part()}, {part()})"
    if shape == "extreme" and kind in {Kind.NUMBER, Kind.TIME}:
        return f"{draw(st.sampled_from(['least', 'greatest']))}({part()}, {part()}, {part()})"
    return _own(draw, kind, part)


def _own(draw: st.DrawFn, kind: Kind, part: Any) -> str:
    if kind is Kind.NUMBER:
        one = [
            "abs({})",
            "ln({})",
            "exp({})",
            "sqrt({})",
            "floor({})",
            "round({})",
            "round({}, 2)",
            "round({}, -1)",
            "(-{})",
        ]
        form = draw(st.sampled_from(["({} {} {})", "({} {} {})", "call", "time", "seconds"]))
        if form == "call":
            return str(draw(st.sampled_from(one)).format(part()))
        if form == "time":
            return f"{draw(st.sampled_from(['hour', 'weekday', 'month']))}({part(Kind.TIME)})"
        if form == "seconds":
            return f"({part(Kind.TIME)} - {part(Kind.TIME)})"
        return str(form.format(part(), draw(st.sampled_from("+-*/%")), part()))
    if kind is Kind.BOOLEAN:
        among = draw(st.sampled_from(list(Kind)))
        form = draw(st.sampled_from(["logic", "logic", "not", "compare", "compare", "between", "in", "null"]))
        ordered = draw(st.sampled_from([Kind.NUMBER, Kind.NUMBER, Kind.TIME]))
        negation = draw(st.sampled_from(["", "not "]))
        made = {
            "logic": lambda: f"({part()} {draw(st.sampled_from(['and', 'or']))} {part()})",
            "not": lambda: f"(not {part()})",
            "compare": lambda: (
                f"({part(ordered)} {draw(st.sampled_from(['<', '<=', '>', '>=', '=', '<>']))} {part(ordered)})"
            ),
            "between": lambda: f"({part(ordered)} {negation}between {part(ordered)} and {part(ordered)})",
            "in": lambda: f"({part(Kind.TEXT)} {negation}in ('a', '', 'é'))",
            "null": lambda: f"({part(among)} is {negation}null)",
        }
        return made[form]()
    return draw(leaves(kind))


def same(first: list[Any], second: list[Any]) -> bool:
    """Exactly the same, value by value: closer than the 1e-12 that is promised."""
    return first == second


@settings(max_examples=150, deadline=None)
@given(data=st.data(), kind=st.sampled_from([Kind.NUMBER, Kind.NUMBER, Kind.BOOLEAN, Kind.TEXT, Kind.TIME]), rows=ROWS)
def test_both_compilations_agree_on_any_expression_and_any_row(
    data: st.DataObject, kind: Kind, rows: list[Row]
) -> None:
    text = data.draw(expressions(kind, 3))
    expression = parse(text, KINDS, where="test")
    assert expression.kind is kind
    running = session(expression)
    past = history(expression, rows)
    assert same(past, live(running, expression, rows))
    one_by_one = [live(running, expression, [row])[0] for row in rows[:4]]
    assert same(past[:4], one_by_one)


@settings(max_examples=40, deadline=None)
@given(x=NUMBERS, y=NUMBERS, i=st.integers(-(2**53), 2**53), j=st.integers(1, 2**31))
def test_the_four_formulas_against_the_standard_library(x: float, y: float, i: int, j: int) -> None:
    def value(text: str, **row: float) -> Any:
        return history(parse(text, KINDS, where="test"), [row])[0]

    if x > 0:
        assert value("ln(x)", x=x) == pytest.approx(math.log(x), rel=3e-16, abs=0)
    if y < 709:
        assert value("exp(x)", x=y) == pytest.approx(math.exp(y), rel=3e-16, abs=5e-324)
    if abs(x) < 2**52:
        assert value("round(x)", x=x) == float(Decimal(x).quantize(Decimal(1), ROUND_HALF_UP))
    assert value("i % x", i=i, x=float(j)) == math.fmod(i, j)


@settings(max_examples=40, deadline=None)
@given(instant=INSTANTS)
def test_parts_of_a_time_against_the_standard_library(instant: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant)
    for text, expected in (("hour(t)", moment.hour), ("weekday(t)", moment.isoweekday()), ("month(t)", moment.month)):
        expression = parse(text, KINDS, where="test")
        assert live(session(expression), expression, [{"t": instant}]) == [expected]


def test_a_result_that_is_not_finite_is_missing_at_every_step() -> None:
    text = "case when 1 / (x * y) = 0 then 'seen' when exp(-1 / x) >= 0 then 'finite' else 'missing' end"
    expression = parse(text, KINDS, where="test")
    rows: list[Row] = [{"x": 1e200, "y": 1e200}, {"x": 0.0, "y": 1.0}]
    assert history(expression, rows) == live(session(expression), expression, rows) == ["finite", "missing"]


def test_large_expressions_compile_quickly() -> None:
    for text in (
        "1 / (" * 18 + "x" + ")" * 18,
        "round(" * 18 + "x" + ")" * 18,
        "exp(ln(" * 9 + "x" + "))" * 9,
        " + ".join(["x"] * 95),
        "least(1 / " * 18 + "x" + ", y)" * 18,
    ):
        expression = parse(text, KINDS, where="test")
        rows: list[Row] = [{"x": 1.5, "y": 0.25}, {"x": 0.0}]
        assert same(history(expression, rows), live(session(expression), expression, rows))


def test_a_choice_between_literals_keeps_one_value_per_row() -> None:
    for text in ("coalesce(i, i, 0) / 0 >= 0", "0 between 0 and nullif(0, i)", "case when i > 0 then 1 else 2 end + 1"):
        expression = parse(text, KINDS, where="test")
        rows: list[Row] = [{}, {}, {}]
        assert history(expression, rows) == live(session(expression), expression, rows)


def test_lazy_and_streaming_give_the_same() -> None:
    expression = parse("round(exp(x), 1) % 3", KINDS, where="test")
    rows: list[Row] = [{"x": v / 7} for v in range(100)]
    lazily = table(rows).lazy().select(to_polars(expression).alias("r"))
    assert lazily.collect(engine="streaming")["r"].to_list() == history(expression, rows)
    assert table([]).select(to_polars(expression)).height == 0


def test_a_constant_takes_the_number_of_rows_from_the_columns() -> None:
    expression = parse("1 + 1", KINDS, where="test")
    assert live(session(expression), expression, [{}, {}, {}]) == [2.0, 2.0, 2.0]
    with pytest.raises(ExpressionError, match="reads no column"):
        to_onnx(expression, OnnxBuilder(), {})
