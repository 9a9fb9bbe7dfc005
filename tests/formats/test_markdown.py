"""Markdown for a pull request: rendered, it says what the verdict says, and foreign text stays text."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from msgspec import structs

from roadworthy.formats.markdown import MOST, escaped, markdown
from roadworthy.records.verdict import Outcome, Readiness
from roadworthy.views import inspection_view

RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
HOSTILE = (
    "a|b",
    "`code` ``x``",
    "<script>alert(1)</script>",
    "</details><img src=x onerror=alert(1)>",
    "**bold** _it_ __b__ ~~s~~",
    "[text](https://example.org) ![i](x)",
    "# heading",
    "- item",
    "1. item",
    "    code",
    "\\| \\",
    "&lt;b&gt; &amp;",
    "a\n\n| x | y |\n| --- | --- |",
    "$x^2$ $$y$$",
    "---",
    "===",
    "<!-- gone",
    "x" * 5_000,
    "\u202eevil\x1b[31m",
)


class Rendered(HTMLParser):
    """Tags and text of rendered Markdown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""
        self.feed(RENDERER.render(text))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not attrs or tag in {"td", "th", "ol"}, attrs
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words += data


def read(text: str) -> str:
    """Rendered text without the signs that keep names from being addresses."""
    return Rendered(text).words.replace("\u200b", "")


def bare(text: str) -> str:
    """The letters alone: spaces are the renderer's own, and what keeps names from being addresses is no letter."""
    return "".join(text.replace("\u200b", "").split())


def test_it_says_what_the_verdict_says(made_up: Callable[..., Any]) -> None:
    view = inspection_view(made_up())
    words = read(markdown(view))
    assert words.startswith("❌ Not ready: loan.onnx on march.parquet")
    assert view.sentence in words
    for row in view.requirements:
        assert row.verdict.requirement in words
        if row.verdict.outcome is not Outcome.PASS:
            assert row.verdict.sentence in words
    for finding in view.findings:
        assert (finding.sentence in words) == (finding.grade != "notes" and not finding.answer)
    for chapter in view.chapters:
        assert f"{chapter.title}\n{chapter.summary}" in words
    for check, reason in view.not_asked.items():
        assert f"{check}: {reason}" in words
    assert "About 30,000 more rows would settle it." in words
    assert "Is duration known when the prediction is made?" in words


def test_what_is_not_met_stands_first(made_up: Callable[..., Any]) -> None:
    text = markdown(inspection_view(made_up()))
    assert text.index("**fails**") < text.index("**not proven**") < text.index("~ waived") < text.index("✓ passes")


@pytest.mark.parametrize("readiness", Readiness)
def test_readiness_is_told_by_word(readiness: Readiness, made_up: Callable[..., Any]) -> None:
    view = structs.replace(inspection_view(made_up()), readiness=readiness)
    assert read(markdown(view)).splitlines()[0].lower()[2:].startswith(readiness.value)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_hostile_text_changes_nothing_but_the_text(text: str, made_up: Callable[..., Any]) -> None:
    plain = Rendered(markdown(inspection_view(made_up(3, "plain"))))
    hostile = Rendered(markdown(inspection_view(made_up(3, text))))
    assert hostile.tags == plain.tags
    shown = bare(text.replace("\u202e", "\ufffd").replace("\x1b", "␛"))
    if len(shown) <= 60:
        assert bare(hostile.words) == bare(plain.words).replace("plain", shown)
    else:
        assert shown[:60] in bare(hostile.words)


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_text_is_rendered_as_itself(text: str) -> None:
    for before in ("- ", "| a |\n| --- |\n| ", "### "):
        rendered = Rendered(f"{before}{escaped(text)}")
        assert not set(rendered.tags) - {"ul", "li", "table", "thead", "tbody", "tr", "th", "td", "h3"}
        assert rendered.tags.count("td") <= 1


@pytest.mark.parametrize(
    "text", ["@octocat", "mail@example.org", "#12", "GH-12", "https://x.org", "www.x.org", ":tada:"]
)
def test_nobody_is_called_and_nothing_is_linked(text: str) -> None:
    assert not re.search(r"@\w|#\d|(?i:gh-)\d|://\w|(?i:www)\.\w|:\w+:", escaped(f"see {text} now").replace("&#", ""))
    assert read(f"x {escaped(text)}").strip() == f"x {text}"


@pytest.mark.parametrize(("columns", "text"), [(50, ""), (400, ""), (400, "|" * 10_000), (60, "\U0001f600" * 10_000)])
def test_it_is_never_longer_than_a_comment_may_be(columns: int, text: str, made_up: Callable[..., Any]) -> None:
    view = inspection_view(made_up(columns, text))
    many = structs.replace(view, requirements=view.requirements * 40, findings=view.findings * 40)
    whole = markdown(many)
    assert len(whole.encode("utf-16-le")) // 2 < MOST
    assert whole.count("<details>") == whole.count("</details>")
    assert re.search(r"more (requirements|measurements|checks) do not fit here|… and [\d,]+ more", whole)


def test_equal_views_give_equal_texts(made_up: Callable[..., Any]) -> None:
    assert markdown(inspection_view(made_up())) == markdown(inspection_view(made_up()))
