"""How far a monitor has come, when it last came to an end of its round, and what servers said of themselves.

In: texts, beats and readings, inside a transaction of the registry's. Out: the same. Law: what was read of a server is
never changed; it goes when it is old.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection, and_, case, func, select

from roadworthy.lifecycle import schema
from roadworthy.measures.heartbeat import Beat
from roadworthy.records.reading import Reading

__all__ = [
    "Thinned",
    "add_readings",
    "cursor",
    "forget_readings",
    "keep_beat",
    "known_servers",
    "last_beat",
    "last_read",
    "oldest_reading",
    "readings",
    "refusals",
    "set_cursor",
    "set_last_read",
    "set_waiting",
    "thinned_readings",
    "waiting",
    "was_read",
]

_HEARTBEAT = "heartbeat"
_SILENT, _WITH_REFUSED = '%"error":"%', '%"newly_refused":{%'  # in no text inside: its own quotes are escaped
_reading = msgspec.json.Decoder(Reading).decode


class _Refused(msgspec.Struct):
    """What of a reading tells which columns rows were refused for."""

    newly_refused: dict[str, dict[str, float]]


_refused = msgspec.json.Decoder(_Refused).decode


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


def waiting(connection: Connection, project: str, series: str) -> dict[int, int]:
    """By window of a series: labels that came since it was judged, too few yet for another look."""
    words = cursor(connection, project, f"waiting:{series}")
    return {int(number): news for number, news in msgspec.json.decode(words or "{}", type=dict[str, int]).items()}


def set_waiting(connection: Connection, project: str, series: str, news: Mapping[int, int]) -> None:
    """Note how many labels wait, by window."""
    words = msgspec.json.encode({str(number): count for number, count in sorted(news.items())}).decode()
    set_cursor(connection, project, f"waiting:{series}", words)


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


def last_read(connection: Connection, project: str, address: str) -> Reading | None:
    """A server's last answer, with all that it had counted; None where it never answered."""
    words = cursor(connection, project, f"server:{address}")
    return _reading(words) if words else None


def set_last_read(connection: Connection, project: str, reading: Reading) -> None:
    """Note a server's last answer."""
    set_cursor(connection, project, f"server:{reading.address}", msgspec.json.encode(reading).decode())


def refusals(connection: Connection, project: str, after_us: int, until_us: int) -> dict[str, dict[str, float]]:
    """Rows that servers refused in a span, by column and by how they broke the contract there; of all servers."""
    table = schema.operations
    query = select(table.c.counters).where(
        table.c.project == project,
        table.c.at_us > after_us,
        table.c.at_us <= until_us,
        table.c.counters.like(_WITH_REFUSED),
    )
    found: dict[str, dict[str, float]] = {}
    for text in connection.execute(query).scalars():
        for column, ways in _refused(text).newly_refused.items():
            own = found.setdefault(column, {})
            for way, rows in ways.items():
                own[way] = own.get(way, 0.0) + rows
    return found


def was_read(connection: Connection, project: str, after_us: int, until_us: int) -> bool:
    """Whether any server answered in a span, as far as readings are kept."""
    table = schema.operations
    query = select(table.c.at_us).where(
        table.c.project == project,
        table.c.at_us > after_us,
        table.c.at_us <= until_us,
        table.c.counters.not_like(_SILENT),
    )
    return connection.execute(query.limit(1)).first() is not None


def oldest_reading(connection: Connection, project: str) -> int | None:
    """When the oldest reading that is kept was taken; None where none is."""
    table = schema.operations
    found = connection.execute(select(func.min(table.c.at_us)).where(table.c.project == project)).scalar()
    return None if found is None else int(found)


def forget_readings(connection: Connection, project: str, before_us: int) -> int:
    """Remove the readings before an instant; how many."""
    table = schema.operations
    return connection.execute(table.delete().where(table.c.project == project, table.c.at_us < before_us)).rowcount


class Thinned(msgspec.Struct, frozen=True, kw_only=True):
    """A long span of readings, of which only the last answered one in each step of each server was read.

    ``asked`` counts by server and step (its number since 1970) how often the server was asked, and how often in vain.
    """

    readings: tuple[Reading, ...]
    asked: dict[tuple[str, int], tuple[int, int]]


def thinned_readings(connection: Connection, project: str, after_us: int, until_us: int, step_us: int) -> Thinned:
    """The readings of a long span, thinned in the database: what is read grows with its steps, not with its readings.

    Counters grow, so that nothing is lost between two readings of one start of a server; what was counted between the
    last reading of a step and a restart inside it is in ``readings`` of that step alone.
    """
    table = schema.operations
    step = table.c.at_us.op("/")(step_us)
    silent = table.c.counters.like(_SILENT)
    grouped = (
        select(
            table.c.worker,
            step.label("step"),
            func.count().label("asked"),
            func.sum(case((silent, 1), else_=0)).label("vain"),
            func.max(case((silent, None), else_=table.c.at_us)).label("last_us"),
        )
        .where(table.c.project == project, table.c.at_us > after_us, table.c.at_us <= until_us)
        .group_by(table.c.worker, step)
        .subquery()
    )
    query = select(grouped, table.c.counters).outerjoin(
        table,
        and_(table.c.project == project, table.c.worker == grouped.c.worker, table.c.at_us == grouped.c.last_us),
    )
    rows = connection.execute(query.order_by(grouped.c.last_us, grouped.c.worker)).all()
    return Thinned(
        readings=tuple(_reading(row.counters) for row in rows if row.counters is not None),
        asked={(row.worker, row.step): (row.asked, int(row.vain)) for row in rows},
    )


def known_servers(connection: Connection, project: str) -> dict[str, tuple[int, int]]:
    """When each server was asked first and last, as far as readings are kept."""
    table = schema.operations
    query = select(table.c.worker, func.min(table.c.at_us), func.max(table.c.at_us)).where(table.c.project == project)
    return {address: (first, last) for address, first, last in connection.execute(query.group_by(table.c.worker))}
