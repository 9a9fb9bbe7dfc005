"""The clean stage: what it writes, what it counts, what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from roadworthy.errors import ContractError, DataError, TargetError
from roadworthy.records.contract import ColumnContract as Column
from roadworthy.records.contract import ColumnType, Contract, MissingPolicy
from roadworthy.records.data import CleanRows, Snapshot
from roadworthy.records.project import DataSpec, ProjectSpec, Task
from roadworthy.stages import clean
from roadworthy.testing import SilentReporter

NUMBER, INTEGER, CATEGORY = ColumnType.NUMBER, ColumnType.INTEGER, ColumnType.CATEGORY


def project(
    target: Column, *, task: Task = Task.BINARY, positive: str = "", personal: tuple[str, ...] = (), **columns: Column
) -> ProjectSpec:
    return ProjectSpec(
        name="p",
        task=task,
        target="y",
        positive=positive,
        data=DataSpec(source="x.csv", personal=personal),
        contract=Contract(columns={**columns, "y": target}),
    )


def run(folder: Path, spec: ProjectSpec, reporter: SilentReporter | None = None, **data: Any) -> CleanRows:
    frame = pl.DataFrame(data)
    frame.write_parquet(folder / "snapshot.parquet")
    snapshot = Snapshot(
        digest="sha256:s", source="x.csv", source_digest="sha256:x", rows=frame.height, columns=tuple(frame.columns)
    )
    return clean.run(snapshot, folder / "snapshot.parquet", spec, folder, "sha256:c", reporter or SilentReporter())


def test_two_files_and_counts_that_add_up(tmp_path: Path) -> None:
    spec = project(Column(type=CATEGORY), a=Column(type=NUMBER, min=0, missing=MissingPolicy.REJECT))
    quiet = SilentReporter()
    rows = run(tmp_path, spec, quiet, a=["1", "x", "", "-3", "4"], y=["n", "y", "y", "n", " y"], extra=[1, 2, 3, 4, 5])
    assert (rows.rows_in, rows.rows, rows.quarantined) == (5, 2, 3)
    assert (rows.digest, rows.parent, rows.columns) == ("sha256:c", "sha256:s", ("a", "y"))
    assert rows.reasons == {"a: below 0": 1, "a: missing": 1, "a: not a number": 1}
    assert rows.repairs["y: spaces trimmed"] == 1
    kept = pl.read_parquet(tmp_path / "rows.parquet")
    assert kept.rows() == [(0, 1.0, "n"), (4, 4.0, "y")]
    assert kept.schema == pl.Schema({"_row": pl.Int64, "a": pl.Float64, "y": pl.String})
    bad = pl.read_parquet(tmp_path / "quarantine.parquet")
    assert bad.get_column("_row").to_list() == [1, 2, 3]
    assert bad.row(0) == ("x", "y", 2, 1, ["a: not a number"])
    assert quiet.steps == {"clean": 3}


def test_quarantine_is_written_even_when_empty(tmp_path: Path) -> None:
    rows = run(tmp_path, project(Column(type=INTEGER), a=Column(type=NUMBER)), a=[1.0, 2.0], y=[0, 1])
    bad = pl.read_parquet(tmp_path / "quarantine.parquet")
    assert (rows.quarantined, bad.height) == (0, 0)
    assert dict(bad.schema) == {"a": pl.Float64, "y": pl.Int64, "_row": pl.Int64, "_reasons": pl.List(pl.String)}


def test_no_row_left_names_the_reasons(tmp_path: Path) -> None:
    spec = project(Column(type=CATEGORY), a=Column(type=NUMBER))
    with pytest.raises(ContractError, match="none of the 2 rows") as caught:
        run(tmp_path, spec, a=["x", "z"], y=["a", "b"])
    assert "a: not a number: 2 rows" in str(caught.value)
    with pytest.raises(ContractError, match="no rows"):
        run(tmp_path, spec, a=pl.Series([], dtype=pl.String), y=pl.Series([], dtype=pl.String))


@pytest.mark.parametrize(
    ("target", "task", "positive", "values", "said"),
    [
        (Column(type=CATEGORY), Task.BINARY, "", ["a", "a"], "only the value a"),
        (Column(type=CATEGORY), Task.BINARY, "", [None, None], "no value at all"),
        (Column(type=CATEGORY), Task.BINARY, "", ["a", "b", "c"], "3 classes"),
        (Column(type=CATEGORY), Task.BINARY, "yess", ["yes", "no"], "did you mean 'yes'"),
        (Column(type=CATEGORY), Task.REGRESSION, "", ["a", "b"], "regression cannot estimate"),
        (Column(type=NUMBER), Task.REGRESSION, "", ["5", "5"], "only the value 5.0"),
        (Column(type=ColumnType.TIME), Task.BINARY, "", ["2020-01-01", "2020-01-02"], "no class"),
    ],
)
def test_a_target_that_cannot_be_learned_is_refused(
    tmp_path: Path, target: Any, task: Task, positive: str, values: list[Any], said: str
) -> None:
    spec = project(target, task=task, positive=positive, a=Column(type=NUMBER))
    with pytest.raises(TargetError, match=said):
        run(tmp_path, spec, a=["1"] * len(values), y=pl.Series(values, dtype=pl.String))


@pytest.mark.parametrize(
    ("kind", "values", "positive"),
    [(INTEGER, [0, 1], "1"), (NUMBER, [0.0, 1.0], "1"), (ColumnType.BOOLEAN, [True, False], "true")],
)
def test_labels_of_any_type_are_compared_as_texts(
    tmp_path: Path, kind: ColumnType, values: list[Any], positive: str
) -> None:
    rows = run(tmp_path, project(Column(type=kind), positive=positive, a=Column(type=NUMBER)), a=[1.0, 2.0], y=values)
    assert rows.rows == 2


def test_rows_without_a_target_stay_unless_the_contract_rejects_them(tmp_path: Path) -> None:
    stays = run(tmp_path, project(Column(type=CATEGORY), a=Column(type=NUMBER)), a=["1"] * 3, y=["a", "b", ""])
    assert stays.rows == 3
    strict = Column(type=CATEGORY, missing=MissingPolicy.REJECT)
    assert run(tmp_path, project(strict, a=Column(type=NUMBER)), a=["1"] * 3, y=["a", "b", ""]).rows == 2


def test_hashed_columns_need_not_look_like_what_they_were(tmp_path: Path) -> None:
    spec = project(Column(type=CATEGORY), who=Column(type=INTEGER, min=0), personal=("who",))
    rows = run(tmp_path, spec, who=["9f86d081884c", "60303ae22b99"], y=["a", "b"])
    assert rows.rows == 2


def test_a_snapshot_of_another_size_is_not_believed(tmp_path: Path) -> None:
    spec = project(Column(type=CATEGORY))
    pl.DataFrame({"y": ["a", "b"]}).write_parquet(tmp_path / "s.parquet")
    snapshot = Snapshot(digest="sha256:s", source="x", source_digest="sha256:x", rows=3, columns=("y",))
    with pytest.raises(DataError, match="names 3 rows"):
        clean.run(snapshot, tmp_path / "s.parquet", spec, tmp_path, "sha256:c", SilentReporter())
