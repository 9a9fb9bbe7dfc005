"""What a server says of itself at one moment, as it was read from outside.

In: ``adapters.scraping``. Out: ``measures.operations``. Laws: a server that did not answer is a reading too, with
``error`` set and nothing else in it; counters are those since the server started, over all of its workers.
"""

from __future__ import annotations

import msgspec

__all__ = ["Reading", "WorkerReading"]


class WorkerReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One worker: resident bytes, requests being answered, start in seconds since 1970, processor seconds used.

    ``processor_s`` is None where the server does not tell.
    """

    number: int
    resident_bytes: float = 0.0
    in_flight: float = 0.0
    started_s: float = 0.0
    processor_s: float | None = None


class Reading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One answer of one server's ``/metrics``, or why there was none.

    ``at_us`` is when it was asked (microseconds since 1970, UTC), ``took_ms`` how long the answer took. ``refused``
    counts rows that break the contract, by column (empty for none of the contract's) and by how, as far as there are
    any; what is kept of it is ``newly_refused``, those since the reading before, so that a reading takes no more room
    for 500 columns than for those that were refused lately. ``counters`` are by name without ``roadworthy_`` and
    ``_total`` (``rows``, ``refused_rows``, ``log_lost_rows``). ``requests`` is by route and status. ``ends_s`` are the
    upper ends of the latency histogram but the last, which is infinite; ``buckets`` is by route, one count more than
    there are ends, each without those below it. ``breakers`` says of each version whether it is left alone: 0 no, 0.5
    tried again, 1 yes. ``error`` says why nothing came.
    """

    at_us: int
    address: str
    took_ms: float = 0.0
    counters: dict[str, float] = {}
    requests: dict[str, dict[int, float]] = {}
    ends_s: tuple[float, ...] = ()
    buckets: dict[str, tuple[float, ...]] = {}
    workers: tuple[WorkerReading, ...] = ()
    breakers: dict[str, float] = {}
    refused: dict[str, dict[str, float]] = {}
    newly_refused: dict[str, dict[str, float]] = {}
    error: str = ""
