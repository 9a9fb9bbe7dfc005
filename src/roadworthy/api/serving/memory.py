"""A worker's memory: how much is resident, and how what was freed goes back to the system.

glibc keeps what was freed for later, in an arena for each thread that ever asked; a server that has loaded its model
does not need it. Where the C library knows no such call, nothing happens.
"""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

__all__ = ["few_arenas", "give_back", "resident"]

_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h
_STATM = Path("/proc/self/statm")


def few_arenas() -> None:
    """Threads to come share two arenas. Call it before libraries start theirs."""
    call = getattr(ctypes.CDLL(None), "mallopt", None)
    if call is not None:
        call(_ARENA_MAX, 2)


def give_back() -> None:
    """Lets the system have what was freed."""
    call = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if call is not None:
        call(0)


def resident() -> int:
    """Bytes of this process in memory; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0
