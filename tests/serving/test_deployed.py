"""What a server needs of a project: its file, registry, lake and the key that hides; neither data nor the other key."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

import pytest

from roadworthy import api, assembly
from roadworthy.adapters.keys import hashing_key_file
from roadworthy.adapters.prediction_log import read_log
from roadworthy.errors import UsageError

ROOT = Path(__file__).parents[2]
Start = Callable[..., Any]
VISIT = {
    "timestamp": "2026-01-31T12:00:00Z", "user_id": "u-17", "device": "phone", "age_band": "18-29", "campaign": "a",
    "position": 1, "impressions": 3, "clicks": 1, "dwell_seconds": 3.5,
}  # fmt: skip


def never(found: object) -> None:
    raise AssertionError(found)


def asked(address: str, path: str, value: object = None) -> tuple[int, Any]:
    host, _, port = address.partition("//")[2].rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=15)
    try:
        body = None if value is None else json.dumps(value)
        connection.request("GET" if body is None else "POST", path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture
def deployed(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the project file alone; state and the key that hides are elsewhere, the key that signs nowhere."""
    folder, state = tmp_path / "project", tmp_path / "state"
    folder.mkdir()
    shutil.move(copied / "roadworthy.toml", folder)
    shutil.move(copied / ".roadworthy", state)
    secret = tmp_path / "secrets" / "hashing_key"
    secret.parent.mkdir()
    shutil.move(state / "keys" / "hashing.key", secret)
    secret.chmod(0o440)
    shutil.rmtree(state / "keys")
    monkeypatch.setenv("ROADWORTHY_LAKE", str(state / "lake"))
    monkeypatch.setenv("ROADWORTHY_REGISTRY", f"sqlite:///{state / 'registry.db'}")
    monkeypatch.setenv("ROADWORTHY_HASHING_KEY_FILE", str(secret))
    return folder


# --- what it needs ---------------------------------------------------------------------------------------------------


def test_with_them_the_key_that_hides_is_asked_for_and_no_other(
    deployed: Path, serving: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serving(deployed, "--version", "latest")
    status, found = asked(server.address, "/predict", {"row": VISIT})
    assert status == 200
    label = {"entity": "u-17", "time": VISIT["timestamp"], "label": "1"}
    assert asked(server.address, "/feedback", label)[0] == 202
    assert server.end() == 0
    project = assembly.open_project(deployed)
    hasher = assembly.hasher_of(project)
    assert hasher is not None
    row = read_log(project.settings.lake).collect().row(0, named=True)
    assert (row["id"], row["user_id"]) == (found["id"], hasher.hash_one("u-17"))

    monkeypatch.delenv("ROADWORTHY_HASHING_KEY_FILE")
    with pytest.raises(UsageError, match="hides personal columns, and the key that hides them is not here") as caught:
        api.serve(deployed, version="latest", port=0, ready=never)
    assert caught.value.problems[0].expected == "the key for user_id"
    assert caught.value.problems[0].where == str(hashing_key_file(deployed))
    assert "hashing.key (not signing.pem)" in caught.value.next_step


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        ("gibberish", 0o600, "64 hex digits"),
        ("ab" * 32, 0o644, "chmod 600"),
        ("ab" * 32, 0o600, "hashed by another key"),
    ],
)
def test_a_key_that_is_none_or_open_to_all_or_of_another_project(
    deployed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, mode: int, told: str
) -> None:
    other = tmp_path / "other"
    other.write_text(content)
    other.chmod(mode)
    monkeypatch.setenv("ROADWORTHY_HASHING_KEY_FILE", str(other))
    with pytest.raises(UsageError, match=told) as caught:
        api.serve(deployed, version="latest", port=0, ready=never)
    assert content not in str(caught.value)


# --- what an image of it needs ---------------------------------------------------------------------------------------


def tops(found: Distribution) -> set[str]:
    """What a distribution has put at the top of the folder of libraries."""
    return {path.parts[0] for path in found.files or () if path.parts[0] not in {"..", "__pycache__"}}


@pytest.fixture(scope="module")
def slim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of libraries with those alone that the image installs."""
    spec = importlib.util.spec_from_file_location("locked", ROOT / "deploy" / "locked.py")
    assert spec is not None
    assert spec.loader is not None
    locked = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(locked)
    wanted = locked.named((ROOT / "deploy" / "serving.txt").read_text())
    part = locked.locked((ROOT / "requirements.lock").read_text(), wanted)
    folder = tmp_path_factory.mktemp("slim")
    for name in sorted(set(re.findall(r"^([a-z0-9-]+)==", part, re.MULTILINE)) - {"colorama", "tzdata"}):
        found = distribution(name)
        for top in tops(found):
            if not (folder / top).exists():
                (folder / top).symlink_to(str(found.locate_file(top)))
    (folder / "roadworthy").symlink_to(ROOT / "src" / "roadworthy")
    return folder


@contextmanager
def alone(libraries: Path, *words: str) -> Iterator[dict[str, Any]]:
    """``roadworthy serve`` of a Python that sees these libraries and no others; what it says when it is ready."""
    command = [sys.executable, "-S", "-m", "roadworthy", "serve", "--json", "--port", "0", "--grace", "0", *words]
    environment = {**os.environ, "PYTHONPATH": str(libraries), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/"
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        try:
            assert line, process.stderr.read()
            yield json.loads(line)
        finally:
            process.terminate()
            assert process.wait(15) == 0


def test_it_serves_with_nothing_but_what_the_image_installs(deployed: Path, slim: Path) -> None:
    assert not any((slim / name).exists() for name in ("sklearn", "lightgbm", "scipy", "pyarrow", "altair", "pytest"))
    with alone(slim, "--project", str(deployed), "--version", "latest", "--grpc-port", "0") as said:
        address = said["address"]
        assert said["grpc"]
        status, found = asked(address, "/predict", {"row": VISIT})
        assert status == 200
        assert asked(address, "/predict", {"row": {**VISIT, "clicks": 9, "device": "fridge"}})[0] == 422
        assert asked(address, "/feedback", {"id": found["id"], "label": "1"})[0] == 202
        assert "/predict" in asked(address, "/openapi.json")[1]["paths"]
        assert asked(address, "/v2/models/clicks")[0] == 200
        assert asked(address, "/readyz")[1]["ready"] is True
    log = read_log(assembly.open_project(deployed).settings.lake).collect()
    assert log["id"].to_list() == [found["id"]], "its log became Parquet, too"


@pytest.mark.parametrize("words", [("key", "list"), ("status", "--json"), ("--help",)])
def test_the_commands_of_whoever_looks_after_it_run_there_too(
    deployed: Path, slim: Path, words: tuple[str, ...]
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(slim), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-S", "-m", "roadworthy", *words]
    done = subprocess.run(command, cwd=deployed, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
