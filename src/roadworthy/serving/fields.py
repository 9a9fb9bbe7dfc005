"""The fields of a live row, and which of their values are clean as they come.

In: a bundle's contract. Out: one ``Field`` per column that the graph or a rule reads: the JSON type it is decoded as,
and a test for what that type cannot say. Law: a value that passes both is its own clean value, so that
``CleaningPlan.apply_rows`` would keep it as it is; whatever does not pass is left to that plan, which is the one
authority on what a row means. Nothing is coerced here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec

from roadworthy.records.contract import ColumnContract, ColumnType, MissingPolicy

__all__ = ["Field", "Part", "field_of", "micros"]

Part = Literal["number", "text", "time"]
"""How a field travels: numbers in one matrix of doubles, texts and times in columns of their own."""

_EXACT = 2.0**53 - 1
"""Up to here a double tells every whole number from its neighbours; what lies beyond is the plan's to judge."""

_NUMERIC = (ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.BOOLEAN)
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Doubt = Callable[[Any], bool]
"""True for a value that may not be its own clean value."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a row.

    ``type`` is what msgspec decodes it as, None included where the value may be missing; ``doubt`` is asked of a value
    that is not None, and is None where the type says all. ``required``: a row without it is refused; otherwise it
    travels as missing. ``expected`` tells a person what belongs there.
    """

    name: str
    part: Part
    type: Any
    required: bool
    doubt: Doubt | None
    expected: str


def field_of(name: str, column: ColumnContract, *, required: bool, hide: bool = False) -> Field:
    """The field of a contract column. Where it is not ``required`` a missing value is never a fault of the row.

    ``hide``: its values are personal, so that none of them is clean as it comes.
    """
    kind, doubt = _READERS[column.type](column)
    doubt = _always if hide else doubt
    if not required or column.missing is MissingPolicy.ALLOW:
        kind = kind | None
    part: Part = "number" if column.type in _NUMERIC else "time" if column.type is ColumnType.TIME else "text"
    return Field(name, part, kind, required, doubt, _expected(column))


def micros(text: str) -> int:
    """Microseconds since 1970 in UTC of a text that ``Field.doubt`` has let pass; without a zone it is UTC.

    >>> micros("1970-01-01T00:00:01Z"), micros("1970-01-01 01:00:00.5+01:00")
    (1000000, 500000)
    """
    instant = datetime.fromisoformat(text)
    aware = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
    gap = aware - _EPOCH
    return (gap.days * 86_400 + gap.seconds) * 1_000_000 + gap.microseconds


def _integer(column: ColumnContract) -> tuple[Any, Doubt | None]:
    low = -_EXACT if column.min is None else max(column.min, -_EXACT)
    high = _EXACT if column.max is None else min(column.max, _EXACT)
    meta = msgspec.Meta(ge=math.ceil(low), le=math.floor(high))
    return Annotated[int, meta], _sentinel_number(column.sentinels)


def _number(column: ColumnContract) -> tuple[Any, Doubt | None]:
    low = -_EXACT if column.min is None else max(column.min, -_EXACT)
    high = _EXACT if column.max is None else min(column.max, _EXACT)
    return Annotated[float, msgspec.Meta(ge=low, le=high)], _sentinel_number(column.sentinels)


def _boolean(_column: ColumnContract) -> tuple[Any, Doubt | None]:
    return bool, None


def _text(column: ColumnContract) -> tuple[Any, Doubt | None]:
    doubt = _unclean_text(column)
    if not column.allowed or column.pattern:
        return str, doubt
    plain = tuple(value for value in column.allowed if not doubt(value))
    return (Literal[plain], None) if plain else (str, doubt)


def _time(column: ColumnContract) -> tuple[Any, Doubt | None]:
    if column.time_format or column.sentinels or column.min is not None or column.max is not None:
        return str, _always
    return str, _not_iso


_READERS: dict[ColumnType, Callable[[ColumnContract], tuple[Any, Doubt | None]]] = {
    ColumnType.INTEGER: _integer,
    ColumnType.NUMBER: _number,
    ColumnType.BOOLEAN: _boolean,
    ColumnType.CATEGORY: _text,
    ColumnType.TEXT: _text,
    ColumnType.TIME: _time,
}


def _always(_value: Any) -> bool:
    return True


def _not_iso(value: str) -> bool:
    if _ISO.fullmatch(value) is None:
        return True
    try:
        micros(value)
    except (ValueError, OverflowError):
        return True
    return value.startswith(("0000", "0001", "9999"))  # a zone may lead out of the years that count


def _sentinel_number(sentinels: Collection[str]) -> Doubt | None:
    """Whether a number is one of the written values that mean missing; what is no number never is."""
    codes = frozenset(code for word in sentinels if (code := _as_number(word)) is not None)
    return codes.__contains__ if codes else None


def _as_number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _unclean_text(column: ColumnContract) -> Doubt:
    """Whether cleaning may change a text, or judge it by more than whether it is there."""
    marks = frozenset(word.strip() for word in column.sentinels)
    suffix, always = column.strip_suffix, bool(column.pattern)

    def doubt(value: str) -> bool:
        return bool(
            always or not value or value != value.strip() or value in marks or (suffix and value.endswith(suffix))
        )

    return doubt


def _expected(column: ColumnContract) -> str:
    words = {
        ColumnType.INTEGER: "a whole number",
        ColumnType.NUMBER: "a number",
        ColumnType.BOOLEAN: "true or false",
        ColumnType.CATEGORY: "a text",
        ColumnType.TEXT: "a text",
        ColumnType.TIME: "a time, such as 2026-01-31T12:00:00Z",
    }[column.type]
    if column.allowed:
        few = ", ".join(column.allowed[:_SHOWN])
        words = f"one of {few}" + (f" and {len(column.allowed) - _SHOWN} more" if len(column.allowed) > _SHOWN else "")
    words += _range(column)
    return words if column.missing is MissingPolicy.REJECT else f"{words}, or null"


_SHOWN = 12


def _range(column: ColumnContract) -> str:
    low, high = column.min, column.max
    if low is not None and high is not None:
        return f" from {low:.15g} to {high:.15g}"
    if low is not None:
        return f" of at least {low:.15g}"
    return "" if high is None else f" of at most {high:.15g}"
