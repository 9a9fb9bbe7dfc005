"""Watching, what a second review found: told at every poll, counted in many windows, dropped, or seen by nobody."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadworthy.errors import RegistryError
from roadworthy.lifecycle import watching as kept
from roadworthy.lifecycle.alerts.rows import events
from roadworthy.records.alert import AlertState, Policy
from roadworthy.records.window import Place
from roadworthy.stages.watching.whole import allotment_for, judged_window, late_of


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
at, wrong = _GAPS.at, _GAPS.wrong
LATE = "monitor:late labels"


@pytest.fixture
def site(copied: Path, made_up_traffic: Any) -> Iterator[Any]:
    made = Site(copied, made_up_traffic(copied))
    yield made
    made.transactions.close()


def broken_again(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """From now on one window cannot be judged again."""
    whole = judged_window

    def broken(asked: Any) -> Any:
        if asked.window.number == number:
            raise ZeroDivisionError
        return whole(asked)

    monkeypatch.setattr("roadworthy.api.watching.revising.judged_window", broken)


# --- late labels that wait ------------------------------------------------------------------------------------------


def test_a_window_that_cannot_be_judged_again_is_told_once_an_hour(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = site.traffic.predict(site.traffic.draw(400), every_s=18)
    first = site.look(2)[0][0].window.number
    ids, labels = rows["id"].to_list(), rows["outcome"].to_list()
    site.traffic.label(ids, labels, at(2.5))
    broken_again(monkeypatch, first)
    for hours in (2.9, 2.901, 2.902, 2.93, 2.96):
        assert site.look(hours)[1] == () or hours == 2.9
    alert = site.alerts()[LATE]
    assert alert.alarms == 1
    with site.transactions.reading() as connection:
        assert [one.what for one in events(connection, site.name, alert.number)] == ["alarm", "fired", "told"]
    site.look(3.1)
    site.look(3.2)
    assert site.alerts()[LATE].alarms == 2
    monkeypatch.undo()
    assert [one.window.number for one in site.look(3.3)[1]] == [first]
    assert (site.alerts()[LATE].alarms, site.alerts()[LATE].clear_in_row) == (2, 1)


def test_windows_that_get_on_do_not_resolve_what_is_told_of_those_cut_otherwise(
    copied: Path, made_up_traffic: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic = made_up_traffic(copied)
    rows = traffic.predict(traffic.draw(1_400), every_s=18)  # seven hours
    old = Site(copied, traffic, "1 h")
    first = old.look(2)[0][0].window.number
    old.transactions.close()
    broken_again(monkeypatch, first)
    site = Site(copied, traffic, "30 min", Policy(resolve_after=2))
    ids, labels = rows["id"].to_list(), rows["outcome"].to_list()
    site.look(4)
    traffic.label(ids[:200], labels[:200], at(4.1))
    for place, hours in enumerate((4.3, 5.3, 6.3)):
        cut = slice(400 + 200 * place, 600 + 200 * place)
        traffic.label(ids[cut], labels[cut], at(hours - 0.1))
        site.look(hours)
    alerts = site.alerts(everything=True)
    assert LATE not in alerts
    assert alerts[f"{LATE} of 1 h"].state is AlertState.FIRING
    assert alerts[f"{LATE} of 1 h"].alarms == 3
    site.transactions.close()


# --- windows without a row ------------------------------------------------------------------------------------------


def test_a_row_that_lands_between_two_reads_is_in_no_empty_window_and_told_as_late(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.traffic.predict(site.traffic.draw(200), every_s=18)
    site.look(1)
    traffic, asking = site.monitor._traffic, site.monitor._asking
    read = type(traffic).rows
    landed: list[int] = []

    def rows(self: Any, *asked: Any) -> Any:
        if not landed:
            landed.append(site.traffic.predict(site.traffic.draw(3), at(1.2), every_s=18).height)
        return read(self, *asked)

    monkeypatch.setattr(type(traffic), "rows", rows)
    judged, _ = site.look(6)
    assert asking is site.monitor._asking
    assert [one.counts["rows"] for one in judged] == [0] * 5
    monkeypatch.undo()
    site.traffic.predict(site.traffic.draw(20), at(6.1), every_s=18)
    (judged_next,), _ = site.look(7)
    assert judged_next.counts["late_rows"] == 3


# --- hours that are caught up with ----------------------------------------------------------------------------------


def test_alerts_of_hours_are_the_same_one_by_one_and_all_at_once(
    copied: Path, made_up_traffic: Any, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(copied, other)
    found = []
    weeks, away, until = 24 * 14.5, 24 * 14.5 + 8, 24 * 14.5 + 44
    steps = [weeks + hour for hour in range(int(until - weeks) + 1)]
    for folder, looks in ((copied, [weeks, until]), (other, steps)):
        site = Site(folder, made_up_traffic(folder), "30 days", Policy(resolve_after=6))
        count = int(weeks * 4)
        site.traffic.predict(site.traffic.draw(count), every_s=900)
        site.traffic.predict(site.traffic.draw(int((until - away) * 4)), at(away), every_s=900)
        for hours in looks:
            site.look(hours)
        alerts = site.alerts(everything=True)
        found.append({rule: (one.state, one.alarms, one.clear_in_row, one.last.source) for rule, one in alerts.items()})
        site.transactions.close()
    assert found[1]["volume_trend"][0] is AlertState.RESOLVED
    assert found[0] == found[1]


# --- a monitor that was forgotten -----------------------------------------------------------------------------------


def test_a_monitor_that_was_forgotten_beside_other_windows_judges_no_row_twice(
    copied: Path, made_up_traffic: Any
) -> None:
    traffic = made_up_traffic(copied)
    traffic.predict(traffic.draw(1_200), every_s=18)  # six hours
    old, new = Site(copied, traffic, "1 h"), Site(copied, traffic, "30 min")
    judged = [*old.look(1)[0], *new.look(2.5)[0], *old.look(4)[0], *new.look(5.5)[0], *old.look(6)[0]]
    spans = sorted((one.window for one in judged), key=lambda one: one.until)
    assert all(before.until <= after.after for before, after in pairwise(spans))
    assert sum(one.counts["rows"] for one in judged) == 1_200
    old.transactions.close()
    new.transactions.close()


def test_rows_that_another_monitor_cut_otherwise_meanwhile_are_refused(
    copied: Path, made_up_traffic: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic = made_up_traffic(copied)
    traffic.predict(traffic.draw(600), every_s=18)  # three hours
    old, new = Site(copied, traffic, "1 h"), Site(copied, traffic, "30 min")
    old.look(1)
    due = old.monitor._due(old.hour(2))
    new.look(2)
    monkeypatch.setattr(old.monitor, "_due", lambda _watermark_us: due)
    with pytest.raises(RegistryError, match="cut otherwise"):
        old.look(2)
    monkeypatch.undo()
    assert [one.counts["rows"] for one in old.look(3)[0]] == [200]
    with old.transactions.reading() as connection:
        assert kept.ends(connection, old.name, ["1 h"]) == Place(START_US + 3 * HOUR_US)
    old.transactions.close()
    new.transactions.close()


# --- rows that came too late ----------------------------------------------------------------------------------------


def test_late_rows_are_said_to_count_in_a_later_revision_and_do(site: Any) -> None:
    rows = site.traffic.predict(site.traffic.draw(200), every_s=18)
    (first,), _ = site.look(1)
    site.traffic.predict(site.traffic.draw(3), at(0.3), every_s=18)
    (told,), _ = site.look(2)
    assert told.notes[0].endswith("; only a later revision of these counts them.")
    assert site.alerts()["late_rows"].first.sentence == told.notes[0]
    site.traffic.label(rows["id"].to_list(), rows["outcome"].to_list(), at(2.5))
    _, (revised,) = site.look(2.6)
    assert (revised.window.number, revised.counts["rows"]) == (first.window.number, 203)
    asked = site.monitor._asking.asked(told.window, told.judged_at_us, told.known_by_us, version=told.version)
    asked = replace(asked, looks=(), late=late_of(told))
    assert judged_window(asked).judged.notes == told.notes
    before = judged_window(replace(asked, edition=1)).judged  # as it stands in windows that were judged by then
    assert before.notes[0].endswith("; no window counts them.")


# --- a new version beside the old one -------------------------------------------------------------------------------


def test_a_bad_version_that_answers_much_beside_a_good_one_alarms_by_itself(site: Any) -> None:
    _GAPS.with_another(site)
    rows = site.traffic.predict(site.traffic.draw(400), every_s=8)
    site.traffic.label(rows["id"].to_list(), rows["outcome"].to_list(), at(0.001))
    new = site.traffic.predict(site.traffic.draw(350, seed=3), every_s=8, version="clicks-9", scores=np.full(350, 0.99))
    (judged,), _ = site.look(1)
    assert judged.version == site.traffic.version.title
    alerts = site.alerts()
    assert {"drift:score@clicks-9", "skew@clicks-9"} <= set(alerts)
    assert alerts["drift:score@clicks-9"].first.sentence.startswith(
        "clicks-9, which answered 350 rows beside another: "
    )
    assert "accuracy_low@clicks-9" not in alerts  # no label yet
    site.traffic.label(new["id"].to_list(), new["outcome"].to_list(), at(1.5))
    assert len(site.look(1.6)[1]) == 1
    alerts = site.alerts()
    assert alerts["accuracy_low@clicks-9"].severity == "page"
    assert not {rule for rule in alerts if "@" not in rule} & {"accuracy_low", "drift:score", "skew"}
    before, after, _ = site.monitor.again(judged.window.number)
    assert before == after


def test_versions_share_the_alarm_budget_by_the_rows_that_they_answer(site: Any) -> None:
    _GAPS.with_another(site)
    site.traffic.predict(site.traffic.draw(300), every_s=6)
    site.traffic.predict(site.traffic.draw(150, seed=3), every_s=6, version="clicks-9")
    site.traffic.predict(site.traffic.draw(40, seed=4), every_s=6, version="clicks-8")  # nobody's version
    (judged,), _ = site.look(1)
    asking = site.monitor._asking
    alone = allotment_for(site.monitor._versions.in_service(), 3_600.0)
    asked = asking.asked(judged.window, site.hour(1), site.hour(1))
    assert asked.allotment.budget.false_alarms == pytest.approx(alone.budget.false_alarms * 2 / 3)
    assert asked.allotment.scales == alone.scales
    confidences = {
        one.rule.partition("@")[2]: one.evidence["confidence"]
        for one in judged_window(replace(asked, looks=())).signals
        if one.rule.startswith("estimated:accuracy_low")
    }
    assert 1 - confidences["clicks-9"] == pytest.approx((1 - confidences[""]) / 2)
    assert not [rule for rule in site.alerts() if "@" in rule]
