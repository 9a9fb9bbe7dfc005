"""LightGBM's trees as ONNX take LightGBM's own branches: every objective, missing values, zeros, categories."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roadworthy.adapters.models.lightgbm_graph import lightgbm_graph
from roadworthy.errors import ModelError
from roadworthy.graphs.runner import open_session

CASES: dict[str, dict[str, Any]] = {
    "binary": {"objective": "binary"},
    "sigmoid of two, no missing": {"objective": "binary", "sigmoid": 2.0, "use_missing": False},
    "zero is missing": {"objective": "binary", "zero_as_missing": True},
    "many categories at once": {"objective": "binary", "max_cat_to_onehot": 1, "cat_smooth": 1},
    "multiclass": {"objective": "multiclass", "num_class": 3},
    "one against all": {"objective": "multiclassova", "num_class": 3},
    "cross entropy": {"objective": "cross_entropy"},
    "cross entropy lambda": {"objective": "cross_entropy_lambda"},
    "regression": {"objective": "regression"},
    "root of the target": {"objective": "regression", "reg_sqrt": True},
    "poisson": {"objective": "poisson"},
    "quantile": {"objective": "quantile", "alpha": 0.7},
    "random forest": {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7},
}


def rows() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """600 rows of four numbers and two categories, a tenth missing; and what they say."""
    random = np.random.default_rng(0)
    x = random.normal(size=(600, 6))
    x[:, 4], x[:, 5] = random.integers(0, 40, 600), random.integers(0, 5, 600)
    x[:, 2][random.random(600) < 0.3] = 0
    x[random.random(x.shape) < 0.1] = np.nan
    x[:, 3] = np.nan_to_num(x[:, 3])  # a column that is never missing when the model is trained
    known = np.nan_to_num(x)
    return x, known[:, 0] * 2 - known[:, 2] + np.isin(known[:, 4], [1, 5, 7, 30]) * 2 - (known[:, 5] == 2)


@cache
def fitted(case: str) -> tuple[Any, Any]:
    """The booster of a case, and a session of its graph."""
    import lightgbm  # noqa: PLC0415 - half a second

    x, z = rows()
    setting = CASES[case]
    y = z
    if setting["objective"] == "binary":
        y = (z > 0).astype(float)
    elif "num_class" in setting:
        y = np.digitize(z, [-1.0, 1.0]).astype(float)
    elif setting["objective"] in {"poisson"}:
        y = np.exp(np.clip(z, -3, 3))
    elif setting["objective"].startswith("cross"):
        y = 1 / (1 + np.exp(-z))
    quiet = {"verbose": -1, "num_threads": 1, "num_leaves": 15, "min_data_in_leaf": 5}
    data = lightgbm.Dataset(x, y, categorical_feature=[4, 5])
    booster = lightgbm.train({**quiet, **setting}, data, 10)
    return booster, open_session(lightgbm_graph(booster.model_to_string()).SerializeToString())


def greatest_gap(case: str, x: NDArray[np.float64]) -> float:
    booster, session = fitted(case)
    own = np.asarray(booster.predict(x, num_threads=1)).reshape(len(x), -1)
    (found,) = session.run(None, {"X": x})
    return float((np.abs(found - own) / np.maximum(1, np.abs(own))).max())


@pytest.mark.parametrize("case", sorted(CASES))
def test_every_objective_answers_as_lightgbm_does(case: str) -> None:
    x = rows()[0]
    x[:9, 4], x[9:18, 4], x[18:27, 5] = 99, -3, 1e9  # codes that nobody has
    x[27:36], x[36:45], x[45:54] = np.nan, 0, np.inf
    x[54:63, 3], x[63:72, 4] = np.nan, 5.9  # missing where it never was; a code is a whole number
    assert greatest_gap(case, x) < 5e-7


VALUE = st.one_of(
    st.sampled_from([0.0, -0.0, 1e-36, -1e-36, 1e-34, np.nan, np.inf, -np.inf, 1e300]),
    st.floats(-4, 4, width=64),
    st.integers(-2, 45).map(float),
)


@settings(max_examples=40, deadline=None)
@given(row=st.lists(VALUE, min_size=6, max_size=6), case=st.sampled_from(["binary", "zero is missing", "multiclass"]))
def test_any_row_takes_lightgbms_branches(row: list[float], case: str) -> None:
    assert greatest_gap(case, np.array([row])) < 5e-7


@settings(max_examples=20, deadline=None)
@example(place=384, step=0)  # a threshold of -1e-35, which LightGBM reads as zero when it is a value
@given(place=st.integers(0, 10_000), step=st.sampled_from([-1, 0, 1]))
def test_a_value_at_a_threshold_goes_where_lightgbm_sends_it(place: int, step: int) -> None:
    text = fitted("binary")[0].model_to_string()
    lines = [line for line in text.splitlines() if line.startswith("threshold=")]
    values = [float(word) for line in lines for word in line.partition("=")[2].split()]
    value = values[place % len(values)]
    near = np.nextafter(value, np.inf * step) if step else value
    assert greatest_gap("binary", np.full((1, 6), near)) < 5e-7


def test_linear_trees_are_refused() -> None:
    import lightgbm  # noqa: PLC0415 - as above

    x, z = rows()
    known = np.nan_to_num(x[:, :4])
    setting = {"objective": "regression", "linear_tree": True, "verbose": -1, "num_threads": 1}
    booster = lightgbm.train(setting, lightgbm.Dataset(known, z, params={"linear_tree": True, "verbose": -1}), 2)
    with pytest.raises(ModelError, match="linear models in their leaves"):
        lightgbm_graph(booster.model_to_string())
