"""Burn rates: how fast the errors that are allowed are being used up, over a long and a short time at once.

In: good and bad counts in buckets of time; the share that has to be good. Out: a ``Signal``. It does not matter what is
bad: requests that failed (availability), that were too slow (latency), or answers that were wrong (quality). After
Beyer and others (2018), "The Site Reliability Workbook", chapter 5: burn = share of bad / share that may be bad; 14.4
over 1 h and 5 min and 6 over 6 h and 30 min page somebody, 1 over 3 d and 6 h makes a ticket. The short time says that
it still goes on.

Two things are added. With little traffic one bad request is a high burn, so the long time's count also has to prove, by
the exact binomial tail at the level that the alarm budget gives, that more is bad than may be. And where much may be
bad (accuracy of 0.80), 14.4 times as much is more than all: there a factor is at most the square root of the whole, so
that at 0.80 it is 2.2 times, 45 % of bad.

Laws: pure; no traffic says nothing (never clear); p is valid at any number of requests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from scipy import special

from roadworthy.errors import DataError
from roadworthy.measures.alarms.budget import MOST_LEVEL
from roadworthy.records.alert import Severity, Signal, Word

__all__ = ["PAIRS", "Bucket", "Burn", "Pair", "burn_signal", "burns", "pairs_for"]

_MINUTE_US, _HOUR_US, _DAY_US = 60_000_000, 3_600_000_000, 86_400_000_000


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """What ended between ``at_us`` and the next bucket: ``bad`` of ``total``."""

    at_us: int
    bad: int
    total: int


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A burn of ``factor`` over both times."""

    factor: float
    long_us: int
    short_us: int
    severity: Severity


PAIRS: tuple[Pair, ...] = (
    Pair(factor=14.4, long_us=_HOUR_US, short_us=5 * _MINUTE_US, severity=Severity.PAGE),
    Pair(factor=6.0, long_us=6 * _HOUR_US, short_us=30 * _MINUTE_US, severity=Severity.PAGE),
    Pair(factor=1.0, long_us=3 * _DAY_US, short_us=6 * _HOUR_US, severity=Severity.TICKET),
)


class Burn(msgspec.Struct, frozen=True, kw_only=True):
    """One pair looked at. ``p``: of so many bad ones over the long time, were exactly as many bad as may be."""

    pair: Pair
    long_burn: float
    short_burn: float
    long_bad: int
    long_total: int
    short_total: int
    p: float
    level: float

    @property
    def fires(self) -> bool:
        """Both times burn as fast, and the long one proves it."""
        fast = min(self.long_burn, self.short_burn) >= self.pair.factor
        return fast and self.long_total > 0 and self.short_total > 0 and self.p <= self.level


def pairs_for(objective: float) -> tuple[Pair, ...]:
    """The pairs with factors that can be reached when a share ``objective`` has to be good."""
    if not 0 < objective < 1:
        raise DataError(f"an objective of {objective}; expected a share between 0 and 1, as 0.999")
    most = math.sqrt(1 / (1 - objective))
    return tuple(msgspec.structs.replace(pair, factor=min(pair.factor, most)) for pair in PAIRS)


def burns(
    buckets: Sequence[Bucket], objective: float, *, at_us: int, per_s: float, every_s: float = 60.0
) -> tuple[Burn, ...]:
    """Look at every pair at ``at_us``. Buckets that begin within a time count, those from ``at_us`` on do not.

    ``per_s`` is the rate of false alarms of this chart (``Allotment.rate``), divided over the pairs and over the looks,
    one every ``every_s`` seconds.
    """
    allowed = 1 - objective
    pairs = pairs_for(objective)
    found = []
    for pair in pairs:
        bad, total = _counted(buckets, at_us - pair.long_us, at_us)
        short_bad, short_total = _counted(buckets, at_us - pair.short_us, at_us)
        found.append(
            Burn(
                pair=pair,
                long_burn=bad / total / allowed if total else 0.0,
                short_burn=short_bad / short_total / allowed if short_total else 0.0,
                long_bad=bad,
                long_total=total,
                short_total=short_total,
                p=float(special.betainc(bad, total - bad + 1, allowed)) if bad else 1.0,
                level=min(per_s * every_s / len(pairs), MOST_LEVEL),
            )
        )
    return tuple(found)


def burn_signal(
    rule: str,
    buckets: Sequence[Bucket],
    objective: float,
    *,
    at_us: int,
    per_s: float,
    source: str,
    every_s: float = 60.0,
    group: str = "operations",
    what: str = "requests",
    look_first: str = "",
) -> Signal:
    """The word of the fastest burn. ``what`` is counted ("requests", "answers with a label")."""
    looked = burns(buckets, objective, at_us=at_us, per_s=per_s, every_s=every_s)
    firing = [burn for burn in looked if burn.fires]
    shown = firing[0] if firing else max(looked, key=lambda burn: burn.long_total)
    word = Word.ALARM if firing else Word.CLEAR
    if not firing and not any(burn.short_total for burn in looked):
        word = Word.UNKNOWN
    return Signal(
        rule=rule,
        word=word,
        at_us=at_us,
        source=source,
        group=group,
        severity=shown.pair.severity if firing else Severity.TICKET,
        sentence=_sentence(word, shown, objective, what),
        evidence={
            "objective": objective,
            "burns": [
                {
                    "factor": burn.pair.factor, "long_s": burn.pair.long_us / 1e6, "short_s": burn.pair.short_us / 1e6,
                    "long": burn.long_burn, "short": burn.short_burn, "bad": burn.long_bad, "total": burn.long_total,
                    "p": burn.p, "level": burn.level, "fires": burn.fires,
                }
                for burn in looked
            ],
        },
        look_first=look_first,
        chart=rule,
    )  # fmt: skip


def _counted(buckets: Sequence[Bucket], after_us: int, until_us: int) -> tuple[int, int]:
    inside = [bucket for bucket in buckets if after_us <= bucket.at_us < until_us]
    return sum(bucket.bad for bucket in inside), sum(bucket.total for bucket in inside)


def _sentence(word: Word, burn: Burn, objective: float, what: str) -> str:
    hours = burn.pair.long_us / _HOUR_US
    if word is Word.UNKNOWN:
        return f"No {what} in the last 6 hours: nothing is known."
    share = burn.long_bad / burn.long_total if burn.long_total else 0.0
    said = f"{burn.long_bad:,} of {burn.long_total:,} {what} in the last {hours:g} h were bad ({100 * share:.3g} %)"
    if word is Word.CLEAR:
        return f"{said}; {100 * (1 - objective):.3g} % may be."
    month = 30 * 24 / burn.long_burn
    used = f"{month / 24:.2g} days" if month >= 48 else f"{month:.2g} hours"
    return (
        f"{said}, {burn.long_burn:.3g} times what may be, and it goes on: "
        f"what is allowed for 30 days is used up in {used}."
    )
