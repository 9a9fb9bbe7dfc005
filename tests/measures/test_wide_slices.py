"""Weak slices over many columns: pairs are bounded, and a weak pair among them is still found."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from roadworthy.measures.weak_slices import search
from roadworthy.measures.weak_slices.axes import axes_of


def test_of_many_columns_only_those_that_tell_most_are_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    table = pl.DataFrame(rng.normal(size=(1_200, 90)), schema=[f"x{at}" for at in range(90)])
    weak = (table["x70"].to_numpy() > 0.7) & (table["x80"].to_numpy() > 0.7)
    loss = (rng.random(1_200) < np.where(weak, 0.9, 0.1)).astype(np.float64)
    pairs: list[tuple[int, int]] = []
    plain = search._pair

    def counted(rows: Any, coarse: Any, first: int, second: int) -> search.Candidate:
        pairs.append((first, second))
        return plain(rows, coarse, first, second)

    monkeypatch.setattr(search, "_pair", counted)
    axes = axes_of(table, table.columns, 30)
    found = search.find(axes, [axis.codes for axis in axes], loss, least=30, effect=0.1, rounds=1)
    assert len(pairs) == 40 * 39 / 2
    assert any(set(one.cells) == {70, 80} for one in found)
