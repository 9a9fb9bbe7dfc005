"""What inference hands back."""

from __future__ import annotations

import msgspec

from roadworthy.records.contract import Contract
from roadworthy.records.evidence import Finding
from roadworthy.records.project import Task

__all__ = ["Inference", "Note"]


class Note(msgspec.Struct, frozen=True):
    """One thing that was decided or noticed: the column (empty: the whole table), a kind, a sentence."""

    column: str
    kind: str
    sentence: str


class Inference(msgspec.Struct, frozen=True, kw_only=True):
    """A first project, decided from the data.

    ``positive`` is empty unless the task is binary. ``time_of_day`` says whether the time column holds more than
    dates. ``exclude`` maps a column that is no model input to the reason. ``findings`` are the suspected leaks, of
    grade "fails" (proven, excluded) or "suspects". ``notes`` say the rest; ``rows`` is the number of rows,
    ``sampled`` how many of them the tests of power looked at.
    """

    source_name: str
    target: str
    task: Task
    positive: str
    contract: Contract
    time: str = ""
    time_of_day: bool = False
    entity: str = ""
    personal: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    exclude: dict[str, str] = {}
    findings: tuple[Finding, ...] = ()
    notes: tuple[Note, ...] = ()
    rows: int = 0
    sampled: int = 0
