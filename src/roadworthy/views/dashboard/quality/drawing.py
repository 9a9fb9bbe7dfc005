"""Pictures that were made already: a chart is neither defined nor drawn twice for the same figures.

In: what a picture shows, as plain data, and how it is made. Out: the ``Picture``; None where nothing is to be drawn.
Defining a chart costs more than drawing it, so that what is remembered is found before either.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from altair.utils.schemapi import debug_mode

from roadworthy.measures.charts.series import NARROW, Point, series, series_columns, series_words
from roadworthy.measures.charts.theme import Reference
from roadworthy.views.dashboard.pictures import Picture, draw

__all__ = ["half_series", "once"]

_MOST = 120
_made: OrderedDict[bytes, Picture | None] = OrderedDict()
_lock = threading.Lock()
_encode = msgspec.msgpack.Encoder().encode


def once(shown: Any, make: Callable[[], Picture | None]) -> Picture | None:
    """The picture of ``shown``, which is everything that ``make`` depends on."""
    key = _encode(shown)
    with _lock:
        if key in _made:
            _made.move_to_end(key)
            return _made[key]
    with debug_mode(arg=False):  # the renderer checks the whole chart
        picture = make()
    with _lock:
        _made[key] = picture
        while len(_made) > _MOST:
            _made.popitem(last=False)
    return picture


def half_series(
    points: Sequence[Point],
    figure: str,
    *,
    references: Sequence[Reference] = (),
    title: str = "",
    percent: bool = False,
) -> Picture | None:
    """A figure over windows for half a page's width, which a phone can show as it is."""

    def made() -> Picture | None:
        chart = series(points, figure, references=references, width=NARROW, percent=percent)
        if chart is None:
            return None
        return draw(chart, alt_text=series_words(points, title or figure), title=title, columns=series_columns(points))

    return once(("half", points, figure, references, title, percent), made)
