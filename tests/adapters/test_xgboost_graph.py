"""XGBoost's trees as ONNX take XGBoost's own branches: every objective, missing values, pruned and weighted trees."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roadworthy.errors import ModelError
from roadworthy.graphs.runner import open_session

xgboost = pytest.importorskip("xgboost")

CASES: dict[str, dict[str, Any]] = {
    "binary": {"objective": "binary:logistic"},
    "raw logits": {"objective": "binary:logitraw"},
    "probabilities of classes": {"objective": "multi:softprob", "num_class": 3},
    "classes, as margins": {"objective": "multi:softmax", "num_class": 3},
    "regression": {"objective": "reg:squarederror"},
    "absolute error": {"objective": "reg:absoluteerror"},
    "poisson": {"objective": "count:poisson"},
    "gamma": {"objective": "reg:gamma"},
    "tweedie": {"objective": "reg:tweedie"},
    "shares": {"objective": "reg:logistic"},
    "dart": {"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.3},
    "forests": {"objective": "binary:logistic", "num_parallel_tree": 3, "subsample": 0.5},
    "pruned": {"objective": "reg:squarederror", "gamma": 50, "max_depth": 6},
}


def rows() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 4))
    x[random.random(x.shape) < 0.1] = np.nan
    return x, np.nan_to_num(x[:, 0]) * 2 - np.nan_to_num(x[:, 1])


@cache
def fitted(case: str, folder: Path) -> tuple[Any, Any]:
    """The opened booster of a case, and a session of its graph."""
    from roadworthy.adapters.models.xgboost_file import open_xgboost  # noqa: PLC0415 - needs the extra

    x, z = rows()
    setting = CASES[case]
    objective = setting["objective"]
    y = z * 10
    if objective.startswith("binary"):
        y = (z > 0).astype(float)
    elif objective.startswith("multi"):
        y = np.digitize(z, [-1.0, 1.0]).astype(float)
    elif objective in {"count:poisson", "reg:gamma", "reg:tweedie"}:
        y = np.exp(np.clip(z, -3, 3))
    elif objective == "reg:logistic":
        y = 1 / (1 + np.exp(-z))
    booster = xgboost.train({"nthread": 1, "max_depth": 3, **setting}, xgboost.DMatrix(x, y), 10)
    file = folder / f"{case}.ubj"
    booster.save_model(file)
    opened = open_xgboost(file)
    assert opened.graph is not None
    return opened, open_session(opened.graph().SerializeToString())


def greatest_gap(case: str, folder: Path, x: NDArray[np.float64]) -> float:
    opened, session = fitted(case, folder)
    own = np.asarray(opened.predict(x)).reshape(len(x), -1)
    (found,) = session.run(None, {"X": x})
    assert found.shape == own.shape
    return float((np.abs(found - own) / np.maximum(1, np.abs(own))).max())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("boosters")


@pytest.mark.parametrize("case", sorted(CASES))
def test_every_objective_answers_as_xgboost_does(case: str, folder: Path) -> None:
    x = rows()[0]
    x[:20], x[20:40], x[40:50] = np.nan, 0, 1e30
    assert greatest_gap(case, folder, x) < 2e-6


@settings(max_examples=30, deadline=None)
@given(place=st.integers(0, 10_000), step=st.sampled_from([-1, 0, 1]), case=st.sampled_from(["binary", "regression"]))
def test_a_value_at_a_threshold_goes_where_xgboost_sends_it(folder: Path, place: int, step: int, case: str) -> None:
    x = rows()[0]
    thresholds = np.unique(x[~np.isnan(x)].astype(np.float32))  # cuts lie at values of the rows
    value = thresholds[place % len(thresholds)]
    near = np.nextafter(value, np.float32(np.inf) * step) if step else value
    assert greatest_gap(case, folder, np.full((1, 4), near, dtype=np.float64)) < 2e-6


def test_rounds_after_early_stopping_are_left_out(folder: Path) -> None:
    from roadworthy.adapters.models.xgboost_file import open_xgboost  # noqa: PLC0415 - as above

    x, z = rows()
    booster = xgboost.train({"nthread": 1, "objective": "reg:squarederror"}, xgboost.DMatrix(x, z), 12)
    booster.set_attr(best_iteration="3")
    booster.save_model(folder / "early.json")
    opened = open_xgboost(folder / "early.json")
    assert opened.graph is not None
    (found,) = open_session(opened.graph().SerializeToString()).run(None, {"X": x})
    assert np.abs(found[:, 0] - opened.predict(x)).max() < 1e-5
    assert np.abs(found[:, 0] - booster.predict(xgboost.DMatrix(x), iteration_range=(0, 12))).max() > 1e-3


def test_a_booster_without_trees_is_refused(folder: Path) -> None:
    from roadworthy.adapters.models.xgboost_file import open_xgboost  # noqa: PLC0415 - as above

    x, z = rows()
    booster = xgboost.train({"nthread": 1, "booster": "gblinear"}, xgboost.DMatrix(np.nan_to_num(x), z), 2)
    booster.save_model(folder / "linear.json")
    opened = open_xgboost(folder / "linear.json")
    assert opened.graph is not None
    with pytest.raises(ModelError, match="gblinear booster has no trees"):
        opened.graph()
