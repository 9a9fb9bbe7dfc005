"""Opens a bundle: sniff → verify → audit → construct.

In: a folder that claims to be a bundle, and the public keys that this loader trusts. Out: an ``OpenBundle``, or
one BundleError with every fault. Nothing is parsed before its signature or digest is checked, and what was
checked is what is used: each file is read once.
"""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import onnx
from cryptography.exceptions import InvalidSignature
from google.protobuf.message import DecodeError

from roadworthy.errors import BundleError, Problem
from roadworthy.formats.bundle.manifest import (
    FORMAT,
    MANIFEST,
    SIGNATURE,
    Manifest,
    fingerprint,
    public_key,
    safe_name,
)
from roadworthy.formats.bundle.parts import BundleParts, ServingContract
from roadworthy.graph_audit import graph_fault
from roadworthy.records.digests import Digest, digest_bytes
from roadworthy.records.evidence import Evidence

__all__ = ["OpenBundle", "read_bundle"]

_REQUIRED = ("model.onnx", "contract.json", "standard.toml", "monitor.json", "evidence.json", "card.md")
_REFERENCE = "reference/"
_MAX_MANIFEST = 1 << 20
_MAX_FILE = 2 << 30
_AGAIN = "fetch the bundle again, or package the model again with `roadworthy run`"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBundle:
    """A verified bundle in memory. ``digest`` is that of its manifest, ``signer`` the trusted key that signed."""

    folder: Path
    digest: Digest
    signer: Digest
    manifest: Manifest
    parts: BundleParts


def read_bundle(folder: Path, trusted_public_keys: Sequence[bytes]) -> OpenBundle:
    """Open the bundle in ``folder`` if one of ``trusted_public_keys`` (PEM) signed it and every byte is as signed.

    Raises BundleError: not a bundle, signed by nobody trusted, a newer format, files missing, added, changed or
    linked elsewhere, contents that do not parse or do not fit together.
    """
    _sniff(folder)
    signed = _small_file(folder / MANIFEST)
    signer = _verified_by(folder, signed, _small_file(folder / SIGNATURE), trusted_public_keys)
    reader = _READERS[_format_of(signed, folder)]
    manifest = reader(signed)
    files = _verified_files(folder, manifest)
    return OpenBundle(
        folder=folder, digest=digest_bytes(signed), signer=signer, manifest=manifest, parts=_audited(manifest, files)
    )


def _sniff(folder: Path) -> None:
    if not folder.is_dir():
        raise BundleError(f"{folder} is not a folder, so not a bundle", next_step="pass the bundle's folder")
    absent = [name for name in (MANIFEST, SIGNATURE) if not (folder / name).is_file()]
    if absent:
        raise BundleError(f"{folder} is not a whole bundle: it lacks {' and '.join(absent)}", next_step=_AGAIN)


def _small_file(path: Path) -> bytes:
    if path.is_symlink() or path.stat().st_size > _MAX_MANIFEST:
        raise BundleError(f"{path} is a link or too large to be what its name says", next_step=_AGAIN)
    return path.read_bytes()


def _verified_by(folder: Path, signed: bytes, signature: bytes, trusted: Sequence[bytes]) -> Digest:
    """The fingerprint of the trusted key whose signature this is."""
    for pem in trusted:
        try:
            public_key(pem).verify(signature, signed)
        except InvalidSignature:
            continue
        return fingerprint(pem)
    known = ", ".join(fingerprint(pem)[:19] + "…" for pem in trusted) or "none"
    raise BundleError(
        f"no trusted key signed {folder} as it stands (trusted: {known})",
        next_step="if you trust its maker, add their public key; otherwise do not use it",
    )


def _format_of(signed: bytes, folder: Path) -> int:
    """The format number, read by itself so that an unknown one can be named."""
    try:
        number = msgspec.json.decode(signed, type=_Numbered).format
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BundleError(f"{folder / MANIFEST} is no manifest: {error}", next_step=_AGAIN) from error
    if number not in _READERS:
        newest = max(_READERS)
        raise BundleError(
            f"{folder} has bundle format {number}; this version of Roadworthy reads up to {newest}",
            next_step="upgrade Roadworthy" if number > newest else _AGAIN,
        )
    return number


class _Numbered(msgspec.Struct):
    format: int


def _read_1(signed: bytes) -> Manifest:
    try:
        return msgspec.json.decode(signed, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BundleError(f"the manifest does not parse: {error}", next_step=_AGAIN) from error


_READERS: dict[int, Callable[[bytes], Manifest]] = {FORMAT: _read_1}


def _verified_files(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    """Every file's bytes, after checking that the folder holds exactly what was signed."""
    problems = [Problem("name leaves the bundle", where=repr(name)) for name in manifest.files if not safe_name(name)]
    if problems:
        raise BundleError(f"{folder} has names that cannot be", problems=problems)
    found = dict(_walk(folder, folder, problems))
    problems += [Problem("is missing", where=name) for name in sorted(set(manifest.files) - set(found))]
    extra = set(found) - set(manifest.files) - {MANIFEST, SIGNATURE}
    problems += [Problem("is not in the manifest", where=name) for name in sorted(extra)]
    files: dict[str, bytes] = {}
    for name in sorted(set(manifest.files) & set(found)):
        entry = manifest.files[name]
        size = found[name].stat().st_size
        if size != entry.size or size > _MAX_FILE:
            problems.append(Problem(f"has {size:,} bytes", where=name, expected=f"{entry.size:,}"))
            continue
        content = found[name].read_bytes()
        if digest_bytes(content) != entry.sha256:
            problems.append(Problem("was altered: its SHA-256 differs from the signed one", where=name))
        files[name] = content
    if problems:
        raise BundleError(f"{folder} is not what was signed", problems=problems, next_step=_AGAIN)
    return files


def _walk(root: Path, folder: Path, problems: list[Problem]) -> Iterator[tuple[str, Path]]:
    """Regular files by relative name; links and special files become problems and are not followed."""
    for path in sorted(folder.iterdir()):
        name = path.relative_to(root).as_posix()
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            yield from _walk(root, path, problems)
        elif stat.S_ISREG(mode):
            yield name, path
        else:
            problems.append(Problem("is a link or a special file", where=name, expected="a regular file"))


def _audited(manifest: Manifest, files: dict[str, bytes]) -> BundleParts:
    absent = [name for name in _REQUIRED if name not in files]
    unknown = [name for name in files if name not in _REQUIRED and not name.startswith(_REFERENCE)]
    problems = [Problem("is missing", where=name) for name in absent]
    problems += [Problem("has no place in a bundle", where=name) for name in unknown]
    if problems:
        raise BundleError(f"bundle {manifest.name!r} is not complete", problems=problems, next_step=_AGAIN)
    contract = _decoded(files, "contract.json", ServingContract)
    if contract.format != FORMAT:
        raise BundleError(f"contract.json has format {contract.format}, this version reads {FORMAT}", next_step=_AGAIN)
    _audit_model(files["model.onnx"], contract)
    return BundleParts(
        model=files["model.onnx"],
        contract=contract,
        standard_toml=_toml(files, "standard.toml"),
        monitor=_decoded(files, "monitor.json", dict[str, Any]),
        evidence=_decoded(files, "evidence.json", Evidence),
        card_md=_text(files, "card.md"),
        reference={
            name.removeprefix(_REFERENCE): content for name, content in files.items() if name.startswith(_REFERENCE)
        },
        parents=manifest.parents,
    )


def _decoded(files: dict[str, bytes], name: str, kind: Any) -> Any:
    try:
        return msgspec.json.decode(_text(files, name), type=kind)
    except msgspec.MsgspecError as error:
        raise BundleError(f"{name} does not parse: {error}", next_step=_AGAIN) from error


def _toml(files: dict[str, bytes], name: str) -> str:
    text = _text(files, name)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BundleError(f"{name} does not parse: {error}", next_step=_AGAIN) from error
    return text


def _text(files: dict[str, bytes], name: str) -> str:
    try:
        return files[name].decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{name} is not UTF-8 text: {error.reason}", next_step=_AGAIN) from error


def _audit_model(content: bytes, contract: ServingContract) -> None:
    """The graph parses, passes the audit of every graph, and takes and gives what the contract says."""
    try:
        model = onnx.load_from_string(content)
    except (DecodeError, ValueError) as error:
        raise BundleError("model.onnx does not parse", next_step=_AGAIN) from error
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = {value.name for value in graph.input} - constants
    expected = set(contract.inputs)
    masks = {f"{name}.missing" for name in expected}
    problems = []
    if not expected <= inputs or not inputs <= expected | masks:
        odd = sorted((expected - inputs) | (inputs - expected - masks))
        problems.append(Problem(f"inputs differ from contract.json in {', '.join(odd)}", where="model.onnx"))
    if contract.output not in {value.name for value in graph.output}:
        problems.append(Problem(f"has no output {contract.output!r}", where="model.onnx"))
    fault = graph_fault(model)
    if fault is not None:
        problems.append(Problem(fault.found, expected=fault.expected, where="model.onnx"))
    if problems:
        raise BundleError("the bundle's parts do not fit together", problems=problems, next_step=_AGAIN)
