"""Content digests: the identity of every record.

In: bytes, files, or plain data. Out: ``sha256:…`` strings. Law: equal content gives equal digests, on any
machine, in any process.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["Digest", "canonical_json", "digest_bytes", "digest_data", "digest_file"]

Digest = str
"""``sha256:`` followed by 64 hexadecimal characters."""

_CHUNK = 1 << 20


def canonical_json(data: Any) -> bytes:
    """One byte form per value: sorted keys, no spaces, UTF-8.

    >>> canonical_json({"b": 1, "a": [1.5, None]})
    b'{"a":[1.5,null],"b":1}'
    """
    return msgspec.json.encode(_plain(data), order="sorted")


def _plain(data: Any) -> Any:
    """Records as mappings of *all* their fields: leaving out defaults would make equal records differ."""
    if isinstance(data, msgspec.Struct):
        return {name: _plain(getattr(data, name)) for name in data.__struct_fields__}
    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    return data


def digest_bytes(content: bytes) -> Digest:
    """Digest of raw bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def digest_data(data: Any) -> Digest:
    """Digest of plain data or of a record.

    >>> digest_data({"a": 1, "b": 2}) == digest_data({"b": 2, "a": 1})
    True
    """
    return digest_bytes(canonical_json(data))


def digest_file(path: Path) -> Digest:
    """Digest of a file's bytes, read in pieces."""
    state = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            state.update(chunk)
    return "sha256:" + state.hexdigest()
