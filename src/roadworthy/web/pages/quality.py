"""Quality: how good the model is now, one metric over windows, another threshold, and the rows of a release.

Nothing is changed here, the threshold explorer included.
"""

from __future__ import annotations

from urllib.parse import quote

from roadworthy.views.dashboard.quality import explore, held_out, metric_page, quality_of
from roadworthy.web.desk import Asked, Desk, Door, Page

__all__ = ["DOORS"]


def _page(desk: Desk, asked: Asked) -> Page:
    span = asked.span(desk)
    version, by = asked.query.get("version", ""), asked.query.get("by", "")
    shown = quality_of(desk.site, span, version=version, by=by)
    keep = _keep(version=version, by=by)
    return Page("quality.html.j2", "Quality", {"span": span, "q": shown, "keep": keep, "asked_version": version})


def _metric(desk: Desk, asked: Asked) -> Page:
    span = asked.span(desk)
    version, column = asked.query.get("version", ""), asked.query.get("slice", "")
    shown = metric_page(desk.site, span, asked.place["metric"], column=column, version=version)
    title = shown.title if shown else "Quality"
    keep = _keep(version=version, slice=column)
    return Page("quality_metric.html.j2", title, {"span": span, "m": shown, "keep": keep})


def _threshold(desk: Desk, asked: Asked) -> Page:
    span = asked.span(desk)
    shown = explore(desk.site, span, asked.query)
    names = ("version", "threshold", "false_alarm", "missed")
    keep = _keep(**{name: asked.query.get(name, "") for name in names})
    return Page("quality_threshold.html.j2", "Threshold explorer", {"span": span, "e": shown, "keep": keep})


def _rows(desk: Desk, asked: Asked) -> Page:
    shown = held_out(desk.site, asked.query)
    keep = _keep(**{name: asked.query.get(name, "") for name in ("version", "slice", "which")})
    return Page("quality_rows.html.j2", "Held-out rows", {"h": shown, "keep": keep})


def _keep(**words: str) -> str:
    """What else stands in the address, as a query string."""
    return "&".join(f"{name}={quote(word, safe='')}" for name, word in words.items() if word)


DOORS = (
    Door("/quality", _page, "quality"),
    Door("/quality/threshold", _threshold, "quality"),
    Door("/quality/rows", _rows, "quality"),
    Door("/quality/{metric}", _metric, "quality"),
)
