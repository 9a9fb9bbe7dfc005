"""Whether a table has the keys and types of the noun that it declares, told all at once.

In: a msgspec noun and raw TOML data. Out: ``Fault`` per key that is unknown, missing or of a wrong type. Each
leaf is converted by msgspec alone, so that the first fault does not hide the others.
"""

from __future__ import annotations

import datetime as dt
import types
import typing
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from roadworthy.errors import nearest

__all__ = ["Fault", "table_faults"]


class Fault(NamedTuple):
    """One problem: the dotted key, what was found, what was expected."""

    path: str
    found: str
    expected: str


_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    dict: "a table",
    list: "a list",
}
_DESCRIBED: dict[Any, str] = {**_NAMES, type(None): "nothing"}
_HIDDEN = {"folder"}


def table_faults(noun: type[msgspec.Struct], raw: Any, path: str = "") -> list[Fault]:
    """All faults of one table, and of the tables inside it."""
    if not isinstance(raw, dict):
        return [Fault(path, _found(raw), "a table")]
    hints = typing.get_type_hints(noun)
    fields = {field.name: field for field in msgspec.structs.fields(noun) if field.name not in _HIDDEN}
    faults = []
    for key, value in raw.items():
        place = _join(path, key)
        if key in fields:
            faults += _value_faults(hints[key], value, place)
        else:
            close = nearest(key, fields)
            hint = f"; did you mean {close!r}?" if close else ""
            faults.append(Fault(place, f"unknown key {key!r}{hint}", f"one of {', '.join(fields)}"))
    faults += [
        Fault(_join(path, name), f"{name!r} is missing", _expected(hints[name]))
        for name, field in fields.items()
        if field.required and name not in raw
    ]
    return faults


def _value_faults(hint: Any, value: Any, path: str) -> list[Fault]:
    origin = typing.get_origin(hint)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return table_faults(hint, value, path)
    if origin in {typing.Union, types.UnionType}:
        return _union_faults(typing.get_args(hint), hint, value, path)
    if origin is dict and isinstance(value, dict):
        inner = typing.get_args(hint)[1]
        return (
            []
            if inner is Any
            else [f for key, one in value.items() for f in _value_faults(inner, one, _join(path, key))]
        )
    if origin is tuple and isinstance(value, list):
        return list(_tuple_faults(typing.get_args(hint), hint, value, path))
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError:
        return [Fault(path, _found(value, hint), _expected(hint))]
    return []


def _union_faults(options: tuple[Any, ...], hint: Any, value: Any, path: str) -> list[Fault]:
    """A table is held to the noun among the options, so that its own faults are told."""
    nouns = [option for option in options if isinstance(option, type) and issubclass(option, msgspec.Struct)]
    if isinstance(value, dict) and nouns:
        return table_faults(nouns[0], value, path)
    for option in options:
        if not _value_faults(option, value, path):
            return []
    tuples = [option for option in options if typing.get_origin(option) is tuple]
    if tuples and isinstance(value, list):
        return _value_faults(tuples[0], value, path)
    return [Fault(path, _found(value), _expected(hint))]


def _tuple_faults(inner: tuple[Any, ...], hint: Any, value: list[Any], path: str) -> Iterator[Fault]:
    if inner[-1] is Ellipsis:
        for place, one in enumerate(value):
            yield from _value_faults(inner[0], one, _join(path, str(place)))
    elif len(value) != len(inner):
        yield Fault(path, f"a list of {len(value)}", _expected(hint))
    else:
        for place, (kind, one) in enumerate(zip(inner, value, strict=True)):
            yield from _value_faults(kind, one, _join(path, str(place)))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _found(value: Any, hint: Any = None) -> str:
    """What stands there, in short; for a choice with the nearest known one."""
    if isinstance(value, str):
        known = [member.value for member in hint] if isinstance(hint, type) and issubclass(hint, StrEnum) else []
        close = nearest(value, known)
        return f"{value!r}" + (f"; did you mean {close!r}?" if close else "")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, (dt.date, dt.time)):
        return f"the date or time {value}"
    return _DESCRIBED[type(value)]


def _expected(hint: Any) -> str:
    """A type in words."""
    origin = typing.get_origin(hint)
    if origin in {typing.Union, types.UnionType}:
        options = [_expected(option) for option in typing.get_args(hint) if option is not type(None)]
        return " or ".join(options)
    if origin is tuple:
        inner = typing.get_args(hint)
        return f"a list of {len(inner)} tables" if inner[-1] is not Ellipsis else f"a list, each {_expected(inner[0])}"
    if origin is dict:
        return "a table"
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return " or ".join(member.value for member in hint)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return "a table"
    return _DESCRIBED.get(hint, "another type")
