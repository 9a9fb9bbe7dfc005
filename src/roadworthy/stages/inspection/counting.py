"""What a standard can bound of findings: how many fail, how many wait for an answer.

In: what all checks found. Out: the measurements ``pitfalls`` and ``questions``, exact counts that name what they count.
Law: a finding is counted once: leaks and crashes have metrics of their own, and a broken check is an error already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from roadworthy.records.evidence import Evidence, Finding, Measurement
from roadworthy.standard.catalogue import CATALOGUE

__all__ = ["counted", "recounted"]

_COUNTED_BY_THEMSELVES = ("leakage", "robustness")
_BROKEN = "broken_check"
_NAMED = 3


def counted(findings: Iterable[Finding]) -> tuple[Measurement, ...]:
    """``pitfalls`` and ``questions`` of these findings."""
    known = tuple(findings)
    failing = [
        one for one in known if one.grade == "fails" and one.check not in _COUNTED_BY_THEMSELVES and one.kind != _BROKEN
    ]
    open_ = [one for one in known if one.grade == "suspects" and one.question and not one.answer]
    return (
        _count("pitfalls", "pitfalls", len(failing), " ".join(one.sentence for one in failing[:_NAMED])),
        _count("questions", "leakage", len(open_), " ".join(one.question for one in open_[:_NAMED])),
    )


def recounted(evidence: Evidence) -> Evidence:
    """The same evidence with both counts taken anew, as after a question was answered; an error stays one."""
    new = {one.metric: one for one in counted(evidence.findings)}
    measurements: Sequence[Measurement] = tuple(
        one if one.error or one.metric not in new else new[one.metric] for one in evidence.measurements
    )
    return msgspec.structs.replace(evidence, measurements=tuple(measurements))


def _count(metric: str, check: str, number: int, reason: str) -> Measurement:
    return Measurement(
        metric=metric,
        value=float(number),
        lower=float(number),
        upper=float(number),
        unit=CATALOGUE[metric].unit,
        method="counted",
        reason=reason,
        check=check,
    )
