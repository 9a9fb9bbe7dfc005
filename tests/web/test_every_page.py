"""Every page in a real browser: two widths, both schemes, no error, no request outside, no grave fault."""

from __future__ import annotations

import os
from collections.abc import Callable
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
SHOWN_ON_PHONES = ("overview", "alert")
PICTURES_TO = os.environ.get("PICTURES_TO", "")
"""The folder of the documents' pictures, which ``make pictures`` makes anew."""
WIDE = 1440


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
    for width, scheme in ((WIDE, "light"), (390, "dark")):
        one = opened(places[place], width=width, scheme=scheme, status=404 if place == "missing" else 200)
        assert one.page.locator("h1").count() == 1
        assert one.overflowing() == []
        assert one.faults() == []
        if PICTURES_TO and place in (SHOWN if width == WIDE else SHOWN_ON_PHONES):
            name = place if width == WIDE else f"{place}-phone"
            one.page.screenshot(path=Path(PICTURES_TO) / f"{name}.png")
