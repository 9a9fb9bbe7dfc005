"""Plain rows of one form as one frame, so that the cleaning plan runs once for all of them.

In: JSON objects by their places. Out: their places by form, columns of one kind each. Law: what makes no difference to
the plan makes no form of its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from operator import itemgetter
from types import NoneType
from typing import Any

import polars as pl

__all__ = ["Form", "alike", "path_of", "plain", "series_of"]

Form = tuple[tuple[str, type], ...]
"""The fields of a plain row and the kinds of their values, by name."""

_EXACT = 2**53
_NAME = re.compile(r"[^\W\d]\w*\Z", re.ASCII)


def alike(rows: Mapping[int, Mapping[str, Any]], numbers: Collection[str]) -> dict[Form, list[int]]:
    """The places of rows by their form: the same fields, with values of the same kinds, as a frame column has one.

    Each form costs a run of the plan, so that what makes no difference makes no form: the order of the fields, what is
    missing, and whether one of ``numbers`` is written as 1 or as 1.0.
    """
    kinds: dict[str, type] = {}
    for row in rows.values():
        for name, value in row.items():
            if value is not None and name not in kinds:
                kinds[name] = kind_in(name, value, numbers)
    found: dict[Form, list[int]] = {}
    for at, row in rows.items():
        form = (
            (name, kinds.get(name, NoneType) if value is None else kind_in(name, value, numbers))
            for name, value in row.items()
        )
        found.setdefault(tuple(sorted(form, key=_FIRST)), []).append(at)
    return found


_FIRST = itemgetter(0)


def kind_in(name: str, value: Any, numbers: Collection[str]) -> type:
    return float if type(value) is int and name in numbers and abs(value) <= _EXACT else type(value)


def series_of(name: str, kind: type, values: list[Any]) -> pl.Series:
    """One column of values of one kind, and of None."""
    if kind is float:
        values = [None if value is None else float(value) for value in values]
    return pl.Series(name, values, dtype=pl.Null if kind is NoneType else None)


def plain(value: Any) -> Any:
    """A clean value as a row carries it: times as ISO text."""
    return value.isoformat() + "Z" if hasattr(value, "isoformat") else value


def path_of(where: str, name: str) -> str:
    """Where a field of a row is, for people."""
    return f"{where}.{name}" if _NAME.match(name) else f"{where}[{name!r}]"
