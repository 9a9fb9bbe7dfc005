"""Units written behind numbers: which they are, and whether they may be taken off.

In: distinct texts with counts. Out: the units joined by ``|`` (as ``ColumnContract.unit`` reads them). Law: numbers
in different units are never read as one column; only spellings of one unit may stand together.
"""

from __future__ import annotations

import re

import polars as pl

__all__ = ["MixedUnits", "find_unit", "unit_pattern"]

_WITH_UNIT = re.compile(r"^[+-]?[0-9][0-9.,]*\s*([^\W\d_][^|\d]{0,24}?|%|€|\$|£|°[CF]?)\.?$")
_PROBE = 3_000
_MOST = 6
_SAME: tuple[frozenset[str], ...] = tuple(
    frozenset(spellings.split())
    for spellings in (
        "oz ounce ounces", "lb lbs pound pounds", "g gr gram grams", "kg kilo kilos kilogram kilograms",
        "km kilometre kilometres kilometer kilometers", "m metre metres meter meters", "mi mile miles",
        "h hr hrs hour hours", "min mins minute minutes", "s sec secs second seconds", "d day days",
        "y yr yrs year years", "% percent pct", "€ eur euro euros", "$ usd dollar dollars", "£ gbp pound pounds",
        "l litre litres liter liters", "ft foot feet", "in inch inches",
    )
)  # fmt: skip


class MixedUnits(ValueError):
    """Numbers in different units; ``str`` lists them."""


def unit_pattern(unit: str) -> str:
    """The regular expression for any of the units at the end of a text."""
    return rf"(?i)\s*(?:{'|'.join(re.escape(one) for one in unit.split('|'))})\.?$"


def find_unit(counts: pl.DataFrame) -> str:
    """The unit behind the numbers, all its spellings joined by ``|``; empty when there is none.

    ``counts`` holds ``value`` and ``count``. Raises MixedUnits when there is more than one unit.
    """
    head = counts.sort("count", descending=True).head(_PROBE)
    seen: dict[str, int] = {}
    for value, count in head.iter_rows():
        match = _WITH_UNIT.match(value)
        if match:
            unit = match[1].lower().strip()
            seen[unit] = seen.get(unit, 0) + count
    total, marked = int(head.get_column("count").sum()), sum(seen.values())
    if not seen or len(seen) > _MOST or marked < max(3.0, 0.02 * total):
        return ""
    ordered = sorted(seen, key=lambda one: (-seen[one], one))
    if len({_name(unit) for unit in ordered}) > 1:
        raise MixedUnits(", ".join(ordered))
    # the longest first, so that a short unit never leaves half of a long one behind
    return "|".join(sorted(ordered, key=lambda one: (-len(one), one)))


def _name(unit: str) -> str:
    word = re.split(r"[\s.]", unit)[0]
    return next((min(same) for same in _SAME if word in same), word)
