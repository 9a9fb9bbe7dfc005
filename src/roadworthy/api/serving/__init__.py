"""``serve``: a project's version behind HTTP, in this process or in several workers, until it is told to end.

In: a project, and how it is to be served. Out: answers on a socket; one call back with the address once ready. What is
heavy is imported only by the process that serves.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from roadworthy.adapters.listening import address_of, bind, bind_unix
from roadworthy.api.serving.memory import few_arenas
from roadworthy.api.serving.options import Options, tls_context

__all__ = ["Serving", "serve"]

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a private folder is made inside it


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """A server that is ready. ``address`` is what clients are told; ``pid`` is whom to signal.

    ``grpc`` is the address of gRPC, empty where it was not asked for.
    """

    address: str
    grpc: str
    version: str
    workers: int
    pid: int


def serve(
    project: Path | str = "roadworthy.toml",
    *,
    version: str = "champion",
    host: str = "127.0.0.1",
    port: int = 8080,
    allow_hosts: Sequence[str] = (),
    uds: Path | str = "",
    workers: int = 1,
    tls_cert: Path | str = "",
    tls_key: Path | str = "",
    log: str = "on",
    grpc_port: int | None = None,
    grace_s: float = 3.0,
    poll_s: float = 1.0,
    hung_s: float = 10.0,
    ready: Callable[[Serving], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is under way, and return.

    ``allow_hosts`` are names under which a server without keys answers, too. ``ready`` is called once every worker
    answers. Raises UsageError for what cannot work (an address in use, a missing certificate, a server beyond this
    machine without any key), RegistryError where there is no such version.
    """
    options = Options(
        project=str(Path(project).absolute()),
        wanted=version,
        host=host,
        port=port,
        allow_hosts=tuple(allow_hosts),
        uds=str(uds),
        workers=workers,
        tls_cert=str(tls_cert),
        tls_key=str(tls_key),
        log=log,
        grpc_port=grpc_port,
        grace_s=grace_s,
        poll_s=poll_s,
        hung_s=hung_s,
    )
    options.check()
    tls = tls_context(options)
    sock = bind_unix(Path(uds)) if options.uds else bind(host, port, shared=workers > 1)
    address = address_of(sock, tls=tls is not None)
    taken = None if grpc_port is None else bind(host, grpc_port, shared=True)  # gRPC's workers share it, too
    grpc = ""
    if taken is not None:
        options = msgspec.structs.replace(options, grpc_port=taken.getsockname()[1])
        grpc = address_of(taken, tls=False).removeprefix("http://")

    def told(title: str) -> None:
        if ready is not None:
            ready(Serving(address=address, grpc=grpc, version=title, workers=workers, pid=os.getpid()))

    try:
        if workers > 1:
            _supervised(options, sock, told)
        else:
            few_arenas()
            _alone(options, sock, told)
    finally:
        sock.close()
        if taken is not None:
            taken.close()
        if options.uds:
            Path(options.uds).unlink(missing_ok=True)


def _alone(options: Options, sock: socket.socket, told: Callable[[str], None]) -> None:
    """One worker, in this process."""
    from roadworthy import assembly  # noqa: PLC0415 - heavy, and a supervisor needs none of it
    from roadworthy.api.serving.following import Follower  # noqa: PLC0415 - as above
    from roadworthy.api.serving.worker import Place, Worker  # noqa: PLC0415 - as above
    from roadworthy.serving.metrics import Metrics  # noqa: PLC0415 - as above

    project = assembly.open_project(Path(options.project))
    follower = Follower(project, options.wanted, local=options.local)

    def tell(word: str) -> bool:
        if word == "ready":
            told(follower.serving)
        return True

    place = Place(0, None, Metrics(), tell)
    Worker(options, project, follower, sock, tls=tls_context(options), place=place).run()


def _supervised(options: Options, sock: socket.socket, told: Callable[[str], None]) -> None:
    """Several workers, each in a process of its own, around a folder in memory that they share."""
    from roadworthy.api.serving.supervisor import Supervisor  # noqa: PLC0415 - only for several workers

    if options.uds:
        sock.listen()
    base = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="roadworthy-", dir=base) as folder:
        port = 0 if options.uds else sock.getsockname()[1]
        supervisor = Supervisor(options, sock, port, Path(folder), lambda: told(supervisor.serving))
        supervisor.run()
