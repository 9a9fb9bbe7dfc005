"""How good the answers of a window probably are, before its labels are there, or with a few of them.

In: rows of one version, the estimator in its bundle. Out: measurements whose ``method`` begins with "estimated". Laws:
with labels of some rows these count (prediction-powered inference); where nothing can be said, that says why; a bundle
without an estimator says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from roadworthy.measures.estimation import EstimatorState, estimated, estimated_slices, rectified
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.records.project import Task
from roadworthy.stages.measuring import measurable
from roadworthy.stages.watching.observed import labelled, score_matrix
from roadworthy.stages.watching.quality import FEWEST, slices_for
from roadworthy.stages.watching.watched import Watched
from roadworthy.standard import Requirement

__all__ = ["estimates"]

_NONE = "its bundle has no estimator: it was packaged from too few labelled rows, or by an earlier Roadworthy"


def estimates(watched: Watched, rows: pl.DataFrame, required: Sequence[Requirement]) -> tuple[Measurement, ...]:
    """One measurement for each requirement on quality (and group)."""
    asked = [item for item in required if measurable(item.metric, watched.contract.task)]
    state = watched.estimator
    if state is None:
        return tuple(_silent(item, f"cannot estimate: {_NONE}") for item in asked)
    if not rows.height:
        return tuple(_silent(item, "cannot estimate: no row") for item in asked)
    return tuple(one for item in asked for one in _estimate(watched, state, rows, item))


def _estimate(watched: Watched, state: EstimatorState, rows: pl.DataFrame, item: Requirement) -> Iterator[Measurement]:
    scores = _scores(watched, rows)
    if item.slice:
        cut = slices_for(watched, rows, [item]).get(item.slice)
        if cut is None or item.slice not in rows.columns:
            yield _silent(item, f"cannot estimate: nothing can be sliced by {item.slice}")
            return
        groups = cut.labels(rows[item.slice])
        yield from estimated_slices(
            state,
            scores,
            groups,
            item.slice,
            item.metric,
            frame=rows,
            expected=cut.groups,
            confidence=item.confidence,
        )
        return
    known, outcome, _ = labelled(rows.with_row_index("_place"), watched.contract)
    if FEWEST <= len(outcome) < rows.height:
        places = known.get_column("_place").to_numpy()
        yield from rectified(
            state, scores, places, outcome, frame=rows, metrics=[item.metric], confidence=item.confidence
        )
        return
    yield from estimated(state, scores, frame=rows, metrics=[item.metric], confidence=item.confidence)


def _scores(watched: Watched, rows: pl.DataFrame) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    score = score_matrix(rows, watched.contract.task)
    return score if watched.contract.task is Task.REGRESSION else np.clip(score, 0.0, 1.0)


def _silent(item: Requirement, why: str) -> Measurement:
    return Measurement(
        metric=item.metric,
        phase=Phase.LIVE,
        slice=f"{item.slice}=?" if item.slice else "",
        confidence=item.confidence,
        method="estimated",
        insufficient=why,
    )
