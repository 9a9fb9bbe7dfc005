"""A model that others trained, from its file to a served answer: packaged, promoted, served, compared."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

import roadworthy as rw
from roadworthy.cli.app import app
from roadworthy.errors import PromotionRefused

Start = Callable[..., Any]

STANDARD = """[standard]
extends = "none"
accuracy = ">= 0.6"
parity = "<= 1e-5"
decision_flips = "<= 0"
"""


@dataclass(frozen=True)
class Packaged:
    """A folder with a version packaged by the command, fresh rows, and the original's probabilities of the event."""

    folder: Path
    said: dict[str, Any]
    rows: list[dict[str, Any]]
    own: NDArray[np.float64]


def made_rows(count: int) -> pl.DataFrame:
    """Rows with a label; one score in seventeen is not known."""
    random = np.random.default_rng(11)
    amount, age = random.lognormal(3, 1, count), random.integers(18, 80, count)
    score, city = random.normal(size=count), random.choice(["Ulm", "Bonn", "Kiel"], count)
    chance = 1.5 * score - 0.03 * (age - 45) + (city == "Ulm") + np.log(amount) / 3 - 1
    paid = np.where(chance + random.logistic(size=count) * 0.5 > 0, "yes", "no")
    rows = pl.DataFrame({"amount": amount, "age": age, "score": score, "city": city, "paid": paid})
    return rows.with_columns(pl.when(pl.int_range(count) % 17 != 3).then("score"))


def command(*words: str | Path) -> Any:
    """``roadworthy`` with these words, in this process; a refusal is its ``exception``."""
    return CliRunner().invoke(app, list(map(str, words)))


def packaged(folder: Path, model: str, rows: pl.DataFrame, own: NDArray[np.float64]) -> Packaged:
    """The command, in a folder that holds nothing but the model, the rows and a standard."""
    (folder / "ours.toml").write_text(STANDARD)
    words = ["package", model, "fresh.parquet", "--target", "paid", "--standard", "ours.toml", "--quick", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "roadworthy", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Packaged(folder, json.loads(done.stdout), rows.drop("paid").to_dicts(), own)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    """A booster in LightGBM's own file; the file knows labels as 0 and 1."""
    import lightgbm  # noqa: PLC0415 - half a second

    folder = tmp_path_factory.mktemp("trees")
    rows = made_rows(900).with_columns((pl.col("paid") == "yes").cast(pl.Int8)).drop("city")
    x, y = rows.drop("paid").to_pandas(), rows.get_column("paid").to_numpy()
    model = lightgbm.LGBMClassifier(n_estimators=40, num_leaves=15, n_jobs=1, verbose=-1)
    model.fit(x[:400], y[:400])
    model.booster_.save_model(folder / "trees.txt")
    rows[400:].write_parquet(folder / "fresh.parquet")
    return packaged(folder, "trees.txt", rows[400:], np.asarray(model.predict_proba(x[400:]))[:, 1])


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    """A scikit-learn pipeline with imputing, scaling and one-hot encoding, as skl2onnx writes it (labels in a map)."""
    from skl2onnx import to_onnx  # noqa: PLC0415 - a second
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType  # noqa: PLC0415 - as above
    from sklearn.compose import ColumnTransformer  # noqa: PLC0415 - as above
    from sklearn.impute import SimpleImputer  # noqa: PLC0415 - as above
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - as above
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415 - as above
    from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: PLC0415 - as above

    folder = tmp_path_factory.mktemp("pipe")
    rows, numbers = made_rows(900), ["amount", "age", "score"]
    steps = [("n", make_pipeline(SimpleImputer(), StandardScaler()), numbers), ("c", OneHotEncoder(), ["city"])]
    model = make_pipeline(ColumnTransformer(steps), LogisticRegression())
    model.fit(rows[:400].drop("paid").to_pandas(), rows[:400].get_column("paid").to_list())
    types = [(name, FloatTensorType([None, 1])) for name in numbers] + [("city", StringTensorType([None, 1]))]
    (folder / "pipe.onnx").write_bytes(to_onnx(model, initial_types=types).SerializeToString())
    rows[400:].write_parquet(folder / "fresh.parquet")
    own = model.predict_proba(rows[400:].drop("paid").to_pandas())[:, 1]
    return packaged(folder, "pipe.onnx", rows[400:], own)


@pytest.mark.parametrize("kind", ["trees", "pipeline"])
def test_served_scores_are_the_models_own(kind: str, request: pytest.FixtureRequest, serving: Start) -> None:
    found: Packaged = request.getfixturevalue(kind)
    title = found.said["version"]
    assert found.said["readiness"] == "ready"
    assert found.said["wrote_project"]

    assert command("promote", "1", "-p", found.folder).exit_code == 0
    listed = command("status", "-p", found.folder).stdout
    assert "champion is version 1" in listed
    assert "*    1  ready" in listed

    unknown = next(place for place, row in enumerate(found.rows) if row["score"] is None)
    server = serving(found.folder)
    with rw.Client(server.address) as client:
        answered = client.predict(found.rows)
        one = client.predict(found.rows[unknown])
    assert answered.version == title
    assert np.abs(np.array(answered.scores) - found.own).max() < 1e-6
    assert [label in {"yes", "1"} for label in answered.decisions] == (found.own >= 0.5).tolist()
    assert abs(one.scores[0] - found.own[unknown]) < 1e-6  # what is not known travels as the model's framework has it


def test_what_is_not_ready_is_not_promoted_and_a_second_package_is_a_second_version(trees: Packaged) -> None:
    file = trees.folder / "roadworthy.toml"
    text = file.read_text()
    file.write_text(text.replace(">= 0.6", ">= 0.999"))
    rows = trees.folder / "fresh.parquet"
    words = ["--target", "paid", "--quick", "--json"]
    done = command("package", trees.folder / "trees.txt", rows, *words, "-p", trees.folder)
    assert done.exit_code == 1, done.output
    said = json.loads(done.stdout)
    assert (said["version"], said["readiness"], said["wrote_project"]) == ("trees-2", "not ready", False)

    refused = command("promote", "2", "-p", trees.folder)
    assert isinstance(refused.exception, PromotionRefused)
    assert "trees-2 cannot become champion" in str(refused.exception)
    listed = json.loads(command("status", "-p", trees.folder, "--json").stdout)
    assert [version["number"] for version in listed["versions"]] == [2, 1]
    assert all(Path(version["bundle"], "manifest.sig").exists() for version in listed["versions"])
    file.write_text(text)
