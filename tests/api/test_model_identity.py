"""The digest of a model in memory: the same for the same fit, another one for another fit, in any process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from lightgbm import LGBMClassifier
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from roadworthy.api.subjects import subject_of
from roadworthy.api.subjects.identity import model_digest

RNG = np.random.default_rng(3)
X = RNG.normal(size=(300, 4))
Y = (X[:, 0] + RNG.normal(size=300) > 0).astype(int)
OTHER = np.where(np.arange(300) < 40, 1 - Y, Y)
MODELS: dict[str, Callable[[], Any]] = {
    "linear": LogisticRegression,
    "forest": lambda: RandomForestClassifier(10, random_state=1),
    "boosting": lambda: GradientBoostingRegressor(n_estimators=5, random_state=1),
    "histograms": lambda: HistGradientBoostingClassifier(max_iter=5, random_state=1),
    "network": lambda: MLPClassifier((4,), max_iter=200, tol=1e-2, random_state=1),
    "vectors": lambda: SVC(random_state=1),
    "neighbours": lambda: KNeighborsClassifier(algorithm="kd_tree"),
    "pipeline": lambda: make_pipeline(FunctionTransformer(np.abs), StandardScaler(), LogisticRegression()),
    "search": lambda: GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2),
    "vote": lambda: VotingClassifier([("one", GaussianNB()), ("two", LogisticRegression())]),
    "lightgbm": lambda: LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_is_told_by_what_it_learned(kind: str) -> None:
    model = MODELS[kind]()
    bare = model_digest(model)
    first = model_digest(model.fit(X, Y))
    model.predict(X[:20])
    assert model_digest(model) == first == model_digest(MODELS[kind]().fit(X.copy(), Y.copy()))
    assert len({bare, first, model_digest(model.fit(X, OTHER))}) == 3


def everything() -> list[str]:
    """Every model's digest; what other processes compute, too."""
    texts = np.array([["b"], ["a"], ["c"]] * 100, dtype=object)
    encoded = OneHotEncoder().fit(texts)
    return [*(model_digest(make().fit(X, Y)) for make in MODELS.values()), model_digest(encoded), model_digest(seen_by)]


WEIGHTS = {"first": {"b", "a", "c"}, "second": np.array([1.0, 2.0])}


def seen_by(frame: pl.DataFrame) -> Any:
    return frame.to_numpy() @ WEIGHTS["second"] + scaled(1.0)


def scaled(value: float) -> float:
    return value * 3.0


def test_another_process_finds_the_same() -> None:
    told = []
    for seed, memory in (("1", "0"), ("77", "165")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "MALLOC_PERTURB_": memory}
        code = "import test_model_identity as t; print('\\n'.join(t.everything()))"
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, cwd=Path(__file__).parent, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        told.append(done.stdout.split())
    assert told[0] == told[1]
    assert len(set(told[0])) == len(MODELS) + 2


def test_the_time_that_a_fit_took_is_no_part_of_it() -> None:
    search = MODELS["search"]().fit(X, Y)
    before = model_digest(search)
    search.refit_time_ += 5.0
    search.cv_results_["mean_fit_time"] = search.cv_results_["mean_fit_time"] + 5.0
    assert model_digest(search) == before
    search.cv_results_["mean_test_score"] = search.cv_results_["mean_test_score"] + 5.0
    assert model_digest(search) != before


def test_what_lies_between_the_fields_of_a_record_is_nothing() -> None:
    kind = np.dtype({"names": ["a", "b"], "formats": ["u1", "f8"], "offsets": [0, 8], "itemsize": 16})
    arrays = [np.frombuffer(bytes([filling]) * 32, kind).copy() for filling in (1, 2)]
    for array in arrays:
        array["a"], array["b"] = 3, 0.5
    assert arrays[0].tobytes() != arrays[1].tobytes()
    assert model_digest(arrays[0]) == model_digest(arrays[1])
    arrays[1]["b"][1] = 0.75
    assert model_digest(arrays[0]) != model_digest(arrays[1])


def test_a_function_is_told_by_its_code_and_what_it_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(model: Any, share: float = 0.5) -> Callable[[Any], Any]:
        return lambda frame: model.predict(frame) * share

    one, two = LogisticRegression().fit(X, Y), LogisticRegression().fit(X, OTHER)
    assert model_digest(made(one)) == model_digest(made(LogisticRegression().fit(X, Y)))
    assert len({model_digest(given) for given in (made(one), made(two), made(one, 0.25))}) == 3
    assert model_digest(lambda frame: frame + 1) != model_digest(lambda frame: frame - 1)
    before = model_digest(seen_by)
    monkeypatch.setitem(WEIGHTS, "second", np.array([1.0, 2.5]))
    assert model_digest(seen_by) != before
    monkeypatch.undo()
    assert model_digest(seen_by) == before
    monkeypatch.setattr(sys.modules[__name__], "scaled", lambda value: value * 4.0)
    assert model_digest(seen_by) != before


def test_what_cannot_tell_its_state_stops_nothing() -> None:
    class Odd:
        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.again = self
            self.rows = (row for row in [1])
            self.weight = 2.0

        def __call__(self, frame: Any) -> Any:
            return frame

    one, two = Odd(), Odd()
    assert model_digest(one) == model_digest(two)
    two.weight = 3.0
    assert model_digest(one) != model_digest(two)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert model_digest(deep).startswith("sha256:")


def test_two_fits_are_two_subjects_of_an_inspection() -> None:
    rows = pl.DataFrame(X, schema=["a", "b", "c", "d"]).with_columns(y=Y)
    digests = [
        subject_of(LogisticRegression().fit(X, labels), rows, "y", "nowhere.toml").digest for labels in (Y, OTHER, Y)
    ]
    assert digests[0] == digests[2] != digests[1]
