"""What a row at time ``t`` sees of kept events: the values that ``past.compute`` gives over history, one row at a time.

In: looks, and positions among the chunks of one entity. Out: doubles, NaN where a look has no answer. Law: bit for bit
what ``past.compute`` gives for the same events; where a part of the wanted past is no longer kept, ``TooOld`` instead
of a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

from roadworthy.transforms.aggregates.chunks import Chunk, Held
from roadworthy.transforms.aggregates.looks import Function, Look

__all__ = ["Position", "TooOld", "divided", "value_of"]

_NAN = math.nan


class TooOld(Exception):
    """The past that was asked for is no longer kept."""


class Position(NamedTuple):
    """A place among an entity's entries: all that come before ``place`` of this chunk.

    ``place`` 0 is the beginning of all that is kept; ``time`` is the one that was asked for.
    """

    chunk: Chunk
    place: int
    key: bytes
    time: int


Between = Callable[[Position, Position], Iterable[Chunk]]
"""The chunks that lie between those of two positions."""


def value_of(look: Look, number: int, start: Position | None, end: Position | None, between: Between) -> float:
    """A look's value at ``end.time``; ``start`` is where its window begins, None for all that came before.

    ``number`` is the look's place in the chunks. ``end`` None: nothing is kept of the entity, and nothing was. The sum
    of a stretch may be an infinity. Raises TooOld.
    """
    function = look.function
    if end is None:
        return 0.0 if function is Function.COUNT else _NAN
    instant = function is Function.SECONDS_SINCE_LAST
    last = end.chunk.held(number, instant=instant)
    inside, count = _counted(last, end)
    first, skip = None, 0
    if start is not None:
        first = last if start.key == end.key else start.chunk.held(number, instant=instant)
        skip, before = _counted(first, start)
        count -= before
    if function is Function.COUNT:
        return float(count)
    if not count:
        return _NAN
    if function is Function.LAST or instant:
        latest = last.values[inside - 1] if inside else last.last
        return (end.time - latest) / 1e6 if instant else latest
    if first is last:
        values: Sequence[float] | memoryview = last.values[skip:inside]
    elif function is Function.MIN or function is Function.MAX:
        middle = between(start, end) if start is not None else ()
        values = _all_values(first, skip, last, inside, middle=(chunk.held(number) for chunk in middle), look=look)
    else:
        values = _terms(first, skip, last, inside)
    if function is Function.MIN or function is Function.MAX:
        return min(values) if function is Function.MIN else max(values)
    total = _exact(values)
    return total / count if function is Function.MEAN else total


def divided(numerator: float, denominator: float) -> float:
    """A quotient; NaN over zero, and where either part is missing."""
    return numerator / denominator if denominator else _NAN


def _counted(held: Held, at: Position) -> tuple[int, int]:
    """How many events stand before a position, in its chunk and in all."""
    inside = held.counts[at.place]
    if held.events:
        if not at.place and at.time <= held.time:
            raise TooOld
        return inside, held.events + inside
    return inside, inside


def _all_values(
    first: Held | None, skip: int, last: Held, inside: int, *, middle: Iterable[Held], look: Look
) -> list[float]:
    """Enough values of a stretch over several chunks for its extreme."""
    found: list[float] = [*last.values[:inside]]
    if first is not None:
        return [*found, *first.values[skip:], *(value for held in middle for value in held.values)]
    if last.events:
        found.append(last.least if look.function is Function.MIN else last.most)
    return found


def _terms(first: Held | None, skip: int, last: Held, inside: int) -> list[float] | memoryview:
    """Numbers whose exact sum is that of a stretch over several chunks."""
    if first is None:
        return [*last.parts, *last.values[:inside]] if last.parts else last.values[:inside]
    return [*last.parts, *last.values[:inside], *(-one for one in (*first.parts, *first.values[:skip]))]


def _exact(terms: Sequence[float] | memoryview) -> float:
    """The double nearest to the exact sum, an infinity beyond the greatest."""
    try:
        return math.fsum(terms)
    except OverflowError:  # perhaps only on the way
        total = sum(map(Fraction, terms), Fraction())
    try:
        return float(total)
    except OverflowError:
        return math.inf if total > 0 else -math.inf
