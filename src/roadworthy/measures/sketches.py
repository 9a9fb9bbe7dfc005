"""Reference sketches: what monitoring compares live rows against, small, mergeable and without any row in it.

In: clean columns and scores. Out: frozen ``Reference`` structs of bounded size, plain JSON. A reference fixes its
own frame (bin edges, listed labels) from the rows it is first made of; any other rows are counted on that frame
with ``sketch_like``. Laws: on one frame, ``merge`` is associative and commutative, exactly in counts, bounds and
labels and to rounding in moments, and ``merge`` of two parts equals the sketch of both together. No value of a
hidden column and no label of fewer than five rows is written.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError

__all__ = ["CategorySketch", "NumberSketch", "Reference", "merge", "sketch", "sketch_like", "sketch_scores"]

BINS = 32
LABELS = 64
_RARE = 5
_VAST = 1e100
_GREATEST = sys.float_info.max


class NumberSketch(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers (times: seconds since 1970 UTC), counted between fixed edges.

    ``edges`` [e] rise strictly; ``counts`` [e + 1] are the values below the first edge, from each edge up to but
    not including the next, and from the last edge on. ``m2`` is the sum of squared distances to the mean, at most the
    greatest double.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    count: int = 0
    missing: int = 0
    lowest: float | None = None
    highest: float | None = None
    mean: float = 0.0
    m2: float = 0.0


class CategorySketch(msgspec.Struct, frozen=True, kw_only=True):
    """Labels counted: the listed ones, all others together, and the missing. A hidden column lists none."""

    labels: tuple[str, ...]
    counts: tuple[int, ...]
    other: int = 0
    missing: int = 0


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Sketches by column, and of the scores (one per score column)."""

    rows: int
    numbers: dict[str, NumberSketch] = {}
    categories: dict[str, CategorySketch] = {}
    scores: tuple[NumberSketch, ...] = ()
    format: int = 1


def sketch(frame: pl.DataFrame, columns: Iterable[str], *, hidden: Iterable[str] = ()) -> Reference:
    """Sketch ``columns`` of a clean frame on a frame of their own: 32 bins of about equal count, 64 labels.

    ``hidden`` columns (personal, entity, free text) are counted, never by value. Edges are quantiles of the rows
    (inverse of the distribution function, Hyndman and Fan 1996, type 1), so equal values share a bin.
    """
    unseen = frozenset(hidden)
    numbers: dict[str, NumberSketch] = {}
    categories: dict[str, CategorySketch] = {}
    for name in columns:
        column = frame.get_column(name)
        if name in unseen:
            categories[name] = CategorySketch(labels=(), counts=())
        elif _is_number(column):
            numbers[name] = _empty_numbers(_edges(_numbers(column)))
        else:
            labels = _frequent(column)
            categories[name] = CategorySketch(labels=labels, counts=(0,) * len(labels))
    return sketch_like(Reference(rows=0, numbers=numbers, categories=categories), frame)


def sketch_like(reference: Reference, frame: pl.DataFrame) -> Reference:
    """Count other rows on a reference's edges and labels. Raises DataError when columns are absent."""
    absent = [name for name in (*reference.numbers, *reference.categories) if name not in frame.columns]
    if absent:
        raise DataError(f"the rows lack columns of the reference: {', '.join(absent)}")
    return Reference(
        rows=frame.height,
        numbers={
            name: _counted(old.edges, _numbers(frame.get_column(name)), frame.get_column(name).null_count())
            for name, old in reference.numbers.items()
        },
        categories={name: _labelled(old.labels, frame.get_column(name)) for name, old in reference.categories.items()},
    )


def sketch_scores(scores: NDArray[np.float64], like: Sequence[NumberSketch] = ()) -> tuple[NumberSketch, ...]:
    """Sketch scores [N] or [N, K], one sketch per score column, on their own edges or those of ``like``."""
    matrix = np.asarray(scores, dtype=np.float64).reshape(len(scores), -1)
    edges = [old.edges for old in like] or [_edges(matrix[:, index]) for index in range(matrix.shape[1])]
    if len(edges) != matrix.shape[1]:
        raise DataError(f"the reference has {len(edges)} score columns, the scores have {matrix.shape[1]}")
    return tuple(_counted(own, matrix[:, index], 0) for index, own in enumerate(edges))


def merge(left: Reference, right: Reference) -> Reference:
    """The sketch of both parts' rows together. Raises DataError when their frames differ."""
    if (
        list(left.numbers) != list(right.numbers)
        or list(left.categories) != list(right.categories)
        or len(left.scores) != len(right.scores)
    ):
        raise DataError("two references of different columns do not merge")
    return Reference(
        rows=left.rows + right.rows,
        numbers={name: _merged_numbers(name, old, right.numbers[name]) for name, old in left.numbers.items()},
        categories={name: _merged_labels(name, old, right.categories[name]) for name, old in left.categories.items()},
        scores=tuple(_merged_numbers("score", a, b) for a, b in zip(left.scores, right.scores, strict=True)),
    )


def _is_number(column: pl.Series) -> bool:
    return column.dtype.is_numeric() or column.dtype.is_temporal()


def _numbers(column: pl.Series) -> NDArray[np.float64]:
    """The values that are there, as double; times in seconds."""
    present = column.drop_nulls()
    if present.dtype.is_temporal():
        return present.cast(pl.Datetime("us")).to_physical().cast(pl.Float64).to_numpy() / 1e6
    return present.cast(pl.Float64).to_numpy()


def _edges(values: NDArray[np.float64]) -> tuple[float, ...]:
    """Quantiles, each once, and just above the highest value, so that the outer bins are outside."""
    if not len(values):
        return (0.0,)
    inner = np.quantile(values, np.linspace(0, 1, BINS + 1)[:-1], method="inverted_cdf")
    above = np.nextafter(values.max(), np.inf) if values.max() < _GREATEST else _GREATEST
    return tuple(float(edge) for edge in np.unique(np.append(inner, above)))


def _empty_numbers(edges: tuple[float, ...]) -> NumberSketch:
    return NumberSketch(edges=edges, counts=(0,) * (len(edges) + 1))


def _counted(edges: tuple[float, ...], values: NDArray[np.float64], missing: int) -> NumberSketch:
    if not len(values):
        return msgspec.structs.replace(_empty_numbers(edges), missing=missing)
    bins = np.searchsorted(np.array(edges), values, side="right")
    greatest = float(np.max(np.abs(values)))
    unit = greatest if greatest > _VAST else 1.0  # sums and squares of vast numbers would overflow
    scaled = values / unit
    middle = float(np.mean(scaled))
    return NumberSketch(
        edges=edges,
        counts=tuple(int(count) for count in np.bincount(bins, minlength=len(edges) + 1)),
        count=len(values),
        missing=missing,
        lowest=float(values.min()),
        highest=float(values.max()),
        mean=middle * unit,
        m2=_capped(float(np.sum((scaled - middle) ** 2)) * unit * unit),
    )


def _capped(m2: float) -> float:
    """The greatest double in place of what is beyond it, since JSON has no infinity."""
    return m2 if math.isfinite(m2) else _GREATEST


def _texts(column: pl.Series) -> pl.Series:
    return column.cast(pl.String)  # true and false become "true" and "false"


def _frequent(column: pl.Series) -> tuple[str, ...]:
    """Up to 64 labels by falling count (ties by name), none with fewer than five rows."""
    counts = _texts(column).drop_nulls().alias("label").value_counts(name="rows")
    listed = counts.filter(pl.col("rows") >= _RARE).sort(["rows", "label"], descending=[True, False]).head(LABELS)
    return tuple(listed.get_column("label").to_list())


def _labelled(labels: tuple[str, ...], column: pl.Series) -> CategorySketch:
    missing = column.null_count()
    if not labels:
        return CategorySketch(labels=(), counts=(), other=len(column) - missing, missing=missing)
    counts = _texts(column).drop_nulls().alias("label").value_counts(name="rows")
    seen = dict(zip(counts.get_column("label").to_list(), counts.get_column("rows").to_list(), strict=True))
    listed = tuple(int(seen.get(label, 0)) for label in labels)
    return CategorySketch(labels=labels, counts=listed, other=len(column) - missing - sum(listed), missing=missing)


def _merged_numbers(name: str, a: NumberSketch, b: NumberSketch) -> NumberSketch:
    """Counts add; mean and m2 by Chan, Golub and LeVeque (1983), "Algorithms for Computing the Sample Variance"."""
    if a.edges != b.edges:
        raise DataError(f"two references of {name} with different edges do not merge")
    count = a.count + b.count
    share = b.count / count if count else 0.0
    gap = b.mean - a.mean
    lows = [value for value in (a.lowest, b.lowest) if value is not None]
    highs = [value for value in (a.highest, b.highest) if value is not None]
    return NumberSketch(
        edges=a.edges,
        counts=tuple(x + y for x, y in zip(a.counts, b.counts, strict=True)),
        count=count,
        missing=a.missing + b.missing,
        lowest=min(lows) if lows else None,
        highest=max(highs) if highs else None,
        mean=a.mean + gap * share if math.isfinite(gap) else a.mean * (1 - share) + b.mean * share,
        m2=_capped(a.m2 + b.m2 + gap * gap * share * a.count),
    )


def _merged_labels(name: str, a: CategorySketch, b: CategorySketch) -> CategorySketch:
    if a.labels != b.labels:
        raise DataError(f"two references of {name} with different labels do not merge")
    return CategorySketch(
        labels=a.labels,
        counts=tuple(x + y for x, y in zip(a.counts, b.counts, strict=True)),
        other=a.other + b.other,
        missing=a.missing + b.missing,
    )
