"""What stands in ``deploy/`` fits the command, the settings, the lock and each other; no daemon is needed to see it."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml  # type: ignore[import-untyped]  # it ships no types

import roadworthy.cli  # noqa: F401 - registers every command
from roadworthy.api.serving import worker
from roadworthy.cli.app import app
from roadworthy.settings import read_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def part_of_lock() -> Any:
    """The module ``locked.py``, which images are built with."""
    spec = importlib.util.spec_from_file_location("locked", DEPLOY / "locked.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LOCKED = part_of_lock()


def steps() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with what follows it, continued lines joined."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    lines = [line for line in re.sub(r"\\\n\s*", " ", text).splitlines() if line.strip()]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def told(instruction: str) -> list[str]:
    """What the last stage says under an instruction."""
    found = steps()
    last = max(at for at, (word, _) in enumerate(found) if word == "FROM")
    return [rest for word, rest in found[last:] if word == instruction]


def compose() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


def options() -> set[str]:
    """The options of ``roadworthy serve``."""
    command = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]  # it is a group
    return {name for parameter in command.params for name in parameter.opts}


# --- the image -------------------------------------------------------------------------------------------------------


def test_the_image_installs_from_the_lock_by_hash_and_copies_only_what_there_is() -> None:
    installs = [rest for word, rest in steps() if word == "RUN" and "install" in rest]
    from_lock = [rest for rest in installs if ".lock" in rest]
    assert len(from_lock) == 2
    for line in from_lock:
        assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(line.split())
    assert all("--no-index" in line for line in installs if line not in from_lock)
    copies = [rest.split()[:-1] for word, rest in steps() if word == "COPY" and not rest.startswith("--from")]
    copied = {name for names in copies for name in names}
    assert all((ROOT / name).exists() for name in copied)
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[1] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == copied, "the builder gets nothing else"


def test_the_image_is_slim_and_runs_as_nobody_in_particular() -> None:
    froms = [rest for word, rest in steps() if word == "FROM"]
    (argument,) = [rest for word, rest in steps() if word == "ARG"]
    assert froms == ["python:${PYTHON} AS build", "python:${PYTHON}"]
    assert re.fullmatch(r"PYTHON=3\.\d+-slim-[a-z]+", argument), (
        "a release of Debian and of Python, not whatever is newest"
    )
    assert told("USER") == ["10001:10001"]
    assert told("STOPSIGNAL") == ["SIGTERM"]
    assert not [word for word, _ in steps() if word == "ADD"]
    assert "apt-get" not in (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


def test_the_image_starts_the_real_command_and_settings() -> None:
    (entry,), (command,) = told("ENTRYPOINT"), told("CMD")
    words = [*json.loads(entry), *json.loads(command)]
    assert words[:2] == ["roadworthy", "serve"]
    assert {word for word in words if word.startswith("--")} <= options()
    settings = dict(pair.split("=", 1) for line in told("ENV") for pair in shlex.split(line))
    read_settings(Path(), settings)
    assert settings["ORT_DISABLE_TELEMETRY"] == "1", "ONNX Runtime would tell its maker about models and machines"
    assert settings["ROADWORTHY_LAKE"] == compose()["services"]["replica-1"]["environment"]["ROADWORTHY_LAKE"]


def test_every_name_on_the_list_is_in_the_lock_with_all_that_it_needs() -> None:
    wanted = LOCKED.named((DEPLOY / "serving.txt").read_text(encoding="utf-8"))
    part = LOCKED.locked(LOCK, wanted)
    names = set(re.findall(r"^([a-z0-9-]+)==", part, re.MULTILINE))
    assert set(wanted) <= names
    assert {"cffi", "polars-runtime-32", "flatbuffers", "shellingham"} <= names, "what these need"
    assert not {"pytest", "scikit-learn", "lightgbm", "pyarrow", "scipy", "vl-convert-python"} & names
    assert part.count("numpy==") == LOCK.count("\nnumpy==") == 2, "one for each span of Python"
    blocks = re.split(r"^(?=[a-z0-9])", part, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    assert all(block in LOCK for block in blocks)
    with pytest.raises(KeyError, match="no-such-package"):
        LOCKED.locked(LOCK, ["no-such-package"])


def test_the_health_check_runs_and_says_no_where_nobody_is_ready() -> None:
    (line,) = told("HEALTHCHECK")
    flags, _, command = line.partition("CMD ")
    assert {flag.partition("=")[0] for flag in flags.split()} >= {"--interval", "--timeout", "--start-period"}
    words = json.loads(command)
    assert words[0] == "python"
    script = words[-1].replace("8080", "1")
    assert "/readyz" in script
    done = subprocess.run([sys.executable, *words[1:-1], script], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "ConnectionRefusedError" in done.stderr


# --- two replicas behind a proxy -------------------------------------------------------------------------------------


def test_the_replicas_are_alike_and_see_neither_data_nor_the_key_that_signs() -> None:
    services = compose()["services"]
    assert services["replica-1"] == services["replica-2"]
    replica = services["replica-1"]
    assert replica["read_only"] is True
    assert replica["cap_drop"] == ["ALL"]
    assert {word for word in replica["command"] if word.startswith("--")} <= options()
    read_settings(Path(), replica["environment"])
    mounts = [re.sub(r"\$\{[^}]*\}", "/p", mount).split(":") for mount in replica["volumes"]]
    assert mounts == [["/p/roadworthy.toml", "/project/roadworthy.toml", "ro"], ["/p/.roadworthy", "/state"]]
    assert [mount.partition(":")[0] for mount in replica["tmpfs"]] == ["/tmp", "/state/keys"]  # noqa: S108 - a container's
    assert compose()["secrets"] == {"hashing_key": {"file": "${PROJECT}/.roadworthy/keys/hashing.key"}}
    assert replica["environment"]["ROADWORTHY_HASHING_KEY_FILE"] == "/run/secrets/hashing_key"
    assert (replica["pid"], replica["hostname"]) == ("service:processes", "replica"), "they share one entity state"
    for service in services.values():
        assert {"cpus", "memory", "pids"} == set(service["deploy"]["resources"]["limits"])


def test_what_is_told_of_time_fits_together() -> None:
    replica, proxy = compose()["services"]["replica-1"], (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")
    grace = float(replica["command"][replica["command"].index("--grace") + 1])
    interval, fall = re.findall(r"check inter (\d+)ms fall (\d+)", proxy)[0]
    assert grace > 2 * int(interval) / 1000 * int(fall), "the proxy knows before a replica takes no more connections"
    assert int(replica["stop_grace_period"].rstrip("s")) >= grace + worker._PATIENCE_S + 10
    from roadworthy.serving.web import Limits  # noqa: PLC0415 - for this alone

    (patience,) = re.findall(r"timeout server\s+(\d+)s", proxy)
    assert int(patience) > Limits().answer_s, "who is slow is told so by the replica"


def test_the_proxy_is_told_where_the_replicas_are() -> None:
    found, text = compose(), (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")
    proxy = found["services"]["proxy"]
    assert set(re.findall(r"\$\{(\w+)\}", text)) == set(proxy["environment"])
    (entry,) = told("ENTRYPOINT")
    words = json.loads(entry)
    port = words[words.index("--port") + 1]
    targets = {value for name, value in proxy["environment"].items() if name.startswith("REPLICA")}
    assert targets == {f"{name}:{port}" for name in found["services"] if name.startswith("replica")}
    (mount,) = proxy["volumes"]
    assert (DEPLOY / mount.split(":")[0]).is_file()
    assert "GET uri /readyz" in text


def test_the_proxy_reads_its_file() -> None:
    haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if haproxy is None:
        pytest.skip("HAProxy is not installed (Debian package haproxy)")
    environment: Mapping[str, str] = {"BIND": "127.0.0.1:1", "REPLICA_1": "127.0.0.1:2", "REPLICA_2": "127.0.0.1:3"}
    command = [haproxy, "-c", "-f", str(DEPLOY / "haproxy.cfg")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
