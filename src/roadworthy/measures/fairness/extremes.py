"""Bounds of the greatest difference, and of the smallest ratio, over all pairs of groups.

In: families of groups (only groups of one family are compared), each group as a function from a confidence to
``Bounds``. Out: ``Extreme``: value, bounds, the pair. Laws: lower <= value <= upper; each side holds at the confidence
asked for, however many groups there are.

A pair's difference has MOVER bounds (Newcombe 1998; Zou and Donner 2008): each group's own distance from value to
bound, squared and added; its ratio the same on the logarithm, or, where a group has a share of 0, the ratio of bounds
that share the chance of error. The greatest difference D is that of one pair, so that the greatest of all pairs' upper
bounds lies above D as surely as that pair's own: no correction. A lower bound of any pair is one of D only if it
holds, so lower bounds are taken at a chance of error shared by all ordered pairs (Bonferroni). Ratios are the mirror
image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import NamedTuple

from roadworthy.measures.intervals import Bounds

__all__ = ["Extreme", "Group", "greatest_difference", "smallest_ratio"]


class Group(NamedTuple):
    """A group by name; ``bounds(confidence)`` are those of what is compared."""

    name: str
    bounds: Callable[[float], Bounds]


class Extreme(NamedTuple):
    """The greatest difference or smallest ratio with its one-sided bounds, and the two groups, the higher one first."""

    value: float
    lower: float
    upper: float
    high: str
    low: str
    high_value: float
    low_value: float


Families = Sequence[Sequence[Group]]


def greatest_difference(families: Families, confidence: float) -> Extreme:
    """Greatest difference of two groups of one family; ``families`` need one with two groups."""
    shared = _shared(families, confidence)
    value, upper, lower = -math.inf, 0.0, 0.0
    pair = ("", "", 0.0, 0.0)
    for groups in families:
        plain = [group.bounds(confidence) for group in groups]
        sure = [group.bounds(shared) for group in groups]
        for high, low in permutations(range(len(groups)), 2):
            difference = plain[high].value - plain[low].value
            reach = math.hypot(plain[high].upper - plain[high].value, plain[low].value - plain[low].lower)
            proven = math.hypot(sure[high].value - sure[high].lower, sure[low].upper - sure[low].value)
            upper, lower = max(upper, difference + reach), max(lower, difference - proven)
            if difference > value:
                value = difference
                pair = (groups[high].name, groups[low].name, plain[high].value, plain[low].value)
    return Extreme(value, min(lower, value), max(upper, value), *pair)


def smallest_ratio(families: Families, confidence: float) -> Extreme | None:
    """Smallest ratio of two groups of one family; None where no group has anything but 0."""
    shared = _shared(families, confidence)
    value, lower, upper = math.inf, 1.0, 1.0
    pair = ("", "", 0.0, 0.0)
    for groups in families:
        values = [group.bounds(confidence).value for group in groups]
        for low, high in permutations(range(len(groups)), 2):
            lower = min(lower, _ratio(groups[low], groups[high], confidence)[0])
            upper = min(upper, _ratio(groups[low], groups[high], shared)[1])
            if values[high] > 0 and values[low] / values[high] < value:
                value = values[low] / values[high]
                pair = (groups[high].name, groups[low].name, values[high], values[low])
    if not math.isfinite(value):
        return None
    return Extreme(value, min(lower, value), max(upper, value), *pair)


def _shared(families: Families, confidence: float) -> float:
    pairs = sum(len(groups) * (len(groups) - 1) for groups in families)
    return 1 - (1 - confidence) / max(pairs, 1)


def _ratio(top: Group, bottom: Group, confidence: float) -> tuple[float, float]:
    """One-sided lower and upper bound of one group's share over another's."""
    above, below = top.bounds(confidence), bottom.bounds(confidence)
    if above.value > 0 and below.value > 0:
        ratio = above.value / below.value
        low = math.hypot(_distance(above.value, above.lower), _distance(below.upper, below.value))
        high = math.hypot(_distance(above.upper, above.value), _distance(below.value, below.lower))
        return ratio * math.exp(-low), ratio * math.exp(min(high, 700.0))
    each = 1 - (1 - confidence) / 2
    above, below = top.bounds(each), bottom.bounds(each)
    lower = above.lower / below.upper if below.upper > 0 else 0.0
    return lower, above.upper / below.lower if below.lower > 0 else math.inf


def _distance(greater: float, lesser: float) -> float:
    return math.log(greater / lesser) if lesser > 0 else math.inf
