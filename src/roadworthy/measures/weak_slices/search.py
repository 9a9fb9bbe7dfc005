"""Find groups of rows with a greater loss: over one column, over two, and by trees.

In: axes, the loss of each row that may be looked at. Out: ``Candidate``s, distinct ones, in the order found. They are
guesses: nothing here says that a group is weak. Laws: a candidate has at least ``least`` and at most half of the rows;
only the rows given are looked at.

A group's score is the signed root of twice the log likelihood ratio of "worse inside than outside" (Kulldorff's scan
statistic, 1997), for losses that are no decisions the difference of means in standard errors. Over one
column every interval of up to 100 bins of equal mass is scored; over two every rectangle of up to 12 × 12, whose best
ones then move their edges on the fine bins. Trees (Breiman et al. 1984) of depth 3 add what has three columns, and
sets of categories. After each round the rows found are set aside and the search begins anew (as in PRIM, Friedman and
Fisher 1999), so that a strong group does not hide a lesser one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special
from sklearn.tree import DecisionTreeRegressor

from roadworthy.measures.weak_slices.axes import Axis

__all__ = ["MOST_PAIRED", "Candidate", "find", "inside", "score_of"]

_FINALISTS = 3
_DEPTH = 3
MOST_PAIRED = 40
"""With more axes than these, only so many that tell most by themselves are combined in pairs."""

_LEAST_SCORE = 1.5
_BAND = 2.0
"""Scores this far below the best need no exact likelihood: they are less likely by a factor of thousands."""

_Floats = NDArray[np.float64]
_Codes = NDArray[np.int64]
_Set = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A group: for some axes (by place) the set of fine cells that a row must lie in. ``score`` where it was found."""

    cells: dict[int, _Set]
    score: float = field(default=-np.inf)

    def said(self, axes: Sequence[Axis]) -> str:
        """The group in words: its conditions, joined by commas."""
        return ", ".join(axes[place].said(self.cells[place]) for place in sorted(self.cells))


def inside(candidate: Candidate, codes: Sequence[_Codes]) -> _Set:
    """[n] the rows of a group, from the codes [n] of every axis."""
    parts = [cells[codes[place]] for place, cells in candidate.cells.items()]
    return np.asarray(np.logical_and.reduce(parts))


def score_of(group: _Set, loss: _Floats) -> float:
    """The score of one group [n] among rows of that loss [n]; negative where it is better than the others."""
    n, within, own, total = len(loss), int(group.sum()), float(loss[group].sum()), float(loss.sum())
    excess = own / within - (total - own) / (n - within)
    if ((loss == 0) | (loss == 1)).all():
        gain = _log_likelihood(own, within) + _log_likelihood(total - own, n - within) - _log_likelihood(total, n)
        return math.copysign(math.sqrt(max(2 * float(gain), 0.0)), excess)
    return excess * math.sqrt(within * (1 - within / n)) / max(float(loss.std()), 1e-300)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Field:
    """Rows to search: codes of every axis, their loss, and what a group must have.

    ``counted``: a loss is a decision, wrong (1) or right (0).
    """

    axes: Sequence[Axis]
    codes: list[_Codes]
    loss: _Floats
    least: int
    effect: float
    counted: bool

    @cached_property
    def alone(self) -> list[Candidate]:
        """The best interval or level of each axis by itself."""
        everything = np.ones(len(self.loss), dtype=bool)
        return [_along(self, place, everything, {}) for place in range(len(self.axes))]

    @cached_property
    def total(self) -> float:
        """The sum of all losses."""
        return float(self.loss.sum())

    @cached_property
    def spread(self) -> float:
        """Their deviation, never nothing."""
        return max(float(self.loss.std()), 1e-300)

    def scores(self, rows: _Floats, loss: _Floats) -> _Floats:
        """Score of groups with so many rows and such a sum of loss; −inf where a group may not be."""
        n, total = len(self.loss), self.total
        allowed = (rows >= self.least) & (2 * rows <= n)
        safe, own = np.where(allowed, rows, 1.0), np.where(allowed, loss, 0.0)
        excess = own / safe - (total - own) / (n - safe)
        score = excess * np.sqrt(safe * (1 - safe / n)) / self.spread
        score = np.where(allowed & (excess >= self.effect), score, -np.inf)
        if self.counted:
            near = score >= max(float(score.max(initial=0.0)) - _BAND, 0.0)
            gain = _log_likelihood(own[near], safe[near]) + _log_likelihood(total - own[near], n - safe[near])
            score = np.full_like(score, -np.inf)
            score[near] = np.sqrt(np.maximum(2 * (gain - _log_likelihood(total, float(n))), 0.0))
        return score

    def without(self, rows: _Set) -> _Field:
        kept = ~rows
        return _Field(
            axes=self.axes,
            codes=[codes[kept] for codes in self.codes],
            loss=self.loss[kept],
            least=self.least,
            effect=self.effect,
            counted=self.counted,
        )


def find(
    axes: Sequence[Axis], codes: list[_Codes], loss: _Floats, *, least: int, effect: float, rounds: int
) -> list[Candidate]:
    """At most 3 × ``rounds`` groups whose mean loss is above that elsewhere by ``effect`` or more."""
    counted = bool(((loss == 0) | (loss == 1)).all())
    left = _Field(axes=axes, codes=codes, loss=loss, least=least, effect=effect, counted=counted)
    found: list[Candidate] = []
    for _ in range(rounds):
        if len(left.loss) < 4 * least:
            break
        new = [best for best in (_one(left), _two(left), _tree(left)) if best is not None]
        new = _distinct(left, new)
        if not new:
            break
        found += new
        left = left.without(np.logical_or.reduce([inside(candidate, left.codes) for candidate in new]))
    return found


def _distinct(rows: _Field, candidates: list[Candidate]) -> list[Candidate]:
    """Without those that have 90 % of their rows in common with one that has fewer columns."""
    kept: list[tuple[Candidate, _Set]] = []
    for candidate in sorted(candidates, key=lambda item: len(item.cells)):
        mask = inside(candidate, rows.codes)
        if all((mask & other).sum() < 0.9 * (mask | other).sum() for _, other in kept):
            kept.append((candidate, mask))
    return [candidate for candidate, _ in kept]


def _better(candidates: Iterator[Candidate] | list[Candidate]) -> Candidate | None:
    best = max(candidates, key=lambda item: item.score, default=None)
    return best if best is not None and best.score >= _LEAST_SCORE else None


def _log_likelihood(hits: Any, rows: Any) -> Any:
    """Greatest log likelihood of ``hits`` of ``rows``."""
    return special.xlogy(hits, hits / rows) + special.xlogy(rows - hits, 1 - hits / rows)


def _one(rows: _Field) -> Candidate | None:
    return _better(rows.alone)


@cache
def _intervals(bins: int) -> tuple[_Codes, _Codes]:
    """The first bin of every interval of so many bins, and the one after its last."""
    low, high = np.triu_indices(bins + 1, k=1)
    low.flags.writeable = high.flags.writeable = False
    return low, high


def _along(rows: _Field, place: int, among: _Set, others: dict[int, _Set]) -> Candidate:
    """The best interval or level of one axis for the rows ``among``, those that lie in the ``others``' cells."""
    axis = rows.axes[place]
    codes = rows.codes[place][among]
    count = np.bincount(codes, minlength=axis.size).astype(np.float64)
    loss = np.bincount(codes, weights=rows.loss[among], minlength=axis.size).astype(np.float64)
    single = rows.scores(count, loss)
    best = int(np.argmax(single))
    cells, score = np.arange(axis.size) == best, float(single[best])
    if axis.ordered:
        bins = len(axis.edges)
        counts, losses = (np.concatenate([[0.0], np.cumsum(part[:bins])]) for part in (count, loss))
        low, high = _intervals(bins)
        ranges = rows.scores(counts[high] - counts[low], losses[high] - losses[low])
        widest = int(np.argmax(ranges)) if len(ranges) else 0
        if len(ranges) and ranges[widest] > score:
            score = float(ranges[widest])
            cells = np.zeros(axis.size, dtype=bool)
            cells[slice(*_likely(ranges, low, high, widest))] = True
    return Candidate({**others, place: cells}, score)


def _likely(scores: _Floats, low: _Codes, high: _Codes, best: int) -> tuple[int, int]:
    """First bin and the one after the last of the interval that more likely than not holds each of its bins.

    Every interval [low, high) weighs as much as its likelihood. The best one alone would follow chance: it is taken
    only where that majority is no single interval that may be.
    """
    weights = np.exp((np.square(np.maximum(scores, 0.0)) - scores[best] ** 2) / 2)
    bins = int(high.max())
    held = np.cumsum(np.bincount(low, weights, bins + 1) - np.bincount(high, weights, bins + 1))[:bins]
    places = np.flatnonzero(held > weights.sum() / 2)
    if len(places) == 0 or places[-1] - places[0] + 1 != len(places):
        return int(low[best]), int(high[best])
    first, after = int(places[0]), int(places[-1]) + 1
    majority = np.flatnonzero((low == first) & (high == after))[0]
    return (first, after) if np.isfinite(scores[majority]) else (int(low[best]), int(high[best]))


def _two(rows: _Field) -> Candidate | None:
    coarse = [axis.coarse[codes] for axis, codes in zip(rows.axes, rows.codes, strict=True)]
    places = _telling(rows) if len(rows.axes) > MOST_PAIRED else range(len(rows.axes))
    pairs = [_pair(rows, coarse, first, second) for first, second in combinations(places, 2)]
    finalists = sorted(pairs, key=lambda item: -item.score)[:_FINALISTS]
    return _better([_moved(rows, candidate) for candidate in finalists if np.isfinite(candidate.score)])


def _telling(rows: _Field) -> list[int]:
    """The axes that alone tell most of the loss, in their order: of hundreds, not every pair can be looked at."""
    alone = [candidate.score for candidate in rows.alone]
    return sorted(np.argsort(-np.array(alone), kind="stable")[:MOST_PAIRED].tolist())


def _pair(rows: _Field, coarse: list[_Codes], first: int, second: int) -> Candidate:
    """The best combination of an atom of one axis with one of another."""
    left, right = rows.axes[first], rows.axes[second]
    shape = left.atoms.shape[1], right.atoms.shape[1]
    cells = coarse[first] * shape[1] + coarse[second]
    size = shape[0] * shape[1]
    count = np.bincount(cells, minlength=size).reshape(shape)
    loss = np.bincount(cells, weights=rows.loss, minlength=size).reshape(shape)
    scores = rows.scores(left.atoms @ count @ right.atoms.T, left.atoms @ loss @ right.atoms.T)
    best = np.unravel_index(int(np.argmax(scores)), scores.shape)
    return Candidate({first: left.fine(int(best[0])), second: right.fine(int(best[1]))}, float(scores[best]))


def _moved(rows: _Field, candidate: Candidate) -> Candidate:
    """The same pair with its edges moved on the fine cells, one axis after the other, twice."""
    best = candidate
    for place in [*sorted(candidate.cells), *sorted(candidate.cells)]:
        other = {axis: cells for axis, cells in best.cells.items() if axis != place}
        moved = _along(rows, place, inside(Candidate(other), rows.codes), other)
        if np.isfinite(moved.score):
            best = moved
    return best


def _tree(rows: _Field) -> Candidate | None:
    """The best node of a small tree on the loss; categories are ordered by their own mean loss."""
    orders = [_order(rows, place) for place in range(len(rows.axes))]
    table = np.column_stack([order[codes] for order, codes in zip(orders, rows.codes, strict=True)]).astype(np.float32)
    tree = DecisionTreeRegressor(max_depth=_DEPTH, min_samples_leaf=rows.least, random_state=0)
    tree.fit(table, rows.loss)
    count = tree.tree_.n_node_samples.astype(np.float64)
    scores = rows.scores(count, tree.tree_.value[:, 0, 0] * count)
    node = int(np.argmax(scores))
    if not np.isfinite(scores[node]):
        return None
    cells = {place: kept for place, kept in _path(tree.tree_, node, orders).items() if not kept.all()}
    return _better([Candidate(cells, float(scores[node]))]) if cells else None


def _order(rows: _Field, place: int) -> _Codes:
    """[size] the place of each cell when a tree splits the axis: bins as they are, levels by their mean loss."""
    axis = rows.axes[place]
    if axis.ordered:
        return np.arange(axis.size)
    count = np.bincount(rows.codes[place], minlength=axis.size)
    loss = np.bincount(rows.codes[place], weights=rows.loss, minlength=axis.size)
    return np.argsort(np.argsort((loss + rows.loss.mean()) / (count + 1), kind="stable"), kind="stable")


def _path(tree: object, node: int, orders: list[_Codes]) -> dict[int, _Set]:
    """The cells of each axis that lead from the root to a node."""
    left, right = tree.children_left, tree.children_right  # type: ignore[attr-defined]  # the library has no types
    feature, threshold = tree.feature, tree.threshold  # type: ignore[attr-defined]  # as above
    cells: dict[int, _Set] = {}
    while node:
        parents = np.flatnonzero((left == node) | (right == node))
        parent = int(parents[0])
        place, goes_left = int(feature[parent]), bool(left[parent] == node)
        below = orders[place] <= threshold[parent]
        here = below if goes_left else ~below
        cells[place] = cells.get(place, np.ones(len(here), dtype=bool)) & here
        node = parent
    return cells
