"""The manifest: which files make up a bundle, each by size and SHA-256, and who signed.

In: files' bytes. Out: canonical JSON, the bytes that are signed. Law: the manifest names every file of the
bundle except itself and its signature.
"""

from __future__ import annotations

from pathlib import PurePosixPath

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from roadworthy.errors import BundleError
from roadworthy.records.digests import Digest, digest_bytes

__all__ = ["FORMAT", "MANIFEST", "SIGNATURE", "FileEntry", "Manifest", "fingerprint", "public_key", "safe_name"]

FORMAT = 1
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"


class FileEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file: its digest and its size in bytes."""

    sha256: Digest
    size: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``files`` maps relative names to entries; ``parents`` names the records that it was made from.

    ``signer`` is the fingerprint of the signing key, for people; a loader trusts its own keys only.
    """

    kind: str = "roadworthy bundle"
    format: int = FORMAT
    name: str
    signer: Digest
    parents: dict[str, Digest]
    files: dict[str, FileEntry]


def public_key(pem: bytes) -> Ed25519PublicKey:
    """The Ed25519 key in a PEM; BundleError for anything else."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BundleError("a trusted key is not a public key in PEM form", next_step="run `roadworthy init`") from error
    if not isinstance(key, Ed25519PublicKey):
        raise BundleError(f"a trusted key is a {type(key).__name__}, expected Ed25519")
    return key


def fingerprint(pem: bytes) -> Digest:
    """Digest of the raw 32 bytes of a public key: how people tell keys apart."""
    return digest_bytes(public_key(pem).public_bytes(Encoding.Raw, PublicFormat.Raw))


def safe_name(name: str) -> bool:
    """Whether a name is a plain relative path that stays inside the bundle on any system.

    >>> safe_name("reference/columns.json"), safe_name("../key.pem"), safe_name("C:/x"), safe_name("a//b")
    (True, False, False, False)
    """
    path = PurePosixPath(name)
    parts = name.split("/")
    plain = all(part and part[0] != "." and part == part.strip() and part.isprintable() for part in parts)
    return plain and not path.is_absolute() and not set(name) & set('\\:*?"<>|')
