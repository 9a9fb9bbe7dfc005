"""What happened between readings: counts of one server from one reading to the next, and all of them in a span.

In: ``records.reading.Reading``, of one or several servers. Out: ``Traffic``. Laws: a counter that fell began anew with
its server, and so did all its others, so that nothing is counted twice and nothing is negative; a reading without an
answer is no gap in the counts, which run on to the next answer; spans that meet add up to the span over both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest
from typing import TypeVar

from roadworthy.records.reading import Reading

__all__ = ["ASKED", "Block", "Traffic", "newly_refused", "starts", "traffic_of"]

Key = TypeVar("Key")

ASKED = ("predict", "infer", "grpc")
"""The routes that ask for predictions."""


@dataclass(frozen=True, slots=True)
class Block:
    """What one server counted from after ``after_us`` to ``until_us``: one reading less the one before.

    ``codes`` are requests for predictions by status, ``buckets`` the same by latency, the last bucket without end.
    ``processor_s`` is by worker, where it tells.
    """

    address: str
    after_us: int
    until_us: int
    counters: Mapping[str, float]
    codes: Mapping[int, float]
    ends_s: tuple[float, ...]
    buckets: tuple[float, ...]
    processor_s: Mapping[int, float] = field(default_factory=dict)
    restarted: bool = False

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return (self.until_us - self.after_us) / 1e6

    @property
    def requests(self) -> float:
        """Requests for predictions."""
        return sum(self.codes.values())


@dataclass(frozen=True, slots=True)
class Traffic:
    """A span: the blocks that end in it, and the readings that were taken in it, answered or not."""

    after_us: int
    until_us: int
    blocks: tuple[Block, ...]
    readings: tuple[Reading, ...]

    def count(self, name: str) -> float:
        """A counter over all blocks."""
        return sum(block.counters.get(name, 0.0) for block in self.blocks)

    def coded(self, codes: Iterable[int]) -> float:
        """Requests with one of some statuses."""
        wanted = set(codes)
        return sum(n for block in self.blocks for code, n in block.codes.items() if code in wanted)

    @property
    def requests(self) -> float:
        """Requests for predictions."""
        return sum(block.requests for block in self.blocks)

    @property
    def answered(self) -> tuple[Reading, ...]:
        """The readings that came."""
        return tuple(reading for reading in self.readings if not reading.error)


def traffic_of(readings: Iterable[Reading], *, after_us: int, until_us: int) -> Traffic:
    """The traffic after ``after_us`` and up to ``until_us``.

    Give also the last answered reading of each server before the span: what is counted begins there. A server that is
    first read inside the span counts from then on.
    """
    by_address: dict[str, list[Reading]] = {}
    for reading in sorted(readings, key=lambda one: one.at_us):
        if reading.at_us <= until_us:
            by_address.setdefault(reading.address, []).append(reading)
    blocks: list[Block] = []
    inside: list[Reading] = []
    for own in by_address.values():
        inside += [reading for reading in own if reading.at_us > after_us]
        came = [reading for reading in own if not reading.error]
        blocks += [_block(before, now) for before, now in pairwise(came) if now.at_us > after_us]
    blocks.sort(key=lambda block: (block.until_us, block.address))
    inside.sort(key=lambda reading: (reading.at_us, reading.address))
    return Traffic(after_us, until_us, tuple(blocks), tuple(inside))


def newly_refused(before: Reading, now: Reading) -> dict[str, dict[str, float]]:
    """Rows that broke the contract from one reading to the next, by column and how; only where there were any."""
    old = {} if _began_anew(before, now) else before.refused
    found: dict[str, dict[str, float]] = {}
    for column, ways in now.refused.items():
        less = _less(ways, old.get(column, {}))
        if own := {way: rows for way, rows in less.items() if rows > 0}:
            found[column] = own
    return found


def _block(before: Reading, now: Reading) -> Block:
    anew = _began_anew(before, now)
    old = Reading(at_us=before.at_us, address=before.address) if anew else before
    return Block(
        address=now.address,
        after_us=before.at_us,
        until_us=now.at_us,
        counters=_less(now.counters, old.counters),
        codes=_less(_codes(now), _codes(old)),
        ends_s=now.ends_s,
        buckets=tuple(new - was for new, was in zip_longest(_buckets(now), _buckets(old), fillvalue=0.0)),
        processor_s=_processor(before, now),
        restarted=anew,
    )


def _began_anew(before: Reading, now: Reading) -> bool:
    """Whether the server was started again: any counter fell, or its histogram has other buckets."""
    fell = any(now.counters.get(name, 0.0) < was for name, was in before.counters.items()) or any(
        now.requests.get(route, {}).get(code, 0.0) < was
        for route, codes in before.requests.items()
        for code, was in codes.items()
    )
    return fell or bool(before.ends_s and now.ends_s != before.ends_s)


def _codes(reading: Reading) -> dict[int, float]:
    found: dict[int, float] = {}
    for route in ASKED:
        for code, n in reading.requests.get(route, {}).items():
            found[code] = found.get(code, 0.0) + n
    return found


def _buckets(reading: Reading) -> list[float]:
    own = [reading.buckets[route] for route in ASKED if route in reading.buckets]
    return [sum(column) for column in zip(*own, strict=True)]


def _less(now: Mapping[Key, float], was: Mapping[Key, float]) -> dict[Key, float]:
    return {name: value - was.get(name, 0.0) for name, value in now.items()}


def _processor(before: Reading, now: Reading) -> dict[int, float]:
    """Processor seconds by worker; one that began anew counts from its start."""
    old = {worker.number: worker for worker in before.workers}
    found: dict[int, float] = {}
    for worker in now.workers:
        if worker.processor_s is None:
            continue
        was = old.get(worker.number)
        same = was is not None and was.started_s == worker.started_s
        found[worker.number] = worker.processor_s - ((was.processor_s or 0.0) if was is not None and same else 0.0)
    return found


def starts(readings: Sequence[Reading]) -> dict[tuple[str, int], list[float]]:
    """When each worker started, as it was seen, each start once."""
    found: dict[tuple[str, int], list[float]] = {}
    for reading in readings:
        for worker in reading.workers:
            seen = found.setdefault((reading.address, worker.number), [])
            if worker.started_s and worker.started_s not in seen:
                seen.append(worker.started_s)
    return found
