"""The state of the model in one plain sentence, and what to do first.

In: the version in service, its release, its newest window, open alerts, the monitor's pulse. Out: a ``State``. Pure.
Law: the worst is said first; what nobody knows is never said to be well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from roadworthy.formats.wording import clipped, first_sentence, quantity, spaced
from roadworthy.measures.heartbeat import Health
from roadworthy.records.alert import Alert, AlertState, Severity
from roadworthy.records.verdict import Outcome, Readiness
from roadworthy.records.version import Version
from roadworthy.records.window import Judged
from roadworthy.standard import CATALOGUE
from roadworthy.standard.judge import ended
from roadworthy.views.dashboard.requirement_cells import ESTIMATED
from roadworthy.views.dashboard.spans import instant_words

__all__ = ["Facts", "State", "no_champion", "no_version", "state_of"]

_STALE_WINDOWS = 3
_LEAST_US = 3_600_000_000
_LONG = 200
_FIGURES = re.compile(r" \(p = ")
"""Where a sentence goes on with figures that the alert itself shows."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """How it is: ``grade`` is "bad", "open" or "ready", ``word`` says it in a word, ``sentence`` in a sentence.

    ``steps`` are what to do first; ``command`` brings what is missing, empty where nothing is.
    """

    grade: str
    word: str
    sentence: str
    steps: tuple[str, ...] = ()
    command: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that the sentence is made of.

    ``alerts`` are the open ones, the gravest first; ``window`` is the newest window of the champion with rows;
    ``length_s`` is how long a window lasts, 0 where windows are cut by rows; ``fault`` says why the bundle does not
    open.
    """

    champion: Version
    readiness: Readiness
    window: Judged | None
    alerts: Sequence[Alert]
    pulse: Health
    watching: str
    now_us: int
    length_s: int = 0
    fault: str = ""


def no_version() -> State:
    """Before the first run."""
    return State(
        grade="open",
        word="No model yet",
        sentence="No version of the model has been made yet.",
        steps=(
            "describe the data and what is required of the model in `roadworthy.toml` (`roadworthy init` proposes it)",
            "run the seven stages; at their end stands a version, judged by the standard",
        ),
        command="roadworthy run",
    )


def no_champion(versions: Sequence[Version]) -> State:
    """Versions, none in service."""
    ready = next((one for one in versions if one.verdict.readiness is Readiness.READY), None)
    newest = versions[0]
    if ready is None:
        said = f"No version is in service, and the newest, {newest.title}, is {newest.verdict.readiness}"
        return State(
            grade="open",
            word="Not in service",
            sentence=f"{said}: {_after_colon(newest.verdict.sentence)}",
            steps=("see below what it lacks; its report says why", "mend that and run again"),
            command="roadworthy run",
        )
    return State(
        grade="open",
        word="Not in service",
        sentence=f"No version is in service; {ready.title} is ready and waits.",
        steps=(f"put {ready.title} in service", "then serve and watch it: `roadworthy up`"),
        command=f"roadworthy promote {ready.number}",
    )


def state_of(known: Facts) -> State:
    """The state of a version in service."""
    title = known.champion.title
    firing = [one for one in known.alerts if one.state is AlertState.FIRING]
    paged = [one for one in firing if one.severity is Severity.PAGE]
    if known.fault:
        return _state("bad", "Broken", f"{title} is in service, but its bundle does not open: {known.fault}", known)
    if paged:
        return _state("bad", "Look now", f"{title} needs a look now: {_alerts(firing, paged[0])}", known)
    if known.readiness is not Readiness.READY:
        why = _after_colon(known.champion.verdict.sentence)
        said = f"{title} is in service, but by now it is {known.readiness}: {why}"
        return _state("bad", "Look now", said, known)
    if firing:
        return _state("open", "Look at it", f"{title} serves, but look at it soon: {_alerts(firing, firing[0])}", known)
    return _quiet(known)


def _quiet(known: Facts) -> State:
    """Nothing fires."""
    title, window = known.champion.title, known.window
    if window is None:
        said = f"{title} was ready at its release, and no traffic of it has been judged yet"
        return _state("open", "No traffic", said, known, command="roadworthy up")
    if known.pulse not in {Health.WELL, Health.LATE}:
        said = f"Nobody knows how {title} does right now: {known.watching}"
        return _state("open", "Not known", said, known)
    missed = [one.requirement for one in window.verdict.requirements if one.outcome in {Outcome.FAIL, Outcome.ERROR}]
    if missed:
        shown = clipped(", ".join(missed[:3]), _LONG) + (f" and {len(missed) - 3} more" if len(missed) > 3 else "")
        said = f"{title} serves and no alert fires, but its newest window ({_when(window)}) misses {shown}"
        return _state("open", "Look at it", said, known)
    silent_us = known.now_us - window.window.until.at_us
    length_us = known.length_s * 1_000_000 or max(window.window.until.at_us - window.window.after.at_us, _LEAST_US)
    if silent_us > _STALE_WINDOWS * length_us:  # windows cut by rows: as the newest one lasted
        since = instant_words(window.window.until.at_us)
        said = f"{title} is well as far as is known, but it has had no traffic since {since}"
        return _state("open", "No traffic", said, known)
    taken = sum(one.state is AlertState.ACKNOWLEDGED for one in known.alerts)
    if taken:
        said = f"{title} serves; somebody is looking at {_count(taken, 'alert')}, and nothing else is missed"
        return _state("open", "In hand", said, known)
    return _state("ready", "Well", f"{title} does what is required: no alert fires, and {_proven(window)}", known)


def _state(grade: str, word: str, said: str, known: Facts, *, command: str = "") -> State:
    return State(grade=grade, word=word, sentence=ended(said), steps=tuple(_steps(known)), command=command)


def _steps(known: Facts) -> Iterator[str]:
    if known.fault:
        yield "put the lake back as it was, or promote another version: `roadworthy promote N`"
    if known.readiness is not Readiness.READY:
        yield "see below which requirement it misses at release; go back with `roadworthy promote N` if need be"
    if known.window is None and not known.fault:
        yield "serve it and watch it: `roadworthy up`; the first window is judged as soon as it is over"


def _alerts(firing: Sequence[Alert], first: Alert) -> str:
    said = clipped(_missed(first) or _FIGURES.split(first_sentence(first.last.sentence))[0], _LONG)
    if len(firing) == 1:
        return f"an alert fires: {said}"
    return f"{len(firing):,} alerts fire, the gravest: {said}"


def _missed(alert: Alert) -> str:
    """What an alert about a requirement amounts to; empty for one about something else.

    The requirement's own line says which side of the bound is asked for.
    """
    line, value = alert.last.evidence.get("requirement"), alert.last.evidence.get("value")
    if not isinstance(line, str) or not isinstance(value, int | float):
        return ""
    head, _, by = line.partition(" for every ")
    name, _, wanted = head.partition(" ")
    if name not in CATALOGUE:
        return ""
    side = wanted.replace(">= ", "at least ").replace("<= ", "at most ")
    where = f" for every {by}" if by else ""
    estimated = ", as estimated before labels," if alert.rule.startswith(ESTIMATED) else ""
    return f"{spaced(name)}{estimated} is {quantity(value, CATALOGUE[name].unit)} where {side} is required{where}"


def _proven(window: Judged) -> str:
    outcomes = [one.outcome for one in window.verdict.requirements]
    proven = sum(one in {Outcome.PASS, Outcome.WAIVED} for one in outcomes)
    said = f"the newest window ({_when(window)}) misses nothing; "
    if proven == len(outcomes):
        return f"{said}all {proven} requirements are proven there"
    return f"{said}{proven} of {len(outcomes)} requirements are proven there, for the others it has too little evidence"


def _when(window: Judged) -> str:
    until = datetime.fromtimestamp(window.window.until.at_us / 1e6, UTC)
    return f"until {until:%d %B %H:%M} UTC, {_count(window.counts['rows'], 'row')}"


def _after_colon(sentence: str) -> str:
    """A verdict's sentence without its leading word.

    >>> _after_colon("Not ready: recall fails.")
    'recall fails.'
    """
    return sentence.partition(": ")[2] or sentence


def _count(number: int, noun: str) -> str:
    """A number of things.

    >>> _count(1, "row"), _count(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
