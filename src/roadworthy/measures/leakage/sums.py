"""Columns that add up to the target.

In: numeric columns and the outcome. Out: ``Finding``s that fail, one per equation.

For numbers, every linear equation: least squares on a few rows, drawn several times, so that rows which break the
equation do not hide it; it holds where at least 95 % of all rows agree within a millionth of the target's spread (its
middle four fifths), or agree with the fit on all rows within five thousandths of it. Columns that it does not need are
taken out one by one.
The same in logarithms finds products and ratios. For classes, sums and differences of two columns whose sign or
threshold decides the class (area under the ROC curve 0.9995 and far above any single column): ``arrival − planned
arrival`` decides whether a train is late.
Clock times written as 1455 are minutes of the day here, and their differences go round midnight.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from roadworthy.measures.columns import number_table
from roadworthy.measures.leakage.powers import logit
from roadworthy.measures.ranking import auc_value, column_aucs
from roadworthy.records.evidence import Finding
from roadworthy.records.project import Task

__all__ = ["MOST_SUMMED", "target_sums"]

MOST_SUMMED = 200
"""Of more numeric columns than these an equation that gives a number is looked for among the most telling."""

Numbers = NDArray[np.float64]

_DRAWS = 6
_AGREE, _WITHIN, _CLOSE = 0.95, 1e-6, 5e-3
_MOST_TERMS = 8
_ONE_BY_ONE = 40
_LEAST_ROWS, _LEAST_CLASS = 500, 50
_DECIDES, _STEP = 0.9995, 1.5
_FILLED = 0.5
_DAY = 1440.0


class _Column(NamedTuple):
    name: str
    values: Numbers
    clock: bool


def target_sums(
    frame: pl.DataFrame,
    columns: Sequence[str],
    y: NDArray[Any],
    task: Task,
    rng: np.random.Generator,
    *,
    target: str = "the target",
    most: int = 3_000,
    paired: int = 40,
) -> tuple[Finding, ...]:
    """Equations of ``frame``'s numeric columns that give the outcome ``y`` [n].

    ``most`` rows, drawn by ``rng``, are looked at; for classes the pairs of the ``paired`` most telling columns, for
    numbers the 200 columns that move most with the outcome. A single column that decides the target is found here too
    where the target is a number; for classes that is a matter of its power.
    """
    rows = np.sort(rng.permutation(frame.height)[:most])
    kinds = frame.schema
    names = [name for name in columns if kinds[name].is_numeric()]
    table = number_table(frame[rows], names)
    numeric = [_column(name, values) for name, values in zip(names, table.T, strict=True)]
    known = [one for one in numeric if np.isfinite(one.values).mean() >= _FILLED and np.nanstd(one.values) > 0]
    if not known:
        return ()
    if task is Task.REGRESSION:
        wanted = np.asarray(y[rows], dtype=np.float64)
        return _equation(_telling(known, wanted), wanted, rng, target)
    return _decisions(known, np.asarray(y[rows]), task, target, paired)


def _column(name: str, values: Numbers) -> _Column:
    known = values[~np.isnan(values)]
    whole = len(known) > 0 and bool((known == np.floor(known)).all())
    clock = whole and known.min() >= 0 and known.max() <= 2400 and known.max() > 300 and bool((known % 100 < 60).all())
    clock = clock and len(np.unique(known % 100)) >= 10 and len(np.unique(known // 100)) >= 6
    return _Column(name, values // 100 * 60 + values % 100 if clock else values, clock)


# --- numbers ----------------------------------------------------------------------------------------------------


def _telling(known: Sequence[_Column], y: Numbers) -> list[_Column]:
    """At most 200 of the columns, in their order: those whose correlation with the target is greatest."""
    if len(known) <= MOST_SUMMED:
        return list(known)
    strength = [_moving(one.values, y) for one in known]
    return [known[place] for place in sorted(np.argsort(-np.array(strength), kind="stable")[:MOST_SUMMED].tolist())]


def _moving(values: Numbers, y: Numbers) -> float:
    """The correlation with the target without its sign, over the rows that have the value."""
    there = ~np.isnan(values)
    left, right = values[there] - values[there].mean(), y[there] - y[there].mean()
    norm = float(np.linalg.norm(left)) * float(np.linalg.norm(right))
    return abs(float(left @ right)) / norm if norm > 0 else 0.0


def _equation(known: Sequence[_Column], y: Numbers, rng: np.random.Generator, target: str) -> tuple[Finding, ...]:
    """The smallest linear equation, of the columns or of their logarithms, that gives the target."""
    for words in ("sum", "product"):
        part = [one for one in known if words == "sum" or _positive(one.values)]
        if not part or (words == "product" and not _positive(y)):
            continue
        x, wanted = np.column_stack([one.values for one in part]), y
        if words == "product":
            x, wanted = np.log(x), np.log(y)
        names = [one.name for one in part]
        found = _smallest(x, wanted, rng)
        if found is not None and len(found) <= _MOST_TERMS:
            return (_numbers_finding([names[at] for at in found], words, target, _agreeing(x[:, found], wanted, rng)),)
    return ()


def _positive(values: Numbers) -> bool:
    known = values[np.isfinite(values)]
    return bool((known > 0).all()) and bool(known.max() > known.min())


def _smallest(x: Numbers, y: Numbers, rng: np.random.Generator) -> list[int] | None:
    """Places of the columns that the equation needs, None where there is none."""
    share, weights = _fitted(x, y, rng)
    if share < _AGREE:
        return None
    left = _heaviest(x, y, weights, rng)
    for at in list(left):
        without = [place for place in left if place != at]
        if without and _holds(x[:, without], y, rng):
            left = without
    return left


def _heaviest(x: Numbers, y: Numbers, weights: Numbers, rng: np.random.Generator) -> list[int]:
    """Of more than 40 columns those with the greatest weights, as few as the equation still holds with; else all.

    Taking hundreds out one by one takes a fit for each; halving takes eight.
    """
    order = np.argsort(-np.abs(weights), kind="stable")
    fewest, enough = (1, len(order)) if len(order) > _ONE_BY_ONE else (len(order), len(order))
    while fewest < enough:
        middle = (fewest + enough) // 2
        if _holds(x[:, order[:middle]], y, rng):
            enough = middle
        else:
            fewest = middle + 1
    return sorted(order[:enough].tolist())


def _holds(x: Numbers, y: Numbers, rng: np.random.Generator) -> bool:
    return _agreeing(x, y, rng) >= _AGREE


def _agreeing(x: Numbers, y: Numbers, rng: np.random.Generator) -> float:
    """Share of complete rows that agree with one linear equation."""
    return _fitted(x, y, rng)[0]


def _fitted(x: Numbers, y: Numbers, rng: np.random.Generator) -> tuple[float, Numbers]:
    """Share of complete rows that agree with the best linear equation, and its weights of standardised columns."""
    nothing = np.zeros(x.shape[1])
    complete = np.flatnonzero(np.isfinite(x).all(axis=1))
    needed = 2 * x.shape[1] + 10
    if len(complete) < max(3 * needed, 50):
        return 0.0, nothing
    part, wanted = x[complete], y[complete]
    part = (part - part.mean(axis=0)) / np.maximum(part.std(axis=0), 1e-300)
    design = np.column_stack([part, np.ones(len(part))])
    low, high = np.quantile(wanted, [0.1, 0.9])
    spread = float(high - low)
    if spread == 0:
        return 0.0, nothing
    weights = np.linalg.lstsq(design, wanted, rcond=1e-10)[0]
    close = float(np.mean(np.abs(wanted - design @ weights) <= _CLOSE * spread))
    if close >= _AGREE:
        return close, weights[:-1]
    best, kept = 0.0, nothing
    for _ in range(_DRAWS):
        drawn = rng.choice(len(design), size=needed, replace=False)
        weights = np.linalg.lstsq(design[drawn], wanted[drawn], rcond=1e-10)[0]
        share = float(np.mean(np.abs(design @ weights - wanted) <= _WITHIN * spread))
        if share > best:
            best, kept = share, weights[:-1]
        if best >= _AGREE:
            break
    return best, kept


def _numbers_finding(names: list[str], words: str, target: str, share: float) -> Finding:
    subject = (" + " if words == "sum" else " × ").join(names)
    how = "is a linear function of" if words == "sum" else "is a product of powers of"
    sentence = (
        f"{target} {how} {_listed(names)} in {share:.1%} of the rows looked at: they are parts of the answer. List "
        "them under exclude in [data]."
    )
    details = {"found_by": words, "columns": names, "agreement": share}
    return Finding(kind="target_sum", subject=subject, grade="fails", sentence=sentence, details=details)


# --- classes ----------------------------------------------------------------------------------------------------


def _decisions(known: Sequence[_Column], y: NDArray[Any], task: Task, target: str, paired: int) -> tuple[Finding, ...]:
    """Pairs of columns whose sum or difference decides the class, the best pair of each set of columns."""
    counts = np.bincount(y)
    classes = [1] if task is Task.BINARY else [index for index, rows in enumerate(counts) if rows >= _LEAST_CLASS]
    if len(y) < _LEAST_ROWS or not classes or counts[counts > 0].min() < _LEAST_CLASS or len(counts) > 10:
        return ()
    positive = np.column_stack([y == index for index in classes])
    areas = column_aucs(positive, np.column_stack([one.values for one in known]))
    powers = np.maximum(areas, 1 - areas).mean(axis=0)
    single = {one.name: float(power) for one, power in zip(known, powers, strict=True)}
    best = sorted(known, key=lambda one: -single[one.name])[:paired]
    places = {one.name: place for place, one in enumerate(known)}
    found = []
    for left, right in combinations(best, 2):
        alone = max(single[left.name], single[right.name])
        first, second = sorted((left, right), key=lambda one: places[one.name])
        for sign in (1, -1):
            power = _decided(_joined(first, second, sign), y, classes)
            if power >= _DECIDES and logit(power) - logit(alone) >= _STEP:
                found.append((power, first.name, second.name, sign))
    findings, used = [], set[str]()
    for power, left_name, right_name, sign in sorted(found, key=lambda one: -one[0]):
        if not used & {left_name, right_name}:
            used |= {left_name, right_name}
            findings.append(_class_finding(left_name, right_name, sign, power, target))
    return tuple(findings)


def _joined(left: _Column, right: _Column, sign: int) -> Numbers:
    total = left.values + sign * right.values
    if left.clock and right.clock and sign < 0:
        return np.asarray((total + _DAY / 2) % _DAY - _DAY / 2, dtype=np.float64)
    return total


def _decided(values: Numbers, y: NDArray[Any], classes: Sequence[int]) -> float:
    """Area under the ROC curve over the rows that have the value, mean over classes."""
    known = np.isfinite(values)
    if known.mean() < _FILLED:
        return 0.5
    ranks = stats.rankdata(values[known])
    areas = [auc_value(y[known] == index, ranks) for index in classes]
    return float(np.mean([max(area, 1 - area) for area in areas]))


def _class_finding(left: str, right: str, sign: int, power: float, target: str) -> Finding:
    word, subject = ("sum", f"{left} + {right}") if sign > 0 else ("difference", f"{left} − {right}")
    sentence = (
        f"The {word} of {left} and {right} decides {target} (area under the ROC curve {power:.4f}): they are parts of "
        "the answer. List one of them under exclude in [data]."
    )
    details = {"found_by": word, "columns": [left, right], "power": power}
    return Finding(kind="target_sum", subject=subject, grade="fails", sentence=sentence, details=details)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
