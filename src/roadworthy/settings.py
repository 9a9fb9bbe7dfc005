"""Typed settings: where a project keeps its state. Read once, from the environment, with every default in sight.

In: a project folder and ``ROADWORTHY_*`` variables. Out: a frozen ``Settings``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from roadworthy.adapters.keys import hashing_key_file
from roadworthy.errors import Problem, UsageError

__all__ = ["VARIABLES", "Settings", "read_settings"]

_PREFIX = "ROADWORTHY_"
_LAKE, _REGISTRY = f"{_PREFIX}LAKE", f"{_PREFIX}REGISTRY"
_REGISTRY_FILE, _STATE, _HASHING_KEY = f"{_REGISTRY}_FILE", f"{_PREFIX}STATE", f"{_PREFIX}HASHING_KEY_FILE"

VARIABLES = (_LAKE, _REGISTRY, _REGISTRY_FILE, _STATE, _HASHING_KEY)
"""Everything that the environment may say; another ``ROADWORTHY_…`` is refused."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where state lies.

    ``ROADWORTHY_LAKE`` (default ``.roadworthy/lake``); ``ROADWORTHY_REGISTRY`` (a database URL, default SQLite at
    ``.roadworthy/registry.db``), or ``ROADWORTHY_REGISTRY_FILE`` (a file that holds the URL, for one with a password);
    ``ROADWORTHY_STATE`` (what servers of a machine share beside the lake, default ``.roadworthy/state``);
    ``ROADWORTHY_HASHING_KEY_FILE`` (the key that hides personal values, for whoever answers without the project's keys;
    default ``.roadworthy/keys/hashing.key``). Relative paths start in the working directory. Whoever trains takes both
    keys from the project's ``.roadworthy/keys``.
    """

    lake: Path
    registry: str
    state: Path
    hashing_key: Path


def read_settings(folder: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Settings of the project in ``folder``; UsageError names a variable that means nothing."""
    environment = os.environ if environment is None else environment
    given = {name: value for name, value in environment.items() if name.startswith(_PREFIX)}
    if unknown := sorted(set(given) - set(VARIABLES)):
        raise UsageError(f"unknown setting {', '.join(unknown)}; known are {', '.join(VARIABLES)}")
    if empty := sorted(name for name, value in given.items() if not value.strip()):
        raise UsageError(f"{', '.join(empty)} is set and empty", next_step=f"give it a value, or: unset {empty[0]}")
    home = folder.resolve() / ".roadworthy"
    return Settings(
        lake=Path(given.get(_LAKE, home / "lake")).absolute(),
        registry=_registry(given) or f"sqlite:///{home / 'registry.db'}",
        state=Path(given.get(_STATE, home / "state")).absolute(),
        hashing_key=Path(given[_HASHING_KEY]).absolute()
        if _HASHING_KEY in given
        else hashing_key_file(folder.resolve()),
    )


def _registry(given: Mapping[str, str]) -> str:
    """The URL that was given, as it stands or in a file; empty where none was."""
    if _REGISTRY_FILE not in given:
        return given.get(_REGISTRY, "")
    if _REGISTRY in given:
        raise UsageError(f"{_REGISTRY} and {_REGISTRY_FILE} are both set", next_step=f"unset {_REGISTRY}")
    file = Path(given[_REGISTRY_FILE])
    try:
        url = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _no_url(error.strerror or "" if isinstance(error, OSError) else "not text", file) from error
    if not url or len(url.splitlines()) > 1:
        raise _no_url("empty" if not url else "several lines", file)
    return url


def _no_url(found: str, file: Path) -> UsageError:
    return UsageError(
        "the registry's URL cannot be read",
        problems=[Problem(found, where=f"{_REGISTRY_FILE}={file}", expected="a file with one line, a database URL")],
        next_step=f"give the file to whoever runs this, or set {_REGISTRY}",
    )
