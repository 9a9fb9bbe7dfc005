"""One requirement: its evidence, its history, its slices, its alerts."""

from __future__ import annotations

from roadworthy.views.dashboard.requirement import requirement_of
from roadworthy.web.desk import Asked, Desk, Door, Page

__all__ = ["DOORS"]


def _page(desk: Desk, asked: Asked) -> Page:
    span = asked.span(desk)
    view = requirement_of(desk.site, asked.place["key"], span)
    return Page("requirement.html.j2", view.key, {"view": view, "span": span})


DOORS = (Door("/requirements/{key:path}", _page, "overview"),)
