"""The dashboard as a server: uvicorn, one process.

In: a project and an address. Out: pages, until it is told to end. Laws: on another address than loopback nobody looks
without a key, and it does not start where there is none; its address is said when the first page will come at once.
"""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import uvicorn

from roadworthy import assembly
from roadworthy.adapters.listening import address_of, is_loopback
from roadworthy.api.dashboard_door import dashboard_door
from roadworthy.errors import RoadworthyError, UsageError
from roadworthy.views.dashboard import Site
from roadworthy.views.dashboard.pictures import Point, draw_series
from roadworthy.web.app import dashboard as dashboard_app
from roadworthy.web.desk import Asked, Desk
from roadworthy.web.guards import Guards
from roadworthy.web.pages import overview
from roadworthy.web.rendering import static_file

__all__ = ["dashboard", "show"]

_END_S = 5
_AT_ONCE = 64


def dashboard(
    project: Path | str = assembly.PROJECT_FILE,
    *,
    host: str = "127.0.0.1",
    port: int = 8090,
    allow_hosts: Sequence[str] = (),
    tls_cert: Path | str = "",
    tls_key: Path | str = "",
    ready: Callable[[str], None] | None = None,
) -> None:
    """Show the dashboard of a project until SIGTERM or SIGINT.

    ``port`` 0 takes a free one; ``allow_hosts`` are names that it may be called besides its address; ``ready`` hears
    its address. Raises UsageError for an address that is none or is taken, and where others could look without a key.
    """
    if bool(tls_cert) != bool(tls_key):
        raise UsageError("a certificate needs its key", next_step="give both --tls-cert and --tls-key, or neither")
    with dashboard_door(project, host, port) as listener:
        address = address_of(listener, tls=bool(tls_cert))
        show(
            project,
            listener,
            host=host,
            allow_hosts=allow_hosts,
            tls_cert=str(tls_cert),
            tls_key=str(tls_key),
            ready=None if ready is None else lambda: ready(address),
        )


def show(
    project: Path | str,
    listener: socket.socket,
    *,
    host: str,
    allow_hosts: Sequence[str] = (),
    tls_cert: str = "",
    tls_key: str = "",
    ready: Callable[[], None] | None = None,
) -> None:
    """Answer on a socket that listens until this process is told to end; ``ready`` is called just before."""
    opened = assembly.open_project(project)
    site = Site(opened.file, opened.spec, opened.standard, opened.settings, assembly.SystemClock())
    try:
        desk = Desk(site, opened.file)
        guards = Guards(site, open_to_others=not is_loopback(host), names=(host, *allow_hosts))
        config = uvicorn.Config(
            dashboard_app(desk, guards),
            log_level="warning",
            access_log=False,
            ws="none",
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_END_S,
            limit_concurrency=_AT_ONCE,
            ssl_certfile=tls_cert or None,
            ssl_keyfile=tls_key or None,
        )
        _look_first(desk)
        gc.collect()
        gc.freeze()  # the charts' classes are 200,000 objects; each full collection would walk over them
        if ready is not None:
            ready()
        _run(uvicorn.Server(config), listener)
    finally:
        site.close()


def _look_first(desk: Desk) -> None:
    """What the first page of a process would wait a second for: fonts and V8 for pictures, versions, templates."""
    hours = [Point(start_us=one, end_us=one + 1, value=0.5) for one in range(2)]
    draw_series(hours, "first")
    static_file("dashboard.css")
    with suppress(RoadworthyError):  # whoever opens the page is told
        overview.DOORS[0].handler(desk, Asked(path="/", place={}, query={}))


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    """Until a signal; to end as one is told to is no failure, so the signal that uvicorn raises again ends nothing."""

    def end(*_: object) -> None:
        server.should_exit = True

    before = {one: signal.signal(one, end) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[listener])
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
