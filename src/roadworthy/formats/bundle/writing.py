"""Writes a bundle: the files, then the manifest, then the signature, which makes it one.

In: ``BundleParts``, a fresh folder, and someone who signs. Out: the manifest. Law: the bytes depend on the parts
and the key alone; a folder that was interrupted has no signature and does not open.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from roadworthy.errors import BundleError, StorageError
from roadworthy.formats.bundle.manifest import MANIFEST, SIGNATURE, FileEntry, Manifest, fingerprint, safe_name
from roadworthy.formats.bundle.parts import BundleParts
from roadworthy.records.digests import canonical_json, digest_bytes

__all__ = ["write_bundle"]


def write_bundle(
    folder: Path, parts: BundleParts, *, sign: Callable[[bytes], bytes], public_key_pem: bytes
) -> Manifest:
    """Write all files of ``parts`` into ``folder``, which must be empty or absent.

    ``sign`` gives the 64 bytes of an Ed25519 signature that ``public_key_pem`` verifies. Raises BundleError for
    a name that would leave the folder or a folder that holds files, StorageError when the disk cannot take it.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BundleError(f"{folder} already holds files", next_step="write the bundle into a fresh folder")
    files = _files(parts)
    unsafe = sorted(name for name in files if not safe_name(name))
    if unsafe:
        raise BundleError(f"these names cannot stand in a bundle: {', '.join(unsafe)}")
    manifest = Manifest(
        name=parts.contract.name,
        signer=fingerprint(public_key_pem),
        parents=dict(parts.parents),
        files={name: FileEntry(sha256=digest_bytes(content), size=len(content)) for name, content in files.items()},
    )
    signed = canonical_json(manifest)
    try:
        for name, content in sorted(files.items()):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        (folder / MANIFEST).write_bytes(signed)
        (folder / SIGNATURE).write_bytes(sign(signed))
    except OSError as error:
        raise StorageError(
            f"the bundle cannot be written to {folder}: {error.strerror}", next_step="free space, then run again"
        ) from error
    return manifest


def _files(parts: BundleParts) -> dict[str, bytes]:
    return {
        "model.onnx": parts.model,
        "contract.json": canonical_json(parts.contract),
        "standard.toml": parts.standard_toml.encode(),
        "monitor.json": canonical_json(dict(parts.monitor)),
        "evidence.json": canonical_json(parts.evidence),
        "card.md": parts.card_md.encode(),
        **{f"reference/{name}": content for name, content in parts.reference.items()},
    }
