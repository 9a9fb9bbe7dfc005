"""Hundreds of columns: the same answers as for each column by itself, work that is bounded, and that said."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy import linalg

from roadworthy.measures.examined import Answered, Brief, Examined
from roadworthy.measures.explanation.dependence import partner
from roadworthy.measures.label_noise import label_noise
from roadworthy.measures.leakage import leakage, powers
from roadworthy.measures.leakage.powers import column_powers
from roadworthy.measures.leakage.sums import target_sums
from roadworthy.measures.ranking import auc_value, column_aucs
from roadworthy.measures.samples import Sample
from roadworthy.measures.surrogates import DRAWN
from roadworthy.measures.surrogates.boosting import boosted
from roadworthy.measures.uncertainty import support
from roadworthy.measures.uncertainty.support import fit_support
from roadworthy.measures.weak_slices import search, weak_slices
from roadworthy.measures.weak_slices.axes import axes_of
from roadworthy.records.project import Task
from roadworthy.transforms.inference import first_project, infer

WIDTH = 230


def _table(rows: int, width: int = WIDTH, seed: int = 3) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(rng.normal(size=(rows, width)), schema=[f"x{place}" for place in range(width)])


def _examined(rows: pl.DataFrame, y: NDArray[Any]) -> Examined:
    def answer(asked: pl.DataFrame) -> Answered:
        score = 1 / (1 + np.exp(-asked["x0"].to_numpy()))
        return Answered(score, np.zeros(len(score), dtype=np.bool_))

    sample = Sample(task=Task.BINARY, y=y, score=answer(rows).score, classes=("no", "yes"), threshold=0.5)
    return Examined(sample=sample, rows=rows, columns=tuple(rows.columns), answer=answer)


def test_areas_of_many_columns_are_those_of_each_by_itself() -> None:
    rng = np.random.default_rng(1)
    values = np.round(rng.normal(size=(200, 7)), 1)
    values[rng.random(values.shape) < 0.2] = np.nan
    values[:, 3], values[:, 4] = np.nan, 1.0
    y = rng.integers(0, 3, 200)
    found = column_aucs(np.column_stack([y == index for index in range(4)]), values)
    for index in range(4):
        for place in range(7):
            known = ~np.isnan(values[:, place])
            expected = auc_value((y == index)[known], values[known, place]) if known.any() else 0.5
            assert found[index, place] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("task", [Task.BINARY, Task.MULTICLASS])
def test_powers_do_not_depend_on_how_many_columns_are_looked_at_at_once(
    monkeypatch: pytest.MonkeyPatch, task: Task
) -> None:
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2 if task is Task.BINARY else 3, 400)
    bent = np.where(y == 1, 1.0, 3.0) * rng.choice([-1.0, 1.0], 400) + rng.normal(size=400) * 0.1
    frame = _table(400, 6).with_columns(
        pl.Series("bent", bent),
        pl.Series("x1", np.where(rng.random(400) < 0.3, np.nan, y + rng.normal(size=400))).fill_nan(None),
        pl.Series("x2", rng.choice([np.inf, -np.inf, 0.0], 400)),
        pl.Series("word", rng.choice(["a", "b"], 400)),
        pl.Series("nothing", [None] * 400, dtype=pl.Float64),
    )
    at_once = column_powers(frame, frame.columns, y, task)
    monkeypatch.setattr(powers, "_CELLS", 1)
    assert column_powers(frame, frame.columns, y, task) == at_once
    assert {one.column: round(one.power, 12) for one in at_once} == {
        name: round(column_powers(frame, [name], y, task)[0].power, 12) for name in frame.columns
    }
    told = {one.column: one.power for one in at_once}
    assert told["x1"] > 0.6
    assert told["bent"] > (0.95 if task is Task.BINARY else 0.8)  # no order tells, but its bins do
    assert told["nothing"] < 0.55


def test_directions_of_more_columns_than_rows_are_those_of_the_columns_products() -> None:
    rng = np.random.default_rng(5)
    centred = rng.normal(size=(150, 3)) @ rng.normal(size=(3, 400)) * 3 + rng.normal(size=(150, 400)) * 0.1
    centred[:, 7] = 0.0
    centred -= centred.mean(axis=0)
    found = support._directions(centred)
    variances, vectors = np.linalg.eigh(centred.T @ centred / 150)
    kept = np.argsort(-variances)[: found.shape[1]]
    expected = vectors[:, kept] / np.sqrt(variances[kept] + 0.05)
    assert np.abs(found @ found.T - expected @ expected.T).max() < 1e-9


def test_no_matrix_of_all_columns_by_all_columns_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def noted(plain: Callable[..., Any], matrix: NDArray[np.float64], **more: Any) -> Any:
        sizes.append(len(matrix))
        return plain(matrix, **more)

    monkeypatch.setattr(np.linalg, "eigh", partial(noted, np.linalg.eigh))
    monkeypatch.setattr(linalg, "eigh", partial(noted, linalg.eigh))
    rows = _table(300, 500)
    plan = fit_support(rows, rows.columns, np.random.default_rng(1))
    assert sizes == [150]
    far = rows.head(50).with_columns(pl.lit(40.0).alias("x17"))
    assert (plan.apply(far) <= plan.outside).all()
    assert (plan.apply(_table(300, 500, seed=9)) <= plan.outside).mean() < 0.05


def test_each_tree_of_a_small_model_draws_some_of_many_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    plain = lightgbm.train

    def train(parameters: dict[str, Any], *others: Any, **more: Any) -> Any:
        asked.append(parameters["feature_fraction"])
        return plain(parameters, *others, **more)

    monkeypatch.setattr(lightgbm, "train", train)
    for width in (DRAWN, 2 * DRAWN):
        x = np.random.default_rng(1).normal(size=(120, width)).astype(np.float32)
        y = (x[:, -1] > 0).astype(np.int64)
        scores, gains = boosted(x, y, 2, x, leaf=5, shrinkage=0.0, seed=1, rounds=30)
        assert auc_value(y == 1, scores) > 0.95
        assert int(np.argmax(gains)) == width - 1
    assert asked == [1.0, 0.5]


def test_columns_that_add_up_to_a_number_are_found_wherever_they_stand() -> None:
    frame = _table(1_500)
    y = (frame["x220"] + 2 * frame["x225"]).to_numpy()
    found = target_sums(frame, frame.columns, y, Task.REGRESSION, np.random.default_rng(1))
    assert [one.details["columns"] for one in found] == [["x220", "x225"]]


def test_two_columns_that_decide_a_class_are_found_wherever_they_stand() -> None:
    frame = _table(1_500)
    y = (frame["x220"] - frame["x225"] > 0).to_numpy().astype(np.int64)
    found = target_sums(frame, frame.columns, y, Task.BINARY, np.random.default_rng(1))
    assert [one.details["columns"] for one in found] == [["x220", "x225"]]


def test_a_leak_among_hundreds_of_columns_is_found_and_what_was_left_out_is_said() -> None:
    rng = np.random.default_rng(4)
    frame = _table(1_200)
    y = (rng.random(1_200) < 1 / (1 + np.exp(-2 * frame["x0"].to_numpy()))).astype(np.int64)
    frame = frame.with_columns(pl.Series("x210", y + rng.normal(size=1_200) * 0.1))
    found = leakage(_examined(frame, y), Brief(quick=True))
    assert [one.subject for one in found.findings if one.grade == "fails"] == ["x210"]
    reason = found.measurements[0].reason
    assert "among 12 of 230 numeric columns" in reason
    assert "drew 200 of 230 columns" in reason
    narrow = leakage(_examined(frame.select("x0", "x1", "x2"), y), Brief(quick=True))
    assert not narrow.measurements[0].reason


def test_what_wrong_labels_and_weak_slices_leave_out_of_many_columns_is_said() -> None:
    rng = np.random.default_rng(4)
    frame = _table(1_200)
    y = (rng.random(1_200) < 1 / (1 + np.exp(-4 * frame["x0"].to_numpy()))).astype(np.int64)
    for columns, said in ((frame.columns, True), (frame.columns[:9], False)):
        examined = _examined(frame.select(columns), y)
        labels, slices = (check(examined, Brief(quick=True)).exhibits[0] for check in (label_noise, weak_slices))
        assert ("drew 200 of 230 columns" in labels.note) is said
        assert ("the 40 of 230 columns" in slices.note) is said


def test_every_axis_is_searched_once_in_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = _table(900, 60)
    loss = (np.random.default_rng(1).random(900) < np.where(frame["x5"].to_numpy() > 1, 0.9, 0.1)).astype(np.float64)
    places: list[int] = []
    plain = search._along

    def along(rows: Any, place: int, among: Any, others: dict[int, Any]) -> search.Candidate:
        places.extend([place] * (not others))
        return plain(rows, place, among, others)

    monkeypatch.setattr(search, "_along", along)
    axes = axes_of(frame, frame.columns, 30)
    assert search.find(axes, [axis.codes for axis in axes], loss, least=30, effect=0.1, rounds=1)
    assert places == list(range(60))


def test_the_nearest_relative_of_a_column_is_found_with_gaps_and_ties() -> None:
    rng = np.random.default_rng(6)
    frame = _table(500, 40)
    own = np.round(frame["x3"].to_numpy(), 1)
    near = np.where(rng.random(500) < 0.1, np.nan, -np.exp(own) + rng.normal(size=500) * 0.01)
    frame = frame.with_columns(pl.Series("x3", own), pl.Series("x30", near), pl.Series("flat", np.ones(500)))
    name, strength = partner(_examined(frame, np.arange(500) % 2), Brief(), "x3")
    assert name == "x30"
    assert 0.8 < strength <= 1
    assert partner(_examined(frame, np.arange(500) % 2), Brief(), "flat") == ("", 0.0)


def test_roles_are_told_without_a_search_for_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = _table(200, 5).with_columns(pl.Series("y", np.arange(200) % 2), pl.Series("sex", ["f", "m"] * 100))
    frame = frame.with_columns(pl.Series("x4", frame["y"].cast(pl.Float64)))
    whole = infer(frame, target="y", source_name="made up")
    assert "x4" in whole.exclude

    def refused(*_: object) -> None:
        raise AssertionError("leaks were looked for")

    monkeypatch.setattr(first_project, "find_leaks", refused)
    found = infer(frame, target="y", source_name="made up", leaks=False)
    assert "x4" not in found.exclude
    assert (found.task, found.time, found.entity, found.protected) == (
        whole.task,
        whole.time,
        whole.entity,
        whole.protected,
    )
