"""The row of a version, and what its link in the chain says of it.

In: a ``Version``, or a row and the links. Out: the facts that stand in both, or the ``Version``. Law: a row is read
only as it was registered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Row

from roadworthy.lifecycle import chain
from roadworthy.records.digests import digest_bytes
from roadworthy.records.version import Version

__all__ = ["checked", "facts"]


def facts(version: Version) -> tuple[dict[str, Any], bytes]:
    """What row and link say of a version beside its record, and the record."""
    facts = {
        "name": version.name,
        "number": version.number,
        "digest": version.digest,
        "manifest": version.manifest,
        "readiness": version.verdict.readiness.value,
    }
    return facts, msgspec.json.encode(version)


def checked(row: Row[Any], known: dict[int, Mapping[str, Any]]) -> Version:
    """The version in a row, if row and record are what its link in the chain says; otherwise RegistryError.

    ``known`` is what the chain says was registered under the row's name.
    """
    title = f"{row.name}-{row.number}"
    if row.number not in known:
        raise chain.broken(f"{title} stands in the registry, but the audit chain does not say that it was registered")
    details = known[row.number]
    columns = {column: getattr(row, column) for column in ("name", "number", "digest", "manifest", "readiness")}
    said = {column: details.get(column) for column in columns}
    if columns != said or digest_bytes(row.record.encode()) != details.get("record"):
        raise chain.broken(f"{title} is not as it was registered: its row was edited behind the registry's back")
    return msgspec.json.decode(row.record, type=Version)
