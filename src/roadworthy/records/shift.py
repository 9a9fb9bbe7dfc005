"""What differs between some rows and the reference: one comparison, with its probability and its size.

Made by ``measures.drift``; judged within the alarm budget by ``measures.alarms``; shown to people as ``sentence``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

__all__ = ["Shift", "ShiftKind"]


class ShiftKind(StrEnum):
    """What was compared."""

    DISTRIBUTION = "distribution"  # the values that are there
    MISSING = "missing"  # the share of missing values
    NEW = "new"  # labels that the reference does not list, values outside its range
    TOGETHER = "together"  # columns with each other


class Shift(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One comparison of ``n`` rows with ``reference_n`` rows of the reference.

    ``subject`` is a column, ``"score"`` (``"score.LABEL"`` with several classes) or two columns joined by ``" × "``.
    ``p`` is valid at any sample size: were there no change, it would be at most x in at most a share x of
    repetitions. ``effect`` is the size of the change between 0 and 1, without what chance adds. ``insufficient``
    says why nothing can be said, ``error`` that the check broke; then ``p`` is None.
    """

    subject: str
    kind: ShiftKind
    p: float | None = None
    effect: float = 0.0
    n: int = 0
    reference_n: int = 0
    sentence: str = ""
    details: dict[str, Any] = {}
    insufficient: str = ""
    error: str = ""
