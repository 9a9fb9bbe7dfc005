"""Evidence: what was measured, with its uncertainty, in any phase.

One ``Measurement`` type for release, rollout and live, so that one ``judge`` can read them all. A check that
broke leaves a measurement with ``error`` set; one that may not answer at this size sets ``insufficient``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from roadworthy.records.digests import Digest

__all__ = ["Evidence", "Exhibit", "Finding", "Found", "Measurement", "Phase"]


class Phase(StrEnum):
    """When a measurement was taken."""

    RELEASE = "release"
    ROLLOUT = "rollout"
    LIVE = "live"


class Measurement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One metric, measured once.

    ``lower`` and ``upper`` are each a one-sided bound at ``confidence`` (0.95: the true value lies below
    ``lower`` in at most 5 % of repetitions, and above ``upper`` in at most 5 %). An exact figure (a file's
    size) has ``lower == value == upper``. ``slice`` is empty for all rows, else ``"device=mobile"``.
    ``unit`` is the catalogue's base unit. ``reason`` is a sentence that explains the value where a number alone does
    not (which columns leak), and stands in the verdict. ``check`` names the check of the inspection that measured it,
    where one did. ``n`` is the number of rows (or requests), ``clusters`` the number
    of entities where the interval is clustered. ``among`` is the number of those rows that a share is counted
    over (recall: the events), 0 where that is all of them. ``method`` names the interval's method.
    """

    metric: str
    value: float | None = None
    lower: float | None = None
    upper: float | None = None
    confidence: float = 0.95
    n: int = 0
    clusters: int = 0
    among: int = 0
    unit: str = ""
    phase: Phase = Phase.RELEASE
    slice: str = ""
    method: str = ""
    reason: str = ""
    check: str = ""
    insufficient: str = ""
    error: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something worth a person's look that is not a number: a suspected leak, an accuracy paradox.

    ``grade`` is ``"fails"``, ``"suspects"`` or ``"notes"``; ``sentence`` says it in plain words. ``question`` is what
    only a person can answer ("is this known when the prediction is made?"), ``answer`` what an attestation answered.
    ``check`` names the check of the inspection that found it, where one did.
    """

    kind: str
    subject: str
    grade: str
    sentence: str
    question: str = ""
    answer: str = ""
    check: str = ""
    details: dict[str, Any] = {}


class Exhibit(msgspec.Struct, frozen=True, kw_only=True):
    """A table behind a picture in the report: named columns of equal length, and its title.

    ``check`` names the check of the inspection that made it, where one did.
    """

    name: str
    title: str
    columns: dict[str, list[Any]]
    note: str = ""
    check: str = ""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What one check adds to the evidence."""

    measurements: tuple[Measurement, ...] = ()
    findings: tuple[Finding, ...] = ()
    exhibits: tuple[Exhibit, ...] = ()

    def __add__(self, other: Found) -> Found:
        """Both, in their order."""
        return Found(
            measurements=self.measurements + other.measurements,
            findings=self.findings + other.findings,
            exhibits=self.exhibits + other.exhibits,
        )


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that was measured about one subject.

    ``subject`` is the digest of the model judged, ``holdout`` the digest of the rows it was judged on,
    ``looks`` how often that holdout has been looked at, this time included.
    """

    subject: Digest
    holdout: Digest
    measurements: tuple[Measurement, ...]
    findings: tuple[Finding, ...] = ()
    exhibits: tuple[Exhibit, ...] = ()
    looks: int = 1
