"""The registry: promotion is the gate, the chain is tamper-evident, a kill leaves a whole state."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import create_engine, text

from roadworthy.errors import BundleError, MissingExtra, PromotionRefused, RegistryError
from roadworthy.formats.bundle import fingerprint
from roadworthy.lifecycle import opening, schema
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
        manifest=f"manifest of {digest}",
        verdict=Verdict(subject=digest, standard="s", readiness=readiness, requirements=(), sentence="Because."),
        evidence=Evidence(subject=digest, holdout="h", measurements=()),
        report="r",
        created_at="",
        lineage={},
    )


def pem(seed: int) -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def edit(url: str, *statements: str, **values: str) -> None:
    """Change the database as somebody would who goes round the registry."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement) if not values else connection.execute(text(statement), values)
    engine.dispose()


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
    with pytest.raises(RegistryError, match="it is at version 1"):
        registry.alias("clicks")


READY, FAILED = '"readiness":"ready"', '"readiness":"not ready"'


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE versions SET record = replace(record, '{FAILED}', '{READY}') WHERE number = 2",
        "UPDATE versions SET readiness = 'ready' WHERE number = 2",
        "UPDATE versions SET digest = 'a' WHERE number = 2",
        "UPDATE versions SET manifest = 'other' WHERE number = 2",
        "UPDATE versions SET record = (SELECT record FROM versions WHERE number = 1) WHERE number = 2",
        "UPDATE versions SET record = 'no record' WHERE number = 2",
        "DELETE FROM versions WHERE number = 2",
        "DELETE FROM audit WHERE sequence = 2",
        "UPDATE audit SET details = replace(details, 'not ready', 'ready') WHERE sequence = 2",
        "UPDATE audit SET details = 'no details' WHERE sequence = 2",
    ],
)
def test_no_edit_of_a_failing_version_makes_it_champion(registry: Registry, url: str, statement: str) -> None:
    registry.register(version("a"))
    failing = registry.register(version("b", Readiness.NOT_READY))
    assert failing.verdict.readiness.value in FAILED
    edit(url, statement)
    for ask in (
        lambda: registry.promote("clicks", 2),
        lambda: registry.version("clicks", 2),
        lambda: registry.versions("clicks"),
    ):
        with pytest.raises(RegistryError) as caught:
            ask()
        assert not isinstance(caught.value, PromotionRefused)
    edit(url, "INSERT INTO aliases VALUES ('clicks', 'champion', 2, 'now')")
    with pytest.raises(RegistryError):
        registry.alias("clicks")


def test_a_version_slipped_in_under_a_new_number_is_refused(registry: Registry, url: str) -> None:
    registry.register(version("a"))
    copied = "SELECT name, 7, digest, 'm', readiness, created_at, record FROM versions"
    edit(url, f"INSERT INTO versions (name, number, digest, manifest, readiness, created_at, record) {copied}")
    with pytest.raises(RegistryError, match="clicks-7 stands in the registry, but"):
        registry.promote("clicks", 7)
    with pytest.raises(RegistryError, match="clicks-7"):
        registry.versions("clicks")
    assert registry.promote("clicks", 1).number == 1


def test_the_number_of_a_removed_version_is_not_given_again(registry: Registry, url: str) -> None:
    registry.register(version("a"))
    edit(url, "DELETE FROM versions")
    assert registry.register(version("b")).number == 2


def test_the_same_package_with_another_bundle_is_another_version(registry: Registry) -> None:
    first = registry.register(version("a"))
    again = registry.register(msgspec.structs.replace(version("a"), manifest="measured anew"))
    assert (first.number, again.number) == (1, 2)
    assert registry.version("clicks", 2).manifest == "measured anew"


@pytest.mark.parametrize("after", ["DELETE FROM aliases", "UPDATE aliases SET number = 2"])
def test_an_alias_that_was_removed_or_moved_is_noticed_and_can_be_restored(
    registry: Registry, url: str, after: str
) -> None:
    for digest in ("a", "b"):
        registry.register(version(digest))
    registry.promote("clicks", 1)
    edit(url, after)
    with pytest.raises(RegistryError, match="audit chain says that it is at version 1") as caught:
        registry.alias("clicks")
    assert caught.value.next_step.startswith("roadworthy promote 1")
    registry.promote("clicks", 1)
    champion = registry.alias("clicks")
    assert champion is not None
    assert champion.number == 1


def test_a_moved_alias_is_not_taken_for_a_promotion(registry: Registry, url: str) -> None:
    for digest in ("a", "b"):
        registry.register(version(digest))
    registry.promote("clicks", 1)
    edit(url, "UPDATE aliases SET number = 2")
    registry.promote("clicks", 2)
    champion = registry.alias("clicks")
    assert champion is not None
    assert champion.number == 2
    assert registry.audit()[-1].details == {"alias": "champion", "from": 1, "to": 2}


def test_newest_links_that_were_cut_off_are_missed_by_what_they_tell_of(registry: Registry, url: str) -> None:
    registry.register(version("a"))
    registry.promote("clicks", 1)
    registry.register(version("b"))
    edit(url, "DELETE FROM audit WHERE sequence >= 2")
    with pytest.raises(RegistryError, match="clicks-2 stands in the registry, but"):
        registry.promote("clicks", 2)
    with pytest.raises(RegistryError, match="it was never set"):
        registry.alias("clicks")


def test_a_look_that_was_removed_still_counts(registry: Registry, url: str) -> None:
    registry.look("h", "a")
    edit(url, "DELETE FROM holdout_looks")
    assert registry.look("h", "b") == 2
    assert registry.look("h", "a") == 2


def test_a_key_slipped_in_or_exchanged_is_refused(registry: Registry, url: str) -> None:
    registry.trust(pem(1))
    edit(url, "UPDATE keys SET public_pem = :pem", pem=pem(2).decode())
    with pytest.raises(RegistryError, match="trusted key"):
        registry.trusted_keys()
    edit(url, "UPDATE keys SET public_pem = :pem", pem=pem(1).decode())
    assert registry.trusted_keys() == (pem(1),)
    edit(url, "INSERT INTO keys VALUES (:name, :pem, 'now')", name=fingerprint(pem(2)), pem=pem(2).decode())
    with pytest.raises(RegistryError, match="trusted key"):
        registry.trusted_keys()


def test_a_link_names_who_by_name_and_number(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "somebody")
    registry.look("h", "a")
    assert registry.audit()[0].actor == f"somebody (uid {os.getuid()})"


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
    one, two = pem(1), pem(2)
    assert registry.trust(one) == registry.trust(one) == fingerprint(one)
    registry.trust(two)
    assert sorted(registry.trusted_keys()) == sorted([one, two])
    assert [link.subject for link in registry.audit()] == [fingerprint(one), fingerprint(two)]


def test_what_is_no_signing_key_is_not_trusted(registry: Registry) -> None:
    with pytest.raises(BundleError, match="PEM"):
        registry.trust(b"PEM one")
    assert registry.trusted_keys() == ()


def test_a_newer_schema_is_refused(registry: Registry, url: str) -> None:
    registry.close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE schema_state SET number = 99"))
    engine.dispose()
    with pytest.raises(RegistryError, match=f"schema 99, this Roadworthy knows up to {schema.SCHEMA}"):
        Registry(url, StillClock())


def test_a_registry_from_before_versions_were_bound_is_refused(registry: Registry, url: str) -> None:
    registry.close()
    unbound = "CREATE TABLE versions (name TEXT, number INTEGER, digest TEXT, record TEXT)"
    edit(url, "DROP TABLE versions", unbound, "UPDATE schema_state SET number = 1")
    with pytest.raises(RegistryError, match="not bound to their bundles") as caught:
        Registry(url, StillClock())
    assert "move the registry away" in caught.value.next_step


def test_every_schema_number_has_a_migration() -> None:
    assert list(schema.MIGRATIONS) == list(range(1, schema.SCHEMA + 1))


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
sys.path.insert(0, sys.argv[2])
from test_registry import StillClock, version
from roadworthy.lifecycle import chain
from roadworthy.lifecycle.registry import Registry
registry = Registry(sys.argv[1], StillClock())
append = chain.append
def die(connection, links, action, *rest, **more):
    append(connection, links, action, *rest, **more)
    if action == "promote":
        os.kill(os.getpid(), signal.SIGKILL)
chain.append = die
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


@pytest.mark.parametrize("url", ["mysql://u@h/d", "nonsense", "oracle+none:///x"])
def test_other_kinds_of_database_are_refused(url: str) -> None:
    with pytest.raises(RegistryError, match="URL cannot be read"):
        Registry(url, StillClock())


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_postgres_is_reached_by_one_driver_that_says_when_it_is_missing(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{scheme}://u:pw@127.0.0.1:1/d"
    assert opening.parsed_url(url).drivername == "postgresql+psycopg"
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match="psycopg") as caught:
        Registry(url, StillClock())
    assert "pw" not in str(caught.value)


RACER = """
import sys
sys.path.insert(0, sys.argv[2])
from test_registry import StillClock, version
from roadworthy.lifecycle.registry import Registry
registry = Registry(sys.argv[1], StillClock())
for step in range(15):
    registry.register(version(f"{sys.argv[3]}-{step}"))
    registry.look("h", f"{sys.argv[3]}-{step}")
"""


def test_runs_that_race_on_postgres_leave_one_whole_chain(postgres: str) -> None:
    here = os.fspath(Path(__file__).parent)
    racers = [subprocess.Popen([sys.executable, "-c", RACER, postgres, here, str(racer)]) for racer in range(3)]
    assert [racer.wait(timeout=100) for racer in racers] == [0, 0, 0]
    registry = Registry(postgres, StillClock())
    assert registry.verify_chain() == 90
    assert [found.number for found in registry.versions("clicks")] == list(range(45, 0, -1))
    assert registry.look("h", "0-0") == 45
    registry.promote("clicks", 7)
    edit(postgres.replace("postgresql:", "postgresql+psycopg:"), "DELETE FROM aliases")
    with pytest.raises(RegistryError, match="it is at version 7"):
        registry.alias("clicks")
    registry.close()
