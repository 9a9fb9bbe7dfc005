"""Where one window ends and the next begins.

In: how the log is cut, the last window, the rows' places. Out: the next window that is over. Pure. Laws: windows of a
series follow each other without overlap, and without gap but for what was judged in windows that were cut otherwise; a
window is cut only when everything up to its end has had time to reach the log (the watermark); the same log is cut the
same way whenever it is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

from roadworthy.records.window import Cut, Place, Window, WindowKind

__all__ = ["next_windows"]

_US = 1_000_000
_BEGINNING = Place(0)


def next_windows(
    project: str,
    cut: Cut,
    last: Window | None,
    places: Sequence[Place],
    *,
    watermark_us: int,
    most: int = 64,
    beyond: Place = _BEGINNING,
) -> tuple[Window, ...]:
    """The windows after ``last`` that are over by ``watermark_us``, at most ``most`` of them.

    ``beyond`` is where windows that were cut otherwise ended: rows up to there are in one of these already.

    ``places`` are those of the rows after ``last``, in order (all of them, or as many as are known yet); windows of
    time need only the first, and that only where there is no window yet. Empty where none is over.
    """
    if cut.kind is WindowKind.TIME:
        return _of_time(project, cut, last, places, watermark_us, most, beyond)
    return _of_rows(project, cut, last, places, watermark_us, most, beyond)


def _of_time(  # noqa: PLR0917 - what next_windows was asked
    project: str, cut: Cut, last: Window | None, places: Sequence[Place], watermark_us: int, most: int, beyond: Place
) -> tuple[Window, ...]:
    size = cut.size * _US
    if last is not None:
        first = max(last.number + 1, beyond.at_us // size)
    elif places:
        first = places[0].at_us // size
    else:
        return ()
    over = min(watermark_us // size, first + most)
    return tuple(
        Window(
            project=project,
            series=cut.series,
            number=number,
            after=max(Place(number * size), beyond),
            until=Place((number + 1) * size),
        )
        for number in range(first, over)
    )


def _of_rows(  # noqa: PLR0917 - as above
    project: str, cut: Cut, last: Window | None, places: Sequence[Place], watermark_us: int, most: int, beyond: Place
) -> tuple[Window, ...]:
    settled = sum(1 for place in places if place.at_us < watermark_us)
    first = 0 if last is None else last.number + 1
    if last is not None:
        after = max(last.until, beyond)
    elif places:  # right before the first row: what lies before it is another series', or nothing
        after = Place(places[0].at_us, places[0].id, places[0].row - 1)
    else:
        return ()
    found: list[Window] = []
    for end in range(cut.size, settled + 1, cut.size):
        if len(found) == most:
            break
        until = places[end - 1]
        found.append(Window(project=project, series=cut.series, number=first + len(found), after=after, until=until))
        after = until
    return tuple(found)
