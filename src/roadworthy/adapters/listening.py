"""Where a server listens: addresses on the way in, and off the way without loss.

In: a host and a port, or a path. Out: bound sockets. Laws: a port that is somebody's is refused, also where sockets
share ports; the real port is known before anybody is told of it; a unix socket that nobody listens on is replaced, a
file of another kind never.

``turn_away`` lets a listening socket take no new connection while those that are under way still come through, so that
closing it a moment later resets nobody (Linux: a classic packet filter that drops SYN; elsewhere a moment is lost).
"""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import os
import socket
import stat
import struct
import sys
from pathlib import Path
from typing import Any

from roadworthy.errors import UsageError

__all__ = ["BACKLOG", "address_of", "bind", "bind_unix", "is_loopback", "join", "turn_away"]

BACKLOG = 4_096
"""Connections that may wait to be accepted; the system's own limit holds too."""

_UNIX_UMASK = 0o117  # the owner and the group may connect
_SO_ATTACH_FILTER = 26
_LOCAL_NAMES = frozenset({"localhost"})
_HIGHEST_PORT = 65_535


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone.

    >>> is_loopback("127.8.8.8"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() in _LOCAL_NAMES


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket bound to an address, not listening yet. Port 0 takes a free one.

    ``shared``: other sockets that ask for it may be bound to the same port, and each gets a part of the connections.
    Raises UsageError where the address is in use, forbidden, or no address of this machine.
    """
    family, place = _resolved(host, port)
    if shared and port:
        _bound(family, place, host, port, shared=False).close()  # whoever shares the port would be let in silently
    return _bound(family, place, host, port, shared=shared)


def join(host: str, port: int) -> socket.socket:
    """One more socket on a port that ``bind`` has taken as shared."""
    family, place = _resolved(host, port)
    return _bound(family, place, host, port, shared=True)


def bind_unix(path: Path) -> socket.socket:
    """A socket bound to a path; its owner and group may connect. Raises UsageError where the path is taken."""
    if path.exists() or path.is_symlink():
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise UsageError(f"{path} is a file of another kind", next_step="--uds with a path that is free")
        if _answers(path):
            raise UsageError(
                f"another server listens on {path}", next_step="stop it, or --uds with a path that is free"
            )
        path.unlink()
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(_UNIX_UMASK)
    try:
        found.bind(str(path))
    except OSError as error:
        found.close()
        raise UsageError(f"{path} cannot be listened on: {error.strerror or error}", next_step="--uds PATH") from error
    finally:
        os.umask(before)
    return found


def address_of(sock: socket.socket, *, tls: bool) -> str:
    """What a client is told: ``http://127.0.0.1:8080``, ``unix:/run/model.sock``."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name}"
    host = f"[{name[0]}]" if sock.family == socket.AF_INET6 else name[0]
    return f"{'https' if tls else 'http'}://{host}:{name[1]}"


def turn_away(sock: socket.socket) -> None:
    """No new connection from now on; those whose handshake has begun are still to be accepted."""
    if sock.family == socket.AF_UNIX:
        Path(sock.getsockname()).unlink(missing_ok=True)
        return
    if sys.platform != "linux":
        return
    # load the flags of the TCP header; SYN without ACK: keep nothing; anything else: keep it all
    code = [(0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)]
    program = b"".join(struct.pack("HBBI", *one) for one in code)
    held = ctypes.create_string_buffer(program)
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(code), ctypes.addressof(held)))
    except OSError as error:
        if error.errno not in {errno.ENOPROTOOPT, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP}:
            raise  # a kernel without filters closes as any other does


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    if not 0 <= port <= _HIGHEST_PORT:
        raise UsageError(f"{port} is no port", next_step="--port from 0 (any free one) to 65535")
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(f"{host} is no address of this machine: {error}", next_step="--host 127.0.0.1") from error
    family, _, _, _, place = found[0]
    return family, place


def _bound(family: socket.AddressFamily, place: Any, host: str, port: int, *, shared: bool) -> socket.socket:
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        found.bind(place)
    except OSError as error:
        found.close()
        raise _refused(error, host, port) from error
    return found


def _refused(error: OSError, host: str, port: int) -> UsageError:
    if error.errno == errno.EADDRINUSE:
        return UsageError(
            f"port {port} of {host} is in use", next_step="stop what listens there, or --port 0 for any free one"
        )
    if error.errno == errno.EACCES:
        return UsageError(f"port {port} may not be used by this user", next_step="--port 1024 or higher")
    return UsageError(f"{host}:{port} cannot be listened on: {error.strerror or error}", next_step="--host 127.0.0.1")


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
