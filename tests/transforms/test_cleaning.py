"""Cleaning: what is read, what is repaired, what is refused, and with which words."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from roadworthy.errors import DataError, ProjectFileError
from roadworthy.records.contract import ColumnContract as Column
from roadworthy.records.contract import ColumnType, Contract, MissingPolicy
from roadworthy.transforms.cleaning import CleaningCounts, CleaningPlan, contract_for_hashed, without_sentinels

INTEGER, NUMBER, BOOLEAN = ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.BOOLEAN
CATEGORY, TEXT, TIME = ColumnType.CATEGORY, ColumnType.TEXT, ColumnType.TIME
REJECT = MissingPolicy.REJECT


def read(column: Column, values: list[Any], dtype: Any) -> tuple[list[Any], list[list[str]], CleaningCounts]:
    """Clean values and reasons of one column, row by row, in history and as live rows: they must agree."""
    frame = pl.DataFrame({"x": pl.Series("x", values, dtype=dtype, strict=False)})
    plan = CleaningPlan.build(Contract(columns={"x": column, "y": Column(type=INTEGER)}), "", "y")
    live, problems = plan.apply_rows(frame)
    raw = frame.with_columns(y=pl.lit(1)).lazy()
    result = plan.apply(raw)
    kept, bad = result.kept.collect(), result.quarantined.collect()
    reasons: list[list[str]] = [[] for _ in values]
    for row, found in bad.select("_row", "_reasons").iter_rows():
        reasons[row] = found
    if not column.unique:
        assert [sorted(one or []) for one in problems.to_list()] == [sorted(one) for one in reasons]
    clean = dict(kept.select("_row", "x").iter_rows())
    for row, value in clean.items():
        assert live.get_column("x")[row] == value
    counts = plan.check(raw)
    assert (counts.rows, counts.quarantined) == (kept.height, bad.height)
    assert kept.schema["x"] == live.schema["x"]
    return [clean.get(row, "quarantined") for row in range(len(values))], reasons, counts


@pytest.mark.parametrize(
    ("column", "raw", "clean"),
    [
        (Column(type=NUMBER), ["1", " 2.5 ", "+3", "-4e2", "1e308", ".5"], [1.0, 2.5, 3.0, -400.0, 1e308, 0.5]),
        (Column(type=INTEGER), ["1", "2.0", "-0", "9007199254740992"], [1, 2, 0, 2**53]),
        (Column(type=NUMBER, unit="oz"), ["12.0 oz", "12.0 OZ.", "16oz", "7"], [12.0, 12.0, 16.0, 7.0]),
        (Column(type=NUMBER, unit="ounce|oz"), ["12.0 ounce", "8.4 oz"], [12.0, 8.4]),
        (Column(type=NUMBER, unit="%"), ["5%", "0.5 %"], [5.0, 0.5]),
        (Column(type=NUMBER, thousands=","), ["1,234,567.5", "12", "-1,000"], [1234567.5, 12.0, -1000.0]),
        (Column(type=NUMBER, thousands=".", decimal=","), ["1.234,5", "0,25", "7"], [1234.5, 0.25, 7.0]),
        (Column(type=INTEGER, thousands=" "), ["1 234", "1\u00a0234", "1\u202f234"], [1234, 1234, 1234]),
        (Column(type=NUMBER, sentinels=("-200", "?")), ["-200", "-200.0", " ? ", "3"], [None, None, None, 3.0]),
        (Column(type=CATEGORY, strip_suffix="."), [" >50K. ", ">50K", "."], [">50K", ">50K", None]),
        (Column(type=CATEGORY, sentinels=("?",)), ["?", "", "  ", None, "a b"], [None, None, None, None, "a b"]),
        (Column(type=BOOLEAN), ["yes", "No", "TRUE", "f", "1", "0", ""], [True, False, True, False, True, False, None]),
    ],
)  # fmt: skip
def test_texts_are_read_and_repaired(column: Column, raw: Any, clean: Any) -> None:
    values, reasons, _ = read(column, raw, pl.String)
    assert values == clean
    assert not any(reasons)


def moment(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, us: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, second, us)  # noqa: DTZ001 - clean times are UTC without a zone


@pytest.mark.parametrize(
    ("time_format", "raw", "clean"),
    [
        ("", "2013-01-01T10:00:00Z", moment(2013, 1, 1, 10)),
        ("", "2013-01-01 10:00:00.25+02:00", moment(2013, 1, 1, 8, 0, 0, 250_000)),
        ("", "2013-01-01", moment(2013, 1, 1)),
        ("", "2013-01-01T10:30", moment(2013, 1, 1, 10, 30)),
        ("", "1677-09-20", moment(1677, 9, 20)),
        ("", "2262-04-12 00:00:00", moment(2262, 4, 12)),
        ("%d/%m/%Y", "10/03/2004", moment(2004, 3, 10)),
        ("%d/%m/%Y %H:%M", "1/3/2004 9:05", moment(2004, 3, 1, 9, 5)),
        ("%Y-%m-%d %H.%M.%S", "2004-03-10 18.00.00", moment(2004, 3, 10, 18)),
        ("%Y-%m-%dT%H:%M:%S%z", "2004-03-10T18:00:00+0200", moment(2004, 3, 10, 16)),
        ("epoch_s", "1078941600", moment(2004, 3, 10, 18)),
        ("epoch_ms", "1078941600500", moment(2004, 3, 10, 18, 0, 0, 500_000)),
        ("epoch_us", "-1", moment(1969, 12, 31, 23, 59, 59, 999_999)),
    ],
)
def test_times_are_read_as_utc(time_format: str, raw: Any, clean: Any) -> None:
    values, reasons, _ = read(Column(type=TIME, time_format=time_format), [raw, None], pl.String)
    assert values == [clean, None]
    assert reasons == [[], []]


@pytest.mark.parametrize(
    ("column", "value", "dtype", "reason"),
    [
        (Column(type=NUMBER), "abc", pl.String, "x: not a number"),
        (Column(type=NUMBER), "12 oz", pl.String, "x: not a number"),
        (Column(type=NUMBER), "1e309", pl.String, "x: not a finite number"),
        (Column(type=NUMBER), "inf", pl.String, "x: not a finite number"),
        (Column(type=NUMBER), float("inf"), pl.Float64, "x: not a finite number"),
        (Column(type=NUMBER, thousands=","), "1,23", pl.String, "x: not a number"),
        (Column(type=NUMBER, decimal=","), "1.5", pl.String, "x: not a number"),
        (Column(type=INTEGER), "1.5", pl.String, "x: not a whole number"),
        (Column(type=INTEGER), 1.5, pl.Float64, "x: not a whole number"),
        (Column(type=INTEGER), "9007199254740993", pl.String, "x: beyond ±2^53"),
        (Column(type=INTEGER), 2**53 + 1, pl.Int64, "x: beyond ±2^53"),
        (Column(type=INTEGER), 2**64 - 1, pl.UInt64, "x: beyond ±2^53"),
        (Column(type=INTEGER), "99999999999999999999", pl.String, "x: beyond ±2^53"),
        (Column(type=BOOLEAN), "perhaps", pl.String, "x: not a boolean"),
        (Column(type=BOOLEAN), 2, pl.Int64, "x: not a boolean"),
        (Column(type=TIME), "31/31/2004", pl.String, "x: not a time"),
        (Column(type=TIME), "2004-02-30", pl.String, "x: not a time"),
        (Column(type=TIME), 5, pl.Int64, "x: not a time"),
        (Column(type=TIME, time_format="epoch_s"), 10**18, pl.Int64, "x: not a time"),
        (Column(type=TIME, time_format="epoch_s"), "-62135596801", pl.String, "x: not a time"),
        (Column(type=TIME, freshness="90 days"), -62135596800000001, pl.Datetime("us"), "x: not a time"),
        (Column(type=NUMBER, missing=REJECT), "", pl.String, "x: missing"),
        (Column(type=NUMBER, missing=REJECT), float("nan"), pl.Float64, "x: missing"),
        (Column(type=NUMBER, missing=REJECT, sentinels=("999",)), 999, pl.Int16, "x: missing"),
        (Column(type=NUMBER, min=0), "-0.5", pl.String, "x: below 0"),
        (Column(type=INTEGER, max=10), 11, pl.Int8, "x: above 10"),
        (Column(type=CATEGORY, allowed=("a", "b")), "c", pl.String, "x: not an allowed category"),
        (Column(type=TEXT, pattern="[A-Z]{2}"), "ABC", pl.String, "x: does not match the pattern"),
        (Column(type=NUMBER), date(2020, 1, 1), pl.Date, "x: not a number"),
        (Column(type=TEXT), [1], pl.List(pl.Int64), "x: not a text"),
    ],
)  # fmt: skip
def test_what_cannot_stand_is_quarantined_with_its_reason(column: Column, value: Any, dtype: Any, reason: str) -> None:
    values, reasons, counts = read(column, [value], dtype)
    assert values == ["quarantined"]
    assert reasons == [[reason]]
    assert counts.reasons == {reason: 1}


@pytest.mark.parametrize(
    ("kind", "values", "dtype", "clean"),
    [
        (NUMBER, [1, None], pl.Int64, [1.0, None]),
        (NUMBER, [1.5, float("nan")], pl.Float32, [1.5, None]),
        (NUMBER, [Decimal("1.25")], pl.Decimal(10, 2), [1.25]),
        (NUMBER, [True, False], pl.Boolean, [1.0, 0.0]),
        (INTEGER, [517.0, float("nan")], pl.Float64, [517, None]),
        (INTEGER, [7], pl.UInt64, [7]),
        (BOOLEAN, [1.0, 0.0, float("nan")], pl.Float64, [True, False, None]),
        (CATEGORY, ["a", None], pl.Categorical, ["a", None]),
        (CATEGORY, [3, None], pl.Int64, ["3", None]),
        (CATEGORY, [3.0, 2.5], pl.Float64, ["3", "2.5"]),
        (CATEGORY, [True], pl.Boolean, ["true"]),
        (TIME, [date(2262, 12, 31)], pl.Date, [moment(2262, 12, 31)]),
        (TIME, [moment(1677, 1, 1)], pl.Datetime("ms"), [moment(1677, 1, 1)]),
        (NUMBER, [None], pl.Null, [None]),
    ],
)
def test_native_types_become_clean_types(kind: ColumnType, values: list[Any], dtype: Any, clean: Any) -> None:
    found, reasons, _ = read(Column(type=kind), values, dtype)
    assert found == clean
    assert not any(reasons)


def test_zones_become_utc() -> None:
    berlin = datetime(2020, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    found, _, counts = read(Column(type=TIME), [berlin], pl.Datetime("us", "Europe/Berlin"))
    assert found == [moment(2020, 7, 1, 10)]
    assert counts.repairs == {"x: local time to UTC": 1}


def table(**columns: list[Any]) -> pl.LazyFrame:
    return pl.LazyFrame(columns)


def reasons_of(plan: CleaningPlan, raw: pl.LazyFrame) -> dict[int, list[str]]:
    return dict(plan.apply(raw).quarantined.select("_row", "_reasons").collect().iter_rows())


def test_all_reasons_of_a_row_are_listed_and_the_row_stays_as_it_came() -> None:
    contract = Contract(columns={"a": Column(type=NUMBER, min=0), "b": Column(type=INTEGER, missing=REJECT)})
    raw = table(a=[" -1 ", "2"], b=["", "3"], c=["note", "other"])
    result = CleaningPlan.build(contract, "", "a").apply(raw)
    bad = result.quarantined.collect()
    assert bad.select("a", "b", "c").row(0) == (" -1 ", "", "note")
    assert bad.get_column("_reasons").to_list() == [["a: below 0", "b: missing"]]
    assert result.kept.collect().columns == ["_row", "a", "b"]
    assert result.notes == ("column 'c' is not in the contract; it was left out",)


def test_the_first_of_equal_values_stays_among_rows_that_meet_everything_else() -> None:
    contract = Contract(columns={"id": Column(type=INTEGER, unique=True), "v": Column(type=INTEGER, min=0)})
    plan = CleaningPlan.build(contract, "", "v")
    raw = table(id=[1, 1, 1, 2, None, None], v=[-5, 6, 7, 8, 9, 9])
    assert reasons_of(plan, raw) == {0: ["v: below 0"], 2: ["id: not unique"]}
    counts = plan.check(raw)
    assert counts.reasons == {"v: below 0": 1, "id: not unique": 1}
    assert (counts.rows, counts.quarantined) == (4, 2)


def test_duplicates_are_dropped_only_when_asked() -> None:
    columns = {"a": Column(type=NUMBER), "b": Column(type=CATEGORY)}
    raw = table(a=["1", "1.0", "2", None, None], b=["x", " x", "x", None, None])
    assert reasons_of(CleaningPlan.build(Contract(columns=columns), "", "a"), raw) == {}
    plan = CleaningPlan.build(Contract(columns=columns, duplicates="drop"), "", "a")
    assert reasons_of(plan, raw) == {1: ["row: equal to an earlier one"], 4: ["row: equal to an earlier one"]}
    assert plan.check(raw).quarantined == 2


def test_several_uniqueness_conditions_count_a_row_once() -> None:
    contract = Contract(
        columns={"a": Column(type=INTEGER, unique=True), "b": Column(type=INTEGER, unique=True)}, duplicates="drop"
    )
    plan = CleaningPlan.build(contract, "", "a")
    raw = table(a=[1, 1, 2, 3], b=[1, 1, 1, 4])
    counts = plan.check(raw)
    assert (counts.rows, counts.quarantined) == (2, 2)
    assert set(reasons_of(plan, raw)) == {1, 2}


def test_rules_send_false_rows_away_and_keep_unknown_ones() -> None:
    contract = Contract(
        columns={"clicks": Column(type=INTEGER), "impressions": Column(type=INTEGER)}, rules=("clicks <= impressions",)
    )
    plan = CleaningPlan.build(contract, "", "clicks")
    raw = table(clicks=["1", "5", "5", ""], impressions=["2", "4", None, "1"])
    assert reasons_of(plan, raw) == {1: ["rule: clicks <= impressions is false"]}
    assert plan.apply_rows(raw.collect())[1].to_list()[1] == ["rule: clicks <= impressions is false"]


def test_freshness_is_the_age_against_the_newest_row() -> None:
    contract = Contract(columns={"at": Column(type=TIME), "seen": Column(type=TIME, freshness="2 days")})
    raw = table(at=["2024-01-10", "2024-01-09"], seen=["2024-01-08", "2024-01-07"])
    assert reasons_of(CleaningPlan.build(contract, "at", "seen"), raw) == {1: ["seen: older than 2 days"]}
    assert reasons_of(CleaningPlan.build(contract, "", "seen"), raw) == {}
    live = CleaningPlan.build(contract, "at", "seen").apply_rows(raw.collect())
    assert live[1].to_list() == [None, None]


def test_known_counts_change_nothing_but_the_work() -> None:
    contract = Contract(columns={"a": Column(type=NUMBER, min=0, unique=True), "b": Column(type=INTEGER)})
    plan = CleaningPlan.build(contract, "", "a")
    for raw in (table(a=["1", "2"], b=["1", "2"]), table(a=["1", "1", "-1", "x"], b=["1", "2", "3", "4"])):
        plain, spared = plan.apply(raw), plan.apply(raw, plan.check(raw))
        assert plain.kept.collect().equals(spared.kept.collect())
        assert plain.quarantined.collect().equals(spared.quarantined.collect())


def test_absent_columns_are_named_together_with_the_nearest_name() -> None:
    contract = Contract(columns={"price": Column(type=NUMBER), "size": Column(type=NUMBER), "y": Column(type=NUMBER)})
    plan = CleaningPlan.build(contract, "", "y")
    with pytest.raises(DataError) as caught:
        plan.apply(table(prize=["1"], y=["1"]))
    assert "did you mean 'prize'" in str(caught.value)
    assert "'size' is not in the data" in str(caught.value)


def test_live_rows_may_lack_the_target_and_optional_columns() -> None:
    contract = Contract(
        columns={"a": Column(type=NUMBER), "late": Column(type=NUMBER, missing=REJECT), "y": Column(type=BOOLEAN)}
    )
    plan = CleaningPlan.build(contract, "", "y")
    clean, problems = plan.apply_rows(pl.DataFrame({"a": ["1", "x"]}), optional=["late"])
    assert clean.to_dict(as_series=False) == {"a": [1.0, None], "late": [None, None], "y": [None, None]}
    assert problems.to_list() == [None, ["a: not a number"]]
    present = pl.DataFrame({"a": ["1"], "late": ["junk"], "y": ["perhaps"]})
    assert plan.apply_rows(present, optional=["late"])[1].to_list() == [None]
    assert plan.apply_rows(present, optional=["late"], judged=True)[1].to_list() == [
        ["late: not a number", "y: not a boolean"]
    ]
    assert plan.apply_rows(present)[1].to_list() == [["late: not a number"]]
    with pytest.raises(DataError, match="lack"):
        plan.apply_rows(pl.DataFrame({"a": ["1"]}))


def test_a_contract_that_contradicts_itself_is_refused_with_all_problems() -> None:
    contract = Contract(
        columns={
            "a": Column(type=NUMBER, min=3, max=1, pattern="x"),
            "b": Column(type=TEXT, pattern="("),
            "t": Column(type=TIME, time_format="%H:%M", freshness="soon"),
            "_row": Column(type=NUMBER, thousands=".", decimal="."),
        },
        rules=("a < nothing",),
        duplicates="maybe",
    )
    with pytest.raises(ProjectFileError) as caught:
        CleaningPlan.build(contract, "a", "zz")
    text = str(caught.value)
    for expected in (
        "[contract.columns.a]: min = 3 is above max = 1",
        "[contract.columns.a]: pattern does not apply",
        "[contract.columns.b]: pattern '('",
        "[contract.columns.t]: time_format '%H:%M'",
        "[contract.columns.t]: freshness",
        "[contract.columns._row]: the name '_row' is reserved",
        "decimal and thousands are both '.'",
        "duplicates = 'maybe'",
        "[contract.columns.a]: the time column has type",
        "[project] target: column 'zz' is not in the contract",
        "rules[0]",
    ):
        assert expected in text, expected


def test_personal_columns_are_read_as_hashes_and_no_reason_holds_a_value() -> None:
    who = Column(type=INTEGER, min=0, missing=REJECT, sentinels=("-1",))
    contract = Contract(columns={"who": who, "y": Column(type=NUMBER)})
    hashed = contract_for_hashed(contract, ["who"])
    assert hashed.columns["who"] == Column(type=TEXT, missing=REJECT, sentinels=("-1",))
    assert contract_for_hashed(hashed, ["who"]) == hashed
    plan = CleaningPlan.build(hashed, "", "y")
    raw = table(who=["9f86d081", None], y=["secret", "1"])
    found = reasons_of(plan, raw)
    assert found == {0: ["y: not a number"], 1: ["who: missing"]}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series(["?", " ? ", "a", None, "-1"]), [None, None, "a", None, None]),
        (pl.Series([-1, 2, None]), [None, 2, None]),
        (pl.Series([-1.0, 2.5]), [None, 2.5]),
        (pl.Series(["?", "a"], dtype=pl.Categorical), [None, "a"]),
        (pl.Series([], dtype=pl.String), []),
        (pl.Series([[1]]), [[1]]),
    ],
)
def test_sentinels_are_taken_out_before_hashing(values: pl.Series, expected: list[object]) -> None:
    found = without_sentinels(values, ("?", "-1"))
    assert found.to_list() == expected
    assert found.dtype == values.dtype
    assert without_sentinels(values, ()) is values


def test_repairs_are_counted_by_cell() -> None:
    contract = Contract(columns={"a": Column(type=NUMBER, unit="kg", sentinels=("?",)), "b": Column(type=CATEGORY)})
    counts = CleaningPlan.build(contract, "", "b").check(table(a=["1 kg", "?", "2"], b=[" x", "y", ""]))
    assert counts.repairs == {
        "a: unit removed": 1,
        "a: sentinel to missing": 1,
        "a: text to number": 2,
        "b: spaces trimmed": 1,
        "b: blank to missing": 1,
    }
