"""Looks back: the blocks that end with a window are its windows' own rows, however the series goes on."""

from __future__ import annotations

from functools import reduce

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.errors import DataError
from roadworthy.measures.alarms.scales import Kept, Look, advanced, blocks_ending_at, looks_until, scales_for
from roadworthy.measures.sketches import Reference, merge, sketch, sketch_like

FRAME = sketch(pl.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "c": ["a", "b", "a", "b"]}), ["x", "c"])


def window(number: int) -> Reference:
    rows = number % 3 + 1
    return sketch_like(FRAME, pl.DataFrame({"x": [float(number % 5)] * rows, "c": ["ab"[number % 2]] * rows}))


def test_blocks_overlap_by_half_and_depend_on_the_number_alone() -> None:
    ends = [(block.first, block.last) for number in range(8) for block in blocks_ending_at(number, 4) if block.scale]
    assert ends == [(0, 1), (1, 2), (2, 3), (0, 3), (3, 4), (4, 5), (2, 5), (5, 6), (6, 7), (4, 7), (0, 7)]
    for scale in range(5):
        counted = sum(block.scale == scale for number in range(100) for block in blocks_ending_at(number, 5))
        assert counted == looks_until(100, scale)


@pytest.mark.parametrize(("windows", "scales"), [(0.2, 1), (1, 1), (2, 2), (30, 5), (720, 10), (1e6, 10)])
def test_how_far_back(windows: float, scales: int) -> None:
    assert scales_for(windows) == scales


@settings(max_examples=40, deadline=None)
@given(
    empty=st.sets(st.integers(0, 40)),
    left_out=st.sets(st.integers(1, 40)),
    scales=st.integers(1, 6),
    restart=st.integers(0, 40),
)
def test_each_look_has_its_windows_rows_over_gaps_and_restarts(
    empty: set[int], left_out: set[int], scales: int, restart: int
) -> None:
    kept, looks = Kept(), list[Look]()
    for number in range(41):
        if number in left_out:
            continue
        kept, found = advanced(kept, number, None if number in empty else window(number), scales)
        looks.extend(found)
        if number == restart:  # the state alone is enough to go on
            kept = msgspec.json.decode(msgspec.json.encode(kept), type=Kept)
    known = {look.block: look.sketch for look in looks}
    assert len(known) == len(looks)
    last = max(set(range(41)) - left_out)
    for number in range(last + 1):
        for block in blocks_ending_at(number, scales):
            inside = set(range(block.first, block.last + 1)) - empty - left_out
            expected = reduce(merge, map(window, sorted(inside))) if inside else None
            sketched = known.get(block)
            assert (sketched is None) == (expected is None)
            if sketched is not None and expected is not None:
                assert sketched.rows == expected.rows
                assert sketched.categories == expected.categories
                assert sketched.numbers["x"].counts == expected.numbers["x"].counts


def test_a_series_begins_anywhere_and_forgets_what_lies_too_far_back() -> None:
    kept, looks = advanced(Kept(), 419, window(419), 4)
    assert [look.sketch.rows if look.sketch else 0 for look in looks] == [window(419).rows] * 4
    kept, looks = advanced(kept, 10_000_000, window(1), 4)
    ended = [look for look in looks if look.block.last == 10_000_000]
    assert [look.block.scale for look in ended] == [0, 1]
    assert [look.sketch.rows if look.sketch else 0 for look in ended] == [window(1).rows] * 2
    with pytest.raises(DataError, match="rising number"):
        advanced(kept, 10_000_000, None, 4)
