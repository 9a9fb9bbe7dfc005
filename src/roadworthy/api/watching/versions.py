"""The versions that live traffic was answered by, opened once each.

In: titles in the log (``clicks-3``). Out: ``Watched``. Law: only a registered version's own verified bundle is used.
"""

from __future__ import annotations

import time
from typing import Protocol

from roadworthy import assembly
from roadworthy.errors import RegistryError
from roadworthy.records.verdict import Waiver
from roadworthy.stages.watching.watched import Watched, watched

__all__ = ["Answerers", "Versions", "waivers_of"]

_AGAIN_S = 60.0
"""After so long a title that was no version is asked for again."""


class Answerers(Protocol):
    """Whatever answers: which version a title in the log means, and which is in service."""

    def titled(self, title: str) -> Watched | None:
        """The version of that title; None for what is no version."""
        ...

    def in_service(self) -> Watched:
        """The version in service."""
        ...

    def waivers(self) -> tuple[Waiver, ...]:
        """What a named person has signed for, and holds today."""
        ...


class Versions:
    """The registered versions of a project, as they are to be watched."""

    def __init__(self, project: assembly.Project) -> None:
        self._project = project
        self._known: dict[str, Watched] = {}
        self._unknown: dict[str, float] = {}

    def titled(self, title: str) -> Watched | None:
        """The version of that title; None for what this project has no version of (a declared constant)."""
        name = self._project.spec.name
        asked_s = self._unknown.get(title, -_AGAIN_S)
        if title not in self._known and title.startswith(f"{name}-") and time.monotonic() - asked_s >= _AGAIN_S:
            with assembly.opened_registry(self._project) as registry:
                version = next((one for one in registry.versions(name) if one.title == title), None)
                if version is not None:
                    bundle = assembly.bundle_of(self._project, registry, version)
                    self._known[title] = watched(version, bundle.parts)
                else:
                    self._unknown[title] = time.monotonic()
        return self._known.get(title)

    def in_service(self) -> Watched:
        """The champion, or the newest version where there is none; RegistryError where there is no version."""
        name = self._project.spec.name
        with assembly.opened_registry(self._project) as registry:
            version = registry.alias(name) or assembly.chosen_version(registry, name, "latest")
        found = self.titled(version.title)
        if found is None:
            raise RegistryError(f"{version.title} is no version of {name}")
        return found

    def waivers(self) -> tuple[Waiver, ...]:
        """What a named person has signed for, and holds today."""
        return waivers_of(self._project)


def waivers_of(project: assembly.Project) -> tuple[Waiver, ...]:
    """The waivers of a project that are in force."""
    with assembly.opened_registry(project) as registry:
        return registry.waivers(project.spec.name)
