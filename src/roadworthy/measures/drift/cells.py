"""The counts that a column's comparison is made of: cells of the reference beside cells of the current rows.

In: two sketches of one column on one frame. Out: ``Cells``. Law: rows that chose which labels are listed are not among
those compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.measures.sketches import CategorySketch, Dispersion, NumberSketch, Reference, judged_cells

__all__ = ["Cells", "cells_by_subject", "degrees_at", "dispersion_at", "score_key"]

Floats = NDArray[np.float64]
_LEAST_DEGREES = 7
_ONCE = Dispersion(values=(), missing=())
_OPTIMISM = 0.5
"""A dispersion is a mean over the half of the cuts that vary most, so it comes out above 1 where rows are independent:
by about half of the standard deviation of one cut's, at any number of blocks and for columns of any kind. Where rows do
depend on each other it is far above that, and hardly changed."""


class Cells(NamedTuple):
    """One column, counted on both sides.

    ``old`` and ``new`` [c] are rows by cell: of a number, ``edges`` [c − 1] lie between the cells; otherwise ``labels``
    [c − 1] name all but the last one, which is every other label. ``wider`` and ``wider_missing`` say how many times
    the variance is what independent rows would have, learnt with so many ``degrees`` of freedom.
    """

    subject: str
    old: Floats
    new: Floats
    edges: tuple[float, ...]
    labels: tuple[str, ...]
    ordered: bool
    hidden: bool
    old_missing: int
    old_rows: int
    new_missing: int
    new_rows: int
    wider: float
    wider_missing: float
    degrees: float


def cells_by_subject(reference: Reference, current: Reference, classes: Sequence[str]) -> Iterator[Cells | str]:
    """Scores first, then columns; the bare name of a column that the current rows lack."""
    if reference.scores and current.scores and len(reference.scores) != len(current.scores):
        raise DataError(f"{len(current.scores)} score columns do not compare with {len(reference.scores)}")
    several = len(reference.scores) > 1
    for index, (old, new) in enumerate(zip(reference.scores, current.scores, strict=False)):
        name = classes[index] if index < len(classes) else str(index)
        subject = f"score.{name}" if several else "score"
        yield _numbers(subject, old, new, _wider(reference, score_key(index, several=several), old.count, new.count))
    for name, number in reference.numbers.items():
        other = current.numbers.get(name)
        rows = (number.count + number.missing, other.count + other.missing) if other is not None else (0, 0)
        yield name if other is None else _numbers(name, number, other, _wider(reference, name, *rows))
    for name, category in reference.categories.items():
        beside = current.categories.get(name)
        yield name if beside is None else _labels(name, category, beside, reference, current)


def score_key(index: int, *, several: bool) -> str:
    """Under which name a score's dispersion is kept."""
    return f"score.{index}" if several else "score"


def dispersion_at(blocks: Sequence[int], figures: Sequence[float], rows: float) -> float:
    """The dispersion of that many consecutive rows: between two known numbers of rows by their logarithms.

    One row varies as one row does, so it is 1 there; beyond the greatest known number it is what it was there. What
    independent rows show by themselves, of so few blocks, is taken off.
    """
    if not figures or rows <= 1:
        return 1.0
    known = np.log(np.array([1, *blocks], np.float64))
    fair = [figure - one for figure, one in zip(figures, _by_itself(blocks), strict=True)]
    return float(max(1.0, np.interp(np.log(rows), known, [1.0, *fair])))


def _by_itself(blocks: Sequence[int]) -> list[float]:
    """By how much the dispersion of independent rows comes out above 1, at each size of blocks; the last is all rows.

    The variance between b blocks is that of a chi-square with b - 1 degrees of freedom, with a standard deviation of
    the root of 2 / (b - 1). The figure of all rows is that of the largest blocks.
    """
    learnt = [max(blocks[-1] // size, 2) for size in blocks]
    if len(learnt) > 1:
        learnt[-1] = learnt[-2]
    return [_OPTIMISM * float(np.sqrt(2 / (many - 1))) for many in learnt]


def degrees_at(blocks: Sequence[int], rows: float) -> float:
    """Degrees of freedom of the dispersion of that many rows: blocks that it was learnt of, less one."""
    return max(float(_LEAST_DEGREES), blocks[-1] / max(rows, 1.0) - 1) if blocks else 1.0


def _wider(reference: Reference, key: str, old: float, new: float) -> tuple[float, float, float]:
    """How many times the variance of a difference of shares is what independent rows would have."""
    known = reference.dispersion.get(key, _ONCE)
    if not old or not new:
        return 1.0, 1.0, 1.0
    both = []
    for figures in (known.values, known.missing):
        sides = [dispersion_at(reference.blocks, figures, rows) / rows for rows in (old, new)]
        both.append(sum(sides) / (1 / old + 1 / new))
    return both[0], both[1], degrees_at(reference.blocks, new)


def _numbers(subject: str, old: NumberSketch, new: NumberSketch, wider: tuple[float, float, float]) -> Cells:
    if old.edges != new.edges:
        raise DataError(f"{subject} was counted on other edges than the reference's: count it with sketch_like")
    return Cells(
        subject=subject,
        old=np.array(old.counts, np.float64),
        new=np.array(new.counts, np.float64),
        edges=old.edges,
        labels=(),
        ordered=True,
        hidden=False,
        old_missing=old.missing,
        old_rows=old.count + old.missing,
        new_missing=new.missing,
        new_rows=new.count + new.missing,
        wider=wider[0],
        wider_missing=wider[1],
        degrees=wider[2],
    )


def _labels(name: str, old: CategorySketch, new: CategorySketch, reference: Reference, current: Reference) -> Cells:
    if old.labels != new.labels:
        raise DataError(f"{name} was counted by other labels than the reference's: count it with sketch_like")
    first = len(old.judged) - 1 if old.judged else len(old.labels)
    before = np.array(judged_cells(old, first), np.float64)
    wider = _wider(reference, name, float(before.sum()) or reference.rows, current.rows)
    return Cells(
        subject=name,
        old=before,
        new=np.array((*new.counts[:first], sum(new.counts[first:]) + new.other), np.float64),
        edges=(),
        labels=old.labels[:first],
        ordered=False,
        hidden=not old.labels,
        old_missing=old.missing,
        old_rows=reference.rows,
        new_missing=new.missing,
        new_rows=current.rows,
        wider=wider[0],
        wider_missing=wider[1],
        degrees=wider[2],
    )
