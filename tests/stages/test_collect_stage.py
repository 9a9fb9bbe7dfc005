"""Collect: a snapshot pinned by digest, without a clear value of a personal column."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.adapters.keys import Hasher
from roadworthy.adapters.lake import Lake
from roadworthy.adapters.sources import frame_source, open_source
from roadworthy.errors import DataError, SourceError
from roadworthy.protocols import Source
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.data import Snapshot
from roadworthy.records.project import DataSpec, ProjectSpec, Task
from roadworthy.stages import collect
from roadworthy.testing import MemorySource, SilentReporter

HASHER = Hasher(b"h" * 32)


def spec_of(columns: Iterable[str], personal: tuple[str, ...] = (), sentinels: tuple[str, ...] = ()) -> ProjectSpec:
    """A project whose contract names these columns; ``sentinels`` are the personal columns'."""
    contract = Contract(
        columns={
            name: ColumnContract(type=ColumnType.TEXT, sentinels=sentinels if name in personal else ())
            for name in columns
        }
    )
    return ProjectSpec(
        name="p", task=Task.BINARY, target="y", data=DataSpec(source="", personal=personal), contract=contract
    )


def snapshot(
    source: Source, folder: Path, personal: tuple[str, ...] = (), spec: ProjectSpec | None = None
) -> tuple[Snapshot, pl.DataFrame]:
    spec = spec or spec_of(source.scan().collect_schema(), personal)
    digest = collect.snapshot_digest(source, spec, HASHER)
    record = collect.run(source, spec, HASHER, folder, digest, SilentReporter())
    assert record.digest == digest
    assert record.source_digest == source.fingerprint()
    return record, pl.read_parquet(folder / "rows.parquet")


def test_rows_come_as_they_were_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id;amount\n1;007\n2;\n")
    reporter = SilentReporter()
    source = open_source("a.csv", tmp_path)
    spec = spec_of(["id", "amount"])
    digest = collect.snapshot_digest(source, spec, HASHER)
    record = collect.run(source, spec, HASHER, tmp_path, digest, reporter)
    assert pl.read_parquet(tmp_path / "rows.parquet").rows() == [("1", "007"), ("2", None)]
    assert (record.rows, record.columns, record.hashed) == (2, ("id", "amount"), ())
    assert record.source == "a.csv"
    assert any("semicolon" in note for note in record.notes)
    assert reporter.steps == {"collect": 1}


def test_no_clear_personal_value_touches_the_disk(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("mail,n\nada@example.org,1\n,2\nbob@example.org,3\n ada@example.org,4\n")
    lake = Lake(tmp_path / "lake")
    source = open_source("a.csv", tmp_path)
    spec = spec_of(["mail", "n"], ("mail",))
    digest = collect.snapshot_digest(source, spec, HASHER)
    with lake.writing("collect", digest) as folder:
        record = collect.run(source, spec, HASHER, folder, digest, SilentReporter())
    assert record.hashed == ("mail",)
    rows = pl.read_parquet(lake.path("collect", digest) / "rows.parquet")
    hashes = rows["mail"].to_list()
    assert hashes == [HASHER.hash_one("ada@example.org"), None, HASHER.hash_one("bob@example.org"), hashes[0]]
    for path in (tmp_path / "lake").rglob("*"):
        assert path.is_dir() or b"example.org" not in path.read_bytes()


def test_a_whole_parquet_file_is_copied_unless_it_holds_personal_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"user": ["ada", "bob"], "n": [1, 2]}).write_parquet(path, compression="uncompressed")
    folder = tmp_path / "out"
    folder.mkdir()
    snapshot(open_source("a.parquet", tmp_path), folder)
    assert (folder / "rows.parquet").read_bytes() == path.read_bytes()
    _, rows = snapshot(open_source("a.parquet", tmp_path), folder, ("user",))
    assert rows["user"].to_list() == [HASHER.hash_one("ada"), HASHER.hash_one("bob")]
    assert b"ada" not in (folder / "rows.parquet").read_bytes()


def test_the_digest_follows_bytes_columns_personal_ones_and_key(tmp_path: Path) -> None:
    frame = pl.DataFrame({"u": ["a"], "n": [1]})
    source, spec, plain = frame_source(frame), spec_of("un", ("u",)), spec_of("un")
    digest = collect.snapshot_digest(source, spec, HASHER)
    assert digest == collect.snapshot_digest(frame_source(frame.clone()), spec, HASHER)
    other_key = Hasher(b"o" * 32)
    assert digest != collect.snapshot_digest(source, spec, other_key)
    assert digest != collect.snapshot_digest(source, spec_of("un", ("u", "n")), HASHER)
    assert digest != collect.snapshot_digest(source, spec_of("u", ("u",)), HASHER)
    assert digest != collect.snapshot_digest(source, spec_of("un", ("u",), ("?",)), HASHER)
    assert collect.snapshot_digest(source, plain, HASHER) == collect.snapshot_digest(source, plain, other_key)
    (tmp_path / "a.csv").write_text("a\n1\n")
    (tmp_path / "b.csv").write_text("a\n1\n")
    one, two = (collect.snapshot_digest(open_source(n, tmp_path), spec_of("a"), HASHER) for n in ("a.csv", "b.csv"))
    assert one == two


def test_personal_columns_that_are_not_there_are_all_named(tmp_path: Path) -> None:
    source = MemorySource(pl.DataFrame({"user_id": [1], "n": [2]}))
    with pytest.raises(DataError) as caught:
        snapshot(source, tmp_path, spec=spec_of(["user_ix", "phone", "n"], ("user_ix", "phone")))
    assert "did you mean 'user_id'" in str(caught.value)
    assert "'phone'" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_names_that_roadworthy_keeps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column '_row'"):
        snapshot(MemorySource(pl.DataFrame({"_row": [1], "n": [2]})), tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_source_that_changes_while_it_is_read_is_noticed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    write = pl.DataFrame.write_csv if suffix == "csv" else pl.DataFrame.write_parquet
    write(pl.DataFrame({"a": ["x", "y"]}), path)
    source = open_source(path.name, tmp_path)

    class MeddledHasher(Hasher):
        def hash(self, series: pl.Series) -> pl.Series:
            with path.open("ab") as stream:
                stream.write(b"z\n")
            return super().hash(series)

    hasher = MeddledHasher(b"h" * 32)
    spec = spec_of("a", ("a",))
    digest = collect.snapshot_digest(source, spec, hasher)
    with pytest.raises(SourceError, match="changed while it was read"):
        collect.run(source, spec, hasher, tmp_path, digest, SilentReporter())


def test_rows_keep_their_order(tmp_path: Path) -> None:
    count = 700_000
    frame = pl.DataFrame({"n": range(count)}).with_columns(u=(pl.col("n") % 1000).cast(pl.String))
    frame.write_csv(tmp_path / "a.csv")
    _, rows = snapshot(open_source("a.csv", tmp_path), tmp_path, ("u",))
    assert rows["n"].cast(pl.Int64).to_list() == list(range(count))
    expected = [HASHER.hash_one(str(n)) for n in range(1000)]
    assert rows["u"].to_list() == expected * (count // 1000)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.tuples(st.none() | st.text(max_size=3), st.none() | st.integers(-9, 9)), min_size=1))
def test_law_everything_but_personal_columns_is_untouched(
    tmp_path: Path, values: list[tuple[str | None, int | None]]
) -> None:
    frame = pl.DataFrame(values, schema={"who": pl.String, "n": pl.Int64}, orient="row")
    record, rows = snapshot(MemorySource(frame), tmp_path, ("who",))
    assert record.rows == len(values)
    assert rows["n"].equals(frame["n"])
    assert rows["who"].to_list() == [HASHER.hash_one(who) for who, _ in values]


def test_two_personal_columns_at_once(tmp_path: Path) -> None:
    count = 200_000
    frame = pl.DataFrame({"n": range(count)}).select(
        a=pl.format("a{}", pl.col("n") % 5000), b=pl.format("b{}", pl.col("n") % 7000), n="n"
    )
    _, rows = snapshot(MemorySource(frame), tmp_path, ("a", "b"))
    expected = frame.with_columns(pl.Series("a", HASHER.hash(frame["a"])), pl.Series("b", HASHER.hash(frame["b"])))
    assert rows.equals(expected)
    assert HASHER.hash_one("a4999") == rows["a"][4999]


@pytest.mark.parametrize("suffix", ["csv", "parquet", "ndjson"])
def test_what_the_contract_does_not_name_stays_in_the_source(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    frame = pl.DataFrame({"n": [1, 2], "mail": ["ada@example.org", "bob@example.org"], "y": [0, 1]})
    getattr(frame, f"write_{suffix}")(path, **({"compression": "uncompressed"} if suffix == "parquet" else {}))
    folder = tmp_path / "out"
    folder.mkdir()
    record, rows = snapshot(open_source(path.name, tmp_path), folder, spec=spec_of(["y", "n"]))
    assert tuple(rows.columns) == record.columns == ("n", "y")
    assert rows.cast(pl.Int64).rows() == [(1, 0), (2, 1)]
    assert b"example.org" not in (folder / "rows.parquet").read_bytes()
    assert any(note.endswith("no column of the contract: mail") for note in record.notes)


def test_nested_columns_are_left_behind(tmp_path: Path) -> None:
    frame = pl.DataFrame({"n": [1], "who": [{"mail": "ada@example.org"}], "many": [["ada@example.org"]]})
    _, rows = snapshot(MemorySource(frame), tmp_path, spec=spec_of("n"))
    assert rows.columns == ["n"]
    assert b"example.org" not in (tmp_path / "rows.parquet").read_bytes()


def test_a_sentinel_is_nobody(tmp_path: Path) -> None:
    frame = pl.DataFrame({"who": ["ada", "?", " ? ", "NA", None], "phone": [1.0, -1.0, 7.0, None, 1.0]})
    spec = spec_of(["who", "phone"], ("who", "phone"), ("?", "NA", "-1"))
    _, rows = snapshot(MemorySource(frame), tmp_path, spec=spec)
    assert rows["who"].to_list() == [HASHER.hash_one("ada"), None, None, None, None]
    one = HASHER.hash_one("1")
    assert rows["phone"].to_list() == [one, None, HASHER.hash_one("7"), None, one]
