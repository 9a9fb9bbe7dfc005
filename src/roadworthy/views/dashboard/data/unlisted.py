"""Which labels came that the reference does not list: looked up in the prediction log, since a sketch only counts them.

In: a window, a column that may be shown. Out: labels by falling count. Laws: a hidden column is never asked for; only
the window's own rows of that one column are read.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import polars as pl

from roadworthy.adapters.prediction_log import read_log
from roadworthy.adapters.prediction_log.tables import column_name
from roadworthy.measures.sketches import CategorySketch
from roadworthy.stages.watching.observed import beyond
from roadworthy.views.dashboard.data.looking import Looked
from roadworthy.views.dashboard.site import Site

__all__ = ["Label", "unlisted_labels"]

_MOST = 10


class Label(msgspec.Struct, frozen=True):
    """A label, how many rows of the window have it, and which share that is."""

    text: str
    rows: int
    share: float


def unlisted_labels(site: Site, looked: Looked, name: str, sketch: CategorySketch) -> tuple[Label, ...]:
    """The ten most frequent; none where the log no longer holds the rows, or the column is hidden."""
    if not sketch.labels or not sketch.other or looked.held is None:
        return ()
    window = looked.window
    lowest = datetime.fromtimestamp(window.after.at_us / 1e6, UTC)
    highest = datetime.fromtimestamp(window.until.at_us / 1e6 + 1e-3, UTC)
    log = read_log(site.settings.lake, since=lowest, until=highest)
    own = column_name(name)
    if log.collect_schema().get(own) != pl.String:
        return ()
    rows = log.filter(
        beyond(window.after, own=""), ~beyond(window.until, own=""), pl.col("version") == looked.judged.version
    )
    found = (
        rows.select(pl.col(own).alias("label"))
        .filter(pl.col("label").is_not_null(), ~pl.col("label").is_in(list(sketch.labels)))
        .group_by("label")
        .len("rows")
        .sort(["rows", "label"], descending=[True, False])
        .head(_MOST)
        .collect()
    )
    every = max(looked.judged.counts["rows"] - looked.judged.counts.get("other_versions", 0), 1)
    return tuple(Label(text, rows_, rows_ / every) for text, rows_ in found.iter_rows())
