"""Columns as numbers, levels and entities; a sample with other scores."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from roadworthy.measures.columns import bounded, level_codes, levels, number_table, numbers
from roadworthy.measures.samples import Sample, entity_codes
from roadworthy.measures.surrogates import encode_rows
from roadworthy.records.project import Task

NAMES = st.lists(st.none() | st.sampled_from(["a", "b", "c", ""]), max_size=20)


@given(NAMES)
def test_rows_share_a_code_when_they_share_an_entity_and_a_row_without_one_is_its_own(names: list[str | None]) -> None:
    codes = entity_codes(pl.Series(names, dtype=pl.String)).tolist()
    for left, first in enumerate(names):
        for right, second in enumerate(names):
            same = left == right or (first is not None and first == second)
            assert (codes[left] == codes[right]) == same
    assert sorted(set(codes)) == list(range(len(set(codes))))


@pytest.mark.parametrize("kind", [pl.Int64, pl.String, pl.Categorical, pl.Date])
def test_a_column_without_any_entity_has_one_for_each_row(kind: type[pl.DataType]) -> None:
    assert entity_codes(pl.Series([None, None], dtype=kind)).tolist() == [0, 1]


@given(NAMES, st.integers(1, 4))
def test_the_commonest_level_is_code_0_and_missing_is_none_of_them(names: list[str | None], most: int) -> None:
    column = pl.Series(names, dtype=pl.String)
    codes, common = level_codes(column, most), levels(column)["level"].to_list()
    expected = [-1 if name is None else min(common.index(name), most) for name in names]
    assert codes.tolist() == expected


def test_a_column_may_be_called_as_its_levels_are_counted() -> None:
    frame = pl.DataFrame({"count": ["x", "x", "y"], "level": ["b", None, "a"]})
    assert levels(frame["count"]).rows() == [("x", 2), ("y", 1)]
    assert level_codes(frame["level"], 5).tolist() == [1, -1, 0]


def test_what_is_no_finite_number_is_missing() -> None:
    assert np.isnan(numbers(pl.Series([None, float("inf"), float("nan")]))).all()
    assert numbers(pl.Series([True, False])).tolist() == [1.0, 0.0]
    assert numbers(pl.Series([datetime(1970, 1, 2, tzinfo=UTC)])).tolist() == [86_400e6]


@given(st.lists(st.none() | st.floats(), min_size=1, max_size=20))
@example([0.0, 5e-324, 1e-310, 1.1e-310])
@example([1.7e308, -1.7e308, float("inf")])
def test_whatever_a_column_holds_can_be_squared_added_and_divided_by_differences(values: list[float | None]) -> None:
    read = numbers(pl.Series(values, dtype=pl.Float64))
    known = np.unique(read[~np.isnan(read)])
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(np.square(known).sum() + known.sum())
        assert np.isfinite(1 / np.diff(known)).all()
    kept = [value is not None and np.isfinite(value) for value in values]
    assert (~np.isnan(read) == kept).all()


@given(st.lists(st.floats(-1e150, 1e150).filter(lambda value: value == 0 or abs(value) > 1e-290), max_size=9))
@example([1e-280, -1e-280, 1e149])
def test_usual_numbers_are_read_as_they_are_one_by_one_or_as_a_table(values: list[float]) -> None:
    frame = pl.DataFrame({"a": values, "^b$": values[::-1]}, schema={"a": pl.Float64, "^b$": pl.Float64})
    assert numbers(frame["a"]).tolist() == values == bounded(np.array(values, dtype=np.float64)).tolist()
    assert number_table(frame, ["^b$", "a"]).T.tolist() == [values[::-1], values]
    assert number_table(frame, []).shape == (len(values), 0)


def test_extreme_numbers_and_empty_tables_are_encoded() -> None:
    frame = pl.DataFrame({"far": [1.7e308, -1.7e308, 0.0, None], "name": ["a", None, "b", "a"], "list": [[1]] * 4})
    encoded = encode_rows(frame, frame.columns)
    assert encoded.columns == ("far", "name")
    assert np.isfinite(encoded.trees[:3, 0]).all()
    assert np.isfinite(encoded.wide).all()
    assert encode_rows(frame.select("list"), ["list"]).wide.shape == (4, 1)


def test_a_sample_with_other_scores_keeps_probabilities_within_bounds_and_its_own_rows() -> None:
    y, folds = np.array([0, 1]), np.array([0, 1])
    sample = Sample(task=Task.BINARY, y=y, score=np.array([0.5, 0.5]), threshold=0.3, folds=folds, seed=3)
    other = sample.scored(np.array([-1e-9, 1.5]))
    assert other.score.tolist() == [0.0, 1.0]
    assert (other.threshold, other.seed, other.folds) == (0.3, 3, None)
    far = Sample(task=Task.REGRESSION, y=np.array([1.0]), score=np.array([1.0])).scored(np.array([7.0]))
    assert far.score.tolist() == [7.0]
