"""What stands on both sides of the split, and what is dated after the prediction.

In: entities and times of training rows and holdout rows; dated columns. Out: ``Finding``s.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.records.evidence import Finding

__all__ = ["dated_after", "entity_overlap", "time_order", "time_overlap"]

_MIXED = 0.02
_LATER = 0.5
_LEAST_DATED = 20


def entity_overlap(train: pl.Series, holdout: pl.Series, *, allowed: bool) -> tuple[Finding, ...]:
    """Share of holdout rows whose entity is also in training: a note where the split allows it, else it fails."""
    known = holdout.drop_nulls()
    if known.len() == 0:
        return ()
    shared = int(known.is_in(train.drop_nulls().unique().implode()).sum())
    share = shared / known.len()
    details = {"rows": shared, "share": share}
    if shared and not allowed:
        sentence = (
            f"{shared:,} of {known.len():,} holdout rows ({share:.1%}) belong to an entity that is also in training, "
            "though the split was to keep entities apart."
        )
        return (Finding(kind="entity_overlap", subject=train.name, grade="fails", sentence=sentence, details=details),)
    sentence = (
        f"{share:.1%} of the holdout rows belong to an entity that was seen in training; the others show how the model "
        "does on new ones."
    )
    return (Finding(kind="entity_overlap", subject=train.name, grade="notes", sentence=sentence, details=details),)


def time_order(train: pl.Series, holdout: pl.Series) -> float | None:
    """Share of pairs of a training row and a holdout row in which the training row is the later one.

    0 for a split by time, about a half for a random one; None where a side has no time.
    """
    early, late = _physical(train), _physical(holdout)
    if not len(early) or not len(late):
        return None
    early = np.sort(early)
    return float(np.mean(len(early) - np.searchsorted(early, late, side="right")) / len(early))


def time_overlap(train: pl.Series, holdout: pl.Series) -> tuple[Finding, ...]:
    """Training rows that are later than holdout rows: fails where that is so in 2 % of pairs, else a note."""
    order = time_order(train, holdout)
    if order is None or order == 0.0:
        return ()
    first = _physical(holdout).min()
    rows = int((_physical(train) > first).sum())
    after = (
        "The model learned from the future of what it is judged on; split by time, or declare no time column."
        if order >= _MIXED
        else "That is so little that it hardly matters."
    )
    sentence = (
        f"{rows:,} of {len(train):,} training rows are later than the first holdout row by {train.name}, and in "
        f"{order:.1%} of all pairs the training row is the later one. {after}"
    )
    return (
        Finding(
            kind="time_overlap",
            subject=train.name,
            grade="fails" if order >= _MIXED else "notes",
            sentence=sentence,
            details={"rows": rows, "pairs": order},
        ),
    )


def dated_after(frame: pl.DataFrame, columns: Sequence[str], time: str) -> tuple[Finding, ...]:
    """Dated columns (dates, timestamps, ISO 8601 text) that lie after the column ``time`` in most rows.

    Suspects, with the question: a due date lies in the future and is known all the same.
    """
    moment = _moments(frame[time])
    if moment is None:
        return ()
    found = (_after(frame[name], moment, time) for name in columns if name != time)
    return tuple(finding for finding in found if finding is not None)


def _after(column: pl.Series, moment: pl.Series, time: str) -> Finding | None:
    dates = _moments(column)
    if dates is None:
        return None
    later = (dates > moment).drop_nulls()
    if later.len() < _LEAST_DATED or later.mean() is None:
        return None
    share = float(later.sum()) / later.len()
    if share <= _LATER:
        return None
    sentence = (
        f"Column {column.name} lies after {time} in {share:.1%} of the rows that have both, so it may be written only "
        "after the prediction."
    )
    return Finding(
        kind="target_leak",
        subject=column.name,
        grade="suspects",
        sentence=sentence,
        question=f"Is `{column.name}` known when the prediction is made?",
        details={"found_by": "time", "later": share, "rows": later.len()},
    )


def _moments(column: pl.Series) -> pl.Series | None:
    """A dated column as UTC microseconds, None for one that has no dates."""
    if column.dtype == pl.String:
        known = column.drop_nulls().head(1_000)
        if known.len() == 0 or not known.str.contains(r"^\d{4}-\d{2}-\d{2}").all():
            return None
        column = column.str.slice(0, 19).str.replace("T", " ").str.to_datetime(strict=False)
        if column.null_count() == column.len():
            return None
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("us"))
    if not isinstance(column.dtype, pl.Datetime):
        return None
    return column.dt.cast_time_unit("us").to_physical()


def _physical(column: pl.Series) -> NDArray[np.float64]:
    """A time column as numbers, without what is missing; text counts where it is ISO 8601."""
    if column.dtype == pl.String:
        moments = _moments(column)
        return np.empty(0) if moments is None else moments.drop_nulls().cast(pl.Float64).to_numpy()
    return column.drop_nulls().to_physical().cast(pl.Float64, strict=False).drop_nulls().to_numpy()
