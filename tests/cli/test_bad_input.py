"""What bad input gets: one clear error, exit code 2, and nothing half-written; whoever tries it, however."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from roadworthy.cli import main

GOOD = '{"a": 1, "b": 3, "c": "x"}'
PROJECT = """
[project]
name = "small"
task = "binary"
target = "y"
positive = "yes"

[data]
source = "d.csv"

[contract.columns.a]
type = "number"

[contract.columns.b]
type = "integer"
min = 0

[contract.columns.c]
type = "category"
allowed = ["x", "y", "z"]

[contract.columns.y]
type = "category"

[training]
candidates = ["logistic"]
folds = 2
seed = 7

[standard]
extends = "prototype"
"""


class Said(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """The command in this process, in ``tmp_path`` unless told otherwise."""

    def call(*words: str, cwd: Path | None = None) -> Said:
        monkeypatch.setattr(sys, "argv", ["roadworthy", *words])
        monkeypatch.chdir(cwd or tmp_path)
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return call


def rows(n: int = 120, seed: int = 1) -> pl.DataFrame:
    """Two numbers, a category, and a target that they tell something of."""
    random = np.random.default_rng(seed)
    a, c = random.normal(size=n), random.choice(["x", "y", "z"], n)
    y = a + (c == "x") + 0.7 * random.normal(size=n) > 0.3
    return pl.DataFrame({"a": a, "b": random.integers(0, 50, n), "c": c, "y": np.where(y, "yes", "no")})


def projected(folder: Path, text: str = PROJECT, frame: pl.DataFrame | None = None) -> Path:
    """A project file and its data in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (rows() if frame is None else frame).write_csv(folder / "d.csv")
    (folder / "roadworthy.toml").write_text(text, encoding="utf-8")
    return folder


def refused(said: Said, *words: str, folder: Path, code: int = 2) -> None:
    """One clear error with these words and a next step, and no package."""
    assert said.code == code, said.err
    assert "Traceback" not in said.err + said.out
    assert "fault of Roadworthy" not in said.err
    for word in words:
        assert word in said.err
    assert not list(folder.glob(".roadworthy/lake/package/*"))
    assert not list(folder.glob(".roadworthy/lake/*/.tmp*"))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was run once; treat it as read-only."""
    from roadworthy import api  # noqa: PLC0415 - heavy, and only these tests need it

    folder = projected(tmp_path_factory.mktemp("done") / "small", frame=rows(240))
    api.run(folder)
    return folder


@pytest.fixture
def copy(done: Path, tmp_path: Path) -> Path:
    """A copy of the finished project that a test may change."""
    target = tmp_path / "copy"
    shutil.copytree(done, target)
    return target


BASE = rows().write_csv()
MANY = "".join(f"{at},word {at} of many different words\n" for at in range(300))
FILES: dict[str, tuple[str, bytes | None, tuple[str, ...]]] = {
    "missing": ("d.csv", None, ("d.csv", "no such file")),
    "empty": ("d.csv", b"", ("is empty", "0 bytes")),
    "blank": ("d.csv", b"\n\n\n", ("is empty",)),
    "header only": ("d.csv", b"a,b,y\n", ("a header and no rows", "3 column names")),
    "ragged, too long": ("d.csv", (BASE + "1,2,x,yes,5,6\n").encode(), ("line 122", "6 fields", "expected 4 fields")),
    "ragged, too short": ("d.csv", b"a,b,y\n1,2,yes\n1,yes\n2,3,no\n", ("line 3", "2 fields", "expected 3 fields")),
    "open quote": ("d.csv", b'a,b,y\n1,"x,yes\n2,3,no\n', ("line 3", "expected 3 fields")),
    "bytes": ("d.csv", bytes(range(256)) * 20, ("is not text",)),
    "zero bytes": ("d.csv", b"a,b,y\n\0\0,1,yes\n", ("is not text", "zero bytes")),
    "duplicate names": ("d.csv", b"a,a,y\n1,2,0\n3,4,1\n", ("line 1", "'a' stands 2 times")),
    "constant target": ("d.csv", b"a,y\n1,yes\n2,yes\n3,yes\n", ("only the value 'yes'", "column y")),
    "null target": ("d.csv", b"a,y\n1,\n2,\n3,\n", ("no value at all",)),
    "text target": ("d.csv", b"a,y\n" + MANY.encode(), ("300 different values", "at most 50 labels")),
    "time target": (
        "d.csv",
        b"a,y\n" + b"".join(b"%d,2024-01-%02dT00:00:00\n" % (at, at % 28 + 1) for at in range(300)),
        ("is a time",),
    ),
    "reserved name": ("d.csv", b"_row,y\n1,0\n2,1\n", ("'_row'", "rename")),
    "name that is a pattern": ("d.csv", b"*,y\n1,0\n2,1\n", ("'*'", "rename")),
    "name that is a regular expression": ("d.csv", b"^a.*$,y\n1,0\n2,1\n", ("'^a.*$'", "rename")),
    "pickle": ("d.pkl", b"\x80\x04N.", ("never loaded",)),
    "pickle called parquet": ("d.parquet", b"\x80\x04\x95N.", ("no readable parquet file",)),
    "cut parquet": ("d.parquet", b"PAR1abcd", ("no readable parquet file",)),
    "cut arrow": ("d.arrow", b"ARROW1junk", ("no readable arrow file",)),
    "broken ndjson": ("d.ndjson", b'{"a":1,"y":0}\n{"a":', ("line 2", "broken JSON")),
    "sheet": ("d.xlsx", b"PK", ("save the sheet as CSV",)),
    "unknown suffix": ("d.foo", b"a", ("suffix .foo",)),
    "gzip that is none": ("d.csv.gz", b"a,b", ("cannot be read",)),
    "FTP": ("ftp://host/d.csv", None, ("a URL of a kind that is not read",)),
}


@pytest.mark.parametrize("case", FILES)
def test_init_refuses_data_that_cannot_be_read(case: str, cli: Cli, tmp_path: Path) -> None:
    name, content, words = FILES[case]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    said = cli("init", name, "--target", "y")
    refused(said, *words, "next: ", folder=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ([name] if content is not None else [])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--target", "yy"), ("no column 'yy'", "did you mean 'y'?")),
        (("--target", ""), ("no column ''",)),
        (("--target", "y", "--task", "clustering"), ("unknown task 'clustering'",)),
        (("--target", "y", "--task", "regression"), ("is no number", "expected integer or number")),
        (("--target", "c", "--task", "binary"), ("3 values",)),
        (("--target", "y", "--folder", "d.csv"), ("cannot be written", "next: name another place")),
        (("--target", "y", "--folder", "/proc/none/of/it"), ("cannot be written", "No such file")),
    ],
)
def test_init_refuses_words_that_do_not_fit(
    more: tuple[str, ...], words: tuple[str, ...], cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "d.csv").write_text(BASE)
    refused(cli("init", "d.csv", *more), *words, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["d.csv"]


def test_errors_as_json_are_one_object_on_standard_output(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes(b"")
    for words in (("init", "d.csv", "--target", "y"), ("run",), ("status",), ("predict", "{"), ("promote", "1")):
        said = cli(*words, "--json")
        assert said.code == 2
        told = json.loads(said.out)
        assert set(told) == {"error", "message", "problems", "next"}
        assert told["next"]


STRANGE = {
    "score": 2, "x.missing": 2, "X": 2, 'a"b': 2, "a.b": 2, "a b": 2, "a\nb": 2, "😀": 2, "z" * 300: 2, "": 2,
    "select": 2, "decision": 2, "[red]x[/red]": 2, "<script>": 2, "\x1b[31m": 2, "a.missing": 2,
}  # fmt: skip


def test_columns_of_any_name_go_all_the_way(cli: Cli, tmp_path: Path) -> None:
    frame = rows(200)
    strange = [name for name in STRANGE if name != "x.missing"]
    frame = frame.with_columns((pl.col("b") + at).alias(name) for at, name in enumerate([*strange, "x", "x.missing"]))
    frame.write_parquet(tmp_path / "d.parquet")
    assert cli("init", "d.parquet", "--target", "y").code == 0
    file = tmp_path / "roadworthy.toml"
    text = file.read_text().replace('extends = "service"', 'extends = "prototype"')
    file.write_text(text.replace('candidates = ["logistic", "mlp", "gbdt"]', 'candidates = ["logistic"]\nfolds = 2'))
    said = cli("run", "--json")
    assert said.code in {0, 1, 3}, said.err
    row = frame.drop("y").row(0, named=True)
    for name in ("predict", "trace"):
        answered = cli(name, json.dumps(row), "--json")
        assert answered.code == 0, answered.err
        json.loads(answered.out)


PROJECTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "empty": ("", ("no table [project]",)),
    "no TOML": ("[project\nname=", ("roadworthy.toml:1, column 9",)),
    "unknown key": (PROJECT.replace("target =", "taget ="), ("roadworthy.toml:5", "did you mean 'target'?")),
    "unknown table": (PROJECT.replace("[data]", "[dta]"), ("roadworthy.toml:8", "did you mean 'data'?")),
    "unknown type": (PROJECT.replace('"number"', '"nmber"'), ("roadworthy.toml:12", "did you mean 'number'?")),
    "text for a number": (PROJECT.replace("seed = 7", 'seed = "7"'), ("roadworthy.toml:28", "a whole number")),
    "one fold": (PROJECT.replace("folds = 2", "folds = 1"), ("roadworthy.toml:27", "expected 2 or more")),
    "NaN holdout": (PROJECT.replace("seed = 7", "holdout = nan"), ("roadworthy.toml:28", "between 0 and 1")),
    "unknown candidate": (PROJECT.replace('["logistic"]', '["logstic"]'), ("did you mean 'logistic'?",)),
    "no candidate": (PROJECT.replace('["logistic"]', "[]"), ("roadworthy.toml:26", "no candidates")),
    "unreadable budget": (PROJECT.replace("seed = 7", 'tune = "ever"'), ("roadworthy.toml:28", "'ever'")),
    "name with a path": (PROJECT.replace('"small"', '"../../x"'), ("roadworthy.toml:3",)),
    "time that is none": (
        PROJECT.replace('source = "d.csv"', 'source = "d.csv"\ntime = "a"'),
        ("roadworthy.toml:12", "the time column has type 'number'"),
    ),
    "personal target": (
        PROJECT.replace('source = "d.csv"', 'source = "d.csv"\npersonal = ["y"]'),
        ("roadworthy.toml:10", "hashing would destroy"),
    ),
    "excluded target": (
        PROJECT.replace('source = "d.csv"', 'source = "d.csv"\nexclude = { y = "x" }'),
        ("roadworthy.toml:10", "the target 'y' is excluded"),
    ),
    "every column excluded": (
        PROJECT.replace('source = "d.csv"', 'source = "d.csv"\nexclude = { a = "x", b = "x", c = "x" }'),
        ("nothing to learn from", "[data.exclude]"),
    ),
    "mask's name": (
        PROJECT.replace("[contract.columns.b]", '[contract.columns."a.missing"]'),
        ("roadworthy.toml:14", "the mask of 'a'"),
    ),
    "unknown option of the source": (
        PROJECT.replace('source = "d.csv"', 'source = { path = "d.csv", delimeter = ";" }'),
        ("did you mean 'delimiter'?",),
    ),
    "unknown encoding": (
        PROJECT.replace('source = "d.csv"', 'source = { path = "d.csv", encoding = "klingon" }'),
        ("no encoding 'klingon'",),
    ),
    "wrong delimiter": (
        PROJECT.replace('source = "d.csv"', 'source = { path = "d.csv", delimiter = ";" }'),
        ("4 of 4 declared columns lack", "'a,b,c,y'"),
    ),
    "source that is gone": (PROJECT.replace('"d.csv"', '"e.csv"'), ("e.csv: no such file", "did you mean d.csv")),
    "positive that never occurs": (PROJECT.replace('"yes"', '"yess"'), ("did you mean 'yes'?",)),
    "text as regression": (
        PROJECT.replace('"binary"', '"regression"').replace('positive = "yes"\n', ""),
        ("which regression cannot estimate",),
    ),
    "one class after cleaning": (
        PROJECT.replace("[contract.columns.y]\n", '[contract.columns.y]\nallowed = ["yes"]\n'),
        ("only the value yes", "y: not an allowed category: 64 rows"),
    ),
    "no row after cleaning": (
        PROJECT.replace("[contract.columns.a]", '[contract]\nrules = ["a > 1000"]\n\n[contract.columns.a]'),
        ("none of the 120 rows", "rule: a > 1000 is false: 120 rows"),
    ),
    "least above greatest": (PROJECT.replace("min = 0", "min = 5\nmax = 2"), ("min 5.0 above max 2.0",)),
    "range that is none": (PROJECT.replace("min = 0", "min = nan"), ("roadworthy.toml:14", "min = nan")),
    "rule on nothing": (
        PROJECT.replace("[contract.columns.a]", '[contract]\nrules = ["aa > 1"]\n\n[contract.columns.a]'),
        ("roadworthy.toml:12", "unknown column 'aa'; did you mean 'a'?"),
    ),
    "receiver that is no URL": (PROJECT + '\n[alerts]\nnotify = ["me"]\n', ("roadworthy.toml:34", "no URL")),
    "margin of nothing": (PROJECT + "\n[rollout]\nmargin = { acuracy = 0.1 }\n", ("did you mean 'accuracy'?",)),
    "goal of nothing": (
        PROJECT + '\n[decision]\nthreshold = { maximize = "recal" }\n',
        ("roadworthy.toml:34", "did you mean 'recall'?"),
    ),
    "constraint of nothing": (
        PROJECT + '\n[decision]\nthreshold = { maximize = "recall", subject_to = "precision is good" }\n',
        ("roadworthy.toml:34", "precision >= 0.80"),
    ),
}


@pytest.mark.parametrize("case", PROJECTS)
def test_a_project_file_with_a_fault_is_refused_at_its_line(case: str, cli: Cli, tmp_path: Path) -> None:
    text, words = PROJECTS[case]
    projected(tmp_path, text)
    refused(cli("run"), *words, "next: ", folder=tmp_path)


BOUNDS = {
    'acuracy = ">= 0.8"': ("unknown metric 'acuracy'; did you mean 'accuracy'?",),
    'latency_p99 = "<= 50 MB"': ("'MB'", "ms"),
    'size = "<= 5 ms"': ("'ms'", "MB"),
    'latency_p99 = "<= 50"': ("no unit",),
    'accuracy = ">= 80"': ("from 0.0 to 1.0",),
    'accuracy = "<= 0.8"': ("better when it is higher",),
    "accuracy = nan": ("nan",),
    'recall = { at_least = 0.7, slice = "nope" }': ("unknown column 'nope'",),
    'rmse = "<= 3"': ("does not apply to a binary task",),
    'alarm_budget = "often"': ("1 per 30 days",),
}


@pytest.mark.parametrize("line", BOUNDS)
def test_a_requirement_with_a_fault_is_refused_at_its_line(line: str, cli: Cli, tmp_path: Path) -> None:
    projected(tmp_path, PROJECT + line + "\n")
    refused(cli("run"), "roadworthy.toml:32", *BOUNDS[line], "next: ", folder=tmp_path)


FEATURES = {
    'f = "f + 1"': ("it refers to itself: f → f",),
    'f = "y"': ("it looks at the target: f → y",),
    'f = "g + 1"\ng = "f + 1"': ("it refers to itself: f → g → f",),
    'f = "aa + 1"': ("position 1", "unknown column 'aa'; did you mean 'a'?"),
    'f = "sin(a)"': ("unknown function 'sin'", "sqrt"),
    'f = "a + "': ("position 3", "an operand is missing"),
    'f = "a + c"': ("column 'c' (text) in +",),
    'f = "(select 1)"': ("subquery",),
    'f = "a; drop table x"': ("a ';'",),
    'f = ""': ("an empty expression",),
    "f = 3": ("the number 3",),
    'f = { sum = "b", by = "c" }': ("without a time column",),
    'a = "b + 1"': ("the name of a column",),
    '_row = "b + 1"': ("another name",),
    '"*" = "b + 1"': ("another name",),
}


@pytest.mark.parametrize("lines", FEATURES)
def test_a_feature_with_a_fault_is_refused_at_its_line(lines: str, cli: Cli, tmp_path: Path) -> None:
    projected(tmp_path, PROJECT + "\n[features]\n" + lines + "\n")
    said = cli("run")
    refused(said, "roadworthy.toml:34", *FEATURES[lines], "next: ", folder=tmp_path)
    assert "collect" not in said.err, "told before any row is read"


def test_every_fault_of_a_project_is_told_at_once(cli: Cli, tmp_path: Path) -> None:
    text = PROJECT.replace("seed = 7", 'tune = "ever"') + '\n[features]\nf = "sin(a)"\ng = "aa"\n'
    projected(tmp_path, text)
    refused(cli("run"), "3 problems", "roadworthy.toml:28", "roadworthy.toml:34", "roadworthy.toml:35", folder=tmp_path)


def _with(**columns: pl.Expr | pl.Series) -> pl.DataFrame:
    return rows(120).with_columns(**columns)


AT = list(range(120))
DATA: dict[str, tuple[pl.DataFrame, str]] = {
    "all null": (_with(k=pl.lit(None, pl.String)), ""),
    "infinite": (_with(k=pl.Series([float("inf") if at % 7 == 0 else float(at) for at in AT])), "not a finite number"),
    "NaN": (_with(k=pl.Series([float("nan") if at % 7 == 0 else float(at) for at in AT])), ""),
    "1e308": (_with(k=pl.Series([1.79e308 * (-1) ** at if at % 3 else float(at) for at in AT])), ""),
    "beyond 2**53": (_with(k=pl.Series([2**60 + at for at in AT])), ""),
    "1677 and 2262": (
        _with(k=pl.Series([("1677-01-01", "2262-12-31", "0001-01-01", "9999-12-31")[at % 4] for at in AT])),
        "",
    ),
    "categories, all different": (_with(k=pl.Series([f"label {at}" for at in AT])), ""),
    "lists": (_with(k=pl.Series([[1, 2]] * 120)), ""),
    "bytes": (_with(k=pl.Series([b"\xff\x00"] * 120)), ""),
    "times, all equal": (_with(timestamp=pl.lit("2024-01-01T00:00:00")), ""),
    "times before 1970": (_with(timestamp=pl.Series([-86_400 * at for at in AT])), ""),
}


@pytest.mark.parametrize("case", DATA)
def test_values_at_the_edge_go_all_the_way(case: str, cli: Cli, tmp_path: Path) -> None:
    frame, reason = DATA[case]
    frame.write_parquet(tmp_path / "d.parquet")
    assert cli("init", "d.parquet", "--target", "y").code == 0
    file = tmp_path / "roadworthy.toml"
    text = file.read_text().replace('extends = "service"', 'extends = "prototype"')
    file.write_text(text.replace('candidates = ["logistic", "mlp", "gbdt"]', 'candidates = ["logistic"]\nfolds = 2'))
    said = cli("run")
    assert said.code in {0, 1, 3}, said.err
    assert "Traceback" not in said.err
    assert reason in said.err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,y\n1,0\n2,1\n3,0\n", ("3 rows have a target", "at least 30")),
        ("a,y\n" + "".join(f"{at},{int(at == 7)}\n" for at in range(100)), ("class '1' has 1 rows",)),
        ("y\n" + "".join(f"{at % 2}\n" for at in range(100)), ("nothing to learn from",)),
        ("id,y\n" + "".join(f"u{at},{at % 2}\n" for at in range(200)), ("nothing to learn from",)),
    ],
)
def test_too_little_to_learn_from_is_said(content: str, words: tuple[str, ...], cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(content)
    assert cli("init", "d.csv", "--target", "y").code == 0
    refused(cli("run"), *words, "next: ", folder=tmp_path)


TRAINERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "no module": ("", ("module 'absent' of candidate",)),
    "no function": ("def other(data, parameters): pass", ("no function 'fit'", "other")),
    "no Python": ("def fit(: pass", ("line 1", "invalid syntax")),
    "raises when imported": ("raise RuntimeError('boom')", ("RuntimeError: boom",)),
    "leaves when imported": ("import sys; sys.exit(0)", ("SystemExit",)),
    "raises": ("def fit(data, parameters): raise RuntimeError('boom')", ("RuntimeError: boom",)),
    "leaves": ("import sys\ndef fit(data, parameters): sys.exit(0)", ("SystemExit",)),
    "gives nothing": ("def fit(data, parameters): return None", ("returned NoneType",)),
    "gives nonsense": ("def fit(data, parameters): return b'model'", ("own_",)),
    "takes nothing": ("def fit(): return None", ("cannot be called as function(data, parameters)",)),
}


@pytest.mark.parametrize("case", TRAINERS)
def test_a_trainer_of_ones_own_that_fails_is_named(case: str, cli: Cli, tmp_path: Path) -> None:
    source, words = TRAINERS[case]
    module = f"own_{case.replace(' ', '_')}" if source else "absent"
    projected(tmp_path, PROJECT.replace('["logistic"]', f'["{module}:fit"]'))
    if source:
        (tmp_path / f"{module}.py").write_text(source)
    refused(cli("run"), "no candidate could be trained", *words, "next: ", folder=tmp_path)


ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "no JSON": ("{a:1", ("not JSON", "column 2")),
    "empty": ("", ("not JSON",)),
    "list": ("[1]", ("no JSON object",)),
    "NaN": ('{"a": NaN, "b": 1, "c": "x"}', ("NaN is no number",)),
    "infinite": ('{"a": 1e999, "b": 1, "c": "x"}', ("a: not a finite number",)),
    "a field twice": ('{"a": 1, "a": 2, "b": 1, "c": "x"}', ("'a' more than once",)),
    "unknown field": ('{"a": 1, "b": 1, "c": "x", "zz": 1}', ("unknown field 'zz'", "known fields")),
    "own field": ('{"a": 1, "b": 1, "c": "x", "_row": 1}', ("unknown field '_row'",)),
    "missing fields": ('{"a": 1}', ("b: missing field", "c: missing field")),
    "text for a number": ('{"a": "abc", "b": 1, "c": "x"}', ("a: not a number",)),
    "part of a whole": ('{"a": 1, "b": 1.5, "c": "x"}', ("b: not a whole number",)),
    "object": ('{"a": {"x": 1}, "b": 1, "c": "x"}', ("a: an object",)),
    "empty list": ('{"a": [], "b": 1, "c": "x"}', ("a: a list",)),
    "forty digits": (f'{{"a": {10**40}, "b": 1, "c": "x"}}', ("a: a whole number of 133 bits",)),
    "unseen category": ('{"a": 1, "b": 1, "c": "QQ"}', ("c: not an allowed category",)),
    "beyond 2**53": ('{"a": 1, "b": 99999999999999999999999, "c": "x"}', ("b: beyond ±2^53",)),
    "below the least": ('{"a": 1, "b": -5, "c": "x"}', ("b: below 0",)),
    "all at once": ('{"a": "abc", "b": -5, "c": "QQ"}', ("a: not a number", "b: below 0", "c: not an allowed")),
    "half a pair": ('{"a": 1, "b": 1, "c": "\\ud800"}', ("half a surrogate pair",)),
    "nested deep": ("[" * 100_000, ("nested too deep",)),
}


@pytest.mark.parametrize("command", ["predict", "trace"])
@pytest.mark.parametrize("case", ROWS)
def test_a_row_with_a_fault_gets_no_answer(case: str, command: str, cli: Cli, done: Path) -> None:
    row, words = ROWS[case]
    said = cli(command, row, cwd=done)
    assert said.code == 2, said.err
    assert "fault of Roadworthy" not in said.err
    assert said.out == ""
    for word in (*words, "next: "):
        assert word in said.err


WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "no version": (("predict", GOOD, "--version", "99"), ("no version 99", "roadworthy status")),
    "no such word": (("predict", GOOD, "--version", "newest"), ("unknown version 'newest'",)),
    "a vast number": (("predict", GOOD, "--version", "9" * 30), ("no version",)),
    "no champion": (("predict", GOOD, "--version", "champion"), ("no champion yet", "roadworthy promote")),
    "no project": (("predict", GOOD, "--project", "none.toml"), ("no project file none.toml", "roadworthy init")),
    "promote nothing": (("promote", "99"), ("no version 99",)),
    "promote vastly": (("promote", "9" * 30), ("no version",)),
    "promote a word": (("promote", "x"), ("valid integer",)),
    "no command": (("fly",), ("No such command 'fly'",)),
    "no option": (("run", "--fast"), ("No such option: --fast",)),
    "no threads": (("score", "d.csv", "--out", "o.csv", "--threads", "0"), ("greater than or equal to 1",)),
    "no rows to score": (("score", "none.csv", "--out", "o.csv"), ("none.csv: no such file",)),
    "no kind of file": (("score", "d.csv", "--out", "o.txt"), (".parquet, .csv",)),
    "no place": (("score", "d.csv", "--out", "/proc/none/o.csv"), ("cannot be written",)),
    "a place in a file": (("score", "d.csv", "--out", "d.csv/o.csv"), ("cannot be written",)),
    "over the source": (("score", "d.csv", "--out", "d.csv"), ("would overwrite the rows",)),
    "no model": (("inspect", "none.onnx", "d.csv", "--target", "y"), ("no model none.onnx",)),
    "no target": (("inspect", "latest", "d.csv", "--target", "yy"), ("no column 'yy'; did you mean 'y'?",)),
    "no standard": (("inspect", "latest", "d.csv", "--target", "y", "--standard", "s.toml"), ("s.toml",)),
    "no bundle": (("inspect", ".", "d.csv", "--target", "y"), ("is a folder, but no bundle",)),
    "no model to trace": (("trace", GOOD, "--model", "none.onnx"), ("none.onnx does not exist",)),
    "data as model": (("trace", GOOD, "--model", "d.csv"), ("not an ONNX model",)),
}


@pytest.mark.parametrize("case", WORDS)
def test_words_that_mean_nothing_are_refused(case: str, cli: Cli, done: Path) -> None:
    words, told = WORDS[case]
    before = sorted(path.name for path in done.iterdir())
    said = cli(*words, cwd=done)
    assert said.code == 2, said.err
    assert "fault of Roadworthy" not in said.err
    for word in told:
        assert word in said.err
    assert sorted(path.name for path in done.iterdir()) == before


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"[standard\n", "not TOML"),
        (b"\xff\xfe", "not TOML in UTF-8"),
        (b"standard = 3\n", "holds no standard"),
        (b"", "holds no standard"),
        (b'[standard]\nacuracy = ">= 0.5"\n', "did you mean 'accuracy'?"),
    ],
)
def test_a_standard_that_cannot_be_read_is_refused(content: bytes, word: str, cli: Cli, copy: Path) -> None:
    (copy / "s.toml").write_bytes(content)
    said = cli("inspect", "latest", "d.csv", "--target", "y", "--standard", "s.toml", cwd=copy)
    assert said.code == 2
    assert word in said.err
    assert "next: " in said.err


@pytest.mark.parametrize("content", [b"", b"\x80\x04N.", b"\x80\x04\x95\x10", bytes(range(200))])
def test_a_file_that_is_no_model_is_never_loaded(content: bytes, cli: Cli, copy: Path) -> None:
    (copy / "m.onnx").write_bytes(content)
    for words in (("trace", GOOD, "--model", "m.onnx"), ("inspect", "m.onnx", "d.csv", "--target", "y")):
        said = cli(*words, cwd=copy)
        assert said.code == 2, said.err
        assert "m.onnx" in said.err
        assert "next: " in said.err


def test_a_bundle_altered_by_one_byte_answers_nothing(cli: Cli, copy: Path) -> None:
    bundle = next(copy.glob(".roadworthy/lake/package/*/bundle"))
    files = [path for path in sorted(bundle.rglob("*")) if path.is_file()]
    assert len(files) > 8
    for file in files:
        content = file.read_bytes()
        altered = bytearray(content)
        altered[len(content) // 2] ^= 1
        file.write_bytes(bytes(altered))
        said = cli("predict", GOOD, cwd=copy)
        assert said.code == 2, file
        assert said.out == ""
        assert "signed" in said.err
        file.write_bytes(content)
    (bundle / "more.pkl").write_bytes(b"\x80\x04N.")
    assert "not in the manifest" in cli("predict", GOOD, cwd=copy).err
    (bundle / "more.pkl").unlink()
    assert cli("predict", GOOD, cwd=copy).code == 0


def test_damaged_results_in_the_lake_are_named(cli: Cli, copy: Path) -> None:
    text = (copy / "roadworthy.toml").read_text()
    (copy / "roadworthy.toml").write_text(text.replace("seed = 7", "seed = 8"))
    for stage, name in (("features", "rows.parquet"), ("features", "record.json"), ("clean", "record.json")):
        file = next(copy.glob(f".roadworthy/lake/{stage}/*/{name}"))
        content = file.read_bytes()
        file.write_bytes(b"garbage")
        said = cli("run", cwd=copy)
        assert said.code == 2, said.err
        assert str(file.parent) in said.err
        assert "next: remove" in said.err
        file.write_bytes(content)
    assert len(list(copy.glob(".roadworthy/lake/package/*"))) == 1


@pytest.mark.parametrize("content", [b"", b"no database at all", None])
def test_a_registry_that_is_none_is_told(content: bytes | None, cli: Cli, copy: Path) -> None:
    file = copy / ".roadworthy" / "registry.db"
    file.unlink()
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content * 50)
    said = cli("predict", GOOD, cwd=copy)
    assert said.code == 2, said.err
    assert "next: " in said.err
    assert "sqlalche.me" not in said.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ROADWORTHY_REGISTRY", "zzz"),
        ("ROADWORTHY_REGISTRY", "foo://x"),
        ("ROADWORTHY_LAKE", ""),
        ("ROADWORTHY_LAK", "x"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    name: str, value: str, cli: Cli, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    said = cli("status", cwd=done)
    assert said.code == 2
    assert name in said.err


def test_keys_that_lack_or_lie_open_are_refused(cli: Cli, copy: Path) -> None:
    keys = copy / ".roadworthy" / "keys"
    (keys / "signing.pem").chmod(0o644)
    assert "chmod 600" in cli("run", cwd=copy).err
    assert cli("predict", GOOD, cwd=copy).code == 0, "who signs nothing does not ask for the key"
    (keys / "signing.pem").chmod(0o600)
    (keys / "hashing.key").write_text("zz")
    assert "damaged" in cli("run", cwd=copy).err
    shutil.rmtree(keys)
    said = cli("run", cwd=copy)
    assert said.code == 2
    assert "no such file" in said.err
    assert not keys.exists(), "new keys beside an old lake would orphan what was hashed"


def test_messages_carry_no_control_characters(cli: Cli) -> None:
    said = cli("init", "\x1b[31mred\x07.csv", "--target", "y")
    assert said.code == 2
    assert "\x1b" not in said.err
    assert "\x07" not in said.err


def _started(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120"}
    return subprocess.Popen(
        [sys.executable, "-m", "roadworthy", *words],
        cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_an_interrupt_keeps_what_is_finished_and_the_next_run_carries_on(cli: Cli, tmp_path: Path) -> None:
    slow = "import time\ndef fit(data, parameters):\n    time.sleep(60)\n"
    projected(tmp_path, PROJECT.replace('["logistic"]', '["sleeper:fit"]'))
    (tmp_path / "sleeper.py").write_text(slow)
    process = _started(tmp_path, "run")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".roadworthy/lake/train/.tmp-*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert "stopped; the stages that a run has finished are kept" in err
    assert "Traceback" not in err
    assert not list(tmp_path.glob(".roadworthy/lake/*/.tmp-*"))
    assert not list(tmp_path.glob(".roadworthy/lake/package/*"))
    (tmp_path / "roadworthy.toml").write_text(PROJECT)
    again = cli("run")
    assert again.code in {0, 1, 3}
    assert sum("reused" in line for line in again.err.splitlines()) >= 3


@pytest.mark.parametrize("words", ["status --json", "run 2>&1"])
def test_a_reader_that_leaves_changes_nothing(words: str, done: Path) -> None:
    script = f"set -o pipefail; {sys.executable} -m roadworthy {words} | true"
    said = subprocess.run(["/bin/bash", "-c", script], cwd=done, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize(("end", "code", "word"), [(">&-", 0, ""), (">/dev/full", 2, "No space left on device")])
def test_an_output_that_takes_nothing(end: str, code: int, word: str, done: Path) -> None:
    script = f"{sys.executable} -m roadworthy status {end}"
    said = subprocess.run(["/bin/bash", "-c", script], cwd=done, capture_output=True, text=True, check=False)
    assert said.returncode == code, said.stderr
    assert word in said.stderr
    assert "fault of Roadworthy" not in said.stderr


def test_a_folder_that_may_not_be_written(done: Path, tmp_path: Path, forbidden: Callable[[Path], list[str]]) -> None:
    target = tmp_path / "theirs"
    shutil.copytree(done, target)
    shutil.rmtree(target / ".roadworthy")
    outsider = forbidden(target)
    for words in (["run"], ["init", "d.csv", "--target", "y", "--force"]):
        said = subprocess.run(
            [*outsider, sys.executable, "-m", "roadworthy", *words],
            cwd=target, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert said.returncode == 2, said.stderr
        assert "cannot be written" in said.stderr
        assert "next: " in said.stderr
        assert not (target / ".roadworthy").exists()
