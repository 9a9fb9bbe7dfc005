"""Where a dashboard listens, and whether it may be opened there.

In: a project, a host and a port. Out: a listening socket. Law: on another address than loopback nobody looks without a
key, so a dashboard without keys does not open there.
"""

from __future__ import annotations

import socket
from pathlib import Path

from roadworthy import assembly
from roadworthy.adapters.listening import bind, is_loopback
from roadworthy.errors import UsageError

__all__ = ["dashboard_door"]

_BACKLOG = 128


def dashboard_door(project: Path | str, host: str, port: int) -> socket.socket:
    """A socket that listens there; the project's registry is made or migrated on the way.

    Raises UsageError for an address that is none or is taken, and where others could look without a key.
    """
    opened = assembly.open_project(project)
    with assembly.opened_registry(opened) as registry:
        guarded = any(not one.revoked_at for one in registry.api_keys())
    if not guarded and not is_loopback(host):
        raise UsageError(
            f"{host} can be reached from other machines, and no key says who may look",
            next_step="roadworthy key create NAME   # or let the dashboard listen on 127.0.0.1",
        )
    listener = bind(host, port)
    listener.listen(_BACKLOG)
    return listener
