"""What a fault costs: quality and decisions, each row against itself.

In: the rows' sample, what the model says of them as they are and with the fault. Out: an ``Effect`` with bounds at any
confidence; the worst of several. Laws: only rows that are answered both times count; a fault that changes no score
costs exactly nothing; lower <= value <= upper.

The cost is the rise of the loss as a share of the base rate's loss: skill, or R² for regression, that is lost. Means
are bounded as everywhere (``intervals.skewed_t``); where fewer than ten rows change their score, which is too few for
the shape of a distribution, by the share of changed rows (Clopper and Pearson) times the greatest change.

The worst of k faults: its upper bound is the greatest of their upper bounds, each at the confidence asked for (whatever
fault is truly the worst is below its own); its lower bound is the greatest of the lower bounds at 1 − (1 − c) / k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.intervals import Bounds, NotEnough, cluster_count, proportion, skewed_t
from roadworthy.measures.losses import base_loss, row_losses
from roadworthy.measures.robustness.asking import Reply
from roadworthy.measures.robustness.faults import Fault
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task

__all__ = ["FEWEST", "Effect", "effect_of", "worst"]

FEWEST = 30
"""With fewer answered rows than this nothing is said of what a fault costs."""

_FEWEST_CHANGED = 10
_FAR = 1e50
"""A regression's errors beyond so many standard deviations of the target count as this: squares stay finite."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Effect:
    """What the model did with one fault.

    ``rise`` [m]: the rise of the loss of the m rows that were answered both times, as a share of the base loss;
    ``flipped`` [m]: whether the decision changed, None where none is taken; ``changed`` [m]: whether the score did.
    ``greatest`` is the most that the loss of one row could rise by with the scores that were seen.
    """

    fault: Fault
    reply: Reply
    rise: NDArray[np.float64]
    changed: NDArray[np.bool_]
    flipped: NDArray[np.bool_] | None
    clusters: NDArray[np.int64] | None
    greatest: float

    @property
    def n(self) -> int:
        """Rows that were answered both times."""
        return len(self.rise)

    @property
    def refused(self) -> float:
        """Share of rows that were refused."""
        return float(self.reply.refused.mean())

    @property
    def measurable(self) -> bool:
        """Whether enough rows were answered to say what the fault costs."""
        return self.n >= FEWEST

    def drop(self, confidence: float) -> Bounds:
        """Mean rise; raises NotEnough where the rows cannot answer."""
        groups = cluster_count(self.clusters)
        if not self.changed.any():
            return Bounds(0.0, 0.0, 0.0, "no score changed", groups)
        value = float(self.rise.mean())
        if np.count_nonzero(self.changed) >= _FEWEST_CHANGED and np.ptp(self.rise) > 0:
            return skewed_t(value, (self.rise - value) / self.n, self.clusters, confidence)
        share = proportion(self.changed, self.clusters, confidence).upper
        lower, upper = share * min(float(self.rise.min()), 0.0), share * max(float(self.rise.max()), 0.0)
        return Bounds(value, min(lower, value), max(upper, value), "share of changed rows times greatest", groups)

    def flips(self, confidence: float) -> Bounds:
        """Share of decisions that changed; raises NotEnough where the rows cannot answer or none is taken."""
        if self.flipped is None:
            raise NotEnough("no decision is taken")
        if not self.changed.any():
            return Bounds(0.0, 0.0, 0.0, "no score changed", cluster_count(self.clusters))
        return proportion(self.flipped, self.clusters, confidence)


def effect_of(fault: Fault, sample: Sample, plain: Reply, reply: Reply) -> Effect:
    """How much worse the ``reply`` to faulted rows of ``sample`` is than ``plain``, the reply to them as they are."""
    both = np.flatnonzero(plain.sound & reply.sound)
    before, after = plain.score[both], reply.score[both]
    part = sample.take(both)
    base = base_loss(sample.take(np.flatnonzero(plain.sound))) or 1.0
    rows = tuple(row_losses(part.scored(_within(part, score))) for score in (before, after))
    changed = before != after
    flipped = None
    if sample.task is Task.MULTICLASS or (sample.task is Task.BINARY and sample.threshold is not None):
        flipped = _decided(sample, before) != _decided(sample, after)
    return Effect(
        fault=fault,
        reply=reply,
        rise=(rows[1] - rows[0]) / base,
        changed=changed if changed.ndim == 1 else changed.any(axis=1),
        flipped=flipped,
        clusters=part.clusters,
        greatest=_greatest(part, before) / base if len(both) else 0.0,
    )


def worst(effects: Sequence[Effect], what: str, confidence: float) -> tuple[Bounds, Effect]:
    """The worst of some effects, each measurable: ``what`` is "drop" or "flips". Raises NotEnough.

    Faults that change no score count as nothing; where that is all of them, as many rows as might still change in spite
    of what was seen (rule of three), by as much as the scores seen would allow.
    """
    moved = [effect for effect in effects if effect.changed.any()]
    if not moved:
        return _unmoved(effects[0], what, confidence), effects[0]
    each = 1 - (1 - confidence) / len(moved)
    plain = [getattr(effect, what)(confidence) for effect in moved]
    strict = [getattr(effect, what)(each) for effect in moved]
    place = max(range(len(moved)), key=lambda index: plain[index].value)
    value = max(plain[place].value, 0.0) if len(moved) < len(effects) else plain[place].value
    lower, upper = max(one.lower for one in strict), max(one.upper for one in plain)
    if len(moved) < len(effects):
        lower, upper = max(lower, 0.0), max(upper, 0.0)
    method = plain[place].method + (f", worst of {len(effects)}" if len(effects) > 1 else "")
    return plain[place]._replace(value=value, lower=min(lower, value), upper=max(upper, value), method=method), moved[
        place
    ]


def _unmoved(effect: Effect, what: str, confidence: float) -> Bounds:
    share = proportion(effect.changed, effect.clusters, confidence).upper
    upper = share if what == "flips" else share * effect.greatest
    groups = cluster_count(effect.clusters)
    lower = 0.0 if what == "flips" else -upper
    return Bounds(0.0, lower, upper, "rule of three, no score changed", groups)


def _within(sample: Sample, score: NDArray[np.float64]) -> NDArray[np.float64]:
    """A regression's scores, none so far from the truth that its square is no number."""
    if sample.task is not Task.REGRESSION or not sample.n:
        return score
    far = _FAR * (float(np.std(sample.y)) or 1.0)
    return np.clip(score, sample.y - far, sample.y + far)


def _greatest(sample: Sample, score: NDArray[np.float64]) -> float:
    """The most that one of the scores seen would cost at one of the outcomes seen, above the least."""
    if sample.task is Task.REGRESSION:
        far = max(float(sample.y.max() - score.min()), float(score.max() - sample.y.min()), 0.0)
        return min(far, _FAR) ** 2
    chances = score if score.ndim == 2 else np.column_stack([1.0 - score, score])
    return float(-np.log(np.clip(chances.min(), 1e-7, 1.0)))


def _decided(sample: Sample, score: NDArray[np.float64]) -> NDArray[np.int64]:
    if sample.task is Task.MULTICLASS:
        return np.asarray(np.argmax(score, axis=1), dtype=np.int64)
    return np.asarray(score >= (sample.threshold if sample.threshold is not None else 0.5), dtype=np.int64)
