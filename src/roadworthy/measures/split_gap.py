"""What a random split would have promised, beside what the honest one says.

In: two scored samples of the same rows, one by models of the honest split and one by models of a random split that
trained on as many rows. Out: a ``SplitGap`` with bounds for the difference of their losses, and the ``Finding`` that
tells a person. Law: a gap is called one only where the bounds prove it.

The difference is paired row by row. Its bounds are cluster-robust, by entity and by stretch of time, the wider ones
where both apply. They are widened for what rows alone cannot show, that other training rows would have made other
models: Nadeau and Bengio (2003) correct the variance by 1 + (predicted rows / training rows).
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.intervals import Bounds, NotEnough, skewed_t
from roadworthy.measures.losses import row_losses
from roadworthy.measures.samples import Sample
from roadworthy.records.data import SplitKind
from roadworthy.records.evidence import Finding
from roadworthy.records.model import SplitGap
from roadworthy.records.project import Task

__all__ = ["split_gap", "split_gap_finding", "unmeasured_gap"]

_STRETCHES = 40
_SAME = 1e-12
_ORDER = {"time": "in time order", "entity": "for entities never trained on"}
_UNFAIR = {"time": "rows later than those that it is asked about", "entity": "other rows of the same entity"}


def split_gap(
    honest: Sample,
    random: Sample,
    *,
    kind: SplitKind,
    candidate: str,
    trained_rows: int,
    confidence: float = 0.95,
) -> SplitGap:
    """Mean loss by the honest split, by a random one, and one-sided bounds of their difference.

    Both samples hold the same rows in the same order: by time where ``kind`` is ``time``. ``trained_rows`` is how
    many rows each model trained on. The loss is ``losses.row_losses``: log loss in nats, or squared error.
    """
    first, second = row_losses(honest), row_losses(random)
    difference = first - second
    try:
        bounds = _bounds(difference, honest, kind, trained_rows, confidence)
    except NotEnough as reason:
        return unmeasured_gap(kind, candidate, honest.task, str(reason))
    gap = SplitGap(
        kind=kind,
        candidate=candidate,
        loss=_loss(honest.task),
        sentence="",
        honest=float(first.mean()),
        random=float(second.mean()),
        lower=bounds.lower,
        upper=bounds.upper,
        confidence=confidence,
        rows=len(difference),
        trained_rows=trained_rows,
        clusters=bounds.clusters,
        method=bounds.method,
    )
    return msgspec.structs.replace(gap, sentence=_sentence(gap))


def unmeasured_gap(kind: SplitKind, candidate: str, task: Task, reason: str) -> SplitGap:
    """A gap that could not be measured, and why."""
    sentence = f"What a random split would have promised could not be measured: {reason}."
    return SplitGap(kind=kind, candidate=candidate, loss=_loss(task), sentence=sentence, insufficient=reason)


def split_gap_finding(gap: SplitGap | None) -> tuple[Finding, ...]:
    """A note with the gap's sentence and its figures; nothing where the split itself is random."""
    if gap is None:
        return ()
    details = {name: value for name, value in msgspec.to_builtins(gap).items() if name not in {"sentence", "kind"}}
    return (
        Finding(
            kind="split_gap",
            subject=f"split by {gap.kind}",
            grade="notes",
            sentence=gap.sentence,
            details={name: value for name, value in details.items() if value not in {None, ""}},
        ),
    )


def _bounds(
    difference: NDArray[np.float64], sample: Sample, kind: SplitKind, trained_rows: int, confidence: float
) -> Bounds:
    """The widest bounds of the mean difference over the ways in which rows may depend on each other."""
    count = len(difference)
    if count == 0:
        raise NotEnough("no row to measure")
    value = float(difference.mean())
    if float(np.abs(difference).max()) < _SAME:
        return Bounds(value, value, value, "the same predictions")
    inflate = math.sqrt(1 + count / max(trained_rows, 1))
    ways: list[NDArray[np.int64] | None] = [] if sample.clusters is None else [sample.clusters]
    if kind == "time":
        ways.append(np.arange(count, dtype=np.int64) * min(_STRETCHES, count) // count)
    influence = (difference - value) / count
    found = [skewed_t(value, influence, clusters, confidence, inflate=inflate) for clusters in ways or [None]]
    widest = max(found, key=lambda bounds: bounds.upper - bounds.lower)
    how = [] if sample.clusters is None else ["entity"]
    how += ["stretch of time"] if kind == "time" else []
    method = f"paired skewness-corrected t, clustered by {' and by '.join(how)}, Nadeau-Bengio variance"
    lower, upper = min(bounds.lower for bounds in found), max(bounds.upper for bounds in found)
    return widest._replace(lower=lower, upper=upper, method=method)


def _loss(task: Task) -> str:
    return "mean squared error" if task is Task.REGRESSION else "log loss"


def _sentence(gap: SplitGap) -> str:
    """What was promised, what is true, and what that means; then how it was measured."""
    if gap.honest is None or gap.random is None or gap.lower is None or gap.upper is None:
        raise ValueError("a gap without figures has its own sentence")
    difference = gap.honest - gap.random
    within = f"{gap.confidence:.0%} bounds {gap.lower:.3g} to {gap.upper:.3g}"
    if gap.lower > 0:
        so = (
            f"so a random split would have flattered the model by {difference:.3g} ({within}): it lets a model learn "
            f"from {_UNFAIR[gap.kind]}, which it cannot do in service"
        )
    elif gap.upper < 0:
        so = f"lower by {-difference:.3g} (difference: {within}), so a random split would have promised less, not more"
    else:
        so = f"so there is no provable gap: the difference is {difference:.3g} ({within})"
    return (
        f"A random split would have promised a {gap.loss} of {gap.random:.4g}; {_ORDER[gap.kind]} it is "
        f"{gap.honest:.4g}, {so}. Measured with {gap.candidate}, trained on {gap.trained_rows:,} rows either way and "
        f"asked about the same {gap.rows:,} training rows."
    )
