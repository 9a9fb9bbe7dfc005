"""JUnit XML: an inspection as a test report, for CI servers that read one.

In: a ``ReportView``. Out: one document, one suite named ``roadworthy``, one test case per requirement. It is valid by
the two schemas in use (Ant's ``JUnit.xsd``, Jenkins' ``junit-10.xsd``), so it stays inside what both allow.

| verdict | in the document |
|---|---|
| ``pass`` | a test case |
| ``fail`` | ``<failure type="fail">`` |
| ``insufficient`` | ``<failure type="insufficient">``: absence of evidence blocks |
| ``error`` | ``<error type="error">`` |
| ``waived`` | ``<skipped message="…">`` |

Findings that fail or ask a person stand in ``system-out``. Laws: the counts of the suite are those of its cases; no
character stands in the document that XML 1.0 forbids; equal views at equal times give equal bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from roadworthy.formats.report.view import ReportView, RequirementRow
from roadworthy.formats.wording import clipped
from roadworthy.records.verdict import Outcome

__all__ = ["junit"]

_FORBIDDEN = re.compile("[\ufffe\uffff\U0001fffe\U0001ffff]")
_NAME = 300
_SENTENCE = 2000
_TAGS = {
    Outcome.FAIL: "failure",
    Outcome.INSUFFICIENT: "failure",
    Outcome.ERROR: "error",
    Outcome.WAIVED: "skipped",
}


def junit(view: ReportView, *, at: datetime, seconds: float = 0.0) -> bytes:
    """The document in UTF-8. ``at`` is when the inspection was made, ``seconds`` how long it took."""
    tags = Counter(_TAGS.get(row.verdict.outcome, "") for row in view.requirements)
    root = ET.Element("testsuites")
    suite = ET.SubElement(
        root,
        "testsuite",
        {
            "name": "roadworthy",
            "tests": str(len(view.requirements)),
            "failures": str(tags["failure"]),
            "errors": str(tags["error"]),
            "skipped": str(tags["skipped"]),
            "time": f"{seconds:.3f}",
            "timestamp": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "hostname": "localhost",
            "id": "0",
            "package": "roadworthy",
        },
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(view):
        ET.SubElement(properties, "property", {"name": name, "value": _text(value, _NAME)})
    seen: Counter[str] = Counter()
    for row in view.requirements:
        seen[row.verdict.requirement] += 1
        suite.append(_case(row, seen[row.verdict.requirement]))
    ET.SubElement(suite, "system-out").text = "\n".join(_said(view))
    ET.SubElement(suite, "system-err").text = ""
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True, short_empty_elements=True)) + b"\n"


def _properties(view: ReportView) -> Iterator[tuple[str, str]]:
    yield "model", " ".join(filter(None, (view.project, view.version)))
    yield "data", view.rows_from or (view.data.source if view.data is not None else "")
    yield "standard", view.provenance.digests.get("standard", "")
    yield "readiness", view.readiness.value
    yield "sentence", view.sentence


def _case(row: RequirementRow, turn: int) -> ET.Element:
    """One requirement; ``turn`` tells apart requirements that read the same."""
    verdict = row.verdict
    name = _text(verdict.requirement, _NAME) + (f" ({turn})" if turn > 1 else "")
    case = ET.Element(
        "testcase", {"name": name, "classname": f"{verdict.phase.value}.{_text(verdict.metric, 80)}", "time": "0"}
    )
    tag = _TAGS.get(verdict.outcome)
    if tag is None:
        return case
    sentence = _text(verdict.sentence, _SENTENCE)
    needed = f" About {verdict.rows_needed:,} more rows would settle it." if verdict.rows_needed else ""
    if tag == "skipped":
        ET.SubElement(case, tag, {"message": sentence})
        return case
    told = ET.SubElement(case, tag, {"type": verdict.outcome.value, "message": sentence + needed})
    told.text = "\n".join(_facts(row, sentence + needed))
    return case


def _facts(row: RequirementRow, sentence: str) -> Iterator[str]:
    """What a person needs where a CI server shows only a case's text."""
    yield sentence
    measured = row.verdict.measurement
    if measured is not None:
        facts = {
            "slice": measured.slice,
            "value": measured.value,
            "lower": measured.lower,
            "upper": measured.upper,
            "confidence": measured.confidence,
            "n": measured.n or None,
            "method": measured.method,
        }
        yield from (f"{name}: {_text(str(value), _NAME)}" for name, value in facts.items() if value not in {None, ""})


def _said(view: ReportView) -> Iterator[str]:
    yield _text(view.sentence, _SENTENCE)
    for grade in ("fails", "suspects"):
        for finding in view.findings:
            if finding.grade == grade and not finding.answer:
                subject = f"{_text(finding.subject, _NAME)}: " if finding.subject else ""
                question = f" {_text(finding.question, _NAME)}" if finding.question else ""
                yield f"{grade}: {subject}{_text(finding.sentence, _SENTENCE)}{question}"
    for check, reason in view.not_asked.items():
        yield f"not asked: {_text(check, _NAME)}: {_text(reason, _SENTENCE)}"


def _text(text: str, limit: int) -> str:
    """Foreign text in characters that XML 1.0 allows, on one line."""
    return _FORBIDDEN.sub("\ufffd", clipped(text, limit))
