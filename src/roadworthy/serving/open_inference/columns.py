"""One column's elements as values of a row, and which of them are in doubt.

In: the flat elements of a tensor. Out: Python values as ``RowReader`` has them, None where missing. Laws: a value that
is not in doubt is its own clean value, or is missing because the contract says that it means so; an element that is no
value at all (NaN, Infinity, bytes that are not UTF-8) is always in doubt, and named as what it is; nothing here refuses
anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

import numpy as np
from numpy.typing import NDArray

from roadworthy.records.contract import ColumnContract, ColumnType, MissingPolicy
from roadworthy.serving.fields import Field

__all__ = ["Column", "Elements", "Missing", "Read"]

Elements = NDArray[Any] | Sequence[Any]
Missing = NDArray[np.bool_] | None

_EXACT = 2**53


@dataclass(frozen=True, slots=True)
class Read:
    """N values of a column. ``doubt`` is True where the reader must decide, None for nowhere.

    ``impossible`` names what is no value at all, by place; there the value is None.
    """

    values: list[Any]
    doubt: NDArray[np.bool_] | None = None
    impossible: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Column:
    """A column and how its elements are read.

    ``plain`` are the bounds within which every double is its own clean value; None for a column that is no such one.
    """

    name: str
    read: Callable[[Elements, Missing], Read]
    plain: tuple[float, float] | None = None

    @classmethod
    def of_field(cls, of: Field, column: ColumnContract | None, *, hide: bool = False) -> Column:
        """The column of a field; without a contract it is a feature of the past, any number.

        ``hide``: its values are personal, so that the reader has to see, and to hide, each of them.
        """
        if hide:
            return cls(of.name, _all_in_doubt(cls.of_field(of, column).read))
        nullable = column is None or not of.required or column.missing is MissingPolicy.ALLOW
        if of.part != "number":
            return cls(of.name, _texts(of, nullable=nullable))
        numbers = _Numbers(column, nullable=nullable)
        return cls(of.name, numbers.read, numbers.plain)

    @classmethod
    def carried(cls, name: str) -> Column:
        """A column that no model reads: whatever it holds travels with the row."""
        return cls(name, _anything)


class _Numbers:
    """Reads numbers, whole numbers and booleans."""

    def __init__(self, column: ColumnContract | None, *, nullable: bool) -> None:
        kind = ColumnType.NUMBER if column is None else column.type
        low = None if column is None else column.min
        high = None if column is None else column.max
        self._whole, self._boolean = kind is ColumnType.INTEGER, kind is ColumnType.BOOLEAN
        self._low = 0.0 if self._boolean else float(-_EXACT if low is None else max(low, -_EXACT))
        self._high = 1.0 if self._boolean else float(_EXACT if high is None else min(high, _EXACT))
        words = () if column is None else column.sentinels
        self._sentinels = np.array([code for word in words if (code := _as_number(word)) is not None], dtype=np.float64)
        self._nullable = nullable
        simple = kind is ColumnType.NUMBER and not len(self._sentinels)
        self.plain = (self._low, self._high) if simple else None

    def read(self, elements: Elements, missing: Missing) -> Read:
        """The values, doubles, ints or booleans as the column has them."""
        array = np.asarray(elements)
        doubt = self._doubt(array)
        if self._nullable and len(self._sentinels) and (marked := np.isin(array, self._sentinels)).any():
            missing = marked if missing is None else missing | marked
        if missing is not None:
            doubt = doubt & ~missing if self._nullable else doubt | missing
        if not doubt.any():
            values = self._converted(array, missing)
            if missing is not None:
                values = [None if gone else value for value, gone in zip(values, missing.tolist(), strict=True)]
            return Read(values)
        return self._with_doubt(array, missing, doubt)

    def _doubt(self, array: NDArray[Any]) -> NDArray[np.bool_]:
        if array.dtype.kind == "f":
            numbers = array.astype(np.float64, copy=False)
            doubt: NDArray[np.bool_] = ~((numbers >= self._low) & (numbers <= self._high))
            if self._whole or self._boolean:
                doubt |= numbers != np.floor(numbers)
        elif array.dtype.kind == "b":
            return np.asarray((array & False) | (not self._boolean), dtype=np.bool_)
        else:
            numbers = array
            doubt = (array < math.ceil(self._low)) | (array > math.floor(self._high))
        if len(self._sentinels) and not self._nullable:
            doubt |= np.isin(numbers, self._sentinels)
        return doubt

    def _converted(self, array: NDArray[Any], missing: Missing) -> list[Any]:
        kind = np.bool_ if self._boolean else np.int64 if self._whole else np.float64
        if missing is not None and array.dtype.kind == "f":
            array = np.where(missing, 0.0, array)
        found: list[Any] = array.astype(kind, copy=False).tolist()
        return found

    def _with_doubt(self, array: NDArray[Any], missing: Missing, doubt: NDArray[np.bool_]) -> Read:
        gone = np.zeros(len(array), dtype=np.bool_) if missing is None else missing
        impossible: dict[int, str] = {}
        if array.dtype.kind == "f":
            for place in np.flatnonzero(~np.isfinite(array) & ~gone).tolist():
                impossible[place] = "NaN" if math.isnan(array[place]) else "Infinity"
        values: list[Any] = array.tolist()
        sound = np.flatnonzero(~doubt & ~gone).tolist()
        for place, value in zip(sound, self._converted(array[sound], None), strict=True):
            values[place] = value
        for place in (*np.flatnonzero(gone).tolist(), *impossible):
            values[place] = None
        return Read(values, doubt, impossible)


def _all_in_doubt(read: Callable[[Elements, Missing], Read]) -> Callable[[Elements, Missing], Read]:
    def doubting(elements: Elements, missing: Missing) -> Read:
        found = read(elements, missing)
        return Read(found.values, np.ones(len(found.values), dtype=np.bool_), found.impossible)

    return doubting


def _texts(of: Field, *, nullable: bool) -> Callable[[Elements, Missing], Read]:
    """Reads texts, and times as they are written; numbers, for times that are, are left to the reader."""
    allowed, unclean = _literals(of.type), of.doubt

    def doubtful(value: Any) -> bool:
        if value is None:
            return not nullable
        return (allowed is not None and value not in allowed) or (unclean is not None and unclean(value))

    def read(elements: Elements, missing: Missing) -> Read:
        if isinstance(elements, np.ndarray):
            found = _anything(elements, missing)
            return Read(found.values, np.ones(len(elements), dtype=np.bool_), found.impossible)
        values, impossible = _decoded(elements)
        doubt = np.array([doubtful(value) for value in values], dtype=np.bool_)
        doubt[list(impossible)] = True
        return Read(values, doubt if doubt.any() else None, impossible)

    return read


def _anything(elements: Elements, missing: Missing) -> Read:
    if not isinstance(elements, np.ndarray):
        values, impossible = _decoded(elements)
    else:
        values = elements.tolist()
        impossible = {}
        for place, value in enumerate(values):
            if missing is not None and missing[place]:
                values[place] = None
            elif isinstance(value, float) and not math.isfinite(value):
                impossible[place] = "NaN" if math.isnan(value) else "Infinity"
                values[place] = None
    if not impossible:
        return Read(values)
    doubt = np.zeros(len(values), dtype=np.bool_)
    doubt[list(impossible)] = True
    return Read(values, doubt, impossible)


def _decoded(elements: Sequence[Any]) -> tuple[list[Any], dict[int, str]]:
    """Texts of bytes, and the places of those that are none."""
    values: list[Any] = []
    impossible: dict[int, str] = {}
    for place, element in enumerate(elements):
        if isinstance(element, bytes):
            try:
                values.append(element.decode())
            except UnicodeDecodeError:
                impossible[place] = "bytes that are not UTF-8"
                values.append(None)
        else:
            values.append(element)
    return values, impossible


def _literals(kind: Any) -> frozenset[str] | None:
    """The values of a closed list of texts; None where the type is open."""
    for one in (kind, *get_args(kind)):
        if get_origin(one) is Literal:
            return frozenset(get_args(one))
    return None


def _as_number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
