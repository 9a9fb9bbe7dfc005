"""Typed settings: where a project keeps its state. Read once, from the environment, with every default in sight.

In: a project folder and ``ROADWORTHY_*`` variables. Out: a frozen ``Settings``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from roadworthy.errors import UsageError

__all__ = ["Settings", "read_settings"]

_PREFIX = "ROADWORTHY_"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where state lies.

    ``ROADWORTHY_LAKE`` (default ``.roadworthy/lake``), ``ROADWORTHY_REGISTRY`` (a database URL, default SQLite at
    ``.roadworthy/registry.db``). Relative paths start in the working directory. Keys always stand in the project's
    ``.roadworthy/keys``.
    """

    lake: Path
    registry: str


def read_settings(folder: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Settings of the project in ``folder``; UsageError names a variable that means nothing."""
    environment = os.environ if environment is None else environment
    given = {name: value for name, value in environment.items() if name.startswith(_PREFIX)}
    known = {f"{_PREFIX}{name}" for name in ("LAKE", "REGISTRY")}
    if unknown := sorted(set(given) - known):
        raise UsageError(f"unknown setting {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    if empty := sorted(name for name, value in given.items() if not value.strip()):
        raise UsageError(f"{', '.join(empty)} is set and empty", next_step=f"give it a value, or: unset {empty[0]}")
    home = folder.resolve() / ".roadworthy"
    return Settings(
        lake=Path(given.get("ROADWORTHY_LAKE", home / "lake")).absolute(),
        registry=given.get("ROADWORTHY_REGISTRY", f"sqlite:///{home / 'registry.db'}"),
    )
