"""Reference sketches: what monitoring compares live rows against, small, mergeable and without any row in it.

In: clean columns and scores. Out: frozen ``Reference`` structs of bounded size, plain JSON. A reference fixes its
own frame (bin edges, listed labels) from the rows it is first made of; any other rows are counted on that frame
with ``sketch_like``. Laws: on one frame, ``merge`` is associative and commutative, exactly in counts, bounds and
labels and to rounding in moments, and ``merge`` of two parts equals the sketch of both together. No value of a
hidden column and no label of fewer than five rows is written.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.measures.codes import Codes, as_texts, filled, is_number, label_codes, number_codes, present_numbers
from roadworthy.measures.joint import Joint, joint_columns, joint_of, merged_joint

__all__ = [
    "CategorySketch",
    "Dispersion",
    "NumberSketch",
    "Reference",
    "cells_of",
    "judged_cells",
    "merge",
    "sketch",
    "sketch_batches",
    "sketch_like",
    "sketch_scores",
]

BINS = 32
LABELS = 64
_RARE = 5
_SURE = 30  # rows of a label that would have been listed in any other sample as well
_WORTH_THREADS = 2_000_000  # cells
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
    """Labels counted: the listed ones, all others together, and the missing. A hidden column lists none.

    ``judged`` [k + 1] is there where the rows that chose which labels are listed must not also be compared with others,
    since a label is listed because it happens to be frequent in them: the counts among every other row, which chose
    none, of the first k labels and of all others together.
    """

    labels: tuple[str, ...]
    counts: tuple[int, ...]
    other: int = 0
    missing: int = 0
    judged: tuple[int, ...] = ()


class Dispersion(msgspec.Struct, frozen=True, kw_only=True):
    """How many times more than independent rows consecutive rows of one column vary, by number of rows (at least 1).

    One figure for each of ``Reference.blocks``: of the shares of its cells, and of the share that is missing.
    """

    values: tuple[float, ...]
    missing: tuple[float, ...]


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Sketches by column, and of the scores (one per score column).

    ``dispersion`` by column (``score``, ``score.0`` … for scores) is known for ``blocks`` rows; ``joint`` says which
    columns go together. Format 2 added these and ``CategorySketch.judged``; a file of format 1 has none of them.
    """

    rows: int
    numbers: dict[str, NumberSketch] = {}
    categories: dict[str, CategorySketch] = {}
    scores: tuple[NumberSketch, ...] = ()
    blocks: tuple[int, ...] = ()
    dispersion: dict[str, Dispersion] = {}
    joint: Joint | None = None
    format: int = 2


def sketch(
    frame: pl.DataFrame, columns: Iterable[str], *, hidden: Iterable[str] = (), together: Collection[str] = ()
) -> Reference:
    """Sketch ``columns`` of a clean frame on a frame of their own: 32 bins of about equal count, 64 labels.

    ``hidden`` columns (personal, entity, free text) are counted, never by value. Edges are quantiles of the rows
    (inverse of the distribution function, Hyndman and Fan 1996, type 1), so equal values share a bin. ``together``
    names the columns of which it shall be seen whether they still go together.
    """
    unseen = frozenset(hidden)
    numbers: dict[str, NumberSketch] = {}
    categories: dict[str, CategorySketch] = {}
    judged: dict[str, tuple[int, ...]] = {}
    for name in columns:
        column = frame.get_column(name)
        if name in unseen:
            categories[name] = CategorySketch(labels=(), counts=())
        elif is_number(column):
            numbers[name] = _empty_numbers(_edges(present_numbers(column)))
        else:
            labels, judged[name] = _listed(column)
            categories[name] = CategorySketch(labels=labels, counts=(0,) * len(labels))
    found = sketch_like(Reference(rows=0, numbers=numbers, categories=categories), frame)
    categories = {
        name: msgspec.structs.replace(one, judged=judged.get(name, ())) for name, one in found.categories.items()
    }
    found = msgspec.structs.replace(found, categories=categories)
    return _together(found, frame, together) if together else found


def sketch_like(reference: Reference, frame: pl.DataFrame) -> Reference:
    """Count other rows on a reference's edges and labels. Raises DataError when columns are absent."""
    names = [*reference.numbers, *reference.categories]
    absent = [name for name in names if name not in frame.columns]
    if absent:
        raise DataError(f"the rows lack columns of the reference: {', '.join(absent)}")
    together = () if reference.joint is None else [one for one in reference.joint.columns if one.column in names]
    wanted = {one.column for one in together}
    codes: dict[str, Codes] = {}

    def count(name: str) -> NumberSketch | CategorySketch:
        column, old = frame.get_column(name), _sketch_of(reference, name)
        own = cells_of(old, column)
        if name in wanted:
            codes[name] = filled(own, column) if isinstance(old, NumberSketch) else own
        if isinstance(old, CategorySketch):
            return _labelled(old.labels, own, column)
        return _counted(old.edges, own, present_numbers(column), column.null_count())

    if frame.height * len(names) < _WORTH_THREADS:
        counted = [count(name) for name in names]
    else:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            counted = list(pool.map(count, names))
    own = dict(zip(names, counted, strict=True))
    return Reference(
        rows=frame.height,
        numbers={name: one for name, one in own.items() if isinstance(one, NumberSketch)},
        categories={name: one for name, one in own.items() if isinstance(one, CategorySketch)},
        joint=joint_of(tuple(together), codes, frame.height) if reference.joint is not None else None,
    )


def sketch_batches(reference: Reference, frames: Iterable[pl.DataFrame]) -> Reference:
    """Count rows that come in frames, one after the other: no more than one of them is in memory."""
    found = sketch_like(reference, pl.DataFrame(schema=_schema(reference)))
    for frame in frames:
        found = merge(found, sketch_like(reference, frame))
    return found


def _schema(reference: Reference) -> dict[str, type[pl.DataType]]:
    return dict.fromkeys(reference.numbers, pl.Float64) | dict.fromkeys(reference.categories, pl.String)


def cells_of(like: NumberSketch | CategorySketch, column: pl.Series) -> Codes:
    """The cell of each value on a sketch's frame: of a number's values that are there, of all rows of labels."""
    if isinstance(like, CategorySketch):
        return label_codes(like.labels, column)
    return number_codes(like.edges, present_numbers(column))


def _sketch_of(reference: Reference, name: str) -> NumberSketch | CategorySketch:
    return reference.numbers[name] if name in reference.numbers else reference.categories[name]


def _together(reference: Reference, frame: pl.DataFrame, wanted: Collection[str]) -> Reference:
    """The same with its joint sums."""
    labels = {name: (one.counts, reference.rows) for name, one in reference.categories.items() if one.labels}
    numbers = {name: one.counts for name, one in reference.numbers.items()}
    known = [name for name in frame.columns if name in wanted and (name in numbers or name in labels)]
    columns = joint_columns(numbers, labels, known)
    codes = {
        name: cells_of(_sketch_of(reference, name), frame.get_column(name)) for name in {c.column for c in columns}
    }
    whole = {name: filled(own, frame.get_column(name)) if name in numbers else own for name, own in codes.items()}
    return msgspec.structs.replace(reference, joint=joint_of(columns, whole, frame.height))


def sketch_scores(scores: NDArray[np.float64], like: Sequence[NumberSketch] = ()) -> tuple[NumberSketch, ...]:
    """Sketch scores [N] or [N, K], one sketch per score column, on their own edges or those of ``like``.

    A score that is no finite number is missing.
    """
    matrix = np.asarray(scores, dtype=np.float64)
    matrix = matrix.reshape(len(scores), -1) if len(scores) else matrix.reshape(0, len(like) or 1)
    columns = [np.ascontiguousarray(matrix[:, index]) for index in range(matrix.shape[1])]
    there = [one if np.isfinite(one).all() else one[np.isfinite(one)] for one in columns]
    edges = [old.edges for old in like] or [_edges(one) for one in there]
    if len(edges) != matrix.shape[1]:
        raise DataError(f"the reference has {len(edges)} score columns, the scores have {matrix.shape[1]}")
    return tuple(
        _counted(own, number_codes(own, one), one, len(matrix) - len(one))
        for own, one in zip(edges, there, strict=True)
    )


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
        blocks=max(left.blocks, right.blocks),
        dispersion=_merged_dispersion(left, right),
        joint=merged_joint(left.joint, right.joint),
    )


def _merged_dispersion(left: Reference, right: Reference) -> dict[str, Dispersion]:
    """What was learnt of either; where both learnt it, the greater."""
    if not left.dispersion or not right.dispersion:
        return left.dispersion or right.dispersion
    if left.blocks != right.blocks:
        raise DataError("two references whose dispersion is of different numbers of rows do not merge")
    pairs = {name: (one, right.dispersion.get(name, one)) for name, one in left.dispersion.items()}
    return {
        name: Dispersion(
            values=tuple(map(max, a.values, b.values)),
            missing=tuple(map(max, a.missing, b.missing)),
        )
        for name, (a, b) in pairs.items()
    }


def _edges(values: NDArray[np.float64]) -> tuple[float, ...]:
    """Quantiles, each once, and just above the highest value, so that the outer bins are outside."""
    if not len(values):
        return (0.0,)
    inner = np.quantile(values, np.linspace(0, 1, BINS + 1)[:-1], method="inverted_cdf")
    above = np.nextafter(values.max(), np.inf) if values.max() < _GREATEST else _GREATEST
    return tuple(float(edge) for edge in np.unique(np.append(inner, above)))


def _empty_numbers(edges: tuple[float, ...]) -> NumberSketch:
    return NumberSketch(edges=edges, counts=(0,) * (len(edges) + 1))


def _counted(edges: tuple[float, ...], codes: Codes, values: NDArray[np.float64], missing: int) -> NumberSketch:
    if not len(values):
        return msgspec.structs.replace(_empty_numbers(edges), missing=missing)
    greatest = float(np.max(np.abs(values)))
    unit = greatest if greatest > _VAST else 1.0  # sums and squares of vast numbers would overflow
    scaled = values / unit
    middle = float(np.mean(scaled))
    return NumberSketch(
        edges=edges,
        counts=tuple(np.bincount(codes, minlength=len(edges) + 1).tolist()),
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


def _listed(column: pl.Series) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Up to 64 labels, none with fewer than five rows; and, where it matters, what the rows that chose none counted.

    It matters where another sample could have led to other labels: then every other row chooses, and its labels stand
    first.
    """
    texts = as_texts(column)
    counts = _value_counts(texts)
    common = counts.filter(pl.col("rows") >= _RARE)
    labels = common.get_column("label").head(LABELS).to_list()
    settled = common.height == counts.height <= LABELS and common.filter(pl.col("rows") < _SURE).is_empty()
    if settled:
        return tuple(labels), ()
    choosing = _value_counts(texts.gather_every(2)).filter(pl.col("rows") >= _RARE).head(LABELS)
    chosen = choosing.get_column("label").to_list()
    first = set(chosen)
    labels = (chosen + [label for label in labels if label not in first])[:LABELS]
    codes = label_codes(tuple(chosen), texts.gather_every(2, 1))
    return tuple(labels), tuple(np.bincount(codes[codes >= 0], minlength=len(chosen) + 1).tolist())


def _value_counts(texts: pl.Series) -> pl.DataFrame:
    """Labels by falling count, ties by name."""
    counts = texts.drop_nulls().alias("label").value_counts(name="rows")
    return counts.sort(["rows", "label"], descending=[True, False])


def _labelled(labels: tuple[str, ...], codes: Codes, column: pl.Series) -> CategorySketch:
    missing = column.null_count()
    seen = np.bincount(codes[codes >= 0] if missing else codes, minlength=len(labels) + 1)[: len(labels)]
    listed = tuple(seen.tolist())
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
        judged=_merged_judged(a, b),
    )


def _merged_judged(a: CategorySketch, b: CategorySketch) -> tuple[int, ...]:
    """The rows of either that had no say; all of them where the sketch took over a list of labels."""
    size = max(len(a.judged), len(b.judged))
    if not size:
        return ()
    if a.judged and b.judged and len(a.judged) != len(b.judged):
        raise DataError("two references whose labels were chosen otherwise do not merge")
    return tuple(x + y for x, y in zip(judged_cells(a, size - 1), judged_cells(b, size - 1), strict=True))


def judged_cells(labels: CategorySketch, first: int) -> tuple[int, ...]:
    """Rows that had no say in the list: of the ``first`` labels each, then of all others together."""
    if labels.judged:
        return labels.judged
    return (*labels.counts[:first], sum(labels.counts[first:]) + labels.other)
