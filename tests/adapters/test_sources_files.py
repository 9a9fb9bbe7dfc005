"""Files as sources: what is read is what is written, and whatever is wrong is named by line."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.adapters.sources import open_source
from roadworthy.errors import SourceError
from roadworthy.testing import check_source

CLEAN = 'id,city,amount\n1,Łódź,3.50\n2,,007\n3,"a, b\nc", 4 \n'


def rows_of(declared: object, folder: Path = Path()) -> pl.DataFrame:
    return open_source(declared, folder).scan().collect()  # type: ignore[arg-type]


def refused(declared: object, folder: Path) -> str:
    with pytest.raises(SourceError) as caught:
        rows_of(declared, folder)
    assert caught.value.exit_code == 2
    assert caught.value.next_step
    return str(caught.value)


def test_csv_is_read_as_text_exactly_as_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CLEAN, encoding="utf-8")
    found = rows_of("a.csv", tmp_path)
    assert found.schema == {"id": pl.String, "city": pl.String, "amount": pl.String}
    assert found.to_dict(as_series=False) == {
        "id": ["1", "2", "3"],
        "city": ["Łódź", None, "a, b\nc"],
        "amount": ["3.50", "007", " 4 "],
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", CLEAN.encode()),
        ("a.csv", b"\xef\xbb\xbf" + CLEAN.encode()),
        ("a.csv", CLEAN.encode("utf-16")),
        ("a.csv", CLEAN.replace("\n", "\r\n").replace("b\r\nc", "b\nc").encode()),
        ("a.csv.gz", gzip.compress(CLEAN.encode(), mtime=0)),
        ("a.csv", CLEAN.replace(", b", "; b").replace(",", ";").replace("; b", ", b").encode()),
        ("a.tsv", CLEAN.replace(", b", "; b").replace(",", "\t").replace("; b", ", b").encode()),
        ("a.txt", CLEAN.replace(", b", "; b").replace(",", "|").replace("; b", ", b").encode()),
        ("a.csv", b"\n" + CLEAN.encode() + b"\n\n"),
    ],
    ids=["utf8", "mark", "utf16", "crlf", "gzip", "semicolon", "tab", "bar", "blank lines"],
)
def test_one_table_however_it_is_written(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    found = rows_of(name, tmp_path)
    assert found.columns == ["id", "city", "amount"]
    assert found.row(0) == ("1", "Łódź", "3.50")
    assert found.row(2) == ("3", "a, b\nc", " 4 ")
    check_source(lambda: open_source(name, tmp_path))


cell = st.text(alphabet=st.sampled_from("ab1,;\"\n\r \t|é€'x."), max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(cell, cell, cell), min_size=1, max_size=8),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
)
def test_law_what_csv_writes_is_what_is_read(tmp_path: Path, rows: list[tuple[str, str, str]], delimiter: str) -> None:
    path = tmp_path / "law.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerow(["p", "q", "r"])
        writer.writerows(rows)
    found = rows_of({"path": str(path), "delimiter": delimiter, "header": True, "encoding": "utf-8"})
    assert found.rows() == rows


def test_undeclared_latin_text_is_read_with_a_note_that_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("id,city\n1,Bonn\n2,Köln €\n".encode("cp1252"))
    source = open_source("a.csv", tmp_path)
    assert source.scan().collect().row(1) == ("2", "Köln €")
    assert any("Windows-1252" in note and "line 3" in note for note in source.notes())
    (tmp_path / "b.csv").write_bytes(b"id,city\n1,Bonn\n2,K\xf6ln \x81\n")
    assert any("Latin-1" in note for note in open_source("b.csv", tmp_path).notes())


def test_a_late_byte_that_is_not_utf8_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,city\n" + b"1,Bonn\n" * 900_000 + b"2,K\xf6ln\n")
    source = open_source("a.csv", tmp_path)
    assert source.scan().select(pl.col("city").last()).collect().item() == "Köln"
    assert any("line 900002" in note for note in source.notes())


def test_wrong_declared_encoding_names_the_line_and_a_fitting_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("id,city\n1,Bonn\n2,Köln\n".encode("cp1252"))
    message = refused({"path": "a.csv", "encoding": "utf-8"}, tmp_path)
    assert "line 3" in message
    assert 'encoding = "cp1252"' in message
    assert "no encoding 'utf-9'" in refused({"path": "a.csv", "encoding": "utf-9"}, tmp_path)


def test_header_is_taken_or_declared(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("5.1,3.5,setosa\n4.9,3.0,setosa\n")
    source = open_source("a.csv", tmp_path)
    assert source.scan().collect_schema().names() == ["column_1", "column_2", "column_3"]
    assert source.scan().collect().height == 2
    assert any("no header" in note for note in source.notes())
    named = open_source({"path": "a.csv", "columns": ["length", "width", "kind"]}, tmp_path)
    assert named.scan().collect().row(0, named=True) == {"length": "5.1", "width": "3.5", "kind": "setosa"}
    (tmp_path / "m.csv").write_text("p,x,s\ne,x,s\ne,x,y\np,x,y\n")
    assert rows_of("m.csv", tmp_path).height == 4
    assert rows_of({"path": "m.csv", "header": True}, tmp_path).columns == ["p", "x", "s"]
    (tmp_path / "y.csv").write_text("land,2019,2020\nA,1,2\nB,3,4\n")
    assert rows_of({"path": "y.csv", "header": True}, tmp_path).columns == ["land", "2019", "2020"]


def test_fields_apart_by_runs_of_spaces(tmp_path: Path) -> None:
    (tmp_path / "auto.data").write_text('18.0   8   307.0\t"chevrolet chevelle"\n15.0   8   350.0\t"buick skylark"\n')
    source = open_source("auto.data", tmp_path)
    assert source.scan().collect().row(0) == ("18.0", "8", "307.0", "chevrolet chevelle")
    assert any("runs of spaces" in note for note in source.notes())
    check_source(lambda: open_source("auto.data", tmp_path))
    (tmp_path / "auto.data").write_text("1 2 3\n4 5\n6 7 8\n9 9 9 9\n")
    message = refused({"path": "auto.data", "delimiter": "space"}, tmp_path)
    assert "2 rows do not have 3 fields" in message
    assert "line 2: 2 fields" in message


def test_a_single_column_keeps_its_missing_values(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("value\n1\n\n3\n")
    assert rows_of("a.csv", tmp_path).to_series().to_list() == ["1", None, "3"]


@pytest.mark.parametrize("fields", ["4,5", "4,5,6,7"])
def test_ragged_rows_are_counted_and_named_by_line(tmp_path: Path, fields: str) -> None:
    body = 'a,b,c\n1,"x\ny",3\n' + f"{fields}\n" * 7 + "7,8,9\n"
    (tmp_path / "a.csv").write_text(body)
    message = refused("a.csv", tmp_path)
    assert "7 rows do not have 3 fields; the first 5 are listed" in message
    assert f"line 4: {fields.count(',') + 1} fields; expected 3 fields" in message
    assert "line 9" not in message
    assert "4,5" not in message, "cells may be personal and are not shown"


def test_one_short_row_far_down_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b,c\n" + "1,2,3\n" * 400_000 + "1,2\n")
    assert "line 400002: 2 fields" in refused("a.csv", tmp_path)


def test_a_quotation_mark_that_is_never_closed_does_not_swallow_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('a,b\n1,2\n3,"4\n5,6\n')
    assert "never closed" in refused("a.csv", tmp_path)
    (tmp_path / "b.csv").write_text('a,b\n1,5" disk\n')
    assert rows_of("b.csv", tmp_path).row(0) == ("1", '5" disk')


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\n\n  \n", "is empty"),
        ("a.csv", b"a,b,c\n", "a header and no rows"),
        ("a.csv", b"a,b,a,b,c\n1,2,3,4,5\n", "'a' stands 2 times"),
        ("a.csv", b"a,b\n1,\x00\x00\n", "is not text"),
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n" * 50, mtime=0)[:-9], "cannot be read"),
        ("a.parquet", b"PAR1 cut short", "no readable parquet file"),
        ("a.parquet", b"", "is empty"),
        ("a.arrow", b"ARROW1 cut short", "no readable arrow file"),
        ("a.ndjson", b'{"a": 1}\n{"a": \n{"a": 3}\n[1]\n', "2 lines are not a JSON object"),
        ("a.ndjson", b"", "is empty"),
        ("a.pkl", b"\x80\x04.", "never loaded"),
        ("a.joblib", b"\x80\x04.", "never loaded"),
        ("a.xlsx", b"PK", "save the sheet as CSV"),
        ("a.weird", b"a,b\n1,2\n", 'format = "csv"'),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert expected in refused(name, tmp_path)


def test_a_broken_json_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"a": 1}\n{"a": \n')
    assert "line 2: broken JSON" in refused("a.ndjson", tmp_path)


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "clicks.parquet").touch()
    assert "clicks.parquet" in refused("click.parquet", tmp_path)
    assert "no folder" in refused("nowhere/click.parquet", tmp_path)
    assert "no file matches" in refused("*.csv", tmp_path)


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"a": range(1000)}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-40])
    assert "cut short" in refused("a.parquet", tmp_path)


def test_typed_formats_keep_their_types(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1, None], "b": ["x", "y"], "c": [0.5, 1.5]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ipc(tmp_path / "a.feather")
    frame.write_ndjson(tmp_path / "a.ndjson")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.ndjson").read_bytes(), mtime=0))
    for name in ("a.parquet", "a.feather", "a.ndjson", "a.jsonl.gz"):
        assert rows_of(name, tmp_path).equals(frame), name
        check_source(lambda name=name: open_source(name, tmp_path))  # type: ignore[misc]


def test_ndjson_types_are_decided_by_every_line(tmp_path: Path) -> None:
    lines = [{"a": 1, "b": 1, "c": {"k": [1]}}, {"a": 2.5, "b": "x", "d": None}, {"e": True, "big": 2**70}]
    (tmp_path / "a.ndjson").write_text("\n".join(map(json.dumps, lines)))
    source = open_source("a.ndjson", tmp_path)
    found = source.scan().collect()
    assert found.row(0, named=True) == {"a": 1.0, "b": "1", "c": '{"k":[1]}', "d": None, "e": None, "big": None}
    assert found.schema["e"] == pl.Boolean
    assert found["big"].to_list()[2] == float(2**70)
    assert any("b, c" in note for note in source.notes())


def test_directories_and_globs_follow_the_names(tmp_path: Path) -> None:
    folder = tmp_path / "days"
    folder.mkdir()
    for day in (2, 1, 3):
        (folder / f"{day}.csv").write_text(f"day,n\n{day},x\n")
    (folder / "_SUCCESS").touch()
    for declared in ("days", "days/*.csv", str(folder)):
        source = open_source(declared, tmp_path)
        assert source.scan().collect()["day"].to_list() == ["1", "2", "3"]
        assert "3 files" in source.describe()
        check_source(lambda declared=declared: open_source(declared, tmp_path))  # type: ignore[misc]
    (folder / "2.csv").write_text("n,day\nx,2\n")
    assert rows_of("days", tmp_path)["day"].to_list() == ["1", "2", "3"]


def test_files_with_other_columns_are_all_listed(tmp_path: Path) -> None:
    for name, header in (("1", "a,b"), ("2", "a,c"), ("3", "a,b,d"), ("4", "a,b")):
        (tmp_path / f"{name}.csv").write_text(f"{header}\n" + ",".join("x" * len(header.split(","))) + "\n")
    message = refused("*.csv", tmp_path)
    assert "2.csv: lacks b" in message
    assert "2.csv: has also c" in message
    assert "3.csv: has also d" in message
    assert "4.csv" not in message
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "1.parquet")
    pl.DataFrame({"a": ["x"]}).write_parquet(tmp_path / "2.parquet")
    assert "column a is String, not Int64" in refused("*.parquet", tmp_path)
    assert "several formats" in refused(".", tmp_path)
    (tmp_path / "none").mkdir()
    assert "no files" in refused("none", tmp_path)


def test_the_fingerprint_follows_bytes_and_options(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("a,b\n1,2\n")
    second.write_text("a,b\n1,2\n")
    source = open_source("a.csv", tmp_path)
    before = source.fingerprint()
    assert before == open_source("b.csv", tmp_path).fingerprint()
    assert before != open_source({"path": "a.csv", "header": False}, tmp_path).fingerprint()
    first.write_text("a,b\n1,3\n")
    assert source.fingerprint() != before


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"path": "a.csv", "delimeter": ";"}, "did you mean 'delimiter'"),
        ({"path": "a.csv", "delimiter": "ab", "header": "yes", "columns": "x"}, "columns = 'x'"),
        ({}, "neither path nor url"),
        ("https://example.org/a.csv", "https://…"),
        ({"path": "a.csv", "columns": ["x"]}, "2 fields"),
        ("${ROADWORTHY_NOT_SET}/a.csv", "is not set"),
    ],
)
def test_wrong_declarations_are_named(tmp_path: Path, declared: object, expected: str) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    assert expected in refused(declared, tmp_path)


def test_an_environment_variable_may_stand_in_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    monkeypatch.setenv("ROADWORTHY_TEST_NAME", "a")
    assert rows_of("${ROADWORTHY_TEST_NAME}.csv", tmp_path).height == 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".csv", ".ndjson", ".parquet", ".arrow", ".csv.gz"]))
def test_any_bytes_give_rows_or_one_clear_error(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"any{suffix}"
    path.write_bytes(content)
    with contextlib.suppress(SourceError):
        assert rows_of(str(path)).height > 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.text(alphabet="ab,;\n\"' 1", min_size=1, max_size=60))
def test_law_no_row_is_cut_or_padded(tmp_path: Path, content: str) -> None:
    path = tmp_path / "any.csv"
    path.write_text(content, newline="")
    declared = {"path": str(path), "delimiter": ",", "header": False}
    parsed = [row for row in csv.reader(io.StringIO(content, newline="")) if row]
    try:
        found = rows_of(declared)
    except SourceError:
        return
    if found.width > 1:
        assert [len(row) for row in parsed] == [found.width] * found.height
