"""Tensors as they come, in JSON or as bytes: name, datatype, shape, and flat elements.

In: what a client says of a tensor, and its data in one of three forms (JSON, bytes, typed lists of gRPC). Out: a
``Tensor``, or None with its problems in a list. Laws: the number of elements is that of the shape; an element is one of
the datatype; nothing is allocated by what a client says of a size before as much has come.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import Problem, nearest
from roadworthy.serving.open_inference.datatypes import DATATYPES, Datatype, unpacked_texts

__all__ = ["Head", "Tensor", "checked_head", "from_bytes", "from_json", "from_values", "path", "short"]

_MOST_PROBLEMS = 20
_MOST_DIMENSIONS = 8
_LARGEST = 1 << 32
_LONGEST_NAME = 60
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)  # texts inside of data are first read here
_NAME = re.compile(r"[^\W\d]\w*\Z", re.ASCII)


class Head(NamedTuple):
    """What is known of a tensor before its data: how many ``elements`` it has, by its shape."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    elements: int


class Tensor(NamedTuple):
    """A tensor with its elements, flat and row by row.

    ``values`` is an array, for BYTES a list of str or bytes. ``missing`` is True at each JSON null, None where there is
    none; what ``values`` holds there means nothing.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    values: NDArray[Any] | Sequence[Any]
    missing: NDArray[np.bool_] | None = None


def short(name: str) -> str:
    """A name as a message shows it."""
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"


def path(name: str, within: str = "inputs") -> str:
    """The place of a tensor in a request."""
    return f"{within}.{name}" if _NAME.match(name) and len(name) <= _LONGEST_NAME else f"{within}[{short(name)!r}]"


def checked_head(name: str, datatype: str, shape: Sequence[int], problems: list[Problem]) -> Head | None:
    """The head of a tensor, or None with what is wrong with it."""
    before = len(problems)
    known = DATATYPES.get(datatype)
    if known is None:
        close = nearest(datatype[:_LONGEST_NAME].upper(), DATATYPES)
        hint = f"; did you mean {close}?" if close else ""
        problems.append(
            Problem(
                f"unknown datatype {short(datatype)!r}{hint}",
                expected=f"one of {', '.join(DATATYPES)}",
                where=path(name),
            )
        )
    if len(shape) > _MOST_DIMENSIONS or not all(0 <= size <= _LARGEST for size in shape):
        wanted = f"at most {_MOST_DIMENSIONS} sizes, each of 0 to {_LARGEST:,}"
        problems.append(Problem(f"shape {_shown(shape)}", expected=wanted, where=path(name)))
    if known is None or len(problems) > before:
        return None
    return Head(name, known, tuple(shape), math.prod(shape))


def from_json(head: Head, data: msgspec.Raw, problems: list[Problem]) -> Tensor | None:
    """The tensor whose data are JSON, flat or nested as its shape says."""
    datatype = head.datatype
    if not datatype.flat:
        wanted = f"{datatype.name} in binary form (parameter binary_data_size), or FP32 as JSON"
        problems.append(Problem(f"{datatype.name} as JSON", expected=wanted, where=path(head.name)))
        return None
    for flat, nested, nulls in zip(datatype.flat, datatype.nested, (False, True), strict=True):
        try:
            return from_values(head, flat(data), problems, nulls=nulls)
        except _UNREADABLE:
            pass
        try:
            rows = nested(data)
        except _UNREADABLE:
            continue
        if len(head.shape) != 2 or len(rows) != head.shape[0] or any(len(row) != head.shape[1] for row in rows):
            break
        return from_values(head, list(chain.from_iterable(rows)), problems, nulls=nulls)
    return _slowly(head, data, problems)


def from_values(head: Head, flat: Sequence[Any], problems: list[Problem], *, nulls: bool = False) -> Tensor | None:
    """The tensor of these elements: numbers, booleans or texts of its kind; with ``nulls`` None where missing."""
    if len(flat) != head.elements:
        problems.append(_miscounted(head, len(flat)))
        return None
    datatype = head.datatype
    if datatype.kind == "bytes":
        return Tensor(head.name, datatype, head.shape, flat)
    missing: NDArray[np.bool_] | None = None
    if nulls and None in flat:
        missing = np.array([value is None for value in flat], dtype=np.bool_)
        flat = [0 if value is None else value for value in flat]
    if datatype.name == "FP32":
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as that
            return Tensor(head.name, datatype, head.shape, np.array(flat, dtype=np.float32), missing)
    try:
        return Tensor(head.name, datatype, head.shape, np.array(flat, dtype=datatype.numpy), missing)
    except OverflowError:
        assert datatype.numpy is not None  # noqa: S101 - whole numbers all have one
        limits = np.iinfo(datatype.numpy)
        beyond = (at for at, value in enumerate(flat) if not limits.min <= value <= limits.max)
        problems += _few(
            Problem(
                "a whole number that the datatype cannot hold",
                expected=f"{datatype.name} from {limits.min} to {limits.max}",
                where=f"{path(head.name)}.data[{at}]",
            )
            for at in beyond
        )
        return None


def from_bytes(head: Head, buffer: bytes | memoryview, problems: list[Problem]) -> Tensor | None:
    """The tensor whose elements came in binary form."""
    datatype = head.datatype
    if datatype.kind == "bytes":
        texts = unpacked_texts(buffer, head.elements)
        if texts is None:
            wanted = "for each element its length as UINT32, little-endian, then its bytes"
            problems.append(
                Problem(f"{len(buffer):,} bytes that do not come out even", expected=wanted, where=path(head.name))
            )
            return None
        return from_values(head, texts, problems)
    wanted_size = head.elements * datatype.size
    if len(buffer) != wanted_size:
        problems.append(
            Problem(
                f"{len(buffer):,} bytes",
                expected=f"{wanted_size:,} bytes: {datatype.name} in the shape {_shown(head.shape)}",
                where=path(head.name),
            )
        )
        return None
    if datatype.kind == "boolean":
        octets = np.frombuffer(buffer, dtype=np.uint8)
        if octets.size and octets.max() > 1:
            at = int(np.argmax(octets > 1))
            problems.append(
                Problem("a byte that is no boolean", expected="0 or 1", where=f"{path(head.name)}.data[{at}]")
            )
            return None
    return Tensor(head.name, datatype, head.shape, datatype.from_buffer(buffer))


def _slowly(head: Head, data: msgspec.Raw, problems: list[Problem]) -> Tensor | None:
    """The tensor of plain JSON, or what in it is not as its shape and datatype say, place by place."""
    where = f"{path(head.name)}.data"
    try:
        plain = msgspec.json.decode(data)
    except UnicodeDecodeError:
        problems.append(Problem("bytes that are not UTF-8", expected=_ELEMENTS[head.datatype.kind], where=where))
        return None
    except msgspec.DecodeError as error:  # a number that is beyond every double
        problems.append(Problem(str(error)[:_LONGEST_NAME], expected=_ELEMENTS[head.datatype.kind], where=where))
        return None
    if not isinstance(plain, list):
        problems.append(Problem(_kind_of(plain), expected="a list of elements", where=where))
        return None
    deep = bool(plain) and isinstance(plain[0], list)
    flat: list[Any] = []
    found = list(_few(_walked(plain, head.shape if deep else (head.elements,), head, where, flat)))
    if found:
        problems += found
        return None
    return from_values(head, flat, problems, nulls=True)


def _walked(plain: list[Any], shape: tuple[int, ...], head: Head, where: str, flat: list[Any]) -> Iterator[Problem]:
    """Lays nested lists flat, and yields what does not fit."""
    if not shape or len(plain) != shape[0]:
        yield _miscounted(head, len(plain), where)
        return
    for at, value in enumerate(plain):
        if len(shape) > 1:
            if isinstance(value, list):
                yield from _walked(value, shape[1:], head, f"{where}[{at}]", flat)
            else:
                yield Problem(_kind_of(value), expected=f"a list of {shape[1]}", where=f"{where}[{at}]")
            continue
        try:
            flat.append(msgspec.convert(value, head.datatype.element | None, strict=True))
        except msgspec.ValidationError:
            yield Problem(_kind_of(value), expected=_ELEMENTS[head.datatype.kind], where=f"{where}[{at}]")


_ELEMENTS = {
    "float": "a finite number",
    "integer": "a whole number",
    "boolean": "true or false",
    "bytes": "a text",
}


def _few(problems: Iterator[Problem]) -> Iterator[Problem]:
    """The first problems; whoever sends a million wrong elements learns it from twenty."""
    for at, problem in enumerate(problems):
        if at == _MOST_PROBLEMS:
            yield Problem("more elements are wrong in the same tensor", where=problem.where)
            return
        yield problem


def _miscounted(head: Head, found: int, where: str = "") -> Problem:
    wanted = f"{head.elements:,} in the shape {_shown(head.shape)}"
    return Problem(f"{found:,} element{'' if found == 1 else 's'}", expected=wanted, where=where or path(head.name))


def _shown(shape: Sequence[int]) -> str:
    sizes = [str(size) if abs(size) <= _LARGEST else "…" for size in shape[:_MOST_DIMENSIONS]]
    return f"[{', '.join(sizes)}{', …' if len(shape) > _MOST_DIMENSIONS else ''}]"


def _kind_of(value: Any) -> str:
    """What a JSON value is, without its content."""
    if value is None:
        return "null"
    kinds: dict[type, str] = {
        bool: "a boolean",
        int: "a whole number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "an object",
    }
    return kinds.get(type(value), f"a {type(value).__name__}")
