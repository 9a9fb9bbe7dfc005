"""Tables of the page: which rows stand open, which wait behind a click, and how their cells are written.

In: named columns of equal length. Out: heads and rows of texts. Laws: the first rows of a table that stands by itself
are open, since whoever made it put what matters first; no table brings more than 200 rows onto the page, and one that
brings fewer than it has says so; ``lower`` and ``upper`` are one column, the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roadworthy.formats import wording

__all__ = ["MOST_OPEN", "MOST_ROWS", "behind_picture", "by_itself"]

MOST_OPEN = 12
MOST_ROWS = 200
MOST_BEHIND_PICTURE = 40
MOST_COLUMNS = 60
LONG = 28
"""Texts of more letters need room of their own."""
_HEADS = {"n": "rows", "p_value": "p", "se": "standard error", "q_value": "q"}

Columns = dict[str, list[Any]]


def by_itself(columns: Columns) -> dict[str, Any]:
    """A table that no picture stands for: its first rows open, the next ones behind a click."""
    total = _length(columns)
    table = _table(columns, range(min(total, MOST_ROWS)))
    return {**table, "total": total, "open": table["rows"][:MOST_OPEN], "more": table["rows"][MOST_OPEN:]}


def behind_picture(columns: Columns) -> dict[str, Any]:
    """The figures behind a picture: evenly picked rows, the first and the last among them."""
    total = _length(columns)
    step = max(1.0, (total - 1) / (MOST_BEHIND_PICTURE - 1))
    few = total <= MOST_BEHIND_PICTURE
    picked = range(total) if few else [round(place * step) for place in range(MOST_BEHIND_PICTURE)]
    table = _table(columns, picked)
    return {**table, "total": total, "open": table["rows"], "more": []}


def _length(columns: Columns) -> int:
    return max((len(values) for values in columns.values()), default=0)


def _table(columns: Columns, picked: Sequence[int]) -> dict[str, Any]:
    heads: list[str] = []
    numeric: list[bool] = []
    cells: list[list[str]] = []
    for name, values in list(columns.items())[:MOST_COLUMNS]:
        stem = name.removesuffix("lower")
        if name.endswith("lower") and f"{stem}upper" in columns:
            heads.append(_head(f"{stem}interval"))
            numeric.append(True)
            cells.append([_interval(values[place], columns[f"{stem}upper"][place]) for place in picked])
        elif not (name.endswith("upper") and f"{name.removesuffix('upper')}lower" in columns):
            heads.append(_head(name))
            numeric.append(all(map(_figure, values[:MOST_ROWS])))
            cells.append([wording.cell(values[place]) for place in picked])
    rows = [list(row) for row in zip(*cells, strict=True)]
    kinds = [
        "num" if number else "long" if max(map(len, texts), default=0) > LONG else ""
        for number, texts in zip(numeric, cells, strict=True)
    ]
    return {"heads": heads, "kinds": kinds, "rows": rows, "shown": len(rows)}


def _figure(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _interval(lower: Any, upper: Any) -> str:
    ends = [end if _figure(end) else None for end in (lower, upper)]
    return wording.interval(ends[0], ends[1]) or wording.NOTHING


def _head(name: str) -> str:
    """A column's name for people.

    >>> _head("false_positive_rate"), _head("n"), _head("roc_auc"), _head("Age")
    ('false positive rate', 'rows', 'ROC AUC', 'Age')
    """
    return _HEADS.get(name) or (wording.spaced(name) if name.islower() else name)
