"""Sums, minima and maxima over many stretches of one array, exact whatever the order.

Owns the arithmetic under the aggregates and nothing of entities or time. What flows in: finite doubles and
stretches ``[start, end)`` of their positions. What flows out: one double per stretch.

Law: ``sums`` gives the double nearest to the true sum (ties to even), the same as ``math.fsum``. So a sum depends
on the set of values alone: not on their order, not on what stands outside the stretch, and a replay that holds
the same values has the same bits. The way there is a superaccumulator in 32-bit digits (Neal, "Fast exact
summation using small and large superaccumulators", 2015), kept as prefix sums so that a stretch costs one
subtraction per digit however long it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["extremes", "sums"]

_DIGIT = 32
_MASK = (1 << _DIGIT) - 1
_WHOLE = 2.0**62
Doubles = NDArray[np.float64]
Positions = NDArray[np.int64]


def sums(values: Doubles, starts: Positions, ends: Positions) -> Doubles:
    """The exact sum of ``values[start:end]`` for each pair, rounded once; 0 for an empty stretch.

    ``values`` [m] are finite, ``starts`` and ``ends`` [n] lie in 0…m. Beyond the greatest double the result is
    an infinity.
    """
    if not len(values):
        return np.zeros(len(starts))
    greatest = float(np.max(np.abs(values)))
    if greatest * len(values) < _WHOLE and bool((values == np.rint(values)).all()):
        whole = _prefix(values.astype(np.int64))
        return (whole[ends] - whole[starts]).astype(np.float64)
    digits, lowest = _digits(values)
    return _rounded([prefix[ends] - prefix[starts] for prefix in digits], lowest)


def extremes(values: Doubles, starts: Positions, ends: Positions, *, greatest: bool) -> Doubles:
    """The least (or ``greatest``) of ``values[start:end]`` for each pair, NaN for an empty stretch.

    Sparse table (Bender and Farach-Colton, 2000), one level held at a time: level k has the extreme of every 2^k
    neighbours, and a stretch is covered by two of them. O(m log m) time, O(m) memory.
    """
    pick = np.maximum if greatest else np.minimum
    result = np.full(len(starts), np.nan)
    lengths = ends - starts
    level = np.frexp(lengths.astype(np.float64))[1] - 1
    table = values
    for k in range(int(level.max(initial=-1)) + 1):
        if k:
            half = 1 << (k - 1)
            table = pick(table[:-half], table[half:])
        here = np.flatnonzero((level == k) & (lengths > 0))
        if len(here):
            result[here] = pick(table[starts[here]], table[ends[here] - (1 << k)])
    return result


def _prefix(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Running totals with a leading 0: [m] → [m + 1]."""
    total = np.empty(len(counts) + 1, dtype=np.int64)
    total[0] = 0
    np.cumsum(counts, out=total[1:])
    return total


def _digits(values: Doubles) -> tuple[list[NDArray[np.int64]], int]:
    """Prefix sums per 32-bit digit, lowest digit first, and the power of two that the lowest one counts.

    Every value is ``mantissa * 2**exponent`` with a 53-bit whole mantissa; shifted to its digit it spreads over
    three neighbours. Each digit is below 2^32 in size, so 2^31 values fit an int64 total.
    """
    fraction, exponent = np.frexp(values)
    mantissa = np.ldexp(fraction, 53).astype(np.int64)
    nonzero = exponent[mantissa != 0]
    lowest = int(nonzero.min()) if len(nonzero) else 0
    shift = np.where(mantissa != 0, exponent - lowest, 0).astype(np.int64)
    place, within = shift // _DIGIT, shift % _DIGIT
    low = (mantissa & _MASK) << within
    high = (low >> _DIGIT) + ((mantissa >> _DIGIT) << within)
    parts = (low & _MASK, high & _MASK, high >> _DIGIT)
    totals: list[NDArray[np.int64]] = []
    for digit in range(int(place.max()) + 3):
        column = np.zeros(len(values), dtype=np.int64)
        for offset, part in enumerate(parts):
            np.add(column, part, out=column, where=place == digit - offset)
        totals.append(_prefix(column))
    return totals, lowest - 53


def _carried(digits: list[NDArray[np.int64]]) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """The same number with every digit in 0…2^32-1, and the signed rest above the top digit."""
    carry = np.zeros(len(digits[0]), dtype=np.int64)
    clean = []
    for digit in digits:
        total = digit + carry
        clean.append(total & _MASK)
        carry = total >> _DIGIT
    return clean, carry


def _rounded(digits: list[NDArray[np.int64]], lowest: int) -> Doubles:
    """The double nearest to ``Σ digits[k] * 2**(lowest + 32 k)``, ties to even.

    The top 64 bits are gathered with the last one made sticky, so that the one conversion to double rounds as
    the whole number would. Results below the normal range are multiples of 2^-1074 already, hence exact.
    """
    _, top = _carried(digits)
    sign = np.where(top < 0, -1, 1)
    clean, top = _carried([digit * sign for digit in digits])
    ladder = np.stack([np.zeros_like(top), np.zeros_like(top), *clean, top])
    filled = ladder != 0
    head = len(ladder) - 1 - np.argmax(filled[::-1], axis=0)
    head = np.maximum(head, 2)
    rows: NDArray[Any] = np.arange(ladder.shape[1])
    first, second, third = (ladder[head - back, rows].astype(np.uint64) for back in range(3))
    bits = np.frexp(first.astype(np.float64))[1]
    used = bits.astype(np.uint64)
    word = ((first << np.uint64(_DIGIT)) | second) << (np.uint64(_DIGIT) - used) | (third >> used)
    below = np.cumsum(filled, axis=0, dtype=np.int32)
    sticky = (third & ((np.uint64(1) << used) - np.uint64(1))) != 0
    sticky |= np.where(head > 2, below[np.maximum(head - 3, 0), rows], 0) > 0
    word |= sticky.astype(np.uint64)
    power = lowest + _DIGIT * (head - 2 - 2) + bits
    with np.errstate(over="ignore"):
        result: Doubles = np.ldexp(word.astype(np.float64), power) * sign
    return result
