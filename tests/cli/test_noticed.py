"""What `init` says and writes of what it noticed: short for wide tables, and nothing left out."""

from __future__ import annotations

import tomllib
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from roadworthy import api
from roadworthy.cli.noticed import noticed
from roadworthy.transforms.inference import Inference, Note, infer

N = 300
RNG = np.random.default_rng(5)


def wide() -> pl.DataFrame:
    """Twenty measured columns with a sentinel, an identifier, a column that gives the answer away, dates."""
    y = RNG.normal(size=N)
    measured = {f"m{at}": np.where(RNG.random(N) < 0.1, -200.0, 5 + RNG.normal(size=N)) for at in range(20)}
    codes = {f"k{at}": [str(code) for code in RNG.integers(0, 9, N)] for at in range(4)}
    days = [datetime(2024, 1, 1) + timedelta(days=at) for at in range(N)]  # noqa: DTZ001 - without a zone, as stored
    return pl.DataFrame({"row_id": range(N), "day": days, **measured, **codes, "twice": 2 * y, "y": y})


@pytest.fixture(scope="module")
def found() -> Inference:
    return infer(wide(), target="y", source_name="made up")


def test_the_same_thing_said_of_many_columns_is_one_line(found: Inference) -> None:
    lines = noticed(found)
    assert len(lines) < 12
    (sentinels,) = [line for line in lines if line.startswith("20 columns: -200 stands in")]
    assert sentinels.endswith("m0, m1, m2, m3, m4, m5 and 14 more")
    assert "(so m0; the others likewise)" in sentinels
    assert f"4 columns: {N} numbers are written as text: k0, k1, k2, k3" in lines


def test_the_task_stands_first_and_every_column_left_out_is_named(found: Inference) -> None:
    lines = noticed(found)
    assert lines[0].startswith("y: task regression")
    assert any(line.startswith("row_id: left out: an identifier") for line in lines)
    assert "twice: left out: y in another unit" in " ".join(lines)


def test_law_every_note_is_in_a_line() -> None:
    notes = tuple(Note(f"c{at % 7}", "missing", f"{at} cells of kind {'ab'[at % 2]}") for at in range(30))
    task = infer(wide(), target="y", source_name="made up")
    lines = noticed(
        type(task)(source_name="", target="y", task=task.task, positive="", contract=task.contract, notes=notes)
    )
    assert [line.split(" ")[0] for line in lines] == ["15", "15"]


def test_the_written_file_reads_well(tmp_path: Path) -> None:
    wide().write_parquet(tmp_path / "wide.parquet")
    made = api.init(str(tmp_path / "wide.parquet"), target="y", folder=tmp_path)
    text = made.file.read_text()
    table = tomllib.loads(text)
    assert list(table["data"]["exclude"]) == ["row_id", "twice"]
    assert text.count("numbers are written as text") == 1
    assert f"# {N} numbers are written as text: k0, k1, k2, k3\n" in text
    assert "twice: twice" not in text
    assert table["features"] == {"day_weekday": 'weekday("day")'}  # dates have no hour


def test_free_text_alone_says_what_to_do() -> None:
    words = RNG.choice(["now", "free", "call", "later", "home", "prize", "lunch"], (N, 14))
    frame = pl.DataFrame({"y": ["spam", "ham", "ham"] * (N // 3), "message": [" ".join(row) for row in words]})
    (line,) = [one for one in noticed(infer(frame, target="y", source_name="made up")) if "No candidate" in one]
    assert "No candidate reads free text (message): bring numbers or categories made of it" in line
