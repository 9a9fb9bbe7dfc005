"""The page on quality: figures against the records and rows behind them, and the threshold explorer in a browser."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from roadworthy import assembly
from roadworthy.adapters.prediction_log import joined
from roadworthy.errors import UnknownName, UsageError
from roadworthy.lifecycle import watching
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.measures.charts.label_counts import LabelCount, summed_counts
from roadworthy.measures.charts.series import MOST_POINTS
from roadworthy.records.window import Place, WindowSummary
from roadworthy.standard import Requirement
from roadworthy.views.dashboard import Site, Span
from roadworthy.views.dashboard.quality import Explorer, Quality, explore, metric_page, quality_of
from roadworthy.views.dashboard.quality.groups import GroupTable
from roadworthy.views.dashboard.quality.held import Held
from roadworthy.views.dashboard.quality.windows import drawn, figure_of, first_judgements, newest_figure, points_of
from roadworthy.web.desk import Page
from roadworthy.web.rendering import render

HOUR_US = 3_600_000_000
REQUIRED = Requirement(metric="accuracy", at_least=0.8)
LINE = REQUIRED.line()


def span_of(site: Site, word: str = "7d") -> Span:
    return Span.parse({"span": word}, site.now_us())


@pytest.fixture(scope="module")
def shown(dash: Any) -> Quality:
    found = quality_of(dash.site, span_of(dash.site))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def labelled(dash: Any, shown: Quality) -> pl.DataFrame:
    """The labelled rows of the version in the log, read in another way."""
    rows = joined(dash.folder / ".roadworthy" / "lake").rows
    return rows.filter(pl.col("label").is_not_null(), pl.col("version") == shown.version)


def summary(number: int, value: float | None, **more: Any) -> WindowSummary:
    plain: dict[str, Any] = {
        "number": number,
        "revision": 0,
        "start_us": number * HOUR_US,
        "end_us": (number + 1) * HOUR_US,
        "until": Place(at_us=(number + 1) * HOUR_US),
        "judged_at_us": (number + 1) * HOUR_US,
        "version": "clicks-1",
        "readiness": "ready",
        "rows": 100,
        "labelled": 100,
        "values": {LINE: (value, None, None)},
        "outcomes": {LINE: "pass"},
    }
    return WindowSummary(**{**plain, **more})


def test_now_is_what_the_newest_window_was_judged(dash: Any, shown: Quality) -> None:
    with dash.site.reading() as connection:
        series = dash.site.series(connection)
        summaries = [one for one in watching.summaries(connection, "clicks", series) if one.rows]
        newest = watching.judged(connection, "clicks", series, summaries[-1].number)
    verdicts = {one.requirement: one for one in newest.verdict.requirements}
    told = [one for one in shown.metrics if one.now is not None and one.now.number == newest.window.number]
    assert told
    for one in told:
        measured = verdicts[one.line].measurement
        assert measured is not None
        assert one.now is not None
        assert (one.now.value, one.now.lower, one.now.upper) == (measured.value, measured.lower, measured.upper)
        assert one.outcome is verdicts[one.line].outcome
        assert one.now.estimated is measured.method.startswith("estimated")
    assert shown.newest_labelled == 0
    assert "by estimate" in shown.state.sentence
    assert shown.newest_rows == newest.counts["rows"]


def test_figures_over_all_labels_are_those_of_the_log(shown: Quality, labelled: pl.DataFrame) -> None:
    right = float((labelled["decision"] == labelled["label"]).to_numpy().mean())
    accuracy = next(one for one in shown.metrics if one.metric == "accuracy")
    assert shown.live_n == labelled.height
    assert accuracy.labels is not None
    assert accuracy.labels.n == labelled.height
    assert accuracy.labels.value == pytest.approx(right)
    cells = shown.pairs[0].live
    assert cells is not None
    assert sum(cells.columns["count"]) == labelled.height
    hits = [
        count
        for count, actual, said in zip(
            cells.columns["count"], cells.columns["actual"], cells.columns["predicted"], strict=True
        )
        if actual == said
    ]
    assert sum(hits) == pytest.approx(right * labelled.height)
    delays = (labelled["labelled_at"] - labelled["at"]).dt.total_milliseconds() / 1000
    assert shown.labels.delay_half_s == pytest.approx(delays.median())


def test_groups_are_measured_live_beside_release_worst_first(dash: Any, shown: Quality, labelled: pl.DataFrame) -> None:
    by = quality_of(dash.site, span_of(dash.site), by="accuracy")
    assert by is not None
    tables = {one.column: one for one in by.groups}
    assert tables["age_band"].protected
    assert next(iter(tables)) == "age_band"
    for column, table in tables.items():
        values: list[float] = []
        for row in table.rows:
            own = labelled.filter(pl.col(column) == row.name)
            assert row.live is not None
            assert row.live.n == own.height
            assert row.live.value == pytest.approx((own["decision"] == own["label"]).mean())
            assert row.live.value is not None
            values.append(row.live.value)
            assert row.release is not None
        assert values == sorted(values)
    released = {one.slice: one.value for one in dash.site.champion().evidence.measurements if one.metric == "recall"}
    recall = next(one for one in shown.groups if one.column == "device")
    assert shown.by == "recall"
    for row in recall.rows:
        assert row.release is not None
        assert row.release.value == pytest.approx(released[f"device={row.name}"])


@pytest.mark.parametrize("above", [-0.5, 0.001, 0.3], ids=["met", "open", "missed"])
def test_a_group_misses_its_bound_only_where_that_is_proven(
    dash: Any, shown: Quality, monkeypatch: pytest.MonkeyPatch, above: float
) -> None:
    by = quality_of(dash.site, span_of(dash.site), by="accuracy")
    assert by is not None
    best = next(one for one in by.groups if one.column == "device").rows[-1]
    assert best.live is not None
    assert best.live.value is not None
    bound = best.live.value + above
    asked = Requirement(metric="accuracy", at_least=bound, slice="device", confidence=0.9)
    monkeypatch.setattr(Held, "requirement", lambda _self, _metric, column="": asked if column == "device" else None)
    found = quality_of(dash.site, span_of(dash.site), by="accuracy")
    assert found is not None
    row = next(one for one in found.groups if one.column == "device").rows[-1]
    assert (row.name, row.beyond, row.missed) == (best.name, above == 0.001, above == 0.3)
    page = _rendered(msgspec.structs.replace(shown, groups=found.groups[:1]), span_of(dash.site))
    assert ("? beyond the bound, not proven" in page) == any(one.beyond for one in found.groups[0].rows)


def test_a_group_with_too_few_labels_has_no_figure(dash: Any, labelled: pl.DataFrame) -> None:
    start = int(labelled["at"].dt.epoch("us").to_numpy().min())
    short = Span(since_us=start, until_us=start + HOUR_US)
    found = quality_of(dash.site, short, by="accuracy")
    assert found is not None
    own = labelled.filter(pl.col("at").dt.epoch("us") < start + HOUR_US)
    few = [row for table in found.groups for row in table.rows if row.words]
    assert few
    for table in found.groups:
        for row in table.rows:
            rows = own.filter(pl.col(table.column) == row.name).height
            assert (row.live is None or row.estimated) is (rows < 30)
            assert not rows or rows >= 30 or f"{rows} of the 30 labels" in row.words


def test_nothing_is_changed_by_looking(dash: Any) -> None:
    def state() -> dict[str, str]:
        files = [one for one in (dash.folder / ".roadworthy" / "lake").rglob("*") if one.is_file()]
        return {str(one): hashlib.sha256(one.read_bytes()).hexdigest() for one in files}

    before = state()
    quality_of(dash.site, span_of(dash.site))
    metric_page(dash.site, span_of(dash.site), "f1")
    explore(dash.site, span_of(dash.site), {"threshold": "0.9"})
    assert state() == before


def test_a_window_that_labels_changed_keeps_its_first_judgement(dash: Any, tmp_path: Path) -> None:
    folder = tmp_path / "clicks"
    shutil.copytree(dash.folder, folder)
    opened = assembly.open_project(folder)
    site = Site(opened.file, opened.spec, opened.standard, opened.settings, assembly.SystemClock())
    transactions = Transactions(opened.settings.registry)
    with transactions.changing() as connection:
        series = site.series(connection)
        last = [one for one in watching.summaries(connection, "clicks", series) if one.rows][-1]
        whole = watching.judged(connection, "clicks", series, last.number)
        line = next(one for one in last.values if one.startswith("accuracy"))
        again = msgspec.structs.replace(whole, revision=1, judged_at_us=whole.judged_at_us + 1)
        changed = msgspec.structs.replace(
            last,
            revision=1,
            labelled=last.rows,
            values={**last.values, line: (0.5, 0.4, 0.6)},
            outcomes={**last.outcomes, line: "fail"},
            estimated=tuple(one for one in last.estimated if one != line),
        )
        watching.add(connection, again, changed, None)
    transactions.close()
    was = last.values[line][0]
    page = metric_page(site, span_of(site), "accuracy")
    assert page is not None
    assert page.state is not None
    assert [(one.before.value, one.before.estimated, one.now.value, one.revision) for one in page.changed] == [
        (was, True, 0.5, 1)
    ]
    assert page.picture is not None
    assert page.picture.columns["judged at first"][-1] == was
    assert "not as good as it must be: accuracy is 0.500 on 60 labels" in page.state.sentence
    found = quality_of(site, span_of(site))
    assert found is not None
    assert found.state.tone == "bad"
    with site.reading() as connection:
        assert first_judgements(connection, "clicks", series, [changed]).keys() == {last.number}
    site.close()


def test_of_a_year_the_worst_and_every_alarm_are_drawn() -> None:
    random = np.random.default_rng(2)
    year = [summary(number, float(value)) for number, value in enumerate(random.uniform(0.85, 0.95, 8_760))]
    year[4_321] = summary(4_321, 0.2)
    year[77] = summary(77, 0.9, alarms=("accuracy_low",))
    kept = drawn(year, REQUIRED)
    assert len(kept) <= MOST_POINTS + 2
    assert {77, 4_321, 8_759} <= {one.number for one in kept}
    points = points_of(kept, REQUIRED, {})
    assert min(one.value for one in points if one.value is not None) == 0.2
    assert sum(one.alarm for one in points) == 1
    assert drawn(year[:200], REQUIRED) == year[:200]
    counts = [LabelCount(start_us=one.start_us, end_us=one.end_us, rows=one.rows, labelled=7) for one in year]
    assert sum(one.rows for one in summed_counts(counts)) == 876_000


def test_the_newest_figure_is_the_newest_that_says_something() -> None:
    windows = [summary(1, 0.9), summary(2, 0.91), summary(3, None, outcomes={LINE: "insufficient"})]
    found = newest_figure(windows, "accuracy")
    assert found is not None
    assert (found.number, found.value) == (2, 0.91)
    assert newest_figure(windows, "recall") is None
    by_group = summary(4, None, outcomes={"accuracy >= 0.7 for every device": "pass"}, values={})
    assert figure_of(by_group, "accuracy") is None
    assert figure_of(by_group, "accuracy", "device") is not None


def explored(site: Site, **words: str) -> Explorer:
    found = explore(site, span_of(site), words)
    assert found is not None
    return found


def test_the_explorer_counts_the_held_out_rows(dash: Any) -> None:
    version = dash.site.champion()
    lake, lineage = dash.site.lake, version.lineage
    parts = pl.read_parquet(lake.path("split", lineage["split"]) / "parts.parquet").filter(pl.col("part") == "holdout")
    rows = pl.read_parquet(lake.path("features", lineage["features"]) / "rows.parquet").select("_row", "converted")
    (scores,) = lake.path("train", lineage["train"]).glob("*/holdout.parquet")
    held = parts.join(rows, on="_row").join(pl.read_parquet(scores), on="_row").drop_nulls("converted")
    event, score = held["converted"].to_numpy() == 1, held["score"].to_numpy()

    found = explored(dash.site, threshold="0.6", false_alarm="2", missed="7")
    lines = {one.name: one for one in found.sides[0].lines}
    said = score >= 0.6
    assert found.sides[0].rows == held.height
    assert lines["precision"].then.value == pytest.approx(event[said].mean())
    assert lines["recall"].then.value == pytest.approx(said[event].mean())
    paid = 2 * (said & ~event) + 7 * (~said & event)
    assert lines["cost"].then.value == pytest.approx(paid.mean())
    released = {one.metric: one for one in version.evidence.measurements if not one.slice}
    for name in ("precision", "recall"):
        assert lines[name].now.value == pytest.approx(released[name].value)
        assert lines[name].now.lower == pytest.approx(released[name].lower)


def test_the_explorer_draws_once_and_moves_the_mark(dash: Any) -> None:
    first, second = explored(dash.site, threshold="0.2"), explored(dash.site, threshold="0.8")
    for one, other in zip(first.sides, second.sides, strict=True):
        assert one.picture is not None
        assert one.picture is other.picture
        assert one.frame is not None
        assert one.frame.at(0.8) - one.frame.at(0.2) == pytest.approx(0.6 * one.frame.plot)
        axis = re.search(r'x2="(\d+)" y2="0" stroke="#e2e6ea"', one.picture.svg)
        assert axis is not None
        assert float(axis[1]) == one.frame.plot
    low, high = (side.sides[0].lines[1].then.value for side in (first, second))
    assert low is not None
    assert high is not None
    assert low > high
    assert explored(dash.site).threshold == first.chosen


@pytest.mark.parametrize("words", [{"threshold": "1.2"}, {"threshold": "high"}, {"missed": "-1"}, {"missed": "nan"}])
def test_the_explorer_refuses_words_that_mean_nothing(dash: Any, words: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        explored(dash.site, **words)


def test_unknown_metrics_slices_and_versions_are_refused(dash: Any) -> None:
    span = span_of(dash.site)
    with pytest.raises(UnknownName, match="rmse"):
        metric_page(dash.site, span, "rmse")
    with pytest.raises(UnknownName, match="colour"):
        metric_page(dash.site, span, "recall", column="colour")
    with pytest.raises(UnknownName, match="77"):
        quality_of(dash.site, span, version="77")


def test_without_traffic_the_release_stands_alone(finished: Path) -> None:
    opened = assembly.open_project(finished)
    site = Site(opened.file, opened.spec, opened.standard, opened.settings, assembly.SystemClock())
    found = quality_of(site, span_of(site))
    assert found is not None
    assert found.state.word == "Not known"
    assert all(one.now is None and one.labels is None for one in found.metrics)
    assert all(one.release is not None for one in found.metrics)
    assert all(row.words == "no label yet" for table in found.groups for row in table.rows)
    sides = explored(site).sides
    assert (bool(sides[0].lines), bool(sides[1].lines)) == (True, False)
    site.close()


def test_names_from_the_data_are_shown_as_text(dash: Any, shown: Quality) -> None:
    table = shown.groups[0]
    worst = "<script>alert(1)</script>\u202e" + "x" * 10_000
    row = msgspec.structs.replace(table.rows[0], name=worst)
    hostile: GroupTable = msgspec.structs.replace(table, column="<b>\u202e", rows=(row,))
    text = _rendered(msgspec.structs.replace(shown, groups=(hostile,)), span_of(dash.site))
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "\u202e" not in text
    assert "x" * 200 not in re.sub(r'title="[^"]*"', "", text)


def _rendered(shown: Quality, span: Span) -> str:
    return render(
        "quality.html.j2",
        q=shown,
        span=span,
        keep="",
        asked_version="",
        page=Page("quality.html.j2", "Quality", {}),
        section="quality",
        person="",
        project="clicks",
        banner=None,
        now_us=span.until_us,
        path="/quality",
        said="",
    )


@pytest.mark.parametrize(
    ("path", "width"),
    [
        ("/quality/accuracy", 1440),
        ("/quality/f1", 390),
        ("/quality/threshold?threshold=0.3", 1440),
        ("/quality/threshold?threshold=0.3", 390),
    ],
)
def test_pages_below_have_no_faults(opened: Callable[..., Any], path: str, width: int) -> None:
    one = opened(path, width=width, scheme="dark" if width == 390 else "light")
    assert one.faults() == []
    assert one.overflowing() == []


def test_the_threshold_is_moved_by_keyboard(opened: Callable[..., Any]) -> None:
    page = opened("/quality").page
    page.get_by_role("link", name="Try another threshold").press("Enter")
    slider = page.get_by_label(re.compile("^Threshold"))
    before = page.locator("#h-release ~ div .looked strong").all_inner_texts()
    place = float(page.locator(".looked-at").first.get_attribute("x1"))
    slider.focus()
    slider.press("End")
    assert float(page.locator(".looked-at").first.get_attribute("x1")) > place
    page.wait_for_url(re.compile(r"threshold=1(&|$)"))
    page.wait_for_function("() => document.querySelector('[data-part=use] pre').textContent.includes('threshold = 1')")
    after = page.locator("#h-release ~ div .looked strong").all_inner_texts()
    assert before[1] != after[0]
    assert page.evaluate("document.activeElement.id") == "threshold"
    page.get_by_label("A missed event costs").fill("50")
    page.get_by_label("A missed event costs").press("Enter")
    page.wait_for_url(re.compile("missed=50"))
    page.wait_for_function(
        "() => document.body.textContent.includes('at 1 for a false alarm and 50 for a missed event')"
    )
    page.reload()
    assert page.get_by_label("A missed event costs").input_value() == "50"
    assert slider.input_value() == "1"


def test_the_explorer_works_without_script(opened: Callable[..., Any], dash: Any) -> None:
    page = opened("/quality/threshold", java_script_enabled=False).page
    page.get_by_label("A false alarm costs").fill("3")
    page.get_by_role("button", name="Show").press("Enter")
    page.wait_for_url(re.compile("false_alarm=3"))
    expected = explored(dash.site, false_alarm="3", threshold=page.get_by_label(re.compile("^Threshold")).input_value())
    said = page.locator("#h-release ~ div .looked strong").all_inner_texts()
    cost = expected.sides[0].lines[-1].then.value
    assert said[-1] == f"{cost:.3f}"


def test_groups_are_compared_by_another_figure(opened: Callable[..., Any]) -> None:
    page = opened("/quality").page
    choice = page.get_by_role("group", name="Figure to compare groups by")
    choice.get_by_role("link", name="Precision").press("Enter")
    page.wait_for_url(re.compile("by=precision"))
    assert page.locator("#h-groups").inner_text() == "Group by group: Precision"
