"""From an exhibit's columns to rows that a chart can draw.

In: an ``Exhibit``. Out: lists of plain mappings, finite numbers only, thinned to what an eye can tell apart,
labels short and still distinct.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from roadworthy.records.evidence import Exhibit

__all__ = ["drawable_rows", "is_number", "is_share", "labels", "thinned"]

MOST_POINTS = 400
LABEL = 21
MOST = 1e15
LEAST = 1e-12
"""What is nearer to nought than this is drawn as nought."""


def is_number(value: Any) -> bool:
    """A number that an axis can hold: finite, at most 1e15 from nought, and not a truth value."""
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) <= MOST
    )


def is_share(value: Any) -> bool:
    """A number from nought to one."""
    return is_number(value) and -LEAST <= value <= 1 + LEAST


def drawable_rows(exhibit: Exhibit, needed: Sequence[str], *, shares: bool = False) -> list[dict[str, Any]]:
    """Rows in which every ``needed`` column holds a number (a share, if so wanted); others' non-numbers become null.

    Empty when a needed column is not there: the exhibit is then shown as a table.
    """
    if any(column not in exhibit.columns for column in needed):
        return []
    names = list(exhibit.columns)
    rows = [dict(zip(names, values, strict=True)) for values in zip(*exhibit.columns.values(), strict=True)]
    fits = is_share if shares else is_number
    kept = [row for row in rows if all(fits(row[column]) for column in needed)]
    return [{name: _plain(value) for name, value in row.items()} for row in kept]


def _plain(value: Any) -> Any:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return value
    if not is_number(value):
        return None
    return value if abs(value) >= LEAST else 0.0


def thinned(rows: list[dict[str, Any]], most: int = MOST_POINTS) -> list[dict[str, Any]]:
    """At most ``most`` rows, evenly picked, the first and the last among them.

    >>> [row["a"] for row in thinned([{"a": i} for i in range(10)], 4)]
    [0, 3, 6, 9]
    """
    if len(rows) <= most:
        return rows
    step = (len(rows) - 1) / (most - 1)
    return [rows[round(place * step)] for place in range(most)]


def labels(values: Iterable[Any], limit: int = LABEL) -> dict[Any, str]:
    """A short label per value, its beginning and its end; two values never share one.

    >>> labels(["beginning and end", "beginning, an end", None], 9)
    {'beginning and end': 'begin…end', 'beginning, an end': 'begin…end (2)', None: 'missing'}
    """
    found: dict[Any, str] = {}
    taken: set[str] = set()
    for value in values:
        if value in found:
            continue
        text = "missing" if value is None else str(value)
        tail = limit // 3
        short = text if len(text) <= limit else f"{text[: limit - 1 - tail]}…{text[-tail:]}"
        short = "".join(sign if sign.isprintable() else "\ufffd" for sign in short) or "(empty)"
        unique, turn = short, 1
        while unique in taken:
            turn += 1
            unique = f"{short} ({turn})"
        taken.add(unique)
        found[value] = unique
    return found
