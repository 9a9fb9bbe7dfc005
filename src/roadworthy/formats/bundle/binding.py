"""What binds a bundle to a run and to a registered version.

In: an open bundle, and the record that it claims to belong to. Out: the manifest's digest, or a BundleError. Laws:
a version is judged by the evidence that its bundle carries under signature; only the bundle whose manifest was
registered opens as that version, however well another one is signed.
"""

from __future__ import annotations

import msgspec

from roadworthy.errors import BundleError, Problem
from roadworthy.formats.bundle.reading import OpenBundle
from roadworthy.records.digests import Digest
from roadworthy.records.evidence import Evidence
from roadworthy.records.model import Bundle
from roadworthy.records.version import Version

__all__ = ["require_made_by", "require_registered"]


def require_made_by(bundle: OpenBundle, made: Bundle) -> Digest:
    """The manifest's digest of a bundle that carries the name, validation and evidence of the record ``made``.

    Raises BundleError when it does not: another bundle lies where the run's own was put.
    """
    judged = msgspec.json.decode(msgspec.json.encode(made.evidence), type=Evidence)
    pairs = {
        "name": (bundle.manifest.name, made.name),
        "validation": (bundle.manifest.parents.get("validation"), made.parent),
        "evidence": (bundle.parts.evidence, judged),
    }
    odd = [where for where, (found, own) in pairs.items() if found != own]
    if odd:
        raise BundleError(
            f"{bundle.folder} is not the bundle that was packaged there",
            problems=[Problem("differs from what this run packaged", where=where) for where in odd],
            next_step=f"remove {bundle.folder.parent} and run again",
        )
    return bundle.digest


def require_registered(bundle: OpenBundle, version: Version) -> OpenBundle:
    """The bundle, if it is the one that was registered as ``version``; otherwise BundleError."""
    if bundle.digest != version.manifest:
        raise BundleError(
            f"{bundle.folder} is not the bundle that was registered as {version.title}",
            problems=[Problem(f"manifest {bundle.digest}", where="manifest.json", expected=version.manifest)],
            next_step="restore the lake from a backup, or package the model again as a new version: "
            f"remove {bundle.folder.parent}, then `roadworthy run`",
        )
    return bundle
