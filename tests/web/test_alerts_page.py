"""The alerts page: worst first, the figure that of the windows; what people do reaches the registry; all is text."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from roadworthy import api, assembly
from roadworthy.api.alert_pictures import drawing
from roadworthy.lifecycle import watching
from roadworthy.lifecycle.alerts import AlertStore, rows
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.records.alert import Alert, AlertState, Policy, Severity, Signal, Word
from roadworthy.views.dashboard import Site
from roadworthy.views.dashboard.alerts import alert_list, alert_png, alert_sheet
from roadworthy.views.dashboard.alerts.figures import figure_of

HOUR = 3_600_000_000
DRIFT = "drift:columns"
SCRIPT = "<script>document.title='broken'</script> \u202egnol " + "a" * 10_000
OPEN_RULE = "test:alerts page"


def signal(rule: str, word: Word = Word.ALARM, *, at: int = 1, **more: Any) -> Signal:
    given: dict[str, Any] = {"group": "quality", "sentence": f"{rule} is wrong", "source": f"1 h/{at}", **more}
    return Signal(rule=rule, word=word, at_us=at * HOUR, **given)


def tell(folder: Path, *signals: Signal) -> None:
    opened = assembly.open_project(folder)
    transactions = Transactions(opened.settings.registry)
    with transactions.changing() as connection:
        store = AlertStore(opened.spec.name)
        store.apply(connection, signals, Policy(), int(time.time() * 1e6))
    transactions.close()


def keep(folder: Path, alerts: Sequence[Alert]) -> None:
    opened = assembly.open_project(folder)
    transactions = Transactions(opened.settings.registry)
    with transactions.changing() as connection:
        for one in alerts:
            rows.put(connection, one)
    transactions.close()


@pytest.fixture
def site(past: Path, tmp_path: Path) -> Iterator[Site]:
    """The project with a past, of this test alone."""
    folder = tmp_path / "clicks"
    shutil.copytree(past, folder)
    opened = assembly.open_project(folder)
    made = Site(opened.file, opened.spec, opened.standard, opened.settings, assembly.SystemClock())
    yield made
    made.close()


def test_the_worst_that_nobody_has_taken_stands_first(site: Site) -> None:
    folder = site.file.parent
    bound = {"bound": 0.8}
    tell(
        folder,
        signal("near", severity=Severity.PAGE, evidence={"value": 0.79, **bound}),
        signal("far", severity=Severity.PAGE, evidence={"value": 0.4, **bound}),
        signal("ticket", evidence={"value": 0.1, **bound}),
        signal("taken", severity=Severity.PAGE, evidence={"value": 0.0, **bound}),
    )
    number = next(one.alert.number for one in alert_list(site).open_ if one.alert.rule == "taken")
    api.alerts("ack", str(number), by="ana", project=folder)
    shown = alert_list(site)
    order = [one.alert.rule for one in shown.open_]
    assert order[:2] == ["far", "near"]
    assert order[-1] == "taken"
    assert order.index("ticket") > 1
    assert shown.sentence.endswith("and nobody has taken them yet. One more is with somebody already.")


def test_the_figure_is_that_of_the_windows_that_alarmed(dash: Any) -> None:
    site = dash.site
    with site.reading() as connection:
        alert = next(one for one in rows.all_alerts(connection, site.name, 99) if one.rule == DRIFT)
        history = rows.events(connection, site.name, alert.number)
        figure = figure_of(site, connection, alert, history)
        series, _, number = alert.last.source.rpartition("/")
        judged = watching.judged(connection, site.name, series, int(number))
    alarms = [event.source for event in history if event.what == "alarm"]
    assert sum(point.alarm for point in figure.points) == len(alarms)
    subject = alert.last.evidence["changed"][0]["subject"]
    effect = next(one.effect for one in judged.shifts if (one.subject, one.kind) == (subject, "distribution"))
    last = next(point for point in figure.points if point.end_us == judged.window.until.at_us)
    assert last.alarm
    assert last.value == pytest.approx(effect, abs=1e-6)
    assert [one.value for one in figure.references] == [alert.worst.evidence["floor"]]
    assert (alert_png(site, alert.number) or b"").startswith(b"\x89PNG\r\n\x1a\n")


def test_the_sheet_tells_what_the_alert_knows(dash: Any) -> None:
    with dash.site.reading() as connection:
        alert = next(one for one in rows.all_alerts(connection, dash.site.name, 99) if one.rule == DRIFT)
        history = rows.events(connection, dash.site.name, alert.number)
    sheet = alert_sheet(dash.site, alert.number)
    facts = {fact.words: fact for fact in sheet.facts}
    assert facts["rows looked at"].last == f"{alert.last.evidence['rows']:,}"
    assert float(facts["size of the change (0 to 1)"].worst) == pytest.approx(alert.worst.evidence["effect"], rel=1e-3)
    assert len(sheet.history) + len(sheet.alarms) + sheet.left_out == len(history)
    assert sheet.picture is not None
    assert sheet.lists[0].columns["subject"] == [one["subject"] for one in alert.last.evidence["changed"]]


def test_a_thousand_alerts_are_paged_searched_and_quick(site: Site) -> None:
    folder = site.file.parent
    tell(folder, signal("rule:like", sentence="x" * 500))
    with site.reading() as connection:
        like = next(one for one in rows.open_alerts(connection, site.name) if one.rule == "rule:like")
    keep(folder, [msgspec.structs.replace(like, number=0, rule=f"now:{place}") for place in range(200)])
    over = msgspec.structs.replace(like, number=0, state=AlertState.RESOLVED, reason="3 clear windows")
    keep(folder, [msgspec.structs.replace(over, rule=f"rule:{place:04d}") for place in range(1_000)])
    assert alert_list(site).open_total > 200
    assert len(alert_list(site).open_) == 100
    started = time.perf_counter()
    shown = alert_list(site)
    assert time.perf_counter() - started < 1.0
    assert (shown.found, len(shown.past), shown.pages) == (1_000, 25, 40)
    assert alert_list(site, page=40).past[-1].alert.rule == "rule:0000"
    found = alert_list(site, searched="RULE:09")
    assert (found.found, found.pages) == (100, 4)
    assert alert_list(site, searched="100%_").found == 0


def test_one_is_taken_silenced_and_resolved_on_its_page(dash: Any, opened: Callable[..., Any]) -> None:
    tell(dash.folder, signal(OPEN_RULE, sentence=f"It broke: {SCRIPT}", evidence={"odd<b>": SCRIPT, "value": 0.5}))
    shown = opened("/alerts")
    page = shown.page
    card = page.locator("li.alert", has_text=OPEN_RULE)
    card.get_by_label("Your name").fill("Ana")
    card.get_by_role("button", name="Take it").click()
    page.wait_for_url("**/alerts/*")
    number = int(page.url.rpartition("/")[2])
    assert "is yours now" in page.locator(".said").inner_text()
    assert page.title().startswith(f"Alert {number}")
    assert page.locator("script:not([src])").count() == 0
    assert shown.faults() == []
    assert shown.overflowing() == []
    page.get_by_text("Silence its rule for a while").click()
    form = page.locator("form[action='/alerts/silence']")
    form.get_by_label("or for another time").fill("soon")
    form.get_by_label("Why").fill("a planned change")
    form.get_by_label("Your name").fill("Ana")
    form.get_by_role("button", name="Silence").click()
    refused = page.locator(".act .trouble")
    assert "Not done" in refused.inner_text()
    form = page.locator("form[action='/alerts/silence']")
    assert form.get_by_label("Why").input_value() == "a planned change"
    assert form.get_by_label("or for another time").input_value() == "soon"
    form.get_by_label("or for another time").fill("90 min")
    form.get_by_role("button", name="Silence").click()
    page.wait_for_selector(".said")
    assert "silenced until" in page.locator(".alert-head").inner_text()
    page.locator("form[action='/alerts/unsilence'] input[name=by]").fill("Ana")
    page.get_by_role("button", name="End it").click()
    page.wait_for_selector(".said:has-text('is over')")
    page.get_by_text("Resolve it, when it is mended").click()
    form = page.locator("form[action$='/resolve']")
    form.get_by_label("Why it is over").fill("the feed is back <b>")
    form.get_by_label("Your name").fill("Ana")
    form.get_by_role("button", name="Resolve").click()
    page.wait_for_selector(".said:has-text('is resolved')")
    with dash.site.reading() as connection:
        alert = rows.one_alert(connection, dash.site.name, number)
    assert (alert.state, alert.by, alert.reason) == (AlertState.RESOLVED, "Ana", "the feed is back <b>")
    shown.said = [one for one in shown.said if "status of 400" not in one]  # the refusal above


def test_a_number_that_nothing_has_is_told(opened: Callable[..., Any]) -> None:
    shown = opened("/alerts/99999", status=404)
    assert "unknown alert" in shown.page.locator("#main").inner_text()


def test_a_message_gets_its_picture_from_a_process_of_its_own(dash: Any) -> None:
    drawn = drawing(dash.site.file, seconds=60)([1, 99_999])
    assert isinstance(drawn[1], bytes)
    assert drawn[1].startswith(b"\x89PNG\r\n\x1a\n")
    assert drawn[99_999] == "unknown alert '99999'"
    assert drawing(dash.site.file, seconds=0.01)([1]) == {1: "it was not drawn within 0.01 s"}
