"""A first contract from the data itself: what ``roadworthy init`` writes, with a reason for everything.

Owns: guessing the task, the columns' types, sentinels, time and entity columns, personal and protected columns,
and suspected leaks. In: raw rows and the target's name. Out: an ``Inference``. Law: nothing is decided without a
sentence that says why, and no sentence holds a value of a personal column.
"""

from __future__ import annotations

from roadworthy.transforms.inference.first_project import infer
from roadworthy.transforms.inference.result import Inference, Note

__all__ = ["Inference", "Note", "infer"]
