"""Leaks: columns and rows that give the answer away.

In: the feature table's rows of the training part and of the holdout. Out: ``Finding``s and the metric
``leaks``, the number of findings that fail. Laws: a column is judged against its family, the other columns of
the same table, so that a table in which all columns are strong accuses none; no value of any column is named.

A column's power is the area under the ROC curve of the column alone: 0.5 says nothing, 1 says all. Numbers and
categories are scored by the outcome's mean in their bin or level, learned on one half of the rows and applied
to the other, so that a column of many values gains nothing by chance. For more classes it is the mean over
classes; for regression (1 + |rank correlation|) / 2. On the logit scale powers are comparable: the step from
0.9 to 0.99 counts as much as that from 0.5 to 0.9.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.measures.ranking import auc_value
from roadworthy.records.evidence import Finding, Measurement
from roadworthy.records.project import Task

__all__ = [
    "LEAK_KINDS",
    "Power",
    "column_powers",
    "duplicates_across",
    "entity_overlap",
    "leaks_measurement",
    "target_leaks",
]

LEAK_KINDS = ("target_leak", "duplicate_rows", "entity_overlap")
"""Kinds of finding that count as leaks."""

_MOST_ROWS = 20_000
_BINS = 20
_MOST_LEVELS = 1_000
_LEAST_FAMILY = 4
_FAILS_POWER, _FAILS_GAP = 0.95, 1.5
_SUSPECTS_POWER, _SUSPECTS_GAP = 0.75, 0.7
_ALONE_POWER = 0.9995
_STRONG_MIDDLE = 0.9


class Power(NamedTuple):
    """How much one column says of the target alone, and the least it says with 95 % confidence."""

    column: str
    power: float
    lower: float


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
    powers = [_power(picked[column], outcome, first, task) for column in columns]
    margin = 1.645 / math.sqrt(max(_fewest(outcome, task), 1))
    found = [
        Power(column, power, max(0.5, power - margin * math.sqrt(power * (1 - power))))
        for column, power in zip(columns, powers, strict=True)
    ]
    return tuple(sorted(found, key=lambda item: (-item.power, item.column)))


def target_leaks(powers: Sequence[Power]) -> tuple[Finding, ...]:
    """Columns that stand apart from their family.

    Columns of power 0.9995, which no honest measurement needs to explain, are looked at first, each against the
    best of the others, so that several of them do not hide one another; where the family's middle is strong too
    (0.9), they are nothing apart. Then, sorted by power, the widest step (on the logit scale) parts a minority of
    the columns from the rest; and the rest is looked at in the same way, so that a leak does not hide a lesser
    one. ``fails``: power provably at least 0.95 and a step of 1.5 or more. ``suspects``: power provably at least
    0.75 and a step of 0.7 or more; or power of 0.9995 in a family of fewer than four or with a lesser step.
    """
    perfect = [power for power in powers if power.lower >= _ALONE_POWER - 0.01 and power.power >= _ALONE_POWER]
    if len(powers) < _LEAST_FAMILY:
        return tuple(_alone(power) for power in perfect)
    left = sorted(powers, key=lambda item: -item.power)
    middle = float(np.median([item.power for item in powers]))
    findings: list[Finding] = []
    if perfect and middle < _STRONG_MIDDLE:
        left = [item for item in left if item not in perfect]
        steps = [_logit(item.power) - _logit(left[0].power) for item in perfect]
        findings = [
            _apart(item, left[0], step, middle, len(powers)) or _alone(item)
            for item, step in zip(perfect, steps, strict=True)
        ]
    while len(left) >= _LEAST_FAMILY:
        levels = [_logit(item.power) for item in left]
        steps = [levels[place] - levels[place + 1] for place in range((len(left) - 1) // 2)]
        cut = int(np.argmax(steps)) + 1
        middle = float(np.median([item.power for item in left[cut:]]))
        found = [_apart(item, left[cut], steps[cut - 1], middle, len(powers)) for item in left[:cut]]
        if not any(found):
            break
        findings += [finding for finding in found if finding is not None]
        left = left[cut:]
    return tuple(findings)


def duplicates_across(train: pl.DataFrame, holdout: pl.DataFrame, columns: Sequence[str]) -> tuple[Finding, ...]:
    """Rows of the holdout whose ``columns`` all equal those of a training row.

    Pass the model's inputs and the target. ``fails`` from 1 % of the holdout on where the training rows
    hardly repeat themselves (so chance does not explain it); otherwise it is worth a note.
    """
    names = list(columns)
    if not names or not train.height or not holdout.height:
        return ()
    seen, asked = train.select(names).hash_rows(seed=11), holdout.select(names).hash_rows(seed=11)
    shared = int(asked.is_in(seen.unique().implode()).sum())
    if shared == 0:
        return ()
    share = shared / holdout.height
    repeats = 1 - seen.n_unique() / train.height
    apart = share >= 0.01 and share > 2 * repeats
    grade = "fails" if apart else "notes"
    why = (
        "the training rows hardly repeat themselves, so these were copied rather than met by chance"
        if apart
        else f"{repeats:.1%} of the training rows repeat one another too, so chance may explain it"
    )
    sentence = f"{shared:,} of {holdout.height:,} holdout rows ({share:.1%}) are exact copies of training rows; {why}."
    details = {"rows": shared, "share": share, "repeats_in_training": repeats}
    return (Finding(kind="duplicate_rows", subject="holdout", grade=grade, sentence=sentence, details=details),)


def entity_overlap(train: pl.Series, holdout: pl.Series, *, allowed: bool) -> tuple[Finding, ...]:
    """Share of holdout rows whose entity is also in training: a note where the split allows it, else it fails."""
    known = holdout.drop_nulls()
    if known.len() == 0:
        return ()
    shared = int(known.is_in(train.drop_nulls().unique().implode()).sum())
    share = shared / known.len()
    details = {"rows": shared, "share": share}
    if shared and not allowed:
        sentence = (
            f"{shared:,} of {known.len():,} holdout rows ({share:.1%}) belong to an entity that is also in training, "
            "though the split was to keep entities apart."
        )
        return (Finding(kind="entity_overlap", subject=train.name, grade="fails", sentence=sentence, details=details),)
    sentence = (
        f"{share:.1%} of the holdout rows belong to an entity that was seen in training; the others show how the model "
        "does on new ones."
    )
    return (Finding(kind="entity_overlap", subject=train.name, grade="notes", sentence=sentence, details=details),)


def leaks_measurement(findings: Sequence[Finding]) -> Measurement:
    """The metric ``leaks``: how many findings of a leak's kind fail. Exact."""
    count = float(sum(1 for finding in findings if finding.kind in LEAK_KINDS and finding.grade == "fails"))
    return Measurement(metric="leaks", value=count, lower=count, upper=count, unit="count", method="counted")


def _power(column: pl.Series, outcome: NDArray[Any], first: NDArray[np.bool_], task: Task) -> float:
    levels = _levels(column)
    if task is Task.REGRESSION:
        crossed = _crossed(levels, outcome.astype(np.float64), first)
        ranks = np.argsort(np.argsort(outcome)).astype(np.float64)
        return 0.5 + abs(_correlation(np.argsort(np.argsort(crossed, kind="stable")).astype(np.float64), ranks)) / 2
    classes = [1] if task is Task.BINARY else [c for c, n in enumerate(np.bincount(outcome)) if n >= 10]
    powers = []
    for index in classes:
        positive = outcome == index
        power = auc_value(positive, _crossed(levels, positive.astype(np.float64), first))
        if column.dtype.is_numeric():
            filled = column.cast(pl.Float64).fill_null(-math.inf).to_numpy()
            plain = auc_value(positive, filled)
            power = max(power, plain, 1 - plain)
        powers.append(max(power, 0.5))
    return float(np.mean(powers)) if powers else 0.5


def _levels(column: pl.Series) -> NDArray[np.int64]:
    """A bin or level per row, 0 for missing: 20 bins of equal mass for numbers, the commonest levels for text."""
    if column.dtype.is_numeric() or column.dtype.is_temporal():
        values = column.to_physical().cast(pl.Float64)
        edges = (
            np.unique(np.quantile(values.drop_nulls().to_numpy(), np.linspace(0, 1, _BINS + 1)[1:-1]))
            if (values.null_count() < values.len())
            else np.zeros(1)
        )
        bins = np.searchsorted(edges, values.fill_null(0.0).to_numpy(), side="right") + 1
        return np.asarray(np.where(column.is_null().to_numpy(), 0, bins), dtype=np.int64)
    text = column.cast(pl.String)
    common = text.drop_nulls().value_counts(sort=True).head(_MOST_LEVELS)[text.name].to_list()
    codes = {level: place + 2 for place, level in enumerate(common)}
    return np.array([0 if value is None else codes.get(value, 1) for value in text.to_list()], dtype=np.int64)


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


def _logit(power: float) -> float:
    bounded = min(max(power, 0.5), 1 - 1e-6)
    return math.log(bounded / (1 - bounded))


def _apart(item: Power, rest: Power, step: float, middle: float, family: int) -> Finding | None:
    if item.lower >= _FAILS_POWER and step >= _FAILS_GAP:
        grade, verdict = "fails", "It gives the answer away"
    elif item.lower >= _SUSPECTS_POWER and step >= _SUSPECTS_GAP:
        grade, verdict = "suspects", "It may be known only afterwards"
    else:
        return None
    sentence = (
        f"Column {item.column} alone orders the target with power {item.power:.3f}, apart from its family of {family} "
        f"columns (the next has {rest.power:.3f}, the middle one {middle:.3f}). {verdict}: check when it becomes "
        "known, or list it under exclude in [data]."
    )
    details = {"power": item.power, "lower": item.lower, "next": rest.power, "middle": middle, "step": step}
    return Finding(kind="target_leak", subject=item.column, grade=grade, sentence=sentence, details=details)


def _alone(item: Power) -> Finding:
    sentence = (
        f"Column {item.column} alone orders the target with power {item.power:.4f}, and no other column is "
        "weak enough to tell whether that is honest. Check when it becomes known, or list it under exclude in [data]."
    )
    details = {"power": item.power, "lower": item.lower}
    return Finding(kind="target_leak", subject=item.column, grade="suspects", sentence=sentence, details=details)
