"""What a version came from: snapshot to bundle, each with its digest and the versions that share it.

In: versions. Out: ``Link``s in the order of the stages. Law: two versions share a stage where its digest is the same,
which means the same code number, the same libraries, the same configuration and the same parents.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from roadworthy.records.version import Version

__all__ = ["Link", "lineage_of"]

_STAGES = {
    "collect": "snapshot of the source",
    "clean": "rows that meet the contract",
    "features": "features computed",
    "split": "rows to train and rows to judge",
    "train": "candidates trained",
    "validate": "candidate and threshold chosen",
    "package": "bundle that serves",
    "monitor": "what is watched",
}
_MOST = 8


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One stage; ``shared`` are numbers of other versions with the same result, at most 8 of ``sharing``."""

    stage: str
    words: str
    digest: str
    shared: tuple[int, ...]
    sharing: int


def lineage_of(version: Version, versions: Sequence[Version]) -> tuple[Link, ...]:
    """All stages of a version, the first one first."""
    found = []
    for stage, words in _STAGES.items():
        digest = version.lineage.get(stage, "")
        if not digest:
            continue
        others = [one.number for one in versions if one.number != version.number and one.lineage.get(stage) == digest]
        found.append(Link(stage=stage, words=words, digest=digest, shared=tuple(others[:_MOST]), sharing=len(others)))
    return tuple(found)
