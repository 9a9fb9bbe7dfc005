"""The standard: parsing names every problem, and its TOML form means the same."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.errors import ProjectFileError, UnknownName
from roadworthy.records.evidence import Phase
from roadworthy.records.project import Task
from roadworthy.standard import CATALOGUE, PRESETS, Direction, metric_named, parse_standard
from roadworthy.standard.units import UNITS, exact_quantity, format_quantity, parse_quantity, quantity_beside


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("task", list(Task))
def test_resolved_standard_survives_its_toml_form(preset: str, task: Task) -> None:
    table = {"extends": preset, "size": "<= 5 MB", "availability": {"at_least": 0.999, "phases": ["live"]}}
    standard = parse_standard(table, task)
    again = parse_standard(tomllib.loads(standard.to_toml())["standard"], task)
    assert again.digest() == standard.digest()


@pytest.mark.parametrize("task", list(Task))
def test_presets_only_name_metrics_of_their_task_and_get_stricter(task: Task) -> None:
    for weaker, stricter in (("prototype", "service"), ("service", "critical")):
        bounds = {r.metric: r for r in parse_standard({"extends": weaker}, task).requirements}
        for requirement in parse_standard({"extends": stricter}, task).requirements:
            assert task in CATALOGUE[requirement.metric].tasks
            before = bounds.get(requirement.metric)
            if before is None:
                continue
            if CATALOGUE[requirement.metric].direction is Direction.UP:
                assert (requirement.at_least or 0) >= (before.at_least or 0)
            else:
                assert (requirement.at_most or 0) <= (before.at_most or 0)


def test_declared_bound_replaces_the_presets() -> None:
    standard = parse_standard({"extends": "service", "roc_auc": ">= 0.9"}, Task.BINARY)
    bounds = [r.at_least for r in standard.requirements if r.metric == "roc_auc"]
    assert bounds == [0.9]


def test_slice_requirement_stands_beside_the_overall_one() -> None:
    table = {"extends": "none", "recall": [{"at_least": 0.8}, {"at_least": 0.7, "slice": "device"}]}
    lines = [r.line() for r in parse_standard(table, Task.BINARY, columns=["device"]).requirements]
    assert lines == ["recall >= 0.8", "recall >= 0.7 for every device"]


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ({"acuracy": ">= 0.8"}, "did you mean 'accuracy'"),
        ({"latency_p99": "<= 50 MB"}, "unit 'MB'"),
        ({"latency_p99": "<= 50"}, "no unit"),
        ({"size": ">= 5 MB"}, "better when it is lower"),
        ({"accuracy": "<= 0.8"}, "better when it is higher"),
        ({"accuracy": ">= 80"}, "from 0.0 to 1.0"),
        ({"accuracy": ">= nan"}, "expected a number"),
        ({"accuracy": "> 0.8"}, "'>=' or '<='"),
        ({"accuracy": True}, "a bound such as"),
        ({"accuracy": {}}, "no bound"),
        ({"accuracy": {"at_leest": 0.8}}, "did you mean 'at_least'"),
        ({"accuracy": {"at_least": 0.8, "phases": ["lifes"]}}, "phases ['lifes']"),
        ({"size": {"at_most": "5 MB", "phases": ["live"]}}, "not measured in phase live"),
        ({"recall": {"at_least": 0.8, "slice": "devise"}}, "did you mean 'device'"),
        ({"rmse": "<= 3"}, "does not apply to a binary task"),
        ({"extends": "servce"}, "unknown preset"),
        ({"alarm_budget": "many"}, "false alarms per time"),
        ({"confidence": 95}, "confidence 95"),
        ({"accuracy": {"at_least": 0.8, "trigger": "maybe"}}, "trigger 'maybe'"),
    ],
)
def test_each_problem_is_named_with_its_line(table: dict[str, object], found: str) -> None:
    lines = {f"standard.{key}": 41 for key in table}
    with pytest.raises(ProjectFileError) as caught:
        parse_standard(table, Task.BINARY, columns=["device", "age"], lines=lines)
    assert found in str(caught.value)
    assert "roadworthy.toml:41" in str(caught.value)


@pytest.mark.parametrize("metric", ["recall", "precision", "specificity"])
def test_with_many_classes_a_metric_of_one_class_names_the_target(metric: str) -> None:
    columns = ["device", "species"]
    by_class = {metric: {"at_least": 0.8, "slice": "species"}}
    for known in ("species", ""):
        standard = parse_standard(by_class, Task.MULTICLASS, columns=columns, target=known)
        assert f"{metric} >= 0.8 for every species" in [one.line() for one in standard.requirements]
    parse_standard(by_class, Task.MULTICLASS, columns=["device"], target="species")  # a target need not be a column
    for wrong in (">= 0.8", {"at_least": 0.8, "slice": "device"}):
        with pytest.raises(ProjectFileError) as caught:
            parse_standard({metric: wrong}, Task.MULTICLASS, columns=columns, target="species")
        assert 'slice = "species"' in str(caught.value)
        assert "macro_f1 or balanced_accuracy" in str(caught.value)
    with pytest.raises(ProjectFileError, match="<target column>"):
        parse_standard({metric: ">= 0.8"}, Task.MULTICLASS)
    parse_standard({metric: ">= 0.8"}, Task.BINARY, columns=columns, target="species")


def test_all_problems_come_at_once() -> None:
    with pytest.raises(ProjectFileError) as caught:
        parse_standard({"acuracy": ">= 1", "size": "5", "recall": ">= 2"}, Task.BINARY)
    assert len(caught.value.problems) == 3


def test_unknown_metric_always_raises() -> None:
    with pytest.raises(UnknownName, match="accuracy"):
        metric_named("acuracy")


@pytest.mark.parametrize(
    ("text", "base", "value"),
    [("50 ms", "ms", 50), ("0.05 s", "ms", 50), ("5 MiB", "bytes", 5 * 2**20), ("80 %", "", 0.8), ("1e-5", "", 1e-5)],
)
def test_quantities_reach_base_units(text: str, base: str, value: float) -> None:
    assert parse_quantity(text, base) == pytest.approx(value)


@pytest.mark.parametrize(
    ("value", "base", "text"), [(0.0123456, "", "0.01235"), (1e-5, "", "1e-05"), (0.2, "ms", "200 µs")]
)
def test_quantities_read_well(value: float, base: str, text: str) -> None:
    assert format_quantity(value, base) == text


def test_standard_splits_by_phase() -> None:
    standard = parse_standard({"extends": "service"}, Task.BINARY)
    live = {r.metric for r in standard.of_phase(Phase.LIVE)}
    assert "availability" in live
    assert "parity" not in live


@pytest.mark.parametrize("task", list(Task))
def test_a_confidence_holds_for_the_preset_too(task: Task) -> None:
    standard = parse_standard({"extends": "critical", "confidence": 0.99, "size": "<= 1 MB"}, task)
    assert {requirement.confidence for requirement in standard.requirements} == {0.99}


def test_a_model_no_better_than_a_constant_answer_does_not_meet_the_default() -> None:
    for task in (Task.BINARY, Task.MULTICLASS):
        for preset in ("service", "critical"):
            lines = [requirement.line() for requirement in parse_standard({"extends": preset}, task).requirements]
            assert any(line.startswith("skill >= 0.") for line in lines)


@settings(deadline=None)
@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9), st.sampled_from(sorted(UNITS)))
def test_a_shown_quantity_stands_on_its_own_side_of_the_bound(value: float, bound: float, base: str) -> None:
    for shown in (quantity_beside(value, bound, base), quantity_beside(value, value, base)):
        assert shown
    if base in {"", "count", "target"}:
        read = float(quantity_beside(value, bound, base).replace(",", ""))
        assert (read > bound) == (value > bound)
        assert (read < bound) == (value < bound)
        assert float(exact_quantity(value, base).replace(",", "")) == pytest.approx(value, rel=1e-11)
