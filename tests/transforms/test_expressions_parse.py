"""What the language takes, and what it refuses: by name, with the place, everything at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.errors import ExpressionError
from roadworthy.records.contract import ColumnType
from roadworthy.transforms.expressions import SUPPORTED, Kind, describe_supported, kind_of, parse
from roadworthy.transforms.expressions.parse import MAX_DEPTH, MAX_LENGTH

COLUMNS = {
    "a": Kind.NUMBER,
    "clicks": Kind.NUMBER,
    "s": Kind.TEXT,
    "p": Kind.BOOLEAN,
    "t": Kind.TIME,
    "my col": Kind.NUMBER,
    "a.b": Kind.NUMBER,
    "interval": Kind.NUMBER,
    "order": Kind.NUMBER,
    "hour": Kind.NUMBER,
    "timestamp": Kind.TIME,
    "Größe": Kind.NUMBER,
}
WHERE = "roadworthy.toml [features] f"


def refusal(text: str) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        parse(text, COLUMNS, where=WHERE)
    return caught.value


@pytest.mark.parametrize(
    ("text", "kind", "columns"),
    [
        ("clicks / nullif(a, 0)", Kind.NUMBER, {"clicks", "a"}),
        ('"my col" + "a.b"', Kind.NUMBER, {"my col", "a.b"}),
        ("interval + order + Größe", Kind.NUMBER, {"interval", "order", "Größe"}),
        ("hour(timestamp) - hour", Kind.NUMBER, {"timestamp", "hour"}),
        ("timestamp - t", Kind.NUMBER, {"timestamp", "t"}),
        ("CASE WHEN p THEN s ELSE 'it''s' END", Kind.TEXT, {"p", "s"}),
        ("t >= '2024-01-01T00:00:00Z' AND NOT p", Kind.BOOLEAN, {"t", "p"}),
        ("coalesce(null, t, '2024-01-01')", Kind.TIME, {"t"}),
        ("a = null", Kind.BOOLEAN, {"a"}),
        ("null is null", Kind.BOOLEAN, set()),
        ("+a - -1e308 + 9007199254740992", Kind.NUMBER, {"a"}),
        ("a\n  in (1, -2)", Kind.BOOLEAN, {"a"}),
    ],
)
def test_accepted(text: str, kind: Kind, columns: set[str]) -> None:
    expression = parse(text, COLUMNS, where=WHERE)
    assert (expression.kind, expression.columns, expression.text) == (kind, frozenset(columns), text)


REFUSED = [
    ("foo(a)", 1, "unknown function 'foo'"),
    ("1 + sum(a)", 5, "unknown function 'sum'"),
    ("log(a)", 1, "unknown function 'log'"),
    ("ifnull(a, 1)", 1, "unknown function 'ifnull'"),
    ("mod(a, 2)", 1, "unknown function 'mod'"),
    ("if(p, 1, 2)", 1, "unknown function 'if'"),
    ("cast(a as text)", 1, "unknown function 'cast'"),
    ('"abs"(a)', 1, "unknown function 'abs'"),
    ("a || s", 1, "unknown operator '||'"),
    ("s like 'x'", 1, "unknown operator 'like'"),
    ("a & 1", 1, "unknown operator '&'"),
    ("a is distinct from 1", 1, "unknown operator 'is distinct from'"),
    ("p is true", 1, "unknown operator 'is true'"),
    ("select a", 8, "unknown operator 'select'"),
    ("clics + 1", 1, "unknown column 'clics'; did you mean 'clicks'?"),
    ("A + 1", 1, "unknown column 'A'; did you mean 'a'?"),
    ("a.b + 1", 1, "a name with a dot, a.b"),
    ("a + s", 5, "column 's' (text) in +"),
    ("t + 1", 1, "column 't' (time) in +"),
    ("s < 'b'", 1, "text has no order"),
    ("s between 'a' and 'b'", 1, "text has no order"),
    ("least(s, 'b')", 1, "text has no order"),
    ("a = 'x'", 5, "'x' (text) in ="),
    ("not a", 5, "column 'a' (number) in not"),
    ("p and a", 7, "column 'a' (number) in and"),
    ("case when a then 1 end", 11, "column 'a' (number) in when"),
    ("case when p then 1 else 'x' end", 25, "'x' (text) in the branches of case"),
    ("case when p then null end", 1, "only null"),
    ("coalesce(null, null)", 1, "only null"),
    ("null", 1, "null by itself"),
    ("a in (1, null)", 1, "null in the list"),
    ("a in (clicks)", 7, "a computed value in the list"),
    ("a in (select 1)", 1, "in without a list"),
    ("round(a, clicks)", 10, "not written out"),
    ("round(a, 16)", 10, "not written out"),
    ("floor(a, 2)", 7, "more than one operand"),
    ("ln(a, a)", 8, "too many operands"),
    ("abs()", 5, "an operand is missing"),
    ("hour(a)", 6, "column 'a' (number) in hour"),
    ("weekday(t, t)", 1, "weekday with 2 operands"),
    ("t > 'yesterday'", 5, "'yesterday' is compared with a time"),
    ("9007199254740993", 1, "the whole number 9007199254740993"),
    ("a * 1e309", 5, "the number 1e309"),
    ("a * 1e-400", 5, "the number 1e-400"),
    ("a clicks", 1, "two values stand beside each other"),
    ("a; clicks", 2, "a ';'"),
    ("a ) b", 3, "not understood at ')'"),
]


@pytest.mark.parametrize(("text", "position", "found"), REFUSED)
def test_refused_with_its_place(text: str, position: int, found: str) -> None:
    error = refusal(text)
    assert len(error.problems) == 1, str(error)
    assert found in error.problems[0].found
    assert error.problems[0].where == f"position {position}"
    assert error.problems[0].expected
    assert str(error).startswith(WHERE)


@pytest.mark.parametrize("text", ["", "  ", "'open", '"open', "(a", "a +", "- - --", "extract(year from t)"])
def test_refused_without_a_single_place(text: str) -> None:
    assert refusal(text).problems


def test_all_problems_at_once_in_reading_order() -> None:
    error = refusal("foo(clics) + a + s * bar(1)")
    found = [problem.found for problem in error.problems]
    assert [text.split(";")[0] for text in found] == [
        "unknown function 'foo'",
        "column 's' (text) in *",
        "unknown function 'bar'",
    ]
    for name in SUPPORTED:
        assert name in error.next_step


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("(" * 30 + "a" + ")" * 30, "nested brackets"),
        ("case when p then " * 30 + "1" + " end" * 30, "nested brackets"),
        ("a + " * MAX_LENGTH + "a", "characters"),
        ("+".join(["a"] * (MAX_DEPTH + 1)), "operations inside each other"),
        ("not " * 900 + "p", "operations inside each other"),
        ("nullif(" * 18 + "a" + ", 1)" * 18, "operations in all"),
    ],
)
def test_too_large_is_said_at_once(text: str, found: str) -> None:
    error = refusal(text)
    assert found in error.problems[0].found
    assert "earlier one" in error.next_step


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(max_size=40),
        st.lists(
            st.sampled_from(
                [
                    *"+-*/%()=<>,.;'\"[]{}",
                    "a",
                    "s",
                    "t",
                    "p",
                    "1",
                    "'x'",
                    "null",
                    "case",
                    "when",
                    "end",
                    "in",
                    "not",
                    "is",
                    *SUPPORTED,
                    "select",
                    "::",
                    "interval",
                    "extract",
                    "from",
                ]
            ),
            max_size=12,
        ).map(" ".join),
    )
)
def test_any_text_gives_an_expression_or_an_expression_error(text: str) -> None:
    try:
        expression = parse(text, COLUMNS, where=WHERE)
    except ExpressionError as error:
        assert error.problems  # noqa: PT017 - both outcomes are allowed, a third is not
    else:
        assert expression.columns <= COLUMNS.keys()


def test_every_column_type_has_a_kind_and_the_list_describes_itself() -> None:
    assert {kind_of(column_type) for column_type in ColumnType} == set(Kind)
    assert all(name in describe_supported() for name in SUPPORTED)
