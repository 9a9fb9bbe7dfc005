"""The data that ``init`` is given, as a project file may name it.

In: a path, URL or mapping, relative to the working directory. Out: ``[data] source``, relative to the project's
folder. Laws: no row and no secret is ever written into a project file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from roadworthy.errors import Problem, UsageError

__all__ = ["source_as_written"]

_VARIABLE = re.compile(r"\$\{\w+\}")
_USER_INFO = re.compile(r"^[\w+.-]+://(?P<info>.*)@", re.DOTALL)
_SECRET_WORDS = re.compile(
    r"(?:^|[_-])(?:password|passwd|pwd|secret|token|sig|signature|credentials?|(?:access|account|master|api)[_-]?key)"
    r"(?:$|[_-])|sslpassword|sas",
    re.IGNORECASE,
)
_SQLITE = re.compile(r"^(sqlite(?:\+\w+)?:///)(?!/|:memory:|file:)([^?]+)(.*)$", re.DOTALL)


def source_as_written(data: Any, home: Path) -> str | dict[str, Any]:
    """The source as the project file in ``home`` names it: paths start there, secrets are ``${NAME}``.

    Raises UsageError for a frame, and for a password, key or token that stands in the declaration itself.
    """
    if not isinstance(data, str | Path | Mapping):
        raise UsageError(
            f"a project file cannot name a {type(data).__name__}, which ends with this program",
            problems=[Problem(f"a {type(data).__name__}", where="data", expected="a path, a URL or a mapping")],
            next_step="write it to Parquet first, frame.write_parquet('rows.parquet'), then init that file",
        )
    declared = dict(data) if isinstance(data, Mapping) else {"path": str(data)}
    _refuse_secrets(declared)
    for key in ("path", "url"):
        if isinstance(declared.get(key), str):
            declared[key] = _rebased(declared[key], home, plain=key == "path")
    return declared if isinstance(data, Mapping) else declared["path"]


def _rebased(named: str, home: Path, *, plain: bool) -> str:
    found = _SQLITE.match(named)
    if found:
        return f"{found[1]}{_from(home, found[2])}{found[3]}"
    return _from(home, named) if plain and "://" not in named else named


def _from(home: Path, path: str) -> str:
    return Path(os.path.relpath(Path(path).absolute(), home.absolute())).as_posix()


def _refuse_secrets(declared: Mapping[str, Any]) -> None:
    problems = list(_secrets(declared))
    if problems:
        raise UsageError(
            "the source holds a secret, and a project file is no place for one",
            problems=problems,
            next_step="keep it in an environment variable, and write ${NAME} where it stood",
        )


def _secrets(declared: Mapping[str, Any]) -> Iterator[Problem]:
    """Where a secret stands, never what it is."""
    expected = "${NAME}, the name of an environment variable"
    for key in ("url", "path"):
        named = declared.get(key)
        if not isinstance(named, str) or "://" not in named:
            continue
        address, _, query = named.partition("?")
        info = _USER_INFO.match(address if "@" in address else named)
        _, colon, password = (info["info"] if info else "").partition(":")
        if colon and _VARIABLE.sub("", password):
            yield Problem("a password before the @", where=key, expected=expected)
        for pair in query.split("&"):
            name, _, value = pair.partition("=")
            if _SECRET_WORDS.search(name) and _VARIABLE.sub("", value):
                yield Problem(f"a value of {name}", where=key, expected=expected)
    storage = declared.get("storage_options")
    for name, value in storage.items() if isinstance(storage, Mapping) else ():
        if _SECRET_WORDS.search(str(name)) and _VARIABLE.sub("", str(value)):
            yield Problem(f"a value of {name}", where="storage_options", expected=expected)
