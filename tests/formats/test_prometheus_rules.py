"""Prometheus rules of the standard: they parse, promtool takes them, and they fire when the budget burns."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types

from roadworthy.formats.prometheus_rules import prometheus_rules, rules_of
from roadworthy.records.evidence import Phase
from roadworthy.records.project import Task
from roadworthy.serving import metrics
from roadworthy.serving.metrics import SECONDS, Metrics
from roadworthy.standard import Requirement
from roadworthy.standard.presets import preset_requirements

AVAILABLE = Requirement(metric="availability", at_least=0.999)
FAST = Requirement(metric="latency_p99", at_most=50.0)


def parsed(*requirements: Requirement, runbook: str = "") -> list[dict[str, Any]]:
    text = prometheus_rules("clicks-2.a", requirements, buckets_s=SECONDS, runbook=runbook)
    (group,) = yaml.safe_load(text)["groups"]
    assert group["name"] == "roadworthy-clicks-2.a"
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def test_a_rule_has_what_prometheus_and_a_person_need() -> None:
    rules = parsed(AVAILABLE, FAST, runbook="https://wiki.example/{group}/{rule}")
    assert [rule["alert"] for rule in rules] == [
        "RoadworthyAvailabilityFast", "RoadworthyAvailabilitySlow", "RoadworthyAvailabilityLasting",
        "RoadworthyLatencyP99Fast", "RoadworthyLatencyP99Slow", "RoadworthyLatencyP99Lasting",
        "RoadworthySilent", "RoadworthyLogLosesRows", "RoadworthyVersionLeftAlone",
    ]  # fmt: skip
    for rule in rules:
        assert set(rule) == {"alert", "expr", "for", "keep_firing_for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["labels"]["project"] == "clicks-2.a"
        assert all(rule["annotations"][name] for name in ("summary", "look_first", "runbook_url"))
    assert rules[0]["annotations"]["runbook_url"] == "https://wiki.example/operations/availability"
    assert "> 0.0144" in rules[0]["expr"]
    assert "[1h]" in rules[0]["expr"]
    assert "[5m]" in rules[0]["expr"]
    assert "more than 1.44 % of requests get no answer" in rules[0]["annotations"]["summary"]
    assert 'le="0.05"' in rules[3]["expr"]


def test_every_metric_label_and_bucket_in_a_rule_is_one_that_the_server_tells() -> None:
    counters = Metrics()
    for route in ("predict", "infer", "grpc"):
        counters.request(route, 200, 0.01)
        counters.request(route, 500, 0.01)
        counters.request(route, 429, 0.01)
    told = counters.text({"clicks-1": "open"}).decode()
    for rule in parsed(AVAILABLE, FAST, Requirement(metric="latency_p95", at_most=900.0)):
        names = {word for word in _words(rule["expr"]) if word.startswith("roadworthy_")}
        assert names
        assert all(f"{name}{{" in told or f"{name} " in told for name in names), names
        if "le=" in rule["expr"]:
            assert rule["expr"].split('le="')[1].split('"')[0] in {str(end) for end in SECONDS}
    assert {"predict", "infer", "grpc"} <= set(metrics.ROUTES)


def _words(expression: str) -> list[str]:
    return "".join(letter if letter.isalnum() or letter == "_" else " " for letter in expression).split()


def test_a_bound_between_two_buckets_is_watched_at_the_upper_one() -> None:
    rules, unwatched = rules_of([Requirement(metric="latency_p99", at_most=60.0)], SECONDS)
    assert 'le="0.1"' in rules[0].expr
    assert "longer than 100 ms" in rules[0].summary
    assert unwatched == []


def test_what_cannot_be_watched_is_named() -> None:
    text = prometheus_rules("c", [Requirement(metric="latency_p99", at_most=20_000.0)], buckets_s=SECONDS)
    assert "# not watched here: latency_p99 <= 20 s (the histogram ends at 10 s)" in text


def test_burn_rates_that_no_share_can_reach_are_left_out() -> None:
    rules, _ = rules_of([Requirement(metric="latency_p50", at_most=5.0)], SECONDS)
    assert [rule.alert for rule in rules[:2]] == ["RoadworthyLatencyP50Lasting", "RoadworthySilent"]


def test_what_holds_at_release_alone_makes_no_rule() -> None:
    release = Requirement(metric="latency_p99", at_most=50.0, phases=(Phase.RELEASE,))
    assert next(rule["alert"] for rule in parsed(release)) == "RoadworthySilent"


@pytest.mark.parametrize("preset", ["none", "prototype", "service", "critical"])
def test_every_preset_makes_rules(preset: str) -> None:
    assert len(parsed(*preset_requirements(preset, Task.BINARY))) >= 3


PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian package prometheus)")


@needs_promtool
def test_promtool_takes_them(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(prometheus_rules("clicks", [AVAILABLE, FAST], buckets_s=SECONDS))
    done = subprocess.run([str(PROMTOOL), "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "SUCCESS: 9 rules found" in done.stdout


SERIES = {
    "bad": 'roadworthy_requests_total{job="c",route="predict",code="503"}',
    "good": 'roadworthy_requests_total{job="c",route="predict",code="200"}',
    "asked": 'roadworthy_requests_total{job="c",route="predict",code="404"}',
    "quick": 'roadworthy_request_seconds_bucket{job="c",route="predict",le="0.05"}',
    "all": 'roadworthy_request_seconds_count{job="c",route="predict"}',
    "up": 'roadworthy_started_seconds{job="c",worker="0"}',
}


@needs_promtool
@pytest.mark.parametrize(
    ("series", "at", "fires"),
    [
        ({"bad": "0+1x90", "good": "0+99x90"}, "70m", {"RoadworthyAvailabilitySlow"}),
        ({"bad": "0+2x90", "good": "0+98x90"}, "70m", {"RoadworthyAvailabilityFast", "RoadworthyAvailabilitySlow"}),
        ({"bad": "0+0x90", "asked": "0+50x90", "good": "0+50x90"}, "70m", set()),
        ({"quick": "0+80x90", "all": "0+100x90"}, "70m", {"RoadworthyLatencyP99Fast", "RoadworthyLatencyP99Slow"}),
        ({"quick": "0+99x90", "all": "0+100x90"}, "70m", set()),
        ({"up": "1x30 _x60"}, "60m", {"RoadworthySilent"}),
        # the errors have ended, or all has: what fired goes on firing for its time
        ({"bad": "0+2x70 140x60", "good": "0+98x130"}, "100m",
         {"RoadworthyAvailabilityFast", "RoadworthyAvailabilitySlow"}),
        ({"bad": "0+2x70 _x60", "good": "0+98x70 _x60"}, "100m",
         {"RoadworthyAvailabilityFast", "RoadworthyAvailabilitySlow"}),
    ],
    ids=["1 % of errors", "2 % of errors", "callers' mistakes", "slow", "quick", "silent", "ended", "no data after"],
)  # fmt: skip
def test_they_fire_when_the_budget_burns(tmp_path: Path, series: dict[str, str], at: str, fires: set[str]) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(prometheus_rules("clicks", [AVAILABLE, FAST], buckets_s=SECONDS))
    given = {"up": "1x200"} | series
    names = [rule["alert"] for rule in parsed(AVAILABLE, FAST)]
    (tmp_path / "test.yml").write_text(
        json.dumps(
            {
                "rule_files": [str(rules)],
                "evaluation_interval": "1m",
                "tests": [
                    {
                        "interval": "1m",
                        "input_series": [{"series": SERIES[name], "values": values} for name, values in given.items()],
                        "promql_expr_test": [
                            {
                                "expr": f'count by (alertname) (ALERTS{{alertstate="firing",alertname="{name}"}})',
                                "eval_time": at,
                                "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1}]
                                if name in fires
                                else [],
                            }
                            for name in names
                            if not name.endswith("Lasting")
                        ],
                    }
                ],
            }
        )
    )
    done = subprocess.run(
        [str(PROMTOOL), "test", "rules", str(tmp_path / "test.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
