"""What a bundle carries to estimate quality before labels come.

In: scored rows that the model was not trained on, with their outcomes. Out: ``reference/estimator.json``. Laws: none
where there are too few rows; no row and no value of a hidden column is in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from roadworthy.measures.estimation import MIN_REFERENCE_ROWS, estimator_bytes, fit_estimator
from roadworthy.measures.samples import Sample
from roadworthy.records.project import ProjectSpec, Task
from roadworthy.stages.package_reference import hidden_columns

__all__ = ["ESTIMATOR", "estimator_file"]

ESTIMATOR = "estimator.json"


def estimator_file(
    spec: ProjectSpec, sample: Sample, rows: pl.DataFrame, inputs: Sequence[str], *, threshold: float | None
) -> dict[str, bytes]:
    """The file by name; row i of ``rows`` stands behind row i of ``sample``.

    ``inputs`` are the graph's columns, which is what the prediction log holds of a row. The newest rows come last where
    there is a time.
    """
    if sample.n < MIN_REFERENCE_ROWS:
        return {}
    if spec.data.time in rows.columns:
        order = rows.get_column(spec.data.time).arg_sort(nulls_last=False)
        sample, rows = sample.take(order.to_numpy().astype(np.int64)), rows[order]
    if spec.task is Task.BINARY and threshold is not None:
        sample = sample.at(threshold)
    apart = hidden_columns(spec) | {spec.target, spec.data.time, *spec.data.exclude}
    read = [name for name in inputs if name in rows.columns and name not in apart]
    return {ESTIMATOR: estimator_bytes(fit_estimator(sample, rows, read))}
