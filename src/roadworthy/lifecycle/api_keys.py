"""API keys in the registry: made, taken back, and read only as they were written.

In: a connection inside the registry's transaction, the links of the chain. Out: ``KeyRecord``. Laws: a key is written
in the transaction that appends its link; only the digest of a key is kept; a key that was added, edited or brought back
behind the registry's back is refused.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, select

from roadworthy.errors import Problem, UnknownName, UsageError
from roadworthy.lifecycle import chain, schema
from roadworthy.records.digests import Digest, digest_bytes

__all__ = ["KeyRecord", "add", "read", "revoke"]

_LONGEST_NAME = 100


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as it is kept: ``digest`` is SHA-256 of the whole key, in hexadecimal.

    ``revoked_at`` is empty while the key is accepted.
    """

    id: str
    name: str
    digest: str
    created_at: str
    revoked_at: str = ""


def add(connection: Connection, links: chain.Links, record: KeyRecord) -> None:
    """Write a fresh key. Raises UsageError for a name that is no name, or that a key in force has already."""
    _check_name(record.name)
    namesake = next((one for one in read(connection, links) if one.name == record.name and not one.revoked_at), None)
    if namesake is not None:
        raise UsageError(
            f"there is a key named {record.name} already: {namesake.id}",
            next_step=f"choose another name, or: roadworthy key revoke {namesake.id}",
        )
    connection.execute(schema.api_keys.insert().values(**msgspec.structs.asdict(record)))
    _link(connection, links, "key create", record, at=record.created_at)


def revoke(connection: Connection, links: chain.Links, id_: str, *, at: str) -> KeyRecord:
    """Write that a key is accepted no longer; once revoked it stays so. Raises UnknownName."""
    known = {record.id: record for record in read(connection, links)}
    if id_ not in known:
        in_force = [record.id for record in known.values() if not record.revoked_at]
        raise UnknownName("key", id_, in_force, next_step="roadworthy key list")
    if known[id_].revoked_at:
        return known[id_]
    revoked = msgspec.structs.replace(known[id_], revoked_at=at)
    table = schema.api_keys
    connection.execute(table.update().where(table.c.id == id_).values(revoked_at=at))
    _link(connection, links, "key revoke", revoked, at=at)
    return revoked


def read(connection: Connection, links: chain.Links) -> tuple[KeyRecord, ...]:
    """All keys by the time they were made, revoked ones too; RegistryError names one that is not as it was written."""
    known = chain.api_keys(links)
    table = schema.api_keys
    rows = connection.execute(select(table).order_by(table.c.created_at, table.c.id)).mappings().all()
    found = tuple(KeyRecord(**row) for row in rows)
    for record in found:
        if record.id not in known:
            raise chain.broken(f"the API key {record.id} was added behind the registry's back")
        if known[record.id] != _digest(record):
            raise chain.broken(f"the API key {record.id} is not as it was written: its row was edited")
    if lost := sorted(set(known) - {record.id for record in found}):
        raise chain.broken(f"the API key {lost[0]} is no longer in the registry")
    return found


def _link(connection: Connection, links: chain.Links, action: str, record: KeyRecord, *, at: str) -> None:
    details = {"name": record.name, "record": _digest(record)}
    chain.append(connection, links, action, record.id, details, at=at)


def _digest(record: KeyRecord) -> Digest:
    return digest_bytes(msgspec.json.encode(record))


def _check_name(name: str) -> None:
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise UsageError(
            "a key needs a name that people can read",
            problems=[Problem(repr(name[:40]), where="name", expected=f"1 to {_LONGEST_NAME} printable characters")],
            next_step="roadworthy key create NAME",
        )
