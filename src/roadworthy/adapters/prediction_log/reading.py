"""What the streams hold, for those who come later: Parquet segments and what is still in spools, each row once.

In: a lake. Out: typed tables in time order. Laws: a row is there once at any moment, also while writers write; what
cannot be joined is counted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from roadworthy.adapters.prediction_log.journal import Codec
from roadworthy.adapters.prediction_log.labels import FEEDBACK, SCHEMA, FeedbackCodec
from roadworthy.adapters.prediction_log.log import PREDICTIONS
from roadworthy.adapters.prediction_log.predictions import PredictionCodec
from roadworthy.adapters.prediction_log.segments import owner, segments_in
from roadworthy.adapters.prediction_log.spool import read_spool, spools_in
from roadworthy.adapters.prediction_log.tables import OWN, column_name
from roadworthy.errors import DataError, nearest
from roadworthy.transforms.kept import key_text

__all__ = ["FeedbackRead", "Joined", "joined", "read_feedback", "read_log", "stream", "with_labels"]

_KEYS_LAST = timedelta(days=2)
"""For how long before a span a key may have come: a server knows it for a day, and clocks differ."""

_TYPES: Mapping[str, pl.DataType] = dict(
    zip(
        OWN,
        (pl.String(), pl.Int64(), pl.Datetime("us"), pl.String(), pl.Float64(), pl.String(), pl.String()),
        strict=True,
    )
)


def read_log(lake: Path, *, since: datetime | None = None, until: datetime | None = None) -> pl.LazyFrame:
    """Predictions from ``since`` on and before ``until`` (without a zone: UTC), in time order.

    Columns: ``id``, ``row``, ``at``, ``version``, ``score`` (a list for several classes), ``decision``, ``referred``
    (why a person was to decide), then the contract's columns (``column_name``); null where a version did not have one.
    """
    rows = stream(lake / PREDICTIONS, PredictionCodec(), _TYPES, since, until)
    return rows.sort("at", "id", "row", maintain_order=True)


@dataclass(frozen=True, slots=True)
class FeedbackRead:
    """Labels as they stand.

    ``latest`` holds the last label for each prediction (``id``, ``row``) and for each ``entity`` and ``time``, with the
    columns of the stream. ``received`` is how many came, ``repeated`` how many of them were sent again under one
    idempotency key, ``changed`` how many said otherwise than the label before.
    """

    latest: pl.DataFrame
    received: int
    repeated: int
    changed: int


def read_feedback(
    lake: Path, *, since: datetime | None = None, until: datetime | None = None, ids: Collection[str] = ()
) -> FeedbackRead:
    """The latest label of each prediction, and how many minds were changed.

    Of what came from ``since`` on and before ``until``; with ``ids`` of these predictions only (empty id: of all labels
    that name entity and time).
    """
    told = stream(lake / FEEDBACK, FeedbackCodec(), SCHEMA, since, until)
    own = pl.col("id").is_in(list(ids)) if ids else pl.lit(value=True)
    rows = told.filter(own).collect()
    keys = rows.get_column("key").unique()
    if (ids or since is not None) and (keys != "").any():
        # which came first under a key is seen among all of it: of whatever prediction, and before the span
        if since is not None:
            told = stream(lake / FEEDBACK, FeedbackCodec(), SCHEMA, since - _KEYS_LAST, until)
            own = own & (pl.col("at") >= _utc(since))
        rows = told.filter(own | ((pl.col("key") != "") & pl.col("key").is_in(keys.implode()))).collect()
    rows = rows.sort("at", "place", maintain_order=True)
    repeated = (pl.col("key") != "") & ~pl.struct("key", "place").is_first_distinct()
    once = rows.filter(~repeated).filter(own)
    rows = rows.filter(own)
    about = ["id", "row", "entity", "time"]
    label = pl.struct("label", "value")
    changed = once.select((label != label.shift(1).over(about)).sum()).item()
    latest = once.unique(about, keep="last", maintain_order=True).drop("key", "place")
    return FeedbackRead(latest, rows.height, rows.height - once.height, int(changed or 0))


@dataclass(frozen=True, slots=True)
class Joined:
    """Predictions with what was later known of them.

    ``rows``: all predictions, with ``label``, ``value`` (regression), ``comment`` and ``labelled_at``, null where
    nothing is known yet. ``unlabelled`` counts those; ``unknown`` counts labels whose prediction is not in the log (not
    written yet, lost, or never made), ``unknown_entities`` those for an entity and time that no prediction has.
    """

    rows: pl.DataFrame
    labelled: int
    unlabelled: int
    unknown: int
    unknown_entities: int
    changed: int
    repeated: int


def joined(
    lake: Path,
    *,
    entity: str = "",
    time: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> Joined:
    """Predictions of a span with their labels, whenever these came.

    By ``id`` and ``row``, or by ``entity`` and ``time`` (the contract's columns of those roles) where labels name
    these; of several the latest counts. Raises DataError where the log has no such columns.
    """
    read = read_feedback(lake)
    everything = read_log(lake)
    by_id = read.latest.filter(pl.col("id") != "")
    by_entity = read.latest.filter(pl.col("id") == "")
    known = everything.select("id", "row").unique().collect()
    unknown = by_id.join(known, on=["id", "row"], how="anti").height
    unknown_entities = by_entity.height
    if entity and time and by_entity.height:
        keys = _keyed(everything, column_name(entity), column_name(time))
        unknown_entities = by_entity.join(keys.collect(), on=["entity", "time"], how="anti").height
    rows = with_labels(read_log(lake, since=since, until=until).collect(), read, entity=entity, time=time)
    labelled = rows.get_column("labelled_at").count()
    return Joined(rows, labelled, rows.height - labelled, unknown, unknown_entities, read.changed, read.repeated)


def with_labels(rows: pl.DataFrame, read: FeedbackRead, *, entity: str = "", time: str = "") -> pl.DataFrame:
    """Predictions with ``label``, ``value``, ``comment`` and ``labelled_at``, null where nothing is known.

    Joined as ``joined`` does. Raises DataError where the rows have no such columns.
    """
    by_id = read.latest.filter(pl.col("id") != "")
    by_entity = read.latest.filter(pl.col("id") == "")
    found = [_labels(rows.select("id", "row"), by_id, ["id", "row"])]
    if entity and time and by_entity.height:
        own = _keyed(rows.lazy(), column_name(entity), column_name(time)).collect()
        found.append(_labels(own, by_entity, ["entity", "time"]))
    labels = pl.concat(found).sort("labelled_at", maintain_order=True).unique(["id", "row"], keep="last")
    return rows.join(labels, on=["id", "row"], how="left", maintain_order="left")


def _labels(predictions: pl.DataFrame, labels: pl.DataFrame, on: Sequence[str]) -> pl.DataFrame:
    """What the labels say of predictions, by id and row."""
    named = labels.select(*on, "label", "value", "comment", pl.col("at").alias("labelled_at"))
    return predictions.join(named, on=on, how="inner").select("id", "row", "label", "value", "comment", "labelled_at")


def _keyed(rows: pl.LazyFrame, entity: str, time: str) -> pl.LazyFrame:
    schema = rows.collect_schema()
    for name in (entity, time):
        if name not in schema:
            close = nearest(name, schema.names())
            hint = f"; did you mean {close!r}?" if close else ""
            raise DataError(f"the prediction log has no column {name!r}{hint}", next_step="name entity and time")
    return rows.select(
        "id",
        "row",
        key_text(entity, schema[entity]).alias("entity"),
        pl.col(time).cast(pl.Datetime("us")).alias("time"),
    )


def stream(
    root: Path,
    codec: Codec[Any],
    types: Mapping[str, pl.DataType],
    since: datetime | None,
    until: datetime | None,
) -> pl.LazyFrame:
    """All rows of a stream: spools first, because a segment is there before its spool goes."""
    parts: list[pl.LazyFrame] = []
    spooled: set[str] = set()
    for path in spools_in(root / "spool"):
        try:
            content = read_spool(path)
        except FileNotFoundError:
            continue  # it has just become Parquet, which is read below
        spooled.add(path.stem)
        parts += [table.rows.lazy() for table in codec.tables(content.payloads)] if content.payloads else []
    by_schema: dict[tuple[tuple[str, pl.DataType], ...], list[Path]] = {}
    for path in segments_in(root):
        if owner(path) not in spooled and _may_hold(path.parent.name, since, until):
            by_schema.setdefault(tuple(pl.read_parquet_schema(path).items()), []).append(path)
    parts += [pl.scan_parquet(paths) for paths in by_schema.values()]
    rows = pl.concat(_aligned(parts), how="diagonal_relaxed") if parts else pl.LazyFrame(schema=types)
    at = pl.col("at")
    if since is not None:
        rows = rows.filter(at >= _utc(since))
    return rows if until is None else rows.filter(at < _utc(until))


def _aligned(parts: Sequence[pl.LazyFrame]) -> list[pl.LazyFrame]:
    """The parts with one kind of value in each column.

    A version may have read a column otherwise than the one before: numbers become doubles, a single score beside lists
    a list of one, and whatever else does not fit becomes text.
    """
    kinds: dict[str, set[pl.DataType]] = {}
    schemas = [part.collect_schema() for part in parts]
    for schema in schemas:
        for name, kind in schema.items():
            kinds.setdefault(name, set()).add(kind)
    mixed = {name: found for name, found in kinds.items() if not _one_kind(found)}
    if not mixed:
        return list(parts)
    made = []
    for part, schema in zip(parts, schemas, strict=True):
        changes = []
        for name in mixed.keys() & set(schema):
            column, is_list = pl.col(name), isinstance(schema[name], pl.List)
            if any(isinstance(kind, pl.List) for kind in mixed[name]):
                changes.append(column if is_list else pl.concat_list(column.cast(pl.Float64)).alias(name))
            else:
                changes.append(column.cast(pl.String))
        made.append(part.with_columns(changes))
    return made


def _one_kind(kinds: Collection[pl.DataType]) -> bool:
    """Whether columns of these types can stand below each other as they are."""
    return len(kinds) == 1 or all(kind.is_numeric() for kind in kinds)


def _may_hold(day: str, since: datetime | None, until: datetime | None) -> bool:
    """Whether a day may hold rows of a span."""
    return (since is None or day >= _utc(since).date().isoformat()) and (
        until is None or day <= _utc(until).date().isoformat()
    )


def _utc(moment: datetime) -> datetime:
    """The moment in UTC, without its zone, as columns have it."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
