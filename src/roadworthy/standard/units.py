"""Quantities with units: text from people to base units, and back.

Base units: ratio ``""``, milliseconds ``"ms"``, bytes ``"bytes"``, counts ``"count"`` and the target's own unit
``"target"``. Decimal prefixes are decimal (1 MB is 10**6 bytes), binary ones binary (1 MiB is 2**20).
"""

from __future__ import annotations

import math
import re

__all__ = ["UNITS", "format_quantity", "parse_quantity"]

UNITS: dict[str, dict[str, float]] = {
    "": {"": 1.0, "%": 0.01},
    "ms": {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "min": 6e4},
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
    "ms": ((6e4, "min"), (1e3, "s"), (1.0, "ms"), (1e-3, "µs")),
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "bytes")),
}


def format_quantity(value: float, base: str) -> str:
    """A short form for people, in the largest unit that keeps a digit before the point.

    >>> format_quantity(50.0, "ms"), format_quantity(5_000_000, "bytes"), format_quantity(0.8, "")
    ('50 ms', '5 MB', '0.8')
    """
    for scale, unit in _SCALES.get(base, ()):
        if abs(value) >= scale:
            return f"{_short(value / scale)} {unit}"
    if base in _SCALES:
        return f"{_short(value)} {base}"
    return _short(value)


def _short(value: float) -> str:
    if value == 0:
        return "0"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = max(0, 3 - math.floor(math.log10(abs(value)))) if abs(value) < 1 else 4 - len(str(int(abs(value))))
    text = f"{value:.{min(max(digits, 0), 12)}f}" if abs(value) >= 1e-4 else f"{value:.2g}"
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text
