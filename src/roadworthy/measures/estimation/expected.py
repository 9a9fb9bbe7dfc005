"""Expected quality of a binary model: metrics of rows whose outcome is known as a chance only.

In: ``Chances``: score, decision and the chance of the event, row by row. Out: ``Moments`` of each metric: its expected
value, the variance and the third moment that the outcomes' own chance gives it. Laws: where every chance is 0 or 1 the
value is the realised metric and the variance 0; the order of rows plays no part.

CBPE (Kivimäki et al. 2025, arXiv 2505.05295): expected confusion counts are sums of chances. Ranks: a row counts as an
event by its chance and as a non-event by the rest. The spread is the delta method on the sum of independent outcomes
(Poisson-binomial, Kivimäki et al. 2024, arXiv 2407.08649).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.intervals import NotEnough
from roadworthy.measures.losses import CLIP

__all__ = ["BINARY", "DECIDED", "FORMULAS", "Chances", "Counts", "Moments", "binary_payments", "expected"]

Floats = NDArray[np.float64]

_STEP = 1e-20
_NOTHING = 1e-300


class Moments(NamedTuple):
    """Mean, variance and third central moment of a metric over what the outcomes may be."""

    value: float
    variance: float
    third: float


class Chances(NamedTuple):
    """Rows [m], each standing for ``weight`` rows of a window: score, decision (0, 1; None: none taken), chance."""

    score: Floats
    decision: Floats | None
    chance: Floats
    weight: Floats
    exact: bool = True  # equal scores are ties; else each row stands for rows about its score


class Counts(NamedTuple):
    """Expected: decided and an event, events, decided, rows."""

    right: Any
    events: Any
    decided: Any
    rows: Any


_Formula = Callable[[Counts], Any]


def _f_beta(beta: float) -> _Formula:
    weight = beta**2
    return lambda c: (1 + weight) * c.right / (weight * c.events + c.decided + _NOTHING)


def _specificity(c: Counts) -> Any:
    return 1 - (c.decided - c.right) / (c.rows - c.events + _NOTHING)


def _mcc(c: Counts) -> Any:
    spread = c.events * (c.rows - c.events) * c.decided * (c.rows - c.decided)
    return (c.right * c.rows - c.events * c.decided) / np.sqrt(spread + _NOTHING)


def _macro_f1(c: Counts) -> Any:
    rest = c.rows - c.decided - (c.events - c.right)
    other = 2 * rest / (2 * c.rows - c.events - c.decided + _NOTHING)
    return (_f_beta(1.0)(c) + other) / 2


FORMULAS: dict[str, _Formula] = {
    "accuracy": lambda c: (c.rows - c.decided - c.events + 2 * c.right) / c.rows,
    "balanced_accuracy": lambda c: (c.right / (c.events + _NOTHING) + _specificity(c)) / 2,
    "precision": lambda c: c.right / (c.decided + _NOTHING),
    "recall": lambda c: c.right / (c.events + _NOTHING),
    "specificity": _specificity,
    "f1": _f_beta(1.0),
    "f05": _f_beta(0.5),
    "f2": _f_beta(2.0),
    "macro_f1": _macro_f1,
    "mcc": _mcc,
}

DECIDED = (*FORMULAS, "lift")
"""Metrics that need decisions."""

_LEAST = 5.0
_NEEDS = {
    "accuracy": (),
    "precision": ("rows decided as events",),
    "recall": ("expected events",),
    "specificity": ("expected non-events",),
    "mcc": ("expected events", "expected non-events", "rows decided as events", "rows decided as non-events"),
}
"""What a metric needs five of; others need events and non-events."""


def expected(metric: str, rows: Chances, majority: int = 0) -> Moments:
    """One of BINARY on rows. ``majority`` is the commoner class of the training part (for lift).

    Raises NotEnough where too few events, others or decisions are expected.
    """
    return BINARY[metric](rows, majority)


def _of_counts(metric: str) -> Callable[[Chances, int], Moments]:
    def moments(rows: Chances, majority: int) -> Moments:
        del majority
        _refuse(metric, rows)
        return _delta(FORMULAS[metric], rows)

    return moments


def _lift(rows: Chances, majority: int) -> Moments:
    def formula(c: Counts) -> Any:
        return FORMULAS["accuracy"](c) - (c.events if majority else c.rows - c.events) / c.rows

    return _delta(formula, rows)


def _delta(formula: _Formula, rows: Chances) -> Moments:
    """Value and spread from the sums by decision: each outcome adds to ``events`` and, where decided, to ``right``."""
    decision = _decisions(rows)
    flip = rows.weight * rows.chance * (1 - rows.chance)
    skew = flip * (1 - 2 * rows.chance)
    n, decided = float(rows.weight.sum()), float(rows.weight @ decision)
    counts = Counts(float((rows.weight * rows.chance) @ decision), float(rows.weight @ rows.chance), decided, n)
    by_right = float(formula(counts._replace(right=counts.right + 1j * _STEP)).imag) / _STEP
    by_events = float(formula(counts._replace(events=counts.events + 1j * _STEP)).imag) / _STEP
    yes, no = by_right + by_events, by_events
    flips, skews = float(flip @ decision), float(skew @ decision)
    variance = yes**2 * flips + no**2 * (float(flip.sum()) - flips)
    third = yes**3 * skews + no**3 * (float(skew.sum()) - skews)
    return Moments(float(np.real(formula(counts))), variance, third)


def _decisions(rows: Chances) -> Floats:
    if rows.decision is None:
        raise NotEnough("needs decisions, and the model takes none: no threshold is set")
    return rows.decision


def _refuse(metric: str, rows: Chances) -> None:
    """A share of nothing is no share."""
    events = float(rows.weight @ rows.chance)
    others, decided = float(rows.weight.sum()) - events, float(rows.weight @ _decisions(rows))
    there = {
        "expected events": events,
        "expected non-events": others,
        "rows decided as events": decided,
        "rows decided as non-events": float(rows.weight.sum()) - decided,
    }
    for noun in _NEEDS.get(metric, ("expected events", "expected non-events")):
        if there[noun] < _LEAST:
            raise NotEnough(f"needs at least {_LEAST:.0f} {noun}, has {there[noun]:.1f}")


class _Ranked(NamedTuple):
    """Groups of equal score, rising: events and others expected; of the row's outcome: variance, third moment."""

    events: Floats
    others: Floats
    flips: Floats
    skews: Floats


def _ranked(rows: Chances) -> _Ranked:
    order = np.argsort(rows.score, kind="stable")
    score, chance, weight = rows.score[order], rows.chance[order], rows.weight[order]
    starts = np.flatnonzero(np.r_[True, np.diff(score) > 0])
    flip = weight * chance * (1 - chance)
    found = _Ranked(
        *(
            np.add.reduceat(part, starts)
            for part in (weight * chance, weight * (1 - chance), flip, flip * (1 - 2 * chance))
        )
    )
    for side, noun in ((found.events, "events"), (found.others, "non-events")):
        if side.sum() < _LEAST:
            raise NotEnough(f"needs at least {_LEAST:.0f} expected {noun}, has {side.sum():.1f}")
    return found


def _roc_auc(rows: Chances, majority: int) -> Moments:
    """Pairs in order; equal scores count half. A row is no pair with itself."""
    del majority
    g = _ranked(rows)
    events, others = float(g.events.sum()), float(g.others.sum())
    below = np.cumsum(g.others) - g.others / 2
    above = events - np.cumsum(g.events) + g.events / 2
    pairs = float(g.events @ below)
    value = (pairs - float(g.flips.sum()) / 2) / (events * others - float(g.flips.sum()))
    slope = (below - above) / (events * others) - value * (1 / events - 1 / others)
    return Moments(value, float(slope**2 @ g.flips), float(slope**3 @ g.skews))


def _pr_auc(rows: Chances, majority: int) -> Moments:
    """Average precision: each event's precision at its own score, the event itself counted for sure."""
    del majority
    g = _ranked(rows)
    size, hits, flips = (part[::-1] for part in (g.events + g.others, g.events, g.flips))
    share = 1.0 if rows.exact else 0.5  # rows about one score: on average half of them lie above
    count = np.cumsum(size) - (1 - share) * (size - 1).clip(0)
    found = np.cumsum(hits) - (1 - share) * hits
    events = float(hits.sum())
    # E[y_i Σ_j y_j] = c_i Σ_j c_j + c_i (1 − c_i): for each group that is its hits × found + its flips
    value = float(((hits * found + flips * share + (1 - share) * hits * (1 - hits / size)) / count).sum()) / events
    later = np.cumsum((hits / count)[::-1])[::-1] - (1 - share) * hits / count
    slope = (found / count + later - value) / events
    return Moments(value, float(slope**2 @ flips), float(slope**3 @ g.skews[::-1]))


def binary_payments(metric: str, score: Floats) -> tuple[Floats, Floats] | None:
    """What each row costs if the event comes and if not, for metrics that are the mean of that; None for others."""
    if metric == "log_loss":
        told = np.clip(score, CLIP, 1 - CLIP)
        return -np.log(told), -np.log(1 - told)
    return ((1 - score) ** 2, score**2) if metric == "brier" else None


def _paid(metric: str) -> Callable[[Chances, int], Moments]:
    def moments(rows: Chances, majority: int) -> Moments:
        del majority
        paid = binary_payments(metric, rows.score)
        if paid is None:
            raise NotEnough(f"{metric} is no mean over rows")
        return _linear(rows, *paid)

    return moments


def _linear(rows: Chances, event: Floats, other: Floats) -> Moments:
    """Mean of what each row costs if the event comes, and if not."""
    n = float(rows.weight.sum())
    slope = (event - other) / n
    flip = rows.weight * rows.chance * (1 - rows.chance)
    value = float(rows.weight @ (rows.chance * event + (1 - rows.chance) * other)) / n
    return Moments(value, float(slope**2 @ flip), float(slope**3 @ (flip * (1 - 2 * rows.chance))))


BINARY: dict[str, Callable[[Chances, int], Moments]] = {
    **{name: _of_counts(name) for name in FORMULAS},
    "lift": _lift,
    "roc_auc": _roc_auc,
    "pr_auc": _pr_auc,
    "log_loss": _paid("log_loss"),
    "brier": _paid("brier"),
}
"""Metrics that can be expected of a binary model before labels come."""
