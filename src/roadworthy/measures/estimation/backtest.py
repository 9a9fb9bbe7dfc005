"""How far each way to estimate would have been off on the reference: the only thing that chooses between them.

In: reference rows in the order of time, each scored by what was learnt without its part. Out: ``Plan`` per metric.
Laws: labels of later windows play no part; the same rows and seed give the same plans.

Two kinds of trial. *Periods*: blocks of rows in their order. *Shifts*: rows drawn with weights that tilt one column or
the score, or that keep only some of its values, so that the mix changes and P(outcome | row) does not. A method's miss
is |estimate − realised| over the deviation that the outcomes' chance alone gives, averaged over both kinds; the least
wins, and what needs less wins where it is within 3 %. A metric whose winner is not better than the reference's own
value cannot be estimated.

The error between periods is what blocks miss beyond chance: its variance is the one under which the blocks' squared
errors would have been so small in half of repetitions (median-unbiased, by the chi-square law).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from roadworthy.measures.estimation.state import CBPE, CONDITIONAL, CONSTANT, DLE, PAPE, Plan
from roadworthy.measures.estimation.trees import Codes
from roadworthy.measures.estimation.valuing import Told, valued
from roadworthy.measures.intervals import NotEnough

__all__ = ["Reckoning", "Trial", "planned", "trial_rows"]

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

BLOCKS, SHIFTS = 20, 40
_BLOCK_ROWS = 200
_MOST_SHIFTED = 20_000
_TILT = 3.0
_LEAST_BLOCKS = 4
_SIMPLER = (CBPE, DLE, PAPE, CONDITIONAL)
_CLEARLY = 0.97
_WORSE = 1.02


class Trial(NamedTuple):
    """Reference rows that stand for a window; whether they are a block of time or a shift."""

    rows: Rows
    period: bool


def trial_rows(count: int, seen: Codes, rng: np.random.Generator) -> list[Trial]:
    """Blocks in the order of the rows, and draws tilted along one line of codes [s, n] each."""
    blocks = int(np.clip(count // _BLOCK_ROWS, 1, BLOCKS))
    trials = [Trial(part, period=True) for part in np.array_split(np.arange(count), blocks)]
    size = int(np.clip(count // 4, 1, _MOST_SHIFTED))
    lines = np.concatenate([rng.permutation(len(seen)) for _ in range(SHIFTS)])[:SHIFTS]
    for turn, line in enumerate(lines):
        weights = _KINDS[turn % len(_KINDS)](seen[line], rng)
        drawn = min(size, int((weights > 0).sum()))
        if drawn >= _BLOCK_ROWS // 2:
            trials.append(Trial(rng.choice(count, size=drawn, p=weights / weights.sum(), replace=False), period=False))
    return trials


def _tilted(line: NDArray[np.uint8], rng: np.random.Generator) -> Floats:
    """Weights of rows that rise or fall along the codes."""
    _, place, counts = np.unique(line, return_inverse=True, return_counts=True)
    order = (np.cumsum(counts) - counts / 2) / len(line)
    pull = (1 if rng.random() < 0.5 else -1) * _TILT * order
    return np.asarray(np.exp(pull - pull.max())[place.reshape(-1)], dtype=np.float64)


def _at_will(line: NDArray[np.uint8], rng: np.random.Generator) -> Floats:
    """Weights of rows that differ from code to code by chance."""
    codes, place = np.unique(line, return_inverse=True)
    pull = 1.2 * rng.normal(size=len(codes))
    return np.asarray(np.exp(pull - pull.max())[place.reshape(-1)], dtype=np.float64)


def _some(line: NDArray[np.uint8], rng: np.random.Generator) -> Floats:
    """Only rows of some codes, drawn until they are a twentieth of all."""
    codes, place, counts = np.unique(line, return_inverse=True, return_counts=True)
    order = rng.permutation(len(codes))
    last = int(np.searchsorted(np.cumsum(counts[order]), len(line) / 20))
    return np.isin(place.reshape(-1), order[: last + 1]).astype(np.float64)


_KINDS = (_tilted, _at_will, _some)


class _Missed(NamedTuple):
    """Of one metric over the trials [t]: errors by method, deviation by chance, and which trials are periods."""

    errors: dict[str, Floats]
    deviation: Floats
    periods: NDArray[np.bool_]
    sizes: Floats


class Reckoning(NamedTuple):
    """How many reference rows there are, trials, and rows told by each method or by their outcomes.

    ``design`` is the design effect of entities.
    """

    size: int
    trials: Sequence[Trial]
    told: Mapping[str, Callable[[Trial], Told]]
    realised: Callable[[Rows], Told]
    design: float


def planned(metric: str, given: Reckoning) -> Plan:
    """The plan of one metric."""
    try:
        constant = valued(metric, given.realised(np.arange(given.size))).value
    except NotEnough as reason:
        return Plan(metric=metric, method="", why=f"cannot estimate: the reference {reason}")
    missed = _missed(metric, given, constant)
    if len(missed.deviation) < _LEAST_BLOCKS or missed.periods.sum() < 1:
        return Plan(metric=metric, method="", why="cannot estimate: the reference has too few rows for a back-test")
    means = {name: float(np.mean(np.abs(errors) / missed.deviation)) for name, errors in missed.errors.items()}
    between = {name: _between(errors, missed, given.size) for name, errors in missed.errors.items() if name != CONSTANT}
    best = _chosen(means)
    figures = ", ".join(f"{name} {means[name]:.2f}" for name in sorted(means, key=lambda one: means[one]))
    if means[best] > _WORSE * means[CONSTANT]:
        why = f"cannot estimate: on the reference no estimate was better than the reference's own value ({figures})"
        return Plan(metric=metric, method="", why=why, missed=means, between=between)
    why = f"estimated before labels come, in the way that missed least on the reference ({best})"
    return Plan(metric=metric, method=best, why=why, missed=means, between=between)


def _chosen(means: Mapping[str, float]) -> str:
    names = [name for name in _SIMPLER if name in means]
    best = names[0]
    for name in names[1:]:
        if means[name] < _CLEARLY * means[best]:
            best = name
    return best


def _missed(metric: str, given: Reckoning, constant: float) -> _Missed:
    """A trial that cannot tell (too few events) is left out."""
    errors: dict[str, list[float]] = {name: [] for name in (*given.told, CONSTANT)}
    deviation, periods, sizes = [], [], []
    for trial in given.trials:
        try:
            truth = valued(metric, given.realised(trial.rows)).value
            found = {name: valued(metric, tell(trial)) for name, tell in given.told.items()}
        except NotEnough:
            continue
        first = found[next(iter(given.told))]
        if first.variance <= 0:
            continue
        for name, moments in found.items():
            errors[name].append(truth - moments.value)
        errors[CONSTANT].append(truth - constant)
        deviation.append(np.sqrt(first.variance * given.design))
        periods.append(trial.period)
        sizes.append(len(trial.rows))
    return _Missed(
        {name: np.array(one) for name, one in errors.items()},
        np.array(deviation),
        np.array(periods, dtype=np.bool_),
        np.array(sizes, dtype=np.float64),
    )


def _between(errors: Floats, missed: _Missed, count: int) -> float:
    """Deviation between periods; where few blocks say nothing, little of it is taken off."""
    own = errors[missed.periods]
    chance = missed.deviation[missed.periods] ** 2 * (1 + missed.sizes[missed.periods] / count)
    excess = float(np.sum(own**2 / chance)) / float(special.chdtri(len(own), 0.5)) - 1
    return float(np.sqrt(max(excess, 0.0) * chance.mean()))
