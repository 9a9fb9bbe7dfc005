"""The metric catalogue: every measurable thing a requirement may name.

Arithmetic lives in ``measures``; this is the list that people and code share.
"""

from __future__ import annotations

from roadworthy.errors import UnknownName
from roadworthy.records.evidence import Phase
from roadworthy.records.project import Task
from roadworthy.standard.live_metrics import LIVE_METRICS
from roadworthy.standard.metric import Direction, Metric, MetricKind

__all__ = ["CATALOGUE", "metric_named"]

_UP, _DOWN = Direction.UP, Direction.DOWN
_BINARY = (Task.BINARY,)
_CLASSES = (Task.BINARY, Task.MULTICLASS)
_MANY = (Task.MULTICLASS,)
_NUMBERS = (Task.REGRESSION,)
_RELEASE = (Phase.RELEASE,)
_PROBE = MetricKind.PROBE
_SERVED = (Phase.ROLLOUT, Phase.LIVE)


_METRICS = (
    Metric(name="accuracy", title="share of decisions that are right", direction=_UP, tasks=_CLASSES),
    Metric(name="balanced_accuracy", title="mean recall over the classes", direction=_UP, tasks=_CLASSES),
    Metric(name="precision", title="share of alarms that are true", direction=_UP, tasks=_CLASSES, per_class=True),
    Metric(name="recall", title="share of events that are found", direction=_UP, tasks=_CLASSES, per_class=True),
    Metric(name="specificity", title="share of non-events left alone", direction=_UP, tasks=_CLASSES, per_class=True),
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
    Metric(name="f05", title="F-beta that weighs precision twice", direction=_UP, tasks=_BINARY),
    Metric(name="f2", title="F-beta that weighs recall twice", direction=_UP, tasks=_BINARY),
    Metric(name="top_3_accuracy", title="truth among the three likeliest classes", direction=_UP, tasks=_MANY),
    Metric(name="top_5_accuracy", title="truth among the five likeliest classes", direction=_UP, tasks=_MANY),
    Metric(
        name="pinball",
        title="mean pinball loss of the 5 % and 95 % ends of conformal intervals",
        direction=_DOWN,
        unit="target",
        tasks=_NUMBERS,
        phases=_RELEASE,
        high=None,
    ),
    Metric(
        name="coverage",
        title="share of rows whose truth lies in the conformal set or interval of 90 %",
        direction=_UP,
        kind=_PROBE,
        phases=_RELEASE,
    ),
    Metric(
        name="set_size",
        title="mean number of labels in the conformal set of 90 %",
        direction=_DOWN,
        kind=_PROBE,
        tasks=_CLASSES,
        phases=_RELEASE,
        high=None,
    ),
    Metric(
        name="referred",
        title="share of rows that would be referred to a person",
        direction=_DOWN,
        kind=_PROBE,
        phases=_RELEASE,
    ),
    Metric(
        name="outside_support",
        title="share of rows unlike those that the model was trained on",
        direction=_DOWN,
        kind=_PROBE,
        phases=_RELEASE,
    ),
    Metric(
        name="label_errors",
        title="share of labels that the rest of the data contradicts",
        direction=_DOWN,
        kind=_PROBE,
        tasks=_CLASSES,
        phases=_RELEASE,
    ),
    Metric(
        name="pitfalls",
        title="pitfalls that are proven, leaks apart",
        direction=_DOWN,
        kind=_PROBE,
        unit="count",
        phases=_RELEASE,
        high=None,
    ),
    Metric(
        name="questions",
        title="suspicions that no attestation has answered",
        direction=_DOWN,
        kind=_PROBE,
        unit="count",
        phases=_RELEASE,
        high=None,
    ),
    Metric(
        name="crashes",
        title="kinds of bad input that crash the model or get no finite answer",
        direction=_DOWN,
        kind=_PROBE,
        unit="count",
        phases=_RELEASE,
        high=None,
    ),
    Metric(
        name="robust_flips",
        title="share of decisions that a fault in the input changes",
        direction=_DOWN,
        kind=_PROBE,
        tasks=_CLASSES,
        phases=_RELEASE,
        cut="fault",
    ),
    Metric(
        name="robust_drop",
        title="skill (R²) that a fault in the input costs",
        direction=_DOWN,
        kind=_PROBE,
        phases=_RELEASE,
        low=None,
        high=None,
        cut="fault",
    ),
    Metric(
        name="weak_slices",
        title="groups of rows on which the model is provably worse",
        direction=_DOWN,
        kind=_PROBE,
        unit="count",
        phases=_RELEASE,
        high=None,
    ),
    *(
        Metric(
            name=f"{name}_{form}",
            title=title.format(words),
            direction=way,
            kind=_PROBE,
            tasks=_BINARY,
            phases=_RELEASE,
            cut="protected",
        )
        for name, title in (
            ("demographic_parity", "{} between protected groups' shares of positive decisions"),
            ("equal_opportunity", "{} between protected groups' recalls"),
            ("equalized_odds", "{} between protected groups, of recalls or of false alarms, the worse"),
        )
        for form, words, way in (("difference", "greatest difference", _DOWN), ("ratio", "smallest ratio", _UP))
    ),
    Metric(
        name="group_calibration_difference",
        title="greatest difference between protected groups' gaps of mean probability and frequency",
        direction=_DOWN,
        kind=_PROBE,
        tasks=_BINARY,
        phases=_RELEASE,
        cut="protected",
    ),
    Metric(
        name="group_error_difference",
        title="greatest difference between protected groups' errors (share of wrong decisions, mean absolute error)",
        direction=_DOWN,
        kind=_PROBE,
        phases=_RELEASE,
        high=None,
        cut="protected",
    ),
    Metric(
        name="churn",
        title="share of decisions that two trainings disagree on",
        direction=_DOWN,
        kind=_PROBE,
        tasks=_CLASSES,
        phases=_RELEASE,
        cut="trainings",
    ),
    Metric(
        name="training_spread",
        title="standard deviation of skill (R²) between trainings",
        direction=_DOWN,
        kind=_PROBE,
        phases=_RELEASE,
        high=None,
        cut="trainings",
    ),
    Metric(
        name="staleness",
        title="skill (R²) that a model loses over the time that the rows span",
        direction=_DOWN,
        kind=_PROBE,
        phases=_RELEASE,
        low=None,
        high=None,
    ),
    Metric(
        name="irreproducibility",
        title="greatest difference between the scores of two trainings with the same seed",
        direction=_DOWN,
        kind=_PROBE,
        phases=_RELEASE,
        high=None,
    ),
    Metric(
        name="ml_test_score",
        title="points of the ML Test Score, the least of its four sections",
        direction=_UP,
        kind=_PROBE,
        phases=_RELEASE,
        high=7.0,
    ),
    Metric(
        name="overfit_gap",
        title="loss on unseen rows above loss in training, as a share of the base loss",
        direction=_DOWN,
        kind=_PROBE,
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
        name="latency_p95",
        title="95 of 100 single-row predictions are faster",
        direction=_DOWN,
        kind=MetricKind.COST,
        unit="ms",
        high=None,
    ),
    Metric(
        name="latency_p99_batch",
        title="99 of 100 predictions of 64 rows are faster",
        direction=_DOWN,
        kind=MetricKind.COST,
        unit="ms",
        phases=_RELEASE,
        high=None,
    ),
    Metric(
        name="throughput",
        title="rows a second on one core, 64 at a time",
        direction=_UP,
        kind=MetricKind.COST,
        unit="rows/s",
        phases=_RELEASE,
        high=None,
    ),
    Metric(
        name="cold_start",
        title="from a fresh process to the first prediction",
        direction=_DOWN,
        kind=MetricKind.COST,
        unit="ms",
        phases=_RELEASE,
        high=None,
    ),
    Metric(
        name="memory",
        title="resident memory of a fresh process that predicts",
        direction=_DOWN,
        kind=MetricKind.COST,
        unit="bytes",
        phases=_RELEASE,
        high=None,
    ),
    Metric(
        name="availability",
        title="share of requests that got an answer",
        direction=_UP,
        kind=MetricKind.CONDUCT,
        phases=_SERVED,
    ),
    *LIVE_METRICS,
)

CATALOGUE: dict[str, Metric] = {metric.name: metric for metric in _METRICS}
"""Every metric by name."""


def metric_named(name: str, *, where: str = "") -> Metric:
    """The metric of that name; UnknownName carries the nearest and all known ones."""
    try:
        return CATALOGUE[name]
    except KeyError:
        raise UnknownName("metric", name, CATALOGUE, where=where) from None
