"""A file appears whole or not at all, and what was there before stays until then."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from roadworthy.adapters.whole_files import whole_file
from roadworthy.errors import DataError, StorageError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_takes_its_place_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "out.txt"
    with whole_file(target) as fresh:
        fresh.write_text("whole")
        assert not target.exists()
        assert fresh.parent == target.parent, "a rename is atomic within one file system only"
    assert target.read_text() == "whole"
    with whole_file(target) as fresh:
        fresh.write_text("newer")
        assert target.read_text() == "whole"
    assert target.read_text() == "newer"
    assert names(target.parent) == ["out.txt"]


@pytest.mark.parametrize("error", [ValueError("x"), DataError("x"), KeyboardInterrupt(), SystemExit(1)])
def test_what_goes_wrong_passes_through_and_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")

    def fill() -> None:
        with whole_file(target) as fresh:
            fresh.write_text("half")
            raise error

    with pytest.raises(type(error)) as caught:
        fill()
    assert caught.value is error
    assert (target.read_text(), names(tmp_path)) == ("old", ["out.txt"])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_takes_no_more_is_one_clear_error(tmp_path: Path, code: int) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")

    def fill() -> None:
        with whole_file(target) as fresh:
            fresh.write_text("half")
            raise OSError(code, os.strerror(code))

    with pytest.raises(StorageError) as caught:
        fill()
    assert "what stood there before is untouched" in str(caught.value)
    assert "MB free" in caught.value.next_step
    assert (target.read_text(), names(tmp_path)) == ("old", ["out.txt"])


def test_a_place_that_cannot_be_a_file_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    for target in (tmp_path / "folder", tmp_path / "file" / "out.txt"):
        with pytest.raises(StorageError, match="cannot be written"), whole_file(target):
            raise AssertionError("no work may begin")


def test_writers_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    with whole_file(target) as one, whole_file(target) as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert (target.read_text(), names(tmp_path)) == ("one", ["out.txt"])


KILLED = """
import os, signal, sys
from pathlib import Path
from roadworthy.adapters.whole_files import whole_file
with whole_file(Path(sys.argv[1])) as fresh:
    fresh.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")
    killed = subprocess.run([sys.executable, "-c", KILLED, os.fspath(target)], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    left = [name for name in names(tmp_path) if name != "out.txt"]
    assert all(name.startswith(".out.txt.") for name in left), "what is left says whose it was, and is hidden"


def test_bytes_are_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, synced = tmp_path / "out.txt", []
    true = os.fsync

    def spy(handle: int) -> None:
        synced.append((os.fstat(handle).st_ino, target.exists()))
        true(handle)

    monkeypatch.setattr(os, "fsync", spy)
    with whole_file(target) as fresh:
        fresh.write_text("new")
    assert synced == [(target.stat().st_ino, False), (tmp_path.stat().st_ino, True)]
