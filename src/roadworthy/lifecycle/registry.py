"""The registry: versions, aliases, trusted keys, the holdout ledger, and the audit chain.

In: records. Out: records. Every change is one transaction that also appends a link to the chain, so a process
killed at any instruction leaves either the old state or the new one. The alias ``champion`` moves only to a
version whose verdict is ready; that is decided here and nowhere else. Law: what is read is what the chain says was
written; a row that was added, edited or removed behind the registry's back is refused.

SQLite by default (``sqlite:///…``, write-ahead log), PostgreSQL by URL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from roadworthy.errors import PromotionRefused, RegistryError, StorageError
from roadworthy.formats.bundle.manifest import fingerprint
from roadworthy.lifecycle import chain, schema
from roadworthy.lifecycle.chain import GENESIS
from roadworthy.lifecycle.opening import engines, parsed_url
from roadworthy.protocols import Clock
from roadworthy.records.digests import Digest, digest_bytes
from roadworthy.records.verdict import Readiness
from roadworthy.records.version import AuditEntry, Version

__all__ = ["CHAMPION", "GENESIS", "Registry"]

CHAMPION = "champion"
"""The alias that servers follow."""

_LOOK = "see that it is there, whole and yours to read, or restore it from a backup (ROADWORTHY_REGISTRY names another)"
_GREATEST = 2**31 - 1  # of an INTEGER column in PostgreSQL


class Registry:
    """The registry at a database URL. Opening creates it, or migrates it to the newest schema."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._clock = clock
        parsed = parsed_url(url)
        self._shown = parsed.render_as_string(hide_password=True)
        self._reader, self._writer = engines(parsed)
        with self._changing() as connection:
            schema.migrate(connection)

    def close(self) -> None:
        """Give the connections back."""
        self._reader.dispose()

    # versions

    def register(self, version: Version) -> Version:
        """Add a version under the next number; the same bundle again gives back the one that is there.

        The link holds the digest of the record and of the bundle's manifest: what was judged, and what may be
        opened as this version.
        """
        with self._changing() as connection:
            links = chain.links(connection)
            table = schema.versions
            known = connection.execute(
                select(table.c.number).where(table.c.name == version.name, table.c.manifest == version.manifest)
            ).scalar()
            if known is not None:
                return self._one(connection, links, version.name, known)
            last = connection.execute(select(func.max(table.c.number)).where(table.c.name == version.name)).scalar()
            number = max(last or 0, *chain.registered(links, version.name), 0) + 1
            numbered = msgspec.structs.replace(version, number=number, created_at=self._now())
            facts: dict[str, Any] = {
                "name": numbered.name,
                "number": number,
                "digest": numbered.digest,
                "manifest": numbered.manifest,
                "readiness": numbered.verdict.readiness.value,
            }
            record = msgspec.json.encode(numbered)
            connection.execute(table.insert().values(**facts, created_at=numbered.created_at, record=record.decode()))
            facts["record"] = digest_bytes(record)
            chain.append(connection, links, "register", numbered.title, facts, at=self._now())
            return numbered

    def versions(self, name: str) -> tuple[Version, ...]:
        """All versions of a project, newest first; RegistryError when one is not as it was registered."""
        table = schema.versions
        with self._reading() as connection:
            known = chain.registered(chain.links(connection), name)
            rows = connection.execute(select(table).where(table.c.name == name).order_by(table.c.number.desc())).all()
            found = tuple(_checked(row, known) for row in rows)
        lost = sorted(set(known) - {version.number for version in found})
        if lost:
            raise chain.broken(f"{name}-{lost[0]} was registered, but is no longer in the registry")
        return found

    def version(self, name: str, number: int) -> Version:
        """One version; RegistryError names the ones that exist, or says that it is not as it was registered."""
        with self._reading() as connection:
            return self._one(connection, chain.links(connection), name, number)

    # aliases

    def promote(self, name: str, number: int, alias: str = CHAMPION) -> Version:
        """Move an alias to a version whose verdict is ready; PromotionRefused says what stands against it."""
        with self._changing() as connection:
            links = chain.links(connection)
            version = self._one(connection, links, name, number)
            if version.verdict.readiness is not Readiness.READY:
                raise PromotionRefused(
                    f"{version.title} cannot become {alias}: it is {version.verdict.readiness}. "
                    f"{version.verdict.sentence}",
                    next_step="roadworthy status   # says where the report lies, with all evidence",
                )
            table = schema.aliases
            before = chain.last_move(links, name, alias)
            if before == number == self._alias(connection, name, alias):
                return version
            connection.execute(table.delete().where(table.c.name == name, table.c.alias == alias))
            connection.execute(table.insert().values(name=name, alias=alias, number=number, moved_at=self._now()))
            moved = {"alias": alias, "from": before, "to": number}
            chain.append(connection, links, "promote", version.title, moved, at=self._now())
            return version

    def alias(self, name: str, alias: str = CHAMPION) -> Version | None:
        """The version an alias points to, None when it was never set.

        RegistryError when the alias is not where the audit chain put it: it was moved or removed behind the
        registry's back.
        """
        with self._reading() as connection:
            links = chain.links(connection)
            number, moved = self._alias(connection, name, alias), chain.last_move(links, name, alias)
            if moved != number:
                points = "is gone" if number is None else f"points to version {number}"
                put = "it was never set" if moved is None else f"it is at version {moved}"
                raise RegistryError(
                    f"alias {alias} of {name} {points}, but the audit chain says that {put}",
                    next_step=f"roadworthy promote {moved or 'VERSION'}   # restores what was decided",
                )
            return None if number is None else self._one(connection, links, name, number)

    # the holdout ledger

    def look(self, holdout: Digest, subject: Digest) -> int:
        """Note that a subject is judged on a holdout; how many subjects have been, this one included."""
        table = schema.looks
        with self._changing() as connection:
            links = chain.links(connection)
            subjects = chain.looked(links, holdout)
            if subject not in subjects:
                here = (table.c.holdout == holdout, table.c.subject == subject)
                connection.execute(table.delete().where(*here))
                connection.execute(table.insert().values(holdout=holdout, subject=subject, at=self._now()))
                chain.append(connection, links, "look", subject, {"holdout": holdout}, at=self._now())
            return len(subjects | {subject})

    # keys

    def trust(self, public_pem: bytes) -> Digest:
        """Add an Ed25519 public key to those whose bundles are accepted; its fingerprint, of the raw key."""
        found = fingerprint(public_pem)
        table = schema.keys
        with self._changing() as connection:
            links = chain.links(connection)
            known = connection.execute(select(table.c.fingerprint).where(table.c.fingerprint == found)).scalar()
            if known is None or found not in chain.trusted(links):
                connection.execute(table.delete().where(table.c.fingerprint == found))
                values = {"fingerprint": found, "public_pem": public_pem.decode(), "added_at": self._now()}
                connection.execute(table.insert().values(**values))
                chain.append(connection, links, "trust", found, {}, at=self._now())
        return found

    def trusted_keys(self) -> tuple[bytes, ...]:
        """Public keys, PEM; RegistryError when one of them was not added by ``trust``."""
        with self._reading() as connection:
            trusted = chain.trusted(chain.links(connection))
            pems = [pem.encode() for pem in connection.execute(select(schema.keys.c.public_pem)).scalars()]
        for found in map(fingerprint, pems):
            if found not in trusted:
                raise chain.broken(f"the trusted key {found[:19]}… was added or changed behind the registry's back")
        return tuple(pems)

    # the audit chain

    def audit(self) -> tuple[AuditEntry, ...]:
        """All links, oldest first, after verifying them."""
        with self._reading() as connection:
            return chain.links(connection)

    def verify_chain(self) -> int:
        """Recompute every hash; the number of links. RegistryError names the first broken one."""
        return len(self.audit())

    # within a transaction

    @staticmethod
    def _alias(connection: Connection, name: str, alias: str) -> int | None:
        table = schema.aliases
        return connection.execute(
            select(table.c.number).where(table.c.name == name, table.c.alias == alias)
        ).scalar_one_or_none()

    @staticmethod
    def _one(connection: Connection, links: chain.Links, name: str, number: int) -> Version:
        table = schema.versions
        wanted = select(table).where(table.c.name == name, table.c.number == number)
        row = connection.execute(wanted).first() if 0 < number <= _GREATEST else None
        known = chain.registered(links, name)
        if row is not None:
            return _checked(row, known)
        if number in known:
            raise chain.broken(f"{name}-{number} was registered, but is no longer in the registry")
        listed = ", ".join(map(str, sorted(known))) or "none"
        raise RegistryError(f"{name} has no version {number}; there are: {listed}", next_step="roadworthy status")

    def _now(self) -> str:
        return self._clock.now().isoformat(timespec="seconds")

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        with self._translated(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._translated(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            reason = str(error.orig)
            if "full" in reason or "readonly" in reason or "disk I/O" in reason:
                raise StorageError(
                    f"the registry {self._shown} cannot be written: {reason}",
                    next_step="free some disk space and run the command again; nothing was half-written",
                ) from error
            raise RegistryError(f"the registry {self._shown} does not answer: {reason}", next_step=_LOOK) from error
        except SQLAlchemyError as error:
            reason = str(error).splitlines()[0]
            raise RegistryError(f"the registry {self._shown} failed: {reason}", next_step=_LOOK) from error


def _checked(row: Row[Any], known: dict[int, Mapping[str, Any]]) -> Version:
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
