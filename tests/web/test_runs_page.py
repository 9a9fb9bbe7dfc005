"""Runs: what the pages say of a run is what its journal, its version and the lake say."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from roadworthy import api, assembly
from roadworthy.adapters.run_journal import RunJournal, kept_journal, read_journal, run_ids, runs_folder
from roadworthy.errors import DataError, Problem, SourceError, StorageError, UnknownName
from roadworthy.records.model import ProgressLine
from roadworthy.records.version import StageRow
from roadworthy.testing import SilentReporter
from roadworthy.views.dashboard import Site
from roadworthy.views.dashboard.runs import RunState, StageState, run, runs
from roadworthy.views.dashboard.runs.telling import STAGES

HOSTILE = "<script>alert(1)</script>\u202egnp"


@contextmanager
def looked_at(folder: Path) -> Iterator[Site]:
    """The site of a project."""
    opened = assembly.open_project(folder)
    site = Site(opened.file, opened.spec, opened.standard, opened.settings, assembly.SystemClock())
    try:
        yield site
    finally:
        site.close()


def row(stage: str, *, reused: bool = False) -> StageRow:
    return StageRow(
        stage=stage,
        before="9 × 3",
        after="8 × 3",
        summary=f"{stage} did it",
        seconds=1.5,
        reused=reused,
        digest=f"sha256:{'0' * 64}",
    )


def train(journal: RunJournal, steps: int) -> None:
    """A run on its way: two stages done, the third training its candidate."""
    for stage in ("collect", "clean"):
        journal.begin(stage, 1)
        journal.stage(row(stage, reused=stage == "collect"))
        journal.end(stage, "9 × 3 → 8 × 3", reused=stage == "collect")
    journal.begin("train")
    journal.begin("train mlp", 4)
    journal.advance("train mlp")
    for step in range(1, steps + 1):
        journal.line(
            ProgressLine(
                candidate="mlp",
                step=step,
                train_loss=1 / step,
                valid_loss=1.2 / step,
                train_quality=0.6,
                valid_quality=0.5,
            )
        )


@pytest.fixture
def copied(copied: Path) -> Path:
    """With the journal of its first run alone: other tests of the session ran the finished project again."""
    folder = runs_folder(copied / ".roadworthy" / "lake")
    for later in run_ids(folder)[:-1]:
        shutil.rmtree(folder / later)
    return copied


def test_a_finished_run_is_told_as_its_version_and_its_rows_are(copied: Path) -> None:
    with looked_at(copied) as site:
        listed, version = runs(site), site.versions()[0]
        told = run(site, listed.rows[0].id)
    assert [(one.state, one.number, one.title) for one in listed.rows] == [(RunState.DONE, 1, version.title)]
    assert listed.rows[0].sentence == version.verdict.sentence
    assert [stage.name for stage in told.stages] == list(STAGES)
    for stage, known in zip(told.stages, version.stages, strict=True):
        assert (stage.before, stage.after, stage.summary) == (known.before, known.after, known.summary)
        assert (stage.state, stage.seconds) == (StageState.DONE, known.seconds)
    lake = copied / ".roadworthy" / "lake"
    aside = pl.read_parquet(next((lake / "clean").glob("*/quarantine.parquet")))
    came = pl.read_parquet(next((lake / "collect").glob("*/rows.parquet")))
    assert told.dropped == aside.height > 0
    assert told.rows_in == came.height
    counted = aside["_reasons"].explode().value_counts()
    assert told.reasons == dict(counted.iter_rows())
    assert [one.title for one in told.pictures] == ["How mlp learned"]
    assert "train mlp" in [part.name for part in told.stages[3].parts]


def test_a_run_without_its_journal_is_told_by_its_version(copied: Path) -> None:
    with looked_at(copied) as site:
        before = run(site, runs(site).rows[0].id)
    shutil.rmtree(runs_folder(copied / ".roadworthy" / "lake"))
    with looked_at(copied) as site:
        listed = runs(site)
        told = run(site, "version-1")
    assert [one.id for one in listed.rows] == ["version-1"]
    assert not told.kept
    assert [(one.name, one.before, one.after, one.seconds) for one in told.stages] == [
        (one.name, one.before, one.after, one.seconds) for one in before.stages
    ]
    assert (told.reasons, told.pictures) == (before.reasons, before.pictures)


def test_a_lake_that_was_cleaned_leaves_the_run_readable(copied: Path) -> None:
    for stage in set((copied / ".roadworthy" / "lake").iterdir()) - {runs_folder(copied / ".roadworthy" / "lake")}:
        shutil.rmtree(stage)
    with looked_at(copied) as site:
        told = run(site, runs(site).rows[0].id)
    assert told.dropped is None
    assert told.stages[1].summary.startswith("30 in quarantine")


def test_a_record_that_cannot_be_read_is_told_with_its_place(copied: Path) -> None:
    with looked_at(copied) as site:
        (version,) = site.versions()
        folder = site.lake.path("clean", version.lineage["clean"])
        (folder / "record.json").write_text('{"rows_in": "many"}')
        with pytest.raises(StorageError, match="what the stage clean kept cannot be read") as caught:
            run(site, runs(site).rows[0].id)
    assert str(folder / "record.json") in caught.value.problems[0].where
    assert str(folder) in caught.value.next_step


def test_a_failed_run_says_what_people_were_told(copied: Path) -> None:
    (copied / "data" / "clicks.parquet").unlink()
    with pytest.raises(SourceError) as told_then:
        api.run(copied)
    with looked_at(copied) as site:
        listed = runs(site)
        told = run(site, listed.rows[0].id)
    first = listed.rows[0]
    assert (first.state, first.number) == (RunState.FAILED, 0)
    assert first.sentence.startswith(told_then.value.message)
    assert told.failure is not None
    assert told.failure.message == told_then.value.message
    assert told.failure.problems == tuple(map(str, told_then.value.problems))
    assert told.failure.next_step == told_then.value.next_step
    assert "roadworthy/adapters/sources" in told.failure.account
    assert [one.number for one in listed.rows] == [0, 1]


def test_a_run_on_its_way_is_told_as_far_as_it_is(copied: Path) -> None:
    with (
        looked_at(copied) as site,
        kept_journal(runs_folder(copied / ".roadworthy" / "lake"), "clicks", SilentReporter()) as journal,
    ):
        train(journal, 30)
        listed = runs(site)
        told = run(site, journal.id)
    assert listed.running
    assert (listed.rows[0].state, listed.rows[0].stage) == (RunState.RUNNING, "train")
    states = [one.state for one in told.stages]
    assert states[:5] == [
        StageState.REUSED,
        StageState.DONE,
        StageState.WAITING,
        StageState.RUNNING,
        StageState.WAITING,
    ]
    (part,) = told.stages[3].parts
    assert (part.name, part.seconds, part.share) == ("train mlp", None, 0.25)
    (picture,) = told.pictures
    assert picture.columns["step"] == list(range(1, 31))
    assert picture.columns["valid_loss"][-1] == pytest.approx(1.2 / 30)


@pytest.mark.parametrize(
    ("error", "state", "sentence"),
    [
        (DataError("no rows", problems=[Problem("none")]), RunState.FAILED, "no rows: none"),
        (KeyboardInterrupt(), RunState.STOPPED, "A person stopped it."),
        (None, RunState.DEAD, "It ended without a word: its process was killed, or the machine went down."),
    ],
    ids=["failed", "stopped", "dead"],
)
def test_how_a_run_can_end_early(copied: Path, error: BaseException | None, state: RunState, sentence: str) -> None:
    journal = RunJournal(SilentReporter())
    journal.open(runs_folder(copied / ".roadworthy" / "lake"), "clicks")
    train(journal, 3)
    if error is not None:
        journal.broke(error)
    journal.close()
    with looked_at(copied) as site:
        first, told = runs(site).rows[0], run(site, journal.id)
    assert (first.state, first.sentence, first.stage) == (state, sentence, "train")
    assert told.stages[3].state is StageState.BROKE
    assert told.stages[4].state is StageState.WAITING


def test_many_runs_are_listed_by_the_page(copied: Path) -> None:
    """Finished ones are read once."""
    folder = runs_folder(copied / ".roadworthy" / "lake")
    (name,) = run_ids(folder)
    for turn in range(59):
        shutil.copytree(folder / name, folder / f"2020{turn // 28 + 1:02d}{turn % 28 + 1:02d}T000000Z-000000")
    with looked_at(copied) as site:
        first, last = runs(site), runs(site, 99)
    assert (len(first.rows), first.pages, first.page) == (25, 3, 1)
    assert (len(last.rows), last.page) == (10, 3)
    assert first.rows[0].started_us >= last.rows[-1].started_us


@pytest.mark.parametrize("name", ["../../keys", "version-99", "version-x", "20260101T000000Z-abcdef"])
def test_no_other_name_is_a_run(copied: Path, name: str) -> None:
    with looked_at(copied) as site, pytest.raises(UnknownName, match="unknown run"):
        run(site, name)


def test_a_project_that_never_ran_has_an_empty_list(project: Path) -> None:
    with assembly.opened_registry(assembly.open_project(project)):
        pass  # made, and empty
    with looked_at(project) as site:
        assert runs(site).rows == ()


# --- the pages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_from_the_list_to_a_run_and_why_rows_were_dropped(
    opened: Callable[..., Any], dash: Any, width: int, scheme: str
) -> None:
    one = opened("/runs", width=width, scheme=scheme)
    assert one.faults() == []
    one.page.locator(".runs-list tbody a").first.click()
    one.page.wait_for_url("**/runs/2*")
    assert one.page.locator(".run-stage h3").all_inner_texts() == list(STAGES)
    one.page.get_by_role("link", name="rows were set aside: why").click()
    name = next(iter(run_ids(runs_folder(dash.folder / ".roadworthy" / "lake"))))
    told = run(dash.site, name)
    reason, count = next(iter(told.reasons.items()))
    table = one.page.locator("section[aria-labelledby=dropped] .pairs").first.inner_text()
    assert reason in table
    assert str(count) in table
    assert one.faults() == []


def test_a_run_is_watched_while_it_goes_and_hostile_words_are_text(opened: Callable[..., Any], dash: Any) -> None:
    folder = runs_folder(dash.folder / ".roadworthy" / "lake")
    journal = RunJournal(SilentReporter())
    journal.open(folder, "clicks")
    try:
        train(journal, 5)
        one = opened(f"/runs/{journal.id}")
        page = one.page
        assert "running" in page.locator(".run-state").inner_text()
        assert page.locator("progress").first.get_attribute("value") == "25"
        assert page.locator(".run-trainings figure").count() == 1
        journal.end("train mlp", HOSTILE)
        page.locator(".run-parts", has_text="<script>").wait_for(timeout=60_000)
        journal.broke(DataError(HOSTILE, problems=[Problem(HOSTILE * 300)], next_step=HOSTILE))
        journal.close()
        page.locator(".trouble").wait_for(timeout=60_000)
        assert "<script>" in page.locator(".trouble").inner_text()
        assert "\u202e" not in page.content()
        assert page.locator("script:not([src])").count() == 0
        assert one.faults() == []
    finally:
        journal.close()
        assert read_journal(folder, journal.id) is not None
        shutil.rmtree(folder / journal.id)


def test_a_run_that_is_not_there_is_told(opened: Callable[..., Any]) -> None:
    one = opened("/runs/20260101T000000Z-abcdef", status=404)
    assert "unknown run" in one.page.locator("#main").inner_text()
