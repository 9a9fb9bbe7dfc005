"""The features stage: the table it writes, and what it leaves alone."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from roadworthy.errors import ExpressionError
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.data import CleanRows
from roadworthy.records.model import ProgressLine
from roadworthy.records.project import Aggregate, DataSpec, ProjectSpec, Task
from roadworthy.stages import features


class Heard:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.steps = 0
        self.summary = ""

    def begin(self, task: str, total: int | None = None) -> None:
        assert task == "features"
        self.total = total

    def advance(self, task: str, steps: int = 1) -> None:
        assert task == "features"
        self.steps += steps

    def end(self, task: str, summary: str = "", *, reused: bool = False) -> None:
        assert (task, reused) == ("features", False)
        self.summary = summary

    def line(self, line: ProgressLine) -> None:
        raise AssertionError(f"no epochs here: {line}")


def project(**declared: str | Aggregate) -> ProjectSpec:
    columns = {
        "timestamp": ColumnType.TIME,
        "user_id": ColumnType.TEXT,
        "impressions": ColumnType.INTEGER,
        "clicks": ColumnType.INTEGER,
        "converted": ColumnType.BOOLEAN,
    }
    return ProjectSpec(
        name="clicks",
        task=Task.BINARY,
        target="converted",
        data=DataSpec(source="x.csv", time="timestamp", entity="user_id"),
        contract=Contract(columns={name: ColumnContract(type=kind) for name, kind in columns.items()}),
        features=declared,
    )


@pytest.fixture
def clean(tmp_path: Path) -> tuple[CleanRows, Path]:
    times = [datetime(2026, 1, 1, 0, 0, second) for second in (0, 10, 5, 40)]  # noqa: DTZ001 - UTC without a zone
    frame = pl.DataFrame(
        {
            "_row": [0, 2, 3, 7],
            "timestamp": pl.Series(times, dtype=pl.Datetime("us")),
            "user_id": ["a", "a", "b", "a"],
            "impressions": [2, 0, 4, 4],
            "clicks": [1, 0, 1, 0],
            "converted": [True, None, False, None],
        }
    )
    path = tmp_path / "clean.parquet"
    frame.write_parquet(path)
    record = CleanRows(
        digest="sha256:c",
        parent="sha256:s",
        rows_in=4,
        rows=4,
        quarantined=0,
        columns=tuple(frame.columns[1:]),
        reasons={},
        repairs={},
    )
    return record, path


def test_writes_clean_rows_with_features_beside_them(clean: tuple[CleanRows, Path], tmp_path: Path) -> None:
    record, path = clean
    spec = project(
        click_rate="clicks / nullif(impressions, 0)",
        since=Aggregate(seconds_since_last="timestamp", where="clicks > 0"),
    )
    folder = tmp_path / "out"
    folder.mkdir()
    heard = Heard()
    table = features.run(record, path, spec, folder, "sha256:f", heard)
    written = pl.read_parquet(folder / "rows.parquet")
    assert written.drop("click_rate", "since").equals(pl.read_parquet(path))
    assert written["click_rate"].to_list() == [0.5, None, 0.25, 0.0]
    assert written["since"].to_list() == [None, 10.0, None, 40.0]
    assert (table.digest, table.parent, table.rows) == ("sha256:f", "sha256:c", 4)
    assert table.columns == (*record.columns, "click_rate", "since")
    assert [feature.name for feature in table.features] == ["click_rate", "since"]
    assert heard.steps == features.steps(spec) == 2


def test_without_features_the_rows_pass_through(clean: tuple[CleanRows, Path], tmp_path: Path) -> None:
    record, path = clean
    table = features.run(record, path, project(), tmp_path, "sha256:f", Heard())
    assert table.columns == record.columns
    assert pl.read_parquet(tmp_path / "rows.parquet").equals(pl.read_parquet(path))


def test_a_bad_feature_leaves_nothing_behind(clean: tuple[CleanRows, Path], tmp_path: Path) -> None:
    record, path = clean
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(ExpressionError, match="it looks at the target"):
        features.run(record, path, project(leak="converted"), folder, "sha256:f", Heard())
    assert list(folder.iterdir()) == []
