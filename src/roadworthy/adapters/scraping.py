"""Reads what servers say of themselves: ``/metrics`` of one or several, over TCP, TLS or a unix socket.

In: addresses. Out: one ``Reading`` for each, in their order. Laws: it ends in bounded time, however slowly a server
drips; a server that does not answer, or answers something else, is a reading with ``error``, never an exception; no
more than the closed list of ``serving.metrics`` is read, so that no server can make a series; the API key is in no
message. Every replica is named by its own address: behind one balancer, counters of several would be mixed.

The server is asked for one small text and counts nothing for it on the request path.
"""

from __future__ import annotations

import asyncio
import math
import re
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import httpx
import msgspec

from roadworthy.errors import Problem, UsageError
from roadworthy.records.contract import Breach
from roadworthy.records.reading import Reading, WorkerReading

__all__ = ["Target", "parsed_metrics", "scrape", "scraped", "target"]

_MOST_BYTES = 1 << 20
_COUNTERS: Final = frozenset(
    {
        "rows",
        "runs",
        "fallback_rows",
        "failed_rows",
        "refused_rows",
        "referred_rows",
        "log_rows",
        "log_lost_rows",
        "feedback",
        "events",
        "swaps",
    }
)
_IN_FLIGHT: Final = "roadworthy_in_flight"
_GAUGES: Final = {
    "roadworthy_resident_bytes": "resident_bytes",
    _IN_FLIGHT: "in_flight",
    "roadworthy_started_seconds": "started_s",
    "roadworthy_processor_seconds": "processor_s",
}
_BREACHES: Final = frozenset(Breach)
_LINE = re.compile(r"([a-z_]+)(?:\{(.*)\})? ([^ ]+)")
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
_NO_METRICS = "what answers there is no Roadworthy server: its /metrics has no roadworthy_ series"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server is asked. ``authority``: a file with the certificates that are trusted (PEM)."""

    address: str
    key: str = ""
    authority: str = ""

    def __repr__(self) -> str:
        return f"Target({self.address!r})"


def target(address: str, *, key: str = "", authority: Path | str = "") -> Target:
    """The target of ``http://host:port``, ``https://host:port`` or ``unix:/path``, as ``serve`` says its address.

    Raises UsageError for another form, and for certificates that are not there.
    """
    problems = []
    if not re.match(r"https?://[^/@\s]+/?$|unix:.+$", address):
        problems.append(Problem(repr(address.rpartition("@")[2]), expected="http://HOST:PORT, https://… or unix:PATH"))
    if authority and not Path(authority).is_file():
        problems.append(Problem("no such file", where=str(authority), expected="trusted certificates (PEM)"))
    if problems:
        raise UsageError("no server can be asked there", problems=problems, next_step="name it as serve says it")
    return Target(address=address.rstrip("/"), key=key, authority=str(authority))


def scrape(targets: Sequence[Target], *, timeout_s: float = 5.0) -> tuple[Reading, ...]:
    """``scraped`` for callers without an event loop."""
    return asyncio.run(scraped(targets, timeout_s=timeout_s))


async def scraped(targets: Sequence[Target], *, timeout_s: float = 5.0) -> tuple[Reading, ...]:
    """One reading of each, all asked at once, within ``timeout_s`` and a moment."""
    return tuple(await asyncio.gather(*(_one(found, timeout_s) for found in targets)))


async def _one(wanted: Target, timeout_s: float) -> Reading:
    at_us, begun = time.time_ns() // 1000, time.perf_counter()

    def failed(why: str) -> Reading:
        took_ms = (time.perf_counter() - begun) * 1000
        return Reading(at_us=at_us, address=wanted.address, took_ms=took_ms, error=why)

    try:
        async with asyncio.timeout(timeout_s):
            text = await _fetched(wanted, timeout_s)
        reading = parsed_metrics(text, at_us=at_us, address=wanted.address)
    except TimeoutError:
        return failed(f"no answer within {timeout_s:g} s")
    except (httpx.HTTPError, OSError, ssl.SSLError) as error:
        return failed(f"no connection: {str(error) or type(error).__name__}")
    except (_Refused, ValueError) as error:
        return failed(str(error))
    return msgspec.structs.replace(reading, took_ms=(time.perf_counter() - begun) * 1000)


class _Refused(Exception):
    """It answered, but not with its metrics."""


async def _fetched(wanted: Target, timeout_s: float) -> str:
    socket = wanted.address.removeprefix("unix:") if wanted.address.startswith("unix:") else None
    written_ns = Path(wanted.authority).stat().st_mtime_ns if wanted.authority else 0
    trust = _trust(wanted.authority, written_ns, secure=wanted.address.startswith("https:"))
    transport = httpx.AsyncHTTPTransport(uds=socket, verify=trust, retries=0)
    url = "http://localhost/metrics" if socket is not None else f"{wanted.address}/metrics"
    headers = {"x-api-key": wanted.key, "accept": "text/plain"} if wanted.key else {"accept": "text/plain"}
    async with (
        httpx.AsyncClient(transport=transport, trust_env=False, timeout=timeout_s) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        if response.status_code != httpx.codes.OK:
            raise _Refused(f"/metrics answers {response.status_code}")
        parts, size = [], 0
        async for part in response.aiter_bytes():
            parts.append(part)
            size += len(part)
            if size > _MOST_BYTES:
                raise _Refused(f"/metrics is more than {_MOST_BYTES >> 20} MiB")
    return b"".join(parts).decode("utf-8")


@lru_cache(maxsize=16)
def _trust(authority: str, _written_ns: int, *, secure: bool) -> ssl.SSLContext:
    """Who vouches for a server: the file as it was last written, else the system; nobody where nobody is asked.

    Reading the system's certificates takes longer than all the rest of a scrape.
    """
    if not secure:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ssl.create_default_context(cafile=authority or None)


def parsed_metrics(text: str, *, at_us: int, address: str) -> Reading:
    """The reading of a text in Prometheus' form. ValueError where it is no text of a Roadworthy server."""
    gathered = _Gathered()
    for name, labels, value in _series(text):
        try:
            gathered.take(name, labels, value)
        except KeyError as error:
            raise ValueError(f"{name} has no label {error}") from error
    counters, workers = gathered.counters, gathered.workers
    if not counters:
        raise ValueError(_NO_METRICS)
    ends_s, buckets = _histograms(gathered.below)
    return Reading(
        at_us=at_us,
        address=address,
        counters=counters,
        requests=gathered.requests,
        ends_s=ends_s,
        buckets=buckets,
        workers=tuple(WorkerReading(number=number, **workers[number]) for number in sorted(workers)),
        breakers=gathered.breakers,
        refused=gathered.refused,
    )


class _Gathered:
    """The series of the closed list, by what they are about; all others are left where they are."""

    def __init__(self) -> None:
        self.counters: dict[str, float] = {}
        self.requests: dict[str, dict[int, float]] = {}
        self.below: dict[str, list[tuple[float, float]]] = {}
        self.workers: dict[int, dict[str, float]] = {}
        self.breakers: dict[str, float] = {}
        self.refused: dict[str, dict[str, float]] = {}

    def take(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """One series; KeyError where it lacks a label."""
        short = name.removeprefix("roadworthy_").removesuffix("_total")
        if short in _COUNTERS:
            self.counters[short] = value
        elif name == "roadworthy_requests_total":
            self.requests.setdefault(labels["route"], {})[int(labels["code"])] = value
        elif name == "roadworthy_request_seconds_bucket":
            self.below.setdefault(labels["route"], []).append((float(labels["le"]), value))
        elif name in _GAUGES:
            told = max(value - 1.0, 0.0) if name == _IN_FLIGHT else value  # without the question itself
            self.workers.setdefault(int(labels["worker"]), {})[_GAUGES[name]] = told
        elif name == "roadworthy_refused_columns_total":
            if labels["reason"] in _BREACHES and value > 0:
                self.refused.setdefault(labels["column"], {})[labels["reason"]] = value
        elif name == "roadworthy_breaker_open":
            self.breakers[labels["version"]] = value


def _series(text: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    for line in text.split("\n"):  # no other sign ends a line: a label may hold any
        if not line or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None or not found[1].startswith("roadworthy_"):
            continue
        labels = {name: re.sub(r"\\.", lambda one: _ESCAPED.get(one[0], one[0]), value) for name, value in
                  _LABEL.findall(found[2] or "")}  # fmt: skip
        value = float(found[3])
        if not math.isfinite(value):
            raise ValueError(f"{found[1]} is {found[3]}")
        yield found[1], labels, value


def _histograms(
    below: Mapping[str, Sequence[tuple[float, float]]],
) -> tuple[tuple[float, ...], dict[str, tuple[float, ...]]]:
    """The ends that are finite, and by route how many lie in each bucket by itself."""
    ends: tuple[float, ...] = ()
    buckets = {}
    for route, pairs in below.items():
        ordered = sorted(pairs)
        own = tuple(end for end, _ in ordered)
        if not math.isinf(own[-1]) or (ends and own != ends):
            raise ValueError("the latency histogram is not whole")
        ends = own
        counts = [count for _, count in ordered]
        buckets[route] = tuple(max(now - before, 0.0) for before, now in zip([0.0, *counts], counts, strict=False))
    return ends[:-1], buckets
