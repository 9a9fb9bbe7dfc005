"""How good the answers of some rows were: from labels where they have come, estimated where they have not.

In: rows of one version, the live requirements on quality. Out: measurements of phase live. Laws: each requirement on
quality is answered by at least one measurement, and where nothing can be said, that says why; what was estimated is
never passed off as seen (its ``method`` begins with "estimated").
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl

from roadworthy.measures.sketches import NumberSketch
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.stages.measuring import measurable, measured
from roadworthy.stages.validate_rows import Slices
from roadworthy.stages.watching.observed import labelled, sample_of
from roadworthy.stages.watching.watched import Watched
from roadworthy.standard import Requirement

__all__ = ["FEWEST", "realised", "slices_for"]

FEWEST = 30
"""Labels below which nothing is said: any interval would be nearly everything."""


def realised(watched: Watched, rows: pl.DataFrame, required: Sequence[Requirement]) -> tuple[Measurement, ...]:
    """Quality of the rows whose outcome is known, one measurement for each requirement on quality (and group)."""
    asked = [item for item in required if measurable(item.metric, watched.contract.task)]
    if not asked:
        return ()
    if not rows.height:
        return tuple(_unknown(item, 0, 0) for item in asked)
    known, outcome, strange = labelled(rows, watched.contract)
    if len(outcome) < FEWEST:
        return tuple(_unknown(item, len(outcome), rows.height) for item in asked)
    sample = sample_of(known, outcome, watched.contract, watched.columns)
    there = [item for item in asked if not item.slice or item.slice in known.columns]
    absent = [item for item in asked if item.slice and item.slice not in known.columns]
    found = measured(sample, known, there, slices_for(watched, known, there))
    reason = f"{strange:,} labels name a class that {watched.title} does not know" if strange else ""
    live = [_live(one, reason) for one in found]
    return (*live, *(_unlogged(item) for item in absent))


def slices_for(watched: Watched, rows: pl.DataFrame, required: Sequence[Requirement]) -> dict[str, Slices]:
    """How each column that is required by slice is cut: in the groups that the release was judged by."""
    cuts: dict[str, Slices] = {}
    for column in {item.slice for item in required if item.slice in rows.columns}:
        numbers = watched.columns.numbers.get(column)
        groups = watched.groups.get(column, ())
        if numbers is not None and any(" of " in group for group in groups):
            cuts[column] = Slices(groups, _quarters(numbers))
        elif groups:
            cuts[column] = Slices(groups)
    return cuts


def _quarters(numbers: NumberSketch) -> tuple[float, ...]:
    """Where the quarters of the training part begin."""
    counts = np.cumsum(numbers.counts)
    places = np.searchsorted(counts, np.array([0.25, 0.5, 0.75]) * counts[-1], side="right")
    return tuple(sorted({numbers.edges[min(int(place), len(numbers.edges) - 1)] for place in places}))


def _live(one: Measurement, reason: str) -> Measurement:
    said = "; ".join(part for part in (one.reason, reason) if part)
    return msgspec.structs.replace(one, phase=Phase.LIVE, reason=said)


def _unknown(item: Requirement, labels: int, rows: int) -> Measurement:
    return Measurement(
        metric=item.metric,
        n=labels,
        phase=Phase.LIVE,
        slice=f"{item.slice}=?" if item.slice else "",
        confidence=item.confidence,
        insufficient=f"of {rows:,} rows the outcome of {labels:,} is known; at least {FEWEST} are needed",
    )


def _unlogged(item: Requirement) -> Measurement:
    return Measurement(
        metric=item.metric,
        phase=Phase.LIVE,
        slice=f"{item.slice}=?",
        confidence=item.confidence,
        insufficient=f"the prediction log does not hold {item.slice}, so nothing can be sliced by it",
    )
