"""What workers take of the machine, and whether their memory grows without end.

In: readings. Out: the greatest resident memory, and its growth in bytes a day with bounds. Laws: a worker that started
anew is a series of its own; the bounds hold for the median rate of growth however the readings are spread, also where
one reading resembles the next.

Growth is Theil and Sen's slope over block medians (Sen 1968), its bounds are Kendall's, widened where the residuals'
ranks are autocorrelated (after Hamed and Rao 1998): garbage that comes and goes is no leak. Of several series the
steepest counts, its lower bound at the confidence that holds for all of them together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from roadworthy.measures.intervals import Bounds, NotEnough
from roadworthy.measures.ranks import mid_ranks
from roadworthy.records.reading import Reading

__all__ = ["growth", "growth_of", "resident"]

_POINTS = 60
_FEWEST = 12
_DAY_S = 86_400.0
_MOST_ALIKE = 0.95
Floats = NDArray[np.float64]


def resident(readings: Sequence[Reading]) -> float:
    """The greatest resident memory of a worker, in bytes. NotEnough where no server answered or none can tell."""
    found = [worker.resident_bytes for one in readings for worker in one.workers if worker.resident_bytes > 0]
    if not found:
        raise NotEnough("no worker told its memory")
    return max(found)


def growth(readings: Sequence[Reading], confidence: float) -> Bounds:
    """Bytes a day by which the worker that grows fastest grows. NotEnough where readings of a worker are too few."""
    series: dict[tuple[str, int, float], list[tuple[float, float]]] = {}
    for one in readings:
        for worker in one.workers:
            if worker.resident_bytes > 0:
                key = (one.address, worker.number, worker.started_s)
                series.setdefault(key, []).append((one.at_us / 1e6, worker.resident_bytes))
    long = [pairs for pairs in series.values() if len(pairs) >= _FEWEST]
    if not long:
        most = max(map(len, series.values()), default=0)
        raise NotEnough(f"needs at least {_FEWEST} readings of one worker since it started, has {most}")
    below = 1.0 - (1.0 - confidence) / len(long)
    found = []
    for pairs in long:
        at_s, size = (np.array(column) for column in zip(*pairs, strict=True))
        found.append((growth_of(at_s, size, below), growth_of(at_s, size, confidence)))
    return Bounds(
        value=max(one.value for _, one in found),
        lower=max(one.lower for one, _ in found),
        upper=max(one.upper for _, one in found),
        method=found[0][0].method,
    )


def growth_of(at_s: Floats, size: Floats, confidence: float) -> Bounds:
    """The median growth a day of one series [n] over seconds [n], each side bounded at ``confidence``.

    NotEnough where the readings are too few for bounds as sure as that.
    """
    at_s, size = _medians(at_s, size)
    n = len(size)
    first, second = np.triu_indices(n, 1)
    apart = at_s[second] - at_s[first]
    slopes = np.sort((size[second] - size[first])[apart > 0] / apart[apart > 0]) * _DAY_S
    value = float(np.median(slopes))
    ranks = mid_ranks(size - value / _DAY_S * at_s)
    ties = np.unique(size, return_counts=True)[1]
    variance = (n * (n - 1) * (2 * n + 5) - float(np.sum(ties * (ties - 1) * (2 * ties + 5)))) / 18.0
    reach = float(special.ndtri(confidence)) * math.sqrt(variance * _alike(ranks)) + 1.0
    low, high = math.floor((len(slopes) - reach) / 2), math.ceil((len(slopes) + reach) / 2)
    if low < 0 or high >= len(slopes):
        raise NotEnough(f"{n} readings are too few for a bound at {100 * confidence:.6g} %")
    lower, upper = float(slopes[low]), float(slopes[high])
    return Bounds(value, min(lower, value), max(upper, value), "Theil-Sen, widened for autocorrelation")


def _medians(at_s: Floats, size: Floats) -> tuple[Floats, Floats]:
    """At most ``_POINTS`` medians of readings that stand together."""
    parts = np.array_split(np.arange(len(size)), min(_POINTS, len(size)))
    return np.array([np.median(at_s[part]) for part in parts]), np.array([np.median(size[part]) for part in parts])


def _alike(ranks: Floats) -> float:
    """By how much autocorrelation of the ranks makes Kendall's variance greater; at least 1.

    The lag-1 correlation stands for all: (1 + r) / (1 - r), with r freed of the bias that a fitted line brings (about
    (2 + 4 r) / n, Shaman and Stine 1988). Estimates of every lag, as Hamed and Rao take them, are too small where
    memory lasts.
    """
    n = len(ranks)
    centred = ranks - ranks.mean()
    power = float(centred @ centred)
    if power <= 0:
        return 1.0
    rho = float(centred[1:] @ centred[:-1]) / power
    rho = min(max(rho + (2.0 + 4.0 * rho) / n, 0.0), _MOST_ALIKE)
    return (1.0 + rho) / (1.0 - rho)
