"""The outbox: messages that are to be sent, written in the transaction of what they tell.

In: a connection inside a transaction. Out: messages that are due. Laws: a message is kept for every channel until that
channel took it, under its idempotency key; whoever claims one gets it for a while, so that a sender that is killed
between sending and marking sends it again, under the same key; an address stands nowhere, only a slow digest of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

import msgspec
from sqlalchemy import Connection, and_, func, select

from roadworthy.lifecycle import schema
from roadworthy.lifecycle.alerts.messages import Message, numbers_told

__all__ = ["Backlog", "Waiting", "backlog", "channel_digest", "claim", "failed", "forget", "queue", "release", "sent"]

_FIRST_WAIT_US = 10_000_000
_LONGEST_WAIT_US = 3_600_000_000
_LEASE_US = 120_000_000
_LONGEST_PROBLEM = 300


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is claimed for one channel; ``attempts`` counts this one."""

    channel: str
    attempts: int
    message: Message


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """How a channel stands: messages that wait, attempts of the one tried most often, and why the last try failed."""

    channel: str
    waiting: int
    attempts: int
    oldest_us: int
    problem: str


@lru_cache(maxsize=256)
def channel_digest(project: str, url: str) -> str:
    """What the database knows a channel by. Slow, so that a password in the URL is not found by trying."""
    stretched = hashlib.scrypt(url.encode(), salt=f"roadworthy channel of {project}".encode(), n=2**14, r=8, p=1)
    return "scrypt:" + stretched[:32].hex()


def queue(
    connection: Connection, project: str, messages: Iterable[Message], channels: Collection[str], now_us: int
) -> int:
    """Write messages for every channel; how many rows. One that stands there under its key already stays as it is."""
    table, count = schema.notifications, 0
    for message in messages:
        here = select(table.c.channel).where(table.c.project == project, table.c.key == message.key)
        there = set(connection.execute(here).scalars())
        for channel in sorted(set(channels) - there):
            connection.execute(
                table.insert().values(
                    project=project,
                    key=message.key,
                    channel=channel,
                    title=message.title,
                    body=message.body,
                    created_us=now_us,
                    state="waiting",
                    attempts=0,
                    next_us=now_us,
                    sent_us=0,
                    problem="",
                )
            )
            count += 1
    return count


def claim(
    connection: Connection, project: str, channels: Collection[str], now_us: int, *, most: int = 50
) -> tuple[Waiting, ...]:
    """Messages that are due for these channels, oldest first; nobody else gets them for two minutes."""
    table = schema.notifications
    due = (
        select(table)
        .where(
            table.c.project == project,
            table.c.state == "waiting",
            table.c.next_us <= now_us,
            table.c.channel.in_(sorted(channels)),
        )
        .order_by(table.c.created_us, table.c.key, table.c.channel)
        .limit(most)
    )
    rows = connection.execute(due).mappings().all()
    for row in rows:
        connection.execute(
            table.update()
            .where(_here(project, row["key"], row["channel"]))
            .values(attempts=row["attempts"] + 1, next_us=now_us + _LEASE_US)
        )
    return tuple(
        Waiting(
            channel=row["channel"],
            attempts=row["attempts"] + 1,
            message=Message(key=row["key"], title=row["title"], body=row["body"], alerts=numbers_told(row["body"])),
        )
        for row in rows
    )


def sent(connection: Connection, project: str, one: Waiting, now_us: int) -> None:
    """The channel took it."""
    table = schema.notifications
    values = {"state": "sent", "sent_us": now_us, "next_us": now_us, "problem": ""}
    connection.execute(table.update().where(_here(project, one.message.key, one.channel)).values(**values))


def failed(connection: Connection, project: str, one: Waiting, problem: str, now_us: int) -> None:
    """The channel did not take it; it is tried again after 10 s, 20 s, … up to an hour, until it is taken."""
    wait = min(_LONGEST_WAIT_US, _FIRST_WAIT_US * 2 ** min(one.attempts - 1, 20))
    table = schema.notifications
    values = {"next_us": now_us + wait, "problem": problem[:_LONGEST_PROBLEM]}
    connection.execute(table.update().where(_here(project, one.message.key, one.channel)).values(**values))


def release(connection: Connection, project: str, ones: Sequence[Waiting], now_us: int) -> None:
    """These were claimed and not tried: the claim is given back, to be tried a little later."""
    table = schema.notifications
    for one in ones:
        values = {"attempts": one.attempts - 1, "next_us": now_us + _FIRST_WAIT_US}
        connection.execute(table.update().where(_here(project, one.message.key, one.channel)).values(**values))


def backlog(connection: Connection, project: str) -> tuple[Backlog, ...]:
    """How each channel stands that has messages waiting."""
    table = schema.notifications
    here = (table.c.project == project, table.c.state == "waiting")
    counts = (
        select(table.c.channel, func.count(), func.max(table.c.attempts), func.min(table.c.created_us))
        .where(*here)
        .group_by(table.c.channel)
        .order_by(table.c.channel)
    )
    found = []
    for channel, waiting, attempts, oldest in connection.execute(counts):
        why = select(table.c.problem).where(*here, table.c.channel == channel, table.c.problem != "").limit(1)
        problem = connection.execute(why.order_by(table.c.attempts.desc())).scalar() or ""
        found.append(Backlog(channel=channel, waiting=waiting, attempts=attempts, oldest_us=oldest, problem=problem))
    return tuple(found)


def forget(connection: Connection, project: str, before_us: int) -> int:
    """Remove messages that were sent before then; how many."""
    table = schema.notifications
    old = and_(table.c.project == project, table.c.state == "sent", table.c.next_us < before_us)
    return connection.execute(table.delete().where(old)).rowcount


def _here(project: str, key: str, channel: str):  # type: ignore[no-untyped-def]  # SQLAlchemy's own clause
    table = schema.notifications
    return and_(table.c.project == project, table.c.key == key, table.c.channel == channel)
