"""An alert's life as pure steps: what a signal, a person or the passing of time makes of it.

In: an alert (or none), a signal, a policy, the time. Out: the alert as it is now, and the notices that are due. Laws:

- an alarm is latched: only a person, or ``resolve_after`` clear windows since the last alarm, resolve an alert;
- missing data (UNKNOWN) and a broken check (BROKEN) resolve nothing, and no row of windows counts them;
- what was worst stays in sight, whatever comes later;
- a firing alert never becomes pending again; every change to firing gives exactly one notice;
- the same signal right after itself changes nothing; a window that is not newer than what is known (labels came late)
  counts as evidence, never towards resolving.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from roadworthy.errors import UsageError
from roadworthy.records.alert import (
    Alert,
    AlertState,
    Notice,
    NoticeKind,
    Policy,
    Severity,
    Sighting,
    Signal,
    Word,
)

__all__ = ["BROKEN_PREFIX", "acknowledged", "badness", "heard_as", "reminder", "resolved", "step", "worth_telling"]

BROKEN_PREFIX = "broken:"
"""What stands before a rule's name in the alert that says that its check broke."""

Step = tuple[Alert | None, tuple[Notice, ...]]

_MONITOR = "monitor"
_RANK = {Severity.NOTE: 0, Severity.TICKET: 1, Severity.PAGE: 2}
_DID_NOT_LAST = "it cleared before it had lasted as long as the policy asks"


def heard_as(signal: Signal) -> tuple[Signal, ...]:
    """What a signal says of its rule, and of the rule's check.

    A check that broke says nothing of its rule: it is an alarm of its own, in the group "monitor". A check that gave a
    value works; one that had no data may not have come to where it broke. A rule of that group is about checks itself:
    there, broken is its alarm.
    """
    broken = signal.word is Word.BROKEN
    if signal.group == _MONITOR:
        return (msgspec.structs.replace(signal, word=Word.ALARM) if broken else signal,)
    of_rule = msgspec.structs.replace(signal, word=Word.UNKNOWN) if broken else signal
    word = Word.ALARM if broken else Word.UNKNOWN if signal.word is Word.UNKNOWN else Word.CLEAR
    of_check = msgspec.structs.replace(
        signal,
        rule=BROKEN_PREFIX + signal.rule,
        word=word,
        group=_MONITOR,
        evidence=signal.evidence if broken else {},
        chart="",
    )
    return of_rule, of_check


def step(alert: Alert | None, signal: Signal, policy: Policy, now_us: int, *, project: str = "") -> Step:
    """What a signal makes of its rule's newest alert; None where there is none.

    A new alert has number 0 until it is kept. An alarm about a window that a resolved alert covers (labels came late)
    is evidence of that alert: one up to its last alarm, or, where a person resolved it, up to the newest window that it
    had heard of by then. An alarm about a later window is another alert.
    """
    if signal.word is Word.ALARM:
        if alert is None or (alert.state is AlertState.RESOLVED and signal.at_us > _covered_us(alert)):
            return _opened(signal, policy, now_us, project or (alert.project if alert else ""))
        return _alarmed(alert, signal, policy, now_us)
    if alert is None or alert.state is AlertState.RESOLVED:
        return alert, ()
    if signal.word is Word.CLEAR and signal.at_us > alert.known_us:
        return _cleared(_heard(alert, signal), signal, policy, now_us)
    return _heard(alert, signal), ()


def acknowledged(alert: Alert, by: str, reason: str, now_us: int) -> Alert:
    """Somebody is looking at it. Raises UsageError for an alert that is over."""
    _refuse_resolved(alert)
    return msgspec.structs.replace(
        alert, state=AlertState.ACKNOWLEDGED, by=by, reason=reason, muted=False, changed_us=now_us
    )


def resolved(alert: Alert, by: str, reason: str, now_us: int) -> tuple[Alert, tuple[Notice, ...]]:
    """It is over; people who were told of it are told. Raises UsageError for an alert that is over already."""
    _refuse_resolved(alert)
    over = msgspec.structs.replace(
        alert, state=AlertState.RESOLVED, by=by, reason=reason, muted=False, changed_us=now_us
    )
    return over, (Notice(kind=NoticeKind.RESOLVED, alert=over),) if alert.told else ()


def reminder(alert: Alert, policy: Policy, now_us: int) -> tuple[Notice, ...]:
    """The notice that time alone makes due: one that a silence held back, or a reminder."""
    if alert.state is not AlertState.FIRING or not worth_telling(alert, policy):
        return ()
    if alert.muted:
        return (Notice(kind=NoticeKind.REMINDER if alert.told else NoticeKind.FIRED, alert=alert),)
    if policy.repeat_us and now_us - max(alert.told_us, alert.fired_us) >= policy.repeat_us:
        return (Notice(kind=NoticeKind.REMINDER, alert=alert),)
    return ()


def worth_telling(alert: Alert, policy: Policy) -> bool:
    """Whether people are told of an alert of this severity."""
    return _RANK[alert.severity] >= _RANK[policy.least]


def badness(evidence: dict[str, Any]) -> float:
    """How far an alarm's evidence lies on the bad side, to compare alarms of one rule.

    The distance of value and bound; else the effect; else −log10 p; 0 where the evidence has none of them.

    >>> badness({"value": 0.75, "bound": 0.8}) < badness({"value": 0.7, "bound": 0.8})
    True
    """
    value, bound, effect, p = (_number(evidence.get(key)) for key in ("value", "bound", "effect", "p"))
    if value is not None and bound is not None:
        return abs(value - bound)
    if effect is not None:
        return abs(effect)
    if p is not None:
        return -math.log10(max(p, 1e-300))
    return 0.0


def _covered_us(alert: Alert) -> int:
    return alert.heard_us if alert.by else alert.last.at_us


def _heard(alert: Alert, signal: Signal) -> Alert:
    """The newest window that the rule spoke of, whatever it said."""
    if signal.at_us <= alert.heard_us:
        return alert
    return msgspec.structs.replace(alert, heard=signal.word, heard_us=signal.at_us)


def _number(value: Any) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if plain else None


def _opened(signal: Signal, policy: Policy, now_us: int, project: str) -> tuple[Alert, tuple[Notice, ...]]:
    sighting = _sighting(signal)
    alert = Alert(
        project=project,
        number=0,
        rule=signal.rule,
        group=signal.group,
        severity=signal.severity,
        state=AlertState.PENDING,
        first=sighting,
        worst=sighting,
        last=sighting,
        opened_us=now_us,
        changed_us=now_us,
        heard_us=signal.at_us,
        known_us=signal.at_us,
        source=signal.source,
        look_first=signal.look_first,
        chart=signal.chart,
    )
    return _fired(alert, NoticeKind.FIRED, now_us) if policy.hold <= 0 else (alert, ())


def _alarmed(alert: Alert, signal: Signal, policy: Policy, now_us: int) -> tuple[Alert, tuple[Notice, ...]]:
    if signal.source == alert.source:
        return alert, ()
    newer = signal.at_us > alert.known_us
    seen = _seen(alert, signal, now_us)
    if alert.state is AlertState.RESOLVED:
        return seen, ()
    seen = msgspec.structs.replace(seen, clear_in_row=0, alarms_in_row=alert.alarms_in_row + newer, changed_us=now_us)
    if alert.state is AlertState.PENDING:
        return _fired(seen, NoticeKind.FIRED, now_us) if seen.alarms_in_row > policy.hold else (seen, ())
    if _RANK[seen.severity] > _RANK[alert.severity]:
        return _fired(seen, NoticeKind.WORSE, now_us)
    return seen, ()


def _seen(alert: Alert, signal: Signal, now_us: int) -> Alert:
    """One alarm more: the first, the worst and the last of them, and the greatest severity."""
    sighting = _sighting(signal)
    worse = badness(signal.evidence) > badness(alert.worst.evidence)
    return msgspec.structs.replace(
        _heard(alert, signal),
        first=sighting if signal.at_us < alert.first.at_us else alert.first,
        worst=sighting if worse else alert.worst,
        last=sighting if signal.at_us >= alert.last.at_us else alert.last,
        severity=max(alert.severity, signal.severity, key=_RANK.__getitem__),
        source=signal.source,
        alarms=alert.alarms + 1,
        known_us=max(alert.known_us, signal.at_us),
        look_first=signal.look_first or alert.look_first,
        chart=signal.chart or alert.chart,
        changed_us=now_us,
    )


def _cleared(alert: Alert, signal: Signal, policy: Policy, now_us: int) -> tuple[Alert, tuple[Notice, ...]]:
    heard = msgspec.structs.replace(alert, known_us=signal.at_us, clear_in_row=alert.clear_in_row + 1, alarms_in_row=0)
    if alert.state is AlertState.PENDING:
        return resolved(heard, "", _DID_NOT_LAST, now_us)
    if 0 < policy.resolve_after <= heard.clear_in_row:
        return resolved(heard, "", f"{heard.clear_in_row} clear windows since the last alarm", now_us)
    return heard, ()


def _fired(alert: Alert, kind: NoticeKind, now_us: int) -> tuple[Alert, tuple[Notice, ...]]:
    fired = msgspec.structs.replace(
        alert, state=AlertState.FIRING, fired_us=alert.fired_us or now_us, changed_us=now_us, by="", reason=""
    )
    return fired, (Notice(kind=kind, alert=fired),)


def _sighting(signal: Signal) -> Sighting:
    return Sighting(source=signal.source, at_us=signal.at_us, sentence=signal.sentence, evidence=signal.evidence)


def _refuse_resolved(alert: Alert) -> None:
    if alert.state is AlertState.RESOLVED:
        raise UsageError(
            f"alert {alert.number} is resolved already: {alert.reason}",
            next_step="roadworthy alerts   # lists those that are open",
        )
