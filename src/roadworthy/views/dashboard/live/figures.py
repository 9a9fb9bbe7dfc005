"""Figures of a stretch of traffic: requests a second, latency, what went wrong, what servers take of the machine.

In: blocks between readings, and the readings. Out: ``Figures`` of all of them together. Laws: a figure that nobody told
is None, never nought; a rate is each server's own requests over its own time, summed over servers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from roadworthy.measures.intervals import NotEnough
from roadworthy.measures.operations.latency import latency_quantile
from roadworthy.measures.operations.measuring import FAULTS, TURNED_AWAY
from roadworthy.measures.operations.traffic import Block, Traffic
from roadworthy.records.reading import Reading

__all__ = ["Figures", "figures_of"]

Key = TypeVar("Key")

_LEFT = 499
_QUANTILES = (0.50, 0.95, 0.99)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted in a stretch of time, and what was read in it.

    ``rate`` is requests for predictions a second, latencies are in milliseconds. Shares of requests: ``faults`` were
    the server's fault (5xx), ``shed`` were turned away under load (429), ``unmet`` are both together, ``callers`` were
    the caller's (other 4xx). Shares of rows: ``fallback`` were answered by another version or a constant, ``refused``
    broke the contract, ``referred`` were left to a person, ``lost`` are not in the log. ``memory`` and ``most_memory``
    are bytes of all workers and of the largest, ``processor`` is the busiest worker's share of a core.
    """

    requests: float
    rate: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    faults: float | None = None
    shed: float | None = None
    unmet: float | None = None
    callers: float | None = None
    fallback: float | None = None
    refused: float | None = None
    referred: float | None = None
    lost: float | None = None
    processor: float | None = None
    memory: float | None = None
    most_memory: float | None = None
    in_flight: float | None = None
    workers: int | None = None


def figures_of(blocks: Sequence[Block], readings: Sequence[Reading]) -> Figures:
    """The figures of blocks and answered readings of one stretch, of one server or several."""
    told = _told(readings)
    if not blocks:
        return Figures(requests=0.0, **told)
    codes = _summed(block.codes for block in blocks)
    counters = _summed(block.counters for block in blocks)
    requests = sum(codes.values())
    waited = requests - codes.get(_LEFT, 0.0)
    faults = sum(codes.get(code, 0.0) for code in FAULTS)
    shed = codes.get(TURNED_AWAY, 0.0)
    callers = sum(n for code, n in codes.items() if 400 <= code < 500 and code not in {TURNED_AWAY, _LEFT})
    rows, refused, lost = (counters.get(name, 0.0) for name in ("rows", "refused_rows", "log_lost_rows"))
    p50, p95, p99 = _latencies(blocks)
    return Figures(
        requests=requests,
        rate=_rate(blocks),
        p50=p50,
        p95=p95,
        p99=p99,
        faults=_share(faults, waited),
        shed=_share(shed, waited),
        unmet=_share(faults + shed, waited),
        callers=_share(callers, waited),
        fallback=_share(counters.get("fallback_rows", 0.0), rows),
        refused=_share(refused, rows + refused),
        referred=_share(counters.get("referred_rows", 0.0), rows),
        lost=_share(lost, lost + counters.get("log_rows", 0.0)),
        processor=_processor(blocks),
        **told,
    )


def _told(readings: Sequence[Reading]) -> dict[str, Any]:
    """What stands in readings themselves: the newest of each server for sizes, the greatest for requests in flight."""
    newest = {one.address: one for one in readings if not one.error}
    workers = [worker for one in newest.values() for worker in one.workers]
    sizes = [worker.resident_bytes for worker in workers if worker.resident_bytes > 0]
    flying: dict[str, float] = {}
    for one in readings:
        if not one.error:
            now = sum(worker.in_flight for worker in one.workers)
            flying[one.address] = max(flying.get(one.address, 0.0), now)
    return {
        "memory": sum(sizes) if sizes else None,
        "most_memory": max(sizes, default=None),
        "in_flight": sum(flying.values()) if flying else None,
        "workers": len(workers) if newest else None,
    }


def _rate(blocks: Sequence[Block]) -> float:
    by_server: dict[str, list[float]] = {}
    for block in blocks:
        sums = by_server.setdefault(block.address, [0.0, 0.0])
        sums[0], sums[1] = sums[0] + block.requests, sums[1] + block.seconds
    return sum(count / max(seconds, 1e-6) for count, seconds in by_server.values())


def _latencies(blocks: Sequence[Block]) -> tuple[float | None, ...]:
    """p50, p95, p99 in ms: of all blocks as one, whose sums tell as much of a quantile as they do."""
    counted = [block for block in blocks if sum(block.buckets) > 0]
    if not counted or len({block.ends_s for block in counted}) > 1:
        return (None, None, None)
    whole = Block(
        address="",
        after_us=counted[0].after_us,
        until_us=counted[-1].until_us,
        counters={},
        codes=_summed(block.codes for block in counted),
        ends_s=counted[0].ends_s,
        buckets=tuple(map(sum, zip(*(block.buckets for block in counted), strict=True))),
    )
    traffic = Traffic(whole.after_us, whole.until_us, (whole,), ())
    return tuple(_quantile(traffic, p) for p in _QUANTILES)


def _quantile(traffic: Traffic, p: float) -> float | None:
    try:
        return float(latency_quantile(traffic, p, 0.95).value)
    except NotEnough:  # all that came was turned away before it was read
        return None


def _processor(blocks: Sequence[Block]) -> float | None:
    used: dict[tuple[str, int], list[float]] = {}
    for block in blocks:
        for number, seconds in block.processor_s.items():
            sums = used.setdefault((block.address, number), [0.0, 0.0])
            sums[0], sums[1] = sums[0] + seconds, sums[1] + block.seconds
    return max((spent / max(seconds, 1e-6) for spent, seconds in used.values()), default=None)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _summed(counts: Iterable[Mapping[Key, float]]) -> dict[Key, float]:
    found: dict[Key, float] = {}
    for one in counts:
        for name, n in one.items():
            found[name] = found.get(name, 0.0) + n
    return found
