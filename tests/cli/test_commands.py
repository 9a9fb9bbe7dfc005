"""Every command as it is typed: what stands on standard output, what on standard error, and the exit code."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from roadworthy.cli import main

ROW = {
    "timestamp": "2026-01-20T18:30:00", "user_id": "u0000017", "device": "phone", "age_band": "30-44",
    "campaign": "retarget", "position": 1, "impressions": 10, "clicks": 6, "dwell_seconds": 31.5,
}  # fmt: skip
COMMANDS = ("init", "run", "inspect", "predict", "trace", "score", "status", "promote", "attest", "waive")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Said(NamedTuple):
    code: int
    out: str
    err: str


Typed = Callable[..., Said]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """A command in this process: its exit code and what it said."""

    def call(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["roadworthy", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        code = ended.value.code
        return Said(code if isinstance(code, int) else 0 if code is None else 1, said.out, said.err)

    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    return call


@pytest.fixture
def rows(tmp_path: Path, clicks: pl.DataFrame) -> str:
    """The clicks as a file outside any project."""
    path = tmp_path / "rows.parquet"
    clicks.write_parquet(path)
    return str(path)


def commands(finished: Path, rows: str, tmp_path: Path) -> dict[str, tuple[list[str], int]]:
    """Words and exit code of every command that needs nothing but a finished project."""
    project = ["--project", str(finished)]
    row = json.dumps(ROW)
    return {
        "init": (["init", rows, "--target", "converted", "--folder", str(tmp_path / "new")], 0),
        "run": (["run", *project], 3),
        "inspect": (["inspect", "latest", rows, "--target", "converted", *project], 3),
        "predict": (["predict", row, *project], 0),
        "trace": (["trace", row, *project], 0),
        "score": (["score", rows, "--out", str(tmp_path / "out.csv"), *project], 0),
        "status": (["status", *project], 0),
        "promote": (["promote", "1", *project], 1),
        "attest": (["attest", *project], 0),
        "waive": (["waive", *project], 0),
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_all_that_stands_on_standard_output(
    name: str, typed: Typed, finished: Path, rows: str, tmp_path: Path
) -> None:
    """From another folder, with ``--project``."""
    words, code = commands(finished, rows, tmp_path)[name]
    said = typed(*words, "--json")
    assert said.code == code, said.err
    found = json.loads(said.out)
    assert isinstance(found, dict)
    if name in {"run", "score"}:
        assert said.err, "progress goes to standard error"
    keys = {
        "init": {"file", "project", "findings", "notes"},
        "run": {"version", "readiness", "verdict", "stages", "choice", "report", "bundle"},
        "inspect": {"model", "data", "standard", "evidence", "verdict"},
        "predict": {"version", "score", "scores", "decision", "threshold"},
        "trace": {"layers"},
        "score": {"version", "out", "rows", "answered", "problems", "seconds"},
        "status": {"project", "champion", "versions", "audit_links"},
        "promote": {"error", "message", "problems", "next"},
        "attest": {"project", "kind", "did", "lines", "notes"},
        "waive": {"project", "kind", "did", "lines", "notes"},
    }
    assert keys[name] <= set(found)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("init", r"wrote .*roadworthy.toml: binary task, target converted, 1,500 rows, 10 columns"),
        ("run", r"NOT PROVEN"),
        ("inspect", r"clicks-1 on .*rows.parquet: Not proven: "),
        (
            "predict",
            r"^decision  [01] \(threshold 0\.\d{4}\)\n  0: 0\.\d{6}\n  1: 0\.\d{6}\nversion   clicks-1\nnote: ",
        ),
        ("trace", r"^hidden 1 \(ReLU\)  \[1 × 32\]  0 to [\s\S]*^decision "),
        (
            "score",
            r"^1,470 of 1,500 rows answered by clicks-1 in .* rows/s\): .*out.csv\n  30 rows without an answer: ",
        ),
        ("status", r"^clicks: no champion yet; the audit chain of \d+ links holds\n +1  not proven "),
        ("promote", r"^$"),
    ],
)
def test_text_is_for_people(name: str, shown: str, typed: Typed, finished: Path, rows: str, tmp_path: Path) -> None:
    words, code = commands(finished, rows, tmp_path)[name]
    said = typed(*words)
    assert said.code == code, said.err
    assert re.search(shown, said.out, re.MULTILINE), said.out
    assert "\x1b" not in said.out + said.err


def test_promote_moves_the_champion_and_status_says_so(typed: Typed, copied: Path) -> None:
    refused = typed("promote", "1", "-p", str(copied))
    assert "not proven" in refused.err
    assert "next: roadworthy status" in refused.err
    file = copied / "roadworthy.toml"
    text = file.read_text().replace('extends = "service"', 'extends = "prototype"')
    file.write_text(text.replace('recall = { at_least = 0.90, slice = "device" }\n', ""))
    assert typed("run", "-p", str(copied)).code == 0
    assert typed("promote", "2", "-p", str(copied)).out == "clicks-2 is now champion\n"
    status = typed("status", "-p", str(copied)).out
    assert status.startswith("clicks: champion is version 2;")
    assert re.search(r"^\* +2  ready", status, re.MULTILINE)
    assert typed("predict", json.dumps(ROW), "-v", "champion", "-p", str(copied)).code == 0


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_tables_fit_their_width_and_say_why(
    width: int, typed: Typed, finished: Path, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    project = ["--project", str(finished)]
    for words in (["run", *project], ["inspect", "latest", rows, "-t", "converted", *project]):
        said = typed(*words).out
        table = said[: said.index("not proven", said.index("outcome"))]
        assert max(map(len, table.splitlines())) <= width
        flat = re.sub(r"\s+", " ", said)
        assert "recall >= 0.9 for every device" in flat
        assert "more rows would settle it" in flat
        assert "…" not in table


def test_a_row_may_come_from_standard_input(typed: Typed, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io  # noqa: PLC0415 - only here

    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(ROW)))
    monkeypatch.chdir(finished)
    assert "clicks-1" in typed("predict", "-").out


def test_a_history_is_named_from_where_the_command_is_typed(
    typed: Typed, finished: Path, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(rows).parent)
    said = typed("predict", json.dumps(ROW), "--history", "rows.parquet", "-p", str(finished))
    assert said.code == 0, said.err
    assert "no past was given" not in said.out


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_stands_on_standard_output(name: str, typed: Typed) -> None:
    said = typed(*([name] if name else []), "--help")
    assert (said.code, said.err) == (0, "")
    assert said.out.lstrip().startswith("Usage: roadworthy")
    wanted = (f"Example: roadworthy {name}", "--json") if name else COMMANDS
    assert all(words in said.out for words in wanted)


def test_words_that_mean_nothing_end_with_two(typed: Typed) -> None:
    said = typed("drive")
    assert (said.code, said.out) == (2, "")
    assert "drive" in said.err


def test_python_dash_m_is_the_command(command: Any, finished: Path) -> None:
    """Also that a warning from any library would be an error: the fixture turns them into such."""
    done = command("status", "--json", "--project", os.fspath(finished))
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["project"], done.stderr) == ("clicks", "")


def on_a_terminal(words: list[str], *, both: bool) -> tuple[str, str]:
    """What a terminal shows, and what standard output brought where it is a pipe (``both`` false)."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    environment.pop("NO_COLOR", None)
    child = subprocess.Popen(
        [sys.executable, "-m", "roadworthy", *words],
        stdin=theirs, stdout=theirs if both else subprocess.PIPE, stderr=theirs, env=environment,
    )  # fmt: skip
    os.close(theirs)
    piped = b"" if child.stdout is None else child.stdout.read()
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how Linux says that the other end was closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    if child.stdout is not None:
        child.stdout.close()
    assert child.wait(timeout=120) == 3
    return ESCAPES.sub("", shown.decode()), piped.decode()


def test_on_one_terminal_the_stages_are_shown_once(finished: Path) -> None:
    shown, _ = on_a_terminal(["run", "--project", os.fspath(finished)], both=True)
    for stage in ("collect", "clean", "features", "train", "validate", "package", "monitor"):
        assert len(re.findall(rf"^✔ {stage} ", shown.replace("\r", ""), re.MULTILINE)) == 1
    assert "what happened" not in shown
    assert "NOT PROVEN" in shown


def test_a_piped_result_is_whole_while_the_terminal_shows_the_progress(finished: Path) -> None:
    shown, piped = on_a_terminal(["run", "--project", os.fspath(finished)], both=False)
    assert re.search(r"^✔ monitor ", shown.replace("\r", ""), re.MULTILINE)
    assert "NOT PROVEN" not in shown
    assert "what happened" in piped
    assert "NOT PROVEN" in piped
    assert "\x1b" not in piped
