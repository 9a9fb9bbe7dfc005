"""The overview and the ML Test Score: what they say is what the records say, the worst first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from roadworthy import assembly
from roadworthy.lifecycle import watching
from roadworthy.lifecycle.alerts.rows import open_alerts
from roadworthy.measures.alarms.thresholds import rule_of
from roadworthy.measures.heartbeat import Health
from roadworthy.records.alert import Alert, AlertState, Severity, Sighting
from roadworthy.records.evidence import Phase
from roadworthy.records.verdict import Outcome, Readiness, Waiver
from roadworthy.standard import Requirement
from roadworthy.views.dashboard import Site
from roadworthy.views.dashboard.overview import Overview, gravest_first, live_of, overview_of
from roadworthy.views.dashboard.overview_state import Facts, state_of
from roadworthy.views.dashboard.requirement_cells import bound_in, is_same, live_cell, release_cell, standard_of
from roadworthy.views.dashboard.test_score import score_in, score_of
from roadworthy.web.desk import Asked, Desk, Page
from roadworthy.web.pages.overview import DOORS
from roadworthy.web.rendering import render

HOUR_US = 3_600_000_000


def site_of(folder: Path) -> Site:
    opened = assembly.open_project(folder)
    with assembly.opened_registry(opened):
        pass
    return Site(opened.file, opened.spec, opened.standard, opened.settings, assembly.SystemClock())


@pytest.fixture(scope="module")
def seen(dash: Any) -> Overview:
    return overview_of(dash.site)


@pytest.fixture(scope="module")
def facts(seen: Overview) -> Facts:
    """The project as it would be if nothing fired and its newest window had just ended."""
    assert seen.champion is not None
    assert seen.live is not None
    assert seen.live.window is not None
    quiet = msgspec.structs.replace(
        seen.live.window,
        verdict=msgspec.structs.replace(
            seen.live.window.verdict,
            requirements=tuple(
                msgspec.structs.replace(one, outcome=Outcome.PASS) for one in seen.live.window.verdict.requirements
            ),
        ),
    )
    return Facts(
        champion=seen.champion,
        readiness=Readiness.READY,
        window=quiet,
        alerts=(),
        pulse=Health.WELL,
        watching="the monitor finished a round 1 s ago",
        now_us=quiet.window.until.at_us + HOUR_US,
        length_s=3_600,
    )


def alert(number: int, severity: Severity, state: AlertState = AlertState.FIRING, **evidence: Any) -> Alert:
    sighting = Sighting(source="1 h/1", at_us=1, sentence="score fell (p = 1e-9, effect 0.4)", evidence=evidence)
    return Alert(
        project="clicks",
        number=number,
        rule="accuracy_low",
        group="quality",
        severity=severity,
        state=state,
        first=sighting,
        worst=sighting,
        last=sighting,
        opened_us=1,
        changed_us=1,
        heard_us=1,
        known_us=1,
    )


def test_every_requirement_stands_in_three_phases_as_it_was_judged(dash: Any, seen: Overview) -> None:
    champion = dash.site.champion()
    standard, fault = standard_of(dash.site, champion)
    assert fault == ""
    assert standard.digest() == dash.site.standard.digest()
    assert sorted(line.line for line in seen.lines) == sorted(one.line() for one in standard.requirements)
    release = {one.requirement: one for one in champion.verdict.requirements}
    with dash.site.reading() as connection:
        series = dash.site.series(connection)
        own = [
            one for one in watching.summaries(connection, "clicks", series) if one.rows and one.version == "clicks-2"
        ]
        window = watching.judged(connection, "clicks", series, own[-1].number)
    live = {one.requirement: one for one in window.verdict.requirements}
    for line in seen.lines:
        at_release, in_rollout, on_traffic = line.cells
        assert [cell.phase for cell in line.cells] == list(Phase)
        assert (at_release.row and at_release.row.verdict) == release.get(line.line)
        assert at_release.asked is (line.line in release)
        assert (on_traffic.row and on_traffic.row.verdict) == live.get(line.line)
        assert in_rollout.row is None
        assert in_rollout.words in {"no rollout", "not asked in a rollout"}


def test_the_worst_stands_first(seen: Overview) -> None:
    urgencies = [line.urgency for line in seen.lines]
    assert urgencies == sorted(urgencies)
    assert len(set(urgencies)) > 1


def test_the_strip_counts_what_windows_came_to(dash: Any, seen: Overview) -> None:
    with dash.site.reading() as connection:
        newest = watching.summaries(connection, "clicks", dash.site.series(connection))[-48:]
    assert [one.number for one in seen.strip] == [one.number for one in newest]
    for mark, one in zip(seen.strip, newest, strict=True):
        outcomes = list(one.outcomes.values())
        assert mark.proven == outcomes.count("pass")
        assert mark.missed == outcomes.count("fail") + outcomes.count("error")
        assert mark.judged == len(outcomes)
        assert mark.alarms == len(one.alarms)
    assert any(mark.alarms for mark in seen.strip)


def test_open_alerts_stand_on_top(dash: Any, seen: Overview) -> None:
    with dash.site.reading() as connection:
        there = [one for one in open_alerts(connection, "clicks") if one.state is not AlertState.PENDING]
    assert len(seen.alerts) + seen.more_alerts == len(there)
    ranked = gravest_first([alert(1, Severity.TICKET), alert(2, Severity.PAGE, AlertState.ACKNOWLEDGED),
                            alert(3, Severity.PAGE), alert(4, Severity.TICKET)])  # fmt: skip
    assert [one.number for one in ranked] == [3, 4, 1, 2]


def test_a_waiver_that_ended_excuses_nothing(dash: Any) -> None:
    version = dash.site.champion()
    item = Requirement(metric="accuracy", at_least=0.999)
    judged = version.verdict.requirements[0]
    waiver = Waiver(requirement=item.line(), person="Ada", reason="known", expires="2026-01-31")
    waived = msgspec.structs.replace(judged, requirement=item.line(), outcome=Outcome.WAIVED, waiver=waiver)
    version = msgspec.structs.replace(version, verdict=msgspec.structs.replace(version.verdict, requirements=(waived,)))
    day_us = 86_400_000_000
    last_day_us = 20_484 * day_us  # 2026-01-31
    held = release_cell(item, version, last_day_us + day_us - 1)
    ended = release_cell(item, version, last_day_us + day_us)
    assert held.outcome is Outcome.WAIVED
    assert ended.outcome is Outcome.FAIL
    assert "ended on 2026-01-31" in ended.words


def test_what_was_known_last_stands_where_the_newest_window_knows_nothing(seen: Overview) -> None:
    assert seen.live is not None
    item = Requirement(metric="accuracy", at_least=0.6)
    windows = seen.live.own
    cell = live_cell(item, None, windows, 0, why="no live traffic yet")
    known = [one for one in windows if one.values[item.line()][0] is not None]
    assert cell.known is not None
    assert (cell.known.number, cell.known.value) == (known[-1].number, known[-1].values[item.line()][0])


def test_windows_of_another_version_are_not_its_own(dash: Any) -> None:
    with dash.site.reading() as connection:
        live = live_of(dash.site, connection, dash.site.version(1))
    assert live.newest
    assert (live.own, live.window) == ((), None)
    assert live.why == "no live traffic of clicks-1 yet"


def test_lines_of_another_bound_ask_for_the_same() -> None:
    by_group = Requirement(metric="recall", at_least=0.7, slice="device")
    assert is_same("recall >= 0.9 for every device", by_group)
    assert not is_same("recall >= 0.9", by_group)
    assert not is_same("recall <= 0.9 for every device", by_group)
    assert bound_in("size <= 5 MB", "size") == 5e6


def test_well_is_said_only_where_nothing_is_missed_and_somebody_watches(facts: Facts) -> None:
    well = state_of(facts)
    assert well.grade == "ready"
    assert well.sentence.startswith("clicks-2 does what is required: no alert fires")
    assert facts.window is not None
    verdicts = facts.window.verdict.requirements
    missed = msgspec.structs.replace(
        facts.window,
        verdict=msgspec.structs.replace(
            facts.window.verdict,
            requirements=(msgspec.structs.replace(verdicts[0], outcome=Outcome.FAIL), *verdicts[1:]),
        ),
    )
    worse = {
        "fault": msgspec.structs.replace(facts, fault="a byte differs"),
        "paged": msgspec.structs.replace(facts, alerts=(alert(7, Severity.PAGE),)),
        "release": msgspec.structs.replace(facts, readiness=Readiness.NOT_READY),
        "ticket": msgspec.structs.replace(facts, alerts=(alert(7, Severity.TICKET),)),
        "taken": msgspec.structs.replace(facts, alerts=(alert(7, Severity.PAGE, AlertState.ACKNOWLEDGED),)),
        "stopped": msgspec.structs.replace(facts, pulse=Health.STALLED, watching="the monitor has stopped"),
        "missed": msgspec.structs.replace(facts, window=missed),
        "silent": msgspec.structs.replace(facts, now_us=facts.now_us + 4 * HOUR_US),
        "never": msgspec.structs.replace(facts, window=None),
    }
    said = {name: state_of(one) for name, one in worse.items()}
    assert {name for name, one in said.items() if one.grade == "bad"} == {"fault", "paged", "release"}
    assert all(one.grade == "open" for name, one in said.items() if name not in {"fault", "paged", "release"})
    assert "a byte differs" in said["fault"].sentence
    assert "misses " + verdicts[0].requirement in said["missed"].sentence
    assert "no traffic since" in said["silent"].sentence
    assert said["never"].command == "roadworthy up"
    assert "Nobody knows how clicks-2 does right now: the monitor has stopped." in said["stopped"].sentence


def test_the_sentence_says_what_an_alert_is_about(facts: Facts) -> None:
    one = alert(7, Severity.PAGE, requirement="latency_p99 <= 50 ms", value=1_834.2)
    two = msgspec.structs.replace(facts, alerts=(one, alert(8, Severity.TICKET)))
    assert state_of(two).sentence == (
        "clicks-2 needs a look now: 2 alerts fire, the gravest: latency p99 is 1.83 s where at most 50 ms is required."
    )
    drifted = msgspec.structs.replace(facts, alerts=(alert(9, Severity.TICKET),))
    assert state_of(drifted).sentence.endswith("an alert fires: score fell.")


def test_the_score_is_its_least_section_and_says_what_raises_it(dash: Any, seen: Overview) -> None:
    score = score_of(dash.site)
    assert score is not None
    assert score == seen.score
    exhibit = next(one for one in dash.site.champion().evidence.exhibits if one.name == "ml_test_score")
    assert sum(part.points for part in score.parts) == sum(exhibit.columns["points"])
    assert score.score == min(part.points for part in score.parts)
    assert sum(len(part.tests) for part in score.parts) == 28
    deciding = {one.test for part in score.parts if part.decides for one in part.tests if one.points < 1}
    assert {one.test for one in score.first} == deciding
    assert all(one.earn or one.sign.startswith("roadworthy attest ml-test-score:") for one in score.first)
    named = {anchor.words: anchor.key for part in score.parts for one in part.tests for anchor in one.anchors}
    assert named["measurement:latency_p99"] == "latency_p99_high"
    bare = msgspec.structs.replace(score.version, evidence=msgspec.structs.replace(score.version.evidence, exhibits=()))
    assert score_in(bare, dash.site.standard) is None


def test_before_any_version_it_says_what_to_do(finished: Path, tmp_path: Path) -> None:
    for name in ("roadworthy.toml", "data"):
        (tmp_path / name).symlink_to(finished / name)
    site = site_of(tmp_path)
    shown = overview_of(site)
    assert shown.state.command == "roadworthy run"
    assert shown.lines == ()
    assert score_of(site) is None
    for door in DOORS:
        answer = door.handler(Desk(site, site.file), Asked(path=door.path, place={}, query={}))
        assert isinstance(answer, Page)
        assert "roadworthy run" in page_text(answer, site)
    site.close()


def test_versions_without_one_in_service_say_which_to_promote(copied: Path) -> None:
    site = site_of(copied)
    shown = overview_of(site)
    assert shown.champion is None
    assert shown.shown is not None
    ready = shown.shown.verdict.readiness is Readiness.READY
    assert shown.state.command == ("roadworthy promote 1" if ready else "roadworthy run")
    assert "No version is in service" in shown.state.sentence
    assert {cell.words for line in shown.lines for cell in line.cells[2:] if cell.asked} == {"no live traffic yet"}
    site.close()


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


def test_one_click_leads_to_the_evidence_and_one_to_the_rows(opened: Callable[..., Any], seen: Overview) -> None:
    page = opened("/", width=390, scheme="dark").page
    rows = page.locator(".facts-of a[href^='/predictions?since=']")
    assert seen.rows_link
    assert rows.get_attribute("href") == f"/predictions?{seen.rows_link}"
    keys = [one.get_attribute("href") for one in page.locator(".required-of tbody th a").all()]
    assert keys == [f"/requirements/{line.key.replace(':', '%3A')}" for line in seen.lines]
    page.locator(".required-of tbody th a").first.click()
    assert page.locator("#release").is_visible()
    assert page.locator("#live").is_visible()


def test_windows_are_reached_by_keyboard(opened: Callable[..., Any], seen: Overview) -> None:
    page = opened("/").page
    last = page.locator(".strip a").last
    last.focus()
    assert "proven" in last.inner_text()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{seen.strip[-1].number}")
    assert page.locator("h1").inner_text().startswith("Window until")


def test_outcomes_are_told_by_more_than_colour(opened: Callable[..., Any], seen: Overview) -> None:
    page = opened("/").page
    cells = page.locator(".required-of .cell:not(.none)")
    words = {"proven", "missed", "not enough evidence", "waived", "check broke"}
    texts = [one.inner_text() for one in cells.all()]
    assert len(texts) == sum(cell.row is not None for line in seen.lines for cell in line.cells)
    assert all(any(word in text for word in words) for text in texts)
    assert rule_of(Requirement(metric="accuracy", at_least=0.6)) in page.content()


def test_the_score_opens_section_by_section(opened: Callable[..., Any]) -> None:
    page = opened("/").page
    page.get_by_role("link", name="All 28 tests").click()
    page.locator("#part-1 summary").press("Enter")
    assert page.locator("#part-1 .tests li").count() == 7
    assert page.locator("#part-1 .tests li").first.is_visible()
