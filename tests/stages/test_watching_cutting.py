"""Where windows end: no row is left out, none is in two, and when one looks changes nothing."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.records.window import Cut, Place, Window
from roadworthy.stages.watching.cutting import next_windows

HOUR_US = 3_600_000_000


@pytest.mark.parametrize("text", ["", "h", "0 h", "1 parsec", "-1 h", "400 days", "1.5 h", "0 rows"])
def test_a_text_that_cuts_nothing_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected a length of time"):
        Cut.parse(text)


def cut_up(cut: Cut, places: list[Place], watermarks: list[int]) -> list[Window]:
    """The windows of a log, looked at whenever a watermark says."""
    found: list[Window] = []
    for watermark in sorted(watermarks):
        while True:
            last = found[-1] if found else None
            rest = [place for place in places if last is None or place > last.until]
            more = next_windows("clicks", cut, last, rest, watermark_us=watermark, most=2)
            found += more
            if not more:
                break
    return found


places_of_a_log = st.lists(
    st.builds(Place, st.integers(0, 20 * HOUR_US), st.text("ab", max_size=2), st.integers(0, 2)),
    min_size=1,
    max_size=60,
    unique=True,
).map(sorted)
looks = st.lists(st.integers(0, 22 * HOUR_US), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None)
@given(places=places_of_a_log, at=looks, size=st.sampled_from(["1 h", "15 min", "1 row", "7 rows"]))
def test_rows_are_in_one_window_each_and_looking_changes_nothing(places: list[Place], at: list[int], size: str) -> None:
    cut = Cut.parse(size)
    found = cut_up(cut, places, at)
    assert found == cut_up(cut, places, [max(at)])
    for before, after in itertools.pairwise(found):
        assert after.after == before.until
        assert after.number == before.number + 1
    within = [[place for place in places if one.after < place <= one.until] for one in found]
    assert [place for rows in within for place in rows] == places[: sum(map(len, within))]
    if size.endswith(("row", "rows")):
        assert all(len(rows) == cut.size for rows in within)
    else:
        left = [place for place in places if not found or place > found[-1].until]
        assert all(place.at_us >= max(at) // (cut.size * 10**6) * cut.size * 10**6 for place in left)


def test_a_window_is_not_cut_before_everything_has_had_time_to_reach_the_log() -> None:
    cut, place = Cut.parse("1 h"), Place(10 * HOUR_US + 5)
    assert next_windows("clicks", cut, None, [place], watermark_us=11 * HOUR_US - 1) == ()
    (window,) = next_windows("clicks", cut, None, [place], watermark_us=11 * HOUR_US)
    assert (window.number, window.title) == (10, "1 h/10")
