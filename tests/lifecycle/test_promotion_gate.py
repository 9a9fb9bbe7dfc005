"""The way from a failing version to champion is shut on every side: registry, lake, and both together."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from roadworthy import api, assembly
from roadworthy.adapters.lake import Lake
from roadworthy.errors import BundleError, PromotionRefused, RegistryError
from roadworthy.records.verdict import Readiness
from roadworthy.records.version import Version

LOOSE, STRICT = 'accuracy = ">= 0.80"', 'accuracy = ">= 0.99"'


def edit(project: Path, statement: str) -> None:
    with closing(sqlite3.connect(project / ".roadworthy" / "registry.db")) as connection, connection:
        connection.execute(statement)


def bundle_folder(project: Path, version: Version) -> Path:
    return Lake(assembly.open_project(project).settings.lake).path("package", version.digest) / "bundle"


@pytest.fixture
def failing(copied: Path) -> tuple[Path, Version, Version]:
    """A project, its first version, and a second one that failed a stricter standard."""
    with assembly.opened_registry(assembly.open_project(copied)) as registry:
        first = registry.version("clicks", 1)
    file = copied / "roadworthy.toml"
    file.write_text(file.read_text().replace(LOOSE, STRICT))
    second = api.run(copied).version
    assert (second.number, second.verdict.readiness) == (2, Readiness.NOT_READY)
    return copied, first, second


def swapped(project: Path, first: Version, second: Version) -> None:
    shutil.rmtree(bundle_folder(project, first))
    shutil.copytree(bundle_folder(project, second), bundle_folder(project, first))


def test_no_way_round_the_gate(failing: tuple[Path, Version, Version]) -> None:
    project, first, second = failing
    with pytest.raises(PromotionRefused):
        api.promote(2, project)
    opened = assembly.open_project(project)
    with assembly.opened_bundle(opened, "1") as (_, bundle):
        assert bundle.digest == first.manifest
    swapped(project, first, second)
    with (
        pytest.raises(BundleError, match="not the bundle that was registered as clicks-1") as caught,
        assembly.opened_bundle(opened, "1"),
    ):
        pass
    assert second.manifest in str(caught.value)
    with pytest.raises(BundleError, match="clicks-1"):
        api.promote(1, project)
    edit(project, 'UPDATE versions SET record = replace(record, \'"readiness":"not ready"\', \'"readiness":"ready"\')')
    with pytest.raises(RegistryError, match="clicks-2 is not as it was registered"):
        api.promote(2, project)


def test_a_bundle_exchanged_before_it_was_registered_is_refused(failing: tuple[Path, Version, Version]) -> None:
    project, first, second = failing
    (project / ".roadworthy" / "registry.db").unlink()
    for rest in project.glob(".roadworthy/registry.db-*"):
        rest.unlink()
    shutil.rmtree(bundle_folder(project, second))
    shutil.copytree(bundle_folder(project, first), bundle_folder(project, second))
    with pytest.raises(BundleError, match="not the bundle that was packaged there"):
        api.run(project)


def test_a_bundle_packaged_again_is_a_version_of_its_own(copied: Path) -> None:
    with assembly.opened_registry(assembly.open_project(copied)) as registry:
        first = registry.version("clicks", 1)
    folder = bundle_folder(copied, first)
    shutil.rmtree(folder.parent)
    again = api.run(copied).version
    assert again.digest == first.digest
    written = msgspec.json.decode((folder / "evidence.json").read_bytes())
    assert written["subject"] == again.evidence.subject
    if again.manifest != first.manifest:
        assert again.number == 2
        with pytest.raises(BundleError, match="clicks-1"):
            api.promote(1, copied)
