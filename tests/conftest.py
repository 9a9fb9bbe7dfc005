"""What several areas of the tests share: a small clicks project, and the command in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

ROOT = Path(__file__).parent.parent
PASSWORD = "s3cret-word"  # noqa: S105 - of the tests' own cluster
Command = Callable[..., subprocess.CompletedProcess[str]]


def load_example(name: str) -> ModuleType:
    """The module ``prepare.py`` of an example."""
    path = ROOT / "examples" / name / "prepare.py"
    spec = importlib.util.spec_from_file_location(f"prepare_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_beside(name: str) -> ModuleType:
    """A module of the tests' own folder that several areas use."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault(name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def made_up() -> Callable[..., object]:
    """``made_up(columns, text)``: an inspection in which every check gave something."""
    call: Callable[..., object] = load_beside("made_up_inspection").made_up
    return call


@pytest.fixture(scope="session")
def clicks() -> pl.DataFrame:
    """1,500 rows of the synthetic click log, 30 of them lacking clicks."""
    frame: pl.DataFrame = load_example("clicks").make_clicks(1_500)
    return frame


@pytest.fixture
def project(tmp_path: Path, clicks: pl.DataFrame) -> Path:
    """A folder with the clicks project: 1,500 rows, two quick candidates."""
    folder = tmp_path / "clicks"
    (folder / "data").mkdir(parents=True)
    clicks.write_parquet(folder / "data" / "clicks.parquet")
    text = (ROOT / "examples" / "clicks" / "roadworthy.toml").read_text()
    text = text.replace('["logistic", "mlp", "gbdt"]', '["logistic", "gbdt"]\nfolds = 2')
    (folder / "roadworthy.toml").write_text(text)
    return folder


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """``roadworthy`` in a process of its own: ``command("run", cwd=folder)``."""

    def call(
        *words: str, cwd: Path | None = None, timeout: float = 240, **more: object
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120", "PYTHONWARNINGS": "error"}
        environment.pop("FORCE_COLOR", None)
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [sys.executable, "-m", "roadworthy", *words],
            cwd=cwd or tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=environment,
            **more,  # type: ignore[call-overload]  # whatever subprocess.run takes
        )
        return done

    return call


@pytest.fixture
def forbidden() -> Iterator[Callable[[Path], list[str]]]:
    """``forbidden(folder)``: closes a folder of the test to whoever runs behind the words that it gives.

    Nothing is forbidden to root, so there the words make of a command that of another user, who may read the folder.
    """
    closed: list[Path] = []

    def call(folder: Path) -> list[str]:
        if os.geteuid() != 0:
            folder.chmod(0o555)
            closed.append(folder)
            return []
        if shutil.which("setpriv") is None:
            pytest.skip("only setpriv makes of root another user")
        for place in (*folder.parents, folder):
            if Path(tempfile.gettempdir()) in place.parents:
                place.chmod(place.stat().st_mode | 0o055)
        return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

    yield call
    for folder in closed:
        folder.chmod(0o755)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, clicks: pl.DataFrame) -> Path:
    """A clicks project that was run once; treat it as read-only."""
    from roadworthy import api  # noqa: PLC0415 - heavy, and only these tests need it

    folder = tmp_path_factory.mktemp("finished") / "clicks"
    (folder / "data").mkdir(parents=True)
    clicks.write_parquet(folder / "data" / "clicks.parquet")
    text = (ROOT / "examples" / "clicks" / "roadworthy.toml").read_text()
    text = text.replace("at_least = 0.70", "at_least = 0.90")  # more than these few rows can prove
    (folder / "roadworthy.toml").write_text(text.replace('["logistic", "mlp", "gbdt"]', '["mlp"]\nfolds = 2'))
    api.run(folder)
    return folder


@pytest.fixture(scope="session")
def made_up_traffic() -> Callable[[Path], Any]:
    """Makes a prediction log in the lake of a finished project: ``made_up_traffic(folder)``."""
    made: Callable[[Path], Any] = load_beside("made_up_traffic").MadeUpTraffic
    return made


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished project that a test may change."""
    target = tmp_path / "copied"
    shutil.copytree(finished, target)
    return target


BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/lib/postgresql/bin"))


def _as_owner(command: Sequence[str | Path]) -> list[str]:
    """PostgreSQL refuses to run as root; there it runs as the system's postgres user."""
    plain = [str(word) for word in command]
    return ["runuser", "-u", "postgres", "--", *plain] if os.getuid() == 0 else plain


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def postgres(postgres_cluster: str) -> str:
    """The URL of a database that no other test has seen."""
    name = f"test_{secrets.token_hex(6)}"
    engine = sa.create_engine(
        postgres_cluster.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(sa.text(f"create database {name}"))
    engine.dispose()
    return f"{postgres_cluster.rpartition('/')[0]}/{name}"


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[str]:
    """The URL of the first database in a cluster that lives as long as these tests."""
    if not (BINARIES / "initdb").exists():
        pytest.skip(f"PostgreSQL is not installed in {BINARIES} (Debian package postgresql-15)")
    folder = Path(tempfile.mkdtemp(prefix="rw-pg-"))
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    port = _free_port()
    data = folder / "data"
    init: list[str | Path] = [
        BINARIES / "initdb",
        "-D",
        data,
        "-U",
        "tester",
        "-A",
        "scram-sha-256",
        f"--pwfile={secret}",
        "--no-sync",
    ]
    subprocess.run(_as_owner(init), check=True, capture_output=True, cwd=folder)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    start: list[str | Path] = [BINARIES / "pg_ctl", "-D", data, "-l", folder / "log", "-w", "-o", options, "start"]
    subprocess.run(_as_owner(start), check=True, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        yield f"postgresql://tester:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        stop: list[str | Path] = [BINARIES / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"]
        subprocess.run(_as_owner(stop), check=True, cwd=folder, stdout=subprocess.DEVNULL)
        shutil.rmtree(folder)
