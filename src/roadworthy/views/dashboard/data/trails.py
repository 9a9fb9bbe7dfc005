"""How columns stood in the windows before: effect, probability and shares, read once of each window.

In: summaries of windows, their records. Out: ``Mark``s by column and kind. Laws: at most ``MOST`` records are read for
a page; a mark is an alarm only where its rule alarmed, as the window's own summary says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from roadworthy.lifecycle import watching
from roadworthy.measures.alarms.budget import MOST_LEVEL, Allotment, Family
from roadworthy.measures.alarms.deciding import FLOORS, family_of, named
from roadworthy.records.shift import Shift, ShiftKind
from roadworthy.records.window import Judged, WindowSummary
from roadworthy.views.dashboard.data.looking import allotment_of, held_by, same_length
from roadworthy.views.dashboard.data.remembered import Remembered
from roadworthy.views.dashboard.site import Site

__all__ = ["MOST", "Mark", "Marks", "chosen", "marks_of"]

MOST = 60
"""Records that a page reads."""

_Key = tuple[str, ShiftKind]
Floats = NDArray[np.float64]
_NAN = float("nan")
_MOST_LEFT = 10.0


class Mark(NamedTuple):
    """One comparison in one window; ``now`` is the share of missing or new values, None of a distribution.

    ``level`` is what p has to be within at least; ``beyond``: it was proven, ``alarm``: and it called a person.
    """

    effect: float
    p: float
    level: float
    beyond: bool
    alarm: bool
    now: float | None


class Marks:
    """The marks of a window by subject and kind, packed: figures [comparisons, 6] of which the places are shared."""

    def __init__(self, keys: tuple[_Key, ...] = (), figures: Floats | None = None) -> None:
        self._places = _places.get(keys, lambda: {key: place for place, key in enumerate(keys)})
        self._figures = np.empty((0, len(Mark._fields))) if figures is None else figures

    def get(self, subject: str, kind: ShiftKind) -> Mark | None:
        """The mark of a comparison; None where it could not be made."""
        place = self._places.get((subject, kind))
        if place is None:
            return None
        effect, p, level, beyond, alarm, now = map(float, self._figures[place])
        return Mark(effect, p, level, bool(beyond), bool(alarm), None if math.isnan(now) else now)


_places: Remembered[tuple[_Key, ...], dict[_Key, int]] = Remembered(8)
_kept: Remembered[tuple[str, str, int, int, int], Marks] = Remembered(2 * MOST)


def marks_of(site: Site, connection: Connection, series: str, summary: WindowSummary) -> Marks:
    """The marks of one window."""
    key = (str(site.settings.registry), series, summary.number, summary.revision, summary.judged_at_us)

    def make() -> Marks:
        judged = watching.judged(connection, site.name, series, summary.number, summary.revision)
        return _marks(site, judged, frozenset(summary.alarms))

    return _kept.get(key, make)


def chosen(summaries: Sequence[WindowSummary], name: str, most: int = MOST) -> list[WindowSummary]:
    """Windows with rows, at most so many: of each stretch the one in which the column moved most, and the last one."""
    there = [one for one in summaries if one.rows]
    if len(there) <= most:
        return there
    step = len(there) / most
    picked = []
    for turn in range(most):
        stretch = there[round(turn * step) : round((turn + 1) * step)]
        last = turn == most - 1
        picked.append(stretch[-1] if last else max(stretch, key=lambda one: (_moved(one, name), one.number)))
    return picked


def _moved(summary: WindowSummary, name: str) -> float:
    own = {f"{kind}:{name}" for kind in (ShiftKind.MISSING, ShiftKind.NEW)}
    alarmed = 1.0 if own & set(summary.alarms) else 0.0
    return alarmed + max(summary.moved.get(f"{name}:{kind}", 0.0) for kind in ShiftKind)


def _marks(site: Site, judged: Judged, alarms: Set[str]) -> Marks:
    """All marks of a record.

    A family's level may have been up to ten times its equal part, where looks of other lengths left theirs: it is taken
    so where its rule alarmed in this window.
    """
    seconds = same_length(judged.window)
    allotment = allotment_of(site, judged, held_by(site, judged.version), seconds)
    families: dict[Family, list[Shift]] = {}
    for shift in judged.shifts:
        if shift.p is not None and not shift.error:
            families.setdefault(family_of(shift), []).append(shift)
    if not families:
        return Marks()
    keys = tuple((shift.subject, shift.kind) for shifts in families.values() for shift in shifts)
    figures = [_of_family(family, shifts, allotment, seconds, alarms) for family, shifts in families.items()]
    return Marks(keys, np.concatenate(figures))


def _of_family(
    family: Family, shifts: Sequence[Shift], allotment: Allotment, seconds: float, alarms: Set[str]
) -> Floats:
    """Figures [shifts, 6], as ``Mark`` has them."""
    members = allotment.members.get(family, 0) or len(shifts)
    whole = allotment.level(family, seconds=seconds) if allotment.members.get(family) else 0.0
    p_values = [1.0 if shift.p is None else shift.p for shift in shifts]
    found = np.full((len(shifts), len(Mark._fields)), _NAN)
    found[:, 0] = [shift.effect for shift in shifts]
    found[:, 1] = p_values
    if family in {Family.MISSING, Family.NEW}:
        found[:, 2] = whole / members
        found[:, 3] = found[:, 1] <= whole / members
        found[:, 5] = [shift.details.get("current", _NAN) for shift in shifts]
        called = [f"{family}:{shift.subject}" in alarms for shift in shifts]
    else:
        rule = f"drift:{family}" in alarms
        most = min(_MOST_LEFT * whole, MOST_LEVEL) if rule else whole
        beyond = named(p_values, most, members)
        found[:, 2] = whole * max(sum(beyond), 1) / members
        found[:, 3] = beyond
        called = [rule] * len(shifts)
    found[:, 4] = (found[:, 3] > 0) & (found[:, 0] >= FLOORS[family]) & np.array(called)
    return found
