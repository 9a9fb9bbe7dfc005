"""Latency quantiles from a histogram: where they lie, and what is proven of it.

In: counts by bucket, block by block. Out: ``Bounds`` in milliseconds. Laws: a quantile's bounds are ends of buckets,
since nothing is known of where in one a request lies; the value lies between them; a quantile that may lie in the
bucket without end is bounded by nothing but the time that its server runs.

An end e is proven to lie above the p-quantile where the share of requests up to e is proven to be at least p, and below
it where that share is proven to be less (``shares``). Walking over the ends from outside and stopping at the first that
is not proven, only the end next to the quantile can be wrong, so that the bounds hold at the confidence of one test.

A request that was turned away under load (429) is answered before it is read: such requests are taken out of the
fastest buckets, or a flood would look like a fast server.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roadworthy.measures.intervals import Bounds, NotEnough
from roadworthy.measures.operations.shares import share
from roadworthy.measures.operations.traffic import Traffic

__all__ = ["latency_quantile"]

_TURNED_AWAY = 429
_METHOD = "order statistics in the buckets of the histogram"


def latency_quantile(traffic: Traffic, p: float, confidence: float) -> Bounds:
    """The p-quantile of the latency of requests that were read, in ms.

    NotEnough where no request came; where too few readings did, the bounds are NaN and the value stands alone.
    """
    ends, counts = _table(traffic)
    total = float(counts.sum())
    if total <= 0:
        raise NotEnough("no request came")
    below = np.cumsum(counts, axis=1)[:, :-1]
    value = _interpolated(ends, counts.sum(axis=0), p)
    totals = counts.sum(axis=1)
    try:
        proven = [share(column, totals, confidence) for column in below.T]
    except NotEnough:
        return Bounds(value, float("nan"), float("nan"), "")
    upper = _longest(traffic)
    for end, found in zip(ends[::-1], proven[::-1], strict=True):
        if found.lower < p:
            break
        upper = float(end)
    lower = 0.0
    for end, found in zip(ends, proven, strict=True):
        if found.upper >= p:
            break
        lower = float(end)
    return Bounds(min(max(value, lower), upper), lower, upper, _METHOD)


def _table(traffic: Traffic) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ends in ms [B], and counts [blocks, B + 1] without what was turned away."""
    blocks = [block for block in traffic.blocks if sum(block.buckets) > 0]
    if not blocks:
        raise NotEnough("no request came")
    if len({block.ends_s for block in blocks}) > 1:
        raise NotEnough("the servers' histograms have different buckets")
    counts = np.array([block.buckets for block in blocks], dtype=np.float64)
    away = np.array([block.codes.get(_TURNED_AWAY, 0.0) for block in blocks])
    gone = np.minimum(np.cumsum(counts, axis=1), away[:, None])
    counts -= np.diff(gone, axis=1, prepend=0.0)
    return np.array(blocks[0].ends_s) * 1000.0, counts


def _longest(traffic: Traffic) -> float:
    """Milliseconds since the first worker started: no request lasts longer."""
    begun = [worker.started_s for one in traffic.readings for worker in one.workers if worker.started_s]
    return traffic.until_us / 1000.0 - min(begun, default=0.0) * 1000.0


def _interpolated(ends: NDArray[np.float64], counts: NDArray[np.float64], p: float) -> float:
    """Where the quantile would be if requests lay evenly in each bucket; the last end at most."""
    wanted, begin = p * float(counts.sum()), 0.0
    for at, end in enumerate(ends):
        if counts[at] > 0 and wanted <= begin + counts[at]:
            first = float(ends[at - 1]) if at else 0.0
            return first + (float(end) - first) * (wanted - begin) / float(counts[at])
        begin += float(counts[at])
    return float(ends[-1])
