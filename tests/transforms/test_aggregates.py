"""Aggregates against a slow, obvious reference, and the laws of point-in-time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.transforms.aggregates import Function, Look, Ratio, compute, past

Row = dict[str, Any]

VALUES = st.one_of(
    st.none(),
    st.floats(-1e6, 1e6),
    st.integers(-3, 3).map(float),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.1, 0.2, -0.3, 1e16, math.inf]),
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "entity": st.sampled_from(["a", "b", "c", None]),
            "time": st.one_of(st.none(), st.integers(0, 12).map(lambda s: s * 1_000_000)),
            "value": VALUES,
            "flag": st.sampled_from([True, False, None]),
            "seen": st.one_of(st.none(), st.integers(0, 12_000_000)),
        }
    ),
    max_size=30,
)
FUNCTIONS = st.sampled_from(list(Function))
WINDOWS = st.sampled_from([None, 1, 1_000_000, 3_000_000, 3_000_001, 50_000_000])


def table(rows: list[Row], *, first: int = 0) -> pl.DataFrame:
    numbered = [{"_row": first + place, **row} for place, row in enumerate(rows)]
    kinds: dict[str, Any] = {
        "_row": pl.Int64,
        "entity": pl.String,
        "time": pl.Int64,
        "value": pl.Float64,
        "flag": pl.Boolean,
        "seen": pl.Int64,
    }
    frame = pl.DataFrame({name: pl.Series([row[name] for row in numbered], dtype=kinds[name]) for name in kinds})
    return frame.with_columns(pl.col("time", "seen").cast(pl.Datetime("us")))


def look(function: Function, *, window: int | None = None, where: bool = False, star: bool = False) -> Look:
    column = "seen" if function is Function.SECONDS_SINCE_LAST else "value"
    return Look(
        function,
        "entity",
        None if star else pl.col(column),
        pl.col("flag") if where else None,
        window,
    )


def events(rows: list[Row], row: Row, asked: Look, column: str) -> Iterator[tuple[tuple[int, int], Any]]:
    """The definition, word for word, from one row's point of view."""
    for place, other in enumerate(rows):
        same = other["entity"] == row["entity"] and other["time"] is not None and other["time"] < row["time"]
        near = same and (asked.window_us is None or other["time"] >= row["time"] - asked.window_us)
        holds = near and (asked.where is None or other["flag"] is True)
        value = other[column]
        known = asked.value is None or (value is not None and (column == "seen" or math.isfinite(value)))
        if holds and known:
            yield (other["time"], place), value


def reference(rows: list[Row], row: Row, asked: Look) -> float | None:
    if row["entity"] is None or row["time"] is None:
        return None
    column = "seen" if asked.function is Function.SECONDS_SINCE_LAST else "value"
    found = sorted(events(rows, row, asked, column), key=lambda event: event[0])
    values = [value for _, value in found]
    if asked.function is Function.COUNT:
        return float(len(values))
    if not values:
        return None
    if asked.function is Function.SECONDS_SINCE_LAST:
        return float((row["time"] - values[-1]) / 1e6)
    return _number(asked.function, values)


def _number(function: Function, values: list[float]) -> float | None:
    if function is Function.LAST:
        return values[-1]
    if function in (Function.MIN, Function.MAX):
        return min(values) if function is Function.MIN else max(values)
    try:
        total = float(sum(map(Fraction, values), Fraction(0)))
    except OverflowError:
        return None
    return total / len(values) if function is Function.MEAN else total


def bits(series: pl.Series) -> list[bytes | None]:
    return [None if value is None else np.float64(value).tobytes() for value in series]


@settings(max_examples=250, deadline=None)
@given(rows=ROWS, function=FUNCTIONS, window=WINDOWS, where=st.booleans())
def test_equals_the_definition(rows: list[Row], function: Function, window: int | None, where: bool) -> None:
    asked = look(function, window=window, where=where)
    found = compute(table(rows), {"f": asked}, time="time")[0]
    wanted = [reference(rows, row, asked) for row in rows]
    assert found.dtype == pl.Float64
    assert found.to_list() == wanted


@settings(max_examples=80, deadline=None)
@given(rows=ROWS, later=ROWS, function=FUNCTIONS, window=WINDOWS)
def test_future_rows_change_nothing(rows: list[Row], later: list[Row], function: Function, window: int | None) -> None:
    asked = {"f": look(function, window=window, where=True)}
    latest = max((row["time"] for row in rows if row["time"] is not None), default=0)
    moved = [{**row, "time": None if row["time"] is None else row["time"] + latest} for row in later]
    before = compute(table(rows), asked, time="time")[0]
    after = compute(table([*rows, *moved]), asked, time="time")[0]
    assert bits(after.head(len(rows))) == bits(before)


@settings(max_examples=80, deadline=None)
@given(rows=ROWS, seed=st.integers(0, 2**31), function=FUNCTIONS, window=WINDOWS)
def test_order_of_rows_does_not_matter(rows: list[Row], seed: int, function: Function, window: int | None) -> None:
    asked = {"f": look(function, window=window)}
    frame = table(rows)
    shuffled = frame[np.random.default_rng(seed).permutation(frame.height)] if rows else frame
    found = pl.DataFrame([shuffled["_row"], *compute(shuffled, asked, time="time")]).sort("_row")
    assert bits(found["f"]) == bits(compute(frame, asked, time="time")[0])


@pytest.mark.parametrize("kind", [pl.Int64, pl.Float64, pl.String, pl.Categorical, pl.Boolean])
@pytest.mark.parametrize("bits_left", [0, 1, 2])
def test_entities_of_one_hash_stay_apart(kind: Any, bits_left: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    frame = pl.DataFrame(
        {
            "entity": pl.Series(rng.integers(0, 2 if kind is pl.Boolean else 9, 300)).cast(pl.Int64),
            "time": pl.Series(rng.integers(0, 50, 300)).cast(pl.Datetime("us")),
            "value": rng.normal(size=300),
        }
    )
    frame = frame.with_columns(
        pl.col("entity").cast(pl.String).cast(kind)
        if kind in (pl.String, pl.Categorical)
        else pl.col("entity").cast(kind)
    )
    asked = {"f": look(Function.SUM), "g": look(Function.LAST, window=20)}
    wanted = compute(frame, asked, time="time")
    monkeypatch.setattr(past, "_UPPER", np.uint64(((1 << bits_left) - 1) << 62))
    found = compute(frame, asked, time="time")
    assert [bits(series) for series in found] == [bits(series) for series in wanted]


@pytest.mark.parametrize("function", list(Function))
def test_blocks_are_cut_between_entities_without_a_trace(function: Function, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    rows = [
        {"entity": f"u{e}", "time": int(t), "value": float(v), "flag": True, "seen": int(t)}
        for e, t, v in zip(rng.integers(0, 40, 500), rng.integers(0, 10**7, 500), rng.normal(size=500), strict=True)
    ]
    asked = {"f": look(function, window=4_000_000)}
    whole = compute(table(rows), asked, time="time")[0]
    monkeypatch.setattr(past, "_BLOCK", 7)
    assert bits(compute(table(rows).lazy(), asked, time="time")[0]) == bits(whole)


def one_entity(*rows: tuple[int, float]) -> pl.DataFrame:
    return table([{"entity": "a", "time": t, "value": v, "flag": True, "seen": t} for t, v in rows])


def test_equal_times_never_see_each_other() -> None:
    found = compute(one_entity((1, 1.0), (1, 2.0), (2, 3.0)), {"f": look(Function.SUM)}, time="time")[0]
    assert found.to_list() == [None, None, 3.0]


def test_last_of_equal_times_is_that_of_the_greatest_row() -> None:
    frame = one_entity((1, 1.0), (1, 2.0), (2, 3.0))
    assert compute(frame, {"f": look(Function.LAST)}, time="time")[0].to_list() == [None, None, 2.0]
    assert compute(frame.reverse(), {"f": look(Function.LAST)}, time="time")[0].to_list() == [2.0, None, None]


def test_window_takes_its_far_end_and_leaves_out_its_near_end() -> None:
    frame = one_entity((0, 1.0), (5, 2.0), (10, 4.0))
    assert compute(frame, {"f": look(Function.SUM, window=10)}, time="time")[0].to_list() == [None, 1.0, 3.0]
    assert compute(frame, {"f": look(Function.SUM, window=9)}, time="time")[0].to_list() == [None, 1.0, 2.0]


def test_count_of_every_row_and_of_rows_without_a_past() -> None:
    frame = one_entity((0, 1.0), (5, math.nan), (10, 4.0))
    assert compute(frame, {"f": look(Function.COUNT, star=True)}, time="time")[0].to_list() == [0.0, 1.0, 2.0]


def test_count_where_a_constant_condition_holds_never() -> None:
    asked = Look(Function.COUNT, "entity", None, pl.lit(value=False))
    assert compute(one_entity((0, 1.0), (5, 1.0)), {"f": asked}, time="time")[0].to_list() == [0.0, 0.0]


def test_ratio_is_null_over_zero() -> None:
    frame = one_entity((0, 0.0), (1, 2.0), (2, 1.0))
    ratio = Ratio(look(Function.COUNT, star=True), look(Function.SUM))
    assert compute(frame, {"f": ratio}, time="time")[0].to_list() == [None, None, 1.0]


def test_rounding_of_one_entity_never_leaks_into_another() -> None:
    vast = {"entity": "a", "time": 1, "value": 1e300, "flag": True, "seen": 1}
    small = {"entity": "b", "time": 1, "value": 0.1, "flag": True, "seen": 1}
    asker = {"entity": "b", "time": 2, "value": 0.0, "flag": True, "seen": 2}
    assert compute(table([vast, small, asker]), {"f": look(Function.SUM)}, time="time")[0].to_list()[2] == 0.1


@pytest.mark.parametrize("kind", [pl.Int64, pl.Float64, pl.String, pl.Categorical, pl.Boolean])
def test_entities_of_every_type(kind: Any) -> None:
    frame = table([{"entity": None, "time": t, "value": 1.0, "flag": True, "seen": t} for t in range(4)])
    entities = pl.Series("entity", [1, 0, 1, None])
    cast = entities.cast(pl.String).cast(kind) if kind in (pl.String, pl.Categorical) else entities.cast(kind)
    found = compute(frame.with_columns(cast), {"f": look(Function.COUNT)}, time="time")[0]
    assert found.to_list() == [0.0, 0.0, 1.0, None]


def test_no_rows_at_all() -> None:
    for function in Function:
        assert compute(table([]), {"f": look(function)}, time="time")[0].to_list() == []
