"""``feedback``: labels from a file, a frame, a SQL query or by hand, into the stream that ``POST /feedback`` writes.

In: rows and the names of their columns. Out: labels in ``<lake>/feedback/`` and how many of them are what. Laws: a
label is one that the served version could have predicted; all problems of all rows are told at once, and then none is
stored; what is already known is not stored again, also when the same file comes a second time after somebody changed
his mind; a personal value is stored and compared only as its keyed hash, and is in no message.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from roadworthy import assembly
from roadworthy.adapters.prediction_log import FeedbackStore, column_name, read_feedback, read_log
from roadworthy.adapters.prediction_log.labels import FEEDBACK, SCHEMA, FeedbackCodec
from roadworthy.adapters.prediction_log.reading import stream
from roadworthy.api.person import login
from roadworthy.errors import DataError, Problem, UsageError, nearest
from roadworthy.formats.bundle.parts import ServingContract
from roadworthy.protocols import Source
from roadworthy.records.digests import digest_data
from roadworthy.records.feedback import Feedback
from roadworthy.records.project import Task
from roadworthy.serving.calls import Failure
from roadworthy.serving.feedback import LabelReader
from roadworthy.transforms.kept import key_text

__all__ = ["FeedbackView", "feedback"]

_CHUNK = 10_000
_MOST_PROBLEMS = 100
_FEW = 10_000
_ROW = re.compile(r"row (\d+)(?:\.(\w+))?")
_ABOUT = ("id", "row", "entity", "time")
_SAID = ("label", "value", "comment")


class FeedbackView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the labels that were given.

    ``received`` is all rows; ``blank`` had no label, ``repeated`` said what is known already, the rest was
    ``accepted`` and is on the disk. Among those, ``changed`` say otherwise than the label before, ``wrong`` otherwise
    than the decision, and ``unknown`` are for predictions that are not in the log (yet, or any more).
    """

    version: str
    source: str
    received: int
    blank: int
    accepted: int
    repeated: int
    changed: int
    wrong: int
    unknown: int
    notes: tuple[str, ...] = ()


class _Given(NamedTuple):
    """Rows as ``POST /feedback`` would get them, and where they stood."""

    rows: list[dict[str, Any]]
    places: list[int]
    received: int
    key: str
    shown: str
    notes: tuple[str, ...]


def feedback(
    data: Any = None,
    *,
    id: str = "",  # noqa: A002 - as the body of POST /feedback calls it
    label: str = "",
    row: str | int = "",
    entity: str = "",
    time: str = "",
    comment: str = "",
    query: str = "",
    url: str = "",
    by: str = "",
    version: str = "champion",
    project: Path | str = assembly.PROJECT_FILE,
) -> FeedbackView:
    """Stores labels, and says what became of them.

    ``data`` is a path, a URL, a mapping as under ``[data] source``, or a frame; or ``query`` and ``url`` name them in a
    database. Then ``id`` (and ``row``), or ``entity`` and ``time``, ``label`` and ``comment`` name its columns. Without
    either they are the values of one label, by hand. ``by`` is who tells them, the login name where nobody is named;
    ``version`` is whose classes labels must be among.

    Raises UsageError for words that do not fit together, DataError with every problem of the labels, StorageError when
    they are not on the disk.
    """
    names = {"id": id, "row": row, "entity": entity, "time": time, "label": label, "comment": comment}
    named = {name: value for name, value in names.items() if value not in {"", None}}
    by_hand = data is None and not query
    _require_words(named, data, query, url)
    opened = assembly.open_project(project)
    with assembly.opened_bundle(opened, version) as (found, bundle):
        contract, title = bundle.parts.contract, found.title
    hasher = assembly.hasher_of(opened)
    if by_hand:
        given = _Given([_by_hand(named, contract)], [0], 1, "", "by hand", ())
    else:
        source = assembly.source_of({"url": url, "query": query} if query else data)
        given = _from_source(source, {name: str(column) for name, column in named.items()}, contract)
    hash_one = hasher.hash_one if hasher is not None else None
    columns = {} if by_hand else {name: str(column) for name, column in named.items()}
    labels = _read(given, lambda: LabelReader(contract, hash_one), columns, by.strip() or login())
    lake = opened.settings.lake
    fresh, changed = _news(lake, labels)
    asyncio.run(_stored(lake, fresh))
    return FeedbackView(
        version=title,
        source=given.shown,
        received=given.received,
        blank=given.received - len(given.rows),
        accepted=len(fresh),
        repeated=len(labels) - len(fresh),
        changed=changed,
        **_compared(lake, fresh, contract),
        notes=given.notes,
    )


def _require_words(named: Mapping[str, Any], data: Any, query: str, url: str) -> None:
    problems = []
    if data is not None and query:
        problems.append(Problem("both rows and a query", expected="one of them"))
    if bool(query) != bool(url):
        problems.append(Problem("--query" if query else "--url", expected="both --query and --url"))
    by_id, by_entity = "id" in named, "entity" in named or "time" in named
    if by_id == by_entity or (by_entity and not {"entity", "time"} <= set(named)):
        found = "both an id and an entity or time" if by_id and by_entity else "nothing says which prediction is meant"
        problems.append(Problem(found, expected="--id (and --row), or --entity and --time"))
    if "row" in named and not by_id:
        problems.append(Problem("--row without --id", expected="--id and --row"))
    if "label" not in named:
        problems.append(Problem("no --label", expected="the column of labels, or by hand the label"))
    if problems:
        raise UsageError(
            "this is no feedback",
            problems=problems,
            next_step="roadworthy feedback labels.parquet --id prediction_id --label outcome",
        )


# --- what was given -------------------------------------------------------------------------------------------------


def _by_hand(named: Mapping[str, Any], contract: ServingContract) -> dict[str, Any]:
    made = {name: str(value) for name, value in named.items()}
    return {**made, **_plain({name: made[name] for name in ("row", "label") if name in made}, contract)}


def _from_source(source: Source, named: Mapping[str, str], contract: ServingContract) -> _Given:
    """The rows of a source that have a label; DataError where it lacks a column."""
    scan = source.scan()
    schema = scan.collect_schema()
    problems = []
    for name, column in named.items():
        if column not in schema:
            close = nearest(column, schema.names())
            hint = f"; did you mean {close!r}?" if close else ""
            problems.append(
                Problem(f"no column {column!r}{hint}", where=f"--{name}", expected=", ".join(schema.names()))
            )
    if problems:
        raise DataError(
            f"{source.describe()} lacks columns", problems=problems, next_step="name the columns as the source does"
        )
    rows = scan.select([_given(column, schema[column]).alias(name) for name, column in named.items()])
    table = rows.with_row_index("_place").filter(pl.col("label").is_not_null()).collect()
    received = scan.select(pl.len()).collect().item()
    places = table.get_column("_place").to_list()
    plain = [_plain(_there(one), contract) for one in table.drop("_place").iter_rows(named=True)]
    key = digest_data({"rows": source.fingerprint(), "columns": dict(named), "version": 1})
    return _Given(plain, places, received, key, source.describe(), source.notes())


def _given(column: str, kind: pl.DataType) -> pl.Expr:
    """A column as text in the one form that values have, ISO 8601 for times."""
    value = pl.col(column)
    if isinstance(kind, pl.Datetime):
        value = value.dt.convert_time_zone("UTC") if kind.time_zone else value
        return value.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    if kind == pl.Date:
        return value.dt.strftime("%Y-%m-%d")
    text = key_text(column, kind).str.strip_chars()
    return text.replace("", None)


def _there(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def _plain(row: dict[str, Any], contract: ServingContract) -> dict[str, Any]:
    """Texts that mean numbers as numbers: the row, and for regression the label; the reader refuses what is none."""
    if "row" in row and str(row["row"]).isdecimal():
        row["row"] = int(row["row"])
    if contract.task is Task.REGRESSION and "label" in row:
        try:
            row["label"] = float(row["label"])
        except ValueError:
            return row
    return row


def _read(given: _Given, reader: Any, columns: Mapping[str, str], who: str) -> list[Feedback]:
    """The labels, each under the key and the place of its row. DataError with every problem."""
    found: list[Feedback] = []
    problems: list[Problem] = []
    for chunk, begin in enumerate(range(0, len(given.rows), _CHUNK)):
        key = f"{given.key}/{chunk}" if given.key else ""
        try:
            found += reader().read(given.rows[begin : begin + _CHUNK], "row {}", key, who=who)
        except Failure as failure:
            if not failure.problems:
                raise DataError(failure.message, next_step=failure.next_step) from failure
            places = given.places[begin : begin + _CHUNK]
            problems += [_placed(problem, given.shown, places, columns) for problem in failure.problems]
    if problems:
        shown = problems[:_MOST_PROBLEMS]
        if len(problems) > len(shown):
            shown.append(Problem(f"{len(problems) - len(shown)} more problems"))
        raise DataError(
            "labels cannot be taken; none was", problems=shown, next_step="mend them and run the same command again"
        )
    return found


def _placed(problem: Problem, shown: str, places: Sequence[int], columns: Mapping[str, str]) -> Problem:
    """The problem under the row (from 1) and the column as the source has them."""
    found = _ROW.fullmatch(problem.where)
    if found is None:
        return problem
    column = found[2] and columns.get(found[2], found[2] if columns else f"--{found[2]}")
    parts = [f"row {places[int(found[1])] + 1:,}"] if columns else []
    parts += [f"column {column}" if columns else column] if column else []
    return Problem(problem.found, expected=problem.expected, where=", ".join([shown, *parts]))


# --- what is new ----------------------------------------------------------------------------------------------------


def _news(lake: Path, labels: Sequence[Feedback]) -> tuple[list[Feedback], int]:
    """The labels that say something new, in their order, and how many of these contradict what was known."""
    keys = {label.key for label in labels if label.key}
    stored = stream(lake / FEEDBACK, FeedbackCodec(), SCHEMA, None, None).filter(pl.col("key").is_in(list(keys)))
    came = set(stored.select("key", "place").collect().iter_rows()) if keys else set()
    known = {_about(one): _said(one) for one in _latest(lake, labels)}
    fresh, changed = [], 0
    for label in labels:
        before = known.get(_about(label))
        if (label.key, label.place) in came or before == _said(label):
            continue
        changed += before is not None and before[:2] != _said(label)[:2]
        known[_about(label)] = _said(label)
        fresh.append(label)
    return fresh, changed


def _latest(lake: Path, labels: Sequence[Feedback]) -> Iterator[Feedback]:
    """The labels that stand now for what some labels are about."""
    asked = pl.DataFrame(
        {"id": [one.id for one in labels], "entity": [one.entity for one in labels]},
        schema={"id": pl.String, "entity": pl.String},
    )
    few = {one.id for one in labels} if len(labels) <= _FEW else ()
    latest = read_feedback(lake, ids=few).latest.join(asked, on=["id", "entity"], how="semi")
    latest = latest.with_columns(pl.col("at", "time").to_physical())
    for one in latest.select("at", *_ABOUT, *_SAID).iter_rows(named=True):
        at_us, time_us = one.pop("at"), one.pop("time")
        yield Feedback(at_us=at_us, time_us=time_us, **one)


def _about(label: Feedback) -> tuple[str, int, str, int | None]:
    return label.id, label.row, label.entity, label.time_us


def _said(label: Feedback) -> tuple[str, float | None, str]:
    return label.label, label.value, label.comment


async def _stored(lake: Path, labels: Sequence[Feedback]) -> None:
    if not labels:
        return
    store = FeedbackStore(lake, worker="command")
    try:
        for begin in range(0, len(labels), _CHUNK):
            await store.add(labels[begin : begin + _CHUNK])
    finally:
        store.close()


def _compared(lake: Path, labels: Iterable[Feedback], contract: ServingContract) -> dict[str, int]:
    """How many labels contradict the decision, and how many are for predictions that the log does not have."""
    rows = [(one.id, one.row, one.entity, one.time_us, one.label) for one in labels]
    if not rows:
        return {"wrong": 0, "unknown": 0}
    given = pl.DataFrame(
        rows,
        schema={"id": pl.String, "row": pl.Int64, "entity": pl.String, "time": pl.Int64, "label": pl.String},
        orient="row",
    ).with_row_index("_place")
    log = read_log(lake)
    on = ["id", "row"] if rows[0][0] else ["entity", "time"]
    if on == ["id", "row"] and len(rows) <= _FEW:  # found without reading all of a long log
        log = log.filter(pl.col("id").is_in([one[0] for one in rows]))
    if on == ["entity", "time"]:
        schema = log.collect_schema()
        entity, time = column_name(contract.entity), column_name(contract.time)
        if entity not in schema or time not in schema:
            return {"wrong": 0, "unknown": len(rows)}
        keys = (key_text(entity, schema[entity]), pl.col(time).cast(pl.Datetime("us")).to_physical())
        log = log.select(keys[0].alias("entity"), keys[1].alias("time"), "decision")
    met = given.lazy().join(log.select(*on, "decision"), on=on, how="inner").collect()
    wrong = met.filter((pl.col("label") != "") & (pl.col("label") != pl.col("decision")))
    return {
        "wrong": wrong.get_column("_place").n_unique(),
        "unknown": len(rows) - met.get_column("_place").n_unique(),
    }
