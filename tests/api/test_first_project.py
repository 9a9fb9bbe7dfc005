"""``init``: no row and no secret in the project file, no file that would be refused, keys for every new project."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from roadworthy import api, assembly
from roadworthy.adapters.keys import keys_folder
from roadworthy.adapters.sources import open_source
from roadworthy.errors import UsageError
from roadworthy.formats.project import read_project


@pytest.fixture
def rows() -> pl.DataFrame:
    place = pl.int_range(200, eager=True)
    return pl.DataFrame({"mail": [f"ada{i}@example.org" for i in place], "a": place % 7, "y": place % 2})


def test_a_frame_is_refused_and_nothing_of_it_is_written(rows: pl.DataFrame, tmp_path: Path) -> None:
    for frame in (rows, rows.lazy(), rows.to_pandas(), rows.to_arrow()):
        with pytest.raises(UsageError, match="cannot name a") as caught:
            api.init(frame, target="y", folder=tmp_path)  # type: ignore[arg-type]  # what a person may try
        assert "write_parquet" in str(caught.value)
        assert "@example" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_paths_start_at_the_project_however_they_are_given(
    rows: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows.write_csv("rows.csv")
    rows.to_pandas().to_sql("rows", connection := sqlite3.connect("rows.db"), index=False)
    connection.close()
    declared: list[Any] = [
        "rows.csv",
        Path("rows.csv"),
        tmp_path / "rows.csv",
        {"path": "rows.csv", "delimiter": ","},
        {"url": "sqlite:///rows.db", "query": "select * from rows"},
    ]
    written: list[Any] = []
    for place, data in enumerate(declared):
        made = api.init(data, target="y", folder=Path("deep") / str(place))
        source = read_project(made.file).spec.data.source
        written.append(source)
        opened = open_source(source, made.file.parent)
        assert opened.scan().collect().height == 200
    assert written[:4] == ["../../rows.csv"] * 3 + [{"path": "../../rows.csv", "delimiter": ","}]
    assert written[4]["url"] == "sqlite:///../../rows.db"


@pytest.mark.parametrize(
    "source",
    [
        {"url": "postgresql://me:hunter2@host/shop", "query": "select 1"},
        {"url": "postgresql://me:p@hunter2:x@host/shop", "query": "select 1"},
        {"url": "postgresql://me@host/shop?password=hunter2", "query": "select 1"},
        {"url": "postgresql://me@host/shop?sslpassword=hunter2", "query": "select 1"},
        {"url": "s3://AKIA:hunter2/cd+ef@bucket/a.parquet"},
        {"url": "az://box/a.csv?sv=1&sig=hunter2"},
        {"url": "s3://box/a.csv", "storage_options": {"aws_secret_access_key": "hunter2"}},
        "s3://AKIA:hunter2@bucket/a.parquet",
    ],
)
def test_a_secret_is_refused_by_its_place_and_not_shown(source: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds a secret") as caught:
        api.init(source, target="y", folder=tmp_path)
    assert "${NAME}" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_password_from_the_environment_is_written_as_its_name() -> None:
    from roadworthy.api.written_source import source_as_written  # noqa: PLC0415 - loads the errors alone

    named = {"url": "postgresql://me:${PGPASS}@host/shop?sslmode=require", "query": "select 1"}
    assert source_as_written(named, Path()) == named
    options = {"url": "s3://box/a.csv", "storage_options": {"aws_region": "x", "aws_secret_access_key": "${KEY}"}}
    assert source_as_written(options, Path()) == options


def test_names_are_such_as_the_project_file_takes(rows: pl.DataFrame, tmp_path: Path) -> None:
    for file, name in (("données.csv", "donnees"), ("Größe 2.csv", "groe-2"), ("数据.csv", "model")):
        rows.write_csv(tmp_path / file)
        made = api.init(str(tmp_path / file), target="y", folder=tmp_path / name)
        assert made.spec.name == name
        assert read_project(made.file).spec.name == name
    for wrong, hint in (("my model", "--name my-model"), ("-x", "--name x"), ("数", "--name model")):
        with pytest.raises(UsageError, match=hint):
            api.init(str(tmp_path / "数据.csv"), target="y", folder=tmp_path / "none", name=wrong)
    assert not (tmp_path / "none").exists()


def test_a_new_project_gets_keys_where_the_lake_is_shared_or_mounted(
    rows: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = tmp_path / "lake"
    (lake / "package" / "of-another-project").mkdir(parents=True)
    monkeypatch.setenv("ROADWORTHY_LAKE", str(lake))
    rows.write_csv(tmp_path / "rows.csv")
    made = api.init(str(tmp_path / "rows.csv"), target="y", folder=tmp_path)
    assert assembly.project_keys(assembly.open_project(made.file)).public_pem


def test_lost_keys_are_not_made_anew_once_there_is_a_version(copied: Path) -> None:
    opened = assembly.open_project(copied)
    shutil.rmtree(keys_folder(copied))
    with pytest.raises(UsageError, match="restore"):
        assembly.project_keys(opened)
    assert not keys_folder(copied).exists()
