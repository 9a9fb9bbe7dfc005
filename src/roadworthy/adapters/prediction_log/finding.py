"""Predictions found among millions: a page of them, newest first, or one with everything that is known of it.

In: a lake and what is looked for. Out: ``Found`` pages, one row, the labels that were ever told of it. Laws: a page is
what sorting the whole log would give, whatever segments and spools hold it; a page begins at a row's place in the log,
so that links stay true while rows are added; days are read from the near end on, and only the columns that are asked
for; a search ends at its time budget, and says how far it looked.
"""

from __future__ import annotations

import time as clock
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import polars as pl

from roadworthy.adapters.prediction_log.labels import FEEDBACK, SCHEMA, FeedbackCodec
from roadworthy.adapters.prediction_log.log import PREDICTIONS
from roadworthy.adapters.prediction_log.predictions import PredictionCodec
from roadworthy.adapters.prediction_log.reading import FeedbackRead, stream, with_labels
from roadworthy.adapters.prediction_log.segments import owner
from roadworthy.adapters.prediction_log.spool import read_spool, spools_in
from roadworthy.adapters.prediction_log.tables import column_name
from roadworthy.records.window import Place
from roadworthy.transforms.kept import key_text

__all__ = ["Found", "Wanted", "find", "find_one", "labels_of"]

_DAY = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_EARLIER = timedelta(days=1)
"""A label may be there before its prediction by the clocks of two machines."""
_MOST_DAYS = 32
_MOST_COLUMNS = 64
_CANDIDATES = 10_000
_MOST_CANDIDATES = 40_000
_END = "\U0010ffff"
_COLUMNS = ("id", "row", "at", "version", "score", "decision", "referred", "entity", "time")
_MICROS = pl.Datetime("us")
_SHAPE = {
    "id": pl.String(),
    "row": pl.Int64(),
    "at": _MICROS,
    "version": pl.String(),
    "score": pl.Float64(),
    "decision": pl.String(),
    "referred": pl.String(),
    "entity": pl.String(),
    "time": _MICROS,
}
_KNOWN = {"label": pl.String(), "value": pl.Float64(), "comment": pl.String(), "labelled_at": _MICROS}


class Wanted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is looked for; whatever is empty or None does not count.

    ``id`` is an id or its beginning; ``entities`` are text forms of one entity (``transforms.kept.key_text``, or the
    keyed hash), any of which may stand in the log. ``since_us`` and before ``until_us`` are microseconds since 1970,
    UTC. ``least`` and ``most`` bound the score, of several scores the highest. ``labelled`` asks for rows with, or
    without, a label; ``wrong`` for those whose label is another than the decision; ``referred`` for those left to
    a person.
    """

    id: str = ""
    entities: tuple[str, ...] = ()
    since_us: int | None = None
    until_us: int | None = None
    decision: str = ""
    version: str = ""
    least: float | None = None
    most: float | None = None
    labelled: bool | None = None
    wrong: bool = False
    referred: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A page of predictions, newest first.

    ``rows`` has id, row, at, version, score (of several the highest), decision, referred, entity (its text form), time
    and label, value, comment, labelled_at (null where nothing is known). ``more``: there are others further on.
    ``reached`` is how far the search came where it ended before the log did; None where it saw all it had to.
    """

    rows: pl.DataFrame
    more: bool
    reached: Place | None = None


@dataclass(frozen=True, slots=True)
class _Search:
    """One search: where it reads and what it keeps. ``newest``: towards older rows; else towards newer ones."""

    lake: Path
    wanted: Wanted
    entity: str
    time: str
    newest: bool
    until: float
    spooled: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)


def find(
    lake: Path,
    wanted: Wanted,
    *,
    before: Place | None = None,
    after: Place | None = None,
    count: int = 50,
    entity: str = "",
    time: str = "",
    budget_s: float = 0.7,
) -> Found:
    """The predictions before a place in the log (by default the newest), or the nearest ones after another.

    ``entity`` and ``time`` are the contract's columns of those roles. After ``budget_s`` no further days are read.
    """
    search = _Search(lake, wanted, entity, time, after is None, clock.monotonic() + budget_s)
    _read_spools(search)
    place = before if after is None else after
    if wanted.labelled is None and not wanted.wrong:
        rows, reached = _take(search, place, count + 1)
        rows = _labelled(search, rows.head(count + 1))
    else:
        rows, reached = _judged(search, place, count + 1)
    shown = rows.head(count)
    return Found(shown if search.newest else shown.reverse(), rows.height > count, reached)


def find_one(lake: Path, id_: str, row: int) -> pl.DataFrame:
    """One prediction, by 0 or 1 rows with all columns that its version logged; the newest where an id came twice."""
    search = _Search(lake, Wanted(), "", "", newest=True, until=float("inf"))
    _read_spools(search)
    same = (pl.col("id") == id_) & (pl.col("row") == row)
    for days in _days(search, None):
        hits = [_whole(part, place) for part in _parts(search, days) for place in _places(part, same)]
        if hits:
            return sorted(hits, key=lambda hit: _place(hit.sort("at"), -1))[-1].sort("at").tail(1)
    return pl.DataFrame(schema={name: _SHAPE[name] for name in _COLUMNS[:7]})


def _places(part: pl.LazyFrame, same: pl.Expr) -> list[int]:
    """Where the newest prediction of that name stands in a part, if any; an id that others chose may be there often."""
    numbered = part.select("id", "row", "at").with_row_index("place")
    newest = numbered.filter(same).select("place", "at").collect().sort("at", maintain_order=True).tail(1)
    return newest.get_column("place").to_list()


def _whole(part: pl.LazyFrame, place: int) -> pl.DataFrame:
    """All columns of one row, some at a time: Polars reads ahead, and whole segments of all columns are large."""
    names = part.collect_schema().names()
    cuts = [part.select(names[at : at + _MOST_COLUMNS]) for at in range(0, len(names), _MOST_COLUMNS)]
    return pl.concat([cut.slice(place, 1).collect() for cut in cuts], how="horizontal")


def labels_of(lake: Path, row: pl.DataFrame, *, entity: str = "", time: str = "") -> pl.DataFrame:
    """All labels that were ever told of one prediction (from ``find_one``), oldest first, repeated ones once.

    Columns: at, label, value, comment, ``who`` told it (empty where that is not known), and ``by``: whether it named
    the prediction (``id``) or ``entity`` and time.
    """
    search = _Search(lake, Wanted(), entity, time, newest=True, until=float("inf"))
    told = _told(search, _shaped(search, row.lazy()).collect(), None)
    by = pl.when(pl.col("id") != "").then(pl.lit("id")).otherwise(pl.lit("entity")).alias("by")
    who = pl.col("who").fill_null("") if "who" in told.columns else pl.lit("")  # labels of before had none
    return told.select("at", "label", "value", "comment", who.alias("who"), by)


# --- pages ----------------------------------------------------------------------------------------------------------


def _take(search: _Search, place: Place | None, count: int) -> tuple[pl.DataFrame, Place | None]:
    """The next ``count`` rows from a place on, nearest first, and how far was looked where time ran out."""
    keep = _predicate(search, place)
    found = pl.DataFrame(schema=_SHAPE)
    for turn, days in enumerate(_days(search, place)):
        if found.height >= count:
            break
        if turn and clock.monotonic() > search.until:  # the first days are always read, so that every search gets on
            return found, _edge(search, days)
        parts = [_shaped(search, part).filter(keep) for part in _parts(search, days)]
        if parts:
            found = pl.concat([found, _nearest(search, parts, count - found.height)])
    return found, None


def _nearest(search: _Search, parts: Sequence[pl.LazyFrame], count: int) -> pl.DataFrame:
    """The nearest ``count`` rows of some parts: first their times alone, then only what those times need."""
    times = pl.concat([part.select("at") for part in parts])
    picked = (times.top_k if search.newest else times.bottom_k)(count, by="at").collect(engine="streaming")
    if not picked.height:
        return pl.DataFrame(schema=_SHAPE)
    edge = picked.get_column("at").min() if search.newest else picked.get_column("at").max()
    near = pl.col("at") >= edge if search.newest else pl.col("at") <= edge
    rows = pl.concat([part.filter(near) for part in parts]).collect()
    return rows.sort("at", "id", "row", descending=search.newest, maintain_order=True).head(count)


def _judged(search: _Search, place: Place | None, count: int) -> tuple[pl.DataFrame, Place | None]:
    """The next rows of whose labels something is asked: candidates some thousand at a time, then what is known."""
    found: list[pl.DataFrame] = []
    size, had = _CANDIDATES, 0
    while True:
        rows, reached = _take(search, place, size)
        if rows.height:
            kept = _labelled(search, rows).filter(_by_label(search.wanted))
            found.append(kept)
            had += kept.height
            place = _place(rows, -1)
        ended = rows.height < size
        if had >= count or ended or clock.monotonic() > search.until:
            kept_all = pl.concat(found) if found else _labelled(search, rows)
            return kept_all.head(count), None if had >= count else reached if ended else place
        size = min(size * 4, _MOST_CANDIDATES)


def _by_label(wanted: Wanted) -> pl.Expr:
    known = pl.col("labelled_at").is_not_null()
    keep = pl.lit(value=True)
    if wanted.labelled is not None:
        keep = known if wanted.labelled else ~known
    if wanted.wrong:
        keep = keep & known & (pl.col("label") != "") & (pl.col("label") != pl.col("decision"))
    return keep


def _predicate(search: _Search, place: Place | None) -> pl.Expr:
    """What a row must be, without its label."""
    wanted, at = search.wanted, pl.col("at")
    parts = [pl.lit(value=True)]
    if wanted.since_us is not None:
        parts.append(at >= _moment(wanted.since_us))
    if wanted.until_us is not None:
        parts.append(at < _moment(wanted.until_us))
    if wanted.id:
        parts.append(pl.col("id").is_between(pl.lit(wanted.id), pl.lit(wanted.id + _END)))
    if wanted.entities:
        parts.append(pl.col("entity").is_in(list(wanted.entities)))
    parts += [
        pl.col(name) == value for name, value in (("decision", wanted.decision), ("version", wanted.version)) if value
    ]
    if wanted.referred:
        parts.append(pl.col("referred").is_not_null())
    if wanted.least is not None:
        parts.append(pl.col("score") >= wanted.least)
    if wanted.most is not None:
        parts.append(pl.col("score") <= wanted.most)
    if place is not None:
        parts.append(_beyond(place, newest=search.newest))
    return pl.all_horizontal(parts)


def _beyond(place: Place, *, newest: bool) -> pl.Expr:
    """Rows further on than a place; the plain bound on the time lets whole segments be left out."""
    at, instant, id_, row = pl.col("at"), _moment(place.at_us), pl.col("id"), pl.col("row")
    if newest:
        other = (id_ < place.id) | ((id_ == place.id) & (row < place.row))
        return (at <= instant) & ((at < instant) | other)
    other = (id_ > place.id) | ((id_ == place.id) & (row > place.row))
    return (at >= instant) & ((at > instant) | other)


# --- what the log holds ---------------------------------------------------------------------------------------------


def _read_spools(search: _Search) -> None:
    """What is in no segment yet, by day; a segment of the same name is left out, so that each row is there once."""
    for path in spools_in(search.lake / PREDICTIONS / "spool"):
        try:
            content = read_spool(path)
        except FileNotFoundError:
            continue  # it has just become Parquet, which is read below
        search.hidden.add(path.stem)
        if content.payloads:
            for table in PredictionCodec().tables(content.payloads):
                search.spooled.setdefault(table.day, []).append(table.rows)


def _days(search: _Search, place: Place | None) -> Iterator[list[str]]:
    """The days that may hold something, from the near end on: one, then more and more of them at once."""
    first, last = search.wanted.since_us, search.wanted.until_us
    if place is not None:
        edge = place.at_us if place.id else place.at_us - search.newest  # an instant's edge comes before all its rows
        first, last = (first, _least(last, edge)) if search.newest else (max(first or 0, edge), last)
    on_disk = {path.name for path in (search.lake / PREDICTIONS).glob(_DAY) if path.is_dir()}
    days = sorted(on_disk | set(search.spooled), reverse=search.newest)
    if first is not None:
        days = [day for day in days if day >= _moment(first).date().isoformat()]
    if last is not None:
        days = [day for day in days if day <= _moment(last).date().isoformat()]
    size = 1
    while days:
        yield days[:size]
        days, size = days[size:], min(size * 2, _MOST_DAYS)


def _parts(search: _Search, days: Sequence[str]) -> list[pl.LazyFrame]:
    """The rows of some days, one frame for each schema."""
    parts = [rows.lazy() for day in days for rows in search.spooled.get(day, [])]
    by_schema: dict[tuple[tuple[str, pl.DataType], ...], list[Path]] = {}
    for day in days:
        for path in sorted((search.lake / PREDICTIONS / day).glob("[!.]*.parquet")):
            if owner(path) not in search.hidden:
                by_schema.setdefault(tuple(pl.read_parquet_schema(path).items()), []).append(path)
    return [*parts, *(pl.scan_parquet(paths) for paths in by_schema.values())]


def _shaped(search: _Search, part: pl.LazyFrame) -> pl.LazyFrame:
    """A part with the columns of a page, whatever its version logged."""
    schema = part.collect_schema()
    score = pl.col("score").list.max() if isinstance(schema["score"], pl.List) else pl.col("score")
    who, when = (column_name(name) if name else "" for name in (search.entity, search.time))
    entity = key_text(who, schema[who]) if who in schema else pl.lit(None, dtype=pl.String)
    at = pl.col(when) if when in schema and schema[when].is_temporal() else pl.lit(None)
    own = [pl.col(name).cast(_SHAPE[name]) for name in _COLUMNS[:4]]
    return part.select(
        *own,
        score.cast(pl.Float64).alias("score"),
        pl.col("decision").cast(pl.String),
        pl.col("referred").cast(pl.String) if "referred" in schema else pl.lit(None, pl.String).alias("referred"),
        entity.cast(pl.String).alias("entity"),
        at.cast(_MICROS).alias("time"),
    )


# --- what is known of rows ------------------------------------------------------------------------------------------


def _labelled(search: _Search, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with the label that stands, as ``reading.joined`` has it."""
    if not rows.height:
        return rows.with_columns(pl.lit(None, kind).alias(name) for name, kind in _KNOWN.items())
    first = _place(rows, -1 if search.newest else 0)
    since = _moment(first.at_us) - _EARLIER
    told = _told(search, rows, since)
    latest = told.unique(["id", "row", "entity", "time"], keep="last", maintain_order=True)
    read = FeedbackRead(latest, told.height, 0, 0)
    return with_labels(rows, read, entity="entity", time="time")


def _told(search: _Search, rows: pl.DataFrame, since: datetime | None) -> pl.DataFrame:
    """The labels about some rows, in the order in which they came; those sent again under one key once."""
    about = pl.col("id").is_in(rows.get_column("id").unique().implode())
    if search.entity and search.time:
        known = rows.get_column("entity").drop_nulls().unique()
        about = about | ((pl.col("id") == "") & pl.col("entity").is_in(known.implode()))
    stored = stream(search.lake / FEEDBACK, FeedbackCodec(), SCHEMA, since, None)
    told = stored.filter(about).collect(engine="streaming")
    keys = told.get_column("key").unique()
    if (keys != "").any():  # as in read_feedback: which came first under a key is seen among all of it
        again = (pl.col("key") != "") & pl.col("key").is_in(keys.implode())
        told = stored.filter(about | again).collect(engine="streaming")
    told = told.sort("at", "place", maintain_order=True)
    told = told.filter((pl.col("key") == "") | pl.struct("key", "place").is_first_distinct())
    by_id = told.join(rows.select("id", "row").unique(), on=["id", "row"], how="semi", maintain_order="left")
    by_entity = told.join(
        rows.select("entity", "time").unique(), on=["entity", "time"], how="semi", maintain_order="left"
    )
    return pl.concat([by_id, by_entity.filter(pl.col("id") == "")]).sort("at", "place", maintain_order=True)


def _edge(search: _Search, days: Sequence[str]) -> Place:
    """The near end of days that were not read."""
    day = datetime.fromisoformat(days[0]).replace(tzinfo=UTC)
    edge = day + timedelta(days=1) if search.newest else day
    return Place(int(edge.timestamp()) * 1_000_000)


def _place(rows: pl.DataFrame, at: int) -> Place:
    at_us, id_, row = rows.select(pl.col("at").to_physical(), "id", "row").row(at)
    return Place(at_us, id_, row)


def _least(first: int | None, second: int) -> int:
    return second if first is None else min(first, second)


def _moment(at_us: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(microseconds=at_us)  # noqa: DTZ001 - columns are UTC without a zone
