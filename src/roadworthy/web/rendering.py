"""From a ``Page`` to HTML.

Owns the templates, their filters, the navigation and the static files. Law: what a template writes is escaped; pictures
lose their own style rules, which stand in ``charts.css``, because the content security policy allows none inside.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from roadworthy.formats import wording
from roadworthy.formats.report.pictures import checked_svg
from roadworthy.formats.report.rendering import environment, look
from roadworthy.views.dashboard.spans import SPANS, instant_words

__all__ = ["NAVIGATION", "render", "static_file"]

NAVIGATION = (
    ("overview", "Overview", "/"),
    ("live", "Live", "/live"),
    ("data", "Data", "/data"),
    ("quality", "Quality", "/quality"),
    ("predictions", "Predictions", "/predictions"),
    ("alerts", "Alerts", "/alerts"),
    ("versions", "Versions", "/versions"),
    ("runs", "Runs", "/runs"),
)
"""Section, words, path; in the order of the navigation."""

_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
_ATTRIBUTE = re.compile(r' style="[^"]*"')
_STATIC = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


def render(template: str, **shown: Any) -> str:
    """The whole HTML text of a page."""
    return _environment().get_template(template).render(**shown)


def static_file(name: str) -> tuple[bytes, str] | None:
    """A file that pages refer to, with its media type; None where there is none."""
    return _static().get(name)


@lru_cache(maxsize=1)
def _static() -> dict[str, tuple[bytes, str]]:
    folder = resources.files("roadworthy.web") / "static"
    files = {
        one.name: (one.read_bytes(), _STATIC[one.name.rpartition(".")[2]])
        for one in folder.iterdir()
        if one.name.rpartition(".")[2] in _STATIC
    }
    files["look.css"] = (look().encode(), _STATIC["css"])
    files["charts.css"] = (_chart_rules().encode(), _STATIC["css"])
    return files


def _chart_rules() -> str:
    from roadworthy.measures.charts.theme import style_sheet  # noqa: PLC0415 - Altair takes a second to import

    return style_sheet()


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    folder = resources.files("roadworthy.web") / "templates"
    made = environment([one.name for one in folder.iterdir() if one.name.endswith(".j2")], folder)
    made.filters |= {"picture": _picture, "instant": _instant, "ago": _ago, "per_cent": _per_cent}
    made.globals |= {"navigation": NAVIGATION, "spans": SPANS}
    return made


def _picture(svg: str) -> Markup:
    return Markup(_ATTRIBUTE.sub("", _STYLE.sub("", checked_svg(svg))))  # noqa: S704 - checked to be a drawing


def _instant(at_us: int) -> Markup:
    """An instant for people and for machines; empty before the first second."""
    if at_us <= 0:
        return Markup("")
    iso = datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="seconds")
    return Markup('<time datetime="{}">{}</time>').format(iso, instant_words(at_us))


def _ago(at_us: int, now_us: int) -> Markup:
    """How long ago an instant is, the instant itself as its title.

    >>> str(_ago(1_000_000, 61_000_000))
    '<time datetime="1970-01-01T00:00:01+00:00" title="1970-01-01 00:00 UTC">1 min 00 s ago</time>'
    """
    seconds = max(0.0, (now_us - at_us) / 1e6)
    words = f"{seconds / 86_400:.0f} days ago" if seconds > 2 * 86_400 else f"{wording.duration(seconds)} ago"
    iso = datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="seconds")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso, instant_words(at_us), words)


def _per_cent(share: float | None) -> str:
    """A share for people.

    >>> _per_cent(0.1234), _per_cent(None), _per_cent(0.00012)
    ('12.3 %', '–', '0.0120 %')
    """
    return wording.NOTHING if share is None else f"{wording.number(100 * share)} %"
