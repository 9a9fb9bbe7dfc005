"""Servers in processes of their own, each with a finished project behind it, over HTTP and gRPC."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

SHAPES = """[project]
name = "shapes"
task = "multiclass"
target = "kind"
[data]
source = "shapes.parquet"
[contract.columns]
width = { type = "number", missing = "reject", min = -9, max = 9 }
"a height" = { type = "number" }
b = { type = "number", missing = "reject" }
kind = { type = "category", missing = "reject" }
[training]
candidates = ["logistic"]
folds = 2
seed = 7
[standard]
extends = "prototype"
"""


@dataclass(frozen=True)
class Serving:
    """A running server: the model's name, its ports on loopback, the project behind it, its process."""

    name: str
    port: int
    grpc_port: int
    project: Path
    process: subprocess.Popen[str]


@contextmanager
def running(project: Path, name: str) -> Iterator[Serving]:
    """A server of a finished project, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "served.py"), str(project)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            line = process.stdout.readline()
            assert line, f"the server ended with {process.wait()}"
            yield Serving(name, **json.loads(line), project=project, process=process)
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished project of three classes, whose inputs are all numbers and none looks at the past; read-only."""
    from roadworthy import api  # noqa: PLC0415 - heavy, and only these tests need it

    folder = tmp_path_factory.mktemp("shapes")
    x = np.random.default_rng(3).normal(size=(400, 3)).round(4)
    kind = np.array(["low", "mid", "top"])[np.digitize(x[:, 0] + 0.3 * x[:, 1], [-0.5, 0.5])]
    table = pl.DataFrame({"width": x[:, 0], "a height": x[:, 1], "b": x[:, 2], "kind": kind})
    table.write_parquet(folder / "shapes.parquet")
    (folder / "roadworthy.toml").write_text(SHAPES)
    api.run(folder)
    return folder


@pytest.fixture(scope="session")
def clicks_server(finished: Path) -> Iterator[Serving]:
    """A server of the clicks project: categories, whole numbers, features of the past."""
    with running(finished, "clicks") as server:
        yield server


@pytest.fixture(scope="session")
def shapes_server(shapes: Path) -> Iterator[Serving]:
    """A server of the shapes project: three columns of numbers, three classes."""
    with running(shapes, "shapes") as server:
        yield server
