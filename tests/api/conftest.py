"""Finished projects of every task, each run once: clicks with many aggregates, wine and diabetes from scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent.parent

AGGREGATES = """click_rate = "clicks / nullif(impressions, 0)"
visits = { count = "*" }
recent_visits = { count = "*", window = "5 days" }
past_rate = { ratio = [{ sum = "clicks" }, { sum = "impressions" }] }
mean_dwell = { mean = "dwell_seconds", where = "device <> 'tablet'" }
last_rate = { last = "click_rate" }
device_clicks = { sum = "clicks", by = "device", window = "1 day" }
above_usual = "coalesce(click_rate, 0) - coalesce(past_rate, 0)"
"""


@dataclass(frozen=True)
class Finished:
    """A project that was run once: its folder, its raw rows, and what the run kept of them."""

    folder: Path
    raw: pl.DataFrame
    table: pl.DataFrame
    holdout: pl.DataFrame
    model: Path
    classes: tuple[str, ...]

    def scores(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """[rows] or [rows, classes] from a frame that has ``score`` or ``score_…`` columns."""
        columns = [name for name in frame.columns if name.startswith("score")]
        values: NDArray[np.float64] = frame.select(columns).to_numpy().astype(np.float64)
        return values[:, 0] if len(columns) == 1 else values


def taken(folder: Path, raw: pl.DataFrame) -> Finished:
    """Run a project and gather what its stages left."""
    from roadworthy import api  # noqa: PLC0415 - heavy, and only these tests need it

    outcome = api.run(folder)
    records: Any = outcome.result.records
    lake = folder / ".roadworthy" / "lake"

    def place(stage: str, digest: str) -> Path:
        return lake / stage / digest.removeprefix("sha256:")[:16]

    trained = place("train", records.trained.digest) / records.validation.choice.candidate
    return Finished(
        folder,
        raw,
        pl.read_parquet(place("features", records.table.digest) / "rows.parquet"),
        pl.read_parquet(trained / "holdout.parquet"),
        outcome.bundle / "model.onnx",
        records.trained.classes,
    )


def started(folder: Path, raw: pl.DataFrame, target: str, candidate: str) -> Finished:
    """``init`` and ``run`` with one candidate and two folds; the rows come as CSV."""
    from roadworthy import api  # noqa: PLC0415 - as above

    folder.mkdir()
    raw.write_csv(folder / "rows.csv")
    api.init(str(folder / "rows.csv"), target=target, folder=folder)
    file = folder / "roadworthy.toml"
    text = file.read_text()
    before, _, after = text.partition("candidates = ")
    file.write_text(f'{before}candidates = ["{candidate}"]\nfolds = 2\n{after.partition(chr(10))[2]}')
    return taken(folder, raw)


@pytest.fixture(scope="session")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    from sklearn.datasets import load_wine  # noqa: PLC0415 - half a second

    found = load_wine()
    names = [name.replace("/", "_") for name in found.feature_names]
    raw = pl.DataFrame(found.data, schema=names).with_columns(kind=pl.Series(found.target_names[found.target].tolist()))
    return started(tmp_path_factory.mktemp("wine") / "wine", raw, "kind", "logistic")


@pytest.fixture(scope="session")
def diabetes(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    from sklearn.datasets import load_diabetes  # noqa: PLC0415 - as above

    found = load_diabetes(scaled=False)
    raw = pl.DataFrame(found.data, schema=list(found.feature_names)).with_columns(progression=found.target)
    return started(tmp_path_factory.mktemp("diabetes") / "diabetes", raw, "progression", "gbdt")


@pytest.fixture(scope="session")
def visits(tmp_path_factory: pytest.TempPathFactory, clicks: pl.DataFrame) -> Finished:
    """Clicks with every kind of aggregate, and rows that training does not keep: no clicks, a band that is none."""
    folder = tmp_path_factory.mktemp("visits") / "visits"
    (folder / "data").mkdir(parents=True)
    odd = pl.int_range(pl.len()) % 50 == 7
    raw = clicks.with_columns(age_band=pl.when(odd).then(pl.lit("none of yours")).otherwise("age_band"))
    raw.write_parquet(folder / "data" / "clicks.parquet")
    text = (ROOT / "examples" / "clicks" / "roadworthy.toml").read_text()
    features = text[text.index("[features]\n") + len("[features]\n") : text.index("[training]")]
    text = text.replace(features, f"{AGGREGATES}\n").replace('["logistic", "mlp", "gbdt"]', '["gbdt"]\nfolds = 2')
    text = text.replace('protected = ["age_band"]', 'exclude = { age_band = "known only later" }')
    (folder / "roadworthy.toml").write_text(text)
    return taken(folder, raw)
