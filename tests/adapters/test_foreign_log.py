"""Logs of models that others serve: the same shape as our own, whatever they were written by; all problems at once."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import polars as pl
import pytest

from roadworthy.adapters.foreign_log import ForeignColumns, foreign_labels, foreign_log
from roadworthy.adapters.prediction_log import read_log
from roadworthy.adapters.prediction_log.reading import with_labels
from roadworthy.adapters.sources import frame_source, open_source
from roadworthy.errors import DataError
from roadworthy.protocols import Source
from roadworthy.records.project import Task

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLUMNS = ForeignColumns(time="when", score="p", label="truth", id="key", version="build", entity="who")


@pytest.fixture
def table() -> pl.DataFrame:
    """Four predictions, out of order in time; the third has no label yet."""
    return pl.DataFrame(
        {
            "key": [7, 8, 9, 10],
            "when": [START + timedelta(hours=hours) for hours in (3, 1, 2, 0)],
            "p": [0.9, 0.2, 0.5, 0.1],
            "truth": [1, 1, None, 0],
            "build": ["b2", "b1", "b1", "b1"],
            "who": ["ann", "bob", "ann", "cy"],
            "score": [1.5, 2.5, 3.5, 4.5],
            "colour": ["red", None, "blue", "red"],
        }
    )


def as_kind(table: pl.DataFrame, kind: str, folder: Path) -> tuple[Source, ForeignColumns]:
    columns = COLUMNS
    if kind == "parquet":
        table.write_parquet(folder / "log.parquet")
        return open_source("log.parquet", folder), columns
    if kind == "csv":
        table.write_csv(folder / "log.csv")
        return open_source("log.csv", folder), columns
    if kind == "epoch":
        numbers = table.with_columns(pl.col("when").dt.epoch("ms"))
        return frame_source(numbers), msgspec.structs.replace(columns, time_format="epoch_ms")
    with sqlite3.connect(folder / "log.db") as database:
        plain = table.with_columns(pl.col("when").dt.strftime("%Y-%m-%d %H:%M:%S+00:00"))
        database.execute("create table log ({})".format(", ".join(f'"{name}"' for name in plain.columns)))
        database.executemany(f"insert into log values ({', '.join('?' * plain.width)})", plain.rows())
    database.close()
    return open_source({"url": "sqlite:///log.db", "query": "select * from log"}, folder), columns


@pytest.mark.parametrize("kind", ["parquet", "csv", "epoch", "sql"])
def test_the_same_log_from_wherever_it_comes(table: pl.DataFrame, kind: str, tmp_path: Path) -> None:
    source, columns = as_kind(table, kind, tmp_path)
    log = foreign_log(source, columns, classes=["0", "1"], threshold=0.5)
    assert log.labels is not None
    rows = with_labels(log.rows.collect(), log.labels)
    own = read_log(tmp_path).collect_schema()
    assert {name: kind for name, kind in log.rows.collect_schema().items() if name in own} == dict(own)
    assert rows.columns[:10] == [*own, "who", "input.score", "colour"]
    assert rows.get_column("id").to_list() == ["10", "8", "9", "7"]
    assert rows.get_column("at").to_list() == [
        (START + timedelta(hours=hours)).replace(tzinfo=None) for hours in range(4)
    ]
    assert rows.get_column("decision").to_list() == ["0", "0", "1", "1"]
    assert rows.get_column("version").to_list() == ["b1", "b1", "b1", "b2"]
    assert rows.get_column("label").to_list() == ["0", "1", None, "1"]
    assert log.labels.received == 3


def test_all_problems_come_at_once_and_hold_no_value(table: pl.DataFrame) -> None:
    with pytest.raises(DataError) as absent:
        foreign_log(frame_source(table), ForeignColumns(time="wen", score="p", id="kee"), classes=["0"])
    assert [str(problem).partition(";")[0] for problem in absent.value.problems] == [
        "time: no column 'wen'", "id: no column 'kee'",
    ]  # fmt: skip
    assert "did you mean 'when'?" in str(absent.value)
    with pytest.raises(DataError, match="nothing says what a score decides"):
        foreign_log(frame_source(table), COLUMNS)
    broken = table.with_columns(
        when=pl.Series(["secret words", "2026-03-01", "2026-03-01T10:00", None]),
        p=pl.Series([0.1, float("nan"), 0.2, 1.0]),
        key=pl.Series([1, 1, 2, 3]),
    )  # fmt: skip
    with pytest.raises(DataError) as unreadable:
        foreign_log(frame_source(broken), COLUMNS, classes=["0", "1"], threshold=0.5)
    assert {problem.where: problem.found for problem in unreadable.value.problems} == {
        "time": "2 of 4 rows have none that can be read",
        "score": "1 of 4 rows have none that can be read",
        "id": "1 of 4 rows stand under an id that another row has",
    }
    assert "secret" not in str(unreadable.value)
    numbers = table.with_columns(when=pl.lit(1_700_000_000))
    with pytest.raises(DataError, match="time: 4 of 4 rows"):  # seconds or milliseconds is not guessed
        foreign_log(frame_source(numbers), COLUMNS, classes=["0", "1"], threshold=0.5)


def test_without_time_and_id_rows_stand_in_the_order_of_the_source(table: pl.DataFrame) -> None:
    log = foreign_log(frame_source(table), ForeignColumns(decision="truth"), version="theirs")
    rows = log.rows.collect()
    assert rows.get_column("id").to_list() == [f"r{place:012d}" for place in range(4)]
    assert rows.get_column("key").to_list() == [7, 8, 9, 10]
    assert rows.get_column("decision").to_list() == ["1", "1", None, "0"]
    assert set(rows.get_column("version")) == {"theirs"}
    assert ["windows are cut by count" in note for note in log.notes] == [True, False]


def test_several_classes_and_numbers(table: pl.DataFrame) -> None:
    table = table.with_columns(q=1 - pl.col("p") - 0.05, r=pl.lit(0.05))
    columns = ForeignColumns(scores={"a": "p", "b": "q", "c": "r"}, id="key")
    rows = foreign_log(frame_source(table), columns, task=Task.MULTICLASS, classes=["a", "b", "c"]).rows.collect()
    assert rows.get_column("decision").to_list() == ["a", "b", "a", "b"]
    assert rows.schema["score"] == pl.List(pl.Float64)
    prices = ForeignColumns(score="score", label="p", id="key")
    log = foreign_log(frame_source(table), prices, task=Task.REGRESSION)
    assert log.labels is not None
    assert log.labels.latest.get_column("value").to_list() == [0.9, 0.2, 0.5, 0.1]
    assert log.rows.collect().get_column("decision").null_count() == 4


def test_labels_in_a_file_of_their_own_late_and_contradictory() -> None:
    later = pl.DataFrame(
        {"key": [7, 8, 7, 99], "truth": ["no", "yes", "yes", None],
         "told": ["2026-03-04", "2026-03-02", "2026-03-03", "2026-03-02"]}
    )  # fmt: skip
    read = foreign_labels(frame_source(later), ForeignColumns(id="key", label="truth", labelled="told"))
    assert (read.received, read.changed) == (3, 1)
    assert read.latest.select("id", "label").rows() == [("8", "yes"), ("7", "no")]
    with pytest.raises(DataError, match="nothing says which prediction"):
        foreign_labels(frame_source(later), ForeignColumns(label="truth"))
