"""Live traffic as it is judged: rows of a log in order, with what is known of them by some instant.

In: the lake of a server, or the log of a model that others serve. Out: frames in the form of
``stages.watching.observed``. Law: the same bounds and the same instant give the same rows, whenever they
are asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from roadworthy.adapters.prediction_log import FeedbackRead, read_feedback, read_log, with_labels
from roadworthy.adapters.prediction_log.tables import column_name
from roadworthy.records.window import Place
from roadworthy.stages.watching.observed import beyond

__all__ = ["LakeTraffic", "Traffic", "by_hour", "counts_between", "moment", "observed", "place_of"]

_OWN = ("id", "row", "at", "version", "score", "decision", "referred")
_KNOWN = ("label", "value", "comment", "labelled_at")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INPUT = "input."
_EARLIER_US = 86_400_000_000
"""A label may be there before its prediction by the clocks of two machines, or where a row is asked for afterwards."""

_FURTHER = 8
_HOUR_US = 3_600_000_000
_FIRST = Place(0)
_JOINED = ("id", "row", "at", "decision")
_NO_LABELS = pl.DataFrame(
    schema={
        "_id": pl.String(),
        "_row": pl.Int64(),
        "_at": pl.Datetime("us"),
        "_decision": pl.String(),
        "_label": pl.String(),
        "_value": pl.Float64(),
        "_comment": pl.String(),
        "_labelled_at": pl.Datetime("us"),
    }
)


class Traffic(Protocol):
    """Predictions and their labels, wherever they are kept."""

    def places(self, after: Place, until_us: int, most: int) -> Sequence[Place]:
        """The places of the rows after a place and before an instant, in order, at most so many."""
        ...

    def rows(self, after: Place, until: Place, known_by_us: int) -> pl.DataFrame:
        """The rows after one place and not after another, with the labels that had come by an instant, in order."""
        ...

    def labelled_since(self, since_us: int, until_us: int) -> pl.DataFrame:
        """The rows whose labels came in a span, with those labels, in the order in which they came.

        At least ``_at``, ``_id``, ``_row``, ``_decision``, ``_label`` and ``_labelled_at``.
        """
        ...

    def hours(self, after_us: int, until_us: int) -> pl.DataFrame:
        """By hour since 1970: ``hour``, ``rows`` and ``decided`` rows from one instant on and before another.

        Hours without rows may be left out.
        """
        ...

    def counts(self, after: Sequence[Place], until: Sequence[Place]) -> Sequence[int]:
        """How many rows there are now after each of some places and not after another; the spans follow each other."""
        ...

    def told_until(self, now_us: int) -> int:
        """Up to when it is known what came: now, or where a log of others ends."""
        ...


class LakeTraffic:
    """Traffic of our own server: the prediction log and the feedback in a lake.

    ``entity`` and ``time`` are the contract's columns of those roles, by which labels may name predictions.
    """

    def __init__(self, lake: Path, *, entity: str = "", time: str = "") -> None:
        self._lake, self._entity, self._time = lake, entity, time

    def places(self, after: Place, until_us: int, most: int) -> Sequence[Place]:
        """See Traffic."""
        rows = read_log(self._lake, since=moment(after.at_us), until=moment(until_us)).select("at", "id", "row")
        found = rows.filter(beyond(after, own="")).head(most).collect()
        return [place_of(key) for key in found.with_columns(pl.col("at").dt.epoch("us")).iter_rows()]

    def rows(self, after: Place, until: Place, known_by_us: int) -> pl.DataFrame:
        """See Traffic."""
        span = read_log(self._lake, since=moment(after.at_us), until=moment(until.at_us + 1))
        rows = span.filter(beyond(after, own=""), ~beyond(until, own="")).collect()
        labels = self._labels(after.at_us - _EARLIER_US, known_by_us)
        return observed(self._with(rows, labels))

    def labelled_since(self, since_us: int, until_us: int) -> pl.DataFrame:
        """See Traffic."""
        fresh = self._labels(since_us, until_us)
        if not fresh.received:
            return _NO_LABELS
        rows = self._about(fresh, until_us)
        found = self._with(rows, fresh).filter(pl.col("labelled_at").is_not_null())
        return observed(found).sort("_labelled_at", "_at", "_id", "_row", maintain_order=True)

    def hours(self, after_us: int, until_us: int) -> pl.DataFrame:
        """See Traffic."""
        rows = read_log(self._lake, since=moment(after_us), until=moment(until_us)).select("at", "decision")
        return by_hour(rows, "at", "decision").collect()

    def counts(self, after: Sequence[Place], until: Sequence[Place]) -> Sequence[int]:
        """See Traffic."""
        rows = read_log(
            self._lake,
            since=moment(min(after, default=_FIRST).at_us),
            until=moment(max(until, default=_FIRST).at_us + 1),
        )
        return counts_between(rows.select("at", "id", "row").collect(), after, until, own="")

    def told_until(self, now_us: int) -> int:
        """See Traffic."""
        return now_us

    def _about(self, labels: FeedbackRead, until_us: int) -> pl.DataFrame:
        """The rows that labels speak of, looked for in the newest days first; all of them for labels by entity."""
        named = labels.latest.filter(pl.col("id") != "").select("id", "row").unique()
        if named.height < labels.latest.height:
            log = read_log(self._lake)
            columns = dict.fromkeys([*_JOINED, *self._keys(log.collect_schema().names())])
            return log.select(list(columns)).collect()
        ids = named.get_column("id").unique().implode()
        found: list[pl.DataFrame] = []
        until, back_us = None, _EARLIER_US
        while True:
            since = moment(until_us - back_us) if back_us < until_us else None
            log = read_log(self._lake, since=since, until=until).select(_JOINED).filter(pl.col("id").is_in(ids))
            found.append(log.collect().join(named, on=["id", "row"], how="semi"))
            if since is None or sum(part.height for part in found) >= named.height:
                return pl.concat(found)
            until, back_us = since, back_us * _FURTHER

    def _with(self, rows: pl.DataFrame, labels: FeedbackRead) -> pl.DataFrame:
        """Rows with their labels; by entity where the rows have one (those of an empty log have no columns)."""
        entity, time = (self._entity, self._time) if self._keys(rows.columns) else ("", "")
        return with_labels(rows, labels, entity=entity, time=time)

    def _keys(self, columns: Collection[str]) -> list[str]:
        """What the columns of entity and time are called in the log; empty where it has not both."""
        keys = [column_name(one) for one in (self._entity, self._time) if one]
        return keys if len(keys) == 2 and set(keys) <= set(columns) else []

    def _labels(self, since_us: int, until_us: int) -> FeedbackRead:
        return read_feedback(self._lake, since=moment(max(since_us, 0)), until=moment(until_us))


def moment(us: int) -> datetime:
    """An instant, from microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=us)


def place_of(key: tuple[int, str, int]) -> Place:
    """A place from microseconds, id and row."""
    return Place(*key)


def by_hour(rows: pl.LazyFrame, at: str, decision: str) -> pl.LazyFrame:
    """Rows by the hour, as ``Traffic.hours`` gives them."""
    hour = (pl.col(at).dt.epoch("us") // _HOUR_US).alias("hour")
    decided = pl.col(decision).is_not_null().sum().alias("decided")
    return rows.group_by(hour).agg(pl.len().alias("rows"), decided).select("hour", "rows", "decided")


def counts_between(rows: pl.DataFrame, after: Sequence[Place], until: Sequence[Place], *, own: str) -> list[int]:
    """How many of these rows, which are in order, lie in each of some spans."""
    at_us = rows.get_column(f"{own}at").dt.epoch("us").to_numpy()
    keys = rows.select(f"{own}id", f"{own}row")

    def up_to(place: Place) -> int:
        """How many rows do not come after a place."""
        first, last = (int(np.searchsorted(at_us, place.at_us, side)) for side in ("left", "right"))
        return first + sum((id_, row) <= (place.id, place.row) for id_, row in keys[first:last].iter_rows())

    return [up_to(last) - up_to(first) for first, last in zip(after, until, strict=True)]


def observed(rows: pl.DataFrame) -> pl.DataFrame:
    """The log's columns under names of their own, the contract's under theirs."""
    own = {name: f"_{name}" for name in (*_OWN, *_KNOWN) if name in rows.columns}
    inputs = {name: name.removeprefix(_INPUT) for name in rows.columns if name.startswith(_INPUT)}
    return rows.rename({**own, **inputs})
