"""JUnit XML: what a CI server reads is what the verdict says."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from roadworthy.formats.junit import junit
from roadworthy.formats.report import ReportView
from roadworthy.records.verdict import Outcome
from roadworthy.views import inspection_view

AT = datetime(2026, 11, 20, 19, 30, tzinfo=UTC)
SUITE = {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id", "package"}
CHILDREN = ("properties", "testcase", "system-out", "system-err")
INSIDE = {"failure": {"type", "message"}, "error": {"type", "message"}, "skipped": {"message"}}


def suite_of(document: bytes) -> ET.Element:
    """The one suite, its form checked as the two schemas in use ask (Ant's and Jenkins')."""
    root = ET.fromstring(document)  # noqa: S314 - made here
    assert root.tag == "testsuites"
    assert not root.attrib
    (suite,) = root
    assert suite.tag == "testsuite"
    assert set(suite.attrib) == SUITE
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
    order = [CHILDREN.index(child.tag) for child in suite]
    assert order == sorted(order)
    assert [tag for tag in CHILDREN if tag != "testcase"] == [c.tag for c in suite if c.tag != "testcase"]
    for item in suite.findall("properties/property"):
        assert set(item.attrib) == {"name", "value"}
    for case in suite.findall("testcase"):
        assert set(case.attrib) == {"name", "classname", "time"}
        assert len(case) <= 1
        for child in case:
            assert set(child.attrib) == INSIDE[child.tag]
    return suite


def test_each_requirement_is_a_case_with_its_outcome(made_up: Callable[..., Any]) -> None:
    view = inspection_view(made_up())
    suite = suite_of(junit(view, at=AT, seconds=12.3456))
    cases = suite.findall("testcase")
    assert [case.attrib["name"] for case in cases] == [row.verdict.requirement for row in view.requirements]
    expected = {
        Outcome.PASS: ("", ""),
        Outcome.FAIL: ("failure", "fail"),
        Outcome.INSUFFICIENT: ("failure", "insufficient"),
        Outcome.WAIVED: ("skipped", ""),
    }
    for case, row in zip(cases, view.requirements, strict=True):
        assert case.attrib["classname"] == f"release.{row.verdict.metric}"
        told = case[0] if len(case) else None
        tag, kind = ("", "") if told is None else (told.tag, told.attrib.get("type", ""))
        assert (tag, kind) == expected[row.verdict.outcome]
        if told is not None:
            assert row.verdict.sentence in told.attrib["message"]
    assert suite.attrib["time"] == "12.346"
    assert "About 30,000 more rows would settle it." in junit(view, at=AT).decode()


def test_a_broken_check_is_an_error(made_up: Callable[..., Any]) -> None:
    view = inspection_view(made_up())
    broken = structs.replace(
        view.requirements[0], verdict=structs.replace(view.requirements[0].verdict, outcome=Outcome.ERROR)
    )
    suite = suite_of(junit(structs.replace(view, requirements=(broken,)), at=AT))
    assert (suite.attrib["tests"], suite.attrib["errors"], suite.attrib["failures"]) == ("1", "1", "0")
    error = suite.find("testcase/error")
    assert error is not None
    assert error.attrib["type"] == "error"


def test_the_counts_are_those_of_the_cases(made_up: Callable[..., Any]) -> None:
    suite = suite_of(junit(inspection_view(made_up()), at=AT))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.attrib[name]) == len(suite.findall(f"testcase/{tag}"))
    assert int(suite.attrib["tests"]) == len(suite.findall("testcase")) == 11


def test_properties_and_findings_say_what_was_judged(made_up: Callable[..., Any]) -> None:
    view = inspection_view(made_up())
    suite = suite_of(junit(view, at=AT))
    properties = {item.attrib["name"]: item.attrib["value"] for item in suite.findall("properties/property")}
    assert properties["model"] == "loan.onnx"
    assert properties["data"] == "march.parquet"
    assert properties["standard"] == made_up().standard.digest()
    assert properties["readiness"] == "not ready"
    said = suite.findtext("system-out") or ""
    assert "fails: logistic: A logistic regression" in said
    assert "suspects: duration: " in said
    assert "Is duration known when the prediction is made?" in said
    assert "balance" not in said, "that question is answered"
    assert "not asked: fairness: " in said


def test_requirements_that_read_the_same_have_names_of_their_own(made_up: Callable[..., Any]) -> None:
    view = inspection_view(made_up())
    twice = structs.replace(view, requirements=view.requirements[:1] * 2)
    names = [case.attrib["name"] for case in suite_of(junit(twice, at=AT)).findall("testcase")]
    assert names == ["roc_auc >= 0.85", "roc_auc >= 0.85 (2)"]


def test_the_time_is_told_in_utc(made_up: Callable[..., Any]) -> None:
    local = AT.astimezone(timezone(timedelta(hours=5)))
    assert junit(inspection_view(made_up()), at=local) == junit(inspection_view(made_up()), at=AT)


def with_text(view: ReportView, text: str) -> ReportView:
    rows = tuple(
        structs.replace(row, verdict=structs.replace(row.verdict, requirement=text, sentence=text, metric=text))
        for row in view.requirements
    )
    return structs.replace(view, requirements=rows, project=text, rows_from=text, sentence=text)


@pytest.mark.parametrize(
    "text", ["\x00\x1b[31m\x7f", "\ud800", "]]><x/>", "<!ENTITY a '&b;'>", "\ufffe\uffff", "\u202e"]
)
def test_hostile_text_leaves_a_document_that_is_read(text: str, made_up: Callable[..., Any]) -> None:
    suite = suite_of(junit(inspection_view(made_up(3, text)), at=AT))
    assert int(suite.attrib["tests"]) == 11


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_no_text_breaks_the_document(made_up: Callable[..., Any], text: str) -> None:
    document = junit(with_text(inspection_view(made_up(2)), text), at=AT)
    suite_of(document)
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", document.decode())
