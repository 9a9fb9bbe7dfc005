"""What the lake keeps of a version's stages, and the page that was made of it.

In: a ``Site`` and a version. Out: records of stages, or None; the report's bytes. Laws: a record that is gone or
damaged costs its part of the page alone; a report is read as it was written.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import TypeVar

import msgspec

from roadworthy.adapters.lake import RECORD
from roadworthy.errors import StorageError, UnknownName
from roadworthy.records.version import Version
from roadworthy.views.dashboard.site import Site

__all__ = ["folder_of", "libraries_of", "record_of", "report_of"]

R = TypeVar("R", bound=msgspec.Struct)

_PAGE = "report.html"
_MADE_WITH = re.compile(r"<dt>Made with</dt><dd>(.*?)</dd>", re.DOTALL)
_PAIR = re.compile(r"<bdi[^>]*>(.*?)</bdi>\s*<bdi[^>]*>(.*?)</bdi>", re.DOTALL)


def folder_of(site: Site, version: Version, stage: str) -> Path | None:
    """Where a stage's result lies; None where the version has no such stage, or the lake no longer has it."""
    digest = version.lineage.get(stage, "")
    return site.lake.path(stage, digest) if digest and site.lake.has(stage, digest) else None


def record_of(site: Site, version: Version, stage: str, kind: type[R]) -> R | None:
    """A stage's record; None where it is gone. StorageError for one that does not parse."""
    folder = folder_of(site, version, stage)
    if folder is None:
        return None
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=kind)
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise StorageError(f"the stored result {folder} cannot be read: {error}") from error


def report_of(site: Site, version: Version) -> bytes:
    """The page that was made of a version; UnknownName where there is none."""
    page = _page(site, version)
    if page is None:
        raise UnknownName(
            "report of version",
            str(version.number),
            (),
            next_step="roadworthy run   # makes the report again, from what is there",
        )
    return page.read_bytes()


def libraries_of(site: Site, version: Version) -> dict[str, str]:
    """The libraries that a version was made with, as its report tells; empty where it does not."""
    page = _page(site, version)
    told = None if page is None else _MADE_WITH.search(page.read_text("utf-8", "replace"))
    return {} if told is None else {html.unescape(name): html.unescape(one) for name, one in _PAIR.findall(told[1])}


def _page(site: Site, version: Version) -> Path | None:
    if not version.report or not site.lake.has("report", version.report):
        return None
    page = site.lake.path("report", version.report) / _PAGE
    return page if page.is_file() else None
