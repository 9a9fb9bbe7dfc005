"""Watching, where it once went wrong: what must stop no window, count nothing twice, and lose no label."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from roadworthy.adapters.prediction_log import FeedbackStore, read_log
from roadworthy.api.watching import monitor as monitoring
from roadworthy.api.watching.traffic import LakeTraffic
from roadworthy.errors import StorageError, UsageError
from roadworthy.lifecycle import cursors
from roadworthy.measures.alarms.budget import Family
from roadworthy.measures.alarms.deciding import members_of
from roadworthy.measures.drift import compared
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.records.feedback import Feedback
from roadworthy.records.project import Task
from roadworthy.records.window import Place
from roadworthy.stages.watching.data import data_members
from roadworthy.stages.watching.judging import _deciding
from roadworthy.stages.watching.observed import score_matrix
from roadworthy.stages.watching.whole import judged_window


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


@pytest.fixture
def site(copied: Path, made_up_traffic: Any) -> Iterator[Any]:
    made = Site(copied, made_up_traffic(copied))
    yield made
    made.transactions.close()


def at(hours: float) -> datetime:
    moment: datetime = START + timedelta(hours=hours)
    return moment


def turned(labels: list[str]) -> list[str]:
    return ["1" if label == "0" else "0" for label in labels]


def label_entity(lake: Path, entity: str, time: datetime, hours: float) -> None:
    """A label that names whom it is about, and not which prediction."""
    time_us = int((time - datetime(1970, 1, 1)).total_seconds() * 1e6)  # noqa: DTZ001 - as the log has it
    told = Feedback(at_us=START_US + int(hours * HOUR_US), entity=entity, time_us=time_us, label="1")

    async def add() -> None:
        store = FeedbackStore(lake, worker="by-entity")
        await store.add([told])
        store.close()

    asyncio.run(add())


def test_a_version_that_the_registry_lacks_is_another_version(site: Any) -> None:
    for name in ("clicks-99", "clicks-99999999999999999999", "clicks-"):
        site.traffic.predict(site.traffic.draw(50), every_s=18, version=name)
    site.traffic.predict(site.traffic.draw(100), every_s=18)
    (judged,), _ = site.look(1)
    assert judged.version == site.traffic.version.title
    assert judged.counts["other_versions"] == 150


def test_a_window_whose_bundle_is_gone_waits_and_people_are_told(site: Any, tmp_path: Path) -> None:
    site.traffic.predict(site.traffic.draw(100), every_s=18)
    package, away = site.traffic.lake / "package", tmp_path / "away"
    shutil.move(package, away)
    with pytest.raises(StorageError):
        site.look(1)
    assert "could not be judged, and waits" in site.alerts()["monitor:windows"].first.sentence
    shutil.move(away, package)
    assert len(site.look(1)[0]) == 1


def test_late_labels_of_a_window_that_cannot_be_judged_again_stop_no_other(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = site.traffic.predict(site.traffic.draw(400), every_s=18)
    first, second = (judged.window.number for judged in site.look(2)[0])
    ids, labels = rows["id"].to_list(), rows["outcome"].to_list()
    site.traffic.label(ids, labels, at(2.5))
    whole = judged_window

    def broken(asked: Any) -> Any:
        if asked.window.number == first:
            raise ZeroDivisionError("the label of somebody")
        return whole(asked)

    monkeypatch.setattr("roadworthy.api.watching.revising.judged_window", broken)
    assert [one.window.number for one in site.look(2.9)[1]] == [second]
    sentence = site.alerts()["monitor:late labels"].first.sentence
    assert "ZeroDivisionError" in sentence
    assert "somebody" not in sentence
    monkeypatch.undo()
    assert [one.window.number for one in site.look(2.95)[1]] == [first]


@pytest.mark.parametrize("hours", [26, 60])
def test_labels_by_entity_stop_no_window_without_rows(site: Any, hours: float) -> None:
    rows = site.traffic.predict(site.traffic.draw(200), every_s=18)
    label_entity(site.traffic.lake, rows["user_id"][0], rows["timestamp"][0], hours - 1)
    judged, revised = site.look(hours)
    assert len(judged) == hours
    assert revised == ()  # one label of a day before says nothing, but for the day below
    assert site.summaries()[-1].rows == 0


def test_a_row_without_a_score_is_one_alert_and_is_left_out_of_everything(site: Any) -> None:
    rows = site.traffic.draw(200)
    scores = np.random.default_rng(3).uniform(size=200)
    scores[5] = np.nan
    logged = site.traffic.predict(rows, every_s=18, scores=scores)
    site.traffic.label(logged["id"].to_list(), logged["outcome"].to_list(), at(0.1))
    (judged,), _ = site.look(1)
    assert set(site.alerts()) - {"drift:score", "accuracy_low", "log_loss_high", "recall_low", "skew"} == {
        "monitor:scores"
    }
    assert "1 of 200 rows" in site.alerts()["monitor:scores"].first.sentence
    assert judged.notes == (site.alerts()["monitor:scores"].first.sentence,)
    assert not any(one.error for one in judged.measurements)
    assert next(one.n for one in judged.measurements if one.metric == "accuracy") == 199
    before, after, _ = site.monitor.again(judged.window.number)
    assert before == after


def test_scores_of_several_classes_may_be_missing() -> None:
    rows = pl.DataFrame({"_score": [[0.2, 0.3, 0.5], None, [0.1, None, 0.9], [0.5, 0.5]]})
    found = score_matrix(rows, Task.MULTICLASS)
    assert found.shape == (4, 3)
    assert np.isnan(found).sum(axis=1).tolist() == [0, 3, 1, 3]
    assert score_matrix(rows[1:2], Task.MULTICLASS).shape == (1, 1)


def test_rows_that_cannot_be_counted_are_an_alert_and_the_window_is_judged(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    site.traffic.predict(site.traffic.draw(200), every_s=18)
    monkeypatch.setattr("roadworthy.stages.watching.watched.Watched.sketch", broken)
    (judged,), _ = site.look(1)
    assert "could not be counted: ZeroDivisionError" in judged.notes[0]
    assert set(site.alerts()) == {"monitor:data"}


def test_the_first_window_by_count_begins_with_its_first_row(copied: Path, made_up_traffic: Any) -> None:
    site = Site(copied, made_up_traffic(copied), "100 rows")
    site.traffic.predict(site.traffic.draw(400), every_s=18)
    judged, _ = site.look(3)
    assert [one.counts["rows"] for one in judged] == [100] * 4
    seconds = [site.monitor._asking.seconds(one.window) for one in judged]
    assert max(span for one in seconds for span in one.values()) == pytest.approx(4 * 1800, rel=0.01)
    site.transactions.close()


def test_windows_that_are_cut_otherwise_begin_where_the_others_ended(copied: Path, made_up_traffic: Any) -> None:
    site = Site(copied, made_up_traffic(copied))
    rows = site.traffic.predict(site.traffic.draw(420), every_s=18)
    site.look(1)
    other = Site(copied, site.traffic, "100 rows")
    judged, _ = other.look(3)
    assert [one.counts["rows"] for one in judged] == [100, 100]
    assert judged[0].window.after >= Place(START_US + HOUR_US)
    site.traffic.label(rows["id"].to_list()[:150], rows["outcome"].to_list()[:150], at(3.1))
    assert [one.window.series for one in other.look(3.5)[1]] == ["1 h"]  # those of the other series are news there
    for one in (site, other):
        one.transactions.close()


def test_more_rows_than_are_placed_at_once_are_all_judged(
    copied: Path, made_up_traffic: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "_MOST_PLACES", 150)
    site = Site(copied, made_up_traffic(copied), "50 rows")
    site.traffic.predict(site.traffic.draw(500), every_s=18)
    assert len(site.look(10)[0]) == 10  # a look ends when nothing is left behind
    site.transactions.close()


def test_few_labels_in_each_window_are_seen_together(site: Any) -> None:
    rows = site.traffic.predict(site.traffic.draw(50 * 24), every_s=72)
    site.look(24)
    ids, labels = rows["id"].to_list(), rows["outcome"].to_list()
    few = [hour * 50 + place for hour in range(24) for place in range(20)]
    site.traffic.label([ids[place] for place in few], turned([labels[place] for place in few]), at(25))
    site.look(26)
    site.look(28)  # a window that has no label itself looks back at them
    assert site.alerts()["accuracy_low"].first.evidence["scale"] > 0
    site.look(49)
    assert {one.labelled for one in site.summaries()[:24]} == {20}


def test_each_look_at_labels_has_a_turn_of_its_own(site: Any) -> None:
    rows = site.traffic.predict(site.traffic.draw(200), every_s=18)
    ids, labels = rows["id"].to_list(), rows["outcome"].to_list()
    site.traffic.label(ids[:10], labels[:10], at(0.5))
    (first,), _ = site.look(1)
    site.traffic.label(ids[10:], labels[10:], at(1.5))
    _, (second,) = site.look(1.9)
    assert (first.turn, second.turn) == (1, 2)  # the ten were looked at already, with those of the windows before


def test_a_clock_that_is_set_back_loses_no_label_and_counts_none_twice(site: Any) -> None:
    rows = site.traffic.predict(site.traffic.draw(400), every_s=18)
    ids, labels = rows["id"].to_list(), rows["outcome"].to_list()
    site.look(2)
    site.traffic.label(ids[:300], labels[:300], at(2.2))
    site.look(3)
    seen = _labels_seen(site)
    assert site.look(2.1) == ((), ())
    site.traffic.label(ids[300:], labels[300:], at(2.9))
    _, revised = site.look(2.95)
    assert [one.counts["labelled"] for one in revised] == [200]
    assert _labels_seen(site) == seen


def _labels_seen(site: Any) -> str:
    with site.transactions.reading() as connection:
        words: str = cursors.cursor(connection, site.name, f"errors:{site.cut.series}")
    assert words
    return words


def test_what_was_read_as_text_by_another_version_is_a_number_again(site: Any) -> None:
    rows = site.traffic.draw(200)
    site.traffic.predict(rows, every_s=18)
    scores = np.full(200, 0.5)
    texts = rows.with_columns(pl.col("dwell_seconds").cast(pl.String))
    site.traffic.predict(texts, at(0.001), every_s=9, version="constant", scores=scores)
    (judged,), _ = site.look(1)
    assert judged.notes == ()
    assert site.alerts() == {}


def test_as_many_charts_share_the_budget_as_are_looked_at(site: Any) -> None:
    watched = site.monitor._versions.in_service()
    rows = site.traffic.draw(500)
    current = watched.sketch(rows.with_columns(pl.Series("_score", np.random.default_rng(1).uniform(size=500))))
    looked_at = members_of(compared(watched.like(current), current))
    shared = data_members(watched)
    for family in (Family.MISSING, Family.NEW):
        assert looked_at[family] <= shared[family]


def _live(slice_: str, *, estimated: bool, why: str = "") -> Measurement:
    value = None if why else 0.9
    method = "estimated: CBPE" if estimated else ""
    return Measurement(
        metric="recall", phase=Phase.LIVE, slice=slice_, value=value, lower=value, upper=value, n=9, method=method,
        insufficient=why,
    )  # fmt: skip


def test_groups_that_were_estimated_stand_in_for_groups_that_were_not_seen() -> None:
    nothing = _live("device=?", estimated=False, why="too few labels")
    phone, tablet = _live("device=phone", estimated=True), _live("device=tablet", estimated=True, why="too few rows")
    assert _deciding([nothing, phone]) == (phone,)
    assert _deciding([nothing, phone, tablet]) == (phone, tablet)  # what could not be estimated does not pass unseen
    assert _deciding([nothing, tablet]) == (nothing,)
    seen = _live("device=phone", estimated=False)
    assert _deciding([seen, phone]) == (seen,)


def test_labels_are_looked_for_in_the_newest_days_first(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = site.traffic.predict(site.traffic.draw(100), every_s=18)
    site.traffic.predict(site.traffic.draw(100), at(-24 * 40), every_s=18)
    site.traffic.label([*rows["id"].to_list()[:40]], rows["outcome"].to_list()[:40], at(1.5))
    asked: list[object] = []

    whole = read_log

    def counted(lake: Path, **span: Any) -> pl.LazyFrame:
        asked.append(span.get("since"))
        return whole(lake, **span)

    monkeypatch.setattr("roadworthy.api.watching.traffic.read_log", counted)
    lake = LakeTraffic(site.traffic.lake, entity="user_id", time="timestamp")
    assert lake.labelled_since(0, START_US + 2 * HOUR_US).height == 40
    assert len(asked) == 1
    assert asked[0] is not None
    assert lake.labelled_since(START_US + 2 * HOUR_US, START_US + 3 * HOUR_US).height == 0
    assert len(asked) == 1  # without news the log is not read


def test_a_window_of_a_log_of_others_is_not_judged_again_as_if_it_were_ours(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.traffic.predict(site.traffic.draw(100), every_s=18)
    (judged,), _ = site.look(1)
    monkeypatch.setattr(site.monitor._versions, "titled", lambda _: None)
    with pytest.raises(UsageError, match="not registered here"):
        site.monitor.again(judged.window.number)


def test_the_newest_window_is_found_without_sorting_a_year(site: Any) -> None:
    site.traffic.predict(site.traffic.draw(200), every_s=18)
    (judged,), _ = site.look(1)
    summary = site.summaries()[0]
    kept = _WATCHING.kept
    with site.transactions.changing() as connection:
        for more in range(1, 3_000):
            span = {"after": Place(START_US + more * HOUR_US), "until": Place(START_US + (more + 1) * HOUR_US)}
            window = msgspec.structs.replace(judged.window, number=judged.window.number + more, **span)
            kept.add(connection, msgspec.structs.replace(judged, window=window), summary, None)
    with site.transactions.reading() as connection:
        assert kept.last(connection, site.name, site.cut.series) == window
        assert kept.newest_end(connection, window) == window.after.at_us
        begun = time.perf_counter()
        for _ in range(20):
            kept.last(connection, site.name, site.cut.series)
            kept.newest_end(connection, window)
        assert (time.perf_counter() - begun) / 20 < 0.004  # sorting them took 0.015
