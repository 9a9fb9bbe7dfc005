"""The window that is looked at, for people: when, how many rows, what is beside it.

In: ``Looked``. Out: ``Shown``. Law: what happened since (windows without rows, labels that came) is said.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from roadworthy.lifecycle import watching
from roadworthy.records.shift import Shift
from roadworthy.records.window import Judged
from roadworthy.views.dashboard.data.looking import Looked
from roadworthy.views.dashboard.site import Site

__all__ = ["Shown", "no_comparison", "shown_window"]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A window: ``title`` is SERIES/NUMBER; ``before`` and ``after`` are the titles beside it, empty for none.

    ``newest``: no later window has rows. ``silent`` windows came since, without any row, the last until ``until_us``.
    ``other_rows`` were answered by other versions and are not in what is compared.
    """

    title: str
    series: str
    number: int
    start_us: int
    end_us: int
    rows: int
    version: str
    before: str = ""
    after: str = ""
    newest: bool = True
    silent: int = 0
    until_us: int = 0
    other_rows: int = 0
    late_rows: int = 0
    notes: tuple[str, ...] = ()


def shown_window(site: Site, connection: Connection, looked: Looked) -> Shown:
    """The window for people."""
    judged, window = looked.judged, looked.window
    last = watching.last(connection, site.name, window.series)
    newest = looked.after is None
    series = window.series
    return Shown(
        title=window.title,
        series=series,
        number=window.number,
        start_us=window.after.at_us,
        end_us=window.until.at_us,
        rows=judged.counts["rows"],
        version=judged.version,
        before="" if looked.before is None else f"{series}/{looked.before}",
        after="" if looked.after is None else f"{series}/{looked.after}",
        newest=newest,
        silent=last.number - window.number if newest and last is not None and judged.counts["rows"] else 0,
        until_us=window.until.at_us if last is None else last.until.at_us,
        other_rows=judged.counts.get("other_versions", 0),
        late_rows=judged.counts.get("late_rows", 0),
        notes=judged.notes,
    )


def no_comparison(judged: Judged, shifts: tuple[Shift, ...]) -> str:
    """Why nothing of a window was compared; empty where something was."""
    if any(shift.p is not None for shift in shifts):
        return ""
    if not judged.counts["rows"]:
        return "no row came in this window"
    reasons = [shift.insufficient or shift.error for shift in shifts if shift.insufficient or shift.error]
    if reasons:
        return reasons[0]
    return judged.notes[0] if judged.notes else "its rows were not compared with the reference"
