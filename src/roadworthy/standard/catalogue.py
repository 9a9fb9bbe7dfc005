"""The metric catalogue: every measurable thing a requirement may name.

A metric's direction decides how a bound is read, so that getting better is never a failure. Arithmetic lives in
``measures``; this is the list that people and code share.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from roadworthy.errors import UnknownName
from roadworthy.records.evidence import Phase
from roadworthy.records.project import Task

__all__ = ["CATALOGUE", "Direction", "Metric", "MetricKind", "metric_named"]


class Direction(StrEnum):
    """Which way is better."""

    UP = "up"
    DOWN = "down"


class MetricKind(StrEnum):
    """Where a metric's evidence comes from."""

    QUALITY = "quality"  # predictions beside labels
    DATA = "data"  # the rows themselves
    COST = "cost"  # time and space of the packaged graph
    INTEGRITY = "integrity"  # whether the package is what was trained
    CONDUCT = "conduct"  # how the service behaves


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One entry: ``unit`` is a base unit of ``units``; ``low``/``high`` bound the possible values."""

    name: str
    title: str
    direction: Direction
    kind: MetricKind = MetricKind.QUALITY
    unit: str = ""
    tasks: tuple[Task, ...] = tuple(Task)
    phases: tuple[Phase, ...] = tuple(Phase)
    low: float | None = 0.0
    high: float | None = 1.0


_UP, _DOWN = Direction.UP, Direction.DOWN
_BINARY = (Task.BINARY,)
_CLASSES = (Task.BINARY, Task.MULTICLASS)
_NUMBERS = (Task.REGRESSION,)
_RELEASE = (Phase.RELEASE,)
_SERVED = (Phase.ROLLOUT, Phase.LIVE)


_METRICS = (
    Metric(name="accuracy", title="share of decisions that are right", direction=_UP, tasks=_CLASSES),
    Metric(name="balanced_accuracy", title="mean recall over the classes", direction=_UP, tasks=_CLASSES),
    Metric(name="precision", title="share of alarms that are true", direction=_UP, tasks=_BINARY),
    Metric(name="recall", title="share of events that are found", direction=_UP, tasks=_BINARY),
    Metric(name="specificity", title="share of non-events left alone", direction=_UP, tasks=_BINARY),
    Metric(name="f1", title="harmonic mean of precision and recall", direction=_UP, tasks=_BINARY),
    Metric(name="macro_f1", title="mean F1 over the classes", direction=_UP, tasks=_CLASSES),
    Metric(name="mcc", title="correlation of decision and truth", direction=_UP, tasks=_CLASSES, low=-1.0),
    Metric(name="roc_auc", title="chance that an event outranks a non-event", direction=_UP, tasks=_BINARY),
    Metric(name="pr_auc", title="average precision over all thresholds", direction=_UP, tasks=_BINARY),
    Metric(name="log_loss", title="mean surprise, in nats", direction=_DOWN, tasks=_CLASSES, high=None),
    Metric(name="brier", title="mean squared error of the probabilities", direction=_DOWN, tasks=_CLASSES, high=2.0),
    Metric(
        name="calibration_error",
        title="mean squared gap between probability and frequency over up to 25 bins, debiased",
        direction=_DOWN,
        tasks=_CLASSES,
        low=None,
    ),
    Metric(
        name="skill", title="share of the base rate's log loss that is gone", direction=_UP, tasks=_CLASSES, low=None
    ),
    Metric(
        name="lift", title="accuracy above always saying the commonest class", direction=_UP, tasks=_CLASSES, low=-1.0
    ),
    Metric(name="mae", title="mean absolute error", direction=_DOWN, unit="target", tasks=_NUMBERS, high=None),
    Metric(name="rmse", title="root mean squared error", direction=_DOWN, unit="target", tasks=_NUMBERS, high=None),
    Metric(
        name="median_absolute_error",
        title="middle absolute error",
        direction=_DOWN,
        unit="target",
        tasks=_NUMBERS,
        high=None,
    ),
    Metric(name="r2", title="share of the variance that is explained", direction=_UP, tasks=_NUMBERS, low=None),
    Metric(
        name="overfit_gap",
        title="loss on unseen rows above loss in training, as a share of the base loss",
        direction=_DOWN,
        phases=_RELEASE,
        low=None,
        high=None,
    ),
    Metric(
        name="leaks",
        title="columns or rows that give the answer away",
        direction=_DOWN,
        kind=MetricKind.DATA,
        unit="count",
        phases=_RELEASE,
        high=None,
    ),
    Metric(
        name="quarantined_share",
        title="share of rows that do not meet the contract",
        direction=_DOWN,
        kind=MetricKind.DATA,
        phases=(Phase.RELEASE, Phase.LIVE),
    ),
    Metric(
        name="parity",
        title="greatest difference between the package and the training framework",
        direction=_DOWN,
        kind=MetricKind.INTEGRITY,
        phases=_RELEASE,
        high=None,
    ),
    Metric(
        name="decision_flips",
        title="share of decisions that packaging changed",
        direction=_DOWN,
        kind=MetricKind.INTEGRITY,
        phases=_RELEASE,
    ),
    Metric(
        name="size",
        title="bytes of the model graph",
        direction=_DOWN,
        kind=MetricKind.COST,
        unit="bytes",
        phases=_RELEASE,
        high=None,
    ),
    Metric(
        name="latency_p50",
        title="half of single-row predictions are faster",
        direction=_DOWN,
        kind=MetricKind.COST,
        unit="ms",
        high=None,
    ),
    Metric(
        name="latency_p99",
        title="99 of 100 single-row predictions are faster",
        direction=_DOWN,
        kind=MetricKind.COST,
        unit="ms",
        high=None,
    ),
    Metric(
        name="availability",
        title="share of requests that got an answer",
        direction=_UP,
        kind=MetricKind.CONDUCT,
        phases=_SERVED,
    ),
)

CATALOGUE: dict[str, Metric] = {metric.name: metric for metric in _METRICS}
"""Every metric by name."""


def metric_named(name: str, *, where: str = "") -> Metric:
    """The metric of that name; UnknownName carries the nearest and all known ones."""
    try:
        return CATALOGUE[name]
    except KeyError:
        raise UnknownName("metric", name, CATALOGUE, where=where) from None
