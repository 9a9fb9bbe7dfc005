"""How much more than independent rows consecutive rows vary: hours of the day differ, entities come again.

In: a reference, and the rows that it was made of. Out: the same reference with a dispersion per column. Laws: at least
1; of independent rows near 1; it is learnt of the reference's rows alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.measures.codes import filled
from roadworthy.measures.drift.cells import score_key
from roadworthy.measures.sketches import CategorySketch, Dispersion, NumberSketch, Reference, cells_of

__all__ = ["with_dispersion"]

Floats = NDArray[np.float64]
_SMALLEST = 32
_LEAST_BLOCKS = 8
_MOST_ROWS = 400_000
_LEAST_ROWS = 256
_CONSTANT = 1e-9
_SCORE_CUTS = np.linspace(0, 1, 33)[1:-1]


def with_dispersion(
    reference: Reference,
    frame: pl.DataFrame,
    *,
    time: str = "",
    entity: str = "",
    scores: Floats | None = None,
) -> Reference:
    """The reference with a dispersion for every column, learnt of its own rows.

    For blocks of 32, 64, 128 … rows that follow each other in ``time`` (as they stand, where there is none): how many
    times the variance between blocks, of the share below each edge or with each label, is that of independent rows (the
    design effect of cluster sampling, Kish 1965; Rao and Scott 1981), of the half of the shares that vary most; and
    where there is an ``entity``, the cluster-robust variance of the same shares within such blocks, if it is greater.
    Of independent rows it is 1 to 1.5, the more so the fewer blocks there are, of which there are at least 8.
    ``scores`` [N, K] are those of the frame's rows.
    """
    if frame.height < _LEAST_ROWS:
        return reference
    order = _order(frame, time)
    groups = _groups(frame, entity, order)
    sizes = _sizes(len(order))
    found: dict[str, Dispersion] = {}
    sketches: dict[str, NumberSketch | CategorySketch] = {**reference.numbers, **reference.categories}
    for name, like in sketches.items():
        column = frame.get_column(name)
        codes = cells_of(like, column)
        whole = np.asarray(filled(codes, column) if isinstance(like, NumberSketch) else codes)
        cells = len(like.edges) + 1 if isinstance(like, NumberSketch) else len(like.labels) + 1
        ordered = isinstance(like, NumberSketch)
        found[name] = _dispersion(whole[order].astype(np.int64), cells, sizes, groups, ordered=ordered)
    columns = np.empty((frame.height, 0)) if scores is None else np.asarray(scores, np.float64)
    for index, own in enumerate(columns.T):
        cuts = np.unique(np.quantile(own, _SCORE_CUTS))
        key = score_key(index, several=columns.shape[1] > 1)
        codes = np.searchsorted(cuts, own, side="right")[order]
        found[key] = _dispersion(codes, len(cuts) + 1, sizes, groups, ordered=True)
    return msgspec.structs.replace(reference, blocks=tuple(sizes), dispersion=found)


def _order(frame: pl.DataFrame, time: str) -> NDArray[np.int64]:
    """Rows in time order; of very many, the last stretch that still tells all."""
    if time and time in frame.columns:
        order = frame.get_column(time).arg_sort(nulls_last=True).to_numpy().astype(np.int64)
    else:
        order = np.arange(frame.height)
    return order[-_MOST_ROWS:]


def _groups(frame: pl.DataFrame, entity: str, order: NDArray[np.int64]) -> NDArray[np.int64] | None:
    if not entity or entity not in frame.columns:
        return None
    return frame.get_column(entity).rank("dense").fill_null(0).to_numpy().astype(np.int64)[order]


def _sizes(rows: int) -> list[int]:
    """Doubling numbers of rows, as long as there are enough blocks of them; at last all rows."""
    sizes = [_SMALLEST]
    while sizes[-1] * 2 * _LEAST_BLOCKS <= rows:
        sizes.append(sizes[-1] * 2)
    return [*sizes, rows]


def _dispersion(
    codes: NDArray[np.int64], cells: int, sizes: Sequence[int], groups: NDArray[np.int64] | None, *, ordered: bool
) -> Dispersion:
    """``codes`` [n] in order, −1 where missing."""
    shown = np.where(codes < 0, cells, codes)  # missing rows are a cell of their own
    tests = np.tri(cells + 1, cells + 1, dtype=np.float64)[: cells - 1] if ordered else np.eye(cells + 1)[:cells]
    gone = np.eye(2)[:1]
    return Dispersion(
        values=_figures(shown, tests, sizes, groups),
        missing=_figures((codes < 0).astype(np.int64), gone, sizes, groups),
    )


def _figures(
    codes: NDArray[np.int64], tests: Floats, sizes: Sequence[int], groups: NDArray[np.int64] | None
) -> tuple[float, ...]:
    """One per size: over the half of the ``tests`` [t, cells] that vary most beyond chance, variance over variance.

    A test counts the rows in some of the cells: those below an edge, those with one label.
    """
    share = tests @ (np.bincount(codes, minlength=tests.shape[1]) / len(codes))
    single = share * (1 - share)
    tests, single = tests[single > _CONSTANT], single[single > _CONSTANT]
    if not len(tests):
        return (1.0,) * len(sizes)
    found: list[float] = []
    for size in sizes:
        whole = size >= len(codes)
        times = _between(codes, tests, size) / single if not whole else np.array([found[-1]])
        figure = _upper_half(times)
        if groups is not None:
            figure = max(figure, _upper_half(_clustered(codes, tests, size, groups) / single))
        found.append(round(max(1.0, figure), 3))
    return tuple(found)


def _upper_half(times: Floats) -> float:
    return float(np.sort(times)[len(times) // 2 :].mean())


def _between(codes: NDArray[np.int64], tests: Floats, size: int) -> Floats:
    """The variance of each test's sums over blocks, per row."""
    blocks, cells = len(codes) // size, tests.shape[1]
    used = codes[len(codes) - blocks * size :]
    table = np.bincount(np.repeat(np.arange(blocks), size) * cells + used, minlength=blocks * cells)
    return np.asarray((table.reshape(blocks, cells) @ tests.T).var(axis=0, ddof=1) / size, np.float64)


def _clustered(codes: NDArray[np.int64], tests: Floats, size: int, groups: NDArray[np.int64]) -> Floats:
    """The cluster-robust variance of each test's sums, per row, by entity within blocks of that size.

    Of an entity with k rows of which c count, the square of c − k·share.
    """
    size = min(size, len(codes))
    used = codes[len(codes) % size :]
    block = np.arange(len(used)) // size
    _, who = np.unique(block * (int(groups.max()) + 1) + groups[len(codes) % size :], return_inverse=True)
    rows = np.bincount(who).astype(np.float64)
    found = np.empty(len(tests))
    for index, test in enumerate(tests):
        counted = test[used]
        own = np.bincount(who, weights=counted) - rows * counted.mean()
        found[index] = (own**2).sum() / len(used)
    return found
