"""Groups as odd as data has them: missing beside many, very long ones, an equals sign, one that is not listed."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import polars as pl
import pytest

from roadworthy.errors import UnknownName
from roadworthy.measures.samples import Sample
from roadworthy.records.project import Task
from roadworthy.stages.validate_rows import Slices
from roadworthy.standard import Requirement
from roadworthy.views.dashboard.quality import groups
from roadworthy.views.dashboard.quality.held_out import held_out

module = importlib.import_module("roadworthy.views.dashboard.quality.held_out")


def _scored(rows: int) -> Sample:
    y = np.arange(rows) % 2
    return Sample(task=Task.BINARY, y=y, score=np.where(y, 0.9, 0.2), threshold=0.5, classes=("no", "yes"))


@pytest.mark.parametrize("column", ["place", "a=b"])
def test_very_many_groups_with_a_missing_value_among_them_are_measured(column: str) -> None:
    values = [f"p{place % 25:02}" if place % 30 else None for place in range(1_500)]
    rows = pl.DataFrame({column: pl.Series(values, dtype=pl.String)})
    asked = Requirement(metric="accuracy", at_least=0.0, slice=column)
    found = groups._measured(asked, _scored(1_500), rows, Slices.learned(rows[column]))
    assert len(found) == 20
    assert set(found) < {f"p{place:02}" for place in range(25)}
    assert {name: one.n for name, one in found.items()} == {name: values.count(name) for name in found}


def test_one_very_long_name_costs_as_much_as_one() -> None:
    labels = np.array(["x" * 10_000, None, *["y"] * 20_000], dtype=object)
    plain = module._plain(labels)
    assert plain.nbytes <= 8 * len(labels)
    assert module._commonest(plain) == ["missing", "x" * 10_000, "y"]


def test_a_column_may_have_an_equals_sign_and_so_may_a_group() -> None:
    found = {"a": np.array(["b=c", "b"], dtype=object), "a=b": np.array(["c", "d=e"], dtype=object)}
    assert module._in_slice(found, "a=b=d=e", ()).tolist() == [False, True]
    assert module._in_slice({"a": found["a"]}, "a=b=c", ()).tolist() == [True, False]
    with pytest.raises(UnknownName):
        module._in_slice(found, "a", ())


def test_a_group_beyond_those_that_are_listed_stays_chosen(dash: Any) -> None:
    shown = held_out(dash.site, {"slice": "device=no such group"})
    assert shown is not None
    assert shown.slices[-1] == shown.slice == "device=no such group"


def test_where_nothing_is_decided_nothing_is_said_to_be_decided_wrongly(
    dash: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_wrong", lambda _: None)
    shown = held_out(dash.site, {"which": "wrong"})
    assert shown is not None
    assert (shown.which, shown.wrong, shown.matching) == ("", None, shown.among)
