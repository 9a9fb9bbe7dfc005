"""Windows in the registry: what was judged, and when.

In: ``Judged`` windows and sketches, inside a transaction of the registry's. Out: the same. Laws: a window's revision is
written once, whoever asks (its key is project, series, number, revision); windows of a series have no gap, but for what
was judged in windows that were cut otherwise; nothing that was written is changed. A window is written in the
transaction that also moves the cursor and tells the alerts, so that a monitor that is killed at any instruction has
either judged a window or not.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, and_, false, func, or_, select

from roadworthy.errors import RegistryError
from roadworthy.lifecycle import schema
from roadworthy.measures.sketches import Reference
from roadworthy.records.window import Judged, Place, Window, WindowSummary

__all__ = [
    "Size",
    "add",
    "add_all",
    "begins",
    "ends",
    "is_there",
    "judged",
    "last",
    "newest_end",
    "newest_labelled",
    "revisions",
    "series",
    "sizes",
    "sketch",
    "starts",
    "summaries",
]

_LEVEL = 1
_LONGEST = 1_024  # windows that a look back covers at most
_AT_ONCE = 250  # rows that are fetched
_encode = msgspec.msgpack.Encoder().encode
_judged = msgspec.msgpack.Decoder(Judged).decode
_sketch = msgspec.msgpack.Decoder(Reference).decode
_summary = msgspec.json.Decoder(WindowSummary).decode


class Size(NamedTuple):
    """A window's bounds and how many rows it had."""

    number: int
    after: Place
    until: Place
    rows: int


def last(connection: Connection, project: str, series: str = "") -> Window | None:
    """The newest window of a series, or of any series where none is named; None where there is none."""
    table = schema.windows
    query = select(table.c.record).where(table.c.project == project, table.c.revision == 0)
    if series:  # by number, which is by time too, and the key's own order: a year of windows is not sorted every look
        query = query.where(table.c.series == series).order_by(table.c.number.desc())
    else:
        query = query.order_by(table.c.end_us.desc(), table.c.number.desc())
    row = connection.execute(query.limit(1)).first()
    return None if row is None else _open(row.record).window


def series(connection: Connection, project: str) -> tuple[str, ...]:
    """The names of all series that windows of a project were judged in."""
    table = schema.windows
    query = select(table.c.series).where(table.c.project == project).distinct().order_by(table.c.series)
    return tuple(connection.execute(query).scalars())


def is_there(connection: Connection, window: Window, revision: int) -> bool:
    """Whether this revision of a window was judged already, by whomever."""
    table = schema.windows
    query = select(table.c.number).where(
        table.c.project == window.project,
        table.c.series == window.series,
        table.c.number == window.number,
        table.c.revision == revision,
    )
    return connection.execute(query).first() is not None


def add(connection: Connection, found: Judged, summary: WindowSummary, sketch: Reference | None) -> None:
    """Write one revision of a window; RegistryError where windows before it are missing, or it is there."""
    add_all(connection, [(found, summary, sketch)])


def add_all(connection: Connection, found: Sequence[tuple[Judged, WindowSummary, Reference | None]]) -> None:
    """Write revisions of windows of one series, which follow each other where they are several; as ``add``."""
    window, table = found[0][0].window, schema.windows
    same = and_(table.c.project == window.project, table.c.series == window.series)
    newest = connection.execute(select(func.max(table.c.number)).where(same)).scalar()
    for judged, _, _ in found:
        newest = _in_turn(connection, judged, None if newest is None else int(newest))
    connection.execute(table.insert(), [_row(*one) for one in found])


def _in_turn(connection: Connection, found: Judged, newest: int | None) -> int:
    """The newest number when this is written; RegistryError where it is not what comes next."""
    window, table = found.window, schema.windows
    same = and_(table.c.project == window.project, table.c.series == window.series)
    if newest is None or window.number > newest:
        expected = 0
    else:
        query = select(func.max(table.c.revision)).where(same, table.c.number == window.number)
        revision = connection.execute(query).scalar()
        expected = 0 if revision is None else int(revision) + 1
    ahead = newest is not None and expected == 0 and window.number != newest + 1
    gap = ahead and not (newest is not None and _judged_otherwise(connection, window, newest))
    if found.revision != expected or gap:
        raise RegistryError(
            f"window {window.title} was judged out of turn: revision {found.revision} where {expected} is next"
            if not gap
            else f"window {window.title} was judged out of turn: the newest is {newest}",
            next_step="see that one monitor alone watches the project; it goes on by itself",
        )
    return window.number if newest is None else max(newest, window.number)


def _judged_otherwise(connection: Connection, window: Window, newest: int) -> bool:
    """Whether what lies between the newest window and this one was judged in windows that were cut otherwise."""
    table = schema.windows
    end = select(func.max(table.c.end_us)).where(
        table.c.project == window.project, table.c.series == window.series, table.c.number == newest
    )
    query = select(func.count()).where(
        table.c.project == window.project,
        table.c.series != window.series,
        table.c.end_us > end.scalar_subquery(),
    )
    return window.number > newest and bool(connection.execute(query).scalar())


def _row(found: Judged, summary: WindowSummary, sketch: Reference | None) -> dict[str, Any]:
    window = found.window
    return {
        "project": window.project,
        "series": window.series,
        "number": window.number,
        "revision": found.revision,
        "start_us": window.after.at_us,
        "end_us": window.until.at_us,
        "version": found.version,
        "outcome": str(found.verdict.readiness),
        "rows": found.counts["rows"],
        "labelled": found.counts["labelled"],
        "judged_at_us": found.judged_at_us,
        "summary": msgspec.json.encode(summary).decode(),
        "record": zlib.compress(_encode(found), _LEVEL),
        "sketch": None if sketch is None else zlib.compress(_encode(sketch), _LEVEL),
    }


def judged(connection: Connection, project: str, series: str, number: int, revision: int | None = None) -> Judged:
    """A window as it was judged, the newest revision where none is named; RegistryError where there is none."""
    table = schema.windows
    query = select(table.c.record).where(table.c.project == project, table.c.series == series, table.c.number == number)
    if revision is not None:
        query = query.where(table.c.revision == revision)
    row = connection.execute(query.order_by(table.c.revision.desc()).limit(1)).first()
    if row is None:
        shown = f"{series}/{number}" + ("" if revision is None else f", revision {revision}")
        raise RegistryError(f"no window {shown} of {project} was judged", next_step="roadworthy windows   # lists them")
    return _open(row.record)


def revisions(connection: Connection, project: str, series: str, number: int) -> tuple[Judged, ...]:
    """All revisions of a window, oldest first."""
    table = schema.windows
    query = select(table.c.record).where(table.c.project == project, table.c.series == series, table.c.number == number)
    return tuple(_open(row.record) for row in connection.execute(query.order_by(table.c.revision)))


def sketch(connection: Connection, project: str, series: str, number: int) -> Reference | None:
    """How the rows of a window looked, on the frame of its version's reference; None for a window without rows."""
    table = schema.windows
    query = select(table.c.sketch).where(
        table.c.project == project, table.c.series == series, table.c.number == number, table.c.revision == 0
    )
    kept = connection.execute(query).scalar()
    return None if kept is None else _sketch(zlib.decompress(kept))


def summaries(
    connection: Connection,
    project: str,
    series: str,
    *,
    since_us: int | None = None,
    until_us: int | None = None,
    newest: int | None = None,
    numbers: Sequence[int] | None = None,
) -> Sequence[WindowSummary]:
    """The newest revision of each window of a span, oldest first: what lists and charts are made from.

    ``newest``: of so many windows at most, the last ones. ``numbers``: these, besides those since an instant.
    """
    table = schema.windows
    query = select(table.c.summary).where(table.c.project == project, table.c.series == series)
    if numbers is not None:
        later = false() if since_us is None else table.c.end_us > since_us
        query = query.where(or_(later, table.c.number.in_(numbers)))
    elif since_us is not None:
        query = query.where(table.c.end_us > since_us)
    if until_us is not None:
        query = query.where(table.c.start_us < until_us)
    if newest is not None:
        last = select(func.max(table.c.number)).where(table.c.project == project, table.c.series == series)
        query = query.where(table.c.number > last.scalar_subquery() - newest)
    texts = connection.execute(query.order_by(table.c.number, table.c.revision)).scalars().yield_per(_AT_ONCE)
    found = {one.number: one for one in map(_summary, texts)}  # texts of a year would take more than what they say
    return tuple(found.values())


def sizes(connection: Connection, project: str, series: str, *, newest: int) -> tuple[Size, ...]:
    """Bounds and rows of the last windows of a series, as they were first judged, oldest first."""
    table = schema.windows
    same = (table.c.project == project, table.c.series == series, table.c.revision == 0)
    query = select(table.c.number, table.c.rows, table.c.summary).where(*same)
    rows = connection.execute(query.order_by(table.c.number.desc()).limit(newest)).all()[::-1]
    untils = {int(row.number): _summary(row.summary).until for row in rows}
    found = []
    for row in rows:
        number = int(row.number)
        after = untils.get(number - 1)
        if after is None:  # the first of them: where it begins stands in its record alone
            record = connection.execute(select(table.c.record).where(*same, table.c.number == number)).scalar_one()
            after = _open(record).window.after
        found.append(Size(number, after, untils[number], int(row.rows)))
    return tuple(found)


def starts(connection: Connection, project: str, series: str, numbers: Sequence[int]) -> dict[int, int]:
    """When windows began, in microseconds since 1970, of those that there are."""
    table = schema.windows
    query = select(table.c.number, table.c.start_us).where(
        table.c.project == project, table.c.series == series, table.c.revision == 0, table.c.number.in_(numbers)
    )
    return {int(row.number): int(row.start_us) for row in connection.execute(query)}


def begins(connection: Connection, window: Window, numbers: Sequence[int], most_rows: int) -> dict[int, Place]:
    """Where windows before this one began, of those from which on there are at most so many rows."""
    table = schema.windows
    same = (table.c.project == window.project, table.c.series == window.series, table.c.revision == 0)
    found: dict[int, Place] = {}
    for number in numbers:
        between = connection.execute(
            select(func.sum(table.c.rows)).where(*same, table.c.number >= number, table.c.number < window.number)
        ).scalar()
        record = connection.execute(select(table.c.record).where(*same, table.c.number == number)).scalar()
        if record is not None and int(between or 0) <= most_rows:
            found[number] = _open(record).window.after
    return found


def ends(connection: Connection, project: str, series: Sequence[str]) -> Place:
    """Where the newest windows of some series ended; the beginning of time where there are none."""
    return max((found.until for one in series if (found := last(connection, project, one))), default=Place(0))


def newest_labelled(connection: Connection, window: Window) -> int:
    """The number of the newest window up to this one that was judged with a label; -1 where there is none."""
    table = schema.windows
    query = select(func.max(table.c.number)).where(
        table.c.project == window.project,
        table.c.series == window.series,
        table.c.number <= window.number,
        table.c.number > window.number - _LONGEST,
        table.c.labelled > 0,
    )
    found = connection.execute(query).scalar()
    return -1 if found is None else int(found)


def _open(record: bytes) -> Judged:
    return _judged(zlib.decompress(record))


def newest_end(connection: Connection, window: Window) -> int | None:
    """When the newest window with rows ended that ended before this one began; None where there is none.

    One of the same series, else one that was cut otherwise.
    """
    table = schema.windows
    query = select(table.c.end_us).where(
        table.c.project == window.project, table.c.rows > 0, table.c.end_us <= window.after.at_us
    )
    same = query.where(table.c.series == window.series, table.c.number < window.number)
    for ordered in (same.order_by(table.c.number.desc()), query.order_by(table.c.end_us.desc())):
        found = connection.execute(ordered.limit(1)).scalar()
        if found is not None:
            return int(found)
    return None
