"""Runs: the list, and one of them as it goes."""

from __future__ import annotations

from roadworthy.errors import UsageError
from roadworthy.views.dashboard.runs import RunState, run, runs
from roadworthy.web.desk import Asked, Desk, Door, Page

__all__ = ["DOORS"]

_WATCHED_S, _LIST_S = 2, 5


def _list(desk: Desk, asked: Asked) -> Page:
    words = asked.query.get("page", "1")
    if not (words.isascii() and words.isdecimal() and len(words) < 10):
        raise UsageError(f"page {words[:40]!r} means nothing here", next_step="a number from 1 on")
    return Page("runs.html.j2", "Runs", {"runs": runs(desk.site, int(words))}, refresh_s=_LIST_S)


def _one(desk: Desk, asked: Asked) -> Page:
    found = run(desk.site, asked.place["id"])
    running = found.row.state is RunState.RUNNING
    title = found.row.title or f"Run {found.row.id}"
    return Page("runs_one.html.j2", title, {"run": found}, refresh_s=_WATCHED_S if running else 0)


DOORS = (Door("/runs", _list, "runs"), Door("/runs/{id}", _one, "runs"))
