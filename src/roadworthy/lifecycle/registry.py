"""The registry: versions, aliases, trusted keys, the holdout ledger, and the audit chain.

In: records. Out: records. Every change is one transaction that also appends a link to the chain, so a process
killed at any instruction leaves either the old state or the new one. The alias ``champion`` moves only to a
version whose verdict is ready; that is decided here and nowhere else.

SQLite by default (``sqlite:///…``, write-ahead log), PostgreSQL by URL.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, create_engine, event, func, select
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from roadworthy.errors import MissingExtra, Problem, PromotionRefused, RegistryError, StorageError
from roadworthy.lifecycle import schema
from roadworthy.protocols import Clock
from roadworthy.records.digests import Digest, digest_bytes, digest_data
from roadworthy.records.verdict import Readiness
from roadworthy.records.version import AuditEntry, Version

__all__ = ["CHAMPION", "GENESIS", "Registry"]

CHAMPION = "champion"
_LOOK = "see that it is there, whole and yours to read, or restore it from a backup (ROADWORTHY_REGISTRY names another)"
_TURN = 7_623_926  # PostgreSQL's lock for whoever changes a registry
_GREATEST = 2**31 - 1  # of an INTEGER column in PostgreSQL
"""The alias that servers follow."""

GENESIS: Digest = "sha256:" + "0" * 64
"""What the first link of the chain names as its previous one."""


class Registry:
    """The registry at a database URL. Opening creates it, or migrates it to the newest schema."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._clock = clock
        self._shown = _parsed(url).render_as_string(hide_password=True)
        self._engine = _engine(url)
        with self._changing() as connection:
            schema.migrate(connection)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    # versions

    def register(self, version: Version) -> Version:
        """Add a version under the next number; the same package again gives back the one that is there."""
        with self._changing() as connection:
            known = self._by_digest(connection, version.name, version.digest)
            if known is not None:
                return known
            last = connection.execute(
                select(func.max(schema.versions.c.number)).where(schema.versions.c.name == version.name)
            ).scalar()
            numbered = msgspec.structs.replace(version, number=(last or 0) + 1, created_at=self._now())
            connection.execute(
                schema.versions.insert().values(
                    name=numbered.name,
                    number=numbered.number,
                    digest=numbered.digest,
                    readiness=numbered.verdict.readiness.value,
                    created_at=numbered.created_at,
                    record=msgspec.json.encode(numbered).decode(),
                )
            )
            facts = {"digest": numbered.digest, "readiness": numbered.verdict.readiness.value}
            self._append(connection, "register", numbered.title, facts)
            return numbered

    def versions(self, name: str) -> tuple[Version, ...]:
        """All versions of a project, newest first."""
        with self._reading() as connection:
            rows = connection.execute(
                select(schema.versions.c.record)
                .where(schema.versions.c.name == name)
                .order_by(schema.versions.c.number.desc())
            ).scalars()
            return tuple(msgspec.json.decode(row, type=Version) for row in rows)

    def version(self, name: str, number: int) -> Version:
        """One version; RegistryError names the ones that exist."""
        with self._reading() as connection:
            return self._one(connection, name, number)

    # aliases

    def promote(self, name: str, number: int, alias: str = CHAMPION) -> Version:
        """Move an alias to a version whose verdict is ready; PromotionRefused says what stands against it."""
        with self._changing() as connection:
            version = self._one(connection, name, number)
            if version.verdict.readiness is not Readiness.READY:
                raise PromotionRefused(
                    f"{version.title} cannot become {alias}: it is {version.verdict.readiness}. "
                    f"{version.verdict.sentence}",
                    next_step="roadworthy status   # says where the report lies, with all evidence",
                )
            table = schema.aliases
            before = self._alias(connection, name, alias)
            if before == number:
                return version
            connection.execute(table.delete().where(table.c.name == name, table.c.alias == alias))
            connection.execute(table.insert().values(name=name, alias=alias, number=number, moved_at=self._now()))
            self._append(connection, "promote", version.title, {"alias": alias, "from": before, "to": number})
            return version

    def alias(self, name: str, alias: str = CHAMPION) -> Version | None:
        """The version an alias points to, None when it was never set.

        RegistryError when the alias is not where the audit chain put it: it was moved behind the registry's back.
        """
        with self._reading() as connection:
            number = self._alias(connection, name, alias)
            if number is None:
                return None
            moved = self._last_move(connection, name, alias)
            if moved != number:
                raise RegistryError(
                    f"alias {alias} of {name} points to version {number}, but the audit chain says {moved}",
                    next_step=f"roadworthy promote {moved or 'VERSION'}   # restores what was decided",
                )
            return self._one(connection, name, number)

    # the holdout ledger

    def look(self, holdout: Digest, subject: Digest) -> int:
        """Note that a subject is judged on a holdout; how many subjects have been, this one included."""
        table = schema.looks
        with self._changing() as connection:
            seen = connection.execute(
                select(table.c.subject).where(table.c.holdout == holdout, table.c.subject == subject)
            ).scalar()
            if seen is None:
                connection.execute(table.insert().values(holdout=holdout, subject=subject, at=self._now()))
                self._append(connection, "look", subject, {"holdout": holdout})
            count = connection.execute(select(func.count()).where(table.c.holdout == holdout)).scalar_one()
            return int(count)

    # keys

    def trust(self, public_pem: bytes) -> Digest:
        """Add a public key to those whose bundles are accepted; its fingerprint."""
        fingerprint = digest_bytes(public_pem)
        table = schema.keys
        with self._changing() as connection:
            if (
                connection.execute(select(table.c.fingerprint).where(table.c.fingerprint == fingerprint)).scalar()
                is None
            ):
                values = {"fingerprint": fingerprint, "public_pem": public_pem.decode(), "added_at": self._now()}
                connection.execute(table.insert().values(**values))
                self._append(connection, "trust", fingerprint, {})
        return fingerprint

    def trusted_keys(self) -> tuple[bytes, ...]:
        """Public keys, PEM."""
        with self._reading() as connection:
            return tuple(pem.encode() for pem in connection.execute(select(schema.keys.c.public_pem)).scalars())

    # the audit chain

    def audit(self) -> tuple[AuditEntry, ...]:
        """All links, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(select(schema.audit).order_by(schema.audit.c.sequence)).mappings()
            return tuple(_entry(dict(row)) for row in rows)

    def verify_chain(self) -> int:
        """Recompute every hash; the number of links. RegistryError names the first broken one."""
        previous = GENESIS
        entries = self.audit()
        for place, entry in enumerate(entries, start=1):
            if entry.sequence != place or entry.previous != previous or entry.hash != _link_hash(entry):
                raise RegistryError(
                    f"the audit chain is broken at link {entry.sequence} ({entry.action} {entry.subject})",
                    next_step="restore the registry from a backup; what it says after this link cannot be trusted",
                )
            previous = entry.hash
        return len(entries)

    # within a transaction

    def _append(self, connection: Connection, action: str, subject: str, details: dict[str, Any]) -> None:
        last = connection.execute(
            select(schema.audit.c.sequence, schema.audit.c.hash).order_by(schema.audit.c.sequence.desc()).limit(1)
        ).first()
        entry = AuditEntry(
            sequence=(last.sequence if last else 0) + 1,
            at=self._now(),
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

    def _last_move(self, connection: Connection, name: str, alias: str) -> int | None:
        rows = connection.execute(
            select(schema.audit.c.subject, schema.audit.c.details)
            .where(schema.audit.c.action == "promote")
            .order_by(schema.audit.c.sequence.desc())
        )
        for row in rows:
            details = msgspec.json.decode(row.details)
            if details["alias"] == alias and row.subject == f"{name}-{details['to']}":
                return int(details["to"])
        return None

    @staticmethod
    def _alias(connection: Connection, name: str, alias: str) -> int | None:
        table = schema.aliases
        return connection.execute(
            select(table.c.number).where(table.c.name == name, table.c.alias == alias)
        ).scalar_one_or_none()

    @staticmethod
    def _by_digest(connection: Connection, name: str, digest: Digest) -> Version | None:
        table = schema.versions
        row = connection.execute(select(table.c.record).where(table.c.name == name, table.c.digest == digest)).scalar()
        return None if row is None else msgspec.json.decode(row, type=Version)

    @staticmethod
    def _one(connection: Connection, name: str, number: int) -> Version:
        table = schema.versions
        wanted = select(table.c.record).where(table.c.name == name, table.c.number == number)
        row = connection.execute(wanted).scalar() if 0 < number <= _GREATEST else None
        if row is None:
            known = connection.execute(select(table.c.number).where(table.c.name == name).order_by(table.c.number))
            listed = ", ".join(str(existing) for existing in known.scalars()) or "none"
            raise RegistryError(f"{name} has no version {number}; there are: {listed}", next_step="roadworthy status")
        return msgspec.json.decode(row, type=Version)

    def _now(self) -> str:
        return self._clock.now().isoformat(timespec="seconds")

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        with self._translated(), self._engine.execution_options(changes=True).begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._translated(), self._engine.connect() as connection:
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


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        if parsed.drivername in {"postgres", "postgresql"}:
            parsed = parsed.set(drivername="postgresql+psycopg")  # the driver of the extra "postgres"
        parsed.get_dialect()
    except ArgumentError as error:
        raise RegistryError(
            "the registry's URL cannot be read",
            problems=[Problem(str(error).splitlines()[0], where="ROADWORTHY_REGISTRY", expected="a database URL")],
            next_step="set it to, for example, sqlite:////path/registry.db or postgresql://user@host/name",
        ) from error
    return parsed


def _engine(url: str) -> Engine:
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    try:
        engine = create_engine(parsed)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"a registry in {parsed.get_backend_name()} needs {error.name}, which is not installed",
            problems=[Problem(f"no module {error.name}", where="ROADWORTHY_REGISTRY", expected="the extra postgres")],
            next_step='pip install "roadworthy[postgres]"',
        ) from error
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _sqlite_settings)
        event.listen(engine, "begin", _sqlite_begin)
    if parsed.get_backend_name() == "postgresql":
        event.listen(engine, "begin", _postgres_begin)
    return engine


def _postgres_begin(connection: Connection) -> None:
    """Changes come one after another, so that numbers and links of the chain are given out once."""
    if connection.get_execution_options().get("changes", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_TURN})")


def _sqlite_settings(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun below, as writers, so that none has to be repeated
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    changes = connection.get_execution_options().get("changes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if changes else "BEGIN")


def _actor() -> str:
    """The login name; the user's number where the system has no name for it (some containers)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid:{os.getuid()}"


def _entry(row: dict[str, Any]) -> AuditEntry:
    return AuditEntry(**(row | {"details": msgspec.json.decode(row["details"])}))


def _link_hash(entry: AuditEntry) -> Digest:
    return digest_data(msgspec.structs.asdict(entry) | {"hash": ""})
