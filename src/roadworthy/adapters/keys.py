"""The project's keys: one pair that signs bundles, one secret that hashes personal columns.

In: a project folder. Out: ``Keys`` (signs) and its ``Hasher`` (hides). The files stand in
``<project>/.roadworthy/keys/`` (folders 0700, secrets 0600, ``.roadworthy`` kept out of version control) and are
never overwritten. Whoever only answers takes the ``Hasher`` alone, from a file of its own: the key that signs stays
where models are made. Laws: ``verify(keys.public_pem, m, keys.sign(m))`` for every message; a hash depends on the key
and the trimmed text alone, in which a whole number has no point; a missing or blank value stays missing. Ed25519 is
RFC 8032, BLAKE2b RFC 7693.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from roadworthy.errors import BundleError, DataError, Problem, RoadworthyError, StorageError, UsageError
from roadworthy.records.digests import Digest, digest_bytes

__all__ = ["Hasher", "Keys", "create_keys", "hashing_key_file", "keys_folder", "load_hasher", "load_keys", "verify"]

_SIGNING = "signing.pem"
_HASHING = "hashing.key"
_SECRETS = Path("/run/secrets")  # where containers find theirs, which nobody else on the machine sees
_HASH_BYTES = 16  # 32 hexadecimal characters: a billion values collide with probability 1.5e-21
_HASHING_KEY_BYTES = 32
_LONG = 1 << 19  # rows of a column whose texts are told apart before they are numbered; pieces of a stream are shorter
_REMEMBERED = 1 << 21  # hashes kept at hand: some 300 MB of memory, unless one piece of a column has more

# Polars may run a second column inside a call that waits for its thread pool; waiting without end would lock up both.
_PATIENCE_S = 5.0

# what file systems say that have no hard links or no locks
_UNSUPPORTED = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.ENOLCK})

_WHOLE_BELOW = 2.0**63  # a whole number above it has no Int64, and a point in its text form


class Hasher:
    """Turns personal values into keyed hashes: 32 hexadecimal characters each.

    The same text gives the same hash within a project, and nothing without the key. Surrounding spaces do not
    count (cleaning trims them everywhere else, and cannot once a value is hashed), so blank is missing.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != _HASHING_KEY_BYTES:
            raise UsageError(f"a hashing key has {_HASHING_KEY_BYTES} bytes, this one {len(key)}")
        self._key = key
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._texts = pl.Categories.random("roadworthy")
        self._anchor = pl.Series([], dtype=pl.Categorical(self._texts))  # Polars drops numbers that no series uses
        self._hashes = pl.Series("hash", [], dtype=pl.String)

    @property
    def fingerprint(self) -> Digest:
        """Names the key without telling it: another key, another fingerprint."""
        return digest_bytes(hashlib.blake2b(b"roadworthy hashing key", key=self._key).digest())

    def hash_one(self, text: str | None) -> str | None:
        """The hash of one value; None for a missing or blank one."""
        trimmed = None if text is None else text.strip()
        if not trimmed:
            return None
        return hashlib.blake2b(trimmed.encode(), key=self._key, digest_size=_HASH_BYTES).hexdigest()

    def hash(self, series: pl.Series) -> pl.Series:
        """The hashes of a column of any type, through its text form; String, same name and length.

        Every distinct text is hashed once, also over many calls: Polars numbers the texts, and the number finds
        the hash. Law: ``hash(s)[i] == hash_one(t[i])`` where t is the text as it stands, and for numbers the shortest
        one: 42, 42.0 and a decimal 42.00 are "42", NaN is missing. Raises DataError for lists and records.
        """
        if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object):
            raise DataError(
                f"the personal column {series.name} holds values that have no text form",
                problems=(Problem(str(series.dtype), where=f"column {series.name}", expected="text or numbers"),),
                next_step="take one text or number a row out of it in the source",
            )
        texts = _texts(series)
        if len(texts) < _LONG or _distinct(texts) > len(texts) // 2:
            return self._numbered(texts).alias(series.name)
        runs, places = _runs(texts)
        return self._numbered(runs).gather(places).alias(series.name)

    def _numbered(self, texts: pl.Series) -> pl.Series:
        """The hashes of texts, found by the number that Polars gives to each."""
        if not self._lock.acquire(timeout=_PATIENCE_S):
            return pl.Series(list(map(self.hash_one, texts.to_list())), dtype=pl.String)
        try:
            if len(self._hashes) > _REMEMBERED:
                self._forget()
            numbers = texts.cast(pl.Categorical(self._texts)).to_physical()
            self._learn(numbers, texts)
            hashes = self._hashes
        finally:
            self._lock.release()
        return hashes.gather(numbers)

    def _learn(self, numbers: pl.Series, texts: pl.Series) -> None:
        """Hash the texts whose numbers are new. Numbers are given in sequence, from 0."""
        known = len(self._hashes)
        new = numbers.is_not_null() & (numbers >= known)
        fresh = pl.DataFrame({"number": numbers.filter(new), "text": texts.filter(new)}).unique("number").sort("number")
        if fresh.is_empty():
            return
        if fresh["number"][-1] != known + len(fresh) - 1:
            raise RuntimeError("this version of Polars does not number categories in sequence")
        added = pl.Series("hash", list(map(self.hash_one, fresh["text"].to_list())), dtype=pl.String)
        self._hashes = pl.concat([self._hashes, added], rechunk=True)


def _distinct(texts: pl.Series) -> int:
    """About how many different texts there are."""
    return int(pl.select(pl.lit(texts).approx_n_unique()).item())


def _runs(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Each text once (those whose quick hashes collide perhaps again), and per row its place among them.

    A sort by the quick hash costs less than a number for every row: equal texts become neighbours.
    """
    order = texts.hash().arg_sort()
    ordered = texts.gather(order)
    begins = ordered.ne_missing(ordered.shift(1)).to_numpy().copy()
    begins[0] = True
    places = np.empty(len(texts), dtype=np.uint32)
    places[order.to_numpy()] = np.cumsum(begins, dtype=np.uint32) - 1
    return ordered.filter(pl.Series(begins)), pl.Series(places)


def _texts(series: pl.Series) -> pl.Series:
    """The text form of each value, which does not depend on how a number is held."""
    dtype = series.dtype
    if dtype.is_decimal():
        written = series.cast(pl.String)
        return written.str.replace(r"(\.\d*?)0+$", "${1}").str.strip_suffix(".")
    if not dtype.is_float():
        return series.cast(pl.String)
    finite = series.fill_nan(None)
    whole = (finite == finite.floor()) & (finite.abs() < _WHOLE_BELOW)
    integers = finite.cast(pl.Int64, strict=False).cast(pl.String)
    return integers.zip_with(whole.fill_null(value=False), finite.cast(pl.String))


class Keys:
    """A project's signing key, and the hasher of its personal columns."""

    def __init__(self, signing: Ed25519PrivateKey, hashing: bytes) -> None:
        self._signing = signing
        self.hasher = Hasher(hashing)

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature, 64 bytes."""
        return self._signing.sign(message)

    @property
    def public_pem(self) -> bytes:
        """The public half as PEM (SubjectPublicKeyInfo)."""
        return self._signing.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def fingerprint(self) -> Digest:
        """Digest of the raw public key."""
        return digest_bytes(self._signing.public_key().public_bytes_raw())


def keys_folder(project: Path) -> Path:
    """Where the keys of the project in folder ``project`` stand."""
    return project / ".roadworthy" / "keys"


def hashing_key_file(project: Path) -> Path:
    """Where the key that hides personal values of the project in folder ``project`` stands."""
    return keys_folder(project) / _HASHING


def create_keys(project: Path) -> Keys:
    """Make what is missing of a project's keys and load them; what exists is never overwritten.

    Raises StorageError when the folder cannot be written.
    """
    folder = keys_folder(project)
    try:
        _private(folder.parent)
        _private(folder)
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with _alone_in(folder) as alone:
            if alone:
                _remove_leftovers(folder)
            _write_new(folder / _SIGNING, pem)
            _write_new(folder / _HASHING, secrets.token_bytes(_HASHING_KEY_BYTES).hex().encode() + b"\n")
            _sync(folder)
    except OSError as error:
        raise StorageError(
            f"the project's keys cannot be written: {error.strerror}",
            problems=(Problem(str(error.strerror), where=str(folder), expected="a folder that can be written"),),
            next_step=f"make {folder} writable and run the command again",
        ) from error
    return load_keys(project)


def _private(folder: Path) -> None:
    """A folder that nobody else reads and no version control takes in."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")


@contextmanager
def _alone_in(folder: Path) -> Iterator[bool]:
    """Whether no other process makes keys here meanwhile; false where the file system knows no locks."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            alone = True
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            alone = False
        yield alone
    finally:
        os.close(handle)


def _remove_leftovers(folder: Path) -> None:
    """What a killed process left half done: each may hold a private key."""
    for name in (_SIGNING, _HASHING):
        for leftover in folder.glob(f".{name}.*"):
            leftover.unlink(missing_ok=True)


def _write_new(path: Path, content: bytes) -> None:
    """Publish a secret whole under a new name; keep the one that is there."""
    if path.exists():
        return
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _write_secret(fresh, content)
        os.link(fresh, path)
    except FileExistsError:
        return  # another process made it meanwhile; its key stands
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        _write_directly(path, content)
    finally:
        fresh.unlink(missing_ok=True)


def _write_directly(path: Path, content: bytes) -> None:
    """The same where the file system has no hard links: never over a file that is there, and none left half written."""
    try:
        _write_secret(path, content)
    except FileExistsError:
        return  # another process made it meanwhile; its key stands
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _write_secret(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load_keys(project: Path) -> Keys:
    """The project's keys. Raises UsageError when one is missing, damaged, or readable by others."""
    folder = keys_folder(project)
    paths = (folder / _SIGNING, folder / _HASHING)
    problems = [problem for path in paths for problem in _faults(path)]
    if problems:
        raise UsageError(
            "the project's keys cannot be used",
            problems=problems,
            next_step=f"restore {folder} from a backup; a project that never had keys gets them from `roadworthy init`",
        )
    try:
        signing = serialization.load_pem_private_key(paths[0].read_bytes(), password=None)
        hashing = bytes.fromhex(paths[1].read_text("ascii").strip())
    except (ValueError, OSError) as error:
        raise _damaged(folder) from error
    if not isinstance(signing, Ed25519PrivateKey) or len(hashing) != _HASHING_KEY_BYTES:
        raise _damaged(folder)
    return Keys(signing, hashing)


def load_hasher(file: Path) -> Hasher:
    """The hasher of a key in a file of its own. Raises UsageError when it is missing, damaged, or readable by others.

    The file's group may read it, as mounted secrets are had by a group; below ``/run/secrets`` everybody may.
    """
    forbidden = 0o022 if file.is_relative_to(_SECRETS) else 0o027
    next_step = f"restore {file} from a backup, or copy hashing.key out of .roadworthy/keys of the project"
    if problems := _faults(file, forbidden):
        raise UsageError("the key that hides personal values cannot be used", problems=problems, next_step=next_step)
    try:
        return Hasher(bytes.fromhex(file.read_text("ascii").strip()))
    except (ValueError, OSError, UsageError) as error:
        found = error.strerror if isinstance(error, OSError) else "no key"
        raise UsageError(
            "the key that hides personal values cannot be used",
            problems=(Problem(str(found), where=str(file), expected=f"{2 * _HASHING_KEY_BYTES} hex digits"),),
            next_step=next_step,
        ) from error


def _faults(path: Path, forbidden: int = 0o077) -> list[Problem]:
    if not path.is_file():
        return [Problem("no such file", where=str(path), expected="a key")]
    mode = path.stat().st_mode & 0o777
    if mode & forbidden:
        return [Problem(f"others may read it (mode {mode:04o})", where=str(path), expected=f"chmod 600 {path}")]
    return []


def _damaged(folder: Path) -> RoadworthyError:
    return UsageError(
        f"the project's keys in {folder} are damaged",
        problems=(Problem("a file that is no key", where=str(folder), expected="an Ed25519 PEM and 64 hex digits"),),
        next_step=f"restore {folder} from a backup",
    )


def verify(public_pem: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is the key's own on ``message``. Raises BundleError when the key is not Ed25519."""
    try:
        public = serialization.load_pem_public_key(public_pem)
    except ValueError as error:
        raise BundleError("the public key is not a PEM key") from error
    if not isinstance(public, Ed25519PublicKey):
        raise BundleError("the public key is of another kind", problems=(Problem("not Ed25519", expected="Ed25519"),))
    try:
        public.verify(signature, message)
    except InvalidSignature:
        return False
    return True
