"""Columns that add up to the target: alone, in pairs, in threes.

In: clean numeric rows without a missing target. Out: ``Finding``s with the equation. Searched on 48 rows first, then
proven on all rows given: at least 99 % of them must agree within a millionth of the target's range (or be exact).
"""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.records.evidence import Finding

__all__ = ["adds_up"]

_FEW = 48
_MOST = {1: 200, 2: 100, 3: 30}
_AGREE = 0.99

Numbers = NDArray[np.float64]


@np.errstate(over="ignore", invalid="ignore")  # sums of vast numbers agree with nothing, which is what is asked
def adds_up(rows: pl.DataFrame, target: str, columns: list[str]) -> list[Finding]:
    """One finding per column that takes part in an equation which gives the target."""
    y = rows.get_column(target).cast(pl.Float64).to_numpy()
    x = np.column_stack([rows.get_column(name).cast(pl.Float64).fill_null(np.nan).to_numpy() for name in columns]) if (
        columns) else np.empty((y.size, 0))  # fmt: skip
    varied = [at for at in range(len(columns)) if np.nanstd(x[:, at]) > 0 and np.isfinite(x[:, at]).mean() > 0.5]
    tolerance = 1e-6 * float(np.ptp(y))
    found: list[Finding] = []
    used: set[int] = set()
    for size in (1, 2, 3):
        left = [at for at in varied if at not in used]
        if len(left) > _MOST[size]:
            continue
        for chosen, signs in _equations(x, y, left, size, tolerance):
            if used & set(chosen):
                continue
            share = _agreement(x, y, chosen, signs, tolerance)
            if share >= _AGREE:
                used |= set(chosen)
                named = [columns[at] for at in chosen]
                found += _findings(named, _equation(named, signs, target), share, y.size)
    return found + _linear(x, y, [at for at in varied if at not in used], columns, target)


def _equations(
    x: Numbers, y: Numbers, left: list[int], size: int, tolerance: float
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Candidate sums with signs that hold on a few complete rows."""
    complete = np.flatnonzero(np.isfinite(x[:, left]).all(axis=1))[:_FEW] if left else np.empty(0, dtype=np.int64)
    if complete.size < 20:
        complete = np.arange(min(_FEW, y.size))
    few, few_y = x[complete], y[complete]
    candidates = []
    groups = np.array(list(combinations(left, size)), dtype=np.int64).reshape(-1, size)
    for signs in product((1, -1), repeat=size):
        if max(signs) < 0:
            continue
        total = np.zeros((few_y.size, len(groups)))
        for place, sign in enumerate(signs):
            total += sign * few[:, groups[:, place]]
        near = np.nanmean(np.abs(total - few_y[:, None]) <= tolerance, axis=0) >= 0.9 if len(groups) else np.empty(0)
        candidates += [(tuple(int(at) for at in groups[hit]), signs) for hit in np.flatnonzero(near)]
    return candidates


def _agreement(x: Numbers, y: Numbers, chosen: tuple[int, ...], signs: tuple[int, ...], tolerance: float) -> float:
    total = sum((sign * x[:, at] for at, sign in zip(chosen, signs, strict=True)), np.zeros(y.size))
    known = np.isfinite(total)
    return float((np.abs(total[known] - y[known]) <= tolerance).mean()) if known.sum() >= 20 else 0.0


def _equation(named: list[str], signs: tuple[int, ...], target: str) -> str:
    terms = [f"{'+' if sign > 0 else '-'} {name}" for name, sign in zip(named, signs, strict=True)]
    return " ".join(terms).removeprefix("+ ") + f" = {target}"


def _findings(named: list[str], equation: str, share: float, rows: int) -> list[Finding]:
    exactly = "in every one" if share == 1 else f"in {share:.1%}"
    sentence = f"{equation} {exactly} of {rows:,} rows looked at"
    details = {"exclude": True, "reason": sentence, "equation": equation, "agreement": share, "rows": rows}
    return [Finding(kind="leak", subject=name, grade="fails", sentence=sentence, details=details) for name in named]


def _linear(x: Numbers, y: Numbers, left: list[int], columns: list[str], target: str) -> list[Finding]:
    """Columns that are the target in another unit."""
    found = []
    for at in left:
        known = np.isfinite(x[:, at])
        if known.sum() < 50 or np.ptp(x[known, at]) == 0:
            continue
        correlation = float(np.corrcoef(x[known, at], y[known])[0, 1])
        if abs(correlation) >= 0.99999:
            reason = f"{target} in another unit: correlation {correlation:.6f} in {y.size:,} rows"
            sentence = f"{columns[at]} is {reason}"
            details = {"exclude": True, "reason": reason, "correlation": correlation, "rows": y.size}
            found.append(Finding(kind="leak", subject=columns[at], grade="fails", sentence=sentence, details=details))
    return found
