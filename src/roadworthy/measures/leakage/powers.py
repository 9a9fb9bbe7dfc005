"""What each column says of the target alone, judged against its family.

In: rows and their outcome. Out: a ``Power`` per column, and ``Finding``s on columns that stand apart. Laws: a column
is judged against the other columns of the same table, so that a table in which all columns are strong accuses none;
a column of many values gains nothing by chance.

A column's power is the area under the ROC curve of the column alone: 0.5 says nothing, 1 says all. Numbers and
categories are scored by the outcome's mean in their bin or level, learned on one half of the rows and applied
to the other, so that a column of many values gains nothing by chance. For more classes it is the mean over
classes; for regression (1 + |rank correlation|) / 2. On the logit scale powers are comparable: the step from
0.9 to 0.99 counts as much as that from 0.5 to 0.9.

No power is proof by itself: a copy of the target with noise and an honest measurement of the same strength look alike.
What is called proof is a power that honest measurements hardly reach (0.97; 0.99 for numbers, a correlation of 0.98)
far from all others; or 0.92 for a column with as many levels as the target has classes, as a copy has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from roadworthy.measures.columns import bounded, level_codes
from roadworthy.measures.ranking import auc_value, column_aucs
from roadworthy.records.evidence import Finding
from roadworthy.records.project import Task

__all__ = [
    "Power",
    "column_powers",
    "logit",
    "target_leaks",
]

_MOST_ROWS = 20_000
_BINS = 20
_CELLS = 4_000_000
_MOST_LEVELS = 1_000
_LEAST_FAMILY = 4
_FAILS_POWER, _FAILS_NUMBER, _FAILS_COPY = 0.97, 0.99, 0.92
_FAILS_GAP = 1.5
_SUSPECTS_POWER, _SUSPECTS_GAP = 0.75, 0.7
_LARGE_FAMILY, _FEW = 10, 2
_HIDDEN_POWER, _HIDDEN_GAP, _HIDDEN_SPREADS = 0.68, 0.55, 4.0
_ALONE_POWER = 0.9995
_STRONG_MIDDLE = 0.9


class Power(NamedTuple):
    """How much one column says of the target alone, and the least it says with 95 % confidence.

    ``proof`` is the power from which it is a copy rather than a measurement.
    """

    column: str
    power: float
    lower: float
    proof: float = _FAILS_POWER


def column_powers(
    frame: pl.DataFrame, columns: Sequence[str], y: NDArray[Any], task: Task, *, seed: int = 7
) -> tuple[Power, ...]:
    """Power of each column over the rows of ``frame``, whose outcome is ``y`` [n]; greatest first.

    At most 20,000 rows, drawn by ``seed``, are looked at.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(frame.height)[:_MOST_ROWS]
    picked, outcome = frame.select(columns)[rows], y[rows]
    first = np.arange(len(rows)) % 2 == 0
    margin = 1.645 / math.sqrt(max(_fewest(outcome, task), 1))
    known = _powers_of_numbers(picked, outcome, first, task)
    found = []
    for column in picked:
        power = known[column.name] if column.name in known else _power(column, outcome, first, task)
        lower = max(0.5, power - margin * math.sqrt(power * (1 - power)))
        found.append(Power(column.name, power, lower, _proof(column, outcome, task)))
    return tuple(sorted(found, key=lambda item: (-item.power, item.column)))


def target_leaks(powers: Sequence[Power]) -> tuple[Finding, ...]:
    """Columns that stand apart from their family.

    Columns of power 0.9995, which no honest measurement needs to explain, are looked at first, each against the
    best of the others, so that several of them do not hide one another; where the family's middle is strong too
    (0.9), they are nothing apart. Then, sorted by power, the widest step (on the logit scale) parts a minority of
    the columns from the rest; and the rest is looked at in the same way, so that a leak does not hide a lesser
    one. ``fails``: power provably at least its ``proof`` and a step of 1.5 or more. ``suspects``: power provably at
    least 0.75 and a step of 0.7 or more; for one or two columns of ten or more also 0.68, a step of 0.55 and four
    times the family's spread (MAD, as a standard deviation) above its middle; or power of 0.9995 in a family of fewer
    than four or with a lesser step.
    """
    perfect = [power for power in powers if power.lower >= _ALONE_POWER - 0.01 and power.power >= _ALONE_POWER]
    if len(powers) < _LEAST_FAMILY:
        return tuple(_alone(power) for power in perfect)
    left = sorted(powers, key=lambda item: -item.power)
    findings: list[Finding] = []
    if perfect and float(np.median([item.power for item in powers])) < _STRONG_MIDDLE:
        left = [item for item in left if item not in perfect]
        family = _Family(left, len(powers), few=len(perfect) <= _FEW)
        findings = [_apart(item, family, logit(item.power) - logit(family.best)) or _alone(item) for item in perfect]
    while len(left) >= _LEAST_FAMILY:
        levels = [logit(item.power) for item in left]
        steps = [levels[place] - levels[place + 1] for place in range((len(left) - 1) // 2)]
        cut = int(np.argmax(steps)) + 1
        family = _Family(left[cut:], len(powers), few=cut <= _FEW)
        found = [_apart(item, family, steps[cut - 1]) for item in left[:cut]]
        if not any(found):
            break
        findings += [finding for finding in found if finding is not None]
        left = left[cut:]
    return tuple(findings)


def _powers_of_numbers(
    picked: pl.DataFrame, outcome: NDArray[Any], first: NDArray[np.bool_], task: Task
) -> dict[str, float]:
    """Powers of the numeric columns where classes are to be told, so many at once as four million cells."""
    classes = _told_classes(outcome, task)
    names = [name for name, kind in picked.schema.items() if kind.is_numeric()]
    if task is Task.REGRESSION or not classes:
        return {}
    positive = np.column_stack([outcome == index for index in classes])
    at_once = max(_CELLS // max(picked.height, 1), 1)
    found: dict[str, float] = {}
    for start in range(0, len(names), at_once):
        some = names[start : start + at_once]
        values = _values(picked, some)
        plain = column_aucs(positive, np.where(np.isnan(values), -math.inf, values))
        powers = np.maximum(np.maximum(plain, 1 - plain), 0.5)
        bins = np.column_stack([_bins(column) for column in values.T])
        for place, label in enumerate(positive.T):
            crossed = np.column_stack([_crossed(levels, label.astype(np.float64), first) for levels in bins.T])
            powers[place] = np.maximum(powers[place], column_aucs(label[:, None], crossed)[0])
        found |= dict(zip(some, powers.mean(axis=0).tolist(), strict=True))
    return found


def _told_classes(outcome: NDArray[Any], task: Task) -> list[int]:
    """The classes whose rows are told from all others: of more than two, those of ten rows or more."""
    if task is Task.MULTICLASS:
        return [index for index, rows in enumerate(np.bincount(outcome)) if rows >= 10]
    return [1]


def _power(column: pl.Series, outcome: NDArray[Any], first: NDArray[np.bool_], task: Task) -> float:
    levels = _levels(column)
    if task is Task.REGRESSION:
        ranks = stats.rankdata(outcome)
        told = abs(_correlation(stats.rankdata(_crossed(levels, outcome.astype(np.float64), first)), ranks))
        if column.dtype.is_numeric():
            own = stats.rankdata(np.nan_to_num(_values(column.to_frame(), [column.name])[:, 0], nan=-math.inf))
            told = max(told, abs(_correlation(own, ranks)))
        return 0.5 + told / 2
    powers = []
    for index in _told_classes(outcome, task):
        positive = outcome == index
        powers.append(max(auc_value(positive, _crossed(levels, positive.astype(np.float64), first)), 0.5))
    return float(np.mean(powers)) if powers else 0.5


def _levels(column: pl.Series) -> NDArray[np.int64]:
    """A bin or level per row [n], 0 for missing: 20 bins of equal mass for numbers, the commonest levels for text."""
    if column.dtype.is_numeric() or column.dtype.is_temporal():
        return _bins(_values(column.to_frame(), [column.name])[:, 0])
    return level_codes(column, _MOST_LEVELS) + 1


def _values(frame: pl.DataFrame, names: Sequence[str]) -> NDArray[np.float64]:
    """Numbers or times [n, d]; what is infinite is the greatest number, since its order tells too; NaN is missing."""
    read = pl.all().to_physical().cast(pl.Float64, strict=False).fill_null(np.nan)
    return bounded(frame.select(names).select(read).to_numpy())


def _bins(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """20 bins of equal mass, from 1; 0 for what is missing."""
    missing = np.isnan(values)
    if missing.all():
        return np.zeros(len(values), dtype=np.int64)
    edges = np.unique(np.quantile(values[~missing], np.linspace(0, 1, _BINS + 1)[1:-1]))
    return np.asarray(np.where(missing, 0, np.searchsorted(edges, values, side="right") + 1), dtype=np.int64)


def _crossed(levels: NDArray[np.int64], outcome: NDArray[np.float64], first: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Each row's level mean of the outcome as learned on the other half, drawn to the overall mean by one row."""
    count = int(levels.max(initial=0)) + 1
    scores = np.zeros(len(levels))
    for learn in (first, ~first):
        centre = float(outcome[learn].mean()) if learn.any() else 0.0
        rows = np.bincount(levels[learn], minlength=count)
        total = np.bincount(levels[learn], weights=outcome[learn], minlength=count)
        means = (total + centre) / (rows + 1) - centre
        scores[~learn] = means[levels[~learn]]
    return scores


def _correlation(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    if len(left) < 3 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return 0.0
    return float(np.corrcoef(left, right)[0, 1])


def _fewest(outcome: NDArray[Any], task: Task) -> int:
    if task is Task.REGRESSION:
        return len(outcome)
    counts = np.bincount(outcome)
    return int(counts[counts > 0].min()) if len(counts) else 0


def _proof(column: pl.Series, outcome: NDArray[Any], task: Task) -> float:
    if task is Task.REGRESSION:
        return _FAILS_NUMBER
    return _FAILS_COPY if column.drop_nulls().n_unique() == len(np.unique(outcome)) else _FAILS_POWER


def logit(power: float) -> float:
    """The scale on which steps of power are compared; what is below 0.5 counts as 0.5."""
    bounded = min(max(power, 0.5), 1 - 1e-6)
    return math.log(bounded / (1 - bounded))


class _Family:
    """The columns that one is judged against: the strongest of them, their middle, their spread on the logit scale.

    ``few`` tells that one or two stand apart from them together, as a hidden leak does.
    """

    def __init__(self, members: Sequence[Power], size: int, *, few: bool) -> None:
        self.best = max(member.power for member in members)
        self.middle = float(np.median([member.power for member in members]))
        levels = np.array([logit(member.power) for member in members])
        self.spread = 1.4826 * float(np.median(np.abs(levels - np.median(levels))))
        self.size = size
        self.few = few

    def hides(self, item: Power, step: float) -> bool:
        """Whether a column of middling power is still far from all of a large family."""
        high = logit(item.power) - logit(self.middle) >= _HIDDEN_SPREADS * self.spread
        known = item.lower >= _HIDDEN_POWER and step >= _HIDDEN_GAP
        return self.few and self.size >= _LARGE_FAMILY and known and high


def _apart(item: Power, family: _Family, step: float) -> Finding | None:
    if item.lower >= item.proof and step >= _FAILS_GAP:
        grade, verdict = "fails", "It gives the answer away"
    elif (item.lower >= _SUSPECTS_POWER and step >= _SUSPECTS_GAP) or family.hides(item, step):
        grade, verdict = "suspects", "It may be known only afterwards"
    else:
        return None
    sentence = (
        f"Column {item.column} alone orders the target with power {item.power:.3f}, apart from its family of "
        f"{family.size} columns (the next has {family.best:.3f}, the middle one {family.middle:.3f}). {verdict}: check "
        "when it becomes known, or list it under exclude in [data]."
    )
    details = {"found_by": "power", "power": item.power, "lower": item.lower, "next": family.best, "step": step}
    return _finding(item.column, grade, sentence, details | {"middle": family.middle})


def _alone(item: Power) -> Finding:
    sentence = (
        f"Column {item.column} alone orders the target with power {item.power:.4f}, and no other column is "
        "weak enough to tell whether that is honest. Check when it becomes known, or list it under exclude in [data]."
    )
    return _finding(item.column, "suspects", sentence, {"found_by": "power", "power": item.power, "lower": item.lower})


def _finding(column: str, grade: str, sentence: str, details: dict[str, Any]) -> Finding:
    asked = f"Is `{column}` known when the prediction is made?" if grade == "suspects" else ""
    return Finding(kind="target_leak", subject=column, grade=grade, sentence=sentence, question=asked, details=details)
