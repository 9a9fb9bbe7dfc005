"""The wheel is what people install: it is built, installed into an environment of its own, and runs from there."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "roadworthy"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a release is, without a network."""
    out = tmp_path_factory.mktemp("dist")
    words = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("roadworthy-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of an environment with the wheel; libraries come from the one that runs the tests."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, with_pip=False, symlinks=True)
    paths = {name: Path(place) for name, place in _paths_of(home).items()}
    libraries = sysconfig.get_paths()["purelib"]
    # only the folder itself: a .pth in it, such as that of this checkout, is not followed
    (paths["purelib"] / "libraries.pth").write_text(f"{libraries}\n")
    words = ["-m", "pip", "--python", str(paths["scripts"] / "python"), "install", "--no-deps", "--no-index", "--quiet"]
    words += ["--disable-pip-version-check", "--ignore-installed", str(wheel)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return paths["scripts"]


def _paths_of(home: Path) -> dict[str, str]:
    return sysconfig.get_paths(scheme="venv", vars={"base": str(home), "platbase": str(home)})


def run(words: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ROADWORTHY"))}
    environment |= {"NO_COLOR": "1", "COLUMNS": "120"}
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=120, env=environment)


def test_every_file_of_the_package_is_in_the_wheel_and_nothing_else(wheel: Path) -> None:
    expected = {
        path.relative_to(ROOT / "src").as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    there = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert there == expected
    for needed in ("py.typed", "formats/report/templates/report.html.j2", "formats/report/templates/report.css"):
        assert f"roadworthy/{needed}" in there


def test_the_wheel_names_its_licence_its_command_and_what_it_needs(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    files = {name.rpartition("/")[2]: name for name in archive.namelist() if ".dist-info/" in name}
    assert "LICENSE" in files
    assert "roadworthy = roadworthy.cli:main" in archive.read(files["entry_points.txt"]).decode()
    metadata = archive.read(files["METADATA"]).decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert "Requires-Dist: polars" in metadata


def test_the_code_that_runs_is_the_wheels_own(installed: Path, tmp_path: Path) -> None:
    code = "import roadworthy; print(roadworthy.__file__, roadworthy.__version__)"
    done = run([installed / "python", "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    place, version = done.stdout.split()
    assert Path(place).is_relative_to(installed.parent)
    assert version in (ROOT / "pyproject.toml").read_text()


def test_the_command_starts_and_writes_a_project(installed: Path, tmp_path: Path, clicks: pl.DataFrame) -> None:
    helped = run([installed / "roadworthy", "--help"], tmp_path)
    assert helped.returncode == 0, helped.stderr
    assert "promote" in helped.stdout
    clicks.head(300).write_csv(tmp_path / "clicks.csv")
    begun = run([installed / "roadworthy", "init", "clicks.csv", "--target", "converted"], tmp_path)
    assert begun.returncode == 0, begun.stderr
    assert (tmp_path / "roadworthy.toml").read_text().startswith("[project]")


def test_the_report_finds_its_templates(installed: Path, tmp_path: Path) -> None:
    code = "from roadworthy.formats.report.page import _template; print(_template().name)"
    done = run([installed / "python", "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "report.html.j2"
