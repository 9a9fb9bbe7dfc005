"""The held-out rows behind a release: the same rows, scores and groups as its figures, and one of them whole."""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from roadworthy import assembly
from roadworthy.errors import UnknownName, UsageError
from roadworthy.views.dashboard import Site, Span
from roadworthy.views.dashboard.quality import HeldOut, held_out, quality_of, release


def asked(site: Site, **words: str) -> HeldOut:
    found = held_out(site, words)
    assert found is not None
    return found


def every_row(site: Site, **words: str) -> list[Any]:
    pages = asked(site, **words).pages
    return [row for page in range(1, pages + 1) for row in asked(site, page=str(page), **words).rows]


def test_they_are_the_rows_that_the_release_was_judged_on(dash: Any) -> None:
    version = dash.site.champion()
    released = {(one.metric, one.slice): one for one in version.evidence.measurements}
    shown = asked(dash.site)
    accuracy = released["accuracy", ""]
    assert (shown.title, shown.among, shown.matching) == (version.title, accuracy.n, accuracy.n)
    assert shown.wrong is not None
    assert 1 - shown.wrong / shown.among == pytest.approx(accuracy.value)
    rows = every_row(dash.site)
    assert len({row.row for row in rows}) == len(rows) == shown.among
    assert sum(bool(row.wrong) for row in rows) == shown.wrong
    off = [1 - row.share if row.truth == "1" else row.share for row in rows]
    assert off == sorted(off, reverse=True)
    assert [row for row in rows if row.wrong] == every_row(dash.site, which="wrong")
    assert len(every_row(dash.site, which="right")) == shown.among - shown.wrong


def test_a_group_holds_the_rows_that_its_figure_is_made_of(dash: Any) -> None:
    now = dash.site.now_us()
    by = quality_of(dash.site, Span.parse({}, now, "7d"), by="accuracy")
    assert by is not None
    compared = 0
    for table in by.groups:
        for group in table.rows:
            if group.release is None:
                continue
            found = asked(dash.site, slice=f"{table.column}={group.name}")
            assert found.matching == group.release.n
            assert found.wrong is not None
            assert 1 - found.wrong / found.matching == pytest.approx(group.release.value)
            compared += 1
    assert compared >= 6


def test_one_row_has_every_value_that_training_saw(dash: Any) -> None:
    row = asked(dash.site, which="wrong").rows[0]
    shown = asked(dash.site, row=str(row.row))
    assert shown.chosen == row
    version = dash.site.champion()
    table = pl.read_parquet(dash.site.lake.path("features", version.lineage["features"]) / "rows.parquet")
    (known,) = table.filter(pl.col("_row") == row.row).drop("_row").rows(named=True)
    values = {one.name: one for one in shown.whole}
    assert values.keys() == known.keys()
    assert values["device"].value == known["device"]
    assert values["converted"].value == row.truth
    assert values["device"].kind == "model input"
    assert "personal" in values["user_id"].kind
    assert values["user_id"].value == known["user_id"]
    (file,) = (dash.folder / "data").iterdir()
    assert values["user_id"].value not in set(pl.read_parquet(file)["user_id"].cast(pl.String))


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ({"slice": "nothing=1"}, UnknownName),
        ({"slice": "nothing"}, UnknownName),
        ({"which": "odd"}, UsageError),
        ({"page": "-1"}, UsageError),
        ({"page": "9" * 40}, UsageError),
        ({"row": "x"}, UsageError),
        ({"row": "999999999"}, UnknownName),
        ({"version": "99"}, UnknownName),
    ],
)
def test_words_that_mean_nothing_are_refused(dash: Any, words: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        held_out(dash.site, words)


def test_a_page_beyond_the_last_is_the_last_and_an_empty_group_is_said(dash: Any) -> None:
    assert asked(dash.site, page="999999999").page == asked(dash.site).pages
    none = asked(dash.site, slice="device=no such group")
    assert (none.matching, none.rows, none.pages) == (0, (), 1)


def test_without_its_stages_a_version_says_why_there_are_no_rows(
    past: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "_remembered", OrderedDict())  # what was read is remembered, by its content
    folder = tmp_path / "clicks"
    shutil.copytree(past, folder)
    shutil.rmtree(folder / ".roadworthy" / "lake" / "train")
    opened = assembly.open_project(folder)
    site = Site(opened.file, opened.spec, opened.standard, opened.settings, assembly.SystemClock())
    found = asked(site)
    assert found.rows == ()
    assert "train" in found.trouble
    site.close()


def test_from_a_requirement_to_its_worst_row_by_keyboard(opened: Callable[..., Any]) -> None:
    shown = opened("/requirements/accuracy_low")
    page = shown.page
    page.get_by_role("link", name="See them, furthest off first").press("Enter")
    page.wait_for_url("**/quality/rows?version=2")
    page.get_by_label("Which", exact=True).select_option("wrong")
    page.get_by_role("button", name="Show").press("Enter")
    page.wait_for_url("**which=wrong*")
    assert page.locator("table.found .badge.ready").count() == 0
    page.locator("table.found tbody th a").first.press("Enter")
    page.wait_for_url("**row=*")
    assert page.locator("#row").get_by_text("model input").count() >= 3
    assert shown.faults() == []
