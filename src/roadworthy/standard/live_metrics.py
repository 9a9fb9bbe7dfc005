"""The metrics of the catalogue that only live traffic has: how the service behaves, and what its log and feedback show.

``measures.operations`` measures them.
"""

from __future__ import annotations

from typing import Any

from roadworthy.records.evidence import Phase
from roadworthy.standard.metric import Direction, Metric, MetricKind

__all__ = ["LIVE_METRICS"]


def _conduct(name: str, title: str, **more: Any) -> Metric:
    """Of the service itself; less is better unless it says otherwise."""
    facts = {"direction": Direction.DOWN, "kind": MetricKind.CONDUCT, "phases": (Phase.LIVE,), **more}
    return Metric(name=name, title=title, **facts)


def _data(name: str, title: str, **more: Any) -> Metric:
    """Of the rows and labels."""
    return _conduct(name, title, **{"kind": MetricKind.DATA, **more})


LIVE_METRICS: tuple[Metric, ...] = (
    _conduct("error_rate", "share of requests that end in a fault of the server"),
    _conduct("shed_share", "share of requests that are turned away under load"),
    _conduct("fallback_share", "share of rows that another version or the declared constant answers"),
    _conduct("referred_share", "share of rows that are left to a person"),
    _conduct("log_lost_share", "share of predictions that could not be logged"),
    _conduct(
        "traffic", "rows a second that are answered, over all servers", direction=Direction.UP, unit="rows/s", high=None
    ),
    _conduct("worker_memory", "greatest resident memory of a worker", unit="bytes", high=None),
    _conduct(
        "memory_growth", "bytes a day by which the resident memory of a worker grows", unit="bytes", low=None, high=None
    ),
    _conduct("processor", "processor time of the busiest worker, as a share of one core", high=None),
    _conduct("in_flight", "most requests that are answered at a time", unit="count", high=None),
    _conduct("worker_starts", "starts of workers", unit="count", high=None),
    _conduct("breaker_open", "share of readings at which a version is left alone"),
    _conduct("model_age", "time since the version in service was made", unit="ms", high=None),
    _data("freshness", "time since the newest prediction in the log", unit="ms", high=None),
    _data("missing_share", "share of rows that lack a value", cut="column"),
    _data("label_share", "share of predictions whose label has come", direction=Direction.UP),
    _data("label_delay", "time within which half of the labels came that have come", unit="ms", high=None),
    _data("reported_wrong", "share of decisions that feedback contradicts"),
)
"""In the order in which people read them."""
