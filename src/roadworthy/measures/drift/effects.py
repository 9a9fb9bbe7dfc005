"""How large a change is, between 0 and 1 and alike for every column, without what chance adds.

In: counts by cell. Out: the share of rows that would have to change their cell, if the column were a normal one that is
as easy to tell from what it was; and how likely chance alone makes it that large. Law: of two samples of one law it is
near 0 at any number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
from scipy.special import chdtrc, ndtr, ndtri

from roadworthy.measures.drift.cells import Cells, Floats
from roadworthy.records.shift import Shift, ShiftKind

__all__ = ["EFFECT_FLOOR", "by_chance", "chances", "excess", "grouped", "moved"]

EFFECT_FLOOR = MappingProxyType(
    {
        ShiftKind.DISTRIBUTION: 0.06,
        ShiftKind.MISSING: 0.02,
        ShiftKind.NEW: 0.02,
        ShiftKind.TOGETHER: 0.05,
    }
)
"""Below this effect a proven change is reported, not alarmed: by default, and by kind of change.

A distribution: six rows in a hundred lie elsewhere than they would have; a mean moved by 0.15 standard deviations, a
rate of 5 % that became 9 %. Cohen (1988) calls 0.2 standard deviations small. Census rows of three following years,
whose columns differ from the first year by p-value while quality stays, lie below it (0.05). Missing and new values are
faults of delivery more often than of the world, and a model meets them blindly: two rows in a hundred. Together: half
the change of a rank correlation, so that 0.6 which becomes 0.5 is on it.
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
    """The share of rows that moved, counted so that a rare value which becomes twice as frequent is no trifle.

    The distance of Bhattacharyya (1943), −ln Σ √(p q), of two normal laws of one spread is an eighth of the square of
    what lies between their means in standard deviations, d. So of any two rows of counts it gives a d; and 2 Φ(d/2) − 1
    is the share of rows that moved (the total variation distance) between such normal laws. Chance adds to d² what a
    chi-square expects, which is taken off.
    """
    n, m = float(old.sum()), float(new.sum())
    if not n or not m:
        return 0.0
    alike = float(np.sqrt(old / n * (new / m)).sum())
    if alike <= 0:
        return 1.0
    chance = (len(old) - 1) * wider * (1 / n + 1 / m)
    between = np.sqrt(max(0.0, -8 * np.log(min(alike, 1.0)) - chance))
    return float(2 * ndtr(between / 2) - 1)


def by_chance(shift: Shift, floor: float, *, times: float = 1.0) -> float:
    """How likely the effect of a distribution reaches ``floor`` where nothing changed, at ``times`` as many rows.

    That of a chi-square, which −8 ln Σ √(p q) follows up to the number of rows; 1 where the comparison does not say of
    how many groups of cells it is.
    """
    return float(chances([shift], floor, [times])[0, 0])


def chances(shifts: Sequence[Shift], floor: float, times: Sequence[float]) -> Floats:
    """``by_chance`` of many comparisons at many numbers of rows, [times, shifts]: 500 columns at once."""
    known = [_told_of(shift) for shift in shifts]
    groups, window, reference, wider = np.array(known, dtype=np.float64).reshape(-1, 4).T
    rows = 1 / (1 / (window * np.array(times, dtype=np.float64)[:, None]) + 1 / reference)
    least = (2 * float(ndtri((1 + floor) / 2))) ** 2 * rows / wider
    likely = chdtrc(np.maximum(groups - 1, 1), least + groups - 1)
    found: Floats = np.where(groups == 0, 1.0, np.where(groups == 1, 0.0, likely))
    return found


def _told_of(shift: Shift) -> tuple[float, float, float, float]:
    """Groups of cells, rows on both sides, dispersion; no group where the comparison does not say so."""
    groups = len(shift.details.get("cells", ()))
    if shift.kind is not ShiftKind.DISTRIBUTION or not groups or not shift.n or not shift.reference_n:
        return 0.0, 1.0, 1.0, 1.0
    return float(groups), float(shift.n), float(shift.reference_n), float(shift.details.get("dispersion", 1.0))


def excess(old: float, old_rows: float, new: float, new_rows: float, wider: float) -> float:
    """By how much one share changed, less what chance adds to it, in squares: its mean absolute normal deviation."""
    if not old_rows or not new_rows:
        return 0.0
    share = (old + new) / (old_rows + new_rows)
    chance = 2 / np.pi * wider * share * (1 - share) * (1 / old_rows + 1 / new_rows)
    return float(np.sqrt(max(0.0, (new / new_rows - old / old_rows) ** 2 - chance)))
