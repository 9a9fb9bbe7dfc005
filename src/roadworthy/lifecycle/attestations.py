"""Signed words in the registry: attestations and waivers, written, taken back, and read only as they were signed.

In: a connection inside the registry's transaction, the links of the chain. Out: ``Signed``. Laws: a word is written in
the transaction that appends its link; what is read is what the chain says was written, and carries the signature of a
key that the registry trusts; a row that was added, edited or removed behind its back is refused.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from sqlalchemy import Connection, Row, select

from roadworthy.errors import PromotionRefused
from roadworthy.formats.bundle.manifest import fingerprint, public_key
from roadworthy.lifecycle import chain, schema
from roadworthy.records.attestation import (
    Revocation,
    Signed,
    SignedKind,
    Standing,
    revocation_message,
    signed_message,
)
from roadworthy.records.digests import Digest, digest_bytes
from roadworthy.records.version import Version

__all__ = ["Sign", "add", "read", "refuse_lapsed", "revoke"]

Sign = Callable[[bytes], bytes]
"""Bytes to their Ed25519 signature by the project's key."""

_ACTIONS = {SignedKind.ATTESTATION: "attest", SignedKind.WAIVER: "waive"}


def add(connection: Connection, links: chain.Links, draft: Signed, sign: Sign) -> Signed:
    """Write a word under the project's next number. ``draft`` has all but its number and signature."""
    number = max(chain.signed(links, draft.project), default=0) + 1
    numbered = msgspec.structs.replace(draft, number=number)
    word = msgspec.structs.replace(numbered, signature=_text(sign(signed_message(numbered))))
    record = msgspec.json.encode(word)
    values = {"project": word.project, "number": number, "kind": word.kind.value, "subject": word.subject}
    connection.execute(schema.signed.insert().values(**values, expires=word.expires, record=record.decode()))
    _link(connection, links, _ACTIONS[word.kind], word, record, at=word.signed_at)
    return word


def revoke(connection: Connection, links: chain.Links, word: Signed, revocation: Revocation, sign: Sign) -> Signed:
    """Write that a word no longer holds. ``revocation`` has all but its signature."""
    signature = _text(sign(revocation_message(word, revocation)))
    taken = msgspec.structs.replace(word, revocation=msgspec.structs.replace(revocation, signature=signature))
    record = msgspec.json.encode(taken)
    table = schema.signed
    here = (table.c.project == word.project, table.c.number == word.number)
    connection.execute(table.update().where(*here).values(record=record.decode()))
    _link(connection, links, "revoke", taken, record, at=revocation.at)
    return taken


def read(connection: Connection, links: chain.Links, project: str, trusted: Iterable[bytes]) -> tuple[Signed, ...]:
    """All words of a project by number, revoked and expired ones too, each checked.

    ``trusted`` are the registry's own keys, PEM. RegistryError names the word that is not as it was signed.
    """
    known = chain.signed(links, project)
    keys = {fingerprint(pem): pem for pem in trusted}
    table = schema.signed
    rows = connection.execute(select(table).where(table.c.project == project).order_by(table.c.number)).all()
    found = tuple(_checked(row, known, keys) for row in rows)
    lost = sorted(set(known) - {word.number for word in found})
    if lost:
        raise chain.broken(f"the signed word {lost[0]} of {project} is no longer in the registry")
    return found


def refuse_lapsed(version: Version, words: Iterable[Signed], today: date) -> None:
    """PromotionRefused where a verdict rests on a waiver that is no longer in force, or never was in this registry."""
    standing = {word.signature: word.standing(today) for word in words if word.kind is SignedKind.WAIVER}
    for requirement in version.verdict.requirements:
        waiver = requirement.waiver
        if waiver is None or standing.get(waiver.signature) is Standing.IN_FORCE:
            continue
        how = {Standing.EXPIRED: f"expired on {waiver.expires}", Standing.REVOKED: "was revoked"}
        ended = how.get(standing[waiver.signature], "") if waiver.signature in standing else "is not in the registry"
        raise PromotionRefused(
            f"{version.title} cannot be promoted: the waiver of {waiver.requirement} by {waiver.person} {ended}",
            next_step="roadworthy run   # judges it again as it stands today",
        )


def _link(connection: Connection, links: chain.Links, action: str, word: Signed, record: bytes, *, at: str) -> None:
    details: dict[str, Any] = {"project": word.project, "number": word.number, "record": digest_bytes(record)}
    chain.append(connection, links, action, word.title, details, at=at)


def _checked(row: Row[Any], known: dict[int, Digest], keys: dict[Digest, bytes]) -> Signed:
    title = f"the signed word {row.number} of {row.project}"
    if row.number not in known:
        raise chain.broken(f"{title} stands in the registry, but the audit chain does not say that it was signed")
    if digest_bytes(row.record.encode()) != known[row.number]:
        raise chain.broken(f"{title} is not as it was signed: its row was edited behind the registry's back")
    word = msgspec.json.decode(row.record, type=Signed)
    columns = (row.project, row.number, row.kind, row.subject, row.expires)
    if columns != (word.project, word.number, word.kind, word.subject, word.expires):
        raise chain.broken(f"{title} is not as it was signed: its row was edited behind the registry's back")
    proofs = [(word.signer, signed_message(word), word.signature)]
    if word.revocation is not None:
        proofs.append((word.revocation.signer, revocation_message(word, word.revocation), word.revocation.signature))
    for signer, message, signature in proofs:
        if signer not in keys or not _verified(keys[signer], message, signature):
            raise chain.broken(f"{title} does not carry the signature of a trusted key")
    return word


def _verified(pem: bytes, message: bytes, signature: str) -> bool:
    try:
        public_key(pem).verify(base64.b64decode(signature, validate=True), message)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _text(signature: bytes) -> str:
    return base64.b64encode(signature).decode()
