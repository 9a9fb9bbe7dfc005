"""How large a change is, between 0 and 1 and alike for every column, without what chance adds.

In: counts by cell. Out: the share of rows that would have to change their cell. Law: of two samples of one law it is
near 0 at any number of rows.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from roadworthy.measures.drift.cells import Cells, Floats
from roadworthy.records.shift import ShiftKind

__all__ = ["EFFECT_FLOOR", "excess", "grouped", "moved"]

EFFECT_FLOOR = MappingProxyType(
    {
        ShiftKind.DISTRIBUTION: 0.11,
        ShiftKind.MISSING: 0.02,
        ShiftKind.NEW: 0.02,
        ShiftKind.TOGETHER: 0.1,
    }
)
"""Below this effect a proven change is reported, not alarmed: by default, and by kind of change.

A distribution: one row in ten lies elsewhere than it would have. A mean moved by a quarter of a standard deviation is
there (0.10), one moved by 0.3 above it (0.12), a label that fell from 31 % to 4 % far above (0.27). Census rows of
three following years, windows of 1,000 to 5,000, whose columns differ from the first year by p-value while quality
stays, lie below it. Missing and new values are faults of delivery more often than of the world, and a model meets them
blindly: two rows in a hundred. Together: half the change of a rank correlation, so that 0.6 which becomes 0.4 is on it.
"""

_GROUP = 0.1
_RARE = 0.01


def grouped(cells: Cells) -> tuple[Floats, Floats, list[list[int]]]:
    """Counts of the old and the new rows in few cells, and which cells each is made of.

    Neighbouring bins are joined until a tenth of the rows is in them; labels below one in a hundred are put together.
    """
    pooled = (cells.old / max(cells.old.sum(), 1.0) + cells.new / max(cells.new.sum(), 1.0)) / 2
    groups: list[list[int]] = []
    if cells.ordered:
        room = 0.0
        for index, share in enumerate(pooled):
            if not groups or room >= _GROUP:
                groups.append([])
                room = 0.0
            groups[-1].append(index)
            room += share
    else:
        often = [index for index, share in enumerate(pooled[:-1]) if share >= _RARE]
        rest = sorted(set(range(len(pooled))) - set(often))
        groups = [[index] for index in often] + [rest]
    old, new = (np.array([side[group].sum() for group in groups]) for side in (cells.old, cells.new))
    return old, new, groups


def moved(old: Floats, new: Floats, wider: float) -> float:
    """Total variation distance of two rows of counts, less what chance adds to it.

    Chance adds in squares, as it does to any distance: the expected distance under no change (each cell's mean absolute
    normal deviation) is taken off so.
    """
    n, m = float(old.sum()), float(new.sum())
    if not n or not m:
        return 0.0
    distance = float(np.abs(old / n - new / m).sum()) / 2
    share = (old + new) / (n + m)
    chance = float(np.sqrt(2 / np.pi * wider * share * (1 - share) * (1 / n + 1 / m)).sum()) / 2
    return min(1.0, float(np.sqrt(max(0.0, distance**2 - chance**2))))


def excess(old: float, old_rows: float, new: float, new_rows: float, wider: float) -> float:
    """``moved`` of one share."""
    return moved(np.array([old, old_rows - old]), np.array([new, new_rows - new]), wider)
