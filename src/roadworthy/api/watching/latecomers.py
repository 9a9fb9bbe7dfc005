"""Rows that reach the log after the windows that they belong to were judged: counted, and told once.

In: windows that were judged not long ago, the log as it is now. Out: how many rows came too late. Laws: each is told
with one window; which were told stands in the registry, written with that window.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from roadworthy.api.watching.traffic import Traffic
from roadworthy.lifecycle import cursors
from roadworthy.lifecycle import watching as kept_windows
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.stages.watching.whole import Late

__all__ = ["Latecomers", "late_rows", "told_late"]

_MOST_WINDOWS = 64
_MOST_ROWS = 500_000


class Latecomers(msgspec.Struct, frozen=True):
    """How many rows of each window came too late, told until now and newly seen."""

    told: dict[str, int] = {}
    found: dict[str, int] = {}
    among: int = 0

    @property
    def late(self) -> Late:
        """What is new, among what."""
        known = sum(self.found.values())
        return Late(known - sum(min(self.told.get(k, 0), n) for k, n in self.found.items()), self.among, known)


def late_rows(transactions: Transactions, traffic: Traffic, project: str, series: str) -> Latecomers:
    """The rows of the last windows (64, half a million rows, at least one): judged then, and there now."""
    with transactions.reading() as connection:
        windows = kept_windows.sizes(connection, project, series, newest=_MOST_WINDOWS)
        words = cursors.cursor(connection, project, f"late:{series}")
    told = msgspec.json.decode(words or "{}", type=dict[str, int])
    rows = 0
    while len(windows) > 1 and sum(one.rows for one in windows) > _MOST_ROWS:
        windows = windows[1:]
    found: dict[str, int] = {}
    counts = traffic.counts([one.after for one in windows], [one.until for one in windows])
    for one, now in zip(windows, counts, strict=True):
        rows += one.rows
        if now > one.rows:
            found[str(one.number)] = now - one.rows
    return Latecomers(told, found, rows)


def told_late(connection: Connection, project: str, series: str, seen: Latecomers) -> None:
    """Note that these were told."""
    if seen.found and seen.found != seen.told:
        cursors.set_cursor(connection, project, f"late:{series}", msgspec.json.encode(seen.found).decode())
