"""``serve`` and ``key``: the commands that put a version in service and say who may ask it.

In: words. Out: one line with the address once the server is ready; keys. They join the commands of ``cli.app`` when
this module is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from roadworthy.cli.app import _DEFAULT_PROJECT, AsJson, ProjectFile, app
from roadworthy.cli.running import told

if TYPE_CHECKING:
    from roadworthy.api.keyring import KeyView

__all__ = ["key", "serve"]


@app.command(epilog="Example: roadworthy serve --port 8080 --workers 2")
def serve(
    *,
    version: Annotated[
        str, typer.Option("--version", "-v", help="champion or latest, which are followed, or a number")
    ] = "champion",
    host: Annotated[str, typer.Option("--host", help="the address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="the port; 0 takes a free one")] = 8080,
    allow_host: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads this form on every supported Python
        typer.Option("--allow-host", help="a name under which a server without keys answers, too; may be repeated"),
    ] = None,
    uds: Annotated[str, typer.Option("--uds", help="listen on a unix socket instead")] = "",
    workers: Annotated[int, typer.Option("--workers", help="processes that share the work")] = 1,
    tls_cert: Annotated[str, typer.Option("--tls-cert", help="the certificate (PEM); needs --tls-key")] = "",
    tls_key: Annotated[str, typer.Option("--tls-key", help="the certificate's private key (PEM)")] = "",
    log: Annotated[
        str, typer.Option("--log", help="the prediction log: on, off, or durable (answer when it is on disk)")
    ] = "on",
    grpc_port: Annotated[
        Optional[int],  # noqa: UP045 - typer reads this form on every supported Python
        typer.Option("--grpc-port", help="also answer gRPC on this port"),
    ] = None,
    grace: Annotated[float, typer.Option("--grace", help="seconds to serve on after SIGTERM")] = 3.0,
    project: ProjectFile = _DEFAULT_PROJECT,
    as_json: AsJson = False,
) -> None:
    """Serve a version over HTTP until SIGTERM or Ctrl-C."""
    from roadworthy import api  # noqa: PLC0415 - heavy, and --help must not wait for it
    from roadworthy.api.serving.alone import become, words  # noqa: PLC0415 - as above

    given: dict[str, Any] = {
        "project": str(project),
        "version": version,
        "host": host,
        "port": port,
        "allow_hosts": allow_host or [],
        "uds": uds,
        "workers": workers,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "log": log,
        "grpc_port": grpc_port,
        "grace_s": grace,
    }
    if workers == 1:
        become(given, as_json=as_json, shown="roadworthy.cli.running:shown_error")
    api.serve(**given, ready=lambda found: told({}, words(found, as_json=as_json), as_json=False))


@app.command(epilog="Example: roadworthy key create dashboard")
def key(
    action: Annotated[str, typer.Argument(help="create, list or revoke")],
    which: Annotated[str, typer.Argument(help="the name of a new key, or the id of the one to revoke")] = "",
    *,
    project: ProjectFile = _DEFAULT_PROJECT,
    as_json: AsJson = False,
) -> None:
    """Make, list and take back the API keys of servers."""
    from roadworthy import api  # noqa: PLC0415 - as above

    view = api.key(action, which, project=project)
    told(view, _text(view), as_json=as_json)


def _text(view: KeyView) -> str:
    lines = []
    if view.secret:
        lines += [view.secret, "This is the only time that it is shown. Send it as: Authorization: Bearer KEY"]
    elif not view.keys:
        lines += ["no key was made; make one with: roadworthy key create NAME"]
    for one in view.keys:
        ended = f", revoked {one.revoked_at}" if one.revoked_at else ""
        lines.append(f"{one.id}  {one.name}  (created {one.created_at}{ended})")
    return "\n".join(lines)
