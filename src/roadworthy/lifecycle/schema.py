"""The registry's tables and their migrations.

Owns the schema number and the way from every older number to the newest. A new number adds a function to
``MIGRATIONS``; the old ones are never edited, and a test walks from each released schema to the newest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    inspect,
    select,
    text,
)

from roadworthy.errors import RegistryError

__all__ = [
    "SCHEMA",
    "alert_events",
    "alerts",
    "aliases",
    "api_keys",
    "audit",
    "cursors",
    "keys",
    "looks",
    "metadata",
    "migrate",
    "notifications",
    "operations",
    "schema_number",
    "signed",
    "silences",
    "versions",
    "windows",
]

SCHEMA = 5
"""The newest schema number."""

metadata = MetaData()

state = Table("schema_state", metadata, Column("number", Integer, primary_key=True))

versions = Table(
    "versions",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("digest", String(71), nullable=False),
    Column("manifest", String(71), nullable=False),
    Column("readiness", String(20), nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("record", Text, nullable=False),  # the whole Version as JSON
    UniqueConstraint("name", "manifest"),
)

aliases = Table(
    "aliases",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("alias", String(60), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("moved_at", String(40), nullable=False),
)

looks = Table(
    "holdout_looks",
    metadata,
    Column("holdout", String(71), primary_key=True),
    Column("subject", String(71), primary_key=True),
    Column("at", String(40), nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("fingerprint", String(71), primary_key=True),
    Column("public_pem", Text, nullable=False),
    Column("added_at", String(40), nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("at", String(40), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("action", String(60), nullable=False),
    Column("subject", String(300), nullable=False),
    Column("details", Text, nullable=False),
    Column("previous", String(71), nullable=False),
    Column("hash", String(71), nullable=False),
)

signed = Table(
    "signed",
    metadata,
    Column("project", String(200), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(20), nullable=False),
    Column("subject", Text, nullable=False),
    Column("expires", String(10), nullable=False),
    Column("record", Text, nullable=False),  # the whole Signed as JSON, its signature and its revocation included
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("digest", String(64), nullable=False),  # SHA-256 of the whole key, which stands nowhere
    Column("created_at", String(40), nullable=False),
    Column("revoked_at", String(40), nullable=False),  # empty while the key is accepted
)

windows = Table(
    "windows",
    metadata,
    Column("project", String(200), primary_key=True),
    Column("series", String(60), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("start_us", BigInteger, nullable=False),
    Column("end_us", BigInteger, nullable=False),
    Column("version", String(220), nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("labelled", BigInteger, nullable=False),
    Column("judged_at_us", BigInteger, nullable=False),
    Column("summary", Text, nullable=False),  # compact JSON, for lists and charts
    Column("record", LargeBinary, nullable=False),  # the whole Judged, compressed
    Column("sketch", LargeBinary),  # what the window's rows look like, to be merged with others
)

cursors = Table(
    "cursors",
    metadata,
    Column("project", String(200), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("value", Text, nullable=False),
)

operations = Table(
    "operations",
    metadata,
    Column("project", String(200), primary_key=True),
    Column("worker", String(80), primary_key=True),
    Column("at_us", BigInteger, primary_key=True, autoincrement=False),
    Column("counters", Text, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("project", String(200), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("rule", Text, nullable=False),
    Column("state", String(20), nullable=False),
    Column("severity", String(10), nullable=False),
    Column("record", Text, nullable=False),  # the whole Alert as JSON
    Index("alerts_by_state", "project", "state"),
    Index("alerts_by_rule", "project", "rule"),
)

alert_events = Table(
    "alert_events",
    metadata,
    Column("project", String(200), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("what", String(20), nullable=False),
    Column("who", String(200), nullable=False),
    Column("words", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("signal", String(64)),  # SHA-256 of rule and source of an alarm: none is heard twice
    UniqueConstraint("project", "signal"),
)

silences = Table(
    "silences",
    metadata,
    Column("project", String(200), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("rule", Text, nullable=False),
    Column("starts_us", BigInteger, nullable=False),
    Column("ends_us", BigInteger, nullable=False),
    Column("who", String(200), nullable=False),
    Column("reason", Text, nullable=False),
)

notifications = Table(
    "notifications",
    metadata,
    Column("project", String(200), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("channel", String(71), primary_key=True),  # a slow digest of the channel's URL, which stands nowhere
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("state", String(10), nullable=False),  # waiting or sent
    Column("attempts", Integer, nullable=False),
    Column("next_us", BigInteger, nullable=False),
    Column("sent_us", BigInteger, nullable=False),  # 0 while it waits
    Column("problem", Text, nullable=False),  # why the last attempt failed, empty where none did
    Index("notifications_by_state", "project", "state", "next_us"),
)

_OF_FIFTH = (windows, cursors, operations, alerts, alert_events, silences, notifications)


def _first(connection: Connection) -> None:
    """Schema 1: everything above."""
    metadata.create_all(connection)


def _second(connection: Connection) -> None:
    """Schema 2: a version names its bundle's manifest. What schema 1 held was never released, nor bound to a bundle."""
    if versions.c.manifest.name not in {column["name"] for column in inspect(connection).get_columns(versions.name)}:
        raise RegistryError(
            "the registry is of a Roadworthy before its first release, whose versions are not bound to their bundles",
            next_step="move the registry away and run `roadworthy run`; what the lake holds is not done again",
        )


def _third(connection: Connection) -> None:
    """Schema 3: signed words, and versions that may be judged again. What schema 2 held stays as it is."""
    signed.create(connection, checkfirst=True)


def _fourth(connection: Connection) -> None:
    """Schema 4: API keys. What schema 3 held stays as it is."""
    api_keys.create(connection, checkfirst=True)


def _fifth(connection: Connection) -> None:
    """Schema 5: what monitoring keeps. What schema 4 held stays as it is."""
    for table in _OF_FIFTH:
        table.create(connection, checkfirst=True)


MIGRATIONS: Mapping[int, Callable[[Connection], None]] = {
    1: _first,
    2: _second,
    3: _third,
    4: _fourth,
    5: _fifth,
}
"""Number → what leads there from the number before."""


def schema_number(connection: Connection) -> int:
    """The number a database is at; 0 when it is empty."""
    if not connection.dialect.has_table(connection, state.name):
        return 0
    return int(connection.execute(select(state.c.number)).scalar_one())


def migrate(connection: Connection) -> None:
    """Bring a database to SCHEMA inside the caller's transaction; RegistryError when it is newer than this code."""
    number = schema_number(connection)
    if number > SCHEMA:
        raise RegistryError(
            f"the registry is at schema {number}, this Roadworthy knows up to {SCHEMA}",
            next_step="upgrade Roadworthy, or point it to another registry",
        )
    for step in range(number + 1, SCHEMA + 1):
        MIGRATIONS[step](connection)
    if number != SCHEMA:
        connection.execute(text("DELETE FROM schema_state"))
        connection.execute(state.insert().values(number=SCHEMA))
