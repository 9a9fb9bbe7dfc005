"""Every page in a real browser: two widths, both schemes, paper; no error, no request outside, no grave fault."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from roadworthy.lifecycle import watching
from roadworthy.lifecycle.alerts.rows import all_alerts

PLACES = (
    "overview",
    "live",
    "data",
    "column",
    "quality",
    "rows",
    "predictions",
    "prediction",
    "alerts",
    "alert",
    "versions",
    "version",
    "beside",
    "runs",
    "run",
    "window",
    "requirement",
    "score",
    "missing",
)


SHOWN = ("overview", "live", "data", "column", "quality", "prediction", "alert", "beside")
PICTURES = {(place, 1440, "light"): place for place in SHOWN} | {
    (place, 390, "dark"): f"{place}-phone" for place in ("overview", "alert")
}
PICTURES_TO = os.environ.get("PICTURES_TO", "")
"""The folder of the documents' pictures, which ``make pictures`` makes anew."""
WIDE, NARROW = 1440, 390
PAPER = 688
"""Pixels between the margins of a sheet of A4: 182 mm at 96 a 25.4 mm."""


@pytest.fixture(scope="module")
def places(dash: Any) -> dict[str, str]:
    """Where each page is, in this project."""
    site = dash.site
    with site.reading() as connection:
        series = site.series(connection)
        newest = watching.summaries(connection, site.name, series, newest=6)[0]
        (alert, *_) = all_alerts(connection, site.name, 1)
    return {
        "overview": "/",
        "live": "/live?span=1h",
        "data": "/data",
        "column": "/data/device",
        "quality": "/quality",
        "rows": "/quality/rows?which=wrong&slice=device%3Dphone",
        "predictions": "/predictions",
        "prediction": f"/predictions/{'1':0>6}{'3':0>10}/0",
        "alerts": "/alerts",
        "alert": f"/alerts/{alert.number}",
        "versions": "/versions",
        "version": "/versions/2",
        "beside": "/versions/1/beside/2",
        "runs": "/runs",
        "run": "/runs",
        "window": f"/windows/{series}/{newest.number}",
        "requirement": "/requirements/accuracy_low",
        "score": "/score",
        "missing": "/no-such-page",
    }


@pytest.mark.parametrize("place", PLACES)
def test_a_page_is_sound(opened: Callable[..., Any], places: dict[str, str], place: str) -> None:
    one = opened(places[place], width=WIDE, status=404 if place == "missing" else 200)
    assert one.page.locator("h1").count() == 1
    for width, scheme in product((WIDE, NARROW), ("light", "dark")):
        one.page.set_viewport_size({"width": width, "height": 900})
        one.page.emulate_media(color_scheme=scheme)
        assert one.overflowing() == [], (width, scheme)
        assert one.faults() == [], (width, scheme)
        if PICTURES_TO and (name := PICTURES.get((place, width, scheme))):
            one.page.screenshot(path=Path(PICTURES_TO) / f"{name}.png")
    one.page.emulate_media(media="print", color_scheme="dark")
    one.page.set_viewport_size({"width": PAPER, "height": 1_000})
    assert one.overflowing() == [], "on paper"
    assert one.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
