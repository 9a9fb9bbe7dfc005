"""The last word on evidence before it is judged: what people signed for, and the ML Test Score.

In: evidence as measured, attestations in force, what was carried out. Out: the evidence that ``judge`` reads. Law: an
answer turns a suspicion into a note and never lifts what is proven; what is counted is counted after the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import msgspec

from roadworthy.measures.pitfalls import wear
from roadworthy.measures.test_score import TestScoreFacts, score, test_score_found
from roadworthy.records.attestation import Attestation, answered
from roadworthy.records.evidence import Evidence, Finding, Found
from roadworthy.stages.inspection.counting import recounted

__all__ = ["concluded"]


def concluded(evidence: Evidence, facts: TestScoreFacts, attestations: Sequence[Attestation], today: date) -> Evidence:
    """The evidence with its questions answered, its counts taken anew, and the ML Test Score.

    How often the holdout was looked at is known only now, and is a finding where it is too often. ``facts`` say what
    was carried out; what was measured is filled in from the evidence.
    """
    findings = (*evidence.findings, *(_checked(one) for one in wear(evidence.looks)))
    counted = recounted(msgspec.structs.replace(evidence, findings=answered(findings, attestations, today)))
    found = Found(measurements=counted.measurements, findings=counted.findings, exhibits=counted.exhibits)
    scored = test_score_found(score(replace(facts, found=found), attestations, today))
    whole = found + scored
    return msgspec.structs.replace(counted, measurements=whole.measurements, exhibits=whole.exhibits)


def _checked(finding: Finding) -> Finding:
    return msgspec.structs.replace(finding, check="pitfalls")
