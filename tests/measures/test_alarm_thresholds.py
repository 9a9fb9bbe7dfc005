"""Simple thresholds: the plain value decides where it was declared so, the interval where it was not."""

from __future__ import annotations

import pytest

from roadworthy.measures.alarms.budget import Family, allot, parse_budget
from roadworthy.measures.alarms.thresholds import in_budget, rule_of, threshold_signal
from roadworthy.records.alert import Word
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.standard.requirement import Requirement, Trigger


def words(requirement: Requirement, values: list[float], **more: object) -> list[Word]:
    found = []
    for number, value in enumerate(values):
        fields = {"n": 500, "unit": "ms" if "latency" in requirement.metric else "", **more}
        shown = Measurement(metric=requirement.metric, value=value, phase=Phase.LIVE, **fields)  # type: ignore[arg-type]
        found.append(threshold_signal(requirement, [shown], at_us=number, source=f"1h/{number}").word)
    return found


def observed(metric: str, **bound: float) -> Requirement:
    return Requirement(metric=metric, trigger=Trigger.OBSERVED, **bound)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("requirement", "values", "alarms"),
    [
        (observed("accuracy", at_least=0.8), [0.79, 0.9], [True, False]),
        (observed("accuracy", at_least=0.8), [0.8, 0.7999], [False, True]),
        (observed("latency_p99", at_most=100.0), [90, 110, 95, 105], [False, True, False, True]),
        (observed("accuracy", at_least=0.9), [0.95, 0.94, 0.92, 0.85, 0.80], [False, False, False, True, True]),
    ],
    ids=["accuracy below", "accuracy at", "latencies", "accuracies"],
)
def test_the_plain_value_decides(requirement: Requirement, values: list[float], alarms: list[bool]) -> None:
    found = words(requirement, values)
    assert [word is Word.ALARM for word in found] == alarms
    assert all(word in {Word.ALARM, Word.CLEAR} for word in found)


def test_where_proof_is_asked_a_bad_value_neither_opens_nor_closes() -> None:
    requirement = Requirement(metric="accuracy", at_least=0.8)
    assert words(requirement, [0.78], lower=0.7, upper=0.86) == [Word.UNKNOWN]
    assert words(requirement, [0.82], lower=0.7, upper=0.86) == [Word.CLEAR]
    assert words(requirement, [0.7], lower=0.6, upper=0.79) == [Word.ALARM]
    assert words(requirement, [0.9], lower=0.85, upper=0.95) == [Word.CLEAR]
    assert words(requirement, [0.9]) == [Word.UNKNOWN]  # no interval proves nothing
    assert words(requirement, [0.9], insufficient="too few rows") == [Word.UNKNOWN]
    assert words(requirement, [0.9], error="it broke") == [Word.BROKEN]


def test_no_measurement_is_unknown_and_says_so() -> None:
    signal = threshold_signal(observed("accuracy", at_least=0.8), [], at_us=1, source="1h/7")
    assert signal.word is Word.UNKNOWN
    assert "was not measured" in signal.sentence
    assert signal.source == "1h/7"
    assert signal.evidence["bound"] == 0.8


def test_a_proven_requirement_holds_at_the_confidence_that_the_budget_gives() -> None:
    allotment = allot(parse_budget("1 per 30 days"), {Family.QUALITY: 3}, window_s=3600, scales=1)
    asked = in_budget(Requirement(metric="accuracy", at_least=0.8), allotment, Family.QUALITY, seconds=3600)
    assert asked.confidence == pytest.approx(1 - 1 / 720 / 3)
    same = observed("accuracy", at_least=0.8)
    assert in_budget(same, allotment, Family.QUALITY, seconds=3600) is same
    strict = Requirement(metric="accuracy", at_least=0.8, confidence=0.99999)
    assert in_budget(strict, allotment, Family.QUALITY, seconds=3600).confidence == 0.99999
    interval = {"lower": 0.6, "upper": 0.79, "confidence": 0.95}
    assert words(asked, [0.7], **interval) == [Word.UNKNOWN]


def test_rules_are_named_as_in_the_bundle() -> None:
    assert rule_of(Requirement(metric="recall", at_least=0.5, slice="device")) == "recall:device_low"
    assert rule_of(Requirement(metric="latency_p99", at_most=50.0)) == "latency_p99_high"
