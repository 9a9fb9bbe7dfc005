"""Which names a server on loopback answers to, so that no web page reaches it under a name of its own.

In: the ``Host`` of a request. Out: whether it is one of ours. Law: a name that a stranger's DNS could lead here, a name
with a dot in it that nobody allowed, is refused; addresses, names without a dot and ``*.localhost`` are answered.

A page of evil.example may ask evil.example for anything. If its DNS then says 127.0.0.1, it asks us, from inside the
user's browser; its ``Host`` still says evil.example. A key stops that as well, so this is for servers without one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from roadworthy.errors import Problem
from roadworthy.serving.calls import Failure

__all__ = ["Hosts"]

_MOST_KNOWN = 64


class Hosts:
    """The names of one server: ``names`` are those that were allowed, and the one it is bound to."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(name.lower().rstrip(".") for name in names)
        self._known: set[bytes] = set()

    def admit(self, host: bytes) -> None:
        """Raises Failure 403 for a ``Host`` that is none of ours; empty where there is none."""
        if host in self._known:
            return
        if not self._allows(host):
            shown = host.decode("latin-1")[:60]
            wanted = Problem(shown, where="host", expected="localhost, an address, or a name that was allowed")
            step = "roadworthy serve --allow-host NAME, or create a key: roadworthy key create NAME"
            raise Failure(403, "this server is not called like that", problems=[wanted], next_step=step)
        if len(self._known) < _MOST_KNOWN:
            self._known.add(host)

    def _allows(self, host: bytes) -> bool:
        """Whether a name is ours.

        >>> ours = Hosts(["model.example.org"])
        >>> [ours._allows(one) for one in (b"", b"127.0.0.1:80", b"[::1]:80", b"web:80", b"a.localhost", b"[::1")]
        [True, True, True, True, True, False]
        >>> [ours._allows(one) for one in (b"Model.example.org.:80", b"evil.example", b"localhost, x", b"1.2.3")]
        [True, False, False, False]
        """
        name = host.decode("latin-1").lower()
        if name.startswith("["):
            return _is_address(name[1:].partition("]")[0]) and "]" in name
        name = name.partition(":")[0].rstrip(".")
        if name in self._names or name.endswith(".localhost") or _is_address(name):
            return True
        return "." not in name and "," not in name


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
