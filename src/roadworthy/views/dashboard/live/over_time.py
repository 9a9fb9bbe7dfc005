"""Figures over a long span, step by step, from thinned readings.

In: a connection and a span. Out: ``Steps``. Laws: a step of which nothing was read has no figures; what was counted
around a restart is read in full, for the newest dozen of them; at most a hundred steps, whose bounds do not move as
time goes on, so that a page that looks again draws only what is new.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

import msgspec
from sqlalchemy import Connection

from roadworthy.lifecycle import cursors
from roadworthy.measures.operations.traffic import traffic_of
from roadworthy.records.reading import Reading
from roadworthy.views.dashboard.live.figures import Figures, figures_of
from roadworthy.views.dashboard.site import Site

__all__ = ["Step", "Steps", "steps_of"]

_US = 1_000_000
_MOST = 100
_SIZES_S = (60, 300, 900, 3_600, 7_200, 4 * 3_600, 8 * 3_600, 86_400, 7 * 86_400)
_MOST_RESTARTS = 12
_MOST_REMEMBERED = 24
_LATE_US = 120 * _US
"""How long after a step its last readings may still come."""

Item = TypeVar("Item")
_Key = tuple[str, str, str, int]
"""Registry, project, server (empty for all), microseconds of a step."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch, up to ``until_us``. ``asked`` counts how often servers were asked, ``vain`` how often in vain.

    ``restarts`` are of servers; ``rough``: of one of them some counts are missing.
    """

    until_us: int
    figures: Figures
    asked: int = 0
    vain: int = 0
    restarts: int = 0
    rough: bool = False


class Steps(msgspec.Struct, frozen=True, kw_only=True):
    """All steps of a span, oldest first."""

    size_s: int
    steps: tuple[Step, ...]


_finished: OrderedDict[_Key, dict[int, Step]] = OrderedDict()
_lock = threading.Lock()


def steps_of(
    site: Site,
    connection: Connection,
    since_us: int,
    until_us: int,
    known: Mapping[str, tuple[int, int]],
    *,
    server: str = "",
) -> Steps:
    """The span in steps, over all servers or one. Steps that are over are remembered: readings never change.

    ``known`` says of each server when it was read first and last: what it counts begins with its first reading.
    """
    size_us = next((one for one in _SIZES_S if until_us - since_us <= _MOST * one * _US), _SIZES_S[-1]) * _US
    first, last = since_us // size_us, max(until_us - 1, since_us) // size_us
    key = (site.settings.registry, site.name, server, size_us)
    with _lock:
        there = dict(_finished.get(key, {}))
    missing = next((number for number in range(first, last + 1) if number not in there), last + 1)
    wanted = range(missing, last + 1)
    begun = {address: at_us for address, (at_us, _) in known.items() if not server or address == server}
    fresh = _counted(connection, key, wanted, until_us, begun) if wanted else {}
    heard_us = max((last for _, last in known.values()), default=0)  # by the monitor's clock, as steps are
    over = {number: one for number, one in fresh.items() if one.until_us + _LATE_US <= min(until_us, heard_us)}
    with _lock:
        _finished[key] = {number: step for number, step in (there | over).items() if number >= first}
        _finished.move_to_end(key)
        while len(_finished) > _MOST_REMEMBERED:
            _finished.popitem(last=False)
    every = there | fresh
    return Steps(size_s=size_us // _US, steps=tuple(every[number] for number in range(first, last + 1)))


def _counted(
    connection: Connection, key: _Key, numbers: range, until_us: int, begun_us: Mapping[str, int]
) -> dict[int, Step]:
    """The steps of some numbers; ``begun_us`` is when each server was read first."""
    _, project, server, size_us = key
    after_us = (numbers[0] - 1) * size_us - 1
    found = cursors.thinned_readings(connection, project, after_us, until_us, size_us)
    readings = [one for one in found.readings if not server or one.address == server]
    for address, first_us in begun_us.items():
        if first_us > after_us:
            first = cursors.readings(connection, project, first_us - 1, first_us)
            readings += [one for one in first if one.address == address and not one.error and one not in readings]
    readings.sort(key=lambda one: one.at_us)
    again = _restarted(readings)
    for before, now in again[-_MOST_RESTARTS:]:
        between = cursors.readings(connection, project, before.at_us, now.at_us)
        readings += [one for one in between if one.address == now.address and one.at_us < now.at_us and not one.error]
    traffic = traffic_of(readings, after_us=after_us, until_us=until_us)
    blocks = _by_step(traffic.blocks, lambda one: one.until_us // size_us)
    told = _by_step(traffic.readings, lambda one: one.at_us // size_us)
    anew = _by_step(again, lambda pair: pair[1].at_us // size_us)
    left_out = {pair[1].at_us // size_us for pair in again[:-_MOST_RESTARTS]}
    asked: dict[int, list[tuple[int, int]]] = {}
    for (address, number), counts in found.asked.items():
        if not server or address == server:
            asked.setdefault(number, []).append(counts)
    return {
        number: Step(
            until_us=(number + 1) * size_us,
            figures=figures_of(blocks.get(number, []), told.get(number, [])),
            asked=sum(n for n, _ in asked.get(number, [])),
            vain=sum(vain for _, vain in asked.get(number, [])),
            restarts=len(anew.get(number, [])),
            rough=number in left_out,
        )
        for number in numbers
    }


def _by_step(items: Iterable[Item], number_of: Callable[[Item], int]) -> dict[int, list[Item]]:
    found: dict[int, list[Item]] = {}
    for item in items:
        found.setdefault(number_of(item), []).append(item)
    return found


def _restarted(readings: Sequence[Reading]) -> list[tuple[Reading, Reading]]:
    """Neighbours between which a server was started again, oldest first."""
    by_address: dict[str, list[Reading]] = {}
    for one in readings:
        by_address.setdefault(one.address, []).append(one)
    found = [
        (before, now)
        for own in by_address.values()
        for before, now in pairwise(own)
        if _all_new(before, now) or any(now.counters.get(name, 0.0) < n for name, n in before.counters.items())
    ]
    return sorted(found, key=lambda pair: pair[1].at_us)


def _all_new(before: Reading, now: Reading) -> bool:
    """Whether every worker started since."""
    begun = [worker.started_s for worker in now.workers if worker.started_s > 0]
    return bool(begun) and min(begun) * _US > before.at_us
