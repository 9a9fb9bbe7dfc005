"""One window of live traffic."""

from __future__ import annotations

from roadworthy.errors import UnknownName
from roadworthy.views.dashboard.window import window_of
from roadworthy.web.desk import Asked, Desk, Door, Page

__all__ = ["DOORS"]

_MOST = 2**62


def _page(desk: Desk, asked: Asked) -> Page:
    series, number = asked.place["series"], asked.place["number"]
    if not (number.isascii() and number.isdecimal() and len(number) < 19 and int(number) < _MOST):
        raise UnknownName("window", f"{series}/{number}"[:200], [], next_step="start from the overview")
    view = window_of(desk.site, series, int(number))
    return Page("window.html.j2", f"Window {view.series}/{view.number}", {"view": view})


DOORS = (Door("/windows/{series}/{number}", _page, "overview"),)
