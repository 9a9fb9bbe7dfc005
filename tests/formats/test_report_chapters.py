"""Chapters: everything of an inspection is on its page, in the order of reading, however much there is."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from msgspec import structs

from roadworthy.formats.report import ChapterState, ChapterView, ChartView, ReportView, render_report
from roadworthy.formats.report.chapters import shown_chapter
from roadworthy.formats.report.tables import by_itself
from roadworthy.records.evidence import Evidence, Exhibit, Finding, Measurement, Phase
from roadworthy.records.project import Task
from roadworthy.records.verdict import Outcome, Readiness
from roadworthy.standard import CATALOGUE, judge, parse_standard
from roadworthy.views import inspection_view, with_pictures
from roadworthy.views.chapters import CHAPTERS, TOLD_IN, chapters_of
from roadworthy.views.steps import next_steps

MadeUp = Callable[..., Any]
DIGEST = "sha256:" + "0" * 64


class Words(HTMLParser):
    """Texts in their order, anchors and links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words = ""
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            if name == "href" and value:
                self.links.append(value)

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def view(made_up: MadeUp) -> ReportView:
    return with_pictures(inspection_view(made_up(), when="20 November 2026"))


def evidence(*measurements: Measurement, findings: tuple[Finding, ...] = (), exhibits: tuple[Exhibit, ...] = ()) -> Any:
    standard = parse_standard({"extends": "none", "accuracy": ">= 0.8"}, Task.BINARY, file="standard.toml")
    found = Evidence(subject=DIGEST, holdout=DIGEST, measurements=measurements, findings=findings, exhibits=exhibits)
    return standard, found, judge(standard, found)


def measured(metric: str, value: float, lower: float, upper: float, **more: Any) -> Measurement:
    return Measurement(metric=metric, value=value, lower=lower, upper=upper, n=100, **more)


def test_every_check_of_the_inspection_has_a_chapter() -> None:
    from roadworthy.stages.inspection import CHECKS  # noqa: PLC0415 - loads every trainer, and only this test needs it

    assert {TOLD_IN.get(check.name, check.name) for check in CHECKS} <= CHAPTERS.keys()
    for chapter in CHAPTERS.values():
        assert chapter.question.endswith("?")
        assert set(chapter.leading) <= CATALOGUE.keys()


def test_everything_of_the_evidence_stands_in_one_chapter(made_up: MadeUp) -> None:
    inspection = made_up()
    chapters = inspection_view(inspection).chapters
    assert [c.check for c in chapters] == [*(name for name in CHAPTERS), "tomorrow"]
    rows = [row.measurement for chapter in chapters for row in chapter.measurements]
    assert sorted(map(repr, rows)) == sorted(map(repr, inspection.evidence.measurements))
    findings = [finding for chapter in chapters for finding in chapter.findings]
    assert sorted(map(repr, findings)) == sorted(map(repr, inspection.evidence.findings))
    charts = [chart.name for chapter in chapters for chart in chapter.charts]
    assert sorted(charts) == sorted(exhibit.name for exhibit in inspection.evidence.exhibits)


def test_the_page_says_all_of_it_and_links_lead_somewhere(view: ReportView) -> None:
    page = Words(render_report(view))
    for chapter in view.chapters:
        assert chapter.title in page.words
        assert chapter.summary in page.words
        for finding in chapter.findings:
            assert finding.sentence in page.words
            assert (finding.answer or finding.question) in page.words
        for row in chapter.measurements:
            assert row.measurement.slice in page.words
        for chart in chapter.charts:
            assert chart.title in page.words
    for check, reason in view.not_asked.items():
        assert f"{check}: {reason}" in page.words
    assert view.notes[0] in page.words
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)
    assert page.words.index("What was inspected") < page.words.index("Requirements and their evidence")


def test_what_only_a_run_has_leaves_no_hole(view: ReportView) -> None:
    html = render_report(view)
    words = Words(html).words
    for title in ("From rows to a model", "Why ", "The package", "Once it serves", "Features"):
        assert f"<h2>{title}" not in html
        assert not re.search(rf"<h2[^>]*>{title}", html)
    assert "loan.onnx on march.parquet" in re.sub(r"\s+", " ", words)
    assert "None" not in words


def test_a_chapter_without_anything_is_not_shown() -> None:
    standard, found, verdict = evidence(measured("accuracy", 0.9, 0.85, 0.95, check="quality"))
    assert [c.check for c in chapters_of(standard, found, verdict)] == ["quality"]


@pytest.mark.parametrize(
    ("lower", "upper", "state"),
    [
        (0.85, 0.95, ChapterState.PASSES),
        (0.75, 0.95, ChapterState.OPEN),
        (0.5, 0.7, ChapterState.FAILS),
    ],
)
def test_a_requirement_decides_the_state(lower: float, upper: float, state: ChapterState) -> None:
    (chapter,) = chapters_of(*evidence(measured("accuracy", (lower + upper) / 2, lower, upper, check="quality")))
    assert chapter.state is state


def test_findings_and_broken_checks_decide_the_state_too() -> None:
    def state(grade: str = "", answer: str = "", error: str = "") -> ChapterState:
        finding = Finding(kind="x", subject="a", grade=grade, sentence="It is.", answer=answer, check="slices")
        broken = Measurement(metric="weak_slices", error=error, check="slices")
        given = evidence(*([broken] if error else []), findings=(finding,) if grade else ())
        return chapters_of(*given)[0].state

    assert state(grade="fails") is ChapterState.FAILS
    assert state(grade="suspects") is ChapterState.OPEN
    assert state(grade="suspects", answer="yes") is ChapterState.NOTED
    assert state(grade="notes") is ChapterState.NOTED
    assert state(error="it broke") is ChapterState.FAILS


def test_what_names_no_check_goes_where_its_metric_belongs() -> None:
    measurements = [measured(name, 0.5, 0.4, 0.6) for name in ("accuracy", "leaks", "latency_p99", "churn", "crashes")]
    measurements.append(measured("availability", 0.5, 0.4, 0.6))
    given = evidence(
        *measurements,
        findings=(Finding(kind="target_leak", subject="a", grade="notes", sentence="It is."),),
        exhibits=(Exhibit(name="tradeoff", title="t", columns={"a": [1]}), Exhibit(name="x", title="t", columns={})),
    )
    chapters = {chapter.check: chapter for chapter in chapters_of(*given)}
    assert list(chapters) == ["quality", "threshold", "leakage", "stability", "cost", "other"]
    assert {row.measurement.metric for row in chapters["other"].measurements} == {"crashes", "availability"}


def test_a_waived_requirement_is_shown_as_waived(made_up: MadeUp) -> None:
    (stability,) = [c for c in inspection_view(made_up()).chapters if c.check == "stability"]
    assert stability.measurements[0].outcome is Outcome.WAIVED


def test_the_worst_slice_leads_and_what_is_judged_stands_first(made_up: MadeUp) -> None:
    chapters = {chapter.check: chapter for chapter in inspection_view(made_up()).chapters}
    assert "fault=range:duration: 0.370" in chapters["robustness"].summary
    outcomes = [row.outcome for row in chapters["robustness"].measurements]
    assert outcomes[0] is Outcome.FAIL
    assert outcomes[-1] is None


def test_steps_name_questions_chapters_and_rows(made_up: MadeUp) -> None:
    steps = " ".join(inspection_view(made_up()).next_steps)
    assert "answer for duration: Is duration known when the prediction is made?" in steps
    assert "balance" not in steps
    assert "the chapter Fairness of the report says why" in steps
    assert "more labelled rows" in steps
    unmeasured = structs.replace(made_up().evidence, measurements=())
    verdict = judge(made_up().standard, unmeasured)
    (step,) = [s for s in next_steps(verdict, structs.replace(unmeasured, findings=())) if "measured" in s]
    assert step.startswith("have roc_auc >= 0.85, ")
    ready = structs.replace(made_up().verdict, readiness=Readiness.READY)
    assert inspection_view(structs_like(made_up(), verdict=ready)).next_steps == ()


def structs_like(inspection: Any, **changes: Any) -> Any:
    """The made-up inspection with other parts."""
    return type(inspection)(**{**vars(inspection), **changes})


def test_fifty_columns_with_everything_stay_under_3_mb(made_up: MadeUp) -> None:
    view = with_pictures(inspection_view(made_up(50)))
    page = render_report(view)
    assert len(page.encode()) < 3_000_000
    words = Words(page).words
    assert "46 more: dependence" in words or "48 more: dependence" in words
    assert "more measurements" in words


def test_only_the_first_of_a_family_are_drawn() -> None:
    exhibits = tuple(
        Exhibit(name=f"roc:{i}", title="t", columns={"false_positive_rate": [0, 1], "true_positive_rate": [0, 1]})
        for i in range(30)
    )
    standard, found, verdict = evidence(exhibits=exhibits)
    view = with_pictures(
        ReportView(
            project="p",
            version="",
            when="",
            task="",
            target="",
            readiness=Readiness.READY,
            sentence="",
            chapters=chapters_of(standard, found, verdict),
        )
    )
    assert [bool(chart.svg) for chart in view.chapters[0].charts] == [True] * 24 + [False] * 6


def test_lower_and_upper_are_one_column() -> None:
    table = by_itself({"a": ["x"], "lower": [0.1], "upper": [0.2], "f_lower": [None], "f_upper": [1.0], "n": [1200]})
    assert table["heads"] == ["a", "interval", "f interval", "rows"]
    assert table["rows"] == [["x", "0.100 to 0.200", "up to 1", "1,200"]]


def test_a_phase_that_is_not_judged_here_has_no_outcome() -> None:
    live = measured("accuracy", 0.5, 0.4, 0.6, check="quality", phase=Phase.LIVE)
    standard = parse_standard({"extends": "none", "accuracy": {"at_least": 0.8, "phases": ["release"]}}, Task.BINARY)
    found = Evidence(subject=DIGEST, holdout=DIGEST, measurements=(live,))
    (chapter,) = chapters_of(standard, found, judge(standard, found))
    assert chapter.measurements[0].outcome is None


def test_slices_that_say_the_same_share_a_row_and_slices_nobody_asked_for_wait() -> None:
    given = [measured("robust_drop", 0.2, 0.1, 0.3, check="robustness", slice=cut) for cut in ("", "column=a")]
    given += [
        measured("robust_drop", value, 0.1, 0.5, check="robustness", slice=f"fault={value}") for value in (0.3, 0.4)
    ]
    (chapter,) = chapters_of(*evidence(*given))
    rows = shown_chapter(chapter, 1)["measured"]
    assert [row["slices"] for row in rows["open"]] == [["", "column=a"]]
    assert [row["slices"] for row in rows["more"]] == [["fault=0.3"], ["fault=0.4"]]


def test_points_of_the_test_score_link_to_their_evidence(view: ReportView) -> None:
    columns: dict[str, list[Any]] = {
        "section": ["features and data", "features and data"],
        "test": ["data-2", "data-4"],
        "title": ["Every feature is of use", "Nothing else is used"],
        "points": [1.0, 0.0],
        "how": ["automatic", "none"],
        "sentence": ["each was shuffled", "nobody knows"],
        "evidence": ["exhibit:importance, file:contract.json", ""],
        "raises": ["", "ask somebody"],
    }
    score = ChartView(
        name="ml_test_score", title="The ML Test Score", note="It is 1. A point is earned.", columns=columns
    )
    kept = [chapter for chapter in view.chapters if chapter.check == "explanation"]
    chapter = ChapterView(check="test_score", title="ML Test Score", summary="It is 1.", charts=(score,))
    html = render_report(structs.replace(view, chapters=(*kept, chapter)))
    page = Words(html)
    assert "1 of 2 points" in page.words
    assert "A point is earned." in page.words
    assert page.words.count("It is 1.") == 2, "at a glance and in its chapter, and no third time"
    told = re.search(r"Evidence: (.*?)</p>", html)
    assert told is not None
    assert told[1].startswith('<a href="#chapter-1"><bdi>importance</bdi></a>, <code>')
    assert "file:contract.json" in told[1]
