"""The data of live traffic: the list of columns, and one column.

In: words of a link. Out: what ``views.dashboard.data`` shows. A column's name is the rest of the path, whatever signs
are in it.
"""

from __future__ import annotations

from urllib.parse import urlencode

from roadworthy.errors import UsageError
from roadworthy.views.dashboard.data import SHOWS, Choice, column_page, data_list
from roadworthy.web.desk import Asked, Desk, Door, Page

__all__ = ["DOORS"]

_LONGEST = 200
_ROWS = ("window", "span")


def _list(desk: Desk, asked: Asked) -> Page:
    span = asked.span(desk)
    choice = Choice(
        q=asked.query.get("q", "")[:_LONGEST],
        show=_one_of(asked, "show", tuple(SHOWS)),
        page=_page(asked),
        window=asked.query.get("window", ""),
    )
    listed = data_list(desk.site, span, choice)
    shown = {
        "d": listed,
        "choice": choice,
        "shows": SHOWS,
        "span": span,
        "keep": _kept({"q": choice.q, "show": choice.show if choice.show != "all" else "", "window": choice.window}),
        "on": _kept({"window": choice.window, "span": asked.query.get("span", "")}),
    }
    return Page("data.html.j2", "Data", shown)


def _column(desk: Desk, asked: Asked) -> Page:
    name = asked.place["column"]
    span = asked.span(desk)
    rows = _one_of(asked, "rows", _ROWS)
    window = asked.query.get("window", "")
    found = column_page(desk.site, name, span, window=window, together=rows == "span")
    shown = {
        "c": found,
        "span": span,
        "rows": rows,
        "keep": _kept({"window": window, "rows": rows if rows != "window" else ""}),
        "kept_span": _kept({"rows": rows if rows != "window" else ""}) or "rows=window",
        "back": _kept({"window": window}),
    }
    return Page("data_column.html.j2", name[:80] or "Column", shown)


def _one_of(asked: Asked, word: str, known: tuple[str, ...]) -> str:
    found = asked.query.get(word, "") or known[0]
    if found not in known:
        raise UsageError(f"{word} {found[:40]!r} means nothing here", next_step=f"one of {', '.join(known)}")
    return found


def _page(asked: Asked) -> int:
    text = asked.query.get("page", "") or "1"
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise UsageError(f"page {text[:20]!r} is none", next_step="a number from 1 on")
    return int(text)


def _kept(words: dict[str, str]) -> str:
    """The rest of a link, without what is empty."""
    return urlencode({name: value for name, value in words.items() if value})


DOORS = (Door("/data", _list, "data"), Door("/data/{column:path}", _column, "data"))
