"""Labels that come late: which windows they are news of, and when a window is worth another look.

In: rows whose labels came, summaries of windows. Out: how many labels are news of which window. Pure. Law: a window is
looked at again only when much is new, since each look has a part of the alarm budget.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Sequence

import polars as pl

from roadworthy.api.watching.traffic import place_of
from roadworthy.measures.alarms.adwin import Adwin
from roadworthy.measures.alarms.budget import Family
from roadworthy.measures.alarms.scales import MOST_SCALES, blocks_ending_at
from roadworthy.records.window import WindowSummary
from roadworthy.stages.watching.quality import FEWEST
from roadworthy.stages.watching.watched import Watched
from roadworthy.stages.watching.whole import allotment_for

__all__ = ["block_ends", "by_window", "oldest", "stream", "worth_a_look"]

_US = 1_000_000
_DAY_US = 86_400 * _US
_MOST_PER_ROW = 0.01


def by_window(rows: pl.DataFrame, windows: Sequence[WindowSummary]) -> Counter[int]:
    """How many of these rows are in each window that was judged."""
    ends = [summary.until for summary in windows]
    places = [place_of(key) for key in rows.select(pl.col("_at").dt.epoch("us"), "_id", "_row").iter_rows()]
    found = [(place, bisect_left(ends, place)) for place in places]
    return Counter(
        windows[at].number
        for place, at in found
        if at < len(windows) and windows[at].start_us <= place.at_us  # older rows were never in this series
    )


def stream(watched: Watched, told: pl.DataFrame) -> Adwin:
    """A stream that has seen nothing yet; its rate of false alarms by the time that rows with labels take."""
    at = told.get_column("_at").dt.epoch("us").to_numpy()
    row_s = max(int(at.max() - at.min()), _US) / _US / told.height
    return Adwin(per_row=min(allotment_for(watched, 3_600.0).rate(Family.ERRORS) * row_s, _MOST_PER_ROW))


def worth_a_look(summary: WindowSummary, news: int, now_us: int) -> bool:
    """Whether enough is new: twice the labels, all of them, or a day since the last look.

    Each look is a chance to be wrong and has its part of the budget; so there are few. Too few labels for the window
    itself wait for the day: they count in the looks back.
    """
    if now_us - summary.judged_at_us >= _DAY_US:
        return True
    known = summary.labelled + news
    return known >= FEWEST and (known >= 2 * summary.labelled or known >= summary.rows)


def oldest(rows: pl.DataFrame) -> int | None:
    """Right before the oldest of these rows; None where there is none."""
    return int(rows.get_column("_at").dt.epoch("us").min()) - 1 if rows.height else None  # type: ignore[arg-type]  # of an integer column


def block_ends(numbers: Collection[int], newest: int) -> set[int]:
    """The windows up to ``newest`` with which blocks end that hold some of these, without these themselves.

    >>> sorted(block_ends({4}, 20))
    [5, 7, 11, 15]
    """
    ends: set[int] = set()
    for number in numbers:
        for scale in range(1, MOST_SCALES):
            stride, size = 1 << (scale - 1), 1 << scale
            first = (number // stride + 1) * stride - 1
            ends |= {end for end in (first, first + stride) if end - size < number <= end <= newest}
    return {end for end in ends - set(numbers) if len(blocks_ending_at(end, MOST_SCALES)) > 1}
