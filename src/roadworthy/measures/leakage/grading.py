"""What counts as a leak, and how many there are.

In: findings. Out: one finding per subject, and the metric ``leaks``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from roadworthy.records.evidence import Finding, Measurement

__all__ = ["LEAK_KINDS", "leaks_measurement", "strongest"]

LEAK_KINDS = (
    "target_leak",
    "target_sum",
    "duplicate_rows",
    "near_duplicate_rows",
    "entity_overlap",
    "time_overlap",
    "shuffle_control",
)
"""Kinds of finding that count as leaks where they fail."""

_GRADES = ("fails", "suspects", "notes")


def leaks_measurement(findings: Sequence[Finding], *, rows: int = 0, left_out: str = "") -> Measurement:
    """The metric ``leaks``: how many findings of a leak's kind fail. Exact; ``reason`` names them.

    ``left_out`` is a sentence on what was not looked at, which ``reason`` says too.
    """
    failing = [finding for finding in findings if finding.kind in LEAK_KINDS and finding.grade == "fails"]
    count = float(len(failing))
    named = "; ".join(_named(finding) for finding in failing)
    reason = f"{named[0].upper()}{named[1:]}. {left_out}".strip() if named else left_out
    return Measurement(
        metric="leaks", value=count, lower=count, upper=count, n=rows, unit="count", method="counted", reason=reason
    )


def strongest(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding per kind and subject, the gravest, the first of equals; failing ones first, else in their order."""
    kept: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        topic = (finding.kind, finding.subject)
        if topic not in kept or _GRADES.index(finding.grade) < _GRADES.index(kept[topic].grade):
            kept[topic] = finding
    return tuple(sorted(kept.values(), key=lambda finding: _GRADES.index(finding.grade)))


def _named(finding: Finding) -> str:
    told = {
        "target_leak": f"column {finding.subject} gives the target away",
        "target_sum": f"{finding.subject} determine the target",
        "duplicate_rows": "rows of the holdout are copies of training rows",
        "near_duplicate_rows": "rows of the holdout are all but copies of training rows",
        "entity_overlap": f"{finding.subject} is on both sides of the split",
        "time_overlap": f"training rows are later than the holdout by {finding.subject}",
        "shuffle_control": "shuffled labels are predicted better than by chance",
    }
    return told[finding.kind]
