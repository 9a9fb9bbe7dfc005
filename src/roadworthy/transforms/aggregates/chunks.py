"""Kept events of one entity, cut into chunks of neighbours in time, each of which knows what came before it.

In: arrays sorted by (time, order). Out: bytes for a store that knows nothing of them, and a view of such bytes. Laws:
a chunk holds its entries exactly, and of all entries before it the counts, sums (as doubles whose sum is the exact
one), extremes and last values, so that an unbounded look reads one chunk however long the past is; the same entries
give the same answers however they are cut.

The form, little-endian: entries and looks (two unsigned 32-bit numbers), the place of each look (32 bits each), then
times and orders (64 bits each); for each look what came before it, the values of its events (64 bits each), and for
each place how many events stand before it (16 bits each).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.transforms.aggregates.looks import Function, Look

__all__ = ["MOST", "NO_TIME", "Before", "Chunk", "Entries", "cut", "entries_of", "nothing_before"]

MOST = 128
"""Entries of one chunk."""

NO_TIME = -(2**63)
"""The time of what was never there."""

_DIGITS = 53
_TOP = 1024
_HEAD = struct.Struct("<II")
_NUMBER = struct.Struct("<qqdddq")
_INSTANT = struct.Struct("<qqqddq")
_EIGHT, _PLACE_BYTES = 8, 4

Times = NDArray[np.int64]


class Entries(NamedTuple):
    """Events of one entity, by (time, order): [n] each. For each look which of them are its events, and their values.

    A value is a double, or microseconds for a time; where there is no event it is 0.
    """

    times: Times
    orders: Times
    events: tuple[NDArray[np.bool_], ...]
    values: tuple[NDArray[Any], ...]

    def part(self, places: Any) -> Entries:
        """Some of them, by a slice or by their places."""
        return Entries(
            self.times[places],
            self.orders[places],
            tuple(one[places] for one in self.events),
            tuple(one[places] for one in self.values),
        )

    def together(self, other: Entries) -> Entries:
        """Both, in order."""
        both = Entries(
            np.concatenate([self.times, other.times]),
            np.concatenate([self.orders, other.orders]),
            tuple(map(_joined, self.events, other.events)),
            tuple(map(_joined, self.values, other.values)),
        )
        return both.part(np.lexsort((both.orders, both.times)))


def _joined(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([first, second])


class Before(NamedTuple):
    """What one look knows of all that came before a chunk. ``parts`` are doubles whose sum is the exact one."""

    events: int
    time: int
    last: float
    least: float
    most: float
    parts: tuple[float, ...]


def nothing_before(looks: Sequence[Look]) -> tuple[Before, ...]:
    """For each look: nothing."""
    return tuple(Before(0, NO_TIME, 0, np.inf, -np.inf, ()) for _ in looks)


class Held(NamedTuple):
    """What a chunk holds of one look: ``before`` it (see ``Before``), and within it.

    ``counts`` tells for each place 0…size how many events stand before it, ``values`` are those of the events.
    """

    events: int
    time: int
    last: float
    least: float
    most: float
    parts: tuple[float, ...]
    counts: memoryview[int]
    values: memoryview[Any]


class Chunk:
    """A view of a chunk's bytes; it lives as long as these."""

    __slots__ = ("_data", "_places", "size", "times")

    def __init__(self, data: Any) -> None:
        self._data = view = memoryview(data)
        self.size, looks = _HEAD.unpack_from(view)
        begin = _HEAD.size + _PLACE_BYTES * looks
        self._places = view[_HEAD.size : begin].cast("I")
        self.times = view[begin : begin + _EIGHT * self.size].cast("q")

    def held(self, look: int, *, instant: bool = False) -> Held:
        """What it holds of a look; ``instant``: the values are times."""
        view, at = self._data, self._places[look]
        count, time, last, least, most, parts = (_INSTANT if instant else _NUMBER).unpack_from(view, at)
        at += _INSTANT.size
        some: tuple[float, ...] = struct.unpack_from(f"<{parts}d", view, at) if parts else ()
        at += _EIGHT * parts
        end = at + 2 * (self.size + 1)
        counts = view[at:end].cast("H")
        stretch = view[end : end + _EIGHT * counts[self.size]]
        values: memoryview[Any] = stretch.cast("q") if instant else stretch.cast("d")
        return Held(count, time, last, least, most, some, counts, values)

    def entries(self, looks: Sequence[Look]) -> Entries:
        """Its entries as arrays of their own."""
        begin = _HEAD.size + _PLACE_BYTES * len(looks) + _EIGHT * self.size
        orders = np.frombuffer(self._data, dtype=np.int64, count=self.size, offset=begin).copy()
        events, values = [], []
        for at, look in enumerate(looks):
            instant = look.function is Function.SECONDS_SINCE_LAST
            held = self.held(at, instant=instant)
            event = np.diff(np.frombuffer(held.counts, dtype=np.uint16)) > 0
            value = np.zeros(self.size, dtype=np.int64 if instant else np.float64)
            value[event] = np.frombuffer(held.values, dtype=value.dtype)
            events.append(event)
            values.append(value)
        return Entries(np.array(self.times, dtype=np.int64), orders, tuple(events), tuple(values))


def cut(entries: Entries, looks: Sequence[Look], before: tuple[Before, ...]) -> Iterator[tuple[int, int, bytes]]:
    """Entries as chunks: the time and the order of each chunk's first entry, and its bytes."""
    for begin in range(0, len(entries.times), MOST):
        part = entries.part(slice(begin, begin + MOST))
        yield int(part.times[0]), int(part.orders[0]), _packed(part, looks, before)
        if begin + MOST < len(entries.times):
            before = _after(part, looks, before)


def entries_of(times: Times, orders: Times, events: Sequence[NDArray[np.bool_]], values: Sequence[Any]) -> Entries:
    """Entries of arrays; a look that only counts has no values (None)."""
    filled = [np.zeros(len(times)) if one is None else one for one in values]
    return Entries(times, orders, tuple(events), tuple(np.where(e, v, 0) for e, v in zip(events, filled, strict=True)))


def _packed(part: Entries, looks: Sequence[Look], before: tuple[Before, ...]) -> bytes:
    size = len(part.times)
    blocks = [
        _block(look, known, event, value)
        for look, known, event, value in zip(looks, before, part.events, part.values, strict=True)
    ]
    at = _HEAD.size + _PLACE_BYTES * len(looks) + 2 * _EIGHT * size
    places = []
    for block in blocks:
        places.append(at)
        at += len(block)
    head = _HEAD.pack(size, len(looks)) + struct.pack(f"<{len(looks)}I", *places)
    return b"".join([head, part.times.tobytes(), part.orders.tobytes(), *blocks])


def _block(look: Look, before: Before, event: NDArray[np.bool_], value: NDArray[Any]) -> bytes:
    counts = np.zeros(len(event) + 1, dtype=np.uint16)
    np.cumsum(event, out=counts[1:])
    form = _INSTANT if look.function is Function.SECONDS_SINCE_LAST else _NUMBER
    head = form.pack(*before[:5], len(before.parts))
    return b"".join(
        [head, struct.pack(f"<{len(before.parts)}d", *before.parts), counts.tobytes(), value[event].tobytes()]
    )


def _after(part: Entries, looks: Sequence[Look], before: tuple[Before, ...]) -> tuple[Before, ...]:
    """What is known behind a chunk."""
    found = []
    for look, known, event, values in zip(looks, before, part.events, part.values, strict=True):
        held = values[event]
        if not len(held):
            found.append(known)
            continue
        least, most, parts = known.least, known.most, known.parts
        if look.function in (Function.MIN, Function.MAX):
            least, most = min(least, float(held.min())), max(most, float(held.max()))
        if look.function in (Function.SUM, Function.MEAN):
            parts = _exact_parts([*known.parts, *held.tolist()])
        time = int(part.times[event][-1])
        found.append(Before(known.events + len(held), time, held[-1].item(), least, most, parts))
    return tuple(found)


def _exact_parts(values: list[float]) -> tuple[float, ...]:
    """Few doubles whose sum is exactly that of many; none for 0."""
    fractions, exponents = np.frexp(values)
    whole = np.ldexp(fractions, _DIGITS).astype(np.int64)
    low = int(exponents.min())
    total = 0
    for exponent in np.unique(exponents).tolist():
        total += sum(whole[exponents == exponent].tolist()) << (exponent - low)
    low -= _DIGITS
    parts: list[float] = []
    while total:
        size = abs(total).bit_length()
        shift = max(size - _DIGITS, 0)
        piece = abs(total) >> shift
        if size + low > _TOP:  # more than a double holds
            piece, shift = 1, _TOP - 1 - low
        parts.append(float(np.ldexp(float(piece), shift + low)) * (1 if total > 0 else -1))
        total -= (piece << shift) * (1 if total > 0 else -1)
    return tuple(parts)
