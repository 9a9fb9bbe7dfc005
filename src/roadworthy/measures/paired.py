"""Two models on the same rows: which is better, by how much, and whether that is proven.

In: two ``Sample``s of the same rows in the same order. Out: ``Difference``s, second minus first. Laws: rows are paired,
so that what is hard for both models does not widen an interval; an entity's rows count together; where nothing is known
of the spread, no interval is given and it is said why.

Each figure's difference is a smooth function of means; its rows' influences are subtracted before their spread is
taken. Ratios by the delta method; ROC AUC by placements (DeLong 1988, over entities Obuchowski 1997); bounds by Hall's
(1992) skewness-corrected Student statistic (``intervals.skewed_t``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.measures.intervals import NotEnough, skewed_t
from roadworthy.measures.losses import row_losses
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task

__all__ = ["Difference", "deciding_metric", "paired_differences"]

Floats = NDArray[np.float64]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of two models on ``n`` rows: ``first``, ``second``, and second minus first with its interval.

    ``lower`` and ``upper`` are both ends of an interval at ``confidence``, None where ``insufficient`` says why.
    ``more_is_better``: a positive difference is to the second's credit.
    """

    metric: str
    first: float
    second: float
    more_is_better: bool
    confidence: float
    n: int
    lower: float | None = None
    upper: float | None = None
    clusters: int = 0
    method: str = ""
    insufficient: str = ""

    @property
    def value(self) -> float:
        """Second minus first."""
        return self.second - self.first

    @property
    def better(self) -> int:
        """2 where the second is proven better, 1 where the first is, 0 where neither is."""
        if self.lower is None or self.upper is None or self.lower <= 0 <= self.upper:
            return 0
        return 2 if (self.lower > 0) == self.more_is_better else 1


class _Figure(NamedTuple):
    """A figure of one model and each row's influence on it [n]."""

    value: float
    influence: Floats


def deciding_metric(task: Task) -> str:
    """The figure that decides which of two models is better: the one that candidates are chosen by."""
    return "rmse" if task is Task.REGRESSION else "log_loss"


def paired_differences(first: Sample, second: Sample, *, confidence: float = 0.95) -> tuple[Difference, ...]:
    """Every figure of both that can be compared; the deciding one comes first, at ``confidence`` by itself.

    The others hold at ``confidence`` all together (Bonferroni). DataError where the rows are not the same.
    """
    if first.task is not second.task or not np.array_equal(first.y, second.y):
        raise DataError(
            f"these are not the same rows: {first.n:,} and {second.n:,}", next_step="compare on rows that both have"
        )
    figures = _FIGURES[first.task]
    shared = 1 - (1 - confidence) / max(len(figures) - 1, 1)
    deciding = deciding_metric(first.task)
    found = []
    for metric, (figure, more) in figures.items():
        try:
            one, other = figure(first), figure(second)
        except NotEnough as reason:
            found.append(_unknown(metric, first, str(reason), more_is_better=more))
            continue
        found.append(
            _difference(metric, one, other, first, confidence if metric == deciding else shared, more_is_better=more)
        )
    return tuple(found)


def _difference(
    metric: str, one: _Figure, other: _Figure, sample: Sample, confidence: float, *, more_is_better: bool
) -> Difference:
    told = Difference(
        metric=metric,
        first=one.value,
        second=other.value,
        more_is_better=more_is_better,
        confidence=confidence,
        n=sample.n,
    )
    influence = other.influence - one.influence
    if float(np.abs(influence).max(initial=0.0)) < 1e-12 / max(sample.n, 1):
        return msgspec.structs.replace(told, lower=0.0, upper=0.0, method="the same on every row")
    try:
        bounds = skewed_t(told.value, influence, sample.clusters, (1 + confidence) / 2)
    except NotEnough as reason:
        return msgspec.structs.replace(told, insufficient=str(reason))
    return msgspec.structs.replace(
        told, lower=bounds.lower, upper=bounds.upper, clusters=bounds.clusters, method=f"paired {bounds.method}"
    )


def _unknown(metric: str, sample: Sample, why: str, *, more_is_better: bool) -> Difference:
    return Difference(
        metric=metric, first=float("nan"), second=float("nan"), more_is_better=more_is_better, confidence=0.0,
        n=sample.n, insufficient=why,
    )  # fmt: skip


def _mean(values: Floats) -> _Figure:
    value = float(values.mean())
    return _Figure(value, (values - value) / len(values))


def _ratio(top: Floats, bottom: Floats, nothing: str) -> _Figure:
    """Sum over sum, with the delta method's influences."""
    total = float(bottom.sum())
    if total <= 0:
        raise NotEnough(nothing)
    value = float(top.sum()) / total
    return _Figure(value, (top - value * bottom) / total)


def _log_loss(sample: Sample) -> _Figure:
    return _mean(row_losses(sample))


def _brier(sample: Sample) -> _Figure:
    truth = np.zeros_like(sample.probabilities)
    truth[np.arange(sample.n), sample.y] = 1.0
    squares = np.square(sample.probabilities - truth).sum(axis=1)
    return _mean(squares / 2)


def _decided(sample: Sample) -> NDArray[np.int64]:
    if sample.task is Task.BINARY and sample.threshold is None:
        raise NotEnough("no threshold is set, so that nothing is decided")
    return sample.decision


def _accuracy(sample: Sample) -> _Figure:
    return _mean((_decided(sample) == sample.y).astype(np.float64))


def _recall(sample: Sample) -> _Figure:
    hit = ((_decided(sample) == 1) & (sample.y == 1)).astype(np.float64)
    return _ratio(hit, (sample.y == 1).astype(np.float64), "there is no event among the rows")


def _precision(sample: Sample) -> _Figure:
    said = _decided(sample) == 1
    return _ratio((said & (sample.y == 1)).astype(np.float64), said.astype(np.float64), "one of them never says yes")


def _roc_auc(sample: Sample) -> _Figure:
    positive = sample.y == 1
    events, others = int(positive.sum()), int((~positive).sum())
    if not events or not others:
        raise NotEnough("there is one class only among the rows")
    _, level = np.unique(sample.score, return_inverse=True)
    level = level.reshape(-1)
    yes, no = np.bincount(level, weights=positive), np.bincount(level, weights=~positive)
    below = (np.cumsum(no) - no / 2) / others
    over = 1 - (np.cumsum(yes) - yes / 2) / events
    placement = np.where(positive, below[level], over[level])
    value = float(placement[positive].mean())
    return _Figure(value, (placement - value) / np.where(positive, events, others))


def _mae(sample: Sample) -> _Figure:
    return _mean(np.abs(sample.score - sample.y).astype(np.float64))


def _rmse(sample: Sample) -> _Figure:
    square = _mean(row_losses(sample))
    value = float(np.sqrt(square.value))
    return _Figure(value, square.influence / (2 * value) if value else square.influence)


Measured = Callable[[Sample], _Figure]
_FIGURES: dict[Task, dict[str, tuple[Measured, bool]]] = {
    Task.BINARY: {
        "log_loss": (_log_loss, False),
        "roc_auc": (_roc_auc, True),
        "accuracy": (_accuracy, True),
        "recall": (_recall, True),
        "precision": (_precision, True),
        "brier": (_brier, False),
    },
    Task.MULTICLASS: {"log_loss": (_log_loss, False), "accuracy": (_accuracy, True), "brier": (_brier, False)},
    Task.REGRESSION: {"rmse": (_rmse, False), "mae": (_mae, False)},
}
