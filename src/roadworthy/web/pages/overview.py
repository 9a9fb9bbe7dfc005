"""Overview: the state of the model on one page; and the ML Test Score."""

from __future__ import annotations

from roadworthy.views.dashboard.overview import overview_of
from roadworthy.views.dashboard.test_score import score_of
from roadworthy.web.desk import Asked, Desk, Door, Page

__all__ = ["DOORS"]

_LOOK_AGAIN_S = 30


def _page(desk: Desk, asked: Asked) -> Page:
    del asked
    return Page("overview.html.j2", "Overview", {"view": overview_of(desk.site)}, refresh_s=_LOOK_AGAIN_S)


def _score(desk: Desk, asked: Asked) -> Page:
    del asked
    return Page("score.html.j2", "ML Test Score", {"score": score_of(desk.site)})


DOORS = (Door("/", _page, "overview"), Door("/score", _score, "overview"))
