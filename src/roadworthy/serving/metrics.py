"""What the server counts of itself, shared by all workers, in Prometheus' text form.

In: ``count`` and ``observe`` calls on the request path. Out: one text over all workers, whichever of them is asked.
Laws: the series are a closed set, but for those of ``serving.refusals``, so that no request can make a new one; a count
costs a few tens of nanoseconds; each worker writes only its own slots of one mapped file, so that nothing is locked and
nothing is lost when a worker ends.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from roadworthy.records.contract import Breach
from roadworthy.serving.refusals import NAME, Refusals, quoted

__all__ = ["CODES", "ROUTES", "SECONDS", "Metrics"]

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends of the latency histogram."""

ROUTES: Final = ("predict", "infer", "grpc", "feedback", "events", "other")
"""What a request asked for."""

CODES: Final = (200, 202, 400, 401, 403, 404, 405, 408, 409, 411, 413, 415, 421, 422, 429, 431, 499, 500, 501, 503, 504)
"""Every status that the server answers."""

_SIZE = 8

_COUNTERS: Final[dict[str, str]] = {
    "roadworthy_rows_total": "Rows that were answered.",
    "roadworthy_runs_total": "Runs of the model; rows divided by runs is the mean batch.",
    "roadworthy_fallback_rows_total": "Rows that another version or the constant answered.",
    "roadworthy_failed_rows_total": "Rows that nothing could answer.",
    "roadworthy_refused_rows_total": "Rows that break the contract, whose request is refused.",
    "roadworthy_referred_rows_total": "Rows that were referred to a person instead of decided.",
    "roadworthy_log_rows_total": "Predictions that are in the log, on disk.",
    "roadworthy_log_lost_rows_total": "Predictions that could not be logged.",
    "roadworthy_feedback_total": "Labels that were accepted, on disk.",
    "roadworthy_events_total": "Events that were accepted, on disk.",
    "roadworthy_events_repeated_total": "Events that had come before, under the same id.",
    "roadworthy_events_too_old_total": "Events that are older than what the entity state keeps; they are in the lake.",
    "roadworthy_swaps_total": "Times that another version was put in service.",
}
_GAUGES: Final[dict[str, str]] = {
    "roadworthy_in_flight": "Requests that are being answered.",
    "roadworthy_resident_bytes": "Resident memory of the worker.",
    "roadworthy_processor_seconds": "Processor time that the worker has used.",
    "roadworthy_state_entries": "Entries that the entity state holds, as this worker saw it last.",
    "roadworthy_state_bytes": "Bytes that the entity state takes on disk, as this worker saw it last.",
    "roadworthy_started_seconds": "When the worker started, in seconds since 1970.",
}


class Metrics:
    """The counters of one worker, number ``worker`` of ``workers``, in a file that all of them map.

    Without a file they are this process's own.
    """

    def __init__(self, file: Path | None = None, *, worker: int = 0, workers: int = 1) -> None:
        self._series = tuple(_series())
        self._places: Mapping[str, int] = {name: place for place, name in enumerate(self._series)}
        size = len(self._series) * _SIZE * workers
        self._map = _mapped(file, size)
        columns = None if file is None else file.with_name(f"{file.name}.columns")
        self._refusals = Refusals(_mapped(columns, Refusals.size(workers)), worker=worker, workers=workers)
        self._all = memoryview(self._map).cast("d")
        self._workers = workers
        self._own = self._all[worker * len(self._series) : (worker + 1) * len(self._series)]
        self._codes = {(route, code): self._places[_request(route, code)] for route in ROUTES for code in CODES}
        self._buckets = {route: self._places[_bucket(route, SECONDS[0])] for route in ROUTES}

    def request(self, route: str, code: int, seconds: float) -> None:
        """One request that was answered."""
        own = self._own
        own[self._codes[route, code]] += 1
        first = self._buckets[route]
        own[first + bisect_left(SECONDS, seconds)] += 1
        own[first + len(SECONDS) + 1] += seconds

    def turned_away(self, route: str) -> None:
        """One request that was answered with 429 before it was read, in no time that could be told."""
        self._own[self._codes[route, 429]] += 1
        self._own[self._buckets[route]] += 1

    def count(self, name: str, by: float = 1) -> None:
        """Adds to a counter."""
        self._own[self._places[name]] += by

    def refused(self, rows: int, columns: Mapping[tuple[str, Breach], int]) -> None:
        """Rows of a request break the contract: how many, and how many in which column and how."""
        self.count("roadworthy_refused_rows_total", rows)
        self._refusals.count(columns)

    def gauge(self, name: str, value: float) -> None:
        """Sets a gauge of this worker."""
        self._own[self._places[name]] = value

    def value(self, name: str) -> float:
        """A counter's value over all workers."""
        step, place = len(self._series), self._places[name]
        return sum(self._all[worker * step + place] for worker in range(self._workers))

    def text(self, states: Mapping[str, str] | None = None) -> bytes:
        """Everything in Prometheus' text form; ``states`` are those of the breakers, by version."""
        lines: list[str] = []
        for name, words in _COUNTERS.items():
            lines += [f"# HELP {name} {words}", f"# TYPE {name} counter", f"{name} {self.value(name):.17g}"]
        lines += [f"# HELP {NAME} Rows that break the contract in a column, by how; in several, counted in each."]
        lines += [f"# TYPE {NAME} counter"]
        lines += [f"{name} {value:.17g}" for name, value in self._refusals.series().items()]
        lines += ["# HELP roadworthy_requests_total Requests by what they asked for and how they were answered."]
        lines += ["# TYPE roadworthy_requests_total counter"]
        lines += [
            f"{name} {value:.17g}"
            for route in ROUTES
            for code in CODES
            if (value := self.value(name := _request(route, code)))
        ]
        lines += ["# HELP roadworthy_request_seconds From the first byte of a request to the answer."]
        lines += ["# TYPE roadworthy_request_seconds histogram"]
        lines += [line for route in ROUTES for line in self._histogram(route)]
        lines += self._gauges()
        if states:
            lines += ["# HELP roadworthy_breaker_open Whether a version is left alone: 0 no, 0.5 tried again, 1 yes."]
            lines += ["# TYPE roadworthy_breaker_open gauge"]
            known = {"closed": "0", "half_open": "0.5", "open": "1"}
            lines += [
                f'roadworthy_breaker_open{{version="{quoted(title)}"}} {known[state]}'
                for title, state in states.items()
            ]
        return ("\n".join(lines) + "\n").encode()

    def _histogram(self, route: str) -> Iterator[str]:
        total = 0.0
        counts = [self.value(_bucket(route, end)) for end in (*SECONDS, float("inf"))]
        if not any(counts):
            return
        for end, count in zip((*SECONDS, "+Inf"), counts, strict=True):
            total += count
            yield f'roadworthy_request_seconds_bucket{{route="{route}",le="{end}"}} {total:.17g}'
        yield f'roadworthy_request_seconds_sum{{route="{route}"}} {self.value(_sum(route)):.17g}'
        yield f'roadworthy_request_seconds_count{{route="{route}"}} {total:.17g}'

    def _gauges(self) -> Iterator[str]:
        step = len(self._series)
        for name, words in _GAUGES.items():
            yield f"# HELP {name} {words}"
            yield f"# TYPE {name} gauge"
            for worker in range(self._workers):
                yield f'{name}{{worker="{worker}"}} {self._all[worker * step + self._places[name]]:.17g}'


def _series() -> Iterator[str]:
    yield from _COUNTERS
    yield from _GAUGES
    for route in ROUTES:
        yield from (_request(route, code) for code in CODES)
        yield from (_bucket(route, end) for end in (*SECONDS, float("inf")))
        yield _sum(route)


def _request(route: str, code: int) -> str:
    return f'roadworthy_requests_total{{route="{route}",code="{code}"}}'


def _bucket(route: str, end: float) -> str:
    return f"{route} bucket {end}"


def _sum(route: str) -> str:
    return f"{route} sum"


def _mapped(file: Path | None, size: int) -> mmap.mmap:
    """The file in memory, made with zeros where it is not there yet."""
    if file is None:
        return mmap.mmap(-1, size)
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.fstat(handle).st_size < size:
            os.ftruncate(handle, size)
        return mmap.mmap(handle, size)
    finally:
        os.close(handle)
