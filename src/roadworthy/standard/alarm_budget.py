"""The alarm budget as declared: how many false alarms a person is willing to get, over everything that is watched.

In: text such as ``"1 per 30 days"``. Out: a ``Budget``. ``measures.alarms.budget`` divides it.
"""

from __future__ import annotations

import re

import msgspec

__all__ = ["BUDGET_EXPECTED", "Budget", "parse_budget"]

BUDGET_EXPECTED = 'false alarms per time, as "1 per 30 days", "2 per week" or "1 per month"'
_TEXT = re.compile(r"^\s*(\d+(?:\.\d+)?)\s+per\s+(?:(\d+(?:\.\d+)?)\s+)?(hour|day|week|month|year)s?\s*$")
_SECONDS = {"hour": 3600.0, "day": 86_400.0, "week": 7 * 86_400.0, "month": 30 * 86_400.0, "year": 365 * 86_400.0}
_MOST_PER_S = 1 / 3600.0
_LEAST_PER_S = 1 / (100 * 365 * 86_400.0)


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """At most ``false_alarms`` are expected in ``per_s`` seconds in which nothing is wrong."""

    false_alarms: float
    per_s: float

    def within(self, seconds: float) -> float:
        """The false alarms that so many seconds may have."""
        return self.false_alarms * (seconds / self.per_s)


def parse_budget(text: object) -> Budget:
    """The budget that a text declares; ValueError says what was found. A month is 30 days, a year 365.

    >>> parse_budget("1 per 30 days"), parse_budget("2 per week").per_s
    (Budget(false_alarms=1.0, per_s=2592000.0), 604800.0)
    """
    match = _TEXT.match(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"found {text!r}, expected {BUDGET_EXPECTED}")
    alarms, per_s = float(match[1]), float(match[2] or 1) * _SECONDS[match[3]]
    if alarms <= 0 or per_s <= 0:
        raise ValueError(f"found {text!r}: a monitor that never errs never speaks; expected at least 1 per 100 years")
    if alarms / per_s < _LEAST_PER_S * (1 - 1e-9):
        raise ValueError(f"found {text!r}: no evidence is ever that strong; expected at least 1 per 100 years")
    if alarms / per_s > _MOST_PER_S * (1 + 1e-9):
        raise ValueError(f"found {text!r}: nobody looks at so many; expected at most 1 per hour")
    return Budget(false_alarms=alarms, per_s=per_s)
