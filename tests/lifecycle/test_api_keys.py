"""API keys: shown once, kept as a digest, every change a link; what was changed behind their back is refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from roadworthy import api
from roadworthy.errors import RegistryError, UnknownName, UsageError
from roadworthy.lifecycle import schema
from roadworthy.lifecycle.registry import Registry
from roadworthy.serving.keys import ApiKey, KeyRing

DIGEST = "ab" * 32


class StillClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC)


def edit(url: str, *statements: str) -> None:
    """Change the database as somebody would who goes round the registry."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'registry.db'}"


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    opened = Registry(url, StillClock())
    yield opened
    opened.close()


def test_a_key_is_written_with_its_link_and_taken_back_with_another(registry: Registry) -> None:
    made = registry.add_api_key("one", "ci", DIGEST)
    assert (made.id, made.name, made.digest, made.revoked_at) == ("one", "ci", DIGEST, "")
    assert registry.api_keys() == (made,)
    revoked = registry.revoke_api_key("one")
    assert revoked.revoked_at == "2026-01-02T00:00:00+00:00"
    assert registry.revoke_api_key("one") == revoked, "once is enough"
    assert registry.api_keys() == (revoked,)
    assert [(link.action, link.subject) for link in registry.audit()] == [("key create", "one"), ("key revoke", "one")]
    assert registry.verify_chain() == 2
    assert DIGEST not in str(registry.audit())


def test_names_are_for_people_and_one_key_in_force_has_each(registry: Registry) -> None:
    for name in ("", " ci", "a\nb", "\x1b[31m", "x" * 101):
        with pytest.raises(UsageError, match="name that people can read"):
            registry.add_api_key("one", name, DIGEST)
    registry.add_api_key("one", "ci", DIGEST)
    with pytest.raises(UsageError, match="named ci already: one"):
        registry.add_api_key("two", "ci", DIGEST)
    registry.revoke_api_key("one")
    registry.add_api_key("two", "ci", DIGEST)
    with pytest.raises(UnknownName, match="unknown key 'three'") as caught:
        registry.revoke_api_key("three")
    assert caught.value.known == ("two",)
    assert registry.verify_chain() == 3


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("INSERT INTO api_keys VALUES ('evil', 'n', 'cd', 'now', '')", "evil was added behind"),
        ("UPDATE api_keys SET digest = 'cd' WHERE id = 'one'", "one is not as it was written"),
        ("UPDATE api_keys SET revoked_at = '' WHERE id = 'gone'", "gone is not as it was written"),
        ("DELETE FROM api_keys WHERE id = 'gone'", "gone is no longer in the registry"),
        ("UPDATE audit SET subject = 'two' WHERE sequence = 1", "broken at link 1"),
    ],
)
def test_whatever_was_changed_behind_the_registrys_back_is_refused(
    registry: Registry, url: str, how: str, told: str
) -> None:
    registry.add_api_key("one", "ci", DIGEST)
    registry.add_api_key("gone", "old", DIGEST)
    registry.revoke_api_key("gone")
    edit(url, how)
    with pytest.raises(RegistryError, match=told):
        registry.api_keys()


def test_a_registry_of_schema_3_is_brought_up_to_date_with_all_that_it_holds(registry: Registry, url: str) -> None:
    registry.look("holdout", "subject")
    before = registry.audit()
    registry.close()
    edit(url, "DROP TABLE api_keys", "UPDATE schema_state SET number = 3")  # schema 3 is schema 4 without its table
    migrated = Registry(url, StillClock())
    assert migrated.api_keys() == ()
    assert migrated.audit() == before
    migrated.add_api_key("one", "ci", DIGEST)
    migrated.close()
    engine = create_engine(url)
    with engine.connect() as connection:
        assert schema.schema_number(connection) == schema.SCHEMA >= 4
        assert [column["name"] for column in inspect(connection).get_columns("api_keys")] == [
            "id", "name", "digest", "created_at", "revoked_at",
        ]  # fmt: skip
    engine.dispose()


def test_the_newest_link_changes_with_every_change_and_only_then(registry: Registry) -> None:
    assert registry.newest()[0] == 0
    registry.add_api_key("one", "ci", DIGEST)
    seen = registry.newest()
    assert seen == registry.newest()
    assert seen[0] == 1
    registry.revoke_api_key("one")
    assert registry.newest() != seen


def test_who_watches_creates_nothing(registry: Registry, url: str, tmp_path: Path) -> None:
    registry.add_api_key("one", "ci", DIGEST)
    watched = Registry(url, StillClock(), watched=True)
    assert [key.id for key in watched.api_keys()] == ["one"]
    registry.close()
    for file in tmp_path.glob("registry.db*"):
        file.unlink()
    with pytest.raises(RegistryError, match="does not answer"):
        watched.newest()
    assert list(tmp_path.glob("registry.db*")) == []
    again = Registry(url, StillClock())
    assert watched.api_keys() == ()
    again.close()
    watched.close()


def test_on_postgres_too(postgres: str) -> None:
    registry = Registry(postgres, StillClock())
    registry.add_api_key("one", "ci", DIGEST)
    watched = Registry(postgres, StillClock(), watched=True)
    before = watched.newest()
    registry.revoke_api_key("one")
    assert watched.newest() != before
    assert [key.revoked_at for key in watched.api_keys()] == ["2026-01-02T00:00:00+00:00"]
    watched.close()
    registry.close()


Command = Callable[..., subprocess.CompletedProcess[str]]


def test_the_command_shows_a_key_once_and_keeps_only_its_digest(copied: Path, command: Command) -> None:
    made = command("key", "create", "dashboard", cwd=copied)
    assert made.returncode == 0, made.stderr
    secret, told, line = made.stdout.splitlines()
    assert "only time" in told
    id_ = line.split()[0]
    assert line.startswith(f"{id_}  dashboard  (created ")
    assert secret.startswith(f"rw_{id_}_")
    assert all(secret.encode() not in file.read_bytes() for file in (copied / ".roadworthy").glob("registry.db*"))
    listed = json.loads(command("key", "list", "--json", cwd=copied).stdout)
    assert [(one["id"], one["name"], one["revoked_at"]) for one in listed["keys"]] == [(id_, "dashboard", "")]
    assert listed["secret"] == ""
    revoked = command("key", "revoke", id_, cwd=copied)
    assert ", revoked " in revoked.stdout
    assert command("key", "revoke", "nobody", cwd=copied).returncode == 2


def test_a_key_from_the_call_opens_a_ring(copied: Path) -> None:
    view = api.key("create", "ci", project=copied)
    (kept,) = [ApiKey(id=one.id, name=one.name, digest=DIGEST) for one in view.keys]
    assert KeyRing([kept]).name_of(view.secret.encode()) is None, "another digest is another key"
    with pytest.raises(UsageError, match="needs to know which"):
        api.key("create", project=copied)
    with pytest.raises(UsageError, match="takes no name"):
        api.key("list", "ci", project=copied)
    with pytest.raises(UnknownName, match="unknown action 'make'"):
        api.key("make", "ci", project=copied)
