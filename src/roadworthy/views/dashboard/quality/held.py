"""Which version the page speaks of, and what that version is held to.

In: a ``Site`` and the words of a link. Out: ``Held``: a version with what its own bundle says of how it is watched.
Law: figures are held to the standard in the version's bundle, not to the project file of today.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from roadworthy.errors import UnknownName
from roadworthy.measures.quality import METRICS, metrics_for
from roadworthy.records.digests import Digest
from roadworthy.records.version import Version
from roadworthy.stages.watching.watched import Watched, watched
from roadworthy.standard import Requirement
from roadworthy.views.dashboard.site import Site

__all__ = ["Held", "held"]

_MOST = 3
_remembered: OrderedDict[tuple[str, Digest], Watched] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Held:
    """A version and what it is held to while it is live."""

    version: Version
    watched: Watched

    @property
    def required(self) -> tuple[Requirement, ...]:
        """The live requirements on quality, one for each metric and slice."""
        found: dict[tuple[str, str], Requirement] = {}
        for item in self.watched.required:
            if item.metric in METRICS:
                found.setdefault((item.metric, item.slice), item)
        return tuple(found.values())

    @property
    def others(self) -> tuple[str, ...]:
        """The metrics that the task has besides those that are required over all rows."""
        asked = {item.metric for item in self.required if not item.slice}
        return tuple(name for name in metrics_for(self.watched.contract.task) if name not in asked)

    def requirement(self, metric: str, column: str = "") -> Requirement | None:
        """The requirement on a metric, None where there is none."""
        return next((one for one in self.required if (one.metric, one.slice) == (metric, column)), None)


def held(site: Site, asked: str = "", newest: str = "") -> Held | None:
    """The version that is asked for (its number), else the one of the newest window, else the one in service.

    None for a project without any version; UnknownName for a number that no version has.
    """
    versions = site.versions()
    if asked:
        numbers = [str(one.number) for one in versions]
        if asked not in numbers:
            raise UnknownName("version", asked[:40], numbers, where="version in the address")
        version = next(one for one in versions if str(one.number) == asked)
    else:
        of_window = next((one for one in versions if one.title == newest), None)
        version_ = of_window or site.champion() or next(iter(versions), None)
        if version_ is None:
            return None
        version = version_
    return Held(version, _watched(site, version))


def _watched(site: Site, version: Version) -> Watched:
    key = (site.name, version.manifest)
    with _lock:
        if key in _remembered:
            _remembered.move_to_end(key)
            return _remembered[key]
    made = watched(version, site.bundle(version).parts)
    with _lock:
        _remembered[key] = made
        while len(_remembered) > _MOST:
            _remembered.popitem(last=False)
    return made
