"""A version beside another: a check of it that breaks takes no alarm with it, and rows without a score are no skew."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadworthy.errors import BundleError
from roadworthy.stages.watching import abreast
from roadworthy.stages.watching.whole import judged_window

CHECK = "monitor:alarms of other versions"


def _beside() -> Any:
    name = "watching_gaps_site"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("test_watching_gaps.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault(name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


_GAPS = _beside()


@pytest.fixture
def site(copied: Path, made_up_traffic: Any) -> Iterator[Any]:
    made = _GAPS.Site(copied, made_up_traffic(copied))
    yield made
    made.transactions.close()


def test_a_check_that_breaks_for_one_version_takes_no_other_alarm_with_it(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _GAPS.with_another(site)
    _GAPS.with_another(site, "clicks-8")
    site.traffic.predict(site.traffic.draw(500), every_s=6)
    for seed, title in ((3, "clicks-8"), (4, "clicks-9")):
        rows = site.traffic.draw(200, seed=seed)
        bad = site.traffic.predict(rows, every_s=6, version=title, scores=np.full(200, 0.99))
        site.traffic.label(bad["id"].to_list(), bad["outcome"].to_list(), _GAPS.at(0.001))

    def broken(version: Any, _: Any) -> Any:
        raise ZeroDivisionError(version.title)

    monkeypatch.setattr(abreast, "skew", broken)
    (judged,), _ = site.look(1)
    alerts = site.alerts()
    for title in ("clicks-8", "clicks-9"):
        assert {f"accuracy_low@{title}", f"drift:score@{title}"} <= set(alerts)
        assert f"broke for {title}, skew: ZeroDivisionError" in alerts[CHECK].first.sentence
    asked = site.monitor._asking.asked(judged.window, judged.judged_at_us, judged.known_by_us, version=judged.version)
    before = judged_window(replace(asked, looks=(), edition=1))  # of then, when nobody asked
    assert not [one.rule for one in before.signals if "@" in one.rule]
    assert not [note for note in before.judged.notes if "other versions" in note]


def test_rows_of_another_version_without_a_score_are_told_and_are_no_skew(site: Any) -> None:
    _GAPS.with_another(site)
    site.traffic.predict(site.traffic.draw(400), every_s=8)
    rows = site.traffic.draw(200, seed=3)
    scores = np.where(np.arange(200) < 40, np.nan, site.traffic._graph.score(rows))
    site.traffic.predict(rows, every_s=8, version="clicks-9", scores=scores)
    site.look(1)
    alerts = site.alerts()
    assert "skew@clicks-9" not in alerts
    assert "broke for clicks-9: 40 of 200 rows have no score" in alerts[CHECK].first.sentence


def test_another_version_whose_bundle_is_gone_is_told_and_keeps_no_window_waiting(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _GAPS.with_another(site)
    site.traffic.predict(site.traffic.draw(400), every_s=8)
    site.traffic.predict(site.traffic.draw(200, seed=3), every_s=8, version="clicks-9")
    titled = type(site.monitor._versions).titled

    def gone(self: Any, title: str) -> Any:
        if title == "clicks-9":
            raise BundleError("the lake holds no bundle of clicks-9")
        return titled(self, title)

    monkeypatch.setattr(type(site.monitor._versions), "titled", gone)
    (judged,), _ = site.look(1)
    assert (judged.version, judged.counts["other_versions"]) == (site.traffic.version.title, 200)
    sentence = site.alerts()[CHECK].first.sentence
    assert "broke for clicks-9: the lake holds no bundle of clicks-9" in sentence
    assert sentence in judged.notes
    assert "monitor:windows" not in site.alerts()
