"""The lake: folders appear whole or not at all, whatever happens to the writer."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest

from roadworthy.adapters.lake import Lake
from roadworthy.errors import SourceError, StorageError
from roadworthy.records.digests import digest_data
from roadworthy.testing import check_store

DIGEST = digest_data("rows")
SOURCE = str(Path(__file__).parents[2] / "src")


def run_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def write_and_raise(lake: Lake, error: Exception) -> None:
    with lake.writing("clean", DIGEST) as folder:
        (folder / "half").touch()
        raise error


def leftovers(root: Path) -> list[str]:
    return [path.name for path in root.glob("*/.tmp-*")]


def test_conformance(tmp_path: Path) -> None:
    check_store(lambda: Lake(tmp_path / "lake"))
    assert leftovers(tmp_path / "lake") == []


def test_folders_are_named_by_stage_and_digest(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with lake.writing("clean", DIGEST) as folder:
        (folder / "rows").touch()
    assert lake.path("clean", DIGEST) == tmp_path / "clean" / DIGEST.removeprefix("sha256:")[:16]
    with pytest.raises(ValueError, match="not a stage"):
        lake.has("../clean", DIGEST)
    with pytest.raises(ValueError, match="not a stage"):
        lake.has("clean", "sha256:../../etc")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_disk_that_refuses_is_named_with_the_space_left(tmp_path: Path, number: int) -> None:
    lake = Lake(tmp_path)
    with pytest.raises(StorageError, match="MB free") as caught:
        write_and_raise(lake, OSError(number, os.strerror(number)))
    assert os.strerror(number) in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.next_step
    assert not lake.has("clean", DIGEST)
    assert leftovers(tmp_path) == []


def test_a_full_disk_that_a_library_tells_as_text_is_recognised(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with pytest.raises(StorageError), lake.writing("clean", DIGEST):
        raise pl.exceptions.ComputeError("could not write: No space left on device (os error 28)")
    failure = RuntimeError("worker failed")
    failure.__cause__ = OSError(errno.ENOSPC, "full")
    with pytest.raises(StorageError):
        write_and_raise(lake, failure)


def test_other_errors_pass_through_as_they_are(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with pytest.raises(ZeroDivisionError), lake.writing("clean", DIGEST):
        _ = 1 / 0
    with pytest.raises(SourceError), lake.writing("clean", DIGEST):
        raise SourceError("data.csv: Permission denied")
    assert leftovers(tmp_path) == []


def test_a_root_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "lake").touch()
    with pytest.raises(StorageError, match="next: "), Lake(tmp_path / "lake").writing("clean", DIGEST):
        pass


FILL = """
import resource, sys
from pathlib import Path
import polars as pl
from roadworthy.adapters.lake import Lake
from roadworthy.errors import StorageError
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
lake, digest = Lake(Path(sys.argv[1])), sys.argv[2]
try:
    with lake.writing("clean", digest) as folder:
        if sys.argv[3] == "polars":
            pl.LazyFrame({"a": range(2_000_000)}).sink_parquet(folder / "rows.parquet", compression="uncompressed")
        else:
            (folder / "rows").write_bytes(b"x" * 1_000_000)
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize("writer", ["polars", "python"])
def test_a_file_size_limit_publishes_nothing(tmp_path: Path, writer: str) -> None:
    process = run_python(FILL, tmp_path, DIGEST, writer)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "File too large" in out
    assert "next: " in out
    assert not Lake(tmp_path).has("clean", DIGEST)
    assert list(tmp_path.glob("*/*")) == []


HANG = """
import sys, time
from pathlib import Path
from roadworthy.adapters.lake import Lake
with Lake(Path(sys.argv[1])).writing("clean", sys.argv[2]) as folder:
    (folder / "rows").write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_a_killed_writer_publishes_nothing_and_the_next_start_cleans_up(tmp_path: Path) -> None:
    process = run_python(HANG, tmp_path, DIGEST)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    alive = Lake(tmp_path)
    assert len(leftovers(tmp_path)) == 1, "the folder of a writer that lives is left alone"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert not alive.has("clean", DIGEST)
    assert len(leftovers(tmp_path)) == 1
    lake = Lake(tmp_path)
    assert leftovers(tmp_path) == []
    with lake.writing("clean", DIGEST) as folder:
        (folder / "rows").write_bytes(b"whole")
    assert (lake.path("clean", DIGEST) / "rows").read_bytes() == b"whole"


def test_a_lake_of_the_same_process_leaves_its_writers_alone(tmp_path: Path) -> None:
    with Lake(tmp_path).writing("clean", DIGEST) as folder:
        Lake(tmp_path)
        assert folder.is_dir()
    dead = tmp_path / "clean" / f".tmp-{os.getpid()}-00ff"
    dead.mkdir()
    Lake(tmp_path)
    assert not dead.exists()


def test_writers_at_once_leave_one_whole_folder(tmp_path: Path) -> None:
    lake, failures = Lake(tmp_path), list[BaseException]()

    def write(number: int) -> None:
        try:
            with lake.writing("clean", DIGEST) as folder:
                for name in ("a", "b"):
                    (folder / name).write_text(str(number))
        except BaseException as error:  # noqa: BLE001 - carried to the main thread
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    published = lake.path("clean", DIGEST)
    assert (published / "a").read_text() == (published / "b").read_text()
    assert leftovers(tmp_path) == []
