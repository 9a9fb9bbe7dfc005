"""The registry's database: which kinds there are, and how a transaction begins in each.

In: a database URL. Out: two engines, for reading and for changing, or one for watching. Laws: one change at a time,
across processes and machines; all reads of one transaction see one state; the password is in no message.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from roadworthy.errors import MissingExtra, Problem, RegistryError

__all__ = ["engines", "parsed_url", "watching"]

_LOCK = 0x726F6164776F7274  # "roadwort": the registry's advisory lock in a PostgreSQL database
_PATIENCE = {  # libpq waits without end for a machine that is gone; the URL may say otherwise
    "connect_timeout": "10",
    "tcp_user_timeout": "15000",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}
_EXPECTED = "set it to, for example, sqlite:////path/registry.db or postgresql://user@host/name"


def parsed_url(url: str) -> URL:
    """The URL with the driver that Roadworthy uses; RegistryError when it is none, or of another kind of database."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise _unreadable(str(error).splitlines()[0]) from error
    kind = parsed.drivername.partition("+")[0]
    if kind == "sqlite":
        return parsed.set(drivername="sqlite")
    if kind in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+psycopg")
    raise _unreadable(f"{kind!r} is no kind of database that a registry can be kept in")


def engines(url: URL) -> tuple[Engine, Engine]:
    """Reading and changing, over one pool; MissingExtra when the driver is not installed."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    return _postgres(url)


def watching(url: URL) -> Engine:
    """An engine for looking at a registry that may go and come back: it creates nothing and keeps no file open."""
    if url.get_backend_name() != "sqlite":
        return _postgres(url, pool_pre_ping=True)[0]
    path = Path(url.database or "").absolute()
    engine = create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True), poolclass=NullPool
    )
    event.listen(engine, "connect", _sqlite_settings)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite(url: URL) -> tuple[Engine, Engine]:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)
    event.listen(engine, "connect", _sqlite_settings)
    event.listen(engine, "begin", _sqlite_begin)
    return engine, engine.execution_options(changes=True)


def _sqlite_settings(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun below, as writers, so that none has to be repeated
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    changes = connection.get_execution_options().get("changes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if changes else "BEGIN")


def _postgres(url: URL, **options: Any) -> tuple[Engine, Engine]:
    """A change reads what was committed before it got the lock; a reader sees one snapshot."""
    waits = {name: value for name, value in _PATIENCE.items() if name not in url.query}
    try:
        engine = create_engine(url, isolation_level="REPEATABLE READ", connect_args=waits, **options)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "a registry on PostgreSQL needs psycopg, which is not installed",
            problems=(Problem(f"no module {error.name}", expected="the extra postgres"),),
            next_step='pip install "roadworthy[postgres]"',
        ) from error
    changing = engine.execution_options(isolation_level="READ COMMITTED")
    event.listen(changing, "begin", _postgres_lock)
    return engine, changing


def _postgres_lock(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def _unreadable(found: str) -> RegistryError:
    return RegistryError(
        "the registry's URL cannot be read",
        problems=[Problem(found, where="ROADWORTHY_REGISTRY", expected="a database URL")],
        next_step=_EXPECTED,
    )
