"""``watch``, ``up``, ``windows`` and ``dashboard``: live traffic judged, and what was judged.

In: words. Out: a line for each window as it is judged (on standard error), the result at the end. They join the
commands of ``cli.app`` when this module is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Optional

import msgspec
import typer

from roadworthy.cli.app import _DEFAULT_PROJECT, AsJson, ProjectFile, app
from roadworthy.cli.running import told
from roadworthy.errors import UsageError

if TYPE_CHECKING:
    from roadworthy.api.running_up import Running
    from roadworthy.api.watching import WindowsView, WindowView
    from roadworthy.api.watching.monitor import Ticked
    from roadworthy.records.window import Judged, WindowSummary

__all__ = ["dashboard", "up", "watch", "windows"]

_MARKS = {"pass": "✔", "fail": "✖", "insufficient": "·", "error": "!", "waived": "~"}


@app.command(epilog="Example: roadworthy watch")
def watch(
    *,
    once: Annotated[bool, typer.Option("--once", help="judge what is over by now, then end")] = False,
    log: Annotated[str, typer.Option("--log", help="the prediction log of a model that others serve")] = "",
    reference: Annotated[str, typer.Option("--reference", help="with --log: a log from a time when all was well")] = "",
    column: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads this form on every supported Python
        typer.Option("--column", help="with --log: what a column is, as score=probability; may be repeated"),
    ] = None,
    threshold: Annotated[
        Optional[float],  # noqa: UP045 - as above
        typer.Option("--threshold", help="with --log: the score from which on the positive class was decided"),
    ] = None,
    server: Annotated[
        Optional[list[str]],  # noqa: UP045 - as above
        typer.Option("--server", help="a server whose /metrics are read, as serve says its address; may be repeated"),
    ] = None,
    key_file: Annotated[str, typer.Option("--key-file", help="a file with the API key for the servers")] = "",
    authority: Annotated[str, typer.Option("--authority", help="certificates to trust (PEM), for https")] = "",
    project: ProjectFile = _DEFAULT_PROJECT,
    as_json: AsJson = False,
) -> None:
    """Judge live traffic by the standard of its release until SIGTERM or Ctrl-C."""
    from roadworthy import api  # noqa: PLC0415 - heavy, and --help must not wait for it

    result = api.watch(
        project,
        once=once,
        log=log or None,
        reference=reference or None,
        columns=_roles(column or ()),
        threshold=threshold,
        servers=server or (),
        key_file=key_file,
        authority=authority,
        told=_told,
    )
    ended = f"{result.judged:,} windows judged, {result.revised:,} revised"
    firing = f"; firing: {', '.join(result.firing)}" if result.firing else "; no alert fires"
    told(result, ended + firing, as_json=as_json)
    raise typer.Exit(result.exit_code)


@app.command(epilog="Example: roadworthy up --port 8080 --workers 2")
def up(
    *,
    version: Annotated[
        str, typer.Option("--version", "-v", help="champion or latest, which are followed, or a number")
    ] = "champion",
    host: Annotated[str, typer.Option("--host", help="the address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="the port; 0 takes a free one")] = 8080,
    allow_host: Annotated[
        Optional[list[str]],  # noqa: UP045 - as above
        typer.Option("--allow-host", help="a name under which server and dashboard answer, too; may be repeated"),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", help="processes that share the work")] = 1,
    tls_cert: Annotated[str, typer.Option("--tls-cert", help="the certificate (PEM); needs --tls-key")] = "",
    tls_key: Annotated[str, typer.Option("--tls-key", help="the certificate's private key (PEM)")] = "",
    grpc_port: Annotated[
        Optional[int],  # noqa: UP045 - as above
        typer.Option("--grpc-port", help="also answer gRPC on this port"),
    ] = None,
    dashboard: Annotated[bool, typer.Option("--dashboard/--no-dashboard", help="whether pages are shown")] = True,
    dashboard_host: Annotated[str, typer.Option("--dashboard-host", help="where the dashboard listens")] = "127.0.0.1",
    dashboard_port: Annotated[int, typer.Option("--dashboard-port", help="its port; 0 takes a free one")] = 8090,
    project: ProjectFile = _DEFAULT_PROJECT,
    as_json: AsJson = False,
) -> None:
    """Serve a version, watch its traffic and show the dashboard, in one process tree, until SIGTERM or Ctrl-C."""
    from roadworthy import api  # noqa: PLC0415 - as above

    def ready(found: Running) -> None:
        words = f"{found.version} is served at {found.address}, and watched"
        words += f"; its dashboard is at {found.dashboard}" if found.dashboard else ""
        told({}, msgspec.json.encode(found).decode() if as_json else words, as_json=False)

    api.up(
        project,
        version=version,
        host=host,
        port=port,
        dashboard_host=dashboard_host,
        dashboard_port=dashboard_port if dashboard else None,
        allow_hosts=allow_host or (),
        workers=workers,
        tls_cert=tls_cert,
        tls_key=tls_key,
        grpc_port=grpc_port,
        ready=ready,
    )


@app.command(epilog="Example: roadworthy dashboard --port 8090")
def dashboard(
    *,
    host: Annotated[str, typer.Option("--host", help="the address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="the port; 0 takes a free one")] = 8090,
    allow_host: Annotated[
        Optional[list[str]],  # noqa: UP045 - as above
        typer.Option("--allow-host", help="a name under which it answers, too; may be repeated"),
    ] = None,
    tls_cert: Annotated[str, typer.Option("--tls-cert", help="the certificate (PEM); needs --tls-key")] = "",
    tls_key: Annotated[str, typer.Option("--tls-key", help="the certificate's private key (PEM)")] = "",
    project: ProjectFile = _DEFAULT_PROJECT,
    as_json: AsJson = False,
) -> None:
    """Show what is known of a project as web pages, until SIGTERM or Ctrl-C."""
    from roadworthy.web.running import dashboard as shown  # noqa: PLC0415 - as above

    def ready(address: str) -> None:
        line = msgspec.json.encode({"address": address}).decode()
        told({}, line if as_json else f"the dashboard is at {address}", as_json=False)

    shown(
        project,
        host=host,
        port=port,
        allow_hosts=allow_host or (),
        tls_cert=tls_cert,
        tls_key=tls_key,
        ready=ready,
    )


@app.command(epilog="Example: roadworthy windows 482031 --again")
def windows(
    number: Annotated[
        Optional[int],  # noqa: UP045 - typer reads this form on every supported Python
        typer.Argument(help="a window's number; without one, the newest are listed"),
    ] = None,
    *,
    again: Annotated[bool, typer.Option("--again", help="judge it once more and compare")] = False,
    most: Annotated[int, typer.Option("--most", min=1, help="how many are listed")] = 24,
    project: ProjectFile = _DEFAULT_PROJECT,
    as_json: AsJson = False,
) -> None:
    """List the windows of live traffic that were judged, or show one with all its revisions."""
    from roadworthy import api  # noqa: PLC0415 - as above

    found = api.windows(number, again=again, most=most, project=project)
    told(found, _text(found), as_json=as_json)
    if getattr(found, "same", None) is False:
        raise typer.Exit(1)


def _roles(given: Sequence[str]) -> dict[str, str]:
    """``score=probability`` as role and column; UsageError for a word that is none."""
    odd = [word for word in given if "=" not in word]
    if odd:
        raise UsageError(f"--column {odd[0]} names no role", next_step="write it as score=probability")
    return dict(word.split("=", 1) for word in given)


def _told(ticked: Ticked) -> None:
    """A line for each window, as it is judged."""
    for judged in (*ticked.judged, *ticked.revised):
        sys.stderr.write(f"{_line_of(judged)}\n")
    sys.stderr.flush()


def _line_of(judged: Judged) -> str:
    counts = judged.counts
    revised = f", revision {judged.revision}" if judged.revision else ""
    return (
        f"{_instant(judged.window.until.at_us)}  {judged.window.title}{revised}: {counts['rows']:,} rows, "
        f"{counts['labelled']:,} labelled. {judged.verdict.sentence}"
    )


def _text(found: WindowsView | WindowView) -> str:
    if hasattr(found, "windows"):
        if not found.windows:
            return f"no window of {found.project} was judged yet; roadworthy watch judges them"
        return "\n".join(map(_listed, found.windows))
    lines = []
    for judged in found.revisions:
        lines += [_line_of(judged), *_details(judged), ""]
    if found.same is not None:
        lines.append("judged again: the same" if found.same else "judged again: NOT THE SAME; see --json")
    if found.why:
        lines.append(found.why)
    return "\n".join(lines)


def _listed(one: WindowSummary) -> str:
    counts = {mark: list(one.outcomes.values()).count(outcome) for outcome, mark in _MARKS.items()}
    shown = " ".join(f"{mark} {count}" for mark, count in counts.items() if count)
    named = [f"{_MARKS[outcome]} {line}" for line, outcome in one.outcomes.items() if outcome in {"fail", "error"}]
    alarms = [f"ALARM {', '.join(one.alarms)}"] if one.alarms else []
    number = f"{one.number}.{one.revision}"
    labels = f"{one.labelled:,} labelled"
    return "  ".join([_instant(one.end_us), f"{number:>10}", f"{one.rows:>9,} rows", labels, shown, *named, *alarms])


def _details(judged: Judged) -> list[str]:
    lines = [f"  {_MARKS[one.outcome.value]} {one.sentence}" for one in judged.verdict.requirements]
    moved = sorted((one for one in judged.shifts if one.sentence and one.p is not None), key=lambda one: one.p or 0.0)
    lines += [f"    {one.sentence}" for one in moved[:8]]
    return [*lines, *(f"  ! {note}" for note in judged.notes)]


def _instant(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
