"""The README's commands and Python run as they stand there, and what it names exists."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from roadworthy.records.verdict import EXIT_CODES

ROOT = Path(__file__).parent.parent.parent
Pages = Callable[[str], Any]
Command = Callable[..., Any]


def test_the_flow_from_data_to_champion_runs(page: Pages, command: Command, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    make_clicks = runpy.run_path(str(ROOT / "examples" / "clicks" / "prepare.py"))["make_clicks"]
    make_clicks(3_000).write_parquet(tmp_path / "data" / "clicks.parquet")
    lines = [line for block in page("README.md").blocks("console") for line in block.splitlines()]
    calls = [shlex.split(line.removeprefix("$ ")) for line in lines if line.startswith("$ ")]
    names = ("init", "run", "predict", "promote", "inspect", "serve")
    assert [call[:2] for call in calls] == [["roadworthy", name] for name in names]
    bring_model(tmp_path)
    ready = True
    for _, *words in calls[:-1]:
        done = command(*words, cwd=tmp_path)
        verdicts = set(EXIT_CODES.values())
        expected = {
            "run": {0, 3},
            "promote": {0 if ready else 1},
            "inspect": verdicts,
        }  # a busy machine may leave the latency unproven
        assert done.returncode in expected.get(words[0], {0}), f"{words}\n{done.stdout}\n{done.stderr}"
        assert done.stdout or done.returncode
        assert "Traceback" not in done.stderr
        ready = ready and done.returncode == 0
    there = {path.name for path in tmp_path.iterdir()}
    assert {"roadworthy.toml", "report.html", ".roadworthy", "inspection.html"} <= there
    assert "http-equiv" in (tmp_path / "report.html").read_text()
    ask_the_server(page, calls[-1][1:], tmp_path, version="champion" if ready else "latest")


def ask_the_server(page: Pages, words: list[str], folder: Path, *, version: str) -> None:
    """The README's server, on a free port, and its client."""
    command = [sys.executable, "-m", "roadworthy", *words, "--port", "0", "--json", "--version", version]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = json.loads(server.stdout.readline())["address"]
            code = page("README.md").blocks("python")[1].replace("http://127.0.0.1:8080", address)
            scope: dict[str, Any] = {}
            exec(compile(code, "README.md", "exec"), scope)  # noqa: S102 - the README's own example
            assert scope["served"].version == "clicks-1"
        finally:
            server.terminate()
            assert server.wait(60) == 0


def bring_model(folder: Path) -> None:
    """Somebody else's model.onnx, and rows that it has not seen."""
    rows = pl.read_parquet(folder / "data" / "clicks.parquet").drop_nulls()
    numbers = ["impressions", "clicks", "dwell_seconds", "position"]
    train, holdout = rows[:1_500], rows[1_500:]
    table = train.select(numbers).to_numpy()
    estimator = LogisticRegression(max_iter=1_000).fit(table, train["converted"].to_numpy())
    graph = to_onnx(estimator, table[:1].astype("float32"), options={"zipmap": False})
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    holdout.write_parquet(folder / "holdout.parquet")


def test_the_python_line_runs(page: Pages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows, labels = load_breast_cancer(return_X_y=True)
    scaled = StandardScaler().fit_transform(rows)[:, :6]
    columns = {f"measure_{place}": scaled[:, place] for place in range(6)}
    frame = pl.DataFrame(columns)
    estimator = LogisticRegression().fit(scaled[:300], labels[:300])
    code, _ = page("README.md").blocks("python")
    scope: dict[str, Any] = {"estimator": estimator, "X": frame[300:].to_numpy(), "y": labels[300:]}
    exec(compile(code, "README.md", "exec"), scope)  # noqa: S102 - the README's own example
    assert scope["inspection"].verdict.requirements


def test_the_file_tree_is_the_one_there_is(page: Pages) -> None:
    (tree,) = [block for block in page("README.md").blocks("") if block.startswith("src/")]
    named = re.findall(r"^  (\S+)\s", tree, re.MULTILINE)
    package = ROOT / "src" / "roadworthy"
    there = {f"{path.name}/" if path.is_dir() else path.name for path in package.iterdir()}
    unnamed = {"__init__.py", "__main__.py", "__pycache__/", "py.typed"}
    assert set(named) == there - unnamed
    assert len(named) == len(set(named))


def test_make_has_the_targets_that_are_named(page: Pages) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [page(name).text for name in ("README.md", "CONTRIBUTING.md")]
    named = {name for text in pages for name in re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)}
    assert named <= targets
    assert {"demo", "test", "check"} <= named
