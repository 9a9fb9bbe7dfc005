"""What can stand in the journal of a run: one kind of line each.

In and out: JSON, one object a line, its kind in ``what``. ``adapters.run_journal`` writes and reads them.
"""

from __future__ import annotations

import msgspec

from roadworthy.records.model import ProgressLine
from roadworthy.records.version import StageRow

__all__ = [
    "Advanced",
    "Began",
    "Concluded",
    "Ended",
    "Epoch",
    "Event",
    "Failed",
    "StageDone",
    "Started",
    "Stopped",
    "decode",
    "encode",
]


class _Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="what", tag=str.lower):
    at_us: int


class Started(_Line, frozen=True, kw_only=True):
    """The run began. ``host`` and ``pid`` are where."""

    project: str
    roadworthy: str
    host: str
    pid: int


class Began(_Line, frozen=True, kw_only=True):
    """A piece of work began; ``inside`` counts those that were under way."""

    task: str
    total: int | None = None
    inside: int = 0


class Advanced(_Line, frozen=True, kw_only=True):
    """How far a piece of work is."""

    task: str
    done: int


class Ended(_Line, frozen=True, kw_only=True):
    """A piece of work is done."""

    task: str
    summary: str = ""
    reused: bool = False


class Epoch(_Line, frozen=True, kw_only=True):
    """One epoch or round of a training."""

    line: ProgressLine


class StageDone(_Line, frozen=True, kw_only=True):
    """A stage is done: its line of the table."""

    row: StageRow


class Failed(_Line, frozen=True, kw_only=True):
    """The run broke: what a person is told, and ``account``, the frames behind it. ``task`` was under way."""

    error: str
    message: str
    problems: tuple[str, ...] = ()
    next_step: str = ""
    account: str = ""
    task: str = ""


class Stopped(_Line, frozen=True, kw_only=True):
    """A person stopped it."""

    task: str = ""


class Concluded(_Line, frozen=True, kw_only=True):
    """The run came to its end: the version that it registered, and the verdict's readiness and sentence."""

    number: int
    title: str
    readiness: str
    sentence: str


Event = Started | Began | Advanced | Ended | Epoch | StageDone | Failed | Stopped | Concluded
encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Event).decode
