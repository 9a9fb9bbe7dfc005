"""Heads of requests, which are remembered since callers send the same few again and again, and whole answers.

In: bytes of a head; an answer. Out: the path that is asked for, the length of the body behind it; bytes of an answer.
Law: what is remembered is bounded; a head that is not plain is left to the parser.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_to_bytes

import httptools

__all__ = ["Fields", "Replied", "length_of", "path_of", "written"]

Fields = Mapping[bytes, bytes]
"""Header fields by their names in small letters; fields that came several times are one, with commas."""

Replied = tuple[int, bytes, tuple[tuple[bytes, bytes], ...]]
"""Status, body, and header fields beside ``content-length`` and ``connection``."""

_LINES: Final = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in HTTPStatus}
_UNPLAIN: Final = frozenset({b"transfer-encoding", b"expect", b"connection", b"upgrade"})
_FIELD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+:[\t\x20-\x7e\x80-\xff]*")
_MOST_HEADS, _LONGEST_HEAD, _MOST_DIGITS = 1_024, 2_048, 8
_lengths: Final[dict[bytes, int]] = {}


def length_of(head: bytes) -> int:
    r"""How long the body behind a head of HTTP/1.1 is that says nothing else of how it is sent; -1 for any other.

    ``head`` is without the empty line behind it.

    >>> length_of(b"POST /predict HTTP/1.1\r\nhost: x\r\nContent-Length: 12"), length_of(b"POST / HTTP/1.0")
    (12, -1)
    """
    found = _lengths.get(head)
    if found is None:
        found = _read(head)
        if len(_lengths) >= _MOST_HEADS:
            _lengths.clear()
        if len(head) <= _LONGEST_HEAD:
            _lengths[head] = found
    return found


def _read(head: bytes) -> int:
    first, *lines = head.lower().split(b"\r\n")
    fields = [line.partition(b":") for line in lines]
    lengths = [value.strip(b" \t") for name, _, value in fields if name == b"content-length"]
    plain = first.endswith(b" http/1.1") and len(lengths) == 1 and all(map(_FIELD.fullmatch, lines))
    if not plain or any(name in _UNPLAIN for name, _, _ in fields):
        return -1
    (length,) = lengths
    return int(length) if length.isdigit() and len(length) <= _MOST_DIGITS else -1


@lru_cache(maxsize=256)
def path_of(url: bytes) -> str:
    """The path of a request's target, decoded, without its query.

    >>> path_of(b"/v2/models/m%20n/infer?x=1"), path_of(b"http://host/predict"), path_of(b"*")
    ('/v2/models/m n/infer', '/predict', '*')
    """
    try:
        raw = httptools.parse_url(url).path or b""
    except httptools.HttpParserInvalidURLError:
        raw = url
    return unquote_to_bytes(raw).decode("utf-8", "replace")


def written(reply: Replied, *, bare: bool, last: bool) -> bytes:
    """An answer as it goes over the wire; ``bare`` without its body, ``last`` with the end of its connection."""
    status, body, headers = reply
    lines = [_LINES[status], *(b"%b: %b\r\n" % field for field in headers), b"content-length: %d\r\n" % len(body)]
    if last:
        lines.append(b"connection: close\r\n")
    lines += [b"\r\n", b"" if bare else body]
    return b"".join(lines)
