"""The page in a real browser: at any width, in both schemes, without a network, a script or an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from roadworthy.formats.report import ReportView, render_report
from roadworthy.views import inspection_view, with_pictures

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
OVERFLOWING = """() => [...document.querySelectorAll('body *')]
  .filter(e => !e.closest('.scroll') && !e.closest('.visually-hidden') && !e.closest('.skip') && !e.closest('svg')
    && !e.closest('thead') && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map(e => e.tagName + '.' + e.className)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="module", params=["run", "inspection"])
def page_file(
    request: pytest.FixtureRequest,
    report: ReportView,
    made_up: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The page of a run, and that of an inspection of 50 columns in which every check gave something."""
    view = report if request.param == "run" else with_pictures(inspection_view(made_up(50), when="now"))
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_report(view), encoding="utf-8")
    return path


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (768, "light"), (2560, "dark")])
def test_no_sideways_scrolling_no_errors_no_requests(browser: object, page_file: Path, width: int, scheme: str) -> None:
    said: list[str] = []
    asked: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[attr-defined]  # the library is optional
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OVERFLOWING) == []
    page.evaluate("for (const all of document.querySelectorAll('details')) all.open = true")
    assert page.evaluate(OVERFLOWING) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert said == []
    assert [url for url in asked if url != page_file.as_uri() and not url.startswith("data:")] == []
    page.close()


def test_endless_words_do_not_widen_the_page(browser: object, report: ReportView, tmp_path: Path) -> None:
    endless = "x" * 10_000
    rows = tuple(
        structs.replace(row, verdict=structs.replace(row.verdict, requirement=endless, sentence=endless))
        for row in report.requirements
    )
    view = structs.replace(
        report, project=endless, sentence=endless, excluded={endless: endless}, requirements=rows, next_steps=(endless,)
    )
    path = tmp_path / "endless.html"
    path.write_text(render_report(view), encoding="utf-8")
    page = browser.new_page(viewport={"width": 390, "height": 900})  # type: ignore[attr-defined]  # as above
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_everything_that_opens_or_scrolls_is_reached_by_the_keyboard(browser: object, page_file: Path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 900})  # type: ignore[attr-defined]  # as above
    page.goto(page_file.as_uri())
    wanted = page.evaluate(
        "[...document.querySelectorAll('a,summary,[tabindex=\"0\"]')].filter(e => e.checkVisibility()).length"
    )
    seen = set()
    for _ in range(wanted + 2):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    assert len(seen) >= wanted
    page.close()


def test_letters_in_pictures_are_legible_at_390_pixels(browser: object, page_file: Path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 900})  # type: ignore[attr-defined]  # as above
    page.goto(page_file.as_uri())
    heights = page.evaluate(
        """() => [...document.querySelectorAll('.rw-chart')].map(svg => {
             const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
             const sizes = [...svg.querySelectorAll('text')].map(t => parseFloat(t.getAttribute('font-size')));
             return scale * Math.min(...sizes);
           })"""
    )
    assert heights
    assert min(heights) >= 8.5
    page.close()


def test_it_prints_to_a_pdf_in_light_colours(browser: object, page_file: Path, tmp_path: Path) -> None:
    page = browser.new_page(color_scheme="dark")  # type: ignore[attr-defined]  # as above
    page.goto(page_file.as_uri())
    path = tmp_path / "report.pdf"
    page.pdf(path=str(path), format="A4", print_background=True)
    assert path.read_bytes().startswith(b"%PDF")
    page.emulate_media(media="print", color_scheme="dark")
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert ink == "rgb(31, 41, 51)"
    page.close()
