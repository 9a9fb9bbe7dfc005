"""A past window judged once more: the same numbers, or what is not as it was.

In: the window as it was judged, what it is judged by now. Out: both, and words. Laws: what is kept for good (rows,
labels, bundle) must give the same; readings of servers are kept for four weeks, and a window that is older keeps what
they said: it is taken from there, and said so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec

from roadworthy.records.evidence import Measurement
from roadworthy.records.window import Judged
from roadworthy.stages.watching.whole import Asked, judged_window
from roadworthy.standard import Requirement

__all__ = ["Again", "as_before", "judged_again", "readings_gone", "with_readings_of"]

_GONE = (
    "The readings of the servers in this window are gone: they are kept for four weeks. What they showed is taken from "
    "the window as it was judged; all else was judged again."
)
_NAMES = {"rows": "rows or labels", "bundle": "the version's bundle", "readings": "readings of servers"}


class Again(NamedTuple):
    """As it was judged, as it comes out now, and what a person should know of the difference."""

    before: Judged
    after: Judged
    why: str = ""


def judged_again(before: Judged, asked: Asked, oldest_us: int | None) -> Again:
    """Judge once more. ``oldest_us`` is when the oldest reading that is kept was taken, None where none is."""
    if readings_gone(before, asked, oldest_us):
        after = judged_window(with_readings_of(before, asked)).judged
        if _apart(before, asked) <= {"readings"}:
            after = msgspec.structs.replace(after, inputs=before.inputs, parts=before.parts)
        return Again(before, after, _GONE)
    after = judged_window(asked).judged
    if after == before:
        return Again(before, after)
    names = sorted(_NAMES[name] for name in _apart(before, asked))
    said = [f"not as they were: {', '.join(names)}"] if names else []
    more = after.counts["rows"] - before.counts["rows"]
    if more:
        said.append(f"the log has {abs(more):,} rows {'more' if more > 0 else 'fewer'} in this window than then")
    return Again(before, after, "; ".join(said))


def readings_gone(before: Judged, asked: Asked, oldest_us: int | None) -> bool:
    """Whether the window was judged by readings that are no longer kept."""
    return asked.inputs != before.inputs and _gone(before, asked, oldest_us)


def with_readings_of(before: Judged, asked: Asked) -> Asked:
    """The same, with what operations showed when the window was judged."""
    return replace(asked, sight=replace(asked.sight, operations=_Kept(before.measurements)))


def as_before(before: Judged, asked: Asked) -> bool:
    """Whether all but the readings is as it was; nobody can tell of a window of edition 0."""
    return bool(before.parts) and _apart(before, asked) <= {"readings"}


def _apart(before: Judged, asked: Asked) -> set[str]:
    """Which parts of what goes in are not as they were; nothing is known of them for a window of edition 0."""
    return {name for name, digest in before.parts.items() if asked.parts[name] != digest}


def _gone(before: Judged, asked: Asked, oldest_us: int | None) -> bool:
    """Whether readings that went in are no longer kept."""
    old = oldest_us is None or before.window.after.at_us < oldest_us
    told = any(one.check == "operations" and one.value is not None for one in before.measurements)
    return old and (asked.parts["readings"] != before.parts["readings"] if before.parts else told)


class _Kept:
    """What operations showed, as it stands in the window."""

    def __init__(self, measurements: Sequence[Measurement]) -> None:
        self._measurements = measurements

    def __call__(self, required: Sequence[Requirement]) -> tuple[Measurement, ...]:
        """See ``judging.Measure``."""
        return tuple(
            one
            for item in required
            for one in self._measurements
            if one.metric == item.metric and one.slice.partition("=")[0] == item.slice
        )
