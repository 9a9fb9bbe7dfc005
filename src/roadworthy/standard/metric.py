"""A metric: its name, its direction, and where its evidence comes from.

Owns the nouns of the catalogue. A metric's direction decides how a bound is read, so that getting better is never a
failure.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from roadworthy.records.evidence import Phase
from roadworthy.records.project import Task

__all__ = ["Direction", "Metric", "MetricKind"]


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
    PROBE = "probe"  # the model asked more than the rows themselves: on changed rows, by group, trained again


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One entry: ``unit`` is a base unit of ``units``; ``low``/``high`` bound the possible values.

    ``cut`` is the name that a requirement may give as ``slice`` although it is no column: what the metric itself is
    measured by (each kind of fault in the input, each protected column). ``per_class`` marks a metric that speaks of
    one class: with more than two it is required by class, ``slice`` naming the target.
    """

    name: str
    title: str
    direction: Direction
    kind: MetricKind = MetricKind.QUALITY
    unit: str = ""
    tasks: tuple[Task, ...] = tuple(Task)
    phases: tuple[Phase, ...] = tuple(Phase)
    low: float | None = 0.0
    high: float | None = 1.0
    cut: str = ""
    per_class: bool = False
