"""Watching, what a review found: looks forgotten, rows that leak, streams begun anew, checks of nothing."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roadworthy.api.watching.hourly import trends_of
from roadworthy.api.watching.remembered import Looked, looked, note_looks
from roadworthy.lifecycle import cursors
from roadworthy.records.alert import Word
from roadworthy.stages.watching.whole import judged_window


def _beside() -> Any:
    name = "watching_gaps_site"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("test_watching_gaps.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault(name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


_GAPS = _beside()
Site, START, START_US, HOUR_US = _GAPS.Site, _GAPS.START, _GAPS.START_US, _GAPS.HOUR_US
at, wrong, readings = _GAPS.at, _GAPS.wrong, _GAPS.readings


@pytest.fixture
def site(copied: Path, made_up_traffic: Any) -> Iterator[Any]:
    made = Site(copied, made_up_traffic(copied))
    yield made
    made.transactions.close()


def test_a_look_at_windows_long_ago_is_remembered_however_many_windows_came_since(site: Any) -> None:
    with site.transactions.changing() as connection:
        note_looks(connection, site.name, "15 min", {5_000: Looked(1, 10)})
        note_looks(connection, site.name, "15 min", {1_000: Looked(3, 20)})
        assert looked(connection, site.name, "15 min") == {1_000: Looked(3, 20), 5_000: Looked(1, 10)}
        note_looks(connection, site.name, "15 min", {number: Looked(1, number) for number in range(5_001, 12_000)})
        assert len(looked(connection, site.name, "15 min")) == 4_096


def test_a_few_late_rows_of_every_window_add_up(site: Any) -> None:
    site.traffic.predict(site.traffic.draw(200 * 22), every_s=18)
    site.look(12)
    for hour in range(12, 20):
        site.traffic.predict(site.traffic.draw(1), at(hour - 0.5), every_s=18)
        site.look(hour + 1)
    assert "late_rows" in site.alerts()


def test_late_rows_of_windows_of_many_rows_are_counted(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadworthy.api.watching.latecomers._MOST_ROWS", 100)
    site.traffic.predict(site.traffic.draw(400), every_s=18)
    site.look(1)
    site.traffic.predict(site.traffic.draw(3), at(0.3), every_s=18)
    (judged,), _ = site.look(2)
    assert judged.counts["late_rows"] == 3


def test_the_stream_of_errors_goes_on_where_windows_are_cut_otherwise(copied: Path, made_up_traffic: Any) -> None:
    traffic = made_up_traffic(copied)
    rows = traffic.predict(traffic.draw(5_400), every_s=6)  # nine hours
    ids, labels = rows["id"].to_list(), rows["outcome"].to_list()
    site = Site(copied, traffic)
    site.look(5)
    traffic.label(ids[:1500], labels[:1500], at(6))
    site.look(6.1)
    traffic.label(ids[1500:3000], wrong(rows[1500:3000], 0.4), at(7))
    site.look(7.1)
    before = site.alerts()["errors_rise"]
    site.transactions.close()
    site = Site(copied, traffic, "30 min")
    site.look(8)
    traffic.label(ids[3000:3200], labels[3000:3200], at(8.2))
    site.look(9)
    assert site.alerts()["errors_rise"].alarms == before.alarms  # the same change is no news
    with site.transactions.reading() as connection:
        assert '"seen":3200' in cursors.cursor(connection, site.name, "errors:30 min")
    site.transactions.close()


def test_labels_that_come_after_the_readings_went_take_nothing_away(site: Any) -> None:
    rows = site.traffic.predict(site.traffic.draw(200), every_s=18)
    with site.transactions.changing() as connection:
        cursors.add_readings(connection, site.name, readings(120, latency=3))
    (judged, *_), _ = site.look(2)
    before = _GAPS.by_metric(judged, "latency_p99")[""].value
    assert before is not None
    with site.transactions.changing() as connection:
        cursors.forget_readings(connection, site.name, START_US + 3 * HOUR_US)
    site.traffic.label(rows["id"].to_list(), rows["outcome"].to_list(), at(3))
    _, (revised, *_) = site.look(3.1)
    after = _GAPS.by_metric(revised, "latency_p99")[""].value
    assert revised.counts["labelled"] == 200
    assert before == after


def test_a_check_of_no_row_does_not_say_that_it_works(site: Any) -> None:
    site.traffic.predict(site.traffic.draw(200), every_s=18)
    judged, _ = site.look(3)
    asked = site.monitor._asking.asked(judged[-1].window, site.hour(3), site.hour(3))
    assert asked.rows.height == 0
    words = {one.word for one in judged_window(asked).signals if one.group == "monitor"}
    assert words == {Word.UNKNOWN}


def test_charts_by_the_hour_that_break_are_told(site: Any) -> None:
    site.traffic.predict(site.traffic.draw(200), every_s=18)
    with site.transactions.changing() as connection:
        cursors.set_cursor(connection, site.name, "trends", "junk")
    with pytest.raises(zlib.error):
        site.look(2)
    assert "The charts by the hour" in site.alerts()["monitor:hours"].first.sentence


def test_a_label_said_otherwise_later_is_the_same_hour_by_hour_and_all_at_once(
    copied: Path, made_up_traffic: Any, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(copied, other)
    found = []
    for folder, looks in ((copied, (6.0,)), (other, (3.0, 4.0, 5.0, 6.0))):
        site = Site(folder, made_up_traffic(folder))
        rows = site.traffic.predict(site.traffic.draw(200), every_s=18)
        ids, labels = rows["id"].to_list()[:20], rows["outcome"].to_list()[:20]
        site.traffic.label(ids, wrong(rows[:20], 1.0), at(2.5))
        site.traffic.label(ids, labels, at(4.5))
        for hours in looks:
            site.look(hours)
        with site.transactions.reading() as connection:
            found.append(trends_of(connection, site.name))
        site.transactions.close()
    assert found[0] == found[1]
    assert found[0].hours[2].wrong + found[0].hours[2].right == 20
