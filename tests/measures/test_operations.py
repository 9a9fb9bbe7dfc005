"""Operations: counts add up over restarts and silences, intervals hold, and what cannot be told is said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.adapters.scraping import parsed_metrics
from roadworthy.measures.heartbeat import Beat, Health, pulse, stalled
from roadworthy.measures.intervals import NotEnough, clopper_pearson
from roadworthy.measures.operations import (
    OPERATIONS,
    Live,
    Traffic,
    availability_buckets,
    measured,
    merged_buckets,
    reported_over_time,
    reported_wrong,
    traffic_of,
    volume,
)
from roadworthy.measures.operations.latency import latency_quantile
from roadworthy.measures.operations.memory import growth_of
from roadworthy.measures.operations.shares import share
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.records.reading import Reading, WorkerReading
from roadworthy.records.verdict import Outcome
from roadworthy.serving.metrics import SECONDS, Metrics
from roadworthy.standard import CATALOGUE, Direction, Requirement
from roadworthy.standard.judge import judge_requirement
from roadworthy.standard.requirement import Trigger

S = 1_000_000
DAY_S = 86_400.0


def reading(at_s: float, metrics: Metrics, address: str = "a") -> Reading:
    return parsed_metrics(metrics.text({"m-1": "open"}).decode(), at_us=int(at_s * S), address=address)


def silence(at_s: float, address: str = "a") -> Reading:
    return Reading(at_us=int(at_s * S), address=address, error="no connection: refused")


def over(*readings: Reading, until_s: float = 1e6) -> Traffic:
    return traffic_of(readings, after_us=0, until_us=int(until_s * S))


def required(metric: str, bound: float = 0.5, *, part: str = "", confidence: float = 0.95) -> Requirement:
    up = CATALOGUE[metric].direction is Direction.UP
    return Requirement(
        metric=metric,
        at_least=bound if up else None,
        at_most=None if up else bound,
        slice=part,
        phases=(Phase.LIVE,),
        confidence=confidence,
    )


def one(metric: str, live: Live, *, bound: float = 0.5) -> Measurement:
    (found,) = measured([required(metric, bound)], live)
    return found


# --- what is read ---------------------------------------------------------------------------------------------------


def test_what_the_server_says_of_itself_is_read_as_it_is() -> None:
    metrics = Metrics(workers=2)
    for seconds, code in ((0.003, 200), (0.003, 200), (20.0, 503)):
        metrics.request("predict", code, seconds)
    metrics.turned_away("infer")
    metrics.count("roadworthy_rows_total", 7)
    metrics.gauge("roadworthy_resident_bytes", 5e7)
    found = reading(3, metrics)
    assert found.requests == {"predict": {200: 2, 503: 1}, "infer": {429: 1}}
    assert found.ends_s == SECONDS
    assert (sum(found.buckets["predict"]), found.buckets["predict"][-1], found.buckets["infer"][0]) == (3, 1, 1)
    assert found.counters["rows"] == 7
    assert [worker.resident_bytes for worker in found.workers] == [5e7, 0]
    assert found.workers[0].processor_s == 0.0
    assert found.breakers == {"m-1": 1.0}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("up 1\n", "no Roadworthy server"),
        ("<html></html>", "no Roadworthy server"),
        ("roadworthy_rows_total NaN\n", "is NaN"),
        ('roadworthy_rows_total 1\nroadworthy_requests_total{code="200"} 1\n', "no label 'route'"),
        ('roadworthy_rows_total 1\nroadworthy_request_seconds_bucket{route="infer",le="1"} 1\n', "not whole"),
    ],
)
def test_what_is_no_text_of_a_server_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parsed_metrics(text, at_us=0, address="a")


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from(["count", "restart", "silent"])), min_size=2, max_size=12
    )
)
@settings(max_examples=60, deadline=None)
def test_nothing_is_counted_twice_and_nothing_is_negative(steps: Sequence[tuple[int, str]]) -> None:
    """Whatever restarts and silences there are: spans add up to the whole, which is no more than what came."""
    metrics, readings, unseen, came = Metrics(), [], 0, 0
    readings.append(reading(1, metrics))
    for at, (count, what) in enumerate(steps, 2):
        if what == "restart":
            metrics, unseen = Metrics(), 0
        for _ in range(count):
            metrics.request("predict", 200, 0.001)
        metrics.count("roadworthy_rows_total", count)
        unseen += count
        if what == "silent":
            readings.append(silence(at))
        else:
            readings.append(reading(at, metrics))
            came, unseen = came + unseen, 0
    whole = over(*readings)
    assert all(n >= 0 for block in whole.blocks for n in (*block.codes.values(), *block.buckets))
    middle = len(steps) // 2 + 1
    parts = [
        traffic_of(readings, after_us=after * S, until_us=until * S) for after, until in ((0, middle), (middle, 10**6))
    ]
    assert sum(part.requests for part in parts) == whole.requests
    assert sum(len(part.readings) for part in parts) == len(readings)
    assert whole.requests == whole.count("rows") == sum(sum(block.buckets) for block in whole.blocks)
    assert whole.requests <= came
    if not any(what == "restart" for _, what in steps):
        assert whole.requests == came


def test_a_restart_begins_anew_for_all_counters_at_once() -> None:
    old, new = Metrics(), Metrics()
    for _ in range(9):
        old.request("predict", 200, 0.001)
    for _ in range(20):  # more of these than before, less of those: it is another server all the same
        new.request("predict", 200, 0.001)
    old.count("roadworthy_rows_total", 9)
    new.count("roadworthy_rows_total", 5)
    found = over(reading(1, old), reading(2, new))
    assert (found.requests, found.count("rows"), found.blocks[0].restarted) == (20, 5, True)


# --- shares and latency ---------------------------------------------------------------------------------------------


def test_bounds_hold_when_faults_come_together() -> None:
    """95 % bounds of a share whose faults come in bursts: taken as independent they would hold far less often."""
    rng = np.random.default_rng(5)
    held_low = held_high = naive = 0
    runs = 600
    for _ in range(runs):
        rates = rng.beta(0.25, 4.75, size=60)
        totals = rng.integers(150, 250, size=60).astype(np.float64)
        hits = rng.binomial(totals.astype(np.int64), rates).astype(np.float64)
        found = share(hits, totals, 0.95)
        naive_low, _ = clopper_pearson(float(hits.sum()), float(totals.sum()), 0.95)
        held_low += found.lower <= 0.05
        held_high += found.upper >= 0.05
        naive += naive_low <= 0.05
    assert held_low / runs > 0.93
    assert held_high / runs > 0.88  # few bursts carry the value: what is left of the skewness
    assert naive / runs < 0.80
    assert share([1, *[0] * 11], [100] * 12, 0.95).lower > 0


def simulated(rng: np.random.Generator, blocks: int, each: int, *, median_ms: float) -> Traffic:
    """Latencies that are log-normal, with a load that goes up and down from block to block."""
    metrics, readings = Metrics(), []
    readings.append(reading(0.5, metrics))
    for at in range(1, blocks + 1):
        load = float(rng.lognormal(0.0, 0.15))
        for seconds in rng.lognormal(np.log(median_ms / 1000 * load), 0.8, size=each):
            metrics.request("predict", 200, float(seconds))
        readings.append(reading(at, metrics))
    return over(*readings)


def test_latency_bounds_cover_the_quantile() -> None:
    rng = np.random.default_rng(2)
    truth = 8.0 * np.exp(np.hypot(0.8, 0.15) * 2.326348)  # p99 in ms
    runs = 120
    found = [latency_quantile(simulated(rng, 24, 40, median_ms=8.0), 0.99, 0.95) for _ in range(runs)]
    assert all(one.lower <= one.value <= one.upper for one in found)
    assert sum(one.lower <= truth for one in found) / runs >= 0.93
    assert sum(one.upper >= truth for one in found) / runs >= 0.93
    assert sum(one.upper <= 250 for one in found) / runs > 0.9  # and they say something: the next end or the one after


def test_a_flood_of_refusals_does_not_look_fast() -> None:
    metrics, readings = Metrics(), []
    for at in range(1, 20):
        for _ in range(50):
            metrics.request("predict", 200, 0.2)
            metrics.turned_away("predict")
            metrics.turned_away("predict")
        readings.append(reading(at, metrics))
    traffic = over(*readings)
    found = one("latency_p50", Live(now_us=0, traffic=traffic))
    assert found.lower == 100
    assert found.upper == 250
    assert one("shed_share", Live(now_us=0, traffic=traffic)).value == pytest.approx(2 / 3)
    available = one("availability", Live(now_us=0, traffic=traffic))
    assert available.value == pytest.approx(1 / 3)


def test_what_is_slower_than_every_bucket_still_fails() -> None:
    metrics, readings = Metrics(), []
    metrics.gauge("roadworthy_started_seconds", 0.1)
    for at in range(1, 20):
        for _ in range(20):
            metrics.request("predict", 200, 30.0)
        readings.append(reading(at, metrics))
    item = required("latency_p99", 50.0)
    verdict = judge_requirement(item, measured([item], Live(now_us=0, traffic=over(*readings))), Phase.LIVE)
    assert verdict.outcome is Outcome.FAIL


def test_two_readings_decide_what_is_observed_and_prove_nothing() -> None:
    metrics = Metrics()
    before = reading(1, metrics)
    for _ in range(100):
        metrics.request("predict", 200, 0.2)
    live = Live(now_us=0, traffic=over(before, reading(2, metrics)))
    proven = required("latency_p99", 50.0)
    observed = Requirement(metric="latency_p99", at_most=50.0, phases=(Phase.LIVE,), trigger=Trigger.OBSERVED)
    assert judge_requirement(proven, measured([proven], live), Phase.LIVE).outcome is Outcome.INSUFFICIENT
    assert judge_requirement(observed, measured([observed], live), Phase.LIVE).outcome is Outcome.FAIL


def test_a_server_that_is_down_is_not_available_although_it_counts_no_fault() -> None:
    metrics, readings = Metrics(), []
    for at in range(1, 61):
        for _ in range(50):
            metrics.request("predict", 200, 0.002)
        readings.append(silence(at) if 30 <= at < 42 else reading(at, metrics))
    traffic = over(*readings)
    found = one("availability", Live(now_us=0, traffic=traffic), bound=0.999)
    assert found.value == pytest.approx(48 / 60)
    assert found.upper is not None
    assert found.upper < 0.999
    buckets = availability_buckets(traffic)
    assert (sum(bucket.bad for bucket in buckets), sum(bucket.total for bucket in buckets)) == (
        12 * 50,
        59 * 50 + 12 * 50,
    )
    parts = [
        availability_buckets(traffic_of(readings, after_us=after * S, until_us=until * S))
        for after, until in ((0, 20), (20, 61))
    ]
    assert merged_buckets(*parts, since_us=0) == buckets
    assert merged_buckets(*parts, since_us=60 * S) == buckets[1:]
    gone = one("availability", Live(now_us=0, traffic=over(*(silence(at) for at in range(1, 30)))))
    assert (gone.value, gone.lower) == (0, 0)
    assert gone.upper is not None
    assert gone.upper < 0.15


def test_who_left_and_who_asked_wrongly_do_not_count_against_it() -> None:
    metrics, readings = Metrics(), []
    for at in range(1, 20):
        for code in (200, 422, 404, 499):
            metrics.request("predict", code, 0.002)
        metrics.request("feedback", 503, 0.002)
        readings.append(reading(at, metrics))
    live = Live(now_us=0, traffic=over(*readings))
    assert one("availability", live).value == 1
    assert one("quarantined_share", live).value == 0.5
    assert one("error_rate", live).n == 18 * 3


def test_shares_of_rows_rates_and_the_processor() -> None:
    metrics, readings = Metrics(workers=1), []
    for at in range(1, 22):
        for name, by in (("rows", 100), ("fallback_rows", 5), ("referred_rows", 10), ("log_rows", 99)):
            metrics.count(f"roadworthy_{name}_total", by)
        metrics.count("roadworthy_log_lost_rows_total", 1)
        found = reading(at * 2, metrics)
        used = WorkerReading(number=0, started_s=1.0, processor_s=0.5 * at)
        readings.append(msgspec.structs.replace(found, workers=(used,), breakers={"m-2": float(at > 11)}))
    live = Live(now_us=0, traffic=over(*readings))
    shares = {name: one(name, live).value for name in ("fallback_share", "referred_share", "log_lost_share")}
    assert shares == {"fallback_share": 0.05, "referred_share": 0.1, "log_lost_share": 0.01}
    assert one("traffic", live).value == pytest.approx(50)
    assert one("processor", live).value == pytest.approx(0.25)
    assert one("breaker_open", live).value == pytest.approx(10 / 21)
    two = [*readings, *(msgspec.structs.replace(found, address="b") for found in readings)]
    assert one("traffic", Live(now_us=0, traffic=over(*two))).value == pytest.approx(100)


# --- memory ---------------------------------------------------------------------------------------------------------


def test_a_leak_is_told_from_memory_that_wanders() -> None:
    """Bounds of growth hold where each reading resembles the one before, and a leak stands out."""
    rng = np.random.default_rng(11)
    at_s = np.arange(0, DAY_S, 120.0)
    false = found = 0
    runs = 150
    for _ in range(runs):
        noise = np.zeros(len(at_s))
        steps = rng.normal(0, 2e6, size=len(at_s))
        for at in range(1, len(at_s)):
            noise[at] = 0.9 * noise[at - 1] + steps[at]
        flat = growth_of(at_s, 3e8 + noise, 0.95)
        assert flat.lower <= flat.value <= flat.upper
        false += flat.lower > 0
        found += growth_of(at_s, 3e8 + noise + 4e7 * at_s / DAY_S, 0.95).lower > 0
    assert false / runs < 0.09
    assert found / runs > 0.99


def test_a_worker_that_started_anew_is_a_series_of_its_own() -> None:
    readings = [
        Reading(at_us=at * S, address="a", counters={"rows": float(at)},
                workers=(WorkerReading(number=0, resident_bytes=1e8 + 1e6 * (at % 20), started_s=float(at // 20 + 1)),))
        for at in range(1, 60)
    ]  # fmt: skip
    live = Live(now_us=0, traffic=over(*readings))
    assert one("memory_growth", live).value == pytest.approx(1e6 * DAY_S)
    assert one("worker_starts", live, bound=0).value == 3
    assert one("worker_memory", live, bound=1).value == 1e8 + 19e6
    short = over(*readings[:5])
    assert "at least 12 readings" in one("memory_growth", Live(now_us=0, traffic=short)).insufficient


# --- rows and reports -----------------------------------------------------------------------------------------------


def rows(hours: Sequence[int]) -> pl.DataFrame:
    at = [datetime(2026, 3, 1) + timedelta(hours=hour, seconds=1) for hour in hours]  # noqa: DTZ001 - as the log has it
    return pl.DataFrame({"at": at}, schema={"at": pl.Datetime("us")})


def test_an_hour_without_rows_is_an_hour_with_zero() -> None:
    frame = rows([0, 0, 3, 3, 3, 5])
    begin = int(frame.get_column("at").to_physical()[0]) - S
    found = volume(frame.lazy(), after_us=begin, until_us=begin + 6 * 3600 * S)
    assert found.rows.tolist() == [2, 0, 0, 3, 0, 1]
    assert np.diff(found.at_s).tolist() == [3600.0] * 5
    assert volume(frame, after_us=begin + 1, until_us=begin + 6 * 3600 * S - 1).rows.tolist() == [0, 0, 3, 0]
    assert volume(frame.clear(), after_us=begin, until_us=begin + 2 * 3600 * S).rows.tolist() == [0, 0]


def joined_rows() -> pl.DataFrame:
    """20 predictions: 3 contradicted, 5 confirmed, 2 left to a person; one remark each for two of them."""
    frame = rows(list(range(20))).with_row_index("k")
    k = pl.col("k")
    label = pl.when(k < 3).then(pl.lit("no")).when(k < 8).then(pl.lit("yes"))
    return frame.with_columns(
        decision=pl.when(k < 18).then(pl.lit("yes")),
        label=label,
        comment=pl.when(k < 2).then(pl.lit("that is not so")).otherwise(pl.lit("")),
        labelled_at=pl.when(k < 8).then(pl.col("at") + pl.duration(minutes=10 + k)),
        x=pl.when(k >= 4).then(1.0),
        y=pl.when(k >= 1).then(1.0),
    )


def test_what_users_report_wrong_is_a_share_of_all_that_was_decided() -> None:
    frame = joined_rows()
    found = reported_wrong(frame, 0.95)
    assert found.value == pytest.approx(3 / 18)
    assert 0 < found.lower < found.value < found.upper < 1
    chart = reported_over_time(frame, every="12h").columns
    assert (chart["predictions"], chart["wrong"], chart["remarks"]) == ([12, 6], [3, 0], [2, 0])
    assert "that is not so" not in str(chart)
    assert reported_over_time(frame.rename({name: f"_{name}" for name in ("at", "label")}), every="1d").columns["wrong"]
    with pytest.raises(NotEnough):
        reported_wrong(frame.tail(2), 0.95)


def test_the_log_s_own_figures() -> None:
    frame = joined_rows()
    live = Live(now_us=10_000_000, rows=frame, newest_us=4_000_000, trained_us=1_000_000, columns=["x", "y", "z"])
    assert one("label_share", live).value == 0.4
    delay = one("label_delay", live)
    assert (delay.value, delay.lower, delay.upper) == (13.5 * 60_000, 11 * 60_000, 16 * 60_000)
    assert (one("freshness", live).value, one("model_age", live).value) == (6_000, 9_000)
    assert one("missing_share", live).value == 0.2
    by_column = {found.slice: found for found in measured([required("missing_share", part="column")], live)}
    assert {name: found.value for name, found in by_column.items()} == {
        "column=x": 0.2, "column=y": 0.05, "column=z": None,
    }  # fmt: skip
    assert "no column 'z'" in by_column["column=z"].insufficient


@pytest.mark.parametrize("metric", OPERATIONS)
def test_without_any_word_from_outside_nothing_passes(metric: str) -> None:
    found = one(metric, Live(now_us=1))
    assert found.insufficient
    assert found.unit == CATALOGUE[metric].unit
    assert Phase.LIVE in CATALOGUE[metric].phases
    nonsense: Any = 42
    words: Any = "x"
    broken = one(
        metric, Live(now_us=1, traffic=nonsense, rows=nonsense, newest_us=words, trained_us=words, columns=["x"])
    )
    assert broken.error
    assert not broken.insufficient


def test_every_metric_that_only_live_traffic_has_is_measured() -> None:
    live_only = {name for name, entry in CATALOGUE.items() if entry.phases == (Phase.LIVE,)}
    assert live_only <= set(OPERATIONS)


# --- the monitor itself ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended_s", "now_s", "health"),
    [(100, 130, "well"), (100, 210, "well"), (100, 230, "late"), (100, 300, "stalled"), (100, 90, "clock")],
)
def test_a_monitor_that_stopped_is_noticed(ended_s: int, now_s: int, health: str) -> None:
    beat = Beat(started_us=0, at_us=ended_s * S, every_s=60.0, window="1h/420")
    found = pulse(beat, now_s * S, expected_s=60.0)
    assert found.health is Health(health)
    assert found.ready is (health in {"well", "late"})
    assert stalled(ended_s * S, now_s * S, 60.0) is (health == "stalled")
    assert bool(found.look_first) is (not found.ready)


def test_a_monitor_that_never_finished_a_round_or_fails() -> None:
    assert pulse(None, 10 * S, expected_s=60.0, since_us=0).health is Health.LATE
    assert pulse(None, 500 * S, expected_s=60.0, since_us=0).health is Health.STALLED
    beat = Beat(started_us=0, at_us=100 * S, every_s=60.0, failures=2, why="the registry cannot be reached")
    found = pulse(beat, 110 * S, expected_s=60.0)
    assert found.sentence == "the monitor's last 2 rounds failed: the registry cannot be reached"
    assert not found.ready
