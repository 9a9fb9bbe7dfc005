"""Which window is looked at, and what it was held to.

In: the word ``window`` of a link (``"1 h/482031"``), else the newest window with rows. Out: ``Looked``. Laws: a window
is held to the bundle of the version that answered it, not to today's; a window that was not judged is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from roadworthy.errors import Problem, UnknownName, UsageError
from roadworthy.lifecycle import schema, watching
from roadworthy.measures.alarms.budget import Allotment, Family, allot, parse_budget
from roadworthy.measures.alarms.deciding import Compared, Ruling, members_of, rulings
from roadworthy.measures.alarms.scales import MOST_SCALES, Block
from roadworthy.records.contract import ColumnType
from roadworthy.records.version import Version
from roadworthy.records.window import Cut, Judged, Window, WindowKind
from roadworthy.stages.watching.watched import Watched, watched
from roadworthy.stages.watching.whole import allotment_for
from roadworthy.views.dashboard.data.remembered import Remembered
from roadworthy.views.dashboard.site import Site

__all__ = ["Held", "Looked", "allotment_of", "held_by", "in_service", "look", "same_length"]

_US = 1_000_000
_kept: Remembered[tuple[str, str], Watched] = Remembered(2)
_ruled: Remembered[tuple[str, str, int, int, int], tuple[Ruling, ...]] = Remembered(4)


@dataclass(frozen=True)
class Held:
    """A version and what it is held to."""

    version: Version
    watched: Watched

    @property
    def times(self) -> tuple[str, ...]:
        """Columns whose numbers are times."""
        columns = self.watched.contract.contract.columns
        return tuple(name for name, column in columns.items() if column.type is ColumnType.TIME)


@dataclass(frozen=True)
class Looked:
    """A window as it stands now. ``held`` is None where no registered version answered it (a log of others).

    ``before`` and ``after`` are the windows with rows next to it, None where there is none.
    """

    judged: Judged
    held: Held | None
    allotment: Allotment
    seconds: float
    before: int | None
    after: int | None
    key: tuple[str, str, int, int, int]

    @property
    def window(self) -> Window:
        """Its bounds."""
        return self.judged.window

    @property
    def rulings(self) -> tuple[Ruling, ...]:
        """Each comparison of this window alone, decided as the monitor decided it."""
        return _ruled.get(self.key, self._rulings)

    def _rulings(self) -> tuple[Ruling, ...]:
        number = self.window.number
        block = Block(scale=0, first=number, last=number)
        compared = Compared(block=block, seconds=self.seconds, shifts=self.judged.shifts)
        return rulings([compared], self.allotment)


def look(site: Site, connection: Connection, wanted: str = "") -> Looked | None:
    """The window that ``wanted`` names (SERIES/NUMBER), else the newest with rows, else the newest; None without any.

    UsageError where the words mean nothing, UnknownName where no such window was judged.
    """
    if wanted:
        series, number = _named(site, connection, wanted)
    else:
        series = site.series(connection)
        newest = _next_with_rows(site, connection, series)
        if newest is None:
            last = watching.last(connection, site.name, series)
            if last is None:
                return None
            newest = last.number
        number = newest
    judged = watching.judged(connection, site.name, series, number)
    held = held_by(site, judged.version)
    seconds = same_length(judged.window)
    return Looked(
        judged=judged,
        held=held,
        allotment=allotment_of(site, judged, held, seconds),
        seconds=seconds,
        before=_next_with_rows(site, connection, series, before=number),
        after=_next_with_rows(site, connection, series, after=number),
        key=(str(site.settings.registry), series, number, judged.revision, judged.judged_at_us),
    )


def held_by(site: Site, title: str) -> Held | None:
    """What the version of that title is held to; None where it is not registered here."""
    version = next((one for one in site.versions() if one.title == title), None)
    return None if version is None else _held(site, version)


def in_service(site: Site) -> Held | None:
    """The champion, else the newest version; None where there is none."""
    versions = site.versions()
    version = site.champion() or (versions[0] if versions else None)
    return None if version is None else _held(site, version)


def same_length(window: Window) -> float:
    """Seconds that a window lasts, at least one."""
    cut = Cut.parse(window.series)
    if cut.kind is WindowKind.TIME:
        return float(cut.size)
    after_us = window.after.at_us or window.until.at_us
    return max((window.until.at_us - after_us) / _US, 1.0)


def _held(site: Site, version: Version) -> Held:
    made = _kept.get((version.title, version.manifest), lambda: watched(version, site.bundle(version).parts))
    return Held(version, made)


def allotment_of(site: Site, judged: Judged, held: Held | None, seconds: float) -> Allotment:
    """The alarm budget as it was divided; of a log of others over what was compared alone."""
    scales = MOST_SCALES if Cut.parse(judged.window.series).kind is WindowKind.COUNT else None
    if held is not None:
        return allotment_for(held.watched, seconds, scales)
    members: Mapping[Family, int] = members_of(judged.shifts) or {Family.COLUMNS: 1}
    return allot(parse_budget(site.standard.alarm_budget), members, window_s=seconds, scales=scales)


def _named(site: Site, connection: Connection, wanted: str) -> tuple[str, int]:
    series, _, digits = wanted.rpartition("/")
    if not series or not (digits.isascii() and digits.isdigit()) or len(digits) > 15:
        problem = Problem(wanted[:60], where="window", expected="SERIES/NUMBER, such as 1 h/482031")
        raise UsageError("this names no window", problems=[problem], next_step="roadworthy windows   # lists them")
    number = int(digits)
    if not watching.starts(connection, site.name, series, [number]):
        known = list(watching.series(connection, site.name))
        last = watching.last(connection, site.name, series) if series in known else None
        near = [last.title] if last is not None else known
        raise UnknownName("window", wanted[:60], near, next_step="roadworthy windows   # lists them")
    return series, number


def _next_with_rows(
    site: Site, connection: Connection, series: str, *, before: int | None = None, after: int | None = None
) -> int | None:
    """The number of the window with rows that is next to another, the newest of all where none is named."""
    table = schema.windows
    number = table.c.number
    query = select(func.min(number) if after is not None else func.max(number)).where(
        table.c.project == site.name, table.c.series == series, table.c.revision == 0, table.c.rows > 0
    )
    if before is not None:
        query = query.where(number < before)
    if after is not None:
        query = query.where(number > after)
    found = connection.execute(query).scalar()
    return None if found is None else int(found)
