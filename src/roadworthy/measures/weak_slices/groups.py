"""Parts of the rows, each proving the groups that the others find.

In: ``Examined`` and ``Brief``. Out: ``Cut``: the rows looked at, their loss, and the ``WeakGroup``s that hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.examined import Brief, Examined
from roadworthy.measures.intervals import Bounds, NotEnough, proportion, skewed_t
from roadworthy.measures.samples import Sample, folds_of
from roadworthy.measures.weak_slices.axes import Axis, axes_of
from roadworthy.measures.weak_slices.proof import discoveries, worse_p
from roadworthy.measures.weak_slices.search import Candidate, find, inside, score_of
from roadworthy.records.project import Task

__all__ = ["FALSE_DISCOVERIES", "Cut", "WeakGroup", "weak_groups"]

FALSE_DISCOVERIES = 0.05
"""The greatest expected share of false reports among the reported; of false reports at all where nothing is weak."""

_PARTS = 4
_LEAST_GROUP = 60
_LEAST_SHARE = 0.01
_EFFECT, _LEAST_POINTS = 0.25, 0.01
_OVERLAP = 0.5
_COLUMN_PRICE = 12.0
"""What the best of many conditions on another column adds by chance: about 2 ln(400)."""


_Floats = NDArray[np.float64]
_Set = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class WeakGroup:
    """One group with what the rows that did not find it say of it.

    ``rows`` [n] over all rows looked at, ``proving`` the places of those that judged it, ``inside`` and ``elsewhere``
    its error and that of the other rows among them, ``p`` one of ``tests`` that were made together.
    """

    words: str
    columns: int
    rows: _Set
    proving: NDArray[np.int64]
    p: float
    tests: int
    inside: Bounds
    elsewhere: float


class _Tested(NamedTuple):
    """A candidate: in words, its columns, its score where it was found, its rows [n], which rows tested it, its p."""

    words: str
    columns: int
    score: float
    rows: _Set
    proving: NDArray[np.int64]
    p: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Cut:
    """What was looked at: the rows' ``sample`` and ``loss`` [n], how many ``axes`` there were, the ``groups``."""

    sample: Sample
    loss: _Floats
    unit: str
    axes: int
    groups: tuple[WeakGroup, ...]


def weak_groups(examined: Examined, brief: Brief) -> Cut:
    """The groups that hold, plainest first; see ``weak_slices``."""
    rng = brief.rng("slices")
    chosen = _looked_at(examined, brief.most(100_000, 12_000), rng)
    sample = chosen.sample
    loss, unit = _losses(sample)
    least = max(_LEAST_GROUP, math.ceil(_LEAST_SHARE * sample.n))
    axes = axes_of(chosen.rows, _columns(examined), least)
    effect = max(_EFFECT * float(loss.mean()) if len(loss) else 0.0, _LEAST_POINTS if unit == "share" else 0.0)
    tested: list[_Tested] = []
    parts = _parts(sample, rng) if axes and sample.n >= 2 * _PARTS * _LEAST_GROUP else []
    for proving in parts:
        finding = np.setdiff1d(np.arange(sample.n), proving, assume_unique=True)
        seen = rng.permutation(finding)[: brief.most(20_000, 6_000)]
        codes = [axis.take(seen) for axis in axes]
        fewest = max(_LEAST_GROUP // 2, math.ceil(least * len(seen) / sample.n))
        found = find(axes, codes, _calmed(loss[seen]), least=fewest, effect=effect, rounds=brief.most(4, 2))
        tested += _tested(found, axes, sample, loss, proving)
        brief.advance(1)
    weak = _proven(tested, sample, loss, effect, brief.confidence("weak_slices"))
    return Cut(sample=sample, loss=loss, unit=unit, axes=len(axes), groups=tuple(_merged(weak, loss, sample, effect)))


def _columns(examined: Examined) -> list[str]:
    """What rows may be cut by: the model's columns and the protected ones, never who they belong to."""
    names = dict.fromkeys((*examined.columns, *examined.protected))
    return [name for name in names if name not in {examined.entity, examined.target}]


def _looked_at(examined: Examined, most: int, rng: np.random.Generator) -> Examined:
    if examined.sample.n <= most:
        return examined
    return examined.take(np.sort(rng.permutation(examined.sample.n)[:most]))


def _losses(sample: Sample) -> tuple[_Floats, str]:
    """The error of each row [n], and what it is: ``share`` (of wrong decisions), ``squared`` or ``absolute``."""
    if sample.task is Task.REGRESSION:
        return np.abs(sample.score.astype(np.float64) - sample.y), "absolute"
    if sample.task is Task.BINARY and sample.threshold is None:
        return np.square(sample.score.astype(np.float64) - sample.y), "squared"
    return (sample.decision != sample.y).astype(np.float64), "share"


def _calmed(loss: _Floats) -> _Floats:
    """Losses for the search alone: the greatest hundredth cut off where they are no decisions, against outliers."""
    return loss if np.isin(loss, (0.0, 1.0)).all() else np.minimum(loss, np.quantile(loss, 0.99))


def _parts(sample: Sample, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """The places of the rows in parts; all rows of one entity lie in one of them."""
    part = folds_of(sample.n, _PARTS, rng, sample.clusters)
    return [np.flatnonzero(part == place) for place in range(_PARTS)]


def _tested(
    candidates: list[Candidate],
    axes: tuple[Axis, ...],
    sample: Sample,
    loss: _Floats,
    proving: NDArray[np.int64],
) -> list[_Tested]:
    """Candidates with their p-values on rows that did not find them."""
    everywhere = [axis.codes for axis in axes]
    clusters = None if sample.clusters is None else sample.clusters[proving]
    tested = []
    for candidate in candidates:
        rows = inside(candidate, everywhere)
        p = worse_p(loss[proving], rows[proving], clusters)
        tested.append(_Tested(candidate.said(axes), len(candidate.cells), candidate.score, rows, proving, p))
    return tested


def _proven(tested: list[_Tested], sample: Sample, loss: _Floats, effect: float, confidence: float) -> list[WeakGroup]:
    """Those that hold, all tests together, with their error on the rows that proved them."""
    held = discoveries([item.p for item in tested], [item.score for item in tested], FALSE_DISCOVERIES)
    # bounds hold together for those selected (Benjamini and Yekutieli 2005)
    each = 1 - (1 - confidence) * sum(held) / max(len(held), 1)
    weak = []
    for item, holds in zip(tested, held, strict=True):
        group, own = item.rows[item.proving], loss[item.proving]
        if not holds or not _of_size(item.rows, group) or own[group].mean() - own[~group].mean() < effect:
            continue
        clusters = None if sample.clusters is None else sample.clusters[item.proving][group]
        try:
            bounds = _bounds(own[group], clusters, each)
        except NotEnough:
            continue  # too few entities, or all rows alike: nothing is proven
        weak.append(
            WeakGroup(
                words=item.words,
                columns=item.columns,
                rows=item.rows,
                proving=item.proving,
                p=item.p,
                tests=len(held),
                inside=bounds,
                elsewhere=float(own[~group].mean()),
            )
        )
    return weak


def _of_size(everywhere: _Set, proving: _Set) -> bool:
    """At most half of all rows, and enough of those that prove."""
    return bool(2 * everywhere.sum() <= len(everywhere) and proving.sum() >= _LEAST_GROUP // _PARTS)


def _bounds(loss: _Floats, clusters: NDArray[np.int64] | None, confidence: float) -> Bounds:
    if np.isin(loss, (0.0, 1.0)).all():
        return proportion(loss > 0, clusters, confidence)
    return skewed_t(float(loss.mean()), (loss - loss.mean()) / len(loss), clusters, confidence)


def _merged(weak: list[WeakGroup], loss: _Floats, sample: Sample, effect: float) -> list[WeakGroup]:
    """Without groups that others explain: half of their rows, or all that is worse about them, lies in a plainer one.

    All of them are proven; which of two that overlap says it best, all rows decide.
    """
    kept: list[WeakGroup] = []
    named = np.zeros(len(loss), dtype=bool)
    for item in sorted(weak, key=lambda one: (-_plainness(one, loss), one.p, one.words)):
        if kept and not _adds(item, named, loss, sample, effect):
            continue
        kept.append(item)
        named |= item.rows
    return kept


def _plainness(item: WeakGroup, loss: _Floats) -> float:
    """The group's squared score on all rows, less a price for every column."""
    score = score_of(item.rows, loss)
    return math.copysign(score**2, score) - _COLUMN_PRICE * item.columns


def _adds(item: WeakGroup, named: _Set, loss: _Floats, sample: Sample, effect: float) -> bool:
    rest = item.rows & ~named
    if rest.sum() < (1 - _OVERLAP) * item.rows.sum():
        return False
    left = item.proving[~named[item.proving]]
    group, own = item.rows[left], loss[left]
    if not group.any() or group.all() or own[group].mean() - own[~group].mean() < effect:
        return False
    clusters = None if sample.clusters is None else sample.clusters[left]
    return worse_p(own, group, clusters) <= FALSE_DISCOVERIES / 2
