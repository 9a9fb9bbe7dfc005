"""Stretches of time: from words of a link to bounds, and back.

In: the words ``span``, ``since`` and ``until`` of a link. Out: a ``Span``. Laws: a span without a fixed end follows the
clock; one with both ends fixed shows the same whenever it is opened; words that mean nothing are refused, not ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from roadworthy.errors import Problem, UsageError

__all__ = ["LATEST_US", "SPANS", "Span", "instant_words"]

LATEST_US = 253_370_764_800_000_000
"""The first instant of the year 9999: no later one can be told in every zone."""

SPANS = {
    "1h": ("last hour", 3_600),
    "6h": ("last 6 hours", 6 * 3_600),
    "24h": ("last 24 hours", 86_400),
    "7d": ("last 7 days", 7 * 86_400),
    "30d": ("last 30 days", 30 * 86_400),
    "1y": ("last year", 366 * 86_400),
}
"""What can be chosen: words of a link, words for people, seconds."""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """From ``since_us`` to ``until_us``, microseconds since 1970, UTC.

    ``chosen`` is the word of a span that follows the clock, empty for one with fixed ends.
    """

    since_us: int
    until_us: int
    chosen: str = ""

    @classmethod
    def parse(cls, words: Mapping[str, str], now_us: int, usual: str = "7d") -> Span:
        """The span that a link asks for; UsageError says what was found and what is expected.

        >>> day = Span.parse({"span": "24h"}, 86_400_000_000)
        >>> (day.since_us, day.words)
        (0, 'last 24 hours')
        """
        since, until, chosen = (words.get(name, "") for name in ("since", "until", "span"))
        if since or until:
            ends = [_instant(text, name) if text else other
                    for name, text, other in (("since", since, 0), ("until", until, now_us))]  # fmt: skip
            if ends[0] >= ends[1]:
                raise UsageError(f"the span ends at {until or 'now'}, before it begins at {since}")
            return cls(since_us=ends[0], until_us=ends[1])
        if chosen and chosen not in SPANS:
            raise UsageError(f"span {chosen[:40]!r} means nothing here", next_step=f"one of {', '.join(SPANS)}")
        chosen = chosen or usual
        return cls(since_us=max(0, now_us - SPANS[chosen][1] * 1_000_000), until_us=now_us, chosen=chosen)

    @property
    def words(self) -> str:
        """The span for people."""
        if self.chosen:
            return SPANS[self.chosen][0]
        return f"{instant_words(self.since_us)} to {instant_words(self.until_us)}"

    @property
    def link(self) -> str:
        """The words that lead here again, as a query string."""
        if self.chosen:
            return f"span={self.chosen}"
        return f"since={_iso(self.since_us)}&until={_iso(self.until_us)}"


def instant_words(at_us: int) -> str:
    """An instant for people.

    >>> instant_words(1_772_409_600_000_000)
    '2026-03-02 00:00 UTC'
    """
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _iso(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _instant(text: str, name: str) -> int:
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        problem = Problem(text[:60], where=name, expected="a time such as 2026-03-02T10:00:00Z")
        raise UsageError(f"{name} is no time", problems=[problem]) from error
    at_us = int((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp() * 1e6)
    if not 0 <= at_us <= LATEST_US:
        problem = Problem(text[:60], where=name, expected="a time from 1970-01-02 to the year 9998")
        raise UsageError(f"{name} is outside of what can be logged", problems=[problem])
    return at_us
