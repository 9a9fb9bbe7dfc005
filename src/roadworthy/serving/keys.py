"""Who may ask: API keys, of which only a digest is kept.

In: the headers of a request. Out: the name of the key, or None. Laws: a secret is compared in constant time, with as
many comparisons whether its key is known or not; it is in no log and no error. A key reads ``rw_<id>_<secret>``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from hmac import compare_digest

import msgspec

__all__ = ["ApiKey", "Holder", "KeyRing", "new_key"]

_PREFIX = "rw"
_ID_BYTES, _SECRET_BYTES = 6, 24
_LONGEST = 200
_ID = slice(len(_PREFIX) + 1, len(_PREFIX) + 1 + 2 * _ID_BYTES)
_NOBODY = sha256(b"").digest()


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is kept: ``digest`` is SHA-256 of the whole key, in hexadecimal; ``name`` is for people."""

    id: str
    name: str
    digest: str


def new_key(name: str) -> tuple[ApiKey, str]:
    """A fresh key as it is kept, and its text, which is shown once."""
    id_ = secrets.token_hex(_ID_BYTES)
    text = f"{_PREFIX}_{id_}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    return ApiKey(id=id_, name=name, digest=sha256(text.encode()).hexdigest()), text


Holder = Callable[[Mapping[bytes, bytes]], str | None]
"""Names who sent headers; None where nobody is known."""


class KeyRing:
    """The keys that a server accepts; without any, everyone on this machine may ask."""

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._keys: Mapping[bytes, tuple[bytes, str]] = {
            key.id.encode(): (bytes.fromhex(key.digest), key.name) for key in keys
        }

    def __bool__(self) -> bool:
        return bool(self._keys)

    def holder(self, headers: Mapping[bytes, bytes]) -> str | None:
        """The name of the key that these headers carry; None for none, or a wrong one.

        ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``.
        """
        value = headers.get(b"authorization", b"")
        if value[:7].lower() == b"bearer ":
            return self.name_of(value[7:].strip())
        return self.name_of(headers.get(b"x-api-key", b"").strip())

    def name_of(self, text: bytes) -> str | None:
        """The name of a key by its text."""
        if len(text) > _LONGEST:
            return None
        digest, name = self._keys.get(text[_ID], (_NOBODY, ""))
        return name if compare_digest(sha256(text).digest(), digest) and name else None
