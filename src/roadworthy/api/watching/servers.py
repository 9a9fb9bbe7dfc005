"""The servers that answer: asked every so often how they are, and what that means for the hour and the month.

In: targets, the registry's database. Out: readings that are kept, a signal for each requirement that burns; for a
window what operations showed. Laws: a server that does not answer is a reading; readings older than four weeks go.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from roadworthy.adapters.scraping import Target, scrape
from roadworthy.lifecycle import cursors
from roadworthy.lifecycle.alerts.store import AlertStore
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.measures.alarms.budget import Allotment, Family
from roadworthy.measures.alarms.burn import Bucket, burn_signal
from roadworthy.measures.operations.measuring import availability_buckets, merged_buckets
from roadworthy.measures.operations.traffic import newly_refused, traffic_of
from roadworthy.records.alert import Policy, Signal
from roadworthy.records.reading import Reading
from roadworthy.standard import Requirement

__all__ = ["Servers", "readings_of", "spanned"]

_EVERY_S = 30.0
_US = 1_000_000
_BEFORE_US = 15 * 60 * _US
"""How far before a span its first reading may lie: what is counted in the span begins there."""

_KEPT_US = 28 * 86_400 * _US
_MINUTE_US, _AGAIN_US = 60 * _US, 3_600 * _US
_LONGEST_US = 3 * 86_400 * _US
_LOOK_FIRST = "errors by code in /metrics, the server's log, and what was released just before"


class Servers:
    """Asks the targets of one project: ``due`` says when."""

    def __init__(
        self,
        project: str,
        targets: Sequence[Target],
        transactions: Transactions,
        alerts: AlertStore,
        policy: Policy,
        *,
        every_s: float = _EVERY_S,
    ) -> None:
        self._project, self._targets, self._every_s = project, tuple(targets), every_s
        self._transactions, self._alerts, self._policy = transactions, alerts, policy
        self._asked_us = 0
        self._buckets: tuple[Bucket, ...] = ()

    def due(self, now_us: int) -> bool:
        """Whether there are servers, and it is time to ask them."""
        return bool(self._targets) and now_us - self._asked_us >= self._every_s * _US

    def look(self, now_us: int, required: Sequence[Requirement], allotment: Allotment) -> None:
        """Ask every server, keep what it says, and look at burn rates."""
        self._asked_us = now_us
        found = scrape(self._targets)
        with self._transactions.changing() as connection:
            kept = [self._since_before(connection, one) for one in found]
            cursors.add_readings(connection, self._project, kept)
            cursors.forget_readings(connection, self._project, now_us - _KEPT_US)
        with self._transactions.changing() as connection:
            signals = self._burning(connection, now_us, required, allotment)
            self._alerts.apply(connection, signals, self._policy, now_us)

    def _since_before(self, connection: Connection, now: Reading) -> Reading:
        """A reading as it is kept: of refusals by column only those since the one before, whoever took that.

        As with all that is counted, a server that was not read for long counts from now on.
        """
        if now.error:
            return now
        before = cursors.last_read(connection, self._project, now.address)
        kept = msgspec.structs.replace(now, refused={})
        if before is not None and before.at_us >= now.at_us:
            return kept
        cursors.set_last_read(connection, self._project, now)
        if before is None or now.at_us - before.at_us > _BEFORE_US:
            return kept
        return msgspec.structs.replace(kept, newly_refused=newly_refused(before, now))

    def _burning(
        self, connection: Connection, now_us: int, required: Sequence[Requirement], allotment: Allotment
    ) -> list[Signal]:
        objectives = [
            item.at_least
            for item in required
            if item.metric == "availability" and not item.slice and item.at_least is not None and 0 < item.at_least < 1
        ]
        if not objectives:
            return []
        buckets = self._counted(connection, now_us)
        rate = allotment.rate(Family.OPERATIONS)
        return [
            burn_signal(
                "availability_burns",
                buckets,
                max(objectives),
                at_us=now_us,
                per_s=rate,
                source=str(now_us // _US),
                every_s=self._every_s,
                look_first=_LOOK_FIRST,
            )
        ]

    def _counted(self, connection: Connection, now_us: int) -> tuple[Bucket, ...]:
        """Requests by the minute over three days, of which only the last hour is counted again."""
        since_us = now_us - _LONGEST_US
        begin_us = max(since_us, now_us - _AGAIN_US) if self._buckets else since_us
        begin_us -= begin_us % _MINUTE_US
        readings = cursors.readings(connection, self._project, begin_us - _BEFORE_US, now_us)
        fresh = availability_buckets(traffic_of(readings, after_us=begin_us, until_us=now_us))
        known = [one for one in self._buckets if one.at_us < begin_us]
        self._buckets = merged_buckets(known, [one for one in fresh if one.at_us >= begin_us], since_us=since_us)
        return self._buckets


def readings_of(connection: Connection, project: str, after_us: int, until_us: int) -> tuple[Reading, ...]:
    """The readings of a span, with those just before it, from which on its counts begin."""
    return cursors.readings(connection, project, after_us - _BEFORE_US, until_us)


def spanned(readings: Sequence[Reading], after_us: int, until_us: int) -> tuple[Reading, ...]:
    """The same of readings that were read for a longer span, oldest first."""
    first = bisect_right(readings, after_us - _BEFORE_US, key=_at)
    return tuple(readings[first : bisect_right(readings, until_us, key=_at)])


def _at(reading: Reading) -> int:
    return reading.at_us
