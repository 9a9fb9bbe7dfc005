"""What a sketch says of a column: shares, quantiles, and two sketches of one frame as histograms of common bins.

In: sketches of ``measures.sketches``. Out: plain figures. Laws: shares of a column's rows add up to 1, missing values
among them; between two edges rows are taken to lie evenly, and nothing is said of where rows lie outside of the frame.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.measures.sketches import CategorySketch, NumberSketch

__all__ = ["Histograms", "LabelShares", "histograms", "label_shares", "missing_share", "quantile", "rows_of", "spread"]

Floats = NDArray[np.float64]
_BINS = 24
_FAR = 2.0
_FEW = 4


class Histograms(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of the rows of two sides, each [bins], between ``bounds`` [bins + 1].

    ``below``, ``above`` and ``missing`` are the shares outside of the bounds and without a value, of the one side and
    of the other. ``whole``: the bounds part whole numbers, each bin holding those from its lower bound on.
    """

    bounds: tuple[float, ...]
    old: tuple[float, ...]
    new: tuple[float, ...]
    below: tuple[float, float]
    above: tuple[float, float]
    missing: tuple[float, float]
    whole: bool = False


class LabelShares(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of the rows of two sides by label, the most frequent first.

    ``rest`` is of listed labels that are not among these (``more`` of them), ``unlisted`` of labels that the frame does
    not name.
    """

    labels: tuple[str, ...]
    old: tuple[float, ...]
    new: tuple[float, ...]
    more: int
    rest: tuple[float, float]
    unlisted: tuple[float, float]
    missing: tuple[float, float]


def rows_of(sketch: NumberSketch | CategorySketch) -> int:
    """Rows that were counted, missing values among them."""
    if isinstance(sketch, NumberSketch):
        return sketch.count + sketch.missing
    return sum(sketch.counts) + sketch.other + sketch.missing


def missing_share(sketch: NumberSketch | CategorySketch) -> float:
    """The share of rows without a value; 0 of no rows."""
    return sketch.missing / max(rows_of(sketch), 1)


def spread(sketch: NumberSketch) -> float | None:
    """The standard deviation; None of fewer than two values.

    >>> spread(NumberSketch(edges=(0.0, 2.0), counts=(0, 2, 0), count=2, lowest=0.0, highest=1.0, mean=0.5, m2=0.5))
    0.7071067811865476
    """
    return float(np.sqrt(sketch.m2 / (sketch.count - 1))) if sketch.count > 1 else None


def quantile(sketch: NumberSketch, level: float) -> float | None:
    """A quantile as well as the bins tell, between the lowest and the highest value; None of no values.

    >>> halves = NumberSketch(edges=(0.0, 1.0, 3.0), counts=(0, 2, 2, 0), count=4, lowest=0.0, highest=2.9)
    >>> quantile(halves, 0.5), quantile(halves, 1.0)
    (1.0, 2.9)
    """
    if not sketch.count or sketch.lowest is None or sketch.highest is None:
        return None
    shares = np.array(sketch.counts, np.float64) / sketch.count
    below = np.cumsum(shares)
    place = min(int(np.searchsorted(below, level - 1e-12)), len(shares) - 1)
    low = sketch.edges[place - 1] if place else sketch.lowest
    high = sketch.edges[place] if place < len(sketch.edges) else sketch.highest
    within = (level - (below[place] - shares[place])) / shares[place] if shares[place] > 0 else 0.0
    value = low + (high - low) * min(1.0, max(0.0, within))
    value = float(np.floor(value)) if _is_whole(sketch) and value < high else float(value)
    return min(max(value, sketch.lowest), sketch.highest)


def histograms(old: NumberSketch, new: NumberSketch, bins: int = _BINS) -> Histograms | None:
    """Both sides in at most ``bins`` bins of one width; None where neither has a value.

    The bins span the values as far as the frame reaches, without an outer cell (a few rows in a hundred) that is more
    than twice as wide as all cells between the outer ones. DataError for other edges.
    """
    if old.edges != new.edges:
        raise DataError("two sketches with different edges have no common bins")
    if not old.count and not new.count:
        return None
    whole = _is_whole(old)
    bounds = _bounds(old, new, bins, whole=whole)
    sides = []
    for side in (old, new):
        below = np.interp(bounds, side.edges, np.cumsum(side.counts)[:-1] / max(side.count, 1))
        there = side.count / max(rows_of(side), 1)
        sides.append((np.diff(below) * there, float(below[0]) * there, float(1 - below[-1]) * there * bool(side.count)))
    return Histograms(
        bounds=tuple(map(float, bounds)),
        old=tuple(map(float, sides[0][0])),
        new=tuple(map(float, sides[1][0])),
        below=(sides[0][1], sides[1][1]),
        above=(sides[0][2], sides[1][2]),
        missing=(missing_share(old), missing_share(new)),
        whole=whole,
    )


def label_shares(old: CategorySketch, new: CategorySketch, most: int = 12) -> LabelShares:
    """Both sides by label: the ``most`` that are frequent on either side, all others together."""
    if old.labels != new.labels:
        raise DataError("two sketches with different labels do not stand beside each other")
    rows = [max(rows_of(side), 1) for side in (old, new)]
    shares = np.array([np.array(side.counts, np.float64) / n for side, n in zip((old, new), rows, strict=True)])
    greatest = shares.max(axis=0)
    order = sorted(range(len(old.labels)), key=lambda place: -greatest[place])[:most]
    chosen = sorted(order, key=lambda place: (-shares[0][place], -shares[1][place]))
    left = shares.sum(axis=1) - shares[:, chosen].sum(axis=1)
    return LabelShares(
        labels=tuple(old.labels[place] for place in chosen),
        old=tuple(float(shares[0][place]) for place in chosen),
        new=tuple(float(shares[1][place]) for place in chosen),
        more=len(old.labels) - len(chosen),
        rest=(max(0.0, float(left[0])), max(0.0, float(left[1]))),
        unlisted=(old.other / rows[0], new.other / rows[1]),
        missing=(missing_share(old), missing_share(new)),
    )


def _is_whole(sketch: NumberSketch) -> bool:
    """Whether all edges are whole numbers; the last stands just above the highest value."""
    return all(edge == np.floor(edge) for edge in sketch.edges[:-1]) and len(sketch.edges) > 1


def _bounds(old: NumberSketch, new: NumberSketch, bins: int, *, whole: bool) -> Floats:
    low, high = _ends(old, new)
    if len(old.edges) > _FEW:
        least, most = old.edges[1], old.edges[-2]
        far = _FAR * (most - least)
        low, high = (least if least - low > far else low), (most if high - most > far else high)
    if whole:
        first, last = np.floor(low), np.floor(high) + 1
        step = max(1.0, np.ceil((last - first) / bins))
        return np.asarray(np.arange(first, last + step, step)[: bins + 2], dtype=np.float64)
    if high <= low:
        room = max(abs(low) * 0.01, 1e-9)
        low, high = low - room, high + room
    return np.linspace(low, high, bins + 1)


def _ends(old: NumberSketch, new: NumberSketch) -> tuple[float, float]:
    ends = [_inside(side, value) for side in (old, new) for value in (side.lowest, side.highest) if value is not None]
    return min(ends), max(ends)


def _inside(side: NumberSketch, value: float) -> float:
    return min(max(value, side.edges[0]), side.edges[-1])
