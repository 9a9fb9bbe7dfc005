"""The architecture page and the decisions agree with the code, and no link on any page is broken."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roadworthy.lifecycle import schema
from roadworthy.pipeline.sequence import STAGE_NUMBERS

ROOT = Path(__file__).parent.parent.parent
PAGE = "docs/architecture.md"
DECISIONS = ROOT / "docs" / "decisions"
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "benchmarks").glob("*.md"),
]
Pages = Callable[[str], Any]


def names(rows: list[list[str]]) -> list[str]:
    return [row[0].strip("`") for row in rows]


def test_the_floors_are_those_of_the_executed_contract(page: Pages) -> None:
    (contract,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    executed = [set(layer.split(" | ")) for layer in reversed(contract["layers"])]
    written: list[set[str]] = []
    for floor, module, _ in page(PAGE).section("Floors").table("floor"):
        if int(floor) == len(written):
            written.append(set())
        assert int(floor) == len(written) - 1
        written[-1].add(module.strip("`"))
    assert written == executed
    assert contract["exhaustive"]


def test_every_module_has_its_floor(page: Pages) -> None:
    rows = page(PAGE).section("Floors").table("floor")
    package = ROOT / "src" / "roadworthy"
    there = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert {row[1].strip("`") for row in rows} == there - {"__init__"}


def test_the_lake_has_these_folders_and_files(page: Pages, finished: Path) -> None:
    rows = page(PAGE).section("The lake").table("folder")
    assert set(names(rows)) == {"collect", *STAGE_NUMBERS}
    lake = finished / ".roadworthy" / "lake"
    for stage, written in rows:
        (folder,) = (lake / stage.strip("`")).iterdir()
        assert re.fullmatch(r"[0-9a-f]{16}", folder.name)
        there = {path.name for path in folder.rglob("*") if path.is_file() and "bundle" not in path.parts}
        said = set(re.findall(r"`([\w.]+\.\w+)`", written))
        assert there - {"record.json"} == said, stage


def test_the_bundle_has_these_files(page: Pages, finished: Path) -> None:
    rows = page(PAGE).section("The bundle").table("file")
    (bundle,) = (finished / ".roadworthy" / "lake" / "package").glob("*/bundle")
    there = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert set(names(rows)) == there


def test_the_registry_has_these_tables(page: Pages) -> None:
    rows = page(PAGE).section("The registry").table("table")
    assert set(names(rows)) == set(schema.metadata.tables)


def test_decisions_are_numbered_named_and_listed() -> None:
    found = sorted(DECISIONS.glob("[0-9]*.md"))
    assert [path.name[:4] for path in found] == [f"{number:04}" for number in range(1, len(found) + 1)]
    index = (DECISIONS / "README.md").read_text()
    for path in found:
        title = path.read_text().splitlines()[0].removeprefix(f"# {path.name[:4]} ")
        assert f"- [{path.name[:4]}]({path.name}) {title}" in index


@pytest.mark.parametrize("path", sorted(DECISIONS.glob("[0-9]*.md")), ids=lambda path: path.name[:4])
def test_a_decision_has_its_three_parts_on_one_page(path: Path) -> None:
    text = path.read_text()
    parts = [text.index(f"**{part}.**") for part in ("Context", "Decision", "Consequences")]
    assert parts == sorted(parts)
    assert len(text.splitlines()) <= 60


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    table = next(DECISIONS.glob("0018-*.md")).read_text()
    listed = {
        name
        for line in table.splitlines()
        if line.startswith("| ")
        for name in re.findall(r"[\w-]+", line.split("|")[1])
    }
    for requirement in [*project["dependencies"], *extras]:
        name = re.split(r"[\[>=<]", requirement)[0]
        assert name.removesuffix("-python") in listed or name in listed, name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file) if file else path
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
            assert anchor in slugs, target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_are_named_exist(path: Path) -> None:
    for name in re.findall(r"`((?:src|tests|docs|benchmarks|examples)/[\w./-]*\w)`", path.read_text()):
        if "NAME" not in name and "NNNN" not in name and not name.endswith("report.html"):  # a run writes that
            assert (ROOT / name).exists(), name
