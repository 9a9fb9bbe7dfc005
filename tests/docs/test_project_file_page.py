"""Every key of roadworthy.toml, every metric and every preset is on the page, with its default."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any, get_type_hints

import msgspec
import pytest

from roadworthy.adapters.sources.opening import _FILE_KEYS, _SQL_KEYS
from roadworthy.adapters.trainers import TRAINERS
from roadworthy.adapters.trainers.gbdt import _FURTHER
from roadworthy.errors import ProjectFileError
from roadworthy.formats.project import parse_project
from roadworthy.measures.quality import METRICS, MOST_SLICES
from roadworthy.measures.thresholds import _KEYS as THRESHOLD_KEYS
from roadworthy.measures.thresholds import OBJECTIVES
from roadworthy.records.contract import ColumnContract, ColumnType, Contract
from roadworthy.records.evidence import Phase
from roadworthy.records.project import (
    AlertSpec,
    DataSpec,
    DecisionSpec,
    ProjectSpec,
    ReferSpec,
    RolloutSpec,
    ServingSpec,
    Task,
    TrainingSpec,
)
from roadworthy.settings import VARIABLES
from roadworthy.standard import CATALOGUE, PRESETS, parse_standard
from roadworthy.standard.parse import _DEFAULT_PRESET
from roadworthy.standard.parse import _KEYS as REQUIREMENT_KEYS
from roadworthy.standard.parse import _SETTINGS as STANDARD_SETTINGS
from roadworthy.standard.presets import preset_requirements
from roadworthy.standard.units import UNITS

PAGE = "docs/project-file.md"
Pages = Callable[[str], Any]
TABLES: dict[str, type[msgspec.Struct]] = {
    "[data]": DataSpec,
    "[contract]": Contract,
    "[contract.columns.NAME]": ColumnContract,
    "[training]": TrainingSpec,
    "[decision]": DecisionSpec,
    "[serving]": ServingSpec,
    "[serving.refer]": ReferSpec,
    "[rollout]": RolloutSpec,
    "[alerts]": AlertSpec,
}
BEYOND = {"folder"}  # where the file stands: set by the reader, refused as a key
TYPES = {"text": str, "boolean": bool, "integer": int, "number": float}


def keys(section: Any, first: str = "key") -> list[str]:
    return [row[0].strip("`") for row in section.table(first)]


def plain(value: object) -> bytes:
    return msgspec.json.encode(value)


def test_every_table_of_the_file_has_its_section(page: Pages) -> None:
    top = {"name", "task", "target", "positive"}
    tables = set(ProjectSpec.__struct_fields__) - top - BEYOND
    assert set(keys(page(PAGE).section("`[project]`"))) == top
    for table in tables:
        assert page(PAGE).section(f"`[{table}]`").text.strip()


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_is_documented_with_its_default(page: Pages, heading: str) -> None:
    struct = TABLES[heading]
    rows = {row[0].strip("`"): row for row in page(PAGE).section(f"`{heading}`").table("key")}
    assert list(rows) == list(struct.__struct_fields__)
    for field in msgspec.structs.fields(struct):
        said = rows[field.name][2]
        if field.required:
            assert said == "required"
        elif said == "none":
            assert field.default is None
        else:
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
            assert plain(default) == plain(tomllib.loads(f"x = {said.strip('`')}")["x"]), field.name


@pytest.mark.parametrize("heading", TABLES)
def test_plain_types_are_the_codes_own(page: Pages, heading: str) -> None:
    hints = get_type_hints(TABLES[heading])
    for name, kind, *_ in page(PAGE).section(f"`{heading}`").table("key"):
        expected = TYPES.get(kind)
        if expected is not None and not issubclass_of_text(hints[name.strip("`")]):
            assert expected in {hints[name.strip("`")], *getattr(hints[name.strip("`")], "__args__", ())}


def issubclass_of_text(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, str)


def test_read_options_are_those_that_are_read(page: Pages) -> None:
    section = page(PAGE).section("`[data]`")
    written = section.text[section.text.index("takes read options") :]
    options = [line.split("|")[1].strip(" `") for line in written.splitlines() if line.startswith("| `")]
    assert set(options) == {*_FILE_KEYS, *_SQL_KEYS}


def test_column_types_and_tasks_are_named(page: Pages) -> None:
    columns = page(PAGE).section("`[contract.columns.NAME]`").text
    assert all(f"`{kind}`" in columns for kind in ColumnType)
    project = page(PAGE).section("`[project]`").text
    assert all(f"`{task}`" in project for task in Task)


def test_candidates_and_their_parameters_are_those_of_the_trainers(page: Pages) -> None:
    rows = page(PAGE).section("`[training]`").table("candidate")
    assert [row[0].strip("`") for row in rows] == list(TRAINERS)
    for name, parameters in rows:
        trainer = TRAINERS[name.strip("`")]()
        known = {key for task in Task for key in trainer.defaults(task, 1000)}
        if trainer.name == "gbdt":
            known |= set(_FURTHER)
        assert set(parameters.split("`")[1::2]) == known


def test_decisions_are_those_that_can_be_made(page: Pages) -> None:
    section = page(PAGE).section("`[decision]`")
    written = section.text[section.text.index("A table chooses") :]
    rows = {line.split("|")[1].strip(" `"): line for line in written.splitlines() if line.startswith("| `")}
    assert set(rows) == set(THRESHOLD_KEYS)
    assert rows["maximize"].split("`")[3::2] == list(OBJECTIVES)


def test_settings_and_keys_of_the_standard(page: Pages) -> None:
    section = page(PAGE).section("`[standard]`")
    settings = {row[0].strip("`"): row[2].strip("`") for row in section.table("key")}
    assert set(settings) == set(STANDARD_SETTINGS)
    assert settings["extends"] == f'"{_DEFAULT_PRESET}"'
    standard = parse_standard({"accuracy": ">= 0.8"}, Task.BINARY)
    assert settings["alarm_budget"] == f'"{standard.alarm_budget}"'
    assert float(settings["confidence"]) == standard.requirements[0].confidence
    written = section.text[section.text.index("Every other key is a metric") :]
    for key in REQUIREMENT_KEYS:
        assert f"| `{key}` |" in written
    assert f"at most {MOST_SLICES}" in written


def test_every_metric_is_there_as_it_is(page: Pages) -> None:
    rows = page(PAGE).section("Metrics").table("metric")
    expected = [
        [
            f"`{metric.name}`",
            metric.title,
            str(metric.direction),
            metric.unit or "ratio",
            "all" if set(metric.tasks) == set(Task) else ", ".join(metric.tasks),
            "all" if set(metric.phases) == set(Phase) else ", ".join(metric.phases),
            f'`"{metric.cut}"`' if metric.cut else ("columns" if metric.name in METRICS else "none"),
        ]
        for metric in CATALOGUE.values()
    ]
    assert rows == expected


def test_units_are_those_that_are_read(page: Pages) -> None:
    rows = page(PAGE).section("Metrics").table("unit")
    assert dict(rows) == {
        base or "ratio": ", ".join(f"`{unit}`" if unit else "none" for unit in units) for base, units in UNITS.items()
    }


def test_the_presets_bounds_are_the_codes(page: Pages) -> None:
    rows = page(PAGE).section("Presets").table("preset")
    expected = [
        [
            f"`{preset}`",
            str(task),
            ", ".join(f"`{requirement.line()}`" for requirement in preset_requirements(preset, task)) or "nothing",
        ]
        for task in Task
        for preset in PRESETS
    ]
    assert rows == expected


def test_the_settings_of_the_machine_are_named(page: Pages) -> None:
    variables = keys(page(PAGE).section("Settings"), "variable")
    assert variables == list(VARIABLES)


def test_the_example_is_a_project(page: Pages) -> None:
    text = page(PAGE).blocks("toml")[0]
    read = parse_project(text)
    standard = parse_standard(read.spec.standard, read.spec.task, columns=read.spec.contract.columns, lines=read.lines)
    assert read.spec.task is Task.BINARY
    assert len(standard.requirements) > 3


def test_an_unknown_key_names_the_nearest(page: Pages) -> None:
    text = page(PAGE).blocks("toml")[0].replace("personal =", "personel =")
    with pytest.raises(ProjectFileError, match="did you mean 'personal'"):
        parse_project(text)
