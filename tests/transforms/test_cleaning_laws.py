"""Laws of cleaning, on rows as nasty as they come."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.records.contract import ColumnContract as Column
from roadworthy.records.contract import ColumnType, Contract, MissingPolicy
from roadworthy.transforms.cleaning import CleaningPlan

CELLS = st.one_of(
    st.none(),
    st.sampled_from(
        ["", " ", "?", "-200", "-200.0", "1", "2 ", "1,234", "1.5", "5%", "1e308", "1e999", "nan", "inf", "-", "yes",
         "No", "2020-01-01", "01/02/2020", "9007199254740993", ">50K.", "\u00a07", "0x1F", "1e", "٣", "\x00"]
    ),
    st.text(max_size=5),
    st.integers().map(str),
    st.floats().map(str),
)  # fmt: skip
COLUMNS = st.sampled_from([
    Column(type=ColumnType.NUMBER, min=0, sentinels=("-200", "?")),
    Column(type=ColumnType.NUMBER, unit="%", thousands=",", missing=MissingPolicy.REJECT),
    Column(type=ColumnType.NUMBER, decimal=",", thousands="."),
    Column(type=ColumnType.INTEGER, max=1000, unique=True),
    Column(type=ColumnType.BOOLEAN),
    Column(type=ColumnType.CATEGORY, allowed=("1", "yes", ">50K"), strip_suffix="."),
    Column(type=ColumnType.TEXT, pattern="[^0-9]*", missing=MissingPolicy.REJECT),
    Column(type=ColumnType.TIME, time_format="%d/%m/%Y"),
    Column(type=ColumnType.TIME, freshness="30 days"),
    Column(type=ColumnType.TIME, time_format="epoch_s"),
])  # fmt: skip


@st.composite
def dirty(draw: st.DrawFn) -> tuple[Contract, pl.DataFrame]:
    columns = draw(st.lists(COLUMNS, min_size=1, max_size=3))
    rows = draw(st.integers(0, 12))
    data = {f"c{at}": draw(st.lists(CELLS, min_size=rows, max_size=rows)) for at in range(len(columns))}
    contract = Contract(
        columns={f"c{at}": column for at, column in enumerate(columns)},
        duplicates=draw(st.sampled_from(["keep", "drop"])),
    )
    return contract, pl.DataFrame(data, schema=dict.fromkeys(data, pl.String))


@settings(max_examples=150, deadline=None)
@given(dirty())
def test_rows_in_are_rows_kept_and_rows_quarantined(case: tuple[Contract, pl.DataFrame]) -> None:
    contract, frame = case
    plan = CleaningPlan.build(contract, "", "c0")
    counts = plan.check(frame.lazy())
    for result in (plan.apply(frame.lazy()), plan.apply(frame.lazy(), counts)):
        kept, bad = result.kept.collect(), result.quarantined.collect()
        rows = kept.get_column("_row").to_list() + bad.get_column("_row").to_list()
        assert sorted(rows) == list(range(frame.height))
        assert (counts.rows_in, counts.rows, counts.quarantined) == (frame.height, kept.height, bad.height)
        # what is set aside is set aside as it came, for a reason that was counted
        assert bad.drop("_row", "_reasons").rows() == [frame.row(row) for row in bad.get_column("_row")]
        listed = [reason for reasons in bad.get_column("_reasons").to_list() for reason in reasons]
        assert all(bad.get_column("_reasons").to_list())
        assert {reason: listed.count(reason) for reason in set(listed)} == counts.reasons


@settings(max_examples=150, deadline=None)
@given(dirty())
def test_live_rows_get_the_value_and_the_verdict_of_history(case: tuple[Contract, pl.DataFrame]) -> None:
    contract, frame = case
    plan = CleaningPlan.build(contract, "", "")
    clean, problems = plan.apply_rows(frame)
    result = plan.apply(frame.lazy())
    kept = result.kept.collect()
    assert kept.drop("_row").rows() == [clean.row(row) for row in kept.get_column("_row")]
    history = ("not unique", "row: equal", "older than")
    aside = dict(result.quarantined.select("_row", "_reasons").collect().iter_rows())
    for row, found in enumerate(problems.to_list()):
        lasting = [reason for reason in aside.get(row, []) if not any(word in reason for word in history)]
        assert sorted(lasting) == sorted(found or [])
        assert found is None or found


@settings(max_examples=40, deadline=None)
@given(dirty())
def test_clean_rows_are_finite_typed_and_clean_again(case: tuple[Contract, pl.DataFrame]) -> None:
    contract, frame = case
    kept = CleaningPlan.build(contract, "", "c0").apply(frame.lazy()).kept.collect()
    types = {
        ColumnType.INTEGER: pl.Int64, ColumnType.NUMBER: pl.Float64, ColumnType.BOOLEAN: pl.Boolean,
        ColumnType.TIME: pl.Datetime("us"),
    }  # fmt: skip
    for name, column in contract.columns.items():
        assert kept.schema[name] == types.get(column.type, pl.String)
        if column.type is ColumnType.NUMBER:
            assert kept.get_column(name).drop_nulls().is_finite().all()
    again = CleaningPlan.build(contract, "", "c0").apply(kept.lazy())
    assert again.kept.collect().equals(kept)
