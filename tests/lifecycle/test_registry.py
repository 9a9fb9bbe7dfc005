"""The registry: promotion is the gate, the chain is tamper-evident, a kill leaves a whole state."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from roadworthy.errors import PromotionRefused, RegistryError
from roadworthy.lifecycle import schema
from roadworthy.lifecycle.registry import Registry
from roadworthy.records.evidence import Evidence
from roadworthy.records.verdict import Readiness, Verdict
from roadworthy.records.version import Version


class StillClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC)


def version(digest: str, readiness: Readiness = Readiness.READY) -> Version:
    return Version(
        name="clicks",
        number=0,
        digest=digest,
        verdict=Verdict(subject=digest, standard="s", readiness=readiness, requirements=(), sentence="Because."),
        evidence=Evidence(subject=digest, holdout="h", measurements=()),
        report="r",
        created_at="",
        lineage={},
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'state' / 'registry.db'}"


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    opened = Registry(url, StillClock())
    yield opened
    opened.close()


def test_versions_are_numbered_and_the_same_package_is_registered_once(registry: Registry) -> None:
    first, second = registry.register(version("a")), registry.register(version("b"))
    again = registry.register(version("a"))
    assert (first.number, second.number, again.number) == (1, 2, 1)
    assert [v.number for v in registry.versions("clicks")] == [2, 1]


@pytest.mark.parametrize("readiness", [Readiness.NOT_READY, Readiness.NOT_PROVEN])
def test_only_a_ready_version_becomes_champion(registry: Registry, readiness: Readiness) -> None:
    registry.register(version("a", readiness))
    with pytest.raises(PromotionRefused, match="Because"):
        registry.promote("clicks", 1)
    assert registry.alias("clicks") is None


def test_promotion_moves_the_alias_and_leaves_a_link(registry: Registry) -> None:
    for digest in ("a", "b"):
        registry.register(version(digest))
    registry.promote("clicks", 1)
    registry.promote("clicks", 2)
    champion = registry.alias("clicks")
    assert champion is not None
    assert champion.number == 2
    assert [entry.action for entry in registry.audit()] == ["register", "register", "promote", "promote"]
    assert registry.verify_chain() == 4


def test_an_unknown_version_names_the_known_ones(registry: Registry) -> None:
    registry.register(version("a"))
    with pytest.raises(RegistryError, match=r"there are: 1"):
        registry.promote("clicks", 7)


def test_an_alias_moved_behind_the_registrys_back_is_noticed(registry: Registry, url: str) -> None:
    registry.register(version("a"))
    registry.register(version("b", Readiness.NOT_READY))
    registry.promote("clicks", 1)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE aliases SET number = 2"))
    engine.dispose()
    with pytest.raises(RegistryError, match="audit chain says 1"):
        registry.alias("clicks")


@pytest.mark.parametrize("column", ["actor", "action", "subject", "details", "at", "previous", "hash"])
def test_any_edit_of_a_link_breaks_the_chain(registry: Registry, url: str, column: str) -> None:
    for digest in ("a", "b", "c"):
        registry.register(version(digest))
    assert registry.verify_chain() == 3
    engine = create_engine(url)
    value = '{"x": 1}' if column == "details" else "edited"
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE audit SET {column} = :value WHERE sequence = 2"), {"value": value})
    engine.dispose()
    with pytest.raises(RegistryError, match="broken at link"):
        registry.verify_chain()


def test_a_removed_link_breaks_the_chain(registry: Registry, url: str) -> None:
    for digest in ("a", "b", "c"):
        registry.register(version(digest))
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM audit WHERE sequence = 2"))
    engine.dispose()
    with pytest.raises(RegistryError, match="broken at link 3"):
        registry.verify_chain()


def test_holdout_looks_count_subjects_not_repetitions(registry: Registry) -> None:
    assert registry.look("h", "a") == 1
    assert registry.look("h", "a") == 1
    assert registry.look("h", "b") == 2
    assert registry.look("other", "a") == 1


def test_trusted_keys_are_kept_once(registry: Registry) -> None:
    registry.trust(b"PEM one")
    registry.trust(b"PEM one")
    registry.trust(b"PEM two")
    assert sorted(registry.trusted_keys()) == [b"PEM one", b"PEM two"]


def test_a_newer_schema_is_refused(registry: Registry, url: str) -> None:
    registry.close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE schema_state SET number = 99"))
    engine.dispose()
    with pytest.raises(RegistryError, match=f"schema 99, this Roadworthy knows up to {schema.SCHEMA}"):
        Registry(url, StillClock())


def test_every_schema_number_has_a_migration() -> None:
    assert list(schema.MIGRATIONS) == list(range(1, schema.SCHEMA + 1))


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
sys.path.insert(0, sys.argv[2])
from test_registry import StillClock, version
from roadworthy.lifecycle.registry import Registry
registry = Registry(sys.argv[1], StillClock())
append = registry._append
def die(connection, action, *rest):
    append(connection, action, *rest)
    if action == "promote":
        os.kill(os.getpid(), signal.SIGKILL)
registry._append = die
registry.promote("clicks", 2)
"""


def test_a_kill_in_the_middle_of_a_promotion_leaves_the_old_champion(registry: Registry, url: str) -> None:
    for digest in ("a", "b"):
        registry.register(version(digest))
    registry.promote("clicks", 1)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, url, os.fspath(Path(__file__).parent)], check=False, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL
    champion = registry.alias("clicks")
    assert champion is not None
    assert champion.number == 1
    assert registry.verify_chain() == 3
