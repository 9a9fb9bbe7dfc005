"""Where a project keeps its state: beside it, elsewhere by environment, in PostgreSQL."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from roadworthy import api, assembly
from roadworthy.errors import MissingExtra, RegistryError, UsageError
from roadworthy.lifecycle.registry import Registry
from roadworthy.settings import read_settings


def test_state_stands_beside_the_project_unless_told_otherwise(tmp_path: Path) -> None:
    found = read_settings(tmp_path, {"PATH": "/bin"})
    assert found.lake == tmp_path / ".roadworthy" / "lake"
    assert found.registry == f"sqlite:///{tmp_path / '.roadworthy' / 'registry.db'}"
    moved = read_settings(tmp_path, {"ROADWORTHY_LAKE": "/big/lake", "ROADWORTHY_REGISTRY": "sqlite:////srv/r.db"})
    assert (moved.lake, moved.registry) == (Path("/big/lake"), "sqlite:////srv/r.db")


def test_an_empty_environment_is_not_the_process_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADWORTHY_LAKE", "/elsewhere")
    assert read_settings(tmp_path, {}).lake == tmp_path / ".roadworthy" / "lake"
    assert read_settings(tmp_path).lake == Path("/elsewhere")


def test_a_relative_lake_starts_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_settings(Path("project"), {"ROADWORTHY_LAKE": "lake"}).lake == tmp_path / "lake"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ROADWORTHY_LAKES": "x", "ROADWORTHY_REGISTER": "y"}, "ROADWORTHY_LAKES, ROADWORTHY_REGISTER"),
        ({"ROADWORTHY_LAKE": " "}, "set and empty"),
        ({"ROADWORTHY_REGISTRY": "sqlite:///r.db", "ROADWORTHY_REGISTRY_FILE": "f"}, "are both set"),
        ({"ROADWORTHY_REGISTRY_FILE": "/nowhere/url"}, "registry's URL cannot be read.*No such file"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(tmp_path: Path, given: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=f"(?s){words}"):
        read_settings(tmp_path, given)


def test_a_url_with_a_password_comes_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://me:hush-hush@host/name\n")
    given = {"ROADWORTHY_REGISTRY_FILE": str(file)}
    assert read_settings(tmp_path, given).registry == "postgresql://me:hush-hush@host/name"
    for content in ("", "hush\nhush\n"):
        file.write_text(content)
        with pytest.raises(UsageError, match="one line, a database URL") as caught:
            read_settings(tmp_path, given)
        assert "hush" not in str(caught.value)


def test_the_key_that_hides_and_the_state_of_servers_may_stand_elsewhere(tmp_path: Path) -> None:
    found = read_settings(tmp_path, {})
    assert found.hashing_key == tmp_path / ".roadworthy" / "keys" / "hashing.key"
    assert found.state == tmp_path / ".roadworthy" / "state"
    moved = read_settings(tmp_path, {"ROADWORTHY_HASHING_KEY_FILE": "/run/secrets/k", "ROADWORTHY_STATE": "/srv/s"})
    assert (moved.hashing_key, moved.state) == (Path("/run/secrets/k"), Path("/srv/s"))


def test_lake_and_registry_elsewhere_are_all_that_a_run_writes_to(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, registry = tmp_path / "far" / "lake", tmp_path / "far" / "registry.db"
    monkeypatch.setenv("ROADWORTHY_LAKE", str(lake))
    monkeypatch.setenv("ROADWORTHY_REGISTRY", f"sqlite:///{registry}")
    file = project / "roadworthy.toml"
    file.write_text(file.read_text().replace('["logistic", "gbdt"]', '["logistic"]'))
    outcome = api.run(project)
    assert registry.exists()
    assert outcome.bundle.is_relative_to(lake)
    assert {path.name for path in (project / ".roadworthy").iterdir()} <= {"keys", ".gitignore"}
    assert api.status(project).versions[0].bundle == str(outcome.bundle)


def test_a_project_with_its_registry_in_postgres(postgres: str, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registered, promoted, followed and audited there; a link that was altered is named."""
    monkeypatch.setenv("ROADWORTHY_REGISTRY", postgres)
    file = copied / "roadworthy.toml"
    text = file.read_text().replace('extends = "service"', 'extends = "prototype"')
    file.write_text(text.replace('recall = { at_least = 0.90, slice = "device" }\n', ""))
    assert api.run(copied).version.number == 1
    assert api.run(copied).version.number == 1, "the same package is the same version"
    api.promote(1, copied)
    status = api.status(copied)
    assert (status.champion, [line.number for line in status.versions]) == (1, [1])
    with assembly.opened_bundle(assembly.open_project(copied), "champion") as (version, _):
        assert version.title == "clicks-1"
    with pytest.raises(RegistryError, match="no version 9; there are: 1"):
        api.promote(9, copied)

    engine = sa.create_engine(postgres.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sa.text("update audit set subject = 'other' where sequence = 2"))
    engine.dispose()
    with pytest.raises(RegistryError, match="broken at link 2"):
        api.status(copied)


def test_many_writers_to_postgres_keep_one_chain(postgres: str) -> None:
    engine = sa.create_engine(postgres.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sa.text("create schema many"))
    engine.dispose()
    url = f"{postgres}?options=-csearch_path%3Dmany"

    def look(writer: int) -> int:
        registry = Registry(url, assembly.SystemClock())
        try:
            return max(registry.look("sha256:holdout", f"sha256:{writer}-{place}") for place in range(5))
        finally:
            registry.close()

    with ThreadPoolExecutor(6) as pool:
        counts = list(pool.map(look, range(6)))
    registry = Registry(url, assembly.SystemClock())
    try:
        assert max(counts) == registry.verify_chain() == 30
    finally:
        registry.close()


def test_a_registry_that_does_not_answer_hides_its_password(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADWORTHY_REGISTRY", "postgresql://me:hush-hush@127.0.0.1:1/none")
    with pytest.raises(RegistryError) as caught:
        api.status(copied)
    assert "hush-hush" not in str(caught.value)
    assert "me:***@127.0.0.1" in str(caught.value)


def test_without_psycopg_the_extra_is_named(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys  # noqa: PLC0415 - only here

    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setenv("ROADWORTHY_REGISTRY", "postgresql://me@127.0.0.1/none")
    with pytest.raises(MissingExtra, match=r"roadworthy\[postgres\]"):
        api.status(copied)


def test_the_keys_stay_with_the_project(finished: Path, tmp_path: Path) -> None:
    """A copy without them can show its state but neither answers nor trains on what was stored."""
    shutil.copytree(finished, tmp_path / "bare", ignore=shutil.ignore_patterns("keys"))
    assert api.status(tmp_path / "bare").versions
    with pytest.raises(UsageError, match="key"):
        api.predict(json.loads("{}"), tmp_path / "bare")
