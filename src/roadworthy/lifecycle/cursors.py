"""How far a monitor has come, when it last came to an end of its round, and what servers said of themselves.

In: texts, beats and readings, inside a transaction of the registry's. Out: the same. Law: what was read of a server is
never changed; it goes when it is old.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, select

from roadworthy.lifecycle import schema
from roadworthy.measures.heartbeat import Beat
from roadworthy.records.reading import Reading

__all__ = ["add_readings", "cursor", "forget_readings", "keep_beat", "last_beat", "readings", "set_cursor"]

_HEARTBEAT = "heartbeat"
_reading = msgspec.json.Decoder(Reading).decode


def cursor(connection: Connection, project: str, name: str) -> str:
    """Where a monitor has come to; empty before the first time."""
    table = schema.cursors
    query = select(table.c.value).where(table.c.project == project, table.c.name == name)
    return connection.execute(query).scalar() or ""


def set_cursor(connection: Connection, project: str, name: str, value: str) -> None:
    """Note where a monitor has come to."""
    table = schema.cursors
    connection.execute(table.delete().where(table.c.project == project, table.c.name == name))
    connection.execute(table.insert().values(project=project, name=name, value=value))


def keep_beat(connection: Connection, project: str, beat: Beat) -> None:
    """The monitor's heartbeat: what its last round came to."""
    set_cursor(connection, project, _HEARTBEAT, msgspec.json.encode(beat).decode())


def last_beat(connection: Connection, project: str) -> Beat | None:
    """The monitor's last heartbeat; None where nobody has ever watched."""
    words = cursor(connection, project, _HEARTBEAT)
    return msgspec.json.decode(words, type=Beat) if words else None


def add_readings(connection: Connection, project: str, readings: Sequence[Reading]) -> None:
    """Keep what servers said of themselves; what stands there already stays."""
    table = schema.operations
    for reading in readings:
        here = (table.c.project == project, table.c.worker == reading.address, table.c.at_us == reading.at_us)
        if connection.execute(select(table.c.at_us).where(*here)).first() is None:
            words = msgspec.json.encode(reading).decode()
            connection.execute(
                table.insert().values(project=project, worker=reading.address, at_us=reading.at_us, counters=words)
            )


def readings(connection: Connection, project: str, after_us: int, until_us: int) -> tuple[Reading, ...]:
    """The readings of a span, oldest first."""
    table = schema.operations
    query = select(table.c.counters).where(
        table.c.project == project, table.c.at_us > after_us, table.c.at_us <= until_us
    )
    texts = connection.execute(query.order_by(table.c.at_us, table.c.worker)).scalars()
    return tuple(_reading(text) for text in texts)


def forget_readings(connection: Connection, project: str, before_us: int) -> int:
    """Remove the readings before an instant; how many."""
    table = schema.operations
    return connection.execute(table.delete().where(table.c.project == project, table.c.at_us < before_us)).rowcount
