"""The data pages: their figures are those of the judged windows and of the log, and they can be worked with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from roadworthy import assembly
from roadworthy.adapters.prediction_log import read_log
from roadworthy.errors import UnknownName, UsageError
from roadworthy.lifecycle import watching
from roadworthy.lifecycle.alerts.rows import open_alerts
from roadworthy.measures.sketches import CategorySketch
from roadworthy.records.shift import ShiftKind
from roadworthy.records.window import Judged
from roadworthy.views.dashboard import Site, Span
from roadworthy.views.dashboard.data import Choice, DataList, column_page, data_list
from roadworthy.views.dashboard.data.looking import Looked, look
from roadworthy.views.dashboard.data.standing import CHANGED, Standing
from roadworthy.views.dashboard.data.trails import chosen, marks_of
from roadworthy.views.dashboard.data.unlisted import unlisted_labels

WEEK = 7 * 86_400_000_000


@pytest.fixture(scope="module")
def span(dash: Any) -> Span:
    return Span(since_us=dash.now_us - WEEK, until_us=dash.now_us)


@pytest.fixture(scope="module")
def looked(dash: Any) -> Looked:
    with dash.site.reading() as connection:
        found = look(dash.site, connection)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def listed(dash: Any, span: Span) -> DataList:
    return data_list(dash.site, span, Choice())


def record(site: Site, looked: Looked) -> Judged:
    with site.reading() as connection:
        return watching.judged(connection, site.name, looked.window.series, looked.window.number)


def test_each_row_tells_what_the_record_of_the_newest_window_holds(dash: Any, listed: DataList, looked: Looked) -> None:
    shifts = {(one.subject, one.kind): one for one in record(dash.site, looked).shifts}
    contract = looked.held.watched.contract  # type: ignore[union-attr]
    names = {row.facts.name for row in listed.rows}
    assert names == {*contract.contract.columns, *contract.features}
    compared = [row for row in listed.rows if row.main is not None]
    assert len(compared) >= 8
    for row in compared:
        assert row.main is not None
        shift = shifts[row.facts.name, row.main.kind]
        assert (row.main.effect, row.main.p) == (shift.effect, shift.p)
        missing = shifts[row.facts.name, ShiftKind.MISSING].details
        assert row.missing is not None
        assert (row.missing.before, row.missing.now) == (missing["reference"], missing["current"])


def test_what_alarms_stands_first_and_is_what_the_alert_names(dash: Any, listed: DataList) -> None:
    with dash.site.reading() as connection:
        alerts = {one.rule: one for one in open_alerts(connection, dash.site.name)}
    named = {one["subject"] for one in alerts["drift:columns"].last.evidence["changed"]}
    alarmed = {row.facts.name for row in listed.rows if row.standing is Standing.ALARM}
    assert "device" in named
    assert alarmed == named
    order = [list(Standing).index(row.standing) for row in listed.rows]
    assert order == sorted(order)
    first = listed.rows[0]
    assert (first.facts.name, first.alert) == ("device", alerts["drift:columns"].number)
    assert "`device`" in listed.lead
    assert listed.tone == "bad"
    assert [row.facts.name for row in listed.worst] == [row.facts.name for row in listed.rows[: len(listed.worst)]]


def test_the_list_is_searched_filtered_and_turned(dash: Any, span: Span, listed: DataList) -> None:
    changed = data_list(dash.site, span, Choice(show="changed"))
    assert {row.facts.name for row in changed.rows} == {
        row.facts.name for row in listed.rows if row.standing in CHANGED
    }
    assert listed.counts["changed"] == changed.found
    found = data_list(dash.site, span, Choice(q="CLICK"))
    assert {row.facts.name for row in found.rows} == {
        row.facts.name for row in listed.rows if "click" in row.facts.name
    }
    assert data_list(dash.site, span, Choice(q="no such column")).rows == ()
    assert data_list(dash.site, span, Choice(page=99)).page == 1


def test_a_past_window_is_looked_at_and_quiet(dash: Any, span: Span, looked: Looked) -> None:
    window = f"{looked.window.series}/{looked.window.number - 20}"
    past = data_list(dash.site, span, Choice(window=window))
    assert past.window is not None
    assert (past.window.title, past.window.newest) == (window, False)
    assert past.window.after == f"{looked.window.series}/{looked.window.number - 19}"
    assert past.window.before == f"{looked.window.series}/{looked.window.number - 21}"
    assert not any(row.standing in {Standing.ALARM, Standing.OPEN} for row in past.rows)
    assert "None of the" in past.lead or "changed a little" in past.lead
    for words, error in (("nonsense", UsageError), ("1 h/1", UnknownName), ("2 h/5", UnknownName), ("/", UsageError)):
        with pytest.raises(error):
            data_list(dash.site, span, Choice(window=words))


def test_the_marks_of_windows_are_decided_as_the_windows_were(dash: Any, looked: Looked) -> None:
    series = looked.window.series
    with dash.site.reading() as connection:
        summaries = watching.summaries(connection, dash.site.name, series)
        for summary in [one for one in summaries if one.rows][-14:]:
            marks = marks_of(dash.site, connection, series, summary)
            assert ("drift:columns" in summary.alarms) == any(
                mark.alarm
                for row in column_names(looked)
                if (mark := marks.get(row, ShiftKind.DISTRIBUTION)) is not None
            )
            mark = marks.get("device", ShiftKind.DISTRIBUTION)
            assert mark is not None
            assert mark.effect == pytest.approx(summary.moved.get("device:distribution", 0.0), abs=1e-6)
    assert len(chosen(summaries, "device", 5)) == 5
    assert chosen(summaries, "device", 5)[-1].number == looked.window.number


def column_names(looked: Looked) -> list[str]:
    assert looked.held is not None
    reference = looked.held.watched.reference
    return [*reference.numbers, *reference.categories]


def logged(site: Site, looked: Looked) -> pl.DataFrame:
    """The rows of the window that is looked at, as the log has them."""
    ends = [datetime.fromtimestamp(one.at_us / 1e6, UTC) for one in (looked.window.after, looked.window.until)]
    return read_log(site.settings.lake, since=ends[0], until=ends[1]).collect()


def test_both_sides_of_a_column_are_the_rows_of_the_log_and_of_the_training_part(
    dash: Any, span: Span, looked: Looked
) -> None:
    rows = logged(dash.site, looked)
    shown = column_page(dash.site, "device", span)
    assert shown.then_and_now is not None
    table = shown.then_and_now.columns
    now = dict(zip(table["value"], table["share now"], strict=True))
    counted = dict(rows.get_column("device").value_counts().iter_rows())
    assert rows.height > 0
    for label, count in counted.items():
        assert now[label] == pytest.approx(count / rows.height, abs=1e-5)
    assert now["phone"] == 0.0
    assert shown.told[0].startswith("device = ")
    figures = {one.words: one for one in column_page(dash.site, "dwell_seconds", span).figures}
    dwelt = rows.get_column("dwell_seconds").drop_nulls()
    assert float(figures["highest"].new) == pytest.approx(float(dwelt.max()), rel=0.01)  # type: ignore[arg-type]
    assert float(figures["mean"].new) == pytest.approx(float(dwelt.mean()), rel=0.01)  # type: ignore[arg-type]
    assert figures["rows"].new == str(rows.height)


def test_windows_together_have_the_rows_of_all_of_them(dash: Any, span: Span, looked: Looked) -> None:
    with dash.site.reading() as connection:
        summaries = watching.summaries(connection, dash.site.name, looked.window.series, since_us=span.since_us)
    fit = [one.rows for one in summaries if one.rows and one.version == looked.judged.version][-24:]
    shown = column_page(dash.site, "device", span, together=True)
    assert (shown.windows, shown.rows) == (len(fit), sum(fit))
    alone = column_page(dash.site, "device", span)
    assert shown.merged[0].effect is not None
    assert alone.comparisons[0].effect is not None
    assert 0 < shown.merged[0].effect < alone.comparisons[0].effect  # half of the windows are of before the change


def test_labels_that_the_reference_does_not_list_are_named_from_the_log(dash: Any, looked: Looked) -> None:
    rows = logged(dash.site, looked)
    sketch = CategorySketch(labels=("desktop",), counts=(0,), other=1)
    found = unlisted_labels(dash.site, looked, "device", sketch)
    expected = rows.filter(pl.col("device") != "desktop").get_column("device").value_counts(sort=True)
    assert [(one.text, one.rows) for one in found] == list(expected.iter_rows())
    hidden = CategorySketch(labels=(), counts=(), other=1)
    assert unlisted_labels(dash.site, looked, "user_id", hidden) == ()


def test_a_personal_column_is_told_by_counts_alone(dash: Any, span: Span, looked: Looked) -> None:
    shown = column_page(dash.site, "user_id", span)
    values = set(logged(dash.site, looked).get_column("user_id").drop_nulls().to_list())
    assert values
    assert shown.facts.personal
    assert shown.then_and_now is None
    told = repr(shown)
    assert not any(value in told for value in values)


def test_contract_features_and_set_aside_rows_stand_at_their_column(dash: Any, span: Span) -> None:
    shown = column_page(dash.site, "clicks", span).facts
    assert "at least 0" in shown.rules
    assert "`clicks <= impressions`" in shown.rules
    assert "click_rate" in shown.feeds
    assert column_page(dash.site, "click_rate", span).facts.made_of == ("clicks", "impressions")
    lineage = dash.site.champion().lineage["clean"]
    quarantine = pl.read_parquet(dash.site.lake.path("clean", lineage) / "quarantine.parquet")
    lacking = sum("clicks: missing" in reasons for reasons in quarantine.get_column("_reasons").to_list())
    assert shown.violations["missing"] == lacking > 0
    with pytest.raises(UnknownName):
        column_page(dash.site, "clciks", span)


@pytest.fixture
def untouched(copied: Path) -> Iterator[Site]:
    opened = assembly.open_project(copied)
    site = Site(opened.file, opened.spec, opened.standard, opened.settings, assembly.SystemClock())
    yield site
    site.close()


def test_without_traffic_the_contract_is_shown_and_nothing_is_said_of_change(untouched: Site) -> None:
    span = Span.parse({}, untouched.now_us())
    listed = data_list(untouched, span, Choice())
    assert (listed.window, listed.lead) == (None, "")
    assert listed.version
    assert {"device", "click_rate"} <= {row.facts.name for row in listed.rows}
    assert {row.standing for row in listed.rows} == {Standing.APART}
    shown = column_page(untouched, "dwell_seconds", span)
    assert shown.told == ("No live traffic has been judged yet.",)
    assert {one.new for one in shown.figures} == {"–"}
    assert not column_page(untouched, "user_id", span).then_and_now


# --- in the browser -------------------------------------------------------------------------------------------------


def test_a_column_of_numbers_is_accessible_and_fits_a_phone(opened: Callable[..., Any]) -> None:
    one = opened("/data/dwell_seconds?rows=span", width=390, scheme="dark")
    assert one.faults() == []
    assert one.overflowing() == []


def test_a_column_is_found_opened_and_its_window_before_looked_at(opened: Callable[..., Any], looked: Looked) -> None:
    page = opened("/data").page
    assert page.locator(".verdict").inner_text().startswith("1 of 8 columns has changed since the release: device")
    page.get_by_label("Find a column").fill("dwell")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=dwell**")
    assert page.locator(".columns-list tbody tr").count() == 1
    page.get_by_role("link", name="dwell_seconds").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/data/dwell_seconds**")
    assert page.locator("h1").inner_text().endswith("dwell_seconds")
    page.get_by_role("link", name="window before").click()
    page.wait_for_url("**window=**")
    assert f"{looked.window.number - 1}" in page.url
    page.get_by_role("link", name="windows of the").click()
    page.wait_for_url("**rows=span**")
    assert "Put together" in page.locator(".merged").inner_text()


def test_the_choice_of_what_is_shown_is_sent_when_it_changes(opened: Callable[..., Any]) -> None:
    page = opened("/data").page
    page.get_by_label("Show").select_option("changed")
    page.wait_for_url("**show=changed**")
    assert page.locator(".columns-list tbody tr").count() == 1


def test_words_that_mean_nothing_are_refused_and_text_is_text(opened: Callable[..., Any]) -> None:
    page = opened("/data?q=%3Cscript%3Ealert(1)%3C/script%3E").page
    assert "<script>alert(1)</script>" in page.locator("main").inner_text()
    assert page.get_by_label("Find a column").input_value() == "<script>alert(1)</script>"
    assert "window" in opened("/data?window=nonsense", status=400).page.locator("main").inner_text()
    opened("/data/no-such-column", status=404)
    opened("/data?show=everything", status=400)
    opened("/data?page=0", status=400)
