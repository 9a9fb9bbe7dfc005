"""What the entity state's database is keyed by.

In: numbers of states, owners, times. Out: bytes whose order is that of (state, owner, time, order).
"""

from __future__ import annotations

import struct

__all__ = [
    "CHUNKS",
    "FORMAT",
    "IDS",
    "ID_TIMES",
    "LAYOUTS",
    "META",
    "SEQUENCE",
    "chunk_key",
    "entries_key",
    "live_key",
    "state_prefix",
]

FORMAT = b"1"
META, CHUNKS, IDS, ID_TIMES = b"meta", b"chunks", b"ids", b"id_times"
"""The tables: what is kept, the chunks, the identities of events, and these by their age."""

LAYOUTS, SEQUENCE = b"layouts", b"sequence"

_PAIR = struct.Struct(">QQ")
_SIGN = 1 << 63
LEAST = -(2**63)


def state_prefix(number: int) -> bytes:
    """What the keys of one state begin with: 4 bytes."""
    return number.to_bytes(4, "big")


def chunk_key(owner: bytes, time: int, order: int = LEAST) -> bytes:
    """The key of a chunk that begins there; ``owner`` is the state's prefix and the owner's key."""
    return owner + _PAIR.pack(max(time, LEAST) + _SIGN, order + _SIGN)


def live_key(number: int) -> bytes:
    """Where it stands that a state is kept."""
    return b"live" + state_prefix(number)


def entries_key(number: int) -> bytes:
    """Where it stands how many entries a state has."""
    return b"entries" + state_prefix(number)
