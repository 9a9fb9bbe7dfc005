"""Charts as pictures of a page: drawn once, at two widths where a wide one would be illegible on a phone.

In: exhibits and references, or ready Altair charts. Out: ``Picture``. Laws: the same chart is drawn once as long as it
is remembered (about 200 of them); a chart that has nothing to draw is None, and the page says so in words.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Generic, TypeVar

import altair as alt
import msgspec
from altair.utils.schemapi import debug_mode

from roadworthy.measures import charts
from roadworthy.measures.charts import Reference
from roadworthy.measures.charts.series import NARROW, WIDE, Point, series, series_columns, series_words
from roadworthy.records.evidence import Exhibit

T = TypeVar("T")

__all__ = ["Picture", "Point", "draw", "draw_exhibit", "draw_series"]

_MOST = 200


class _Remembered(Generic[T]):
    """What was made of what went in, the last ``_MOST`` of them."""

    def __init__(self) -> None:
        self._made: OrderedDict[bytes, T] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, given: str, make: Callable[[], T]) -> T:
        """What ``make`` gives, made once for the same text."""
        key = sha256(given.encode()).digest()
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        made = make()
        with self._lock:
            self._made[key] = made
            while len(self._made) > _MOST:
                self._made.popitem(last=False)
        return made


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """An SVG and its words. ``narrow`` is the same for a phone, empty where one size fits all.

    ``columns`` is the table behind it, shown on demand.
    """

    svg: str
    alt: str
    title: str = ""
    note: str = ""
    narrow: str = ""
    columns: dict[str, list[Any]] = {}


_drawings: _Remembered[str] = _Remembered()
_pictures: _Remembered[Picture | None] = _Remembered()


def draw_exhibit(exhibit: Exhibit, references: Sequence[Reference] = ()) -> Picture | None:
    """The picture of an exhibit; None where no chart is known for it, or nothing is there to draw."""
    chart = charts.chart_for(exhibit, references)
    if chart is None:
        return None
    return Picture(
        svg=_svg(chart),
        alt=charts.describe(exhibit),
        title=exhibit.title,
        note=exhibit.note,
        columns=exhibit.columns,
    )


def draw(
    chart: alt.TopLevelMixin,
    *,
    alt_text: str,
    title: str = "",
    note: str = "",
    narrow: alt.TopLevelMixin | None = None,
    columns: dict[str, list[Any]] | None = None,
) -> Picture:
    """The picture of a chart; ``narrow`` is the same for a phone, ``alt_text`` its words for whoever cannot see it."""
    return Picture(
        svg=_svg(chart),
        alt=alt_text,
        title=title,
        note=note,
        narrow="" if narrow is None else _svg(narrow),
        columns=columns or {},
    )


def draw_series(
    points: Sequence[Point],
    figure: str,
    *,
    references: Sequence[Reference] = (),
    title: str = "",
    note: str = "",
    percent: bool = False,
    half: bool = False,
) -> Picture | None:
    """A figure over windows; None where there is nothing to draw.

    ``references`` are ``of="value"``; ``percent`` for shares; ``half`` for a picture beside another on a wide page.
    """

    def made() -> Picture | None:
        widths = (NARROW,) if half else (WIDE, NARROW)
        with debug_mode(arg=False):  # checking each part takes ten times as long; the renderer checks the whole
            shown = [series(points, figure, references=references, width=width, percent=percent) for width in widths]
        if shown[0] is None:
            return None
        return draw(
            shown[0],
            alt_text=series_words(points, figure),
            title=title,
            note=note,
            narrow=None if half else shown[1],
            columns=series_columns(points),
        )

    given = (points, figure, references, title, note, percent, half)
    return _pictures.of(msgspec.json.encode(given).decode(), made)


def _svg(chart: alt.TopLevelMixin) -> str:
    with debug_mode(arg=False):  # as above
        key = json.dumps(chart.to_dict(validate=False), sort_keys=True, default=str)
    return _drawings.of(key, lambda: charts.to_svg(chart))
