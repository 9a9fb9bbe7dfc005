"""The choice among candidates, from out-of-fold predictions on the same rows.

In: one ``Sample`` per candidate, what each graph costs, and which requirements each provably fails. Out: a
``Choice`` with its reasons. Law: a candidate is turned down for its quality only on proof; among those that
are not, the cheapest is chosen.

Quality is log loss (classification) or squared error (regression), compared row by row. The difference's bound
is clustered by entity, holds for all comparisons together (Bonferroni), and is never narrower than the folds' own
disagreement makes it: rows of one fold share one trained model, so they are not independent (Nadeau and Bengio 2003).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from roadworthy.errors import DataError, UnknownName
from roadworthy.measures.intervals import Bounds, NotEnough, skewed_t
from roadworthy.measures.losses import row_losses
from roadworthy.measures.quality import measure
from roadworthy.measures.samples import Sample
from roadworthy.records.model import Choice, GraphCost
from roadworthy.records.project import Task

__all__ = ["choose", "paired_difference"]

_SAME_SPEED_MS = 0.1
_SAME_SPEED_SHARE = 1.25


class _Standing(NamedTuple):
    name: str
    loss: float
    difference: Bounds
    cost: GraphCost
    fails: tuple[str, ...]

    @property
    def worse(self) -> bool:
        """Whether it is provably worse than the best."""
        return self.difference.lower > 0


def choose(
    candidates: Mapping[str, Sample],
    costs: Mapping[str, GraphCost],
    failing: Mapping[str, Sequence[str]],
    *,
    confidence: float = 0.95,
) -> Choice:
    """The cheapest candidate that is not provably worse than the best and does not provably fail the standard.

    ``failing`` names the requirements that a candidate provably fails (as lines for a person). Cheapest is by
    median latency, then size; latencies within a quarter plus 0.1 ms count as equal. The median, because the p99
    of one row is the time slice of whatever else the machine does, and a choice must not depend on that. Where
    every candidate fails, the choice is made among all of them and says so; where all that do not fail are
    provably worse than one that does, the best of those is taken. The threshold is left open. Raises DataError
    when the samples are not over the same rows, UnknownName for a candidate without a cost.
    """
    _check(candidates, costs)
    losses = {name: row_losses(sample) for name, sample in candidates.items()}
    best = min(candidates, key=lambda name: (float(losses[name].mean()), name))
    each = 1 - (1 - confidence) / max(len(candidates) - 1, 1)
    standings = [
        _Standing(
            name,
            float(losses[name].mean()),
            paired_difference(losses[name], losses[best], sample, each),
            costs[name],
            tuple(failing.get(name, ())),
        )
        for name, sample in candidates.items()
    ]
    sound = [standing for standing in standings if not standing.fails] or standings
    equal = [standing for standing in sound if not standing.worse] or [min(sound, key=lambda s: (s.loss, s.name))]
    chosen = _cheapest(equal)
    return Choice(
        candidate=chosen.name,
        threshold=None,
        explanation=_explain(standings, chosen, best, candidates[best], confidence),
        threshold_explanation="",
        table=tuple(_table_row(s, candidates[s.name], chosen.name, best, confidence) for s in standings),
    )


def paired_difference(
    losses: NDArray[np.float64], best: NDArray[np.float64], sample: Sample, confidence: float
) -> Bounds:
    """Mean of ``losses − best`` [n] with bounds: clustered by entity, at least as wide as the folds differ.

    The wider of two: Student's over rows or entities, and Student's over the folds' sums, which are few, so that
    its quantile has folds − 1 degrees of freedom.
    """
    difference = losses - best
    value = float(difference.mean())
    influence = (difference - value) / len(difference)
    try:
        plain = skewed_t(value, influence, sample.clusters, confidence)
        reach = _fold_reach(influence, sample, confidence)
        lower, upper = min(plain.lower, value - reach), max(plain.upper, value + reach)
        return plain._replace(lower=lower, upper=upper)
    except NotEnough as reason:
        if float(np.abs(difference).max(initial=0.0)) < 1e-12:
            return Bounds(0.0, 0.0, 0.0, "the same predictions")
        return Bounds(value, -math.inf, math.inf, str(reason))


def _fold_reach(influence: NDArray[np.float64], sample: Sample, confidence: float) -> float:
    """How far the folds' sums let the mean be off; 0 where there are no folds to compare."""
    if sample.folds is None:
        return 0.0
    folds = np.unique(sample.folds, return_inverse=True)[1].reshape(-1)
    count = int(folds.max()) + 1
    if count < 2:
        return 0.0
    sums = np.bincount(folds, weights=influence)
    return float(special.stdtrit(count - 1, confidence)) * math.sqrt(count / (count - 1) * float(sums @ sums))


def _check(candidates: Mapping[str, Sample], costs: Mapping[str, GraphCost]) -> None:
    if not candidates:
        raise DataError("there is no candidate to choose from", next_step="look at the training failures")
    first = next(iter(candidates.values()))
    for name, sample in candidates.items():
        if name not in costs:
            raise UnknownName("cost of candidate", name, costs)
        if sample.n != first.n or not np.array_equal(sample.y, first.y):
            raise DataError(
                f"candidate {name} was predicted on other rows than the first ({sample.n} and {first.n} rows)",
                next_step="compare out-of-fold predictions on the rows that all candidates have",
            )
    if first.n == 0:
        raise DataError("the candidates have no out-of-fold row in common", next_step="lower [training] folds")


def _cheapest(standings: Sequence[_Standing]) -> _Standing:
    fastest = min(standing.cost.p50_ms for standing in standings)
    quick = [s for s in standings if s.cost.p50_ms <= fastest * _SAME_SPEED_SHARE + _SAME_SPEED_MS]
    return min(quick, key=lambda standing: (standing.cost.size_bytes, standing.cost.p50_ms, standing.name))


def _table_row(standing: _Standing, sample: Sample, chosen: str, best: str, confidence: float) -> dict[str, Any]:
    regression = sample.task is Task.REGRESSION
    quality = measure("r2" if regression else "skill", sample, confidence=confidence)
    difference = standing.difference
    return {
        "candidate": standing.name,
        "chosen": standing.name == chosen,
        "best": standing.name == best,
        "quality": quality.value,
        "quality_lower": quality.lower,
        "quality_upper": quality.upper,
        "loss": standing.loss,
        "difference": difference.value,
        "difference_lower": difference.lower if math.isfinite(difference.lower) else None,
        "difference_upper": difference.upper if math.isfinite(difference.upper) else None,
        "provably_worse": standing.worse,
        "p50_ms": standing.cost.p50_ms,
        "p99_ms": standing.cost.p99_ms,
        "size_bytes": standing.cost.size_bytes,
        "meets_standard": not standing.fails,
        "fails": list(standing.fails),
    }


def _explain(standings: Sequence[_Standing], chosen: _Standing, best: str, sample: Sample, confidence: float) -> str:
    loss = "squared error" if sample.task is Task.REGRESSION else "log loss"
    by_name = {standing.name: standing for standing in standings}
    if len(standings) == 1:
        lead = f"{chosen.name} is the only candidate, with {loss} {chosen.loss:.4g} on {sample.n:,} out-of-fold rows."
        return " ".join([lead, *_standard_words(standings, chosen)])
    lead = f"{best} has the lowest {loss}, {by_name[best].loss:.4g}, on {sample.n:,} out-of-fold rows."
    others = [_compare(standing, loss, confidence) for standing in standings if standing.name != best]
    cost = chosen.cost
    last = (
        f"{chosen.name} is chosen: {_reason(standings, chosen)} ({cost.p50_ms:.2g} ms p50, {cost.size_bytes:,} bytes)."
    )
    return " ".join([lead, *others, *_standard_words(standings, chosen), last])


def _reason(standings: Sequence[_Standing], chosen: _Standing) -> str:
    rivals = [s for s in standings if not s.worse and (not s.fails or bool(chosen.fails))]
    if len(rivals) > 1:
        return "it is the cheapest of those that are not provably worse"
    if any(s.fails for s in standings if not s.worse) and not chosen.fails:
        return "it is the best of those that do not provably fail the standard"
    return "no other is as good"


def _compare(standing: _Standing, loss: str, confidence: float) -> str:
    d = standing.difference
    opening = f"{standing.name} has {standing.loss:.4g}"
    if d.upper == 0:
        return f"{opening}: the same predictions."
    if standing.worse:
        return f"{opening}: worse by {d.value:.3g}, by at least {d.lower:.3g} with {confidence:.0%} confidence."
    if not math.isfinite(d.lower):
        return f"{opening}: worse by {d.value:.3g}, but the comparison {d.method}."
    return f"{opening}: worse by {d.value:.3g}, which may be chance ({loss} may even be {-d.lower:.3g} lower)."


def _standard_words(standings: Sequence[_Standing], chosen: _Standing) -> list[str]:
    failing = [standing for standing in standings if standing.fails]
    if not failing:
        return []
    words = [f"{standing.name} provably fails {', '.join(standing.fails)}." for standing in failing]
    if chosen.fails and len(standings) > 1:
        words.append("Every candidate fails the standard, so quality and cost alone decide.")
    return words
