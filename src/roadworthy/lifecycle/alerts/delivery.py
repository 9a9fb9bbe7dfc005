"""Sending what waits in the outbox, at least once, to every channel.

In: the registry's database, a notifier for each channel. Out: ``Delivered``. Laws: nothing is sent inside a
transaction, so that judging never waits for a channel; a message is marked only after the channel took it; a channel
that fails keeps no other from being served, and becomes an alert of its own; what a foreign notifier raises is told by
its kind alone, for its words may quote the address; a picture neither holds a message back for long nor loses it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from roadworthy.errors import RoadworthyError
from roadworthy.lifecycle.alerts import outbox
from roadworthy.lifecycle.alerts.messages import Message
from roadworthy.lifecycle.alerts.outbox import Waiting
from roadworthy.lifecycle.alerts.pictures import Draw, Pictures
from roadworthy.lifecycle.alerts.store import AlertStore
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.protocols import Clock, Notifier
from roadworthy.records.alert import Policy, Severity, Signal, Word

__all__ = ["Channel", "Delivered", "deliver", "tried"]

_TRIES = 3  # after so many failures of one message, the channel is an alert
_RULE = "channel_unreachable:"
_LOOK = "whether the address under [alerts] notify still holds: roadworthy alerts test"


class Channel:
    """Where messages go: ``name`` is what people may read of it (``"slack 3fa9c1"``), ``notifier`` sends."""

    __slots__ = ("name", "notifier")

    def __init__(self, name: str, notifier: Notifier) -> None:
        self.name = name
        self.notifier = notifier


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages were taken and refused; ``problems`` by the channel's name."""

    sent: int = 0
    failed: int = 0
    problems: dict[str, str] = {}


def deliver(
    transactions: Transactions,
    store: AlertStore,
    channels: Mapping[str, Channel],
    policy: Policy,
    clock: Clock,
    *,
    most: int = 10,
    draw: Draw | None = None,
) -> Delivered:
    """Send what is due now, at most ``most`` messages; ``channels`` by their digests.

    ``draw`` makes pictures of alerts for channels that take them; without it, messages are text.
    """
    with transactions.changing() as connection:
        due = outbox.claim(connection, store.project, channels, _now(clock), most=most)
    pictures = Pictures.for_round(draw, due, {name: channel.notifier for name, channel in channels.items()})
    problems: dict[str, str] = {}
    took: set[str] = set()
    signals: list[Signal] = []
    sent = 0
    for one in due:
        if one.channel in problems:
            with transactions.changing() as connection:
                outbox.release(connection, store.project, [one], _now(clock))
            continue
        problem = tried(channels[one.channel].notifier, one.message, pictures)
        now_us = _now(clock)
        with transactions.changing() as connection:
            if problem:
                outbox.failed(connection, store.project, one, problem, now_us)
            else:
                outbox.sent(connection, store.project, one, now_us)
        if problem:
            problems[one.channel] = problem
            if one.attempts >= _TRIES:
                signals.append(_signal(channels[one.channel].name, one, problem, now_us))
        else:
            sent += 1
            if one.channel not in took:
                signals.append(_signal(channels[one.channel].name, one, "", now_us))
            took.add(one.channel)
    if signals:
        with transactions.changing() as connection:
            store.apply(connection, signals, policy, _now(clock))
    named = {channels[channel].name: problem for channel, problem in problems.items()}
    return Delivered(sent=sent, failed=len(problems), problems=named)


def tried(notifier: Notifier, message: Message, pictures: Pictures | None = None) -> str:
    """Why the channel did not take it; empty where it did."""
    try:
        (pictures or Pictures()).send(notifier, message)
    except RoadworthyError as error:
        return "; ".join([error.message, *map(str, error.problems)])
    except Exception as error:  # noqa: BLE001 - anybody's notifier: whatever it raises is kept as a failed attempt
        return f"the notifier broke: {type(error).__name__}"
    return ""


def _signal(name: str, one: Waiting, problem: str, now_us: int) -> Signal:
    failing = f"alerts do not get through to {name}: {problem}; tried {one.attempts} times, and tried again"
    return Signal(
        rule=_RULE + name,
        word=Word.ALARM if problem else Word.CLEAR,
        at_us=now_us,
        source=f"{one.message.key}/{one.channel[-12:]}",
        group="monitor",
        sentence=failing if problem else f"alerts get through to {name}",
        severity=Severity.PAGE,
        look_first=_LOOK,
    )


def _now(clock: Clock) -> int:
    return int(clock.now().timestamp() * 1e6)
