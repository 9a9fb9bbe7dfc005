"""Verdicts: what ``standard.judge`` says of evidence.

``Outcome`` is about one requirement, ``Readiness`` about a version. Exit codes follow readiness.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from roadworthy.records.digests import Digest
from roadworthy.records.evidence import Measurement, Phase

__all__ = ["EXIT_CODES", "Outcome", "Readiness", "RequirementVerdict", "Verdict", "Waiver"]


class Outcome(StrEnum):
    """Of one requirement. Each comment says what is true in it."""

    PASS = "pass"  # noqa: S105 - an outcome, not a password: the evidence proves the bound at the declared confidence
    FAIL = "fail"  # the evidence proves the opposite
    INSUFFICIENT = "insufficient"  # neither is proven
    ERROR = "error"  # the check itself broke
    WAIVED = "waived"  # not met, but a named person signed for it until a date


class Readiness(StrEnum):
    """Of a version."""

    READY = "ready"  # every requirement passes or is waived
    NOT_PROVEN = "not proven"  # none fails or broke, at least one is insufficient
    NOT_READY = "not ready"  # at least one fails or broke


EXIT_CODES: dict[Readiness, int] = {Readiness.READY: 0, Readiness.NOT_READY: 1, Readiness.NOT_PROVEN: 3}


class Waiver(msgspec.Struct, frozen=True, kw_only=True):
    """A named person's signed word that a requirement may stay unmet until ``expires`` (ISO date)."""

    requirement: str
    person: str
    reason: str
    expires: str
    signature: str = ""


class RequirementVerdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One requirement judged: outcome, the measurement that decided, and the reason in one sentence.

    ``requirement`` is its one-line form (``"accuracy >= 0.8"``); ``rows_needed`` how many more rows would
    settle an insufficient one if what was seen so far holds (0: unknown, or no number would).
    """

    requirement: str
    metric: str
    phase: Phase
    outcome: Outcome
    sentence: str
    measurement: Measurement | None = None
    rows_needed: int = 0
    waiver: Waiver | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement on a version, with every requirement's own."""

    subject: Digest
    standard: Digest
    readiness: Readiness
    requirements: tuple[RequirementVerdict, ...]
    sentence: str

    @property
    def exit_code(self) -> int:
        """0 ready, 1 not ready, 3 not proven."""
        return EXIT_CODES[self.readiness]
