"""Schemathesis against running servers by their own OpenAPI documents: all of its checks, nothing found.

What it may report is in ``schemathesis_hooks.py``, each with its reason; the checks themselves are all on.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

Start = Callable[..., Any]
PLAIN = """
[project]
name = "{name}"
task = "{task}"
target = "y"
[data]
source = "rows.parquet"
[contract.columns]
a = {{ type = "number", missing = "reject", min = -9, max = 9 }}
"b c" = {{ type = "integer", min = 0 }}
flag = {{ type = "boolean" }}
kind = {{ type = "category", allowed = ["x", "y"] }}
y = {target}
[training]
candidates = ["logistic"]
folds = 2
seed = 7
[standard]
extends = "prototype"
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``plain("regression")``: a small finished project without personal columns."""
    from roadworthy import api  # noqa: PLC0415 - heavy, and only these tests need it

    def made(task: str) -> Path:
        folder = tmp_path_factory.mktemp(task)
        random = np.random.default_rng(3)
        a, b = random.normal(size=300).round(3), random.integers(0, 50, size=300)
        score = a + b / 25 + random.normal(size=300) * 0.1
        y = score if task == "regression" else np.digitize(score, [0.5, 1.5]).astype(str)
        kind, flag = random.choice(["x", "y"], size=300), random.random(300) < 0.5
        pl.DataFrame({"a": a, "b c": b, "flag": flag, "kind": kind, "y": y}).write_parquet(folder / "rows.parquet")
        target = '{ type = "number", min = -99 }' if task == "regression" else '{ type = "category" }'
        (folder / "roadworthy.toml").write_text(PLAIN.format(name=task, task=task, target=target))
        api.run(folder)
        return folder

    return made


def found(address: str, *words: str, most: int, folder: Path) -> dict[str, Any]:
    """What Schemathesis reports of a server; fails with its own words where it finds something."""
    report = folder / "schemathesis.json"
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json", "--checks", "all"]
    command += ["--seed", "7", "--max-examples", str(most), "--continue-on-failure", "--no-color", "--warnings", "off"]
    command += ["--report", "json", "--report-json-path", str(report), *words]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "schemathesis_hooks", "NO_COLOR": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=environment, cwd=folder
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    assert int(re.search(r"(\d+) generated", done.stdout)[1]) > 300  # type: ignore[index]  # or the line is missing
    value: dict[str, Any] = json.loads(report.read_text())
    return value


def test_a_binary_model_with_personal_columns_rules_a_past_and_keys(
    serving: Start, copied: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    said = command("key", "create", "tests", "--project", str(copied)).stdout
    key = next(word for word in said.split() if word.startswith("rw_"))
    server = serving(copied, "--version", "latest")
    report = found(server.address, "-H", f"Authorization: Bearer {key}", most=8, folder=tmp_path)
    paths = {path.partition(" ")[2] for path in _operations(report)}
    assert {"/predict", "/feedback", "/readyz", "/metrics", "/version", "/v2/models/clicks/infer"} <= paths
    log = b"".join(file.read_bytes() for file in tmp_path.glob("*.err"))
    assert b"failed" not in log


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("multiclass", ["--phases", "examples,coverage"]),
        ("regression", ["--phases", "examples,coverage", "--exclude-path-regex", "version|health"]),
    ],
    ids=["multiclass", "regression"],
)
def test_models_of_plain_columns_without_keys(
    serving: Start, plain: Callable[[str], Path], tmp_path: Path, task: str, words: list[str]
) -> None:
    server = serving(plain(task), "--version", "latest")
    found(server.address, *words, most=8, folder=tmp_path)


def _operations(report: Any) -> list[str]:
    """Every operation that a report names."""
    text = json.dumps(report)
    return sorted(set(re.findall(r'"((?:GET|POST) /[^"]*)"', text)))


def test_the_document_says_that_a_key_is_needed_to_whoever_has_one(serving: Start, copied: Path) -> None:
    server = serving(copied, "--version", "latest")

    def document(**headers: str) -> dict[str, Any]:
        request = urllib.request.Request(f"{server.address}/openapi.json", headers=headers)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310 - loopback
            value: dict[str, Any] = json.load(reply)
        return value

    assert document()["security"][0] == {}
    assert document(**{"X-API-Key": "any"})["security"] == [{"bearer": []}, {"key": []}]
    paths = document()["paths"]
    assert all(paths[path]["get"]["security"] == [] for path in ("/livez", "/readyz", "/metrics", "/v2/health/ready"))
