"""An inspection in the terminal and on the disk."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

from roadworthy.cli.showing import show_inspection
from roadworthy.cli.written import refuse_unwritable, write_outputs
from roadworthy.errors import StorageError
from roadworthy.formats.wording import first_sentence
from roadworthy.views import inspection_view

MadeUp = Callable[..., Any]
AT = datetime(2026, 11, 20, 19, 30, tzinfo=UTC)


class Carried(msgspec.Struct, frozen=True):
    """The parts of a made-up inspection in a form that JSON knows."""

    model: str
    evidence: Any
    notes: tuple[str, ...]


@pytest.fixture
def shown(made_up: MadeUp, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What the terminal shows, at a width."""

    def call(width: int = 80, text: str = "", columns: int = 8, **places: Path) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("NO_COLOR", "1")
        show_inspection(made_up(columns, text), as_json=False, places=places)
        return capsys.readouterr().out

    return call


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_it_says_everything_that_matters(shown: Callable[..., str], made_up: MadeUp) -> None:
    said = flat(shown())
    view = inspection_view(made_up())
    assert f"loan.onnx on march.parquet: {view.sentence}" in said
    for row in view.requirements:
        if row.verdict.outcome.value != "pass":
            assert row.verdict.sentence in said
    for finding in view.findings:
        if finding.grade != "notes":
            whole = finding.grade == "fails"
            assert (finding.sentence if whole else first_sentence(finding.sentence)) in said
            assert (finding.answer or finding.question) in said
    for chapter in view.chapters:
        told = [first_sentence(finding.sentence) for finding in chapter.findings]
        from_finding = any(chapter.summary.startswith(sentence) for sentence in told)
        assert f"{chapter.title} {'' if from_finding else chapter.summary}".strip() in said
    assert "Leakage 1 suspect, as said above" in said
    for check, reason in view.not_asked.items():
        assert f"{check}: {reason}" in said
    for step in view.next_steps:
        assert step in said
    assert view.notes[0] in said


def test_notes_are_counted(shown: Callable[..., str]) -> None:
    assert "51 notes, in the report and with --json" in shown(columns=50)


@pytest.mark.parametrize("width", [80, 100, 160])
def test_it_fits_the_width(width: int, shown: Callable[..., str]) -> None:
    lines = shown(width).splitlines()
    (verdict,) = [line for line in lines if "loan.onnx on march.parquet: " in line]
    assert max(len(line) for line in lines if line != verdict) <= width


def test_places_stand_last(shown: Callable[..., str], tmp_path: Path) -> None:
    lines = shown(report=tmp_path / "report.html", junit=tmp_path / "junit.xml").splitlines()
    assert lines[-2] == f"  report   {tmp_path / 'report.html'}"
    assert lines[-1] == f"  junit    {tmp_path / 'junit.xml'}"


def test_hostile_text_moves_no_cursor(shown: Callable[..., str]) -> None:
    said = shown(text="\x1b]0;owned\x07\x9b31m\u202e[bold]x[/bold]\nnext")
    assert not any(sign in said for sign in "\x1b\x07\x9b\u202e")
    assert "[bold]x[/bold]" in said


def test_json_holds_the_whole(made_up: MadeUp, capsys: pytest.CaptureFixture[str]) -> None:
    inspection = made_up()
    whole: Any = Carried(inspection.model, inspection.evidence, inspection.notes)
    show_inspection(whole, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert len(found["evidence"]["measurements"]) == len(inspection.evidence.measurements)
    assert len(found["evidence"]["exhibits"]) == len(inspection.evidence.exhibits)


def test_all_three_files_are_written_whole(made_up: MadeUp, tmp_path: Path) -> None:
    places = write_outputs(
        made_up(),
        report=tmp_path / "out" / "report.html",
        junit=tmp_path / "junit.xml",
        markdown=tmp_path / "summary.md",
        seconds=3.25,
        at=AT,
    )
    assert list(places) == ["report", "junit", "markdown"]
    page = places["report"].read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert "20 November 2026, 19:30 UTC" in page
    assert page.count("<svg ") > 10
    suite = ET.parse(places["junit"]).getroot()[0]  # noqa: S314 - written here
    assert (suite.attrib["tests"], suite.attrib["time"]) == ("11", "3.250")
    assert places["markdown"].read_text("utf-8").startswith("### ❌ Not ready: loan.onnx on march.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["junit.xml", "out", "summary.md"]


def test_nothing_is_written_where_nothing_is_asked_for(made_up: MadeUp, tmp_path: Path) -> None:
    assert write_outputs(made_up()) == {}
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_refused_at_once_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    wanted = [tmp_path / "folder", tmp_path / "file" / "report.html", pipe, None, Path("a\x00b"), Path("x" * 300)]
    with pytest.raises(StorageError) as refused:
        refuse_unwritable(wanted)
    said = str(refused.value)
    assert f"{tmp_path / 'folder'}: a folder of that name is there" in said
    assert f"{tmp_path / 'file'} is no folder" in said
    assert f"{pipe}: what is there is no plain file" in said
    assert "null character" in said
    assert "too long" in said
    assert refused.value.exit_code == 2
    assert len(refused.value.problems) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "pipe"]


def test_one_file_for_two_things_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match="named for several files"):
        refuse_unwritable([Path("out"), tmp_path / "b" / ".." / "out"])
    refuse_unwritable([Path("out"), Path("new/folder/out"), None])
    assert list(tmp_path.iterdir()) == []


def test_a_forbidden_folder_is_refused(tmp_path: Path, forbidden: Callable[[Path], list[str]]) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    words = ["inspect", "model.onnx", "rows.csv", "--target", "y", "--report", "report.html"]
    said = subprocess.run(
        [*forbidden(folder), sys.executable, "-m", "roadworthy", *words],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 2, said.stderr
    assert "nothing may be written in" in " ".join(said.stderr.split())
    assert "nothing was inspected yet" in said.stderr
    assert list(folder.iterdir()) == []


def test_what_stood_there_stays_when_writing_fails(
    made_up: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "summary.md"
    place.write_text("before")
    full = OSError(28, "No space left on device")

    def fail(_self: Path, _content: bytes) -> int:
        raise full

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(StorageError, match="untouched"):
        write_outputs(made_up(), markdown=place)
    assert place.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["summary.md"]
