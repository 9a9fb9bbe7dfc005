"""The page: everything of the view is on it, as text, whatever the text is, and nothing from outside is."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from roadworthy.formats.report import (
    ChapterState,
    ChapterView,
    ChartView,
    DataView,
    MeasureRow,
    MonitoringView,
    ProvenanceView,
    ReportView,
    RequirementRow,
    StageRow,
    WatchRow,
    render_report,
)
from roadworthy.formats.report.bars import interval_bar
from roadworthy.formats.report.pictures import checked_svg
from roadworthy.formats.report.rendering import MOST_SIGNS
from roadworthy.records.data import FeatureInfo
from roadworthy.records.evidence import Finding, Measurement, Phase
from roadworthy.records.verdict import Outcome, Readiness, RequirementVerdict, Waiver
from roadworthy.standard import CATALOGUE

XMLNS = 'xmlns="http://www.w3.org/2000/svg"'


class Page(HTMLParser):
    """Tags, attributes and text as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words += data


def minimal(**changes: Any) -> ReportView:
    fields: dict[str, Any] = {
        "project": "p",
        "version": "v1",
        "when": "now",
        "task": "binary",
        "target": "y",
        "readiness": Readiness.READY,
        "sentence": "All is met.",
    }
    return ReportView(**{**fields, **changes})


def requirement(outcome: Outcome, **measured: Any) -> RequirementRow:
    verdict = RequirementVerdict(
        requirement="accuracy >= 0.8",
        metric="accuracy",
        phase=Phase.RELEASE,
        outcome=outcome,
        sentence=f"It is {outcome}.",
        measurement=Measurement(metric="accuracy", **measured) if measured else None,
    )
    return RequirementRow(verdict=verdict, at_least=0.8)


def test_everything_in_the_view_is_on_the_page(report: ReportView) -> None:
    words = Page(render_report(report)).words
    assert "Not ready" in words
    for row in report.requirements:
        assert row.verdict.requirement in words
        assert row.verdict.sentence in words
    for stage in report.stages:
        assert stage.did in words
        assert stage.after in words
    for finding in report.findings:
        assert finding.sentence in words
    for candidate in (*report.training, *report.training_failures):
        assert str(getattr(candidate, "name", candidate)) in words
    for chart in report.charts:
        assert chart.title in words
    assert report.data is not None
    for text in (*report.data.reasons, *report.data.repairs, *report.excluded, *report.provenance.digests.values()):
        assert text in words
    for expected in ("0.893", "0.881 to 0.905", "About 410 more rows", "611 entities", "Clopper–Pearson", "48.3 kB"):
        assert expected in words
    assert report.provenance.standard.strip().replace("\n", " ") in words.replace("\n", " ")


def test_the_page_refers_to_nothing_outside_and_runs_nothing(report: ReportView) -> None:
    html = render_report(report)
    page = Page(html)
    assert not {"script", "iframe", "object", "embed", "img", "form", "base"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in {"href", "src", "action"}:
            assert value.startswith("#") or value == "data:,"
    policy = html.index("Content-Security-Policy")
    assert "default-src 'none'" in html[policy : policy + 200]
    assert policy < html.index("<style")
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", html)


def test_inner_links_lead_somewhere(report: ReportView) -> None:
    attributes = Page(render_report(report)).attributes
    known = {value for name, value in attributes if name == "id"}
    assert {value[1:] for name, value in attributes if name == "href" and value.startswith("#")} <= known
    assert len(known) == sum(name == "id" for name, _ in attributes), "an identifier stands twice"


def test_equal_views_give_equal_pages_and_views_are_plain_data(report: ReportView) -> None:
    assert render_report(report) == render_report(report)
    assert msgspec.json.decode(msgspec.json.encode(report), type=ReportView) == report


@pytest.mark.parametrize("readiness", Readiness)
def test_readiness_is_told_by_word(readiness: Readiness) -> None:
    words = Page(render_report(minimal(readiness=readiness))).words
    assert {Readiness.READY: "Ready", Readiness.NOT_PROVEN: "Not proven", Readiness.NOT_READY: "Not ready"}[
        readiness
    ] in words


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (Outcome.PASS, "passes"),
        (Outcome.FAIL, "fails"),
        (Outcome.ERROR, "check broke"),
        (Outcome.INSUFFICIENT, "not proven"),
        (Outcome.WAIVED, "waived"),
    ],
)
def test_every_outcome_is_told_by_word_with_and_without_a_measurement(outcome: Outcome, word: str) -> None:
    for measured in ({}, {"value": 0.8}, {"value": 0.8, "lower": 0.7, "upper": 0.9, "n": 10}):
        assert word in Page(render_report(minimal(requirements=(requirement(outcome, **measured),)))).words


def test_what_is_not_met_stands_first() -> None:
    rows = (requirement(Outcome.PASS, value=0.9), requirement(Outcome.FAIL, value=0.7))
    words = Page(render_report(minimal(requirements=rows))).words
    assert words.index("It is fail.") < words.index("It is pass.")


def test_a_figure_is_never_rounded_onto_its_bound() -> None:
    row = requirement(Outcome.FAIL, value=0.79996, lower=0.79, upper=0.7999)
    words = Page(render_report(minimal(requirements=(row,)))).words
    assert "0.79996" in words
    assert "0.799960" not in words, "no more digits than it takes"
    assert "0.790 to 0.7999" in words


def test_an_exhibit_without_a_picture_is_a_table_and_a_long_one_says_what_it_shows() -> None:
    chart = ChartView(name="brand_new", title="New", columns={"a": list(range(5000, 6000)), "b": ["x"] * 1000})
    page = Page(render_report(minimal(charts=(chart,))))
    assert "200 of 1,000 rows" in page.words
    assert "188 more rows" in page.words
    assert "5,000" in page.words
    assert "5,199" in page.words
    assert "5,200" not in page.words
    assert page.tags.count("details") == 1
    short = ChartView(name="brand_new", title="New", columns={"a": list(range(12))})
    assert "details" not in Page(render_report(minimal(charts=(short,)))).tags


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "\u202eתירבע \u2066x",
    "{{ 7*7 }}{% raw %}",
    "\x00\x1b[31m\x7f",
    "\ud800",
    "x" * 10_000,
    "</style></title></svg><b>",
    "",
)


def hostile_finding(text: str) -> Finding:
    return Finding(
        kind=text,
        subject=text or "s",
        grade="fails",
        sentence=text or "s",
        question=text or "q",
        answer=text or "a",
        check=text,
    )


def hostile_chapter(text: str) -> ChapterView:
    measured = Measurement(metric=text, value=1.0, n=3, slice=text or "s", method=text or "m", reason=text or "r")
    return ChapterView(
        check=text,
        title=text,
        question=text or "q",
        summary=text or "s",
        state=ChapterState.FAILS,
        findings=(hostile_finding(text),) * 9,
        measurements=(MeasureRow(measurement=measured, outcome=Outcome.FAIL),) * 14,
        charts=tuple(
            ChartView(name=f"{text.replace(':', '')}:{i}", title=text, note=text or "n", columns={text: [text] * 14})
            for i in range(7)
        ),
    )


def hostile(text: str) -> ReportView:
    """The text in every place that can hold one."""
    verdict = RequirementVerdict(
        requirement=text,
        metric=text,
        phase=Phase.RELEASE,
        outcome=Outcome.WAIVED,
        sentence=text,
        measurement=Measurement(
            metric=text, value=1.0, lower=0.5, upper=2.0, n=3, slice=text or "s", method=text or "m"
        ),
        waiver=Waiver(requirement=text, person=text, reason=text, expires=text),
    )
    return minimal(
        project=text,
        version=text or "v",
        when=text,
        task=text or "t",
        target=text or "y",
        rows_from=text or "r",
        not_asked={text: text},
        notes=(text,),
        chapters=(hostile_chapter(text),),
        sentence=text,
        next_steps=(text,),
        stages=(StageRow(stage=text, did=text, before=text or "b", after=text),),
        requirements=(RequirementRow(verdict=verdict, at_least=0.8, at_most=3.0),),
        findings=(hostile_finding(text), structs.replace(hostile_finding(text), answer="")),
        training_failures={text: text},
        data=DataView(
            source=text,
            snapshot=text,
            rows=3,
            columns=2,
            reasons={text: 1},
            repairs={text: 2},
            hashed=(text,),
            notes=(text,),
            split=text or "s",
            holdout=text or "h",
        ),
        features=(FeatureInfo(name=text, definition=text, type=text),),
        excluded={text: text},
        monitoring=MonitoringView(
            watched=(WatchRow(requirement=text, measured=text, alert=text),),
            rules=(text,),
            reference=text or "r",
            alarm_budget=text or "a",
            notify=(text,),
        ),
        provenance=ProvenanceView(
            digests={text or "d": text}, standard=text or "s", versions={text: text}, signature=text or "s"
        ),
        charts=(ChartView(name=text, title=text, note=text or "n", alt=text, columns={text: [text, 1, None]}),),
    )


PLAIN_TAGS = {long: Page(render_report(hostile("plain" * (20 if long else 1)))).tags for long in (False, True)}
"""A table of long texts takes the page's whole width, one of short texts half of it."""


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_hostile_text_is_shown_as_text(text: str) -> None:
    html = render_report(hostile(text))
    page = Page(html)
    assert page.tags == PLAIN_TAGS[len(text) > MOST_SIGNS]
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "\x00" not in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    html.encode("utf-8")
    if text.startswith("<script"):
        assert text in page.words
    assert len(html) < 800_000


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=300).map(lambda text: text.replace("`", "")).filter(lambda text: text not in CATALOGUE))
def test_no_text_changes_the_structure_of_the_page(text: str) -> None:
    assert Page(render_report(hostile(text))).tags == PLAIN_TAGS[len(text) > MOST_SIGNS]


def test_a_long_text_is_cut_and_its_longer_form_is_in_its_title() -> None:
    page = Page(render_report(minimal(excluded={"a" * 10_000: "why"})))
    assert "a" * 200 not in page.words
    assert any(name == "title" and value.startswith("a" * 1000) for name, value in page.attributes)


def test_a_wide_project_stays_small(report: ReportView) -> None:
    columns = {f"column_{i}": [0.1 * i] * 2000 for i in range(50)}
    wide = ChartView(name="wide", title="Wide", columns=columns)
    many = msgspec.structs.replace(
        report,
        charts=(*report.charts, wide),
        excluded={f"column_{i}": "a reason of some length" for i in range(50)},
        requirements=report.requirements * 8,
    )
    assert len(render_report(many).encode()) < 3_000_000


@pytest.mark.parametrize(
    "svg",
    [
        f"<svg {XMLNS}><script>alert(1)</script></svg>",
        f"<svg {XMLNS} onload='alert(1)'/>",
        f"<svg {XMLNS}><foreignObject/></svg>",
        f"<svg {XMLNS}><image href='x.png'/></svg>",
        f"<svg {XMLNS}><g href='https://example.org'/></svg>",
        f"<svg {XMLNS}><style>@import 'x.css'</style></svg>",
        f"<svg {XMLNS}><rect fill='url(x.svg#a)'/></svg>",
        f"<!DOCTYPE svg><svg {XMLNS}/>",
        f"<svg {XMLNS}><!-- --></svg>",
    ],
)
def test_a_picture_that_is_more_than_a_drawing_is_refused(svg: str) -> None:
    with pytest.raises(ValueError, match="picture"):
        render_report(minimal(charts=(ChartView(name="x", title="x", svg=svg),)))
    with pytest.raises(ValueError, match="picture"):
        checked_svg(svg)


numbers = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


@settings(max_examples=200, deadline=None)
@given(value=numbers, ends=st.tuples(numbers, numbers), bounds=st.tuples(numbers, numbers))
def test_value_interval_and_bounds_are_inside_the_drawing(
    value: float | None, ends: tuple[float | None, float | None], bounds: tuple[float | None, float | None]
) -> None:
    measured = Measurement(metric="x", value=value, lower=ends[0], upper=ends[1])
    verdict = RequirementVerdict(
        requirement="x", metric="x", phase=Phase.RELEASE, outcome=Outcome.PASS, sentence="", measurement=measured
    )
    drawing = interval_bar(RequirementRow(verdict=verdict, at_least=bounds[0], at_most=bounds[1]))
    assert "nan" not in drawing
    assert "inf" not in drawing
    for place in re.findall(r'(?:cx|x)="(-?[\d.]+)"|[MH](-?[\d.]+)', drawing):
        assert -0.1 <= float(place[0] or place[1]) <= 261


def contrast(first: str, second: str) -> float:
    def light(colour: str) -> float:
        if len(colour) == 4:
            colour = "#" + "".join(sign * 2 for sign in colour[1:])
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dim = sorted((light(first), light(second)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_words_stand_out_in_both_schemes() -> None:
    css = (resources.files("roadworthy.formats.report") / "templates" / "look.css").read_text("utf-8")
    light, dark = (dict(re.findall(r"--([\w-]+):(#[0-9a-f]+)", part)) for part in css.split("@media", 2)[:2])
    pairs = [(tone, f"{tone}-soft") for tone in ("ready", "open", "bad", "waived")]
    pairs += [(word, ground) for word in ("ink", "muted", "link") for ground in ("ground", "card", "tint")]
    for scheme in (light, dark):
        for word, ground in pairs:
            assert contrast(scheme[word], scheme[ground]) >= 4.5, (word, ground)


def test_the_page_can_be_written_as_it_is(report: ReportView, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render_report(report), encoding="utf-8")
    assert path.stat().st_size < 1_000_000
