"""No value of a column that looks personal is told by an inspection of a model that others trained."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

import roadworthy as rw

ADDRESSES = ["ann@example.com", "bo@example.com", "cy@example.com", "di@example.com"]


class Reads:
    """A model of the columns that it is given."""

    classes_ = np.array([0, 1])

    def __init__(self, *columns: str) -> None:
        self.feature_names_in_ = np.array(columns)

    def predict_proba(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """By the column x."""
        event = 1 / (1 + np.exp(-2 * rows["x"].cast(pl.Float64).fill_null(0).clip(-50, 50).to_numpy()))
        return np.column_stack([1 - event, event])


@pytest.fixture
def rows() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=1_200)
    y = (rng.random(1_200) < 1 / (1 + np.exp(-2 * x))).astype(int)
    return pl.DataFrame({"x": x, "email": rng.choice(ADDRESSES, 1_200), "y": y})


def test_groups_of_persons_are_told_by_hashes(rows: pl.DataFrame) -> None:
    standard: dict[str, Any] = {"extends": "none", "accuracy": {"at_least": 0.5, "slice": "email"}}
    found = rw.inspect(Reads("x"), rows, target="y", standard=standard, protected=["email"], quick=True)
    told = msgspec.json.encode(found)
    assert b"email=" in told
    assert b"@example.com" not in told


def test_a_personal_column_that_the_model_reads_can_name_no_groups(rows: pl.DataFrame) -> None:
    with pytest.raises(rw.errors.DataError, match="named by their own values"):
        rw.inspect(Reads("x", "email"), rows, target="y", protected=["email"], quick=True)
