"""What a row of the prediction log holds: records of predictions as tables.

In: records, each of which carries its schema, so that it can be read without the bundle that made it. Out: typed
tables. Laws: a column has the type of the contract's clean column, with null for missing; each row stands under the
version that answered it.

The log's own columns are ``id``, ``row``, ``at``, ``version``, ``score``, ``decision`` and ``referred``; the contract's
follow under their names (``input.…`` where the log has a column of that name).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import polars as pl

from roadworthy.records.contract import ColumnContract, ColumnType
from roadworthy.records.project import Task
from roadworthy.transforms.kept import cleaned

__all__ = ["OWN", "Schema", "Slice", "column_name", "table", "typed"]

OWN = ("id", "row", "at", "version", "score", "decision", "referred")
"""The columns of the log that are not the contract's."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Schema(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a record's values are. ``entity`` and ``time`` are set where they travel beside the fields."""

    task: Task
    numbers: tuple[tuple[str, ColumnType], ...]
    texts: tuple[str, ...]
    times: tuple[str, ...]
    entity: str = ""
    hashed: bool = False
    time: str = ""
    columns: dict[str, ColumnContract] = {}


class Slice(msgspec.Struct, array_like=True, gc=False):
    """Some rows of one version. ``numbers`` are doubles, field by field, NaN for missing.

    ``ids`` names the requests, ``counts`` how many rows of each are here (empty: one), ``firsts`` the place of the
    first of these in its request where that is not 0; ``runs`` when each run was and how many rows it had;
    ``referred`` why a person was to decide, for the rows that were left to one.
    """

    schema: msgspec.Raw
    title: str
    rows: int
    numbers: memoryview
    texts: list[Sequence[str | None]]
    times: list[Sequence[str | None]]
    entity: Sequence[str | None]
    time: Sequence[str | None]
    ids: Sequence[str]
    counts: Sequence[int]
    firsts: dict[int, int]
    runs: list[tuple[float, int]]
    scores: list[Any]
    decisions: list[str] | None
    others: dict[int, str]
    referred: dict[int, str] = {}  # not in records of earlier servers


def column_name(name: str) -> str:
    """What a column of the contract is called in the log.

    >>> column_name("age"), column_name("score"), column_name("input.score")
    ('age', 'input.score', 'input.input.score')
    """
    return f"input.{name}" if name in OWN or name.startswith("input.") else name


def table(schema: Schema, slices: Sequence[Slice]) -> pl.DataFrame:
    """The rows of some records of one schema, in the order in which they came; who and when are still texts."""
    return pl.DataFrame([*_own(schema, slices), *_read(schema, slices)])


def typed(schema: Schema, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with who and when as the contract types them."""
    asked = [schema.time] if schema.hashed else [schema.entity, schema.time]
    made = [
        cleaned(rows.get_column(column_name(name)), name, schema.columns[name]).alias(column_name(name))
        for name in asked
        if name
    ]
    return rows.with_columns(made) if made else rows


def _own(schema: Schema, slices: Sequence[Slice]) -> Iterator[pl.Series]:
    ids = pl.Series("id", list(chain.from_iterable(one.ids for one in slices)), dtype=pl.String)
    if any(one.counts for one in slices):
        counts = np.array(list(chain.from_iterable(one.counts or [1] * one.rows for one in slices)))
        begins = np.repeat(np.cumsum(counts) - counts - _all_firsts(slices), counts)
        yield ids.gather(np.repeat(np.arange(len(counts), dtype=np.uint32), counts))
        yield pl.Series("row", np.arange(len(begins)) - begins, dtype=pl.Int64)
    else:
        yield ids
        yield pl.Series("row", _all_firsts(slices), dtype=pl.Int64)
    at = np.array([round(at * 1e6) for one in slices for at, _ in one.runs], dtype=np.int64)
    yield pl.Series("at", np.repeat(at, [rows for one in slices for _, rows in one.runs])).cast(pl.Datetime("us"))
    yield _versions(slices)
    yield _scores(schema.task, [score for one in slices for score in one.scores])
    rows, referred = sum(one.rows for one in slices), _referred(slices)
    if all(one.decisions is None for one in slices):
        yield _nothing("decision", rows)
    else:
        decisions: list[str | None] = list(chain.from_iterable(one.decisions or () for one in slices))
        for place in referred:  # they were answered without one
            decisions[place] = None
        yield pl.Series("decision", decisions, dtype=pl.String)
    reasons = [referred.get(place) for place in range(rows)] if referred else []
    yield pl.Series("referred", reasons, dtype=pl.String) if referred else _nothing("referred", rows)


def _nothing(name: str, rows: int) -> pl.Series:
    return pl.Series(name, [None], dtype=pl.String).new_from_index(0, rows)


def _referred(slices: Sequence[Slice]) -> dict[int, str]:
    """The reasons of the rows of all slices that were left to a person, by their places."""
    found: dict[int, str] = {}
    begin = 0
    for one in slices:
        found |= {begin + place: why for place, why in one.referred.items()}
        begin += one.rows
    return found


def _all_firsts(slices: Sequence[Slice]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """For each request of the slices the place, in it, of its first row here."""
    found = np.zeros(sum(len(one.ids) for one in slices), dtype=np.int64)
    begin = 0
    for one in slices:
        for place, first in one.firsts.items():
            found[begin + place] = first
        begin += len(one.ids)
    return found


def _versions(slices: Sequence[Slice]) -> pl.Series:
    titles: dict[str, int] = {}
    found: list[np.ndarray[Any, np.dtype[np.uint32]]] = []
    for one in slices:
        numbers = np.full(one.rows, titles.setdefault(one.title, len(titles)), dtype=np.uint32)
        for place, title in one.others.items():
            numbers[place] = titles.setdefault(title, len(titles))
        found.append(numbers)
    return pl.Series("version", list(titles), dtype=pl.String).gather(np.concatenate(found))


def _scores(task: Task, scores: list[Any]) -> pl.Series:
    if task is Task.MULTICLASS:
        lists = [score if isinstance(score, list) else [score] for score in scores]
        return pl.Series("score", lists, dtype=pl.List(pl.Float64))
    if any(isinstance(score, list) for score in scores):  # a declared constant may be written as a list of one
        scores = [score[0] if isinstance(score, list) and len(score) == 1 else score for score in scores]
    return pl.Series("score", scores, dtype=pl.Float64)


def _read(schema: Schema, slices: Sequence[Slice]) -> Iterator[pl.Series]:
    """The contract's columns."""
    width = len(schema.numbers)
    numbers = np.concatenate([np.frombuffer(one.numbers).reshape(width, one.rows) for one in slices], axis=1)
    for at, (name, kind) in enumerate(schema.numbers):
        if name:
            yield _number(column_name(name), numbers[at], kind)
    for at, name in enumerate(schema.texts):
        yield pl.Series(column_name(name), list(chain.from_iterable(one.texts[at] for one in slices)), dtype=pl.String)
    for at, name in enumerate(schema.times):
        values = [_micros(value) for one in slices for value in one.times[at]]
        yield pl.Series(column_name(name), values, dtype=pl.Int64).cast(pl.Datetime("us"))
    for name, parts in ((schema.entity, [one.entity for one in slices]), (schema.time, [one.time for one in slices])):
        if name:
            yield pl.Series(column_name(name), list(chain.from_iterable(parts)), dtype=pl.String)


def _number(name: str, values: np.ndarray[Any, np.dtype[np.float64]], kind: ColumnType) -> pl.Series:
    series = pl.Series(name, values)
    if np.isnan(values).any():
        series = series.fill_nan(None)
    if kind is ColumnType.INTEGER:
        return series.cast(pl.Int64)
    return series.cast(pl.Boolean) if kind is ColumnType.BOOLEAN else series


@lru_cache(maxsize=4096)
def _micros(text: str | None) -> int | None:
    """Microseconds since 1970 of a clean time: ISO 8601, UTC where it names no zone."""
    if text is None:
        return None
    instant = datetime.fromisoformat(text)
    gap = (instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant) - _EPOCH
    return (gap.days * 86_400 + gap.seconds) * 1_000_000 + gap.microseconds
