"""Live: how the servers are."""

from __future__ import annotations

from roadworthy.views.dashboard.live import live
from roadworthy.web.desk import Asked, Desk, Door, Page

__all__ = ["DOORS"]

_OFTEN_S, _SELDOM_S = 5, 30
_SHORT_US = 6 * 3_600_000_000
"""A longer span is looked at again more seldom: its pictures hardly change, and more has to be read for them."""


def _page(desk: Desk, asked: Asked) -> Page:
    span = asked.span(desk, "1h")
    server = asked.query.get("server", "")
    shown = {"span": span, "server": server, "live": live(desk.site, span, server)}
    often = span.until_us - span.since_us <= _SHORT_US
    refresh_s = (_OFTEN_S if often else _SELDOM_S) if span.chosen else 0
    return Page("live.html.j2", "Live", shown, refresh_s=refresh_s)


DOORS = (Door("/live", _page, "live"),)
