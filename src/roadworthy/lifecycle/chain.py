"""The audit chain: who did what to what, when; each link covers the one before it.

In: a connection inside the registry's transaction. Out: links, and what they say about versions, aliases, keys,
looks and signed words. The chain is what was decided; the other tables are where it is looked up. Laws: a link is
appended in the transaction of the change that it tells of, and never edited; nothing is read from a chain of which one
link does not hold. A chain cannot tell that its newest links were cut off together with all they tell of.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from roadworthy.errors import RegistryError
from roadworthy.lifecycle import schema
from roadworthy.records.digests import Digest, digest_data
from roadworthy.records.version import AuditEntry

__all__ = [
    "GENESIS",
    "api_keys",
    "append",
    "broken",
    "last_move",
    "links",
    "looked",
    "moves",
    "newest",
    "registered",
    "signed",
    "trusted",
]

GENESIS: Digest = "sha256:" + "0" * 64
"""What the first link names as its previous one."""

Links = Sequence[AuditEntry]


def links(connection: Connection) -> tuple[AuditEntry, ...]:
    """All links, oldest first, after recomputing every hash; RegistryError names the first that does not hold."""
    previous = GENESIS
    entries = []
    rows = connection.execute(select(schema.audit).order_by(schema.audit.c.sequence)).mappings().all()
    for place, row in enumerate(rows, start=1):
        entry = _entry(dict(row))
        if entry.sequence != place or entry.previous != previous or entry.hash != _link_hash(entry):
            raise broken(
                f"the audit chain is broken at link {entry.sequence} ({entry.action} {entry.subject})",
            )
        previous = entry.hash
        entries.append(entry)
    return tuple(entries)


def newest(connection: Connection) -> tuple[int, Digest]:
    """Number and hash of the newest link, without verifying any: cheap, and another after every change."""
    table = schema.audit
    row = connection.execute(select(table.c.sequence, table.c.hash).order_by(table.c.sequence.desc()).limit(1)).first()
    return (0, GENESIS) if row is None else (row.sequence, row.hash)


def append(
    connection: Connection, before: Links, action: str, subject: str, details: dict[str, Any], *, at: str
) -> None:
    """Add a link after ``before``, all the links there are; ``at`` is ISO 8601 in UTC."""
    last = before[-1] if before else None
    entry = AuditEntry(
        sequence=(last.sequence if last else 0) + 1,
        at=at,
        actor=_actor(),
        action=action,
        subject=subject,
        details=details,
        previous=last.hash if last else GENESIS,
        hash="",
    )
    values = msgspec.structs.asdict(entry) | {
        "hash": _link_hash(entry),
        "details": msgspec.json.encode(details, order="sorted").decode(),
    }
    connection.execute(schema.audit.insert().values(**values))


def registered(chain: Links, name: str) -> dict[int, Mapping[str, Any]]:
    """What was registered under a name: number → the details of its newest link, which a later judgement adds."""
    found: dict[int, Mapping[str, Any]] = {}
    for link in chain:
        if link.action in {"register", "judge"} and link.details.get("name") == name:
            found[int(link.details["number"])] = link.details
    return found


def last_move(chain: Links, name: str, alias: str) -> int | None:
    """Where the newest promotion put an alias; None when there was none."""
    found = moves(chain, name, alias)
    return found[-1] if found else None


def moves(chain: Links, name: str, alias: str) -> list[int]:
    """Where every promotion put an alias, oldest first."""
    return [
        number
        for link in chain
        if link.action == "promote"
        and link.details.get("alias") == alias
        and link.subject == f"{name}-{(number := int(link.details['to']))}"
    ]


def signed(chain: Links, project: str) -> dict[int, Digest]:
    """The signed words of a project: number → the digest of the record as it was last written."""
    return {
        int(link.details["number"]): str(link.details["record"])
        for link in chain
        if link.action in {"attest", "waive", "revoke"} and link.details.get("project") == project
    }


def api_keys(chain: Links) -> dict[str, Digest]:
    """The API keys: id → the digest of the record as it was last written."""
    return {link.subject: str(link.details["record"]) for link in chain if link.action in {"key create", "key revoke"}}


def trusted(chain: Links) -> set[Digest]:
    """The fingerprints of the keys that were trusted."""
    return {link.subject for link in chain if link.action == "trust"}


def looked(chain: Links, holdout: Digest) -> set[Digest]:
    """The subjects that were judged on a holdout."""
    return {link.subject for link in chain if link.action == "look" and link.details.get("holdout") == holdout}


def broken(found: str) -> RegistryError:
    """The error for a registry that does not hold what its own code wrote."""
    return RegistryError(found, next_step="restore the registry from a backup; what it says of this cannot be trusted")


def _actor() -> str:
    """Login name and user number; the name is what the environment claims, the number is the system's."""
    number = f"uid {os.getuid()}"
    try:
        return f"{getpass.getuser()} ({number})"
    except (KeyError, OSError):
        return number


def _entry(row: dict[str, Any]) -> AuditEntry:
    try:
        return AuditEntry(**(row | {"details": msgspec.json.decode(row["details"], type=dict[str, Any])}))
    except msgspec.MsgspecError as error:
        raise broken(f"the audit chain is broken at link {row['sequence']}: its details do not parse") from error


def _link_hash(entry: AuditEntry) -> Digest:
    return digest_data(msgspec.structs.asdict(entry) | {"hash": ""})
