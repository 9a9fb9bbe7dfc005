"""Versions: the table, one of them, its report, and two side by side.

In: words of a request. Out: pages of ``views.dashboard.versions``. Law: a report was made as a page of its own,
with its style inside; it is given with a policy that allows that style, and no script, no form, nothing from elsewhere.
"""

from __future__ import annotations

from roadworthy.errors import UnknownName, UsageError
from roadworthy.records.version import Version
from roadworthy.views.dashboard.versions import beside, report_of, version_list, version_sheet
from roadworthy.web.desk import Asked, Desk, Door, File, Moved, Page

__all__ = ["DOORS"]

_OF_A_REPORT = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
}


def _list(desk: Desk, asked: Asked) -> Page:
    return Page("versions.html.j2", "Versions", {"list": version_list(desk.site, _turn(asked))})


def _one(desk: Desk, asked: Asked) -> Page:
    version = _known(desk, asked.place["version"])
    return Page("version.html.j2", version.title, {"sheet": version_sheet(desk.site, version.number)})


def _report(desk: Desk, asked: Asked) -> File:
    content = report_of(desk.site, _known(desk, asked.place["version"]))
    return File(content, "text/html; charset=utf-8", headers=_OF_A_REPORT)


def _choose(desk: Desk, asked: Asked) -> Moved:
    """From a form with two numbers to the page of these two."""
    first, second = (_known(desk, asked.query.get(name, "")) for name in ("first", "second"))
    return Moved(f"/versions/{first.number}/beside/{second.number}")


def _beside(desk: Desk, asked: Asked) -> Page:
    first, second = (_known(desk, asked.place[name]) for name in ("first", "second"))
    if first.number == second.number:
        raise UsageError(f"{first.title} is one version, and two are compared", next_step="choose two on /versions")
    shown = beside(desk.site, first.number, second.number)
    return Page("beside.html.j2", f"{first.title} and {second.title}", {"two": shown})


def _known(desk: Desk, text: str) -> Version:
    """The version that a part of the path means; UnknownName names those that there are."""
    numbers = [str(one.number) for one in desk.site.versions()]
    if text not in numbers:
        raise UnknownName("version", text[:40], numbers, next_step="open /versions, which lists them")
    return desk.site.version(int(text))


def _turn(asked: Asked) -> int:
    text = asked.query.get("page", "1")
    if not text.isdecimal() or len(text) > 9:
        raise UsageError(f"{text[:40]!r} is no page", next_step="open /versions")
    return int(text)


DOORS = (
    Door("/versions", _list, "versions"),
    Door("/versions/beside", _choose, "versions"),
    Door("/versions/{version}", _one, "versions"),
    Door("/versions/{version}/report", _report, "versions"),
    Door("/versions/{first}/beside/{second}", _beside, "versions"),
)
