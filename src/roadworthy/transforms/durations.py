"""Spans of time as people write them, as whole microseconds.

Owns the words for units. What flows in: ``"7 days"``, ``"90 s"``. What flows out: microseconds, an integer, or a
``UsageError`` that says what was expected. Law: ``microseconds(written(n)) == n`` for every positive whole ``n``.
"""

from __future__ import annotations

import re
from decimal import Decimal

from roadworthy.errors import UsageError, nearest

__all__ = ["microseconds", "written"]

_UNITS: dict[str, int] = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "day": 86_400_000_000,
    "week": 604_800_000_000,
}
_WORDS: dict[str, str] = {
    "us": "us",
    "µs": "us",
    "microsecond": "us",
    "microseconds": "us",
    "ms": "ms",
    "millisecond": "ms",
    "milliseconds": "ms",
    "s": "s",
    "sec": "s",
    "second": "s",
    "seconds": "s",
    "min": "min",
    "minute": "min",
    "minutes": "min",
    "h": "h",
    "hour": "h",
    "hours": "h",
    "d": "day",
    "day": "day",
    "days": "day",
    "w": "week",
    "week": "week",
    "weeks": "week",
}
_SPAN = re.compile(r"\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-zµ]+)\s*")
_EXPECTED = 'a positive number and a unit (ms, s, min, h, day, week), as in "7 days" or "90 s"'
_LONGEST = 2**62


def microseconds(text: str, *, where: str = "") -> int:
    """The span in whole microseconds, greater than 0.

    ``where`` is the place that an error names. Raises UsageError for anything that is not one number and one
    unit, for a fraction of a microsecond, for 0, and for spans beyond 2^62 microseconds (146,000 years).

    >>> microseconds("90 s"), microseconds("1.5 h"), microseconds("1 week") // 86_400_000_000
    (90000000, 5400000000, 7)
    """
    place = f"{where}: " if where else ""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise UsageError(f"{place}{text!r} is not a span of time; expected {_EXPECTED}")
    word = match["unit"] if match["unit"] in _WORDS else match["unit"].lower()
    if word not in _WORDS:
        close = nearest(word, _WORDS)
        hint = f"; did you mean {close!r}?" if close else ""
        raise UsageError(f"{place}unknown unit {match['unit']!r} in {text!r}{hint}; expected {_EXPECTED}")
    span = Decimal(match["number"]) * _UNITS[_WORDS[word]]
    if span != span.to_integral_value() or not 0 < span <= _LONGEST:
        raise UsageError(f"{place}{text!r} is not a whole, positive number of microseconds; expected {_EXPECTED}")
    return int(span)


def written(span: int) -> str:
    """The span in the greatest unit that divides it.

    >>> written(604_800_000_000), written(90_000_000), written(1_500)
    ('1 week', '90 s', '1500 us')
    """
    for unit, size in sorted(_UNITS.items(), key=lambda item: -item[1]):
        if span % size == 0:
            count = span // size
            plural = "s" if unit in {"day", "week"} and count != 1 else ""
            return f"{count} {unit}{plural}"
    raise AssertionError("one microsecond divides every whole span")
