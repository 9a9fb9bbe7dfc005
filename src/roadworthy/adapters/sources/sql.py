"""SQL queries as a source: SQLite files and PostgreSQL.

In: a URL and a query. Out: a ``Source`` whose rows come in pieces through a server-side cursor, in a read-only
transaction. A query has no bytes, so the fingerprint is the digest of its rows in their order; every full
reading makes it anew, so that a change between two readings is seen. Laws: nothing is written to the database
or to disk; neither the password, nor what the environment put in, nor a cell is in any message; description and
fingerprint hold the URL and the query as declared, so that they are the same on every machine.
"""

from __future__ import annotations

import datetime as dt
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import polars as pl
import sqlalchemy as sa

from roadworthy.adapters.sources.files import lazy_batches
from roadworthy.adapters.sources.masking import masked_database, without_values
from roadworthy.errors import MissingExtra, Problem, SourceError
from roadworthy.records.digests import Digest, digest_data

__all__ = ["Declared", "QuerySource", "is_sql_url"]

_BATCH_ROWS = 20_000
_INT64 = 1 << 63
_Kinds = list[set[type]]


def is_sql_url(url: str) -> bool:
    """Whether the URL names a database."""
    return re.match(r"(sqlite|postgres(ql)?)(\+\w+)?:", url) is not None


@dataclass(frozen=True, slots=True)
class Declared:
    """URL and query as a person wrote them; ``secrets`` are the values that the environment put in."""

    url: str
    query: str
    secrets: tuple[str, ...] = ()


class QuerySource:
    """The rows of one query. ``folder`` is where relative SQLite paths start.

    ``declared`` is what is shown and digested in place of the URL and the query that are used.
    """

    def __init__(self, url: str, query: str, folder: Path, declared: Declared | None = None) -> None:
        told = declared or Declared(url, query)
        self._query = _plain(query)
        self._told_query = _plain(told.query)
        self._shown = masked_database(told.url)
        self._inserted = told.secrets
        self._url = _parsed(url, folder, self._shown)
        self._kinds: _Kinds = []
        self._names: tuple[str, ...] = ()
        self._observed: Digest | None = None

    def describe(self) -> str:
        """URL without password, and the query, both as declared."""
        return f"{self._shown}: {self._told_query}"

    def fingerprint(self) -> Digest:
        """Digest of the rows as they were last read; the first call reads them all."""
        if self._observed is None:
            for _ in self._pieces():
                pass
        return digest_data({"url": self._shown, "query": self._told_query, "rows": self._observed})

    def scan(self) -> pl.LazyFrame:
        """The rows, typed by all values of each column; mixed kinds become text."""
        self.fingerprint()
        return lazy_batches(self._schema(), self._batches)

    def notes(self) -> tuple[str, ...]:
        """Columns that had to become text."""
        self.fingerprint()
        mixed = [n for n, kinds in zip(self._names, self._kinds, strict=True) if len(kinds) > 1 and _is_text(kinds)]
        return (f"kept as text (mixed kinds of values): {', '.join(mixed)}",) if mixed else ()

    def _schema(self) -> dict[str, pl.DataType]:
        return {name: _dtype(kinds) for name, kinds in zip(self._names, self._kinds, strict=True)}

    def _batches(self, _wanted: list[str] | None) -> Iterator[pl.DataFrame]:
        names, kinds = self._names, [set(kinds) for kinds in self._kinds]
        schema = self._schema()
        for rows in self._pieces():
            if self._names != names or any(now - then for now, then in zip(self._kinds, kinds, strict=True)):
                raise SourceError(
                    f"{self._shown} changed while it was read",
                    problems=(Problem("other columns or types than a moment ago", expected="the same rows"),),
                    next_step="run the same command again when nothing writes to the database",
                )
            columns = zip(*rows, strict=True)
            yield pl.DataFrame(
                [_series(name, values, dtype) for (name, dtype), values in zip(schema.items(), columns, strict=True)]
            )

    def _pieces(self) -> Iterator[list[tuple[Any, ...]]]:
        """All rows in pieces; digests them and gathers the kinds of values on the way."""
        state = sha256()
        rows_seen = 0
        try:
            with self._engine.connect() as connection, closing(self._execute(connection)) as result:
                names = tuple(result.keys())
                _require_unique(names)
                kinds: _Kinds = [set() for _ in names]
                self._names, self._kinds = names, kinds
                while rows := [tuple(map(_settled, row)) for row in result.fetchmany(_BATCH_ROWS)]:
                    rows_seen += len(rows)
                    state.update("\n".join(map(repr, rows)).encode())
                    state.update(b"\n")
                    for seen, values in zip(kinds, zip(*rows, strict=True), strict=True):
                        seen.update(map(_kind, values))
                        seen.discard(type(None))
                    yield rows
        except sa.exc.SQLAlchemyError as error:
            raise self._failure(error) from None  # the cause's text may hold the password
        if rows_seen == 0:
            raise SourceError(
                "the query gave no rows",
                problems=(Problem("0 rows", where=self.describe(), expected="at least one row"),),
                next_step="mend query in [data] source",
            )
        self._observed = digest_data({"columns": names, "rows": state.hexdigest()})

    @cached_property
    def _engine(self) -> sa.Engine:
        if self._url.get_backend_name() == "sqlite":
            return sa.create_engine(self._url, poolclass=sa.NullPool)
        try:
            return sa.create_engine(self._url, poolclass=sa.NullPool, isolation_level="REPEATABLE READ")
        except ModuleNotFoundError as error:
            raise MissingExtra(
                "reading from PostgreSQL needs psycopg, which is not installed",
                problems=(Problem(f"no module {error.name}", expected="the extra postgres"),),
                next_step='pip install "roadworthy[postgres]"',
            ) from error

    def _execute(self, connection: sa.Connection) -> sa.CursorResult[Any]:
        statement = sa.text(self._query.replace(":", r"\:"))
        if self._url.get_backend_name() == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only = ON")
            return connection.execute(statement)
        connection = connection.execution_options(postgresql_readonly=True)
        # the same rows in the same order each time they are asked for, as far as the server can promise
        connection.exec_driver_sql("SET LOCAL synchronize_seqscans = off")
        connection.exec_driver_sql("SET LOCAL max_parallel_workers_per_gather = 0")
        connection.exec_driver_sql("SET LOCAL TIME ZONE 'UTC'")
        return connection.execution_options(stream_results=True).execute(statement)

    def _failure(self, error: sa.exc.SQLAlchemyError) -> SourceError:
        reason = _reason(error, self._told_query)
        for secret in (*_secrets(self._url), *self._inserted):
            reason = reason.replace(secret, "***") if secret else reason
        return SourceError(
            f"{self._shown} did not answer the query",
            problems=(Problem(reason, where=self._told_query, expected="a SELECT that the database understands"),),
            next_step="try the query in the database's own shell, then mend url or query in [data] source",
        )


def _plain(query: str) -> str:
    return query.strip().rstrip(";")


def _reason(error: sa.exc.SQLAlchemyError, query: str) -> str:
    """What the database says, without hints, details and quoted cells; of a failed connection, all that it says."""
    cause = getattr(error, "orig", None) or error
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    if primary:
        return without_values(str(primary), query)
    lines = [line.strip() for line in str(cause).strip().splitlines()]
    told = " ".join(line for line in lines if not line.startswith(("[SQL", "[parameters", "(Background")))
    told = without_values(told, query) if isinstance(cause, sqlite3.Error) else told
    return told or "no reason given"


def _secrets(url: sa.URL) -> list[str]:
    query = [value for key, value in url.query.items() if "pass" in key]
    texts = [str(url.password)] if url.password else []
    texts += [text for value in query for text in ((value,) if isinstance(value, str) else value)]
    return [text for text in texts if text]


def _parsed(url: str, folder: Path, shown: str) -> sa.URL:
    """The URL with the driver that is used; SQLite opened read-only, its path from ``folder``."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise SourceError(
            "[data] source: the database URL cannot be read",
            problems=(Problem("not a URL", expected="postgresql://user@host/database or sqlite:///file.db"),),
            next_step="mend url in [data] source; special characters in a password are %-encoded",
        ) from None  # the cause repeats the URL with its password
    if parsed.get_backend_name() in {"postgres", "postgresql"}:
        return parsed.set(drivername="postgresql+psycopg")
    path = folder / (parsed.database or "")
    if not path.is_file():
        raise SourceError(
            f"there is no SQLite file {shown}",
            problems=(Problem("no such file", where=str(path), expected="a database"),),
            next_step="mend url in [data] source: sqlite:///relative/path.db or sqlite:////absolute/path.db",
        )
    return parsed.set(drivername="sqlite", database=f"file:{path.resolve()}", query={"mode": "ro", "uri": "true"})


def _require_unique(names: tuple[str, ...]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise SourceError(
            "the query gives duplicate column names",
            problems=[Problem(f"{n!r} stands {names.count(n)} times", expected="every name once") for n in repeated],
            next_step="rename them in the query: select a.id as a_id, b.id as b_id",
        )


def _settled(value: Any) -> Any:
    """Values whose repr says what they are."""
    return bytes(value) if isinstance(value, memoryview) else value


def _kind(value: Any) -> type:
    """The kind that decides the column's type: aware and naive times differ, and so do huge integers."""
    kind = type(value)
    if kind is int and not -_INT64 <= value < _INT64:
        return float
    if kind is dt.datetime and value.tzinfo is not None:
        return dt.tzinfo
    return kind


_NUMBERS: set[type] = {int, float, Decimal}
_SINGLE: dict[type, Callable[[], pl.DataType]] = {
    bool: pl.Boolean,
    dt.date: pl.Date,
    dt.datetime: lambda: pl.Datetime("us"),
    dt.tzinfo: lambda: pl.Datetime("us", "UTC"),
    bytes: pl.Binary,
}


def _is_text(kinds: set[type]) -> bool:
    return _dtype(kinds) == pl.String()


def _dtype(kinds: set[type]) -> pl.DataType:
    if kinds == {int}:
        return pl.Int64()
    if kinds and kinds <= _NUMBERS:
        return pl.Float64()
    if len(kinds) == 1 and (only := next(iter(kinds))) in _SINGLE:
        return _SINGLE[only]()
    return pl.String()


def _series(name: str, values: tuple[Any, ...], dtype: pl.DataType) -> pl.Series:
    if dtype == pl.String():
        return pl.Series(name, [None if value is None else _text(value) for value in values], dtype=dtype)
    if dtype == pl.Float64():
        return pl.Series(name, [None if value is None else float(value) for value in values], dtype=dtype)
    return pl.Series(name, list(values), dtype=dtype)


def _text(value: Any) -> str:
    if isinstance(value, (str, UUID)):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (dict, list)):
        return msgspec.json.encode(value, order="sorted").decode()
    return value.isoformat() if isinstance(value, (dt.date, dt.time)) else str(value)
