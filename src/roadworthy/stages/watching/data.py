"""What the rows of a window look like beside the training part: comparisons at each look back, and what they mean.

In: sketches of the window and of the blocks that end with it. Out: ``Shift``s and signals. Law: a comparison that
breaks is a ``Shift`` with ``error``, and an alarm of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roadworthy.measures.alarms.budget import Allotment, Family
from roadworthy.measures.alarms.deciding import Compared, data_signals, rulings
from roadworthy.measures.alarms.scales import Look
from roadworthy.measures.drift import compared
from roadworthy.measures.sketches import Reference
from roadworthy.records.alert import Signal
from roadworthy.records.contract import ColumnType
from roadworthy.records.shift import Shift
from roadworthy.stages.watching.watched import Watched

__all__ = ["comparisons", "data_members", "signals_of_data"]


def data_members(watched: Watched) -> dict[Family, int]:
    """How many charts the columns and scores make, by family."""
    columns = max(1, len(watched.reference.numbers) + len(watched.reference.categories))
    scores = max(1, len(watched.scores.scores))
    return {
        Family.SCORE: scores,
        Family.COLUMNS: columns,
        Family.TOGETHER: 1,
        Family.MISSING: columns + scores,
        Family.NEW: columns + scores,
    }


def comparisons(watched: Watched, looks: Sequence[Look], seconds: Mapping[int, float]) -> tuple[Compared, ...]:
    """Every look compared with the reference. ``seconds`` maps a scale to the time that its windows cover."""
    return tuple(
        Compared(
            block=look.block,
            seconds=seconds[look.block.scale],
            shifts=() if look.sketch is None else _compared(watched, look.sketch),
        )
        for look in looks
        if look.block.scale in seconds
    )


def signals_of_data(
    found: Sequence[Compared], allotment: Allotment, *, at_us: int, source: str, standing: Mapping[str, int]
) -> tuple[Signal, ...]:
    """One signal for each rule about data."""
    return data_signals(rulings(found, allotment), at_us=at_us, source=source, standing=standing)


def _compared(watched: Watched, current: Reference) -> tuple[Shift, ...]:
    contract = watched.contract
    times = [name for name, column in contract.contract.columns.items() if column.type is ColumnType.TIME]
    return compared(watched.like(current), current, classes=contract.classes, times=times)
