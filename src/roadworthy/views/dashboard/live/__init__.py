"""Live: is it up, since when, and is it within the standard; then what servers do, over time.

In: a ``Site``, a span, perhaps one server's address. Out: ``Live``. Laws: "up" is said of now only while the monitor
still asks; the last hour is judged as a window is, by the same measurements and the same ``judge``.

- ``figures``: of a stretch of traffic; ``servers``: how each is; ``over_time``: a span in steps; ``drawing``: pictures.
"""

from __future__ import annotations

import msgspec

from roadworthy.errors import UnknownName
from roadworthy.formats.report.view import RequirementRow
from roadworthy.lifecycle import cursors
from roadworthy.measures import operations
from roadworthy.measures.operations.traffic import Traffic, traffic_of
from roadworthy.records.evidence import Evidence, Phase
from roadworthy.records.reading import Reading
from roadworthy.records.verdict import Outcome
from roadworthy.standard import Requirement, Standard, judge
from roadworthy.views.dashboard.live.drawing import pictures_of
from roadworthy.views.dashboard.live.figures import Figures, figures_of
from roadworthy.views.dashboard.live.over_time import Steps, steps_of
from roadworthy.views.dashboard.live.servers import Server, State, servers_of
from roadworthy.views.dashboard.pictures import Picture
from roadworthy.views.dashboard.requirement_cells import standard_of
from roadworthy.views.dashboard.site import Site
from roadworthy.views.dashboard.spans import Span

__all__ = ["Live", "live"]

_US = 1_000_000
_HOUR_US = 3_600 * _US
_BEFORE_US = 900 * _US
_RECENT_US = 300 * _US
_TOLD = frozenset(
    {
        "latency_p50",
        "latency_p95",
        "latency_p99",
        "availability",
        "error_rate",
        "shed_share",
        "quarantined_share",
        "fallback_share",
        "referred_share",
        "log_lost_share",
        "traffic",
        "worker_memory",
        "memory_growth",
        "processor",
        "in_flight",
        "worker_starts",
        "breaker_open",
    }
)
"""Metrics that servers tell of themselves."""
_BADGES = {
    "up": ("ready", "✓", "Up"),
    "outside": ("bad", "✕", "Outside the standard"),
    "doubt": ("open", "?", "Up, in doubt"),
    "partly": ("bad", "!", "Partly down"),
    "down": ("bad", "✕", "Down"),
    "unknown": ("open", "?", "Not known"),
}


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """How the servers of a project are.

    ``badge`` is class, sign and word; ``since_us`` when the state began, ``heard_us`` the last word of any server
    (0 for none). ``now`` are figures of the last five minutes; ``judged`` the last hour by the standard. ``server``
    is the one that is looked at, empty for all. ``size`` is the length of a step of the pictures, in words.
    """

    badge: tuple[str, str, str]
    sentence: str
    look_first: str
    since_us: int
    heard_us: int
    servers: tuple[Server, ...]
    gone: tuple[Server, ...]
    now: Figures
    judged: tuple[RequirementRow, ...]
    pictures: tuple[Picture, ...]
    size: str
    notes: tuple[str, ...]
    server: str = ""


def live(site: Site, span: Span, server: str = "") -> Live | None:
    """The page's snapshot; None where no server was ever asked.

    Raises UnknownName for a server of which nothing is known.
    """
    now_us = site.now_us()
    with site.reading() as connection:
        known = cursors.known_servers(connection, site.name)
        if not known:
            return None
        if server and server not in known:
            raise UnknownName("server", server, known, next_step="choose one on the page Live")
        last_us = max(last for _, last in known.values())
        first_us = min(first for first, _ in known.values())
        readings = cursors.readings(connection, site.name, last_us - _HOUR_US - _BEFORE_US, last_us)
        begin_us = max(span.since_us, first_us - 1)
        steps = steps_of(site, connection, begin_us, _end(span, last_us, now_us), known, server=server)
    hour = traffic_of(readings, after_us=last_us - _HOUR_US, until_us=last_us)
    every = servers_of(readings, hour.blocks, known, now_us)
    shown = tuple(one for one in every if one.state is not State.GONE)
    champion = site.champion()
    required = _required(site.standard if champion is None else standard_of(site, champion)[0])
    counted = {one.address for one in shown if not server or one.address == server} or {server}
    own = _only(hour, counted)
    judged = _judged(required, own, now_us)
    asked = tuple(one for one in shown if one.address in counted)
    state = _state(list(asked), judged)
    return Live(
        badge=_BADGES[state],
        sentence=_sentence(state, asked, judged),
        look_first=_look_first(state, asked),
        since_us=_since(state, asked),
        heard_us=max((one.heard_us for one in asked), default=0),
        servers=shown,
        gone=tuple(one for one in every if one.state is State.GONE),
        now=_now(own, last_us),
        judged=judged,
        pictures=pictures_of(steps, required),
        size=_size(steps.size_s),
        notes=_notes(steps, own),
        server=server,
    )


def _end(span: Span, last_us: int, now_us: int) -> int:
    """A span that follows the clock ends with it; the clock of whoever reads may be behind the monitor's.

    No span ends after both: of the future there are no readings, and it may be thousands of steps long.
    """
    newest_us = max(now_us, last_us)
    return newest_us if span.chosen else min(span.until_us, newest_us)


def _required(standard: Standard) -> tuple[Requirement, ...]:
    return tuple(one for one in standard.of_phase(Phase.LIVE) if one.metric in _TOLD and not one.slice)


def _only(hour: Traffic, addresses: set[str]) -> Traffic:
    return Traffic(
        hour.after_us,
        hour.until_us,
        tuple(block for block in hour.blocks if block.address in addresses),
        tuple(one for one in hour.readings if one.address in addresses),
    )


def _judged(required: tuple[Requirement, ...], hour: Traffic, now_us: int) -> tuple[RequirementRow, ...]:
    """The last hour by the standard, worst first."""
    if not required:
        return ()
    found = operations.measured(required, operations.Live(now_us=now_us, traffic=hour))
    standard = Standard(preset="live", requirements=required)
    verdict = judge(standard, Evidence(subject="", holdout="", measurements=found), phase=Phase.LIVE)
    rows = [
        RequirementRow(verdict=one, at_least=item.at_least, at_most=item.at_most)
        for one, item in zip(verdict.requirements, required, strict=True)
    ]
    urgency = [Outcome.FAIL, Outcome.ERROR, Outcome.INSUFFICIENT, Outcome.WAIVED, Outcome.PASS]
    return tuple(sorted(rows, key=lambda row: urgency.index(row.verdict.outcome)))


def _now(hour: Traffic, last_us: int) -> Figures:
    """The last five minutes; where servers are asked more seldom, what was counted last."""
    recent = [block for block in hour.blocks if block.until_us > last_us - _RECENT_US] or list(hour.blocks[-1:])
    readings: list[Reading] = [one for one in hour.answered if one.at_us > last_us - _RECENT_US]
    return figures_of(recent, readings)


def _state(servers: list[Server], judged: tuple[RequirementRow, ...]) -> str:
    states = {one.state for one in servers}
    if not states or State.UNKNOWN in states:
        return "unknown"
    if State.SILENT in states:
        return "partly" if State.UP in states else "down"
    if any(row.verdict.outcome is Outcome.FAIL for row in judged):
        return "outside"
    broke = any(row.verdict.outcome is Outcome.ERROR for row in judged)
    return "doubt" if broke or any(_beyond(row) for row in judged) else "up"


def _beyond(row: RequirementRow) -> bool:
    """Whether the figure itself lies outside of its bound, proven or not."""
    found = row.verdict.measurement.value if row.verdict.measurement is not None else None
    if found is None or row.verdict.outcome in {Outcome.PASS, Outcome.WAIVED}:
        return False
    return (row.at_least is not None and found < row.at_least) or (row.at_most is not None and found > row.at_most)


def _sentence(state: str, servers: tuple[Server, ...], judged: tuple[RequirementRow, ...]) -> str:
    up = sum(one.state is State.UP for one in servers)
    several = len(servers) > 1
    if state == "unknown":
        return "Whether it is up now is not known: nobody has asked the servers since they were last heard."
    if state == "down":
        return f"None of the {len(servers)} servers answers." if several else "The server does not answer."
    if state == "partly":
        return f"{up} of {len(servers)} servers answer."
    every = "Both" if up == 2 else f"All {up}"
    return (f"{every} servers answer" if several else "The server answers") + _within(judged)


def _within(judged: tuple[RequirementRow, ...]) -> str:
    """The rest of a sentence about servers that answer."""
    broken = [row.verdict.metric for row in judged if row.verdict.outcome is Outcome.FAIL]
    if broken:
        return f", but the last hour is outside of the standard: {', '.join(dict.fromkeys(broken))}."
    beyond = [row.verdict.metric for row in judged if _beyond(row)]
    if beyond:
        return f", but in the last hour outside of their bounds, though not proven yet: {', '.join(beyond)}."
    unsure = sum(row.verdict.outcome is not Outcome.PASS for row in judged)
    if not judged:
        return ". The standard asks nothing of servers."
    if unsure:
        return f"; of {len(judged)} requirements on servers, {unsure} cannot be proven by the last hour alone."
    return ", and the last hour is within the standard."


def _look_first(state: str, servers: tuple[Server, ...]) -> str:
    if state == "unknown":
        return "is `roadworthy watch` running, with --server for each server? `roadworthy up` does both"
    if state in {"down", "partly"}:
        silent = next(one for one in servers if one.state is State.SILENT)
        return f"{silent.address}: {silent.why}. Is its process running? Its last words are on its standard error"
    if any(one.rests for one in servers):
        return "a version is left alone because it failed: the server's standard error says with what"
    if state in {"outside", "doubt"}:
        return "the pictures below: what changed at the same time as the figure that is outside?"
    return ""


def _since(state: str, servers: tuple[Server, ...]) -> int:
    """When it began: of what is down the first, of what is up the last that started."""
    if state in {"down", "partly"}:
        return min(one.since_us for one in servers if one.state is State.SILENT)
    if state == "unknown":
        return max((one.heard_us for one in servers), default=0)
    return max((one.since_us for one in servers), default=0)


def _size(seconds: int) -> str:
    """A step of the pictures for people.

    >>> _size(60), _size(900), _size(7_200), _size(604_800)
    ('minute', '15 minutes', '2 hours', '7 days')
    """
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            return name if seconds == size else f"{seconds // size} {name}s"
    return f"{seconds} s"


def _notes(steps: Steps, hour: Traffic) -> tuple[str, ...]:
    restarts = sum(step.restarts for step in steps.steps)
    notes = []
    if restarts:
        times = f"servers were started again {restarts:,} times" if restarts > 1 else "a server was started again once"
        notes.append(f"In the span of the pictures, {times}.")
    if any(step.rough for step in steps.steps):
        notes.append("With so many restarts, some of what was counted just before the older ones is missing.")
    lost = hour.count("log_lost_rows")
    if lost:
        notes.append(f"{lost:,.0f} predictions of the last hour are not in the log: they cannot be found or judged.")
    return tuple(notes)
