"""The datatypes of the protocol: what an element is in JSON, in binary form and in numpy.

Out: one ``Datatype`` for each name that the protocol knows. Law: the numbers of a tensor are those that its datatype
can hold, whichever way they came; FP32 in JSON is rounded as FP32 in binary form is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["DATATYPES", "FLOATS", "INTEGERS", "Datatype", "packed_texts", "unpacked_texts"]

Kind = Literal["float", "integer", "boolean", "bytes"]


@dataclass(frozen=True, slots=True)
class Datatype:
    """One datatype. ``size`` is bytes per element in binary form, 0 for BYTES, whose elements tell their own.

    ``flat`` and ``nested`` decode JSON data of one and of two dimensions: each first without null, which is quicker,
    then with. They are empty where the datatype cannot be written in JSON. ``element`` is the Python type of one.
    """

    name: str
    kind: Kind
    size: int
    numpy: np.dtype[Any] | None
    flat: tuple[Callable[[msgspec.Raw], Sequence[Any]], ...]
    nested: tuple[Callable[[msgspec.Raw], Sequence[Sequence[Any]]], ...]
    element: Any

    def from_buffer(self, buffer: bytes | memoryview) -> NDArray[Any]:
        """The elements of a buffer of whole ones, little-endian; not for BYTES."""
        if self.numpy is not None:
            return np.frombuffer(buffer, dtype=self.numpy)
        upper = np.frombuffer(buffer, dtype="<u2").astype(np.uint32) << 16  # BF16 is the upper half of FP32
        found: NDArray[Any] = upper.view(np.float32)
        return found


def _datatype(name: str, kind: Kind, code: str | None, element: Any) -> Datatype:
    numpy = None if code is None else np.dtype(code)
    size = 2 if name == "BF16" else 0 if numpy is None else numpy.itemsize
    kinds = () if element is None else (element, element | None)
    flat = tuple(msgspec.json.Decoder(list[one]).decode for one in kinds)  # type: ignore[valid-type]  # made at run time
    nested = tuple(msgspec.json.Decoder(list[list[one]]).decode for one in kinds)  # type: ignore[valid-type]  # the same
    return Datatype(name, kind, size, numpy, flat, nested, element)


DATATYPES: Final[dict[str, Datatype]] = {
    found.name: found
    for found in (
        _datatype("BOOL", "boolean", "?", bool),
        *(_datatype(f"UINT{bits}", "integer", f"<u{bits // 8}", int) for bits in (8, 16, 32, 64)),
        *(_datatype(f"INT{bits}", "integer", f"<i{bits // 8}", int) for bits in (8, 16, 32, 64)),
        _datatype("FP16", "float", "<f2", None),
        _datatype("BF16", "float", None, None),
        _datatype("FP32", "float", "<f4", float),
        _datatype("FP64", "float", "<f8", float),
        _datatype("BYTES", "bytes", None, str),
    )
}
"""Every datatype by its name."""

FLOATS: Final = tuple(name for name, found in DATATYPES.items() if found.kind == "float")
INTEGERS: Final = tuple(name for name, found in DATATYPES.items() if found.kind == "integer")

_LENGTH = struct.Struct("<I")


def packed_texts(texts: Iterable[str]) -> bytes:
    """Texts in binary form: for each its length in bytes as UINT32, then its UTF-8.

    >>> packed_texts(["a", ""]).hex(" ")
    '01 00 00 00 61 00 00 00 00'
    """
    parts: list[bytes] = []
    for text in texts:
        encoded = text.encode()
        parts += (_LENGTH.pack(len(encoded)), encoded)
    return b"".join(parts)


def unpacked_texts(buffer: bytes | memoryview, most: int) -> list[bytes] | None:
    """The elements of a BYTES buffer, at most one more than ``most``; None where a length leads beyond the buffer.

    >>> unpacked_texts(packed_texts(["a", ""]), 9), unpacked_texts(bytes.fromhex("02 00 00 00 61"), 9)
    ([b'a', b''], None)
    """
    found: list[bytes] = []
    place, end = 0, len(buffer)
    while place < end and len(found) <= most:
        if place + 4 > end:
            return None
        (length,) = _LENGTH.unpack_from(buffer, place)
        place += 4 + length
        if place > end:
            return None
        found.append(bytes(buffer[place - length : place]))
    return found
