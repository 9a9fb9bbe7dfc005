"""The prediction log of a model that others serve, in the form that ``prediction_log.read_log`` gives.

In: rows of a source (Parquet, CSV, SQL, a frame) whose columns a person named. Out: a lazy frame with ``id``, ``row``,
``at``, ``version``, ``score``, ``decision``, ``referred`` and the other columns, and labels as ``FeedbackRead``. Laws:
nothing is guessed, so that a column that is not there, a time or a number that cannot be read, an id that stands twice
is a problem, and all of them are told at once, as counts and never as values; every row of the source is in the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import polars as pl

from roadworthy.adapters.prediction_log.reading import FeedbackRead
from roadworthy.adapters.prediction_log.tables import column_name
from roadworthy.errors import DataError, Problem, nearest
from roadworthy.protocols import Source
from roadworthy.records.project import Task
from roadworthy.transforms.cleaning.times import EPOCHS, number_to_time, text_to_time
from roadworthy.transforms.kept import key_text

__all__ = ["ForeignColumns", "ForeignLog", "foreign_labels", "foreign_log"]

_INSTANT: Final = pl.Datetime("us")
_INDEX: Final = "_place"
_TIME_WORDS = (
    "a time: ISO 8601 text, a date or time column, or numbers with time_format = epoch_s, epoch_ms or epoch_us"
)
_SHOWN: Final = 30
_ABOUT: Final = ("id", "row", "entity", "time")


class ForeignColumns(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which column of the log is what; empty where there is none.

    ``score`` is the probability of the positive class or the predicted number, ``scores`` a column for each class.
    ``labelled`` is when the label came. ``time_format`` reads ``time`` and ``labelled``: a chrono format, or
    ``epoch_s``, ``epoch_ms``, ``epoch_us``; ISO 8601 when empty.
    """

    time: str = ""
    score: str = ""
    scores: dict[str, str] = {}
    decision: str = ""
    label: str = ""
    labelled: str = ""
    id: str = ""
    row: str = ""
    version: str = ""
    entity: str = ""
    comment: str = ""
    time_format: str = ""

    def named(self) -> Iterator[tuple[str, str]]:
        """The roles that are given a column, with it."""
        for role in _ROLES:
            if column := getattr(self, role):
                yield role, column
        for label, column in self.scores.items():
            yield f"score of {label}", column


_ROLES: Final = ("time", "score", "decision", "label", "labelled", "id", "row", "version", "entity", "comment")


@dataclass(frozen=True, slots=True)
class ForeignLog:
    """A log as it is watched: its rows in time order, the labels that stand in it, and what a person should know."""

    rows: pl.LazyFrame
    labels: FeedbackRead | None
    notes: tuple[str, ...]


def foreign_log(
    source: Source,
    columns: ForeignColumns,
    *,
    task: Task = Task.BINARY,
    classes: Sequence[str] = (),
    threshold: float | None = None,
    version: str = "foreign",
) -> ForeignLog:
    """The log of a source, and its labels where ``columns.label`` names them.

    ``classes`` are the model's (binary: the negative one first). Where no column has the decision, it is the likeliest
    class, for a single score the second class from ``threshold`` on. ``version`` is what rows are attributed to that
    name none. DataError names every problem.
    """
    raw = source.scan().with_row_index(_INDEX)
    schema = raw.collect_schema()
    _require(source, _absent(columns, schema), "name the columns as the log does")
    _require(source, _unusable(columns, task, classes, threshold), "say what the columns mean")
    made = _own(columns, schema, task, classes=classes, threshold=threshold, version=version)
    _require(source, _unreadable(raw, made, columns), "mend the rows, or name another column or time_format")
    spent = {column for _, column in columns.named()} | {_INDEX}
    kept = [pl.col(name).alias(column_name(name)) for name in schema.names() if name not in spent]
    entity = [pl.col(columns.entity).alias(column_name(columns.entity))] if columns.entity else []
    own = ("id", "row", "at", "version", "score", "decision", "referred")
    rows = raw.select(*(made[name].alias(name) for name in own), *entity, *kept)
    notes = [*source.notes()]
    if not columns.time:
        notes.append("no column has the time: rows stand in the order of the source, and windows are cut by count")
    if not columns.id:
        notes.append("no column has the id: rows are numbered in the order of the source")
    labels = _labels(raw, made, columns, task) if columns.label else None
    return ForeignLog(rows.sort("at", "id", "row", maintain_order=True), labels, tuple(notes))


def foreign_labels(source: Source, columns: ForeignColumns, *, task: Task = Task.BINARY) -> FeedbackRead:
    """Labels that stand in a source of their own, by ``id`` (and ``row``), or by ``entity`` and ``time``.

    ``labelled`` is when they came; where no column says, they count as known from the beginning. Of several for one
    prediction the latest counts. DataError names every problem.
    """
    raw = source.scan().with_row_index(_INDEX)
    schema = raw.collect_schema()
    problems = _absent(columns, schema)
    if not columns.label:
        problems.append(Problem("no column of labels is named", expected="label"))
    if not columns.id and not (columns.entity and columns.time):
        problems.append(Problem("nothing says which prediction a label is for", expected="id, or entity and time"))
    _require(source, problems, "name the columns as the file does")
    made = _own(columns, schema, task)
    _require(source, _unreadable(raw, made, columns, twice=False), "mend the rows, or name another column")
    return _labels(raw, made, columns, task)


# --- what each column of the log is made of -------------------------------------------------------------------------


def _own(
    columns: ForeignColumns,
    schema: pl.Schema,
    task: Task,
    *,
    classes: Sequence[str] = (),
    threshold: float | None = None,
    version: str = "",
) -> dict[str, pl.Expr]:
    """An expression over the source for each column of the log, null where it cannot be read."""
    nothing = pl.lit(None, dtype=pl.String)
    place = pl.col(_INDEX).cast(pl.Int64)
    made = {
        name: _text(column, schema) if (column := getattr(columns, name)) else nothing
        for name in ("decision", "label", "comment", "entity")
    }
    made["id"] = _text(columns.id, schema) if columns.id else pl.format("r{}", place.cast(pl.String).str.zfill(12))
    made["row"] = (
        _number(columns.row, schema).cast(pl.Int64, strict=False) if columns.row else pl.lit(0, dtype=pl.Int64)
    )
    made["version"] = _text(columns.version, schema) if columns.version else pl.lit(version)
    made["referred"] = nothing
    made["at"] = _time(columns.time, columns, schema) if columns.time else place.cast(_INSTANT)
    made["labelled"] = _time(columns.labelled, columns, schema) if columns.labelled else pl.lit(0).cast(_INSTANT)
    if columns.label:
        made["value"] = _number(columns.label, schema)
    if columns.scores:
        numbers = [_number(columns.scores[name], schema) for name in classes or columns.scores]
        made["score"] = pl.concat_list(numbers)
    elif columns.score:
        made["score"] = _number(columns.score, schema)
    else:
        made["score"] = pl.lit(None, dtype=pl.Float64)
    if not columns.decision and task is not Task.REGRESSION and classes:
        made["decision"] = _decided(made["score"], columns, classes, threshold)
    return made


def _decided(
    score: pl.Expr, columns: ForeignColumns, classes: Sequence[str], threshold: float | None
) -> pl.Expr:  # fmt: skip
    if columns.scores:
        return pl.lit(pl.Series(list(classes))).gather(score.list.arg_max())
    return pl.when(score >= threshold).then(pl.lit(classes[1])).when(score.is_not_null()).then(pl.lit(classes[0]))


def _text(column: str, schema: pl.Schema) -> pl.Expr:
    """A column in the one text form that values have: 1 and 1.0 are "1", blanks are missing."""
    kind = schema[column]
    text = key_text(column, kind)
    return text.str.strip_chars().replace("", None) if kind == pl.String else text


def _time(column: str, columns: ForeignColumns, schema: pl.Schema) -> pl.Expr:
    kind, value = schema[column], pl.col(column)
    if isinstance(kind, pl.Datetime):
        moment = value.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if kind.time_zone else value
        return moment.cast(_INSTANT)
    if kind == pl.Date:
        return value.cast(_INSTANT)
    if kind.is_numeric():
        if columns.time_format not in EPOCHS:
            return pl.when(value.is_null()).then(None).cast(_INSTANT)
        return number_to_time(value, columns.time_format, whole=kind.is_integer())
    return text_to_time(value.cast(pl.String).str.strip_chars(), columns.time_format)


def _labels(raw: pl.LazyFrame, made: Mapping[str, pl.Expr], columns: ForeignColumns, task: Task) -> FeedbackRead:
    """The latest label of each prediction, in the form of the feedback stream."""
    number = task is Task.REGRESSION
    by_id = bool(columns.id) or not columns.entity
    value = made["value"] if number else pl.lit(None, dtype=pl.Float64)
    blank = pl.lit("")
    rows = (
        raw.select(
            made["labelled"].alias("at"),
            (made["id"] if by_id else blank).alias("id"),
            (made["row"] if by_id else pl.lit(0, dtype=pl.Int64)).alias("row"),
            (blank if by_id else made["entity"]).alias("entity"),
            (pl.lit(None, dtype=_INSTANT) if by_id else made["at"]).alias("time"),
            (blank if number else made["label"]).alias("label"),
            value.alias("value"),
            made["comment"].fill_null("").alias("comment"),
            pl.col(_INDEX),
        )
        .filter(pl.col("value" if number else "label").is_not_null())
        .sort("at", _INDEX)
        .collect()
    )
    said = pl.struct("label", "value")
    changed = rows.select((said != said.shift(1).over(_ABOUT)).sum()).item()
    latest = rows.unique(list(_ABOUT), keep="last", maintain_order=True).drop(_INDEX)
    return FeedbackRead(latest, rows.height, 0, int(changed or 0))


# --- what is wrong --------------------------------------------------------------------------------------------------


def _absent(columns: ForeignColumns, schema: pl.Schema) -> list[Problem]:
    found = []
    for role, column in columns.named():
        if column not in schema:
            close = nearest(column, schema.names())
            hint = f"; did you mean {close!r}?" if close else ""
            shown = ", ".join(name for name in schema.names()[:_SHOWN] if name != _INDEX)
            more = ", …" if len(schema) > _SHOWN else ""
            found.append(Problem(f"no column {column!r}{hint}", where=role, expected=f"one of {shown}{more}"))
    return found


def _unusable(
    columns: ForeignColumns, task: Task, classes: Sequence[str], threshold: float | None
) -> list[Problem]:  # fmt: skip
    found = []
    if not (columns.score or columns.scores or columns.decision):
        found.append(Problem("neither a score nor a decision is named", expected="score, scores or decision"))
    if columns.scores and classes and set(columns.scores) != set(classes):
        found.append(
            Problem(f"scores of {', '.join(columns.scores)}", expected=f"one for each of {', '.join(classes)}")
        )
    single = columns.score and not columns.scores and not columns.decision and task is not Task.REGRESSION
    if single and (threshold is None or len(classes) != 2):
        found.append(Problem("nothing says what a score decides", expected="decision, or two classes and a threshold"))
    return found


def _unreadable(
    raw: pl.LazyFrame, made: Mapping[str, pl.Expr], columns: ForeignColumns, *, twice: bool = True
) -> list[Problem]:
    """Cells that are there and cannot be read, ids that are not or stand twice; one pass over the source."""
    asked: dict[str, Any] = {"rows": pl.len()}
    schema = raw.collect_schema()
    if columns.time:
        asked["time"] = made["at"].is_null().sum()
    if columns.labelled:
        asked["labelled"] = (made["labelled"].is_null() & pl.col(columns.labelled).is_not_null()).sum()
    for role, column in (("row", columns.row), ("score", columns.score)):
        if column:
            asked[role] = made[role].is_null().sum() if role == "row" else _no_number(_number(column, schema)).sum()
    for label, column in columns.scores.items():
        asked[f"score of {label}"] = _no_number(_number(column, schema)).sum()
    if columns.id:
        asked["id"] = made["id"].is_null().sum()
        if twice:
            asked["twice"] = pl.len() - pl.struct(made["id"].alias("id"), made["row"].alias("row")).n_unique()
    found = raw.select(**asked).collect().row(0, named=True)
    rows = found.pop("rows")
    if not rows:
        return [Problem("no row", expected="at least one prediction")]
    expected = {"time": _TIME_WORDS, "labelled": _TIME_WORDS, "row": "whole numbers", "id": "a text in each row"}
    expected["twice"] = "each id (and row) once"
    words = {"twice": "stand under an id that another row has"}
    return [
        Problem(
            f"{count:,} of {rows:,} rows {words.get(role, 'have none that can be read')}",
            where="id" if role == "twice" else role,
            expected=expected.get(role, "a finite number in each row"),
        )
        for role, count in found.items()
        if count
    ]


def _number(column: str, schema: pl.Schema) -> pl.Expr:
    """A column as numbers, null where it has none."""
    value, kind = pl.col(column), schema[column]
    if not (kind.is_numeric() or kind == pl.Boolean):
        value = value.cast(pl.String).str.strip_chars()
    return value.cast(pl.Float64, strict=False)


def _no_number(number: pl.Expr) -> pl.Expr:
    return number.is_null() | ~number.is_finite()


def _require(source: Source, problems: Sequence[Problem], step: str) -> None:
    if problems:
        raise DataError(f"{source.describe()} cannot be read as a prediction log", problems=problems, next_step=step)
