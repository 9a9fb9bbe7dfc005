"""What several areas of the tests share: a small clicks project, and the command in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

ROOT = Path(__file__).parent.parent
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
        return subprocess.run(
            [sys.executable, "-m", "roadworthy", *words],
            cwd=cwd or tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=environment,
            **more,  # type: ignore[call-overload]  # whatever subprocess.run takes
        )

    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, clicks: pl.DataFrame) -> Path:
    """A clicks project that was run once; treat it as read-only."""
    from roadworthy import api  # noqa: PLC0415 - heavy, and only these tests need it

    folder = tmp_path_factory.mktemp("finished") / "clicks"
    (folder / "data").mkdir(parents=True)
    clicks.write_parquet(folder / "data" / "clicks.parquet")
    text = (ROOT / "examples" / "clicks" / "roadworthy.toml").read_text()
    (folder / "roadworthy.toml").write_text(text.replace('["logistic", "mlp", "gbdt"]', '["mlp"]\nfolds = 2'))
    api.run(folder)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished project that a test may change."""
    target = tmp_path / "copied"
    shutil.copytree(finished, target)
    return target
