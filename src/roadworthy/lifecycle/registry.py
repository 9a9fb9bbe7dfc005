"""The registry: versions, aliases, trusted keys, API keys, signed words, the holdout ledger, and the audit chain.

In: records. Out: records. Every change is one transaction that also appends a link to the chain, so a process
killed at any instruction leaves either the old state or the new one. The alias ``champion`` moves only to a
version whose verdict is ready; that is decided here and nowhere else. Law: what is read is what the chain says was
written; a row that was added, edited or removed behind the registry's back is refused.

SQLite by default (``sqlite:///…``, write-ahead log), PostgreSQL by URL.
"""

from __future__ import annotations

from datetime import date

import msgspec
from sqlalchemy import Connection, func, select

from roadworthy.errors import PromotionRefused, RegistryError
from roadworthy.formats.bundle.manifest import fingerprint
from roadworthy.lifecycle import api_keys, chain, schema, version_rows
from roadworthy.lifecycle import attestations as signing
from roadworthy.lifecycle.chain import GENESIS
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.protocols import Clock
from roadworthy.records.attestation import (
    Attestation,
    Revocation,
    Signed,
    SignedKind,
    Standing,
    as_attestation,
    as_waiver,
)
from roadworthy.records.digests import Digest, digest_bytes, digest_data
from roadworthy.records.verdict import Readiness, Waiver
from roadworthy.records.version import AuditEntry, Version

__all__ = ["CHAMPION", "GENESIS", "Registry"]

CHAMPION = "champion"
"""The alias that servers follow."""

_GREATEST = 2**31 - 1  # of an INTEGER column in PostgreSQL


class Registry:
    """The registry at a database URL. Opening creates it, or migrates it to the newest schema.

    ``watched``: it is only looked at, again and again, by whoever follows it; it is neither created nor migrated, and
    may be gone between two looks.
    """

    def __init__(self, url: str, clock: Clock, *, watched: bool = False) -> None:
        self._clock = clock
        self._own = Transactions(url, watched=watched)

    def close(self) -> None:
        """Give the connections back."""
        self._own.close()

    # versions

    def register(self, version: Version) -> Version:
        """Add a version under the next number; the same bundle again keeps the number that it has.

        The link holds the digest of the record and of the bundle's manifest: what was judged, and what may be
        opened as this version. A bundle that is judged otherwise than before (a requirement was waived, a waiver
        expired, a person answered a question) gets the new verdict, evidence and report under its number, with a link
        of its own.
        """
        with self._own.changing() as connection:
            links = chain.links(connection)
            table = schema.versions
            known = connection.execute(
                select(table.c.number).where(table.c.name == version.name, table.c.manifest == version.manifest)
            ).scalar()
            if known is not None:
                return self._judged_again(connection, links, self._one(connection, links, version.name, known), version)
            last = connection.execute(select(func.max(table.c.number)).where(table.c.name == version.name)).scalar()
            number = max(last or 0, *chain.registered(links, version.name), 0) + 1
            numbered = msgspec.structs.replace(version, number=number, created_at=self._now())
            facts, record = version_rows.facts(numbered)
            connection.execute(table.insert().values(**facts, created_at=numbered.created_at, record=record.decode()))
            facts["record"] = digest_bytes(record)
            chain.append(connection, links, "register", numbered.title, facts, at=self._now())
            return numbered

    def versions(self, name: str) -> tuple[Version, ...]:
        """All versions of a project, newest first; RegistryError when one is not as it was registered."""
        table = schema.versions
        with self._own.reading() as connection:
            known = chain.registered(chain.links(connection), name)
            rows = connection.execute(select(table).where(table.c.name == name).order_by(table.c.number.desc())).all()
            found = tuple(version_rows.checked(row, known) for row in rows)
        lost = sorted(set(known) - {version.number for version in found})
        if lost:
            raise chain.broken(f"{name}-{lost[0]} was registered, but is no longer in the registry")
        return found

    def version(self, name: str, number: int) -> Version:
        """One version; RegistryError names the ones that exist, or says that it is not as it was registered."""
        with self._own.reading() as connection:
            return self._one(connection, chain.links(connection), name, number)

    # aliases

    def promote(self, name: str, number: int, alias: str = CHAMPION) -> Version:
        """Move an alias to a version whose verdict is ready; PromotionRefused says what stands against it.

        A waiver that the verdict rests on must be in force on the day of the promotion, too.
        """
        with self._own.changing() as connection:
            links = chain.links(connection)
            version = self._one(connection, links, name, number)
            if version.verdict.readiness is not Readiness.READY:
                raise PromotionRefused(
                    f"{version.title} cannot become {alias}: it is {version.verdict.readiness}. "
                    f"{version.verdict.sentence}",
                    next_step="roadworthy status   # says where the report lies, with all evidence",
                )
            signing.refuse_lapsed(version, self._signed(connection, links, name), self.today())
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
        with self._own.reading() as connection:
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

    def before(self, name: str, alias: str = CHAMPION) -> Version | None:
        """The version that an alias pointed to before it was moved to where it is; None when there was none."""
        with self._own.reading() as connection:
            links = chain.links(connection)
            moves = chain.moves(links, name, alias)
            earlier = [number for number in moves if number != moves[-1]]
            return self._one(connection, links, name, earlier[-1]) if earlier else None

    # the holdout ledger

    def look(self, holdout: Digest, subject: Digest) -> int:
        """Note that a subject is judged on a holdout; how many subjects have been, this one included."""
        table = schema.looks
        with self._own.changing() as connection:
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
        with self._own.changing() as connection:
            return self._trusting(connection, public_pem)

    def trusted_keys(self) -> tuple[bytes, ...]:
        """Public keys, PEM; RegistryError when one of them was not added by ``trust``."""
        with self._own.reading() as connection:
            return self._trusted(connection, chain.links(connection))

    # API keys

    def add_api_key(self, id_: str, name: str, digest: str) -> api_keys.KeyRecord:
        """Write a fresh API key, of which ``digest`` (SHA-256, hexadecimal) is all that is kept."""
        record = api_keys.KeyRecord(id=id_, name=name, digest=digest, created_at=self._now())
        with self._own.changing() as connection:
            api_keys.add(connection, chain.links(connection), record)
        return record

    def revoke_api_key(self, id_: str) -> api_keys.KeyRecord:
        """Write that a key is accepted no longer; UnknownName names those that are."""
        with self._own.changing() as connection:
            return api_keys.revoke(connection, chain.links(connection), id_, at=self._now())

    def api_keys(self) -> tuple[api_keys.KeyRecord, ...]:
        """All API keys, revoked ones too; RegistryError when one is not as it was written."""
        with self._own.reading() as connection:
            return api_keys.read(connection, chain.links(connection))

    # signed words

    def sign(
        self,
        project: str,
        kind: SignedKind,
        subject: str,
        words: str,
        *,
        person: str,
        expires: date,
        sign: signing.Sign,
        public_pem: bytes,
    ) -> Signed:
        """Write a person's word on a subject, signed with the project's key, which is trusted from now on."""
        with self._own.changing() as connection:
            signer = self._trusting(connection, public_pem)
            draft = Signed(
                project=project,
                number=0,
                kind=kind,
                subject=subject,
                words=words,
                person=person,
                expires=expires.isoformat(),
                signed_at=self._now(),
                signer=signer,
            )
            return signing.add(connection, chain.links(connection), draft, sign)

    def revoke(
        self,
        project: str,
        kind: SignedKind,
        subject: str,
        *,
        person: str,
        sign: signing.Sign,
        public_pem: bytes,
    ) -> tuple[Signed, ...]:
        """Take back every word of that kind on a subject that is still in force; those words, none if there is none."""
        taken = []
        with self._own.changing() as connection:
            signer = self._trusting(connection, public_pem)
            revocation = Revocation(person=person, at=self._now(), signer=signer)
            for word in self._signed(connection, chain.links(connection), project):
                standing = word.standing(self.today()) is Standing.IN_FORCE
                if standing and (word.kind, word.subject) == (kind, subject):
                    links = chain.links(connection)
                    taken.append(signing.revoke(connection, links, word, revocation, sign))
        return tuple(taken)

    def signed(self, project: str) -> tuple[Signed, ...]:
        """All signed words of a project by number, revoked and expired ones too; RegistryError when one was changed."""
        with self._own.reading() as connection:
            return self._signed(connection, chain.links(connection), project)

    def attestations(self, project: str) -> tuple[Attestation, ...]:
        """The attestations of a project that are in force today."""
        return tuple(as_attestation(word) for word in self._in_force(project, SignedKind.ATTESTATION))

    def waivers(self, project: str) -> tuple[Waiver, ...]:
        """The waivers of a project that are in force today."""
        return tuple(as_waiver(word) for word in self._in_force(project, SignedKind.WAIVER))

    def today(self) -> date:
        """The day on which words are in force or not, in UTC."""
        return self._clock.now().date()

    def _in_force(self, project: str, kind: SignedKind) -> list[Signed]:
        words, today = self.signed(project), self.today()
        return [word for word in words if word.kind is kind and word.standing(today) is Standing.IN_FORCE]

    # the audit chain

    def audit(self) -> tuple[AuditEntry, ...]:
        """All links, oldest first, after verifying them."""
        with self._own.reading() as connection:
            return chain.links(connection)

    def newest(self) -> tuple[int, Digest]:
        """Number and hash of the newest link, unverified: another after every change, and cheap to ask for."""
        with self._own.reading() as connection:
            return chain.newest(connection)

    def verify_chain(self) -> int:
        """Recompute every hash; the number of links. RegistryError names the first broken one."""
        return len(self.audit())

    # within a transaction

    def _judged_again(self, connection: Connection, links: chain.Links, known: Version, version: Version) -> Version:
        news = {"verdict": version.verdict, "evidence": version.evidence}
        if digest_data(news) == digest_data({"verdict": known.verdict, "evidence": known.evidence}):
            return known
        judged = msgspec.structs.replace(known, **news, report=version.report)
        facts, record = version_rows.facts(judged)
        table = schema.versions
        here = (table.c.name == known.name, table.c.number == known.number)
        connection.execute(table.update().where(*here).values(readiness=facts["readiness"], record=record.decode()))
        facts["record"] = digest_bytes(record)
        chain.append(connection, links, "judge", judged.title, facts, at=self._now())
        return judged

    def _trusting(self, connection: Connection, public_pem: bytes) -> Digest:
        found, table = fingerprint(public_pem), schema.keys
        links = chain.links(connection)
        known = connection.execute(select(table.c.fingerprint).where(table.c.fingerprint == found)).scalar()
        if known is None or found not in chain.trusted(links):
            connection.execute(table.delete().where(table.c.fingerprint == found))
            values = {"fingerprint": found, "public_pem": public_pem.decode(), "added_at": self._now()}
            connection.execute(table.insert().values(**values))
            chain.append(connection, links, "trust", found, {}, at=self._now())
        return found

    @staticmethod
    def _trusted(connection: Connection, links: chain.Links) -> tuple[bytes, ...]:
        trusted = chain.trusted(links)
        pems = [pem.encode() for pem in connection.execute(select(schema.keys.c.public_pem)).scalars()]
        for found in map(fingerprint, pems):
            if found not in trusted:
                raise chain.broken(f"the trusted key {found[:19]}… was added or changed behind the registry's back")
        return tuple(pems)

    @classmethod
    def _signed(cls, connection: Connection, links: chain.Links, project: str) -> tuple[Signed, ...]:
        return signing.read(connection, links, project, cls._trusted(connection, links))

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
            return version_rows.checked(row, known)
        if number in known:
            raise chain.broken(f"{name}-{number} was registered, but is no longer in the registry")
        listed = ", ".join(map(str, sorted(known))) or "none"
        raise RegistryError(f"{name} has no version {number}; there are: {listed}", next_step="roadworthy status")

    def _now(self) -> str:
        return self._clock.now().isoformat(timespec="seconds")
