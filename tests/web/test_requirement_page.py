"""A requirement's page: its history is that of the windows' summaries, revisions and bounds of other days included."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from roadworthy import assembly
from roadworthy.errors import UnknownName
from roadworthy.lifecycle import watching
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.records.verdict import Outcome
from roadworthy.records.window import Judged
from roadworthy.stages.watching.whole import _summary
from roadworthy.views.dashboard import Site, Span
from roadworthy.views.dashboard.requirement import RequirementView, requirement_of
from roadworthy.views.dashboard.window import WindowView, window_of
from roadworthy.web.desk import Page
from roadworthy.web.rendering import render

LINE = "accuracy >= 0.6"


@pytest.fixture(scope="module")
def span(dash: Any) -> Span:
    return Span.parse({"span": "7d"}, dash.now_us)


@pytest.fixture(scope="module")
def seen(dash: Any, span: Span) -> RequirementView:
    return requirement_of(dash.site, "accuracy_low", span)


@pytest.fixture(scope="module")
def again(past: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Judged]]:
    """The project with a window that was judged again, worse than at first."""
    folder = tmp_path_factory.mktemp("again") / "clicks"
    shutil.copytree(past, folder)
    opened = assembly.open_project(folder)
    transactions = Transactions(opened.settings.registry)
    with transactions.changing() as connection:
        series = watching.series(connection, "clicks")[0]
        found = [one for one in watching.summaries(connection, "clicks", series) if one.values[LINE][0] is not None]
        first = watching.judged(connection, "clicks", series, found[-1].number)
        verdicts = tuple(
            msgspec.structs.replace(
                one, outcome=Outcome.FAIL, measurement=msgspec.structs.replace(one.measurement, value=0.25)
            )
            if one.requirement == LINE and one.measurement is not None
            else one
            for one in first.verdict.requirements
        )
        second = msgspec.structs.replace(
            first, revision=1, verdict=msgspec.structs.replace(first.verdict, requirements=verdicts)
        )
        watching.add(connection, second, _summary(second, ()), None)
    transactions.close()
    site = Site(opened.file, opened.spec, opened.standard, opened.settings, assembly.SystemClock())
    yield site, first
    site.close()


def value_of(judged: Judged) -> float | None:
    (verdict,) = [one for one in judged.verdict.requirements if one.requirement == LINE]
    return None if verdict.measurement is None else verdict.measurement.value


def test_the_history_is_that_of_the_windows(dash: Any, span: Span, seen: RequirementView) -> None:
    with dash.site.reading() as connection:
        series = dash.site.series(connection)
        within = watching.summaries(connection, "clicks", series, since_us=span.since_us, until_us=span.until_us)
    assert seen.windows == len(within)
    assert seen.over is not None
    assert seen.over.columns["value"] == [one.values[LINE][0] for one in within]
    assert seen.over.columns["lower"] == [one.values[LINE][1] for one in within]
    known = ["estimated" if LINE in one.estimated else "measured" for one in within]
    assert seen.over.columns["known"] == known
    assert set(known) == {"estimated", "measured"}
    assert seen.outcomes == {
        word: count
        for word in map(str, Outcome)
        if (count := sum(one.outcomes[LINE] == word for one in within if one.rows))
    }


def test_every_phase_says_what_was_judged(dash: Any, seen: RequirementView) -> None:
    (asked,) = seen.asked
    assert asked.line == LINE
    assert asked.origin.startswith("roadworthy.toml:")
    release = next(one for one in dash.site.champion().verdict.requirements if one.requirement == LINE)
    assert asked.cells[0].row is not None
    assert asked.cells[0].row.verdict == release
    assert asked.cells[0].row.at_least == 0.6
    assert asked.cells[1].words == "no rollout"
    assert seen.looks == dash.site.champion().evidence.looks


def test_versions_keep_the_bound_that_they_were_judged_by(dash: Any, seen: RequirementView) -> None:
    by_number = {one.version.number: one for one in seen.versions}
    for version in dash.site.versions():
        (verdict,) = [one for one in version.verdict.requirements if one.requirement.startswith("accuracy >= ")]
        row = by_number[version.number].row
        assert row.verdict == verdict
        assert row.at_least == float(verdict.requirement.removeprefix("accuracy >= "))
    assert [one.serves for one in seen.versions] == [True, False]
    assert len({one.row.at_least for one in seen.versions}) == 2


def test_groups_stand_beside_each_other(dash: Any, span: Span) -> None:
    view = requirement_of(dash.site, "recall:device_low", span)
    release = {
        one.slice: one.value
        for one in dash.site.champion().evidence.measurements
        if one.metric == "recall" and one.slice.startswith("device=") and one.value is not None
    }
    shown = {
        one.slice: one.release.verdict.measurement.value
        for one in view.slices
        if one.release is not None and one.release.verdict.measurement is not None and one.slice in release
    }
    assert release
    assert shown == release
    assert view.slice == "device"


def test_a_key_that_nobody_asked_for_is_named(dash: Any, span: Span) -> None:
    with pytest.raises(UnknownName) as refused:
        requirement_of(dash.site, "acuracy_low", span)
    assert "accuracy_low" in str(refused.value)


def test_a_revision_stands_beside_the_first_judgement(again: tuple[Site, Judged]) -> None:
    site, first = again
    view = requirement_of(site, "accuracy_low", Span.parse({"span": "7d"}, site.now_us()))
    (revised,) = view.revised
    assert (revised.number, revised.revision) == (first.window.number, 1)
    assert revised.first == value_of(first)
    assert (revised.last, revised.last_outcome) == (0.25, "fail")
    assert view.over is not None
    before = [value for value in view.over.columns["judged at first"] if value is not None]
    assert before == [value_of(first)]


def test_all_revisions_of_a_window_stand_side_by_side(again: tuple[Site, Judged]) -> None:
    site, first = again
    view = window_of(site, first.window.series, first.window.number)
    assert [one.number for one in view.revisions] == [0, 1]
    changed = [one for one in view.revised if one.changed]
    assert [one.line for one in changed] == [LINE]
    assert view.revised[0] == changed[0]
    values = [one.row.verdict.measurement.value for one in changed[0].rows if one and one.row.verdict.measurement]
    assert values == [value_of(first), 0.25]
    assert "It misses accuracy >= 0.6" in view.sentence
    assert view.lines[0].key == "accuracy_low"


def window_seen(dash: Any) -> tuple[WindowView, Judged]:
    with dash.site.reading() as connection:
        series = dash.site.series(connection)
        alarmed = [one for one in watching.summaries(connection, "clicks", series) if one.alarms and one.rows]
        judged = watching.judged(connection, "clicks", series, alarmed[-1].number)
    return window_of(dash.site, series, judged.window.number), judged


def test_a_window_tells_what_became_of_its_rows_and_what_moved(dash: Any) -> None:
    view, judged = window_seen(dash)
    counts = {one.words: one.rows for one in view.counts}
    assert counts["rows"] == judged.counts["rows"]
    assert (
        counts["labelled"] + counts.get("waiting for a label", 0) + counts.get("answered by other versions", 0)
        == counts["rows"]
    )
    assert sorted(one.row.verdict.requirement for one in view.lines) == sorted(
        one.requirement for one in judged.verdict.requirements
    )
    ps = [one.p or 0.0 for one in (*view.moved, *view.still)]
    assert ps == sorted(ps)
    assert view.moved[0].subject == "device"
    assert all(one.p is not None and one.p <= 0.01 for one in view.moved)
    assert len(view.moved) + len(view.still) + len(view.silent) + view.left_out == len(judged.shifts)
    assert {one.rule: bool(one.alert) for one in view.alarms} == dict.fromkeys((one.rule for one in view.alarms), True)
    assert view.before == view.number - 1


def test_a_window_that_nobody_judged_is_named(dash: Any) -> None:
    with dash.site.reading() as connection:
        series = dash.site.series(connection)
    for wrong, number in ((series, 3), ("2 h", 3), ("\0", 3)):
        with pytest.raises(UnknownName):
            window_of(dash.site, wrong, number)


def test_foreign_words_stay_words(dash: Any, span: Span) -> None:
    seen = requirement_of(dash.site, "recall:device_low", span)
    bad = "<script>alert(1)</script>\u202e" + "x" * 10_000
    first = seen.slices[0]
    named = msgspec.structs.replace(first, slice=f"device={bad}")
    hostile = msgspec.structs.replace(seen, slice=bad, key=f"recall:{bad}_low", slices=(named,))
    window, _ = window_seen(dash)
    moved = msgspec.structs.replace(window.moved[0], sentence=bad, subject=bad)
    torn = msgspec.structs.replace(window, moved=(moved,), notes=(bad,), version=bad)
    for name, shown in (("requirement", {"view": hostile, "span": span}), ("window", {"view": torn})):
        text = page_text(Page(f"{name}.html.j2", bad, shown), dash.site)
        assert "<script>alert" not in text
        assert "\u202e" not in text
        assert "x" * 3_000 not in text.replace(quote(bad), "")


def page_text(answer: Page, site: Site) -> str:
    return render(
        answer.template,
        **answer.shown,
        page=answer,
        section="overview",
        person="",
        project=site.name,
        banner=None,
        now_us=site.now_us(),
        path="/",
        said="",
    )


def test_a_window_leads_to_its_rows_and_its_neighbours(opened: Callable[..., Any], dash: Any) -> None:
    view, _ = window_seen(dash)
    page = opened(f"/windows/{view.series}/{view.number}", width=390).page
    href = page.get_by_role("link", name="look at its rows").get_attribute("href")
    span = Span.parse(dict(part.split("=", 1) for part in href.partition("?")[2].split("&")), dash.now_us)
    assert (span.since_us, span.until_us) == (view.start_us, view.end_us)
    page.get_by_role("link", name="← before").click()
    page.wait_for_url(f"**/{view.before}")
    assert page.locator("h1").inner_text().startswith("Window until")


def test_a_span_is_a_link(opened: Callable[..., Any]) -> None:
    page = opened("/requirements/accuracy_low", width=390, scheme="dark").page
    page.get_by_role("link", name="24h", exact=True).press("Enter")
    page.wait_for_url("**/requirements/accuracy_low?span=24h")
    assert page.get_by_role("heading", name="Over windows, last 24 hours").is_visible()
