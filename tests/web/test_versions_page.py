"""The versions page: figures are those of the registry, two are compared on the same rows, a report keeps its look."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from roadworthy import assembly
from roadworthy.records.model import TrainedModel
from roadworthy.views.dashboard import Site
from roadworthy.views.dashboard.versions import beside, version_list, version_sheet
from roadworthy.views.dashboard.versions import pairing as pairs


def measured(site: Site, number: int, metric: str) -> float | None:
    found = site.version(number).evidence.measurements
    return next(one.value for one in found if one.metric == metric and not one.slice and not one.check)


def test_the_table_has_what_the_registry_has(dash: Any) -> None:
    shown = version_list(dash.site)
    assert [row.number for row in shown.rows] == [2, 1]
    assert shown.champion == 2
    assert shown.rows[0].mark == "in service"
    for row in shown.rows:
        for metric in shown.metrics:
            assert row.figures[metric].value == measured(dash.site, row.number, metric)
        assert row.size == measured(dash.site, row.number, "size")


def test_a_version_shows_every_epoch_and_what_it_shares(dash: Any) -> None:
    site = dash.site
    sheet = version_sheet(site, 2)
    folder = site.lake.path("train", site.version(2).lineage["train"])
    trained = msgspec.json.decode((folder / "record.json").read_bytes(), type=TrainedModel)
    learned = [one for one in trained.candidates if one.lines]
    assert len(sheet.curves) == len(learned) > 0
    first = next(one for one in learned if one.name == sheet.chosen)
    assert {len(values) for values in sheet.curves[0].columns.values()} == {len(first.lines)}
    shared = {link.stage: link.shared for link in sheet.lineage}
    assert shared["collect"] == (1,)
    assert shared["train"] == ()
    assert {row.verdict.requirement for row in sheet.requirements} == {
        one.requirement for one in site.version(2).verdict.requirements
    }


def test_two_versions_are_compared_on_the_same_rows(dash: Any) -> None:
    site = dash.site
    shown = beside(site, 1, 2)
    assert shown.quality.differences
    for one in shown.quality.differences:
        assert one.first == pytest.approx(measured(site, 1, one.metric), rel=1e-5)
        assert one.second == pytest.approx(measured(site, 2, one.metric), rel=1e-5)
    lead = shown.quality.differences[0]
    assert lead.clusters > 0
    assert ("that is proven" in shown.quality.sentence) == (lead.better > 0)
    turned = beside(site, 2, 1).quality
    assert turned.differences[0].value == pytest.approx(-lead.value)
    data = {one.words: one for one in shown.data}
    assert data["snapshot"].same
    assert any(not one.same for one in shown.model)
    assert any(line.text.startswith("recall") for line in shown.standard)
    assert {line.sign for line in shown.standard} == {"+", "-"}


def test_other_held_out_rows_prove_nothing(dash: Any) -> None:
    site = dash.site
    first, second = site.version(1), site.version(2)
    other = msgspec.structs.replace(
        second, digest="sha256:0", evidence=msgspec.structs.replace(second.evidence, holdout="sha256:feed")
    )
    found = pairs.paired(site, first, other)
    assert (found.better, found.differences) == (0, ())
    assert found.sentence.startswith("Which is better is not proven.")
    assert "judged on different rows" in found.why


def test_what_the_lake_lost_is_said(past: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clicks"
    shutil.copytree(past, folder)
    opened = assembly.open_project(folder)
    site = Site(opened.file, opened.spec, opened.standard, opened.settings, assembly.SystemClock())
    shutil.rmtree(site.lake.path("train", site.version(2).lineage["train"]))
    shutil.rmtree(site.lake.path("report", site.version(2).report))
    sheet = version_sheet(site, 2)
    assert "no record of its training" in sheet.missing
    assert not sheet.has_report
    shown = beside(site, 1, 2)
    assert "no longer holds the scores of clicks-2" in shown.quality.why
    site.close()


def test_from_the_table_to_two_side_by_side(opened: Callable[..., Any]) -> None:
    shown = opened("/versions")
    page = shown.page
    page.get_by_label("Compare version").select_option("1")
    page.get_by_label("with version").select_option("2")
    page.get_by_label("with version").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/versions/1/beside/2")
    assert page.locator("#main .lead").first.inner_text()
    assert page.get_by_role("region", name="Quality of both on the same rows").get_by_role("row").count() == 7
    assert shown.faults() == []
    assert shown.overflowing() == []


def test_the_report_is_shown_as_it_was_made(opened: Callable[..., Any]) -> None:
    page = opened("/versions/2").page
    with page.expect_response("**/report") as answer:
        page.get_by_role("link", name="Full report").click()
    assert "style-src 'unsafe-inline'" in answer.value.headers["content-security-policy"]
    assert "script-src" not in answer.value.headers["content-security-policy"]
    page.wait_for_selector(".requirements")
    assert page.evaluate("getComputedStyle(document.querySelector('.requirement')).display") == "grid"


@pytest.mark.parametrize("width", [390, 1440])
def test_one_version_fits_and_can_be_read_by_everybody(opened: Callable[..., Any], width: int) -> None:
    shown = opened("/versions/2", width=width, scheme="dark")
    assert shown.overflowing() == []
    assert shown.faults() == []


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [("/versions/9", 404, "unknown version"), ("/versions/1/beside/1", 400, "is one version")],
    ids=["unknown", "one"],
)
def test_words_that_name_no_version_are_told(opened: Callable[..., Any], path: str, status: int, said: str) -> None:
    assert said in opened(path, status=status).page.locator("#main").inner_text()
