"""How each server is: up since when, silent since when, or no longer asked.

In: readings, oldest first. Out: ``Server``s, worst first. Laws: a server of which the last word is old is not called
up; one that nobody asks any more, while others are asked, is gone, not down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from statistics import median

import msgspec

from roadworthy.measures.operations.traffic import Block
from roadworthy.records.reading import Reading
from roadworthy.views.dashboard.live.figures import Figures, figures_of

__all__ = ["Server", "State", "servers_of", "usual_us"]

_US = 1_000_000
_USUAL_US = 30 * _US
_PATIENCE = 4
_LEAST_US = 120 * _US
_RECENT_US = 300 * _US
"""Over how long a figure of now is counted."""


class State(StrEnum):
    """How a server is, worst first."""

    SILENT = "silent"
    UNKNOWN = "unknown"
    UP = "up"
    GONE = "gone"


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """One server. ``since_us`` is when its state began, ``heard_us`` its last word (0 for none in the last hour).

    ``figures`` are of its last five minutes; ``rests`` are versions that it leaves alone because they failed, ``why``
    what stands in the way of an answer. ``restarts`` counts in the last hour.
    """

    address: str
    state: State
    since_us: int
    heard_us: int
    figures: Figures
    rests: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    why: str = ""
    restarts: int = 0


def usual_us(readings: Sequence[Reading]) -> int:
    """How often servers are asked, by their readings; 30 seconds where that cannot be told."""
    by_address: dict[str, list[int]] = {}
    for one in readings:
        by_address.setdefault(one.address, []).append(one.at_us)
    gaps = [now - before for ats in by_address.values() for before, now in pairwise(ats)]
    return int(median(gaps)) if gaps else _USUAL_US


def servers_of(
    readings: Sequence[Reading], blocks: Sequence[Block], known: Mapping[str, tuple[int, int]], now_us: int
) -> tuple[Server, ...]:
    """All servers of which anything is ``known`` (first and last reading), by readings and blocks of the last hour."""
    last_us = max((last for _, last in known.values()), default=0)
    patience_us = max(_LEAST_US, _PATIENCE * usual_us(readings))
    found = []
    for address, (_, asked_us) in known.items():
        own = [one for one in readings if one.address == address]
        counted = [block for block in blocks if block.address == address]
        gone = last_us - asked_us > patience_us
        found.append(_server(address, own, counted, asked_us, gone=gone, old=now_us - last_us > patience_us))
    order = list(State)
    return tuple(sorted(found, key=lambda one: (order.index(one.state), one.address)))


def _server(
    address: str, own: Sequence[Reading], blocks: Sequence[Block], asked_us: int, *, gone: bool, old: bool
) -> Server:
    answered = [one for one in own if not one.error]
    newest = answered[-1] if answered else None
    heard_us = newest.at_us if newest is not None else 0
    if gone or not own:
        state, since_us = State.GONE if gone else State.UNKNOWN, asked_us
    elif own[-1].error:
        state, since_us = State.UNKNOWN if old else State.SILENT, _silent_since(own)
    else:
        state, since_us = State.UNKNOWN if old else State.UP, _up_since(own[-1])
    recent = [block for block in blocks if block.until_us > heard_us - _RECENT_US] if newest is not None else []
    return Server(
        address=address,
        state=state,
        since_us=heard_us if state is State.UNKNOWN and heard_us else since_us,
        heard_us=heard_us,
        figures=figures_of(recent or blocks[-1:], [newest] if newest is not None else []),
        rests=() if newest is None else tuple(sorted(name for name, how in newest.breakers.items() if how > 0)),
        versions=() if newest is None else tuple(newest.breakers),
        why=own[-1].error if own else "",
        restarts=sum(block.restarted for block in blocks),
    )


def _silent_since(own: Sequence[Reading]) -> int:
    since_us = own[-1].at_us
    for one in reversed(own):
        if not one.error:
            break
        since_us = one.at_us
    return since_us


def _up_since(reading: Reading) -> int:
    """When the worker that has run longest started; where none tells, when it was read."""
    begun = [worker.started_s for worker in reading.workers if worker.started_s > 0]
    return int(min(begun) * _US) if begun else reading.at_us
