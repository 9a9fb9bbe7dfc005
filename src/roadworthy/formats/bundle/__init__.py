"""The bundle on disk: a signed folder that serving and monitoring need nothing beside.

``model.onnx``, ``contract.json``, ``standard.toml``, ``monitor.json``, ``reference/``, ``evidence.json``,
``card.md``, ``manifest.json`` (every file's SHA-256) and ``manifest.sig`` (Ed25519 over the manifest's bytes).
Holds no code and no pickle. In: the parts, and someone who signs. Out: a folder; and from a folder, after sniff →
verify → audit → construct, an ``OpenBundle``. Laws: the same parts give the same bytes; a bundle with any byte
changed, added or removed does not open; whom a loader trusts is the loader's own word, never the bundle's.
"""

from __future__ import annotations

from roadworthy.formats.bundle.binding import require_made_by, require_registered
from roadworthy.formats.bundle.fallback import Constant, constant_of, read_constant
from roadworthy.formats.bundle.manifest import FORMAT, FileEntry, Manifest, fingerprint
from roadworthy.formats.bundle.parts import FALLBACK, REFER, BundleParts, ServingContract
from roadworthy.formats.bundle.reading import OpenBundle, read_bundle
from roadworthy.formats.bundle.writing import write_bundle

__all__ = [
    "FALLBACK",
    "FORMAT",
    "REFER",
    "BundleParts",
    "Constant",
    "FileEntry",
    "Manifest",
    "OpenBundle",
    "ServingContract",
    "constant_of",
    "fingerprint",
    "read_bundle",
    "read_constant",
    "require_made_by",
    "require_registered",
    "write_bundle",
]
