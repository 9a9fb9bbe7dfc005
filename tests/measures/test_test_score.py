"""The ML Test Score: points are earned by evidence, halves by signatures, and the least section decides."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.measures.test_score import TestScoreFacts, score, test_score_found
from roadworthy.records.attestation import Attestation
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.evidence import Evidence, Exhibit, Finding, Found, Measurement, Phase
from roadworthy.records.project import Aggregate, DataSpec, ProjectSpec, Task
from roadworthy.records.test_score import ML_TESTS, How, Section, TestPoint, TestScore
from roadworthy.records.verdict import Outcome
from roadworthy.standard import CATALOGUE, Requirement, Standard, judge

TODAY = date(2026, 1, 2)
NUMBER, WORD = ColumnContract(type=ColumnType.NUMBER, min=0), ColumnContract(type=ColumnType.CATEGORY, allowed=("a",))
SPEC = ProjectSpec(
    name="clicks",
    task=Task.BINARY,
    target="y",
    data=DataSpec(source="x.csv", time="t", personal=("user",), exclude={"later": "known later"}, protected=("band",)),
    contract=Contract(
        columns={
            "t": ColumnContract(type=ColumnType.TIME),
            "n": NUMBER,
            "band": WORD,
            "user": ColumnContract(type=ColumnType.TEXT),
            "later": ColumnContract(type=ColumnType.NUMBER),
            "y": ColumnContract(type=ColumnType.CATEGORY, allowed=("0", "1")),
        }
    ),
    features={"ratio": "n / 2"},
)
COLUMNS = ("n", "band", "ratio")


def exact(metric: str, value: float, **more: Any) -> Measurement:
    return Measurement(metric=metric, **{"value": value, "lower": value, "upper": value, "n": 500, **more})


def importance(**uppers: float | None) -> Exhibit:
    columns: dict[str, list[Any]] = {"column": list(uppers), "upper": list(uppers.values())}
    return Exhibit(name="importance", title="What the model relies on", columns=columns)


def feature_cost(**features: tuple[float | None, float | None]) -> Exhibit:
    """Features with their share of the time and the upper bound of their benefit."""
    shares, uppers = [list(side) for side in zip(*features.values(), strict=True)]
    took = [None if share is None else 2 * share for share in shares]
    columns: dict[str, list[Any]] = {
        "column": list(features),
        "microseconds": took,
        "time_share": shares,
        "benefit_upper": uppers,
    }
    return Exhibit(name="feature_cost", title="What each feature costs and is worth", columns=columns)


FOUND = Found(
    measurements=(
        exact("quarantined_share", 0.02),
        exact("parity", 1e-7),
        exact("accuracy", 0.9, lower=0.85, upper=0.93),
        exact("accuracy", 0.89, phase=Phase.LIVE),
        exact("log_loss", 0.3, phase=Phase.ROLLOUT),
        exact("staleness", 0.01),
        exact("weak_slices", 0.0),
        exact("demographic_parity_difference", 0.03),
        exact("demographic_parity_difference", 0.03, slice="protected=band"),
        exact("irreproducibility", 0.0),
        exact("crashes", 0.0),
        exact("latency_p99", 2.0),
    ),
    exhibits=(
        importance(n=0.4, band=0.2, ratio=0.1),
        feature_cost(ratio=(1.0, 0.2)),
    ),
)
FULL = TestScoreFacts(
    found=FOUND,
    spec=SPEC,
    columns=COLUMNS,
    hashed=("user",),
    stages=("collect", "clean", "features", "split", "train", "validate", "package"),
    compared=("logistic", "gbdt"),
    chosen="gbdt",
    trials=20,
    required=("accuracy", "leaks"),
    golden=16,
    traced=5,
    rules=("accuracy", "latency_p99", "quarantined_share", "availability"),
    reference=("reference/columns.json",),
)
BY_HAND_ONLY = {"data-6", "model-1"}
BY_DRILL = {"infra-7", "monitor-1", "monitor-3", "monitor-4"}


def of(facts: TestScoreFacts, *attestations: Attestation) -> dict[str, TestPoint]:
    return {one.test: one for one in score(facts, attestations, TODAY).points}


def without(*metrics: str) -> TestScoreFacts:
    kept = tuple(one for one in FOUND.measurements if one.metric not in metrics)
    return replace(FULL, found=Found(measurements=kept, exhibits=FOUND.exhibits))


def with_(*more: Any, exhibits: tuple[Exhibit, ...] | None = None) -> TestScoreFacts:
    """The full facts with measurements and findings put in place of those of the same metric."""
    new = tuple(one for one in more if isinstance(one, Measurement))
    kept = tuple(one for one in FOUND.measurements if one.metric not in {other.metric for other in new})
    findings = tuple(one for one in more if isinstance(one, Finding))
    shown = FOUND.exhibits if exhibits is None else exhibits
    return replace(FULL, found=Found(measurements=kept + new, findings=findings, exhibits=shown))


def attested(test: str, expires: str = "2026-12-31") -> Attestation:
    return Attestation(topic=f"ml-test-score:{test}", statement="done by hand", person="Ann Lee", expires=expires)


def spec(**more: Any) -> ProjectSpec:
    known = {name: getattr(SPEC, name) for name in SPEC.__struct_fields__}
    return ProjectSpec(**(known | more))


def test_there_are_28_tests_in_four_sections() -> None:
    points = score(FULL, (), TODAY).points
    assert tuple(one.test for one in points) == ML_TESTS
    assert len(ML_TESTS) == 28
    assert [sum(one.section is section for one in points) for section in Section] == [7, 7, 7, 7]
    assert len({one.title for one in points}) == 28


def test_nothing_known_earns_nothing_and_each_test_says_what_would() -> None:
    found = score(TestScoreFacts(), (), TODAY)
    assert found.score == 0
    assert found.meaning == "more of a research project than a system in production"
    for one in found.points:
        assert (one.points, one.how, one.evidence) == (0, How.NONE, ""), one.test
        assert one.sentence
        assert f"0.5 points: roadworthy attest ml-test-score:{one.test} " in one.raises
        assert ("1 point: " in one.raises) == (one.test not in BY_HAND_ONLY)


def test_what_was_measured_and_carried_out_earns_a_point_each_with_its_evidence() -> None:
    found = score(FULL, (), TODAY)
    automatic = {one.test for one in found.points if one.how is How.AUTOMATIC}
    assert automatic == set(ML_TESTS) - BY_HAND_ONLY - BY_DRILL
    assert found.sections == {"data": 6, "model": 6, "infra": 6, "monitor": 4}
    assert (found.score, found.least) == (4, Section.MONITOR)
    for one in found.points:
        if one.how is How.AUTOMATIC:
            assert (one.points, one.raises) == (1, "")
            assert one.evidence.split(":")[0] in {"measurement", "exhibit", "stage", "file"}


def anchors(point: TestPoint) -> list[str]:
    return point.evidence.split(", ") if point.evidence else []


def test_every_anchor_leads_to_evidence_that_is_there() -> None:
    facts = with_(
        exact("weak_slices", 1.0), Finding(kind="weak_slice", subject="band=a", grade="suspects", sentence="Worse.")
    )
    there = (
        {f"measurement:{one.metric}" for one in facts.found.measurements}
        | {f"finding:{one.kind}:{one.subject}" for one in facts.found.findings}
        | {f"exhibit:{one.name}" for one in facts.found.exhibits}
        | {f"stage:{name}" for name in facts.stages}
        | {"file:contract.json", "file:model.onnx", "file:monitor.json", "file:reference/golden.json"}
        | {"attestation:ml-test-score:data-6"}
    )
    for point in of(facts, attested("data-6")).values():
        assert set(anchors(point)) <= there, point.test


NEEDS = {
    "data-1": without("quarantined_share"),
    "data-2": with_(exhibits=()),
    "data-3": with_(exhibits=FOUND.exhibits[:1]),
    "data-4": replace(FULL, spec=spec(data=DataSpec(source="x"))),
    "data-5": replace(FULL, spec=spec(data=DataSpec(source="x"))),
    "data-7": without("parity"),
    "model-2": replace(FULL, found=Found(measurements=FOUND.measurements[:3])),
    "model-3": replace(FULL, trials=1),
    "model-4": with_(Measurement(metric="staleness", insufficient="too few rows")),
    "model-5": replace(FULL, compared=("gbdt",)),
    "model-6": without("weak_slices"),
    "model-7": with_(exact("demographic_parity_difference", 0.1, slice="protected=other")),
    "infra-1": without("irreproducibility"),
    "infra-2": replace(FULL, golden=0),
    "infra-3": replace(FULL, stages=("train",)),
    "infra-4": replace(FULL, required=("leaks",)),
    "infra-5": replace(FULL, traced=0),
    "infra-6": without("log_loss"),
    "monitor-2": replace(FULL, rules=("accuracy",)),
    "monitor-5": with_(Measurement(metric="crashes", error="it broke")),
    "monitor-6": without("latency_p99"),
    "monitor-7": replace(FULL, rules=("latency_p99",)),
}


@pytest.mark.parametrize("test", sorted(NEEDS))
def test_without_its_evidence_a_test_earns_nothing_but_an_attestation_half(test: str) -> None:
    assert of(FULL)[test].points == 1
    bare = of(NEEDS[test])[test]
    assert (bare.points, bare.how) == (0, How.NONE)
    assert bare.raises.startswith("1 point: ")
    half = of(NEEDS[test], attested(test))[test]
    assert (half.points, half.how, half.evidence) == (0.5, How.ATTESTED, f"attestation:ml-test-score:{test}")
    assert half.sentence == "Ann Lee, until 2026-12-31: done by hand"
    assert half.raises
    assert "attest" not in half.raises


def test_every_automatic_test_is_among_those_that_can_lose_their_evidence() -> None:
    assert set(NEEDS) == set(ML_TESTS) - BY_HAND_ONLY - BY_DRILL


REFUTED = {
    "data-2": with_(exhibits=(importance(n=0.4, band=0.2, ratio=0.0), *FOUND.exhibits[1:])),
    "data-4": replace(FULL, columns=(*COLUMNS, "later")),
    "data-5": replace(FULL, hashed=()),
    "data-7": with_(exact("parity", 0.1)),
    "model-5": with_(
        Finding(kind="simpler_model", subject="gbdt", grade="notes", sentence="S.", details={"as_good": ["logistic"]})
    ),
    "model-6": with_(exact("weak_slices", 2.0)),
    "infra-1": with_(exact("irreproducibility", 0.01)),
    "monitor-5": with_(exact("crashes", 3.0)),
}


@pytest.mark.parametrize("test", sorted(REFUTED))
def test_no_signature_outweighs_evidence_that_says_the_opposite(test: str) -> None:
    point = of(REFUTED[test], attested(test))[test]
    assert (point.points, point.how) == (0, How.REFUTED)
    assert point.evidence
    assert point.raises
    assert "roadworthy attest" not in point.raises


def test_the_simpler_model_that_was_chosen_refutes_nothing() -> None:
    noted = Finding(
        kind="simpler_model", subject="gbdt", grade="notes", sentence="S.", details={"as_good": ["logistic"]}
    )
    assert of(replace(with_(noted), chosen="logistic"))["model-5"].points == 1


@pytest.mark.parametrize(
    ("grade", "chosen", "how"),
    [("notes", "gbdt", How.NONE), ("notes", "logistic", How.AUTOMATIC), ("suspects", "gbdt", How.REFUTED)],
)
def test_a_stand_in_refutes_only_where_it_is_provably_better(grade: str, chosen: str, how: How) -> None:
    stand_in = Finding(
        kind="simpler_model", subject="linear", grade=grade, sentence="S.", details={"stand_in": "linear"}
    )
    assert of(replace(with_(stand_in), chosen=chosen))["model-5"].how is how


def test_an_unbounded_column_leaves_the_schema_open() -> None:
    loose = Contract(columns=SPEC.contract.columns | {"n": ColumnContract(type=ColumnType.NUMBER)})
    point = of(replace(FULL, spec=spec(contract=loose)))["data-1"]
    assert (point.points, point.how) == (0, How.NONE)
    assert "give min, max, allowed or pattern to n in [contract.columns]" in point.raises


def test_a_feature_whose_use_was_not_measured_leaves_it_open() -> None:
    for shown in (importance(n=0.4, band=0.2), importance(n=0.4, band=0.2, ratio=None)):
        point = of(with_(exhibits=(shown, *FOUND.exhibits[1:])))["data-2"]
        assert (point.points, point.how) == (0, How.NONE)
        assert "ratio" in point.sentence


def test_what_was_tried_in_vain_says_why() -> None:
    assert of(NEEDS["model-4"])["model-4"].sentence == "too few rows"
    assert of(NEEDS["monitor-5"])["monitor-5"].sentence == "it broke"
    few = Measurement(metric="demographic_parity_difference", slice="protected=band", insufficient="6 rows of a group")
    assert of(with_(few))["model-7"].sentence == "the groups of band were not compared: 6 rows of a group"


def test_the_columns_whose_groups_were_compared_are_named() -> None:
    assert of(FULL)["model-7"].sentence == "the groups of band were compared by demographic_parity_difference"


def test_aggregates_have_to_be_replayed() -> None:
    looking_back = spec(features={"visits": Aggregate(count="*")})
    assert of(replace(FULL, spec=looking_back))["data-7"].points == 0
    assert of(replace(FULL, spec=looking_back, replayed=True))["data-7"].points == 1


def test_a_configured_rollout_earns_nothing() -> None:
    assert SPEC.rollout.steps == (1, 5, 25, 100)
    assert of(without("log_loss"))["infra-6"].points == 0
    assert of(FULL)["infra-7"].points == 0


@pytest.mark.parametrize("test", sorted(BY_DRILL))
def test_a_drill_earns_what_only_a_drill_can(test: str) -> None:
    assert of(FULL)[test].points == 0
    point = of(replace(FULL, drills={test: f"drill:{test}"}))[test]
    assert (point.points, point.how, point.evidence) == (1, How.AUTOMATIC, f"drill:{test}")


def test_a_drill_does_not_outweigh_evidence_that_says_the_opposite() -> None:
    assert of(replace(REFUTED["monitor-5"], drills={"monitor-5": "drill:x"}))["monitor-5"].points == 0


def test_an_attestation_counts_up_to_its_last_day() -> None:
    for expires, points in (("2026-01-02", 0.5), ("2026-01-01", 0.0)):
        assert of(FULL, attested("data-6", expires))["data-6"].points == points


def test_an_attestation_adds_nothing_to_what_is_automatic() -> None:
    assert of(FULL, attested("data-1"))["data-1"] == of(FULL)["data-1"]


def everything() -> list[Attestation]:
    return [attested(test) for test in ML_TESTS]


@settings(deadline=None, max_examples=150)
@given(st.sets(st.sampled_from(ML_TESTS)), st.sets(st.sampled_from([one.name for one in fields(TestScoreFacts)])))
def test_the_score_is_the_least_section_and_grows_with_every_attestation(tests: set[str], left_out: set[str]) -> None:
    bare = TestScoreFacts()
    facts = replace(FULL, **{name: getattr(bare, name) for name in left_out})
    plain, more = score(facts, (), TODAY), score(facts, [attested(test) for test in tests], TODAY)
    for found in (plain, more):
        sums = {section.value: sum(one.points for one in found.points if one.section is section) for section in Section}
        assert found.sections == sums
        assert found.score == min(sums.values()) == found.sections[found.least]
    for before, after in zip(plain.points, more.points, strict=True):
        gained = 0.5 if before.how is How.NONE and before.test in tests else 0.0
        assert after.points == before.points + gained


def test_less_evidence_never_earns_more() -> None:
    bare, full = TestScoreFacts(), score(FULL, (), TODAY)
    for one in fields(TestScoreFacts):
        fewer = score(replace(FULL, **{one.name: getattr(bare, one.name)}), (), TODAY)
        for less, more in zip(fewer.points, full.points, strict=True):
            assert less.points <= more.points, (one.name, less.test)


def test_attested_everywhere_the_score_is_half_of_seven() -> None:
    found = score(TestScoreFacts(), everything(), TODAY)
    assert found.score == 3.5
    assert found.meaning == "strong testing and monitoring, fit for systems that matter most"


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (0, "research"),
        (0.5, "holes"),
        (1, "holes"),
        (1.5, "first pass"),
        (3, "reasonably"),
        (5, "strong"),
        (5.5, "exc"),
    ],
)
def test_what_a_score_means(points: float, words: str) -> None:
    attestations = [attested(f"{section}-{number + 1}") for section in Section for number in range(7)]
    count = min(int(points * 2), 7)
    facts = TestScoreFacts(drills={f"{s}-{n + 1}": "drill:x" for s in Section for n in range(int(points * 2) - count)})
    kept = [one for one in attestations if int(one.topic[-1]) <= count]
    found = score(facts, kept, TODAY)
    assert found.score == points
    assert words in found.meaning


def test_the_measurement_is_exact_and_is_judged() -> None:
    found = test_score_found(score(FULL, (), TODAY))
    (measured,) = found.measurements
    assert (measured.lower, measured.value, measured.upper) == (4, 4, 4)
    assert measured.metric in CATALOGUE
    assert "The least section is monitoring" in measured.reason
    evidence = Evidence(subject="s", holdout="h", measurements=found.measurements)
    for bound, outcome in ((4.0, Outcome.PASS), (4.5, Outcome.FAIL)):
        standard = Standard(preset="none", requirements=(Requirement(metric="ml_test_score", at_least=bound),))
        (judged,) = judge(standard, evidence).requirements
        assert judged.outcome is outcome


def test_the_exhibit_has_a_row_per_test() -> None:
    scored = score(FULL, [attested("data-6")], TODAY)
    (exhibit,) = test_score_found(scored).exhibits
    assert exhibit.name == "ml_test_score"
    assert {len(column) for column in exhibit.columns.values()} == {28}
    assert exhibit.columns["test"] == list(ML_TESTS)
    assert sum(exhibit.columns["points"]) == sum(one.points for one in scored.points)
    assert "4 of 7" in exhibit.note


def test_the_same_facts_give_the_same_score() -> None:
    first, second = (score(FULL, everything(), TODAY) for _ in range(2))
    assert isinstance(first, TestScore)
    assert first == second


def test_the_page_says_what_earns_each_point() -> None:
    page = Path(__file__).parents[2] / "docs" / "inspection.md"
    section = page.read_text(encoding="utf-8").partition("## The ML Test Score")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+-\d)` \| (.+) \|$", section, re.MULTILINE)
    assert tuple(test for test, _ in rows) == ML_TESTS
    assert {test for test, words in rows if words.startswith("by hand")} == BY_HAND_ONLY


@pytest.mark.parametrize(
    ("exhibit", "how"),
    [
        (feature_cost(ratio=(1.0, 0.2)), How.AUTOMATIC),
        (feature_cost(ratio=(0.2, 0.001), other=(0.8, 0.2)), How.AUTOMATIC),
        (feature_cost(ratio=(0.9, 0.009), other=(0.1, 0.2)), How.REFUTED),
        (feature_cost(ratio=(None, 0.2)), How.NONE),
        (feature_cost(ratio=(1.0, None)), How.NONE),
        (feature_cost(other=(1.0, 0.2)), How.NONE),
        (Exhibit(name="feature_cost", title="", columns={"column": ["ratio"]}), How.NONE),
    ],
    ids=["weighed", "cheap and useless", "dear and useless", "untimed", "unweighed", "another's", "no figures"],
)
def test_the_cost_of_features_counts_only_with_figures(exhibit: Exhibit, how: How) -> None:
    assert of(with_(exhibits=(FOUND.exhibits[0], exhibit)))["data-3"].how is how


def test_without_declared_features_nothing_was_timed() -> None:
    point = of(replace(FULL, spec=spec(features={})))["data-3"]
    assert point.how is How.NONE
    assert "no feature is declared" in point.sentence
