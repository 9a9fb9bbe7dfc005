"""From a sample of scored, labelled rows to the measurements that requirements ask for.

In: a ``Sample``, the rows behind it, the requirements. Out: ``Measurement``s, over all rows and by slice. Both the
validate stage and ``inspect`` measure here. Law: what cannot be measured leaves a measurement that says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import polars as pl

from roadworthy.errors import DataError
from roadworthy.measures.quality import METRICS, PER_CLASS, class_measure, measure_safely, metrics_for, slice_measure
from roadworthy.measures.samples import Sample
from roadworthy.records.evidence import Measurement
from roadworthy.records.project import Task
from roadworthy.stages.validate_rows import Slices
from roadworthy.standard.requirement import Requirement

__all__ = ["confidence_of", "measurable", "measured", "measurements"]


def measurable(metric: str, task: Task) -> bool:
    """Whether predictions beside labels are enough for this metric, over all rows or, with many classes, by class."""
    return metric in METRICS and (task in METRICS[metric][1] or (metric in PER_CLASS and task is Task.MULTICLASS))


def confidence_of(metric: str, required: Sequence[Requirement], column: str = "") -> float:
    """The greatest confidence that a requirement on this metric and slice asks for."""
    asked = [item.confidence for item in required if item.metric == metric and item.slice == column]
    return max(asked, default=0.95)


def measured(
    sample: Sample,
    rows: pl.DataFrame,
    required: Sequence[Requirement],
    slices: Mapping[str, Slices] = MappingProxyType({}),
) -> list[Measurement]:
    """One measurement per required metric, one per group where it is required by slice.

    ``slices`` says how columns are cut into groups (``Labelled.slices``); any other is cut by these rows themselves.
    A metric of one class, sliced by the target, is measured for each class against all others.
    """
    found: list[Measurement] = []
    for metric, column in dict.fromkeys((item.metric, item.slice) for item in required):
        confidence = confidence_of(metric, required, column)
        if column:
            found += _sliced(metric, sample, rows, column, slices.get(column), confidence)
        else:
            found.append(measure_safely(metric, sample, confidence=confidence))
    return found


def _sliced(  # noqa: PLR0917 - what is sliced, by what, and how sure one must be
    metric: str, sample: Sample, rows: pl.DataFrame, column: str, cut: Slices | None, confidence: float
) -> tuple[Measurement, ...]:
    """Per group of a column; a column that cannot be sliced by leaves a measurement that says why."""
    if column not in rows.columns:
        fault = f"column {column} is not in the feature table, so nothing can be sliced by it"
        return (Measurement(metric=metric, slice=f"{column}=?", confidence=confidence, error=fault),)
    try:
        if metric in PER_CLASS and _tells_the_class(rows[column], sample):
            return class_measure(metric, sample, column, confidence=confidence)
        cut = cut or Slices.learned(rows[column])
        groups = cut.labels(rows[column])
        return slice_measure(metric, sample, groups, column, expected=cut.groups, confidence=confidence)
    except DataError as error:
        return (Measurement(metric=metric, slice=f"{column}=?", confidence=confidence, error=str(error)),)


def _tells_the_class(column: pl.Series, sample: Sample) -> bool:
    """Whether a column says the same as the outcome in every row, whatever it is called: value and class in pairs."""
    if sample.task is Task.REGRESSION or column.null_count():
        return False
    pairs = pl.DataFrame({"value": column, "class": sample.y})
    return pairs.n_unique() == pairs["value"].n_unique() == pairs["class"].n_unique() > 1


def measurements(
    sample: Sample,
    rows: pl.DataFrame,
    required: Sequence[Requirement],
    slices: Mapping[str, Slices] = MappingProxyType({}),
) -> list[Measurement]:
    """Everything the task has, and the required slices, cut as ``measured`` does."""
    names = metrics_for(sample.task)
    everything = [measure_safely(name, sample, confidence=confidence_of(name, required)) for name in names]
    sliced = [item for item in required if item.slice and measurable(item.metric, sample.task)]
    return [*everything, *measured(sample, rows, sliced, slices)]
