"""Both sides of one column: its sketch in the reference, and now, of one window or of several together.

In: a version's reference, sketches of windows. Out: ``Sides``, and the comparison made anew where windows were put
together. Laws: only windows that one version answered are put together; of more than ``MOST_MERGED`` the newest are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection

from roadworthy.errors import DataError
from roadworthy.lifecycle import watching
from roadworthy.measures.drift import compared
from roadworthy.measures.sketches import CategorySketch, NumberSketch, Reference, merge
from roadworthy.records.shift import Shift
from roadworthy.records.window import WindowSummary
from roadworthy.views.dashboard.data.looking import Held, Looked
from roadworthy.views.dashboard.site import Site

__all__ = ["MOST_MERGED", "Sides", "reference_side", "sides_of_span", "sides_of_window"]

MOST_MERGED = 24
Sketch = NumberSketch | CategorySketch


@dataclass(frozen=True)
class Sides:
    """``old`` and ``new`` on one frame; ``windows`` went into the new one, ``shifts`` compare them."""

    old: Sketch
    new: Sketch
    windows: int
    rows: int
    shifts: tuple[Shift, ...] = ()


def reference_side(held: Held, name: str) -> Sketch | None:
    """A column as the training part had it; None where the bundle does not count it."""
    return _own(held.watched.columns, name)


def sides_of_window(site: Site, connection: Connection, looked: Looked, name: str) -> Sides | None:
    """The window that is looked at; None where it has no rows, or its sketch does not hold the column."""
    return _together(site, connection, looked, name, (looked.window.number,))


def sides_of_span(
    site: Site, connection: Connection, looked: Looked, name: str, within: Sequence[WindowSummary]
) -> Sides | None:
    """The newest windows of a span that the same version answered, put together."""
    fit = [one.number for one in within if one.rows and one.version == looked.judged.version]
    return _together(site, connection, looked, name, fit[-MOST_MERGED:])


def _together(site: Site, connection: Connection, looked: Looked, name: str, numbers: Sequence[int]) -> Sides | None:
    if looked.held is None:
        return None
    reference = _only(looked.held.watched.reference, name)
    merged: Reference | None = None
    windows = 0
    for number in numbers:
        kept = watching.sketch(connection, site.name, looked.window.series, number)
        one = None if kept is None else _only(kept, name)
        if one is None or _own(one, name) is None:
            continue
        merged = one if merged is None else merge(merged, one)
        windows += 1
    old = _own(reference, name)
    new = None if merged is None else _own(merged, name)
    if merged is None or old is None or new is None:
        return None
    try:
        shifts = compared(reference, merged, times=looked.held.times)
    except DataError:  # counted on another frame than this version's: a picture would compare what does not compare
        return None
    return Sides(old, new, windows, merged.rows, shifts)


def _only(reference: Reference, name: str) -> Reference:
    """One column, or the score of that name."""
    place = _score_place(reference, name)
    return msgspec.structs.replace(
        reference,
        numbers={name: reference.numbers[name]} if name in reference.numbers else {},
        categories={name: reference.categories[name]} if name in reference.categories else {},
        scores=() if place is None else (reference.scores[place],),
        joint=None,
    )


def _own(reference: Reference, name: str) -> Sketch | None:
    if name in reference.numbers:
        return reference.numbers[name]
    if name in reference.categories:
        return reference.categories[name]
    place = _score_place(reference, name)
    return None if place is None else reference.scores[place]


def _score_place(reference: Reference, name: str) -> int | None:
    """Whether a name is that of the one score; a column that is called so comes first."""
    known = name in reference.numbers or name in reference.categories
    return 0 if name == "score" and len(reference.scores) == 1 and not known else None
