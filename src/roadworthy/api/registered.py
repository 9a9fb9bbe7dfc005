"""``promote`` and ``status``: what the registry holds of a project."""

from __future__ import annotations

from pathlib import Path

import msgspec

from roadworthy import assembly
from roadworthy.adapters.lake import Lake
from roadworthy.lifecycle.cursors import last_beat
from roadworthy.lifecycle.registry import CHAMPION
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.measures.heartbeat import Pulse, pulse
from roadworthy.records.digests import Digest
from roadworthy.records.verdict import Readiness
from roadworthy.records.version import Version

__all__ = ["StatusView", "VersionLine", "promote", "status"]


class VersionLine(msgspec.Struct, frozen=True, kw_only=True):
    """One version in the status list; ``report`` and ``bundle`` are empty where the lake no longer has them."""

    number: int
    readiness: Readiness
    created_at: str
    sentence: str
    report: str
    bundle: str
    champion: bool


class StatusView(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a project: its versions, newest first, its champion, and whether the audit chain holds.

    ``monitor`` is how whoever watches its traffic is; None where nobody ever has.
    """

    project: str
    champion: int | None
    versions: tuple[VersionLine, ...]
    audit_links: int
    monitor: Pulse | None = None


def promote(version: int, project: Path | str = assembly.PROJECT_FILE) -> Version:
    """Move the alias ``champion``.

    Raises PromotionRefused when the verdict does not allow it, BundleError when the bundle that was judged is not in
    the lake any more.
    """
    opened = assembly.open_project(project)
    with assembly.opened_registry(opened) as registry:
        assembly.bundle_of(opened, registry, registry.version(opened.spec.name, version))
        return registry.promote(opened.spec.name, version)


def status(project: Path | str = assembly.PROJECT_FILE) -> StatusView:
    """The project's versions, its champion, and whether the audit chain holds."""
    opened = assembly.open_project(project)
    lake = Lake(opened.settings.lake)

    def place(stage: str, digest: Digest, name: str) -> str:
        return str(lake.path(stage, digest) / name) if lake.has(stage, digest) else ""

    with assembly.opened_registry(opened) as registry:
        links = registry.verify_chain()
        champion = registry.alias(opened.spec.name, CHAMPION)
        lines = tuple(
            VersionLine(
                number=version.number,
                readiness=version.verdict.readiness,
                created_at=version.created_at,
                sentence=version.verdict.sentence,
                report=place("report", version.report, assembly.REPORT_FILE),
                bundle=place("package", version.digest, "bundle"),
                champion=champion is not None and champion.number == version.number,
            )
            for version in registry.versions(opened.spec.name)
        )
    return StatusView(
        project=opened.spec.name,
        champion=champion.number if champion else None,
        versions=lines,
        audit_links=links,
        monitor=_pulse(opened),
    )


def _pulse(opened: assembly.Project) -> Pulse | None:
    """How the monitor is, by its heartbeat."""
    transactions = Transactions(opened.settings.registry)
    try:
        with transactions.reading() as connection:
            beat = last_beat(connection, opened.spec.name)
    finally:
        transactions.close()
    now_us = int(assembly.SystemClock().now().timestamp() * 1e6)
    return None if beat is None else pulse(beat, now_us, expected_s=beat.every_s)
