"""How good the answers of a window probably are, before its labels are there, or with a few of them.

In: rows of one version, the estimator in its bundle. Out: measurements whose ``method`` begins with "estimated". Laws:
with labels of some rows these count (prediction-powered inference); where nothing can be said, that says why; a bundle
without an estimator says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.measures.estimation import EstimatorState, Telling, estimated_of, estimated_slices, rectified
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.records.project import Task
from roadworthy.stages.measuring import measurable
from roadworthy.stages.watching.observed import labelled, score_matrix
from roadworthy.stages.watching.quality import FEWEST, slices_for
from roadworthy.stages.watching.watched import Watched
from roadworthy.standard import Requirement

__all__ = ["Estimates"]

_NONE = "its bundle has no estimator: it was packaged from too few labelled rows, or by an earlier Roadworthy"


class Estimates:
    """Estimates of the rows that a version answered, for whatever requirements ask, at whatever confidence."""

    def __init__(self, watched: Watched, rows: pl.DataFrame) -> None:
        self._watched, self._rows = watched, rows

    def __call__(self, required: Sequence[Requirement]) -> tuple[Measurement, ...]:
        """One measurement for each requirement on quality (and group)."""
        asked = [item for item in required if measurable(item.metric, self._watched.contract.task)]
        state = self._watched.estimator
        if state is None:
            return tuple(_silent(item, f"cannot estimate: {_NONE}") for item in asked)
        if not self._rows.height:
            return tuple(_silent(item, "cannot estimate: no row") for item in asked)
        absent = sorted({one.name for one in state.learned.binning.columns} - set(self._rows.columns))
        if absent:
            why = f"cannot estimate: the prediction log does not hold {', '.join(absent)}, which the estimator reads"
            return tuple(_silent(item, why) for item in asked)
        return tuple(one for item in asked for one in self._estimated(state, item))

    def _estimated(self, state: EstimatorState, item: Requirement) -> tuple[Measurement, ...]:
        if item.slice:
            return self._sliced(state, item)
        places, outcome = self._labels
        if FEWEST <= len(outcome) < self._rows.height:
            rows, metrics = self._rows, [item.metric]
            return rectified(
                state, self._scores, places, outcome, frame=rows, metrics=metrics, confidence=item.confidence
            )
        return estimated_of(self._telling, [item.metric], confidence=item.confidence)

    def _sliced(self, state: EstimatorState, item: Requirement) -> tuple[Measurement, ...]:
        cut = slices_for(self._watched, self._rows, [item]).get(item.slice)
        if cut is None or item.slice not in self._rows.columns:
            return (_silent(item, f"cannot estimate: nothing can be sliced by {item.slice}"),)
        return estimated_slices(
            state,
            self._scores,
            cut.labels(self._rows[item.slice]),
            item.slice,
            item.metric,
            frame=self._rows,
            expected=cut.groups,
            confidence=item.confidence,
        )

    @cached_property
    def _scores(self) -> NDArray[np.float64]:
        task = self._watched.contract.task
        score = score_matrix(self._rows, task)
        return score if task is Task.REGRESSION else np.clip(score, 0.0, 1.0)

    @cached_property
    def _labels(self) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Where the rows are whose outcome is known, and what it is."""
        known, outcome, _ = labelled(self._rows.with_row_index("_place"), self._watched.contract)
        return known.get_column("_place").to_numpy().astype(np.int64), outcome

    @cached_property
    def _telling(self) -> Telling:
        assert self._watched.estimator is not None  # noqa: S101 - asked before
        return Telling(self._watched.estimator, self._scores, self._rows)


def _silent(item: Requirement, why: str) -> Measurement:
    return Measurement(
        metric=item.metric,
        phase=Phase.LIVE,
        slice=f"{item.slice}=?" if item.slice else "",
        confidence=item.confidence,
        method="estimated",
        insufficient=why,
    )
