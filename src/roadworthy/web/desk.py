"""What every page has at hand: the site to look at, the project for calls, and the forms of an answer.

Out of a page comes a ``Page`` (a template and what it shows), a ``Moved`` (after something was done) or a ``File``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roadworthy.views.dashboard import Site, Span

__all__ = ["Answer", "Asked", "Desk", "Door", "File", "Moved", "Page"]


@dataclass(frozen=True, slots=True)
class Desk:
    """One dashboard: ``file`` is the project file that calls of ``api`` are given."""

    site: Site
    file: Path


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as a page sees it: ``place`` holds the parts of the path, ``query`` and ``form`` plain words.

    ``person`` is who signed in, empty where nobody has to. ``path`` is path and query, as it was asked.
    """

    path: str
    place: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str] = field(default_factory=dict)
    person: str = ""

    def span(self, desk: Desk, usual: str = "7d") -> Span:
        """The stretch of time that is looked at; UsageError where its words mean nothing."""
        return Span.parse(self.query, desk.site.now_us(), usual)


@dataclass(frozen=True, slots=True)
class Page:
    """A template of ``templates`` and what it shows.

    ``title`` is of the window, ``refresh_s`` after how many seconds the page looks again by itself (0: never),
    ``status`` the HTTP status.
    """

    template: str
    title: str
    shown: Mapping[str, Any]
    refresh_s: int = 0
    status: int = 200


@dataclass(frozen=True, slots=True)
class Moved:
    """Something was done (``words`` say what); go to ``to``, a path of our own."""

    to: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """Bytes as they are, such as a report; ``name`` makes it a download, ``headers`` stand in place of everybody's."""

    content: bytes
    kind: str
    name: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Page | Moved | File
Handler = Callable[[Desk, Asked], Answer]


@dataclass(frozen=True, slots=True)
class Door:
    """A path and who answers there. ``section`` is the entry of the navigation that it belongs to.

    ``method`` is GET for what is looked at and POST for what is done.
    """

    path: str
    handler: Handler
    section: str
    method: str = "GET"
