"""``score``: every row in its place, a whole file or none, memory that does not grow, frames from Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from roadworthy import api
from roadworthy.api import answers
from roadworthy.errors import DataError, ModelError, SourceError, UsageError
from roadworthy.graphs.runner import GraphModel
from roadworthy.protocols import Reporter
from roadworthy.records.model import ProgressLine


class Steps(Reporter):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    def begin(self, task: str, total: int | None = None) -> None:
        self.told.append((task, total))

    def advance(self, task: str, steps: int = 1) -> None:
        self.told.append((task, steps))

    def end(self, task: str, summary: str = "", *, reused: bool = False) -> None:
        assert not reused
        self.told.append((task, summary))

    def line(self, line: ProgressLine) -> None:
        raise AssertionError(line)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_BATCH", 100)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("name", ["out.parquet", "out.csv"])
def test_rows_keep_their_place_and_bad_ones_their_reasons(diabetes: Any, tmp_path: Path, name: str) -> None:
    bad = pl.int_range(pl.len())
    rows = diabetes.raw.with_columns(
        bmi=pl.when(bad % 7 == 3).then(pl.lit("heavy")).otherwise(pl.col("bmi").cast(pl.String)),
        bp=pl.when(bad % 14 == 3).then(pl.lit("?!")).otherwise(pl.col("bp").cast(pl.String)),
    )
    out = tmp_path / "new" / name
    told = Steps()
    result = api.score(rows, out, diabetes.folder, reporter=told)
    read = pl.read_parquet(out) if name.endswith("parquet") else pl.read_csv(out)
    assert read.columns == ["row", "score", "problems"]
    assert read["row"].to_list() == list(range(rows.height))
    reasons = [
        "bmi: not a number; bp: not a number" if i % 14 == 3 else "bmi: not a number" if i % 7 == 3 else None
        for i in range(rows.height)
    ]
    assert read["problems"].to_list() == reasons
    assert (read["score"].is_null() == read["problems"].is_not_null()).all()
    assert result.rows == rows.height
    assert result.answered == read["problems"].null_count()
    assert result.problems == {
        "bmi: not a number": sum(r is not None for r in reasons),
        "bp: not a number": sum("bp" in (r or "") for r in reasons),
    }
    assert told.told[0] == ("score", None)
    assert sum(steps for _, steps in told.told[1:-1] if isinstance(steps, int)) == rows.height
    assert told.told[-1] == ("score", f"{rows.height:,} rows")


@pytest.mark.usefixtures("small_batches")
def test_batches_change_no_score(wine: Any, tmp_path: Path) -> None:
    api.score(wine.raw, tmp_path / "parts.parquet", wine.folder)
    parts = pl.read_parquet(tmp_path / "parts.parquet")
    assert (parts.height, parts.columns) == (
        wine.raw.height,
        ["row", *(f"score_{label}" for label in wine.classes), "decision", "problems"],
    )
    whole = GraphModel(wine.model).score(wine.table)
    assert (wine.scores(parts) == whole).all()
    assert parts["decision"].to_list() == [wine.classes[place] for place in whole.argmax(axis=1)]


def test_where_every_row_is_bad_all_keep_their_place(wine: Any, tmp_path: Path) -> None:
    rows = wine.raw.with_columns(alcohol=pl.lit("strong"))
    result = api.score(rows, tmp_path / "out.parquet", wine.folder)
    read = pl.read_parquet(tmp_path / "out.parquet")
    assert (result.rows, result.answered) == (wine.raw.height, 0)
    assert read["decision"].null_count() == read.height
    assert read.select(pl.selectors.starts_with("score_")).null_count().row(0) == (read.height,) * 3
    assert set(read["problems"]) == {"alcohol: not a number"}


def test_frames_and_files_of_every_kind_give_the_same(wine: Any, tmp_path: Path) -> None:
    csv, parquet = tmp_path / "rows.csv", tmp_path / "rows.parquet"
    wine.raw.write_csv(csv)
    wine.raw.write_parquet(parquet)
    out = tmp_path / "out.parquet"
    found = []
    for data in (wine.raw, wine.raw.lazy(), wine.raw.to_pandas(), wine.raw.to_arrow(), csv, str(parquet)):
        api.score(data, out, wine.folder, threads=2)
        found.append(pl.read_parquet(out))
    assert all(one.equals(found[0]) for one in found[1:])


def test_the_columns_may_come_in_any_order_with_others_beside_them_and_without_the_target(
    wine: Any, tmp_path: Path
) -> None:
    api.score(wine.raw, tmp_path / "a.parquet", wine.folder)
    other = wine.raw.select(reversed(wine.raw.columns)).drop("kind").with_columns(more=pl.lit("x"), even=1)
    api.score(other, tmp_path / "b.parquet", wine.folder)
    assert pl.read_parquet(tmp_path / "a.parquet").equals(pl.read_parquet(tmp_path / "b.parquet"))


def test_a_column_that_lacks_is_named_with_the_one_that_may_be_meant(wine: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'alcohl'"):
        api.score(wine.raw.rename({"alcohol": "alcohl"}), tmp_path / "out.parquet", wine.folder)


@pytest.mark.usefixtures("small_batches")
def test_a_batch_that_fails_leaves_the_file_that_was_there(
    diabetes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.parquet"
    out.write_bytes(b"what was there")
    whole = GraphModel.score
    calls = []

    def failing(self: GraphModel, frame: pl.DataFrame, **more: Any) -> Any:
        calls.append(frame.height)
        if len(calls) == 3:
            raise ModelError("the graph failed on these rows")
        return whole(self, frame, **more)

    monkeypatch.setattr(GraphModel, "score", failing)
    with pytest.raises(ModelError):
        api.score(diabetes.raw, out, diabetes.folder)
    assert calls == [100, 100, 100]
    assert out.read_bytes() == b"what was there"
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


@pytest.mark.parametrize("content", ["", "alcohol,malic_acid\n"])
def test_an_empty_file_is_refused(wine: Any, tmp_path: Path, content: str) -> None:
    (tmp_path / "rows.csv").write_text(content)
    with pytest.raises(SourceError):
        api.score(tmp_path / "rows.csv", tmp_path / "out.csv", wine.folder)
    with pytest.raises(SourceError):
        api.score(wine.raw.head(0), tmp_path / "out.csv", wine.folder)
    assert not (tmp_path / "out.csv").exists()


def test_an_ending_that_cannot_be_written_is_refused(wine: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.parquet, \.csv"):
        api.score(wine.raw, tmp_path / "out.xlsx", wine.folder)


MEASURED = """
import re, sys
from pathlib import Path
from roadworthy import api
from roadworthy.api import answers

answers._BATCH = 20_000

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024

api.score("few.parquet", "out.parquet", sys.argv[1])
before = peak()
api.score("many.parquet", "out.parquet", sys.argv[1])
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux's /proc")
def test_memory_does_not_grow_with_the_rows(diabetes: Any, tmp_path: Path) -> None:
    """Fourteen times the rows (50 MB of numbers) take less than 40 MB more."""
    few = pl.concat([diabetes.raw.with_columns(pl.all().cast(pl.Float64))] * 100).sample(
        fraction=1, shuffle=True, seed=1
    )
    few.write_parquet(tmp_path / "few.parquet", row_group_size=20_000)
    pl.concat([few] * 14).write_parquet(tmp_path / "many.parquet", row_group_size=20_000)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, os.fspath(diabetes.folder)],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120,
        env={**os.environ, "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert int(done.stdout) < 40


def test_the_rows_that_are_read_are_never_written_over(visits: Any, tmp_path: Path) -> None:
    """However the source is named, the past included; a link to it is no way round."""
    folder = tmp_path / "in"
    folder.mkdir()
    rows = folder / "rows.parquet"
    visits.raw.head(20).write_parquet(rows)
    before = rows.read_bytes()
    (tmp_path / "link.parquet").symlink_to(rows)
    for data in (rows, str(rows), str(folder / "r*.parquet"), {"path": str(rows)}, folder, tmp_path / "link.parquet"):
        for out in (rows, tmp_path / "link.parquet"):
            with pytest.raises(UsageError, match="would overwrite the rows"):
                api.score(data, out, visits.folder)
    for history in (rows, str(rows), str(folder / "*.parquet")):
        with pytest.raises(UsageError, match="would overwrite the rows"):
            api.score(visits.raw.head(3), rows, visits.folder, history=history)
    with pytest.raises(UsageError, match="stand among them"):
        api.score(folder, folder / "out.parquet", visits.folder)
    assert rows.read_bytes() == before


def test_a_version_that_is_not_ready_says_so(visits: Any, tmp_path: Path) -> None:
    result = api.score(visits.raw.head(3), tmp_path / "out.parquet", visits.folder)
    assert result.notes[0].startswith("clicks-1 is not ")
