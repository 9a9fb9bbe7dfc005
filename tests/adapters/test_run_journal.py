"""The journal of a run: whole lines while it runs, one last word, bounded, and never in the way of the run."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.adapters import run_journal
from roadworthy.adapters.run_journal import (
    MOST_RUNS,
    Advanced,
    Began,
    Concluded,
    Ended,
    Epoch,
    Failed,
    StageDone,
    Started,
    Stopped,
    kept_journal,
    read_journal,
    run_ids,
    runs_folder,
)
from roadworthy.errors import DataError, Problem
from roadworthy.records.model import ProgressLine
from roadworthy.records.version import StageRow
from roadworthy.testing import SilentReporter

ROW = StageRow(
    stage="clean", before="5 × 2", after="4 × 2", summary="1 in quarantine", seconds=0.5, reused=False, digest="d"
)
CELL = "patient 4711"


def epoch(step: int) -> ProgressLine:
    return ProgressLine(
        candidate="mlp", step=step, train_loss=1 / step, valid_loss=1.1 / step, train_quality=0.5, valid_quality=0.4
    )


def written(folder: Path) -> str:
    """The id of a journal with a bit of everything."""
    with kept_journal(folder, "clicks", SilentReporter()) as journal:
        journal.begin("clean", 2)
        journal.begin("look", None)
        journal.advance("clean")
        journal.end("look", "nothing")
        journal.line(epoch(1))
        journal.stage(ROW)
        journal.end("clean", "5 × 2 → 4 × 2", reused=True)
    return journal.id


def broken(folder: Path, task: str, error: BaseException) -> str:
    """The id of the journal of a run that breaks while ``task`` is under way."""
    name = ""
    with pytest.raises(type(error)), kept_journal(folder, "clicks", SilentReporter()) as journal:  # noqa: PT012 - the run
        name = journal.id
        journal.begin(task)
        raise error
    return name


def foreign() -> DataError:
    """An error of ours that came of a foreign one."""
    found = DataError("the rows cannot be read")
    found.__cause__ = ValueError(f"cannot parse {CELL}")
    return found


def test_what_a_reporter_hears_is_written_and_passed_on(tmp_path: Path) -> None:
    beside = SilentReporter()
    with kept_journal(tmp_path, "clicks", beside) as journal:
        journal.begin("clean", 2)
        journal.advance("clean")
        during = read_journal(tmp_path, journal.id)
        journal.line(epoch(1))
        journal.stage(ROW)
        journal.end("clean", "done", reused=True)
    after = read_journal(tmp_path, journal.id)

    assert during is not None
    assert during.alive
    assert [type(one) for one in during.events] == [Started, Began, Advanced]
    assert after is not None
    assert not after.alive
    assert [type(one) for one in after.events] == [Started, Began, Advanced, Epoch, StageDone, Ended]
    assert after.events[4] == StageDone(at_us=after.events[4].at_us, row=ROW)
    assert after.events[3] == Epoch(at_us=after.events[3].at_us, line=epoch(1))
    assert (beside.begun, beside.steps, beside.ended) == (["clean"], {"clean": 1}, [("clean", "done", True)])
    assert beside.lines == [epoch(1)]
    assert abs(after.seen_us - time.time() * 1e6) < 60e6


def test_work_inside_work_says_so(tmp_path: Path) -> None:
    journal = read_journal(tmp_path, written(tmp_path))
    assert journal is not None
    assert [(one.task, one.inside) for one in journal.events if isinstance(one, Began)] == [("clean", 0), ("look", 1)]


def test_a_killed_run_is_seen_to_be_dead(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from roadworthy.adapters.run_journal import kept_journal;"
        "from roadworthy.testing import SilentReporter\n"
        "with kept_journal(Path(sys.argv[1]), 'clicks', SilentReporter()) as journal:\n"
        "    journal.begin('train', 3); print(journal.id, flush=True); time.sleep(60)\n"
    )
    running = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    name = running.stdout.readline().strip()
    before = read_journal(tmp_path, name)
    running.send_signal(signal.SIGKILL)
    running.wait(10)
    running.stdout.close()
    after = read_journal(tmp_path, name)

    assert before is not None
    assert before.alive
    assert before.started is not None
    assert before.started.pid == running.pid
    assert after is not None
    assert not after.alive
    assert after.events == before.events
    assert [type(one) for one in after.events] == [Started, Began]


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(min_value=0, max_value=3_000))
def test_a_journal_that_was_torn_anywhere_reads_up_to_there(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("torn")
    name = written(folder)
    file = folder / name / "journal.jsonl"
    whole = read_journal(folder, name)
    content = file.read_bytes()
    kept = content[: min(cut, len(content))]
    file.write_bytes(kept)
    torn = read_journal(folder, name)

    assert whole is not None
    assert torn is not None
    assert torn.events == whole.events[: len(torn.events)]
    assert len(torn.events) >= kept.count(b"\n")
    assert torn.torn == (len(torn.events) < len(kept.splitlines()))


def test_how_it_broke_is_its_last_word(tmp_path: Path) -> None:
    error = DataError("no rows", problems=[Problem("nothing", where="a.csv")], next_step="look at a.csv")
    found = read_journal(tmp_path, broken(tmp_path, "collect", error))
    assert found is not None
    last = found.events[-1]
    assert isinstance(last, Failed)
    assert (last.error, last.message, last.problems) == ("DataError", "no rows", ("a.csv: nothing",))
    assert (last.next_step, last.task) == ("look at a.csv", "collect")
    assert "test_run_journal.py" in last.account
    assert "no rows" in last.account


def test_words_of_foreign_exceptions_are_not_kept(tmp_path: Path) -> None:
    """They may quote cells of personal columns."""
    names = [broken(tmp_path, "collect", foreign()), broken(tmp_path, "collect", KeyError(CELL))]
    for name in names:
        text = (tmp_path / name / "journal.jsonl").read_text()
        assert "Error" in text
        assert CELL not in text
    found = read_journal(tmp_path, names[1])
    assert found is not None
    last = found.events[-1]
    assert isinstance(last, Failed)
    assert last.message == "a fault of Roadworthy's own: KeyError"
    assert "builtins.KeyError" in last.account


def test_a_person_who_stops_it_is_no_failure(tmp_path: Path) -> None:
    found = read_journal(tmp_path, broken(tmp_path, "train", KeyboardInterrupt()))
    assert found is not None
    assert found.events[-1] == Stopped(at_us=found.events[-1].at_us, task="train")


def test_a_journal_that_cannot_be_written_stops_no_run(tmp_path: Path) -> None:
    beside = SilentReporter()
    place = tmp_path / "runs"
    place.write_text("a file where the folder should be")
    with kept_journal(place, "clicks", beside) as journal:
        journal.begin("clean")
        journal.end("clean", "done")
    assert [(task, "is not written down" in words) for task, words, _ in beside.ended] == [
        ("journal", True),
        ("clean", False),
    ]


def test_a_disk_that_fills_up_meanwhile_stops_no_run(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    beside = SilentReporter()
    with kept_journal(tmp_path, "clicks", beside) as journal:
        handle = os.open(full, os.O_WRONLY)
        assert journal._handle is not None
        os.dup2(handle, journal._handle)  # the disk is full from here on
        os.close(handle)
        journal.begin("clean")
        journal.end("clean", "done")
    assert [task for task, _, _ in beside.ended] == ["journal", "clean"]
    assert "No space left" in beside.ended[0][1]


def test_old_runs_go_and_those_that_still_run_stay(tmp_path: Path) -> None:
    names = [f"20260101T{turn // 60:02d}{turn % 60:02d}00Z-00000{turn % 10}" for turn in range(MOST_RUNS + 20)]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "journal.jsonl").write_text("")
    with (tmp_path / names[0] / "journal.jsonl").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with kept_journal(tmp_path, "clicks", SilentReporter()) as journal:
            pass
    kept = run_ids(tmp_path)
    assert kept[0] == journal.id
    assert names[0] in kept
    assert sorted(kept[1:-1]) == names[-(MOST_RUNS - 1) :]


def test_a_long_run_is_bounded_and_its_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_journal, "MOST_BYTES", 8_000)
    with kept_journal(tmp_path, "clicks", SilentReporter()) as journal:
        journal.begin("train")
        for step in range(1, 101):
            journal.line(epoch(step))
        journal.end("train", "best step 7")
    file = tmp_path / journal.id / "journal.jsonl"
    assert file.stat().st_size < 9_000
    found = read_journal(tmp_path, journal.id)
    assert found is not None
    assert isinstance(found.events[-1], Ended)


def test_a_hundred_thousand_steps_are_a_few_lines_and_no_time(tmp_path: Path) -> None:
    with kept_journal(tmp_path, "clicks", SilentReporter()) as journal:
        journal.begin("score", 100_000)
        begun = time.perf_counter()
        for step in range(1, 50_001):
            journal.advance("score")
            journal.line(epoch(step))
        took = time.perf_counter() - begun
        journal.end("score")
    found = read_journal(tmp_path, journal.id)
    assert found is not None
    assert took / 100_000 < 50e-6
    assert len([one for one in found.events if isinstance(one, Epoch)]) < 100 + 3 + 2 * took
    assert [one.line.step for one in found.events if isinstance(one, Epoch)][:100] == list(range(1, 101))
    assert len([one for one in found.events if isinstance(one, Advanced)]) < 3 + 2 * took


def test_a_brief_look_at_a_long_journal_sees_both_ends(tmp_path: Path) -> None:
    with kept_journal(tmp_path, "clicks", SilentReporter()) as journal:
        for turn in range(6_000):
            journal.begin(f"work {turn}")
            journal.end(f"work {turn}")
    brief, whole = (read_journal(tmp_path, journal.id, brief=brief) for brief in (True, False))
    assert brief is not None
    assert whole is not None
    assert brief.started == whole.started
    assert len(brief.events) < len(whole.events) / 2
    assert brief.events[1:] == whole.events[-(len(brief.events) - 1) :]
    assert not brief.torn


@pytest.mark.parametrize("name", ["../secret", "version-3", "20260101T000000Z-zzzzzz", "20260101T000000Z-abcdef"])
def test_no_other_name_is_a_run(tmp_path: Path, name: str) -> None:
    assert read_journal(tmp_path, name) is None


def test_run_keeps_a_journal_that_agrees_with_its_version(finished: Path) -> None:
    """The session's project was run once, by ``api.run``."""
    from roadworthy import assembly  # noqa: PLC0415 - heavy, and only this test needs it

    folder = runs_folder(finished / ".roadworthy" / "lake")
    (name,) = run_ids(folder)[-1:]
    journal = read_journal(folder, name)
    opened = assembly.open_project(finished)
    with assembly.opened_registry(opened, watched=True) as registry:
        version = registry.versions(opened.spec.name)[-1]
    assert journal is not None
    last = journal.events[-1]
    assert isinstance(last, Concluded)
    assert (last.number, last.title, last.sentence) == (version.number, version.title, version.verdict.sentence)
    assert tuple(one.row for one in journal.events if isinstance(one, StageDone)) == version.stages
    assert not journal.alive
