"""Live rows that were refused because they break the contract, by the column that they break it in.

In: what servers counted, as the monitor kept it. Out: ``Refused``. Laws: what no server told is not called nought; a
row that breaks two columns is told at both, so that columns do not add up to rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection

from roadworthy.lifecycle import cursors
from roadworthy.records.contract import Breach
from roadworthy.views.dashboard.data.looking import Looked
from roadworthy.views.dashboard.site import Site

__all__ = ["Refused", "Tally", "refused_in"]

_LONGEST_US = 7 * 86_400_000_000
_WORDS = {
    Breach.MISSING: "missing",
    Breach.TYPE: "not of its type",
    Breach.RANGE: "out of range",
    Breach.ALLOWED: "not an allowed value",
    Breach.PATTERN: "not of the declared form",
    Breach.RULE: "against a rule",
    Breach.UNKNOWN: "fields that the contract does not name",
    Breach.FORM: "no row at all",
}


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that were refused for one column: by how they break it, most first; a row is counted once."""

    rows: int = 0
    ways: tuple[tuple[str, int], ...] = ()


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """By column: in the window that is looked at, and, of the newest one, ``since`` from ``since_us`` until now.

    ``asked``: a server was read in the window. The empty name is of what belongs to no column of the contract.
    """

    asked: bool
    during: Mapping[str, Tally] = {}
    since: Mapping[str, Tally] = {}
    since_us: int = 0

    def rows(self, name: str) -> int:
        """Rows that were refused for a column, in the window and since."""
        return self.of(name).rows + self.later(name).rows

    def of(self, name: str) -> Tally:
        """What was refused for a column in the window."""
        return self.during.get(name, _NONE)

    def later(self, name: str) -> Tally:
        """What was refused for it since."""
        return self.since.get(name, _NONE)

    @property
    def worst(self) -> tuple[str, ...]:
        """The columns with refused rows, most first."""
        names = {name for name in (*self.during, *self.since) if name}
        return tuple(sorted(names, key=lambda name: (-self.rows(name), name)))


_NONE = Tally()


def refused_in(site: Site, connection: Connection, looked: Looked) -> Refused:
    """What was refused in a window, and since it ended where no later one has rows; of the last week at most."""
    after_us, until_us = looked.window.after.at_us, looked.window.until.at_us
    now_us = site.now_us()
    since_us = max(until_us, now_us - _LONGEST_US)
    later = {} if looked.after is not None else cursors.refusals(connection, site.name, since_us, now_us)
    return Refused(
        asked=cursors.was_read(connection, site.name, after_us, until_us),
        during=_tallies(cursors.refusals(connection, site.name, after_us, until_us)),
        since=_tallies(later),
        since_us=since_us,
    )


def _tallies(counts: Mapping[str, Mapping[str, float]]) -> dict[str, Tally]:
    return {name: _tally(ways) for name, ways in counts.items()}


def _tally(ways: Mapping[str, float]) -> Tally:
    known = [(_WORDS[breach], round(ways[breach])) for breach in Breach if breach in ways]
    known.sort(key=lambda one: -one[1])
    return Tally(rows=sum(rows for _, rows in known), ways=tuple(known))
