"""What chance alone does, of many columns at once: the same as one by one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import chdtrc, ndtri

from roadworthy.measures.drift import by_chance, chances
from roadworthy.records.shift import Shift, ShiftKind

TIMES = [0.5, 1.0, 4.0]


def shift(kind: ShiftKind = ShiftKind.DISTRIBUTION, *, cells: int = 5, n: int = 1_000, wider: float = 1.0) -> Shift:
    details = {"cells": [[place] for place in range(cells)], "dispersion": wider}
    return Shift(subject="c", kind=kind, n=n, reference_n=20_000, details=details)


SHIFTS = [
    shift(),
    shift(cells=9, wider=2.5),
    shift(cells=2, n=50),
    shift(cells=1),
    shift(cells=0),
    shift(n=0),
    shift(ShiftKind.MISSING),
]


def test_many_columns_at_once_are_as_each_by_itself() -> None:
    found = chances(SHIFTS, 0.06, TIMES)
    assert found.shape == (3, 7)
    for place, times in enumerate(TIMES):
        assert found[place].tolist() == [by_chance(one, 0.06, times=times) for one in SHIFTS]
    assert found[:, 3].tolist() == [0.0] * 3
    assert (found[:, 4:] == 1.0).all()
    assert chances([], 0.06, TIMES).shape == (3, 0)


def test_it_is_the_tail_of_a_chi_square() -> None:
    rows = 1 / (1 / 4_000 + 1 / 20_000)
    least = (2 * ndtri(0.53)) ** 2 * rows / 2.5
    assert chances(SHIFTS[1:2], 0.06, [4.0]).item() == pytest.approx(chdtrc(8, least + 8), rel=1e-12)
    assert np.isfinite(chances(SHIFTS, 0.06, TIMES)).all()
