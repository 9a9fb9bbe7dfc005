"""Columns whose being filled, not whose content, tells the answer.

In: rows and their outcome. Out: ``Finding``s that fail. ``closed_at`` is filled only where the case was closed: a
model learns the gap, and in service the gap is always there.

A column is *filled* where it is neither missing nor blank; a column whose most frequent value takes three tenths of
the rows counts that value as not filled as well (zero, ``-1``, ``unknown``), with a stricter rule. Proof is purity:
the rows of one side are of one class in 99 %, where that class has at most nine tenths of all rows, and chance (one
binomial tail) would do so less than once in 10⁹ tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from roadworthy.measures.ranking import auc_value
from roadworthy.records.evidence import Finding
from roadworthy.records.project import Task

__all__ = ["missing_leaks"]

_PURE, _PURER = 0.99, 0.995
_COMMON_CLASS = 0.9
_LEAST_ROWS = 20
_COVERS, _COVERS_MORE = 0.05, 0.5
_CHANCE = np.log(1e-9)
_MODE_SHARE = 0.3
_MOST_CLASSES = 50
_SPLITS_NUMBERS = 0.99


class _Side(NamedTuple):
    """Rows of one side and the class that they are of."""

    words: str
    rows: int
    purity: float
    covers: float
    label: int


def missing_leaks(
    frame: pl.DataFrame, columns: Sequence[str], y: NDArray[Any], task: Task, classes: Sequence[str] = ()
) -> tuple[Finding, ...]:
    """Columns of ``frame`` that are filled, or not filled, only where the outcome ``y`` [n] is one class.

    For regression: columns that are filled where the target is high and not where it is low, or the reverse, in 99 %
    of all pairs of rows. ``classes`` names the classes by index.
    """
    found = (_leak(frame[column], y, task, classes) for column in columns)
    return tuple(finding for finding in found if finding is not None)


def _leak(column: pl.Series, y: NDArray[Any], task: Task, classes: Sequence[str]) -> Finding | None:
    for filled, mode in _fillings(column):
        if task is Task.REGRESSION:
            finding = _of_number(column.name, filled, y) if not mode else None
        else:
            finding = _of_class(column.name, filled, y, classes, mode=mode)
        if finding is not None:
            return finding
    return None


def _fillings(column: pl.Series) -> list[tuple[NDArray[np.bool_], bool]]:
    """Which rows are filled: by what is missing, and by what is other than the most frequent value."""
    empty = column.is_null()
    if column.dtype == pl.String:
        empty |= column.str.strip_chars().eq("").fill_null(value=True)
    filled = ~empty.to_numpy()
    ways = [(filled, False)] if 0 < filled.sum() < len(filled) else []
    known = column.filter(pl.Series(filled))
    lacking = len(filled) - known.len()
    # a value cannot be more frequent than all that repeat, which is far quicker to tell of numbers that never do
    if known.len() and known.len() - known.n_unique() + 1 + lacking >= _MODE_SHARE * len(filled):
        mode = known.mode().sort()[0]
        usual = column.eq(mode).fill_null(value=True).to_numpy() | ~filled
        if _MODE_SHARE <= usual.mean() < 1:
            ways.append((~usual, True))
    return ways


def _of_class(
    name: str, filled: NDArray[np.bool_], y: NDArray[Any], classes: Sequence[str], *, mode: bool
) -> Finding | None:
    counts = np.bincount(y)
    if len(counts) > _MOST_CLASSES:
        return None
    pure, covers = (_PURER, _COVERS_MORE) if mode else (_PURE, _COVERS)
    for words, side in (("filled", filled), ("empty", ~filled)):
        within = np.bincount(y[side], minlength=len(counts))
        label, rows = int(np.argmax(within)), int(side.sum())
        if rows < _LEAST_ROWS or counts[label] > _COMMON_CLASS * len(y):
            continue
        found = _Side(words, rows, within[label] / rows, within[label] / counts[label], label)
        chance = stats.binom.logsf(within[label] - 1, rows, counts[label] / len(y))
        if found.purity >= pure and found.covers >= covers and chance <= _CHANCE:
            return _finding(name, found, classes, mode=mode)
    return None


def _finding(name: str, side: _Side, classes: Sequence[str], *, mode: bool) -> Finding:
    label = classes[side.label] if classes else str(side.label)
    what = {"filled": "filled", "empty": "empty"}[side.words]
    if mode:
        what = {"filled": "other than its usual value", "empty": "missing or at its usual value"}[side.words]
    sentence = (
        f"Column {name} is {what} in {side.rows:,} rows, and {side.purity:.1%} of them have the outcome {label} "
        f"({side.covers:.0%} of all with that outcome): whether it is filled tells the answer. List it under exclude "
        "in [data]."
    )
    details = {"found_by": "filling", "rows": side.rows, "purity": side.purity, "covers": side.covers}
    return Finding(kind="target_leak", subject=name, grade="fails", sentence=sentence, details=details)


def _of_number(name: str, filled: NDArray[np.bool_], y: NDArray[Any]) -> Finding | None:
    rows = int(filled.sum())
    if min(rows, len(filled) - rows) < max(_LEAST_ROWS, 0.02 * len(filled)):
        return None
    order = auc_value(filled, np.asarray(y, dtype=np.float64))
    if max(order, 1 - order) < _SPLITS_NUMBERS:
        return None
    way = "high" if order > 0.5 else "low"
    sentence = (
        f"Column {name} is filled in {rows:,} of {len(filled):,} rows, nearly all of those with a {way} target and "
        "no others: whether it is filled tells the answer. List it under exclude in [data]."
    )
    details = {"found_by": "filling", "rows": rows, "order": order}
    return Finding(kind="target_leak", subject=name, grade="fails", sentence=sentence, details=details)
