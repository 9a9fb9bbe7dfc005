"""Quantities with units: text from people to base units, and back.

Base units: ratio ``""``, milliseconds ``"ms"``, bytes ``"bytes"``, counts ``"count"``, rows a second ``"rows/s"``
and the target's own unit ``"target"``. Decimal prefixes are decimal (1 MB is 10**6 bytes), binary ones binary (1 MiB
is 2**20).
"""

from __future__ import annotations

import math
import re

__all__ = ["UNITS", "exact_quantity", "format_quantity", "parse_quantity", "quantity_beside"]

UNITS: dict[str, dict[str, float]] = {
    "": {"": 1.0, "%": 0.01},
    "ms": {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "min": 6e4, "h": 3.6e6, "d": 8.64e7},
    "bytes": {
        "B": 1.0,
        "bytes": 1.0,
        "kB": 1e3,
        "KB": 1e3,
        "MB": 1e6,
        "GB": 1e9,
        "KiB": 2.0**10,
        "MiB": 2.0**20,
        "GiB": 2.0**30,
    },
    "count": {"": 1.0},
    "rows/s": {"": 1.0, "rows/s": 1.0},
    "target": {"": 1.0},
}
"""Base unit → accepted unit → factor into the base unit."""

_QUANTITY = re.compile(r"^\s*([+-]?(?:\d+(?:[_,]\d{3})*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\d\s].*)?$")


def parse_quantity(text: str | float, base: str) -> float:
    """A number in ``base`` units; ValueError says what was found and what is accepted.

    >>> parse_quantity("50 ms", "ms"), parse_quantity("0.05 s", "ms"), parse_quantity("5 MB", "bytes")
    (50.0, 50.0, 5000000.0)
    """
    if isinstance(text, bool):
        raise ValueError(f"found {text!r}, expected a number")  # noqa: TRY004 - a fault of the file, not of the code
    if isinstance(text, int | float):
        number, unit = float(text), ""
    else:
        match = _QUANTITY.match(text)
        if match is None:
            raise ValueError(f"found {text!r}, expected a number{_accepted(base)}")
        number, unit = float(match[1].replace(",", "").replace("_", "")), (match[2] or "").strip()
    if not math.isfinite(number):
        raise ValueError(f"found {text!r}, expected a finite number")
    factors = UNITS[base]
    if unit not in factors:
        shown = f"unit {unit!r}" if unit else "no unit"
        raise ValueError(f"found {shown} in {text!r}, expected a number{_accepted(base)}")
    return number * factors[unit]


def _accepted(base: str) -> str:
    named = [unit for unit in UNITS[base] if unit]
    if not named:
        return " without a unit"
    optional = " without a unit or" if "" in UNITS[base] else ""
    return f"{optional} with one of the units {', '.join(named)}"


_SCALES: dict[str, tuple[tuple[float, str], ...]] = {
    "ms": ((8.64e7, "d"), (3.6e6, "h"), (6e4, "min"), (1e3, "s"), (1.0, "ms"), (1e-3, "µs")),
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "bytes")),
}


_DIGITS, _ALL_DIGITS = 4, 17


def format_quantity(value: float, base: str) -> str:
    """A short form for people, in the largest unit that keeps a digit before the point.

    >>> format_quantity(50.0, "ms"), format_quantity(5_000_000, "bytes"), format_quantity(0.8, "")
    ('50 ms', '5 MB', '0.8')
    """
    return _written(value, base, _DIGITS)[0]


def exact_quantity(value: float, base: str) -> str:
    """As ``format_quantity``, with as many digits as it takes to say this value and no other.

    >>> exact_quantity(0.8, ""), exact_quantity(0.80004, ""), exact_quantity(5 * 2**20, "bytes")
    ('0.8', '0.80004', '5.24288 MB')
    """
    forms = (_written(value, base, digits) for digits in range(_DIGITS, _ALL_DIGITS + 1))
    return next((text for text, read in forms if math.isclose(read, value, rel_tol=1e-12)), repr(value))


def quantity_beside(value: float, bound: float, base: str) -> str:
    """As ``format_quantity``, with as many digits as it takes to stand on the same side of ``bound`` as the value.

    >>> quantity_beside(0.79998, 0.8, ""), quantity_beside(0.7912345, 0.8, ""), quantity_beside(0.8, 0.8, "")
    ('0.79998', '0.7912', '0.8')
    """
    forms = (_written(value, base, digits) for digits in range(_DIGITS, _ALL_DIGITS + 1))
    side = (value > bound) - (value < bound)
    return next((text for text, read in forms if (read > bound) - (read < bound) == side), repr(value))


def _written(value: float, base: str, digits: int) -> tuple[str, float]:
    """The text in its unit, and the number in base units that a reader takes from it."""
    scale, unit = next(
        ((scale, unit) for scale, unit in _SCALES.get(base, ()) if abs(value) >= scale),
        (1.0, base if base in _SCALES else ""),
    )
    text = _short(value / scale, digits)
    return f"{text} {unit}".rstrip(), float(text.replace(",", "")) * scale


def _short(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) < 1e-4:
        return f"{value:.{digits - 2}g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
