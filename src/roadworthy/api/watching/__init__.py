"""``watch`` and ``windows``: live traffic judged by the same standard as the release, and what was judged.

In: a project with a champion and a prediction log. Out: windows, alerts and messages in the registry, until it is told
to end. Laws: whatever fails for a while delays a window and loses none; a monitor that fails says so where people look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

import msgspec

from roadworthy import assembly
from roadworthy.adapters.foreign_log import ForeignColumns
from roadworthy.adapters.scraping import Target, target
from roadworthy.api.alert_channels import alert_policy, alert_store, deliver_due
from roadworthy.api.watching.foreign import ForeignTraffic, ForeignVersions, foreign
from roadworthy.api.watching.hourly import trends_of
from roadworthy.api.watching.loop import Loop, ended_by_signal
from roadworthy.api.watching.monitor import Monitor, Ticked, Watch
from roadworthy.api.watching.presence import Presence
from roadworthy.api.watching.servers import Servers
from roadworthy.api.watching.traffic import LakeTraffic, Traffic
from roadworthy.api.watching.versions import Answerers, Versions
from roadworthy.errors import Problem, UnknownName, UsageError
from roadworthy.lifecycle import cursors
from roadworthy.lifecycle import watching as kept_windows
from roadworthy.lifecycle.alerts.rows import open_alerts
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.measures.heartbeat import Beat
from roadworthy.records.alert import AlertState
from roadworthy.records.window import Cut, Judged, WindowKind, WindowSummary
from roadworthy.stages.watching.trends import told_of_charts
from roadworthy.stages.watching.whole import allotment_for

__all__ = ["WatchResult", "WindowView", "WindowsView", "watch", "windows"]

_USUAL_S = 3_600.0


class WatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a watch came to: windows judged, revisions of earlier ones, rules whose alert fires at its end."""

    project: str
    series: str
    judged: int
    revised: int
    firing: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """1 while an alert fires that nobody has taken, else 0."""
        return 1 if self.firing else 0


class WindowsView(msgspec.Struct, frozen=True, kw_only=True):
    """The windows that were judged, oldest first, each as its newest revision has it.

    ``trends`` says of each chart by the hour how it is ("learning …", "as usual", …).
    """

    project: str
    series: str
    windows: tuple[WindowSummary, ...]
    trends: dict[str, str] = {}


class WindowView(msgspec.Struct, frozen=True, kw_only=True):
    """One window with all its revisions. ``same``: it comes out again as it was judged; None where nobody asked.

    ``why`` says what is not as it was, or could not be looked at again.
    """

    project: str
    series: str
    revisions: tuple[Judged, ...]
    same: bool | None = None
    why: str = ""


def watch(
    project: Path | str = assembly.PROJECT_FILE,
    *,
    once: bool = False,
    log: object = None,
    reference: object = None,
    columns: ForeignColumns | Mapping[str, Any] | None = None,
    threshold: float | None = None,
    servers: Sequence[str] = (),
    key_file: Path | str = "",
    authority: Path | str = "",
    poll_s: float = 2.0,
    told: Callable[[Ticked], None] | None = None,
) -> WatchResult:
    """Judge live traffic until SIGTERM or SIGINT; with ``once``, everything that is over by now.

    ``log`` is that of a model that others serve (a path, a query or a frame), held to ``reference``, a log from a time
    when all was well; ``columns`` says what their columns are (``ForeignColumns``: ``time``, ``score``, ``decision``,
    ``label``, ``id``, …), ``threshold`` from which score on the positive class was decided where no decision is named.
    ``servers`` are the addresses whose ``/metrics`` tell latency, errors and memory; ``key_file`` holds the API key
    that they ask for, ``authority`` the certificates that are trusted (PEM). ``told`` hears what each look came to.
    Raises RegistryError where there is no version, UsageError for an address that is none.
    """
    if (log is None) != (reference is None):
        raise UsageError(
            "a log is watched beside a reference, and a reference without a log is nothing",
            next_step="name both: a log, and one from a time when all was well",
        )
    opened = assembly.open_project(project)
    cut = Cut.parse(opened.spec.monitor.window)
    judged = revised = 0

    def heard(ticked: Ticked) -> None:
        nonlocal judged, revised
        judged += len(ticked.judged)
        revised += len(ticked.revised)
        if told is not None:
            told(ticked)

    with _transactions(opened) as transactions:
        asked = [target(one, key=_key(key_file), authority=authority) for one in servers]
        given = None if log is None else foreign(opened, log, reference, _columns(columns), threshold=threshold)
        monitor = _monitor(opened, cut, transactions, given)
        loop = _loop(opened, cut, transactions, monitor, asked, heard, poll_s)
        if once:
            loop.once()
        else:
            with ended_by_signal() as ending:
                loop.run(ending)
        with transactions.reading() as connection:
            alerts = open_alerts(connection, opened.spec.name)
    firing = tuple(alert.rule for alert in alerts if alert.state is AlertState.FIRING)
    return WatchResult(project=opened.spec.name, series=cut.series, judged=judged, revised=revised, firing=firing)


@overload
def windows(number: None = None, *, again: bool = ..., most: int = ..., project: Path | str = ...) -> WindowsView: ...


@overload
def windows(number: int, *, again: bool = ..., most: int = ..., project: Path | str = ...) -> WindowView: ...


def windows(
    number: int | None = None, *, again: bool = False, most: int = 24, project: Path | str = assembly.PROJECT_FILE
) -> WindowsView | WindowView:
    """The newest windows that were judged, or all revisions of one; with ``again`` that one is judged once more.

    Raises RegistryError for a window that was not judged.
    """
    opened = assembly.open_project(project)
    name, cut = opened.spec.name, Cut.parse(opened.spec.monitor.window)
    with _transactions(opened) as transactions:
        with transactions.reading() as connection:
            if number is None:
                found = kept_windows.summaries(connection, name, cut.series, newest=most)
                trends = told_of_charts(trends_of(connection, name))
                return WindowsView(project=name, series=cut.series, windows=tuple(found), trends=trends)
            revisions = kept_windows.revisions(connection, name, cut.series, number)
        if not revisions:
            raise UnknownName("window", str(number), [], next_step="roadworthy windows   # lists them")
        same, why = None, ""
        if again:
            before, after, why = _monitor(opened, cut, transactions).again(number)
            same = before == after
    return WindowView(project=name, series=cut.series, revisions=revisions, same=same, why=why)


@contextmanager
def _transactions(opened: assembly.Project) -> Iterator[Transactions]:
    transactions = Transactions(opened.settings.registry)
    try:
        yield transactions
    finally:
        transactions.close()


def _monitor(
    opened: assembly.Project,
    cut: Cut,
    transactions: Transactions,
    given: tuple[ForeignTraffic, ForeignVersions] | None = None,
) -> Monitor:
    data = opened.spec.data
    how = Watch(opened.spec.name, cut, alert_policy(opened), settle_s=opened.spec.monitor.settle_s)
    traffic: Traffic = LakeTraffic(opened.settings.lake, entity=data.entity, time=data.time)
    versions: Answerers = Versions(opened)
    if given is not None:
        traffic, versions = given
    return Monitor(how, traffic, versions, transactions, alert_store(opened))


def _columns(given: ForeignColumns | Mapping[str, Any] | None) -> ForeignColumns:
    """What the columns of a log are; UsageError for a role that there is not."""
    if isinstance(given, ForeignColumns):
        return given
    try:
        return msgspec.convert(dict(given or {}), ForeignColumns, strict=True)
    except msgspec.ValidationError as error:
        raise UsageError(f"the log's columns cannot be read: {error}") from error


def _loop(  # noqa: PLR0917 - what a watch is made of
    opened: assembly.Project,
    cut: Cut,
    transactions: Transactions,
    monitor: Monitor,
    targets: Sequence[Target],
    told: Callable[[Ticked], None],
    poll_s: float,
) -> Loop:
    name, clock, versions = opened.spec.name, assembly.SystemClock(), Versions(opened)
    servers = Servers(name, targets, transactions, alert_store(opened), alert_policy(opened))
    window_s = float(cut.size) if cut.kind is WindowKind.TIME else _USUAL_S
    presence = Presence(opened.settings.registry, transactions)

    def look(now_us: int) -> None:
        presence.present()
        if servers.due(now_us):
            watched = versions.in_service()
            servers.look(now_us, watched.required, allotment_for(watched, window_s))

    def beat(one: Beat) -> None:
        presence.present()
        with transactions.changing() as connection:
            cursors.keep_beat(connection, name, one)

    def send() -> None:
        presence.present()
        deliver_due(opened, transactions, clock)

    return Loop(monitor, clock, look, beat, send, told, poll_s, once_every_s=window_s)


def _key(file: Path | str) -> str:
    """The API key in a file; empty where none is named."""
    if not file:
        return ""
    try:
        return Path(file).read_text("utf-8").strip()
    except OSError as error:
        raise UsageError(
            "the servers' API key cannot be read",
            problems=[Problem(error.strerror or type(error).__name__, where=str(file), expected="a file with a key")],
            next_step="roadworthy key create monitor   # then write the key into a file that only you may read",
        ) from error
