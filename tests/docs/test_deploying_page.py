"""The page about deploying names what there is: settings, services, commands, figures of what is bounded."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import typer
import yaml  # type: ignore[import-untyped]  # it ships no types

import roadworthy.cli  # noqa: F401 - registers every command
from roadworthy.adapters.prediction_log import Limits, read_log
from roadworthy.api.serving import following
from roadworthy.cli.app import app
from roadworthy.serving.metrics import Metrics
from roadworthy.settings import VARIABLES

ROOT = Path(__file__).parents[2]
PAGE = "docs/deploying.md"
Pages = Callable[[str], Any]


def compose() -> Any:
    return yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))


def test_every_setting_is_named_and_no_other(page: Pages) -> None:
    named = set(re.findall(r"ROADWORTHY_[A-Z_]+", page(PAGE).text))
    assert named == set(VARIABLES)


def test_every_variable_of_the_compose_file_is_named(page: Pages) -> None:
    used = set(re.findall(r"\$\{([A-Z]+)", (ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8")))
    rows = page(PAGE).section("Two replicas behind a proxy").table("variable")
    assert {row[0].strip("`") for row in rows} == used


def test_the_commands_are_ones_that_there_are(page: Pages) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    for name in re.findall(r"`?roadworthy ([a-z]+)", page(PAGE).text):
        assert name in commands
    services = compose()["services"]
    lines = [line for block in page(PAGE).blocks("console") for line in block.splitlines() if "compose" in line]
    assert len(lines) == 4
    for line in lines:
        assert (ROOT / line.partition(" -f ")[2].split()[0]).is_file()
        assert "--no-deps" not in line or line.split()[-1] in services


def test_the_figures_are_the_codes(page: Pages) -> None:
    text = page(PAGE).text
    assert f"{Limits().rows:,} rows wait" in text
    assert f"after {following._ANSWER_S:.0f} s" in text
    assert following._AGAIN_S == 10, "tried again every ten seconds"
    replica = compose()["services"]["replica-1"]
    bounds = replica["deploy"]["resources"]["limits"]
    assert (bounds["memory"], bounds["cpus"]) == ("512M", "1.0"), "512 MB and one core"
    assert replica["command"] == ["--grace", "5"], "here 5 s"
    metrics = Metrics()
    for name in re.findall(r"`(roadworthy_[a-z_]+)`", text):
        assert name.encode() in metrics.text()


def test_the_line_that_removes_old_days_removes_those_alone(page: Pages, tmp_path: Path) -> None:
    root = tmp_path / "predictions"
    for day, age in (("2026-01-01", 100), ("2026-05-01", 3)):
        folder = root / day
        folder.mkdir(parents=True)
        pl.DataFrame({"at": [datetime.fromisoformat(day)], "id": [day], "row": [0]}).write_parquet(
            folder / "a.0.parquet"
        )
        moment = time.time() - age * 86_400
        os.utime(folder, (moment, moment))
    (root / "spool").mkdir()
    os.utime(root / "spool", (0, 0))
    (line,) = page(PAGE).blocks("sh")
    line = line.replace("/path/to/project/.roadworthy/lake", str(tmp_path))
    subprocess.run(["/bin/sh", "-c", line], check=True)
    assert sorted(path.name for path in root.iterdir()) == ["2026-05-01", "spool"]
    assert read_log(tmp_path).collect()["id"].to_list() == ["2026-05-01"]
