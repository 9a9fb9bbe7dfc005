"""How labels come: how many, how late, and what users report wrong.

In: summaries of windows, labelled rows of a span. Out: ``Labels``. Law: what was left out of very many is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from roadworthy.measures.charts.label_counts import LabelCount, label_bars
from roadworthy.measures.charts.series import NARROW, WIDE, Point
from roadworthy.records.window import WindowSummary
from roadworthy.views.dashboard.pictures import Picture, draw
from roadworthy.views.dashboard.quality.drawing import half_series, once
from roadworthy.views.dashboard.quality.labelled import MOST_LABELS, MOST_REPORTED, Known

__all__ = ["Labels", "label_picture", "labels_of"]


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """How labels come: rows of the span and how many have one by now, seconds from prediction to label.

    ``note`` says what was left out; ``picture`` is the count window by window, ``reported`` the share of decisions that
    labels contradict.
    """

    rows: int
    labelled: int
    delay_half_s: float | None
    delay_most_s: float | None
    picture: Picture | None
    reported: Picture | None
    reported_words: str
    note: str = ""


def labels_of(mine: Sequence[WindowSummary], known: Known) -> Labels:
    """How labels of a span come."""
    reported, words = _reported(known)
    notes = []
    if known.labels > MOST_LABELS:
        notes.append(f"Of {known.labels:,} labels that came, the newest {known.read:,} are looked at.")
    if known.strange:
        notes.append(f"{known.strange:,} labels name a class that this version does not know; they are left out.")
    delay = known.delay_s
    return Labels(
        rows=sum(one.rows for one in mine),
        labelled=sum(one.labelled for one in mine),
        delay_half_s=_seconds(delay.median()),
        delay_most_s=_seconds(delay.quantile(0.95, interpolation="higher")),
        picture=label_picture(mine, half=True),
        reported=reported,
        reported_words=words,
        note=" ".join(notes),
    )


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _reported(known: Known) -> tuple[Picture | None, str]:
    """The share of predictions that users report wrong, over time and in words."""
    if known.reported is None:
        return None, "No prediction of this stretch of time is in the log."
    columns = known.reported.columns
    starts = [int(datetime.fromisoformat(text).timestamp() * 1e6) for text in columns["from"]]
    ends = [*starts[1:], starts[-1]]
    points = [
        Point(start_us=start, end_us=max(start, end), value=share, lower=low, upper=high)
        for start, end, share, low, high in zip(
            starts, ends, columns["share"], columns["lower"], columns["upper"], strict=True
        )
    ]
    wrong, decided, remarks = (sum(columns[name]) for name in ("wrong", "predictions", "remarks"))
    if not decided:
        return None, "Nothing is decided here, so that no decision can be reported wrong."
    words = f"{wrong:,} of {decided:,} decisions were reported wrong"
    words += f", {remarks:,} with a remark." if remarks else "."
    if known.predictions >= MOST_REPORTED:
        words += f" Counted over the newest {known.predictions:,} predictions."
    return half_series(points, "share reported wrong", percent=True), words


def label_picture(summaries: Sequence[WindowSummary], *, half: bool) -> Picture | None:
    """Rows and labels window by window."""
    counts = [
        LabelCount(start_us=one.start_us, end_us=one.end_us, rows=one.rows, labelled=one.labelled) for one in summaries
    ]
    return once(("labels", half, counts), lambda: _label_picture(counts, half=half))


def _label_picture(counts: Sequence[LabelCount], *, half: bool) -> Picture | None:
    wide = label_bars(counts, width=NARROW if half else WIDE)
    if wide is None:
        return None
    rows, known = sum(one.rows for one in counts), sum(one.labelled for one in counts)
    return draw(
        wide,
        alt_text=f"rows and labels of {len(counts):,} windows: {known:,} of {rows:,} rows have a label",
        title="Labels so far",
        narrow=None if half else label_bars(counts, width=NARROW),
    )
