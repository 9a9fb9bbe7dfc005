"""A version in the registry, an entry of the audit chain, and what one run did.

Owns the nouns; ``lifecycle.registry`` keeps them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from roadworthy.records.digests import Digest
from roadworthy.records.evidence import Evidence
from roadworthy.records.verdict import Verdict

__all__ = ["AuditEntry", "StageRow", "Version"]


class StageRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the seven-stage table: shape in, shape out, what happened, how long, whether it was reused."""

    stage: str
    before: str
    after: str
    summary: str
    seconds: float
    reused: bool
    digest: Digest


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A registered version: what was packaged, how it was judged, where it lies.

    ``digest`` is the package's and names its folder in the lake, ``manifest`` is that of the bundle's manifest,
    which alone opens as this version; ``report`` is the report's; ``created_at`` is ISO 8601 in UTC; ``lineage``
    maps each stage to its digest.
    """

    name: str
    number: int
    digest: Digest
    manifest: Digest
    verdict: Verdict
    evidence: Evidence
    report: Digest
    created_at: str
    lineage: dict[str, Digest]
    stages: tuple[StageRow, ...] = ()

    @property
    def title(self) -> str:
        """The short name for people: ``clicks-3``."""
        return f"{self.name}-{self.number}"


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One link of the audit chain: ``hash`` covers every other field and the previous link's hash."""

    sequence: int
    at: str
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    previous: Digest
    hash: Digest
