"""Tuning: a seeded random search over a trainer's space, within a budget.

In: a trainer's space and a way to score parameters by cross-validation inside the training part. Out: the best
parameters and one sentence about the search. Random search is as good as a grid at a fraction of its trials
(Bergstra and Bengio 2012).

Laws: the defaults are always the first trial, so tuning never does worse than them by its own measure; no trial
starts that would, by the longest one so far, end after the budget. A budget in trials gives the same result every
time; a budget in seconds depends on the machine, and the sentence says how many trials it bought.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from roadworthy.errors import UsageError
from roadworthy.transforms.durations import microseconds

__all__ = ["Budget", "Search", "search"]

_TRIALS = re.compile(r"\s*(\d+)\s*trials?\s*")
_MOST_DRAWS = 50


@dataclass(frozen=True, slots=True)
class Budget:
    """So many trials per candidate, or so many seconds per candidate; the other is None."""

    trials: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str, candidates: int = 1) -> Budget | None:
        """Read ``"20 trials"`` (for each candidate) or ``"60 s"`` (shared by all); None when empty.

        >>> Budget.parse("60 s", candidates=2)
        Budget(trials=None, seconds=30.0)
        """
        if not text.strip():
            return None
        match = _TRIALS.fullmatch(text)
        if match is None:
            return cls(seconds=microseconds(text, where="[training] tune") / 1e6 / max(candidates, 1))
        if int(match[1]) < 1:
            raise UsageError(f'[training] tune = {text!r}: expected 1 trial or more, as in "20 trials"')
        return cls(trials=int(match[1]))


@dataclass(frozen=True, slots=True)
class Search:
    """What a search found: ``parameters`` to use, and how it went."""

    parameters: dict[str, Any]
    trials: int
    sentence: str


def search(
    space: Mapping[str, tuple[Any, ...]],
    loss_of: Callable[[Mapping[str, Any]], float],
    budget: Budget,
    seed: int,
    clock: Callable[[], float] = time.monotonic,
) -> Search:
    """Try the defaults (no parameter set), then seeded draws, each combination once.

    ``loss_of`` gives the cross-validated loss of the trainer's defaults overridden by its argument: infinite where
    training with it breaks.
    """
    rng = np.random.default_rng(seed)
    begun = clock()
    tried: list[dict[str, Any]] = []
    losses: list[float] = []
    longest = 0.0
    trial: dict[str, Any] | None = {}
    while trial is not None:
        started = clock()
        losses.append(loss_of(trial))
        tried.append(trial)
        longest = max(longest, clock() - started)
        if budget.trials is not None and len(tried) >= budget.trials:
            break
        if budget.seconds is not None and clock() - begun + longest > budget.seconds:
            break
        trial = _drawn(space, tried, rng)
    best = int(np.argmin(losses))
    gain = losses[0] - losses[best]
    spent = clock() - begun if budget.seconds is not None else None
    within = f" in {spent:.0f} s" if spent is not None else ""
    broken = sum(not math.isfinite(loss) for loss in losses)
    within += f", {broken} of which broke" if broken else ""
    if len(tried) == 1:
        return Search(tried[0], 1, f"tuning made 1 trial{within}; there was no room for more than the defaults")
    found = f"the best lowered the cross-validated loss by {gain:.4g}" if best else "none was better than the defaults"
    return Search(tried[best], len(tried), f"tuning made {len(tried)} trials{within}; {found}")


def _drawn(
    space: Mapping[str, tuple[Any, ...]], tried: list[dict[str, Any]], rng: np.random.Generator
) -> dict[str, Any] | None:
    """A combination that was not tried; None when none turns up."""
    for _ in range(_MOST_DRAWS):
        drawn = {name: values[int(rng.integers(len(values)))] for name, values in sorted(space.items()) if values}
        if drawn and drawn not in tried:
            return drawn
    return None
