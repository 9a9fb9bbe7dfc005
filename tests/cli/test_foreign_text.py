"""Texts that others wrote: nothing in them steers the terminal, no foreign exception quotes a cell."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
import pytest

from roadworthy.cli import running
from roadworthy.errors import DataError

EVIL = "paid\x1b]0;owned\x07\x9b31m\u202e\nnext\ttab"


def test_told_text_moves_no_cursor_and_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    running.told(None, EVIL, as_json=False)
    said = capsys.readouterr().out
    assert said == "paid\\x1b]0;owned\\x07\\x9b31m\\u202e\nnext\\ttab\n"


def test_told_json_is_harmless_and_comes_back_whole(capsys: pytest.CaptureFixture[str]) -> None:
    running.told({EVIL: [EVIL]}, "", as_json=True)
    said = capsys.readouterr().out
    assert not any(sign in said for sign in "\x1b\x07\x9b\u202e\t")
    assert json.loads(said) == {EVIL: [EVIL]}


def test_an_error_as_json_is_harmless(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["roadworthy", "--json"])
    with pytest.raises(SystemExit), running.shown_error():
        raise DataError(EVIL)
    said = capsys.readouterr()
    assert "\x9b" not in said.out + said.err
    assert json.loads(said.out)["message"] == EVIL


def _break() -> None:
    cells = pl.Series("mail", ["ada@example.org"])
    try:
        cells.cast(pl.Int64)
    except pl.exceptions.PolarsError as error:
        raise KeyError(cells[0]) from error


def test_a_foreign_exception_is_told_by_type_and_place_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as ended, running.shown_error():
        _break()
    assert ended.value.code == running.FAULT
    said = capsys.readouterr()
    (left,) = tmp_path.glob("roadworthy-fault-*")
    account = left.read_text()
    assert "ada@" not in said.err + said.out + account
    assert "KeyError" in said.err
    assert "InvalidOperationError" in account
    assert "cells.cast(pl.Int64)" in account
    assert account.index("InvalidOperationError") < account.index("KeyError\n")
