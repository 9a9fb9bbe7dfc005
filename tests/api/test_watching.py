"""Watching: windows judged once each, by the standard of the release, whatever happens to the monitor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from roadworthy import api, assembly
from roadworthy.api.watching.monitor import Monitor, Watch
from roadworthy.api.watching.traffic import LakeTraffic
from roadworthy.api.watching.versions import Versions
from roadworthy.lifecycle import cursors
from roadworthy.lifecycle import watching as kept
from roadworthy.lifecycle.alerts.rows import all_alerts, open_alerts
from roadworthy.lifecycle.alerts.store import AlertStore
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.records.alert import Alert, AlertState, Policy
from roadworthy.records.evidence import Measurement
from roadworthy.records.reading import Reading
from roadworthy.records.verdict import Outcome
from roadworthy.records.window import Cut, Judged, WindowSummary

HOUR_US = 3_600_000_000
START = datetime(2026, 3, 2, tzinfo=UTC)
START_US = int(START.timestamp() * 1e6)


Traffic = Callable[[Path], Any]


class Site:
    """A project with traffic, and a monitor whose clock a test moves."""

    def __init__(self, folder: Path, traffic: Any, window: str = "1 h", policy: Policy | None = None) -> None:
        project = assembly.open_project(folder)
        self.traffic = traffic
        self.name, self.cut = project.spec.name, Cut.parse(window)
        self.transactions = Transactions(project.settings.registry)
        data = project.spec.data
        self.monitor = Monitor(
            Watch(self.name, self.cut, policy or Policy()),
            LakeTraffic(project.settings.lake, entity=data.entity, time=data.time),
            Versions(project),
            self.transactions,
            AlertStore(self.name),
        )

    def hour(self, hours: float) -> int:
        """So many hours after the start, and as long as a row takes to the log."""
        return START_US + int(hours * HOUR_US) + 6_000_000

    def look(self, hours: float) -> tuple[tuple[Judged, ...], tuple[Judged, ...]]:
        """What is found at an instant."""
        judged: tuple[Judged, ...] = ()
        while True:
            ticked = self.monitor.tick(self.hour(hours))
            judged += ticked.judged
            if not ticked.behind:
                return judged, ticked.revised

    def summaries(self) -> list[WindowSummary]:
        with self.transactions.reading() as connection:
            return list(kept.summaries(connection, self.name, self.cut.series))

    def alerts(self, *, everything: bool = False) -> dict[str, Alert]:
        with self.transactions.reading() as connection:
            found = all_alerts(connection, self.name, 100) if everything else open_alerts(connection, self.name)
        return {alert.rule: alert for alert in found}


@pytest.fixture
def site(copied: Path, made_up_traffic: Traffic) -> Iterator[Site]:
    made = Site(copied, made_up_traffic(copied))
    yield made
    made.transactions.close()


def wrong(rows: pl.DataFrame, share: float) -> list[str]:
    """The outcomes of rows, of which a share was turned round."""
    turned = rows.get_column("outcome").replace_strict({"0": "1", "1": "0"})
    kept_ = rows.get_column("outcome")
    return [turned[place] if (place * 7919) % 1000 < share * 1000 else kept_[place] for place in range(rows.height)]


def outcome(judged: Judged, line: str) -> Outcome:
    return next(one.outcome for one in judged.verdict.requirements if one.requirement == line)


def deciding(judged: Judged, line: str) -> Measurement:
    found = next(one.measurement for one in judged.verdict.requirements if one.requirement == line)
    assert found is not None
    return found


def test_each_window_is_judged_once_and_in_turn(site: Site) -> None:
    site.traffic.predict(site.traffic.draw(1200), every_s=18)  # six hours
    numbers = []
    for hours in (0.5, 1, 1.2, 3.1, 3.1, 7):
        numbers += [judged.window.number - START_US // HOUR_US for judged in site.look(hours)[0]]
    assert numbers == [0, 1, 2, 3, 4, 5, 6]
    assert [one.rows for one in site.summaries()] == [200] * 6 + [0]


def test_windows_by_count_follow_each_other(copied: Path, made_up_traffic: Traffic) -> None:
    site = Site(copied, made_up_traffic(copied), "250 rows")
    site.traffic.predict(site.traffic.draw(1100), every_s=10)
    first, _ = site.look(1)
    rest, _ = site.look(10)
    assert [judged.window.number for judged in (*first, *rest)] == [0, 1, 2, 3]
    assert {judged.counts["rows"] for judged in (*first, *rest)} == {250}
    assert all(before.window.until == after.window.after for before, after in pairwise((*first, *rest)))


def test_labels_that_come_late_revise_a_window_and_the_old_one_stays(site: Site) -> None:
    rows = site.traffic.predict(site.traffic.draw(400), every_s=18)
    (first, *_), _ = site.look(2)
    assert deciding(first, "accuracy >= 0.8").method.startswith("estimated")
    ids, labels = rows["id"].to_list(), rows["outcome"].to_list()
    site.traffic.label(ids[:200], labels[:200], START + timedelta(hours=2.5))
    _, revised = site.look(3)
    assert [(one.window.number, one.revision) for one in revised] == [(first.window.number, 1)]
    assert revised[0].counts["labelled"] == 200
    assert outcome(revised[0], "accuracy >= 0.8") is Outcome.PASS
    assert not deciding(revised[0], "accuracy >= 0.8").method.startswith("estimated")
    with site.transactions.reading() as connection:
        revisions = kept.revisions(connection, site.name, site.cut.series, first.window.number)
    assert revisions == (first, revised[0])


def test_labels_twice_for_unknown_ids_contradicting_and_late_by_months_add_up(
    copied: Path, made_up_traffic: Traffic
) -> None:
    site = Site(copied, made_up_traffic(copied), "1 day")
    rows = site.traffic.predict(site.traffic.draw(200), every_s=18)
    ids, labels = rows["id"].to_list(), rows["outcome"].to_list()
    site.look(24)
    at = START + timedelta(hours=30)
    site.traffic.label(ids[:100], labels[:100], at)
    site.traffic.label([*ids[:100], "nobody"], [*labels[:100], "1"], at + timedelta(minutes=1))
    _, revised = site.look(48)
    assert revised[0].counts["labelled"] == 100
    turned = ["1" if label == "0" else "0" for label in labels[:100]]
    site.traffic.label(ids[:100], turned, at + timedelta(days=60))
    _, again = site.look(62 * 24)
    newest = [one for one in again if one.window.number == revised[0].window.number]
    assert newest[0].counts == {**revised[0].counts}
    accuracy = {one.revision: one.verdict.requirements[0].measurement for one in (revised[0], newest[0])}
    assert accuracy[1] is not None
    assert accuracy[2] is not None
    assert accuracy[1].value == pytest.approx(1 - (accuracy[2].value or 0))
    assert site.monitor.again(revised[0].window.number, 1)[1] == revised[0]  # what was known then, today
    site.transactions.close()


def test_a_past_window_comes_out_again_as_it_was_judged(site: Site) -> None:
    rows = site.traffic.predict(site.traffic.draw(400), every_s=18)
    site.traffic.label(rows["id"].to_list(), rows["outcome"].to_list(), START + timedelta(hours=1.5))
    site.look(1)
    site.look(2)
    number = site.summaries()[0].number
    before, after, _ = site.monitor.again(number)
    assert before == after
    assert before.revision == 1
    assert len(before.shifts) > 10
    assert site.monitor.again(number, 0)[0].counts["labelled"] == 0
    assert site.monitor.again(number, 0)[0] == site.monitor.again(number, 0)[1]


def test_quality_that_falls_alarms_and_stays_latched_when_the_next_window_is_good(site: Site) -> None:
    rows = site.traffic.predict(site.traffic.draw(3000), every_s=6)  # five hours
    labels = rows["outcome"].to_list()
    bad = wrong(rows[1200:1800], 0.5)
    site.traffic.label(rows["id"].to_list(), labels[:1200] + bad + labels[1800:], START + timedelta(seconds=1))
    site.look(2)
    assert "accuracy_low" not in site.alerts()
    (third,), _ = site.look(3)
    assert outcome(third, "accuracy >= 0.8") is Outcome.FAIL
    alert = site.alerts()["accuracy_low"]
    assert (alert.state, alert.alarms) == (AlertState.FIRING, 1)
    assert alert.first.evidence["value"] < 0.65
    site.look(5)
    alert = site.alerts()["accuracy_low"]
    assert alert.state is AlertState.FIRING
    assert "accuracy is" in alert.first.sentence


def test_what_a_person_has_signed_for_calls_nobody(site: Site, copied: Path) -> None:
    api.waive("accuracy >= 0.8", by="Ann Lee", reason="pilot", expires="30 days", project=copied)
    rows = site.traffic.predict(site.traffic.draw(600), every_s=6)
    site.traffic.label(rows["id"].to_list(), wrong(rows, 0.5), START + timedelta(seconds=1))
    (judged,), _ = site.look(1)
    assert outcome(judged, "accuracy >= 0.8") is Outcome.WAIVED
    assert "accuracy_low" not in site.alerts()
    assert "log_loss_high" in site.alerts()


def test_what_servers_say_of_themselves_is_judged_with_the_window(site: Site) -> None:
    site.traffic.predict(site.traffic.draw(200), every_s=18)
    told = [
        Reading(
            at_us=START_US + minute * 60_000_000,
            address="http://127.0.0.1:8080",
            counters={"rows": 100.0 * minute},
            requests={"predict": {200: 100.0 * minute, 500: 10.0 * minute}},
            ends_s=(0.001, 0.01, 0.1),
            buckets={"predict": (90.0 * minute, 20.0 * minute, 0.0, 0.0)},
        )
        for minute in range(60)
    ]
    with site.transactions.changing() as connection:
        cursors.add_readings(connection, site.name, told)
    (judged,), _ = site.look(1)
    assert outcome(judged, "latency_p99 <= 50 ms") is Outcome.PASS
    assert outcome(judged, "availability >= 0.999") is Outcome.FAIL
    assert "availability_low" in site.alerts()
    before, after, _ = site.monitor.again(judged.window.number)
    assert before == after


def test_errors_that_become_more_are_seen_label_by_label(site: Site) -> None:
    rows = site.traffic.predict(site.traffic.draw(3000), every_s=6)
    ids, labels = rows["id"].to_list(), rows["outcome"].to_list()
    site.look(5)
    site.traffic.label(ids[:1500], labels[:1500], START + timedelta(hours=6))
    site.look(6.1)
    assert "errors_rise" not in site.alerts()
    site.traffic.label(ids[1500:], wrong(rows[1500:], 0.4), START + timedelta(hours=7))
    site.look(7.1)
    assert "errs more often" in site.alerts()["errors_rise"].first.sentence


def test_a_column_that_changes_is_told_in_words(site: Site) -> None:
    changed = site.traffic.draw(2_400, seed=3, change=lambda rows: rows.with_columns(pl.col("dwell_seconds") * 3))
    site.traffic.predict(site.traffic.draw(600), every_s=6)
    site.traffic.predict(changed, START + timedelta(hours=1), every_s=6)
    site.look(1)
    assert "drift:columns" not in site.alerts()
    site.look(5)
    alert = site.alerts()["drift:columns"]
    assert "dwell_seconds" in alert.first.sentence
    assert alert.group == "data"


def test_rows_that_were_scored_otherwise_than_offline_are_skew(site: Site) -> None:
    rows = site.traffic.draw(200)
    logged = site.traffic.predict(rows, every_s=18)
    site.look(1)
    assert "skew" not in site.alerts()
    shifted = rows.with_columns(pl.col("clicks") + 1)
    site.traffic.predict(shifted, START + timedelta(hours=1), every_s=18, scores=logged["score"].to_numpy())
    site.look(2)
    assert "get another score offline" in site.alerts()["skew"].first.sentence


def test_another_version_is_judged_by_its_own_bundle_and_counts_apart(site: Site) -> None:
    rows = site.traffic.draw(300)
    site.traffic.predict(rows[:200], every_s=6)
    site.traffic.predict(rows[200:], START + timedelta(minutes=30), every_s=6, version="constant")
    (judged,), _ = site.look(1)
    assert judged.counts["other_versions"] == 100
    assert judged.version == site.traffic.version.title


def test_a_check_that_breaks_is_an_alert_and_stops_no_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a row of somebody")

    monkeypatch.setattr("roadworthy.stages.watching.whole.comparisons", broken)
    site.traffic.predict(site.traffic.draw(200), every_s=18)
    (judged,), _ = site.look(1)
    assert "ZeroDivisionError" in judged.notes[0]
    assert "somebody" not in judged.notes[0]
    assert set(site.alerts()) == {"monitor:data"}
    assert judged.verdict.requirements


def test_two_monitors_judge_no_window_twice(site: Site, copied: Path) -> None:
    site.traffic.predict(site.traffic.draw(600), every_s=18)
    other = Site(copied, site.traffic)
    seen = [judged.window.number for judged in site.look(2)[0]]
    seen += [judged.window.number for judged in other.look(3)[0]]
    other.transactions.close()
    assert len(seen) == len(set(seen)) == 3


def test_many_windows_are_read_back_in_a_moment(site: Site) -> None:
    site.traffic.predict(site.traffic.draw(200), every_s=18)
    (judged,), _ = site.look(1)
    summary = site.summaries()[0]
    with site.transactions.changing() as connection:
        for number in range(1, 1_000):
            window = msgspec.structs.replace(judged.window, number=judged.window.number + number)
            found = msgspec.structs.replace(judged, window=window)
            kept.add(connection, found, msgspec.structs.replace(summary, number=window.number), None)
    begun = time.perf_counter()
    assert len(site.summaries()) == 1_000
    assert time.perf_counter() - begun < 0.5  # benchmarks/watching.py has a year of hourly ones
