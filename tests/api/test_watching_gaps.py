"""Watching, all of it: charts by the hour, reports, groups, other versions, late rows, pauses, changed windows."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from roadworthy.api.watching.again import judged_again
from roadworthy.api.watching.asking import sketched
from roadworthy.api.watching.hourly import trends_of
from roadworthy.api.watching.remembered import Memory, looked, remember, remembered
from roadworthy.lifecycle import cursors
from roadworthy.lifecycle import watching as kept
from roadworthy.measures.alarms.scales import Kept, Look, blocks_ending_at
from roadworthy.measures.sketches import merge, sketch, sketch_like
from roadworthy.records.reading import Reading
from roadworthy.records.window import Judged
from roadworthy.stages.watching.besides import SHOWN


def _beside() -> Any:
    name = "watching_site"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("test_watching.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault(name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


_WATCHING = _beside()
Site, START, START_US, HOUR_US = _WATCHING.Site, _WATCHING.START, _WATCHING.START_US, _WATCHING.HOUR_US
wrong = _WATCHING.wrong


@pytest.fixture
def site(copied: Path, made_up_traffic: Any) -> Iterator[Any]:
    made = Site(copied, made_up_traffic(copied))
    yield made
    made.transactions.close()


def at(hours: float) -> datetime:
    moment: datetime = START + timedelta(hours=hours)
    return moment


def by_metric(judged: Judged, metric: str) -> dict[str, Any]:
    seen = [one for one in judged.measurements if not one.method.startswith("estimated")]
    return {one.slice: one for one in seen if one.metric == metric}


def readings(until: int, since: int = 0, *, latency: int = 0) -> list[Reading]:
    """A server read every ten minutes; its requests end up in one bucket."""
    return [
        Reading(
            at_us=START_US + minute * 60_000_000,
            address="http://127.0.0.1:8080",
            counters={"rows": 10.0 * minute},
            requests={"predict": {200: 10.0 * minute}},
            ends_s=(0.001, 0.01, 0.1),
            buckets={"predict": tuple(10.0 * minute if place == latency else 0.0 for place in range(4))},
        )
        for minute in range(since, until, 10)
    ]


# --- charts by the hour, and reports --------------------------------------------------------------------------------


def test_hours_are_taken_in_once_and_all_at_once_or_one_by_one_is_the_same(
    copied: Path, made_up_traffic: Any, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(copied, other)
    found = []
    for folder, looks in ((copied, (16 * 24.0,)), (other, (50.5, 50.9, 51, 200, 16 * 24))):
        site = Site(folder, made_up_traffic(folder), "8 days")
        site.traffic.predict(site.traffic.draw(2_000), every_s=605)  # 14 days
        with site.transactions.changing() as connection:
            cursors.add_readings(connection, site.name, readings(15 * 24 * 60))
        for hours in looks:
            site.look(hours)
            site.look(hours)
            site.monitor = type(site.monitor)(  # killed, and another in its place
                site.monitor._watch, site.monitor._traffic, site.monitor._versions, site.transactions,
                site.monitor._alerts,
            )  # fmt: skip
        with site.transactions.reading() as connection:
            found.append(trends_of(connection, site.name))
        assert site.alerts()["volume_trend"].first.source.startswith("hour/")
        assert "lower than usual" in site.alerts()["volume_trend"].first.sentence
        site.transactions.close()
    assert found[0] == found[1]
    taken = found[0].hours
    assert len(taken) == 16 * 24
    assert {one.rows for one in taken[:300]} == {5, 6}
    assert taken[100].latency_ms == pytest.approx(0.99)
    assert taken[-1].latency_ms is None


def test_more_reports_of_wrong_answers_are_an_alert_of_their_own(copied: Path, made_up_traffic: Any) -> None:
    site = Site(copied, made_up_traffic(copied), "1 day")
    rows = site.traffic.predict(site.traffic.draw(2_000), every_s=180)  # 100 hours
    ids = rows["id"].to_list()
    against = ["1" if decision == "0" else "0" for decision in rows["decision"]]
    for place in range(0, 1_500, 50):
        site.traffic.label(ids[place : place + 1], against[place : place + 1], at(place / 20 + 0.2))
    site.look(80)
    assert "reported_wrong_rise" not in site.alerts()
    site.traffic.label(ids[1_500:1_560], against[1_500:1_560], at(82.5))
    site.look(83.1)
    alert = site.alerts()["reported_wrong_rise"]
    assert alert.group == "feedback"
    assert alert.first.sentence.startswith("Users report more wrong answers: 60 in 1 h")
    assert "what people wrote beside them" in alert.look_first
    site.transactions.close()


# --- what is shown besides ------------------------------------------------------------------------------------------


def test_rates_calibration_and_groups_are_shown_where_no_requirement_asks(site: Any) -> None:
    rows = site.traffic.predict(site.traffic.draw(600), every_s=6)
    site.traffic.label(rows["id"].to_list(), rows["outcome"].to_list(), at(0.001))
    watched = site.monitor._versions.in_service()
    contract = msgspec.structs.replace(watched.contract, protected=("campaign",))
    site.monitor._versions._known[watched.title] = replace(watched, contract=contract)
    (judged,), _ = site.look(1)
    asked = {(item.metric, item.slice) for item in watched.required}
    shown = [one for one in judged.measurements if one.check == SHOWN]
    assert {one.metric for one in shown} >= {"referred_share", "fallback_share", "reported_wrong", "accuracy"}
    assert {"calibration_error", "quarantined_share"} <= {one.metric for one in judged.measurements}
    assert not {(one.metric, one.slice) for one in shown} & asked
    assert by_metric(judged, "referred_share")[""].value == 0.0  # by the log, where no server is read
    assert by_metric(judged, "fallback_share")[""].insufficient == "no metrics of a server were read"
    assert by_metric(judged, "calibration_error")[""].value is not None
    assert by_metric(judged, "reported_wrong")[""].n == 600
    groups = {name: one for name, one in by_metric(judged, "accuracy").items() if name.startswith("campaign=")}
    assert 1 < len(groups) <= 20
    assert sum(one.n for one in groups.values()) == 600
    assert {one.requirement for one in judged.verdict.requirements} == {item.line() for item in watched.required}
    before, after, _ = site.monitor.again(judged.window.number)
    assert before == after


def test_a_column_of_many_values_is_shown_by_its_twenty_most_frequent(site: Any) -> None:
    drawn = site.traffic.draw(900)
    names = pl.Series("campaign", [f"c{place % 30:02}" for place in range(600)] + ["c00", "c01"] * 150)
    rows = site.traffic.predict(drawn.with_columns(names), every_s=3)
    site.traffic.label(rows["id"].to_list(), rows["outcome"].to_list(), at(0.001))
    watched = site.monitor._versions.in_service()
    contract = msgspec.structs.replace(watched.contract, protected=("campaign",))
    site.monitor._versions._known[watched.title] = replace(watched, contract=contract, groups={})
    (judged,), _ = site.look(1)
    groups = by_metric(judged, "accuracy")
    assert len([name for name in groups if name.startswith("campaign=")]) == 20
    assert groups["campaign=c00"].value is not None
    assert groups["campaign=c05"].insufficient


# --- several versions -----------------------------------------------------------------------------------------------


def with_another(site: Any, title: str = "clicks-9") -> None:
    """A second version of the project, equal but for its name."""
    watched = site.monitor._versions.in_service()
    site.monitor._versions._known[title] = replace(watched, title=title)


def test_a_version_that_answers_fewer_rows_is_judged_by_its_own_bundle_too(site: Any) -> None:
    with_another(site)
    rows = site.traffic.predict(site.traffic.draw(400), every_s=8)
    site.traffic.label(rows["id"].to_list(), rows["outcome"].to_list(), at(0.001))
    worse = site.traffic.draw(150, seed=3)
    canary = site.traffic.predict(worse, every_s=20, version="clicks-9", scores=np.full(150, 0.99))
    site.traffic.label(canary["id"].to_list(), canary["outcome"].to_list(), at(0.001))
    site.traffic.predict(site.traffic.draw(50), every_s=20, version="clicks-8")
    (judged,), _ = site.look(1)
    assert judged.version == site.traffic.version.title
    (other,) = judged.others
    assert (other.version, other.rows, other.labelled) == ("clicks-9", 150, 150)
    assert {one.requirement: one.outcome.value for one in other.verdict.requirements}["accuracy >= 0.8"] == "fail"
    assert next(one for one in other.shifts if one.subject == "score").effect > 0.3
    assert "accuracy_low" not in site.alerts()
    assert site.summaries()[0].others == {"clicks-9": 150}
    before, after, _ = site.monitor.again(judged.window.number)
    assert before == after


def test_two_versions_that_share_traffic_evenly_do_not_restart_looks_back(site: Any) -> None:
    with_another(site)
    own, other = site.traffic.version.title, "clicks-9"
    for hour in range(8):
        shares = {own: 20, other: 24} if hour % 2 else {own: 24, other: 20}
        for title, count in shares.items():
            site.traffic.predict(site.traffic.draw(count), at(hour), every_s=60, version=title)
    judged, _ = site.look(8)
    assert [one.version for one in judged] == [own] * 8
    with site.transactions.reading() as connection:
        memory = remembered(connection, site.name, site.cut.series)
    assert [None if one is None else one.rows for one in memory.kept.blocks[:4]] == [20, 44, 88, 176]
    site.traffic.predict(site.traffic.draw(20), at(8), every_s=60, version=own)
    site.traffic.predict(site.traffic.draw(50), at(8), every_s=60, version=other)
    assert site.look(9)[0][0].version == other  # far more rows: that one is watched from now on


# --- looks back at labels -------------------------------------------------------------------------------------------


def test_labels_of_every_other_window_are_looked_back_at(site: Any) -> None:
    rows = site.traffic.predict(site.traffic.draw(40 * 24), every_s=90)
    site.look(24)
    ids, labels = rows["id"].to_list(), ["1" if label == "0" else "0" for label in rows["outcome"].to_list()]
    odd = [hour * 40 + place for hour in range(0, 24, 2) for place in range(33)]  # no block but the shortest ends there
    site.traffic.label([ids[place] for place in odd], [labels[place] for place in odd], at(24.4))
    _, revised = site.look(24.5)
    assert {one.window.number % 2 for one in revised} == {0}
    with site.transactions.reading() as connection:
        turns = looked(connection, site.name, site.cut.series)
    first = START_US // HOUR_US
    assert first + 23 in turns
    assert {one.turn for one in turns.values()} == {1}
    found = site.alerts()["accuracy_low"]
    assert any(one.source.endswith("+1") for one in (found.first, found.last, found.worst)) or found.alarms > 12
    site.look(24.6)
    with site.transactions.reading() as connection:
        assert looked(connection, site.name, site.cut.series) == turns  # another turn only after a day


# --- rows that come too late ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", ["1 h", "100 rows"])
def test_rows_that_come_after_their_window_was_judged_are_counted_and_told_once(
    copied: Path, made_up_traffic: Any, window: str
) -> None:
    site = Site(copied, made_up_traffic(copied), window)
    site.traffic.predict(site.traffic.draw(400), every_s=18)
    site.look(1)
    assert "late_rows" not in site.alerts()
    site.traffic.predict(site.traffic.draw(3), at(0.3), every_s=18)
    judged, _ = site.look(2)
    assert [one.counts.get("late_rows", 0) for one in judged] == [3, *[0] * (len(judged) - 1)]
    assert judged[0].notes[0].startswith("3 rows came after their windows were judged (1.5 % of 200)")
    assert "settle_s" in site.alerts()["late_rows"].look_first
    site.traffic.predict(site.traffic.draw(200), at(2), every_s=18)
    assert [one.counts.get("late_rows", 0) for one in site.look(3)[0]] == [0] * (len(judged))
    before, after, why = site.monitor.again(judged[0].window.number)
    assert before == after
    _, _, why = site.monitor.again(site.summaries()[0].number)
    assert "rows or labels" in why
    assert "3 rows more in this window than then" in why
    site.transactions.close()


# --- pauses ---------------------------------------------------------------------------------------------------------


def test_months_without_a_row_are_judged_in_a_moment_and_each_once(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site.traffic.predict(site.traffic.draw(200), every_s=18)
    site.traffic.predict(site.traffic.draw(200), at(1_500), every_s=18)
    site.look(1)
    whole = kept.add_all

    def killed(connection: Any, found: Any) -> None:
        whole(connection, found)
        if len(found) == 256 and found[0][0].window.number > START_US // HOUR_US + 400:
            raise KeyboardInterrupt

    monkeypatch.setattr(kept, "add_all", killed)
    with pytest.raises(KeyboardInterrupt):
        site.look(1_501)
    monkeypatch.undo()
    there = len(site.summaries())
    assert 257 <= there < 1_000
    assert (there - 1) % 256 == 0
    begun = time.process_time()
    judged, _ = site.look(1_501)
    spent = time.process_time() - begun
    numbers = [one.number for one in site.summaries()]
    assert numbers == list(range(numbers[0], numbers[0] + 1_501))
    assert [one.rows for one in site.summaries()] == [200, *[0] * 1_499, 200]
    assert len(judged) == 1_501 - there
    assert spent / len(judged) < 0.01  # 1 to 2 ms on a quiet machine; one by one it was 17 to 43
    before, after, _ = site.monitor.again(numbers[700])
    assert before == after


def test_an_empty_window_is_judged_alike_alone_and_with_others(
    copied: Path, made_up_traffic: Any, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(copied, other)
    found = []
    for folder, looks in ((copied, range(1, 9)), (other, (1, 8))):
        site = Site(folder, made_up_traffic(folder))
        rows = site.traffic.predict(site.traffic.draw(200), every_s=18)
        site.traffic.label(rows["id"].to_list(), wrong(rows, 0.5), at(0.001))
        with site.transactions.changing() as connection:
            cursors.add_readings(connection, site.name, readings(500))
        judged = [one for hours in looks for one in site.look(hours)[0]]
        found.append([msgspec.structs.replace(one, judged_at_us=0, known_by_us=0) for one in judged])
        found.append(sorted((rule, alert.alarms, alert.last.source) for rule, alert in site.alerts().items()))
        site.transactions.close()
    assert found[0] == found[2]
    assert found[1] == found[3]


def test_waivers_are_read_once_a_look(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site.traffic.predict(site.traffic.draw(800), every_s=18)
    calls = []
    whole = site.monitor._versions.waivers

    def counted() -> Any:
        calls.append(1)
        return whole()

    monkeypatch.setattr(site.monitor._versions, "waivers", counted)
    assert len(site.look(4)[0]) == 4
    assert len(calls) == 1


# --- windows that are cut otherwise ---------------------------------------------------------------------------------


def test_windows_that_are_cut_otherwise_and_back_again_hold_each_row_once(copied: Path, made_up_traffic: Any) -> None:
    traffic = made_up_traffic(copied)
    rows = traffic.predict(traffic.draw(1_200), every_s=18)  # six hours
    spans, labelled = [], []
    for window, hours in (("130 rows", 2), ("1 h", 3), ("100 rows", 4.2), ("1 h", 6)):
        site = Site(copied, traffic, window)
        judged, _ = site.look(hours)
        spans += [one.window for one in judged]
        labelled.append(judged)
        site.transactions.close()
    spans.sort(key=lambda one: one.until)
    assert all(before.until <= after.after for before, after in pairwise(spans))
    assert sum(one.counts["rows"] for judged in labelled for one in judged) == 1_200
    site = Site(copied, traffic, "1 h")
    number = labelled[0][0].window.number
    traffic.label(rows["id"].to_list()[:130], rows["outcome"].to_list()[:130], at(6.1))
    _, revised = site.look(6.5)
    assert [(one.window.series, one.window.number, one.counts["labelled"]) for one in revised] == [
        ("130 rows", number, 130)
    ]
    site.transactions.close()


# --- judged again, when readings are gone ---------------------------------------------------------------------------


def test_a_window_whose_readings_are_gone_says_so_and_is_else_the_same(site: Any) -> None:
    site.traffic.predict(site.traffic.draw(200), every_s=18)
    with site.transactions.changing() as connection:
        cursors.add_readings(connection, site.name, readings(120, latency=3))
    (judged, _), _ = site.look(2)
    number = judged.window.number
    assert site.monitor.again(number).why == ""
    with site.transactions.changing() as connection:
        cursors.forget_readings(connection, site.name, START_US + HOUR_US)
    before, after, why = site.monitor.again(number)
    assert before == after
    assert "kept for four weeks" in why
    site.traffic.predict(site.traffic.draw(5), at(0.5), every_s=18)
    before, after, _ = site.monitor.again(number)
    assert before != after  # only what is gone is taken from there


# --- a window that was judged before these were looked at -----------------------------------------------------------


def test_a_window_of_an_earlier_edition_opens_and_comes_out_as_it_was(site: Any) -> None:
    site.traffic.predict(site.traffic.draw(200), every_s=18)
    (judged,), _ = site.look(1)
    plain = msgspec.to_builtins(judged)
    for name in ("others", "parts", "edition"):
        del plain[name]
    plain["measurements"] = [one for one in plain["measurements"] if one.get("check") != SHOWN]
    old = msgspec.msgpack.decode(msgspec.msgpack.encode(plain), type=Judged)
    assert (old.others, old.edition) == ((), 0)
    asked = site.monitor._asking.asked(old.window, old.judged_at_us, old.known_by_us, version=old.version)
    look = Look(block=blocks_ending_at(old.window.number, 1)[0], sketch=None)
    sketch, _ = sketched(asked)
    look = msgspec.structs.replace(look, sketch=sketch)
    asked = replace(asked, looks=(look,), edition=old.edition)
    assert judged_again(old, asked, None) == (old, old, "")


# --- wide tables ----------------------------------------------------------------------------------------------------


def test_what_is_kept_of_a_window_of_500_columns_is_small_and_comes_back_whole(site: Any) -> None:
    random = np.random.default_rng(5)
    labels = [f"label {place:03} of a column" for place in range(64)]
    wide = pl.DataFrame(
        {
            f"c{place:03}": random.normal(size=3_000) if place % 2 else random.choice(labels, 3_000)
            for place in range(500)
        }
    )
    window = sketch_like(sketch(wide, wide.columns, together=wide.columns), wide[:1_000])
    assert window.joint is not None
    assert len(window.joint.columns) == 64  # joint sums grow with the square, so that no more are kept
    assert len(zlib.compress(msgspec.msgpack.encode(window), 1)) < 300_000
    memory = Memory("v", Kept(number=8, blocks=(window, None, *[merge(window, window)] * 8)))
    with site.transactions.changing() as connection:
        remember(connection, site.name, "1 h", memory)
        assert remembered(connection, site.name, "1 h") == memory
        assert len(cursors.cursor(connection, site.name, "looks:1 h")) < 1_500_000
