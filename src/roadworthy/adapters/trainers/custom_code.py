"""Which code a trainer of the user's own runs: files of the project's folder, or an installed distribution.

In: the name ``package.module:function`` and the project's folder. Out: one digest. Law: an edit of any Python file
that the function can import from the project's folder changes the digest, and so does another version of the
installed package that it comes from.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from roadworthy.errors import Problem, TrainingError
from roadworthy.records.digests import Digest, digest_data, digest_file

__all__ = ["MOST_FILES", "code_digest"]

MOST_FILES = 5_000
"""Most Python files that are read for one digest."""


def code_digest(name: str, folder: Path) -> Digest:
    """Digest of the code behind ``package.module:function``; empty where the module is nowhere to be found.

    A module in ``folder``: every Python file below it, since the module may import any of them. An installed one: the
    versions of the distributions that bring it. Any other on the module path (an editable install, say): its own
    files. Raises TrainingError where there are more than ``MOST_FILES`` files.
    """
    top = name.partition(":")[0].partition(".")[0]
    if (folder / f"{top}.py").is_file() or (folder / top).is_dir():
        return _of_files(folder)
    distributions = sorted(set(metadata.packages_distributions().get(top, ())))
    if distributions:
        return digest_data({"installed": {item: metadata.version(item) for item in distributions}})
    place = _place(top)
    return _of_files(place) if place else ""


def _place(top: str) -> Path | None:
    """Where an importable module lies, without importing it: its folder, or its one file."""
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # no such name, or a loaded module that does not say where it is from
        return None
    if found is None:
        return None
    folders = list(found.submodule_search_locations or ())
    if folders:
        return Path(folders[0])
    return Path(found.origin) if found.has_location and found.origin else None


def _of_files(place: Path) -> Digest:
    """Digest of a file, or of all Python files below a folder by their names in it."""
    if place.is_file():
        return digest_data({place.name: digest_file(place)})
    files: dict[str, Digest] = {}
    for path in _python_files(place):
        if len(files) == MOST_FILES:
            raise TrainingError(
                "too many Python files to tell whether a trainer of your own has changed",
                problems=[Problem(f"more than {MOST_FILES:,}", expected="fewer", where=str(place))],
                next_step="move roadworthy.toml and the trainer into a folder of their own",
            )
        files[path.relative_to(place).as_posix()] = digest_file(path)
    return digest_data(files)


def _python_files(folder: Path) -> Iterator[Path]:
    """Python files below ``folder``; hidden folders, virtual environments and installed packages are passed over."""
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _passed_over(Path(place, name)))
        yield from (path for name in sorted(files) if name.endswith(".py") and (path := Path(place, name)).is_file())


def _passed_over(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name == "site-packages" or (folder / "pyvenv.cfg").exists()
