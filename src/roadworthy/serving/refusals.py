"""In which columns rows break the contract, counted by every worker, told over all of them.

In: counts by column and breach. Out: series of Prometheus' text form. Laws: a series is made the first time that it is
counted, and only of a contract's column and of a known breach, so that no request can make one; all series together
take at most ``MOST_BYTES``, and what comes beyond is counted without its column; each worker writes only its own part
of one mapped file, the name of a series before its first count.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from typing import Final

from roadworthy.records.contract import Breach

__all__ = ["MOST_BYTES", "NAME", "Refusals", "quoted"]

NAME: Final = "roadworthy_refused_columns_total"
MOST_BYTES: Final = 1 << 19
"""What the series of all workers may take in an answer: whoever reads it reads no text without end."""

_DIGITS: Final = 24
"""Bytes of a series' value, with the space before it."""

_SIZE: Final = 8
_LEAST: Final = 4_096


class Refusals:
    """The counts of one worker, number ``worker`` of ``workers``, in memory that all of them map.

    A worker's part is: how many bytes its names take, the names (one line each), and a count for each line.
    """

    def __init__(self, shared: mmap.mmap, *, worker: int = 0, workers: int = 1) -> None:
        self._shared = shared
        self._counts = memoryview(shared).cast("d")
        self._workers = workers
        self._room = _room(workers)
        self._known: list[list[str]] = [[] for _ in range(workers)]
        self._read = [0] * workers
        self._worker = worker
        self._slots: dict[tuple[str, Breach], int] = {}
        self._first = self._first_count(worker)
        own = self._names(worker)  # of a worker that ended before
        self._lines = {line: slot for slot, line in enumerate(own)}
        for breach in Breach:
            self._slot("", breach)

    @staticmethod
    def size(workers: int) -> int:
        """Bytes that so many workers share."""
        return workers * _part(workers)

    def count(self, columns: Mapping[tuple[str, Breach], int]) -> None:
        """Rows of one request, by column and breach."""
        for key, rows in columns.items():
            slot = self._slots.get(key)
            if slot is None:
                slot = self._slots[key] = self._slot(*key)
            self._counts[self._first + slot] += rows

    def series(self) -> dict[str, float]:
        """Every series that was counted and its value over all workers, in the order of their names."""
        found: dict[str, float] = {}
        for worker in range(self._workers):
            first = self._first_count(worker)
            for slot, line in enumerate(self._names(worker)):
                if rows := self._counts[first + slot]:
                    found[line] = found.get(line, 0.0) + rows
        return dict(sorted(found.items()))

    def _slot(self, column: str, breach: Breach) -> int:
        """The place of a series, a new one where it has none yet; without its column where there is no room for it."""
        line = f'{NAME}{{column="{quoted(column)}",reason="{breach}"}}'
        slot = self._lines.get(line)
        if slot is None:
            written = f"{line}\n".encode()
            start = self._worker * _part(self._workers)
            used = int.from_bytes(self._shared[start : start + _SIZE], "little")
            taken = used + len(self._lines) * _DIGITS
            if taken + len(written) + _DIGITS > self._room:
                return self._slot("", breach)
            slot = self._lines[line] = len(self._lines)
            begin = start + _SIZE + used
            self._shared[begin : begin + len(written)] = written
            self._shared[start : start + _SIZE] = (used + len(written)).to_bytes(_SIZE, "little")
        return slot

    def _names(self, worker: int) -> list[str]:
        """The series of a worker, of which only the new ones are read."""
        known, start = self._known[worker], worker * _part(self._workers)
        used = int.from_bytes(self._shared[start : start + _SIZE], "little")
        if used > self._read[worker]:
            begin = start + _SIZE
            text = self._shared[begin + self._read[worker] : begin + used].decode()
            known += text.removesuffix("\n").split("\n")
            self._read[worker] = used
        return known

    def _first_count(self, worker: int) -> int:
        return ((worker + 1) * _part(self._workers) - _most(self._workers) * _SIZE) // _SIZE


def quoted(text: str) -> str:
    """A label's value as the text form wants it."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _room(workers: int) -> int:
    """Bytes that one worker's series may take in an answer: a whole number of counts."""
    return max(MOST_BYTES // workers // _SIZE * _SIZE, _LEAST)


def _most(workers: int) -> int:
    """So many series fit at most: their names alone are longer than this."""
    return _room(workers) // len(NAME)


def _part(workers: int) -> int:
    """Bytes of one worker."""
    return _SIZE + _room(workers) + _most(workers) * _SIZE
