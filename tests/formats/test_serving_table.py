"""``[serving]``: what is refused with its line, what it becomes in a bundle, and what a loader refuses of that."""

from __future__ import annotations

from typing import Any

import pytest

from roadworthy.errors import BundleError, ProjectFileError
from roadworthy.formats.bundle import FALLBACK, Constant, ServingContract, constant_of, read_constant
from roadworthy.formats.project import parse_project, write_project
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.digests import canonical_json
from roadworthy.records.project import ReferSpec, ServingSpec, Task

PROJECT = """[project]
name = "shop"
task = "{task}"
target = "y"
[data]
source = "rows.csv"
[contract.columns]
x = {{ type = "number" }}
y = {{ type = "{kind}"{allowed} }}
[serving]
{serving}
"""


def project(serving: str, task: Task = Task.BINARY, allowed: str = ', allowed = ["no", "yes"]') -> str:
    kind = "number" if task is Task.REGRESSION else "category"
    return PROJECT.format(task=task, kind=kind, allowed="" if kind == "number" else allowed, serving=serving)


@pytest.mark.parametrize(
    ("serving", "task", "spec"),
    [
        ('fallback = "no"', Task.BINARY, ServingSpec(fallback="no")),
        ("fallback = 0.05", Task.BINARY, ServingSpec(fallback=0.05)),
        ("fallback = 1", Task.BINARY, ServingSpec(fallback=1)),
        ("fallback = { no = 0.9, yes = 0.1 }", Task.MULTICLASS, ServingSpec(fallback={"no": 0.9, "yes": 0.1})),
        ("fallback = -3.5", Task.REGRESSION, ServingSpec(fallback=-3.5)),
        ("refer = { confidence = 0.9 }", Task.REGRESSION, ServingSpec(refer=ReferSpec(confidence=0.9))),
        ("[serving.refer]\noutside_support = true", Task.BINARY, ServingSpec(refer=ReferSpec(outside_support=True))),
    ],
    ids=["class", "probability", "certainty", "probabilities", "number", "confidence", "support"],
)
def test_what_is_declared_is_read_and_written_again(serving: str, task: Task, spec: ServingSpec) -> None:
    read = parse_project(project(serving, task)).spec
    assert read.serving == spec
    assert parse_project(write_project(read, {})).spec == read


def test_nothing_is_declared_by_default() -> None:
    read = parse_project(project(""))
    assert read.spec.serving == ServingSpec()
    assert "[serving]" not in write_project(read.spec, {})


@pytest.mark.parametrize(
    ("serving", "task", "found"),
    [
        ('fallback = "maybe"', Task.BINARY, "the target has no class 'maybe'"),
        ('fallback = "yess"', Task.BINARY, "did you mean 'yes'?"),
        ('fallback = ""', Task.BINARY, "an empty class"),
        ("fallback = 1.5", Task.BINARY, "a probability of 1.5"),
        ("fallback = nan", Task.BINARY, "a probability of nan"),
        ("fallback = true", Task.BINARY, "true"),
        ("fallback = { no = 0.5, yes = 0.5 }", Task.BINARY, "a table for a binary task"),
        ("fallback = 0.5", Task.MULTICLASS, "the number 0.5"),
        ("fallback = { no = 0.5, yes = 0.6 }", Task.MULTICLASS, "add up to 1.1"),
        ("fallback = { no = -0.5, yes = 1.5 }", Task.MULTICLASS, "a probability of -0.5"),
        ('fallback = "no"', Task.REGRESSION, "the class 'no'"),
        ("fallback = inf", Task.REGRESSION, "the number inf"),
        ("refer = {}", Task.BINARY, "nothing that refers a row"),
        ("refer = { outside_support = false }", Task.BINARY, "nothing that refers a row"),
        ("refer = { confidence = 1.0 }", Task.BINARY, "a confidence of 1.0"),
        ("refer = { confidence = 0.3 }", Task.BINARY, "a confidence of 0.3"),
        ("refer = { confidence = nan }", Task.BINARY, "a confidence of nan"),
        ('refer = { confidence = "high" }', Task.BINARY, "'high'"),
        ("refer = { confidance = 0.9 }", Task.BINARY, "did you mean 'confidence'?"),
        ("refere = { confidence = 0.9 }", Task.BINARY, "did you mean 'refer'?"),
    ],
)
def test_what_could_never_be_an_answer_is_refused_with_its_line(serving: str, task: Task, found: str) -> None:
    with pytest.raises(ProjectFileError) as refused:
        parse_project(project(serving, task))
    assert any(found in one.found for one in refused.value.problems), refused.value.problems
    assert all(one.where.startswith("roadworthy.toml:1") for one in refused.value.problems)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ProjectFileError) as refused:
        parse_project(project('fallback = "maybe"\nrefer = { confidence = 2 }'))
    assert len(refused.value.problems) == 2


# --- the constant in a bundle ---------------------------------------------------------------------------------------

THREE = ("a", "b", "c")


@pytest.mark.parametrize(
    ("declared", "task", "classes", "threshold", "made"),
    [
        ("yes", Task.BINARY, ("no", "yes"), 0.5, Constant(score=1.0, decision="yes")),
        ("no", Task.BINARY, ("no", "yes"), 0.5, Constant(score=0.0, decision="no")),
        (0.3, Task.BINARY, ("no", "yes"), 0.2, Constant(score=0.3, decision="yes")),
        (0.3, Task.BINARY, ("no", "yes"), None, Constant(score=0.3, decision="no")),
        ("b", Task.MULTICLASS, THREE, None, Constant(score=[0.0, 1.0, 0.0], decision="b")),
        ({"c": 0.5, "a": 0.2, "b": 0.3}, Task.MULTICLASS, THREE, None, Constant(score=[0.2, 0.3, 0.5], decision="c")),
        (4, Task.REGRESSION, (), None, Constant(score=4.0)),
        (None, Task.REGRESSION, (), None, None),
    ],
)
def test_a_declaration_becomes_an_answer_of_the_task(
    declared: Any, task: Task, classes: tuple[str, ...], threshold: float | None, made: Constant | None
) -> None:
    assert constant_of(declared, task, classes, threshold) == made
    if made is not None:
        assert read_constant({FALLBACK: canonical_json(made)}, contract(task, classes)) == made


def test_classes_that_training_did_not_find_are_told_all_at_once() -> None:
    with pytest.raises(ProjectFileError) as refused:
        constant_of({"a": 0.5, "bb": 0.5}, Task.MULTICLASS, THREE, None)
    found = [one.found for one in refused.value.problems]
    assert found == [
        "the target has no class 'bb'; did you mean 'b'?",
        "no probability for 'b'",
        "no probability for 'c'",
    ]


def contract(task: Task, classes: tuple[str, ...]) -> ServingContract:
    columns = {"x": ColumnContract(type=ColumnType.NUMBER)}
    return ServingContract(
        name="m", task=task, target="y", classes=classes, contract=Contract(columns=columns), inputs=("x",)
    )


@pytest.mark.parametrize(
    ("content", "task", "said"),
    [
        (b"{", Task.BINARY, "does not parse"),
        (b'{"score":0.5,"decision":"no","pickle":1}', Task.BINARY, "does not parse"),
        (b'{"score":[0.5,0.5],"decision":"no"}', Task.BINARY, "2 scores"),
        (b'{"score":7,"decision":"no"}', Task.BINARY, "could not give"),
        (b'{"score":0.5,"decision":"maybe"}', Task.BINARY, "'maybe'"),
        (b'{"score":0.5,"decision":""}', Task.BINARY, "''"),
        (b'{"score":0.5,"decision":"no"}', Task.REGRESSION, "'no'"),
        (b'{"score":[0.5]}', Task.REGRESSION, "1 scores"),
    ],
)
def test_a_constant_that_the_model_could_not_have_given_does_not_open(content: bytes, task: Task, said: str) -> None:
    classes = () if task is Task.REGRESSION else ("no", "yes")
    with pytest.raises(BundleError) as refused:
        read_constant({FALLBACK: content}, contract(task, classes))
    assert said in f"{refused.value.message} {[one.found for one in refused.value.problems]}"


def test_a_bundle_without_one_has_none() -> None:
    assert read_constant({}, contract(Task.BINARY, ("no", "yes"))) is None
