"""What an inspection leaves on the disk: the page, JUnit XML, Markdown.

In: an inspection and the paths that are wanted. Out: files, each whole or not there at all. Laws: a path that cannot be
written is told before the long work (``refuse_unwritable``), all such paths at once; what is no plain file (a device, a
pipe) is never replaced.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from roadworthy.adapters.whole_files import whole_file
from roadworthy.errors import Problem, StorageError
from roadworthy.formats.junit import junit as junit_xml
from roadworthy.formats.markdown import markdown as markdown_text
from roadworthy.formats.report import render_report
from roadworthy.views import Inspected, inspection_view, with_pictures

__all__ = ["refuse_unwritable", "write_outputs"]


def refuse_unwritable(paths: Iterable[Path | None]) -> None:
    """StorageError that names every path that cannot be written; None is no file. Nothing is made or changed."""
    wanted = [path for path in paths if path is not None]
    problems = [
        Problem(found, where=str(path), expected="the name of a file that can be written")
        for path in dict.fromkeys(wanted)
        for found in [_fault(path)]
        if found
    ]
    places = [Path(os.path.abspath(path)) for path in wanted]  # noqa: PTH100 - "a/../b" is b, and links stay as they are
    twice = dict.fromkeys(str(path) for path, place in zip(wanted, places, strict=True) if places.count(place) > 1)
    if twice:
        problems.append(Problem("named for several files", where=", ".join(twice), expected="a file each"))
    if problems:
        raise StorageError(
            f"{'a file' if len(problems) == 1 else 'some files'} of the result could not be written",
            problems=problems,
            next_step="name other places; nothing was inspected yet",
        )


def _fault(path: Path) -> str:
    """Why a file cannot be written there; empty where it can."""
    if "\0" in str(path):
        return "no path: it holds a null character"
    try:
        if path.is_dir():
            return "a folder of that name is there"
        if path.exists() and not path.is_file():
            return "what is there is no plain file"
        folder = next(place for place in path.absolute().parents if place.exists())
        if not folder.is_dir():
            return f"{folder} is no folder"
        return "" if os.access(folder, os.W_OK | os.X_OK) else f"nothing may be written in {folder}"
    except OSError as error:
        return str(error.strerror)


def write_outputs(
    inspection: Inspected,
    *,
    report: Path | None = None,
    junit: Path | None = None,
    markdown: Path | None = None,
    seconds: float = 0.0,
    at: datetime | None = None,
) -> dict[str, Path]:
    """Write the files that are asked for; what lies where.

    ``seconds`` is how long the inspection took, ``at`` when it was made (now by default). Raises StorageError for a
    place that cannot be written; what stood there before is then untouched.
    """
    wanted = {"report": report, "junit": junit, "markdown": markdown}
    places = {what: path for what, path in wanted.items() if path is not None}
    if not places:
        return {}
    refuse_unwritable(places.values())
    moment = (at or datetime.now(UTC)).astimezone(UTC)
    view = inspection_view(inspection, when=f"{moment:%d %B %Y, %H:%M} UTC".lstrip("0"))
    makers = {
        "report": lambda: render_report(with_pictures(view)).encode(),
        "junit": lambda: junit_xml(view, at=moment, seconds=seconds),
        "markdown": lambda: markdown_text(view).encode(),
    }
    for what, path in places.items():
        made = makers[what]()
        with whole_file(path) as fresh:
            fresh.write_bytes(made)
    return places
