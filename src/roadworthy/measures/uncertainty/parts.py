"""Which rows calibrate and which measure, so that no row is measured by what it calibrated.

In: an ``Examined`` model. Out: ``Parts``. Laws: no row is measured twice; a row never calibrates its own part, nor does
a row of the same entity where rows are clustered; where there is time, rows calibrate later ones only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.examined import Examined
from roadworthy.measures.intervals import Bounds, NotEnough, clopper_pearson, cluster_count, effective_size, skewed_t
from roadworthy.measures.samples import folds_of

__all__ = ["Part", "Parts", "Ways", "mean_of", "parts_of", "share_of"]

_FOLDS = 5
_STRETCHES = 80


class Part(NamedTuple):
    """Positions of the rows that calibrate and of those that are then measured."""

    calibrate: NDArray[np.int64]
    measure: NDArray[np.int64]


class Ways(NamedTuple):
    """The ways in which n rows may depend on each other: codes [n] of their entity, of their stretch of time."""

    entity: NDArray[np.int64] | None = None
    stretch: NDArray[np.int64] | None = None

    def take(self, rows: NDArray[np.int64]) -> Ways:
        """The same for some rows."""
        return Ways(*(None if way is None else way[rows] for way in self))


class Parts(NamedTuple):
    """All parts, whether they follow time, and how rows may depend on each other."""

    parts: tuple[Part, ...]
    ordered: bool
    ways: Ways


def parts_of(examined: Examined, rng: np.random.Generator) -> Parts:
    """Five folds, of whole entities where rows are clustered; by time, four stretches, each after all before it."""
    sample = examined.sample
    if examined.time:
        moment = examined.rows[examined.time].rank("dense").fill_null(0).to_numpy().astype(np.int64)
        edges = np.unique(np.sort(moment)[[sample.n * cut // _FOLDS for cut in range(1, _FOLDS)]])
        stretch = np.searchsorted(edges, moment, side="right")
        numbers = np.unique(stretch)
        if len(numbers) > 1:
            parts = tuple(Part(np.flatnonzero(stretch < one), np.flatnonzero(stretch == one)) for one in numbers[1:])
            return Parts(parts, ordered=True, ways=Ways(sample.clusters, _stretches(moment)))
    fold = folds_of(sample.n, _FOLDS, rng, sample.clusters)
    cut = ((np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(_FOLDS))
    parts = tuple(Part(*one) for one in cut if len(one[0]) and len(one[1]))
    return Parts(parts, ordered=False, ways=Ways(sample.clusters))


def share_of(hit: NDArray[np.bool_], ways: Ways, confidence: float) -> Bounds:
    """Share of true rows with exact bounds, at the least effective size of the ways in which rows may depend.

    Clopper and Pearson 1934; Korn and Graubard 1998. Raises NotEnough without a row and for fewer than ten entities.
    """
    n = len(hit)
    if n == 0:
        raise NotEnough("no row to count")
    size = min((effective_size(hit, way, confidence) for way in ways if way is not None), default=float(n))
    share = float(np.count_nonzero(hit) / n)
    lower, upper = clopper_pearson(share * size, size, confidence)
    method = "Clopper-Pearson" if size == n else f"Clopper-Pearson at the Korn-Graubard effective size{_words(ways)}"
    return Bounds(share, min(lower, share), max(upper, share), method, cluster_count(ways.entity))


def mean_of(values: NDArray[np.float64], ways: Ways, confidence: float) -> Bounds:
    """Mean of per-row values, with the widest bounds of the ways in which rows may depend on each other.

    Raises NotEnough for fewer than ten rows or entities and where all rows are alike.
    """
    value = float(values.mean())
    influence = (values - value) / len(values)
    known: list[NDArray[np.int64] | None] = [way for way in ways if way is not None]
    found = [skewed_t(value, influence, way, confidence) for way in known or [None]]
    lower, upper = min(one.lower for one in found), max(one.upper for one in found)
    return Bounds(value, lower, upper, f"skewness-corrected t{_words(ways)}", cluster_count(ways.entity))


def _words(ways: Ways) -> str:
    named = (("entity", ways.entity), ("stretch of time", ways.stretch))
    known = [name for name, way in named if way is not None]
    return f", clustered by {' and by '.join(known)}" if known else ""


def _stretches(moment: NDArray[np.int64]) -> NDArray[np.int64]:
    """Eighty stretches of consecutive rows in the order of time; fewer where there are fewer than 800 rows."""
    n = len(moment)
    stretch = np.empty(n, dtype=np.int64)
    stretch[np.argsort(moment, kind="stable")] = np.arange(n) * min(_STRETCHES, max(n // 10, 1)) // n
    return stretch
