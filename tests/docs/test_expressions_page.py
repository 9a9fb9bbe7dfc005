"""The page on the expression language says what the code does."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

import msgspec
import polars as pl
import pytest

from roadworthy.errors import ExpressionError
from roadworthy.formats.project import parse_project
from roadworthy.records.project import Aggregate, ProjectSpec
from roadworthy.transforms.aggregates import Function
from roadworthy.transforms.durations import microseconds
from roadworthy.transforms.expressions import SUPPORTED, Kind
from roadworthy.transforms.expressions import parse as parse_expression
from roadworthy.transforms.expressions.parse import MAX_DEPTH, MAX_LENGTH, MAX_NESTING, MAX_NODES
from roadworthy.transforms.expressions.polars_form import to_polars
from roadworthy.transforms.features import FeaturePlan

PAGE = "docs/expressions.md"
Pages = Callable[[str], Any]


def clicks_project(pages: Pages) -> ProjectSpec:
    return parse_project(pages("examples/clicks/roadworthy.toml").text).spec


def with_features(spec: ProjectSpec, block: str) -> ProjectSpec:
    written = tomllib.loads(block)["features"]
    features = {
        name: value if isinstance(value, str) else msgspec.convert(value, Aggregate) for name, value in written.items()
    }
    return msgspec.structs.replace(spec, features=features)


def test_the_table_is_the_list_in_the_code(page: Pages) -> None:
    written = page(PAGE).section("Everything there is").table("name")
    assert written == [[f"`{name}`", f"`{entry.form}`", entry.meaning] for name, entry in SUPPORTED.items()]


def test_every_function_and_setting_of_aggregates_is_there(page: Pages) -> None:
    section = page(PAGE).section("Aggregates: an entity's own past")
    functions = [row[0].strip("`") for row in section.table("function")]
    settings = [row[0].strip("`") for row in section.table("setting")]
    assert functions == [*Function, "ratio"]
    assert {*functions, *settings} == set(Aggregate.__struct_fields__)


def test_the_limits_are_those_of_the_parser(page: Pages) -> None:
    text = " ".join(page(PAGE).text.split())
    assert f"at most {MAX_LENGTH:,} characters, {MAX_NESTING} nested brackets" in text
    assert f"{MAX_NODES:,} operations and values, {MAX_DEPTH} of them on the longest way" in text


def test_every_example_can_be_computed(page: Pages, clicks: pl.DataFrame) -> None:
    spec = clicks_project(page)
    blocks = page(PAGE).blocks("toml")
    assert len(blocks) == 2
    rows = clicks.head(200).with_row_index("_row").with_columns(pl.col("_row").cast(pl.Int64))
    for block in blocks:
        declared = with_features(spec, block)
        plan = FeaturePlan.build(declared)
        table = plan.apply(rows)
        assert table.columns == [*rows.columns, *declared.features]


def test_the_examples_of_the_clicks_project_are_on_the_page(page: Pages) -> None:
    text = page(PAGE).text
    for name, feature in tomllib.loads(page("examples/clicks/roadworthy.toml").text)["features"].items():
        expressions = [feature] if isinstance(feature, str) else [value for value in feature.values() if value != "*"]
        assert name in text
        assert all(expression in text for expression in expressions)


@pytest.mark.parametrize(
    ("said", "expression", "value"),
    [
        ("`7 / 2` is 3.5", "7 / 2", 3.5),
        ("`round(2.5)` is 3", "round(2.5)", 3.0),
        ("`round(-2.5)` is -3", "round(-2.5)", -3.0),
        ("`round(1234, -2)` is 1200", "round(1234, -2)", 1200.0),
        ("`x / 0`", "1 / 0", None),
        ("`ln(0)`", "ln(0)", None),
        ("`sqrt(-1)`", "sqrt(-1)", None),
        ("`false and null` is false", "false and null", False),
        ("`true or null` is true", "true or null", True),
        ("`x = null` is missing always", "1 = null", None),
        ("has the sign of `a`", "-7 % 3", -1.0),
        ("`weekday` 1 (Monday)", "weekday(t)", 1.0),
        ("a number of seconds", "t - u", 60.0),
    ],
)
def test_what_is_said_of_values_is_so(page: Pages, said: str, expression: str, value: object) -> None:
    assert said in page(PAGE).text
    frame = pl.DataFrame({"t": ["2026-01-05T10:01:00"], "u": ["2026-01-05T10:00:00"]}).select(
        pl.all().str.to_datetime(time_unit="us")
    )
    parsed = parse_expression(expression, {"t": Kind.TIME, "u": Kind.TIME}, where="a test")
    assert frame.select(to_polars(parsed).alias("v"))["v"][0] == value


@pytest.mark.parametrize("span", ["7 days", "90 s", "1.5 h"])
def test_windows_are_written_as_shown(page: Pages, span: str) -> None:
    assert f'"{span}"' in page(PAGE).text
    assert microseconds(span) > 0


def test_the_mistake_looks_like_that(page: Pages) -> None:
    spec = msgspec.structs.replace(clicks_project(page), features={"click_rate": "clicks / log10(impressions)"})
    with pytest.raises(ExpressionError) as raised:
        FeaturePlan.build(spec)
    shown = page(PAGE).section("What a mistake looks like").blocks("")[0].splitlines()
    assert str(raised.value).splitlines()[: len(shown)] == shown
