"""The page about the inspection names every check with its metrics, and its examples run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from roadworthy.api.inspection.inspecting import _COST_METRICS
from roadworthy.cli.app import app
from roadworthy.cli.running import FAULT
from roadworthy.errors import UsageError
from roadworthy.records.attestation import parse_topic
from roadworthy.records.test_score import ML_TESTS
from roadworthy.records.verdict import EXIT_CODES, Outcome
from roadworthy.stages.inspection import CHECKS
from roadworthy.standard.presets import _EVERY, PRESETS

PAGE = "docs/inspection.md"
NUMBERS = ["impressions", "clicks", "dwell_seconds", "position"]
Pages = Callable[[str], Any]


def test_every_check_is_in_the_table_with_its_metrics(page: Pages) -> None:
    rows = page(PAGE).section("What is inspected").table("check")
    said = {re.sub(r"^\[(.*)\]\(.*\)$", r"\1", name): re.findall(r"`(\w+)`", metrics) for name, metrics, _ in rows}
    elsewhere = {"cost of a prediction": list(_COST_METRICS), "cost of features": []}
    expected = {check.title: list(check.metrics) for check in CHECKS} | elsewhere
    assert list(said) == list(expected)
    assert {name: sorted(metrics) for name, metrics in said.items()} == {
        name: sorted(metrics) for name, metrics in expected.items()
    }


def test_every_metric_of_a_check_is_explained_beside_the_table(page: Pages) -> None:
    whole = page(PAGE)
    rest = whole.text.replace(whole.section("What is inspected").text, "")
    for metric in {name for check in CHECKS for name in check.metrics} | set(_COST_METRICS):
        short = re.sub(r"_(difference|ratio)$", "", metric)
        assert f"`{metric}`" in rest or f"`{short}_difference`, `_ratio`" in rest, metric


def test_verdicts_and_exit_codes_are_those_of_the_program(page: Pages) -> None:
    section = page(PAGE).section("Verdicts, findings and exit codes")
    codes = {int(row[0]): row[1] for row in section.table("exit code")}
    assert set(codes) == {*EXIT_CODES.values(), UsageError.exit_code, FAULT}
    assert all(codes[code] == readiness.value for readiness, code in EXIT_CODES.items())
    assert all(f"`{outcome.value}`" in section.text for outcome in Outcome)


def test_what_the_presets_require_of_findings_is_so(page: Pages) -> None:
    text = " ".join(page(PAGE).section("Verdicts, findings and exit codes").text.split())
    asked = {name: [preset for preset in PRESETS if name in _EVERY[preset]] for name in ("pitfalls", "questions")}
    assert "Every preset but `none` requires `leaks <= 0` and `pitfalls <= 0`" in text
    assert asked["pitfalls"] == [preset for preset in PRESETS if preset != "none"]
    assert "`critical` also `questions <= 0`" in text
    assert asked["questions"] == ["critical"]
    assert [preset for preset in PRESETS if "crashes" in _EVERY[preset]] == ["service", "critical"]


def test_all_28_tests_of_the_score_are_there(page: Pages) -> None:
    rows = page(PAGE).section("The ML Test Score").table("test")
    assert [row[0].strip("`") for row in rows] == list(ML_TESTS)


def test_the_command_that_answers_is_one(page: Pages) -> None:
    (line,) = re.findall(r"`(roadworthy attest \S+ \"[^`]+)`", page(PAGE).section("How to answer a question").text)
    _, name, topic, *more = shlex.split(line)
    context = typer_context(name, [topic, *more])
    assert {"by", "expires"} <= set(context.params)
    assert parse_topic(topic, NUMBERS).subject in NUMBERS


def typer_context(name: str, words: list[str]) -> Any:
    import typer.main  # noqa: PLC0415 - only this test builds a command by hand

    return typer.main.get_command(app).commands[name].make_context(name, words)  # type: ignore[attr-defined]  # a group


@pytest.fixture
def others(clicks: pl.DataFrame, tmp_path: Path) -> tuple[pl.DataFrame, Any]:
    """A folder with somebody's model.onnx and holdout.parquet; the holdout and the estimator behind the model."""
    rows = clicks.drop_nulls(NUMBERS)
    train, holdout = rows[:700], rows[700:]
    estimator = make_pipeline(StandardScaler(), LogisticRegression())
    estimator.fit(train.select(NUMBERS).to_numpy(), train["converted"].to_numpy())
    sample = train.select(NUMBERS).to_numpy()[:1].astype("float32")
    graph = to_onnx(estimator, sample, options={"zipmap": False})
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    holdout = holdout.select("timestamp", *NUMBERS, "converted")
    holdout.write_parquet(tmp_path / "holdout.parquet")
    return holdout, estimator


def test_the_command_runs_as_it_stands_there(
    page: Pages, others: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert others
    monkeypatch.chdir(tmp_path)
    (line,) = page(PAGE).section("In a minute").blocks("console")
    program, *words = shlex.split(line.strip().removeprefix("$ "))
    assert program == "roadworthy"
    done = CliRunner().invoke(app, words)
    assert done.exit_code in set(EXIT_CODES.values()), f"{done.output}{done.exception}"
    assert (tmp_path / "inspection.html").read_text().startswith("<!doctype html>")


def test_the_python_example_runs_as_it_stands_there(
    page: Pages,
    others: tuple[pl.DataFrame, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    holdout, _ = others
    train = holdout.drop("converted", "timestamp")
    estimator = LogisticRegression(max_iter=1_000).fit(train.to_pandas(), holdout["converted"].to_numpy())
    (code,) = page(PAGE).section("In a minute").blocks("python")
    scope: dict[str, Any] = {"estimator": estimator, "holdout": holdout}
    exec(compile(code, PAGE, "exec"), scope)  # noqa: S102 - the page's own example
    shown = capsys.readouterr().out
    assert "recall" in {one.metric for one in scope["found"].verdict.requirements}
    assert scope["found"].not_asked.keys() == {"fairness"}
    assert shown.splitlines()[0].startswith(("ready", "not ready", "not proven"))
