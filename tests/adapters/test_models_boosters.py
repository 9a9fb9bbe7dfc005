"""Boosters in their libraries' own files: the library's own answers, and one clear error for what is no model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest
import xgboost
from numpy.typing import NDArray

from roadworthy.adapters.models.lightgbm_audit import lightgbm_faults
from roadworthy.api.subjects import Subject, subject_of
from roadworthy.errors import MissingExtra, ModelError
from roadworthy.graphs.fresh_process import costs
from roadworthy.records.project import Task

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
BINARY = (X[:, 0] + 0.5 * X[:, 1] + RNG.normal(size=400) > 0).astype(int)
THREE = np.digitize(X[:, 0] + RNG.normal(size=400) * 0.3, [-0.5, 0.5])
NUMBER = X[:, 2] * 3
NAMES = list("abcd")


def rows(y: NDArray[Any]) -> pl.DataFrame:
    return pl.DataFrame(X, schema=NAMES).with_columns(y=pl.Series(y))


def opened(path: Path, y: NDArray[Any]) -> tuple[Subject, NDArray[np.float64]]:
    table = rows(y)
    subject = subject_of(path, table, "y", "none.toml")
    scores = subject.scored(table, "y").scores
    np.testing.assert_array_equal(subject.answer(table.select(NAMES)).score, scores)
    return subject, scores


def light(folder: Path, objective: str, y: NDArray[Any], **more: Any) -> tuple[Path, Any]:
    group = more.pop("group", None)
    data = lightgbm.Dataset(X, y, feature_name=NAMES, group=group)
    booster = lightgbm.train({"objective": objective, "verbosity": -1, "num_threads": 1, **more}, data, 5)
    path = folder / "model.txt"
    booster.save_model(path)
    return path, booster


@pytest.mark.parametrize(
    ("objective", "y", "task", "more"),
    [
        ("binary", BINARY, Task.BINARY, {}),
        ("multiclass", THREE, Task.MULTICLASS, {"num_class": 3}),
        ("quantile", NUMBER, Task.REGRESSION, {}),
        ("regression", BINARY * 1.0, Task.REGRESSION, {}),
    ],
    ids=["binary", "multiclass", "quantile", "regression on two values"],
)
def test_lightgbm_tells_its_task_and_answers_as_itself(
    tmp_path: Path, objective: str, y: NDArray[Any], task: Task, more: dict[str, Any]
) -> None:
    path, booster = light(tmp_path, objective, y, **more)
    subject, scores = opened(path, y)
    assert subject.task is task
    assert subject.columns == tuple(NAMES)
    np.testing.assert_allclose(scores, booster.predict(X), atol=1e-12)


def test_columns_come_by_name_in_whatever_order(tmp_path: Path) -> None:
    path, booster = light(tmp_path, "binary", BINARY)
    table = rows(BINARY).select("y", "d", "b", "c", "a").with_columns(extra=pl.lit("text"))
    found = subject_of(path, table, "y", "none.toml").scored(table, "y")
    np.testing.assert_allclose(found.scores, booster.predict(X), atol=1e-12)
    with pytest.raises(Exception, match="no column 'c'"):
        subject_of(path, table.drop("c"), "y", "none.toml")


def test_categories_of_a_pandas_frame_are_read_by_their_levels(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    kind = np.array(["red", "green", "blue"])[THREE]
    frame = pandas.DataFrame({"a": X[:, 0], "kind": pandas.Categorical(kind)})
    booster = lightgbm.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1}, lightgbm.Dataset(frame, BINARY), 5
    )
    booster.save_model(tmp_path / "m.txt")
    table = pl.DataFrame({"a": X[:, 0], "kind": kind, "y": BINARY})
    subject = subject_of(tmp_path / "m.txt", table, "y", "none.toml")
    np.testing.assert_allclose(subject.scored(table, "y").scores, booster.predict(frame), atol=1e-12)
    unseen = subject.answer(pl.DataFrame({"a": [0.0], "kind": ["violet"]}))
    assert unseen.sound.all()
    with pytest.raises(ModelError, match="1 categorical columns"):
        subject_of(tmp_path / "m.txt", table.with_columns(kind=pl.lit(1.0)), "y", "none.toml")


def test_one_that_ranks_is_refused(tmp_path: Path) -> None:
    path, _ = light(tmp_path, "lambdarank", BINARY, group=[40] * 10)
    with pytest.raises(ModelError, match="ranks"):
        opened(path, BINARY)


def damaged(text: str) -> dict[str, str]:
    tree = text.index("Tree=1")
    return {
        "head only": text[:300],
        "cut in a tree": text[: tree + 200],
        "cut in the parameters": text[: text.index("end of parameters")],
        "no leaf values": text.replace("leaf_value=", "leaf_worth="),
        "more leaves": text.replace("num_leaves=", "num_leaves=9"),
        "a tree less": text[:tree] + text[text.index("Tree=2") :],
        "a child outside": text.replace("left_child=", "left_child=77 ", 1),
        "an endless walk": text.replace("left_child=1 ", "left_child=0 ", 1),
        "no such feature": text.replace("split_feature=0 ", "split_feature=8 ", 1),
    }


FAULTS = ["head only", "cut in a tree", "cut in the parameters", "no leaf values", "more leaves", "a tree less",
          "a child outside", "an endless walk", "no such feature"]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_lightgbm_file_never_reaches_the_library(tmp_path: Path, fault: str) -> None:
    """LightGBM 4.7 ends the whole process for some of these."""
    path, _ = light(tmp_path, "binary", BINARY)
    text = path.read_text()
    assert not list(lightgbm_faults(text))
    broken = damaged(text)[fault]
    assert broken != text
    path.write_text(broken)
    with pytest.raises(ModelError, match="cut off or damaged"):
        opened(path, BINARY)


@pytest.mark.parametrize("suffix", ["json", "ubj", "pkl"])
@pytest.mark.parametrize(
    ("objective", "y", "task", "more"),
    [
        ("binary:logistic", BINARY, Task.BINARY, {}),
        ("multi:softprob", THREE, Task.MULTICLASS, {"num_class": 3}),
        ("multi:softmax", THREE, Task.MULTICLASS, {"num_class": 3}),
        ("reg:squarederror", NUMBER, Task.REGRESSION, {}),
    ],
    ids=["binary", "softprob", "softmax", "regression"],
)
def test_xgboost_tells_its_task_and_answers_as_itself(
    tmp_path: Path, objective: str, y: NDArray[Any], task: Task, more: dict[str, Any], suffix: str
) -> None:
    """Whatever the file is called: its kind is told from its bytes."""
    data = xgboost.DMatrix(X, y, feature_names=NAMES)
    booster = xgboost.train({"objective": objective, "max_depth": 3, "nthread": 1, **more}, data, 5)
    written = tmp_path / ("m.ubj" if suffix == "ubj" else "m.json")
    booster.save_model(written)
    path = written.rename(tmp_path / f"model.{suffix}")
    subject, scores = opened(path, y)
    assert subject.task is task
    if objective == "multi:softmax":
        np.testing.assert_array_equal(scores.argmax(axis=1), booster.predict(data))
        np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    else:
        np.testing.assert_allclose(scores, booster.predict(data), atol=1e-6)


def test_logits_and_early_stops_of_xgboost_are_read_as_they_are_meant(tmp_path: Path) -> None:
    data = xgboost.DMatrix(X, BINARY)
    raw = xgboost.train({"objective": "binary:logitraw", "nthread": 1}, data, 5)
    raw.save_model(tmp_path / "raw.json")
    subject, scores = opened(tmp_path / "raw.json", BINARY)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-raw.predict(data))), atol=1e-6)
    assert any("logits" in note for note in subject.notes)
    stopped = xgboost.XGBClassifier(n_estimators=60, early_stopping_rounds=2, n_jobs=1, learning_rate=0.9)
    stopped.fit(X[:200], BINARY[:200], eval_set=[(X[200:], BINARY[200:])], verbose=False)
    stopped.save_model(tmp_path / "stopped.ubj")
    subject, scores = opened(tmp_path / "stopped.ubj", BINARY)
    np.testing.assert_allclose(scores, stopped.predict_proba(X)[:, 1], atol=1e-6)
    assert "training stopped early" in subject.notes[1]


def test_what_xgboost_cannot_read_or_tell_is_one_clear_error(tmp_path: Path) -> None:
    data = xgboost.DMatrix(X, BINARY)
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 3)
    for suffix in ("json", "ubj"):
        path = tmp_path / f"m.{suffix}"
        booster.save_model(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ModelError, match="cut off") as caught:
            opened(path, BINARY)
        assert "/src/" not in str(caught.value).replace(str(tmp_path), "")
    (tmp_path / "dump.json").write_text("[" + ",".join(booster.get_dump(dump_format="json")) + "]")
    with pytest.raises(ModelError, match="no model that XGBoost saved"):
        opened(tmp_path / "dump.json", BINARY)
    hinge = xgboost.train({"objective": "binary:hinge", "nthread": 1}, data, 3)
    hinge.save_model(tmp_path / "hinge.json")
    with pytest.raises(ModelError, match="labels without probabilities"):
        opened(tmp_path / "hinge.json", BINARY)


def test_without_the_library_the_extra_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    xgboost.train({"nthread": 1}, xgboost.DMatrix(X, NUMBER), 1).save_model(tmp_path / "m.json")
    monkeypatch.setitem(sys.modules, "xgboost", None)
    monkeypatch.delitem(sys.modules, "roadworthy.adapters.models.xgboost_file", raising=False)
    with pytest.raises(MissingExtra, match=r"roadworthy\[xgboost\]"):
        opened(tmp_path / "m.json", NUMBER)


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_its_cost_comes_from_fresh_processes_of_its_own_library(tmp_path: Path, library: str) -> None:
    path = tmp_path / "m.json"
    if library == "lightgbm":
        path, _ = light(tmp_path, "binary", BINARY)
    else:
        xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(X, BINARY), 3).save_model(path)
    subject, _ = opened(path, BINARY)
    assert subject.cost is not None
    measured = {one.metric: one for one in costs(subject.cost(rows(BINARY), quick=True))}
    assert measured["size"].value == path.stat().st_size
    assert (measured["cold_start"].value or 0) > 10
    assert (measured["memory"].value or 0) > 30e6
