"""The runner of the checks: what breaks is told, what is counted is counted once, what was answered is no question."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import date

import msgspec
import numpy as np
import polars as pl
import pytest
from rich.console import Console

from roadworthy.cli.console import ConsoleReporter
from roadworthy.errors import UnknownName
from roadworthy.measures.examined import Answer, Answered, Brief, Examined
from roadworthy.measures.samples import Sample
from roadworthy.measures.test_score import TestScoreFacts
from roadworthy.records.attestation import Attestation
from roadworthy.records.evidence import Evidence, Exhibit, Finding, Found, Measurement
from roadworthy.records.project import Task
from roadworthy.records.verdict import Outcome, Readiness
from roadworthy.stages.inspection import CHECKS, Check, checks_named, concluded, counted, inspect_all
from roadworthy.standard import CATALOGUE, judge, parse_standard
from roadworthy.standard.metric import MetricKind

TODAY = date(2026, 11, 20)


@pytest.fixture
def examined() -> Examined:
    rows = pl.DataFrame({"x": np.linspace(0, 1, 1_200)})
    y = (rows["x"].to_numpy() > 0.5).astype(np.int64)
    score = rows["x"].to_numpy() * 0.8 + 0.1
    return Examined(
        sample=Sample(task=Task.BINARY, y=y, score=score, threshold=0.5),
        rows=rows,
        columns=("x",),
        answer=lambda frame: Answered(frame["x"].to_numpy(), np.zeros(frame.height, dtype=np.bool_)),
    )


def breaks(_examined: Examined, _brief: Brief) -> Found:
    raise ZeroDivisionError("a cell with jane@example.com")


def finds(_examined: Examined, brief: Brief) -> Found:
    brief.advance(1)
    return Found(
        measurements=(Measurement(metric="crashes", value=float(np.float64(1)), lower=1.0, upper=1.0, unit="count"),),
        findings=(Finding(kind="x", subject="s", grade="suspects", sentence="S.", question="Why?"),),
        exhibits=(Exhibit(name="n", title="N", columns={"a": [np.float64(0.5), np.int64(3), None]}),),
    )


class Watcher:
    def __init__(self) -> None:
        self.told: list[str] = []

    def begin(self, task: str, total: int | None = None) -> None:
        self.told.append(f"begin {task} {total}")

    def advance(self, task: str, steps: int = 1) -> None:
        self.told.append(f"advance {task} {steps}")

    def end(self, task: str, summary: str = "", *, reused: bool = False) -> None:
        self.told.append(f"end {task}: {summary}{reused or ''}")

    def line(self, line: object) -> None:
        raise AssertionError(line)


BROKEN = Check(
    name="broken", title="a broken one", run=breaks, metrics=("crashes", "robust_flips", "set_size", "pinball")
)
SOUND = Check(name="sound", title="a sound one", run=finds, steps=lambda _examined, _brief: 1)


def test_a_broken_check_is_an_error_of_each_of_its_metrics_and_blocks(examined: Examined) -> None:
    standard = parse_standard({"extends": "none", "robust_flips": {"at_most": 0.1, "slice": "fault"}}, Task.BINARY)
    found = inspect_all(examined, Brief(required=standard.requirements), checks=[BROKEN, SOUND])
    errors = {(one.metric, one.slice) for one in found.measurements if one.error}
    assert errors == {("crashes", ""), ("robust_flips", ""), ("robust_flips", "fault=?"), ("set_size", "")}
    verdict = judge(standard, Evidence(subject="s", holdout="h", measurements=found.measurements))
    assert verdict.requirements[0].outcome is Outcome.ERROR
    assert verdict.readiness is Readiness.NOT_READY
    assert [one.kind for one in found.findings] == ["broken_check", "x"]


def test_a_broken_check_does_not_repeat_the_cells_that_an_exception_quotes(examined: Examined) -> None:
    found = inspect_all(examined, Brief(), checks=[BROKEN])
    assert "ZeroDivisionError" in found.findings[0].sentence
    assert b"jane" not in msgspec.json.encode(found)


def test_what_a_check_found_carries_its_name_and_numbers_that_files_can_hold(examined: Examined) -> None:
    found = inspect_all(examined, Brief(), checks=[SOUND])
    names = [one.check for one in found.measurements] + [one.check for one in found.findings]
    assert {*names, *(one.check for one in found.exhibits)} == {"sound"}
    assert msgspec.json.decode(msgspec.json.encode(found.exhibits[0]))["columns"] == {"a": [0.5, 3, None]}


def test_a_watcher_sees_every_check_with_its_steps(examined: Examined) -> None:
    watcher = Watcher()
    inspect_all(examined, Brief(), watcher, [SOUND, BROKEN])
    assert watcher.told == [
        "begin a sound one 1",
        "advance a sound one 1",
        "end a sound one: 1 to look at",
        "begin a broken one None",
        "end a broken one: 1 fail",
    ]


def test_a_watcher_is_told_how_many_trainings_there_will_be(examined: Examined) -> None:
    def refit(_rows: pl.DataFrame, _y: object, _seed: int) -> Answer:
        return examined.answer

    watcher = Watcher()
    timed = examined.rows.with_columns(t=pl.datetime(2026, 1, 1) + pl.duration(days=pl.int_range(pl.len())))
    inspect_all(
        replace(examined, refit=refit, rows=timed, time="t"),
        Brief(retrainings=12),
        watcher,
        checks_named(["stability", "ageing"]),
    )
    assert watcher.told.count("advance 12 trainings anew 1") == 12
    assert watcher.told.count("advance 5 trainings over time 1") == 5
    assert [told.partition(":")[0] for told in watcher.told if not told.startswith("advance")] == [
        "begin 12 trainings anew 12",
        "end 12 trainings anew",
        "begin 5 trainings over time 5",
        "end 5 trainings over time",
    ]


def test_in_a_pipe_trainings_show_their_number_and_the_time_left(examined: Examined) -> None:
    now = [0.0]

    def refit(_rows: pl.DataFrame, _y: object, _seed: int) -> Answer:
        now[0] += 12.0
        return examined.answer

    stream = io.StringIO()
    with ConsoleReporter(Console(file=stream, width=100), clock=lambda: now[0]) as reporter:
        inspect_all(replace(examined, refit=refit), Brief(retrainings=10), reporter, checks_named(["stability"]))
    said = [told.strip() for told in stream.getvalue().splitlines()]
    assert said[:2] == ["10 trainings anew: 10%, 1 min 48 s left", "10 trainings anew: 20%, 1 min 36 s left"]
    assert "10 trainings anew" in said[-1]


def test_a_check_that_lacks_something_is_left_out(examined: Examined) -> None:
    lacking = Check(name="l", title="l", run=breaks, lacks=lambda _examined, _brief: "no time")
    assert inspect_all(examined, Brief(), checks=[lacking]) == Found()


def test_every_probe_has_one_check_that_measures_it() -> None:
    measured = [metric for check in CHECKS for metric in check.metrics]
    assert len(measured) == len(set(measured))
    probes = {name for name, metric in CATALOGUE.items() if metric.kind is MetricKind.PROBE}
    assert probes - set(measured) <= {"questions", "ml_test_score"}
    assert set(measured) <= set(CATALOGUE)


def test_checks_are_named_or_refused() -> None:
    assert [check.name for check in checks_named(["slices", "leakage"])] == ["leakage", "slices"]
    with pytest.raises(UnknownName, match="leakage"):
        checks_named(["leekage"])


def test_findings_are_counted_once() -> None:
    findings = (
        Finding(kind="accuracy_paradox", subject="a", grade="fails", sentence="Paradox.", check="pitfalls"),
        Finding(kind="target_leak", subject="b", grade="fails", sentence="Leak.", check="leakage"),
        Finding(kind="robustness", subject="c", grade="fails", sentence="Crash.", check="robustness"),
        Finding(kind="broken_check", subject="d", grade="fails", sentence="Broken.", check="pitfalls"),
        Finding(kind="target_leak", subject="e", grade="suspects", sentence="E?", question="Is e known?"),
        Finding(kind="churn", subject="f", grade="suspects", sentence="F."),
    )
    pitfalls, questions = counted(findings)
    assert (pitfalls.value, pitfalls.reason) == (1.0, "Paradox.")
    assert (questions.value, questions.reason) == (1.0, "Is e known?")
    assert pitfalls.lower == pitfalls.value == pitfalls.upper


def _evidence(findings: tuple[Finding, ...], *more: Measurement) -> Evidence:
    return Evidence(subject="s", holdout="h", measurements=(*counted(findings), *more), findings=findings)


def test_an_answer_closes_a_question_and_the_verdict_follows() -> None:
    standard = parse_standard({"extends": "none", "questions": "<= 0"}, Task.BINARY)
    leak = Finding(
        kind="target_leak", subject="duration", grade="suspects", sentence="S.", question="Is duration known?"
    )
    word = Attestation(topic="known-at-prediction:duration", statement="yes", person="Ann Lee", expires="2027-05-20")
    open_, answered, expired = (
        concluded(_evidence((leak,)), TestScoreFacts(), words, today)
        for words, today in (((), TODAY), ((word,), TODAY), ((word,), date(2027, 5, 21)))
    )
    assert judge(standard, open_).requirements[0].outcome is Outcome.FAIL
    assert judge(standard, expired).requirements[0].outcome is Outcome.FAIL
    assert judge(standard, answered).requirements[0].outcome is Outcome.PASS
    assert "Ann Lee" in answered.findings[0].answer


def test_an_error_is_not_counted_away() -> None:
    broken = Measurement(metric="pitfalls", error="the check broke")
    evidence = concluded(_evidence((), broken), TestScoreFacts(), (), TODAY)
    standard = parse_standard({"extends": "none", "pitfalls": "<= 0"}, Task.BINARY)
    assert judge(standard, evidence).requirements[0].outcome is Outcome.ERROR


def test_the_test_score_stands_in_the_evidence_and_can_be_required() -> None:
    standard = parse_standard({"extends": "none", "ml_test_score": ">= 3"}, Task.BINARY)
    evidence = concluded(_evidence(()), TestScoreFacts(), (), TODAY)
    verdict = judge(standard, evidence)
    assert verdict.requirements[0].outcome is Outcome.FAIL
    assert "The least section is" in verdict.requirements[0].sentence
    assert "ml_test_score" in [one.name for one in evidence.exhibits]
