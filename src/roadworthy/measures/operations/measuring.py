"""Every operational metric, measured live: the one table from a metric's name to its figure.

In: requirements, and what is known of a window (``Live``): traffic, rows, the age of the version. Out: ``Measurement``
of phase live, each at its requirement's own confidence. Laws: each requirement gets at least one measurement; what
cannot be told says why in ``insufficient``; a metric that breaks is an error of its own and stops no other.

Which answers count: a request for a prediction was **answered** unless it ended in a fault of the server (5xx) or was
turned away under load (429): whoever asked went without. What the caller did wrong (other 4xx) counts as answered, and
who left before the answer (499) is in neither number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import polars as pl

from roadworthy.measures.alarms.burn import Bucket
from roadworthy.measures.intervals import Bounds, NotEnough, clopper_pearson
from roadworthy.measures.operations import latency, memory, reports, rows
from roadworthy.measures.operations.shares import share
from roadworthy.measures.operations.traffic import Traffic, starts
from roadworthy.records.evidence import Measurement, Phase
from roadworthy.standard import CATALOGUE, Requirement

__all__ = ["FAULTS", "OPERATIONS", "TURNED_AWAY", "Live", "availability_buckets", "measured", "merged_buckets"]

FAULTS: Final = (500, 503, 504)
"""Statuses that are the server's fault."""

TURNED_AWAY: Final = 429
"""The status of a request that is turned away under load."""

_LEFT = 499
_NO_ROWS = "no row of the prediction log was read"
_BLIND = "no metrics of a server were read"


@dataclass(frozen=True, slots=True)
class Live:
    """What is known of one window.

    ``traffic`` is None where no server is asked, ``rows`` where there is no log. ``newest_us`` is when the newest row
    of the whole log came, ``trained_us`` when the version in service was made. ``columns`` are the contract's.
    """

    now_us: int
    traffic: Traffic | None = None
    rows: pl.DataFrame | None = None
    newest_us: int | None = None
    trained_us: int | None = None
    columns: Sequence[str] = ()


_Figure = Callable[[Live, float], tuple[Bounds, int]]
"""A figure with its bounds, and over how many requests or rows."""


def measured(required: Sequence[Requirement], live: Live) -> tuple[Measurement, ...]:
    """The measurements of some requirements, in their order; a metric that no server can tell is insufficient."""
    return tuple(one for item in required for one in _of(item, live))


def _of(item: Requirement, live: Live) -> tuple[Measurement, ...]:
    if item.slice:
        names = [name for name in live.columns if item.metric == "missing_share"]
        if not names:
            return (_blank(item, "no column of the contract is known here", part=f"{item.slice}=?"),)
        return tuple(_one(item, live, _missing_in(name), part=f"{item.slice}={name}") for name in names)
    figure = OPERATIONS.get(item.metric)
    return (_blank(item, "it is not measured on live traffic") if figure is None else _one(item, live, figure),)


def _one(item: Requirement, live: Live, figure: _Figure, *, part: str = "") -> Measurement:
    try:
        found, n = figure(live, item.confidence)
    except NotEnough as why:
        return _blank(item, str(why.message), part=part)
    except Exception as error:  # noqa: BLE001 - a check that broke is evidence of its own, and stops no other
        said = f"{type(error).__name__}: {error}"
        return msgspec.structs.replace(_blank(item, "", part=part), error=said)
    lower, upper = (None if np.isnan(bound) else bound for bound in (found.lower, found.upper))
    reason = "" if lower is not None else "The server was read too seldom in this window for an interval."
    return msgspec.structs.replace(
        _blank(item, "", part=part),
        value=found.value,
        lower=lower,
        upper=upper,
        n=n,
        method=found.method,
        reason=reason or _REASONS.get(item.metric, ""),
    )


def _blank(item: Requirement, why: str, *, part: str = "") -> Measurement:
    return Measurement(
        metric=item.metric,
        unit=CATALOGUE[item.metric].unit,
        phase=Phase.LIVE,
        slice=part,
        confidence=item.confidence,
        check="operations",
        insufficient=why,
    )


# --- the server's own counts ----------------------------------------------------------------------------------------


def _traffic(live: Live) -> Traffic:
    if live.traffic is None or not live.traffic.readings:
        raise NotEnough(_BLIND)
    return live.traffic


def _counted(live: Live) -> Traffic:
    traffic = _traffic(live)
    if not traffic.blocks:
        raise NotEnough("no server was read twice in this window, so that nothing is known of what it counted")
    return traffic


def _quantile(p: float) -> _Figure:
    def figure(live: Live, confidence: float) -> tuple[Bounds, int]:
        traffic = _counted(live)
        return latency.latency_quantile(traffic, p, confidence), int(traffic.requests)

    return figure


def _part_of_requests(hit: Sequence[int], among: Sequence[int] | None = None) -> _Figure:
    """The share of requests with some statuses, among those with others, or all that somebody waited for."""

    def figure(live: Live, confidence: float) -> tuple[Bounds, int]:
        blocks = _counted(live).blocks
        hits = [sum(block.codes.get(code, 0.0) for code in hit) for block in blocks]
        totals = [
            block.requests - block.codes.get(_LEFT, 0.0)
            if among is None
            else sum(block.codes.get(code, 0.0) for code in among)
            for block in blocks
        ]
        return _valued(hits, totals, confidence), int(sum(totals))

    return figure


def _part_of_rows(hit: str, *among: str) -> _Figure:
    """The share of one counter of rows among others."""

    def figure(live: Live, confidence: float) -> tuple[Bounds, int]:
        blocks = _counted(live).blocks
        hits = [block.counters.get(hit, 0.0) for block in blocks]
        totals = [sum(block.counters.get(name, 0.0) for name in among) for block in blocks]
        return _valued(hits, totals, confidence), int(sum(totals))

    return figure


def _valued(hits: Sequence[float], totals: Sequence[float], confidence: float) -> Bounds:
    """The share; without bounds where the server was read too seldom for them."""
    if not sum(totals):
        raise NotEnough("no request came")
    try:
        return share(hits, totals, confidence)
    except NotEnough:
        return Bounds(sum(hits) / sum(totals), float("nan"), float("nan"), "")


def _availability(live: Live, confidence: float) -> tuple[Bounds, int]:
    """The share of requests that were answered, times the share of readings that were, where one was not."""
    traffic = _traffic(live)
    lost = sum(bool(reading.error) for reading in traffic.readings)
    half = 1.0 - (1.0 - confidence) / (2 if lost else 1)
    seen, n = Bounds(0.0, 0.0, 1.0, ""), 0
    if traffic.blocks and traffic.requests:
        bad, n = _part_of_requests((*FAULTS, TURNED_AWAY))(live, half)
        seen = Bounds(1 - bad.value, 1 - bad.upper, 1 - bad.lower, bad.method)
    elif not lost:
        raise NotEnough("no request came")
    if not lost:
        return seen, n
    asked = len(traffic.readings)
    lower, upper = clopper_pearson(asked - lost, asked, half)
    reached = (asked - lost) / asked
    bounds = seen if n else Bounds(1.0, 1.0, 1.0, "")
    low = 0.0 if lost == asked else bounds.lower * lower
    return Bounds(bounds.value * reached, low, bounds.upper * upper, "requests and readings, Bonferroni"), n or asked


def availability_buckets(traffic: Traffic, *, minutes: int = 1) -> tuple[Bucket, ...]:
    """Requests by the minute and how many of them went without an answer, for ``alarms.burn``.

    A server that is down counts nothing. So each reading that it did not answer stands for as many requests without an
    answer as usually come between two of its readings (the median), and at least for one.
    """
    step = minutes * 60_000_000
    found: dict[int, list[float]] = {}
    usual: dict[str, list[float]] = {}
    for block in traffic.blocks:
        bad = sum(block.codes.get(code, 0.0) for code in (*FAULTS, TURNED_AWAY))
        total = block.requests - block.codes.get(_LEFT, 0.0)
        counts = found.setdefault(block.until_us // step * step, [0.0, 0.0])
        counts[0], counts[1] = counts[0] + bad, counts[1] + total
        usual.setdefault(block.address, []).append(total)
    typical = {address: max(round(float(np.median(totals))), 1) for address, totals in usual.items()}
    for reading in traffic.readings:
        if reading.error:
            lost = typical.get(reading.address, 1)
            counts = found.setdefault(reading.at_us // step * step, [0.0, 0.0])
            counts[0], counts[1] = counts[0] + lost, counts[1] + lost
    return tuple(Bucket(at_us=at, bad=int(bad), total=int(total)) for at, (bad, total) in sorted(found.items()))


def merged_buckets(known: Sequence[Bucket], more: Sequence[Bucket], *, since_us: int) -> tuple[Bucket, ...]:
    """Buckets of two spans that meet, without those before ``since_us``: so that nobody counts three days anew."""
    found: dict[int, Bucket] = {}
    for one in (*known, *more):
        if one.at_us >= since_us:
            was = found.get(one.at_us, Bucket(at_us=one.at_us, bad=0, total=0))
            found[one.at_us] = Bucket(at_us=one.at_us, bad=was.bad + one.bad, total=was.total + one.total)
    return tuple(found[at] for at in sorted(found))


def _exact(value: float) -> Bounds:
    return Bounds(value, value, value, "counted")


def _rate(live: Live, _confidence: float) -> tuple[Bounds, int]:
    """Rows a second over all servers: each server's rows over its own time."""
    traffic = _counted(live)
    by_server: dict[str, list[float]] = {}
    for block in traffic.blocks:
        sums = by_server.setdefault(block.address, [0.0, 0.0])
        sums[0], sums[1] = sums[0] + block.counters.get("rows", 0.0), sums[1] + block.seconds
    return _exact(sum(count / max(seconds, 1e-6) for count, seconds in by_server.values())), int(traffic.count("rows"))


def _resident(live: Live, _confidence: float) -> tuple[Bounds, int]:
    traffic = _traffic(live)
    return _exact(memory.resident(traffic.readings)), len(traffic.answered)


def _growth(live: Live, confidence: float) -> tuple[Bounds, int]:
    traffic = _traffic(live)
    return memory.growth(traffic.answered, confidence), len(traffic.answered)


def _processor(live: Live, _confidence: float) -> tuple[Bounds, int]:
    """The busiest worker's processor time over the time."""
    used: dict[tuple[str, int], list[float]] = {}
    traffic = _counted(live)
    for block in traffic.blocks:
        for number, seconds in block.processor_s.items():
            sums = used.setdefault((block.address, number), [0.0, 0.0])
            sums[0], sums[1] = sums[0] + seconds, sums[1] + block.seconds
    if not used:
        raise NotEnough("the server does not tell its processor time")
    return _exact(max(spent / max(seconds, 1e-6) for spent, seconds in used.values())), len(traffic.answered)


def _in_flight(live: Live, _confidence: float) -> tuple[Bounds, int]:
    answered = _traffic(live).answered
    found = [sum(worker.in_flight for worker in reading.workers) for reading in answered]
    if not found:
        raise NotEnough("no server answered")
    return _exact(max(found)), len(found)


def _restarts(live: Live, _confidence: float) -> tuple[Bounds, int]:
    """How often workers started inside the window, the first start of a server that came with it included."""
    traffic = _traffic(live)
    if not traffic.answered:
        raise NotEnough("no server answered")
    begun = [at for seen in starts(traffic.answered).values() for at in seen]
    return _exact(float(sum(at * 1e6 > traffic.after_us for at in begun))), len(traffic.answered)


def _breaker(live: Live, _confidence: float) -> tuple[Bounds, int]:
    answered = _traffic(live).answered
    if not answered:
        raise NotEnough("no server answered")
    hits = sum(any(state == 1.0 for state in reading.breakers.values()) for reading in answered)
    return _exact(hits / len(answered)), len(answered)


# --- the log --------------------------------------------------------------------------------------------------------


def _rows(live: Live) -> pl.DataFrame:
    if live.rows is None:
        raise NotEnough(_NO_ROWS)
    return live.rows


def _of_rows(measure: Callable[[pl.DataFrame, float], Bounds]) -> _Figure:
    def figure(live: Live, confidence: float) -> tuple[Bounds, int]:
        found = _rows(live)
        return measure(found, confidence), found.height

    return figure


def _missing_in(column: str) -> _Figure:
    return _of_rows(lambda found, confidence: rows.missing_share(found, column, confidence))


def _missing(live: Live, confidence: float) -> tuple[Bounds, int]:
    """The share of rows that lack a value in any column of the contract."""
    found = _rows(live)
    known = [name for name in live.columns if name in found.columns]
    if not known:
        raise NotEnough("the prediction log has no column of the contract")
    any_null = found.select(pl.any_horizontal(pl.col(known).is_null()).alias("any")).to_series()
    frame = pl.DataFrame({"any": any_null.replace_strict({True: None, False: 1}, return_dtype=pl.Int64)})
    return rows.missing_share(frame, "any", confidence), found.height


def _referred(live: Live, confidence: float) -> tuple[Bounds, int]:
    """By the servers' counters, else by the rows of the log."""
    if live.traffic is not None or live.rows is None or "_referred" not in live.rows.columns:
        return _part_of_rows("referred_rows", "rows")(live, confidence)
    if not live.rows.height:
        raise NotEnough("no row came")
    count, n = int(live.rows.get_column("_referred").count()), live.rows.height
    return Bounds(count / n, *clopper_pearson(count, n, confidence), "Clopper-Pearson"), n


def _age(live: Live, _confidence: float) -> tuple[Bounds, int]:
    if live.trained_us is None:
        raise NotEnough("it is not known when the version was made")
    return _exact(rows.age_ms(live.trained_us, live.now_us)), 1


def _freshness(live: Live, _confidence: float) -> tuple[Bounds, int]:
    return _exact(rows.age_ms(live.newest_us, live.now_us)), 1


OPERATIONS: Final[Mapping[str, _Figure]] = {
    "latency_p50": _quantile(0.50),
    "latency_p95": _quantile(0.95),
    "latency_p99": _quantile(0.99),
    "availability": _availability,
    "error_rate": _part_of_requests(FAULTS),
    "shed_share": _part_of_requests((TURNED_AWAY,)),
    "quarantined_share": _part_of_requests((422,), (200, 422)),
    "fallback_share": _part_of_rows("fallback_rows", "rows"),
    "referred_share": _referred,
    "log_lost_share": _part_of_rows("log_lost_rows", "log_rows", "log_lost_rows"),
    "traffic": _rate,
    "worker_memory": _resident,
    "memory_growth": _growth,
    "processor": _processor,
    "in_flight": _in_flight,
    "worker_starts": _restarts,
    "breaker_open": _breaker,
    "model_age": _age,
    "freshness": _freshness,
    "missing_share": _missing,
    "label_share": _of_rows(rows.label_share),
    "label_delay": _of_rows(rows.label_delay_ms),
    "reported_wrong": _of_rows(reports.reported_wrong),
}
"""Every metric that is measured here, by its name in the catalogue."""

_REASONS: Final[Mapping[str, str]] = {
    "quarantined_share": "Counted by request: one row that breaks the contract refuses its request.",
    "in_flight": "A worker tells it when it is asked, the others what they last told.",
    "label_delay": "Of the labels that have come.",
}
