"""The project file: every problem at once, each with its line; what is written reads back the same."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.errors import ProjectFileError
from roadworthy.formats.project import parse_project, read_project, write_project
from roadworthy.formats.project.lines import key_lines
from roadworthy.records.contract import ColumnContract, ColumnType, Contract, MissingPolicy
from roadworthy.records.project import (
    Aggregate,
    AlertSpec,
    DataSpec,
    DecisionSpec,
    ProjectSpec,
    RolloutSpec,
    Task,
    TrainingSpec,
)

GOOD = """\
[project]
name = "clicks"
task = "binary"
target = "converted"

[data]
source = "data/clicks.parquet"
time = "at"
entity = "user"
personal = ["user"]
protected = ["age"]

[contract]
rules = ["clicks <= seen"]
[contract.columns]
user = { type = "text", missing = "reject" }
at = { type = "time" }
clicks = { type = "integer", min = 0 }
seen = { type = "integer", min = 0, max = 1e6 }
age = { type = "category", allowed = ["young", "old"] }
converted = { type = "boolean" }

[features]
rate = "clicks / nullif(seen, 0)"
since = { seconds_since_last = "at", where = "clicks > 0", by = "user" }
share = { ratio = [{ sum = "clicks" }, { count = "*" }], window = "7 days" }

[training]
candidates = ["logistic", "mlp"]
seed = 3
[training.parameters.mlp]
epochs = 5

[decision]
threshold = { maximize = "recall", subject_to = "precision >= 0.80" }

[standard]
extends = "service"
accuracy = ">= 0.80"
recall = { at_least = 0.70, slice = "age" }

[rollout]
steps = [1, 100]
margin = { accuracy = 0.01 }
"""


def problems(text: str) -> dict[str, str]:
    """What was found and expected, by place."""
    with pytest.raises(ProjectFileError) as caught:
        parse_project(text)
    assert caught.value.exit_code == 2
    assert caught.value.next_step
    found: dict[str, str] = {}
    for problem in caught.value.problems:
        found[problem.where] = found.get(problem.where, "") + f"{problem.found}; expected {problem.expected}\n"
    return found


def line_of(text: str, part: str) -> str:
    number = next(i for i, line in enumerate(text.splitlines(), 1) if part in line)
    return f"roadworthy.toml:{number}"


def test_a_good_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "roadworthy.toml"
    path.write_text(GOOD)
    read = read_project(path)
    spec = read.spec
    assert (spec.name, spec.task, spec.target, spec.folder) == ("clicks", Task.BINARY, "converted", str(tmp_path))
    assert spec.data.personal == ("user",)
    assert spec.contract.columns["user"] == ColumnContract(type=ColumnType.TEXT, missing=MissingPolicy.REJECT)
    assert spec.features["share"] == Aggregate(ratio=(Aggregate(sum="clicks"), Aggregate(count="*")), window="7 days")
    assert spec.training.parameters == {"mlp": {"epochs": 5}}
    assert spec.standard == {
        "extends": "service",
        "accuracy": ">= 0.80",
        "recall": {"at_least": 0.7, "slice": "age"},
    }
    lines = GOOD.splitlines()
    assert lines[read.lines["standard.recall.slice"] - 1].startswith("recall")
    assert lines[read.lines["training.parameters.mlp.epochs"] - 1].startswith("epochs")


def test_typos_are_all_named_with_their_lines_and_the_nearest_names() -> None:
    text = (
        GOOD.replace("entity =", "entitty =")
        .replace('task = "binary"', 'task = "binry"')
        .replace('"integer", min = 0 }', '"intger", mim = 0 }')
        .replace("seconds_since_last", "second_since_last")
        .replace("seed = 3", 'seed = "3"')
        .replace("[rollout]", "[rolout]")
        .replace("[{ sum", "[{ summ")
    )
    found = problems(text)
    assert "did you mean 'entity'" in found[line_of(text, "entitty")]
    assert "did you mean 'binary'" in found[line_of(text, "binry")]
    assert "did you mean 'integer'" in found[line_of(text, "intger")]
    assert "did you mean 'min'" in found[line_of(text, "intger")]
    assert "did you mean 'seconds_since_last'" in found[line_of(text, "second_since")]
    assert found[line_of(text, 'seed = "3"')] == "'3'; expected a whole number\n"
    assert "did you mean 'rollout'" in found[line_of(text, "rolout")]
    assert "did you mean 'sum'" in found[line_of(text, "summ")]
    assert len(found) == 7


def test_references_between_tables_are_checked() -> None:
    text = (
        GOOD.replace('target = "converted"', 'target = "convertd"')
        .replace('time = "at"', 'time = "att"')
        .replace('protected = ["age"]', 'protected = ["agge"]\nexclude = { clics = "why" }')
        .replace('by = "user"', 'by = "usr"')
        .replace("seed = 3", "seed = 3\nfolds = 1\nholdout = 1.5")
        .replace("steps = [1, 100]", "steps = [5, 1, 200]")
        .replace("[training.parameters.mlp]", "[training.parameters.mpl]")
        .replace("max = 1e6", "max = -1")
    )
    found = problems(text)
    expected = {
        "convertd": "did you mean 'converted'",
        '"att"': "did you mean 'at'",
        "agge": "did you mean 'age'",
        "clics": "did you mean 'clicks'",
        "usr": "did you mean 'user'",
        "folds": "2 or more",
        "holdout": "between 0 and 1",
        "steps": "rising percentages",
        "mpl": "did you mean 'mlp'",
        "max = -1": "min at most max",
    }
    assert {line_of(text, part) for part in expected} == set(found)
    for part, sentence in expected.items():
        assert sentence in found[line_of(text, part)]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('protected = ["age"]', 'exclude = { converted = "x" }', "the target 'converted' is excluded"),
        ('personal = ["user"]', 'personal = ["converted"]', "is the target, which hashing would destroy"),
        ('time = "at"\n', "", "without a time column"),
        ("{ maximize", "{ maximise", "either maximize or minimize"),
        ('{ maximize = "recall", subject_to', '{ maximize = "recall", subjct_to', "did you mean 'subject_to'"),
        ('{ maximize = "recall", subject_to = "precision >= 0.80" }', "1.5", "a number from 0 to 1"),
        ('{ maximize = "recall", subject_to = "precision >= 0.80" }', '"0.5"', "a number or a table"),
        ("where = ", 'sum = "clicks", where = ', "2 functions (sum, seconds_since_last)"),
        ('rate = "clicks', 'seen = "clicks', "has the name of a column"),
        ('task = "binary"', 'task = "regression"\npositive = "1"', "a positive label in a regression task"),
        ("max = 1e6", 'max = 1e6, pattern = "("', "no regular expression"),
        ("rules = [", 'duplicates = "dropp"\nrules = [', "keep or drop"),
        ('name = "clicks"', 'name = "../clicks"', "a name of letters"),
        ('name = "clicks"\n', "", "'name' is missing"),
        ('source = "data/clicks.parquet"', "source = 2024-01-01", "the date or time 2024-01-01"),
        ('personal = ["user"]', "personal = [1]", "the number 1; expected a text"),
        ('personal = ["user"]', 'personal = "user"', "a list"),
        ('candidates = ["logistic", "mlp"]', "candidates = []", "no candidates"),
    ],
)
def test_one_fault_gives_one_sentence(old: str, new: str, sentence: str) -> None:
    assert old in GOOD
    assert sentence in "".join(problems(GOOD.replace(old, new, 1)).values())


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[project]\nname = \n", "roadworthy.toml:2, column 8"),
        ("[project]\nname = 'a'\nname = 'b'\n", "roadworthy.toml:3, column 11"),
        ("[project\n", "roadworthy.toml:1, column 9"),
    ],
)
def test_invalid_toml_is_named_by_line(text: str, place: str) -> None:
    assert list(problems(text)) == [place]


def test_a_file_without_a_contract_leads_to_init() -> None:
    text = GOOD[: GOOD.index("[contract]")]
    with pytest.raises(ProjectFileError, match="roadworthy init"):
        parse_project(text)


def test_missing_and_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ProjectFileError, match="roadworthy init"):
        read_project(tmp_path / "roadworthy.toml")
    (tmp_path / "roadworthy.toml").write_bytes(b"[project]\nname = '\xff'\n")
    with pytest.raises(ProjectFileError, match=r"roadworthy.toml:2"):
        read_project(tmp_path / "roadworthy.toml")
    (tmp_path / "roadworthy.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert read_project(tmp_path / "roadworthy.toml").spec.name == "clicks"


def test_a_written_file_is_commented_and_in_order() -> None:
    text = write_project(
        parse_project(GOOD).spec,
        {"": "Written by init.", "contract.columns.clicks": "200 rows lack it", "data.time": "every row has one " * 9},
    )
    places = [text.index(f"[{name}]") for name in ("project", "data", "contract", "features", "training", "standard")]
    assert places == sorted(places)
    assert text.startswith("# Written by init.\n\n[project]")
    assert '\n# 200 rows lack it\nclicks = { type = "integer", min = 0 }\n' in text
    assert max(map(len, text.splitlines())) <= 120
    assert "folder" not in text


def test_a_written_file_is_pleasant_to_read() -> None:
    labels = tuple(f"a rather long label {number}" for number in range(12))
    spec = parse_project(GOOD).spec
    columns = {**spec.contract.columns, "kind": ColumnContract(type=ColumnType.CATEGORY, allowed=labels)}
    data = msgspec.structs.replace(spec.data, exclude={"seen": "known afterwards", "age": "an identifier"})
    spec = msgspec.structs.replace(
        spec,
        data=data,
        contract=msgspec.structs.replace(spec.contract, columns=columns),
        features={"hour": 'hour("at")', **spec.features},
    )
    text = write_project(spec, {})
    assert "[data.exclude]\n# Never a model input" in text
    assert '\nseen = "known afterwards"\nage = "an identifier"\n' in text
    assert "hour = 'hour(\"at\")'\n" in text
    assert max(map(len, text.splitlines())) <= 115
    assert len(text.splitlines()) < 70
    assert parse_project(text).spec == spec


names = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
texts = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
numbers = st.none() | st.floats(-1e9, 0) | st.integers(-100, 0)
contracts = st.builds(
    ColumnContract,
    type=st.sampled_from(ColumnType),
    missing=st.sampled_from(MissingPolicy),
    min=numbers,
    allowed=st.lists(texts, max_size=3).map(tuple),
    sentinels=st.lists(texts, max_size=2).map(tuple),
    unique=st.booleans(),
    unit=texts,
    strip_suffix=texts,
)
aggregates = st.builds(Aggregate, sum=names, where=texts, by=st.just("target"), window=texts)
scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | texts
tables = st.dictionaries(
    names,
    st.recursive(
        scalars.filter(lambda value: value is not None),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


@st.composite
def specs(draw: st.DrawFn) -> ProjectSpec:
    columns = {"target": draw(contracts), **draw(st.dictionaries(names, contracts, max_size=3))}
    feature = st.dictionaries(
        names.filter(lambda name: name not in columns),
        aggregates | names.filter(lambda text: bool(text.strip())),
        max_size=3,
    )
    other = [name for name in columns if name != "target"]
    return ProjectSpec(
        name="a-b.c",
        task=Task.BINARY,
        target="target",
        positive=draw(texts),
        data=DataSpec(
            source=draw(names | st.just({"url": "sqlite:///a.db", "query": "select 1"})),
            time=draw(st.sampled_from(other)) if other else "",
            protected=tuple(other),
            exclude={name: draw(texts) for name in other[:1]},
        ),
        contract=Contract(columns=columns, rules=tuple(draw(st.lists(texts, max_size=2)))),
        features=draw(feature) if other else {},
        training=TrainingSpec(candidates=("mlp",), seed=draw(st.integers(0, 9)), parameters={"mlp": draw(tables)}),
        decision=draw(st.sampled_from([DecisionSpec(), DecisionSpec(threshold=0.5)])),
        standard=draw(tables),
        rollout=draw(st.sampled_from([RolloutSpec(), RolloutSpec(steps=(10, 100), margin={"accuracy": 0.5})])),
        alerts=AlertSpec(notify=tuple(draw(st.lists(st.just("mailto://a@b.example"), max_size=2)))),
    )


@settings(max_examples=100, deadline=None)
@given(spec=specs(), note=texts)
def test_law_what_is_written_reads_back_the_same(spec: ProjectSpec, note: str) -> None:
    text = write_project(spec, {"": note, "data": note, "contract.columns.target": note, "project.name": note})
    assert parse_project(text, folder=Path(spec.folder)).spec == spec


def _paths(value: Any, path: tuple[str, ...] = ()) -> list[str]:
    inner = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    found = [".".join(path)] if path else []
    return found + [name for key, one in inner for name in _paths(one, (*path, str(key)))]


@settings(max_examples=150, deadline=None)
@given(document=tables)
def test_law_every_key_has_its_line(document: dict[str, Any]) -> None:
    text = tomlkit.dumps(document)
    lines = key_lines(text)
    assert set(lines) == set(_paths(tomllib.loads(text)))
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())


def test_lines_of_every_shape_of_toml() -> None:
    text = '''\
# first = 1
"quoted.key" = """
two = 2
"quotes" at the end"""" # a comment = 3
[[many.times]]
a = [ # here
  1, { b = 'x', "c d" = 2 },
  [3],
]
[[many.times]]
lit = \'\'\'it's
e = 5\'\'\'
when = 2024-01-01 10:00:00
x . y = -inf
[many.times.deep]
z = 1
[table]   # done
"\\u00e9" = "a\\"b = 1"
'''
    lines = key_lines(text)
    assert set(lines) == set(_paths(tomllib.loads(text)))
    expected = {"quoted.key": 2, "many.times.0.a": 6, "many.times.0.a.1.c d": 7, "many.times.0.a.2.0": 8}
    expected |= {
        "many.times.1.lit": 11,
        "many.times.1.when": 13,
        "many.times.1.x.y": 14,
        "many.times.1.deep.z": 16,
        "table.é": 18,
    }
    assert {key: lines[key] for key in expected} == expected
