"""Exact sums and extremes over stretches, against fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.transforms.aggregates.exact import extremes, sums

DOUBLES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-1e3, 1e3),
    st.integers(-(10**6), 10**6).map(float),
    st.sampled_from([0.1, -0.1, 1e16, -1e16, 5e-324, 2.0**-1022, 1.7e308]),
)


def stretches_of(data: st.DataObject, size: int) -> tuple[np.ndarray, np.ndarray]:
    pairs = data.draw(st.lists(st.tuples(st.integers(0, size), st.integers(0, size)), min_size=1, max_size=8))
    ordered = np.sort(np.array(pairs, dtype=np.int64), axis=1)
    return ordered[:, 0], ordered[:, 1]


def true_sum(values: np.ndarray) -> float:
    try:
        return float(sum((Fraction(float(v)) for v in values), Fraction(0)))
    except OverflowError:
        return math.inf


@settings(max_examples=300, deadline=None)
@given(data=st.data(), values=st.lists(DOUBLES, max_size=25))
def test_sum_is_the_double_nearest_to_the_true_sum(data: st.DataObject, values: list[float]) -> None:
    array = np.array(values, dtype=np.float64)
    starts, ends = stretches_of(data, len(array))
    for start, end, found in zip(starts, ends, sums(array, starts, ends), strict=True):
        wanted = true_sum(array[start:end])
        assert abs(found) == wanted if math.isinf(wanted) else found == wanted


@settings(max_examples=100, deadline=None)
@given(data=st.data(), values=st.lists(DOUBLES, max_size=40), greatest=st.booleans())
def test_extremes_are_those_of_the_stretch(data: st.DataObject, values: list[float], greatest: bool) -> None:
    array = np.array(values, dtype=np.float64)
    starts, ends = stretches_of(data, len(array))
    found = extremes(array, starts, ends, greatest=greatest)
    for start, end, value in zip(starts, ends, found, strict=True):
        if start == end:
            assert math.isnan(value)
        else:
            assert value == (array[start:end].max() if greatest else array[start:end].min())


@pytest.mark.parametrize("values", [[1e16, 1.0, -1e16], [2.0**53, 1.0, 2.0**-60], [1.0, 2.0**-53, 2.0**-106]])
def test_ties_and_cancellation_round_once(values: list[float]) -> None:
    array = np.array(values)
    assert sums(array, np.array([0]), np.array([3]))[0] == math.fsum(values)
