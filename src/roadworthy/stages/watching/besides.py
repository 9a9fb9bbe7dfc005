"""What is shown of every window besides what is required: rates, calibration, quality by group, and other versions.

In: the rows of a window, what operations showed. Out: measurements, and one ``Beside`` for each other version with
rows enough. Laws: nothing here is judged by a requirement that nobody made, and none of it alarms; a part that breaks
is a measurement with ``error``; a column has at most 20 groups here, the most frequent ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec
import polars as pl

from roadworthy.measures.drift import compared
from roadworthy.measures.quality import METRICS
from roadworthy.measures.sketches import Reference, sketch_scores
from roadworthy.records.evidence import Evidence, Measurement, Phase
from roadworthy.records.project import Task
from roadworthy.records.shift import Shift
from roadworthy.records.verdict import Waiver
from roadworthy.records.window import Beside
from roadworthy.stages.measuring import measurable
from roadworthy.stages.watching.judging import Measure, guarded
from roadworthy.stages.watching.observed import score_matrix, scored
from roadworthy.stages.watching.quality import FEWEST, realised
from roadworthy.stages.watching.watched import Watched
from roadworthy.standard import CATALOGUE, Requirement, Standard, judge

__all__ = ["FEWEST_ROWS", "SHOWN", "beside", "shown_besides"]

SHOWN = "shown"
"""``Measurement.check`` of what no requirement asks for."""

FEWEST_ROWS = 100
"""Rows below which another version is only counted."""

_RATES = ("referred_share", "fallback_share", "quarantined_share", "reported_wrong", "label_share")
_USUAL = {Task.BINARY: ("accuracy",), Task.MULTICLASS: ("accuracy",), Task.REGRESSION: ("mae",)}
_MOST_METRICS, _MOST_LEVELS = 3, 20


def shown_besides(watched: Watched, own: pl.DataFrame, operations: Measure) -> tuple[Measurement, ...]:
    """Refusal, fallback and report rates, calibration, and quality by protected group and declared slice.

    ``own`` are the rows that the version answered. What a requirement asks for already is not measured twice.
    """
    asked = {(item.metric, item.slice) for item in watched.required}
    task = watched.contract.task
    rates = [_any(name) for name in _RATES if (name, "") not in asked and name in CATALOGUE]
    overall = [] if task is Task.REGRESSION or ("calibration_error", "") in asked else [_any("calibration_error")]
    found = list(operations(rates))
    found += guarded(lambda required: realised(watched, own, required), "measuring calibration")(overall)
    for column in _columns(watched, own):
        wanted = [_any(name, column) for name in _by_group(watched) if (name, column) not in asked]
        rows = _frequent(own, column)

        def measure(required: Sequence[Requirement], rows: pl.DataFrame = rows) -> tuple[Measurement, ...]:
            return realised(watched, rows, required)

        found += guarded(measure, f"measuring quality by {column}")(wanted)
    return tuple(msgspec.structs.replace(_enough(one), check=SHOWN) for one in found)


def beside(other: Watched, rows: pl.DataFrame, *, waivers: Sequence[Waiver] = (), today: date | None = None) -> Beside:
    """Another version in the rows of a window: its quality and its scores, held to its own bundle."""
    own = other.own(rows)
    quality = tuple(item for item in other.required if item.metric in METRICS)
    have = scored(own, other.contract.task)
    seen = guarded(lambda asked: realised(other, have, asked), "measuring quality")(quality)
    verdict = judge(
        Standard(preset="none", requirements=quality, alarm_budget=other.plan.alarm_budget),
        Evidence(subject=other.subject, holdout="", measurements=seen),
        phase=Phase.LIVE,
        waivers=waivers,
        today=today,
    )
    return Beside(
        version=other.title,
        rows=own.height,
        labelled=int(own.get_column("_labelled_at").count()),
        measurements=seen,
        shifts=_of_scores(other, own),
        verdict=verdict,
    )


def _enough(one: Measurement) -> Measurement:
    """A group of few labels is insufficient: any interval would be nearly everything."""
    if not one.slice or one.n >= FEWEST or one.value is None:
        return one
    why = f"{one.n} labels of this group are known; at least {FEWEST} are needed"
    return msgspec.structs.replace(one, value=None, lower=None, upper=None, insufficient=why)


def _of_scores(other: Watched, own: pl.DataFrame) -> tuple[Shift, ...]:
    reference = other.reference
    reference = msgspec.structs.replace(reference, numbers={}, categories={}, joint=None)
    scores = sketch_scores(score_matrix(own, other.contract.task), like=reference.scores)
    return compared(reference, Reference(rows=own.height, scores=scores), classes=other.contract.classes)


def _any(metric: str, column: str = "") -> Requirement:
    """A requirement that asks for a measurement and is judged by nobody."""
    return Requirement(metric=metric, at_most=1.0, slice=column, phases=(Phase.LIVE,))


def _columns(watched: Watched, own: pl.DataFrame) -> list[str]:
    """Protected columns and those that are sliced by, as far as the log holds them."""
    named = dict.fromkeys((*watched.contract.protected, *watched.groups))
    return [name for name in named if name in own.columns and name != watched.contract.target]


def _by_group(watched: Watched) -> tuple[str, ...]:
    """The metrics that are shown by group: those that are required over all rows, at most three."""
    task = watched.contract.task
    required = dict.fromkeys(
        item.metric for item in watched.required if not item.slice and measurable(item.metric, task)
    )
    return tuple(required)[:_MOST_METRICS] or _USUAL[task]


def _frequent(own: pl.DataFrame, column: str) -> pl.DataFrame:
    """The rows of the most frequent values; all of them where values are few, or numbers that are cut in quarters."""
    values = own.get_column(column)
    if values.dtype.is_numeric() or values.n_unique() <= _MOST_LEVELS:
        return own
    counts = values.drop_nulls().value_counts(name="rows").sort(["rows", column], descending=[True, False])
    return own.filter(pl.col(column).is_in(counts.get_column(column).head(_MOST_LEVELS).implode()))
