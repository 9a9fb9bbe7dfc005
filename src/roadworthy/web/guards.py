"""Who may look, and from where a change may come.

In: headers and cookies. Out: the person, or a refusal. Laws: where the registry has keys, or the dashboard can be
reached from other machines, nobody sees a page without having shown a key; a change is accepted from our own pages
only; a name that a stranger's DNS could lead here is refused; a key that was revoked opens nothing any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from cryptography.fernet import Fernet, InvalidToken

from roadworthy.lifecycle.api_keys import KeyRecord
from roadworthy.serving.calls import Failure
from roadworthy.serving.hosts import Hosts
from roadworthy.serving.keys import ApiKey, KeyRing
from roadworthy.views.dashboard import Site

__all__ = ["MOST_FORM", "SECURITY_HEADERS", "Guards"]

_DAY_S = 12 * 3_600
_OWN = frozenset({"same-origin", "none"})
_SAID = "said:"
MOST_FORM = 256_000
"""Bytes of one form."""

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""Of every answer."""


class Guards:
    """Of one dashboard. ``open_to_others``: it can be reached from other machines; ``names``: what it may be called."""

    def __init__(self, site: Site, *, open_to_others: bool, names: tuple[str, ...] = ()) -> None:
        self._site, self._open_to_others = site, open_to_others
        self._hosts = Hosts(names)
        self._box = Fernet(Fernet.generate_key())  # sessions end with the process

    def admit_host(self, host: str) -> bool:
        """Whether the ``Host`` of a request is one of ours."""
        try:
            self._hosts.admit(host.encode("latin-1", "replace"))
        except Failure:
            return False
        return True

    @staticmethod
    def own_page(headers: Mapping[str, str]) -> bool:
        """Whether a change comes from a page of ours (Fetch Metadata, W3C; else the ``Origin``)."""
        site = headers.get("sec-fetch-site", "")
        if site:
            return site in _OWN
        origin = headers.get("origin", "")
        return bool(origin) and urlsplit(origin).netloc == headers.get("host", "")

    def must_sign_in(self) -> bool:
        """Whether pages are shown only to holders of a key."""
        return self._open_to_others or bool(self._in_force())

    def person(self, cookie: str) -> str:
        """The name behind a session; empty for none, an old one, or one whose key was revoked."""
        id_ = self._opened(cookie)
        return next((key.name for key in self._in_force() if key.id == id_), "") if id_ else ""

    def session(self, key: str) -> str:
        """A session for the holder of a key; empty where the key is none of ours."""
        in_force = self._in_force()
        ring = KeyRing(ApiKey(id=one.id, name=one.name, digest=one.digest) for one in in_force)
        name = ring.name_of(key.strip().encode())
        id_ = next((one.id for one in in_force if one.name == name), "")
        return self._box.encrypt(id_.encode()).decode() if id_ else ""

    def sealed(self, words: str) -> str:
        """Words for the next page, in a cookie that only we can have written."""
        return self._box.encrypt((_SAID + words).encode()).decode()

    def unsealed(self, cookie: str) -> str:
        """The words of such a cookie; empty for any other."""
        words = self._opened(cookie)
        return words.removeprefix(_SAID) if words.startswith(_SAID) else ""

    def _opened(self, cookie: str) -> str:
        if not cookie:
            return ""
        try:
            return self._box.decrypt(cookie.encode(), ttl=_DAY_S).decode()
        except (InvalidToken, UnicodeError):
            return ""  # not ours, or too old: as good as none

    def _in_force(self) -> list[KeyRecord]:
        return [one for one in self._site.registry.api_keys() if not one.revoked_at]
