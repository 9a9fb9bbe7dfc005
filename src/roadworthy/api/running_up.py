"""``up``: a server, its monitor and its dashboard, one process tree.

In: what ``serve`` takes, and where the dashboard listens. Out: answers, windows, alerts, pages, until it is told to
end. Laws: a monitor or a dashboard that ends is started again; neither takes the server with it; the server ends
first, then they.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from roadworthy import assembly
from roadworthy.adapters.listening import address_of
from roadworthy.api.beside import Beside
from roadworthy.api.dashboard_door import dashboard_door
from roadworthy.api.serving import Serving, serve

__all__ = ["Running", "up"]


class Running(Serving, frozen=True, kw_only=True):
    """A server that is ready, and where its ``dashboard`` answers, empty where it has none."""

    dashboard: str


def up(
    project: Path | str = assembly.PROJECT_FILE,
    *,
    ready: Callable[[Running], None] | None = None,
    dashboard_host: str = "127.0.0.1",
    dashboard_port: int | None = 8090,
    allow_hosts: Sequence[str] = (),
    tls_cert: Path | str = "",
    tls_key: Path | str = "",
    **options: Any,
) -> None:
    """Serve, watch and show the dashboard until SIGTERM or SIGINT; ``options`` are those of ``serve``.

    ``dashboard_port`` 0 takes a free one, None shows none; ``allow_hosts`` and the certificate are the dashboard's,
    too. Raises what ``serve`` raises, and UsageError where the dashboard cannot listen or others could look without a
    key.
    """
    file = str(Path(project).absolute())
    with ExitStack() as held:
        beside = [Beside("monitor", "roadworthy.api.watching.child")]
        given: list[dict[str, Any]] = [{"project": file, "authority": str(tls_cert)}]
        address = ""
        if dashboard_port is not None:
            listener = held.enter_context(dashboard_door(project, dashboard_host, dashboard_port))
            address = address_of(listener, tls=bool(tls_cert))
            beside.append(Beside("dashboard", "roadworthy.web.child", sockets=[listener.fileno()]))
            door = {"host": dashboard_host, "allow_hosts": list(allow_hosts), "socket": listener.fileno()}
            given.append({"project": file, **door, "tls_cert": str(tls_cert), "tls_key": str(tls_key)})

        def told(serving: Serving) -> None:
            for one, words in zip(beside, given, strict=True):
                one.start({**words, "servers": [serving.address]})
            if ready is not None:
                ready(Running(dashboard=address, **msgspec.structs.asdict(serving)))

        try:
            serve(project, ready=told, allow_hosts=allow_hosts, tls_cert=tls_cert, tls_key=tls_key, **options)
        finally:
            for one in beside:
                one.end()
